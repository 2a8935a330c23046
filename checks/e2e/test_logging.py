"""The log: one id through all processes, in both formats, over rotations; and envelopes made from it after a loss of the queue."""
import collections
import contextlib
import glob
import json
import os
import re
import struct
import subprocess
import threading

import pytest
from lib.client import message
from lib.health import LOG_LINE
from lib.paths import BUILD
from lib.segments import crc32c
from lib.sink import Close, Content, Expect, Send, Serve, Sink
from lib.site import COMPONENTS, Site
from lib.wait import until

pytestmark = pytest.mark.inside
RESERVED = {"time", "sev", "proc", "pid", "event"}


def settings(fmt):
    return {**{f"{c}.log.format": fmt for c in COMPONENTS}, "smar.log_level": "13"}


def ta_of(reply):
    return re.search(r"S[0-9A-F]{18}", reply.text).group(0)


def unescape(value):
    return re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m.group(1), 16)), value)


def read_line(line):
    """A log line in either format, as (event, pairs); strict."""
    if line.startswith("{"):
        pairs = json.loads(line, object_pairs_hook=list)
        assert len(dict(pairs)) == len(pairs), f"a key twice: {line}"
        d = dict(pairs)
        assert RESERVED <= d.keys() and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", d["time"]), line
        return d["event"], {k: str(v) for k, v in d.items()}
    assert LOG_LINE.match(line), line
    _, _, event, *rest = line.split(" ", 3)
    pairs = [p.split("=", 1) for p in rest[0].split(", ")] if rest and rest[0] else []
    assert all(len(p) == 2 and p[0] not in RESERVED for p in pairs) and len(dict(pairs)) == len(pairs), line
    return event, {k: unescape(v[1:-1] if v.startswith('"') else v) for k, v in pairs}


def events(site, component):
    """All of a component, rotated files as well."""
    out = []
    for path in sorted(glob.glob(os.path.join(site.log_dir, component + ".log*"))):
        with open(path) as f:
            text = f.read()
        assert text == "" or text.endswith("\n"), f"{path}: torn"
        out += [read_line(line) for line in text.splitlines()]
    return out


def of(lines, event, ta):
    return [d for e, d in lines if e == event and d.get("ss_ta") == ta]


@pytest.mark.parametrize("fmt", ["kv", "json"])
def test_one_id_through_all_processes(sink, dns, fmt, tag):
    sender = '"a, stat=250\\" b"@src.test'
    with Site(routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address,
              settings=settings(fmt)) as site:
        with site.client() as c:
            assert c.mail(sender, " BODY=8BITMIME").code == 250
            assert c.cmd("RCPT TO:<nobody@elsewhere.example>").code == 550
            assert c.rcpt("b@local.test").code == 250
            assert c.cmd("DATA").code == 354
            r = c.finish(message(tag))
            assert r.code == 250
            ta = ta_of(r)
            assert c.mail("gone@src.test").code == 250
            assert c.cmd("RSET").code == 250
            assert c.cmd("NONSENSE \x01\x7f,=").code == 500
        sink.wait(tag)
        until(lambda: of(events(site, "qmgr"), "qm.end", ta), "the end is logged", 10)
        smtps, qmgr, smtpc, smar = (events(site, c) for c in ("smtps", "qmgr", "smtpc", "smar"))
    (mail,), (rcpt, ok), (final,) = (of(smtps, e, ta) for e in ("ss.mail", "ss.rcpt", "ss.final"))
    assert mail["mail"] == f"<{sender}>" and mail["body"] == "2"
    assert rcpt["stat"] == "550" and rcpt["client"].startswith("127.0.0.1") and rcpt["text"]
    assert ok["rcpt"] == "<b@local.test>" and ok["rcpt_idx"] == "0"
    assert final["nrcpts"] == "1" and int(final["size"]) > 0
    assert all(d["ss_sess"] == mail["ss_sess"] for d in (rcpt, ok, final))
    assert [d for e, d in smtps if e == "ss.abort" and d["mail"] == "<gone@src.test>" and d["why"] == "reset"]
    assert [d for e, d in smtps if e == "ss.bad" and d["stat"] == "500"]
    assert of(smar, "ar.route", ta) and of(smar, "ar.rcpt", ta), smar
    (sent,) = of(smtpc, "sc.delivered", ta)
    assert sent["da_ta"] > sent["da_sess"] and float(sent["xdelay"]) >= 0 and "2.0.0" in sent["reply"]
    (done,) = of(qmgr, "qm.rcpt", ta)
    assert done["stat"] == "sent" and done["host"] and "2.0.0" in done["text"] and int(done["delay"]) >= 0


