"""What operators see and do: qmgrctl, mailq and metaqueue against a real site."""
import os
import pwd
import re
import socket
import subprocess
import time

import pytest
from lib.client import message
from lib.dns import A, Dns
from lib.paths import BUILD, SRC, free_port, is_testing_build
from lib.qmgrctl import Ctl
from lib.sink import Serve, Sink
from lib.site import Site
from lib.wait import never, until

pytestmark = [pytest.mark.inside]

SLOW_RETRY = {"qmgr.retry_min_delay": "10m", "qmgr.retry_max_delay": "20m"}
MAILQ, METAQUEUE = (os.path.join(BUILD, "misc", x) for x in ("mailq", "metaqueue"))
EVIL = "\x1b]0;owned\x07\x1b[31m\u009b2J\u202eevil"


@pytest.fixture(scope="module")
def away():
    return free_port()


@pytest.fixture(scope="module")
def grey():
    """A next hop that puts everything off, with a reply that would like to be on a terminal."""
    with Sink(scripts=[[Serve({"RCPT": b"451 4.7.1 greylisted " + EVIL.encode() + b"\r\n"})]]) as s:
        yield s


@pytest.fixture(scope="module")
def site(sink, grey, away):
    with Site(routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]", f"away.test {away}^esmtp:[127.0.0.1]", f"grey.test {grey.port}^esmtp:[127.0.0.1]"],
              relay=["local.test", "away.test", "grey.test"], settings=SLOW_RETRY) as s:
        yield s


@pytest.fixture
def ctl(site):
    ctl = Ctl(site)
    yield ctl
    for args in (("start", "accepting"), ("start", "delivering")):
        subprocess.run([*site.prefix, os.path.join(site.dir, "qmgrctl"), *args], capture_output=True, cwd=site.dir)
    ctl.lines("remove", "all", status=0 if ctl.found() == 0 else 1)
    until(lambda: ctl.found() == 1, "the queue is empty", 20)


def send(site, *mails):
    with site.client() as c:
        for sender, *rcpts in mails:
            c.begin(sender, *rcpts)
            assert c.finish(message(f"{sender}")).code == 250


def deferred(ctl, count, *conditions):
    until(lambda: sum(m["queue"] == "deferred" for m in ctl.mails(*conditions)) == count, lambda: f"{count} are deferred: {ctl.mails()}", 20)
    return ctl.mails(*conditions)


def test_status(site, ctl):
    s = ctl.one("status")
    assert s["schema"] == 1 and s["accepting"] is True and s["delivering"] is True and s["memory_bytes"] > 100000
    assert {r["name"] for r in s["resources"]} == {"disk", "iqdb", "aq", "edbc", "memory"}
    text = ctl("status")
    assert "accepting mail         yes" in text and "credit for new mail    100%" in text


def test_empty(site, ctl):
    assert ctl("list", status=1) == "no mail is such\n"
    assert ctl.lines("list", status=1) == []
    assert ctl("summary", status=1) == "no mail is such\n"
    assert ctl("users", status=1) == ""


def test_list_and_filters(site, ctl):
    send(site, ("a@src.test", "x@away.test"), ("b@src.test", "y@away.test", "z@grey.test"), ("", "w@grey.test"))
    everything = deferred(ctl, 3)
    assert [m["sender"] for m in everything] == ["a@src.test", "b@src.test", ""], "in the order of arrival"
    assert everything[1]["rcpt_count"] == 2 and everything[1]["rcpts"][1]["rcpt"] == "z@grey.test"
    for conditions, senders in {
        ("sender=a@src.test",): ["a@src.test"], ("sender=<>",): [""], ("domain=grey.test",): ["b@src.test", ""], ("rcpt=*@away.test",): ["a@src.test", "b@src.test"],
        ("domain=grey.test", "sender=b@*"): ["b@src.test"], ("reason=greylisted",): ["b@src.test", ""], ("!domain=grey.test",): ["a@src.test", "b@src.test"],
        ("age>1h",): [], ("state=held",): [], ("size<1M", "tries>=0", "next>1m"): ["a@src.test", "b@src.test", ""],
        ("id=" + everything[0]["id"],): ["a@src.test"], (everything[2]["id"], everything[0]["id"]): ["a@src.test", ""],
    }.items():
        assert [m["sender"] for m in ctl.mails(*conditions)] == senders, conditions
    assert [r["rcpt"] for r in ctl.mails("domain=grey.test")[0]["rcpts"]] == ["z@grey.test"], "only what was chosen"
    page = ctl.mails("--limit", "2")
    assert page == everything[:2] or [m["id"] for m in page] == [m["id"] for m in everything[:2]]
    assert [m["id"] for m in ctl.mails("--limit=2", "--after", page[1]["id"])] == [everything[2]["id"]]


