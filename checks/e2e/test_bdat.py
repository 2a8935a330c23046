"""CHUNKING and BINARYMIME (RFC 3030), at both ends: a chunk's bytes are content and never commands; what arrives is what was sent."""
import os

import pytest
from cases.smuggling import NOT_THE_END, REST
from lib.client import Closed, message
from lib.sink import Serve, Sink
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

FLAGS = "{ 8bitmime, chunking, binarymime, smtputf8 }"
EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 SIZE\r\n"
BINARY = bytes(range(256)) + b"\r\n.\r\nQUIT\r\n\r\rx\n\n" + os.urandom(3000) + b"\r"


@pytest.fixture(scope="module")
def sinks():
    out = {"local.test": Sink(), "chunk.test": Sink(), "box.test": Sink(lmtp=True), "src.test": Sink()}
    out["chunk.test"].default = Serve({"EHLO": EHLO})
    out["box.test"].default = Serve({"LHLO": EHLO})
    yield out
    for s in out.values():
        s.stop()


@pytest.fixture(scope="module")
def bdat_site(sinks):
    routes = [f"{d} {s.port}^{'lmtp' if s.lmtp else 'esmtp'}:[127.0.0.1]" for d, s in sinks.items()]
    with Site(routes=routes, relay=list(sinks), settings={
            "smtps.flags": FLAGS, "smtps.max_message_size": "1024", "smtps.max_junk": "2000000B", "smtpc.session_idle_timeout": "0s"}) as s:
        yield s


@pytest.fixture
def client(bdat_site):
    before = bdat_site.snapshot()
    with bdat_site.client() as c:
        yield c
    before.alive()


def envelope(c, *rcpts, params=""):
    assert c.mail("a@src.test", params).code == 250
    for r in rcpts:
        assert c.rcpt(r).code == 250


def chunk(data, last=False):
    return b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data


def test_offered(client):
    for word in ("CHUNKING", "BINARYMIME", "8BITMIME", "SMTPUTF8"):
        assert word in client.extensions, client.extensions


@pytest.mark.parametrize("domain", ["local.test", "chunk.test", "box.test"])
def test_one_chunk(client, sinks, tag, domain):
    content = message(tag, b".\r\n..dots\r\n\r\n.\r\n")
    envelope(client, "b@" + domain)
    r = client.cmd(chunk(content, True))
    assert r.code == 250 and "Message accepted" in r.text
    got, = sinks[domain].wait(tag)
    assert got.without_trace() == content
    client.stays()


@pytest.mark.parametrize("slowly", [False, True], ids=["at-once", "bytewise"])
def test_many_chunks(client, sinks, tag, slowly):
    """Split anywhere, in the middle of CRLF as well; all in one write, or each byte by itself. One reply for each, in order."""
    content = message(tag, b"some\r\ntext\r\n")
    pieces = [content[i:i + 7] for i in range(0, len(content), 7)]
    all_ = b"".join(chunk(p, p is pieces[-1]) for p in pieces)
    envelope(client, "b@local.test")
    client.send_slowly(all_, 0.001) if slowly else client.send(all_)
    for p in pieces[:-1]:
        r = client.reply()
        assert (r.code, r.text) == (250, f"2.0.0 {len(p)} bytes taken")
    assert client.reply().code == 250
    got, = sinks["local.test"].wait(tag)
    assert got.without_trace() == content


def test_pipelined_whole(client, sinks, tag):
    """All of a transaction, and the next, in one write."""
    one, two = message(tag), message(tag, b"second\r\n")
    client.send(b"".join(
        b"MAIL FROM:<a@src.test>\r\nRCPT TO:<b@local.test>\r\n" + chunk(m[:10]) + chunk(m[10:], True) for m in (one, two)))
    codes = [client.reply().code for _ in range(8)]
    assert codes == [250] * 8
    got = sinks["local.test"].wait(tag, 2)
    assert sorted(m.without_trace() for m in got) == sorted([one, two])


def test_last_of_nothing(client, sinks, tag):
    content = message(tag)
    envelope(client, "b@local.test")
    assert client.cmd(chunk(content)).code == 250
    assert client.cmd("BDAT 0 LAST").code == 250
    assert sinks["local.test"].wait(tag)[0].without_trace() == content
    # an empty message, as by DATA
    envelope(client, "b@local.test")
    assert client.cmd("BDAT 0 LAST").code == 250
    client.stays()


def test_no_end_of_line(client, sinks, tag):
    content = message(tag)[:-2]
    envelope(client, "b@local.test", "b@chunk.test")
    assert client.cmd(chunk(content, True)).code == 250
    assert sinks["local.test"].wait(tag)[0].without_trace() == content + b"\r\n"
    assert sinks["chunk.test"].wait(tag)[0].without_trace() == content


