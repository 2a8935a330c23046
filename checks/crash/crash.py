#!/usr/bin/python3
"""Kill smx under load, again and again, and ask the ledger whether anything was lost.

A series is: load runs and keeps running, every some 10 to 300 ms something happens to the suite, then load is stopped, the queue drains, and
the rules of lib/ledger.py are applied to all that was sent since the beginning of the series. What happens is one of

    kill    SIGKILL to all processes of one component, mcp included
    all     SIGKILL to every process of the suite at one moment, then a start
    stop    SIGSTOP for a while, then SIGCONT
    fault   a fault point of the suite (needs --enable-testing): EIO, ENOSPC, a short write, a kill or an abort at the Nth pass

The dice are seeded: the same seed gives the same plan (not the same timing).

    crash.py [--rounds N] [--series N] [--seed S] [--kinds kill,all,fault] [--sessions N] [--keep]

Environment: SMX_BUILD, SMX_CRASH_ROUNDS (default 200), SMX_CRASH_SEED. Exit 0 when no rule was broken.
"""
import argparse
import bisect
import collections
import os
import random
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lib.client import Client, Closed  # noqa: E402
from lib.ledger import judge, read_arrivals, read_ledger  # noqa: E402
from lib.paths import free_port  # noqa: E402
from lib.programs import Load, SinkProgram  # noqa: E402
from lib.site import COMPONENTS, Site  # noqa: E402
from lib.wait import SLOW, until  # noqa: E402

POINTS = ["cdb.open", "cdb.write", "cdb.sync", "cdb.close", "cdb.syncdir", "cdb.read", "cdb.unlink",
          "ibdb.write", "ibdb.sync", "ibdb.create", "ibdb.prepare", "defedb.write", "defedb.sync", "defedb.create", "defedb.prepare"]
ACTIONS = ["eio", "enospc", "short", "kill", "abort", "delay:200"]
# A result is durable at the latest 100 ms after it came (qmgr), and takes a moment to get there: what was taken within this time before a
# kill may come a second time.
ON_THE_WAY = 1.0
RECOVERY = 10.0  # L7


def settings():
    s = {"qmgr.retry_min_delay": "1s", "qmgr.retry_max_delay": "2s", "qmgr.smtps.max_connection_rate": "1000000", "qmgr.orphan_delay": "3s"}
    for c in COMPONENTS:
        # the brake is for programs that die of themselves; here it would only make the rounds long
        s[f"{c}.restart_min_delay"] = "10ms"
        s[f"{c}.restart_max_delay"] = "100ms"
    return s


