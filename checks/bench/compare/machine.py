"""On what, when and of which source the figures were taken."""
import datetime
import os
import platform
import re
import subprocess
import tempfile

from lib.paths import BUILD, SRC, is_testing_build


def _first(path, pattern):
    try:
        with open(path) as f:
            m = re.search(pattern, f.read(), re.M)
    except OSError:
        return None
    return m.group(1).strip() if m else None


def _file_system(path):
    """Its kind: the longest mount point above wins."""
    with open("/proc/mounts") as f:
        mounts = [line.split()[1:3] for line in f]
    above = [(len(where), kind) for where, kind in mounts if os.path.realpath(path).startswith(where)]
    return max(above)[1] if above else None


def _commit():
    """Of the source, which need not be what was built last; None in a tarball."""
    try:
        r = subprocess.run(["git", "-C", SRC, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True)
    except OSError:
        return None
    return r.stdout.strip() or None if r.returncode == 0 else None


def shape():
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _first("/proc/cpuinfo", r"^model name\s*: (.*)$"),
        "memory_mb": int(_first("/proc/meminfo", r"^MemTotal:\s+(\d+)") or 0) // 1024,
        "kernel": platform.release(),
        "system": _first("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)'),
        "file_system": _file_system(tempfile.gettempdir()),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "commit": _commit(),
        "build": "testing" if is_testing_build() else "release",
        "cflags": _first(os.path.join(BUILD, "Makefile"), r"^CFLAGS = (.*)$"),
    }
