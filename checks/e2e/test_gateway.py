"""A gateway: it takes mail for an inner server, and asks that one by a probe whether it knows a recipient, before it accepts it.

What is known is remembered; what cannot be told is accepted or refused for now, as the configuration says; nobody else is held up.
"""
import os
import subprocess
import threading
import time

import pytest
from lib.client import message
from lib.inner import LATER, NOT_NOW, OK, REFUSED, UNKNOWN, USERS, Inner, ask, figures, local_part
from lib.paths import SRC, free_port, program
from lib.sink import Serve, Sink
from lib.site import Site
from lib.smarctl import Ctl
from lib.wait import SLOW, until

pytestmark = pytest.mark.inside


def site_for(sink, on_failure="450", domains="inner.test", more=None, **kw):
    return Site(routes=[f"inner.test {sink.port}^esmtp:[127.0.0.1]", f"free.test {sink.port}^esmtp:[127.0.0.1]", f"dead.test {free_port()}^esmtp:[127.0.0.1]"],
                relay=["inner.test", "free.test", "dead.test", "sub.inner.test", "odd.inner.test"],
                settings={"smar.verify_recipient.domains": "{ " + domains + " }", "smar.verify_recipient.on_failure": on_failure,
                          "qmgr.verify_recipient.failure_time": "0s", **(more or {})}, **kw)


@pytest.fixture
def inner():
    with Inner() as s:
        yield s


def test_known_unknown_and_others(inner):
    with site_for(inner) as site:
        ok = "250 2.1.5 Recipient ok"
        assert ask(site, "user1@inner.test", "nobody@inner.test", "nobody@free.test") == [ok, REFUSED, ok]
        # Who is not allowed to relay is not told who exists, and the inner server not asked.
        before = len(inner.said())
        assert ask(site, "user1@elsewhere.test", "nobody@elsewhere.test") == ["550 5.7.1 Relaying denied"] * 2
        assert len(inner.said()) == before == 2
        # The dialogue of a probe: no sender, no content.
        assert set(inner.said(b"MAIL")) == {b"MAIL FROM:<>\r\n"} and not inner.said(b"DATA") and len(inner.said(b"RSET")) == 2
        # The second time it is known, in any case of the domain.
        assert ask(site, "user1@INNER.test", "nobody@inner.test") == [ok, REFUSED]
        assert len(inner.said()) == before
        with site.client() as c:
            assert c.send_mail("s@src.test", ["user1@inner.test", "user2@inner.test"], message("gateway")).code == 250
        m, = inner.wait("gateway")
        assert sorted(m.rcpts) == ["user1@inner.test", "user2@inner.test"]
        s = figures(site)
        assert (s["verify_cached"], s["verify_hits"], s["verify_misses"], s["verify_known"], s["verify_unknown"]) == (3, 3, 3, 2, 1)
        # A user is created: an operator need not wait until the other answer is old.
        inner.users.add(b"nobody")
        assert ask(site, "nobody@inner.test") == [REFUSED]
        assert "1 recipients forgotten" in site.qmgrctl("forget", "nobody@inner.test")
        assert ask(site, "nobody@inner.test") == [ok]
        assert "3 recipients" in site.qmgrctl("forget", "@inner.test") and figures(site)["verify_cached"] == 0
        assert "nothing was known" in site.qmgrctl("forget", "all", check=False) and "takes an address" in site.qmgrctl("forget", "x", check=False)


def test_pipelined(inner):
    """Fifty at once: asked for side by side, answered in order."""
    with site_for(inner) as site, site.client() as c:
        names = [f"user{i % 4}x{i}" for i in range(50)]
        inner.users = {n.encode() for n in names if n.startswith(("user1", "user2"))}
        c.send("MAIL FROM:<s@src.test>\r\n" + "".join(f"RCPT TO:<{n}@inner.test>\r\n" for n in names) + "RSET\r\n")
        assert c.reply().code == 250
        assert [c.reply().code for _ in names] == [250 if n.encode() in inner.users else 550 for n in names]
        assert c.reply().code == 250
        assert inner.connections > 1


@pytest.mark.parametrize("said", [LATER, b"552 5.2.2 mailbox full\r\n", b"421 4.3.2 closing\r\n"], ids=["450", "552", "421"])
def test_cannot_be_told(inner, said):
    inner.answer = lambda line: said
    with site_for(inner) as site:
        assert ask(site, "user1@inner.test") == [NOT_NOW]
        assert ask(site, "user1@free.test") == ["250 2.1.5 Recipient ok"]
        inner.answer = None
        # Whatever the limits learnt from it: soon it works again.
        until(lambda: ask(site, "user1@inner.test") == ["250 2.1.5 Recipient ok"], "it is known", 60)


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL"])
def test_refusals_that_are_not_of_the_recipient(verb):
    """5xx to what is not RCPT: not a word about the recipient."""
    reply = {verb: b"554 5.7.1 not you\r\n"}
    if verb == "EHLO":
        reply["HELO"] = reply["EHLO"]
    with Sink(scripts=[[Serve(reply)]]) as sink, site_for(sink, "accept") as site:
        assert ask(site, "user1@inner.test") == ["250 2.1.5 Recipient ok"]
        until(lambda: site.log_lines("smtps", "ss.verify"), "it is in the log")


