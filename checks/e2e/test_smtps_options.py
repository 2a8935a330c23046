"""Each option and flag of smtps that says what a session may do, at its limit and beyond: by entries for clients with different addresses."""
import os

import pytest
from lib.client import Client, greets, message
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

CONF = {
    2: "max_bad_commands_per_session = 3;",
    3: "max_bad_commands_per_transaction = 2; max_bad_commands_per_session = 100;",
    4: "max_invalid_addresses_per_session = 3;",
    5: "max_invalid_addresses_per_transaction = 2; max_invalid_addresses_per_session = 100;",
    6: "max_nop_commands_between_transactions = 3;",
    7: "max_nop_commands_in_transaction = 2;",
    8: "max_recipients_per_session = 100;",
    9: "max_recipients_per_transaction = 3;",
    10: "max_transactions = 2;",
    11: "max_hops = 2;",
    12: "max_message_size = 2KB;",
    13: "max_header_size = 1KB; max_line_length = 1000B;",
    14: "io_timeout = 1s;",
    15: "session_timeout = 2s;",
    20: "flags = { no_8bitmime };",
    21: "flags = { soft_bounce };",
    22: "flags = { strict_ehlo_checks };",
    23: "flags = { lmtp_does_not_imply_relaying };",
    24: "flags = { allow_loopback_relaying };",
    25: "flags = { no_access };",
}
ACCESS = "".join(f"smtps_session_conf:127.0.0.{i} {text}\n" for i, text in CONF.items()) + """\
from:evil@src.test error:553 5.7.1 not from you
to:bad@local.test error:550 5.1.1 nobody
"""


@pytest.fixture(scope="module")
def site(sink, dns):
    s = Site(routes=[f"local.test {sink.port}^lmtp:[127.0.0.1]", f". {sink.port}^esmtp:[127.0.0.1]"], dns=dns.address)
    s.add("smtps", "flags = { access, session_conf };")
    s.add("smar", 'access_map { file = "@/access.cdb"; }')
    s.createmap("access.cdb", ACCESS, kind="access")
    with s:
        yield s


def at(site, n, **kw):
    return Client(site.port, source=f"127.0.0.{n}", **kw)


def codes(c, *commands):
    return [c.cmd(x).code for x in commands]


def test_bad_commands(site):
    with at(site, 2) as c:
        # DATA behind a MAIL that was refused may have been pipelined
        assert codes(c, "FOO", "MAIL", "DATA", "RCPT", "FOO") == [500, 501, 503, 503, 421] and not c.closes()
    with at(site, 3) as c:
        assert c.mail("me@src.test").code == 250
        assert codes(c, "FOO", "FOO", "RSET", "MAIL FROM:<a@src.test>", "FOO", "FOO", "FOO") == [500, 500, 250, 250, 500, 500, 421]


def test_invalid_addresses(site):
    bad = "RCPT TO:<bad@local.test>"
    with at(site, 4) as c:
        assert codes(c, "MAIL FROM:<me@src.test>", bad, bad, "RSET", "MAIL FROM:<me@src.test>", bad, bad) == [250, 550, 550, 250, 250, 550, 421]
    with at(site, 5) as c:
        assert codes(c, "MAIL FROM:<me@src.test>", bad, bad, "RSET", "MAIL FROM:<me@src.test>", bad, bad, bad) == [250, 550, 550, 250, 250, 550, 550, 421]


def test_commands_that_do_nothing(site, sink, tag):
    with at(site, 6) as c:
        assert codes(c, "NOOP", "RSET", "VRFY x") == [250, 250, 252]
        # one that does something begins the count again
        assert c.send_mail("me@src.test", "you@local.test", message(tag)).code == 250
        assert codes(c, "NOOP", "HELP", "EXPN x", "NOOP") == [250, 214, 502, 421]
    with at(site, 7) as c:
        assert codes(c, "MAIL FROM:<me@src.test>", "NOOP", "VRFY x", "NOOP") == [250, 250, 252, 421]
    sink.wait(tag)


def test_recipients(site):
    with at(site, 9) as c:
        assert codes(c, "MAIL FROM:<me@src.test>", *[f"RCPT TO:<r{i}@local.test>" for i in range(4)]) == [250, 250, 250, 250, 452]
        assert codes(c, "RSET", "MAIL FROM:<me@src.test>", "RCPT TO:<r@local.test>") == [250, 250, 250]
    with at(site, 8) as c:
        assert c.mail("me@src.test").code == 250
        c.send(b"".join(b"RCPT TO:<r%d@local.test>\r\n" % i for i in range(60)))
        assert [c.reply().code for _ in range(60)] == [250] * 60
        assert codes(c, "RSET", "MAIL FROM:<me@src.test>") == [250, 250]
        c.send(b"".join(b"RCPT TO:<r%d@local.test>\r\n" % i for i in range(41)))
        assert [c.reply().code for _ in range(41)] == [250] * 40 + [452]


def test_transactions(site):
    with at(site, 10) as c:
        assert codes(c, "MAIL FROM:<a@src.test>", "RSET", "MAIL FROM:<a@src.test>", "RSET", "MAIL FROM:<a@src.test>") == [250, 250, 250, 250, 421]


def test_hops(site, sink, tag):
    hop = b"Received: from a by b; Sat, 21 Nov 2026 00:00:00 +0000\r\n"
    with at(site, 11) as c:
        assert c.send_mail("me@src.test", "you@local.test", hop * 2 + message(tag)).code == 250
        r = c.send_mail("me@src.test", "you@local.test", hop * 3 + message(tag))
        assert r.code == 554 and r.enhanced == "5.4.6"
    sink.wait(tag)


