"""SMTPUTF8 (RFC 6531, 6532, 6533): addresses and headers in UTF-8, who gets them, who does not, and what the reports say."""
import os
import quopri
import re
import shutil
import subprocess

import pytest
from lib.client import message
from lib.paths import program
from lib.sink import Serve, Sink
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE\r\n"
OLD = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE\r\n"
ASCII = b"250-sink.test\r\n250 PIPELINING\r\n"
A_LABEL = "xn--bcher-kva.test"
SENDER = "jörg@src.test"


@pytest.fixture(scope="module")
def sinks():
    out = {name: Sink() for name in ("new", "old", "src", "ascii")}
    for name, ehlo in (("new", EHLO), ("old", OLD), ("src", EHLO), ("ascii", ASCII)):
        out[name].default = Serve({"EHLO": ehlo})
    out["box"] = Sink(lmtp=True)
    out["box"].default = Serve({"LHLO": EHLO})
    yield out
    for s in out.values():
        s.stop()


ALIASES = """müller@bücher.test <postmaster@new.test> <jörg@xn--bcher-kva.test>
liste@ascii.test ünï@bücher.test
geheim@bücher.test postmaster@new.test
jörg@BÜCHER.test local:
ünï@xn--bcher-kva.test local:
"""
ACCESS = """to:geheim@BÜCHER.test error:550 5.7.1 not for you
from:@xn--bser-5qa.test error:550 5.7.1 no such mail
"""


@pytest.fixture(scope="module")
def site(sinks):
    to = {k: f"{s.port}^{'lmtp' if s.lmtp else 'esmtp'}:[127.0.0.1]" for k, s in sinks.items()}
    routes = [f"bücher.test {to['box']}", f".bücher.test {to['new']}", f"new.test {to['new']}", f"old.test {to['old']}", f"src.test {to['src']}",
              f"ascii.test {to['ascii']}", f"xn--fsqu00a.test {to['new']}", f"mx.test {to['src']}"]
    with Site(routes=routes, relay=["BÜCHER.test", "new.test", "old.test", "ascii.test", "例子.test", ".bücher.test"],
              settings={"smtpc.session_idle_timeout": "0s"}) as s:
        yield s


def utf8_message(tag, body="Grüße\r\n", subject="Grüße"):
    return (f"Subject: {tag}\r\nX-Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Transfer-Encoding: 8bit\r\n\r\n{body}").encode()


def send(c, sender, rcpts, content, params=" SMTPUTF8"):
    assert c.mail(sender, params).code == 250
    for r in rcpts:
        assert c.rcpt(r).code == 250, r
    assert c.cmd("DATA").code == 354
    assert c.finish(content).code == 250


def mail_line(sink, got):
    return [c for n, c in sink.commands if n == got.connection and c.startswith(b"MAIL")][-1]


def report(sinks, tag, where="src"):
    got, = sinks[where].wait(lambda m: m.sender == "" and tag.encode() in m.content)
    return got


# ---- in ---------------------------------------------------------------------------------------------------------------------------------

def test_offered(site):
    with site.client() as c:
        assert c.extensions["SMTPUTF8"] == "SMTPUTF8"


