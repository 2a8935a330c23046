"""TLS as an attack: what is hidden behind STARTTLS, what is no TLS, what only costs, and clear text behind its end (promises A43 to A49)."""
import os
import socket
import ssl
import subprocess
import time

import pytest
from lib.certs import Certs
from lib.client import Client, message, trusting
from lib.openssl import V12, V13, Broken, Tls
from lib.paths import BUILD
from lib.site import Site
from lib.wait import SANITIZER, SLOW, until
from test_starttls import both_ways, tls_port  # noqa: F401

pytestmark = pytest.mark.inside

HANDSHAKE_S = 3


@pytest.fixture(scope="module")
def certs():
    with Certs() as c:
        c.make("ec", "/CN=mx.test", ["mx.test"])
        yield c


@pytest.fixture(scope="module")
def site(sink, dns, certs, tls_port):
    with both_ways(sink, dns, tls_port, {**certs.settings("ec", handshake_timeout=f"{HANDSHAKE_S}s"), "smtps.max_message_size": "2048"}) as s:
        yield s


def nothing_of(sink, site, sender):
    """A mail goes through, and nothing of that sender came before it."""
    site.canary(sink)
    assert not [m for m in sink.messages if m.sender == sender]


def ends(sock, seconds):
    """Everything until the server closes, which it does in time."""
    sock.settimeout(seconds * SLOW)
    data = b""
    while True:
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more


# -- A43: what is sent in clear behind STARTTLS

INJECTED = b"MAIL FROM:<evil@e.test>\r\nRCPT TO:<b@local.test>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n"


@pytest.mark.parametrize("more", [INJECTED, b"EHLO again\r\n", b"\r\n", b"x", b"\x16\x03\x01\x00"], ids=["mail", "ehlo", "crlf", "byte", "hello"])
def test_input_behind_starttls(site, sink, more):
    """In one segment: refused in clear, and the session is over, so nothing can be run inside of TLS."""
    with site.client() as c:
        c.send(b"STARTTLS\r\n" + more)
        replies = c.closes()
        assert [r.code for r in replies] == [421], replies
    nothing_of(sink, site, "evil@e.test")


def test_input_between_reply_and_handshake(site, sink):
    """Late enough to miss that check: it is no ClientHello, and there is no session any more."""
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        c.send(INJECTED)
        got = ends(c.sock, 20)
        assert not got.startswith(b"2") and b"250" not in got, got
    nothing_of(sink, site, "evil@e.test")


def test_pipelined_before_starttls(site):
    """It may be the last of a pipelined group (RFC 2920 3.1)."""
    with site.client() as c:
        c.send(b"NOOP\r\nRSET\r\nSTARTTLS\r\n")
        assert [c.reply().code for _ in range(3)] == [250, 250, 220]
        c.encrypt()
        assert c.ehlo().code == 250
        c.stays()


def test_transaction_does_not_cross(site, sink):
    with site.client() as c:
        assert c.mail("evil@e.test").code == 250
        assert c.cmd("STARTTLS").code == 503
        assert c.cmd("RSET").code == 250
        c.starttls()
        assert c.rcpt("b@local.test").code == 503
        assert c.cmd("DATA").code == 503
        c.stays()
    nothing_of(sink, site, "evil@e.test")


# -- A45: no TLS where it should be, and TLS where it should not

NO_TLS = {"smtp": b"EHLO x\r\nMAIL FROM:<evil@e.test>\r\n", "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "zeros": bytes(300), "ssl2": b"\x80\x2e\x01\x00\x02" + bytes(43),
          "record": b"\x16\x03\x01\xff\xff" + bytes(1000), "alert": b"\x15\x03\x01\x00\x02\x02\x28", "data": b"\x17\x03\x03\x00\x05hello",
          "empty-hello": b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", "huge-hello": b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380)}


@pytest.mark.parametrize("how", ["starttls", "implicit"])
@pytest.mark.parametrize("data", NO_TLS.values(), ids=NO_TLS)
def test_no_handshake(site, sink, tls_port, data, how):
    """An alert at the most, then the end; not a word of SMTP."""
    with Client(site.port if how == "starttls" else tls_port, greet=how == "starttls") as c:
        if how == "starttls":
            assert c.cmd("STARTTLS").code == 220
        c.send(data)
        got = ends(c.sock, 20)
        assert got[:1] in (b"", b"\x15"), got
    nothing_of(sink, site, "evil@e.test")


def stalled(c, seconds):
    start = time.monotonic()
    got = ends(c.sock, 60)
    assert got == b"", got
    assert time.monotonic() - start >= seconds


@pytest.mark.slow
def test_stall(site, tls_port):
    """Silence, and one byte now and then, end at the deadline of the handshake."""
    for port, greet in ((site.port, True), (tls_port, False)):
        with Client(port, greet=greet) as c:
            if greet:
                assert c.cmd("STARTTLS").code == 220
            stalled(c, HANDSHAKE_S - 1)
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        start = time.monotonic()
        try:
            c.send_slowly(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), 0.2)  # two minutes, if it may
            pytest.fail("the handshake may take for ever")
        except ConnectionError:
            pass
        assert time.monotonic() - start >= HANDSHAKE_S - 1


