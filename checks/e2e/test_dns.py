"""smar's resolver against name servers that lie, stall and babble: a failed look-up is a 4xx or a retry, never a 5xx nor a report.

Domains *.d.test have no entry in the mailertable, so that they go by MX and A. What a DNS name of a real site points to is not reachable
here; what counts is the fate: deferred (content stays, no report) or refused for good (a report).
"""
import struct
import time
import zlib

import pytest
from lib.dns import CNAME, MX, TXT, A, Dns
from lib.client import message
from lib.site import Site
from lib.wait import PATIENCE, SLOW, never, until

pytestmark = pytest.mark.inside

N = 60


@pytest.fixture(scope="module")
def dnsd():
    d = Dns()
    d.fallback = lambda name, qtype: ([A("192.0.2.1")] if qtype == "A" else []) if name.endswith(".test") else "NXDOMAIN"
    yield d
    d.stop()


@pytest.fixture(scope="module")
def site(sink, dnsd):
    domains = [f"n{i}.d.test" for i in range(N)]
    with Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test", *domains],
              dns=dnsd.address, settings={"smar.DNS_timeout": "2s"}) as s:
        yield s


_next = iter(range(N))


@pytest.fixture
def domain():
    return f"n{next(_next)}.d.test"


def question(query):
    """The packet's question section as bytes."""
    at = 12
    while query[at]:
        at += 1 + query[at]
    return query[12:at + 5]


def packet(query, answers=b"", ancount=None, flags=0x8580, rcode=0, tc=False):
    n = ancount if ancount is not None else 1
    return query[:2] + struct.pack(">HHHHH", flags | rcode | (0x200 if tc else 0), 1, n, 0, 0) + question(query) + answers


def record(rtype, rdata, rdlength=None, name=b"\xc0\x0c", ttl=60):
    return name + struct.pack(">HHIH", rtype, 1, ttl, len(rdata) if rdlength is None else rdlength) + rdata


def fate(site, sink, domain, tag):
    """"deferred", "reported", or the code that refused it at RCPT."""
    marks = site.log_marks()
    with site.client() as c:
        assert c.mail(f"s-{domain}@src.test").code == 250
        r = c.rcpt(f"x@{domain}")
        if r.code != 250:
            return r.code
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250

    def known():
        if sink.reports(f"s-{domain}@src.test"):
            return "reported"
        if any(f"rcpt=<x@{domain}>" in line and "stat=deferred" in line for line in site.logs_since(marks)["qmgr.log"].split("\n")):
            return "deferred"
        return None
    return until(known, f"x@{domain} put off or reported", PATIENCE)


def give_up(site, dnsd, domain):
    """End the deferred mail: now the domain is known not to be."""
    dnsd.forget(domain)
    dnsd.rcode(domain, "NXDOMAIN")


TEMPORARY = ("deferred", 450, 451, 421)
PERMANENT = ("reported", 550, 556, 553)

ERRORS = ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"]


@pytest.mark.parametrize("word", ERRORS)
def test_error_is_temporary(site, sink, dnsd, domain, tag, word):
    dnsd.rcode(domain, word)
    assert fate(site, sink, domain, tag) in TEMPORARY
    give_up(site, dnsd, domain)


def test_nxdomain_is_permanent(site, sink, dnsd, domain, tag):
    dnsd.rcode(domain, "NXDOMAIN")
    assert fate(site, sink, domain, tag) in PERMANENT


def test_no_data_is_permanent(site, sink, dnsd, domain, tag):
    dnsd.add(domain, TXT("neither MX nor address"))
    assert fate(site, sink, domain, tag) in PERMANENT


def test_null_mx(site, sink, dnsd, domain, tag):
    """RFC 7505."""
    dnsd.add(domain, MX("", 0))
    f = fate(site, sink, domain, tag)
    assert f in PERMANENT, f


def test_no_answer_is_temporary(site, sink, dnsd, domain, tag):
    dnsd.raw(domain, lambda q: None)
    assert fate(site, sink, domain, tag) in TEMPORARY
    give_up(site, dnsd, domain)


def test_mx_host_without_answer(site, sink, dnsd, domain, tag):
    dnsd.add(domain, MX("silent." + domain, 10))
    dnsd.raw("silent." + domain, lambda q: None)
    assert fate(site, sink, domain, tag) in TEMPORARY
    give_up(site, dnsd, domain)


