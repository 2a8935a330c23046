"""Several relay hosts: equal ones share the load, others stand by in their order; one that is down costs nobody anything."""
import collections
import threading

import pytest
from lib.client import message
from lib.paths import free_port
from lib.sink import Serve, Sink
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
MANY = 300


class Relays:
    """Sinks at the same port of several addresses, and a site whose mail all goes there by `hosts`."""

    def __init__(self, hosts, up=HOSTS, settings=None, more=()):
        self.port = free_port()
        self.sinks = {h: Sink(self.port, host=h) for h in up}
        self.site = Site(routes=[f"{d} {self.port}^esmtp:{hosts}" for d in (".", *more)],
                         settings={"smtps.flags": "{ allow_loopback_relaying }", "qmgr.smtpc.dead_host_min_delay": "2s", "qmgr.retry_min_delay": "1s",
                                   "qmgr.retry_max_delay": "1s", **(settings or {})})

    def __enter__(self):
        self.site.start()
        return self

    def __exit__(self, *why):
        self.site.__exit__(*why)
        for s in self.sinks.values():
            s.stop()

    def send(self, tag, count=MANY, clients=6):
        """Each mail to another domain, from several clients at once."""
        def some(first):
            with self.site.client() as c:
                for i in range(first, count, clients):
                    assert c.send_mail("a@src.test", f"u{i}@d{i}.test", message(tag)).code == 250
        threads = [threading.Thread(target=some, args=(i,)) for i in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def shares(self, tag):
        return {h: len(s.find(tag)) for h, s in self.sinks.items()}

    def wait(self, tag, count=MANY):
        until(lambda: sum(self.shares(tag).values()) >= count, lambda: f"all arrive: {self.shares(tag)}", 60)
        self.site.wait_empty()
        got = collections.Counter(r for s in self.sinks.values() for m in s.find(tag) for r in m.rcpts)
        assert got == {f"u{i}@d{i}.test": 1 for i in range(count)}

    def put_off(self):
        return [x for x in self.site.log_lines("qmgr", "qm.rcpt") if "stat=deferred" in x]


def test_equal_ones_share(tag):
    with Relays("[127.0.0.1],[127.0.0.2],[127.0.0.3]") as r:
        r.send(tag)
        r.wait(tag)
        assert all(n >= MANY / 10 for n in r.shares(tag).values()), r.shares(tag)
        assert not r.put_off()


def test_at_the_same_time(tag):
    """In parallel, not one after the other: while one is slow the others take what comes."""
    with Relays("[127.0.0.1],[127.0.0.2]", up=HOSTS[:2]) as r:
        slow = threading.Event()
        r.sinks["127.0.0.1"].default = Serve({"MAIL": lambda _: None})
        r.send(tag, 60)
        until(lambda: r.shares(tag)["127.0.0.2"] >= 20, lambda: f"the other one goes on: {r.shares(tag)}", 60)
        slow.set()
        r.sinks["127.0.0.1"].default = Serve()
        r.sinks["127.0.0.1"].drop()
        r.wait(tag, 60)


@pytest.mark.parametrize("hosts", ["[127.0.0.1],[127.0.0.2],[127.0.0.3]", "[127.0.0.2] [127.0.0.1],[127.0.0.3]"])
def test_one_down_costs_nothing(tag, hosts):
    """Nobody waits for a retry, and nobody is asked twice."""
    with Relays(hosts, up=("127.0.0.1", "127.0.0.3")) as r:
        r.send(tag)
        r.wait(tag)
        assert not r.put_off()
        assert all(n >= MANY / 10 for n in r.shares(tag).values()), r.shares(tag)


def test_one_goes_down_meanwhile(tag):
    with Relays("[127.0.0.1],[127.0.0.2]", up=HOSTS[:2]) as r:
        r.send(tag, 60)
        r.sinks["127.0.0.2"].stop()
        r.send(tag + "-2", 60)
        until(lambda: len(r.sinks["127.0.0.1"].find(tag + "-2")) == 60, "the other one takes all", 60)
        r.site.wait_empty()


def test_fall_back_in_order_and_forth(tag):
    with Relays("[127.0.0.1] [127.0.0.2] [127.0.0.3]") as r:
        r.send(tag, 40)
        r.wait(tag, 40)
        assert r.shares(tag) == {"127.0.0.1": 40, "127.0.0.2": 0, "127.0.0.3": 0}
        r.sinks["127.0.0.1"].stop()
        r.send(tag + "-2", 40)
        r.wait(tag + "-2", 40)
        assert r.shares(tag + "-2") == {"127.0.0.1": 0, "127.0.0.2": 40, "127.0.0.3": 0}
        r.sinks["127.0.0.2"].stop()
        r.send(tag + "-3", 40)
        r.wait(tag + "-3", 40)
        assert r.shares(tag + "-3")["127.0.0.3"] == 40 and not r.put_off()
        # The first is back: it is preferred again as soon as it has been found so.
        r.sinks["127.0.0.1"] = Sink(r.port, host="127.0.0.1")
        tries = iter(range(1000))

        def back():
            with r.site.client() as c:
                assert c.send_mail("a@src.test", "u0@d0.test", message(f"{tag}-back-{next(tries)}")).code == 250
            return r.sinks["127.0.0.1"].accepted
        until(back, "the first has mail again", 30)


def test_many_domains_one_transaction(tag):
    """Of one mail, those that go to the same hosts go together, whatever their domains and lines of the mailertable."""
    with Relays("[127.0.0.1] [127.0.0.2]", up=HOSTS[:2], more=("one.test", ".two.test")) as r:
        rcpts = sorted([f"u@d{i}.test" for i in range(95)] + ["a@one.test", "b@one.test", "c@x.two.test", "d@y.two.test"])
        with r.site.client() as c:
            assert c.send_mail("a@src.test", rcpts, message(tag)).code == 250
        r.sinks["127.0.0.1"].wait(tag)
        r.site.wait_empty()
        m, = r.sinks["127.0.0.1"].messages
        assert sorted(m.rcpts) == rcpts and not r.sinks["127.0.0.2"].messages
