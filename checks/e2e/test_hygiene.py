"""What comes from outside, in every field that a log line, a reply or a trace header shows: escaped, bounded, and one line, in both formats."""
import re

import pytest
from lib.certs import Certs
from lib.client import Client, message, trusting
from lib.dns import A, PTR
from lib.sink import Sink
from lib.site import Site
from lib.wait import until
from test_logging import events, settings

pytestmark = pytest.mark.inside

# what would end a pair, a value, a line or a screen in either format
NASTY = 'x, stat=250 "y\\z{}'
CUT = 640


def xtext(s):
    return "".join(c if c.isalnum() else f"+{ord(c):02X}" for c in s)


@pytest.fixture(scope="module")
def certs():
    with Certs() as c:
        c.make("mx", "/CN=mx.test", ["mx.test"])
        c.make("nasty", "/O=" + NASTY.replace("\\", "\\\\") + "/CN=evil\r\n1.0 INFO ss.forged stat=250\x1b[31m\x07")
        c.make("long", "/O=" + "o" * 60 + "".join(f"/OU={i:02}" + "u" * 60 for i in range(16)) + "/CN=" + "n" * 60)
        yield c


@pytest.fixture(scope="module", params=["kv", "json"])
def site(request, dns, certs):
    dns.add("7.0.0.127.in-addr.arpa", PTR("spaced name, stat=250.example"), PTR("good.example"))
    dns.add("good.example", A("127.0.0.7"))
    with Sink() as sink:
        s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address,
                 settings={**settings(request.param), **certs.settings("mx")})
        s.add("smtps", "xclient { from = { 127.0.0.2 }; flags = { login }; }")
        with s:
            s.its_sink = sink
            yield s


@pytest.fixture(autouse=True)
def healthy():
    """Instead of that of all tests: lines in both formats are read strictly, by events()."""
    yield


def last(site, event, process="smtps", **wanted):
    def found():
        return [d for e, d in events(site, process) if e == event and all(d.get(k) == v for k, v in wanted.items())]
    return until(found, f"{event} {wanted}")[-1]


def nothing_forged(site):
    assert not [e for p in ("smtps", "smar", "qmgr", "smtpc") for e, _ in events(site, p) if "forged" in e]


def test_envelope(site, tag):
    sender, rcpt = f'"{NASTY}"@src.test'.replace("\\", "\\\\").replace(' "y', ' \\"y'), '"a\\"b, rcpt_idx=9"@local.test'
    with site.client() as c:
        assert c.cmd(f"MAIL FROM:<{sender}> ENVID={xtext(NASTY)}").code == 250
        assert c.cmd(f"RCPT TO:<{rcpt}> ORCPT=rfc822;{xtext(NASTY)}").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250
    m, = site.its_sink.wait(tag)
    mail = last(site, "ss.mail", mail=f"<{sender}>")
    assert mail["envid"] == xtext(NASTY) and mail["stat"] == "250"
    got = last(site, "ss.rcpt", rcpt=f"<{rcpt}>")
    assert got["orcpt"] == "rfc822;" + xtext(NASTY) and got["rcpt_idx"] == "0"
    assert m.sender == sender and m.rcpts == [rcpt]


def test_hello_and_trace_header(site, tag):
    helo = NASTY.replace(" ", "_") + "()\\"
    with site.client(helo=helo) as c:
        assert c.send_mail("me@src.test", "you@local.test", message(tag)).code == 250
    m, = site.its_sink.wait(tag)
    trace = m.header.split(b"\r\nSubject:")[0]
    assert trace.startswith(b"Received: from [127.0.0.1] (") and b"(HELO x,_stat=250_\"y?z{}???)" in trace
    assert all(32 <= b < 127 or b in b"\r\n\t" for b in trace) and trace.count(b"\r\nReceived") == 0
    assert all(line[:1] == b"\t" for line in trace.split(b"\r\n")[1:])


def test_message_id(site, tag):
    raw = b"<" + NASTY.encode() + b"\x00\x1b[31m\x7f\xff\x80@x>"
    with site.client() as c:
        r = c.send_mail("me@src.test", "you@local.test", message(tag, headers=b"Message-ID: " + raw + b"\r\n"))
        assert r.code == 250
    site.its_sink.wait(tag)
    ta = re.search(r"S[0-9A-F]{18}", r.text).group(0)
    msgid = last(site, "ss.final", ss_ta=ta)["msgid"]
    assert msgid.startswith("<" + NASTY + "\0\x1b[31m\x7f") and len(msgid) <= 128
    # longer than anything that is kept
    with site.client() as c:
        r = c.send_mail("me@src.test", "you@local.test", message(tag, headers=b"Message-ID: <" + b"\\" * 5000 + b">\r\n"))
    ta = re.search(r"S[0-9A-F]{18}", r.text).group(0)
    assert set(last(site, "ss.final", ss_ta=ta)["msgid"]) <= set("<\\.")


