"""Where mail goes: by mailertable, by exchangers, by address, over IPv4 and IPv6, with dead hosts in front, several ways in one message."""
import pytest
from lib import netns
from lib.client import Client, message
from lib.contents import CONTENTS
from lib.dns import A, AAAA, CNAME, MX, Dns
from lib.paths import free_port, is_testing_build
from lib.sink import Hang, Send, Serve, Sink
from lib.site import Site
from lib.wait import until

SHORT_TIMEOUTS = {f"smtpc.timeouts.{x}": "3s" for x in ("connect", "greeting", "quit")}

pytestmark = pytest.mark.inside

DEAD = "[127.0.0.98]"  # nobody listens there: refused at once


@pytest.fixture(scope="module")
def sinks():
    """(port, address -> sink): three good ones, one that is silent, ones that greet with 554 and 421, one that is busy at RCPT."""
    port = free_port()
    out = {h: Sink(port, host=h) for h in ("127.0.0.1", "127.0.0.2", "::1")}
    extra = {"127.0.0.3": [[Hang()]], "127.0.0.4": [[Send(b"554 5.3.2 no mail here\r\n")]], "127.0.0.5": [[Send(b"421 4.3.2 not now\r\n")]],
             "127.0.0.6": [[Serve({"RCPT": b"421 4.2.1 busy, closing\r\n"})]]}
    for h, scripts in extra.items():
        out[h] = Sink(port, host=h, scripts=scripts)
    yield port, out
    for s in out.values():
        s.stop()


ROUTES = {  # domain: (right hand side, where it arrives)
    "v4.test": ("{port}^esmtp:[127.0.0.1]", "127.0.0.1"),
    "plain.test": ("{port}^[127.0.0.2]", "127.0.0.2"),
    "v6.test": ("{port}^esmtp:[IPv6:::1]", "::1"),
    "dead-first.test": ("{port}^esmtp:" + DEAD + " [127.0.0.2]", "127.0.0.2"),
    "dead-twice.test": ("{port}^esmtp:" + DEAD + " [127.0.0.97] [127.0.0.1]", "127.0.0.1"),
    "dead-v6-first.test": ("{port}^esmtp:[IPv6:::ffff:127.0.0.98] [127.0.0.1]", "127.0.0.1"),
    "silent-first.test": ("{port}^esmtp:[127.0.0.3] [127.0.0.1]", "127.0.0.1"),
    "refusing-first.test": ("{port}^esmtp:[127.0.0.4] [127.0.0.1]", "127.0.0.1"),
    "busy-first.test": ("{port}^esmtp:[127.0.0.5] [IPv6:::1]", "::1"),
    "in-order.test": ("{port}^esmtp:[127.0.0.2] [127.0.0.1]", "127.0.0.2"),
    "host.test": ("{port}^esmtp:a.names.test", "127.0.0.1"),
    "host6.test": ("{port}^esmtp:aaaa.names.test", "::1"),
    "alias-host.test": ("{port}^esmtp:cname.names.test", "127.0.0.2"),
    "exchanger.test": ("{port}^esmtp:mx.names.test", "127.0.0.2"),
    "backup.test": ("{port}^esmtp:mx-dead.names.test", "127.0.0.1"),
    "host-gone.test": ("{port}^esmtp:a-dead.names.test a.names.test", "127.0.0.1"),
    "waits.test": ("{port}^esmtp:[127.0.0.6]", None),
    ".under.test": ("{port}^esmtp:[127.0.0.2]", "127.0.0.2"),
    ".": ("{port}^esmtp:[127.0.0.1]", "127.0.0.1"),
}
TO = {".under.test": "deep.er.under.test", ".": "anything.else.test"}


@pytest.fixture(scope="module")
def names():
    d = Dns()
    d.add("a.names.test", A("127.0.0.1"))
    d.add("aaaa.names.test", AAAA("::1"))
    d.add("a-dead.names.test", A("127.0.0.98"))
    d.add("cname.names.test", CNAME("target.names.test"))
    d.add("target.names.test", A("127.0.0.2"))
    d.add("mx.names.test", MX("second.names.test", 20), MX("first.names.test", 10))
    d.add("mx.names.test", A("127.0.0.98"))
    d.add("first.names.test", A("127.0.0.2"))
    d.add("second.names.test", A("127.0.0.1"))
    d.add("mx-dead.names.test", MX("a-dead.names.test", 10), MX("a.names.test", 20))
    yield d
    d.stop()


