"""smtps speaks LMTP (RFC 2033): queued, with a reply for each recipient; and deliver = now, where the replies are the next hop's."""
import os
import re
import signal
import socket
import time

import pytest
from lib.client import Client, Closed
from lib.debian import Unavailable
from lib.paths import free_port
from lib.postfix import Postfix
from lib.sections import listener, split_smtps
from lib.sink import Content, Expect, Hang, Send, Serve, Sink
from lib.site import Site
from lib.wait import never, until

pytestmark = pytest.mark.inside

NAMES = ("queued", "now", "short")


class Lmtp(Client):
    """The same pedantic client, that says LHLO."""

    def ehlo(self, name="client.test"):
        r = self.cmd("LHLO " + name)
        if r.code == 250:
            self.extensions = {ln.split(" ")[0].upper(): ln for ln in r.lines[1:]}
        return r

    def replies_to(self, content, count):
        self.send(content + b".\r\n")
        return [self.reply() for _ in range(count)]


def message(tag):
    return f"Subject: {tag}\r\n\r\nhello\r\n".encode()


@pytest.fixture(scope="module")
def ports():
    return {name: free_port() for name in NAMES}


@pytest.fixture(scope="module")
def other():
    """A server whose connections do what a test scripts."""
    with Sink() as s:
        yield s


@pytest.fixture(scope="module")
def suite(sink, other, ports):
    relay = "relay_to = { local.test, far.test, x.test, alias.test };"
    s = Site(routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]", f"x.test {sink.port}^esmtp:[127.0.0.1]",
                     f"far.test {other.port}^esmtp:[127.0.0.1]", f"nobody.test {free_port()}^esmtp:[127.0.0.1]", f"elsewhere.test {sink.port}^esmtp:[127.0.0.1]",
                     f"both.test {other.port}^esmtp:[127.0.0.1] else {sink.port}^esmtp:[127.0.0.1]"],
             relay=["local.test", "far.test"])
    split_smtps(
        s, "MTA",
        LMTP=f"    {listener(ports['queued'], 'queued')}\n    listen_socket {{ type = unix; path = \"{s.dir}/lmtp.sock\"; name = \"socket\"; umask = 0; }}\n"
             f"    protocol = lmtp; {relay} relay_from_local = {{ socket }}; flags = {{ 8bitmime, chunking, binarymime, smtputf8 }};",
        NOW=f"    {listener(ports['now'], 'now')}\n    protocol = lmtp; deliver = now; relay_from_local = {{ now }}; xforward {{ from = {{ 127.0.0.1 }}; }}",
        SHORT=f"    {listener(ports['short'], 'short')}\n    protocol = lmtp; deliver = now; deliver_timeout = 1s; {relay}")
    s.add("qmgr", "deliver_now { grace_time = 1s; }")
    with s:
        yield s


@pytest.fixture(scope="module")
def site(suite):
    """The same, whose processes have to live."""
    return suite


@pytest.fixture(autouse=True)
def fresh(other):
    other.script([Serve()])
    yield
    other.drop()
    other.script([Serve()])


@pytest.fixture
def lmtp(site, ports):
    with Lmtp(ports["queued"]) as c:
        yield c


# ---- the dialogue

def test_greeting_and_lhlo(lmtp):
    assert re.match(r"mx\.test LMTP ", lmtp.greeting.text)
    assert {"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN"} <= set(lmtp.extensions)


def test_words_of_smtp_are_refused(lmtp, site):
    assert [lmtp.cmd(f"{v} x.example").code for v in ("HELO", "EHLO")] == [500, 500]
    lmtp.stays()
    assert "LHLO" in lmtp.cmd("HELP").text
    with Client(site.port) as c:
        assert c.cmd("LHLO x.example").code == 500


def test_nothing_before_lhlo(ports, site):
    with Lmtp(ports["queued"], helo=None) as c:
        r = c.mail("a@b.example")
        assert (r.code, r.enhanced) == (503, "5.5.1") and "LHLO" in r.text
        assert c.cmd("LHLO").code == 501
        assert c.ehlo().code == 250 and c.mail("a@b.example").code == 250


