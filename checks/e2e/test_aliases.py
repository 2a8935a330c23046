"""Local addresses: those that are in the aliases or among the users are taken, others are refused at MAIL and RCPT."""
import os
import subprocess

import pytest
from lib.client import message
from lib.paths import BUILD
from lib.sink import Sink
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

# The manual's examples, and a list.
ALIASES = """
postmaster: <user@host.test>
abuse: user+abuse
user++: local:
user: local:
myalias: user
mylist: <user1@far.test> <user2@far.test> <user@host.test>
owner-mylist*: verp: user
staff: :include:staff
"""
VIRTUAL = """
myalias@first.test: user1
another@second.test: user2
@whole.test: user3
"""
LOCAL = ["host.test", "first.test", "second.test", "whole.test"]


def site_with(sink, smar):
    """`smar`: more of its section; @ is the site's directory."""
    site = Site(routes=[f"{d} {sink.port}^lmtp:[127.0.0.1]" for d in LOCAL], relay=["far.test"], hostname="host.test")
    site.add("smar", smar)
    return site


@pytest.fixture(name="lmtp", scope="module")
def fixture_lmtp():
    s = Sink(lmtp=True)
    yield s
    s.stop()


def says(site, rcpt="postmaster", sender="a@src.test"):
    with site.client() as c:
        r = c.mail(sender)
        return r if r.code != 250 else c.rcpt(rcpt)


def check(site, known, unknown):
    for rcpt in known:
        assert says(site, rcpt).code == 250, rcpt
        if "@" in rcpt:
            assert says(site, sender=rcpt).code == 250, rcpt
    for rcpt in unknown:
        for r in (says(site, rcpt), says(site, sender=rcpt)):
            assert (r.code, r.enhanced) == (550, "5.1.1"), (rcpt, r)


@pytest.mark.parametrize("file", ["aliases.db", "aliases.cdb", "aliases.mdb", "aliases"])
def test_local_parts(lmtp, file, tag):
    site = site_with(lmtp, f'aliases {{ file = "@/{file}"; include_directory = "@/lists"; }}')
    os.mkdir(os.path.join(site.dir, "lists"), 0o755)
    site.put("lists/staff", "user1@far.test\n")
    if file == "aliases":
        site.put(file, ALIASES)
    else:
        site.createmap(file, ALIASES, kind="aliases")
    with site:
        check(site,
              ["user@host.test", "USER@First.test", "user+x@second.test", "abuse@host.test", "mylist@whole.test", "staff@host.test",
               "owner-mylist@host.test", "owner-mylist+user1=far.test@first.test", "postmaster@second.test", "postmaster", "any@far.test"],
              ["user1@host.test", "user+@host.test", "abuse+x@host.test", "nobody@first.test", "\"us er\"@host.test", "owner-staff@host.test"])
        # A bounce of a bounce has no sender to be checked.
        assert says(site, sender="").code == 250
        # A user who exists gets his mail; what the other reply was for is not there.
        with site.client() as c:
            assert c.send_mail("a@src.test", "user+box@host.test", message(tag)).code == 250
        assert lmtp.wait(tag)[0].rcpts == ["user+box@host.test"]
        # A list is read with no more rights than smar has when it runs.
        with site.client() as c:
            assert c.send_mail("a@src.test", "staff@host.test", message(tag + "-2")).code == 250
        until(lambda: any("rcpt=<staff@host.test>, members=1, more=0" in x for x in site.log_lines("smar", "ar.route")), "the list is read", 30)


def test_virtual_users(lmtp):
    site = site_with(lmtp, 'aliases { file = "@/aliases.db"; flags = { local_domains }; }')
    site.createmap("aliases.db", VIRTUAL, kind="aliases")
    with site:
        check(site, ["myalias@first.test", "another@second.test", "any@whole.test", "any+thing@whole.test"],
              ["myalias@second.test", "another@first.test", "user1@host.test", "myalias+x@first.test"])