@pytest.fixture(scope="module")
def site(sinks, names):
    with Site(routes=[f"{d} {rhs.format(port=sinks[0])}" for d, (rhs, _) in ROUTES.items()], relay=[TO.get(d, d) for d in ROUTES], dns=names.address,
              settings={"smtps.max_message_size": "20480", **SHORT_TIMEOUTS},
              environment={"SM_TEST_LOOPBACK": "1"}) as s:
        yield s


@pytest.mark.parametrize("domain", [d for d, (_, where) in ROUTES.items() if where])
def test_route(site, sinks, domain, tag):
    if ".names.test" in ROUTES[domain][0] and not is_testing_build():
        pytest.skip("only a testing build lets DNS name loopback addresses")
    to, where = TO.get(domain, domain), ROUTES[domain][1]
    with site.client() as c:
        assert c.send_mail("a@src.test", f"x@{to}", message(tag)).code == 250
    m, = sinks[1][where].wait(tag, timeout=20)
    assert m.rcpts == [f"x@{to}"] and m.without_trace() == message(tag)
    site.wait_empty()
    assert [h for h, s in sinks[1].items() if s.find(tag)] == [where]


@pytest.mark.parametrize("name", CONTENTS)
def test_each_content(site, sinks, name):
    to = f"content-{name}@v4.test"
    with site.client() as c:
        assert c.send_mail("a@src.test", to, CONTENTS[name]).code == 250
    m, = sinks[1]["127.0.0.1"].wait(lambda m: m.rcpts == [to], timeout=60)
    assert m.without_trace() == CONTENTS[name]


def test_two_routes(site, sinks, tag):
    """Recipients of one route share a transaction; each route gets the mail once, with its own recipients only."""
    with site.client() as c:
        assert c.send_mail("a@src.test", ["a@v4.test", "b@plain.test", "b@v4.test", "c@v6.test", "d@in-order.test"], message(tag)).code == 250
    s = sinks[1]
    for host, rcpts in (("127.0.0.1", [["a@v4.test", "b@v4.test"]]), ("::1", [["c@v6.test"]]), ("127.0.0.2", [["b@plain.test"], ["d@in-order.test"]])):
        assert sorted(m.rcpts for m in s[host].wait(tag, len(rcpts))) == rcpts
    site.wait_empty()
    assert len(s["127.0.0.1"].find(tag)) == 1


def test_one_route_waits(site, sinks, tag):
    """What one route took is not sent again while another must wait."""
    late = sinks[1]["127.0.0.6"]
    with site.client() as c:
        assert c.send_mail("a@src.test", ["a@v4.test", "b@waits.test"], message(tag)).code == 250
    sinks[1]["127.0.0.1"].wait(tag)
    until(lambda: sum(b"b@waits.test" in line for _, line in list(late.commands)) >= 2, "it is tried again", 20)
    late.script([Serve()])
    m, = late.wait(tag)
    assert m.rcpts == ["b@waits.test"]
    site.wait_empty()
    assert len(sinks[1]["127.0.0.1"].find(tag)) == 1


# ---- port 25 of addresses that are not ours: needs a network of its own

V4, V6 = netns.V4, netns.V6


@pytest.fixture(scope="module")
def internet():
    """(site, sinks by address, names): the site believes that it is on the internet, without a mailertable for these domains."""
    if not netns.possible():
        pytest.skip("not root, or no right to make a network namespace")
    with netns.Network():
        d = Dns()
        hosts = {n: Sink(25, host=n) for n in (V4 + "10", V4 + "11", V6 + "10", V6 + "11")}
        d.add("mx.out.test", MX("m1.hosts.test", 10))
        d.add("m1.hosts.test", A(V4 + "10"))
        d.add("prefer.out.test", MX("m2.hosts.test", 20), MX("m1.hosts.test", 10))
        d.add("m2.hosts.test", A(V4 + "11"))
        d.add("second.out.test", MX("dead.hosts.test", 10), MX("m2.hosts.test", 20))
        d.add("dead.hosts.test", A(V4 + "99"))
        d.add("mx6.out.test", MX("m6.hosts.test", 10))
        d.add("m6.hosts.test", AAAA(V6 + "10"))
        d.add("a.out.test", A(V4 + "11"))
        d.add("aaaa.out.test", AAAA(V6 + "11"))
        d.add("both.out.test", MX("both.hosts.test", 10))
        d.add("both.hosts.test", A(V4 + "99"), AAAA(V6 + "11"))
        d.add("cname.out.test", CNAME("mx.out.test"))
        d.add("null.out.test", MX("", 0), A(V4 + "10"))
        d.add("self.out.test", MX("mx.test", 10))
        d.add("loopback.out.test", MX("loop.hosts.test", 10))
        d.add("loop.hosts.test", A("127.0.0.1"))
        d.add("backup.out.test", MX("m1.hosts.test", 10), MX("mx.test", 20), MX("m2.hosts.test", 30))
        relay = [f"{n}.out.test" for n in ("mx", "prefer", "second", "mx6", "a", "aaaa", "both", "cname", "null", "self", "loopback", "backup", "none")]
        submit = free_port()
        reports = Sink()
        with reports, Site(routes=[f"src.test {reports.port}^esmtp:[127.0.0.1]"], relay=relay, dns=d.address, settings=SHORT_TIMEOUTS,
                           arguments=["--submit-port", str(submit)]) as s:
            s.submit_port = submit
            yield s, hosts, reports
        for h in hosts.values():
            h.stop()
        d.stop()


