"""Filters that speak the milter protocol: what they are told, what they may say and change, and what becomes of mail when they misbehave."""
import re

import pytest
from lib.client import message
from lib.milter import Milter
from lib.site import Site

pytestmark = pytest.mark.inside


def add_to_smtps(site, text):
    """More of the section smtps."""
    with open(site.conf) as f:
        conf = f.read()
    conf, n = re.subn(r"(?m)^smtps \{$", lambda m: m.group(0) + "\n" + text, conf, count=1)
    assert n == 1
    with open(site.conf, "w") as f:
        f.write(conf)


def make_site(sink, dns, *sections, **kw):
    s = Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test"], dns=dns.address, **kw)
    add_to_smtps(s, "".join(sections))
    return s


@pytest.fixture(scope="module")
def milter():
    with Milter() as m:
        yield m


@pytest.fixture(scope="module")
def own(sink, dns, milter):
    with make_site(sink, dns, milter.section("first", timeout="2s", content_timeout="2s", end_timeout="2s", connect_timeout="2s")) as s:
        yield s


@pytest.fixture(autouse=True)
def well_behaved(milter):
    milter.reset()
    yield
    milter.reset()


def test_passes_mail(own, milter, sink, tag):
    with own.client() as c:
        assert c.send_mail("a@src.test", ["b@local.test", "c@local.test"], message(tag)).code == 250
        s = milter.seen("OCHMRRTLNBE")
        c.quit()
    sink.wait(tag)
    milter.seen("Q", s)
    assert s.offered == (6, 0x1ff, 0x1fffff)
    assert s.headers() == [("Subject", tag)] and s.body() == b"text\r\n"
    assert s.of("M")[0].texts == ["<a@src.test>"] and [e.texts for e in s.of("R")] == [["<b@local.test>"], ["<c@local.test>"]]
