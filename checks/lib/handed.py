"""Which recipients may have come twice: what qmgr's log (log_level 13) says of hand-outs, results and what a crash left open.

Evidence that survives kill -9: `qm.give` is written before smtpc can have the task, `qm.found` tells what replay found open, and a line
that was lost with its process is made up for by the replay that follows. So each hand-out ends in exactly one of

    a result                  `qm.rcpt`; with `qm.end` of its transaction, or by the order of the journal, known to be durable
    an event                  handed to smtpc without a durable result: `qm.undecided` (its smtpc ended), or given, and found open by the
                              next qmgr
    durable, without a line   given, and not found open: qmgr died between the write of the result and that of the log

A failure (`stat=failed`) is a result that stays open until it is reported: it may be found again, and only one that was not durable
may be handed out again, as an event. A DSN is a transaction of qmgr's own (its id ends in FF) with one recipient, and goes by its id, as its
Message-ID tells. So is a part of an alias (`qm.child`, or found with `child_of`), but its members go by their addresses: only one list has them. The
alias itself is never handed out; that it is done (`qm.expand` without more) is a result like any other.

Rules (for each recipient; addresses are used once):
  H1  it is not handed out while it is out, nor when its result is known
  H2  it arrives at most as often as it was handed out, and once more than the events that it was in: together, what came twice is
      never more than what was handed out without a durable result, summed over all events
  H3  a result that is durable is never found open: its transaction has ended, or a later record of the journal is known to be durable
  H4  a result is durable soon: when qmgr lived `late` seconds after it, it is not found open
  H5  what is open is found: nothing that was put off or undecided is gone after a restart
  H6  at the end nothing is open; no log was damaged
"""
import collections
import re

EVENTS = re.compile(r"(\d{10}\.\d{3}) [A-Z]+ (qm\.(?:give|undecided|rcpt|expand|child|found|recovered|rights|dsn|end|log_damage))(?: ([^\n]*))?$")
BEGINNING = re.compile(r"(?<=.)(?=\d{10}\.\d{3} (?:DEBUG|INFO|NOTICE|WARN|ERROR|CRIT|FATAL) )")
FREE, OUT, DONE, FAILED, DOUBTED, ENDED = "free", "out", "done", "failed", "failed or not", "ended"


def parse(line):
    """(time, event, pairs) of a line that counts here, else None. A line cut off by the death of its process may stand before it."""
    at = line.rfind(" qm.")
    if at < 0:
        return None
    m = EVENTS.search(line, max(0, line.rfind(" ", 0, at) - 14))
    if not m:
        return None
    return float(m.group(1)), m.group(2), dict(p.split("=", 1) for p in (m.group(3) or "").split(", ") if "=" in p)


class Rcpt:
    __slots__ = ("ta", "state", "gives", "events", "at", "time")

    def __init__(self, ta):
        self.ta, self.state, self.gives, self.events, self.at, self.time = ta, FREE, 0, 0, 0, 0.0