def test_nobody_there():
    """The inner server is down: by option, and per domain by a map; a map that is not understood refuses for now."""
    with Inner() as sink:
        site = site_for(sink, domains="dead.test, .dead.test", more={"smar.verify_recipient.file": "../verify"})
        with open(f"{site.dir}/verify", "w") as f:
            f.write("inner.test accept\nfree.test no\nodd.inner.test perhaps\n")
        with site:
            assert ask(site, "x@dead.test") == [NOT_NOW]
            sink.stop()
            assert ask(site, "x@inner.test") == ["250 2.1.5 Recipient ok"]
            assert ask(site, "x@free.test") == ["250 2.1.5 Recipient ok"]
            assert ask(site, "x@odd.inner.test") == ["451 4.3.0 Recipients cannot be checked now, try again later"]
            ctl = Ctl(site)
            assert ctl.one("found", "lookup", "verify_recipient", "inner.test")["value"] == "accept"
            trouble = ctl.one("trouble", "check", "--client", "127.0.0.1", "--from", "<>", "--to", "x@odd.inner.test", status=75)
            assert "perhaps" in trouble["why"]


def test_slow_server_holds_nobody_else():
    """An inner server that does not answer RCPT: others have their answers meanwhile, and after the time-out it is "not now"."""
    with Inner() as slow, Inner() as quick:
        slow.answer = lambda line: None
        site = site_for(slow, domains="inner.test, quick.test", more={"smtps.verify_timeout": "3s", "qmgr.verify_recipient.timeout": "2s"})
        with open(mailertable(site), "a") as f:
            f.write(f"quick.test {quick.port}^esmtp:[127.0.0.1]\n")
        with site:
            said = []
            t = threading.Thread(target=lambda: said.extend(ask(site, "user1@inner.test", "user2@inner.test")))
            t.start()
            until(lambda: slow.said(), "it is asked", 20)
            begin = time.monotonic()
            for _ in range(20):
                assert ask(site, "user1@free.test") == ["250 2.1.5 Recipient ok"]
            took = time.monotonic() - begin
            t.join(60 * SLOW)
            assert said == [NOT_NOW, NOT_NOW] and took < 2 * SLOW


def mailertable(site):
    for d, _, names in os.walk(site.dir):
        if "mt" in names:
            return os.path.join(d, "mt")
    raise AssertionError("no mailertable")


def test_storm(inner):
    """A thousand unknown recipients, and mail at the same time: few connections, all refused, the mail is not held up."""
    inner.users = USERS
    with site_for(inner, more={"smtps.max_invalid_addresses_per_session": "100000", "smtps.max_invalid_addresses_per_transaction": "100000",
                               "qmgr.smtpc.initial_connections": "8", "qmgr.smtpc.max_connections": "8"}) as site:
        most, stop = [0], threading.Event()

        def watch():
            while not stop.is_set():
                most[0] = max(most[0], figures(site)["verify_probes"])
                time.sleep(0.02)

        def storm(k):
            with site.client() as c:
                assert c.mail("s@src.test").code == 250
                for at in range(0, 250, 50):
                    c.send("".join(f"RCPT TO:<n{k}-{at + i}@inner.test>\r\n" for i in range(50)))
                    codes = [c.reply().code for _ in range(50)]
                    results.extend(codes)
        results = []
        threads = [threading.Thread(target=storm, args=(k,)) for k in range(4)]
        watcher = threading.Thread(target=watch)
        watcher.start()
        for t in threads:
            t.start()
        for i in range(10):
            with site.client() as c:
                assert c.send_mail("s@src.test", "user1@free.test", message(f"storm-{i}")).code == 250
            inner.wait(f"storm-{i}", timeout=20)
        for t in threads:
            t.join(120 * SLOW)
        stop.set()
        watcher.join()
        assert results == [550] * 1000
        assert 1 <= most[0] <= 2, "a quarter of eight connections"
        s = figures(site)
        assert s["verify_cached"] == 1000 and s["verify_waiting"] == s["verify_probes"] == 0


