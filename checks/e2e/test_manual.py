"""What else the manual prints, byte for byte, and its lookup orders key by key. The access map is in test_access.py, aliases in test_aliases.py,
lists in DNS in test_dnsbl.py."""
import os
import pwd

import pytest
from lib.client import Client, message
from lib.dns import A, PTR, Dns, MX
from lib.paths import free_port
from lib.sink import Serve, Sink, Sleep
from lib.site import Site
from test_access import OTHER, network, talk  # noqa: F401 (a fixture)
from test_greylisting import knock
from test_schedule import Peak, send_many

pytestmark = pytest.mark.inside

MAIL_OK, RCPT_OK, NO_RELAY = "250 2.1.0 Sender ok", "250 2.1.5 Recipient ok", "550 5.7.1 Relaying denied"

# ---- limits of single addresses

LIMITS = """\
oci:127.0.0.1      5
ocm:127.0.0.1     10
oci:10            10
ocm:10            50
oci:               1
ocm:               4
icr:10             5
icr:127.0.0.1    100
icm:127.0.0.1    120
"""


def greeted(site, source, most):
    """How many connections in a row are taken."""
    for n in range(most):
        with Client(site.port, source=source, helo=None) as c:
            if c.greeting.code != 220:
                assert c.greeting.code == 421, c.greeting
                return n
    return most


def test_limits(network, tag):  # noqa: F811
    slowly = [Sleep(0.3), Serve()]
    port = free_port()
    sinks = {a: Sink(port, host=a, scripts=[slowly]) for a in ("127.0.0.1", "10.5.5.5", "192.0.2.25")}
    site = Site(routes=[f"d{n}.test {port}^esmtp:[{a}]" for n, a in enumerate(sinks)], relay=[f"d{n}.test" for n in range(len(sinks))])
    site.createmap("qmgr_conf.db", LIMITS, kind="plain")
    with site:
        # Each host of the net has a count of its own.
        assert greeted(site, "10.1.2.3", 8) == 5
        assert greeted(site, "10.1.2.4", 8) == 5
        assert greeted(site, OTHER, 30) == 30
        for (address, sink), (least, most) in zip(sinks.items(), ((4, 10), (8, 50), (1, 4))):
            peak = Peak(sink)
            send_many(site, 40, f"u@d{list(sinks).index(address)}.test", f"{tag}-{address}")
            sink.wait(f"{tag}-{address}", 40)
            assert least <= peak.stop() <= most, address
        # The test itself has made some connections from here.
        assert 80 <= greeted(site, "127.0.0.1", 110) <= 100
    for s in sinks.values():
        s.stop()


# ---- maps

MAPS = """\
map localusers { type = hash; file = "/etc/smx/localusr.db"; }
map otherusers { type = hash; file = "/etc/smx/otherusr.db"; }
map password { type = passwd; }
map seq1 { type = sequence; maps = { localusers, otherusers }; }
map seq2 { type = sequence; maps = { password, otherusers }; }
"""


@pytest.mark.parametrize("name, known", [("seq1", {"ann", "bob"}), ("seq2", {"bob", "system"})])
def test_maps(name, known):
    site = Site(routes=["local.test lmtp:"])
    site.add("smar", MAPS.replace("/etc/smx", site.dir) + f"local_user_map {{ name = {name}; }}")
    site.createmap("localusr.db", "ann -\n", kind="plain")
    site.createmap("otherusr.db", "bob -\n", kind="plain")
    users = {"ann": "ann", "bob": "bob", "system": pwd.getpwuid(os.getuid()).pw_name, "nobody": "no-such-user"}
    with site:
        for who, user in users.items():
            said = talk(site, None, "", f"{user}@local.test")
            assert said == (MAIL_OK, RCPT_OK if who in known else "550 5.1.1 User unknown"), who


# ---- mailertable

