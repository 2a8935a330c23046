"""The rules of lib/handed.py must be able to fail: made-up logs and arrivals, each with one thing wrong."""
import os
import re
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lib.handed import Handed, parse  # noqa: E402
from lib.ledger import judge  # noqa: E402


class Log:
    """Lines as qmgr writes them; `wait` lets time pass."""

    def __init__(self):
        self.lines, self.now = [], 1795230757.0

    def wait(self, seconds):
        self.now += seconds
        return self

    def put(self, event, text=""):
        self.now += 0.001
        self.lines.append(f"{self.now:.3f} INFO qm.{event} {text}".rstrip())
        return self

    def one(self, event, name, more=""):
        return self.put(event, f"ss_ta=S{name[0]}, rcpt=<{name}@d.test>, rcpt_idx={name[1:]}{more}")

    def give(self, *names):
        for n in names:
            self.one("give", n)
        return self

    def sent(self, *names):
        for n in names:
            self.one("rcpt", n, ", stat=sent, tries=1")
        return self

    def failed(self, *names):
        for n in names:
            self.one("rcpt", n, ", stat=failed, tries=1")
        return self

    def deferred(self, *names):
        for n in names:
            self.one("rcpt", n, ", stat=deferred, tries=1")
        return self

    def undecided(self, *names):
        for n in names:
            self.one("undecided", n)
        return self

    def end(self, *tas):
        for ta in tas:
            self.put("end", f"ss_ta=S{ta}, delay=0")
        return self

    def restart(self, *found):
        self.put("rights", 'report="landlock=7"')
        for n in found:
            self.one("found", n, ", log=ibdb")
        return self.put("recovered", f"from_ibdb={len(found)}, deferred=0, quarantined=0")

    def rules(self, **arrivals):
        """The rules that are broken, in order of their numbers."""
        h = Handed(late=1.0).feed(self.lines).hold_against({f"{n}@d.test": k for n, k in arrivals.items()})
        self.figures = h.figures
        return sorted({w[0] for w in h.wrong})


def test_ordinary_mail():
    log = Log().give("a0", "a1").sent("a0", "a1").end("a")
    assert log.rules(a0=1, a1=1) == []
    assert log.figures["handed"] == 0


class Members(Log):
    """A list a0 whose members m0, m1 ... are in children."""

    def expand(self, child, more=0):
        self.put("expand", f"ss_ta=Sa, child_ta=S{child}FF, rcpt=<a0@d.test>, rcpt_idx=0, members=1, more={more}")
        return self.put("child", f"ss_ta=S{child}FF, child_of=Sa, content=Sa, mail=<s@d.test>, rcpts=1")

    def member(self, event, child, name, more=""):
        return self.put(event, f"ss_ta=S{child}FF, rcpt=<{name}@d.test>, rcpt_idx=0{more}")


def test_members_go_by_their_addresses():
    log = Members().expand("x", 1).member("give", "x", "m0").member("rcpt", "x", "m0", ", stat=sent").put("end", "ss_ta=SxFF, delay=0")
    log.expand("y").end("a").member("give", "y", "m1").member("rcpt", "y", "m1", ", stat=sent").put("end", "ss_ta=SyFF, delay=0")
    assert log.rules(m0=1, m1=1) == []
    assert log.rules(m0=1, m1=2) == ["H2"]


def test_a_chunk_that_is_asked_for_again_is_found_out():
    log = Members().expand("x").member("give", "x", "m0").member("rcpt", "x", "m0", ", stat=sent").put("end", "ss_ta=SxFF, delay=0").expand("y")
    assert log.rules(m0=1) == ["H1"]


def test_a_member_in_two_children():
    log = Members().expand("x", 1).member("give", "x", "m0").expand("y").end("a")
    with pytest.raises(ValueError):
        log.member("give", "y", "m0").rules(m0=2)


def test_a_child_whose_line_was_lost():
    """Its line was cut off by the crash; the next qmgr says whose it is."""
    log = Members().put("rights").one("found", "a0").member("found", "x", "m0", ", child_of=Sa, log=ibdb").put("recovered")
    log.expand("y").end("a").member("give", "x", "m0").member("rcpt", "x", "m0", ", stat=sent").put("end", "ss_ta=SxFF, delay=0")
    assert log.rules(m0=1) == []


def test_smtpc_goes_away():
    log = Log().give("a0", "a1").undecided("a0", "a1").give("a0", "a1").sent("a0", "a1").end("a")
    assert log.rules(a0=2, a1=1) == []
    assert (log.figures["duplicates"], log.figures["handed"]) == (1, 2)


def test_qmgr_dies_with_a_task_out():
    log = Log().give("a0").restart("a0").give("a0").sent("a0").end("a")
    assert log.rules(a0=2) == []
    assert log.figures["handed"] == 1


