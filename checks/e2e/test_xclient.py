"""XCLIENT: a listed front end tells for whom it speaks, once; the session begins again with that client."""
import pytest
from lib.client import Client, message
from lib.dns import A, PTR
from lib.paths import free_port
from lib.sections import listener
from lib.site import Site

pytestmark = pytest.mark.inside

ACCESS = """\
cltaddr:192.0.2.66 quick:error:554 5.7.1 not you
cltaddr:192.0.2.7 relay
cltname:spam.example quick:error:554 5.7.1 no spam
cltresolve:tempptr quick:error:451 4.7.1 name servers are away
"""


@pytest.fixture(scope="module")
def trusting():
    return free_port()


@pytest.fixture(scope="module")
def site(sink, dns, trusting):
    dns.add("5.2.0.192.in-addr.arpa", PTR("five.example"))
    dns.add("five.example", A("192.0.2.5"))
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    s.add("smtps", listener(trusting, "trusting") + """
    flags = { access };
    relay_from_local = { trusting };
    xclient { from = { 127.0.0.2/31 }; }""")
    s.add("smar", 'access_map { file = "@/access.cdb"; }')
    s.createmap("access.cdb", ACCESS, kind="access")
    with s:
        yield s


def front(site, source="127.0.0.2", **kw):
    return Client(kw.pop("port", site.port), source=source, **kw)


def test_offered_to_those_who_may(site):
    with front(site) as c:
        assert "XCLIENT" in c.extensions
        assert set(c.extensions["XCLIENT"].split()[1:]) == {"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"}
        assert c.cmd("XCLIENT ADDR=192.0.2.1").code == 220
        c.ehlo()
        assert "XCLIENT" not in c.extensions
    with front(site, "127.0.0.4") as c:
        assert "XCLIENT" not in c.extensions


def test_the_client_is_who_is_told(site, sink, tag):
    with front(site) as c:
        assert c.cmd("XCLIENT ADDR=192.0.2.5 PORT=4711 NAME=told.example HELO=helo.example PROTO=ESMTP DESTADDR=198.51.100.1 DESTPORT=25").code == 220
        assert c.send_mail("me@src.test", "you@local.test", message(tag)).code == 250  # HELO is known
    m, = sink.wait(lambda m: tag.encode() in m.content)
    first = m.header.split(b"\r\n\tby")[0]
    assert b"from helo.example (told.example [192.0.2.5])" in first, m.header
    line = [x for x in site.log_lines("smtps", "ss.connect") if "192.0.2.5" in x][-1]
    assert "client_name=told.example" in line and "via=127.0.0.2:" in line
    line = [x for x in site.log_lines("smtps", "ss.xclient") if "192.0.2.5:4711" in x][-1]
    assert "dest=198.51.100.1:25" in line and "helo=helo.example" in line


def test_the_name_is_looked_up_if_it_is_not_told(site, sink, tag):
    with front(site) as c:
        assert c.cmd("XCLIENT ADDR=192.0.2.5").code == 220
        assert c.mail("me@src.test").code == 503
        c.ehlo("again.example")
        assert c.send_mail("me@src.test", "you@local.test", message(tag)).code == 250
    m, = sink.wait(lambda m: tag.encode() in m.content)
    assert b"from again.example (five.example [192.0.2.5])" in m.header


@pytest.mark.parametrize("what,code", [
    ("ADDR=192.0.2.66", 554), ("ADDR=192.0.2.1 NAME=spam.example", 554), ("ADDR=192.0.2.1 NAME=[TEMPUNAVAIL]", 421),
    ("ADDR=192.0.2.1 NAME=[UNAVAILABLE]", 220), ("ADDR=IPV6:2001:db8::1 NAME=[UNAVAILABLE]", 220)])
def test_checks_are_of_the_client(site, what, code):
    with front(site) as c:
        r = c.cmd("XCLIENT " + what)
        assert r.code == code, r
        if code != 220:
            assert not c.closes()


def test_rights_are_of_the_client(site, trusting):
    """Neither what the front end may, nor what a local one would, but what the client may."""
    with front(site, port=trusting) as c:
        assert c.cmd("XCLIENT ADDR=192.0.2.1 HELO=x").code == 220
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550
    with front(site, port=trusting) as c:
        assert c.cmd("XCLIENT ADDR=127.0.0.1 HELO=x").code == 220
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550
    with front(site, port=trusting) as c:
        assert c.cmd("XCLIENT ADDR=192.0.2.7 HELO=x").code == 220
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 250
    with front(site, port=trusting) as c:  # its own mail
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 250