@pytest.mark.parametrize("fmt", ["kv", "json"])
def test_rotation_loses_nothing(sink, dns, fmt, tag):
    """Rename and USR1, again and again under load: each line is in one of the files, whole."""
    with Site(routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address, settings=settings(fmt)) as site:
        ids, end = [], threading.Event()

        def load():
            with site.client() as c:
                while not end.is_set():
                    r = c.send_mail("a@src.test", "b@local.test", message(tag))
                    assert r.code == 250
                    ids.append(ta_of(r))
        threads = [threading.Thread(target=load) for _ in range(3)]
        for t in threads:
            t.start()
        pids = site.all_pids()
        for n in range(6):
            seen = len(ids)
            until(lambda: len(ids) > seen + 20 or not any(t.is_alive() for t in threads), "mail flows", 20)
            for c in COMPONENTS:
                os.rename(f"{site.log_dir}/{c}.log", f"{site.log_dir}/{c}.log.{n}")
            site.mcp_sh("logs")
            until(lambda: all(os.path.exists(f"{site.log_dir}/{c}.log") for c in COMPONENTS), "new files", 10)
        end.set()
        for t in threads:
            t.join()
        site.wait_empty()
        until(lambda: len(of_all(site, "qmgr", "qm.end")) >= len(ids), "all ends are logged", 20)
        assert site.all_pids() == pids
        for component, event in (("smtps", "ss.final"), ("smar", "ar.route"), ("smtpc", "sc.delivered"), ("qmgr", "qm.rcpt"),
                                 ("qmgr", "qm.end")):
            assert collections.Counter(of_all(site, component, event)) == collections.Counter(ids), event
        for c in COMPONENTS:
            sizes = [os.path.getsize(f"{site.log_dir}/{c}.log.{n}") for n in range(6)]
            assert all(sizes) or c == "smar", (c, sizes)


def of_all(site, component, event):
    return [d["ss_ta"] for e, d in events(site, component) if e == event]


# ---- after a loss of the queue

def recover(site, *args):
    env = dict(os.environ, RCVRENV=f"{BUILD}/rcvrenv", QMGRCTL=f"{BUILD}/misc/qmgrctl", MCP_DIR=site.spool, MCP_LOGDIR=site.log_dir)
    return subprocess.run(["sh", f"{BUILD}/misc/rcvrenvfromlog.sh", *args], env=env, text=True, capture_output=True, timeout=120)


@contextlib.contextmanager
def site_to_three(dns, conf):
    """One that uses segments, and servers: for good.test and src.test, later.test (451 for now), never.test (550)."""
    with Sink() as good, Sink(scripts=[[Serve({"RCPT": b"451 4.2.0 not now\r\n"})]]) as later, \
            Sink(scripts=[[Serve({"RCPT": b"550 5.1.1 never\r\n"})]]) as never, \
            Site(routes=[f"{d}.test {s.port}^esmtp:[127.0.0.1]" for d, s in
                         (("good", good), ("later", later), ("never", never), ("src", good))],
                 relay=["good.test", "later.test", "never.test"], dns=dns.address,
                 settings={**conf, "smtps.CDB_segment_pace": "1"}) as site:
        yield site, good, later, never


def queue_files(site):
    """Of the journal and of the deferred queue."""
    return [path for log in ("ibdb", "defedb") for path in glob.glob(f"{site.spool}/{log}/**", recursive=True) if os.path.isfile(path)]


