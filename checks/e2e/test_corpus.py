"""Mails of others (lib/corpus.py) through filters: each arrives once, with the same bytes but for what a filter has changed; signatures hold."""
import concurrent.futures
import re

import pytest
from lib import testfilter
from lib.corpus import mails, parts
from lib.debian import Unavailable
from lib.filters import DOMAIN, SELECTOR, file, key, opendkim, place, rspamd_port, running, send, site_with, verified  # noqa: F401 (fixtures)
from lib.paths import free_port
from lib.sink import Sink
from lib.testfilter import TestFilter

pytestmark = pytest.mark.inside

RECEIVED = re.compile(rb"(?s)Received: from client\.test .*?;\r\n\t[^\r\n]*\r\n")  # ours


@pytest.fixture(scope="module")
def corpus():
    try:
        found = mails()
    except Unavailable as e:
        pytest.skip(str(e))
    assert len(found) > 250
    return found


@pytest.fixture
def others():
    """A sink that gets nothing but the corpus."""
    with Sink() as s:
        yield s


@pytest.fixture
def flt():
    if not testfilter.available():
        pytest.skip("libmilter was not there at configure")
    with TestFilter() as f:
        yield f


def through(site, sink, corpus, before=None):
    """Sends all: one by one, with `before` called, or some at a time. {name: what left}."""
    rcpts = {f"m{n}@local.test": name for n, name in enumerate(corpus)}

    def one(rcpt):
        if before:
            before(rcpts[rcpt])
        r = send(site, corpus[rcpts[rcpt]], rcpts=[rcpt])
        assert r.code == 250, (rcpts[rcpt], r)
    with concurrent.futures.ThreadPoolExecutor(1 if before else 8) as pool:
        list(pool.map(one, rcpts))
    site.wait_empty(60)
    assert sorted(m.rcpts for m in sink.accepted) == sorted([r] for r in rcpts)
    return {rcpts[m.rcpts[0]]: m.content for m in sink.accepted}


def ours(content):
    """The Received field that smtps has put in front."""
    return RECEIVED.search(content).group()


def taken(content):
    """What smtps makes of it: a first line that begins with white space is body, not the rest of its Received."""
    return b"\r\n" + content if content[:1] in (b" ", b"\t") else content


def told(content):
    """What a filter is told of it: fields as libmilter gives them, and the body."""
    fields, rest = parts(taken(content))
    header = [re.fullmatch(r"(?s)([^: \t]+)[ \t]*: ?(.*)\r\n", f.decode("latin-1")).groups() for f in fields]
    return [(name, value.replace("\r\n", "\n")) for name, value in header], rest.removeprefix(b"\r\n").decode("latin-1")


def test_nothing_changed(corpus, flt, others, dns):
    """The filter is told all of it, and what it leaves alone is left alone."""
    with site_with(others, dns, flt.port) as site:
        left = through(site, others, corpus)
    for name, content in corpus.items():
        assert left[name] == ours(left[name]) + taken(content), name
    sessions = {s.of("rcpt")[0][0]: s for s in flt.sessions().values() if s.of("rcpt")}
    for n, (name, content) in enumerate(corpus.items()):
        s = sessions[f"<m{n}@local.test>"]
        assert ([(f, v.replace("\r\n", "\n")) for f, v in s.of("header")], s.body()) == told(content), name


def turned(content):
    """Another body, as odd as the one it had: its lines, turned around."""
    lines = parts(taken(content))[1].removeprefix(b"\r\n")[:60000].split(b"\r\n")
    return b"".join(line[::-1] + b"\r\n" for line in lines)


@pytest.mark.parametrize("body", [False, True], ids=["header", "header-and-body"])
def test_changed(corpus, flt, others, dns, body):
    """A field comes at each end of the header, the first Subject is another, and perhaps the body: all else is as it was."""
    def orders(name):
        flt.orders(("eom", "insheader", 0, "X-First", "1"), ("eom", "addheader", "X-Last", "folded\n\tonce"), ("eom", "chgheader", 1, "Subject", "other"),
                   *([("eom", "body", turned(corpus[name]))] if body else []))

    def expected(received, content):
        fields, rest = parts(taken(content))
        subject = next((i for i, f in enumerate(fields) if re.match(rb"(?i)subject[ \t]*:", f)), None)
        if subject is None:
            fields.append(b"X-Last: folded\r\n\tonce\r\n")
            fields.append(b"Subject: other\r\n")
        else:
            fields[subject] = re.match(rb"[^: \t]+", fields[subject]).group() + b": other\r\n"
            fields.append(b"X-Last: folded\r\n\tonce\r\n")
        return b"X-First: 1\r\n" + received + b"".join(fields) + (b"\r\n" + turned(content) if body else rest)
    with site_with(others, dns, flt.port) as site:
        left = through(site, others, corpus, orders)
    for name, content in corpus.items():
        assert left[name] == expected(ours(left[name]), content), name


@pytest.mark.parametrize("canonicalization", ["simple/simple", "relaxed/relaxed"])
def test_signed(corpus, key, place, rspamd_port, flt, others, dns, canonicalization):  # noqa: F811
    """What one filter has changed and the next one as well is signed by the last: the signature holds for what leaves, and without it that is what came."""
    port = free_port()
    tables = f"SigningTable refile:{file(place, 'signing', '* ours')}\nKeyTable {file(place, 'keytable', f'ours {DOMAIN}:{SELECTOR}:{key[0]}')}\n"
    flt.orders(("eom", "addheader", "X-Last", "1"))
    with running(port, *opendkim(place, "s", key, port, canonicalization, tables)), site_with(others, dns, flt.port, rspamd_port, port) as site:
        left = through(site, others, corpus)
    signed = []
    for name, content in corpus.items():
        fields, rest = parts(left[name])
        top, fields = fields[:fields.index(ours(left[name]))], fields[fields.index(ours(left[name])):]
        added = [f for f in fields if re.match(rb"X-Last: 1\r\n|X-Facts: 127\.0\.0\.1 ", f)]
        assert len(added) == 2 and b"".join(f for f in fields if f not in added) + rest == ours(left[name]) + taken(content), name
        # what it cannot sign, because there is no author, it says it has looked at
        assert [t[:t.index(b":")] for t in top] in ([b"DKIM-Signature"], [b"Authentication-Results"]), (name, top)
        if top[0].startswith(b"DKIM") and rest.startswith(b"\r\n"):  # python3-dkim reads no header without an end
            assert verified(left[name], key), name
            signed.append(name)
    assert len(signed) > 180
