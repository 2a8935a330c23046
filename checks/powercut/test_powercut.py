"""A small size of powercut.py for every run of the tests; `make check-powercut` does more."""
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
CUTS = os.environ.get("SMX_CUTS", "10")


@pytest.mark.parametrize("what", ["suite", "no-file-sync", "no-directory-sync", "all-syncs"])
def test_power_cut(what):
    """The two that leave out a sync are negative controls: powercut.py fails when they do not lose anything."""
    r = subprocess.run([sys.executable, "-B", os.path.join(HERE, "powercut.py"), "--what", what, "--cuts", CUTS, "--seconds", "8", "--keep"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(r.stdout)
    if r.returncode == 77:
        pytest.skip(r.stdout.strip())
    if r.returncode:
        pytest.fail(r.stdout[-6000:])