@pytest.mark.parametrize("fmt,size", [("kv", "8MB"), ("json", "8MB"), ("kv", "0B")])
def test_recovery_from_the_logs(dns, fmt, size, tag):
    """Both logs of qmgr are lost: nothing is removed, the open mails are queued again from the log, each arrives once."""
    with site_to_three(dns, {**settings(fmt), "smtps.CDB_segment_size": size}) as (site, good, later, _):
        ids = {}
        with site.client() as c:
            for name, sender, rcpts in (
                    ("done", "a@src.test", ["x@good.test"]),
                    ("mixed", "a@src.test", ["x@good.test", "y@later.test", "z@good.test"]),
                    ("open", "", ["y1@later.test", "y2@later.test"]),
                    ("report", "r@later.test", ["x@good.test", "n@never.test"])):
                r = c.send_mail(sender, rcpts, message(f"{tag}-{name}", b".\r\n..two\r\nend\r\n"))
                assert r.code == 250
                ids[name] = ta_of(r)
            assert c.mail("a@src.test").code == 250  # an open one is not acknowledged
        deferred = {"mixed": 1, "open": 2, "report": 0}
        until(lambda: all(len({d["rcpt"] for d in of(events(site, "qmgr"), "qm.rcpt", ids[n]) if d["stat"] == "deferred"}) == k
                          for n, k in deferred.items()), lambda: f"deferred\n{site.log_tail(30)}", 20)
        until(lambda: [d for e, d in events(site, "qmgr") if e == "qm.rcpt" and d.get("dsn_of") == ids["report"] and d["stat"] == "deferred"],
              lambda: f"the DSN waits\n{site.log_tail(30)}", 20)
        (dsn,) = [d for e, d in events(site, "qmgr") if e == "qm.dsn"]
        (report,) = of(events(site, "qmgr"), "qm.report", ids["report"])
        assert dsn["ss_ta"] == report["dsn_ta"] and dsn["dsn_of"] == ids["report"]
        until(lambda: of(events(site, "qmgr"), "qm.end", ids["done"]), "one is done", 10)
        if size == "0B":
            until(lambda: len(site.content_files()) == 3, "only three are open", 10)
        early = recover(site, "--requeue", f"127.0.0.1:{site.port}")
        assert early.returncode == 0 and "0 queued, 0 not" in early.stderr, early  # qmgr knows them all
        site.stop()
        for c in ("smtps", "qmgr"):  # a rotated and compressed log is a log
            os.rename(f"{site.log_dir}/{c}.log", f"{site.log_dir}/{c}.log.1")
        subprocess.run(["gzip", f"{site.log_dir}/smtps.log.1"], check=True)
        for path in queue_files(site):
            os.unlink(path)
        later.scripts = [[Serve()]]

        site.start()
        before = site.content_files()
        until(lambda: f'"orphans_kept":{len(before)},' in site.qmgrctl("-j", "status"), "the contents are noticed", 20)
        assert [d for e, d in events_of(site, "qmgr.log") if e == "qm.orphans_kept" and d["contents"] == str(len(before))]
        dry = recover(site, "-j")
        found = {d["content"]: d for d in map(json.loads, dry.stdout.splitlines())}
        assert dry.returncode == 0 and {d["state"] for d in found.values()} == {"open"}, dry
        assert {n: sorted(r["addr"] for r in found[ids[n]]["rcpts"]) for n in deferred} == \
            {"mixed": ["y@later.test"], "open": ["y1@later.test", "y2@later.test"], "report": ["n@never.test"]}
        assert site.content_files() == before
        broken = recover(site, "--requeue", f"127.0.0.1:{site.port}", "/nonexistent/log")
        assert broken.returncode == 66 and site.content_files() == before, broken
        away = recover(site, "--requeue", "127.0.0.1:1")
        assert away.returncode == 75 and site.content_files() == before, away

        run = recover(site, "--requeue", f"127.0.0.1:{site.port}")
        assert run.returncode == 0 and "3 queued, 0 not" in run.stderr, run
        site.wait_empty()
        got = collections.Counter((m.content.split(b"\r\n\r\n", 1)[0].rpartition(b"Subject: ")[2].split(b"\r\n")[0].decode(), r)
                                  for s in (good, later) for m in s.messages for r in m.rcpts)
        want = {(f"{tag}-done", "x@good.test"), (f"{tag}-mixed", "x@good.test"), (f"{tag}-mixed", "z@good.test"),
                (f"{tag}-mixed", "y@later.test"), (f"{tag}-open", "y1@later.test"), (f"{tag}-open", "y2@later.test"),
                (f"{tag}-report", "x@good.test")}
        dsns = [m for m in later.messages if m.rcpts == ["r@later.test"]]
        assert {k: got[k] for k in want} == {k: 1 for k in want}, got
        assert len(dsns) == 1 and b"n@never.test" in dsns[0].content and sum(got.values()) == len(want) + 1, got
        (mail,) = [m for m in later.messages if m.rcpts == ["y@later.test"]]
        assert mail.content.endswith(b"\r\n\r\n.\r\n..two\r\nend\r\n") and mail.content.count(b"Received: ") == 2
        again = recover(site, "--requeue", f"127.0.0.1:{site.port}")
        assert again.returncode == 0 and "0 contents" in again.stderr, again
        site.qmgrctl("orphans", "release")


