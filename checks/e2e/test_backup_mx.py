"""A backup MX: DNS names it behind the primary; it takes mail while that one is away, for users that exist, and passes it on.

It never sends to itself or to what DNS names behind it, and it does not take mail that would have nowhere to go.
"""
import os
import time

import pytest
from lib.client import message
from lib.dns import A, Dns, MX
from lib.inner import NOT_NOW, REFUSED, Inner, ask, figures
from lib.paths import is_testing_build
from lib.site import Site
from lib.wait import SLOW, until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(os.getuid() != 0 or not is_testing_build(), reason="needs port 25 on loopback addresses, named by DNS")]

PRIMARY, WORSE = "127.0.0.81", "127.0.0.83"
OK = "250 2.1.5 Recipient ok"


@pytest.fixture(scope="module")
def dns():
    d = Dns()
    d.add("backup.test", MX("primary.backup.test", 10), MX("mx.test", 20), MX("worse.backup.test", 30))
    d.add("primary.backup.test", A(PRIMARY))
    d.add("worse.backup.test", A(WORSE))
    d.add("mx.test", A("127.0.0.82"))
    # Wrong: nobody is better than we are.
    d.add("first.test", MX("mx.test", 10), MX("worse.backup.test", 30))
    yield d
    d.stop()


def site_for(dns, on_failure="450", **more):
    return Site(relay=["backup.test", "first.test"], dns=dns.address, environment={"SM_TEST_LOOPBACK": "1"},
                settings={"smar.verify_recipient.domains": "{ backup.test, first.test }", "smar.verify_recipient.on_failure": on_failure,
                          "qmgr.verify_recipient.failure_time": "0s", **more})


def primary(**kw):
    return Inner(25, host=PRIMARY, **kw)


def send(site, rcpt, tag):
    with site.client() as c:
        assert c.send_mail("s@src.test", rcpt, message(tag)).code == 250


def test_while_the_primary_is_there(dns):
    """Nobody should come here then, but some do."""
    with primary() as p, site_for(dns) as site:
        assert ask(site, "user1@backup.test", "nobody@backup.test") == [OK, REFUSED]
        send(site, "user1@backup.test", "there")
        p.wait("there")
        site.wait_empty()


@pytest.mark.parametrize("on_failure", ["450", "accept"])
def test_the_primary_goes_and_comes_back(dns, on_failure):
    p = primary()
    with site_for(dns, on_failure) as site, Inner(25, host=WORSE) as worse:
        assert ask(site, "user1@backup.test", "nobody@backup.test") == [OK, REFUSED]
        p.stop()
        # Whoever was seen is known; a stranger is not, or is taken on trust.
        send(site, "user1@backup.test", "down-1")
        assert ask(site, "nobody@backup.test", "user1@backup.test") == [REFUSED, OK]
        until(lambda: ask(site, "user2@backup.test") == [NOT_NOW if on_failure == "450" else OK], "the primary is found to be away", 20)
        if on_failure == "accept":
            send(site, ["user2@backup.test", "stranger@backup.test"], "down-2")
        # It is known to be dead: nobody waits for that.
        begin = time.monotonic()
        for _ in range(20):
            ask(site, "user2@backup.test")
        assert time.monotonic() - begin < 5 * SLOW
        until(lambda: figures(site)["deferred_recipients"] >= (3 if on_failure == "accept" else 1), "all of it waits", 30)
        with primary() as p:
            p.wait("down-1", timeout=60)
            if on_failure == "accept":
                m, = p.wait("down-2", timeout=60)
                assert m.rcpts == ["user2@backup.test"]
            site.wait_empty(60)
            assert len(p.find("down-1")) == 1
            until(lambda: ask(site, "user2@backup.test") == [OK], "it is asked again", 60)
        assert worse.connections == 0, "never to what stands behind us"


def test_a_restart_forgets(dns):
    """What was known is lost with qmgr; the queue is not."""
    p = primary()
    with site_for(dns) as site:
        assert ask(site, "user1@backup.test") == [OK]
        p.stop()
        send(site, "user1@backup.test", "restart")
        site.restarted("qmgr", site.kill("qmgr"))
        site.wait_ready()
        until(lambda: ask(site, "user1@backup.test") == [NOT_NOW], "it is not known any more", 30)
        with primary() as p:
            p.wait("restart", timeout=60)
            site.wait_empty(60)


def test_no_loop(dns):
    """DNS names nobody better than this host: neither a mail nor a question goes in a circle, and no mail is taken only to fail."""
    with Inner(25, host="127.0.0.82") as ourselves, Inner(25, host=WORSE) as worse, site_for(dns, "accept") as site:
        assert ask(site, "user1@first.test") == ["550 5.4.6 mail for this domain would come back to this host"]
        assert ourselves.connections == worse.connections == 0