@pytest.mark.parametrize("path,params,code,enhanced", [
    ("<jörg@src.test>".encode(), b"", 553, "5.6.7"),
    ("<a@bücher.test>".encode(), b"", 553, "5.6.7"),
    (b"<\xe9@src.test>", b"", 501, "5.1.7"),
    (b"<\xe9@src.test>", b" SMTPUTF8", 501, "5.1.7"),
    (b"<\xc0\xaf@src.test>", b" SMTPUTF8", 501, "5.1.7"),
    (b"<\xed\xa0\x80@src.test>", b" SMTPUTF8", 501, "5.1.7"),
    (b"<\xf4\x90\x80\x80@src.test>", b" SMTPUTF8", 501, "5.1.7"),
    (b"<a\xc3@src.test>", b" SMTPUTF8", 501, "5.1.7"),
    (b"<a\xc1\x80src.test>", b" SMTPUTF8", 501, "5.1.7"),
    ("<a\x85@src.test>".encode(), b" SMTPUTF8", 501, "5.1.7"),
    ("<a@bü cher.test>".encode(), b" SMTPUTF8", 501, "5.1.7"),
    ("<a＠bücher.test>".encode(), b" SMTPUTF8", 501, "5.1.7"),
    ("<a@x＠bücher.test>".encode(), b" SMTPUTF8", 501, "5.1.7"),
    ("<a@bücher..test>".encode(), b" SMTPUTF8", 501, "5.1.7"),
    (("<" + "ü" * 33 + "@src.test>").encode(), b" SMTPUTF8", 501, "5.1.7"),
    (("<a@" + "ü" * 64 + ".test>").encode(), b" SMTPUTF8", 501, "5.1.7"),
    (b"<a@src.test>", b" SMTPUTF8=yes", 501, "5.5.4"),
    (b"<a@src.test>", b" SMTPUTF8 SMTPUTF8", 501, "5.5.4"),
    (b"<a@src.test>", b" SMTPUTF8", 250, "2.1.0"),
    ("<jörg@src.test>".encode(), b" SMTPUTF8 BODY=8BITMIME", 250, "2.1.0"),
    (("<" + "ü" * 32 + "@src.test>").encode(), b" SMTPUTF8", 250, "2.1.0"),
    ('<"jörg ü"@src.test>'.encode(), b" SMTPUTF8", 250, "2.1.0"),
    ("<你好@例子.test>".encode(), b" SMTPUTF8", 250, "2.1.0"),
], ids=repr)
def test_mail(site, path, params, code, enhanced):
    with site.client() as c:
        r = c.cmd(b"MAIL FROM:" + path + params + b"\r\n")
        assert (r.code, r.enhanced) == (code, enhanced), r
        c.stays()


def test_rcpt(site):
    """By the word behind MAIL, not by what the addresses are."""
    with site.client() as c:
        assert c.mail("a@src.test").code == 250
        r = c.rcpt("jörg@new.test")
        assert (r.code, r.enhanced) == (553, "5.6.7")
        assert c.rcpt("a@new.test").code == 250
        assert c.cmd("RSET").code == 250
        assert c.mail("a@src.test", " SMTPUTF8").code == 250
        assert c.rcpt("jörg@new.test").code == 250
        assert c.cmd(b"RCPT TO:<\xe9@new.test>\r\n").code == 501
        # pipelined behind MAIL without the word
        assert c.cmd("RSET").code == 250
        c.send("MAIL FROM:<a@src.test>\r\nRCPT TO:<jörg@new.test>\r\nRCPT TO:<b@new.test>\r\nDATA\r\n")
        assert [c.reply().code for _ in range(4)] == [250, 553, 250, 354]
        assert c.finish(b"Subject: x\r\n\r\n").code == 250


def test_vrfy(site):
    with site.client() as c:
        assert c.cmd("VRFY a@new.test").code == 252
        assert c.cmd("VRFY jörg@new.test SMTPUTF8").code == 252
        assert c.cmd("VRFY jörg@new.test").code == 501
        assert c.cmd(b"VRFY \xe9@new.test SMTPUTF8\r\n").code == 501
        assert c.cmd("EXPN liste SMTPUTF8").code == 502
        # in a transaction: nothing of it changes
        assert c.mail("a@src.test").code == 250
        assert c.rcpt("b@new.test").code == 250
        assert c.cmd("VRFY é@x SMTPUTF8").code == 252
        assert c.cmd("DATA").code == 354
        assert c.finish(b"Subject: x\r\n\r\n").code == 250


# ---- through ----------------------------------------------------------------------------------------------------------------------------

def test_through(site, sinks, tag):
    """Addresses as they were given, with the word; the header says how it came."""
    content = utf8_message(tag)
    with site.client() as c:
        send(c, SENDER, ["müller@new.test", "plain@new.test"], content, " SMTPUTF8 BODY=8BITMIME")
    got, = sinks["new"].wait(tag)
    assert (got.sender, got.rcpts) == (SENDER, ["müller@new.test", "plain@new.test"])
    assert got.without_trace() == content
    assert b" SMTPUTF8" in mail_line(sinks["new"], got) and b" BODY=8BITMIME" in mail_line(sinks["new"], got)
    assert re.search(rb"\r\n\tby mx.test \(smx [^)]*\) with UTF8SMTP\r\n", got.header)