def test_sizes(site):
    with at(site, 12) as c:
        assert c.extensions["SIZE"] == "SIZE 2048"
        assert codes(c, "MAIL FROM:<me@src.test> SIZE=2049", "MAIL FROM:<me@src.test> SIZE=2048", "RSET") == [552, 250, 250]
        r = c.send_mail("me@src.test", "you@local.test", b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n" + (b"z" * 70 + b"\r\n") * 30)
        assert r.code == 552
    with at(site, 13) as c:
        assert c.send_mail("me@src.test", "you@local.test", b"X: y\r\n" * 200 + b"\r\n").code == 554
        assert c.send_mail("me@src.test", "you@local.test", b"Subject: x\r\n\r\n" + b"y" * 1001 + b"\r\n").code == 554
        assert c.send_mail("me@src.test", "you@local.test", b"Subject: x\r\n\r\n" + b"y" * 900 + b"\r\n").code == 250


def test_times(site):
    with at(site, 14) as c:
        r, = c.closes()
        assert r.code == 421 and r.enhanced == "4.4.2"
    with at(site, 15) as c:
        def told():
            return c.cmd("NOOP").code == 421
        until(told, "the session has taken too long", 20)


def test_8bitmime(site, sink, tag):
    with at(site, 20) as c:
        assert "8BITMIME" not in c.extensions
        assert c.mail("me@src.test", " BODY=8BITMIME").code == 555
        # transparent all the same
        assert c.send_mail("me@src.test", "you@local.test", message(tag, b"gr\xfcn\r\n")).code == 250
    m, = sink.wait(tag)
    assert m.body == b"gr\xfcn\r\n"
    with at(site, 1) as c:
        assert "8BITMIME" in c.extensions and c.mail("me@src.test", " BODY=8BITMIME").code == 250


def test_soft_bounce(site):
    """What would make mail bounce is temporary; what is wrong with a command stays wrong."""
    with at(site, 21) as c:
        r = c.mail("evil@src.test")
        assert r.code == 453 and r.enhanced == "4.7.1", r
        assert c.mail("me@src.test").code == 250
        for rcpt, enhanced in (("bad@local.test", "4.1.1"), ("you@far.test", "4.7.1")):
            r = c.rcpt(rcpt)
            assert r.code == 450 and r.enhanced == enhanced, r
        assert codes(c, "FOO", "RCPT TO:<a b>") == [500, 501]
    with at(site, 1) as c:
        assert c.mail("evil@src.test").code == 553


def test_strict_ehlo_checks(site):
    for n, code in ((22, 501), (1, 250)):
        with at(site, n, helo=None) as c:
            for bad in ("under_score", "a..b", "[1.2.3", "12345", "-x"):
                assert c.cmd("EHLO " + bad).code == code, bad
            for good in ("mx.test", "[127.0.0.1]", "[IPv6:::1]"):
                assert c.cmd("EHLO " + good).code == 250


def test_relaying(site):
    for n, local, far in ((23, 550, 550), (24, 250, 250), (1, 250, 550)):
        with at(site, n) as c:
            assert c.mail("me@src.test").code == 250
            assert (c.rcpt("you@local.test").code, c.rcpt("you@far.test").code) == (local, far), n


def test_without_access(site):
    """The map is asked for nothing more."""
    with at(site, 25) as c:
        assert c.mail("evil@src.test").code == 250 and c.rcpt("bad@local.test").code == 250


# ---- of the process

def test_max_threads(sink, dns):
    with Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], dns=dns.address, settings={"smtps.max_threads": "3"}) as s:
        all_ = [s.client() for _ in range(3)]
        with s.client(helo=None) as c:
            assert c.greeting.code == 421 and not c.closes()
        all_.pop().close()
        until(lambda: greets(("127.0.0.1", s.port)), "there is room again", 10)
        for c in all_:
            c.stays()
            c.close()


def test_processes(sink, dns):
    """`processes`: so many of them, with ids from the section's on."""
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    s.add("smtps", "processes = 3; id = 32;")
    with s:
        until(lambda: len(s.pids("smtps")) == 3, "three of them", 20)
        numbers = []
        for pid in s.pids("smtps"):
            with open(f"/proc/{pid}/cmdline") as f:
                argv = f.read().split("\0")
            numbers.append(argv[argv.index("-i") + 1])
        assert sorted(numbers) == ["0", "1", "2"]
        with s.client() as c:
            assert c.send_mail("me@src.test", "you@local.test", message("x")).text.split()[1][-2:] in ("20", "21", "22")


@pytest.mark.skipif(os.getuid() != 0, reason="only root has a group to give")
def test_cdb_gid(sink, dns):
    """Contents belong to the group that may read them."""
    import grp
    import pwd
    me = pwd.getpwnam(os.environ.get("SMX_TEST_USER", "nobody"))
    s = Site(routes=["local.test 1^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    with s:
        with s.client() as c:
            assert c.send_mail("me@src.test", "you@local.test", message("x")).code == 250
        path, = until(s.content_files, "a content")
        assert os.stat(path).st_gid == me.pw_gid and os.stat(path).st_mode & 0o777 == 0o640, grp.getgrgid(os.stat(path).st_gid)


def test_helper_threads_at_their_bounds(sink):
    """As many as the options allow: all processes start and carry a mail."""
    most = {"smtps.io_threads": "256", "qmgr.unlink_threads": "16", "smtpc.helper_threads": "64"}
    with Site(routes=[f"local.test {sink.port}^lmtp:[127.0.0.1]"], settings=most) as s:
        with s.client() as c:
            assert c.send_mail("me@src.test", "helpers@local.test", message("helpers")).code == 250
        until(lambda: any("helpers@local.test" in m.rcpts for m in sink.accepted), "it arrives")
