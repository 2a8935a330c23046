"""The verdict on a run: what load sent and was told, against what arrived and what was reported back.

Rules (for each message and recipient):
  L1  ACK: delivered at least once, or exactly one report to the sender
  L2  NAK4, NAK5, REFUSED: not delivered
  L3  UNKNOWN: delivered or not, but then to all of its recipients or to none
  L4  delivered twice at most as often as the caller allows (see handed.py): counted
  L5  what arrives was sent: id and recipient known, hash of the content equal
  L6  at the end nothing is left: the caller says how many content files remain

Command line: python3 ledger.py LEDGER ARRIVALS [REPORTS_DIR]
"""
import collections
import os
import re
import sys


class Sent:
    """`begin`: MAIL; `time`: the end of data, None when it was not reached; `reply_time`: the transaction is over."""
    __slots__ = ("begin", "hash", "rcpts", "time", "verdict", "reply", "reply_time")

    def __init__(self, begin):
        self.begin, self.time, self.hash, self.rcpts = begin, None, "", []
        self.verdict = self.reply = self.reply_time = None


def read_ledger(path):
    """id -> Sent; ids that never came to the final dot have an empty hash."""
    sent = {}
    with open(path, encoding="latin-1") as f:
        for line in f:
            w = line.rstrip("\n").split(" ", 3)
            if not line.endswith("\n"):
                raise ValueError(f"{path}: torn line: load was killed")
            if w[0] == "BEGIN" and w[2] in sent:
                raise ValueError(f"{w[2]} was begun twice")
            s = sent.get(w[2]) or sent.setdefault(w[2], Sent(float(w[1])))
            if w[0] == "SENT":
                if s.hash:
                    raise ValueError(f"{w[2]} was sent twice")
                s.time = float(w[1])
                s.hash, rcpts = w[3].split(" ")
                s.rcpts = rcpts.split(",")
            elif w[0] != "BEGIN":
                if s.verdict:
                    raise ValueError(f"{w[2]} has two verdicts")
                s.verdict, s.reply, s.reply_time = w[0], w[3], float(w[1])
    return sent


Got = collections.namedtuple("Got", "time id rcpt hash")


def read_arrivals(path):
    """GOT lines; the last line may be torn when the sink was killed."""
    with open(path, encoding="latin-1") as f:
        for line in f:
            w = line.rstrip("\n").split(" ")
            if w[0] == "GOT" and line.endswith("\n"):
                yield Got(float(w[1]), w[2], w[3], w[4])


def read_reports(directory):
    """Text of each report the sink kept."""
    for name in sorted(os.listdir(directory)) if directory else []:
        with open(os.path.join(directory, name), "rb") as f:
            yield f.read().decode("latin-1")


def report_id(text):
    """Its transaction: what its Message-ID begins with."""
    m = re.search(r"(?m)^Message-ID: <(S[0-9A-F]{18})@", text)
    return m.group(1) if m else "-"


class Verdict:
    def __init__(self):
        self.figures = collections.Counter()
        self.wrong = []     # (rule, id, rcpt, what)
        self.twice = []     # (id, rcpt, number)

    def bad(self, rule, mid, rcpt, what):
        self.figures["violations"] += 1
        if len(self.wrong) < 1000:
            self.wrong.append((rule, mid, rcpt, what))

    def __str__(self):
        keys = ("sent", "acked", "acked_rcpts", "nak4", "nak5", "unknown", "refused", "delivered_rcpts", "reported_rcpts",
                "lost", "damaged", "duplicates", "unknown_delivered", "violations")
        lines = [" ".join(f"{k} {self.figures[k]}" for k in keys)]
        lines += [f"  {rule} {mid} {rcpt}: {what}" for rule, mid, rcpt, what in self.wrong[:20]]
        return "\n".join(lines)


def judge(ledger, arrivals, reports=None, duplicates_allowed=None, left=0, reports_twice=False, copies=False):
    """Apply the rules. `duplicates_allowed`: None counts only. `reports_twice`: a fault may have hit reports on their way as well.
    `copies`: the same report (by Message-ID) that comes again is a duplicate like any other, and counted as such."""
    v = Verdict()
    f = v.figures
    sent = read_ledger(ledger)
    got = collections.Counter()
    for g in read_arrivals(arrivals):
        if g.id == "-" and g.rcpt.startswith("probe@"):
            continue  # of the test itself, not of load
        s = sent.get(g.id)
        if not s or g.rcpt not in s.rcpts:
            f["damaged"] += 1
            v.bad("L5", g.id, g.rcpt, "arrived, but was never sent" if not s else "arrived for a recipient it was not sent to")
            continue
        if g.hash != s.hash:
            f["damaged"] += 1
            v.bad("L5", g.id, g.rcpt, f"content differs: {g.hash[:12]} for {s.hash[:12]}")
        got[g.id, g.rcpt] += 1
    told, seen = collections.Counter(), set()
    for text in read_reports(reports):
        if copies:
            f["reports"] += 1
            mid = report_id(text)
            f["duplicates"] += mid in seen
            if mid in seen:
                continue
            seen.add(mid)
        ids = set(re.findall(r"(?m)^X-Ledger: (\S+)", text)) & sent.keys()
        if not ids:
            v.bad("L5", "-", "-", "a report on nothing that was sent: " + text[:60].replace("\r\n", " "))
        for mid in ids:
            named = [r for r in sent[mid].rcpts if r in text and re.search(r"(?<![\w.+-])" + re.escape(r) + r"(?![\w-])", text)]
            for r in named:
                told[mid, r] += 1
            if not named:
                v.bad("L5", mid, "-", "a report that names none of its recipients")
    for mid, s in sent.items():
        verdict = s.verdict or ("UNKNOWN" if s.hash else "REFUSED")
        f["sent"] += 1
        f[{"ACK": "acked"}.get(verdict, verdict.lower())] += 1
        settled = [r for r in s.rcpts if got[mid, r] or told[mid, r]]
        for r in s.rcpts:
            n, t = got[mid, r], told[mid, r]
            f["delivered_rcpts"] += n > 0
            f["reported_rcpts"] += t > 0
            if n > 1:
                f["duplicates"] += n - 1
                v.twice.append((mid, r, n))
            if verdict == "ACK":
                f["acked_rcpts"] += 1
                if not n and not t:
                    f["lost"] += 1
                    v.bad("L1", mid, r, f"acknowledged ({s.reply}) and lost")
                elif t > 1 and not reports_twice:
                    v.bad("L1", mid, r, f"{t} reports")
            elif verdict in ("NAK4", "NAK5", "REFUSED") and n:
                v.bad("L2", mid, r, f"refused ({s.reply}), yet delivered")
            elif verdict == "UNKNOWN" and n:
                f["unknown_delivered"] += 1
        if verdict == "UNKNOWN" and settled and len(settled) < len(s.rcpts):
            v.bad("L3", mid, "-", f"only {len(settled)} of {len(s.rcpts)} recipients settled")
    if duplicates_allowed is not None and f["duplicates"] > duplicates_allowed:
        v.bad("L4", "-", "-", f"{f['duplicates']} duplicates, at most {duplicates_allowed} were on their way at a fault")
    if left:
        v.bad("L6", "-", "-", f"{left} content files are left")
    return v


if __name__ == "__main__":
    verdict = judge(*sys.argv[1:4])
    print(verdict)
    sys.exit(1 if verdict.wrong else 0)
