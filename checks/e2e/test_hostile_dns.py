"""Name servers that lie, byte by byte, for each type of record that smar asks for, while mail flows.

What smar believes of an answer is told by smarctl; what a client is told follows: a sender whose domain cannot be looked up gets a 4xx, never a
5xx, mail for others flows as before, nothing grows, and no byte of a lie gets anywhere. SMX_DNS_ROUNDS is how often all lies are told under load.
"""
import json
import os
import struct
import subprocess
import threading
import time

import pytest
from lib.client import message
from lib.dns import MX, A, Dns
from lib.paths import free_port
from lib.site import Site
from lib.wait import SLOW

pytestmark = pytest.mark.inside

ROUNDS = int(os.environ.get("SMX_DNS_ROUNDS", "2"))
TYPES = {"A": 1, "PTR": 12, "MX": 15, "AAAA": 28}


# ---- packets ----

def question(q):
    at = 12
    while q[at]:
        at += 1 + q[at]
    return q[12:at + 5]


def head(q, answers=1, rcode=0, flags=0x8180):
    return q[:2] + struct.pack(">HHHHH", flags | rcode, 1, answers, 0, 0) + question(q)


def record(rtype, rdata, length=None, name=b"\xc0\x0c", ttl=60):
    return name + struct.pack(">HHIH", rtype, 1, ttl, len(rdata) if length is None else length) + rdata


def name_of(*labels):
    return b"".join(bytes([len(x)]) + x for x in labels) + b"\0"


def rdata(rtype, name):
    """Of a type that holds a name."""
    return (b"\0\x0a" if rtype == 15 else b"") + name


def good(rtype):
    return {1: b"\xc0\0\2\1", 28: bytes(15) + b"\1"}.get(rtype) or rdata(rtype, name_of(b"mx", b"test"))


def here(q):
    """Offset of the first answer."""
    return 12 + len(question(q))


# (name, what is answered to a question q of type t). A78: packets
PACKETS = [
    ("empty", lambda q, t: b""),
    ("11-bytes", lambda q, t: q[:11]),
    ("header", lambda q, t: q[:2] + b"\x81\x80" + bytes(8)),
    ("not-an-answer", lambda q, t: head(q, 1, flags=0x0100) + record(t, good(t))),
    ("other-number", lambda q, t: bytes([q[0] ^ 1]) + head(q)[1:] + record(t, good(t))),
    ("other-question", lambda q, t: head(q)[:12] + name_of(b"other", b"test") + struct.pack(">HH", t, 1) + record(t, good(t))),
    ("other-type", lambda q, t: head(q)[:-4] + struct.pack(">HH", 16, 1) + record(t, good(t))),
    ("two-questions", lambda q, t: q[:2] + struct.pack(">HHHHH", 0x8180, 2, 1, 0, 0) + question(q) * 2 + record(t, good(t))),
    ("junk", lambda q, t: q[:2] + b"\x81\x80" + os.urandom(300)),
    ("all-ones", lambda q, t: q[:2] + b"\xff" * 400),
    # A79: names and counts
    ("pointer-to-itself", lambda q, t: head(q) + record(t, good(t), name=struct.pack(">H", 0xC000 | here(q)))),
    ("pointer-forward", lambda q, t: head(q) + record(t, good(t), name=struct.pack(">H", 0xC000 | here(q) + 4))),
    ("pointer-beyond", lambda q, t: head(q) + record(t, good(t), name=b"\xff\xff")),
    ("two-pointers", lambda q, t: head(q, 2) + record(t, good(t), name=struct.pack(">H", 0xC000 | here(q) + 16)) * 2),
    ("chain-of-126", lambda q, t: head(q, 2) + chain(q, 126, t)),
    ("label-64", lambda q, t: head(q) + record(t, good(t), name=b"\x40" + b"a" * 64 + b"\0")),
    ("label-type-80", lambda q, t: head(q) + record(t, good(t), name=b"\x80\x0c")),
    ("name-of-256", lambda q, t: head(q) + record(t, good(t), name=(b"\x3f" + b"a" * 63) * 4 + b"\0")),
    ("name-without-end", lambda q, t: head(q) + b"\x05aaaaa"),
    ("65535-announced", lambda q, t: head(q, 65535)),
    ("65535-and-one-there", lambda q, t: head(q, 65535) + record(t, good(t))),
    # A81: lengths
    ("length-beyond", lambda q, t: head(q) + record(t, good(t), length=500)),
    ("length-65535", lambda q, t: head(q) + record(t, good(t), length=65535)),
    ("cut-in-a-record", lambda q, t: head(q) + record(t, good(t))[:7]),
    ("length-0", lambda q, t: head(q) + record(t, b"")),
    ("length-1", lambda q, t: head(q) + record(t, good(t)[:1])),
    ("length-2", lambda q, t: head(q) + record(t, good(t)[:2])),
    ("one-byte-missing", lambda q, t: head(q) + record(t, good(t)[:-1])),
    ("one-byte-more", lambda q, t: head(q) + record(t, good(t) + b"\0")),
    # A84: refusals
    ("servfail", lambda q, t: head(q, 0, 2)),
    ("refused", lambda q, t: head(q, 0, 5)),
    ("formerr", lambda q, t: head(q, 0, 1)),
    ("notimp", lambda q, t: head(q, 0, 4)),
    ("rcode-15", lambda q, t: head(q, 0, 15)),
    ("referral", lambda q, t: head(q, 0, flags=0x8100)),
    ("no-answer", lambda q, t: None),
    # chains of names
    ("cname-to-itself", lambda q, t: head(q) + record(5, b"\xc0\x0c")),
    ("cname-to-the-root", lambda q, t: head(q) + record(5, b"\0")),
    ("cname-cut", lambda q, t: head(q) + record(5, b"\x04ab", 3)),
    ("cnames-for-ever", lambda q, t: head(q, 12) + cnames(12)),
]