def test_trace_of_one_recipient_is_ascii(site, sinks, tag):
    """The only recipient in UTF-8 is not named in Received: that field would need SMTPUTF8 by itself."""
    with site.client() as c:
        send(c, "a@src.test", ["müller@new.test"], message(tag))
    got, = sinks["new"].wait(tag)
    assert got.header.isascii() and b"for <" not in got.header


@pytest.mark.parametrize("where", ["old", "ascii"])
def test_declared_and_not_needed(site, sinks, tag, where):
    with site.client() as c:
        send(c, "a@src.test", [f"b@{where}.test"], message(tag))
    got, = sinks[where].wait(tag)
    assert b"SMTPUTF8" not in mail_line(sinks[where], got)
    assert got.without_trace() == message(tag)


def test_8bit_header_that_was_not_declared(site, sinks, tag):
    """Not ours to judge: it goes as it came, as ever."""
    content = utf8_message(tag)
    with site.client() as c:
        send(c, "a@src.test", ["b@old.test", "b@new.test"], content, "")
    for name in ("old", "new"):
        got, = sinks[name].wait(tag)
        assert got.without_trace() == content
        assert b"SMTPUTF8" not in mail_line(sinks[name], got)


def test_queue_and_restart(tag):
    """What it needs is in the queue: it is known after a restart, too."""
    later = {"MAIL": b"451 4.3.0 later\r\n"}
    with Sink() as new, Sink() as old:
        new.default, old.default = Serve({"EHLO": EHLO, **later}), Serve({"EHLO": OLD, **later})
        with Site(routes=[f"new.test {new.port}^esmtp:[127.0.0.1]", f"old.test {old.port}^esmtp:[127.0.0.1]"], relay=["new.test", "old.test"],
                  settings={"smtpc.session_idle_timeout": "0s"}) as s:
            with s.client() as c:
                send(c, "a@src.test", ["b@old.test"], message(tag))
                send(c, "a@src.test", ["b@new.test"], utf8_message(tag + "-2"))
                send(c, SENDER, ["wärter@new.test"], message(tag + "-3"))
            until(lambda: new.commands and old.commands and "wärter@new.test" in s.qmgrctl("list"), "tried", 10)
            ids = re.findall(r"S[0-9A-F]{18}", s.qmgrctl("list"))
            assert sum("needs        SMTPUTF8" in s.qmgrctl("show", x) for x in ids) == 1
            before = s.pids("qmgr")
            s.kill("qmgr")
            s.restarted("qmgr", before)
            new.default, old.default = Serve({"EHLO": EHLO}), Serve({"EHLO": OLD})
            until(lambda: s.qmgrctl("flush", "--all", check=False) is not None and new.find(tag + "-2") and new.find(tag + "-3") and old.find(tag),
                  "delivered", 40)
            got, = new.find(tag + "-2")
            assert b" SMTPUTF8" in mail_line(new, got)  # only the header is in UTF-8
            got, = new.find(tag + "-3")
            assert (got.sender, got.rcpts) == (SENDER, ["wärter@new.test"]) and b" SMTPUTF8" in mail_line(new, got)
            assert b"SMTPUTF8" not in mail_line(old, old.find(tag)[0])


# ---- domains ----------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("domain,where", [
    ("bücher.test", "box"), ("BÜCHER.Test", "box"), ("bu\u0308cher.test", "box"), (A_LABEL, "box"), ("XN--BCHER-KVA.test", "box"),
    ("sub.bücher.test", "new"), ("例子.test", "new"), ("xn--fsqu00a.test", "new"), ("例子。test", "new")])
def test_domains_are_compared_by_a_labels(site, sinks, tag, domain, where):
    """relay_to, mailertable: whoever wrote the domain how. It arrives as it was given."""
    with site.client() as c:
        send(c, "a@src.test", [f"b@{domain}"], message(tag))
    got, = sinks[where].wait(tag)
    assert got.rcpts == ["b@" + "".join(x.lower() if x.isascii() else x for x in domain)]


