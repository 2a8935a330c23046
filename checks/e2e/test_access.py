"""The manual's access maps and protected recipients as they stand there, made by createmap; what a client is told, and what arrives.

Every combination of entries is in test_decisions.py. Here the clients have the addresses of the manual, so this needs a network of its own.
"""
import os
import subprocess

import pytest
from lib import netns
from lib.client import Client, message
from lib.dns import A, PTR, Dns, MX
from lib.paths import BUILD
from lib.sink import Sink
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

NETS = ("10.0.0.0/8", "1.2.3.4/32", "192.0.2.0/24", "12.107.209.0/24", "64.12.137.0/24")

EXAMPLE = """\
cltresolve:tempptr           error:451 4.7.1 reverse lookup failed
mxbadip:127.0.0.1            error:551 5.7.1 Bad IP address 127.0.0.1 in MX/A list
mxbadip:192.168.255.255      error:551 5.7.1 Bad IP address 192.168.255.255 in MX/A list
from:@spammer.domain         error:551 5.7.1 No spammers
from:@.spammer.domain        error:551 5.7.1 No spammers in subdomains either
to:root                      error:551 5.7.1 No mail to root
to:abuse                     quick:ok
cltaddr:10                   error:551 5.7.1 No direct mail from 10.x.y.z
cltname:spammer.domain       quick:error:551 5.7.1 No mail from spammers
to:@primary.domain           relay
cltaddr:127.0.0.1            quick:relay
"""
# 10 may relay, as further down in the manual's list; the gateway; those who do not come again.
EXAMPLE_RELAY = """\
cltaddr:10                   relay
cltaddr:127.0.0.1            quick:relay
cltaddr:12.107.209.244       ok
cltaddr:64.12.137            ok
to:user1@gateway.domain      relay
to:user2@gateway.domain      relay
to:postmaster@gateway.domain relay
"""
PROTECTED = """\
protectedrcpt:list1@local.dom list:<list1@local.dom>
protectedrcpt:list3 from:<moderator3@local.dom> cltaddr:1.2.3.4 cltaddr:10
"""
ALIASES = """\
list1: <user1-1@l1-1.dom> <user2-1@l1-1.dom> <list2@local.dom>
list2: <user1-2@l2-1.dom> <user2-2@l2-2.dom>
list3: <user1-3@l3-1.dom> <user2-3@l3-2.dom>
moderator3: local:
"""


@pytest.fixture(scope="module")
def network():
    if not netns.possible():
        pytest.skip("not root, or no right to make a network namespace")
    with netns.Network():
        for net in NETS:
            subprocess.run(["ip", "route", "add", "local", net, "dev", "lo"], check=True)
        yield


@pytest.fixture(scope="module")
def dns(network):
    d = Dns()
    d.add("good.domain", MX("mx.good.domain", 10))
    d.add("mx.good.domain", A("192.0.2.25"))
    d.add("loop.domain", MX("mx.loop.domain", 10), MX("mx.good.domain", 20))
    d.add("mx.loop.domain", A("127.0.0.1"))
    d.add("private.domain", A("192.168.255.255"))
    for spam in ("spammer.domain", "deep.er.spammer.domain", "notspammer.domain"):
        d.add(spam, A("192.0.2.66"))
    d.add("66.2.0.192.in-addr.arpa", PTR("spammer.domain"))
    d.add("67.2.0.192.in-addr.arpa", PTR("spammer.domain"))  # a liar
    d.rcode("68.2.0.192.in-addr.arpa", "SERVFAIL")
    yield d
    d.stop()


@pytest.fixture(scope="module")
def sink(network):
    with Sink(lmtp=True) as s:
        yield s


def make(sink, dns, access, flags="access", aliases="", more=None):
    settings = {"smtps.flags": "{ " + flags + " }", "smar.access_map.file": "../access.db", **(more or {})}
    if aliases:
        settings["smar.aliases.file"] = "../aliases.db"
    site = Site(routes=[f"{d} {sink.port}^lmtp:[127.0.0.1]" for d in ("my.domain", "local.dom")] +
                [f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("primary.domain", "gateway.domain", "elsewhere.domain", "l1-1.dom", "l2-1.dom")],
                dns=dns.address, settings=settings)
    for name, kind, text in (("access.db", "access", access), ("aliases.db", "aliases", aliases)):
        if text:
            site.createmap(name, text, kind)
    return site