def test_qmgr_dies_before_a_result_is_durable():
    log = Log().give("a0", "b0").sent("b0", "a0").restart("a0", "b0").give("a0", "b0").sent("a0", "b0").end("a", "b")
    assert log.rules(a0=2, b0=2) == []
    assert log.figures["handed"] == 2


def test_a_result_durable_without_a_line():
    log = Log().give("a0", "b0").restart("b0").give("b0").sent("b0").end("b")
    assert log.rules(a0=1, b0=1) == []
    assert log.figures["handed"] == 1


def test_one_recipient_in_two_events():
    log = Log().give("a0").undecided("a0").give("a0").restart("a0").give("a0").sent("a0").end("a")
    assert log.rules(a0=3) == []
    assert log.rules(a0=4) == ["H2"]


def test_a_replay_that_is_killed_does_not_count():
    log = Log().give("a0").put("rights").one("found", "a0", ", log=ibdb").restart("a0").give("a0").sent("a0").end("a")
    assert log.rules(a0=2) == []
    assert log.figures["handed"] == 1


def test_more_arrivals_than_hand_outs():
    assert Log().give("a0").sent("a0").end("a").rules(a0=2) == ["H2"]


def test_more_arrivals_than_events():
    """It was put off, so it may be handed out again; but then it had not been taken."""
    assert Log().give("a0").deferred("a0").give("a0").sent("a0").end("a").rules(a0=2) == ["H2"]


def test_a_neighbour_explains_nothing():
    log = Log().give("a0", "b0").undecided("a0").give("a0").sent("a0", "b0").end("a", "b")
    assert log.rules(a0=1, b0=2) == ["H2"]


def test_handed_out_twice_at_a_time():
    assert "H1" in Log().give("a0").give("a0").sent("a0").end("a").rules(a0=1)


def test_handed_out_after_its_result():
    assert "H1" in Log().give("a0").sent("a0").give("a0").sent("a0").end("a").rules(a0=1)


def test_handed_out_after_its_end():
    assert "H1" in Log().give("a0").sent("a0").end("a").restart().give("a0").sent("a0").end("a").rules(a0=2)


def test_an_ended_transaction_comes_back():
    assert Log().give("a0").sent("a0").end("a").restart("a0").give("a0").sent("a0").end("a").rules(a0=2) == ["H3"]


def test_results_are_durable_in_order():
    """b has ended durably, and its end was written after the result of a."""
    log = Log().give("a0", "a1", "b0").sent("a0", "b0").end("b").restart("a0", "a1").give("a0", "a1").sent("a0", "a1").end("a")
    assert log.rules(a0=2, a1=1, b0=1) == ["H3"]


def test_the_order_of_the_journal_is_not_that_of_the_deferred_queue():
    log = Log().restart("a0", "a1").give("a0", "a1", "b0").sent("a0", "b0").end("b").restart("a0", "a1")
    assert log.give("a0", "a1").sent("a0", "a1").end("a").rules(a0=2, a1=1, b0=1) == []


def test_a_result_is_not_written_in_time():
    log = Log().give("a0").sent("a0").wait(1.5).give("b0").restart("a0", "b0").give("a0", "b0").sent("a0", "b0").end("a", "b")
    assert log.rules(a0=2, b0=1) == ["H4"]
    log = Log().give("a0").sent("a0").give("b0").wait(9).restart("a0", "b0").give("a0", "b0").sent("a0", "b0").end("a", "b")
    assert log.rules(a0=2, b0=1) == [], "qmgr was down, not late"


@pytest.mark.parametrize("how", ["deferred", "undecided"])
def test_what_was_open_is_not_found(how):
    assert "H5" in getattr(Log().give("a0"), how)("a0").restart().rules(a0=1)


def test_open_at_the_end():
    assert Log().give("a0").rules(a0=1) == ["H6"]


def test_damage():
    assert Log().put("log_damage", "log=ibdb, segment=1").rules() == ["H6"]


def test_a_torn_line_before_a_record():
    line = '1795230757.001 INFO qm.rcpt ss_ta=Sa, rcpt=<a0@d1795230757.003 DEBUG qm.give ss_ta=Sb, rcpt=<b0@d.test>, rcpt_idx=0'
    time, event, pairs = parse(line)
    assert (time, event, pairs["rcpt"]) == (1795230757.003, "qm.give", "<b0@d.test>")
    assert parse("1795230757.001 INFO ss.mail ss_ta=Sa") is None
    assert parse('1795230757.001 NOTICE qm.smtpc proc=0, text="look at qm.give"') is None