@pytest.fixture(scope="module")
def wrong(site):
    return Ctl(site)


@pytest.mark.parametrize("words,says", [
    ("", "usage: qmgrctl"), ("dance", "there is no verb dance; there are status, list,"), ("help dance", "there are status"), ("--frob", "no option --frob"), ("-z", "no option -z"),
    ("list --json=1", "takes no value"), ("list --limit", "wants a value"), ("-s", "wants a value"), ("status now", "takes no words"), ("reload now", "takes no words"),
    ("status --by x", "status does not know --by; see qmgrctl help status"), ("list -n", "does not know --dry-run"), ("flush --reason x", "does not know --reason"),
    ("list colour=red", "conditions are on id, sender,"), ("list age=3h", "after age comes one of"), ("list age>x", "takes a time: 30s"), ("list size>big", "takes a size: 2000"),
    ("list tries=many", "takes a number"), ("list state=dead", "active, deferred, held"), ("list domain=", "a value is missing"), ("list domain!=x", 'for "not" put !'),
    ("list !!x=1", "a condition is key=value"), ("list word", '"word" is neither an id (S and 18 hex digits) nor a condition'), ("list S0001", "18 hex digits"),
    ("list id=S0001", "18 hex digits"), ("list age", "quote it, as 'age>2'"), ("list --limit=0", "1 to 10000"), ("list --limit x", "1 to 10000"), ("list --after=x", "18 hex digits"),
    ("summary --by colour", "domain, host, reason"), ("show", "18 hex digits"), ("show domain=x", "18 hex digits"), ("show word", "18 hex digits"),
    ("remove", "say which mail"), ("remove -n", "say which mail"), ("remove all domain=x", "all stands alone"), ("remove everything", "neither an id"), ("hold age", "quote it"),
    ("hold --reason", "wants a value"), ("flush all x.test", "all stands alone"), ("flush all domain=x", "all stands alone"), ("flush no,id", "one domain"),
    ("suspend", "suspend takes one destination"), ("resume", "resume takes one destination"), ("suspend a b", "suspend takes one destination"), ("why", "why takes one destination"),
    ("why a b", "why takes one destination"), ("dest a b", "dest takes one destination, or nothing"), ("suspend x.test --for soon", "takes a time"),
    ("suspend x.test --for 9999w", "at most 366d"), ("stop", "stop takes accepting or delivering"), ("stop working", "stop takes accepting or delivering"),
    ("start x y", "start takes accepting or delivering"), ("stop accepting --for 2h", "stop delivering only"), ("loglevel", "0 to 15"), ("loglevel 99", "0 to 15"),
    ("loglevel all", "0 to 15"), ("orphans x", "nothing, list or release"), ("orphans list release", "nothing, list or release"),
])
def test_wrong_use(wrong, words, says):
    """One line that says what would be right."""
    assert wrong(*words.split(), status=64) == ""
    assert says in wrong.err and wrong.err.startswith("qmgrctl: ") and wrong.err.count("\n") == 1, wrong.err


def test_nothing_there(wrong):
    for words, says in (("resume x.test", "x.test is not suspended"), ("start accepting", "accepting mail is not stopped"), ("start delivering", "delivering is not stopped"),
                        ("hold -", "no ids on standard input")):
        assert wrong(*words.split(), status=1) == ""
        assert says in wrong.err and wrong.err.count("\n") == 1, wrong.err


def test_help(site, ctl):
    verbs = re.findall(r"^  (\w+) ", ctl("--help"), re.M)
    assert "list" in verbs and "suspend" in verbs
    for v in verbs:
        assert ctl("help", v).startswith(f"usage: qmgrctl {v}")
        assert ctl(v, "--help") == ctl("help", v)
    # the same verbs in the manual page, in the completion, and in qmgr
    with open(os.path.join(SRC, "doc", "man", "qmgrctl.8")) as f:
        assert set(verbs) <= set(re.findall(r"^\.It Cm (\w+)", f.read(), re.M))
    with open(os.path.join(SRC, "misc", "qmgrctl.bash")) as f:
        assert set(verbs) == set(re.search(r"^_qmgrctl_verbs='(.*)'", f.read(), re.M).group(1).split())
    with open(os.path.join(SRC, "qmgr", "control.c")) as f:
        assert set(verbs) == set(re.findall(r'^    \{"(\w+)", (?:true|false)', f.read(), re.M))