@pytest.fixture(scope="module")
def site(sink, dns):
    with make(sink, dns, EXAMPLE) as s:
        yield s


@pytest.fixture(scope="module")
def delayed(sink, dns):
    with make(sink, dns, EXAMPLE, "access, delay_checks") as s:
        yield s


@pytest.fixture(scope="module")
def relaying(sink, dns):
    with make(sink, dns, EXAMPLE_RELAY) as s:
        yield s


def talk(site, source, sender="u@good.domain", *rcpts):
    """What is said: greeting or (MAIL, each RCPT)."""
    with Client(site.port, source=source) as c:
        if c.greeting.code != 220:
            return str(c.greeting)
        said = [str(c.cmd(f"MAIL FROM:<{sender}>"))]
        if said[0].startswith("250"):
            said += [str(c.cmd(f"RCPT TO:<{r}>")) for r in rcpts]
        c.cmd("QUIT")
        return tuple(said)


OTHER = "192.0.2.5"
MAIL_OK, RCPT_OK, NO_RELAY = "250 2.1.0 Sender ok", "250 2.1.5 Recipient ok", "550 5.7.1 Relaying denied"


@pytest.mark.parametrize("source, sender, rcpt, said", [
    (OTHER, "u@good.domain", "user@my.domain", (MAIL_OK, RCPT_OK)),
    (OTHER, "u@good.domain", "root@my.domain", (MAIL_OK, "551 5.7.1 No mail to root")),
    (OTHER, "u@good.domain", "ROOT@My.Domain", (MAIL_OK, "551 5.7.1 No mail to root")),
    (OTHER, "u@good.domain", "root+x@my.domain", (MAIL_OK, RCPT_OK)),
    (OTHER, "u@good.domain", "any@primary.domain", (MAIL_OK, RCPT_OK)),
    (OTHER, "u@good.domain", "any@sub.primary.domain", (MAIL_OK, NO_RELAY)),
    (OTHER, "u@good.domain", "any@elsewhere.domain", (MAIL_OK, NO_RELAY)),
    (OTHER, "u@good.domain", "abuse@elsewhere.domain", (MAIL_OK, NO_RELAY)),
    (OTHER, "x@spammer.domain", None, ("551 5.7.1 No spammers",)),
    (OTHER, "X@Spammer.Domain", None, ("551 5.7.1 No spammers",)),
    (OTHER, "x@deep.er.spammer.domain", None, ("551 5.7.1 No spammers in subdomains either",)),
    (OTHER, "x@notspammer.domain", "user@my.domain", (MAIL_OK, RCPT_OK)),
    (OTHER, "x@loop.domain", None, ("551 5.7.1 Bad IP address 127.0.0.1 in MX/A list",)),
    (OTHER, "x@private.domain", None, ("551 5.7.1 Bad IP address 192.168.255.255 in MX/A list",)),
    (OTHER, "x@none.domain", None, ("553 5.1.8 The sender's domain does not exist",)),
    (OTHER, "", "user@my.domain", (MAIL_OK, RCPT_OK)),
    ("10.1.2.3", "u@good.domain", None, "554 5.7.1 No direct mail from 10.x.y.z"),
    ("192.0.2.66", "u@good.domain", None, "554 5.7.1 No mail from spammers"),
    ("192.0.2.67", "u@good.domain", "user@my.domain", (MAIL_OK, RCPT_OK)),
    ("192.0.2.68", "u@good.domain", None, "421 4.7.1 reverse lookup failed"),
    ("127.0.0.1", "x@spammer.domain", "any@elsewhere.domain", (MAIL_OK, RCPT_OK)),
    ("127.0.0.1", "x@loop.domain", "root@my.domain", (MAIL_OK, RCPT_OK)),
    ("127.0.0.2", "u@good.domain", "any@elsewhere.domain", (MAIL_OK, NO_RELAY)),
])
def test_example(site, source, sender, rcpt, said):
    assert talk(site, source, sender, *([rcpt] if rcpt else [])) == said


