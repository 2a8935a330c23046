"""The instruments themselves: each rule of the ledger is broken once and must be seen; client and sink agree byte for byte."""
import os
import socket
import threading

import pytest
from lib.client import Client, Closed, ProtocolError, message, stuff
from lib.dns import A, Dns, MX
from lib.ledger import judge
from lib.paths import free_port
from lib.programs import Load, SinkProgram
from lib.sink import Close, Content, Expect, Rst, Send, Serve, Sink

HASH = "0" * 64


def verdict(tmp_path, ledger, arrivals, reports=(), **kw):
    (tmp_path / "ledger").write_text(ledger)
    (tmp_path / "arrivals").write_text(arrivals)
    (tmp_path / "reports").mkdir(exist_ok=True)
    for i, r in enumerate(reports):
        (tmp_path / "reports" / str(i)).write_text(r)
    return judge(tmp_path / "ledger", tmp_path / "arrivals", tmp_path / "reports", **kw)


SENT = f"SENT 1.0 r-0 {HASH} a@x.test,b@x.test\n"
ACK = "ACK 1.1 r-0 250 ok\n"
A1 = f"GOT 1.2 r-0 a@x.test {HASH} 10 <s@y.test>\n"
B1 = f"GOT 1.2 r-0 b@x.test {HASH} 10 <s@y.test>\n"
REPORT = "X-Sink-Rcpt: s@y.test\r\n\r\n<b@x.test>: 550 no\r\nX-Ledger: r-0\r\n"


@pytest.mark.parametrize("ledger,arrivals,reports,rules", [
    (SENT + ACK, A1 + B1, [], []),
    (SENT + ACK, A1, [], ["L1"]),
    (SENT + ACK, A1, [REPORT], []),
    (SENT + ACK, A1, [REPORT, REPORT], ["L1"]),
    (SENT + ACK, "", [], ["L1", "L1"]),
    (SENT + "NAK4 1.1 r-0 451 no\n", "", [], []),
    (SENT + "NAK4 1.1 r-0 451 no\n", A1, [], ["L2"]),
    (SENT + "NAK5 1.1 r-0 554 no\n", A1 + B1, [], ["L2", "L2"]),
    ("REFUSED 1.1 r-0 451 no\n", A1, [], ["L5"]),
    (SENT + "UNKNOWN 1.1 r-0 gone\n", "", [], []),
    (SENT + "UNKNOWN 1.1 r-0 gone\n", A1 + B1, [], []),
    (SENT + "UNKNOWN 1.1 r-0 gone\n", A1, [], ["L3"]),
    (SENT, "", [], []),
    (SENT + ACK, A1 + B1 + B1, [], ["L4"]),
    (SENT + ACK, A1 + B1 + A1.replace("r-0", "r-9"), [], ["L5"]),
    (SENT + ACK, A1 + B1 + A1.replace("a@x", "c@x"), [], ["L5"]),
    (SENT + ACK, A1 + B1.replace(HASH, "1" * 64), [], ["L5"]),
    (SENT + ACK, A1 + B1, ["X-Sink-Rcpt: s@y.test\r\n\r\nnothing\r\n"], ["L5"]),
])
def test_ledger_rules(tmp_path, ledger, arrivals, reports, rules):
    v = verdict(tmp_path, ledger, arrivals, reports, duplicates_allowed=0)
    assert [w[0] for w in v.wrong] == rules, v


def test_ledger_left_over(tmp_path):
    assert [w[0] for w in verdict(tmp_path, SENT + ACK, A1 + B1, left=1).wrong] == ["L6"]


@pytest.mark.parametrize("args,sink_args", [((), ()), (("-d", "-p"), ()), (("-r", 5, "-p"), ("-4", 20)), ((), ("-D", 20)), (("-d",), ("-A", 20, "-w", 2)),
                                            (("-l", 100000), ("-5", 10))])
def test_load_and_sink(tmp_path, args, sink_args):
    """Straight from one to the other: the ledger finds nothing wrong."""
    with SinkProgram(tmp_path, *sink_args) as sink:
        load = Load(tmp_path, f"127.0.0.1:{sink.port}", "-s", 10, "-m", 300, "-t", "u%n.%r@d%d.test", *args)
        f = load.done()
        sink.stop()
    v = judge(load.ledger, sink.arrivals, sink.reports, duplicates_allowed=0)
    assert not v.wrong, v
    assert v.figures["acked"] == f["acked"] > 0


def test_ledger_sees_a_lossy_server(tmp_path):
    """A server that acknowledges and forgets, mangles, or doubles is found out."""
    with SinkProgram(tmp_path) as sink:
        forgetful = Sink()
        sender = Client(sink.port)

        def relay():
            for n, m in enumerate(list(forgetful.messages)):
                if n % 10 == 3:
                    continue
                content = m.content.replace(b"message", b"massage") if n % 10 == 5 else m.content
                for _ in range(2 if n % 10 == 7 else 1):
                    sender.send_mail(m.sender, m.rcpts, content)
        load = Load(tmp_path, f"127.0.0.1:{forgetful.port}", "-s", 4, "-m", 100)
        load.done()
        relay()
        sender.close()
        sink.stop()
        forgetful.stop()
    v = judge(load.ledger, sink.arrivals, sink.reports, duplicates_allowed=0)
    assert v.figures["lost"] == 10 and v.figures["duplicates"] == 10
    assert sum(w[0] == "L5" for w in v.wrong) == 10


def serve_once(data):
    """A server that sends these bytes to its one client."""
    s = socket.create_server(("127.0.0.1", 0))

    def run():
        c, _ = s.accept()
        c.sendall(data)
        c.close()
        s.close()
    threading.Thread(target=run, daemon=True).start()
    return s.getsockname()[1]