def test_hello_in_pieces(site):
    """Slow, but in time, and in segments of one byte."""
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        t = trusting().wrap_bio(incoming, outgoing)
        while True:
            try:
                t.do_handshake()
                break
            except ssl.SSLWantReadError:
                for b in outgoing.read():
                    c.sock.sendall(bytes([b]))
                incoming.write(c.sock.recv(65536))
        c.sock.sendall(outgoing.read())
        t.write(b"EHLO x\r\n")
        c.sock.sendall(outgoing.read())
        got = b""
        while b"250 " not in got:
            incoming.write(c.sock.recv(65536))
            try:
                got += t.read()
            except ssl.SSLWantReadError:
                pass


def test_clear_text_on_the_port_of_tls(site, tls_port):
    """No greeting in clear, whoever waits for one."""
    with Client(tls_port, greet=False) as c:
        c.silent(1)
        c.send(b"EHLO x\r\n")
        assert ends(c.sock, 20)[:1] in (b"", b"\x15")


def test_early_talker_inside(site, tls_port):
    """Commands in the same flight as the end of the handshake, before the greeting."""
    with Client(tls_port, greet=False) as c:
        t = Tls(c.sock, V12)
        t.write(b"EHLO x\r\n")
        assert t.line().startswith((b"421 ", b"220 "))


# -- A46: the end of TLS, and clear text behind it

@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("where", ["data", "command", "mail"])
def test_close_notify_then_clear(site, sink, tag, version, where):
    """Dead.Letter: nothing that comes in clear on a connection that had TLS is ever read."""
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        t = Tls(c.sock, version)
        t.write(b"EHLO x\r\n")
        t.line()
        if where != "command":
            t.write(b"MAIL FROM:<evil@e.test>\r\n")
            assert t.line().startswith(b"250")
        if where == "data":
            t.write(b"RCPT TO:<b@local.test>\r\n")
            assert t.line().startswith(b"250")
            t.write(b"DATA\r\n")
            assert t.line().startswith(b"354")
            t.write(message(tag, b"first half"))
        t.close_notify()
        try:
            c.sock.sendall(b"X\r\n.\r\nRSET\r\nMAIL FROM:<evil@e.test>\r\nRCPT TO:<b@local.test>\r\nDATA\r\n\r\n.\r\n")
        except ConnectionError:
            pass
        got = ends(socket.socket(fileno=os.dup(c.sock.fileno())), 20)
        assert b"250" not in got and b"354" not in got, got
    nothing_of(sink, site, "evil@e.test")
    assert not sink.find(tag)


@pytest.mark.parametrize("record", [b"\x17\x03\x03\x00\x20" + bytes(32), b"RSET\r\n", b"\x15\x03\x03\x00\x02\x01\x00"], ids=["forged", "clear", "forged-alert"])
def test_forged_record(site, sink, tag, record):
    """A byte that is not from the one who did the handshake ends the session."""
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        t = Tls(c.sock)
        t.write(b"EHLO x\r\nMAIL FROM:<evil@e.test>\r\n")
        t.line()
        c.sock.sendall(record)
        ends(socket.socket(fileno=os.dup(c.sock.fileno())), 20)
    nothing_of(sink, site, "evil@e.test")


# -- A48: what only costs

def ready(site, version):
    c = site.client()
    assert c.cmd("STARTTLS").code == 220
    t = Tls(c.sock, version)
    t.write(b"EHLO x\r\n")
    t.line()
    return c, t


