"""How mail is scheduled, with real processes: connections and messages to one address, transactions across domains, dead hosts, the map of limits."""
import os
import threading
import time

import pytest
from lib.client import message
from lib.dns import A, MX, Dns
from lib.paths import free_port, is_testing_build
from lib.sink import Serve, Sink, Sleep
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

SLOWLY = [Sleep(0.3), Serve()]  # a connection takes its time, so that several are open


class Peak:
    """The most connections that were open at a sink at a time."""

    def __init__(self, *sinks):
        self.sinks, self.most, self._end = sinks, 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self):
        while not self._end.wait(0.005):
            self.most = max(self.most, sum(s.open for s in self.sinks))

    def stop(self):
        self._end.set()
        self._thread.join()
        return self.most


def send_many(site, count, rcpt, tag, sender="a@src.test"):
    with site.client() as c:
        for _ in range(count):
            assert c.send_mail(sender, rcpt, message(tag)).code == 250


def write_map(site, text):
    with open(os.path.join(site.spool, "qmgr_conf"), "w") as f:
        f.write(text)


@pytest.fixture
def sink():
    with Sink() as s:
        yield s


def site_to(sink, **settings):
    return Site(routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]", f"other.test {sink.port}^esmtp:[127.0.0.1] [127.0.0.98]"],
                relay=["local.test", "other.test"], settings={"qmgr.conf": "qmgr_conf", **settings})


def test_connections_to_one_address(sink, tag):
    """max_connections holds for the address, whatever routes lead there; sessions that idle for another route make room."""
    sink.script(SLOWLY)
    with site_to(sink, **{"qmgr.smtpc.initial_connections": "2", "qmgr.smtpc.max_connections": "3"}) as site:
        peak = Peak(sink)
        send_many(site, 20, "u@local.test", tag)
        send_many(site, 20, "u@other.test", tag)
        sink.wait(tag, 40, timeout=30)
        assert 2 <= peak.stop() <= 3


def test_map_of_limits_and_reload(sink, tag):
    """The map goes before the options; a reload takes a changed one, and refuses one that is wrong."""
    sink.script(SLOWLY)
    with site_to(sink) as site:
        for entry, most in (("ocm:127.0 1\n", 1), ("ocm:127.0 9\nocm:127.0.0.1 2\n", 2), ("ocm: many\n", 2)):
            write_map(site, entry)
            marks = site.log_marks()
            site.reload()
            until(lambda: "qm.limits" in "".join(site.logs_since(marks).values()), "the map is read", 10)
            if "many" in entry:
                assert "qmgr_conf:1: " in "".join(site.logs_since(marks).values())
            until(lambda: sink.open == 0, "sessions end", 20)
            before, peak = len(sink.find(tag)), Peak(sink)
            send_many(site, 12, "u@local.test", tag)
            sink.wait(tag, before + 12, timeout=30)
            assert peak.stop() <= most


class Narrow(Sink):
    """Takes two connections and answers 421 to more."""

    async def _connection(self, reader, writer):
        if self.open >= 2:
            writer.write(b"421 4.3.2 too many connections\r\n")
            writer.close()
        else:
            await super()._connection(reader, writer)


def test_too_many_connections(tag):
    """The window adapts: nothing waits for a retry time, all arrives soon."""
    with Narrow(scripts=[SLOWLY]) as sink, site_to(sink, **{"qmgr.retry_min_delay": "1h", "qmgr.retry_max_delay": "2h"}) as site:
        send_many(site, 40, "u@local.test", tag)
        sink.wait(tag, 40, timeout=40)
        site.wait_empty()


def test_messages_of_a_session(sink, tag):
    with site_to(sink, **{"smtpc.max_messages_per_session": "5", "qmgr.smtpc.initial_connections": "1", "qmgr.smtpc.max_connections": "1"}) as site:
        send_many(site, 20, "u@local.test", tag)
        found = sink.wait(tag, 20, timeout=30)
    uses = [m.connection for m in found]
    assert max(uses.count(n) for n in set(uses)) == 5 and len(set(uses)) == 4


def test_message_rate(sink, tag):
    with site_to(sink, **{"qmgr.smtpc.max_message_rate": "120"}) as site:
        start = time.monotonic()
        send_many(site, 9, "u@local.test", tag)
        sink.wait(tag, 9, timeout=30)
        assert time.monotonic() - start >= 8 * 0.5 - 0.1


def test_domains_with_the_same_exchangers(tag):
    """Recipients of one message in several domains go in one transaction, when the exchangers are the same in the same order."""
    if os.getuid() != 0 or not is_testing_build():
        pytest.skip("needs port 25 on a loopback address")
    dns = Dns()
    for domain, prefs in (("one.dom.test", (10, 20)), ("two.dom.test", (5, 7)), ("three.dom.test", (20, 10))):
        dns.add(domain, MX("mx1.dom.test", prefs[0]), MX("mx2.dom.test", prefs[1]))
    dns.add("mx1.dom.test", A("127.0.0.71"))
    dns.add("mx2.dom.test", A("127.0.0.72"))
    domains = ["one.dom.test", "two.dom.test", "three.dom.test"]
    try:
        with Sink(25, host="127.0.0.71") as first, Sink(25, host="127.0.0.72") as second, \
                Site(relay=domains, dns=dns.address, environment={"SM_TEST_LOOPBACK": "1"}) as site:
            with site.client() as c:
                assert c.send_mail("a@src.test", [f"{u}@{d}" for d in domains for u in "xy"], message(tag)).code == 250
            m, = first.wait(tag)
            assert sorted(m.rcpts) == ["x@one.dom.test", "x@two.dom.test", "y@one.dom.test", "y@two.dom.test"]
            m, = second.wait(tag)
            assert sorted(m.rcpts) == ["x@three.dom.test", "y@three.dom.test"]
            site.wait_empty()
    finally:
        dns.stop()


@pytest.mark.parametrize("dead", ["refuses", "silent"])
def test_dead_destination_beside_a_good_one(sink, tag, dead):
    """Thousands of mails for a host that nobody reaches; mail for another one arrives within 10 s."""
    quiet = Sink(scripts=[[Sleep(3600)]]) if dead == "silent" else None
    where = f"{quiet.port}^esmtp:[127.0.0.1]" if quiet else f"{free_port()}^esmtp:[127.0.0.98]"
    try:
        with Site(routes=[f"good.test {sink.port}^esmtp:[127.0.0.1]", f"dead.test {where}"], relay=["good.test", "dead.test"],
                  settings={"qmgr.retry_min_delay": "30s", "qmgr.retry_max_delay": "1h", "qmgr.AQ_max_entries": "1100",
                            "smtpc.timeouts.greeting": "5m"}) as site:
            for i in range(3):
                send_many(site, 700, f"u{i}@dead.test", tag, "bulk@src.test")
                sent = time.monotonic()
                send_many(site, 1, "u@good.test", f"{tag}-{i}")
                sink.wait(f"{tag}-{i}", timeout=20)
                assert time.monotonic() - sent < 10
    finally:
        if quiet:
            quiet.stop()