def chain(q, n, t):
    """Pointers, each to the one before, in a record of a strange type; behind it a record whose owner is their end."""
    at = here(q) + 12
    links = b"\xc0\x0c" + b"".join(struct.pack(">H", 0xC000 | at + 2 * i) for i in range(n - 1))
    return record(0xFF00, links) + record(t, good(t), name=struct.pack(">H", 0xC000 | at + 2 * (n - 1)))


def cnames(n):
    out, owner = b"", b"\xc0\x0c"
    for i in range(n):
        target = name_of(b"c%d" % i, b"lies", b"test")
        out += record(5, target, name=owner)
        owner = target
    return out


# A82: what stands where a host name should
NAMES = [b"a\nb", b"a\r\nX-Evil: 1", b"a\0b", b'a"b', b"a(b", b"a b", b"\xff\xfe", b"%s%n", b"/../..", b"-a", b"a,b=c", b"<script>", b"a;rm", b"`id`", b"$(id)"]
for label in NAMES:
    for kind, rtype in (("mx", 15), ("ptr", 12), ("cname", 5)):
        PACKETS.append((f"{kind}-to-{label!r}"[:40], lambda q, t, label=label, rtype=rtype: head(q) + record(rtype, rdata(rtype, name_of(label, b"test")))))

# A78: TCP, after a truncated answer by UDP
TCP = [
    ("closed", lambda q, t: None),
    ("one-byte", lambda q, t: [b"\0"]),
    ("length-only", lambda q, t: [b"\0\x40"]),
    ("header-only", lambda q, t: [b"\0\x40" + q[:12]]),
    ("zero-length", lambda q, t: [b"\0\0"]),
    ("length-65535", lambda q, t: [b"\xff\xff" + q]),
    ("drips", lambda q, t: [x for b in b"\0\x40" + q[:20] for x in (bytes([b]), 0.2)]),
    ("stands-still", lambda q, t: [b"\0", 8]),
    ("truncated-again", lambda q, t: head(q, 0, flags=0x8380)),
]


def fits(name, rtype):
    if name.startswith("mx-to"):
        return rtype == "MX"
    if name.startswith("ptr-to"):
        return rtype == "PTR"
    return True


CASES = [(name, rtype, lie, None) for rtype in TYPES for name, lie in PACKETS if fits(name, rtype)]
CASES += [(f"tcp-{name}", rtype, lambda q, t: head(q, 0, flags=0x8380), lie) for rtype in ("A", "MX") for name, lie in TCP]


def tell(dnsd, name, rtype, lie, tcp):
    """Only questions of this type are lied to; others have no data."""
    code = TYPES[rtype]

    def by(f):
        return lambda q: f(q, code) if question(q)[-4:-2] == struct.pack(">H", code) else head(q, 0)
    dnsd.raw(name, by(lie))
    if tcp:
        dnsd.tcp(name, by(tcp))


