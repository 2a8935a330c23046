#!/usr/bin/python3
"""Kill smx under load, again and again, and ask the ledger whether anything was lost.

A series is: load runs and keeps running; mail flows, a random time passes, something happens to the suite (events.py), and again. Then load
is stopped, the queue drains, and lib/ledger.py and lib/handed.py judge all that was sent since the beginning of the series. The sink defers
some recipients, so that DEFEDB has work, and segments are small, so that they turn over. Kinds of events, each with rounds of its own:

    kill      SIGKILL to one component, each in its turn, mcp included
    all       SIGKILL to every process of the suite at one moment, then a start
    fault     each write and sync of content and journal fails, is short, or is the last thing that the process does
    upgrade   another build is installed over the running suite, then each worker is killed
    stop      SIGSTOP for a while, then SIGCONT; a+b: one of both each time
    queue     SIGKILL to qmgr or to all, while half of the destinations are away every other while and some refuse for ever: the failures
              are reported, each in one DSN, which comes twice only where a mail may

The dice are seeded: the same seed gives the same plan (not the same timing).

    crash.py [--rounds N] [--series N] [--seed S] [--kinds kill,all,fault,upgrade] [--sessions N] [--keep]

Environment: SMX_BUILD, SMX_CRASH_ROUNDS (default 200, of each kind), SMX_CRASH_SEED. Exit 0 when no rule was broken.
"""
import argparse
import bisect
import collections
import os
import random
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from events import Events, copy_of_programs  # noqa: E402
from lib.client import Client, Closed  # noqa: E402
from lib.handed import Handed  # noqa: E402
from lib.ledger import judge, read_arrivals, read_ledger, read_reports, report_id  # noqa: E402
from lib.paths import free_port  # noqa: E402
from lib.programs import Load, SinkProgram  # noqa: E402
from lib.site import COMPONENTS, Site  # noqa: E402
from lib.wait import SLOW, until  # noqa: E402

# Results that nobody waits for are written 100 ms after they came at the latest; then the disk takes its time.
LATE = 1.0
RECOVERY = 10.0     # s: mail is taken again, without a human
# The recipients of a message have different next hops and are taken at different times: results come one by one.
DOMAINS = [f"d{i}.r{j}.test" for i in range(25) for j in range(2)]
# A recipient there is refused for ever by a sink with -F.
DEAD = re.compile(r"@d\d*4\.")
AWAY_MS = 1500
# Failures of one transaction wait for each other, but not for long.
MERGE = {"qmgr.DSN_handling.merge_delay_max": "1s"}


def settings():
    s = {"qmgr.retry_min_delay": "1s", "qmgr.retry_max_delay": "2s", "qmgr.smtps.max_connection_rate": "1000000", "qmgr.orphan_delay": "3s"}
    for c in COMPONENTS:
        # the brake is for programs that die of themselves; here it would only make the rounds long
        s[f"{c}.restart_min_delay"] = "10ms"
        s[f"{c}.restart_max_delay"] = "100ms"
    return s


def traced():
    """qmgr says what it hands out and what it finds; its segments turn over soon; directories are synced on any file system."""
    return {**settings(), "qmgr.log_level": "13", "qmgr.IBDB.size": "2MB", "qmgr.DEFEDB.size": "2MB", "smtps.CDB_sync_directory": "always"}


def routes(port):
    return [f"{d} {port}^esmtp:[127.0.0.{2 if '.r1.' in d else 1}]" for d in ["source.test", "src.test", *DOMAINS]]


