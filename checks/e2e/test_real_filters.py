"""Filters that others have written, and the one that comes with smx, behind smtps."""
import os
import re

import pytest
from lib.client import message
from lib.filters import USER, file, key, open_place, opendkim, place, rspamd_port, running, send, site_with, verified  # noqa: F401 (fixtures)
from lib.paths import BUILD, free_port

pytestmark = pytest.mark.inside

REGEX = os.path.join(BUILD, "contrib/milter-regex")


# ---- OpenDKIM ----

CONTENTS = {
    "plain": message("@", headers=b"From: a@src.test\r\nTo: b@local.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"),
    "empty": message("@", b"", headers=b"From: a@src.test\r\n"),
    "folded": message("@", b"x  \r\n\r\n \tx\r\n\r\n\r\n", headers=b"From: a@src.test\r\nTo: x,\r\n\ty,\r\n  z\r\nX:y\r\nSUBJECT:   twice \r\n"),
    "dots": message("@", b".\r\n..\r\n.x\r\n", headers=b"From: a@src.test\r\n"),
    "long": message("@", b"0123456789abcdef\r\n" * 20000, headers=b"From: a@src.test\r\n"),
    "8bit": message("@", "Grüße\r\n".encode(), headers="From: a@src.test\r\nX: Grüße\r\n".encode()),
}


@pytest.fixture(scope="module", params=["simple/simple", "relaxed/relaxed"])
def signer(request, place, key, sink, dns):
    port = free_port()
    with running(port, *opendkim(place, "s", key, port, request.param)), site_with(sink, dns, port) as site:
        yield site


@pytest.mark.parametrize("name", CONTENTS)
def test_opendkim_signs(signer, key, sink, tag, name):
    content = CONTENTS[name].replace(b"@\r\n", tag.encode() + b"\r\n", 1)
    assert send(signer, content).code == 250
    got = sink.wait(tag)[0].content
    assert b"\r\nDKIM-Signature: v=1;" in got or got.startswith(b"DKIM-Signature: v=1;")
    assert verified(got, key)
    assert not verified(got.replace(tag.encode(), b"something else"), key)


def test_opendkim_verifies(place, key, sink, dns, tag):
    """What one has signed, the next one behind it in the same server finds good; what was changed between, bad."""
    sign, check = free_port(), free_port()
    content = message(tag, headers=b"From: a@src.test\r\nTo: b@local.test\r\n")
    with running(sign, *opendkim(place, "s", key, sign, "relaxed/simple")), running(check, *opendkim(place, "v", key, check, "relaxed/simple",
                                                                                                 "InternalHosts 192.0.2.1\n")):
        with site_with(sink, dns, sign, check) as site:
            assert send(site, content).code == 250
            good = sink.wait(tag)[0].content
        with site_with(sink, dns, check) as site:
            # what came from the first server, changed on its way
            bad = message(tag + "-changed", headers=b"X-Note: @\r\n") if b"DKIM-Signature" not in good else \
                good[good.index(b"DKIM-Signature"):].replace(b"\r\n\r\ntext", b"\r\n\r\nother text").replace(tag.encode(), tag.encode() + b"-bad")
            assert send(site, bad).code == 250
            changed = sink.wait(tag + "-bad")[0].content
    assert re.search(rb"(?s)Authentication-Results: verifier\.test;.{0,80}dkim=pass", good), good
    assert re.search(rb"(?s)Authentication-Results: verifier\.test;.{0,80}dkim=fail", changed), changed


# ---- milter-regex ----

RULES = r"""
accept mail /^trusted@/
reject "554 5.7.1 not %from you" mail /@spam\./i
tempfail helo /^later\./
reject "550 5.1.1 not this one" rcpt /^closed@/i
discard mail /^nobody@/ and rcpt /^list@/
add "X-Mark" "one" header /^subject$/i /urgent/i
add "X-Mark" "two" rcpt /^marked@/
quarantine "looks bad" body /^begin 644 .*\.exe/
reject "550 5.6.0 word" body /\bforbidden\b/ and not header /^x-allow$/i
"""


@pytest.fixture(scope="module", params=[2, 6])
def regex(request, place, sink, dns):
    if not os.access(REGEX, os.X_OK):
        pytest.skip("libmilter was not there at configure")
    port = free_port()
    rules = file(place, "rules", RULES)
    with running(port, REGEX, "-d", "-c", rules, "-p", f"inet:{port}@127.0.0.1"), site_with(
            sink, dns, port, more=f"version = {request.param};") as site:
        yield site


def test_regex_refuses(regex, tag, sink):
    with regex.client() as c:
        r = c.mail("x@SPAM.test")
        assert (r.code, r.text) == (554, "5.7.1 not %from you")
        assert c.mail("a@src.test").code == 250
        r = c.rcpt("Closed@local.test")
        assert (r.code, r.text) == (550, "5.1.1 not this one")
        assert c.rcpt("b@local.test").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250
    assert sink.wait(tag)[0].rcpts == ["b@local.test"]
    with regex.client(helo=None) as c:
        assert c.cmd("EHLO later.test").code in (250, 451)
        assert c.mail("a@src.test").code in (451, 503)


