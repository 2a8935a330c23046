"""smx under test: its queue directory is the recorded disk. Records a busy life, and after a cut starts it on what is left.

The recorded life has all that writes to the disk: new mail small and large, mail that a next hop takes at once or late, defers, or refuses
(so that there are DSNs), a sudden death and a start in the middle of the load, an ordinary stop and start, and a while in which only
deferred mail moves. Segments are as small as they may be, so that they are made, freed and recycled. In a build with fault points one of
the two logs is written late for a while, then the other.
"""
import contextlib
import json
import os
import pwd
import re
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lib.client import Client, Closed  # noqa: E402
from lib.ledger import judge  # noqa: E402
from lib.paths import free_port  # noqa: E402
from lib.programs import Load, SinkProgram  # noqa: E402
from lib.site import COMPONENTS, Site  # noqa: E402
from lib.wait import SLOW, until  # noqa: E402

# Next hops by what they do while recording (options of the sink), and how many of the DOMAINS each has.
HOPS = {"good": (["-w", 5], 28), "busy": (["-4", 60, "-5", 5], 27), "refusing": (["-5", 100], 4), "slow": (["-w", 2000], 1)}
DOMAINS = 60
# Long addresses fill the logs.
ADDRESS = "u%n.%r.one-of-the-many-readers-of-a-mailing-list@d%d.test"
LOADS = {"small": ("-s", 12, "-l", 3000, "-r", 2, "-w", 30), "large": ("-s", 2, "-l", 150000, "-w", 400),
         "many": ("-s", 3, "-l", 1000, "-r", 80, "-w", 100, "-p")}
SETTINGS = {"qmgr.retry_min_delay": "1s", "qmgr.retry_max_delay": "2s", "qmgr.orphan_delay": "1s", "qmgr.IBDB.size": "2MB",
            "qmgr.DEFEDB.size": "2MB", "qmgr.min_disk_space": "4MB", "qmgr.ok_disk_space": "8MB",
            **{f"{c}.restart_{x}_delay": d for c in COMPONENTS for x, d in (("min", "10ms"), ("max", "100ms"))}}
LATE_MS = 40
ALARM = re.compile(r"(?m)^\S+ (?:CRIT|FATAL) .*$")


