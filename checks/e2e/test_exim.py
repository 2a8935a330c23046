"""Exim at both ends: it sends by BDAT, with TLS, SMTPUTF8 and DSN, and it is the next hop for all of that."""
import email
import os
import re

import pytest
from lib.certs import Certs
from lib.client import Client, message
from lib.contents import CONTENTS
from lib.debian import Unavailable
from lib.dns import A, Dns
from lib.exim import Exim, Route
from lib.report import Report
from lib.sink import Serve, Sink
from lib.site import Site
from lib.tap import Tap
from lib.wait import until

pytestmark = pytest.mark.inside

EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE\r\n"
# Domains that smx passes on to Exim, and by which name it knows it: with TLS if offered, verified, and verified with a name that is not Exim's
TO_EXIM = {"e.test": "exim.test", ".e.test": "exim.test", "verified.test": "safe.exim.test", "wrong.test": "wrong.test"}
ACCESS = "smtpc_session_conf:safe.exim.test tls { level = verify; }\nsmtpc_session_conf:wrong.test tls { level = verify; }\n"


class World:
    """`site` passes on to `exim` what is for a domain of TO_EXIM, and Exim to smx what is for *.s.test; both pass all else on to `sink`.
    `tap` sees what Exim says in clear for clear.s.test."""

    def verifying(self, host):
        return Route(self.site.port, host, ("hosts_require_tls = *", "tls_verify_hosts = *", f"tls_verify_certificates = {self.certs.path('ca')}"))

    def start(self, stack):
        self.certs = Certs()
        stack.append(self.certs.stop)
        self.certs.make("mx", "/CN=mx.test", ["mx.test"])
        self.certs.make("exim", "/CN=exim.test", ["exim.test", "safe.exim.test"])
        self.exim = Exim((self.certs.path("exim"), self.certs.key("exim")))
        stack.append(self.exim.remove)
        dns = Dns()
        stack.append(dns.stop)
        for name in set(TO_EXIM.values()):
            dns.add(name, A("127.0.0.1"))
        self.sink = Sink()
        stack.append(self.sink.stop)
        self.sink.default = Serve({"EHLO": EHLO, "RCPT": lambda line: b"550 5.1.1 nobody\r\n" if b"nobody@" in line else b"250 2.1.5 Ok\r\n"})
        own = ["s.test", ".s.test", "bücher.test"]
        settings = {**self.certs.settings("mx"), "smtpc.tls.CAcert_file": self.certs.path("ca"), "smtpc.session_idle_timeout": "0s"}
        self.site = Site(routes=[f"{d} {self.exim.port}^esmtp:[{h}]" for d, h in TO_EXIM.items()] + [f". {self.sink.port}^esmtp:[127.0.0.1]"],
                         relay=[*TO_EXIM, *own], dns=dns.address, settings=settings)
        self.site.put("access", ACCESS)
        self.site.add("smar", '    access_map { file = "@/access"; }')
        self.tap = Tap(self.site.port)
        stack.append(self.tap.__exit__)
        self.exim.route({
            "clear.s.test": Route(self.tap.port),
            "verified.s.test": self.verifying("mx.test"),
            "wrong.s.test": self.verifying("wrong.test"),
            "*.s.test": Route(self.site.port, options=()),
            "*": Route(self.sink.port, "sink.test"),
        })


@pytest.fixture(scope="module")
def world():
    w, stack = World(), []
    try:
        try:
            w.start(stack)
        except Unavailable as e:
            pytest.skip(str(e))
        with w.site, w.exim:
            yield w
    finally:
        for f in reversed(stack):
            f()


def to_exim(world, rcpts, content, mail="", rcpt=""):
    """By smx."""
    give(world.site.port, rcpts, content, mail, rcpt)


def to_smx(world, rcpts, content, mail="", rcpt=""):
    """By Exim."""
    give(world.exim.port, rcpts, content, mail, rcpt)


def give(port, rcpts, content, mail, rcpt, sender="a@src.test"):
    with Client(port) as c:
        assert c.mail(sender, mail).code == 250
        for r in [rcpts] if isinstance(rcpts, str) else rcpts:
            assert c.rcpt(r, rcpt).code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(content).code == 250