@pytest.mark.parametrize("source, sender, rcpts, said", [
    ("10.1.2.3", "u@good.domain", ("user@my.domain", "abuse@my.domain", "abuse@elsewhere.domain"),
     (MAIL_OK, "551 5.7.1 No direct mail from 10.x.y.z", RCPT_OK, NO_RELAY)),
    ("192.0.2.66", "u@good.domain", (), "554 5.7.1 No mail from spammers"),
    ("192.0.2.68", "u@good.domain", ("user@my.domain", "abuse@my.domain"), (MAIL_OK, "451 4.7.1 reverse lookup failed", RCPT_OK)),
    (OTHER, "x@spammer.domain", ("user@my.domain", "abuse@my.domain"), (MAIL_OK, "551 5.7.1 No spammers", RCPT_OK)),
    ("10.1.2.3", "x@spammer.domain", ("user@my.domain",), (MAIL_OK, "551 5.7.1 No direct mail from 10.x.y.z")),
    (OTHER, "u@good.domain", ("root@my.domain", "user@my.domain"), (MAIL_OK, "551 5.7.1 No mail to root", RCPT_OK)),
])
def test_example_delayed(delayed, source, sender, rcpts, said):
    assert talk(delayed, source, sender, *rcpts) == said


@pytest.mark.parametrize("source, rcpt, said", [
    ("10.1.2.3", "any@elsewhere.domain", RCPT_OK),
    ("12.107.209.244", "user@my.domain", RCPT_OK),
    ("64.12.137.9", "any@elsewhere.domain", NO_RELAY),
    (OTHER, "user1@gateway.domain", RCPT_OK), (OTHER, "user2@gateway.domain", RCPT_OK), (OTHER, "postmaster@gateway.domain", RCPT_OK),
    (OTHER, "user3@gateway.domain", NO_RELAY),
])
def test_relaying(relaying, source, rcpt, said):
    assert talk(relaying, source, "u@good.domain", rcpt)[1] == said


# ---- protected recipients

PROTECTED_CASES = [  # client, sender, recipient, accepted by exact, generic_lookup, implicitly_match_detail
    (OTHER, "user1-1@l1-1.dom", "list1@local.dom", True, True, True),
    (OTHER, "user2-1@l1-1.dom", "list1@local.dom", True, True, True),
    (OTHER, "user1-2@l2-1.dom", "list1@local.dom", False, False, False),
    (OTHER, "list2@local.dom", "list1@local.dom", True, True, True),
    (OTHER, "user1-1+news@l1-1.dom", "list1@local.dom", False, False, True),
    (OTHER, "other@l1-1.dom", "list1@local.dom", False, False, False),
    (OTHER, "", "list1@local.dom", False, False, False),
    (OTHER, "moderator3@local.dom", "list3@local.dom", True, True, True),
    (OTHER, "user1-3@good.domain", "list3@local.dom", False, False, False),
    ("1.2.3.4", "user1-3@good.domain", "list3@local.dom", True, True, True),
    ("10.9.8.7", "user1-3@good.domain", "list3@local.dom", False, True, True),
    ("1.2.3.4", "other@l1-1.dom", "list1@local.dom", False, False, False),
    (OTHER, "other@l1-1.dom", "list2@local.dom", True, True, True),
]


@pytest.mark.parametrize("match", ["exact", "generic_lookup", "implicitly_match_detail"])
def test_protected(sink, dns, match):
    more = {"smtps.protected_recipients.allow_by": "{ sender, client_ip }", "smtps.protected_recipients.match_type": match}
    column = {"exact": 3, "generic_lookup": 4, "implicitly_match_detail": 5}[match]
    with make(sink, dns, PROTECTED, aliases=ALIASES, more=more) as s:
        for row in PROTECTED_CASES:
            want = RCPT_OK if row[column] else "550 5.7.1 You may not send to this recipient"
            assert talk(s, *row[:3])[1] == want, row


def test_protection_needs_its_flags(sink, dns):
    """A restriction whose flag is not set is not met; without any flag nothing is protected."""
    with make(sink, dns, PROTECTED, aliases=ALIASES, more={"smtps.protected_recipients.allow_by": "{ client_ip }"}) as s:
        assert talk(s, OTHER, "moderator3@local.dom", "list3@local.dom")[1].startswith("550")
        assert talk(s, "1.2.3.4", "moderator3@local.dom", "list3@local.dom")[1] == RCPT_OK
    with make(sink, dns, PROTECTED, aliases=ALIASES) as s:
        assert talk(s, OTHER, "other@l1-1.dom", "list1@local.dom")[1] == RCPT_OK


