"""What smtps does when those it depends on are away, when a client is slow, and when it is told to end."""
import re
import select
import signal
import time

import pytest
from lib.client import Client, Closed, message
from lib.site import Site
from lib.wait import PATIENCE, SLOW, until

pytestmark = pytest.mark.inside


@pytest.fixture(scope="module")
def own(sink, dns):
    """A site whose processes are stopped and killed, with short time limits."""
    with Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test"], dns=dns.address,
              settings={"smtps.io_timeout": "5s", "smtps.session_timeout": "20s", "smtps.check_timeout": "2s", "smtps.commit_timeout": "30s",
                        "smtps.data_grace": "4s", "smtps.min_data_rate": "1000B", "smtps.drain_timeout": "3s",
                        "smtps.max_transactions": "3"}) as s:
        yield s


def test_smar_dies(own, sink, tag):
    """A question that was asked, and one that comes while smar is away, are both answered after it is back."""
    with own.client() as c:
        old = own.kill("smar")
        assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
        own.restarted("smar", old)
    sink.wait(tag)


def test_smar_hangs(own, sink):
    """A temporary error, never a permanent one; and the session goes on when smar does."""
    with own.client() as c:
        own.kill("smar", signal.SIGSTOP)
        try:
            r = c.mail("a@src.test")
            assert r.code == 451 and r.enhanced == "4.3.0", r
            new = Client(own.port, greet=False)
            assert new.reply().code == 421
            new.close()
        finally:
            own.kill("smar", signal.SIGCONT)
        c.begin("a@src.test", "b@local.test")
    own.canary(sink)


def test_qmgr_dies_before_the_answer(own, sink, tag):
    """The outcome of a commit is found out after the restart: one 250, one delivery."""
    with own.client() as c:
        c.begin("a@src.test", "b@local.test")
        old = own.kill("qmgr", signal.SIGSTOP)
        c.send(message(tag) + b".\r\n")
        c.silent(0.3)
        own.kill("qmgr")
        own.restarted("qmgr", old)
        r = c.reply()
        assert r.code == 250, r
    sink.wait(tag, timeout=20)
    own.wait_empty()
    assert len(sink.find(tag)) == 1


def test_envelope_is_in_the_log(own, sink, tag):
    """Sender, recipients and id of an accepted mail can be rebuilt from the log."""
    marks = own.log_marks()
    with own.client() as c:
        r = c.send_mail("log-s@src.test", ["log-r1@local.test", "log-r2@local.test"], message(tag))
        assert r.code == 250
    ta = re.search(r"S[0-9A-F]{18}", r.text).group(0)
    sink.wait(tag)

    def lines():
        return [x for x in own.logs_since(marks)["smtps.log"].splitlines() if f"ss_ta={ta}" in x]
    until(lambda: any(" ss.final " in x for x in lines()), "the last line")
    got = lines()
    assert [x for x in got if " ss.mail " in x and "mail=<log-s@src.test>" in x and "stat=250" in x], got
    assert [re.search("rcpt=<(.*?)>", x).group(1) for x in got if " ss.rcpt " in x and "stat=250" in x] == \
        ["log-r1@local.test", "log-r2@local.test"]
    assert [x for x in got if " ss.final " in x and "nrcpts=2" in x and "stat=250" in x], got


def ends_with_421(c, within):
    start = time.monotonic()
    replies = []
    try:
        while time.monotonic() < start + within:
            replies.append(c.reply())
    except (Closed, ConnectionError):
        pass
    assert replies and replies[-1].code == 421, replies
    return replies[-1]


@pytest.mark.slow
def test_says_nothing(own):
    with own.client() as c:
        assert ends_with_421(c, 8).enhanced == "4.4.2"


@pytest.mark.slow
def test_data_stalls(own):
    with own.client() as c:
        c.begin("a@src.test", "b@local.test")
        c.send(b"Subject: x\r\n\r\nhalf")
        assert ends_with_421(c, 10).enhanced == "4.4.2"
    until(lambda: not own.content_files(), "the half content is gone")


@pytest.mark.slow
def test_data_trickles(own):
    """Always within io_timeout, but far too slow on the whole."""
    with own.client() as c:
        c.begin("a@src.test", "b@local.test")
        start = time.monotonic()
        while time.monotonic() < start + PATIENCE * SLOW and not select.select([c.sock], [], [], 0.2)[0]:
            c.send(b"x: y\r\n")
        r = c.closes()
        assert [x.code for x in r] == [421] and r[0].enhanced == "4.4.2", r
        assert 2 < time.monotonic() - start


@pytest.mark.slow
def test_session_takes_too_long(own):
    with own.client() as c:
        codes, start = [], time.monotonic()
        try:
            while time.monotonic() < start + PATIENCE * SLOW and not select.select([c.sock], [], [], 1)[0]:
                codes.append(c.cmd("NOOP").code)
            codes += [r.code for r in c.closes()]
        except (Closed, ConnectionError):
            pass
        assert codes[-1] == 421 and time.monotonic() - start > 10, codes


def test_transactions_of_a_session(own, sink, tag):
    with own.client() as c:
        for _ in range(3):
            assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
        assert c.mail("a@src.test").code == 421
    sink.wait(tag, 3)


def test_told_to_end(own, sink, tag):
    """Idle sessions get 421, a transaction may be finished, the rest is cut at drain_timeout."""
    with own.client() as idle, own.client() as busy, own.client() as stuck, own.client(helo=None) as mute:
        busy.begin("a@src.test", "b@local.test")
        stuck.begin("a@src.test", "b@local.test")
        old = own.kill("smtps", signal.SIGTERM)
        assert idle.reply().code == 421
        assert mute.reply().code == 421
        assert busy.finish(message(tag)).code == 250
        assert busy.reply().code == 421
        r = stuck.closes()
        assert [x.code for x in r] == [421], r
        own.restarted("smtps", old, 15)
    own.wait_ready()
    own.canary(sink)
    sink.wait(tag)
    own.wait_empty()
