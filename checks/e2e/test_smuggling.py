"""Where does a line end, where does the data end? A disagreement between two servers is a hole (SMTP smuggling)."""
import re

import pytest
from cases.smuggling import COMMAND_LINES, DOTS, INTACT, NOT_THE_END, REST
from lib.client import Client, Closed, message
from lib.lax import LaxServer
from lib.wait import until

BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")


def ids(table):
    return [row[0] for row in table]


def one_or_none(site, sink, tag, reply):
    """The message is there if and only if it was acknowledged, and nothing of the smuggler's."""
    site.canary(sink)
    got = sink.wait(tag) if reply.code == 250 else sink.find(tag)
    assert len(got) == (reply.code == 250)
    assert not [m for m in sink.messages if m.sender == "evil@e.test" or m.subject() == "smuggled"]
    for m in got:
        assert not BARE.search(m.content), "a bare CR or LF was sent on"
    return got


def probe(c, tag, bytes_, slowly=False):
    """Something like the end of data, and a mail behind it: nothing is said before the real end. Gives the reply to that."""
    c.begin("a@src.test", "b@local.test")
    c.send(message(tag, b""))
    if slowly:
        c.send_slowly(bytes_)
        c.send(REST)
    else:
        c.send(bytes_ + REST)
    c.silent()
    c.send(b".\r\n")
    return c.reply()


@pytest.mark.parametrize("bytes_", [row[1] for row in NOT_THE_END], ids=ids(NOT_THE_END))
@pytest.mark.parametrize("slowly", [False, True], ids=["at-once", "bytewise"])
def test_not_the_end(site, sink, tag, bytes_, slowly):
    with site.client() as c:
        r = probe(c, tag, bytes_, slowly)
        assert r.code == 250 or (r.code in (550, 554) and r.enhanced == "5.6.0"), r
        try:
            c.stays()
        except Closed:
            pass
    one_or_none(site, sink, tag, r)


@pytest.mark.parametrize("bytes_", [row[1] for row in NOT_THE_END], ids=ids(NOT_THE_END))
def test_a_lax_server_is_found_out(tag, bytes_):
    """The probes are good for something: where they work, the mail of the smuggler is taken."""
    with LaxServer() as lax, Client(lax.port) as c:
        with pytest.raises(AssertionError, match="unasked"):
            probe(c, tag, bytes_)
        c.send(b".\r\n")
        until(lambda: lax.senders == ["a@src.test", "evil@e.test"], lambda: f"both mails are taken: {lax.senders}", 20)


def test_end_with_a_pause_inside(site, sink, tag):
    """The state of the end is kept over reads."""
    with site.client() as c:
        c.begin("a@src.test", "b@local.test")
        c.send(message(tag, b"a\r\n.\r"))
        c.silent(1.5)
        c.send(b"\n")
        assert c.reply().code == 250
        c.stays()
    assert len(sink.wait(tag)) == 1


@pytest.mark.parametrize("cut", range(1, 5))
def test_end_cut_anywhere(site, sink, tag, cut):
    end = b"\r\n.\r\n"
    with site.client() as c:
        c.begin("a@src.test", "b@local.test")
        c.send(message(tag, b"a" + end[:cut]))
        c.silent(0.2)
        c.send(end[cut:])
        assert c.reply().code == 250
    assert sink.wait(tag)[0].body == b"a\r\n"


def test_bytewise(site, sink, tag):
    body = b"x\r\n..dot\r\n\r\ny\r\n"
    with site.client() as c:
        c.begin("a@src.test", "b@local.test")
        c.send_slowly(message(tag, body) + b".\r\n", 0.002)
        assert c.reply().code == 250
        c.stays()
    assert sink.wait(tag)[0].body == body.replace(b"\r\n..", b"\r\n.")


def test_dot_at_once(site, sink):
    """The first bytes after 354 are the final dot: an empty message, taken or refused, but never waited for."""
    with site.client() as c:
        c.begin("empty@src.test", "b@local.test")
        c.send(b".\r\n")
        r = c.reply()
        assert r.code in (250, 554), r
        c.stays()
    if r.code == 250:
        sink.wait(lambda m: m.sender == "empty@src.test")


@pytest.mark.parametrize("body", [row[1] for row in DOTS], ids=ids(DOTS))
def test_dots(site, sink, tag, body):
    with site.client() as c:
        r = c.send_mail("a@src.test", "b@local.test", message(tag, body))
        assert r.code == 250, r
    assert sink.wait(tag)[0].body == body


@pytest.mark.parametrize("where", ["body", "header"])
@pytest.mark.parametrize("bytes_", [row[1] for row in INTACT], ids=ids(INTACT))
def test_intact_or_refused(site, sink, tag, bytes_, where):
    if where == "header" and (bytes_.startswith((b"\r\n", b" ", b"a  ")) or b"From " in bytes_):
        pytest.skip("would end the header")
    content = message(tag, bytes_) if where == "body" else message(tag, b"body\r\n", b"X-Test: " + bytes_)
    with site.client() as c:
        r = c.send_mail("a@src.test", "b@local.test", content)
        assert r.code == 250 or (r.code in (550, 554) and r.enhanced == "5.6.0"), r
        c.stays()
    for m in one_or_none(site, sink, tag, r):
        assert m.without_trace() == content


@pytest.mark.parametrize("line", [row[1] for row in COMMAND_LINES], ids=ids(COMMAND_LINES))
def test_command_line(site, sink, line):
    """One refusal (or a close), and no second command is run."""
    with site.client() as c:
        c.send(line)
        r = c.reply()
        assert r.code in (500, 501, 421), r
        if r.code != 421:
            after = c.cmd("RCPT TO:<b@local.test>")
            while after.code in (500, 501) and c.buf:
                after = c.reply()
            assert after.code in (503, 500, 501), f"state was changed by {line!r}: {after}"
