"""A small size of crash.py for every run of the tests; `make check-crash` does more."""
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = os.environ.get("SMX_CRASH_ROUNDS", "24")


@pytest.mark.parametrize("kinds", ["kill", "all", "fault", "upgrade", "stop+kill"])
def test_kill_under_load(kinds):
    r = subprocess.run([sys.executable, os.path.join(HERE, "crash.py"), "--rounds", ROUNDS, "--series", "12", "--kinds", kinds, "--keep"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(r.stdout)
    if r.returncode:
        pytest.fail(r.stdout[-6000:])