@pytest.mark.parametrize("domain,where", [
    ("mx.out.test", V4 + "10"), ("prefer.out.test", V4 + "10"), ("second.out.test", V4 + "11"), ("mx6.out.test", V6 + "10"),
    ("a.out.test", V4 + "11"), ("aaaa.out.test", V6 + "11"), ("both.out.test", V6 + "11"), ("cname.out.test", V4 + "10"),
    ("backup.out.test", V4 + "10"), (f"[{V4}10]", V4 + "10"), (f"[IPv6:{V6}10]", V6 + "10")])
def test_dns_route(internet, domain, where, tag):
    site, hosts, _ = internet
    with Client(site.submit_port) as c:  # there an address literal may be given, too
        assert c.send_mail("a@src.test", f"x@{domain}", message(tag)).code == 250
    m, = hosts[where].wait(tag, timeout=20)
    assert m.rcpts == [f"x@{domain}"] and m.without_trace() == message(tag)
    site.wait_empty()
    assert [a for a, h in hosts.items() if h.find(tag)] == [where]


@pytest.mark.parametrize("domain,enhanced", [
    ("null.out.test", "5.1.10"), ("self.out.test", "5.4.6"), ("loopback.out.test", "5.4.6"), ("none.out.test", "5.1.2")])
def test_dns_says_no(internet, domain, enhanced, tag):
    """Refused at RCPT, or reported: never sent anywhere, and no fallback from a null MX to the address."""
    site, hosts, reports = internet
    sender = f"s-{domain}@src.test"
    with site.client() as c:
        assert c.mail(sender).code == 250
        r = c.rcpt(f"x@{domain}")
        if r.code == 250:
            assert c.cmd("DATA").code == 354
            assert c.finish(message(tag)).code == 250
    if r.code == 250:
        until(lambda: reports.reports(sender), lambda: f"the report; {site.log_tail(30)}", 15)
        site.wait_empty()
        assert f"Status: {enhanced}".encode() in reports.reports(sender)[0].content
    else:
        assert r.enhanced == enhanced, r
    assert not any(h.find(tag) for h in hosts.values())


def test_dns_and_mailertable_in_one(internet, tag):
    site, hosts, reports = internet
    with Client(site.submit_port) as c:
        assert c.send_mail("a@src.test", ["x@mx.out.test", "y@src.test", "z@mx6.out.test"], message(tag)).code == 250
    for s, rcpt in ((hosts[V4 + "10"], "x@mx.out.test"), (reports, "y@src.test"), (hosts[V6 + "10"], "z@mx6.out.test")):
        m, = s.wait(tag)
        assert m.rcpts == [rcpt]
    site.wait_empty()


def test_source_address(tag):
    """Connections come from the address that is said, of a server before that of all; while it is none of this host's, mail waits."""
    away = free_port()
    with Sink() as sink, Site(routes=[f"to.test {sink.port}^esmtp:[127.0.0.1]"], relay=["to.test"]) as hop:
        s = Site(routes=[f"to.test {hop.port}^esmtp:[127.0.0.1]", f"away.test {away}^esmtp:[127.0.0.1]"], relay=["to.test", "away.test"],
                 settings={"smtpc.source_address": "{ 127.0.0.41 }"})
        s.put("access", f"smtpc_session_conf:127.0.0.1:{away}\tsource_address = {{ 192.0.2.41 }};\n")
        s.add("smar", 'map ac { type = text; file = "@/access"; } access_map { name = ac; }')
        with s, s.client() as c:
            assert c.send_mail("a@src.test", "b@to.test", message(tag)).code == 250
            assert c.send_mail("a@src.test", "b@away.test", message(tag)).code == 250
            got, = sink.wait(tag)
            assert b"[127.0.0.41]" in got.header
            until(lambda: any("192.0.2.41" in line for line in s.log_lines("qmgr", "qm.rcpt")), "it waits, and says why")