def test_users_beside_aliases(lmtp):
    site = site_with(lmtp, 'map users { file = "@/users.db"; } map others { type = inline; entries = { "bob -" }; } '
                           "map both { type = sequence; maps = { users, others }; } "
                           'aliases { file = "@/aliases.db"; } '
                           "local_user_map { name = both; flags = { implicitly_match_detail }; }")
    site.createmap("aliases.db", "sales: ann\n", kind="aliases")
    site.createmap("users.db", "ann -\n", kind="plain")
    with site:
        check(site, ["ann@host.test", "ann+x@first.test", "bob@second.test", "sales@host.test", "postmaster@host.test"],
              ["carl@host.test", "sales+x@host.test", "postmaster+x@host.test"])
        # A new one is there without a restart; an entry that is wrong does not even get into the map.
        site.createmap("users.db", "ann -\ncarl -\n", kind="plain")
        until(lambda: says(site, "carl@host.test").code == 250, "the new user is known", 30)
        r = site.createmap("aliases.db", "sales: ann\nhelp: ann, carl\n", kind="aliases", check=False)
        assert r.returncode != 0 and ":2" in r.stdout and "no commas" in r.stdout, r.stdout
        assert says(site, "help@host.test").code == 550


# ---- the manual's examples, with its very words ----

MANUAL_MAILERTABLE = ["first.dom lmtp:", "second.dom lmtp:", "virt1.tld lmtp:", "virt2.tld lmtp:", "localhost lmtp:", "MY.DOM lmtp:", "HOST.MY.DOM lmtp:",
                      "local.host lmtp:", "host.domain lmtp:", "host2.domain lmtp:"]
MANUAL_LISTS = """\
myalias: localuser
mylist: <user1@my.dom> <user2@my.dom> <localuser@local.host>
owner-mylist: someuser
"""
MANUAL_DOMAINS = """\
myalias@first.dom: user1
another@second.dom: user2
"""
MANUAL_VIRTUAL = """\
vuser1@virt1.tld: user1
vuser2@virt1.tld: user2
vuser3@virt2.tld: user3
"""
MANUAL_MACROS = """\
alias*@.domain     user${extension}@${subdomain}.domain
"""
MANUAL_LOCAL = """\
postmaster: <user@host.domain>
abuse: user+abuse
user++: local:
user: local:
"""