class Suite:
    def __init__(self, directory, seconds):
        self.dir, self.seconds = directory, seconds
        self.ports = {hop: free_port() for hop in HOPS}
        self.site = None
        self.lines = []     # ledger: (time, line)
        self.arrivals = []  # of the recording: (time, line)
        self.reports = []   # of the recording: (time, path)

    # -- the recording
    def record(self, disk):
        """A busy life with the queue on `disk`; gives the times between which cuts are of interest."""
        self._make_site(disk)
        target = f"127.0.0.1:{self.site.port}"
        with contextlib.ExitStack() as running:
            sinks = [running.enter_context(SinkProgram(self._sub(hop), *HOPS[hop][0], port=port)) for hop, port in self.ports.items()]
            self.site.start()
            loads = [running.enter_context(Load(self._sub(kind), target, *args, "-k", "-m", 100000000, "-T", 100000, "-R", 30, "-D", DOMAINS,
                                                "-t", ADDRESS)) for kind, args in LOADS.items()]
            begin = time.monotonic()
            self._lives("defedb")
            self.site.kill_all()
            self.site.start()
            self._lives("ibdb")
            self.site.stop()
            self.site.start()
            self._lives()
            for load in loads:
                load.process.terminate()
                load.done()
            self._lives("defedb")
            end = time.monotonic()
            self.site.kill_all()
        self._read(loads, sinks)
        return begin, end

    def _lives(self, late=None):
        """A quarter of the recording, in which that log is written late: nothing but qmgr orders what is in one log and what is in the other."""
        if late and self.site.has_faults():
            self.site.faults("qmgr", "").arm(f"{late}.write=delay:{LATE_MS}")
        time.sleep(self.seconds / 4)

    def _make_site(self, disk):
        user = pwd.getpwnam(os.environ.get("SMX_TEST_USER", "nobody"))
        os.chown(disk, user.pw_uid, user.pw_gid)
        top = os.path.dirname(disk)
        domains = [f"d{i}.test" for i in range(DOMAINS)]
        hops = [hop for hop, (_, n) in HOPS.items() for _ in range(n)]
        routes = [*zip(domains, hops), ("source.test", "good"), ("src.test", "good")]
        self.site = Site(routes=[f"{d} {self.ports[hop]}^esmtp:[127.0.0.1]" for d, hop in routes], relay=domains, settings=SETTINGS,
                         directory=top)
        assert os.path.samefile(self.site.spool, disk)

    def _read(self, loads, sinks):
        for load in loads:
            self.lines += _lines(load.ledger)
        for sink in sinks:
            self.arrivals += _lines(sink.arrivals)
            for name in os.listdir(sink.reports):
                path = os.path.join(sink.reports, name)
                with open(path, encoding="latin-1") as f:
                    self.reports.append((float(re.search(r"(?m)^X-Sink-Time: (\S+)", f.read()).group(1)), path))

    # -- after a cut
    def check(self, moment, disk, figures):
        """Starts on what is left, lets the queue drain, asks the ledger; what is wrong, a line each. `disk` is mounted as in record()."""
        run = self._sub("run")
        self._so_far(run, moment)
        marks = self.site.log_marks()
        wrong = []
        addresses = [f"127.0.0.1:{p}" for p in self.ports.values()]
        with SinkProgram(run, *addresses[1:], address=addresses[0]) as sink:
            try:
                began = time.monotonic()
                self.site.start(wait=False)
                until(self._accepts, lambda: f"accepts again; log:\n{self.site.log_tail()}", 30, 0.01)
                figures["slowest_start_ms"] = max(figures["slowest_start_ms"], int((time.monotonic() - began) * 1000))
                until(self._drained, lambda: f"the queue drains: {self._status()}\n{self.site.log_tail()}", 120)
                self.site.wait_empty(30)
                self.site.stop()
                figures["later_rcpts"] += sink.stop()["rcpts"] - 1  # the probe
            except AssertionError as e:  # SiteError, until
                wrong.append(str(e))
                self.site.kill_all()
        verdict = judge(os.path.join(run, "ledger"), sink.arrivals, sink.reports, left=len(self.site.content_files()), reports_twice=True)
        wrong += [" ".join(w) for w in verdict.wrong]
        wrong += [f"{name}: {line}" for name, text in self.site.logs_since(marks).items() for line in ALARM.findall(text)]
        for key in ("acked", "acked_rcpts", "lost", "duplicates", "unknown", "unknown_delivered", "delivered_rcpts", "reported_rcpts"):
            figures[key] += verdict.figures[key]
        return wrong

    def _so_far(self, run, moment):
        """The ledger, the arrivals and the reports as they were at that time: the second life adds to them."""
        for name, lines in (("ledger", self.lines), ("arrivals", self.arrivals)):
            with open(os.path.join(run, name), "w", encoding="latin-1") as f:
                f.writelines(line for t, line in lines if t < moment)
        os.mkdir(os.path.join(run, "reports"))
        for t, path in self.reports:
            if t < moment:
                os.link(path, os.path.join(run, "reports", f"{os.path.basename(os.path.dirname(os.path.dirname(path)))}.{os.path.basename(path)}"))

    def _accepts(self):
        try:
            with Client(self.site.port, timeout=2) as c:
                return c.send_mail("probe@src.test", "probe@d0.test", b"Subject: probe\r\n\r\nx\r\n").code == 250
        except (OSError, AssertionError, Closed):
            return False

    def _status(self):
        return json.loads(self.site.qmgrctl("-j", "status"))

    def _drained(self):
        s = self._status()
        return s["active_transactions"] + s["deferred_transactions"] == 0

    def _sub(self, name):
        path = os.path.join(self.dir, name)
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path)
        return path

    def keep(self, where):
        """What tells about the last check."""
        for path in (os.path.join(self.dir, "run"), self.site.log_dir):
            shutil.copytree(path, os.path.join(where, os.path.basename(path)))

    def close(self):
        """No process of the site is left: the disk can go. It may be started again."""
        if self.site:
            self.site.kill_all()
            until(lambda: not self.site.all_pids(), "all of the site end", 10 * SLOW)


def _lines(path):
    """(time, line) of a ledger or an arrivals file, times rounded up: what is on the edge was after the cut."""
    with open(path, encoding="latin-1") as f:
        return [(float(line.split(" ", 2)[1]) + 1e-6, line) for line in f]
