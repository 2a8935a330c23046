"""A small size of crash.py for every run of the tests; `make check-crash` does more."""
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = int(os.environ.get("SMX_CRASH_ROUNDS", "24"))


# A round of an upgrade kills four workers.
@pytest.mark.parametrize("kinds,rounds", [("kill", ROUNDS), ("all", ROUNDS), ("fault", ROUNDS), ("upgrade", ROUNDS // 4), ("stop+kill", ROUNDS),
                                          ("queue", max(10, ROUNDS // 2))])
def test_kill_under_load(kinds, rounds):
    r = subprocess.run([sys.executable, os.path.join(HERE, "crash.py"), "--rounds", str(max(1, rounds)), "--series", "12", "--kinds", kinds, "--keep"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(r.stdout)
    if r.returncode:
        pytest.fail(r.stdout[-6000:])
