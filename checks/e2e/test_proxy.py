"""PROXY protocol: versions 1 and 2 from listed proxies on listed listeners, once, first of all; anything else is closed without a word."""
import socket
import struct
import subprocess

import pytest
from lib import netns
from lib.client import Client, Closed, message
from lib.paths import free_port
from lib.sections import listener
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

SIG = b"\r\n\r\n\0\r\nQUIT\n"
ACCESS = """\
cltaddr:192.0.2.66 quick:error:554 5.7.1 not you
cltaddr:2001:db8:0:0:0:0:0:7 relay
cltaddr:192.0.2.7 relay
"""


def v1(client="192.0.2.1", port=1234):
    family = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {family} {client} {'::1' if ':' in client else '198.51.100.2'} {port} 25\r\n".encode()


def v2(client="192.0.2.1", port=1234, command=0x21, more=b""):
    six = ":" in client
    family = socket.AF_INET6 if six else socket.AF_INET
    body = socket.inet_pton(family, client) + socket.inet_pton(family, "::1" if six else "198.51.100.2") + struct.pack(">HH", port, 25) + more
    return SIG + struct.pack(">BBH", command, 0x21 if six else 0x11, len(body)) + body


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def site(sink, port, dns):
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    s.add("smtps", listener(port, "behind") + """
    flags = { access };
    relay_from_local = { behind };
    proxy { listeners = { behind }; from = { 127.0.0.2, 127.0.0.3/32, 127.0.8.0/21 }; timeout = 2s; }""")
    s.add("smar", 'access_map { file = "@/access.cdb"; }')
    s.createmap("access.cdb", ACCESS, kind="access")
    with s:
        yield s


class Proxied(Client):
    def __init__(self, port, header, source="127.0.0.2", split=None, **kw):
        super().__init__(port, source=source, greet=False, **kw)
        for i in range(0, len(header), split or len(header) or 1):
            self.send(header[i:i + (split or len(header))])
        self.header = header

    def begin_smtp(self):
        self.greeting = self.reply()
        if self.greeting.code == 220:
            self.ehlo()
        return self


def connects(site, text):
    return [x for x in site.log_lines("smtps", "ss.connect") if text in x]


@pytest.mark.parametrize("header", [v1(), v2(), v2(more=b"\x04\x00\x10" + b"x" * 16), v2(more=b"\x04\x0f\xf0" + b"x" * 0xff0)], ids=["v1", "v2", "v2tlv", "v2long"])
@pytest.mark.parametrize("split", [None, 1, 16])
def test_the_client_is_who_is_told(site, sink, port, tag, header, split):
    if split == 1 and len(header) > 200:
        split = 100
    subject = tag.encode().replace(b"[", b"-").replace(b"]", b"-").decode()
    with Proxied(port, header, split=split).begin_smtp() as c:
        assert c.send_mail("me@src.test", "you@local.test", message(subject)).code == 250
    m = sink.wait(subject)
    m = m[0] if isinstance(m, list) else m
    assert b"(192.0.2.1" in m.header or b"[192.0.2.1]" in m.header, m.header
    assert b"127.0.0.2" not in m.header
    assert any("client_ipv4=192.0.2.1" in x and "via=127.0.0.2:" in x and "listener=behind" in x for x in connects(site, "192.0.2.1"))


def test_ipv6(site, sink, port, tag):
    for header in (v1("2001:db8::7"), v2("2001:db8::7")):
        with Proxied(port, header).begin_smtp() as c:
            assert c.send_mail("me@src.test", "you@far.test", message(tag)).code == 250  # by cltaddr: relay
    assert connects(site, "client_ipv6=2001:db8::7")


def test_checks_are_of_the_client(site, port):
    """The access map knows the client, not the proxy."""
    with Proxied(port, v1("192.0.2.66")) as c:
        r = c.reply()
        assert r.code == 554 and "not you" in r.text
    with Proxied(port, v1("192.0.2.7")).begin_smtp() as c:
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 250
    with Proxied(port, v1("192.0.2.8")).begin_smtp() as c:
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550


def test_a_told_address_is_never_local(site, port):
    """The listener relays for loopback clients: for those that are, not for those that are told to be."""
    with Proxied(port, v1("127.0.0.1")).begin_smtp() as c:
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550
    for header in (b"PROXY UNKNOWN\r\n", SIG + b"\x20\x00\x00\x00"):
        with Proxied(port, header).begin_smtp() as c:  # the proxy itself: a health check
            assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 250