def test_show(site, ctl):
    send(site, ("a@src.test", "x@away.test", "y@grey.test"))
    mail, = deferred(ctl, 1)
    until(lambda: all(r["text"] for r in ctl.lines("show", mail["id"])[1:]), "both were tried", 10)
    envelope, x, y = ctl.lines("show", mail["id"])
    assert envelope["sender"] == "a@src.test" and envelope["dsn_of"] is None and abs(envelope["received_s"] - time.time()) < 60
    assert x["rcpt"] == "x@away.test" and "Connection refused" in x["text"] and x["next_try_s"] > time.time()
    assert y["code"] == 451 and "greylisted" in y["text"] and y["host"] == "[127.0.0.1]"
    ctl("hold", "rcpt=y@grey.test", "--reason", "look " + EVIL)
    envelope, x, y, history = ctl.lines("show", mail["id"])
    assert y["held"] and not x["held"] and history["verb"] == "hold" and history["reason"].startswith("look")
    assert "held" in ctl("show", mail["id"])
    missing = ctl.one("show", "S000000000000000000", status=1)
    assert missing == {"type": "missing", "id": "S000000000000000000", "dsns": []}


def test_show_dsns(grey, away):
    """From a mail to the DSNs about it, and back; also when qmgr was killed, and when the mail is gone."""
    with Site(routes=[f"away.test {away}^esmtp:[127.0.0.1]", f"grey.test {grey.port}^esmtp:[127.0.0.1]"], relay=["away.test", "grey.test"],
              settings=SLOW_RETRY) as site:
        show_dsns(site, Ctl(site))


def show_dsns(site, ctl):
    send(site, ("s@away.test", "x@grey.test", "y@grey.test"))
    mail, = deferred(ctl, 1)
    assert ctl.lines("show", mail["id"])[0]["dsns"] == []
    ctl("bounce", "rcpt=x@grey.test")
    dsn, = deferred(ctl, 1, "sender=<>")

    def linked():
        parent, child = (ctl.lines("show", i)[0] for i in (mail["id"], dsn["id"]))
        assert parent["dsns"] == [{"id": dsn["id"]}] and parent["dsn_of"] is None
        assert child["dsn_of"] == mail["id"] and child["dsn"] == "failure" and child["dsns"] == []
        assert f"DSNs         {dsn['id']}\n" in ctl("show", mail["id"]) and f"DSN about    {mail['id']}\n" in ctl("show", dsn["id"])
    linked()
    old = site.pids("qmgr")
    site.kill("qmgr")
    site.restarted("qmgr", old)
    site.wait_ready()
    linked()
    ctl("bounce", "rcpt=y@grey.test")
    both = [d["id"] for d in deferred(ctl, 2, "sender=<>")]
    until(lambda: ctl("show", mail["id"], status=1) == f"{mail['id']} is not in the queue; DSNs about it are: {' '.join(both)}\n", "the mail is gone", 20)
    ctl("remove", both[0])
    until(lambda: ctl("show", mail["id"], status=1) == f"{mail['id']} is not in the queue; DSNs about it are: {both[1]}\n", "one DSN is gone", 20)


def test_hold_release_remove(site, ctl):
    send(site, *((f"u{i % 2}@src.test", f"x{i}@away.test") for i in range(6)))
    deferred(ctl, 6)
    assert ctl.one("hold", "sender=u1@src.test", "--dry-run") | {"took_ms": 0} == \
        {"type": "act", "verb": "hold", "dry_run": True, "mails": 3, "rcpts": 3, "took_ms": 0}
    assert ctl.mails("state=held") == []
    assert ctl.one("hold", "sender=u1@src.test")["mails"] == 3
    assert {m["sender"] for m in ctl.mails("state=held")} == {"u1@src.test"}
    assert ctl.one("hold", "sender=u1@src.test", status=1)["mails"] == 0, "they are held already"
    assert ctl.one("status")["held_recipients"] == 3
    assert ctl("remove", "-n", "state=held") == "would remove: 3 mails, 3 recipients\n"
    # ids from another listing
    assert "2 mails" in ctl("release", "-", stdin="\n".join(ctl("list", "state=held").splitlines()[:5]))
    assert ctl.one("remove", "state=held")["mails"] == 1
    assert len(ctl.mails()) == 5
    assert ctl.one("remove", *(m["id"] for m in ctl.mails()))["mails"] == 5
    until(lambda: not site.content_files(), "contents are gone", 20)