def test_regex_reads_content(regex, tag, sink):
    long = b"x" * 70000 + b"\r\n"
    no = message(tag + "-no", long[:900] + b"\r\n" + b"y\r\n" * 40000 + b"a forbidden word")
    r = send(regex, no)
    assert (r.code, r.text) == (550, "5.6.0 word")
    assert send(regex, message(tag + "-allowed", b"a forbidden word\r\n", headers=b"X-Allow: yes\r\n")).code == 250
    assert send(regex, message(tag + "-trusted", b"a forbidden word\r\n"), sender="trusted@src.test").code == 250
    assert sink.wait(tag + "-allowed") and sink.wait(tag + "-trusted") and not sink.find(tag + "-no")


def test_regex_marks(regex, tag, sink):
    assert send(regex, message("very\r\n Urgent " + tag), rcpts=("b@local.test", "marked@local.test")).code == 250
    got = sink.wait(lambda m: b"Urgent " + tag.encode() in m.content)[0]
    assert got.header.endswith(b"X-Mark: one\r\nX-Mark: two\r\n")
    assert send(regex, message(tag + "-plain")).code == 250
    assert b"X-Mark" not in sink.wait(tag + "-plain")[0].header


def test_regex_discards_and_holds(regex, tag, sink):
    assert send(regex, message(tag + "-gone"), sender="nobody@src.test", rcpts=("list@local.test",)).code == 250
    assert send(regex, message(tag + "-held", b"begin 644 a.exe\r\n")).code == 250
    assert send(regex, message(tag + "-other"), sender="nobody@src.test").code == 250
    sink.wait(tag + "-other")
    assert not sink.find(tag + "-gone") and not sink.find(tag + "-held")
    assert any("looks bad" in text for text in regex.logs_since().values())


# ---- ClamAV, with one signature of our own ----

CLAMD, CLAMAV_MILTER = "/usr/sbin/clamd", "/usr/sbin/clamav-milter"
VIRUS = b"this is a virus, says the test"


@pytest.fixture(scope="module")
def clamav(sink, dns):
    if not os.access(CLAMD, os.X_OK) or not os.access(CLAMAV_MILTER, os.X_OK):
        pytest.skip("clamav-daemon and clamav-milter are not installed")
    with open_place() as d:
        clamd, port = free_port(), free_port()
        os.mkdir(os.path.join(d, "db"), 0o755)
        file(d, "db/smx.ndb", f"Smx.Test:0:*:{VIRUS.hex()}\n")
        user = f"User {USER}\n" if os.getuid() == 0 else ""
        daemon = file(d, "clamd.conf", f"DatabaseDirectory {d}/db\nTCPSocket {clamd}\nTCPAddr 127.0.0.1\nForeground yes\n{user}")
        milter = file(d, "milter.conf", f"MilterSocket inet:{port}@127.0.0.1\nClamdSocket tcp:127.0.0.1:{clamd}\nForeground yes\n{user}"
                                        "OnInfected Reject\nRejectMsg Infected: %v\nAddHeader Replace\n")
        with running(clamd, CLAMD, "-c", daemon), running(port, CLAMAV_MILTER, "-c", milter), site_with(sink, dns, port) as site:
            yield site


def test_clamav(clamav, sink, tag):
    assert send(clamav, message(tag + "-good", b"x\r\n" * 30000, headers=b"X-Virus-Status: I say Clean\r\n")).code == 250
    r = send(clamav, message(tag + "-bad", b"x\r\n" * 30000 + VIRUS + b"\r\n"))
    assert r.code == 550 and "Infected: Smx.Test" in r.text
    got = sink.wait(tag + "-good")[0]
    assert re.findall(rb"(?m)^X-Virus-Status: ([^\r]*)", got.header) == [b"Clean"] and got.body == b"x\r\n" * 30000
    assert not sink.find(tag + "-bad")


# ---- rspamd, with two rules of our own ----

@pytest.fixture(scope="module")
def rspamd(rspamd_port, sink, dns):
    with site_with(sink, dns, rspamd_port) as site:
        yield site


def test_rspamd_knows(rspamd, sink, tag):
    """Who sent it and to whom, under which id; a field of the mail goes, one of rspamd's comes."""
    r = send(rspamd, message(tag, headers=b"X-Old: a\r\nFrom: a@src.test\r\n"), rcpts=("b@local.test", "c@local.test"))
    assert r.code == 250
    ta = re.search(r"S[0-9A-F]{18}", r.text).group(0)
    got = sink.wait(tag)[0]
    assert f"X-Facts: 127.0.0.1 client.test a@src.test 2 {ta}\r\n".encode() in got.header and b"X-Old" not in got.header


def test_rspamd_acts(rspamd, sink, tag):
    assert send(rspamd, message(tag + "-mark", headers=b"X-Score: 7\r\n")).code == 250
    assert send(rspamd, message(tag + "-subject", headers=b"X-Score: 9\r\n")).code == 250
    assert send(rspamd, message(tag + "-no", headers=b"X-Score: 16\r\n")).code == 554
    mark, subject = sink.wait(lambda m: tag.encode() + b"-mark" in m.content)[0], sink.wait(lambda m: tag.encode() + b"-subject" in m.content)[0]
    assert b"X-Spam: Yes" in mark.header and subject.subject() == f"[spam] {tag}-subject"
    assert not sink.find(lambda m: tag.encode() + b"-no" in m.content)