@pytest.fixture(scope="module")
def dnsd():
    d = Dns()
    d.add("src.test", A("192.0.2.1"))
    d.add("good.test", MX("mx.good.test", 10))
    d.add("mx.good.test", A("192.0.2.2"))
    yield d
    d.stop()


def settings(**more):
    return {"smtps.flags": "{ access }", "smar.DNS_timeout": "1s", "smtps.max_transactions": "1000", **more}


ROUTES = ("local.test", "src.test")


@pytest.fixture(scope="module")
def site(sink, dnsd):
    with Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ROUTES], relay=["local.test"], dns=dnsd.address, settings=settings()) as s:
        yield s


def ask(site, name, rtype):
    """(exit status, the answer) of smarctl."""
    r = subprocess.run([*site.prefix, os.path.join(site.dir, "smarctl"), "-j", "dns", name, rtype], capture_output=True, cwd=site.dir, timeout=60 * SLOW)
    lines = [json.loads(x) for x in r.stdout.splitlines()]
    assert len(lines) == 1, (r.stdout, r.stderr)
    return r.returncode, lines[0]


_number = iter(range(10 ** 6))


def fresh(rtype):
    return f"n{next(_number)}.lies.test"


@pytest.mark.parametrize("rtype", TYPES)
def test_no_lie_is_believed(site, sink, dnsd, rtype):
    """Each one is a failure that passes, soon, of this question alone."""
    wrong = []
    cases = [c for c in CASES if c[1] == rtype]
    # side by side: those that are not answered take their time
    results = {}

    def one(case):
        name = fresh(rtype)
        tell(dnsd, name, rtype, case[2], case[3])
        began = time.monotonic()
        results[case[0]] = (*ask(site, name, rtype), time.monotonic() - began)
    for i in range(0, len(cases), 12):
        threads = [threading.Thread(target=one, args=(c,)) for c in cases[i:i + 12]]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        status, answer = ask(site, "good.test", "MX")
        assert status == 0 and answer["records"], answer
    for case in cases:
        status, answer, took = results.get(case[0], (None, None, 0))
        if status != 75 or answer["result"] != "failed" or answer["records"] or not answer["why"] or took > 10 * SLOW:
            wrong.append((case[0], status, answer, round(took, 1)))
    assert not wrong, wrong
    site.canary(sink)


def test_good_records_beside_bad_ones(site, dnsd):
    """A malformed record is passed over; what is good counts."""
    for rtype, code in TYPES.items():
        name = fresh(rtype)
        bad = record(code, good(code)[:-1]) if rtype in ("A", "AAAA") else record(code, rdata(code, name_of(b"a\nb", b"test")))
        dnsd.raw(name, lambda q, code=code, bad=bad: head(q, 2) + bad + record(code, good(code)))
        status, answer = ask(site, name, rtype)
        assert status == 0 and len(answer["records"]) == 1, answer


@pytest.mark.parametrize("ttl, least, most", [(0, 55, 60), (1, 55, 60), (2 ** 31 - 1, 86000, 86400), (2 ** 31, 55, 60), (2 ** 32 - 1, 55, 60)])
def test_ttl_is_within_its_bounds(site, dnsd, ttl, least, most):
    name = fresh("A")
    dnsd.raw(name, lambda q: head(q) + record(1, good(1), ttl=ttl))
    _, answer = ask(site, name, "A")
    assert least <= answer["ttl_s"] <= most, answer


def soa(q, ttl, minimum):
    return record(6, name_of(b"ns", b"test") + name_of(b"root", b"test") + struct.pack(">IIIII", 1, 1, 1, 1, minimum), name=b"\0", ttl=ttl)


@pytest.mark.parametrize("ttl, minimum, least, most", [(0, 0, 55, 60), (2 ** 31 - 1, 2 ** 31 - 1, 3500, 3600), (600, 90, 80, 90), (90, 600, 80, 90)])
def test_nothing_is_believed_for_a_while(site, dnsd, ttl, minimum, least, most):
    """RFC 2308 5: the lesser of the SOA's TTL and its last field."""
    for rcode, result in ((0, "nodata"), (3, "nxdomain")):
        name = fresh("A")
        dnsd.raw(name, lambda q, rcode=rcode: q[:2] + struct.pack(">HHHHH", 0x8180 | rcode, 1, 0, 1, 0) + question(q) + soa(q, ttl, minimum))
        status, answer = ask(site, name, "A")
        assert status == 1 and answer["result"] == result and least <= answer["ttl_s"] <= most, answer


