"""Sites whose mail a filter of ours sees (lib/milter.py), and what arrives behind it. For tests: fixtures `milter`, `own` and `well_behaved`."""
import re

import pytest

from .client import message
from .milter import Milter
from .site import Site

SHORT = {"timeout": "2s", "content_timeout": "2s", "end_timeout": "2s", "connect_timeout": "2s"}


def make_site(sink, dns, *sections, **kw):
    s = Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test"], dns=dns.address, **kw)
    s.add("smtps", "".join(sections))
    return s


@pytest.fixture(scope="module")
def milter():
    with Milter() as m:
        yield m


@pytest.fixture(scope="module")
def own(sink, dns, milter):
    with make_site(sink, dns, milter.section("first", **SHORT)) as s:
        yield s


@pytest.fixture(autouse=True)
def well_behaved(request):
    if "milter" not in request.fixturenames:
        yield
        return
    milter = request.getfixturevalue("milter")
    milter.reset()
    yield
    milter.reset()


def send(site, tag, content=None, rcpts=("b@local.test",), sender="a@src.test"):
    """One mail; the final reply, or that of the command that was refused."""
    with site.client() as c:
        r = c.mail(sender)
        for rcpt in rcpts:
            r = c.rcpt(rcpt) if r.code == 250 else r
        r = c.cmd("DATA") if r.code == 250 else r
        return c.finish(content or message(tag)) if r.code == 354 else r


def fields(content):
    """The header of what arrived, folded as it came, without the trace of this host and its sink."""
    head = content.partition(b"\r\n\r\n")[0].decode()
    got = re.split(r"\r\n(?![ \t])", head)
    return got


def arrived(sink, tag):
    m = sink.wait(tag)[0]
    return m, fields(m.content), m.content.partition(b"\r\n\r\n")[2]


def without_ours(got):
    """All but the Received: of this host."""
    return [f for f in got if not f.startswith("Received: from")]
