"""Aliases and lists on their way: who gets the mail, from whom, who is told what, and that a crash in the middle sends nothing twice."""
import collections
import os
import re
import signal

import pytest
from lib.client import message
from lib.handed import Handed
from lib.sink import Serve, Sink
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

DSN_EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-DSN\r\n250 SIZE\r\n"
ALIASES = """
one: <x@far.test>
many: <x@far.test> <y@far.test> <z@dsn.test>
home: <box@local.test> <x@far.test>
box: local:
ann: local:
deep1: deep2
deep2: <x@far.test> <deep3@local.test>
deep3: <y@far.test>
away: <nobody@fail.test>
list: <x@far.test> <nobody@fail.test>
owner-list: ann
inner: <y@far.test> <n2@fail.test>
owner-inner: boss
boss: local:
outer: <x@far.test> <inner@local.test>
owner-outer: ann
verp: <x@far.test> <nobody@fail.test>
owner-verp*: verp: ann
long: :include:long
owner-long: ann
plenty: :include:plenty
each: :include:each
owner-each*: verp: ann
"""


def lists(site, **members):
    path = os.path.join(site.dir, "lists")
    if not os.path.isdir(path):
        os.mkdir(path)
        os.chmod(path, 0o755)
    for name, lines in members.items():
        site.put(f"lists/{name}", "".join(f"{m}\n" for m in lines))


def make_site(servers, settings=None):
    site = Site(routes=[f"{d} {s.port}^{'lmtp' if s.lmtp else 'esmtp'}:[127.0.0.1]" for d, s in servers.items()],
                relay=["far.test", "dsn.test", "fail.test"], hostname="local.test", settings=settings)
    site.add("smar", 'aliases { file = "@/aliases"; include_directory = "@/lists"; }')
    site.put("aliases", ALIASES)
    return site


@pytest.fixture(scope="module")
def servers():
    out = {"local.test": Sink(lmtp=True), "far.test": Sink(), "dsn.test": Sink(), "fail.test": Sink(), "from.test": Sink()}
    out["fail.test"].default = Serve({"RCPT": b"550 5.1.1 no such user\r\n"})
    out["dsn.test"].default = Serve({"EHLO": DSN_EHLO})
    yield out
    for s in out.values():
        s.stop()


@pytest.fixture(scope="module", name="site")
def fixture_site(servers):
    site = make_site(servers)
    lists(site, long=[f"m{i}@far.test" for i in range(2500)], each=[f"e{i}@far.test" for i in range(40)], plenty=["p@far.test"])
    with site as s:
        yield s


def send(site, tag, rcpt, sender="s@from.test", mail="", params=""):
    with site.client() as c:
        assert c.ehlo().code == 250
        assert c.mail(sender, mail).code == 250
        r = c.rcpt(rcpt, params)
        assert r.code == 250, r
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250


def arrived(servers, tag):
    """(sender, recipient) of all that came to the end."""
    return sorted((m.sender, r) for s in servers.values() for m in s.find(tag) for r in m.rcpts)


def test_who_gets_it(site, servers, tag):
    for n, (rcpt, members) in enumerate({
            "one": ["x@far.test"], "many": ["x@far.test", "y@far.test", "z@dsn.test"], "home": ["box@local.test", "x@far.test"],
            "deep1": ["x@far.test", "y@far.test"], "box": ["box@local.test"]}.items()):
        send(site, f"{tag}-{n}", f"{rcpt}@local.test")
        site.wait_empty()
        assert arrived(servers, f"{tag}-{n}") == [("s@from.test", m) for m in members], rcpt
    # The same once more in one mail: aliases do not know of each other.
    with site.client() as c:
        assert c.send_mail("s@from.test", ["one@local.test", "many@local.test", "box@local.test"], message(tag)).code == 250
    site.wait_empty()
    assert arrived(servers, tag) == [("s@from.test", m) for m in ["box@local.test", "x@far.test", "x@far.test", "y@far.test", "z@dsn.test"]]


def reports_to(servers, who, tag):
    d = "local.test" if who.endswith("local.test") else "from.test"
    return [m for m in servers[d].reports(who) if tag.encode() in m.content]


def test_the_owner_is_told(site, servers, tag):
    send(site, tag, "list@local.test", mail=" ENVID=me", params=" NOTIFY=FAILURE,DELAY ORCPT=rfc822;list@x")
    site.wait_empty()
    assert arrived(servers, tag) == [("owner-list@local.test", "x@far.test")]
    told = reports_to(servers, "ann@local.test", tag)
    assert len(told) == 1 and not reports_to(servers, "s@from.test", tag)
    report = told[0].content.decode("latin-1")
    assert "nobody@fail.test" in report and "Original-Envelope-Id" not in report and "list@x" not in report


def test_an_inner_list_keeps_its_owner(site, servers, tag):
    send(site, tag, "outer@local.test")
    site.wait_empty()
    assert arrived(servers, tag) == [("owner-inner@local.test", "y@far.test"), ("owner-outer@local.test", "x@far.test")]
    assert len(reports_to(servers, "boss@local.test", tag)) == 1 and not reports_to(servers, "s@from.test", tag)


def test_verp_tells_who_could_not_be_reached(site, servers, tag):
    send(site, tag, "verp@local.test")
    site.wait_empty()
    assert arrived(servers, tag) == [("owner-verp+x=far.test@local.test", "x@far.test")]
    told = [m for m in servers["local.test"].find(lambda m: m.sender == "") if tag.encode() in m.content]
    assert [m.rcpts for m in told] == [["ann@local.test"]]
    assert b"owner-verp+nobody=fail.test@local.test" in told[0].content


