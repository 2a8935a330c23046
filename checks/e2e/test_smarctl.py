"""What operators ask smar: the answers are those that live mail gets, nothing comes of asking, and they hold what doc/formats.md says."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest
from lib.dns import MX, PTR, A, CNAME, Dns
from lib.site import Site
from lib.smarctl import Ctl
from lib.wait import until

pytestmark = pytest.mark.inside

ACCESS = """cltaddr:127.0.0.66 error:550 5.7.1 go away
cltaddr:127.0.0.2 relay
cltaddr:127.0.0.3 quick:error:554 5.7.1 at once
cltaddr:127.0.0.4 discard
cltname:.bad.test error:551 5.7.1 bad name
to:spam@local.test reject
from:bad@src.test error:553 5.7.1 not you
to:postmaster@local.test quick:ok
to:broken@local.test rejekt
certissuer:/cn=ca relay
"""
ALIASES = "team@local.test: <b@d.test> <c@d.test>\nuser@local.test: local:\nbroken@local.test: a b\n"


@pytest.fixture(scope="module")
def dnsd():
    d = Dns()
    d.add("d.test", MX("mx1.d.test", 10), MX("mx2.d.test", 20))
    d.add("mx1.d.test", A("192.0.2.10"))
    d.add("mx2.d.test", A("192.0.2.11"))
    d.add("src.test", A("192.0.2.12"))
    d.add("alias.test", CNAME("mx1.d.test"))
    d.add("5.0.0.127.in-addr.arpa", PTR("host.good.test"))
    d.add("host.good.test", A("127.0.0.5"))
    d.raw("evil.test", lambda q: None)
    d.rcode("fails.test", "SERVFAIL")
    yield d
    d.stop()


@pytest.fixture(scope="module")
def site(sink, dnsd):
    maps = pathlib.Path(tempfile.mkdtemp(prefix="smx-maps-"))
    os.chmod(maps, 0o755)
    for name, text in (("access", ACCESS), ("aliases", ALIASES)):
        (maps / name).write_text(text)
    with Site(routes=["local.test lmtp:", f"src.test {sink.port}^esmtp:[127.0.0.1]"], relay=["relayed.test", "src.test"], dns=dnsd.address,
              settings={"smtps.flags": "{ access, delay_checks }", "smar.access_map.file": str(maps / "access"),
                        "smar.aliases.file": str(maps / "aliases"), "smar.aliases.flags": "{ local_domains }", "smar.DNS_timeout": "2s",
                        "smar.map_check_interval": "0"}) as s:
        s.maps = maps
        yield s
    shutil.rmtree(maps)


@pytest.fixture
def ctl(site):
    return Ctl(site)


def test_route(ctl):
    r = ctl.one("route", "route", "x@d.test")
    assert r["result"] == "ok" and r["agent"] == "smtp"
    assert [(h["name"], h["address"], h["preference"]) for h in r["hosts"]] == [("mx1.d.test", "192.0.2.10:25", 10), ("mx2.d.test", "192.0.2.11:25", 20)]
    assert ctl.one("route", "route", "user@local.test")["agent"] == "lmtp"
    r = ctl.one("route", "route", "nobody@local.test", status=1)
    assert (r["result"], r["code"]) == ("refused", 550)
    r = ctl.one("route", "route", "x@fails.test", status=75)
    assert (r["result"], r["code"]) == ("failed", 451)
    assert ctl.one("route", "route", "not an address", status=1)["code"] == 553


def test_route_of_an_alias(ctl):
    out = ctl("route", "team@local.test")
    assert [o["result"] for o in out if o["type"] == "route"] == ["alias"]
    assert [o["rcpt"] for o in out if o["type"] == "member"] == ["b@d.test", "c@d.test"]
    trouble = ctl.of("trouble", "route", "broken@local.test", status=75)
    assert trouble and trouble[0]["about"] == "broken@local.test", "why it fails is told"


def test_lookup(ctl):
    keys = [o["key"] for o in ctl.of("lookup", "lookup", "access_map", "Spam@Local.test", "--tag", "to:")]
    assert keys == ["to:spam*@local.test", "to:spam@local.test"]
    assert ctl.one("found", "lookup", "access_map", "spam@local.test", "--tag=to:")["value"] == "reject"
    assert [o["key"] for o in ctl.of("lookup", "lookup", "access_map", "10.1.2.3", "--tag", "cltaddr:", status=1)] == [
        "cltaddr:10.1.2.3", "cltaddr:10.1.2", "cltaddr:10.1", "cltaddr:10"]
    assert [o["key"] for o in ctl.of("lookup", "lookup", "mailertable", "a.b.test", status=1)] == ["a.b.test", ".b.test", ".test", "."]
    assert ctl.one("found", "lookup", "mailertable", "local.test")["value"] == "lmtp:"
    ctl.text("lookup", "nosuch", "x", status=64)
    ctl.text("lookup", "access_map", "x", "--as", "nothing", status=64)


def test_dns(ctl, dnsd):
    ctl("dns", "d.test", "MX")
    o = ctl.one("dns", "dns", "d.test", "mx")
    assert o["cached"] and o["result"] == "ok" and 0 < o["ttl_s"] <= 60
    assert [(r["preference"], r["name"]) for r in o["records"]] == [(10, "mx1.d.test"), (20, "mx2.d.test")]
    assert ctl.one("dns", "dns", "alias.test", "a")["records"] == [{"address": "192.0.2.10"}]
    assert ctl.one("dns", "dns", "127.0.0.5")["records"] == [{"name": "host.good.test"}]
    assert ctl.one("dns", "dns", "none.test", "A", status=1)["result"] == "nxdomain"
    assert ctl.one("dns", "dns", "fails.test", "A", status=75)["result"] == "failed"
    assert len(ctl.of("dns", "dns", "d.test")) == 3
    ctl.text("dns", "d.test", "TXT", status=64)
    ctl.text("dns", "a b", status=64)


CHECKS = [
    # client, sender, recipient: what the client is told at RCPT or before
    ("127.0.0.1", "a@src.test", "user@local.test", 250),
    ("127.0.0.1", "a@src.test", "nobody@local.test", 550),
    ("127.0.0.1", "a@src.test", "x@foreign.test", 550),
    ("127.0.0.1", "a@src.test", "x@relayed.test", 250),
    ("127.0.0.1", "a@src.test", "spam@local.test", 550),
    ("127.0.0.1", "a@src.test", "broken@local.test", 451),
    ("127.0.0.1", "bad@src.test", "user@local.test", 553),
    ("127.0.0.1", "bad@src.test", "postmaster@local.test", 250),
    ("127.0.0.1", "", "user@local.test", 250),
    ("127.0.0.1", "a@fails.test", "user@local.test", 451),
    ("127.0.0.1", "a@none.test", "user@local.test", 553),
    ("127.0.0.2", "a@src.test", "x@foreign.test", 250),
    ("127.0.0.3", "a@src.test", "user@local.test", 554),
    ("127.0.0.4", "a@none.test", "x@foreign.test", 250),
    ("127.0.0.5", "a@src.test", "user@local.test", 250),
    ("127.0.0.66", "a@src.test", "user@local.test", 550),
    ("127.0.0.66", "a@src.test", "postmaster@local.test", 250),
]


@pytest.mark.parametrize("client, sender, rcpt, code", CHECKS, ids=["-".join(c[:3]) for c in CHECKS])
def test_check_says_what_smtps_says(site, ctl, client, sender, rcpt, code):
    status = 1 if code >= 500 else 75 if code >= 400 else 0
    told = ctl.told("--client", client, "--from", sender, "--to", rcpt, status=status)
    assert told[-1][1] == code, told
    with site.client(source=client) as c:
        real = [("connect", c.greeting.code)]
        if c.greeting.code == 220:
            real.append(("mail", c.mail(sender).code))
            if real[-1][1] == 250:
                real.append(("rcpt", c.rcpt(rcpt).code))
    assert told == real


def test_check_by_name_and_options(ctl):
    args = ("--client", "192.0.2.1", "--from", "<>", "--to", "user@local.test")
    assert ctl.told(*args, "--client-name", "host.bad.test", status=1)[-1] == ("rcpt", 551)
    # without delay_checks it is said at once, without the access map not at all
    assert ctl.told(*args, "--client-name", "host.bad.test", "--flags", "access", status=1) == [("connect", 554)]
    assert ctl.told(*args, "--client-name", "host.bad.test", "--flags", "8bitmime")[-1] == ("rcpt", 250)
    assert ctl.told(*args, "--client-name", "host.bad.test", "--flags", "access,soft_bounce", status=75)[0][1] in (421, 454)
    assert ctl.told(*args, "--helo", "host.bad.test", "--listener", "mta")[1] == ("helo", 250)
    assert ctl.told(*args, "--helo", "no good", status=1)[-1] == ("helo", 501)
    assert ctl.told(*args, "--auth", "PLAIN", status=1)[-1] == ("auth", 502)
    assert [x[0] for x in ctl.told(*args, "--to", "<spam@local.test>", status=1)] == ["connect", "mail", "rcpt", "rcpt"]
    for wrong in (("--listener", "nosuch"), ("--flags", "nosuch"), ("--to", "no address"), ("--client-name", "a b")):
        ctl.text("check", *args, *wrong, status=64)
    ctl.text("check", "--client", "nobody", "--from", "a@b.test", "--to", "c@d.test", status=64)


def test_cert(ctl):
    assert ctl.one("verdict", "cert", "/CN=ca", "/CN=x")["flags"] == ["relay"]
    assert ctl.one("verdict", "cert", "/CN=other", "/CN=x")["flags"] == []


def test_status_and_reload(site, ctl):
    out = ctl("status")
    assert out[0]["schema"] == 1 and out[0]["cache_entries"] > 0
    assert {o["name"] for o in out[1:]} == {"access_map", "aliases", "mailertable"}
    access = site.maps / "access"
    access.write_text(ACCESS + "to:new@local.test error:555 5.7.1 new\n")
    ctl.text("lookup", "access_map", "to:new@local.test", status=1)
    ctl("reload")
    assert ctl.one("found", "lookup", "access_map", "to:new@local.test")["value"].startswith("error:555")
    access.write_text("no value\n" + ACCESS + "twice a\ntwice b\n")
    ctl.text("reload", status=1)
    assert "access" in ctl.err
    assert ctl.one("found", "lookup", "access_map", "to:new@local.test"), "the former one stays"
    assert ctl("status")[0]["reloads_refused"] == 1
    access.write_text(ACCESS)
    ctl("reload")


def test_people_read_it(ctl):
    out = ctl.text("check", "--client", "127.0.0.66", "--from", "a@src.test", "--to", "user@local.test", status=1)
    assert "=> 220" in out and "=> 550 5.7.1 go away  (of the connection)" in out
    assert "\n  0 the local agent" in ctl.text("route", "user@local.test")
    for args in (["help"], ["--help"], ["status"], ["route", "x@d.test"], ["dns", "d.test"]):
        assert ctl.text(*args)
    for args in ([], ["nosuch"], ["route"], ["dns"], ["status", "x"], ["lookup", "a"], ["route", "a@b.test", "--as", "ip"], ["route", "a", "--nosuch"]):
        ctl.text(*args, status=64)


def ask(site, *args):
    return subprocess.Popen([*site.prefix, os.path.join(site.dir, "smarctl"), *args], cwd=site.dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_who_asks_goes_away(site, ctl, sink, dnsd):
    """In the middle of a question: nothing is left behind."""
    n = len(dnsd.asked)
    p = ask(site, "dns", "evil.test", "MX")
    until(lambda: len(dnsd.asked) > n, "it asks")
    p.kill()
    p.wait()
    site.canary(sink, rcpt="x@src.test")


def test_end_of_smar_does_not_wait_for_questions(sink, dnsd):
    with Site(routes=[f"src.test {sink.port}^esmtp:[127.0.0.1]"], relay=["src.test"], dns=dnsd.address, settings={"smar.DNS_timeout": "60s"}) as own:
        n = len(dnsd.asked)
        p = ask(own, "dns", "evil.test", "A")
        until(lambda: len(dnsd.asked) > n, "it asks")
        old = own.kill("smar", signal.SIGTERM)
        own.restarted("smar", old)
        assert p.wait(60) == 75
        own.canary(sink, rcpt="x@src.test")
        Ctl(own)("status")