def test_xclient(site):
    with Client(site.port, source="127.0.0.2") as c:
        assert c.cmd(f"XCLIENT ADDR=192.0.2.1 NAME=n.example LOGIN={xtext(NASTY)} HELO={xtext(NASTY.replace(' ', '_'))}").code == 220
    d = last(site, "ss.xclient")
    assert d["user"] == NASTY and d["helo"] == NASTY.replace(" ", "_") and d["client"] == "192.0.2.1:0"


def test_certificates_and_server_name(site, certs):
    with site.client() as c:
        c.starttls(trusting(certificate=certs.path("nasty"), key=certs.key("nasty")), name="s, stat=250")
    d = last(site, "ss.tls", sni="s, stat=250")
    assert d["cn"] == "evil\r\n1.0 INFO ss.forged stat=250\x1b[31m\x07" and d["verify"] == "OK"
    assert re.fullmatch(r"/O=x,\+20stat=250\+20\+22y\\z\{\}/CN=evil\+0D\+0A1\.0\+20INFO\+20ss\.forged\+20stat=250\+1B\[31m\+07", d["subject"]), d["subject"]
    nothing_forged(site)


def test_long_names_in_certificates_are_cut(site, certs):
    with site.client() as c:
        c.starttls(trusting(certificate=certs.path("long"), key=certs.key("long")), name="long.example")
        assert c.mail("me@src.test").code == 250
    d = last(site, "ss.tls", sni="long.example")
    assert d["subject"].startswith("/O=ooo") and len(d["subject"]) <= CUT + 3


def test_names_of_clients(site, tag):
    """A name with anything but letters, digits, dots and dashes is none."""
    with Client(site.port, source="127.0.0.7") as c:
        assert c.send_mail("me@src.test", "you@local.test", message(tag)).code == 250
    m, = site.its_sink.wait(tag)
    assert b"(good.example [127.0.0.7])" in m.header
    assert last(site, "ss.connect", client_ipv4="127.0.0.7")["client_name"] == "good.example"


@pytest.mark.parametrize("line", [
    b"NONSENSE \x1b[31m\xff, stat=250\r\n", b"FOO\0BAR\r\n", b"MAIL FROM:<a@b\n1.0 INFO ss.forged stat=250>\r\n", b"MAIL FROM:<a@src.test> X\x1b=\xff\r\n",
    b"MAIL FROM:<a@src.test> " + b"K" * 300 + b"=1\r\n", b"EHLO \xff\xfe\r\n", b"EHLO a b\r\n", b"MAIL FROM:<\x07@src.test>\r\n", b"RCPT TO:<\xc3\x28@x>\r\n",
    b"XCLIENT \x1b[31m\r\n", b"VRFY \x1b[31m\xff\r\n", b"AUTH \xff\xfe\r\n", b"BDAT \xff\r\n", b"HELP \x1b\r\n", b"A" * 3000 + b"\r\n"])
def test_replies_and_lines_about_what_is_none(site, line):
    """The client reads replies strictly: printable, short, one code."""
    with site.client() as c:
        r = c.cmd(line)
        assert 200 <= r.code <= 599 and b"\x1b" not in r.raw and b"\xff" not in r.raw
        if r.code >= 500:
            d = last(site, "ss.bad" if r.code not in (250, 553) else "ss.mail")
            assert "\x1b" not in d["text"]
    nothing_forged(site)


def test_servers_texts(site):
    """What a server says comes into the log, and into the reply of who asks for it, as text."""
    from lib.sink import Serve
    with Sink(scripts=[[Serve({"RCPT": b"550-5.1.1 \x1b[31m, stat=250\xff\r\n550 5.1.1 no \"one\\\r\n"})]]) as hostile:
        s = Site(routes=[f". {hostile.port}^esmtp:[127.0.0.1]"], relay=["local.test"], settings=settings("kv"))
        with s:
            with s.client() as c:
                assert c.send_mail("", "you@local.test", message("x")).code == 250
            got = last(s, "qm.rcpt", "qmgr")
            assert got["stat"] != "250" and "5.1.1" in got["text"]
            events(s, "smtpc")