# ---- discard

DISCARDING = """\
cltaddr:10             discard
from:@spammer.domain   discard
to:gone                discard
to:everybody           quick:discard
"""


def test_discard(sink, dns, tag):
    with make(sink, dns, DISCARDING, aliases="") as s:
        sends = [("10.1.2.3", "u@good.domain", ["a@my.domain", "b@elsewhere.domain"], []),
                 (OTHER, "x@spammer.domain", ["a@my.domain"], []),
                 (OTHER, "u@good.domain", ["gone@my.domain"], []),
                 (OTHER, "u@good.domain", ["a@my.domain", "gone@my.domain", "b@my.domain"], ["a@my.domain", "b@my.domain"]),
                 (OTHER, "u@good.domain", ["a@my.domain", "everybody@my.domain", "b@my.domain"], [])]
        for n, (source, sender, rcpts, arrive) in enumerate(sends):
            with Client(s.port, source=source) as c:
                r = c.send_mail(sender, rcpts, message(f"{tag}-{n}"))
                assert r.code == 250 and r.text.endswith("Message accepted for delivery")
                # The next transaction of a session is another one.
                if source == OTHER:
                    assert c.send_mail("u@good.domain", "after@my.domain", message(f"{tag}-after-{n}")).code == 250
                    sink.wait(f"{tag}-after-{n}")
            gone = len([x for x in sends[:n + 1] if not x[3]])
            until(lambda: len(discarded(s)) >= gone, "it is in the log")
            assert len(discarded(s)) == gone and 'why="discarded by policy"' in discarded(s)[-1]
            if arrive:
                assert sorted(sink.wait(f"{tag}-{n}")[0].rcpts) == arrive
            else:
                assert not sink.find(f"{tag}-{n}")
        s.wait_empty()
        assert "gone@my.domain" not in "".join(s.log_lines("qmgr", "qm.rcpt"))


def discarded(site):
    return [x for x in site.log_lines("smtps", "ss.discard") if "where=final" in x]


# ---- what goes wrong

def test_long_texts_stay_one_line(sink, dns):
    text = "x" * 3000
    with make(sink, dns, "to:nobody ok\n") as s:
        # createmap would not take it.
        with open(os.path.join(s.dir, "access"), "w") as f:
            f.write(f"to:long error:550 5.7.1 {text}\nto:eight error:550 5.7.1 \xfc\n")
        with open(s.conf) as f:
            conf = f.read()
        with open(s.conf, "w") as f:
            f.write(conf.replace("../access.db", "../access"))
        taken = len(s.log_lines("smar", "ar.map"))
        s.reload()
        until(lambda: len(s.log_lines("smar", "ar.map")) > taken, "the map is taken")
        with Client(s.port, source=OTHER) as c:
            assert c.mail("u@good.domain").code == 250
            r = c.rcpt("long@my.domain")
            assert r.code == 550 and len(r.raw) <= 512 and r.text.startswith("5.7.1 xxxxxxxx")
            assert c.rcpt("eight@my.domain").code == 451
            assert c.rcpt("a@my.domain").code == 250


def test_a_map_that_cannot_be_asked_refuses_nothing_for_good(sink, dns):
    """Not even what would be refused without any entry; and nobody gets in."""
    s = Site(routes=[f"my.domain {sink.port}^lmtp:[127.0.0.1]"], dns=dns.address, settings={"smtps.flags": "{ access, delay_checks }"})
    s.add("smar", 'map away { type = socket; path = "@/nobody"; mapname = access; } access_map { name = away; }')
    later = "451 4.3.0 Access cannot be checked now, try again later"
    with s:
        assert talk(s, OTHER, "u@good.domain", "user@my.domain", "any@elsewhere.domain") == (MAIL_OK, later, later)
        assert any("cltaddr:192.0.2.5" in x for x in s.log_lines("smar", "ar.access"))


def test_createmap_names_the_line():
    r = subprocess.run([os.path.join(BUILD, "createmap"), "-k", "access", "/tmp/none.db"], text=True, capture_output=True,
                       input="to:a ok\nto:b error:550 4.7.1 no\n")
    assert r.returncode != 0 and ":2:" in r.stderr and "enhanced code" in r.stderr, r.stderr
    assert not os.path.exists("/tmp/none.db")