@pytest.mark.parametrize("domain", ["bucher.test", "xn--bcher-kvb.test", "bücher.example", "böcher.test"])
def test_other_domains_are_others(site, domain):
    with site.client() as c:
        assert c.mail("a@src.test", " SMTPUTF8").code == 250
        assert c.rcpt("b@" + domain).code == 550


@pytest.mark.parametrize("kind", ["text", "hash"])
def test_maps(sinks, tag, kind):
    """Access map and aliases, keys in UTF-8 and as A-labels."""
    to = {k: f"{s.port}^{'lmtp' if s.lmtp else 'esmtp'}:[127.0.0.1]" for k, s in sinks.items()}
    to["list"] = to["box"]  # aliases are asked for local domains
    s = Site(routes=[f"bücher.test {to['box']}", f"new.test {to['new']}", f"src.test {to['src']}", f"böser.test {to['src']}",
                     f"ascii.test {to['list']}"],
             relay=["bücher.test", "new.test", "ascii.test"], settings={"smtps.flags": "{ access }", "smtpc.session_idle_timeout": "0s"})
    for name, text in (("aliases", ALIASES), ("access", ACCESS)):
        path = os.path.join(s.dir, name + "." + kind)
        if kind == "hash":
            subprocess.run([program("createmap"), "-k", name, path], input=text, text=True, check=True)
            os.chmod(path, 0o644)
        else:
            with open(path, "w") as f:
                f.write(text)
    s.add("smar", f"""map al {{ type = {kind}; file = "{s.dir}/aliases.{kind}"; }} map ac {{ type = {kind}; file = "{s.dir}/access.{kind}"; }}
                      aliases {{ name = al; flags = {{ local_domains }}; }} access_map {{ name = ac; }}""")
    with s:
        with s.client() as c:
            r = c.mail("x@böser.test", " SMTPUTF8")
            assert (r.code, r.enhanced) == (550, "5.7.1")
            assert c.mail("x@xn--bser-5qa.test").code == 550
            assert c.mail("a@src.test", " SMTPUTF8").code == 250
            for address in ("geheim@bücher.test", "geheim@" + A_LABEL):
                r = c.rcpt(address)
                assert (r.code, r.enhanced) == (550, "5.7.1"), address
            assert c.cmd("RSET").code == 250
            send(c, "a@src.test", ["müller@" + A_LABEL], message(tag))
        one, = sinks["new"].wait(tag)
        two, = sinks["box"].wait(tag)
        assert one.rcpts == ["postmaster@new.test"] and two.rcpts == ["jörg@" + A_LABEL]
        # mail in ASCII whose alias leads to an address in UTF-8
        with s.client() as c:
            assert c.send_mail("a@src.test", "liste@ascii.test", message(tag + "-2")).code == 250
        got, = sinks["box"].wait(tag + "-2")
        assert got.rcpts == ["ünï@bücher.test"] and b" SMTPUTF8" in mail_line(sinks["box"], got)


# ---- not taken --------------------------------------------------------------------------------------------------------------------------

def test_recipient_needs_it(site, sinks, tag):
    """Only he fails; the others get the mail. The report has the address in the form for ASCII (RFC 6533 3)."""
    with site.client() as c:
        send(c, "a@src.test", ["müller@old.test", "b@old.test"], message(tag))
    assert sinks["old"].wait(tag)[0].rcpts == ["b@old.test"]
    got = report(sinks, tag)
    assert b"Status: 5.6.7\r\n" in got.content and "müller@old.test".encode() in got.content
    assert b"Content-Type: message/global-delivery-status\r\n" in got.content
    assert "Final-Recipient: utf-8; müller@old.test\r\n".encode() in got.content
    assert b" SMTPUTF8" in mail_line(sinks["src"], got)


def test_header_needs_it(site, sinks, tag):
    with site.client() as c:
        send(c, SENDER.replace("ö", "o"), ["b@old.test", "b@new.test"], utf8_message(tag))
    assert sinks["new"].wait(tag)
    got = report(sinks, tag)
    assert b"Status: 5.6.7\r\n" in got.content and b"header is in UTF-8" in got.content
    # all of the original, as message/global
    assert b"Content-Type: message/global\r\n" in got.content and "X-Subject: Grüße\r\n".encode() in got.content
    assert not sinks["old"].find(tag)