class Handed:
    """Feed it the log of all qmgr processes in order, from an empty queue to an empty queue; then ask `hold_against`."""

    def __init__(self, late=1.0):
        self.late = late
        self.figures = collections.Counter()
        self.wrong = []             # (rule, transaction, rcpt, what)
        self.sets = []              # of each restart: how many were handed out without a durable result
        self._rcpts = {}            # address -> Rcpt
        self._live = set()          # addresses that have not ended
        self._children = set()      # transactions that are parts of aliases
        self._of = collections.defaultdict(set)  # transaction -> addresses
        self._found = {}            # of the replay that is going on
        self._elsewhere = set()     # transactions that have been in DEFEDB: its records have an order of their own
        self._at = 0                # position in the log
        self._durable_at = 0        # results of the journal up to here are known to be durable
        self._last = self._at_death = 0.0   # time of the newest line; of the last one of the qmgr before

    def bad(self, rule, ta, rcpt, what):
        self.figures["violations"] += 1
        if len(self.wrong) < 1000:
            self.wrong.append((rule, ta, rcpt, what))

    def feed(self, lines):
        for line in lines:
            # What was being written at a kill is cut, and the next process goes on behind it. Such a line says nothing, as if it had been
            # lost with the others that had not been written yet.
            got = parse(BEGINNING.split(line)[-1])
            if got:
                time, event, pairs = got
                self._at += 1
                self._on[event](self, pairs, time)
                self._last = time
        return self

    def _key(self, pairs):
        ta = pairs["ss_ta"]
        return ta if ta.endswith("FF") and ta not in self._children else pairs["rcpt"].strip("<>")

    def _get(self, pairs):
        ta = pairs["ss_ta"]
        address = self._key(pairs)
        r = self._rcpts.get(address)
        if r is None:
            r = self._rcpts[address] = Rcpt(ta)
            self._of[ta].add(address)
            self._live.add(address)
        elif r.ta != ta:
            raise ValueError(f"{address} is of {r.ta} and of {ta}: addresses must be used once")
        return address, r

    # -- what a line says
    def _give(self, pairs, time):
        address, r = self._get(pairs)
        if r.state is DOUBTED:
            self._event(r)
        if r.state != FREE:
            self.bad("H1", r.ta, address, "handed out while it is out" if r.state is OUT else "handed out again, though its result is known")
        r.state = OUT
        r.gives += 1
        self.figures["given"] += 1

    def _undecided(self, pairs, time):
        address, r = self._get(pairs)
        if r.state is not OUT:
            self.bad("H1", r.ta, address, "undecided, but was not out")
        self._event(r)
        self.figures["undecided"] += 1

    def _rcpt(self, pairs, time):
        address, r = self._get(pairs)
        r.at, r.time = self._at, time
        if pairs["stat"] == "deferred":
            r.state = FREE
            self._elsewhere.add(r.ta)
        else:
            r.state = FAILED if pairs["stat"] == "failed" else DONE

    def _expand(self, pairs, time):
        address, r = self._get(pairs)
        if r.state is not FREE and r.state is not DOUBTED:
            self.bad("H1", r.ta, address, "expanded, though it is over")
        if pairs["more"] == "0":
            r.state, r.at, r.time = DONE, self._at, time

    def _child(self, pairs, time):
        if "dsn_of" in pairs:
            return self._dsn({"ss_ta": pairs["ss_ta"], "dsn_of": pairs["child_of"]}, time)
        self._children.add(pairs["ss_ta"])
        if pairs["child_of"] in self._elsewhere:
            self._elsewhere.add(pairs["ss_ta"])

    def _dsn(self, pairs, time):
        """It begins in the log where its parent is."""
        if pairs.get("dsn_of") in self._elsewhere:
            self._elsewhere.add(pairs["ss_ta"])

    def _end(self, pairs, time):
        ta = pairs["ss_ta"]
        for address in self._of[ta]:
            r = self._rcpts[address]
            if ta not in self._elsewhere:
                self._durable_at = max(self._durable_at, r.at)
            self._ended(address)

    def _ended(self, address):
        self._rcpts[address].state = ENDED
        self._live.discard(address)

    def _event(self, r):
        r.state = FREE
        r.events += 1
        self.figures["handed"] += 1

    # -- a new qmgr
    def _rights(self, pairs, time):
        """The first line of a process. The one before may have died within its replay, and had given nothing."""
        self._found = {}
        self._at_death = self._last

    def _found_one(self, pairs, time):
        if "child_of" in pairs:
            self._children.add(pairs["ss_ta"])
        self._found[self._key(pairs)] = pairs

    def _log_damage(self, pairs, time):
        self.bad("H6", "-", "-", f"a log was damaged: {pairs}")

    def _recovered(self, pairs, time):
        before = self.figures["handed"]
        for address in list(self._live):
            if address not in self._found:
                self._not_found(address)
        for address, pairs in self._found.items():
            known = address in self._rcpts
            _, r = self._get(pairs)
            if known:
                self._found_again(address, r)
        self._elsewhere.update(pairs["ss_ta"] for pairs in self._found.values())
        self._found = {}
        self.sets.append(self.figures["handed"] - before)
        self.figures["restarts"] += 1

    def _not_found(self, address):
        r = self._rcpts[address]
        if r.state is FREE:
            self.bad("H5", r.ta, address, "was open, and the next qmgr did not find it")
        self._ended(address)

    def _found_again(self, address, r):
        if r.state is ENDED:
            self.bad("H3", r.ta, address, "found open, though its transaction had ended")
            self._live.add(address)
        elif r.state in (FAILED, DOUBTED):
            # Not yet reported; or the failure was not durable.
            r.state = DOUBTED if r.state is DOUBTED or self._at_death < r.time + self.late else FAILED
            return
        elif r.state is DONE and r.at <= self._durable_at and r.ta not in self._elsewhere:
            self.bad("H3", r.ta, address, "found open, though a later result was durable")
        elif r.state is DONE and self._at_death >= r.time + self.late:
            self.bad("H4", r.ta, address, f"found open, though qmgr had its result for {self._at_death - r.time:.3f} s")
        if r.state is not FREE:
            self._event(r)

    _on = {"qm.give": _give, "qm.undecided": _undecided, "qm.rcpt": _rcpt, "qm.expand": _expand, "qm.child": _child, "qm.dsn": _dsn, "qm.end": _end,
           "qm.rights": _rights, "qm.found": _found_one, "qm.recovered": _recovered, "qm.log_damage": _log_damage}

    # -- the verdict
    def hold_against(self, arrivals):
        """`arrivals`: how often each address came."""
        for address, n in arrivals.items():
            r = self._rcpts.get(address)
            if r is None or n > r.gives:
                self.bad("H2", r.ta if r else "-", address, f"came {n} times, and was handed out {r.gives if r else 0} times")
            elif n > 1 + r.events:
                self.bad("H2", r.ta, address, f"came {n} times, and was handed out without a durable result {r.events} times")
            self.figures["duplicates"] += n - 1
        if self.figures["duplicates"] > self.figures["handed"]:
            self.bad("H2", "-", "-", f"{self.figures['duplicates']} came twice, at most {self.figures['handed']} may")
        for address in self._live:
            r = self._rcpts[address]
            if r.state is not DONE:
                self.bad("H6", r.ta, address, f"still {r.state} at the end")
        return self
