"""smxfeed by hand: LMTP on its descriptors, and smtps' LMTP listener behind it."""
import contextlib
import os
import re
import signal
import socket
import subprocess

import pytest
from lib.paths import BUILD
from lib.sections import split_smtps
from lib.sink import Hang, Send, Serve, Sink
from lib.site import Site
from lib.wait import PATIENCE, SLOW, until

pytestmark = pytest.mark.inside

USAGE, IOERR, TEMPFAIL = 64, 74, 75


class Feed:
    """The program, and what sendmail would say to it; `eol` as in the mailer's E=."""

    def __init__(self, socket_path, *options, eol=b"\r\n", lhlo=True):
        self.eol = eol
        self.p = subprocess.Popen([os.path.join(BUILD, "smxfeed"), "-C", "/dev/null", "-L", socket_path, "-lstderr", *options],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.greeting = self.reply()
        self.extensions = []
        if lhlo and self.greeting[0] == 220:
            self.send(b"LHLO sender.test")
            lines = self.reply()[1]
            self.extensions = lines.split("\n")[1:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.kill()
        for f in (self.p.stdin, self.p.stdout, self.p.stderr):
            try:
                f.close()
            except BrokenPipeError:
                pass
        self.p.wait(PATIENCE * SLOW)

    def send(self, *lines):
        try:
            self.p.stdin.write(b"".join(x + self.eol for x in lines))
            self.p.stdin.flush()
        except BrokenPipeError:
            pass

    def reply(self):
        """(code, text); (None, "") when there is none."""
        lines = []
        while True:
            line = self.p.stdout.readline()
            if not line:
                return None, ""
            assert line.endswith(b"\r\n"), line
            lines.append(line[4:-2].decode())
            if line[3:4] == b" ":
                return int(line[:3]), "\n".join(lines)

    def codes(self, count):
        return [self.reply()[0] for _ in range(count)]

    def envelope(self, *rcpts, sender=b"a@src.test"):
        self.send(b"MAIL FROM:<" + sender + b">", *(b"RCPT TO:<" + r.encode() + b">" for r in rcpts), b"DATA")
        assert self.codes(len(rcpts) + 2) == [250] * (len(rcpts) + 1) + [354]

    def mail(self, tag, *rcpts, head=()):
        self.envelope(*rcpts)
        self.send(*head, b"Subject: " + tag.encode(), b"", b"..dot", b"text", b".")
        return [self.reply() for _ in rcpts]

    def end(self):
        self.p.stdin.close()
        return self.p.wait(PATIENCE * SLOW)


FRESH = 10


@pytest.fixture(scope="module")
def servers():
    """A next hop for each test that makes one misbehave: what is remembered of one is nothing to the others."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Sink()) for _ in range(FRESH)]


@pytest.fixture(scope="module")
def suite(sink, servers):
    s = Site(routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]", *(f"h{i}.test {x.port}^esmtp:[127.0.0.1]" for i, x in enumerate(servers))],
             relay=["local.test"])

    def section(name, more=""):
        return (f"    listen_socket {{ type = unix; path = \"{s.dir}/{name}.sock\"; name = \"{name}\"; umask = 0; }}\n"
                f"    protocol = lmtp; relay_from_local = {{ {name} }}; {more}\n")
    split_smtps(s, "MTA", QUEUED=section("queued"),
                NOW=section("now", "deliver = now; max_message_size = 100KB; xforward { from = { unix }; }"))
    with s:
        yield s


@pytest.fixture(params=["queued", "now"])
def mode(request, suite):
    return f"{suite.dir}/{request.param}.sock"


@pytest.fixture
def now(suite):
    return f"{suite.dir}/now.sock"


unused = iter(range(FRESH))


@pytest.fixture
def other(servers):
    """(domain, its server)"""
    i = next(unused)
    yield f"h{i}.test", servers[i]
    servers[i].drop()


@pytest.mark.parametrize("eol", [b"\r\n", b"\n"])
def test_a_mail(mode, sink, tag, eol):
    with Feed(mode, "-c", "me.test", eol=eol) as f:
        assert f.greeting[1].startswith("me.test ") and "PIPELINING" in f.extensions
        assert not {x.split(" ")[0] for x in f.extensions} & {"XFORWARD", "CHUNKING", "STARTTLS", "HELP", "LIMITS"}
        assert [c for c, _ in f.mail(tag, "one@local.test", "two@local.test")] == [250, 250]
        f.send(b"RSET")
        assert f.reply()[0] == 250
        assert [c for c, _ in f.mail(tag + "-2", "one@local.test")] == [250]
        f.send(b"QUIT")
        assert f.reply()[0] == 221 and f.end() == 0
    m, = sink.wait(tag)
    assert m.rcpts == ["one@local.test", "two@local.test"] and m.body == b".dot\r\ntext\r\n" and b"from me.test (uid " in m.header
    sink.wait(tag + "-2")


def test_refused_ones_hear_it_behind_the_content(mode, tag, sink):
    with Feed(mode) as f:
        got = f.mail(tag, "one@local.test", "bad..x@local.test", "two@local.test")
        assert [c for c, _ in got][::2] == [250, 250] and got[1][0] // 100 == 5
        f.envelope("bad..x@local.test")
        f.send(b"Subject: x", b"", b".")
        assert f.reply()[0] // 100 == 5
        f.send(b"MAIL FROM:<bad..y@src.test>", b"RCPT TO:<one@local.test>", b"DATA", b"text", b".")
        codes = f.codes(4)
        assert codes[:3] == [250, 250, 354] and codes[3] // 100 == 5
        assert [c for c, _ in f.mail(tag + "-2", "one@local.test")] == [250]
    assert sink.wait(tag)[0].rcpts == ["one@local.test", "two@local.test"]


def test_words_of_the_next_hop(now, other, tag):
    domain, server = other
    server.script([Serve({"RCPT": lambda line: b"550 5.1.1 nobody here\r\n" if b"no@" in line else b"452 4.2.2 full\r\n" if b"full@" in line else None
                         or b"250 2.1.5 ok\r\n", ".": b"250 2.0.0 it is in\r\n"})])
    with Feed(now) as f:
        got = f.mail(tag, f"yes@{domain}", f"no@{domain}", f"full@{domain}")
    assert [c for c, _ in got] == [250, 550, 452]
    assert "nobody here" in got[1][1] and "full" in got[2][1]


@pytest.mark.parametrize("options,heads,ids", [
    (["-iA1"], [None, None], ["A1", None]), (["-IA2"], [None, None], ["A2", None]), (["-IA3"], ["other", "A3"], ["A3", "A3"]),
    (["-IA4"], ["A4", "other"], ["A4", None]), (["-E"], ["B1", "B2"], ["B1", "B2"]), (["-E", "-iA5"], ["B3", None], ["B3", None]), ([], ["B4", "B5"], [None, None])])
def test_the_queue_id(suite, now, tag, sink, options, heads, ids):
    """-I is about one mail: with another one that comes by the same connection it would be taken for that, which was delivered."""
    with Feed(now, *options) as f:
        for i, (told, want) in enumerate(zip(heads, ids), 1):
            head = [b"Received: (from x@localhost)", b"\tby h (id no) id %s;" % told.encode(), b"\tdate"] if told else []
            assert f.mail(f"{tag}-{i}", f"r{i}@local.test", head=head)[0][0] == 250
            f.send(b"RSET")
            assert f.reply()[0] == 250
            m, = sink.wait(f"{tag}-{i}")
            ta = m.header.split(b"id S")[1].split()[0].decode()
            line, = [x for x in suite.log_lines("smtps", "ss.mail") if "ss_ta=S" + ta in x]
            assert re.search(rf"xid={want}\b", line) if want else ("xid=" not in line)


def test_sizes(now, tag, sink):
    with Feed(now, "-s", "2000") as f:
        assert "SIZE 2000" in f.extensions
        f.send(b"MAIL FROM:<a@src.test> SIZE=2001")
        assert f.reply()[0] == 552
        f.envelope("one@local.test", "two@local.test")
        f.send(b"Subject: " + tag.encode(), b"", *[b"x" * 70] * 3000, b".")
        assert f.codes(2) == [552, 552]
        assert f.mail(tag + "-2", "one@local.test")[0][0] == 250
    sink.wait(tag + "-2")
    assert not sink.find(tag)
    with Feed(now) as f:  # and what smtps itself says
        assert "SIZE 102400" in f.extensions
        f.send(b"MAIL FROM:<a@src.test> SIZE=200000")
        assert f.reply()[0] == 552


def test_total_time(now, other, tag):
    """Who is undecided then gets 4.4.7, and smx tries them no more."""
    domain, server = other
    server.script([Send(b"220 hi\r\n"), Hang()])
    with Feed(now, "-t", "total=2s") as f:
        got = f.mail(tag, f"late@{domain}", "one@local.test")
        assert got[0][0] == 451 and got[0][1].startswith("4.4.7")
        assert f.mail(tag + "-2", "one@local.test")[0][0] == 250


def test_a_large_mail_is_not_kept(suite, tag, sink):
    """Back-pressure: what smtps does not read stays with the caller."""
    path = f"{suite.dir}/dumb.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen(1)
        with subprocess.Popen([os.path.join(BUILD, "smxfeed"), "-C", "/dev/null", "-L", path, "-lstderr"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
            c, _ = s.accept()
            with c, c.makefile("rwb", 0) as io:
                io.write(b"220 hi\r\n")
                assert io.readline().startswith(b"LHLO ")
                io.write(b"250-x\r\n250 PIPELINING\r\n")
                p.stdin.write(b"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
                p.stdin.flush()
                for verb, answer in ((b"MAIL", b"250 ok\r\n"), (b"RCPT", b"250 ok\r\n"), (b"DATA", b"354 go\r\n")):
                    assert io.readline().startswith(verb)
                    io.write(answer)
                os.set_blocking(p.stdin.fileno(), False)
                sent = 0

                def full():
                    nonlocal sent
                    try:
                        sent += os.write(p.stdin.fileno(), b"x" * 998 + b"\r\n")
                    except BlockingIOError:
                        return True
                    return False
                until(full, "it takes no more", every=0)
                with open(f"/proc/{p.pid}/statm") as f:
                    resident = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                assert sent < 8 << 20 and resident < 16 << 20, (sent, resident)
            p.stdin.close()
            assert p.wait(PATIENCE * SLOW) == IOERR


def test_smx_away(tmp_path, suite, now, tag, sink):
    with Feed(str(tmp_path / "nobody")) as f:
        assert f.greeting[0] == 421 and f.end() == TEMPFAIL
    with Feed(now) as f:  # it may come and go between two mails
        assert f.mail(tag, "one@local.test")[0][0] == 250
        old = suite.pids("smtps")
        suite.kill("smtps")
        until(lambda: len(suite.pids("smtps")) == len(old) and not set(suite.pids("smtps")) & set(old), "smtps is back")
        suite.wait_ready()
        assert f.mail(tag + "-2", "one@local.test")[0][0] == 250
    with Feed(now) as f:  # within one, nobody is taken for served
        f.envelope("one@local.test", "two@local.test")
        old = suite.pids("smtps")
        suite.kill("smtps")
        f.send(b"text", b".")
        assert f.codes(2) == [451, 451]
    until(lambda: len(suite.pids("smtps")) == len(old) and not set(suite.pids("smtps")) & set(old), "smtps is back")
    suite.wait_ready()


def test_cut_within_the_content(now, tag, sink):
    with Feed(now) as f:
        f.envelope("one@local.test")
        f.send(b"Subject: " + tag.encode(), b"", b"half")
        assert f.end() == IOERR
    assert not sink.find(tag)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_end(now, other, tag, sig):
    with Feed(now) as f:  # idle
        f.p.send_signal(sig)
        assert f.reply()[0] == 421 and f.p.wait(PATIENCE * SLOW) == TEMPFAIL
    domain, server = other
    server.script([Send(b"220 hi\r\n"), Hang()])
    with Feed(now) as f:
        f.envelope(f"late@{domain}")
        f.send(b"Subject: " + tag.encode(), b"", b".")
        until(lambda: server.connections, "it is being delivered")
        f.p.send_signal(sig)
        code, text = f.reply()
        assert code == 451 and f.p.wait(PATIENCE * SLOW) == TEMPFAIL, text


def test_caller_gone_while_it_waits(suite, now, other, tag):
    """Nobody delivers for a caller that has gone."""
    domain, server = other
    server.script([Send(b"220 hi\r\n"), Hang()])
    with Feed(now) as f:
        f.envelope(f"late@{domain}")
        f.send(b"Subject: " + tag.encode(), b"", b".")
        until(lambda: server.connections, "it is being delivered")
        f.p.stdout.close()
        assert f.p.wait(PATIENCE * SLOW) == IOERR
    until(lambda: any("client gone" in x for x in suite.log_lines("smtps", "ss.close")), "smtps knows")
    server.drop()
    until(lambda: not suite.content_files(), "smx has forgotten it")


def test_pipelined_and_at_once_at_its_end(now, tag, sink):
    """A caller that has said all and closed still hears everything."""
    p = subprocess.run([os.path.join(BUILD, "smxfeed"), "-C", "/dev/null", "-L", now, "-lstderr", "-dA"], input=(
        f"LHLO x\nMAIL FROM:<a@src.test>\nRCPT TO:<one@local.test>\nRCPT TO:<two@local.test>\nDATA\nSubject: {tag}\n\ntext\n.\nNOOP\nBAD\nQUIT\n").encode(),
        capture_output=True, timeout=PATIENCE * SLOW)
    assert p.returncode == 0, p
    assert [int(x[:3]) for x in p.stdout.splitlines() if x[3:4] == b" "] == [220, 250, 250, 250, 250, 354, 250, 250, 250, 500, 221]
    assert b"from the caller: MAIL" in p.stderr and b"to smtps: RCPT" in p.stderr and b"from smtps: 354" in p.stderr
    sink.wait(tag)


@pytest.mark.parametrize("options,says", [(["-n", "5"], "max_connections"), (["-mhost"], "mailertable"), (["-R1"], "smtp_max_rcpts_per_transaction"),
                                          (["-t", "connect=1m"], "timeouts"), (["-x"], "no such option")])
def test_refused_options(options, says):
    r = subprocess.run([os.path.join(BUILD, "smxfeed"), *options], capture_output=True, text=True)
    assert r.returncode == USAGE and options[0][:2] in r.stderr and says in r.stderr and not r.stdout


def test_help_and_version():
    for option, says in (("-h", "usage: smxfeed"), ("-V", "smxfeed (smx) ")):
        r = subprocess.run([os.path.join(BUILD, "smxfeed"), option], capture_output=True, text=True)
        assert r.returncode == 0 and r.stdout.startswith(says)