def sent(world, tag, rcpts=1):
    """How Exim says that it has passed a mail on; a line, or one for each of several recipients."""
    lines = [x for x in world.exim.arrived(tag)[1] if " => " in x or " -> " in x]
    assert len(lines) == rcpts, lines
    return lines[0] if rcpts == 1 else lines


def reports(world, sender, count=1):
    until(lambda: len(world.sink.reports(sender)) >= count, lambda: f"{count} reports for {sender}\n{world.exim.log()[-3000:]}\n{world.site.log_tail(10)}")
    return world.sink.reports(sender)


# -- what both offer

def test_they_offer_what_is_tested(world):
    with Client(world.exim.port) as c:
        assert {"CHUNKING", "SMTPUTF8", "8BITMIME", "DSN", "PIPELINING", "PRDR", "STARTTLS"} <= set(c.extensions)
    with world.site.client() as c:
        assert {"CHUNKING", "SMTPUTF8", "8BITMIME", "DSN", "PIPELINING", "STARTTLS"} <= set(c.extensions)
        assert "PRDR" not in c.extensions


# -- BDAT

@pytest.mark.parametrize("name", sorted(CONTENTS))
@pytest.mark.parametrize("how", ["tls", "clear"])
def test_contents_by_its_bdat(world, tag, name, how):
    """Exim logs K where it has used BDAT."""
    content = message(tag) + CONTENTS[name]
    to_smx(world, f"b@{how}.s.test", content)
    got, = world.sink.wait(tag)
    assert got.without_trace() == content
    line = sent(world, tag)
    assert " K " in line and "Message accepted" in line
    assert (" X=TLS" in line) == (how == "tls")


@pytest.mark.parametrize("name", sorted(CONTENTS))
def test_contents_by_our_bdat(world, tag, name):
    content = message(tag) + CONTENTS[name]
    to_exim(world, "b@e.test", content)
    got, = world.sink.wait(tag)
    assert got.without_trace() == content
    assert " K " in world.exim.arrived(tag)[0]


def test_on_the_wire(world, tag):
    """Nothing but BDAT, in one write with the envelope; and no PRDR, which nobody has offered."""
    content = message(tag, b".\r\nQUIT\r\n" + b"x" * 70 + b"\r\n") + (b"y" * 70 + b"\r\n") * 1000
    to_smx(world, ["b@clear.s.test", "c@clear.s.test"], content)
    got, = world.sink.wait(tag)
    assert got.without_trace() == content and got.rcpts == ["b@clear.s.test", "c@clear.s.test"]
    n = world.tap.connection(tag.encode())
    said = world.tap.said("C", n)
    assert re.search(rb"(?m)^BDAT [0-9]+( LAST)?\r$", said) and b"\r\nDATA\r\n" not in said and b" LAST\r\n" in said
    assert re.search(rb"(?m)^MAIL FROM:<a@src.test>[^\r\n]*\r$", said) and b"PRDR" not in said and b"PRDR" not in world.tap.said("S", n)
    assert [b for w, who, b in world.tap.segments if (w, who) == (n, "C") and b.startswith(b"MAIL ") and b.count(b"\r\nRCPT ") == 2], "pipelined"
    assert all(" L " in x and " K " in x for x in sent(world, tag, 2))


def test_many_mails_of_one_session(world, tag):
    """A run of its queue sends one after the other, over one connection."""
    tags = [f"{tag}-{i}" for i in range(5)]
    for t in tags:
        to_smx(world, "queued@clear.s.test", message(t, os.urandom(200).hex().encode() + b"\r\n"))
    until(lambda: len(world.exim.queue()) >= 5, "all are queued")
    assert world.exim.run("-qqff").returncode == 0
    for t in tags:
        world.sink.wait(t)
    assert len({world.tap.connection(t.encode()) for t in tags}) == 1


def test_refused_behind_bdat(world, tag):
    """Our no to the content, as Exim has heard it."""
    to_smx(world, "b@clear.s.test", message(tag, headers=b"Received: from x\r\n\tby y\r\n" * 60))
    no, = [x for x in world.exim.arrived(tag)[1] if " ** b@clear.s.test " in x]
    assert "554 5.4.6" in no and "end of data" in no
    assert not world.sink.find(tag)


