"""Where source and build are."""
import os
import random
import socket

SRC = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("SMX_BUILD", os.path.join(SRC, "build")))


def program(name):
    """Path of a built program, e.g. program("checks/bench/load")."""
    path = os.path.join(BUILD, name)
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"{path}: not built (SMX_BUILD names the build directory)")
    return path


def build_says(text, name="config.h"):
    """How this build was configured."""
    with open(os.path.join(BUILD, name)) as f:
        return text in f.read()


def is_testing_build():
    return build_says("#define SM_TESTING 1")


def has_seccomp():
    """With the filter, and without sanitizers, which would need what it forbids."""
    return build_says("#define SM_HAVE_SECCOMP 1") and not build_says("-fsanitize=", "Makefile")


_given = set()


def free_port(kind=socket.SOCK_STREAM):
    """A port that nobody has on any address, that was not given out before, and that no outgoing connection can get by chance."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        below = int(f.read().split()[0])
    ports = range(10000, below) if below > 12000 else range(below, 65536)
    while True:
        port = random.choice(ports)
        with socket.socket(socket.AF_INET, kind) as s:
            try:
                s.bind(("", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