def test_order(client):
    """BDAT where it is not legal: its bytes are thrown away, and the reply is 503."""
    evil = b"MAIL FROM:<evil@e.test>\r\n"
    assert client.cmd(chunk(evil, True)).code == 503
    assert client.mail("a@src.test").code == 250
    assert client.cmd(chunk(evil)).code == 503
    assert client.rcpt("nobody@elsewhere.test").code == 550
    assert client.cmd(chunk(evil, True)).code == 503
    assert client.rcpt("b@local.test").code == 250
    assert client.cmd(chunk(b"Subject: x\r\n")).code == 250
    for line in ("MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", "DATA"):
        r = client.cmd(line)
        assert (r.code, r.enhanced) == (503, "5.5.1"), line
    assert client.cmd("NOOP").code == 250
    assert client.cmd(chunk(b"\r\n")).code == 250
    assert client.cmd("RSET").code == 250
    assert client.cmd(chunk(b"x", True)).code == 503
    client.stays()


def test_before_ehlo(bdat_site):
    with bdat_site.client(helo=None) as c:
        assert c.cmd(chunk(b"EHLO x\r\n", True)).code == 503
        assert c.mail("a@src.test").code == 503


def test_data_after_chunk_is_no_content(client, sinks, tag):
    envelope(client, "b@local.test")
    assert client.cmd(chunk(message(tag))).code == 250
    client.send(b"DATA\r\nBDAT 0 LAST\r\n")
    assert client.reply().code in (421, 503)
    rest = client.rest() if client.replies[-1].code == 421 else b""
    assert b"354" not in rest


def test_failed_chunk(client, sinks, tag):
    """After a chunk that was refused: 503 until RSET, the bytes of all others are thrown away (RFC 3030 2)."""
    good = message(tag)
    envelope(client, "b@local.test")
    client.send(chunk(good) + chunk(b"bare\nline\r\n") + chunk(b"QUIT\r\n") + chunk(REST, True) + b"NOOP\r\n")
    assert [client.reply().code for _ in range(5)] == [250, 550, 503, 503, 250]
    for line in ("MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", "DATA"):
        assert client.cmd(line).code == 503, line
    assert client.cmd("RSET").code == 250
    envelope(client, "b@local.test")
    assert client.cmd(chunk(good, True)).code == 250
    assert len(sinks["local.test"].wait(tag)) == 1


def test_refused_last_chunk_ends_it(client, sinks, tag):
    envelope(client, "b@local.test")
    assert client.cmd(chunk(b"a\nb\r\n", True)).code == 550
    envelope(client, "b@local.test")
    assert client.cmd(chunk(message(tag), True)).code == 250
    assert len(sinks["local.test"].wait(tag)) == 1


@pytest.mark.parametrize("bytes_", [row[1] for row in NOT_THE_END], ids=[row[0] for row in NOT_THE_END])
def test_what_looks_like_the_end(bdat_site, client, sinks, tag, bytes_):
    """In a chunk nothing is an end. CR and LF by themselves are refused, all else arrives as it was sent."""
    content = message(tag, bytes_ + REST + b".\r\nQUIT\r\n")
    lone = content.replace(b"\r\n", b"")
    bare = b"\r" in lone or b"\n" in lone
    envelope(client, "b@local.test")
    r = client.cmd(chunk(content, True))
    assert r.code == (550 if bare else 250), r
    client.stays()
    bdat_site.canary(sinks["local.test"])
    got = sinks["local.test"].wait(tag) if not bare else sinks["local.test"].find(tag)
    assert [m.without_trace() for m in got] == ([] if bare else [content])
    assert not [m for m in sinks["local.test"].messages if m.sender == "evil@e.test"]


@pytest.mark.parametrize("line,codes", [
    (b"BDAT", 501), (b"BDAT LAST", 501), (b"BDAT -1 LAST", 501), (b"BDAT +5", 501), (b"BDAT 0x5", 501), (b"BDAT 5  LAST", 501),
    (b"BDAT  5", 501), (b"BDAT 5\tLAST", 501), (b"BDAT 5 LAST x", 501), (b"BDAT 5 FIRST", 501), (b"BDAT 5LAST", 501), (b"BDAT 5,LAST", 501),
    (b"BDAT \xd9\xa5", 501),
    (b"BDAT 18446744073709551616", 552), (b"BDAT 99999999999999999999 LAST", 552), (b"BDAT 18446744073709551615 LAST", 552),
    (b"BDAT 4294967296", 552), (b"BDAT 3000000", 552)], ids=repr)
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_sizes_nobody_can_count(bdat_site, client, sinks, tag, line, codes, inside):
    """Whoever does not say how much content follows is not listened to any further."""
    if inside:
        envelope(client, "b@local.test")
    client.send(line + b"\r\n" + REST + message(tag) + b".\r\n")
    replies = client.closes()
    assert [r.code for r in replies] == [codes], replies
    bdat_site.canary(sinks["local.test"])
    assert not sinks["local.test"].find(tag)


