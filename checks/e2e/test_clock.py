"""The wall clock makes a step while mail is deferred: nothing is given up without a try after it, nothing is stuck."""
import re

import pytest
from lib.client import message
from lib.faults import FaultControl
from lib.sink import Serve, Sink
from lib.site import COMPONENTS, Site
from lib.wait import never, until

pytestmark = pytest.mark.inside

DAY = 86400
LATER = {"RCPT": b"450 4.2.0 later\r\n"}
# Long enough for a step between two tries.
SETTINGS = {"qmgr.retry_min_delay": "3s", "qmgr.retry_max_delay": "4s"}


@pytest.fixture
def sink():
    with Sink() as s:
        yield s


@pytest.fixture
def timed(sink):
    with Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test"], settings=SETTINGS) as s:
        if not s.has_faults():
            pytest.skip("needs --enable-testing")
        yield s


def says(sink, replies):
    sink.script([Serve(replies)])
    sink.drop()


def clock(timed, seconds, restart):
    """All processes at once, or as it is when a machine comes up with another time."""
    text = f"clock=step:{seconds}"
    if restart:
        timed.stop()
        FaultControl(timed, "qmgr", "").write(text)
        timed.start()
    else:
        for c in COMPONENTS:
            FaultControl(timed, c, "").arm(text)
        FaultControl(timed, "qmgr", "").write(text)  # whoever is started later


def defer(timed, sink, tag, count=5):
    """Mail that was put off more than once."""
    says(sink, LATER)
    marks = timed.log_marks()
    with timed.client() as c:
        for i in range(count):
            assert c.send_mail("a@src.test", f"u{i}@local.test", message(f"{tag}-{i}")).code == 250
    until(lambda: len(tried(timed, marks)) >= 2 * count, "all are put off", 30)


def tried(timed, marks):
    return re.findall(r"qm\.rcpt [^\n]*stat=deferred", timed.logs_since(marks)["qmgr.log"])


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("seconds", [10 * DAY, -DAY], ids=["forward", "back"])
def test_delivered_at_the_next_try(timed, sink, tag, seconds, restart):
    defer(timed, sink, tag)
    says(sink, {})
    clock(timed, seconds, restart)
    for i in range(5):
        assert len(sink.wait(f"{tag}-{i}", timeout=30)) == 1
    timed.wait_empty()
    assert not sink.reports("a@src.test")
    # New mail as well.
    with timed.client() as c:
        assert c.send_mail("a@src.test", "u@local.test", message(f"{tag}-new")).code == 250
    sink.wait(f"{tag}-new")


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_given_up_only_after_a_try(timed, sink, tag, restart):
    """It is ten days old by that clock, so one more failure is the last; but there is one."""
    defer(timed, sink, tag)
    marks = timed.log_marks()
    clock(timed, 10 * DAY, restart)
    until(lambda: timed.logs_since(marks)["qmgr.log"].count("stat=failed") >= 5, "all are given up", 60)
    said = timed.logs_since(marks)["qmgr.log"]
    ends = re.findall(r"qm\.rcpt [^\n]*rcpt=<(u\d@local\.test)>[^\n]*stat=failed[^\n]*xdelay=[^\n]*reply=(\d+)", said)
    assert sorted(ends) == [(f"u{i}@local.test", "450") for i in range(5)], said
    says(sink, {})
    until(lambda: len(sink.reports("a@src.test")) == 5, "each is reported", 30)
    timed.wait_empty()


def test_stays_in_the_queue_when_set_back(timed, sink, tag):
    """And is tried as often as before."""
    defer(timed, sink, tag)
    clock(timed, -DAY, False)
    marks = timed.log_marks()
    until(lambda: len(tried(timed, marks)) >= 15, "tried again and again", 60)
    never(lambda: "stat=failed" in timed.logs_since(marks)["qmgr.log"], "given up", 0.5)
    says(sink, {})
    for i in range(5):
        sink.wait(f"{tag}-{i}", timeout=30)
    timed.wait_empty()