class Series:
    def __init__(self, site, sink_port, directory, dice, options):
        self.site, self.port, self.dir, self.dice, self.o = site, sink_port, directory, dice, options
        self.happened = []      # (time, which, kill)
        self.figures = collections.Counter()
        self.ledger = None

    def run(self, kind, rounds, events):
        """Gives the verdict; raises when the suite does not come back."""
        events.note, events.flows, events.figures = self.note, self.flows, self.figures
        with SinkProgram(self.dir, "-w", 2, "-W", 60, *self.refusals(kind), f"127.0.0.2:{self.port}", port=self.port) as sink:
            load = Load(self.dir, f"127.0.0.1:{self.site.port}", "-k", "-e", "-m", 100000000, "-s", self.o.sessions, "-l", 4000, "-r", 2, "-D", 25,
                        "-t", "u%n.%r@d%d.r%r.test", "-R", 30, "-T", 100000, "-w", self.o.pause)
            self.ledger = load.ledger
            try:
                until(lambda: os.path.exists(load.ledger), "load begins")
                while self.figures["rounds"] < rounds:
                    if load.process.poll() is not None:
                        raise AssertionError(f"load ended: {load.wait()}")
                    self.figures["rounds"] += events.happen(kind)
                self.accepts()
            finally:
                load.process.terminate()
                figures = load.done()
            self.site.wait_ready(30)
            self.site.wait_empty(120 * SLOW)
            sink.settled()
            left = len(self.site.content_files())
            sink_figures = sink.stop()
        verdict = judge(load.ledger, sink.arrivals, sink.reports, left=left, copies=True)
        self.hold_against_the_log(verdict, sink.arrivals, sink.reports)
        self.hits(verdict)
        self.failures(verdict, sink.arrivals, sink.reports, kind)
        verdict.figures["connects"] = figures["connects"]
        assert verdict.figures["reports"] == sink_figures["reports"]
        return verdict

    def refusals(self, kind):
        return ("-f", AWAY_MS, "-F") if kind == "queue" else ("-4", self.o.deferred)

    def note(self, which, kill=True, at=None):
        self.happened.append((at or time.monotonic(), which, kill))
        self.figures[f"of {which}"] += 1

    def flows(self):
        """A transaction that began after the last event is acknowledged, then a random time passes: the next one hits a suite at work."""
        since = time.monotonic()

        def acked():
            with open(self.ledger, "rb") as f:
                f.seek(max(0, os.path.getsize(self.ledger) - 100000))
                lines = [line.split(b" ", 3) for line in f.read().split(b"\n")[1:-1]]
            begun = {w[2] for w in lines if w[0] == b"BEGIN" and float(w[1]) > since}
            return any(w[0] == b"ACK" and w[2] in begun for w in lines)
        until(acked, lambda: f"mail flows again; log:\n{self.site.log_tail()}", RECOVERY + 20, 0.005)
        # Now and then long enough for what should have been written to be missed.
        time.sleep(self.dice.uniform(0, self.o.spacing) if self.dice.randrange(8) else self.dice.uniform(1, 2.5))

    def accepts(self):
        def works():
            try:
                with Client(self.site.port, timeout=2) as c:
                    return c.send_mail("probe@src.test", "probe@d0.r0.test", b"Subject: probe\r\n\r\nx\r\n").code == 250
            except (OSError, AssertionError, Closed):
                return False
        until(works, lambda: f"accepts again; log:\n{self.site.log_tail()}", RECOVERY + 20, 0.02)

    def failures(self, verdict, arrivals, reports, kind):
        """Who is refused for ever is reported, and nobody else: nothing that happens here is anybody's fault but ours."""
        if kind == "queue":
            named = {r for text in read_reports(reports) for r in re.findall(r"(?mi)^Final-Recipient: rfc822; *(\S+)", text)}
            for r in named:
                if not DEAD.search(r):
                    verdict.bad("L8", "-", r, "was reported as failed, and is only away now and then")
            for g in read_arrivals(arrivals):
                if DEAD.search(g.rcpt):
                    verdict.bad("L5", g.id, g.rcpt, "arrived where all are refused")
            self.figures["failed"] += len(named)
        elif verdict.figures["reported_rcpts"]:
            verdict.bad("L8", "-", "-", f"{verdict.figures['reported_rcpts']} recipients were reported as failed for a local problem")

    def hold_against_the_log(self, verdict, arrivals, reports):
        """What came twice must have been handed out without a durable result, each time."""
        handed = Handed(LATE * SLOW)
        for name, text in self.site.logs_since().items():
            if name.startswith("qmgr"):
                handed.feed(line for line in text.split("\n") if "probe@" not in line)
        came = collections.Counter(g.rcpt for g in read_arrivals(arrivals) if not g.rcpt.startswith("probe@"))
        came.update(report_id(text) for text in read_reports(reports))
        handed.hold_against(came)
        for rule, ta, rcpt, what in handed.wrong:
            verdict.bad(rule, ta, rcpt, what)
        for k in ("given", "handed", "undecided", "restarts"):
            self.figures[k] += handed.figures[k]
        if handed.figures["duplicates"] != verdict.figures["duplicates"]:
            verdict.bad("H2", "-", "-", f"{verdict.figures['duplicates']} and {handed.figures['duplicates']} duplicates: an address was used twice")

    def hits(self, verdict):
        """What the kills hit, and how long it took until a transaction that was begun afterwards was acknowledged."""
        sent = read_ledger(self.ledger)
        over = float("inf")
        begun = sorted((s.begin, s.reply_time or over) for s in sent.values())
        dots = sorted((s.time, s.reply_time or over) for s in sent.values() if s.hash)
        acked = sorted((s.begin, s.reply_time) for s in sent.values() if s.verdict == "ACK")
        soonest = [t for _, t in acked]
        for i in range(len(soonest) - 2, -1, -1):
            soonest[i] = min(soonest[i], soonest[i + 1])

        def open_at(spans, t):
            lo = bisect.bisect_left(spans, (t - 40, 0))     # no reply is waited for so long
            return sum(1 for a, b in spans[lo:bisect.bisect_right(spans, (t, over))] if b > t)
        for t, which, kill in self.happened:
            n = open_at(begun, t)
            if kill:
                self.figures["kills"] += 1
                self.figures["hit"] += n > 0
                self.figures["hit_dot"] += open_at(dots, t) > 0
            self.figures["events"] += 1
            self.figures["events_hit"] += n > 0
            self.figures["open"] += n
            i = bisect.bisect_right(acked, (t, over))
            if i < len(soonest):
                ms = int((soonest[i] - t) * 1000)
                self.figures["slowest_recovery_ms"] = max(self.figures["slowest_recovery_ms"], ms)
                if ms > RECOVERY * 1000 * SLOW:
                    verdict.bad("L7", "-", "-", f"{ms} ms until mail was taken again after {which}")
        # nothing that happens here is anybody's fault but ours
        for mid, s in sent.items():
            if s.verdict == "NAK5" or (s.verdict == "REFUSED" and s.reply.startswith("5")):
                verdict.bad("L8", mid, "-", f"a permanent error for a local problem: {s.reply}")


