"""Contents that share files: what is on the disk while mail waits, and that nothing is when it is gone, whatever fails meanwhile."""
import collections
import os
import re
import signal

import pytest
from lib.client import message
from lib.handed import Handed
from lib.ledger import judge, read_arrivals, read_ledger
from lib.paths import free_port
from lib.programs import Load, SinkProgram
from lib.site import COMPONENTS, Site
from lib.sink import Serve, Sink
from lib.wait import SLOW, until

pytestmark = pytest.mark.inside

FAST = {f"{c}.restart_{x}_delay": d for c in COMPONENTS for x, d in (("min", "10ms"), ("max", "100ms"))}
FAST["smtps.CDB_segment_pace"] = "1"  # also what comes one by one
LATE = 1.0          # s after which a result is durable


def is_segment(path):
    """Its id has the highest bit of the counter."""
    return int(os.path.basename(path)[1], 16) >= 8


@pytest.fixture
def port():
    """Where the next hop will be; nobody is there yet."""
    return free_port()


def site_for(port, **settings):
    return Site(routes=[f"dest.test {port}^esmtp:[127.0.0.1]"], relay=["dest.test"],
                settings={"qmgr.log_level": "13", "qmgr.orphan_delay": "3s", **FAST, **settings})


def load(directory, site, *args):
    return Load(str(directory), f"127.0.0.1:{site.port}", "-l", 4000, "-t", "u%n.%r@dest.test", "-R", 60, *args)


def all_taken(directory, site, messages):
    figures = load(directory, site, "-s", 50, "-m", messages).done()
    assert figures["acked"] == messages, figures


def settle(site, run, sink):
    """All that was sent is delivered as it was, or refused; the store is empty. The verdict."""
    site.wait_ready(30)
    site.qmgrctl("flush", check=False)  # there may be none
    site.wait_empty(120)
    sink.settled()
    handed = Handed(LATE * SLOW)
    for name, text in site.logs_since().items():
        if name.startswith("qmgr"):
            handed.feed(text.split("\n"))
    handed.hold_against(collections.Counter(g.rcpt for g in read_arrivals(sink.arrivals)))
    assert not handed.wrong, handed.wrong[:10]
    v = judge(run, sink.arrivals, sink.reports, left=len(site.content_files()))
    assert not v.wrong, v
    assert v.figures["duplicates"] == handed.figures["duplicates"]
    for mid, s in read_ledger(run).items():
        assert s.verdict != "NAK5", f"a permanent error for a local problem: {mid} {s.reply}"
    return v


# ---- what is on the disk

@pytest.mark.parametrize("size,files", [(None, range(1, 20)), ("256KB", range(4, 40)), ("0B", range(200, 201))])
def test_many_small_mails_share_files(port, tmp_path, size, files):
    settings = {} if size is None else {"smtps.CDB_segment_size": size}
    with site_for(port, **settings) as site:
        all_taken(tmp_path, site, 200)
        left = site.content_files()
        assert len(left) in files, left
        assert all(is_segment(f) == (size != "0B") for f in left), left
        assert {os.stat(f).st_mode & 0o777 for f in left} == {0o640}
        with SinkProgram(str(tmp_path), port=port) as sink:
            v = settle(site, str(tmp_path / "ledger"), sink)
        assert v.figures["delivered_rcpts"] == 200 and v.figures["duplicates"] == 0


def test_a_few_do_not_share(port):
    """As it is shipped: what comes now and then has a file of its own, what comes fast shares one from the eighth on."""
    with site_for(port, **{"smtps.CDB_segment_pace": "8"}) as site:
        with site.client() as c:
            for i in range(7):
                assert c.send_mail("a@src.test", f"b{i}@dest.test", message(f"m{i}")).code == 250
        assert len(site.content_files()) == 7 and not any(map(is_segment, site.content_files()))
        with Sink(port) as sink:
            site.qmgrctl("flush")
            until(lambda: len(sink.accepted) == 7, "all come")
            site.wait_empty()