def test_bounce(site, ctl, sink):
    send(site, ("victim@local.test", "x@away.test"))
    deferred(ctl, 1)
    assert ctl.one("bounce", "domain=away.test", "--reason", "not wanted")["mails"] == 1
    dsn = until(lambda: [m for m in sink.messages if m.sender == "" and m.rcpts == ["victim@local.test"]], "its sender is told", 20)
    assert b"x@away.test" in dsn[0].content
    until(lambda: ctl.found() == 1, "nothing is left", 20)


def test_requeue(site, ctl):
    send(site, ("a@src.test", "x@grey.test"))
    mail, = deferred(ctl, 1)
    first = ctl.lines("show", mail["id"])[1]
    until(lambda: time.time() > first["last_try_s"] + 1, "the next second", 20)
    assert ctl.one("requeue", mail["id"])["mails"] == 1
    until(lambda: (ctl.lines("show", mail["id"])[1]["last_try_s"] or 0) > first["last_try_s"], "it is tried again at once", 20)
    assert ctl.lines("show", mail["id"])[0]["requeued_s"]


def test_summary(site, ctl):
    send(site, *((f"u{i % 3}@src.test", f"a{i}@away.test", f"g{i}@grey.test") for i in range(6)))
    deferred(ctl, 6)
    until(lambda: {r["key"]: (r["mails"], r["rcpts"]) for r in ctl.lines("summary") if r["type"] == "row"} == {"away.test": (6, 6), "grey.test": (6, 6)},
          "by domain", 20)
    total = ctl.lines("summary")[-1]
    assert (total["mails"], total["rcpts"], total["keys"]) == (6, 12, 2), "a mail is counted once"
    rows = ctl.lines("summary", "--by", "sender", "--limit", "2")
    assert [r["type"] for r in rows] == ["row", "row", "total"] and rows[-1]["keys"] == 3 and rows[-1]["shown"] == 2
    assert {(r["key"], r["rcpts"]) for r in ctl.lines("summary", "--by=age")[:-1]} == {("under 5m", 12)}
    reasons = {r["key"]: r["rcpts"] for r in ctl.lines("summary", "--by", "reason")[:-1]}
    assert sum(reasons.values()) == 12 and any("greylisted" in k for k in reasons)
    assert ctl.lines("summary", "--by", "host", "domain=grey.test")[0]["key"] == "[127.0.0.1]"
    assert [r["rcpts"] for r in ctl.lines("summary", "domain=away.test", "sender=u0@*")] == [2, 2]
    assert "in all (3 rows, 1 shown)" in ctl("summary", "--by", "sender", "--limit", "1")


def test_why_and_flush_of_a_dead_host(site, ctl, sink, away):
    send(site, *(("a@src.test", f"x{i}@away.test") for i in range(5)))
    deferred(ctl, 5)
    why = ctl.lines("why", "away.test")
    causes = {o["cause"]: o for o in why if o["type"] == "cause"}
    assert "Connection refused" in causes["host_dead"]["text"] and causes["host_dead"]["until_s"] > time.time()
    host, = [o for o in why if o["type"] == "host"]
    assert host["state"] == "dead" and host["address"] == f"127.0.0.1:{away}"
    waiting = why[-1]
    assert waiting["deferred"] == 5 and waiting["reasons"][0]["rcpts"] == 5
    assert "the host does not take mail, [127.0.0.1]" in ctl("why", "away.test")
    assert [o["state"] for o in ctl.lines("dest", f"{away}") if o["type"] == "host"] == ["dead"]
    assert "nothing holds it" in ctl("why", "local.test")
    assert ctl.lines("why", "nowhere.invalid")[0]["cause"] == "no_route"
    # it comes back: one word brings all of it, at once
    with Sink(away) as back:
        assert ctl.one("flush", "away.test")["mails"] == 5
        until(lambda: len(back.messages) == 5, lambda: f"all are delivered: {ctl('why', 'away.test')}", 20)
    assert "nothing holds it" in ctl("why", "away.test")