MAILERTABLE = """\
localhost lmtp:
SPAM.FILTER.DOMAIN 2525^esmtp:[127.0.0.1]
LMTPHOST.MY.DOMAIN 525^lmtp:[10.11.12.13]
MY.DOMAIN esmtp:[10.1.2.3]
ANOTHER.DOMAIN esmtp:MTA.SERVER
.TLD esmtp:GATE.WAY
. esmtp:SMART.HOST
"""
GOES_TO = {
    "localhost": "socket", "spam.filter.domain": "127.0.0.1", "lmtphost.my.domain": "10.11.12.13", "My.Domain": "10.1.2.3",
    "another.domain": "198.51.100.1", "host.tld": "198.51.100.2", "deep.er.TLD": "198.51.100.2",
    # A name says nothing of what is below it, nor a leading dot of the name itself.
    "tld": "198.51.100.3", "sub.my.domain": "198.51.100.3", "sub.another.domain": "198.51.100.3", "elsewhere": "198.51.100.3",
}


@pytest.mark.parametrize("kind", ["text", "hash"])
def test_mailertable(network, kind, tag):  # noqa: F811
    dns = Dns()
    dns.add("mta.server", MX("mx.mta.server", 10))
    dns.add("mx.mta.server", A("198.51.100.1"))
    dns.add("gate.way", A("198.51.100.2"))
    dns.add("smart.host", A("198.51.100.3"))
    site = Site(relay=list(GOES_TO), dns=dns.address)
    if kind == "text":
        site.put("mt", MAILERTABLE)
    else:
        site.createmap("routes.db", MAILERTABLE)
        site.add("smar", 'map routes { type = hash; file = "@/routes.db"; } mailertable { name = routes; }')
    site.add("smtpc", 'LMTP_socket = "@/lmtpsock";')
    sinks = {"socket": Sink(unix=os.path.join(site.dir, "lmtpsock"), lmtp=True), "10.11.12.13": Sink(525, host="10.11.12.13", lmtp=True),
             "127.0.0.1": Sink(2525)}
    for a in set(GOES_TO.values()) - set(sinks):
        sinks[a] = Sink(25, host=a)
    os.chmod(sinks["socket"].port, 0o777)
    with site:
        for n, (domain, where) in enumerate(GOES_TO.items()):
            with site.client() as c:
                assert c.send_mail("", f"u@{domain}", message(f"{tag}-{n}")).code == 250, domain
            sinks[where].wait(f"{tag}-{n}")
    for s in sinks.values():
        s.stop()
    dns.stop()


# ---- gateway

GATEWAY = """\
to:user1@my.domain relay
to:user2@my.domain relay
to:postmaster@my.domain relay
cltaddr:10.12 relay
"""


def test_gateway(network):  # noqa: F811
    site = Site(routes=["my.domain esmtp:[10.12.0.1]", "elsewhere.domain esmtp:[192.0.2.25]"],
                settings={"smtps.flags": "{ access }", "smar.access_map.file": "../access.db"})
    site.createmap("access.db", GATEWAY, kind="access")
    with site:
        rcpts = [f"{u}@{d}" for u in ("user1", "user2", "postmaster", "user3") for d in ("my.domain", "elsewhere.domain")]
        for source in (OTHER, "10.12.3.4", "10.13.3.4"):
            for rcpt in rcpts:
                good = source == "10.12.3.4" or (rcpt.endswith("@my.domain") and not rcpt.startswith("user3"))
                assert talk(site, source, "", rcpt)[1] == (RCPT_OK if good else NO_RELAY), (source, rcpt)


# ---- who is never greylisted

WHITE = """\
cltaddr:10 relay
cltaddr:127.0.0.1 quick:relay
cltaddr:12.107.209.244 ok
cltaddr:64.12.137 ok
"""


def test_not_greylisted(network):  # noqa: F811
    site = Site(routes=["local.test lmtp:", "other.test lmtp:"], settings={"smtps.flags": "{ access, greylisting }", "smar.access_map.file": "../access.db",
                                                       "smar.greylisting.directory": "../greylist"})
    os.mkdir(os.path.join(site.dir, "greylist"), 0o700)
    os.chown(os.path.join(site.dir, "greylist"), os.stat(site.dir).st_uid, os.stat(site.dir).st_gid)
    site.createmap("access.db", WHITE, kind="access")
    with site:
        for source, code in (("10.1.2.3", 250), ("127.0.0.1", 250), ("12.107.209.244", 250), ("64.12.137.9", 250),
                             ("12.107.209.245", 421), (OTHER, 421)):
            assert knock(site, source).code == code, source


# ---- lookup orders