# ---- a kind: as many series as its rounds take

def summary(kind, t, seconds):
    def share(n, of):
        return f"{100 * t[n] / max(1, t[of]):.1f} %"
    of = ", ".join(f"{k[3:]} {v}" for k, v in sorted(t.items()) if k.startswith("of "))
    lines = [f"{kind}: {t['rounds']} rounds, {t['acked']} messages with {t['acked_rcpts']} recipients acknowledged, {t['lost']} lost, {t['damaged']} damaged, "
             f"{t['duplicates']} duplicates of at most {t['handed']}, {t['unknown']} unknown, {t['nak4']} put off; "
             f"{share('hit', 'kills')} of {t['kills']} kills hit open transactions ({share('hit_dot', 'kills')} one between dot and reply), "
             f"{share('events_hit', 'events')} of all {t['events']} events, {t['open'] / max(1, t['events']):.1f} open on average; "
             f"slowest recovery {t['slowest_recovery_ms']} ms; {t['violations']} violations; {seconds:.0f} s",
             f"  {t['given']} hand-outs to smtpc, {t['restarts']} replays; {of}"]
    if t["reports"]:
        lines.append(f"  {t['failed']} recipients failed, {t['reports']} DSNs came")
    if t["armed"]:
        missed = ", ".join(f"{k[11:]} {v}" for k, v in sorted(t.items()) if k.startswith("not struck "))
        lines.append(f"  {t['struck']} of {t['armed']} armed faults struck{'; not: ' + missed if missed else ''}")
    if t["reloads"]:
        lines.append(f"  {t['reloads']} reloads to the installed build")
    return "\n".join(lines)