def damage(site, text):
    """Break each record of qmgr's logs that has this text."""
    n = 0
    for path in queue_files(site):
        with open(path, "r+b") as f:
            data = f.read()
            for m in re.finditer(re.escape(text), data):
                f.seek(m.start())
                f.write(b"\0")
                n += 1
    assert n >= 2, "the journal and the deferred queue had it"


def test_recovery_of_a_part(dns, tag):
    """Neighbours in a segment: done, lost, known to qmgr, and one whose report is. What is lost is queued again, once, and nothing else."""
    with site_to_three(dns, {**settings("kv"), "qmgr.retry_min_delay": "1h", "qmgr.retry_max_delay": "1h"}) as (site, good, later, never):
        ids, done = {}, []

        def send(name, sender, rcpt):
            with site.client() as c:
                r = c.send_mail(sender, [rcpt], message(f"{tag}-{name}"))
                assert r.code == 250
                return ta_of(r)

        def deferred(rcpt):
            done.append(send("done", "a@src.test", "x@good.test"))  # a segment to which nothing comes for a second has its end
            return [d for e, d in events(site, "qmgr") if e == "qm.rcpt" and d["rcpt"] == f"<{rcpt}>" and d["stat"] == "deferred"]
        # One after the other: each has a record of its own in both logs, so that those of one can be broken.
        for name, sender, rcpt, waits in (("lost", "a@src.test", "lost@later.test", "lost@later.test"),
                                          ("known", "a@src.test", "known@later.test", "known@later.test"),
                                          ("report", "report@later.test", "n@never.test", "report@later.test")):
            ids[name] = send(name, sender, rcpt)
            until(lambda: deferred(waits), lambda: f"{name} waits\n{site.log_tail(30)}", 20)
        until(lambda: all(of(events(site, "qmgr"), "qm.end", i) for i in done), "the others are done", 20)
        places = {of(events(site, "smtps"), "ss.final", i)[0]["content"] for i in [*ids.values(), *done]}
        assert len(places) == 1, places
        n = len(ids) + len(done)
        (segment,) = site.content_files()
        site.stop()
        damage(site, b"lost@later.test")
        later.scripts = [[Serve()]]

        site.start()
        until(lambda: '"orphans_kept":1,' in site.qmgrctl("-j", "status"), "the segment is noticed", 20)
        name = os.path.basename(segment)
        listed = until(lambda: re.findall(f"^{name}.*$", site.qmgrctl("orphans", "list", check=False), re.M), "and listed")
        offset = {n: of(events(site, "smtps"), "ss.final", i)[0]["offset"] for n, i in ids.items()}
        assert listed == [name, f"{name} {offset['known']}", f"{name} {offset['report']}"]
        run = recover(site, "--requeue", f"127.0.0.1:{site.port}")
        assert run.returncode == 0 and f"{n} contents" in run.stderr and "1 queued, 0 not" in run.stderr, run
        assert run.stdout.startswith(ids["lost"] + " queued")
        until(lambda: len(later.messages) == 1, "it arrives")
        again = recover(site, "--requeue", f"127.0.0.1:{site.port}")
        assert again.returncode == 0 and "0 queued, 0 not" in again.stderr, again
        assert ids["lost"] not in recover(site, "-a").stdout  # its place is room now

        site.qmgrctl("flush")
        until(lambda: len(later.messages) == 3, "the others arrive", 30)
        assert sorted(m.rcpts[0] for m in later.messages) == ["known@later.test", "lost@later.test", "report@later.test"]
        until(lambda: '"deferred_transactions":0,' in site.qmgrctl("-j", "status"), "nothing waits")
        assert len(good.messages) == len(done) and len(never.messages) == 0
        assert os.path.exists(segment)  # an operator has to say that nothing of it is needed
        site.qmgrctl("orphans", "release")
        site.wait_empty()