def test_one_reply_for_each(lmtp, sink, tag):
    lmtp.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<one@local.test>\r\nRCPT TO:<two@elsewhere.test>\r\nRCPT TO:<one@local.test>\r\nDATA\r\n")
    assert [lmtp.reply().code for _ in range(5)] == [250, 250, 550, 250, 354]
    got = lmtp.replies_to(message(tag), 2)
    assert [r.code for r in got] == [250, 250] and all(r.enhanced == "2.0.0" for r in got)
    lmtp.silent()
    lmtp.stays()
    m, = sink.wait(tag)
    assert m.rcpts == ["one@local.test", "one@local.test"]
    assert b" with LMTP\r\n" in m.header


def test_byte_exact(site, ports):
    with socket.create_connection(("127.0.0.1", ports["queued"]), 60) as s:
        f = s.makefile("rwb", 0)
        assert f.readline().startswith(b"220 mx.test LMTP ")
        for said, heard in ((b"LHLO c", None), (b"DATA", b"503 5.5.1 MAIL first\r\n"), (b"MAIL FROM:<>", b"250 2.1.0 Sender ok\r\n"),
                            (b"DATA", b"503 5.5.1 RCPT first\r\n"), (b"RCPT TO:<n@elsewhere.test>", b"550 5.7.1 Relaying denied\r\n"),
                            (b"DATA", b"503 5.5.1 RCPT first\r\n"), (b"RCPT TO:<y@local.test>", b"250 2.1.5 Recipient ok\r\n"),
                            (b"RSET", b"250 2.0.0 Transaction forgotten\r\n"), (b"EHLO c", b"500 5.5.1 This is LMTP, say LHLO\r\n")):
            f.write(said + b"\r\n")
            line = f.readline()
            while line[3:4] == b"-":
                line = f.readline()
            assert heard in (None, line), (said, line)
        f.write(b"QUIT\r\n")
        assert f.readline() == b"221 2.0.0 Bye\r\n" and f.read() == b""


def test_refused_message_is_refused_to_each(lmtp):
    lmtp.begin("a@b.example", "one@local.test", "two@local.test", "three@local.test")
    got = lmtp.replies_to(b"Subject: x\r\n\r\nbare\ncr\r\n", 3)
    assert [(r.code, r.enhanced) for r in got] == [(550, "5.6.0")] * 3
    lmtp.stays()


def test_chunks(lmtp, sink, tag):
    assert lmtp.mail("a@b.example").code == 250
    assert [lmtp.rcpt(f"{u}@local.test").code for u in ("one", "two")] == [250, 250]
    body = message(tag)
    lmtp.send(b"BDAT 9\r\n" + body[:9])
    assert lmtp.reply().code == 250
    lmtp.silent()
    lmtp.send(b"BDAT %d LAST\r\n" % (len(body) - 9) + body[9:])
    assert [lmtp.reply().code for _ in range(2)] == [250, 250]
    lmtp.stays()
    m, = sink.wait(tag)
    assert m.without_trace() == body


def test_last_chunk_behind_a_bad_one(lmtp):
    assert lmtp.mail("a@b.example").code == 250
    assert [lmtp.rcpt(f"{u}@local.test").code for u in ("one", "two")] == [250, 250]
    lmtp.send(b"BDAT 3\r\na\nb")
    assert lmtp.reply().code == 550
    lmtp.send(b"BDAT 1\r\nxBDAT 1 LAST\r\nx")
    assert [lmtp.reply().code for _ in range(3)] == [503, 503, 503]
    assert lmtp.cmd("RSET").code == 250
    lmtp.send(b"BDAT 1 LAST\r\nx")  # no recipient: one reply
    assert lmtp.reply().code == 503
    lmtp.stays()