def run_kind(kind, o):
    """The figures, and whether all went well."""
    port = free_port()
    dice = random.Random(f"{o.seed} {kind}")
    total, good, start = collections.Counter(), True, time.monotonic()
    build = copy_of_programs() if "upgrade" in kind else None
    try:
        with Site(routes=routes(port), relay=DOMAINS, settings={**traced(), **(MERGE if kind == "queue" else {})},
                  users=o.users, build=build) as site:
            if "fault" in kind and not site.has_faults():
                print(f"{kind}: not built with --enable-testing")
                return total, False
            events = Events(site, dice, None, None, None)
            while total["rounds"] < o.rounds:
                directory = tempfile.mkdtemp(prefix="smx-crash-")
                s = Series(site, port, directory, dice, o)
                began = time.monotonic()
                try:
                    verdict = s.run(kind, min(o.series, o.rounds - total["rounds"]), events)
                except AssertionError as e:
                    print(f"{kind}, after round {total['rounds'] + s.figures['rounds']}: {e}\n  happened: {[w for _, w, _ in s.happened]}\n"
                          f"  kept: {directory} {site.dir}", flush=True)
                    os.environ["SMX_KEEP"] = "1"
                    return total, False
                slowest = max(total["slowest_recovery_ms"], s.figures["slowest_recovery_ms"])
                total.update(s.figures)
                total.update(verdict.figures)
                total["slowest_recovery_ms"] = slowest
                print(f"  {kind} {total['rounds']}/{o.rounds}, {time.monotonic() - began:.1f} s: {verdict}", flush=True)
                if verdict.wrong:
                    good = False
                    shutil.copytree(site.log_dir, os.path.join(directory, "log"))
                    print(f"  happened: {[w for _, w, _ in s.happened]}\n  kept: {directory}", flush=True)
                    if not o.keep:
                        break
                else:
                    shutil.rmtree(directory)
                for name in os.listdir(site.log_dir):   # nothing is open: the next series begins with an empty log
                    os.truncate(os.path.join(site.log_dir, name), 0)
    finally:
        if build:
            shutil.rmtree(build)
    print(summary(kind, total, time.monotonic() - start), flush=True)
    return total, good


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rounds", type=int, default=int(os.environ.get("SMX_CRASH_ROUNDS", "200")), help="of each kind")
    p.add_argument("--series", type=int, default=25, help="rounds of one series")
    p.add_argument("--seed", type=int, default=int(os.environ.get("SMX_CRASH_SEED", "1")))
    p.add_argument("--kinds", type=lambda s: s.split(","), default=["kill", "all", "fault", "upgrade"])
    p.add_argument("--sessions", type=int, default=50)
    p.add_argument("--deferred", type=int, default=8, help="percent of recipients that the sink puts off")
    p.add_argument("--pause", type=int, default=0, help="ms between two messages of a session")
    p.add_argument("--spacing", type=float, default=0.2, help="most seconds between mail that flows and the next event")
    p.add_argument("--users", default="none", choices=["none", "real"])
    p.add_argument("--keep", action="store_true", help="go on after a series that broke a rule; its directory is kept in any case")
    o = p.parse_args()
    results = [run_kind(kind, o)[1] for kind in o.kinds]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
