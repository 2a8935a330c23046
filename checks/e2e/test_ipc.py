"""The Unix sockets between the processes: strangers are turned away, and a peer that babbles loses its connection and nothing else."""
import os
import random
import socket
import stat
import struct
import subprocess
import sys

import pytest
from lib.wait import PATIENCE, until

pytestmark = pytest.mark.inside

HEADER = struct.Struct("<IHHQ")


def sockets(site):
    """Path of every Unix socket below the spool, but for the listeners that are there for all users of the host: SMTP as on port 25."""
    out = []
    for base, _, names in os.walk(site.spool):
        if base == os.path.join(site.spool, "submit"):
            continue
        for path in (os.path.join(base, n) for n in names):
            try:
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    out.append(path)
            except FileNotFoundError:  # a content file that was just delivered
                pass
    return sorted(out)


def short(site, path):
    """sun_path is short: connect from the spool directory."""
    return os.path.relpath(path, site.spool)


CONNECT = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
os.chdir(sys.argv[1])
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
try:
    s.connect(sys.argv[3])
    s.sendall(b"\\0" * 64)
    got = s.recv(65536)
except PermissionError:
    print("refused")
except (ConnectionResetError, BrokenPipeError):
    print("closed")
except socket.timeout:
    print("open")
else:
    print("talks" if got else "closed")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs a second user")
def test_strangers(site, sink):
    """Another user gets EACCES, or is closed on before anything is said."""
    found = sockets(site)
    assert found, "no socket below the spool"
    for path in found:
        out = subprocess.run([sys.executable, "-c", CONNECT, site.spool, "54321", short(site, path)], capture_output=True, text=True)
        assert out.stdout.strip() in ("refused", "closed"), f"{path}: {out.stdout} {out.stderr}"
    site.canary(sink)


def test_modes(site):
    for path in sockets(site):
        assert not os.lstat(path).st_mode & 0o007, f"{path} is open to others"


class Peer:
    """A connection by root or the site's own user: trusted by its uid, so that the bytes are what is judged."""

    def __init__(self, site, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        old = os.getcwd()
        os.chdir(site.spool)
        try:
            self.sock.connect(short(site, path))
        finally:
            os.chdir(old)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def closed(self):
        self.sock.settimeout(PATIENCE)
        try:
            while self.sock.recv(65536):
                pass
            return True
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.sock.close()


def streams(site):
    """Those that speak frames: not the one over which smtps gets its listeners."""
    out = []
    for path in sockets(site):
        if "smtpsfd" in path:
            continue
        try:
            Peer(site, path).close()
            out.append(path)
        except (ConnectionRefusedError, PermissionError, OSError):
            pass
    return out


FRAMES = [
    ("zeros", bytes(64)),
    ("ones", b"\xff" * 64),
    ("length-0", HEADER.pack(0, 1, 0, 0)),
    ("length-too-small", HEADER.pack(3, 1, 0, 0)),
    ("length-2^32-1", HEADER.pack(0xffffffff, 1, 0, 0) + bytes(1000)),
    ("length-over-1MiB", HEADER.pack((1 << 20) + 13, 1, 0, 0) + bytes(5000)),
    ("text", b"EHLO x\r\nMAIL FROM:<a@b>\r\n" * 10),
    ("unknown-type", HEADER.pack(12 + 16, 0xfffe, 0, 1) + bytes(16)),
    ("not-hello-first", HEADER.pack(12 + 4, 0x0102, 0, 1) + bytes(4)),
    ("short-hello", HEADER.pack(12 + 3, 1, 0, 0) + b"\1\2\3"),
    ("hello-of-another-table", HEADER.pack(12 + 26, 1, 0, 0) + struct.pack("<BBIQQI", 1, 0, os.getpid(), 1, 0xdeadbeef, 0)),
    ("hello-string-beyond", HEADER.pack(12 + 26, 1, 0, 0) + struct.pack("<BBIQQI", 1, 0, 1, 1, 1, 0xffffffff)),
]


@pytest.mark.parametrize("data", [f[1] for f in FRAMES], ids=[f[0] for f in FRAMES])
def test_bad_frame(site, sink, data):
    """Closes that connection, and that is all."""
    for path in streams(site):
        p = Peer(site, path)
        p.send(data)
        assert p.closed(), f"{path} keeps a babbler"
        p.close()
    site.canary(sink)


def test_babbler_at_the_handover(site, sink):
    """Text without a descriptor is no listener; whoever sends it is closed on within seconds."""
    for path in sockets(site):
        if "smtpsfd" in path:
            p = Peer(site, path)
            p.send(b"text" * 100)
            assert p.closed(), f"{path} keeps a babbler"
    site.canary(sink)


def test_random_bytes(site, sink):
    """Repeatable by its seed."""
    dice = random.Random(int(os.environ.get("SMX_SEED", "1")))
    for path in streams(site):
        for _ in range(50):
            p = Peer(site, path)
            p.send(dice.randbytes(dice.randrange(1, 3000)))
            p.close()
    site.canary(sink)


def test_silent_and_half_frames(site, sink):
    """Peers that never finish their hello are dropped in time, or at least bounded; the others do not notice."""
    held = []
    for path in streams(site):
        for _ in range(20):
            p = Peer(site, path)
            p.send(HEADER.pack(12 + 26, 1, 0, 0)[:7])
            held.append(p)
    site.canary(sink)
    before = {k: len(v) for k, v in site.all_pids().items()}
    for p in held:
        p.close()
    site.canary(sink)
    assert {k: len(v) for k, v in site.all_pids().items()} == before


def test_many_connections(site, sink):
    """More connections than anybody needs: refused or closed, no descriptor is lost for good."""
    before = site.snapshot()
    held = []
    for path in streams(site):
        for _ in range(300):
            try:
                held.append(Peer(site, path))
            except OSError:
                break
    site.canary(sink)
    for p in held:
        p.close()

    def back():
        try:
            before.leaks(kb=1 << 30, fds=6)
            return True
        except AssertionError:
            return False
    until(back, "descriptors are back", 10)
    site.canary(sink)