def test_flush(site, ctl):
    send(site, ("a@src.test", "x@grey.test"), ("b@src.test", "y@grey.test"))
    mails = deferred(ctl, 2)
    tries = lambda m: ctl.lines("show", m["id"])[1]["tries"]  # noqa: E731
    assert ctl.one("flush", "sender=a@src.test", "-n")["mails"] == 1
    assert tries(mails[0]) == 1
    assert ctl.one("flush", mails[0]["id"])["mails"] == 1
    until(lambda: tries(mails[0]) == 2, "one is tried again", 20)
    assert tries(mails[1]) == 1
    deferred(ctl, 2)
    ctl("flush")
    until(lambda: tries(mails[1]) == 2, "all are", 20)
    deferred(ctl, 2)


@pytest.fixture(scope="module")
def named(grey):
    """A site with next hops that have names: (site, their port)."""
    if not is_testing_build():
        pytest.skip("only a testing build lets DNS name loopback addresses")
    dns = Dns()
    dns.add("mx1.named.test", A("127.0.0.71"))
    dns.add("mx2.named.test", A("127.0.0.72"))
    reply = {"RCPT": b"451 4.7.1 not now\r\n"}
    with Sink(host="127.0.0.71", scripts=[[Serve(reply)]]) as one, Sink(one.port, host="127.0.0.72", scripts=[[Serve(reply)]]), \
            Site(routes=[f"{d}.named.test {one.port}^esmtp:mx{n}.named.test" for d, n in (("one", 1), ("also", 1), ("two", 2))], relay=["named.test"] +
                 [f"{d}.named.test" for d in ("one", "also", "two")], dns=dns.address, settings=SLOW_RETRY, environment={"SM_TEST_LOOPBACK": "1"}) as s:
        ctl = Ctl(s)
        send(s, *(("a@src.test", f"x{i}@{d}.named.test") for i, d in enumerate(("one", "one", "also", "two"))))
        deferred(ctl, 4)
        yield s, one.port
    dns.stop()


@pytest.mark.parametrize("word,mails,host", [
    ("one.named.test", 2, "mx1"), ("ONE.named.test.", 2, "mx1"), ("also.named.test", 1, "mx1"), ("two.named.test", 1, "mx2"),
    ("mx1.named.test", 3, "mx1"), ("MX2.named.test.", 1, "mx2"),
    ("127.0.0.71", 3, "mx1"), ("[127.0.0.71]", 3, "mx1"), ("127.0.0.72:PORT", 1, "mx2"), ("::ffff:127.0.0.72", 1, "mx2"),
])
def test_destinations(named, word, mails, host):
    """A domain, a host, an address: each verb takes each of them, however it is written."""
    site, port = named
    ctl, word, full = Ctl(site), word.replace("PORT", str(port)), f"{host}.named.test"
    why = ctl.lines("why", word)
    assert why[-1]["type"] == "waiting" and why[-1]["mails"] == mails
    assert [o["name"] for o in why if o["type"] == "host"] == [full]
    assert {o["cause"] for o in why if o["type"] == "cause"} == {"retry_time"}
    assert [o["name"] for o in ctl.lines("dest", word)] == [full]
    assert ctl.one("flush", "-n", word)["mails"] == mails
    if ":" not in word:
        assert len(ctl.mails("dest=" + word.rstrip("."))) == (mails if "127" not in word else 0), "of an address, only what has no name"
    if str(port) in word:
        ctl("suspend", word, status=64)
        assert "leave the port away" in ctl.err
        return
    ctl("suspend", word, "--reason", "moving")
    try:
        assert [o["type"] for o in ctl.lines("dest", word)] == ["suspension", "host"]
        causes = [o["cause"] for o in ctl.lines("why", word) if o["type"] == "cause"]
        assert causes[0] == ("suspended" if mails < 3 and "mx" not in word.lower() and ":" not in word else "host_suspended")
        domain = "one.named.test" if host == "mx1" else "two.named.test"
        found = [o["cause"] for o in ctl.lines("why", domain) if o["type"] == "cause"]
        assert ("suspended" in found or "host_suspended" in found) is not word.startswith("also")
        assert "moving" in ctl("why", word)
    finally:
        ctl("resume", word)