@pytest.mark.parametrize("size", ["00000000000000000000000000012", "012", "12 last", "12 Last "])
def test_sizes_that_are_fine(client, size):
    envelope(client, "b@local.test")
    assert client.cmd(b"BDAT " + size.encode() + b"\r\nSubject: x\r\n").code == 250
    client.stays()


def test_too_large(client, sinks, tag):
    """max_message_size (1024 KB here) is for all chunks together; what is too much is thrown away, within the budget of junk."""
    envelope(client, "b@local.test")
    assert client.cmd(chunk(message(tag) + b"x" * 900 * 1024 + b"\r\n")).code == 250
    r = client.cmd(chunk(b"x" * 200 * 1024, True))
    assert (r.code, r.enhanced) == (552, "5.3.4")
    assert client.mail("a@src.test").code == 250
    # announced: refused before it is there
    assert client.rcpt("b@local.test").code == 250
    client.send(b"BDAT 1200000\r\n")
    client.silent()
    client.send(b"x" * 1200000)
    assert client.reply().code == 552
    assert client.cmd(chunk(b"x" * 1000000, True)).code in (503, 552)
    assert not sinks["local.test"].find(tag)


def test_refused_chunks_end(client):
    """Without bytes they are junk all the same."""
    envelope(client, "b@local.test")
    assert client.cmd(chunk(b"a\nb")).code == 550
    with pytest.raises(Closed):
        for _ in range(100):
            client.send(b"BDAT 0\r\n" * 100)
            for _ in range(100):
                r = client.reply()
                assert r.code == 503 or (r.code in (421, 552)), r


def test_chunks_of_nothing_end(client):
    envelope(client, "b@local.test")
    client.send(b"BDAT 0\r\n" * 30)
    codes = [r.code for r in client.closes()]
    assert codes == [250] * 20 + [421]


def test_tiny_chunks(bdat_site, client, sinks, tag):
    """Many of them cost nothing that lasts."""
    content = message(tag, b"x" * 5000 + b"\r\n")
    pid, = bdat_site.pids("smtps")
    envelope(client, "b@local.test")
    for i in range(0, len(content), 500):
        client.send(b"".join(b"BDAT 1\r\n" + content[k:k + 1] for k in range(i, min(i + 500, len(content)))))
        for _ in content[i:i + 500]:
            assert client.reply().code == 250
    with open(f"/proc/{pid}/statm") as f:
        before = int(f.read().split()[1])
    assert client.cmd("BDAT 0 LAST").code == 250
    assert before < 40000  # pages
    assert sinks["local.test"].wait(tag)[0].without_trace() == content


def test_cut_off(bdat_site, client, sinks, tag):
    """Half a chunk is no message, and leaves nothing."""
    envelope(client, "b@local.test")
    client.send(b"BDAT 1000 LAST\r\n" + message(tag))
    client.close()
    bdat_site.canary(sinks["local.test"])
    assert not sinks["local.test"].find(tag)
    until(lambda: not bdat_site.content_files(), "no content is left", 10)


def test_hops_and_header_are_looked_at(client):
    envelope(client, "b@local.test")
    received = b"Received: from a\r\n\tby b\r\n"
    for i in range(50):
        assert client.cmd(chunk(received)).code == 250, i
    r = client.cmd(chunk(received))
    assert (r.code, r.enhanced) == (554, "5.4.6")


# ---- BINARYMIME ------------------------------------------------------------------------------------------------------------------------

