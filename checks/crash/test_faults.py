"""One failure at a time, at a known place: what the client is told, what stays on disk, who goes on."""
import errno
import os
import signal
import subprocess
import tempfile
import time

import pytest
from crash import settings
from lib.client import Client, Closed, message
from lib.faults import Inject, can_trace
from lib.health import alive
from lib.sink import Serve, Sink
from lib.site import Site
from lib.wait import PATIENCE, SLOW, never, until

TEMPORARY = (421, 451, 452)


@pytest.fixture(autouse=True)
def recovers(site, sink):
    yield
    site.wait_ready(20)
    site.canary(sink)
    site.wait_empty()


def needs_faults(site):
    if not site.has_faults():
        pytest.skip("needs --enable-testing")


def content(tag, size):
    return message(tag, b"x" * 70 + b"\r\n" + b"y\r\n" * (size // 3))


def attempt(site, tag, size=3000):
    """Code of the reply to the final dot (or of an earlier refusal), None when the connection ended without one. While nothing new is
    taken one session is all that smtps has, and the last one may not be over for it: that is refused in the greeting."""
    try:
        with site.client() as c:
            if c.greeting.code != 220:
                return c.greeting.code
            for r in (c.mail("a@src.test"), c.rcpt("b@local.test"), c.cmd("DATA")):
                if r.code not in (250, 354):
                    return r.code
            return c.finish(content(tag, size)).code
    except (Closed, ConnectionError):
        return None


def journal_written(site):
    """When a segment of the journal changed last."""
    path = os.path.join(site.spool, "ibdb")
    return max(os.stat(os.path.join(path, n)).st_mtime_ns for n in os.listdir(path) if n.startswith("ibdb."))


def put_right(sink):
    sink.script([Serve()])
    sink.drop()


class TestContentStore:
    @pytest.mark.parametrize("action", ["eio", "enospc"])
    @pytest.mark.parametrize("point", ["cdb.open", "cdb.write", "cdb.sync"])
    @pytest.mark.parametrize("size", [100, 300000])
    def test_refused_for_now(self, site, sink, tag, point, action, size):
        """4xx, the file is gone, smtps lives, and the next mail is fine."""
        needs_faults(site)
        pids = site.pids("smtps")
        site.wait_empty()  # a segment that is being written is open already
        with site.faults("smtps", f"{point}={action}@1"):
            code = attempt(site, tag, size)
        assert code in TEMPORARY, code
        assert site.pids("smtps") == pids
        until(lambda: not site.content_files(), "the file is gone", 1)
        assert attempt(site, tag) == 250
        assert len(sink.wait(tag)) == 1

    @pytest.mark.parametrize("size", [100, 300000])
    def test_short_write(self, site, sink, tag, size):
        """write(2) may take less than it was given: the rest follows."""
        needs_faults(site)
        with site.faults("smtps", "cdb.write=short@1"):
            assert attempt(site, tag, size) == 250
        assert sink.wait(tag)[0].without_trace() == content(tag, size)

    def test_a_failed_sync_is_not_tried_again(self, site, tag):
        if not can_trace():
            pytest.skip("no strace")
        site.wait_empty()
        with Inject(site.pids("smtps"), "fsync,fdatasync:error=EIO:when=1", also="openat,close") as trace:
            code = attempt(site, tag)
        assert code in TEMPORARY, code
        syncs = [line for line in trace.log.splitlines() if "sync(" in line]
        assert len(syncs) == 1 and "EIO" in syncs[0], syncs
        until(lambda: not site.content_files(), "the file is gone", 1)

    def test_unlink_fails(self, site, sink, tag):
        """The mail is delivered once all the same; the file goes later."""
        needs_faults(site)
        marks = site.log_marks()
        with site.faults("qmgr", "cdb.unlink=eio@1"):
            assert attempt(site, tag) == 250
            sink.wait(tag)
            until(lambda: " qm.unlink " in site.logs_since(marks)["qmgr.log"], "the removal fails")
        assert len(sink.find(tag)) == 1
        # what is left belongs to nobody: at the latest the next qmgr takes it away
        if site.content_files():
            site.restarted("qmgr", site.kill("qmgr"))
        site.wait_empty(30)

    @pytest.mark.parametrize("size", [200000, 300000])
    def test_read_fails(self, site, sink, tag, size):
        """A content that cannot be read now is tried again: nothing empty is sent, nobody is told of a failure."""
        needs_faults(site)
        with site.faults("smtpc", "cdb.read=eio@1,cdb.open=eio@1"):
            assert attempt(site, tag, size) == 250
            sink.wait(tag, timeout=20)
        assert len(sink.find(tag)) == 1
        assert not sink.reports(about=tag)


class TestJournal:
    @pytest.mark.parametrize("action", ["eio", "enospc", "short", "kill", "abort"])
    @pytest.mark.parametrize("point", ["ibdb.write", "ibdb.sync"])
    def test_qmgr_starts_anew(self, site, sink, tag, point, action):
        """No 250 for what is not durable, no 5xx, no refusal of what is; back without a human."""
        needs_faults(site)
        old = site.pids("qmgr")
        with site.faults("qmgr", f"{point}={action}@1"):
            code = attempt(site, tag)
        assert code is None or code in (250, *TEMPORARY), code
        if action != "short" or site.pids("qmgr") != old:
            site.restarted("qmgr", old, 20)
        site.wait_ready(20)
        site.canary(sink)
        site.wait_empty()
        got = len(sink.find(tag))
        assert got == 1 if code == 250 else got == 0 if code in TEMPORARY else got in (0, 1), (code, got)

    @pytest.mark.parametrize("point", ["defedb.write", "defedb.sync"])
    def test_deferred_queue(self, site, sink, tag, point):
        """The mail cannot be put off durably: it stays where it was."""
        needs_faults(site)
        sink.script([Serve({"RCPT": b"450 4.2.0 later\r\n"})])
        sink.drop()
        old = site.pids("qmgr")
        try:
            with site.faults("qmgr", f"{point}=eio@1"):
                assert attempt(site, tag) == 250
                site.restarted("qmgr", old)
        finally:
            put_right(sink)
        sink.wait(tag, timeout=40)
        site.wait_empty()
        assert len(sink.find(tag)) == 1
        assert not sink.reports(about=tag)


class TestAway:
    """A component that is not there, or does not answer."""

    @pytest.mark.parametrize("component", ["smar", "qmgr"])
    def test_stopped(self, site, sink, tag, component):
        """SIGSTOP: waits or 4xx, never 5xx; goes on after SIGCONT."""
        pids = site.kill(component, signal.SIGSTOP)
        try:
            with Client(site.port, timeout=120, greet=False) as c:
                c.sock.settimeout(6)
                try:
                    c.greeting = c.reply()
                    r = [c.greeting]
                    if r[0].code == 220:
                        r += [c.ehlo(), c.mail("a@src.test"), c.rcpt("b@local.test")]
                    assert all(x.code < 500 for x in r), r
                except (AssertionError, Closed) as e:
                    assert "no reply in time" in str(e) or isinstance(e, Closed), e
        finally:
            for p in pids:
                os.kill(p, signal.SIGCONT)
        until(lambda: attempt(site, tag) == 250, "mail is taken again", 30)
        sink.wait(tag)

    @pytest.mark.parametrize("component", ["smar", "qmgr", "smtpc", "smtps"])
    def test_killed(self, site, sink, tag, component):
        """Killed while idle: somebody else takes its place, mail flows within seconds."""
        old = site.kill(component)
        start = time.monotonic()
        until(lambda: attempt(site, tag) == 250, "mail is taken again")
        assert time.monotonic() - start < 10 * SLOW
        site.restarted(component, old)
        sink.wait(tag)

    def test_smtps_killed_within_data(self, site, sink, tag):
        """Half a content file does not stay for ever, and is never taken for a mail."""
        with site.client() as c:
            c.begin("a@src.test", "b@local.test")
            c.send(message(tag, b"x" * 70 + b"\r\n") * 2000)
            site.kill("smtps")
            c.closes()
        site.wait_ready()
        site.canary(sink)
        assert not sink.find(tag)
        # the holder of its id block is gone: the next look for orphans takes it away
        site.wait_empty(30)

    def test_killed_between_the_dot_and_the_reply(self, site, sink, tag):
        """qmgr dies when it has the transaction: smtps asks again, and says 250, or nothing; what it says is true."""
        needs_faults(site)
        with site.faults("qmgr", f"ibdb.sync=delay:{PATIENCE * 1000}@1"):
            with site.client() as c:
                c.begin("a@src.test", "b@local.test")
                before = journal_written(site)
                c.send(message(tag) + b".\r\n")
                until(lambda: journal_written(site) > before, "it is written, but not synced")
                site.kill("qmgr")
                try:
                    code = c.reply().code
                except Closed:
                    code = None
        assert code is None or code == 250 or code in TEMPORARY, code
        site.wait_ready(20)
        site.canary(sink)
        site.wait_empty()
        got = len(sink.find(tag))
        assert got == 1 if code == 250 else got == 0 if code else got in (0, 1), (code, got)


class TestSupervisor:
    def test_killed_under_load(self, site, sink, tag):
        """Its programs end soon, whatever clients wait for, and the next one needs no help: nobody waits for a qmgr that is gone."""
        clients = []
        try:
            for _ in range(20):
                c = site.client()
                c.begin("a@src.test", "b@local.test")
                clients.append(c)
            old = [p for pids in site.all_pids().values() for p in pids]
            site.kill("mcp")
            for c in clients:
                c.send(message(tag) + b".\r\n")
            start = time.monotonic()
            until(lambda: not any(map(alive, old)), "all programs end", 8)
            assert time.monotonic() - start < 8 * SLOW
        finally:
            for c in clients:
                c.close()
        site.start()
        site.canary(sink)

    def test_second_suite_on_the_same_queue(self, site, sink):
        """It must not start, and the first must not notice."""
        before = site.snapshot()
        r = site.mcp_sh("start", check=False)
        never(lambda: site.all_pids() != before.pids, r.stdout, 0.5)
        site.canary(sink)

    def test_bad_configuration_at_reload(self, site, sink):
        """The old one stays."""
        before = site.all_pids()
        with open(site.conf) as f:
            good = f.read()
        try:
            with open(site.conf, "w") as f:
                f.write(good + "\nqmgr { no_such_option = 1; }\nthis is { no configuration\n")
            site.mcp_sh("reload", check=False)
            never(lambda: site.all_pids() != before, "a program is started anew", 1)
            site.canary(sink)
        finally:
            with open(site.conf, "w") as f:
                f.write(good)
        site.reload()
        site.canary(sink)

    def test_reload_under_load(self, site, sink, tag):
        for i in range(30):
            if i % 3 == 0:
                site.reload()
            assert attempt(site, tag) == 250
        sink.wait(tag, 30, timeout=30)
        assert len(sink.find(tag)) == 30

    def test_ordinary_stop_and_start(self, site, sink, tag):
        """What is queued stays queued."""
        sink.script([Serve({"RCPT": b"450 4.2.0 later\r\n"})])
        sink.drop()
        try:
            marks = site.log_marks()
            for i in range(20):
                assert attempt(site, f"{tag}-{i}") == 250
            until(lambda: site.logs_since(marks)["qmgr.log"].count("stat=deferred") >= 20, "all are put off")
            site.stop()
        finally:
            put_right(sink)
        assert site.content_files()
        site.start()
        for i in range(20):
            sink.wait(f"{tag}-{i}", timeout=30)
        site.wait_empty()
        assert all(len(sink.find(f"{tag}-{i}")) == 1 for i in range(20))


class TestDiskFull:
    def test_small_file_system(self, sink):
        """Before it is full: 452 at MAIL or at the dot; while full nothing breaks and deliveries go on; after: accepts again."""
        if os.getuid() != 0:
            pytest.skip("needs root for a small tmpfs")
        base = tempfile.mkdtemp(prefix="smx-small-")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", base]).returncode:
            pytest.skip("no tmpfs here")
        try:
            s = Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test"], directory=base,
                     settings={**settings(), "qmgr.min_disk_space": "20000", "qmgr.ok_disk_space": "24000", "smtps.max_message_size": "9000"})
            sink.script([Serve({"RCPT": b"450 4.2.0 later\r\n"})])
            sink.drop()
            accepted, codes = [], set()
            s.start()
            for i in range(60):
                code = attempt(s, f"full-{i}", 3000000)
                codes.add(code)
                if code == 250:
                    accepted.append(f"full-{i}")
                elif i > 3 and code in TEMPORARY:
                    break
            assert codes <= {250, *TEMPORARY} and codes & set(TEMPORARY) and accepted, codes
            pids = s.all_pids()
            assert attempt(s, "still-full", 3000000) in TEMPORARY
            put_right(sink)
            for t in accepted:
                sink.wait(t, timeout=40)
            s.wait_empty()
            assert s.all_pids() == pids
            until(lambda: attempt(s, "room-again", 1000) == 250, "it accepts again", 40)
            sink.wait("room-again")
            assert all(len(sink.find(t)) == 1 for t in accepted)
            s.stop()
        finally:
            put_right(sink)
            subprocess.run(["umount", "-l", base])
            os.rmdir(base)

    @pytest.mark.parametrize("store", ["ibdb", "defedb", "cdb"])
    def test_one_store(self, sink, store):
        """Its own file system fills up, to the last byte, while mail is tried again and again. 452 until there is room, nothing is
        lost, what can be delivered is, and nobody has to help. What DEFEDB has no room for stays in IBDB until there is: some of
        each mail is delivered while it is full, the rest only afterwards, and a qmgr that is killed in between knows which."""
        if os.getuid() != 0:
            pytest.skip("needs root for a small tmpfs")
        away = Sink(host="127.0.0.2")
        s = Site(routes=[*(f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")), f"away.test {away.port}^esmtp:[127.0.0.2]"],
                 relay=["local.test", "away.test"],
                 settings={**settings(), "qmgr.min_disk_space": "1000", "qmgr.ok_disk_space": "2000",
                           "qmgr.IBDB.size": "2MB", "qmgr.DEFEDB.size": "2MB", "qmgr.retry_max_delay": "1s"})
        small = Small(s, store)
        try:
            # Long replies, which are kept with each recipient, fill segments soon.
            for there in (sink, away):
                there.script([Serve({"RCPT": b"450 4.2.0 later " + b"x" * 400 + b"\r\n"})])
                there.drop()
            s.start()
            accepted = [f"{store}-{i}" for i in range(40)]
            with s.client() as c:
                for i, t in enumerate(accepted):
                    c.begin("a@src.test", *RCPTS, *AWAY[:i % 2])
                    assert c.finish(content(t, 1000)).code == 250
            pids = s.all_pids()
            marks = s.log_marks()
            small.fill()

            def refused():
                with s.client() as c:
                    r = c.mail("a@src.test")
                    if r.code == 250:
                        r = c.rcpt("b@local.test")
                    return str(r).startswith("452 4.3.1")
            until(refused, "452 4.3.1", 30)
            # Each is tried some times more, which is written down, or not.
            until(lambda: s.logs_since(marks)["qmgr.log"].count("stat=deferred") > 100 * len(RCPTS), "tried again", 60)
            put_right(sink)
            until(lambda: all(arrived(sink, t) == set(RCPTS) for t in accepted), f"all is delivered while {store} is full", 60)
            assert refused(), "still full"
            assert s.all_pids() == pids
            if store == "defedb":
                # What was delivered is written at once, but not waited for. A qmgr that begins now begins when there is room.
                never(lambda: not refused(), "room", 1)
                s.kill("qmgr")
                never(lambda: attempt(s, f"{store}-full") == 250, "taken", 2)
            assert not away.accepted
            small.free()
            put_right(away)
            until(lambda: attempt(s, f"{store}-after", 1000) == 250, "it accepts again", 40)
            sink.wait(f"{store}-after")
            s.wait_empty()
            assert all(arrived(sink, t) == set(RCPTS) for t in accepted)
            assert all(arrived(away, t) == set(AWAY[:i % 2]) for i, t in enumerate(accepted))
            assert not sink.reports(about=f"{store}-")
            s.stop()
        finally:
            put_right(sink)
            for ps in s.all_pids().values():
                for pid in ps:
                    os.kill(pid, signal.SIGKILL)
            small.close()
            away.stop()


RCPTS = [f"u{i}@local.test" for i in range(50)]
AWAY = ["z@away.test"]


def arrived(sink, tag):
    """To whom; a content may come in several transactions."""
    got = [r for m in sink.find(tag) for r in m.rcpts]
    assert len(got) == len(set(got)), f"{tag} came twice"
    return set(got)


class Small:
    """A file system of 16 MB for one store: for a log its directory, for contents all sixteen of theirs."""

    def __init__(self, site, store):
        self.dir = os.path.join(site.spool, store)
        self.mounts = []
        places = [os.path.join(site.spool, d) for d in "0123456789ABCDEF"] if store == "cdb" else []
        if places:
            self.dir = tempfile.mkdtemp(prefix="smx-cdb-")
        owner = os.stat(places[0] if places else self.dir)
        options = f"size=16m,mode={owner.st_mode & 0o7777:o},uid={owner.st_uid},gid={owner.st_gid}"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.dir]).returncode:
            pytest.skip("no tmpfs here")
        self.mounts.append(self.dir)
        for place in places:
            part = os.path.join(self.dir, os.path.basename(place))
            st = os.stat(place)
            os.mkdir(part)
            os.chown(part, st.st_uid, st.st_gid)
            os.chmod(part, st.st_mode & 0o7777)
            subprocess.run(["mount", "--bind", part, place], check=True)
            self.mounts.append(place)

    def fill(self):
        with open(os.path.join(self.dir, "filler"), "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError as e:
                assert e.errno == errno.ENOSPC

    def free(self):
        os.unlink(os.path.join(self.dir, "filler"))

    def close(self):
        for place in reversed(self.mounts):
            subprocess.run(["umount", "-l", place])