def test_destinations_that_are_none(named):
    site, _ = named
    ctl = Ctl(site)
    assert ctl.lines("why", "127.0.0.99", status=1) == [] and "no next hop has that address" in ctl.err
    assert ctl.lines("dest", "127.0.0.99", status=1) == [] and "no next hop is called that" in ctl.err
    assert ctl.lines("dest", "nowhere.invalid", status=1) == []
    assert [o["name"] for o in ctl.lines("dest", "x1.named")] == ["mx1.named.test"], "a part of the name of a route"
    ctl("suspend", "::1")
    assert [o["dest"] for o in ctl.lines("dest") if o["type"] == "suspension"] == ["[IPv6:::1]"]
    assert [o["dest"] for o in ctl.lines("dest", "[::1]")] == ["[IPv6:::1]"]
    assert ctl.lines("why", "[IPv6:::1]")[0]["cause"] == "suspended"
    assert "::1]: done" in ctl("resume", "[::1]")
    for verb in ("why", "dest", "suspend", "resume", "flush"):
        for bad, says in (("lisa@one.named.test", "a mailbox"), (".named.test", "domain=.named.test"), ("*.named.test", "without * and ?"), ("[1.2.3]", "is no address"),
                          ("a b", "one domain")):
            ctl(verb, bad, status=64)
            assert says in ctl.err, (verb, bad, ctl.err)


def test_suspend_survives_a_restart(sink, tag):
    with Site(routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], settings=SLOW_RETRY) as site:
        ctl = Ctl(site)
        assert "until 20" in ctl("suspend", "local.test", "--for", "2h", "--reason", "moving")
        old = site.pids("qmgr")
        site.kill("qmgr")
        site.restarted("qmgr", old)
        site.wait_ready()
        s, = until(lambda: [o for o in ctl.lines("dest") if o["type"] == "suspension"], "it is still there", 10)
        assert s["dest"] == "local.test" and s["reason"] == "moving" and 7000 < s["until_s"] - time.time() <= 7200
        with site.client() as c:
            assert c.send_mail("a@src.test", "x@local.test", message(tag)).code == 250
        mail, = deferred(ctl, 1)
        assert "suspended" in mail["rcpts"][0]["reason"]
        assert ctl.lines("why", "local.test")[0]["cause"] == "suspended"
        assert not [m for m in sink.messages if m.subject() == tag]
        ctl("resume", "local.test")
        sink.wait(tag, timeout=20)
        ctl("resume", "local.test", status=1)
        assert "not suspended" in ctl.err


def test_stop_accepting(site, ctl):
    ctl("stop", "accepting", "--reason", "moving")
    assert ctl.lines("status")[0]["accepting"] is False and ctl.lines("status")[1]["type"] == "accepting_stopped"

    def refused():
        with site.client(helo=None) as c:
            return c.greeting.code // 100 == 4 or c.cmd("EHLO x").code // 100 == 4 or c.mail("a@src.test").code // 100 == 4
    until(refused, "new mail is refused for now", 10)
    assert ctl("status").count("new mail is refused, since") == 1
    ctl("start", "accepting")
    site.wait_ready()
    ctl("start", "accepting", status=1)


def test_stop_delivering(site, ctl, sink, tag):
    ctl("stop", "delivering", "--for", "1h")
    assert ctl.lines("status")[0]["delivering"] is False
    with site.client() as c:
        assert c.send_mail("a@src.test", "x@local.test", message(tag)).code == 250
    assert ctl.lines("why", "local.test")[0]["cause"] == "delivering_stopped"
    never(lambda: [m for m in sink.messages if m.subject() == tag], "it is delivered", 0.5)
    ctl("start", "delivering")
    sink.wait(tag, timeout=20)


def test_the_process(site, ctl):
    assert ctl.one("reload")["entries"] == 0 and ctl.one("reload")["found"] is False
    assert ctl("reload").startswith("limits: those of the configuration; there is no map ")
    assert ctl.one("loglevel", "12") == {"type": "loglevel", "before": 9, "now": 12}
    assert ctl.one("loglevel", "9")["before"] == 12
    assert ctl.one("orphans") == {"type": "orphans", "kept": 0, "released": False}


def test_hostile_strings(site, ctl):
    """Nothing that came from elsewhere is more than text (Ctl looks at every output)."""
    send(site, ("a@src.test", "x@grey.test"))
    mail, = deferred(ctl, 1)
    for verb in (("list",), ("show", mail["id"]), ("why", "grey.test"), ("summary", "--by", "reason"), ("list", "reason=" + EVIL[:5])):
        out = ctl(*verb, status=1 if verb[-1].startswith("reason=") and ctl.found(verb[-1]) else 0)
        assert "\u009b" not in out and "\u202e" not in out
    ctl("suspend", "x.test", "--reason", EVIL)
    for verb in ("status", "dest"):
        assert "\\x1b]0;owned\\x07" in ctl(verb) and "\\u{9b}" in ctl(verb) and "\\u{202e}" in ctl(verb)
        assert "\\u001b]0;owned" in ctl("-j", verb) and "\\u009b" in ctl("-j", verb)
    ctl("resume", "x.test")
    out = subprocess.run([MAILQ, "-s", os.path.join(site.spool, "ctl/qmgr")], capture_output=True).stdout.decode()
    assert "\x1b" not in out and "\u009b" not in out


