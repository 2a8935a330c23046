"""Sites whose mail waits: customers that are not always there, their names, where their mail goes. For tests: fixtures `names` and `sink`, to be imported."""
import json

import pytest

from .client import message
from .dns import MX, A, Dns
from .sink import Sink
from .site import Site
from .wait import until

DOMAINS = ("cust1", "sub.cust1", "cust2", "cust3", "other")  # below .test


@pytest.fixture
def names():
    """A name server of the test's own: it says who has looked for a customer."""
    d = Dns()
    for x in DOMAINS:
        d.add(f"mx.{x}.test", MX(f"host.{x}.test", 10))
        d.add(f"host.{x}.test", A("127.0.0.1"))
    d.add("src.test", MX("host.src.test", 10))
    d.add("host.src.test", A("192.0.2.7"))
    yield d
    d.stop()


@pytest.fixture
def sink():
    """All customers."""
    with Sink() as s:
        yield s


def site_for(sink, names, smtps="", smar="", **more):
    """With routes to each of them, by DNS; `smtps` and `smar`: more of their sections."""
    s = Site(routes=[f"{x}.test {sink.port}^esmtp:mx.{x}.test" for x in DOMAINS] + ["here.test lmtp:"], dns=names.address,
             environment={"SM_TEST_LOOPBACK": "1"}, **more)
    s.add("smtps", smtps)
    s.add("smar", smar)
    return s


def send(site, tag, *rcpts, sender="a@src.test"):
    with site.client() as c:
        assert c.send_mail(sender, list(rcpts), message(tag)).code == 250


def waiting(site, state, n):
    """Until so many are in the deferred queue, waiting. (The status of a list says whether it is empty, and may be another one a moment later.)"""
    def there():
        out = site.qmgrctl("-j", "list", f"state={state}", check=False)
        return [m["queue"] for m in map(json.loads, out.splitlines()) if m["type"] == "mail"]
    until(lambda: there() == ["deferred"] * n, lambda: f"{n} mails are {state}: {there()}")
