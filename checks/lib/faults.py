"""Making smx fail: its own fault points (--enable-testing), and system calls by strace."""
import re
import signal
import subprocess

from .wait import until


class FaultControl:
    """Writes the file that SM_FAULTS_FILE names and tells the processes of a component to read it.

        with site.faults("smtps", "cdb.sync=eio@3"): ...

    Processes hold the file open, so it is written in place; they also read it when they start, so it is emptied as soon as those
    that were meant have read it: what is restarted because of the fault starts without it.
    """

    def __init__(self, site, component, text):
        self.site, self.component, self.text = site, component, text

    def write(self, text):
        """For processes that start from now on."""
        with open(self.site.faults_file, "r+") as f:
            f.truncate(0)
            f.write(text)

    def arm(self, text):
        """Returns when each process has read it, or is none that can."""
        marks = self.site.log_marks()
        self.write(text)
        told = self.site.kill(self.component, signal.SIGRTMIN)
        until(lambda: all(_is_out(pid) for pid in set(told) - self.armed(marks)), lambda: f"{self.component} {told} read {text!r}")
        self.write("")

    def armed(self, marks):
        """Processes that said since then that they have read the file, or that they could not."""
        said = "".join(text for name, text in self.site.logs_since(marks).items() if name.startswith(self.component))
        wrong = re.search(r"fault\.reload .*", said)
        assert not wrong, wrong
        return set(map(int, re.findall(r"fault\.armed\W+child_pid\W+(\d+)", said)))

    def __enter__(self):
        self.arm(self.text)
        return self

    def __exit__(self, *_):
        self.arm("")


class Inject:
    """strace -f -e inject on running processes, e.g. Inject(pids, "fsync,fdatasync:error=EIO:when=1"). `log` is what it saw."""

    def __init__(self, pids, inject, path=None, also=""):
        calls = inject.split(":")[0]
        args = ["strace", "-f", "-qq", "-e", f"trace={calls}{',' + also if also else ''}", "-e", f"inject={inject}",
                "-e", "signal=none", "-o", "/dev/stdout"]
        if path:
            args += ["-P", path]
        for pid in pids:
            args += ["-p", str(pid)]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        until(lambda: all(_traced(p) for p in pids), "strace attaches", 10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.log = self.process.communicate(timeout=30)[0]
        return self.log


def _is_out(pid):
    """Gone, or stopped: one that is stopped reads it later, and finds nothing."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            text = f.read()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return text[text.rindex(")") + 2] in "ZXTt"


def _traced(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in f)
    except FileNotFoundError:
        return False


def can_trace():
    """strace may not be there, or not be allowed."""
    try:
        return subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False