@pytest.mark.parametrize("data", [b"220 x\n", b"220 x\rx\r\n", b"22 x\r\n", b"220_x\r\n", b"220-a\r\n221 b\r\n", b"220 \xff\r\n", b"220 " + b"x" * 509 + b"\r\n",
                                  b"220 a\0b\r\n", b"620 x\r\n"])
def test_client_is_pedantic(data):
    with pytest.raises((ProtocolError, Closed)) as e:
        Client(serve_once(data), helo=None)
    assert e.type is ProtocolError


def test_client_and_sink_byte_for_byte():
    body = b"".join(bytes([b]) for b in range(256) if b not in (10, 13)) + b"\r\n..\r\n.x\r\n...\r\n"
    with Sink() as sink, Client(sink.port) as c:
        for content in (message("t", body), b"", b".\r\n", b"\r\n", b"a\nb\r\n"):
            assert c.send_mail("a@x", ["b@x", "c@x"], content).code == 250
            assert sink.accepted[-1].content == content
        assert sink.accepted[0].rcpts == ["b@x", "c@x"]
        c.quit()


def test_stuffing():
    assert stuff(b".") == b"..\r\n"
    assert stuff(b"a\r\n.b\r\n") == b"a\r\n..b\r\n"
    assert stuff(b"a\n.b\r\n") == b"a\n.b\r\n"


def test_scripts():
    with Sink(scripts=[[Send(b"220 a\r\n"), Expect(rb"EHLO"), Send(b"250 a\r\n"), Rst()], [Send(b"554 no\r\n"), Close()], [Serve({"RCPT": [b"450 x\r\n"]})]]) as s:
        with pytest.raises(Closed):
            Client(s.port).mail("a@x")
        assert Client(s.port).greeting.code == 554
        with Client(s.port) as c:
            c.mail("a@x")
            assert c.rcpt("b@x").code == 450
            assert c.cmd("DATA").code == 503
    with Sink(scripts=[[Send(b"220 a\r\n"), Expect(rb"XYZ")], [Send(b"220 a\r\n"), Content()]]) as s:
        with pytest.raises(Closed):
            Client(s.port)
        assert s.failures


def test_trace_is_taken_off():
    from lib.sink import Message
    m = Message("a", ["b"], b"Received: from x\r\n\tby y\r\nReturn-Path: <a>\r\nSubject: s\r\nReceived: mine\r\n\r\nb\r\n", b"250", 0)
    assert m.without_trace() == b"Subject: s\r\nReceived: mine\r\n\r\nb\r\n"


def test_dns():
    from dnslib import DNSRecord
    d = Dns()
    d.add("a.test", A("127.0.0.2"), MX("m.test", 10))
    d.rcode("f.test", "SERVFAIL")
    d.raw("r.test", lambda q: q[:2] + b"junk")

    def ask(name, kind="A", tcp=False):
        return DNSRecord.parse(DNSRecord.question(name, kind).send("127.0.0.1", d.port, tcp=tcp, timeout=5))
    assert str(ask("A.test").rr[0].rdata) == "127.0.0.2"
    assert str(ask("a.test", "MX", True).rr[0].rdata) == "10 m.test."
    assert ask("f.test").header.rcode == 2
    assert ask("none.test").header.rcode == 3
    assert ("a.test", "MX", "tcp") in d.asked
    with pytest.raises(Exception):
        ask("r.test")
    d.stop()


def test_dnsd(tmp_path):
    """The C name server says the same of the same names."""
    from dnslib import DNSRecord
    from lib.programs import Program
    (tmp_path / "zone").write_text("a.test A 60 127.0.0.2\nb.test MX 5 10 a.test\nc.test CNAME 60 a.test\n*.w.test TXT 60 wild\n")
    port = free_port(socket.SOCK_DGRAM)
    with Program("dnsd", f"127.0.0.1:{port}", os.path.join(tmp_path, "zone")) as p:
        def ask(name, kind):
            return DNSRecord.parse(DNSRecord.question(name, kind).send("127.0.0.1", port, timeout=5))
        assert str(ask("a.TEST", "A").rr[0].rdata) == "127.0.0.2"
        assert str(ask("b.test", "MX").rr[0].rdata) == "10 a.test."
        assert [str(r.rdata) for r in ask("c.test", "A").rr] == ["a.test.", "127.0.0.2"]
        assert str(ask("x.y.w.test", "TXT").rr[0].rdata) == '"wild"'
        assert ask("a.test", "MX").header.rcode == 0 and not ask("a.test", "MX").rr
        assert ask("no.test", "A").header.rcode == 3
        assert p.stop()["asked"] == 7


def test_plot():
    """A picture is XML that needs nothing from outside; a series keeps its colour where another one is missing, and points stand where they belong."""
    import re
    from xml.etree import ElementTree
    from lib import plot
    panels = [plot.Panel("a & b", "x", [("one", [(0, 1), (10, 1), (1000, 0.5)]), ("two", [(0, 1), (1000, 2)])]), plot.Panel("c", "x", [("two", [(1, 1)])])]
    text = plot.svg("title", "note <1>", panels)
    ElementTree.fromstring(text)
    assert "a &amp; b" in text and not re.search(r"href|url\(|@import|<script", text)
    assert [len(re.findall(f'class="d{i}" cx="[0-9.]+" cy="[0-9.]+" r="3.5"><title>', text)) for i in range(2)] == [3, 3]
    x = panels[0].place
    assert x(0) == 0 and x(1000) == 1 and 0 < x(10) < 0.5
