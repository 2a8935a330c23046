"""What processes ask the kernel for, counted by perf or strace from the first call on: when one of these is made it has begun, and not some time later.

    with Strace(pids) as t:     or Perf(["raw_syscalls:sys_enter"], pids=pids)
        ...
        t.counts()              {system call: number}, {event: number}; it has ended
"""
import os
import re
import select
import signal
import subprocess

from .wait import PATIENCE, SLOW, until


class Failed(Exception):
    """It has not begun; says why."""


def perf_counts(event):
    """Whether perf is there and may count this."""
    try:
        r = subprocess.run(["perf", "stat", "-x,", "-e", event, "true"], capture_output=True, text=True)
    except OSError:
        return False
    return r.returncode == 0 and not re.search("<not (supported|counted)>", r.stderr)


class _Tool:
    process = None

    def _start(self, *command, **how):
        try:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **how)
        except OSError as e:
            raise Failed(f"{command[0]}: {e.strerror}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self._end()

    def _end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate()[1]

    def _failed(self, why):
        raise Failed(f"{self.process.args[0]}: {why}: {self._end().strip()}")


class Perf(_Tool):
    """Of processes with all their threads and children to come, or of a cgroup (its name below the root)."""

    def __init__(self, events, pids=(), cgroup=None):
        where = ["-a", "--for-each-cgroup", cgroup] if cgroup else ["-p", ",".join(map(str, pids))]
        (told, tell), (said, say) = os.pipe(), os.pipe()
        try:
            # disabled until it is told, which it can be when all is set up
            self._start("perf", "stat", "-x,", "-D", "-1", "--control", f"fd:{told},{say}", "-e", ",".join(events), *where, pass_fds=(told, say))
        finally:
            os.close(told)
            os.close(say)
            if not self.process:
                os.close(tell)
                os.close(said)
        self._enable(tell, said)

    def _enable(self, tell, said):
        try:
            os.write(tell, b"enable\n")
            came = select.select([said], [], [], PATIENCE * SLOW)[0]
            if not (came and os.read(said, 16).startswith(b"ack")):
                self._failed("does not count")
        except BrokenPipeError:
            self._failed("has ended")
        finally:
            os.close(tell)
            os.close(said)

    def counts(self):
        out = {}
        for w in (line.split(",") for line in self._end().splitlines()):
            if len(w) > 2 and w[0].strip().replace(".", "").isdigit():
                out[w[2]] = out.get(w[2], 0) + float(w[0])
        return out


class Strace(_Tool):
    """Of all threads of these processes, and those to come."""

    def __init__(self, pids):
        self.pids = list(pids)
        self._start("strace", "-c", "-f", "-qq", *[x for p in self.pids for x in ("-p", str(p))])
        try:
            until(lambda: self.process.poll() is not None or self._has_all(), lambda: f"it has all of these threads: {self._threads()}")
        except AssertionError as e:
            self._failed(e)
        if not self._has_all():
            self._failed("has ended")

    def _threads(self):
        """{thread: who traces it} of the processes that are still there."""
        out = {}
        for pid in self.pids:
            try:
                threads = os.listdir(f"/proc/{pid}/task")
            except OSError:
                continue
            out.update((int(t), self._tracer_of(pid, t)) for t in threads)
        return {t: by for t, by in out.items() if by is not None}

    def _has_all(self):
        return set(self._threads().values()) == {self.process.pid}

    @staticmethod
    def _tracer_of(pid, thread):
        """None: it has ended meanwhile."""
        try:
            with open(f"/proc/{pid}/task/{thread}/status") as f:
                return int(re.search(r"^TracerPid:\s+(\d+)", f.read(), re.M).group(1))
        except OSError:
            return None

    def counts(self):
        rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", self._end(), re.M)
        return {call: int(n) for n, call in rows if call != "total"}