def test_a_thousand_replies(lmtp, sink, tag):
    users = [f"u{i}@local.test" for i in range(1000)]
    lmtp.send("".join(["MAIL FROM:<a@b.example>\r\n", *(f"RCPT TO:<{u}>\r\n" for u in users), "DATA\r\n"]))
    assert [lmtp.reply().code for _ in range(1002)] == [250] * 1001 + [354]
    assert [r.code for r in lmtp.replies_to(message(tag), 1000)] == [250] * 1000
    lmtp.stays()
    until(lambda: sum(len(m.rcpts) for m in sink.find(tag)) == 1000, "all have it", 60)


def test_unix_client_may_relay(site, sink, tag):
    with Lmtp(None, unix=f"{site.dir}/lmtp.sock") as c:
        c.begin("a@b.example", "u@x.test", "v@elsewhere.test")
        assert [r.code for r in c.replies_to(message(tag), 2)] == [250, 250]
    until(lambda: sum(len(m.rcpts) for m in sink.find(tag)) == 2, "both have it")


# ---- deliver = now

@pytest.fixture
def now(site, ports):
    with Lmtp(ports["now"]) as c:
        yield c


def test_no_dsn_is_offered(now):
    assert "DSN" not in now.extensions
    assert now.mail("a@b.example", " RET=FULL").code == 555
    assert now.mail("a@b.example").code == 250
    assert now.rcpt("u@local.test", " NOTIFY=SUCCESS").code == 555


def test_words_of_the_next_hop(now, site, sink, other, tag):
    other.script([Serve({"RCPT": lambda line: b"550 5.1.1 nobody here\r\n" if b"<no" in line else b"451 4.2.2 box is full\r\n" if b"<full" in line else
                        b"250 fine\r\n", ".": b"250 2.6.0 queued as 4711\r\n"})])
    rcpts = ["yes@far.test", "no@far.test", "full@far.test", "u@local.test", "x@nobody.test"]
    now.begin("a@b.example", *rcpts)
    got = now.replies_to(message(tag), 5)
    assert [r.code for r in got] == [250, 550, 451, 250, 451], got
    assert got[0].text == "2.6.0 queued as 4711" and got[1].text == "5.1.1 nobody here" and got[2].text == "4.2.2 box is full"
    now.stays()
    assert len(sink.find(tag)) == 1 and len(other.find(tag)) == 1
    # tried once, put off by nobody, reported to nobody
    until(lambda: not site.content_files(), "all is over")
    never(lambda: len(other.find(tag)) > 1 or sink.reports("a@b.example"), "second try or report", 2.5)
    line = [x for x in site.log_lines("smtps-NOW", "ss.decided")][-1]
    assert "sent=2" in line and "failed=1" in line and "deferred=2" in line


def test_messages_follow_each_other(now, sink, tag):
    for i in range(3):
        now.begin("a@b.example", "u@local.test", "v@local.test")
        assert [r.code for r in now.replies_to(message(tag), 2)] == [250, 250]
    assert len(sink.find(tag)) == 3


def test_time_is_over(site, ports, other, tag):
    """A server that says nothing at RCPT: its recipients stay with the client, the others have it."""
    other.script([Serve({"RCPT": lambda line: None if b"slow" in line else b"250 ok\r\n"})])
    with Lmtp(ports["short"]) as c:
        c.begin("a@b.example", "slow@far.test", "u@local.test")
        began = time.monotonic()
        got = c.replies_to(message(tag), 2)
        assert [r.code for r in got] == [451, 250], got
        assert time.monotonic() - began < 60
        c.stays()
    other.drop()
    until(lambda: not site.content_files(), "all is over", 60)
    assert not other.find(tag)


def test_final_reply_too_late(site, ports, other, tag):
    """The server has all of it and says so too late: the client hears 4yz, and nobody sends it again by himself."""
    other.script([Send(b"220 far\r\n"), Expect(b"EHLO"), Send(b"250 far\r\n"), Expect(b"MAIL"), Send(b"250 ok\r\n"), Expect(b"RCPT"), Send(b"250 ok\r\n"),
                  Expect(b"DATA"), Send(b"354 go on\r\n"), Content(), Hang()])
    with Lmtp(ports["short"]) as c:
        c.begin("a@b.example", "u@far.test")
        got, = c.replies_to(message(tag), 1)
        assert (got.code, got.enhanced) == (451, "4.4.7")
    other.drop()
    other.script([Serve()])
    until(lambda: not site.content_files(), "all is over", 60)
    assert not other.find(tag)


