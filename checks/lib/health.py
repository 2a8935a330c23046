"""Invariants that hold after every case: nobody died, nothing leaked, the log is sound."""
import os
import re

from .wait import SANITIZER

REPORT = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|MemorySanitizer|runtime error:|SUMMARY: ")
LOG_LINE = re.compile(r"\d{10}\.\d{3} (DEBUG|INFO|NOTICE|WARN|ERROR|CRIT|FATAL) [a-z][a-z0-9_]*\.[a-z0-9_.-]+( [\x20-\x7e]*)?\Z")


def rss_kb(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def no_report(name, text):
    """A sanitizer that has something to say says it into the log."""
    m = REPORT.search(text)
    assert not m, f"{name}: {text[max(0, m.start() - 200):m.start() + 3000]}"


def alive(pid):
    """Not gone, nor a zombie. One that was killed is alive until it has let go of everything."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Snapshot:
    """pids, memory and descriptors of each component, and where its log ends."""

    def __init__(self, site):
        self.site = site
        self.pids = site.all_pids()
        self.rss = {p: rss_kb(p) for ps in self.pids.values() for p in ps}
        self.fds = {p: fd_count(p) for ps in self.pids.values() for p in ps}
        self.marks = site.log_marks()

    def alive(self):
        """INV1: the same processes; no sanitizer report; no core."""
        now = self.site.all_pids()
        assert now == self.pids, f"processes were {self.pids}, are {now}; log ends:\n{self.site.log_tail()}"
        for name, text in self.site.logs_since(self.marks).items():
            no_report(name, text)
        cores = [n for n in os.listdir(self.site.spool) if n == "core" or n.startswith("core.")]
        assert not cores, cores

    def leaks(self, kb=5120, fds=0):
        """INV4: memory within so many KB, descriptors the same (idle sessions to a sink may stay: allow with fds)."""
        for p, before in ([] if SANITIZER else self.rss.items()):  # a sanitizer keeps freed memory; it reports leaks itself
            now = rss_kb(p)
            assert now <= before + kb, f"{self.site.name_of(p)}: RSS {before} KB before, {now} KB now"
        for p, before in self.fds.items():
            now = fd_count(p)
            assert now <= before + fds, f"{self.site.name_of(p)}: {before} descriptors before, {now} now: {_fds(p)}"

    def log_sound(self):
        """INV5: each record is one line of the known form, printable."""
        for name, text in self.site.logs_since(self.marks).items():
            for line in text.split("\n")[:-1]:
                assert LOG_LINE.match(line), f"{name}: not a log record: {line!r}"


def _fds(pid):
    out = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            out.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return sorted(out)