FORMS = {  # after the local part: the keys, in their order, {} is the user
    "+detail": ("{}+detail", "{}++", "{}+*", "{}*"),
    "+": ("{}+", "{}+*", "{}*"),
    "": ("{}*", "{}"),
}


def keys_of(form, user, tld):
    """Steps 1 and 2 of the manual for user<form>@sub2.sub1.<tld>."""
    keys = [k.format(user) for k in FORMS[form]]
    return [f"{k}@{d}" for d in (f"sub2.sub1.{tld}", f".sub1.{tld}", f".{tld}") for k in (*keys, "")] + keys


def test_order_of_addresses():
    """For each step a domain of its own, whose entries are those of this step and of all behind it: the first of these is found."""
    access, want = {"cltaddr:127.0.0.1": "relay"}, {}
    for a, form in enumerate(FORMS):
        count = len(keys_of(form, "", ""))
        for step in range(count + 1):
            user, tld = f"u{a}x{step}", f"t{a}x{step}"
            keys = keys_of(form, user, tld)
            if form:
                # What is never looked up for it: the address without its detail, and names without a dot in front.
                keys += [f"{user}@sub2.sub1.{tld}", user]
            for k in (*keys[step:], f"@sub1.{tld}", f"@{tld}", f"@.sub2.sub1.{tld}"):
                access["to:" + k] = f"error:551 5.7.1 {k}"
            want[f"{user}{form}@sub2.sub1.{tld}"] = f"551 5.7.1 {keys[step]}" if step < count else RCPT_OK
    site = Site(routes=[". [192.0.2.1]"], settings={"smtps.flags": "{ access }", "smar.access_map.file": "../access.db",
                                                    "smtps.max_invalid_addresses_per_session": "1000",
                                                    "smtps.max_invalid_addresses_per_transaction": "1000"})
    site.createmap("access.db", "".join(f"{k} {v}\n" for k, v in access.items()), kind="access")
    with site:
        said = talk(site, None, "", *want)[1:]
    assert dict(zip(want, said)) == want


def test_order_of_networks_and_names():
    nets = ("127.{}.3.4", "127.{}.3", "127.{}", "127")
    names = ("sub2.sub1.t{}", ".sub1.t{}", ".t{}")
    access, want, dns = {"cltaddr:127.0.0.1": "quick:relay"}, {}, Dns()
    for step in range(len(nets)):
        for k in nets[step:]:
            access["cltaddr:" + k.format(10 + step)] = f"error:551 5.7.1 {k.format(10 + step)}"
        want[f"127.{10 + step}.3.4"] = f"554 5.7.1 {nets[step].format(10 + step)}"
    for step in range(len(names) + 1):
        n = 20 + step
        access[f"cltaddr:127.{n}"] = "cont"
        for k in (*names[step:], "sub1.t{}", "t{}"):
            access["cltname:" + k.format(n)] = f"error:551 5.7.1 {k.format(n)}"
        dns.add(f"4.3.{n}.127.in-addr.arpa", PTR(f"sub2.sub1.t{n}"))
        dns.add(f"sub2.sub1.t{n}", A(f"127.{n}.3.4"))
        want[f"127.{n}.3.4"] = f"554 5.7.1 {names[step].format(n)}" if step < len(names) else (MAIL_OK,)
    site = Site(dns=dns.address, settings={"smtps.flags": "{ access }", "smar.access_map.file": "../access.db"})
    site.createmap("access.db", "".join(f"{k} {v}\n" for k, v in access.items()), kind="access")
    with site:
        assert {ip: talk(site, ip, "") for ip in want} == want
    dns.stop()


def test_another_delimiter():
    """The second + of ++ stays what it is."""
    site = Site(routes=["local.test lmtp:"], settings={"smar.address_delimiter": "-", "smar.aliases.file": "../aliases.db"})
    site.createmap("aliases.db", "some-+: local:\nany-*: local:\nboth*: local:\n", kind="aliases")
    with site:
        rcpts = {"some-x": 1, "some-": 0, "some": 0, "some+x": 0, "any-x": 1, "any-": 1, "any": 0, "any+x": 0, "both-x": 1, "both": 1, "both+x": 0}
        said = talk(site, None, "", *(f"{r}@local.test" for r in rcpts))[1:]
        assert {r: int(s == RCPT_OK) for r, s in zip(rcpts, said)} == rcpts