def events_of(site, name):
    with open(os.path.join(site.log_dir, name)) as f:
        return [read_line(line) for line in f.read().splitlines()]


class Lost:
    """Mails of a queue that is lost: contents in a store, lines about them in a log."""

    def __init__(self, directory, mails):
        self.base = str(directory) + "/"
        for d in "0123456789ABCDEF":
            os.mkdir(self.base + d)
        self.log, self.known = self.base + "log", self.base + "known"
        lines, self.files = [], []
        for n, (sender, rcpts, content) in enumerate(mails, 1):
            ta = f"S{n:016X}00"
            self.files.append(f"{self.base}{ta[16]}/{ta}")
            with open(self.files[-1], "wb") as f:
                f.write(content)
            lines += [f"1.000 INFO ss.mail ss_ta={ta}, mail=<{sender}>, body=2, stat=250"]
            lines += [f"1.000 INFO ss.rcpt ss_ta={ta}, rcpt=<{r}>, rcpt_idx={i}, notify=4, stat=250" for i, r in enumerate(rcpts)]
            lines += [f"1.000 INFO ss.final ss_ta={ta}, nrcpts={len(rcpts)}, size={len(content)}, stat=250"]
        with open(self.log, "w") as f:
            f.write("\n".join(lines) + "\n")
        with open(self.known, "w") as f:
            f.write("".join(os.path.basename(x) + "\n" for x in self.files))

    def requeue(self, to):
        r = subprocess.run([f"{BUILD}/rcvrenv", "-b", self.base, "-k", self.known, "-r", to, self.log], text=True, capture_output=True,
                           timeout=60)
        return r.returncode, [os.path.exists(f) for f in self.files], r.stderr


def test_requeue_is_careful(tmp_path):
    """A content goes when the server has said 250 for all recipients, and not before; the rest goes on."""
    ehlo = b"250-sink.test\r\n250-8BITMIME\r\n250 DSN\r\n"
    mails = [("a@src.test", ["x@local.test", "no@local.test"], b"Subject: 1\r\n\r\n.one\r\n"),
             ("", ["y@local.test"], b"Subject: 2\r\n\r\n" + b"\xfc" * 5000 + b"\r\n.\r\n" + b".x\r\n" * 20000),
             ("c@src.test", ["z@local.test"], b"Subject: 3\r\n\r\nthree\r\n")]
    lost = Lost(tmp_path, mails)
    script = [Serve({"EHLO": ehlo, "RCPT": [b"250 2.1.5 ok\r\n", b"550 5.1.1 unknown\r\n", b"250 2.1.5 ok\r\n"]})]
    with Sink(unix=f"{tmp_path}/s1", scripts=[script]) as s:  # the second recipient is refused: none of that mail is taken
        code, left, said = lost.requeue(f"{tmp_path}/s1")
        assert (code, left) == (1, [True, False, False]), said
        assert "5.1.1 unknown" in said and s.connections == 1
        assert [(m.sender, m.rcpts, m.content) for m in s.messages] == [(*m[:2], m[2]) for m in mails[1:]]
        assert b"MAIL FROM:<> BODY=8BITMIME\r\n" in s.raw[0] and b"RCPT TO:<y@local.test> NOTIFY=FAILURE\r\n" in s.raw[0]
    silent = [Send(b"220 hi\r\n"), Expect(rb"EHLO"), Send(ehlo), Expect(rb"MAIL"), Send(b"250 ok\r\n"), Expect(rb"RCPT"), Send(b"250 ok\r\n"),
              Expect(rb"RCPT"), Send(b"250 ok\r\n"), Expect(rb"DATA"), Send(b"354 go\r\n"), Content(), Close()]
    with Sink(scripts=[silent, [Send(b"554 no\r\n"), Close()], [Serve({".": b"451 4.3.0 later\r\n"})], [Serve()]]) as s:
        to = f"127.0.0.1:{s.port}"
        code, left, said = lost.requeue(to)  # no answer to the end of data
        assert (code, left[0]) == (1, True) and "connection lost" in said
        code, left, said = lost.requeue(to)  # a greeting that refuses
        assert (code, left[0]) == (75, True) and "554 no" in said
        code, left, said = lost.requeue(to)  # refused at the end
        assert (code, left[0]) == (1, True) and "4.3.0" in said
        code, left, said = lost.requeue(to)
        assert (code, left) == (0, [False] * 3) and s.messages[-1].rcpts == ["x@local.test", "no@local.test"], said


