"""Disks and mounts of a run: the recorded disk, loop mounts, and that nothing of them stays behind. Root only.

All mounts are made in a mount namespace of our own: nobody else sees them, and should this process be killed, they go with the last
process in it. Loop devices are made by mount(8), which has them freed with the mount.
"""
import contextlib
import ctypes
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lib.paths import program  # noqa: E402
from lib.wait import until  # noqa: E402

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
RECORDER = "checks/powercut/recorder"
# Blocks as on a disk of usual size, which mkfs would not choose for such a small one.
MKFS = {"ext4": ["mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "nodiscard"], "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
        "btrfs": ["mkfs.btrfs", "-q", "-f", "-K"]}
LEAST_MB = {"xfs": 300, "btrfs": 128}


def private_mounts():
    """From here on what this process mounts is seen by it and its children only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        e = ctypes.get_errno()
        raise OSError(e, f"a mount namespace of our own: {os.strerror(e)}")


def why_not(fs="ext4"):
    """What this machine lacks, None: nothing, and then mounts are private from here on."""
    if os.getuid() != 0:
        return "not root: no mounts"
    for device in ("/dev/fuse", "/dev/loop-control"):
        try:
            os.close(os.open(device, os.O_RDWR))
        except OSError as e:
            return f"{device}: {e.strerror}"
    if not shutil.which(MKFS[fs][0], path="/usr/sbin:/sbin:/usr/bin:/bin"):
        return f"no {MKFS[fs][0]}"
    try:
        program(RECORDER)
    except FileNotFoundError:
        return f"{RECORDER} is not built (libfuse3-dev was missing when smx was configured)"
    try:
        private_mounts()
    except OSError as e:
        return e.strerror
    return None


def make(path, fs, size_mb):
    """An empty file system in a new file."""
    with open(path, "xb") as f:
        f.truncate(max(size_mb, LEAST_MB.get(fs, 0)) << 20)
    run(*MKFS[fs], path)


@contextlib.contextmanager
def mounted(image, directory, options=""):
    run("mount", "-o", "loop" + ("," + options if options else ""), image, directory)
    try:
        yield directory
    finally:
        unmount(directory)


@contextlib.contextmanager
def recorded(backing, log, directory):
    """The path of a file that is `backing` and whose writes and flushes go to `log`."""
    p = subprocess.Popen([program(RECORDER), backing, log, directory], stdout=subprocess.PIPE, text=True)
    try:
        if p.stdout.readline() != "ready\n":
            raise OSError("the recorder does not start")
        yield os.path.join(directory, "img")
        if p.poll() is not None:
            raise OSError(f"the recorder ended: {p.returncode}")
    finally:
        try:
            unmount(directory)  # not before the loop device has let go
        finally:
            p.terminate()
            p.wait()


def unmount(directory):
    """A process that has just ended, or a loop device, may hold it for a moment."""
    said = []

    def gone():
        r = subprocess.run(["umount", directory], capture_output=True, text=True, check=False)
        said[:] = [r.stderr]
        return r.returncode == 0
    until(gone, lambda: f"unmounting: {said}", 20, 0.05)


def run(*args):
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if r.returncode:
        raise OSError(f"{' '.join(args)}: exit {r.returncode}: {r.stdout.strip()}")