@pytest.mark.parametrize("text, more, flags, mails", [
    (MANUAL_LISTS, "localuser: local:\nuser1: local:\nuser2: local:\nsomeuser: local:\n", "localpart", {
        "myalias@local.host": ("a@src.test", ["localuser@local.host"]),
        "myalias@first.dom": ("a@src.test", ["localuser@local.host"]),
        # "the original domain will be preserved"
        "mylist@local.host": ("owner-mylist@local.host", ["localuser@local.host", "user1@my.dom", "user2@my.dom"]),
        "mylist@second.dom": ("owner-mylist@second.dom", ["localuser@local.host", "user1@my.dom", "user2@my.dom"]),
        "owner-mylist@first.dom": ("a@src.test", ["someuser@local.host"])}),
    (MANUAL_DOMAINS, "user1@local.host: local:\nuser2@local.host: local:\n", "local_domains", {
        "myalias@first.dom": ("a@src.test", ["user1@local.host"]),
        "another@second.dom": ("a@src.test", ["user2@local.host"]),
        "myalias@second.dom": 550, "another@first.dom": 550}),
    (MANUAL_VIRTUAL, "user1@local.host: local:\nuser2@local.host: local:\nuser3@local.host: local:\n", "local_domains", {
        "vuser1@virt1.tld": ("a@src.test", ["user1@local.host"]),
        "vuser2@virt1.tld": ("a@src.test", ["user2@local.host"]),
        "vuser3@virt2.tld": ("a@src.test", ["user3@local.host"]),
        "vuser3@virt1.tld": 550}),
    (MANUAL_MACROS, "user*@host.domain: local:\nuser*@host2.domain: local:\n", "local_domains, replace_macros", {
        "alias@host.domain": ("a@src.test", ["user@host.domain"]),
        "alias+detail@host2.domain": ("a@src.test", ["user+detail@host2.domain"])}),
    (MANUAL_LOCAL, "", "localpart", {
        "postmaster": ("a@src.test", ["user@host.domain"]),
        "abuse@localhost": ("a@src.test", ["user+abuse@local.host"]),
        "user+x@HOST.MY.DOM": ("a@src.test", ["user+x@host.my.dom"]),
        "user@my.dom": ("a@src.test", ["user@my.dom"]),
        "user+@my.dom": 550, "other@my.dom": 550}),
    # What the manual says of flags, macros and nesting without an example.
    (MANUAL_DOMAINS, "user1@first.dom: local:\nuser2@second.dom: local:\n", "local_domains, preserve_domain", {
        "myalias@first.dom": ("a@src.test", ["user1@first.dom"]),
        "another@second.dom": ("a@src.test", ["user2@second.dom"])}),
    ("any@far.dom: <new@my.dom>\nhere@first.dom: <new@my.dom>\nnew@my.dom: local:\n", "", "all_domains", {
        "any@far.dom": ("a@src.test", ["new@my.dom"]),
        "here@first.dom": ("a@src.test", ["new@my.dom"]),
        "here@second.dom": 550}),
    (MANUAL_LISTS, "localuser: local:\n", "localpart, implicitly_match_detail", {
        "myalias+detail@first.dom": ("a@src.test", ["localuser@local.host"]),
        "myalias+@first.dom": ("a@src.test", ["localuser@local.host"])}),
    ("m*@.domain: ${user}.${detail}${delimiter}${subdomain}.${domain}${extension}.${tag}end\n", "m.x+host.host.domain+x.end@local.host: local:\n",
     "local_domains, replace_macros", {
         "m+x@host.domain": ("a@src.test", ["m.x+host.host.domain+x.end@local.host"])}),
    ("n1: n2\nn2: n3\nn3: n4\nn4: n5\nn5: user\nuser: local:\n", "n0: n1\n", "localpart", {
        "n1@first.dom": ("a@src.test", ["user@local.host"]),
        "n0@first.dom": "nested too deep"}),
], ids=["lists", "domains", "virtual", "macros", "local", "preserve_domain", "all_domains", "implicit", "all-macros", "nested"])
def test_what_the_manual_says(text, more, flags, mails, tag):
    site = Site(routes=MANUAL_MAILERTABLE, relay=["far.dom"], hostname="local.host")
    site.add("smar", f'aliases {{ file = "@/aliases.db"; flags = {{ {flags} }}; }}')
    site.add("smtpc", 'LMTP_socket = "@/lmtpsock";')
    site.createmap("aliases.db", text + more, kind="aliases")
    with Sink(unix=os.path.join(site.dir, "lmtpsock"), lmtp=True) as lmtp, site:
        os.chmod(os.path.join(site.dir, "lmtpsock"), 0o777)
        for n, (rcpt, becomes) in enumerate(mails.items()):
            with site.client() as c:
                if becomes == 550:
                    c.mail("a@src.test")
                    assert c.rcpt(rcpt).code == 550, rcpt
                    continue
                if isinstance(becomes, str):  # taken, and refused when it is expanded; nobody is told
                    assert c.send_mail("", rcpt, message(f"{tag}-{n}")).code == 250
                    until(lambda: any("stat=failed" in x and becomes in x for x in site.log_lines("qmgr", "qm.rcpt")), rcpt)
                    continue
                assert c.send_mail("a@src.test", rcpt, message(f"{tag}-{n}")).code == 250
            got = until(lambda: sum(len(m.rcpts) for m in lmtp.find(f"{tag}-{n}")) >= len(becomes[1]) and lmtp.find(f"{tag}-{n}"), rcpt)
            assert {m.sender for m in got} == {becomes[0]}, rcpt
            assert sorted(r for m in got for r in m.rcpts) == becomes[1], rcpt
        site.wait_empty()


def test_without_either_everything_local_exists(lmtp):
    with site_with(lmtp, "") as site:
        check(site, ["any@host.test", "postmaster"], [])


@pytest.mark.parametrize("wrong, says_so", [("none", "aliases.include_directory: "), ("open", "others may write to it")])
def test_the_directory_of_lists_has_to_be_fit(lmtp, wrong, says_so):
    site = site_with(lmtp, f'aliases {{ file = "@/aliases"; include_directory = "@/{wrong}"; }}')
    site.put("aliases", ALIASES)
    os.mkdir(os.path.join(site.dir, "open"))
    os.chmod(os.path.join(site.dir, "open"), 0o777)
    r = subprocess.run([*site.prefix, os.path.join(BUILD, "smar", "smar"), "-f", site.conf], cwd=site.spool, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert r.returncode == 78 and says_so in r.stdout, r.stdout
