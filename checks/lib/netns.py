"""A network of its own: the only way to deliver to port 25 of "foreign" addresses, which nobody but these tests sees. Root only.

    with Network(): ...    sites, sinks and name servers that are started inside live in it
"""
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
V4, V6 = "198.51.100.", "2001:db8:25::"  # every address in them is at home here, and none is on an interface


class Network:
    """The calling thread, and all threads and programs that it starts, from here on to the end of the with block."""

    def __enter__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._call(self.libc.unshare, CLONE_NEWNET)
        try:
            for args in ("link set lo up", f"route add local {V4}0/24 dev lo", f"-6 route add local {V6}/64 dev lo"):
                subprocess.run(["ip", *args.split()], check=True, capture_output=True)
            # so that servers can bind to them
            with open("/proc/sys/net/ipv6/ip_nonlocal_bind", "w") as f:
                f.write("1")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._call(self.libc.setns, self.before, CLONE_NEWNET)
        os.close(self.before)

    def _call(self, f, *args):
        if f(*args):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def possible():
    """Root may be without the right to, in a container."""
    if os.getuid() != 0:
        return False
    try:
        with Network():
            return True
    except (OSError, subprocess.SubprocessError):
        return False