def test_client_goes_away(site, ports, other, tag):
    """What has not begun is not begun any more; what is under way is let go on."""
    other.script([Serve({"DATA": lambda line: None})])
    c = Lmtp(ports["now"])
    c.begin("a@b.example", "u@far.test")
    before = len(other.commands)
    c.send(message(tag) + b".\r\n")
    until(lambda: any(b"DATA" in x for _, x in other.commands[before:]), "smtpc is at it")
    c.reset()
    until(lambda: any("client gone" in x for x in site.log_lines("qmgr", "qm.late")), "qmgr knows that nobody waits")
    other.drop()
    other.script([Serve()])
    until(lambda: not site.content_files(), "all is over", 60)
    never(lambda: other.find(tag), "delivery for nobody", 2)


@pytest.mark.parametrize("victim", ["smtps", "qmgr", "smtpc"])
def test_process_dies_midway(suite, ports, other, sink, tag, victim):
    """Nothing was promised: the client keeps what it was not told of, and nobody else sends it later."""
    other.script([Serve({"DATA": lambda line: None})])
    with Lmtp(ports["now"]) as c:
        c.begin("a@b.example", "u@local.test", "u@far.test")
        before = len(other.commands)
        c.send(message(tag) + b".\r\n")
        until(lambda: any(b"DATA" in x for _, x in other.commands[before:]), "smtpc is at it")
        sink.wait(tag)
        old = suite.pids(victim)
        suite.kill(victim, signal.SIGKILL)
        if victim == "smtps":
            with pytest.raises(Closed):
                c.reply()
        elif victim == "qmgr":
            assert [c.reply().code for _ in range(2)] == [451, 451]
        else:
            assert [c.reply().code for _ in range(2)] == [250, 451]
    until(lambda: suite.pids(victim) and suite.pids(victim) != old, "it is back", 30)
    other.drop()
    other.script([Serve()])
    suite.wait_ready()
    until(lambda: not suite.content_files(), "all is over", 60)
    never(lambda: other.find(tag) or len(sink.find(tag)) > 1, "delivery for nobody", 2.5)


# ---- the same mail again

def begin_again(ports, xid, tag, rcpts, content=None):
    """The client's id of it comes first; the message is on its way."""
    c = Lmtp(ports["now"])
    assert "XFORWARD" in c.extensions
    assert c.cmd(f"XFORWARD IDENT={xid}").code == 250
    c.begin("a@b.example", *rcpts)
    c.send((content or message(tag)) + b".\r\n")
    return c


def test_cut_client_comes_again(site, ports, other, sink, tag):
    """What it was not told of is told now; what is under way is waited for, and no one gets it twice."""
    other.script([Serve({"DATA": lambda line: None})])
    xid, rcpts = tag[-12:], ["u@local.test", "u@far.test"]
    before = len(other.commands)
    c = begin_again(ports, xid, tag, rcpts)
    until(lambda: any(b"DATA" in x for _, x in other.commands[before:]), "smtpc is at it")
    sink.wait(tag)
    c.reset()
    with begin_again(ports, xid, tag, rcpts) as c:
        until(lambda: any(f"xid={xid}" in x for x in site.log_lines("qmgr", "qm.again")), "it is known")
        c.silent()  # until the first one knows
        other.script([Serve()])
        other.drop()
        assert [c.reply().code for _ in range(2)] == [250, 250]
    until(lambda: not site.content_files(), "all is over", 60)
    assert len(sink.find(tag)) == 1 and len(other.find(tag)) == 1
    for component, event in (("smtps", "ss.rcpt"), ("smtps", "ss.decided"), ("qmgr", "qm.rcpt"), ("qmgr", "qm.end"), ("smtpc", "sc.delivered")):
        assert any(f"xid={xid}" in x for x in site.log_lines(component, event)), event