class Series:
    def __init__(self, site, sink_port, directory, dice, options):
        self.site, self.port, self.dir, self.dice, self.o = site, sink_port, directory, dice, options
        self.happened = []      # (time, what, which)
        self.figures = collections.Counter()

    # -- what may happen
    def kill(self):
        which = self.dice.choice([*COMPONENTS, *COMPONENTS, "mcp"])
        if which == "mcp":
            self.note("kill", "mcp")
            old = [p for ps in self.site.all_pids().values() for p in ps]
            self.site.kill("mcp")
            until(lambda: not any(os.path.exists(f"/proc/{p}") and not _zombie(p) for p in old), "the children of mcp end", 40)
            self.site.start(wait=False)
            return
        old = self.site.pids(which)
        self.note("kill", which)
        self.site.kill(which)
        self.site.restarted(which, old, 30)

    def all(self):
        self.note("all", "all")
        self.site.kill_all()
        self.site.start(wait=False)

    def stop(self):
        which = self.dice.choice(COMPONENTS)
        pids = self.site.kill(which, signal.SIGSTOP)
        self.note("stop", which)
        time.sleep(self.dice.uniform(0.05, 1.0))
        for p in pids:
            try:
                os.kill(p, signal.SIGCONT)
            except ProcessLookupError:
                pass

    def fault(self):
        point, action, n = self.dice.choice(POINTS), self.dice.choice(ACTIONS), self.dice.randrange(1, 12)
        text = f"{point}={action}@{n}"
        self.note("fault", text)
        control = self.site.faults("qmgr", text)
        for component in COMPONENTS:
            control.component = component
            control.arm(text)
        time.sleep(self.dice.uniform(0.1, 0.5))
        for component in COMPONENTS:
            control.component = component
            control.arm("")

    def note(self, kind, which):
        self.happened.append((time.monotonic(), kind, which))
        self.figures[f"{kind}:{which.partition('=')[0]}"] += 1

    # -- the run
    def run(self, rounds):
        """Gives the verdict; raises when the suite does not come back."""
        with SinkProgram(self.dir, "-w", 5, port=self.port) as sink:
            load = Load(self.dir, f"127.0.0.1:{self.site.port}", "-k", "-m", 100000000, "-s", self.o.sessions, "-l", 4000, "-r", 2, "-D", 50,
                        "-t", "u%n.%r@d%d.test", "-R", 30, "-T", 100000, "-w", self.o.pause)
            try:
                time.sleep(0.2)
                for _ in range(rounds):
                    if load.process.poll() is not None:
                        raise AssertionError(f"load ended: {load.wait()}")
                    self.flows(load.ledger)
                    time.sleep(self.dice.uniform(0, self.o.spacing))
                    self.busy(load.ledger)
                    getattr(self, self.dice.choice(self.o.kinds))()
                self.accepts()
            finally:
                load.process.terminate()
                figures = load.done()
            self.site.wait_ready(30)
            self.site.wait_empty(120 * SLOW)
            sink.settled()
            left = len(self.site.content_files())
            sink_figures = sink.stop()
        verdict = judge(load.ledger, sink.arrivals, sink.reports, left=left)
        self.inspect(verdict, load.ledger, sink.arrivals)
        verdict.figures["connects"] = figures["connects"]
        verdict.figures["reports"] = sink_figures["reports"]
        return verdict

    def flows(self, ledger):
        """Mail has been acknowledged since the last time something happened: the next one hits a suite at work."""
        since = self.happened[-1][0] if self.happened else 0

        def acked():
            with open(ledger, "rb") as f:
                f.seek(max(0, os.path.getsize(ledger) - 4000))
                return any(line.startswith(b"ACK ") and float(line.split(b" ", 2)[1]) > since for line in f.read().split(b"\n")[1:-1])
        start = time.monotonic()
        until(acked, lambda: f"mail flows again; log:\n{self.site.log_tail()}", RECOVERY + 20, 0.005)
        self.figures["slowest_recovery_ms"] = max(self.figures["slowest_recovery_ms"], int((time.monotonic() - start) * 1000))

    def busy(self, ledger):
        """A client has ended its data and waits for the reply: a moment that tests the promise. Bounded, since a load may also be idle."""
        def waiting():
            with open(ledger, "rb") as f:
                f.seek(max(0, os.path.getsize(ledger) - 16000))
                lines = [line.split(b" ", 3) for line in f.read().split(b"\n")[1:-1]]
            done = {x[2] for x in lines if x[0] != b"SENT"}
            return any(x[0] == b"SENT" and x[2] not in done for x in lines[-2 * self.o.sessions:])
        end = time.monotonic() + 2
        while not waiting() and time.monotonic() < end:
            time.sleep(0.0005)

    def accepts(self):
        """L7: without a human, within so long."""
        def works():
            try:
                with Client(self.site.port, timeout=2) as c:
                    return c.send_mail("probe@src.test", "probe@d0.test", b"Subject: probe\r\n\r\nx\r\n").code == 250
            except (OSError, AssertionError, Closed):
                return False
        start = time.monotonic()
        until(works, lambda: f"accepts again; log:\n{self.site.log_tail()}", RECOVERY + 20, 0.02)
        took = time.monotonic() - start
        self.figures["slowest_recovery_ms"] = max(self.figures["slowest_recovery_ms"], int(took * 1000))

    def inspect(self, verdict, ledger, arrivals):
        """What the plain rules cannot know: when something happened."""
        sent = read_ledger(ledger)
        times = sorted(t for t, kind, _ in self.happened)
        kills = [t for t, kind, _ in self.happened if kind != "fault"] # a fault strikes some time after it is armed
        last = collections.defaultdict(float)
        for g in read_arrivals(arrivals):
            last[g.id] = max(last[g.id], g.time)
        # A transaction is open from its end of data until its client has the reply and each recipient the mail.
        spans = sorted((s.time, max(s.reply_time or float("inf"), last[mid])) for mid, s in sent.items() if s.hash)
        starts = [a for a, _ in spans]
        for t in kills:
            lo = bisect.bisect_left(starts, t - 30)
            open_ = sum(1 for a, b in spans[lo:bisect.bisect_right(starts, t)] if b >= t)
            self.figures["hit_open"] += open_ > 0
            self.figures["open_at_hits"] += open_
        self.figures["rounds"] += len(times)
        self.figures["kills"] += len(kills)
        # L4: the first arrival of what came twice was on its way when something happened
        arrived = collections.defaultdict(list)
        for g in read_arrivals(arrivals):
            arrived[g.id, g.rcpt].append(g.time)
        for mid, rcpt, _ in verdict.twice:
            for first in sorted(arrived[mid, rcpt])[:-1]:
                i = bisect.bisect_left(times, first - ON_THE_WAY * SLOW)
                if i == len(times) or times[i] > first + ON_THE_WAY * SLOW:
                    verdict.bad("L4", mid, rcpt, "came twice, and nothing had happened at that time")
        # L8: nothing that happens here is anybody's fault but ours
        for mid, s in sent.items():
            if s.verdict == "NAK5" or (s.verdict == "REFUSED" and s.reply.startswith("5")):
                verdict.bad("L8", mid, "-", f"a permanent error for a local problem: {s.reply}")
        if verdict.figures["reported_rcpts"]:
            verdict.bad("L8", "-", "-", f"{verdict.figures['reported_rcpts']} recipients were reported as failed for a local problem")


