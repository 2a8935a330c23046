"""What the processes of a relay use: CPU, memory, context switches. They are those of a cgroup, else those that somebody names."""
import os
import re
import threading
import time

from lib.wait import settled

TICK = os.sysconf("SC_CLK_TCK")
SWITCHES = re.compile(r"^(voluntary|nonvoluntary)_ctxt_switches:\s+(\d+)", re.M)


def _read(path):
    """None: there is no such process any more. PermissionError: it is not ours to look at."""
    try:
        with open(path) as f:
            return f.read()
    except PermissionError:
        raise
    except OSError:
        return None


class Cgroup:
    """A cgroup v2 directory of our own; `dir` is None where there can be none."""

    _made = 0

    def __init__(self):
        self.dir = self._make() if os.getuid() == 0 else None

    @classmethod
    def _make(cls):
        cls._made += 1
        with open("/proc/mounts") as f:
            mounts = [line.split() for line in f]
        for _, where, kind, *_ in mounts:
            path = os.path.join(where, f"smx-bench-{os.getpid()}-{cls._made}")
            if kind != "cgroup2":
                continue
            try:
                os.mkdir(path)
            except OSError:
                continue
            if "user_usec" in (_read(os.path.join(path, "cpu.stat")) or ""):
                return path
            os.rmdir(path)
        return None

    def prefix(self):
        """A command that runs another one in it."""
        return ["sh", "-c", f'echo $$ > {self.dir}/cgroup.procs && exec "$@"', "sh"] if self.dir else []

    def remove(self):
        """When the last process has gone, which those whose parent has ended do by themselves."""
        for _ in range(300):
            if not self.dir:
                return
            try:
                os.rmdir(self.dir)
                return
            except OSError:
                time.sleep(0.1)


class Processes:
    """Those of the cgroup directory, else those whose pids the function gives."""

    def __init__(self, cgroup=None, pids=None):
        self.cgroup, self._pids = cgroup, pids

    def pids(self):
        if self.cgroup:
            return [int(x) for x in (_read(os.path.join(self.cgroup, "cgroup.procs")) or "").split()]
        return self._pids()

    def cpu(self):
        """User and system seconds so far. By pids, what ended processes used is missing."""
        if self.cgroup:
            stat = dict(line.split() for line in _read(os.path.join(self.cgroup, "cpu.stat")).splitlines())
            return int(stat["user_usec"]) / 1e6, int(stat["system_usec"]) / 1e6
        user = system = 0
        for p in self.pids():
            text = _read(f"/proc/{p}/stat")
            if text:
                w = text[text.rindex(")") + 2:].split()
                user, system = user + int(w[11]), system + int(w[12])
        return user / TICK, system / TICK

    def quiet(self, seconds=0.25):
        """Wait until they have done their own clean-up: for so long they have used next to no CPU."""
        settled(lambda: sum(self.cpu()), 0.0109, "CPU time", seconds)

    def pss_mb(self):
        """PermissionError where processes that have dropped their rights are only for root to look at."""
        total = 0
        for p in self.pids():
            m = re.search(r"Pss:\s+(\d+)", _read(f"/proc/{p}/smaps_rollup") or "")
            total += int(m.group(1)) if m else 0
        return total / 1024

    def settled_pss_mb(self):
        """When nothing of what came before changes it any more."""
        return settled(self.pss_mb, 0.1, "PSS in MB")

    def switches(self):
        """(pid, thread) -> (role, voluntary, involuntary); the role is the name of the program."""
        out = {}
        for p in self.pids():
            role = (_read(f"/proc/{p}/comm") or "").strip()
            try:
                threads = os.listdir(f"/proc/{p}/task")
            except OSError:
                continue
            for t in threads:
                found = dict(SWITCHES.findall(_read(f"/proc/{p}/task/{t}/status") or ""))
                if found:
                    out[p, t] = role, int(found["voluntary"]), int(found["nonvoluntary"])
        return out


def switches_between(before, after):
    """role -> [voluntary, involuntary], and how many threads have ended meanwhile: theirs are missing."""
    out = {}
    for key, (role, voluntary, involuntary) in after.items():
        _, v0, i0 = before.get(key, ("", 0, 0))
        sums = out.setdefault(role, [0, 0])
        sums[0] += voluntary - v0
        sums[1] += involuntary - i0
    return out, len(set(before) - set(after))


class PeakPss(threading.Thread):
    """Peak PSS while something runs; None where it is not to be seen. To look costs the machine something, more for a relay with many processes: at most a twenty-fifth of one processor."""

    def __init__(self, processes):
        super().__init__(daemon=True)
        self.processes, self.peak, self.hidden, self.over = processes, 0.0, False, threading.Event()
        self.start()

    def _look(self):
        began = time.monotonic()
        try:
            self.peak = max(self.peak, self.processes.pss_mb())
        except PermissionError:
            self.hidden = True
        return max(0.3, 25 * (time.monotonic() - began))

    def run(self):
        pause = 0.3
        while not self.hidden and not self.over.wait(pause):
            pause = self._look()

    def stop(self):
        self.over.set()
        self.join()
        self._look()
        return None if self.hidden else self.peak