def test_mx_host_that_is_not(site, sink, dnsd, domain, tag):
    """All exchangers are proven not to exist: no sense in waiting days; yet a retry harms nobody."""
    dnsd.add(domain, MX("no." + domain, 10))
    dnsd.rcode("no." + domain, "NXDOMAIN")
    assert fate(site, sink, domain, tag) in TEMPORARY + PERMANENT


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "0.0.0.0", "255.255.255.255", "224.0.0.1"])
def test_loopback_and_no_host_addresses(site, sink, dnsd, domain, tag, address):
    """An MX that points to ourselves, to nobody or to everybody: never connected to."""
    dnsd.add(domain, MX("mx." + domain, 10))
    dnsd.add("mx." + domain, A(address))
    n = sink.connections
    f = fate(site, sink, domain, tag)
    assert f in PERMANENT + TEMPORARY, f
    if address.startswith(("127.", "0.")):
        assert f in PERMANENT, f
    assert sink.connections <= n + 1  # the report
    give_up(site, dnsd, domain)


def test_mx_is_our_own_name(site, sink, dnsd, domain, tag):
    dnsd.add(domain, MX("mx.test", 10))
    assert fate(site, sink, domain, tag) in PERMANENT


def test_cname_loop(site, sink, dnsd, domain, tag):
    dnsd.add(domain, CNAME("b." + domain))
    dnsd.add("b." + domain, CNAME(domain))
    assert fate(site, sink, domain, tag) in PERMANENT + TEMPORARY
    give_up(site, dnsd, domain)


PACKETS = [
    ("empty", lambda q: b""),
    ("11-bytes", lambda q: q[:11]),
    ("header-only", lambda q: q[:2] + b"\x85\x80" + bytes(8)),
    ("other-id", lambda q: bytes([q[0] ^ 255, q[1]]) + packet(q, record(15, b"\0\1\2mx\0"))[2:]),
    ("other-question", lambda q: packet(q, record(15, b"\0\1\2mx\0")).replace(b"\x01d", b"\x01e")),
    ("pointer-to-itself", lambda q: packet(q, b"\xc0" + bytes([len(question(q)) + 12]) + struct.pack(">HHIH", 15, 1, 60, 4) + b"\0\1\xc0\x0c")),
    ("pointer-forward", lambda q: packet(q, b"\xc0\xff" + struct.pack(">HHIH", 15, 1, 60, 4) + b"\0\1\xc0\x0c")),
    ("pointer-in-rdata-to-itself", lambda q: packet(q, record(15, b"\0\1\xc0" + bytes([12 + len(question(q)) + 14])))),
    ("pointer-chain", lambda q: packet(q, record(15, b"\0\1\xc0" + bytes([12 + len(question(q)) + 14]) +
                                                  b"".join(b"\xc0" + bytes([min(255, 12 + len(question(q)) + 16 + 2 * i)]) for i in range(100))))),
    ("label-64", lambda q: packet(q, record(15, b"\0\1\x40" + b"a" * 64 + b"\0"))),
    ("name-over-255", lambda q: packet(q, record(15, b"\0\1" + (b"\x3f" + b"a" * 63) * 5 + b"\0"))),
    ("ancount-65535", lambda q: packet(q, b"", 65535)),
    ("ancount-65535-one-record", lambda q: packet(q, record(15, b"\0\1\xc0\x0c"), 65535)),
    ("mx-rdlength-0", lambda q: packet(q, record(15, b""))),
    ("mx-rdlength-1", lambda q: packet(q, record(15, b"\0"))),
    ("mx-rdlength-2", lambda q: packet(q, record(15, b"\0\1"))),
    ("mx-rdlength-beyond", lambda q: packet(q, record(15, b"\0\1\2mx\0", 500))),
    ("mx-rdlength-65535", lambda q: packet(q, record(15, b"\0\1\2mx\0", 65535))),
    ("truncated-in-rr", lambda q: packet(q, record(15, b"\0\1\2mx\0")[:7])),
    ("tc-and-tcp-refused", lambda q: packet(q, b"", 0, tc=True)),
    ("no-response-bit", lambda q: packet(q, record(15, b"\0\1\2mx\0"), flags=0x0100)),
    ("junk", lambda q: q[:2] + bytes(range(256)) * 4),
]


@pytest.mark.parametrize("answer", [p[1] for p in PACKETS], ids=[p[0] for p in PACKETS])
def test_broken_packet(site, sink, dnsd, tag, answer, request):
    """Temporary for that name; other names, and the resolver, are not touched. Asked as a sender, so that no domain of the pool is needed."""
    name = f"p{zlib.crc32(request.node.name.encode())}.p.test"
    dnsd.raw(name, answer)
    dnsd.tcp(name, lambda q: None)
    start = time.monotonic()
    with site.client() as c:
        r = c.mail("a@" + name)
        assert r.code in (250, 450, 451, 421), r
    assert time.monotonic() - start < 15 * SLOW
    site.canary(sink)