def test_client_name_of_bad_bytes(site, sink, dnsd, tag):
    """A reverse name that would like to be in headers and logs."""
    for i, label in enumerate(NAMES):
        dnsd.raw(f"{i + 10}.9.0.127.in-addr.arpa", lambda q, label=label: head(q) + record(12, name_of(label, b"test")))
        with site.client(source=f"127.0.9.{i + 10}") as c:
            assert c.send_mail("a@src.test", "b@local.test", message(f"{tag}-{i}")).code == 250
        m = sink.wait(f"{tag}-{i}")
        trace = m[0].header.partition(b"Subject:")[0]
        assert f"127.0.9.{i + 10}".encode() in trace and label not in trace, trace
    assert not any("evil" in t.lower() for t in site.logs_since().values())


class Load(threading.Thread):
    """Mail that flows meanwhile; the slowest one is remembered."""

    def __init__(self, site):
        super().__init__()
        self.site, self.sent, self.slowest, self.failed, self.on = site, 0, 0.0, [], True

    def run(self):
        while self.on:
            try:
                with self.site.client() as c:
                    for _ in range(20):
                        began = time.monotonic()
                        r = c.send_mail("a@src.test", "b@local.test", message(f"load-{self.sent}-"))
                        self.slowest = max(self.slowest, time.monotonic() - began)
                        if r.code != 250:
                            self.failed.append(r)
                        self.sent += 1
            except Exception as e:
                self.failed.append(repr(e))
                return


def test_lies_under_load(site, sink, dnsd):
    """Senders of lying domains get 4xx; mail of others is not slower, and arrives; nothing grows."""
    mx = [c for c in CASES if c[1] == "MX"]
    wrong = []

    def client(cases):
        for name, rtype, lie, tcp in cases:
            domain = fresh(rtype)
            tell(dnsd, domain, rtype, lie, tcp)
            with site.client() as c:
                r = c.mail("a@" + domain)
            if r.code != 451:
                wrong.append((name, r))

    def everybody():
        threads = [threading.Thread(target=client, args=(mx[i::8],)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    everybody()
    before = site.snapshot()
    load = Load(site)
    load.start()
    for _ in range(ROUNDS):
        everybody()
    load.on = False
    load.join()
    assert not wrong, wrong
    assert load.sent > 0 and not load.failed, load.failed
    assert load.slowest < 5 * SLOW, f"{load.slowest:.1f} s for a mail"
    sink.wait(lambda m: m.subject().startswith("load-"), count=load.sent, timeout=60)
    before.alive()
    before.leaks(kb=8192, fds=8)


# ---- servers that are not there ----

def test_nobody_at_the_port(sink, tag):
    """Each question comes back as an ICMP message: temporary; mail that needs no DNS flows."""
    dead = f"127.0.0.1:{free_port()}"
    with Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ROUTES], relay=["local.test"], dns=dead, settings=settings()) as own:
        for i in range(30):
            with own.client() as c:
                assert c.mail(f"a@x{i}.test").code == 451
        assert ask(own, "x.test", "MX")[0] == 75
        own.canary(sink)


def test_one_of_two_servers_is_dead(sink, dnsd):
    with Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ROUTES], relay=["local.test"], settings=settings(
            **{"smar.DNS_timeout": "6s", "smar.nameserver": f'{{ "127.0.0.1:{free_port()}", "{dnsd.address}" }}'})) as own:
        for i in range(5):
            assert ask(own, "good.test", "MX")[0] == 0
            assert ask(own, f"n{i}.none.test", "MX")[0] == 1


def test_truncated_and_tcp_is_refused(sink):
    d = Dns(tcp=False)
    d.raw("big.test", lambda q: head(q, 0, flags=0x8380))
    d.add("good.test", MX("mx.good.test", 10))
    try:
        with Site(routes=[f"{r} {sink.port}^esmtp:[127.0.0.1]" for r in ROUTES], relay=["local.test"], dns=d.address, settings=settings()) as own:
            assert ask(own, "big.test", "MX")[0] == 75
            assert ask(own, "good.test", "MX")[0] == 0
            own.canary(sink)
    finally:
        d.stop()
