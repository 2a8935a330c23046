"""Local addresses: those that are in the aliases or among the users are taken, others are refused at MAIL and RCPT."""
import os
import re
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


def put(site, name, text):
    path = os.path.join(site.dir, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o644)


def createmap(site, name, text, kind="aliases"):
    r = subprocess.run([os.path.join(BUILD, "createmap"), "-k", kind, os.path.join(site.dir, name)], input=text, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode == 0:
        os.chmod(os.path.join(site.dir, name), 0o644)
    return r


def site_with(sink, smar):
    """`smar`: more of its section; @ is the site's directory."""
    site = Site(routes=[f"{d} {sink.port}^lmtp:[127.0.0.1]" for d in LOCAL], relay=["far.test"], hostname="host.test")
    with open(site.conf) as f:
        conf = f.read()
    with open(site.conf, "w") as f:
        f.write(re.sub(r"(?m)^smar \{$", lambda m: m.group(0) + "\n" + smar.replace("@", site.dir), conf, count=1))
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
    put(site, "lists/staff", "user1@far.test\n")
    if file == "aliases":
        put(site, file, ALIASES)
    else:
        assert createmap(site, file, ALIASES).returncode == 0
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
    assert createmap(site, "aliases.db", VIRTUAL).returncode == 0
    with site:
        check(site, ["myalias@first.test", "another@second.test", "any@whole.test", "any+thing@whole.test"],
              ["myalias@second.test", "another@first.test", "user1@host.test", "myalias+x@first.test"])


def test_users_beside_aliases(lmtp):
    site = site_with(lmtp, 'map users { file = "@/users.db"; } map others { type = inline; entries = { "bob -" }; } '
                           "map both { type = sequence; maps = { users, others }; } "
                           'aliases { file = "@/aliases.db"; } '
                           "local_user_map { name = both; flags = { implicitly_match_detail }; }")
    assert createmap(site, "aliases.db", "sales: ann\n").returncode == 0
    assert createmap(site, "users.db", "ann -\n", kind="plain").returncode == 0
    with site:
        check(site, ["ann@host.test", "ann+x@first.test", "bob@second.test", "sales@host.test", "postmaster@host.test"],
              ["carl@host.test", "sales+x@host.test", "postmaster+x@host.test"])
        # A new one is there without a restart; an entry that is wrong does not even get into the map.
        assert createmap(site, "users.db", "ann -\ncarl -\n", kind="plain").returncode == 0
        until(lambda: says(site, "carl@host.test").code == 250, "the new user is known", 30)
        r = createmap(site, "aliases.db", "sales: ann\nhelp: ann, carl\n")
        assert r.returncode != 0 and ":2" in r.stdout and "no commas" in r.stdout, r.stdout
        assert says(site, "help@host.test").code == 550


def test_without_either_everything_local_exists(lmtp):
    with site_with(lmtp, "") as site:
        check(site, ["any@host.test", "postmaster"], [])


@pytest.mark.parametrize("wrong, says_so", [("none", "aliases.include_directory: "), ("open", "others may write to it")])
def test_the_directory_of_lists_has_to_be_fit(lmtp, wrong, says_so):
    site = site_with(lmtp, f'aliases {{ file = "@/aliases"; include_directory = "@/{wrong}"; }}')
    put(site, "aliases", ALIASES)
    os.mkdir(os.path.join(site.dir, "open"))
    os.chmod(os.path.join(site.dir, "open"), 0o777)
    r = subprocess.run([*site.prefix, os.path.join(BUILD, "smar", "smar"), "-f", site.conf], cwd=site.spool, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert r.returncode == 78 and says_so in r.stdout, r.stdout
