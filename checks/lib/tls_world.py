"""Servers with TLS by names of their own, and sites that send to them. For tests: the fixture `world`."""
import pytest

from .certs import Certs
from .client import Client, message
from .dns import A, Dns
from .secure import Secure
from .site import Site
from .wait import until

NAMES = ("mx.good.test", "mx.other.test", "mx.bad.test")


class World:
    """A site whose access map and certificates are the test's; servers by name, all on loopback, each with a port of its own."""

    def __init__(self):
        self.certs = Certs()
        self.certs.authority("stranger", "/O=smx tests/CN=Other CA")
        self.good = self.issue("mx.good.test")
        self.servers = []
        self.dns = Dns()
        for n in NAMES:
            self.dns.add(n, A("127.0.0.1"))

    def issue(self, name, ca="ca"):
        """(certificate, key)"""
        self.certs.make(ca + "-" + name, "/O=smx tests/CN=" + name, [name], ca=ca)
        return self.certs.path(ca + "-" + name), self.certs.key(ca + "-" + name)

    def close(self):
        for s in self.servers:
            s.stop()
        self.dns.stop()
        self.certs.stop()

    def server(self, **kw):
        self.servers.append(Secure(**{"cert": self.good, **kw}))
        return self.servers[-1]

    def site(self, routes, access="", settings=None, auth=None, **kw):
        """`routes`: domain -> (server, name of its host), or several of these in turn. `auth`: the map of server_auth."""
        def rhs(to):
            to = to if isinstance(to, list) else [to]
            return f"{to[0][0].port}^esmtp:" + " ".join(f"[{name}]" for _, name in to)
        site = Site(routes=[f"{d} {rhs(to)}" for d, to in routes.items()], relay=list(routes), dns=self.dns.address,
                    settings={"smtpc.tls.CAcert_file": self.certs.path("ca"), **(settings or {})}, **kw)
        site.put("access", access)
        site.add("smar", '    access_map { file = "@/access"; }')
        if auth is not None:
            site.put("auth", auth)
            site.add("smar", '    server_auth { file = "@/auth"; }')
        return site


@pytest.fixture(scope="module")
def world():
    w = World()
    yield w
    w.close()


def send(site, rcpt, tag="x", sender="s@src.test"):
    with Client(site.port) as c:
        c.ehlo()
        return c.send_mail(sender, rcpt if isinstance(rcpt, list) else [rcpt], message(tag))


def deferred(site, text, event="sc.deferred"):
    return until(lambda: [x for x in site.log_lines("smtpc", event) if text in x], lambda: f"{event} with {text}\n{site.log_tail(20)}", 20)[0]
