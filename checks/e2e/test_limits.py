"""Sizes, long lines, floods and slow clients: every limit is met by a reply or a close, and costs the others nothing."""
import os
import select
import socket
import time

import pytest
from lib.client import Closed, ProtocolError, message
from lib.wait import SLOW, until

LONG = bool(os.environ.get("SMX_LONG"))
LIMIT = 1024 * 1024  # max_message_size of the test site


def content_of(size, tag):
    """Exactly `size` bytes."""
    head = message(tag, b"")
    line = b"x" * 76 + b"\r\n"
    left = size - len(head)
    body = line * (left // len(line))
    rest = left - len(body)
    if rest == 1:
        body = body[:-len(line)] + b"x" * 75 + b"\r\n"
        rest = 2
    return head + body + (b"y" * (rest - 2) + b"\r\n" if rest else b"")


@pytest.mark.parametrize("over", [-2, -1, 0])
def test_up_to_the_limit(site, sink, tag, over):
    content = content_of(LIMIT + over, tag)
    assert len(content) == LIMIT + over
    with site.client() as c:
        assert c.send_mail("a@src.test", "b@local.test", content).code == 250
    assert sink.wait(tag)[0].without_trace() == content


@pytest.mark.parametrize("over", [1, 2, 3 * LIMIT])
def test_over_the_limit(site, sink, tag, over):
    with site.client() as c:
        r = c.send_mail("a@src.test", "b@local.test", content_of(LIMIT + over, tag))
        assert r.code == 552 and r.enhanced == "5.3.4", r
        c.stays()
    assert not sink.find(tag)
    until(lambda: not site.content_files(), "the space is given back", 10)


def test_size_is_announced(site):
    with site.client() as c:
        assert c.extensions["SIZE"] == f"SIZE {LIMIT}"
        assert c.mail("a@src.test", f" SIZE={LIMIT}").code == 250
        c.cmd("RSET")
        r = c.mail("a@src.test", f" SIZE={LIMIT + 1}")
        assert r.code == 552 and r.enhanced == "5.3.4", r


def test_size_lies(site, sink, tag):
    """Declares 1, sends too much: refused, at the dot or by a close within a budget."""
    with site.client() as c:
        assert c.mail("a@src.test", " SIZE=1").code == 250
        assert c.rcpt("b@local.test").code == 250
        assert c.cmd("DATA").code == 354
        sent = 0
        block = (b"x" * 76 + b"\r\n") * 800
        try:
            c.send(message(tag, b""))
            while sent < 256 << 20:
                c.send(block)
                sent += len(block)
                if select.select([c.sock], [], [], 0)[0]:
                    break
            else:
                c.send(b".\r\n")
            r = c.reply()
            assert r.code in (552, 421), r
        except (Closed, ConnectionError):
            assert sent > LIMIT
    until(lambda: not site.content_files(), "the space is given back", 10)
    site.canary(sink)


@pytest.mark.parametrize("length", [998, 999, 1000, 1001, 2047, 2048, 2049, 65535, 65536, 65537, 900000])
@pytest.mark.parametrize("where", ["body", "header"])
def test_long_line(site, sink, tag, length, where):
    """Through as it is, or refused: never cut into lines, which could become header fields or a dot."""
    line = (b"." + b"abc.ef \t-" * (length // 9 + 1))[:length]
    if where == "header":
        content = message(tag, b"body\r\n", b"X-Long: " + line[:max(1, length - 8)] + b"\r\n")
    else:
        content = message(tag, line + b"\r\n")
    with site.client() as c:
        r = c.send_mail("a@src.test", "b@local.test", content)
        assert r.code in (250, 500, 552, 554), r
        c.stays()
    if length <= 998:
        assert r.code == 250
    site.canary(sink)
    for m in sink.wait(tag) if r.code == 250 else sink.find(tag):
        assert m.without_trace() == content
    if r.code != 250:
        assert not sink.find(tag)


def test_content_without_any_line_end(site, sink, tag):
    with site.client() as c:
        c.begin("a@src.test", "b@local.test")
        try:
            for _ in range(64):
                c.send(b"x" * 65536)
            c.send(b"\r\n.\r\n")
            r = c.reply()
            assert r.code in (500, 552, 554, 421), r
        except (Closed, ConnectionError):
            pass
    until(lambda: not site.content_files(), "the space is given back", 10)
    site.canary(sink)


@pytest.mark.parametrize("headers", [5000, 100000])
def test_many_header_fields(site, sink, tag, headers):
    content = message(tag, b"x\r\n", b"".join(b"X-%d: y\r\n" % i for i in range(headers))[:LIMIT - 1000].rpartition(b"\r\n")[0] + b"\r\n")
    with site.client() as c:
        r = c.send_mail("a@src.test", "b@local.test", content)
        assert r.code in (250, 552, 554), r
    if r.code == 250:
        assert sink.wait(tag)[0].without_trace() == content


@pytest.mark.parametrize("name,body", [
    ("nested", b"".join(b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (i, i + 1) for i in range(8000))),
    ("rfc822", b"Content-Type: message/rfc822\r\n\r\n" * 10000),
    ("boundary", b"Content-Type: multipart/mixed; boundary=\"" + b"b" * 10000 + b"\"\r\n\r\n"),
    ("from", b"From attacker Mon Jan  1 00:00:00 2026\r\n" * 20000),
], ids=["nested", "rfc822", "boundary", "from"])
def test_opaque(site, sink, tag, name, body):
    """What a MIME parser would choke on is only bytes here."""
    content = message(tag, body, b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b0\r\n")
    start = time.monotonic()
    with site.client() as c:
        assert c.send_mail("a@src.test", "b@local.test", content).code == 250
    assert sink.wait(tag)[0].without_trace() == content
    assert time.monotonic() - start < 10 * SLOW


@pytest.mark.parametrize("length", [513, 2100, 10000, 100000])
def test_long_command(site, length):
    with site.client() as c:
        try:
            c.send(b"NOOP " + b"x" * (length - 7) + b"\r\n")
            r = c.reply()
            assert r.code in (250, 500, 421) and (length < 2000 or r.code != 250), r
            if r.code == 500:
                c.stays()
        except (Closed, ConnectionError):
            assert length > 2000


@pytest.mark.inside
def test_command_without_end(site, sink):
    """Bytes without CRLF: 500, then 421, or only a close; never for ever, never kept."""
    before = site.snapshot()
    with site.client() as c:
        sent = 0
        try:
            while sent < 64 << 20:
                c.send(b"x" * 65536)
                sent += 65536
            pytest.fail("64 MB of one command were swallowed")
        except (ConnectionError, Closed, socket.timeout):
            pass
    site.canary(sink)
    before.leaks(fds=4)


@pytest.mark.parametrize("command", [b"XYZZY\r\n", b"NOOP\r\n", b"RSET\r\n", b"MAIL FROM:<a@src.test>\r\nRSET\r\n", b"HELP\r\n",
                                     b"VRFY x\r\n", b"EHLO a.test\r\n", b"MAIL FROM:bad\r\n"])
def test_endless_commands(site, command):
    """A client that only talks is told 421."""
    with site.client() as c:
        codes = []
        try:
            for _ in range(3000):
                c.send(command)
                for _ in range(command.count(b"\r\n")):
                    codes.append(c.reply().code)
                if codes[-1] == 421:
                    break
        except (Closed, ConnectionError):
            pass
        assert codes[-1] == 421, f"{len(codes)} replies, last {codes[-3:]}"


def test_unknown_recipients(site):
    """A dictionary attack ends in 421."""
    with site.client() as c:
        c.mail("a@src.test")
        codes = []
        try:
            for i in range(3000):
                codes.append(c.rcpt(f"u{i}@nowhere.invalid").code)
                if codes[-1] == 421:
                    break
        except (Closed, ConnectionError):
            pass
        assert set(codes) <= {550, 450, 451, 452, 421} and codes[-1] == 421, codes[-3:]


def test_never_reads(site, sink):
    """Commands without end from a client that does not read: it is stopped, the others are not."""
    with site.client() as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.sock.setblocking(False)
        sent = 0
        end = time.monotonic() + 3
        try:
            while time.monotonic() < end:
                try:
                    sent += c.sock.send(b"HELP\r\n" * 1000)
                except BlockingIOError:
                    time.sleep(0.05)
        except ConnectionError:
            pass
        assert sent < 32 << 20
        site.canary(sink)


@pytest.mark.inside
def test_connection_flood(site, sink):
    """Thousands of connections that say nothing: each is greeted or told 421, all are given back."""
    before = site.snapshot()
    socks = []
    for _ in range(3000 if LONG else 600):
        try:
            s = socket.create_connection(("127.0.0.1", site.port), 5)
            socks.append(s)
        except OSError:
            break
    site.canary(sink, timeout=20)
    for s in socks:
        s.close()
    del socks
    until(lambda: _fds_back(before), "descriptors are back", 15)
    site.canary(sink)
    before.leaks(kb=40960, fds=8)


def _fds_back(before):
    try:
        before.leaks(kb=1 << 30, fds=8)
        return True
    except AssertionError:
        return False


@pytest.mark.inside
def test_connect_and_reset(site, sink):
    before = site.snapshot()
    for _ in range(1000):
        s = socket.create_connection(("127.0.0.1", site.port), 5)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    site.canary(sink)
    until(lambda: _fds_back(before), "descriptors are back", 15)


@pytest.mark.inside
def test_aborts_before_the_end(site, sink):
    """All temporary content is gone."""
    body = (b"x" * 76 + b"\r\n") * 11000
    for i in range(2000 if LONG else 60):
        c = site.client()
        c.begin("a@src.test", "b@local.test")
        c.send(message("abort") + body)
        c.reset() if i % 2 else c.close()
    site.canary(sink)
    until(lambda: not site.content_files(), "the content files are gone", 20)
    assert not sink.find("abort")


@pytest.mark.inside
def test_no_leak_over_many_sessions(site, sink, tag):
    """INV4: the same again and again costs nothing that stays."""
    def round_(n):
        for _ in range(n):
            with site.client() as c:
                assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
                c.mail("a@src.test")
                c.rcpt("b@nowhere.invalid")
                c.cmd("XYZZY")
                c.cmd("RSET")
    round_(100)
    sink.wait(tag, 100)
    before = site.snapshot()
    round_(400)
    sink.wait(tag, 500, timeout=60)
    site.wait_empty()
    before.leaks(kb=3072, fds=4)


def test_reply_lines_are_short(site):
    """What the client sent is not echoed into a line over 512 bytes."""
    with site.client() as c:
        try:
            for line in ("MAIL FROM:<" + "a" * 400 + "@src.test>", "VRFY " + "v" * 480, "RCPT TO:<" + "b" * 490 + ">", "X" * 500):
                assert c.cmd(line).code >= 250
        except ProtocolError as e:
            pytest.fail(str(e))


def test_many_at_once(site, sink, tag):
    """200 sessions, each at another point of its mail, and all arrive."""
    clients = [site.client() for _ in range(200)]
    for c in clients:
        c.send("MAIL FROM:<a@src.test>\r\nRCPT TO:<b@local.test>\r\nDATA\r\n")
    for c in clients:
        assert [c.reply().code for _ in range(3)] == [250, 250, 354]
        c.send(message(tag))
    for c in reversed(clients):
        c.send(b".\r\n")
    for c in clients:
        assert c.reply().code == 250
        c.close()
    sink.wait(tag, 200, timeout=30)
    assert len(sink.find(tag)) == 200
