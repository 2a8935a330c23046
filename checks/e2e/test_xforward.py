"""XFORWARD: a listed filter or mail system tells who first brought a mail and which id it has there; it is for logs and for the next server, and gives no right."""
import os
import re

import pytest
from lib.client import Client, message
from lib.sink import Serve, Sink
from lib.site import Site

pytestmark = pytest.mark.inside

NAMES = {"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"}
FIRST = "NAME=first.example ADDR=192.0.2.66 PORT=4711 PROTO=ESMTPSA HELO=helo+2Bx.example IDENT=4WXYZ SOURCE=REMOTE"


@pytest.fixture(scope="module")
def next_hop():
    offer = b"250-sink.test\r\n250-PIPELINING\r\n250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n"
    with Sink() as s:
        s.default = Serve(reply={"EHLO": offer, "XFORWARD": b"250 2.0.0 ok\r\n"})
        yield s


@pytest.fixture(scope="module")
def site(next_hop):
    s = Site(routes=[f". {next_hop.port}^esmtp:[127.0.0.1]"], relay=["local.test"])
    s.add("smtps", """flags = { access };
    xforward { from = { 127.0.0.2, unix }; }""")
    with open(os.path.join(s.dir, "access"), "w") as f:
        f.write("cltaddr:192.0.2.66 error:554 5.7.1 never\ncltaddr:192.0.2.7 relay\n"
                f"smtpc_session_conf:127.0.0.1:{next_hop.port} xforward = on;\n")
    s.add("smar", 'map ac { type = text; file = "@/access"; } access_map { name = ac; }')
    with s:
        yield s


def teller(site, **kw):
    return Client(site.port, source="127.0.0.2", **kw)


def forwarded(next_hop, tag):
    """What the next hop was told of that mail."""
    m, = next_hop.wait(tag)
    lines = [c for n, c in next_hop.commands if n == m.connection]
    told = {}
    for line in lines:
        text = line.decode() if isinstance(line, bytes) else line
        if text.upper().startswith("XFORWARD "):
            told.update(re.findall(r" ([A-Z]+)=(\S+)", text))
    return m, told


def test_offered_to_those_who_may(site):
    with teller(site) as c:
        assert set(c.extensions["XFORWARD"].split()[1:]) == NAMES
    with Client(site.port, source="127.0.0.3") as c:
        assert "XFORWARD" not in c.extensions
        assert c.cmd("XFORWARD NAME=x").code == 500
    assert not site.log_lines("smtps", "ss.xforward")


def test_the_next_server_hears_of_the_first_client(site, next_hop, tag):
    next_hop.drop()
    with teller(site) as c:
        first, second = FIRST.split(" HELO=")
        assert c.cmd(f"XFORWARD {first}").code == 250
        assert c.cmd(f"XFORWARD HELO={second}").code == 250
        assert c.send_mail("me@src.test", "you@local.test", message(tag)).code == 250
    m, told = forwarded(next_hop, tag)
    assert told["ADDR"] == "192.0.2.66" and told["NAME"] == "first.example" and told["PORT"] == "4711"
    assert told["HELO"] == "helo+2Bx.example" and told["PROTO"] == "ESMTPSA" and told["SOURCE"] == "REMOTE"
    # the trace tells who really came
    assert b"[127.0.0.2]" in m.header.split(b"\r\n\tby")[0]
    line, = [x for x in site.log_lines("smtps", "ss.xforward") if "192.0.2.66:4711" in x]
    assert "xid=4WXYZ" in line and "helo=helo+x.example" in line and "source=REMOTE" in line
    assert [x for x in site.log_lines("smtps", "ss.mail") if "xid=4WXYZ" in x]


@pytest.mark.parametrize("end", ["dot", "RSET", "EHLO again.test"])
def test_about_one_transaction(site, next_hop, tag, end):
    """Behind it nothing is known, and nothing of the two is mixed."""
    next_hop.drop()
    with teller(site) as c:
        assert c.cmd(f"XFORWARD {FIRST}").code == 250
        if end == "dot":
            assert c.send_mail("me@src.test", "you@local.test", message(tag + "-1")).code == 250
        else:
            assert c.mail("me@src.test").code == 250
            assert c.cmd("XFORWARD NAME=x").code == 503
            assert c.cmd(end).code == 250
        assert c.cmd("XFORWARD IDENT=other").code == 250
        assert c.send_mail("me@src.test", "you@local.test", message(tag)).code == 250
        assert c.send_mail("me@src.test", "you@local.test", message(tag + "-3")).code == 250
    next_hop.wait(tag + "-3")
    ident = [x for x in site.log_lines("smtps", "ss.xforward") if "xid=other" in x][-1]
    assert "192.0.2.66" not in ident and "helo" not in ident


def test_no_right_and_no_harm(site):
    """Neither what the access map gives to the one that was told, nor what it refuses."""
    with teller(site) as c:
        assert c.cmd("XFORWARD ADDR=192.0.2.7").code == 250
        assert c.mail("me@src.test").code == 250
        assert c.rcpt("you@elsewhere.test").code == 550
        assert c.cmd("RSET").code == 250
        assert c.cmd("XFORWARD ADDR=192.0.2.66").code == 250
        assert c.mail("me@src.test").code == 250
        assert c.rcpt("you@local.test").code == 250


@pytest.mark.parametrize("what", ["", "NAME", "NAME=a NAME=b", "LOGIN=x", "HELO=a+0D+0AMAIL", "PORT=70000", "SOURCE=there", "IDENT=" + "x" * 300])
def test_bad(site, what):
    with teller(site) as c:
        assert c.cmd(f"XFORWARD {what}".rstrip()).code == 501
        assert c.send_mail("me@src.test", "you@local.test", message("bad")).code == 250


def test_pipelined(site, next_hop, tag):
    with teller(site) as c:
        c.send(b"XFORWARD IDENT=abc ADDR=IPv6:2001:db8::7\r\nXFORWARD NAME=[UNAVAILABLE]\r\nMAIL FROM:<me@src.test>\r\nRCPT TO:<you@local.test>\r\n")
        assert [c.reply().code for _ in range(4)] == [250] * 4
        assert c.cmd("DATA").code == 354
        c.send(message(tag) + b".\r\n")
        assert c.reply().code == 250
    _, told = forwarded(next_hop, tag)
    assert any("[2001:db8::7]:0" in x and "xid=abc" in x for x in site.log_lines("smtps", "ss.xforward"))