def test_renegotiation(site):
    """The first attempt is the last."""
    c, t = ready(site, V12)
    with c, pytest.raises(Broken):
        t.renegotiate()
        t.write(b"NOOP\r\n")
        t.line()


def test_key_updates(site):
    """As many as anybody could need, not as many as anybody might send."""
    c, t = ready(site, V13)
    with c:
        for _ in range(20):
            t.key_update(answer=True)
        t.write(b"NOOP\r\n")
        assert t.line().startswith(b"250")
        with pytest.raises((Broken, ConnectionError)):
            for _ in range(100000):
                t.key_update(answer=False)
            t.write(b"NOOP\r\n")
            t.line()


def test_tiny_records(site, sink, tag):
    """A megabyte, each byte in a record of its own: it arrives, and others are served meanwhile."""
    size = 1024 * 1024 // (8 if SANITIZER else 1)
    c, t = ready(site, V13)
    with c:
        for line in (b"MAIL FROM:<a@src.test>\r\n", b"RCPT TO:<b@local.test>\r\n", b"DATA\r\n"):
            t.write(line)
            t.line()
        t.write(message(tag, b""))
        line = b"x" * 70 + b"\r\n"
        for i in range(size):
            t.write(line[i % 72:i % 72 + 1])
            if i % 100000 == 0:
                with site.client() as other:
                    other.stays()
        t.write(b"\r\n.\r\n")
        assert t.line().startswith(b"250")
    assert len(sink.wait(tag)[0].body) >= size


@pytest.mark.parametrize("protocols", [["smtp"], ["h2", "http/1.1"], ["x" * 255] * 20, ["\0"]], ids=["smtp", "http", "much", "nul"])
def test_alpn_is_nothing_to_us(site, protocols):
    context = trusting()
    context.set_alpn_protocols(protocols)
    with site.client() as c:
        c.starttls(context)
        assert c.sock.selected_alpn_protocol() is None
        c.stays()


def test_client_certificate_is_not_asked_without_need(site, certs):
    """There is a CA, so it is asked for; whoever has none, or one of his own, is served as well."""
    certs.authority("mine", "/CN=mine")
    with site.client() as c:
        c.starttls(trusting(certificate=certs.path("mine"), key=certs.key("mine")))
        c.stays()
    assert any("verify=FAIL" in x for x in until(lambda: site.log_lines("smtps", "ss.tls"), "ss.tls"))


def test_storm_of_handshakes(site, sink):
    """Many begun and dropped at every point: nothing stays behind."""
    before = site.snapshot()
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            trusting().wrap_bio(incoming, outgoing).do_handshake()
        hello = outgoing.read()
    for n in range(150):
        with site.client(helo="x") as c:
            assert c.cmd("STARTTLS").code == 220
            c.send(hello[:len(hello) * n // 149])
            if n % 3 == 0:
                c.reset()
    nothing_of(sink, site, "evil@e.test")
    until(lambda: not stays_open(before), "descriptors are closed", 30)
    before.leaks(kb=8192, fds=2)


def stays_open(before):
    try:
        before.leaks(kb=1 << 30, fds=2)
        return False
    except AssertionError:
        return True


@pytest.mark.slow
@pytest.mark.plain  # a sanitizer's memory is not the program's
def test_memory_of_idle_sessions(dns, certs):
    """1,000 sessions that have said EHLO in TLS and wait: at most 60 MB more than before."""
    with Site(relay=["local.test"], dns=dns.address, settings={**certs.settings("ec"), "smtps.max_threads": "1500"}) as s:
        pid = s.pids("smtps")[0]

        def rss():
            with open(f"/proc/{pid}/status") as f:
                return int(next(x for x in f if x.startswith("VmRSS:")).split()[1])
        with s.client() as c:
            c.starttls()
        before = rss()
        load = subprocess.Popen([os.path.join(BUILD, "checks/bench/load"), "-S", "-s", "1000", "-i", "20", f"127.0.0.1:{s.port}"], stdout=subprocess.PIPE, text=True)
        try:
            assert load.stdout.readline().startswith("open 1000 refused 0")
            more = rss() - before
        finally:
            load.kill()
            load.communicate()
        print(f"1000 idle TLS sessions: {more} KB")
        assert more <= 60 * 1024, f"{more} KB"