def run(program, *args, status=0):
    r = subprocess.run([program, *args], capture_output=True, text=True, timeout=60)
    assert r.returncode == status, (r.returncode, r.stdout, r.stderr)
    return r.stdout


def test_mailq(site, ctl):
    socket = os.path.join(site.spool, "ctl/qmgr")
    assert run(MAILQ, "-s", socket) == "Mail queue is empty\n"
    send(site, ("a@src.test", "x@away.test", "y@away.test"), ("", "z@grey.test"))
    mails = deferred(ctl, 2)
    ctl("hold", mails[1]["id"])
    out = run(MAILQ, "-s", socket)
    head, *rest = out.splitlines()
    assert head == "-Queue ID-----------  --Size-- ----Arrival Time---- -Sender/Recipient-------"
    assert re.fullmatch(mails[0]["id"] + r" +\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d  +a@src\.test", rest[0]), rest[0]
    assert re.fullmatch(r" +\(4\.4\.1 connect to .*Connection refused\)", rest[1]), rest
    assert [x.strip() for x in rest[2:4]] == ["x@away.test", "y@away.test"]
    assert rest[5].startswith(mails[1]["id"] + "!") and rest[5].endswith(" MAILER-DAEMON")
    assert "host [127.0.0.1] said: 451 4.7.1 greylisted" in rest[6]
    assert rest[-1] == "-- 2 Kbytes in 2 Requests."
    assert len(run(MAILQ, "-j", "-s", socket).splitlines()) == 2
    assert run(METAQUEUE, "-s", socket) == out, "metaqueue asks as well"
    run(MAILQ, "-s", "/nowhere", status=69)


def test_metaqueue_without_qmgr(sink, away):
    with Site(routes=[f"away.test {away}^esmtp:[127.0.0.1]"], relay=["away.test"], settings=SLOW_RETRY) as site:
        ctl = Ctl(site)
        send(site, ("a@src.test", "x@away.test"), ("b@src.test", "y@away.test"), ("c@src.test", "z@away.test"))
        mails = deferred(ctl, 3)
        ctl("hold", mails[0]["id"])
        ctl("remove", mails[1]["id"])
        assert run(METAQUEUE, "-f", "-d", site.spool, status=75) == "", "the files are qmgr's"
        site.stop()
        before = {n: os.path.getmtime(os.path.join(site.spool, "defedb", n)) for n in os.listdir(os.path.join(site.spool, "defedb"))}
        out = run(METAQUEUE, "-d", site.spool)
        assert [x.split()[0] for x in out.splitlines() if x.startswith("S0")] in ([mails[0]["id"] + "!", mails[2]["id"]], [mails[2]["id"], mails[0]["id"] + "!"])
        assert "in 2 Requests." in out and "Connection refused" in out
        assert before == {n: os.path.getmtime(os.path.join(site.spool, "defedb", n)) for n in before}
        site.start()


def test_ten_thousand(sink, away):
    """A queue written by fillqueue: listed in order, in pages, counted; and who reads nothing holds up nobody."""
    with Site(routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], settings=SLOW_RETRY) as site:
        site.stop()
        subprocess.run([*site.prefix, os.path.join(BUILD, "checks/bench/fillqueue"), "-n", "10000", "-d", "100", "-s", "50", site.spool], check=True)
        site.start()
        ctl = Ctl(site)
        mails = ctl.lines("list")
        assert len(mails) == 10000 and [m["id"] for m in mails] == sorted(m["id"] for m in mails)
        assert len(ctl("list").splitlines()) == 20001
        pages, last = 0, "S000000000000000000"
        while ctl.found("--limit=4000", "--after=" + last) == 0:
            page = ctl.lines("list", "--limit=4000", "--after", last)
            pages, last = pages + len(page), page[-1]["id"]
        assert pages == 10000
        assert ctl.lines("summary", "--by", "sender", "--limit", "1000")[-1]["keys"] == 50
        lazy = [subprocess.Popen([*site.prefix, os.path.join(site.dir, "qmgrctl"), "-j", "list"], stdout=subprocess.PIPE, cwd=site.dir) for _ in range(4)]
        try:
            for i in range(5):
                began = time.monotonic()
                site.canary(sink, "canary@local.test")
                assert time.monotonic() - began < 5
        finally:
            for p in lazy:
                p.kill()
                p.wait()
                p.stdout.close()