def test_a_torn_result_says_nothing():
    """qmgr was killed while it wrote this line, and what wrote next is no line that counts."""
    log = Log().give("a0", "b0").sent("b0")
    torn = log.lines.pop().replace("=sent, tries=1", "")
    log.lines.append(torn.replace(", stat", ", st") + "1795230757.900 NOTICE proc.ready version=0.1.0")
    log.restart("a0").give("a0").sent("a0").end("a")
    assert log.rules(a0=2, b0=1) == []
    assert log.figures["handed"] == 1


# ---- the ledger itself

HASH = "ab" * 32
SENT = f"BEGIN 1.0 r-0 -\nSENT 1.1 r-0 {HASH} u0@d.test,u1@d.test\n"
ACK = "ACK 1.2 r-0 250 2.0.0 S1\n"


@pytest.mark.parametrize("ledger,got,rules", [
    (SENT + ACK, ["u0", "u1"], []),
    (SENT + ACK, ["u0"], ["L1"]),
    (SENT + ACK, ["u0", "u0", "u1"], ["L4"]),
    (SENT + "NAK4 1.2 r-0 451\n", ["u0"], ["L2"]),
    (SENT + "UNKNOWN 1.2 r-0 gone\n", ["u0"], ["L3"]),
    (SENT + "UNKNOWN 1.2 r-0 gone\n", [], []),
    (SENT + ACK, ["u0", "u1", "u2"], ["L5"]),
    ("BEGIN 1.0 r-0 -\n", [], []),
])
def test_ledger(tmp_path, ledger, got, rules):
    (tmp_path / "ledger").write_text(ledger)
    (tmp_path / "arrivals").write_text("".join(f"GOT 2.0 r-0 {u}@d.test {HASH} 10 <s@s.test>\n" for u in got))
    v = judge(str(tmp_path / "ledger"), str(tmp_path / "arrivals"), duplicates_allowed=0)
    assert sorted({w[0] for w in v.wrong}) == rules, v
    assert v.figures["damaged"] == ("L5" in rules)


def test_ledger_damage(tmp_path):
    (tmp_path / "ledger").write_text(SENT + ACK)
    (tmp_path / "arrivals").write_text("".join(f"GOT 2.0 r-0 {u}@d.test {h} 10 <s@s.test>\n" for u, h in (("u0", HASH), ("u1", "cd" * 32))))
    v = judge(str(tmp_path / "ledger"), str(tmp_path / "arrivals"))
    assert [w[0] for w in v.wrong] == ["L5"] and re.search("content differs", v.wrong[0][3])


# ---- failures and their reports

def test_a_failure_is_open_until_it_is_reported():
    log = Log().give("a0").failed("a0").wait(3).restart("a0").restart("a0").end("a")
    assert log.rules() == []
    assert log.figures["handed"] == 0


def test_a_failure_that_was_not_durable_is_tried_again():
    log = Log().give("a0").failed("a0").restart("a0").give("a0").failed("a0").end("a")
    assert log.rules() == []
    assert log.figures["handed"] == 1


def test_a_durable_failure_is_not_tried_again():
    log = Log().give("a0").failed("a0").wait(3).give("b0").restart("a0", "b0").give("a0").failed("a0").give("b0").sent("b0").end("a", "b")
    assert log.rules(b0=1) == ["H1"]


def dsn(log, n, event, more=""):
    return log.put(event, f"ss_ta=S{n}FF, rcpt=<sender@d.test>, rcpt_idx=0{more}")


def test_reports_go_by_their_own_id():
    log = Log()
    for n in "12":
        dsn(log, n, "give")
        dsn(log, n, "rcpt", ", stat=sent, tries=1").put("end", f"ss_ta=S{n}FF, delay=0")
    h = Handed(late=1.0).feed(log.lines)
    assert not h.hold_against({"S1FF": 1, "S2FF": 1}).wrong
    assert [w[0] for w in Handed(late=1.0).feed(log.lines).hold_against({"S1FF": 2}).wrong] == ["H2", "H2"]


@pytest.mark.parametrize("where,rules", [("ibdb", ["H3"]), ("defedb", [])])
def test_a_report_is_in_the_log_of_its_parent(where, rules):
    """The end of a DSN in the journal proves that what was written before it is durable; in DEFEDB it says nothing of the journal."""
    log = Log().give("p0")
    if where == "defedb":
        log.deferred("p0").give("p0")
    log.give("a0").failed("p0").put("dsn", "ss_ta=S1FF, dsn_of=Sp, kind=failed")
    dsn(log, "1", "give").sent("a0")
    dsn(log, "1", "rcpt", ", stat=sent, tries=1").put("end", "ss_ta=S1FF, dsn_of=Sp, delay=0").put("end", "ss_ta=Sp")
    log.restart("a0").give("a0").sent("a0").end("a")
    assert log.rules(a0=1) == rules