BAD_NAMES = [b"a\nb", b"a\0b", b'a"b', b"a(b", b"a b", b"\xff\xfe", b"%s%n", b"/../..", b"-a", b"a,b=c", b"<script>"]


@pytest.mark.parametrize("label", BAD_NAMES, ids=[repr(b)[2:-1] for b in BAD_NAMES])
def test_bad_host_names(site, sink, dnsd, tag, label):
    """A name from DNS is checked before it gets anywhere."""
    name = f"bad{zlib.crc32(label)}.p.test"
    dnsd.raw(name, lambda q: packet(q, record(15, b"\0\1" + bytes([len(label)]) + label + b"\4test\0")))
    with site.client() as c:
        r = c.mail("a@" + name)
        assert r.code in (250, 450, 451, 421, 550, 553, 501), r
    site.canary(sink)


TCP = [
    ("refused", lambda q: None),
    ("one-length-byte", lambda q: [b"\0"]),
    ("header-then-close", lambda q: [b"\x00\x40", q[:12]]),
    ("zero-length", lambda q: [b"\0\0"]),
    ("length-65535", lambda q: [b"\xff\xff", q]),
]


@pytest.mark.parametrize("pieces", [t[1] for t in TCP], ids=[t[0] for t in TCP])
def test_truncated_then_bad_tcp(site, sink, dnsd, domain, tag, pieces):
    dnsd.raw(domain, lambda q: packet(q, b"", 0, tc=True))
    dnsd.tcp(domain, pieces)
    assert fate(site, sink, domain, tag) in TEMPORARY
    give_up(site, dnsd, domain)


def test_large_answer_over_tcp(site, sink, dnsd, domain, tag):
    """More MX records than fit into UDP: asked again by TCP."""
    dnsd.add(domain, *[MX(f"mx{i}.with-a-long-name-{i}.{domain}", i) for i in range(80)])
    f = fate(site, sink, domain, tag)
    assert f in TEMPORARY + PERMANENT
    assert (domain, "MX", "tcp") in dnsd.asked
    give_up(site, dnsd, domain)


@pytest.mark.parametrize("ttl", [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])
def test_ttl(site, sink, dnsd, tag, ttl):
    name = f"ttl{ttl}.p.test"
    dnsd.raw(name, lambda q: packet(q, record(15, b"\0\1\xc0\x0c", ttl=ttl)))
    with site.client() as c:
        for _ in range(3):
            r = c.mail("a@" + name)
            assert r.code in (250, 450, 451), r
            c.cmd("RSET")
    site.canary(sink)


def test_flip_flop(site, sink, dnsd, domain, tag):
    """SERVFAIL, timeout, SERVFAIL: deferred as long as nothing is proven; then NXDOMAIN: reported."""
    dnsd.rcode(domain, "SERVFAIL")
    assert fate(site, sink, domain, tag) in TEMPORARY
    dnsd.forget(domain)
    dnsd.raw(domain, lambda q: None)
    never(lambda: sink.reports(f"s-{domain}@src.test"), "a report", 3)
    give_up(site, dnsd, domain)
    until(lambda: sink.reports(f"s-{domain}@src.test"), "the report", 40)


def test_name_server_is_away(site, sink, dnsd, domain, tag):
    """All queries unanswered: mail that needs DNS waits or is put off, mail that needs none flows."""
    dnsd.silent = True
    try:
        assert fate(site, sink, domain, tag) in TEMPORARY
        site.canary(sink)
    finally:
        dnsd.silent = False
    give_up(site, dnsd, domain)


def test_many_broken_answers_cost_nothing(site, sink, dnsd):
    dnsd.fallback, old = (lambda name, qtype: []), dnsd.fallback
    raws = [p[1] for p in PACKETS if p[0] not in ("empty", "11-bytes", "other-id", "no-response-bit", "tc-and-tcp-refused")]
    try:
        def round_(start, n):
            for i in range(start, start + n):
                dnsd.raw(f"m{i}.p.test", raws[i % len(raws)])
                with site.client() as c:
                    assert c.mail(f"a@m{i}.p.test").code in (250, 450, 451, 421)
        round_(0, 30)
        before = site.snapshot()
        round_(30, 60)
        before.leaks(kb=4096, fds=6)
    finally:
        dnsd.fallback = old
    site.canary(sink)