def test_limits_are_of_the_client(sink, dns):
    """qmgr counts those who are told: one client is refused, another behind the same proxy is not."""
    port = free_port()
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address,
             settings={"qmgr.smtps.max_connections": "2"})
    s.add("smtps", listener(port, "behind") + ' proxy { listeners = { behind }; from = { 127.0.0.2 }; }')
    with s:
        one = [Proxied(port, v1("192.0.2.1")).begin_smtp() for _ in range(2)]
        with Proxied(port, v1("192.0.2.1")) as c:
            assert c.reply().code == 421
        others = [Proxied(port, v1(f"192.0.2.{i}")).begin_smtp() for i in range(10, 20)]
        assert all(c.greeting.code == 220 for c in one + others)
        for c in one + others:
            c.close()


BAD = {
    "none": b"EHLO x\r\n", "twoverbs": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "lf": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    "family": b"PROXY TCP4 ::1 ::1 1 2\r\n", "host": b"PROXY TCP4 mx.test 192.0.2.2 1 2\r\n", "port": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
    "nul": b"PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n", "any": b"PROXY TCP4 0.0.0.0 192.0.2.2 1 2\r\n", "long": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "command": v2(command=0x22), "version": v2(command=0x11),
    "huge": SIG + b"\x21\x11\xff\xff", "short": SIG + b"\x21\x11\x00\x04abcd", "udp": v2()[:13] + b"\x12" + v2()[14:],
    "tlv": v2(more=b"\x04\x00\x09x"), "crc": v2(more=b"\x03\x00\x04abcd"), "http": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_none_is_closed(site, port, name):
    marks = site.log_marks()
    with Proxied(port, BAD[name]) as c:
        try:
            assert c.rest() == b""
        except Closed:
            pass
    until(lambda: any(" ss.proxy " in t and "stat=refused" in t for t in site.logs_since(marks).values()), "it is in the log")
    text = "".join(site.logs_since(marks).values())
    assert "ss.connect" not in text


def test_others_are_closed(site, port):
    """Who is not listed gets nowhere, whatever he sends."""
    marks = site.log_marks()
    for header in (v1(), v2(), b"", b"EHLO x\r\n"):
        with Proxied(port, header, source="127.0.0.9") as c:
            try:
                assert c.rest() == b""
            except (Closed, ConnectionResetError):
                pass
    until(lambda: "".join(site.logs_since(marks).values()).count("stat=refused") == 4, "all four in the log")


@pytest.mark.parametrize("part", [b"", b"PROXY TCP4 192.0", v2()[:20]])
def test_who_is_slow_is_closed(site, port, part):
    with Proxied(port, part) as c:
        assert c.rest(30) == b""


def test_networks(site, port):
    with Proxied(port, v1(), source="127.0.15.255").begin_smtp() as c:
        assert c.greeting.code == 220
    with Proxied(port, v1(), source="127.0.16.0") as c:
        try:
            assert c.rest() == b""
        except (Closed, ConnectionResetError):
            pass


def test_only_on_its_listener(site):
    """Elsewhere it is a bad command, or a client that speaks too early."""
    with Client(site.port, source="127.0.0.2", helo=None) as c:
        r = c.cmd(v1())
        assert r.code in (500, 421), r
    with site.client() as c:
        assert c.cmd(b"PROXY TCP4 192.0.2.7 198.51.100.2 1 2\r\n").code == 500
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550


def test_only_once(site, port):
    with Proxied(port, v1()).begin_smtp() as c:
        assert c.cmd(v1("192.0.2.7")).code == 500
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550
    with Proxied(port, v1() + v1("192.0.2.7")) as c:
        assert c.closes()[-1].code == 421  # it speaks before the greeting


def test_one_private_client_is_strange(sink):
    """All clients have one private address: somebody hides them, and the log says so once."""
    if not netns.possible():
        pytest.skip("not root, or no right to make a network namespace")
    with netns.Network():
        subprocess.run(["ip", "route", "add", "local", "172.17.0.0/16", "dev", "lo"], check=True)
        for clients, warned in ((["172.17.0.1"] * 8, 1), (["172.17.0.1", "172.17.0.1", "172.17.0.2"] * 3, 0)):
            s = Site(relay=["local.test"], settings={"smtps.warn_one_client": "4"})
            s.start(wait=False)
            try:
                until(lambda: _answers(s.port), "it serves", 20)
                for source in clients:
                    with Client(s.port, source=source) as c:
                        assert c.greeting.code == 220
                lines = s.log_lines("smtps", "ss.one_client")
                assert len(lines) == warned and all("client=172.17.0.1:" in x and "sessions=4" in x for x in lines), lines
            finally:
                s.stop()


def _answers(port):
    """Tried by the client itself: one from elsewhere would be a second one."""
    try:
        with Client(port, source="172.17.0.1", helo=None) as c:
            return c.greeting.code == 220
    except (OSError, AssertionError):
        return False