# -- PIPELINING

def test_pipelined_by_smx(world, tag):
    """Exim breaks off when somebody talks out of turn; one of three recipients is refused, and the others get it."""
    to_exim(world, ["b@e.test", "refused@e.test", "c@e.test"], message(tag))
    got, = world.sink.wait(tag)
    assert sorted(got.rcpts) == ["b@e.test", "c@e.test"]
    line, all_ = world.exim.arrived(tag)
    assert " L. " in line, line  # not "L.-": it pipelined; ".": without Exim's own PIPECONNECT
    assert not world.exim.lines("synchronization error") and not world.exim.lines("syntax error")
    assert "PRDR" not in line
    report = Report(world.sink.wait(lambda m: m.sender == "" and tag.encode() in m.content)[0])
    assert report.actions == {"refused@e.test": "failed"} and "5.1.1 no such user" in report.rcpts[0]["Diagnostic-Code"]


# -- TLS

def test_tls_to_exim(world, tag):
    """Offered is used."""
    to_exim(world, "b@e.test", message(tag))
    got, = world.sink.wait(tag)
    assert re.search(r" P=esmtps .* X=TLS1\.3:", world.exim.arrived(tag)[0])
    assert b"with esmtps" in got.header


def test_verified_to_exim(world, tag):
    marks = world.site.log_marks()
    to_exim(world, "b@verified.test", message(tag))
    world.sink.wait(tag)
    said = until(lambda: [x for text in world.site.logs_since(marks).values() for x in text.splitlines() if " sc.tls " in x], "sc.tls")[-1]
    assert "verify=OK" in said and "server=safe.exim.test" in said
    assert "SNI=safe.exim.test" in world.exim.arrived(tag)[0]


def test_its_name_is_not_the_one(world, tag):
    to_exim(world, "b@wrong.test", message(tag))
    until(lambda: [x for x in world.site.log_lines("smtpc", "sc.deferred") if "wrong.test" in x and "certificate" in x],
          lambda: world.site.log_tail(20))
    world.site.qmgrctl("remove", "rcpt=b@wrong.test")
    assert not world.sink.find(tag) and not world.exim.lines(f'T="{tag}"')


@pytest.mark.parametrize("domain,verified", [("any.s.test", False), ("verified.s.test", True)])
def test_tls_from_exim(world, tag, domain, verified):
    to_smx(world, f"b@{domain}", message(tag))
    got, = world.sink.wait(tag)
    line = sent(world, tag)
    assert "X=TLS1.3:" in line and ("CV=yes" in line or not verified), line
    assert b"ESMTPS" in got.header and b"TLSv1.3" in got.header


def test_our_name_is_not_the_one(world, tag):
    to_smx(world, "b@wrong.s.test", message(tag))
    world.exim.logged("wrong.s.test", "certificate verification failed")
    assert not world.sink.find(tag)


# -- SMTPUTF8

def utf8(tag):
    return f"Subject: {tag}\r\nX: Grüße\r\n\r\nGrüße\r\n".encode()


def test_utf8_to_exim(world, tag):
    to_exim(world, ["müller@e.test", "wärter@例子.e.test"], utf8(tag), " SMTPUTF8 BODY=8BITMIME")
    world.sink.wait(lambda m: m.subject() == tag and "müller@e.test" in m.rcpts)
    world.sink.wait(lambda m: m.subject() == tag and "wärter@例子.e.test" in m.rcpts)
    for m in world.sink.find(tag):
        assert m.without_trace() == utf8(tag)
        assert b"with utf8esmtps" in m.header and b"with UTF8SMTP" in m.header


def test_utf8_from_exim(world, tag):
    with Client(world.exim.port) as c:
        assert c.mail("jörg@bücher.test", " SMTPUTF8 BODY=8BITMIME").code == 250
        assert c.rcpt("müller@bücher.s.test").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(utf8(tag)).code == 250
    got, = world.sink.wait(tag)
    assert (got.sender, got.rcpts) == ("jörg@bücher.test", ["müller@bücher.s.test"])
    assert got.without_trace() == utf8(tag)
    assert b"with UTF8SMTPS" in got.header and b"with utf8esmtp" in got.header
    assert " K " in sent(world, tag)