class LostSegment:
    """Mails of a lost queue that share a file, as doc/formats.md has it, and lines about them in a log."""

    def __init__(self, directory, contents):
        self.base, self.name = str(directory) + "/", "S800000000000010000"
        for d in "0123456789ABCDEF":
            os.mkdir(self.base + d)
        self.path, self.log, self.known = f"{self.base}0/{self.name}", self.base + "log", self.base + "known"
        lines, data, self.offsets = [], b"", []
        for n, content in enumerate(contents, 1):
            self.offsets.append(len(data) + 32)
            data += self.entry(n, content)
            lines += [f"1.000 INFO ss.mail ss_ta={self.id(n)}, mail=<a@src.test>, stat=250",
                      f"1.000 INFO ss.rcpt ss_ta={self.id(n)}, rcpt=<u{n}@local.test>, rcpt_idx=0, stat=250",
                      f"1.000 INFO ss.final ss_ta={self.id(n)}, nrcpts=1, content={self.name}, offset={self.offsets[-1]}, size={len(content)}, stat=250"]
        with open(self.path, "wb") as f:
            f.write(data)
        with open(self.log, "w") as f:
            f.write("\n".join(lines) + "\n")

    @staticmethod
    def id(n):
        return f"S{n:016X}00"

    @staticmethod
    def entry(n, content):
        body = struct.pack("<IQQB3x", crc32c(content), len(content), n, 0)
        entry = struct.pack("<II", 0x31584D53, crc32c(body)) + body + content
        return entry + bytes(-len(entry) % 32)

    def requeue(self, to, *needed):
        with open(self.known, "w") as f:
            f.write("".join(f"{self.name}{offset}\n" for offset in ["", *(f" {o}" for o in needed)]))
        r = subprocess.run([f"{BUILD}/rcvrenv", "-b", self.base, "-k", self.known, "-r", to, self.log], text=True, capture_output=True, timeout=60)
        return r.returncode, re.findall(r"^(S\w+) queued", r.stdout, re.M), r.stderr


def test_requeue_from_a_segment(tmp_path):
    """What qmgr needs is left alone, what was taken is not found again, and the file goes when nobody needs anything in it."""
    contents = [b"Subject: %d\r\n\r\n.\r\n" % n for n in range(3)]
    lost = LostSegment(tmp_path, contents)
    with Sink(unix=f"{tmp_path}/s1") as s:
        assert lost.requeue(f"{tmp_path}/s1", lost.offsets[1])[:2] == (0, [lost.id(1), lost.id(3)])
        assert [m.content for m in s.messages] == [contents[0], contents[2]]
        assert lost.requeue(f"{tmp_path}/s1", lost.offsets[1])[:2] == (0, []) and os.path.exists(lost.path)
        assert lost.requeue(f"{tmp_path}/s1")[:2] == (0, [lost.id(2)])
        assert [m.content for m in s.messages] == [contents[0], contents[2], contents[1]]
    assert not os.path.exists(lost.path)


def test_requeue_from_a_damaged_segment(tmp_path):
    """A content that looks like another one's place is not taken for it, one with a wrong checksum is not sent, and the file stays."""
    real = b"Subject: real\r\n\r\nreal\r\n"
    lost = LostSegment(tmp_path, [b"x" * 32 + LostSegment.entry(2, b"forged"), real, b"Subject: broken\r\n\r\n"])
    with open(lost.path, "r+b") as f:
        f.seek(9)
        f.write(b"\xff")  # the head of the first: the walk comes through its content
        f.seek(lost.offsets[2])
        f.write(b"s")
    with Sink(unix=f"{tmp_path}/s1") as s:
        code, queued, said = lost.requeue(f"{tmp_path}/s1")
        assert (code, queued) == (1, [lost.id(2)]), said
        assert f"{lost.name}: " in said and "are no content" in said and f"{lost.id(3)}: not queued" in said
        assert [m.content for m in s.messages] == [real]
        code, queued, said = lost.requeue(f"{tmp_path}/s1")
        assert queued == [], said
    assert os.path.exists(lost.path)