def test_bounds_of_the_queue(inner):
    """More questions than may wait: cannot be told, at once. The memory has an end as well."""
    release = threading.Event()
    inner.answer = lambda line: None if not release.is_set() else OK
    with site_for(inner, more={"qmgr.verify_recipient.max_waiting": "10", "qmgr.verify_recipient.max_cache_entries": "5",
                               "qmgr.verify_recipient.timeout": "2s"}) as site:
        with site.client() as c:
            c.send("MAIL FROM:<s@src.test>\r\n" + "".join(f"RCPT TO:<u{i}@inner.test>\r\n" for i in range(40)))
            assert c.reply().code == 250
            assert [c.reply().code for _ in range(40)] == [450] * 40
        release.set()
        for i in range(20):
            until(lambda i=i: ask(site, f"v{i}@inner.test") == ["250 2.1.5 Recipient ok"], "it is known", 60)
        assert figures(site)["verify_cached"] <= 5


def test_workers_that_go(inner):
    """qmgr, smar or smtpc die with questions under way: a temporary answer or the right one, never a wrong one."""
    with site_for(inner) as site:
        for component in ("smtpc", "qmgr", "smar"):
            blocked, seen = threading.Event(), len(inner.said())
            inner.answer = lambda line: None if not blocked.is_set() else (OK if local_part(line) in USERS else UNKNOWN)
            said = []
            t = threading.Thread(target=lambda: said.extend(ask(site, f"nobody-{component}@inner.test")))
            t.start()
            until(lambda: len(inner.said()) > seen, "it is asked", 20)
            old = site.kill(component)
            blocked.set()
            t.join(90 * SLOW)
            site.restarted(component, old)
            assert len(said) == 1 and said[0][:3] in ("450", "550"), said
            site.wait_ready()
            until(lambda c=component: ask(site, f"nobody-{c}@inner.test") == [REFUSED], "it is known to be unknown", 60)


def blocks(page="setups.md"):
    """The files of the page, as (heading, path, text)."""
    with open(os.path.join(SRC, "doc", page)) as f:
        text = f.read()
    for part in text.split("\n## ")[1:]:
        for block in part.split("```\n")[1::2]:
            first, _, rest = block.partition("\n")
            if first.startswith("# /etc/smx/"):
                yield part.partition("\n")[0], first[2:], rest


def test_files_of_the_page(tmp_path):
    """What doc/setups.md says to write is what the programs take."""
    found = list(blocks())
    assert [p for _, p, _ in found] == ["/etc/smx/smx.conf", "/etc/smx/mt", "/etc/smx/access", "/etc/smx/smx.conf", "/etc/smx/smx.conf", "/etc/smx/mt",
                                      "/etc/smx/smx.conf", "/etc/smx/mt", "/etc/smx/aliases", "/etc/smx/access", "/etc/smx/lists/news",
                                      "/etc/smx/smx.conf", "/etc/smx/mt", "/etc/smx/access", "/etc/smx/qmgr_conf",
                                      "/etc/smx/smx.conf",
                                      "/etc/smx/smx.conf", "/etc/smx/mt", "/etc/smx/smx.conf", "/etc/smx/on_demand"]
    for _, path, text in found:
        file = tmp_path / os.path.basename(path)
        file.write_text(text)
        if path.endswith("qmgr_conf"):
            continue  # test_filter_loop.py lets qmgr read it
        if path.endswith("lists/news"):
            continue  # test_lists.py sends to it
        if path.endswith("smx.conf"):
            command = [program("smconf"), "-q", str(file)]
        elif path.endswith("on_demand"):
            command = [program("createmap"), str(tmp_path / "map.cdb"), str(file)]
        else:
            command = [program("createmap"), "-k", {"mt": "mailertable"}.get(file.name, file.name), str(tmp_path / "map.cdb"), str(file)]
        r = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert r.returncode == 0, r.stdout


def test_two_smx():
    """Both sides are smx: the inner one knows its users from its maps, and says so at RCPT."""
    with Sink(lmtp=True) as box:
        inner = Site(routes=[f"inner.test {box.port}^lmtp:[127.0.0.1]"], hostname="inner.mx.test")
        inner.add("smar", 'map users { type = inline; entries = { "user1 x" }; } local_user_map { name = users; }')
        with inner, Site(routes=[f"inner.test {inner.port}^esmtp:[127.0.0.1]"], relay=["inner.test"],
                         settings={"smar.verify_recipient.domains": "{ inner.test }"}) as gateway:
            said = ask(gateway, "user1@inner.test", "user2@inner.test")
            assert said == ["250 2.1.5 Recipient ok", "550 5.1.1 Recipient is unknown at its server, which said: 550 5.1.1 User unknown"]
            with gateway.client() as c:
                assert c.send_mail("s@src.test", "user1@inner.test", message("two")).code == 250
            m, = box.wait("two")
            assert m.rcpts == ["user1@inner.test"] and m.header.count(b"Received:") == 2
            # A probe leaves nothing behind there.
            inner.wait_empty()
            assert figures(inner)["accepted"] == 1
