"""Postfix at both ends: what it sends with SMTPUTF8 arrives, and it takes our chunks and addresses as they were."""
import os

import pytest
from lib.client import Client, message
from lib.contents import CONTENTS
from lib.debian import Unavailable
from lib.postfix import Postfix
from lib.sink import Serve, Sink
from lib.site import Site

pytestmark = [pytest.mark.inside, pytest.mark.skipif(os.getuid() != 0, reason="Postfix needs root")]

EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE\r\n"


@pytest.fixture(scope="module")
def ends():
    """(site, postfix, sink): mail for *.p.test goes from smx to Postfix, for *.s.test from Postfix to smx; both pass it on to the sink."""
    with Sink() as sink:
        sink.default = Serve({"EHLO": EHLO})
        with Site(routes=["p.test 25^esmtp:[127.0.0.1]", f".p.test 25^esmtp:[127.0.0.1]", f". {sink.port}^esmtp:[127.0.0.1]"],
                  relay=["p.test", ".p.test", "s.test", ".s.test", "bücher.test"], settings={"smtpc.session_idle_timeout": "0s"}) as site:
            try:
                postfix = Postfix({"s.test": site.port, ".s.test": site.port, "*": sink.port},
                                  ["message_size_limit = 30000000", "smtpd_relay_restrictions = permit_mynetworks, reject"])
            except Unavailable as e:
                pytest.skip(str(e))
            with postfix:
                with open(os.path.join(site.dir, "mt")) as f:
                    table = f.read().replace(" 25^esmtp:", f" {postfix.port}^esmtp:")
                with open(os.path.join(site.dir, "mt"), "w") as f:
                    f.write(table)
                site.reload()
                yield site, postfix, sink


def smx(ends):
    return ends[0].client()


def test_it_offers_what_we_use(ends):
    with Client(ends[1].port) as c:
        assert {"CHUNKING", "SMTPUTF8", "8BITMIME", "DSN"} <= set(c.extensions)


@pytest.mark.parametrize("name", sorted(CONTENTS))
def test_contents_by_bdat(ends, tag, name):
    site, postfix, sink = ends
    content = message(tag) + CONTENTS[name]
    with smx(ends) as c:
        assert c.send_mail("a@src.test", "b@p.test", content).code == 250
    got, = sink.wait(tag)
    assert got.without_trace() == content
    assert b"(Postfix)" in got.header


def test_utf8_to_postfix(ends, tag):
    site, postfix, sink = ends
    content = f"Subject: {tag}\r\nX: Grüße\r\n\r\nGrüße\r\n".encode()
    with smx(ends) as c:
        assert c.mail("jörg@bücher.test", " SMTPUTF8 BODY=8BITMIME").code == 250
        assert c.rcpt("müller@p.test").code == 250
        assert c.rcpt("wärter@例子.p.test").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(content).code == 250
    got = sink.wait(tag, 2 if len(sink.find(tag)) == 2 else 1)
    assert {m.sender for m in got} == {"jörg@bücher.test"}
    sink.wait(lambda m: m.subject() == tag and "wärter@例子.p.test" in m.rcpts)
    sink.wait(lambda m: m.subject() == tag and "müller@p.test" in m.rcpts)
    assert all(m.without_trace() == content for m in sink.find(tag))
    assert all(b"with UTF8SMTP" in m.header for m in sink.find(tag))


def test_utf8_from_postfix(ends, tag):
    site, postfix, sink = ends
    content = f"Subject: {tag}\r\nX: Grüße\r\n\r\nGrüße\r\n".encode()
    with Client(postfix.port) as c:
        assert c.mail("jörg@bücher.test", " SMTPUTF8").code == 250
        assert c.rcpt("müller@bücher.s.test").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(content).code == 250
    got, = sink.wait(tag)
    assert (got.sender, got.rcpts) == ("jörg@bücher.test", ["müller@bücher.s.test"])
    assert got.without_trace() == content
    assert b"by mx.test (smx" in got.header and b"(Postfix) with UTF8SMTP" in got.header


def test_ascii_from_postfix(ends, tag):
    site, postfix, sink = ends
    with Client(postfix.port) as c:
        assert c.send_mail("a@src.test", "b@s.test", message(tag)).code == 250
    got, = sink.wait(tag)
    assert got.without_trace() == message(tag) and got.header.isascii()


def test_refused_by_postfix(ends, tag):
    """Its no to a chunk is the sender's report."""
    site, postfix, sink = ends
    with smx(ends) as c:
        assert c.send_mail("a@src.test", "b@p.test", message(tag, headers=b"Received: from x\r\n\tby y\r\n" * 49)).code == 250
        assert c.mail("a@src.test", " BODY=8BITMIME").code == 250
    got, = sink.wait(lambda m: m.sender == "" and tag.encode() in m.content)
    assert b"Status: 5." in got.content