def test_a_broken_member_is_reported_as_what_it_is(site, servers, tag):
    send(site, tag, "away@local.test", mail=" ENVID=me", params=" ORCPT=rfc822;first@x")
    site.wait_empty()
    told = reports_to(servers, "s@from.test", tag)
    assert len(told) == 1
    text = told[0].content.decode("latin-1")
    assert "Original-Envelope-Id: me" in text and re.search("Original-Recipient: rfc822; ?first@x", text) and "nobody@fail.test" in text


def commands(sink, since, verb):
    return [line.decode().strip() for _, line in sink.commands[since:] if line.upper().startswith(verb)]


@pytest.mark.parametrize("rcpt, notify, action, passed", [
    ("one", "SUCCESS", "relayed", None), ("many", "SUCCESS", "expanded", "NEVER"), ("many", "SUCCESS,FAILURE", "expanded", "FAILURE"),
    ("many", "FAILURE", None, "FAILURE"), ("many", "NEVER", None, "NEVER"), ("many", None, None, None),
    ("list", "SUCCESS", "delivered", None), ("list", "NEVER", None, None), ("box", "SUCCESS", "delivered", None)])
def test_what_goes_on_to_members(site, servers, tag, rcpt, notify, action, passed):
    """RFC 3461 5.2.7: what the sender asked for goes on, or is answered."""
    before = len(servers["dsn.test"].commands)
    send(site, tag, f"{rcpt}@local.test", mail=" RET=HDRS ENVID=me", params=f" NOTIFY={notify}" if notify else "")
    site.wait_empty()
    told = reports_to(servers, "s@from.test", tag)
    assert [re.findall(r"(?m)^Action: (\w+)", m.content.decode("latin-1").replace("\r", "")) for m in told] == ([[action]] if action else []), told
    if action:
        assert b"Original-Envelope-Id: me" in told[0].content
    if rcpt == "many":
        # An original recipient is added, so that the sender knows whom a report is about.
        line = commands(servers["dsn.test"], before, b"RCPT")[-1]
        assert "ORCPT=rfc822;many@local.test" in line
        assert re.findall(r"NOTIFY=(\S+)", line) == ([passed] if passed else [])
        assert "ENVID=me" in commands(servers["dsn.test"], before, b"MAIL")[-1]


def test_many_members(site, servers, tag):
    send(site, tag, "long@local.test")
    site.wait_empty(120)
    assert arrived(servers, tag) == sorted(("owner-long@local.test", f"m{i}@far.test") for i in range(2500))
    ta = re.search(r"ss_ta=(\S+), ", [x for x in site.log_lines("smtps", "ss.final") if "stat=250" in x][-1]).group(1)
    steps = [x for x in site.log_lines("qmgr", "qm.expand") if f"ss_ta={ta}" in x]
    assert [re.search(r"members=(\d+), more=(\d)", x).groups() for x in steps] == [("1000", "1"), ("1000", "1"), ("500", "0")]


def test_each_member_a_mail(site, servers, tag):
    send(site, tag, "each@local.test")
    site.wait_empty(60)
    assert arrived(servers, tag) == sorted((f"owner-each+e{i}=far.test@local.test", f"e{i}@far.test") for i in range(40))


def test_a_list_that_cannot_be_read_waits(site, servers, tag):
    lists(site, plenty=["p@far.test", "not an address"])
    send(site, tag, "plenty@local.test")
    until(lambda: any("plenty" in x and "stat=deferred" in x for x in site.log_lines("qmgr", "qm.rcpt")), "it waits")
    lists(site, plenty=["p@far.test", "q@far.test"])
    site.wait_empty()
    assert arrived(servers, tag) == [("s@from.test", "p@far.test"), ("s@from.test", "q@far.test")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["long", "each"])
def test_qmgr_dies_while_it_expands(servers, tag, name):
    """Again and again, in the middle: a member comes as often as it was handed out without a durable result, and once."""
    count = 3000 if name == "long" else 600
    settings = {"qmgr.log_level": "13", "qmgr.restart_min_delay": "10ms", "qmgr.restart_max_delay": "100ms", "qmgr.retry_min_delay": "1s",
                "qmgr.retry_max_delay": "1s", "qmgr.IBDB.size": "2MB", "qmgr.DEFEDB.size": "2MB"}
    site = make_site(servers, settings)
    members = [f"{tag[-9:]}m{i}@far.test" for i in range(count)]
    lists(site, **{name: members})
    with site:
        killed = lines = 0
        # A slow disk: what is written shortly before the end may be lost, or not.
        with site.faults("qmgr", "ibdb.sync=delay:30") as faults:
            send(site, tag, f"{name}@local.test", sender="")
            while site.content_files() and killed < 8:
                until(lambda: len(site.log_lines("qmgr", "qm.expand")) > lines or not site.content_files(), "it goes on")
                lines = len(site.log_lines("qmgr", "qm.expand"))
                old = site.pids("qmgr")
                faults.write("ibdb.sync=delay:30")
                site.kill("qmgr", signal.SIGKILL)
                killed += 1
                site.restarted("qmgr", old)
        site.wait_empty(120)
        got = collections.Counter(r for m in servers["far.test"].find(tag) for r in m.rcpts)
        assert killed > 0
        assert sorted(got) == sorted(members)
        handed = Handed(late=2.0)
        for log, text in sorted(site.logs_since().items()):
            if log.startswith("qmgr"):
                handed.feed(text.splitlines())
        handed.hold_against(got)
        assert not handed.wrong, (handed.wrong[:5], handed.figures)