# -- DSN

def test_dsn_is_passed_on_to_exim(world, tag):
    """It goes on to who cannot DSN: so Exim tells the sender, of what was said to us."""
    give(world.site.port, "b@e.test", message(tag, body=b"the body\r\n"), f" RET=HDRS ENVID={tag}+2B1", " NOTIFY=SUCCESS ORCPT=rfc822;first+2Bname@old.test",
         sender="passed@src.test")
    world.sink.wait(tag)
    report, = reports(world, "passed@src.test")
    status, = [p for p in email.message_from_bytes(report.content).walk() if p.get_content_type() == "message/delivery-status"]
    assert b"the body" not in report.content
    about, rcpt = status.get_payload()[:2]
    assert about["Reporting-MTA"] == "dns; exim.test" and about["Original-Envelope-Id"] in (f"{tag}+1", f"{tag}+2B1")
    assert rcpt["Action"] in ("relayed", "delivered")  # this Exim says so of either
    assert rcpt["Final-Recipient"] == "rfc822;b@e.test"
    assert rcpt["Original-Recipient"] in ("rfc822;first+name@old.test", "rfc822;first+2Bname@old.test")
    assert len(world.sink.reports("passed@src.test")) == 1


def test_dsn_never_is_passed_on_to_exim(world, tag):
    """Nobody is told: of Exim's no, at once or to the content, nor of one that Exim hears later."""
    give(world.site.port, ["refused@e.test", "nobody@e.test", "b@e.test"], message(tag), "", " NOTIFY=NEVER", sender="never@src.test")
    world.sink.wait(tag)
    assert [x for x in world.exim.arrived(tag)[1] if " ** nobody@e.test " in x]
    give(world.site.port, "b@e.test", message(tag, headers=b"X-Refuse: yes\r\n"), "", " NOTIFY=NEVER", sender="never@src.test")
    world.exim.logged("rejected after DATA", "never@src.test")
    world.site.wait_empty()
    assert not world.sink.reports("never@src.test")


@pytest.mark.parametrize("ret,returned", [("FULL", "message/rfc822"), ("HDRS", "text/rfc822-headers")])
def test_no_of_exim_to_content(world, tag, ret, returned):
    """To the last chunk, that is; the sender's report is ours."""
    sender = f"content-{ret}@src.test"
    give(world.site.port, "b@e.test", message(tag, headers=b"X-Refuse: yes\r\n"), f" RET={ret} ENVID={tag}", " NOTIFY=FAILURE ORCPT=rfc822;x@old.test",
         sender=sender)
    report = Report(reports(world, sender)[0])
    assert report.actions == {"b@e.test": "failed"} and report.returned == returned
    assert report.envid == tag and report.rcpts[0]["Original-Recipient"] == "rfc822; x@old.test"
    assert "5.7.1 not this content" in report.rcpts[0]["Diagnostic-Code"]


def test_dsn_from_exim(world, tag):
    """It says to us what it was told; the next hop cannot, so we tell the sender."""
    give(world.exim.port, "b@clear.s.test", message(tag), f" RET=HDRS ENVID={tag}+2B1", " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Bname@old.test",
         sender="told@src.test")
    world.sink.wait(tag)
    said = world.tap.said("C", world.tap.connection(f"ENVID={tag}+2B1".encode()))
    assert b" RET=HDRS" in said and re.search(rb"RCPT TO:<b@clear.s.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first\+2Bname@old.test\r\n", said), said
    report = Report(reports(world, "told@src.test")[0])
    assert report.actions == {"b@clear.s.test": "relayed"} and report.returned == "text/rfc822-headers"
    assert report.envid == f"{tag}+1" and report.rcpts[0]["Original-Recipient"] == "rfc822; first+name@old.test"
    assert report.about["Reporting-MTA"] == "dns; mx.test"


def test_dsn_never_from_exim(world, tag):
    give(world.exim.port, ["nobody@clear.s.test", "b@clear.s.test"], message(tag), "", " NOTIFY=NEVER", sender="quiet@src.test")
    world.sink.wait(tag)
    world.site.wait_empty()
    assert not world.sink.reports("quiet@src.test")