def test_sender_needs_it(site, sinks, tag):
    with site.client() as c:
        send(c, SENDER, ["b@old.test"], message(tag))
    got = report(sinks, tag)
    assert got.rcpts == [SENDER] and f"To: <{SENDER}>\r\n".encode() in got.content
    assert b"Status: 5.6.7\r\n" in got.content


def test_report_to_a_server_without_it(site, sinks, tag):
    """All of it in ASCII: addresses as utf-8-addr-xtext, what was in UTF-8 encoded."""
    with site.client() as c:
        assert c.mail("a@ascii.test", " SMTPUTF8 RET=FULL").code == 250
        assert c.rcpt("müller@old.test", " ORCPT=utf-8;ü\\x{2B}x@old.test NOTIFY=FAILURE").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(utf8_message(tag)).code == 250
    got = report(sinks, tag, "ascii")
    assert got.content.isascii() and b"SMTPUTF8" not in mail_line(sinks["ascii"], got)
    assert b"Content-Type: message/delivery-status\r\n" in got.content
    assert b"Original-Recipient: utf-8; \\x{FC}\\x{2B}x@old.test\r\nFinal-Recipient: utf-8; m\\x{FC}ller@old.test\r\n" in got.content
    part = got.content.split(b"Content-Type: message/global\r\n")[1]
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in part
    assert "X-Subject: Grüße".encode() in quopri.decodestring(part)


def test_orcpt_goes_on(site, sinks, tag):
    with site.client() as c:
        assert c.mail("a@src.test", " SMTPUTF8").code == 250
        assert c.rcpt("b@new.test", " ORCPT=utf-8;ü@x").code == 250
        assert c.rcpt("b@old.test", " ORCPT=utf-8;ü@x").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250
    new, = sinks["new"].wait(tag)
    old, = sinks["old"].wait(tag)
    said = {n: [c for k, c in sinks[n].commands if k == m.connection and c.startswith(b"RCPT")][-1] for n, m in (("new", new), ("old", old))}
    assert "ORCPT=utf-8;ü@x".encode() in said["new"] and b"ORCPT=utf-8;\\x{FC}@x" in said["old"]


def test_undeliverable_report_ends(site, sinks, tag):
    """A report to an address in UTF-8 for which nobody takes it: told to nobody, and nothing loops."""
    with site.client() as c:
        send(c, "jörg@old.test", ["b@old.test"], message(tag))
    until(lambda: any(tag for line in site.log_lines("qmgr", "qm.drop")) or sinks["src"].reports("postmaster@mx.test"), "dropped or told", 20)
    assert not [m for m in sinks["old"].messages if tag.encode() in m.content]


@pytest.mark.skipif(not shutil.which("swaks"), reason="no swaks")
def test_swaks_does_not_know_it(site):
    """A client that sends what it was given, without the word."""
    r = subprocess.run(["swaks", "--server", f"127.0.0.1:{site.port}", "--from", "jörg@src.test", "--to", "b@new.test", "--helo", "swaks.test"],
                       capture_output=True, text=True, timeout=60)
    assert "553 5.6.7" in r.stdout and r.returncode != 0
    r = subprocess.run(["swaks", "--server", f"127.0.0.1:{site.port}", "--from", "a@src.test", "--to", "b@new.test", "--helo", "swaks.test"],
                       capture_output=True, text=True, timeout=60)
    assert "250-SMTPUTF8" in r.stdout and "250-CHUNKING" in r.stdout and r.returncode == 0, r.stdout


def test_mailbox(tag):
    """The local agent of contrib: one mailbox for all forms of a domain."""
    with Site(routes=["bücher.test lmtp:"], lmtp_agent=True, relay=[]) as s:
        with s.client() as c:
            send(c, SENDER, ["jörg@BÜCHER.test"], utf8_message(tag))
            send(c, "a@src.test", ["jörg@" + A_LABEL], message(tag + "-2"))
        box = os.path.join(s.maildirs, "jörg@" + A_LABEL, "new")
        until(lambda: os.path.isdir(box) and len(os.listdir(box)) == 2, "both are there", 20)
        assert len(os.listdir(s.maildirs)) == 1