def as_user(user, *groups):
    return ["setpriv", "--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), *(["--groups", ",".join(groups)] if groups else ["--clear-groups"])]


@pytest.mark.skipif(os.getuid() != 0, reason="not root: no other users")
def test_rights(sink, away):
    """The group looks, root and smxq act, others do neither; the wrappers run as the right user."""
    with Site(routes=[f"away.test {away}^esmtp:[127.0.0.1]"], relay=["away.test"], settings=SLOW_RETRY, users="real") as site:
        send(site, ("a@src.test", "x@away.test"))
        deferred(Ctl(site), 1)
        tool, socket = os.path.join(BUILD, "misc/qmgrctl"), os.path.join(site.spool, "ctl/qmgr")

        def ask(prefix, *args):
            return subprocess.run([*prefix, tool, "-s", socket, *args], capture_output=True, text=True)
        member, stranger, owner = as_user("nobody", "smx"), as_user("nobody"), as_user("smxq", "smx")
        for look in (("list",), ("status",), ("summary",), ("why", "away.test"), ("dest",), ("orphans",), ("transcript", "list")):
            assert ask(member, *look).returncode == 0, look
            assert ask(stranger, *look).returncode == 77, look
        for act in (("hold", "all"), ("remove", "all"), ("flush",), ("suspend", "x.test"), ("stop", "accepting"), ("reload",), ("loglevel", "3"), ("orphans", "release"),
                    ("transcript", "on", "all"), ("transcript", "off")):
            r = ask(member, *act)
            assert r.returncode == 77 and "you may look, but not act" in r.stderr, (act, r)
        assert ask([], "hold", "all").returncode == 0 and ask(owner, "release", "all").returncode == 0
        env = dict(os.environ, QMGRCTL_PROG=tool, QMGRCTL_SOCKET=socket, RUNAS=os.path.join(BUILD, "misc/runas"), MAILQ_PROG=MAILQ, MAILQ_SOCKET=socket)
        r = subprocess.run(["sh", os.path.join(BUILD, "misc/qmgrctl.sh"), "-j", "hold", "all"], env=env, capture_output=True, text=True)
        assert r.returncode == 0 and '"mails":1' in r.stdout, r
        mail, = Ctl(site).mails()
        assert Ctl(site).lines("show", mail["id"])[2]["uid"] == pwd.getpwnam("smxq").pw_uid
        r = subprocess.run(["sh", os.path.join(BUILD, "misc/mailq.sh")], env=env, capture_output=True, text=True)
        assert r.returncode == 0 and "in 1 Request." in r.stdout, r


def test_completion(site, ctl):
    """As bash asks for it."""
    def complete(*words):
        line = " ".join(words)
        script = f"""source {SRC}/misc/qmgrctl.bash; COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}
            COMP_LINE={line!r}; _qmgrctl; printf '%s\\n' "${{COMPREPLY[@]}}" """
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout.split()
    tool = os.path.join(site.dir, "qmgrctl")
    assert complete(tool, "sus") == ["suspend"]
    assert complete(tool, "summary", "--by", "s") == ["sender", "state"]
    assert complete(tool, "hold", "--") == ["--reason", "--dry-run", "--json", "--socket", "--help"]
    assert complete(tool, "list", "send") == ["sender="]
    assert complete(tool, "stop", "a") == ["accepting"]


def test_no_qmgr(site, ctl):
    r = subprocess.run([os.path.join(BUILD, "misc/qmgrctl"), "-s", "/nowhere/qmgr", "status"], capture_output=True, text=True)
    assert r.returncode == 69 and "is qmgr running?" in r.stderr and r.stderr.count("\n") == 1
    stale = os.path.join(site.dir, "stale")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(stale)
    r = subprocess.run([os.path.join(BUILD, "misc/qmgrctl"), "-s", stale, "status"], capture_output=True, text=True)
    assert r.returncode == 69 and "Connection refused: is qmgr running?" in r.stderr and r.stderr.count("\n") == 1
    with open("/dev/full", "w") as full:
        assert subprocess.run([os.path.join(site.dir, "qmgrctl"), "status"], stdout=full, cwd=site.dir).returncode == 71
