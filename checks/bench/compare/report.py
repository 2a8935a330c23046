"""What is printed and kept: a line for each run as it comes, tables of medians, figures that are wanted, everything as JSON.

A row may have a "note", and "failed" when not all went as it should: then no figure of that case is met, whatever it is.
"""
import json
import statistics

from .cases import CASES

REFERENCE = "postfix"
WORDS = {"rate": "messages/s", "ratio": "x postfix", "cpu_per_1000": "CPU s/1000", "p99_ms": "p99 ms", "calls": "system calls a message",
         "voluntary": "voluntary switches a message", "pss_more_mb": "PSS more, MB", "pss_mb": "PSS, MB"}
SIGNS = {"least": ">=", "most": "<=", "below": "<"}

# (heading, key, digits)
MAIL = (("messages", "messages", 0), ("msgs/s", "rate", 0), ("x postfix", "ratio", 2), ("rcpts/s", "rcpts_rate", 0), ("CPU s/1000", "cpu_per_1000", 2),
        ("user", "cpu_user", 2), ("sys", "cpu_sys", 2), ("peak PSS MB", "pss_mb", 1), ("p50 ms", "p50_ms", 1), ("p99 ms", "p99_ms", 1),
        ("sink connections", "connections", 0))
IDLE = (("open", "open", 0), ("refused", "refused", 0), ("PSS MB", "pss_mb", 1), ("PSS more MB", "pss_more_mb", 1), ("KB each", "kb_per_connection", 1),
        ("processes", "processes", 0), ("CPU % of one", "idle_cpu_percent", 2))
EVENTS = (("messages", "messages", 0), ("system calls", "calls", 1), ("fsync", "fsync", 2), ("fdatasync", "fdatasync", 2),
          ("voluntary switches", "voluntary", 2), ("involuntary", "involuntary", 2), ("all switches (perf)", "switches", 1))


def number(v, digits):
    return f"{v:.{digits}f}"


def median_cell(values, digits):
    """Median (least-most)."""
    if not values:
        return "-"
    low, high = number(min(values), digits), number(max(values), digits)
    return number(statistics.median(values), digits) + (f" ({low}-{high})" if low != high else "")


class Report:
    def __init__(self):
        self.rows = []

    def take(self, r):
        self.rows.append(r)
        print("  ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in r.items()), flush=True)

    def _of(self, label, peer):
        return [r for r in self.rows if r["case"] == label and r["peer"] == peer]

    def failed(self, label=None, peer=None):
        """What went wrong, in all rows or in these."""
        return [r["failed"] for r in self.rows if "failed" in r and (label is None or (r["case"], r["peer"]) == (label, peer))]

    def _values(self, label, peer, key):
        return [r[key] for r in self._of(label, peer) if key in r]

    def ratio(self, label, peer):
        """(of the medians, the least of one run) to the reference; None where one of both is missing. It runs once, whatever variants of smx there are."""
        rates, theirs = ({r["run"]: r["rate"] for r in rows if "rate" in r}
                         for rows in (self._of(label, peer), self._of(label.partition(" ")[0], REFERENCE)))
        both = [rates[n] / theirs[n] for n in rates if n in theirs]
        if not both or peer in (REFERENCE, "raw"):
            return None
        return statistics.median(rates.values()) / statistics.median(theirs.values()), min(both)

    def _cell(self, label, peer, key, digits):
        if key != "ratio":
            return median_cell(self._values(label, peer, key), digits)
        ratio = self.ratio(label, peer)
        return "-" if ratio is None else f"{number(ratio[0], digits)} ({number(ratio[1], digits)})"

    def _labels(self, how):
        """(label, peer) of the rows that come in this way."""
        return list(dict.fromkeys((r["case"], r["peer"]) for r in self.rows if how(CASES[r["of"]].how)))

    def _table(self, title, columns, how):
        pairs = sorted(self._labels(how), key=lambda p: [r["case"] for r in self.rows].index(p[0]))
        columns = [c for c in columns if any(self._cell(*p, c[1], c[2]) != "-" for p in pairs)]
        if not pairs:
            return
        print(f"\n{title}\n\n| case | peer | " + " | ".join(c[0] for c in columns) + " |\n" + "|---" * (len(columns) + 2) + "|")
        for label, peer in pairs:
            print(f"| {label} | {peer} | " + " | ".join(self._cell(label, peer, key, digits) for _, key, digits in columns) + " |")

    def tables(self):
        """Markdown."""
        self._table("Mail: medians (least-most) of the runs; x postfix: ratio of the medians (the least ratio of one run).", MAIL,
                    lambda how: how not in ("idle", "events"))
        self._table("Idle connections.", IDLE, lambda how: how == "idle")
        self._table("A message, in events.", EVENTS, lambda how: how == "events")
        for r in self.rows:
            if "roles" in r:
                print(f"\n{r['case']} {r['peer']}, voluntary/involuntary switches by role: "
                      + ", ".join(f"{role} {v:g}/{i:g}" for role, (v, i) in r["roles"].items()))

    def wanted(self):
        """Of smx: (label, target, value or None, whether it is met)."""
        for of, label, variant in dict.fromkeys((r["of"], r["case"], r.get("variant", "")) for r in self.rows if r["peer"] == "smx"):
            case = CASES[of]
            for t in (*case.targets, *next(v.targets for v in case.variants if v.name == variant)):
                if label.partition(" ")[0] != of + t.row:
                    continue
                if t.key == "ratio":
                    value = (self.ratio(label, "smx") or [None])[0]
                else:
                    values = self._values(label, "smx", t.key)
                    value = statistics.median(values) if values else None
                yield label, t, value, None if value is None else t.met(value) and not self.failed(label, "smx")

    def targets(self):
        rows = list(self.wanted())
        if rows:
            print("\nWanted of smx, and what came.\n\n| case | figure | wanted | smx | |\n" + "|---" * 5 + "|")
        for label, t, value, met in rows:
            verdict = "not measured" if met is None else "met" if met else ", ".join(["NOT met", *self.failed(label, "smx")])
            print(f"| {label} | {WORDS[t.key]} | {SIGNS[t.bound]} {t.value:,g} | {'-' if value is None else f'{value:,.4g}'} | {verdict} |")

    def save(self, path, **more):
        ratios = {label: dict(zip(("of_medians", "least"), self.ratio(label, peer)))
                  for label, peer in self._labels(lambda how: True) if peer == "smx" and self.ratio(label, peer)}
        wanted = [{"case": label, "figure": t.key, "bound": t.bound, "wanted": t.value, "value": value, "met": met}
                  for label, t, value, met in self.wanted()]
        with open(path, "w") as f:
            json.dump({**more, "ratios_to_" + REFERENCE: ratios, "wanted": wanted, "runs": self.rows}, f, indent=1)
