"""ETRN (RFC 1985): customers that are not always there ask for their mail. Who may, how often, and that each gets nobody else's."""
import re

import pytest
from lib.client import Client
from lib.dns import MX, A, Dns
from lib.paths import is_testing_build
from lib.sink import Sink
from lib.site import Site
from lib.wait import never, until
from lib.client import message
from test_qmgrctl import Ctl

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not is_testing_build(), reason="only a testing build lets DNS name loopback addresses")]

DOMAINS = ("cust1", "sub.cust1", "cust2")
ACCESS = 'map ac { type = text; file = "@/access"; } access_map { name = ac; }'
ON_DEMAND = 'on_demand { domains = { "cust1.test", ".cust1.test", "cust2.test" }; }'


@pytest.fixture
def names():
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
    with Sink() as s:
        yield s


def isp(sink, names, etrn='from = { "127.0.0.1" };', access=None, settings=None, **more):
    """A provider whose customers are asked for."""
    s = Site(routes=[f"{x}.test {sink.port}^esmtp:mx.{x}.test" for x in DOMAINS], dns=names.address, environment={"SM_TEST_LOOPBACK": "1"},
             settings={**(settings or {}), **({"smtps.flags": "{ access }"} if access is not None else {})}, **more)
    s.add("smtps", f"etrn {{ {etrn} }}")
    s.add("smar", ON_DEMAND + (ACCESS if access is not None else ""))
    if access is not None:
        with open(f"{s.dir}/access", "w") as f:
            f.write("".join(line + "\n" for line in access))
    return s


def send(site, tag, *rcpts):
    with site.client() as c:
        assert c.send_mail("a@src.test", list(rcpts), message(tag)).code == 250


def waiting(ctl, n):
    until(lambda: len(ctl.mails("state=on_demand")) == n, f"{n} mails wait")


def fill(site, tag):
    """Two mails for cust1, one below it, one for cust2."""
    for i, to in enumerate(("cust1", "cust1", "sub.cust1", "cust2")):
        send(site, f"{tag}-{i}", f"x@{to}.test")
    waiting(Ctl(site), 4)


def ask(site, node, source=None):
    with Client(site.port, source=source) as c:
        return c.cmd(f"ETRN {node}")


def test_just_his_mail(names, sink, tag):
    with isp(sink, names) as site:
        fill(site, tag)
        never(lambda: [n for n, *_ in names.asked if "cust" in n], "a customer is looked for", 2)
        with site.client() as c:
            assert "ETRN" in c.extensions
            r = c.cmd("ETRN cust1.test")
            assert r.code == 253 and "2 pending messages for node cust1.test started" in r.text
            sink.wait(f"{tag}-0")
            sink.wait(f"{tag}-1")
            assert {n for n, *_ in names.asked if "cust" in n} == {"mx.cust1.test", "host.cust1.test"}
            until(lambda: c.cmd("ETRN cust1.test").code == 251, "nothing is left")
            assert c.cmd("ETRN @CUST1.test").code == 253
            sink.wait(f"{tag}-2")
        waiting(Ctl(site), 1)
        assert [r for m in sink.messages for r in m.rcpts if "cust2" in r] == []
        assert ask(site, "cust2.test").code == 253
        sink.wait(f"{tag}-3")
        site.wait_empty()
        assert len(sink.messages) == 4
        line = site.log_lines("smtps", "ss.etrn")[0]
        assert "destination=cust1.test" in line and "stat=253" in line
        assert "by=client" in site.log_lines("qmgr", "qm.run")[0]


def test_nobody_may_by_default(names, sink, tag):
    with isp(sink, names, etrn="") as site, site.client() as c:
        assert "ETRN" not in c.extensions
        assert c.cmd("ETRN cust1.test").code == 502


def test_what_is_refused(names, sink, tag):
    with isp(sink, names, etrn='from = { "127.0.0.1" };') as site:
        fill(site, tag)
        with site.client() as c:
            for node, code in (("", 501), ("a b", 501), ("cust1..test", 501), ("#cust1.test", 459), ("other.test", 459), ("@", 501)):
                assert c.cmd(f"ETRN {node}".rstrip()).code == code, node
            assert c.mail("a@src.test").code == 250
            assert c.cmd("ETRN cust1.test").code == 503
            assert c.rcpt("x@cust1.test").code == 250
            assert c.cmd("ETRN cust1.test").code == 503
            assert c.cmd("RSET").code == 250
        with Client(site.port, source="127.0.0.9") as c:
            assert "ETRN" not in c.ehlo().text
            assert c.cmd("ETRN cust1.test").code == 459
        never(lambda: sink.messages, "mail leaves", 1)
        waiting(Ctl(site), 4)


def test_by_the_access_map(names, sink, tag):
    """Each for his own."""
    rows = ["etrn:127.0.0.2 cust1.test .cust1.test", "etrn:127.0.0.3 cust2.test"]
    with isp(sink, names, "flags = { access };", rows) as site:
        fill(site, tag)
        for source, offered, cust1, below, cust2 in (("127.0.0.4", False, 459, 459, 459), ("127.0.0.3", True, 459, 459, 253), ("127.0.0.2", True, 253, 253, 459)):
            with Client(site.port, source=source) as c:
                assert ("ETRN" in c.ehlo().lines) == offered
                assert [c.cmd(f"ETRN {x}").code for x in ("cust1.test", "@cust1.test", "cust2.test")] == [cust1, below, cust2]
        site.wait_empty()
        assert len(sink.messages) == 4


def test_too_often(names, sink, tag):
    with isp(sink, names, settings={"qmgr.etrn.max_per_node": "3", "qmgr.etrn.max_per_client": "6"}) as site:
        assert [ask(site, "cust1.test").code for _ in range(5)] == [251, 251, 251, 458, 458]
        assert ask(site, "cust2.test").code == 251
        r = ask(site, "cust2.test")  # a client's sixth was the last one
        assert r.code == 458 and r.enhanced == "4.7.1"


def test_over_a_restart_of_qmgr(names, sink, tag):
    with isp(sink, names) as site:
        fill(site, tag)
        old = site.kill("qmgr")
        site.restarted("qmgr", old)
        site.wait_ready()
        until(lambda: ask(site, "cust1.test").code == 253, "the mail is found")
        sink.wait(f"{tag}-0")
        sink.wait(f"{tag}-1")