def test_once(site):
    with front(site) as c:
        assert c.cmd("XCLIENT ADDR=192.0.2.1 HELO=x").code == 220
        r = c.cmd("XCLIENT ADDR=192.0.2.7")
        assert r.code == 503, r
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550
    # nor to become one that may
    with front(site) as c:
        assert c.cmd("XCLIENT ADDR=127.0.0.2 HELO=x").code == 220
        assert c.cmd("XCLIENT ADDR=192.0.2.7").code == 503


def test_not_for_others(site):
    with front(site, "127.0.0.4") as c:
        assert c.cmd("XCLIENT ADDR=192.0.2.7").code == 500
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550


def test_not_in_a_transaction(site):
    with front(site) as c:
        assert c.mail("me@src.test").code == 250
        assert c.cmd("XCLIENT ADDR=192.0.2.7").code == 503
        assert c.rcpt("you@local.test").code == 250
        assert c.cmd("XCLIENT ADDR=192.0.2.7").code == 503
        assert c.cmd("DATA").code == 354
        c.send(b"XCLIENT ADDR=192.0.2.7\r\n.\r\n")
        assert c.reply().code == 250
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550


def test_nothing_is_pipelined_behind_it(site):
    with front(site) as c:
        c.send(b"XCLIENT ADDR=192.0.2.7 HELO=x\r\nMAIL FROM:<evil@src.test>\r\n")
        assert c.reply().code == 421


@pytest.mark.parametrize("bad", [
    "", "ADDR=", "ADDR=x", "NAME=x", "ADDR=192.0.2.7 ADDR=192.0.2.7", "ADDR=192.0.2.7 NAME=a+0D+0Ab", "ADDR=192.0.2.7 HELO=a+20b",
    "ADDR=192.0.2.7 LOGIN=+00", "ADDR=192.0.2.7 PORT=99999", "ADDR=192.0.2.7 PROTO=HTTP", "ADDR=192.0.2.7 FOO=bar", "ADDR=192.0.2.7 NAME=" + "a" * 300,
    "ADDR=192.0.2.7 NAME=\xe9"])
def test_bad_values(site, bad):
    with front(site) as c:
        r = c.cmd(f"XCLIENT {bad}".encode("latin-1") + b"\r\n")
        assert r.code == 501, r
        c.stays()
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550


def test_limits_are_of_the_client(sink, dns):
    """A front end may have more connections than a client, and each client as many as others."""
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address, settings={"qmgr.smtps.max_connections": "2"})
    s.add("smtps", "xclient { from = { 127.0.0.2 }; }")
    with s:
        all_ = [front(s) for _ in range(8)]
        for i, c in enumerate(all_):
            assert c.cmd(f"XCLIENT ADDR=192.0.2.{1 + i // 2} HELO=x").code == 220
        with front(s) as c:
            r = c.cmd("XCLIENT ADDR=192.0.2.1")
            assert r.code == 421, r
        # who does not say it is a client like others
        own = [front(s) for _ in range(3)]
        assert [c.mail("me@src.test").code for c in own] == [250, 250, 421]
        for c in all_ + own:
            c.close()


def test_login(sink, dns):
    """With the flag login, whom the front end has authenticated may relay."""
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    s.add("smtps", "xclient { from = { 127.0.0.2 }; flags = { login }; }")
    with s:
        with front(s) as c:
            assert c.cmd("XCLIENT ADDR=192.0.2.1 HELO=x LOGIN=user+40example").code == 220
            assert c.send_mail("me@src.test", "you@far.test", message("login-told")).code == 250
        m, = sink.wait(lambda m: b"login-told" in m.content)
        assert b"with ESMTPA" in m.header
        with front(s) as c:
            assert c.cmd("XCLIENT ADDR=192.0.2.1 HELO=x LOGIN=[UNAVAILABLE]").code == 220
            assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550


def test_login_needs_the_flag(site):
    with front(site) as c:
        assert c.cmd("XCLIENT ADDR=192.0.2.1 HELO=x LOGIN=user").code == 220
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550