def _zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            text = f.read()
        return text[text.rindex(")") + 2] in "ZX"
    except OSError:
        return True


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rounds", type=int, default=int(os.environ.get("SMX_CRASH_ROUNDS", "200")))
    p.add_argument("--series", type=int, default=25, help="rounds of one series")
    p.add_argument("--seed", type=int, default=int(os.environ.get("SMX_CRASH_SEED", "1")))
    p.add_argument("--kinds", type=lambda s: s.split(","), default=None)
    p.add_argument("--sessions", type=int, default=40)
    p.add_argument("--pause", type=int, default=0, help="ms between two messages of a session")
    p.add_argument("--spacing", type=float, default=0.2, help="most seconds between two rounds")
    p.add_argument("--users", default="none", choices=["none", "real"])
    p.add_argument("--keep", action="store_true", help="keep directories of series that broke a rule")
    o = p.parse_args()
    port = free_port()
    dice = random.Random(o.seed)
    total, failed = collections.Counter(), 0
    with Site(routes=[f"{d} {port}^esmtp:[127.0.0.1]" for d in ["source.test", "src.test", *(f"d{i}.test" for i in range(50))]],
              relay=[f"d{i}.test" for i in range(50)], settings=settings(), users=o.users) as site:
        kinds = o.kinds or ["kill", "kill", "kill", "all"] + (["fault"] * 2 if site.has_faults() else [])
        o.kinds = kinds
        done = 0
        while done < o.rounds:
            n = min(o.series, o.rounds - done)
            directory = tempfile.mkdtemp(prefix="smx-crash-")
            s = Series(site, port, directory, dice, o)
            start = time.monotonic()
            try:
                verdict = s.run(n)
            except AssertionError as e:
                print(f"series at round {done}: {e}\n  happened: {[w for _, *w in s.happened]}\n  kept: {directory} {site.dir}")
                os.environ["SMX_KEEP"] = "1"
                return 1
            done += n
            slowest = max(total["slowest_recovery_ms"], s.figures["slowest_recovery_ms"])
            total.update(s.figures)
            total.update(verdict.figures)
            total["slowest_recovery_ms"] = slowest
            print(f"{done}/{o.rounds} rounds, {time.monotonic() - start:.1f} s: {verdict}", flush=True)
            if verdict.wrong:
                failed += 1
                print(f"  happened: {[w for _, *w in s.happened]}\n  kept: {directory}")
            else:
                shutil.rmtree(directory)
    hits = max(1, total["kills"])
    print(f"seed {o.seed}: {total['rounds']} rounds, {total['acked']} messages ({total['acked_rcpts']} recipients) acknowledged, {total['lost']} lost, "
          f"{total['duplicates']} duplicates, {total['unknown']} unknown, {total['nak4']} put off; "
          f"{100 * total['hit_open'] / hits:.0f} % of {total['kills']} kills hit open transactions ({total['open_at_hits'] / hits:.1f} on average); "
          f"slowest recovery {total['slowest_recovery_ms']} ms; {total['violations']} violations")
    print("  " + " ".join(f"{k}={v}" for k, v in sorted(total.items()) if ":" in k))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