def test_two_mails_under_one_id(site, ports, sink, tag):
    """A client's ids may come again: a mail with another Message-ID is another mail."""
    for i in range(2):
        with begin_again(ports, tag[-12:], tag, ["u@local.test"], b"Message-ID: <%d@b.example>\r\n" % i + message(f"{tag}-{i}")) as c:
            assert c.reply().code == 250
    assert len(sink.find(f"{tag}-0")) == 1 and len(sink.find(f"{tag}-1")) == 1


def test_again_after_qmgr_died(suite, ports, other, sink, tag):
    other.script([Serve({"DATA": lambda line: None})])
    xid, rcpts = tag[-12:], ["u@local.test", "u@far.test"]
    before, old = len(other.commands), suite.pids("qmgr")
    with begin_again(ports, xid, tag, rcpts) as c:
        until(lambda: any(b"DATA" in x for _, x in other.commands[before:]), "smtpc is at it")
        until(lambda: any(f"xid={xid}" in x for x in suite.log_lines("qmgr", "qm.rcpt")), "qmgr knows the first result")
        time.sleep(0.5)  # results are on the disk after 100 ms
        suite.kill("qmgr", signal.SIGKILL)
        assert [c.reply().code for _ in range(2)] == [451, 451]
    until(lambda: suite.pids("qmgr") and suite.pids("qmgr") != old, "it is back", 30)
    other.script([Serve()])
    other.drop()
    suite.wait_ready()
    until(lambda: not suite.content_files(), "it is over", 60)
    with begin_again(ports, xid, tag, rcpts) as c:
        assert [c.reply().code for _ in range(2)] == [250, 250]
    until(lambda: not suite.content_files(), "all is over", 60)
    assert len(sink.find(tag)) == 1 and len(other.find(tag)) == 1


# ---- real clients

def test_another_site_sends(site, ports, sink, tag):
    with Site(routes=[f"x.test {ports['now']}^lmtp:[127.0.0.1]", f"local.test {ports['queued']}^lmtp:[127.0.0.1]"], relay=["x.test", "local.test"]) as b:
        with b.client() as c:
            assert c.send_mail("a@b.example", ["u@x.test", "v@x.test", "u@local.test"], message(tag)).code == 250
        until(lambda: sum(len(m.rcpts) for m in sink.find(tag)) == 3, "all have it", 30)
        until(lambda: not b.content_files(), "it is over there", 30)
    for m in sink.find(tag):
        assert b" with LMTP\r\n" in m.header


@pytest.mark.skipif(os.getuid() != 0, reason="Postfix wants root")
def test_postfix_sends(site, ports, sink, other, tag):
    try:
        postfix = Postfix({}, settings=[f"transport_maps = inline:{{ {{ x.test = lmtp:inet:127.0.0.1:{ports['now']} }}, "
                                        f"{{ far.test = lmtp:inet:127.0.0.1:{ports['now']} }}, {{ local.test = lmtp:inet:127.0.0.1:{ports['queued']} }} }}"])
    except Unavailable as e:
        pytest.skip(str(e))
    other.script([Serve({"RCPT": b"550 5.1.1 nobody here\r\n"})])
    with postfix, Client(postfix.port) as c:
        assert c.send_mail("a@local.test", ["u@x.test", "v@x.test", "u@local.test", "n@far.test"], message(tag)).code == 250
        until(lambda: sum(len(m.rcpts) for m in sink.find(tag)) == 3, "all have it", 30)
        # its own report of what we have refused, by the way of all mail
        until(lambda: [m for m in sink.reports("a@local.test") if re.search(rb"5\.1\.1\s+nobody here", m.content)], "Postfix tells its user", 30)


def test_second_way_while_the_client_waits(site, ports, sink, other, tag):
    """One attempt has all ways of the mailertable."""
    other.script([Serve({"RCPT": b"451 4.2.1 not now\r\n"})])
    with Lmtp(ports["now"]) as c:
        c.begin("a@src.test", "x@both.test", "y@both.test")
        assert [r.code for r in c.replies_to(message(tag), 2)] == [250, 250]
    m, = sink.wait(tag)
    assert m.rcpts == ["x@both.test", "y@both.test"]
