"""Programs of Debian packages that must not be installed here (a second mail server would want port 25): fetched by apt-get, unpacked by
dpkg -x into a cache, and run from there.

SMX_TEST_CACHE is the cache, else ~/.cache/smx-checks. Without network and without a filled cache the tests that need a package are skipped.
"""
import fcntl
import glob
import os
import subprocess

CACHE = os.environ.get("SMX_TEST_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "smx-checks")


class Unavailable(Exception):
    """The package is neither cached nor to be had."""


def unpacked(package):
    """The directory that holds the package's files as below /."""
    tree = os.path.join(CACHE, package)
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(tree):
            return tree
        for stale in glob.glob(os.path.join(CACHE, package + "_*.deb")):
            os.unlink(stale)
        try:
            subprocess.run(["apt-get", "-q", "download", package], cwd=CACHE, check=True, timeout=120, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
            deb, = glob.glob(os.path.join(CACHE, package + "_*.deb"))
            subprocess.run(["dpkg", "-x", deb, tree + ".new"], check=True, capture_output=True, text=True)
        except (OSError, subprocess.SubprocessError, ValueError) as e:
            raise Unavailable(f"package {package}: {e}") from None
        os.unlink(deb)
        os.rename(tree + ".new", tree)
    return tree


def smtp_source():
    """(program, environment) of Postfix's load generator."""
    tree = unpacked("postfix")
    return os.path.join(tree, "usr/sbin/smtp-source"), smtp_source_environment(os.path.join(tree, "usr/sbin/smtp-source"))


def smtp_source_environment(path):
    """Its libraries lie beside an unpacked program."""
    lib = os.path.abspath(os.path.join(os.path.dirname(path), "../lib/postfix"))
    return dict(os.environ, LD_LIBRARY_PATH=":".join(filter(None, (lib, os.environ.get("LD_LIBRARY_PATH")))))
