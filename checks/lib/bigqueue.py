"""A site with a large deferred queue: filled by fillqueue while the site does not run, then asked and told through qmgrctl."""
import json
import os
import re
import signal
import subprocess
import time

from .client import greets
from .paths import program
from .wait import SLOW, settled, until

# Mail for these goes to the sink; what fillqueue makes goes elsewhere.
DEST = "dest.test"
# What waits longer than the longest retry time is taken for a clock that was set back.
SETTINGS = {"qmgr.retry_min_delay": "30m", "qmgr.retry_max_delay": "1d", "qmgr.smtps.max_connections": "2000"}
# What the contents are in; none: there are only the envelopes, whose records say that each has a file.
CONTENTS = ("segments", "files", "none")
# So many of fillqueue's contents are in one as there are of 5 KB in one of the default size.
SEGMENT_BYTES = 200 * 1024


def fill(site, transactions, rcpts=1, domains=200000, senders=300000, due=14400, spread=14400, age=7200, reasons=50, contents="none", waits=False):
    """Gives the seconds that it took. The site must not be running."""
    start = time.monotonic()
    args = ["-n", transactions, "-r", rcpts, "-d", domains, "-s", senders, "-R", reasons, "-t", due, "-S", spread, "-a", age]
    if contents != "none":
        args += ["-c", site.spool]
    if contents == "segments":
        args += ["-g", SEGMENT_BYTES]
    if waits:
        args += ["-w"]
    subprocess.run([*site.prefix, program("checks/bench/fillqueue"), *map(str, args), site.spool], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


class Queue:
    """What qmgrctl says of a site, and how long it takes to."""

    def __init__(self, site):
        self.site = site
        self.args = [program("misc/qmgrctl"), "-s", os.path.join(site.spool, "ctl", "qmgr")]

    def start(self, *args):
        """As a process."""
        return subprocess.Popen([*self.site.prefix, *self.args, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.site.dir)

    def ask(self, *args):
        """(seconds, lines of JSON); nothing found is no lines."""
        start = time.monotonic()
        p = self.start("-j", *args)
        out, err = p.communicate(timeout=300 * SLOW)
        took = time.monotonic() - start
        if p.returncode not in (0, 1):
            raise AssertionError(f"qmgrctl {args}: exit {p.returncode}: {err.decode()}")
        return took, [json.loads(x) for x in out.splitlines()]

    def count(self, *conditions):
        """Recipients that are so."""
        for line in self.ask("summary", "--by=state", *conditions)[1]:
            if line["type"] == "total":
                return line["rcpts"]
        return 0

    def held(self):
        return self.count("state=held")

    def pid(self):
        return until(lambda: self.site.pids("qmgr"), "qmgr is there")[0]

    def memory_mb(self):
        """PSS, and the most that ever was resident, of qmgr."""
        pid = self.pid()
        with open(f"/proc/{pid}/smaps_rollup") as f:
            pss = int(re.search(r"Pss:\s+(\d+)", f.read()).group(1)) / 1024
        with open(f"/proc/{pid}/status") as f:
            peak = int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024
        return pss, peak

    def _at_work(self):
        """Does any thread of qmgr run, or wait for the disk?"""
        pid = self.pid()
        for thread in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{thread}/stat") as f:
                    if f.read().rpartition(")")[2].split()[0] in "RD":
                        return True
            except OSError:
                continue  # it has ended
        return False

    def settled_mb(self):
        """PSS of qmgr when nothing goes on in it. After a start it looks for contents without a mail, which takes a while and memory."""
        return settled(lambda: float("nan") if self._at_work() else self.memory_mb()[0], 0.1, "PSS of qmgr in MB", 1)

    def idle(self):
        """Returns when what has come is over, so that nothing but what is deferred is left."""
        def over():
            status, = (x for x in self.ask("status")[1] if x["type"] == "status")
            return status["active_transactions"] == 0
        until(over, lambda: f"no mail is active; log:\n{self.site.log_tail()}", every=0.1)

    def kill(self):
        """SIGKILL; returns when another qmgr serves."""
        old = self.site.kill("qmgr", signal.SIGKILL)
        self.site.restarted("qmgr", old, 60)
        self.ready(120)

    def ready(self, timeout=60):
        until(lambda: greets(("127.0.0.1", self.site.port)), lambda: f"site is ready; log:\n{self.site.log_tail()}", timeout, 0.02)

    def act_and_kill(self, after, *act):
        """Begin an act, kill qmgr after so many seconds. True: its answer came first."""
        p = self.start("-j", *act)
        time.sleep(after)
        answered = p.poll() is not None
        self.kill()
        p.wait(60 * SLOW)
        p.communicate()
        return answered