def test_large_ones_are_alone(port, tmp_path):
    """Small and large ones one after the other: only the small ones are in a segment."""
    with site_for(port) as site:
        for i, size in enumerate((3000, 300000, 3000, 600000)):
            with site.client() as c:
                assert c.send_mail("a@src.test", f"b{i}@dest.test", message("size", b"x" * 70 + b"\r\n" + b"y\r\n" * (size // 3))).code == 250
        left = site.content_files()
        assert len([f for f in left if not is_segment(f)]) == 2, left
        assert 1 <= len([f for f in left if is_segment(f)]) <= 2, left
        with Sink(port) as sink:
            site.qmgrctl("flush")
            until(lambda: len(sink.accepted) == 4, "all four come")
            site.wait_empty()
        assert sorted(len(m.without_trace()) // 100000 for m in sink.accepted) == [0, 0, 3, 6]


def test_what_waits_keeps_its_segment(port, tmp_path):
    """Neighbours are gone; one whose next hop is away keeps the file, over restarts of all, until it is delivered."""
    away = free_port()
    site = Site(routes=[f"dest.test {port}^esmtp:[127.0.0.1]", f"away.test {away}^esmtp:[127.0.0.1]"], relay=["dest.test", "away.test"],
                settings={"qmgr.orphan_delay": "1s", **FAST})
    with site, Sink(port) as sink:
        with site.client() as c:
            assert c.send_mail("a@src.test", "first@dest.test", message("first")).code == 250
            assert c.send_mail("a@src.test", "b@away.test", message("waits")).code == 250
            for i in range(20):
                assert c.send_mail("a@src.test", f"b{i}@dest.test", message(f"m{i}")).code == 250
        until(lambda: len(sink.accepted) == 21, "all others are delivered")

        def one():
            files = site.content_files()
            return len(files) == 1 and is_segment(files[0]) and files
        kept = until(one, lambda: f"one segment is left, not {site.content_files()}")
        for component in ("smtps", "qmgr", "smtpc"):
            old = site.kill(component)
            site.restarted(component, old)
            site.wait_ready()
            # A search for orphans has taken place since; what else it did is in the next try.
            marks = site.log_marks()

            def taken():  # qmgr has to come back first
                with site.client() as c:
                    return c.mail("a@src.test").code == 250
            until(taken, "mail is taken again")
            with site.client() as c:
                assert c.send_mail("a@src.test", f"{component}@dest.test", message(component)).code == 250
            until(lambda: len(sink.accepted) == 21 + 1 + ("smtps", "qmgr", "smtpc").index(component), "mail flows")
            until(lambda: site.content_files() == kept, lambda: f"only {kept} is left, not {site.content_files()}")
            assert not [t for t in site.logs_since(marks).values() if "qm.orphan " in t]
        site.stop()
        site.start()
        assert site.content_files() == kept
        with Sink(away) as late:
            site.qmgrctl("flush")
            until(lambda: late.accepted, "the one that waited comes")
            assert late.accepted[0].without_trace() == message("waits")
            site.wait_empty()


def test_what_waits_keeps_no_others_room(port):
    """A mail, and a DSN that nobody takes, have their own blocks when their segment has rested: those of their neighbours go."""
    away, no = free_port(), free_port()
    routes = [f"{name}.test {p}^esmtp:[127.0.0.1]" for name, p in (("dest", port), ("away", away), ("no", no))]
    with Site(routes=routes, relay=["dest.test", "away.test", "no.test"], settings=FAST) as site, Sink(port) as sink, \
            Sink(no) as nobody:
        nobody.default = Serve({"RCPT": b"550 5.1.1 nobody\r\n"})
        marks = site.log_marks()
        with site.client() as c:
            for i in range(200):
                to, sender = {70: ("no", "away"), 130: ("away", "src")}.get(i, ("dest", "src"))
                assert c.send_mail(f"a@{sender}.test", f"b{i}@{to}.test", message("size", b"y\r\n" * 1500)).code == 250
        until(lambda: len(sink.accepted) == 198, "all others are delivered")

        def room():
            return sum(os.stat(f).st_blocks for f in site.content_files()) * 512
        assert room() > 200 * 4500
        until(lambda: room() <= len(site.content_files()) * 4096 + 2 * 3 * 4096, lambda: f"only what waits has room, not {room()}", 150)
        assert not [t for t in site.logs_since(marks).values() if "ss.release" in t]
        with Sink(away) as late:
            site.qmgrctl("flush")
            until(lambda: len(late.accepted) == 2, "the mail and the DSN come")
            whole = [m for m in late.accepted if m.sender == "a@src.test"]
            assert len(whole) == 1 and whole[0].without_trace() == message("size", b"y\r\n" * 1500)
            site.wait_empty()


# ---- deaths

def deaths(site, run, component, times):
    """Kill it so often, each time when something was acknowledged since."""
    def acked():
        return open(run.ledger, "rb").read().count(b"\nACK ") if os.path.exists(run.ledger) else 0
    for _ in range(times):
        n = acked()
        until(lambda: acked() > n + 30, lambda: f"mail flows; log:\n{site.log_tail()}", 60)
        old = site.kill(component, signal.SIGKILL)
        site.restarted(component, old)


@pytest.mark.parametrize("component", ["smtps", "qmgr", "smtpc"])
def test_killed_under_load(port, tmp_path, component):
    with site_for(port) as site:
        with SinkProgram(str(tmp_path), "-w", 1, "-W", 20, "-4", 15, port=port) as sink:
            run = load(tmp_path, site, "-s", 20, "-m", 100000, "-k", "-e", "-T", 600, "-r", 2)
            try:
                deaths(site, run, component, 4)
            finally:
                run.process.terminate()
                run.done()
            v = settle(site, run.ledger, sink)
        assert v.figures["acked"] > 100
        if component == "smtps":
            assert v.figures["duplicates"] == 0
        # They were in segments, and the next one found what the dead one had left.
        finals = site.log_lines("smtps", "ss.final")
        assert any(re.search(r" content=S[89A-F][0-9A-F]{17},", x) for x in finals)


# ---- bad disks

@pytest.mark.parametrize("fault", ["cdb.open=eio@1", "cdb.open=enospc@2", "cdb.write=eio@3", "cdb.write=enospc@1", "cdb.write=short@2", "cdb.sync=eio@1", "cdb.sync=eio@4",
                                   "cdb.sync=enospc@2", "cdb.syncdir=eio@1", "cdb.sync=eio@1,cdb.unlink=eio@1"])
def test_bad_disks(port, tmp_path, fault):
    """All that were to be made durable together are told to come again; nothing else is concerned, and nothing stays."""
    with site_for(port, **{"smtps.CDB_segment_size": "64KB", "smtps.CDB_sync_directory": "always"}) as site:
        if not site.has_faults():
            pytest.skip("needs --enable-testing")
        with SinkProgram(str(tmp_path), port=port) as sink:
            pids = site.pids("smtps")
            with site.faults("smtps", fault):
                figures = load(tmp_path, site, "-s", 20, "-m", 200, "-d").done()
            assert site.pids("smtps") == pids
            assert site.log_lines("smtps", "fault.struck"), "it struck"
            if "short" in fault:
                assert figures["acked"] == 200, figures
            else:
                assert 1 <= 200 - figures["acked"] <= 60, figures
            v = settle(site, str(tmp_path / "ledger"), sink)
        assert v.figures["delivered_rcpts"] == figures["acked"]
        assert v.figures["nak4"] + v.figures["refused"] == 200 - figures["acked"]
        assert v.figures["duplicates"] == 0