def binary_message(tag):
    return message(tag, BINARY, b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n")


@pytest.mark.parametrize("domain", ["chunk.test", "box.test"])
def test_binary(client, sinks, tag, domain):
    content = binary_message(tag)
    envelope(client, "b@" + domain, params=" BODY=BINARYMIME")
    assert client.cmd(chunk(content[:500])).code == 250
    assert client.cmd(chunk(content[500:], True)).code == 250
    got, = sinks[domain].wait(tag)
    assert got.without_trace() == content
    assert any(b"BODY=BINARYMIME" in c for n, c in sinks[domain].commands if n == got.connection)


def test_binary_is_not_for_data(client):
    envelope(client, "b@chunk.test", params=" BODY=BINARYMIME")
    assert client.cmd("DATA").code == 503
    assert client.cmd(chunk(b"Subject: x\r\n\r\n", True)).code == 250


def test_binary_is_returned(client, sinks, tag):
    """By a server without BINARYMIME: nothing is converted (RFC 3030 3 leaves that, or this)."""
    envelope(client, "b@local.test", params=" BODY=BINARYMIME")
    assert client.cmd(chunk(binary_message(tag), True)).code == 250
    report, = sinks["src.test"].wait(lambda m: m.sender == "" and tag.encode() in m.content)
    assert b"Status: 5.6.3\r\n" in report.content and b"BINARYMIME" in report.content
    assert not sinks["local.test"].find(tag)


def test_binary_was_not_declared(client):
    envelope(client, "b@chunk.test")
    assert client.cmd(chunk(b"Subject: x\r\n\r\na\0b\rc\r\n", True)).code == 550
    r = client.mail("a@src.test", " BODY=BINARY")
    assert (r.code, r.enhanced) == (501, "5.5.4")


# ---- not offered -----------------------------------------------------------------------------------------------------------------------

def test_not_offered(sinks):
    with Site(routes=[f"local.test {sinks['local.test'].port}^esmtp:[127.0.0.1]"], relay=["local.test"],
              settings={"smtps.flags": "{ no_chunking, no_smtputf8, binarymime }"}) as s:
        with s.client() as c:
            assert not {"CHUNKING", "BINARYMIME", "SMTPUTF8"} & set(c.extensions)
            assert c.cmd("BDAT 0 LAST").code == 500
            assert c.mail("a@src.test", " BODY=BINARYMIME").code == 501
            assert c.mail("a@src.test", " SMTPUTF8").code == 555
            assert c.mail("a@src.test").code == 250
            assert c.rcpt("b@local.test").code == 250
            c.send(b"BDAT 5 LAST\r\nhello\r\n" * 20)
            codes = [r.code for r in c.closes()]
            assert set(codes[:-1]) <= {500, 501} and codes[-1] == 421


@pytest.mark.parametrize("when,chunked", [("never", False), ("binary", False), ("offered", True)])
def test_when_smtpc_uses_it(sinks, tag, when, chunked):
    with Site(routes=[f"chunk.test {sinks['chunk.test'].port}^esmtp:[127.0.0.1]"], relay=["chunk.test"], settings={"smtpc.chunking": when}) as s:
        with s.client() as c:
            assert c.send_mail("a@src.test", "b@chunk.test", message(tag)).code == 250
        got, = sinks["chunk.test"].wait(tag)
        verbs = {c.split()[0] for n, c in sinks["chunk.test"].commands if n == got.connection}
        assert (b"BDAT" in verbs) == chunked and (b"DATA" in verbs) != chunked


def test_not_with_this_server(sinks, tag):
    """By smtpc_session_conf: of the access map."""
    s = Site(routes=[f"chunk.test {sinks['chunk.test'].port}^esmtp:[127.0.0.1]"], relay=["chunk.test"])
    with open(os.path.join(s.dir, "access"), "w") as f:
        f.write("smtpc_session_conf:127.0.0.1\tchunking = never;\n")
    s.add("smar", f'map ac {{ type = text; file = "{s.dir}/access"; }} access_map {{ name = ac; }}')
    with s:
        with s.client() as c:
            assert c.send_mail("a@src.test", "b@chunk.test", message(tag)).code == 250
        got, = sinks["chunk.test"].wait(tag)
        assert {c.split()[0] for n, c in sinks["chunk.test"].commands if n == got.connection} >= {b"DATA"}


def test_refused_by_the_server(bdat_site, sinks, tag):
    """5yz to the chunk is the message's; 4yz is tried again."""
    with Sink() as odd:
        odd.default = Serve({"EHLO": EHLO, ".": lambda _: b"554 5.7.1 never\r\n" if odd.messages else b"451 4.3.0 later\r\n"})
        with Site(routes=[f"odd.test {odd.port}^esmtp:[127.0.0.1]", f"src.test {sinks['src.test'].port}^esmtp:[127.0.0.1]"], relay=["odd.test"],
                  settings={"smtpc.session_idle_timeout": "0s"}) as s:
            with s.client() as c:
                assert c.send_mail("a@src.test", "b@odd.test", message(tag)).code == 250
            until(lambda: s.qmgrctl("flush", "all", check=False) and len(odd.messages) >= 2, "tried twice", 30)
            report, = sinks["src.test"].wait(lambda m: m.sender == "" and tag.encode() in m.content)
            assert b"Status: 5.7.1\r\n" in report.content
