"""sendmail: the command line that programs know, and programs that use it: cron's way, mailx, s-nail, git send-email, PHP, Python."""
import email
import email.policy
import grp
import os
import re
import shutil
import smtplib
import subprocess

import pytest
from lib.debian import Unavailable, unpacked
from lib.paths import BUILD, SRC
from lib.sink import Close, Content, Expect, Hang, Send, Serve, Sink
from lib.site import Site
from lib.wait import PATIENCE, SLOW, until

pytestmark = pytest.mark.inside

USAGE, DATAERR, NOUSER, UNAVAILABLE, IOERR, TEMPFAIL, PROTOCOL, NOPERM, CONFIG = 64, 65, 67, 69, 74, 75, 76, 77, 78
HELLO = b"Subject: hello\n\nhello\n"


class Sendmail:
    def __init__(self, site, prefix=None):
        self.path = os.path.join(site.dir, "sendmail")
        self.prefix = site.prefix if prefix is None else prefix

    def run(self, *args, text=b"", **kw):
        return subprocess.run([*self.prefix, self.path, *args], input=text, capture_output=True, timeout=PATIENCE * SLOW, cwd="/", **kw)

    def __call__(self, *args, text=HELLO, status=0, **kw):
        r = self.run(*args, text=text, **kw)
        assert r.returncode == status, r
        return r.stderr.decode() if status else r.stdout.decode()


@pytest.fixture(scope="module")
def site(sink, tmp_path_factory):
    d = tmp_path_factory.mktemp("sendmail")
    os.chmod(d, 0o755)
    for p in d.parents:  # whoever runs the site reads it
        if str(p).startswith("/tmp/"):
            os.chmod(p, 0o755)
    access = d / "access"
    access.write_text("to:no@away.test error:550 5.1.1 no such user\nto:later@away.test error:450 4.2.1 later\n"
                      "from:bad@src.test error:551 5.7.1 not you\n")
    db = d / "access.db"
    subprocess.run([os.path.join(BUILD, "createmap"), "-k", "access", str(db), str(access)], check=True)
    with Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"],
              settings={"smtps.flags": "{ 8bitmime, access, chunking, smtputf8 }", "smar.access_map.file": str(db), "smtps.max_message_size": "4096",
                        "smtps.max_line_length": "3MB"}) as s:
        yield s


@pytest.fixture(scope="module")
def sendmail(site):
    return Sendmail(site)


@pytest.fixture
def to(tag):
    """A recipient of this test's own."""
    return re.sub(r"[^a-z0-9]", "-", tag.lower())[-60:].strip("-") + "@far.test"


def arrived(sink, to):
    m, = sink.wait(lambda m: to in m.rcpts)
    return m


def parsed(m):
    return email.message_from_bytes(m.without_trace(), policy=email.policy.SMTP)


def uid(site):
    return os.getuid() if not site.prefix else int(re.search(r"reuid=(\d+)", " ".join(site.prefix)).group(1))


# ---- what becomes of a message

def test_simple(site, sendmail, sink, to):
    assert sendmail("-f", "me@src.test", to) == ""
    m = arrived(sink, to)
    header = parsed(m)
    assert m.sender == "me@src.test" and m.body == b"hello\r\n"
    assert header["From"] == "nobody <me@src.test>" or header["From"].endswith("<me@src.test>")
    assert header["Date"] and re.fullmatch(r"<[0-9a-f.]+@mx\.test>", header["Message-ID"])
    assert f"from localhost (uid {uid(site)})".encode() in m.header
    assert [x for x in site.log_lines("smtps", "ss.connect") if f"uid={uid(site)}, " in x and "listener=submit" in x]


def test_cron(sendmail, sink, to):
    """As cron calls it; its addresses have no domain."""
    sendmail("-i", "-FCronDaemon", "-B8BITMIME", "-oem", to, "root",
             text="From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> ls\nContent-Type: text/plain; charset=UTF-8\n\n.\nä\n".encode())
    m = arrived(sink, to)
    assert sorted(m.rcpts) == sorted([to, "root@mx.test"]) and m.body == ".\r\nä\r\n".encode()
    assert b"From: root@mx.test (Cron Daemon)\r\nTo: root@mx.test\r\n" in m.header


def test_header_recipients(sendmail, sink, to):
    user = to.partition("@")[0]
    sendmail("-t", "-f", "me@src.test", text=f"""To: "A, (B)" <{to}>, Us: C (c) <c-{to}>,
  D\t<d-{to}>;
Cc: =?UTF-8?Q?J=C3=B6rg?= <@relay.test:e-{to}> (who?), "q u" @far.test
Bcc: f-{to},
\tg-{user}
Subject: x

y
""".encode())
    m = arrived(sink, to)
    assert sorted(m.rcpts) == sorted([to, f"c-{to}", f"d-{to}", f"e-{to}", '"q u"@far.test', f"f-{to}", f"g-{user}@mx.test"])
    assert b"bcc" not in m.header.lower() and f"g-{user}".encode() not in m.content


def test_arguments_are_left_out(sendmail, sink, to):
    sendmail("-t", f"b-{to}", text=f"To: {to}, b-{to}\n\n".encode())
    assert arrived(sink, to).rcpts == [to]


def test_resent(sendmail, sink, to):
    sendmail("-t", "-F", "Me", "-f", "me@src.test", text=f"Resent-To: {to}\nResent-Bcc: b-{to}\nFrom: a@b.test\nTo: others@b.test\nDate: d\nMessage-ID: <i@d>\n\n".encode())
    m = arrived(sink, to)
    assert sorted(m.rcpts) == sorted([to, f"b-{to}"])
    assert re.search(rb"\r\nResent-Date: [^\r]+\r\nResent-From: Me <me@src\.test>\r\nResent-To: ", m.header) and b"Resent-Bcc" not in m.header
    assert m.content.endswith(f"Resent-To: {to}\r\nFrom: a@b.test\r\nTo: others@b.test\r\nDate: d\r\nMessage-ID: <i@d>\r\n\r\n".encode())


def test_dsn(site, sendmail, sink, to):
    sendmail("-N", "success,delay", "-R", "hdrs", "-V", "job+2B7", to)
    arrived(sink, to)
    mail = [x for x in site.log_lines("smtps", "ss.mail") if "job+2B7" in x]
    assert len(mail) == 1 and "ret=2" in mail[0]
    rcpt = [x for x in site.log_lines("smtps", "ss.rcpt") if to in x]
    assert len(rcpt) == 1 and "notify=10" in rcpt[0]


def test_8bit_and_utf8(site, sendmail, sink, to):
    sendmail("-f", "jörg@src.test", to, text="Subject: ä\n\nö\0\n".encode())
    mail, = [x for x in site.log_lines("smtps", "ss.mail") if "j\\xc3\\xb6rg@src.test" in x.lower()]
    assert "utf8=1" in mail and "body=2" in mail
    # the sink has no SMTPUTF8: what smtpc makes of that is told to the sender, and said in its log
    until(lambda: [x for x in site.log_lines("qmgr", "qm.rcpt") if to in x], "its end")
    sendmail("-f", "me@src.test", f"b-{to}", text="Subject: s\n\nö\0\n".encode())
    assert arrived(sink, f"b-{to}").body == "ö\0\r\n".encode()


def test_user_limit(sink):
    """What one account sends is counted, by its number."""
    with Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], settings={"qmgr.smtps.max_messages_per_user": "2"}) as s:
        sendmail = Sendmail(s)
        for _ in range(2):
            sendmail("limit@far.test")
        assert "450" in sendmail("limit@far.test", status=TEMPFAIL)
        assert f"uid:{uid(s)}" in s.qmgrctl("users")


# ---- how it ends

@pytest.mark.parametrize("args, text, status, says", [
    ((), HELLO, USAGE, "no recipients"),
    (("-t",), HELLO, DATAERR, "no recipient"),
    (("-t",), b"", DATAERR, "no recipient"),
    (("-t",), b"To: a b\n\n", DATAERR, "To: two words"),
    (("a@b@c",), HELLO, DATAERR, "a@b@c"),
    (("a@far.test,b c",), HELLO, DATAERR, "b c"),
    (("-f", "a b", "x@far.test"), HELLO, DATAERR, "-f a b"),
    (("-f", "bad@src.test", "x@far.test"), HELLO, NOPERM, "551 5.7.1 not you"),
    (("no@away.test",), HELLO, NOUSER, "no@away.test: 550 5.1.1 no such user"),
    (("later@away.test",), HELLO, TEMPFAIL, "later@away.test: 450 4.2.1 later"),
    (("-OTempfailStatus=69", "later@away.test"), HELLO, UNAVAILABLE, "450 4.2.1 later"),
    (("-oeq", "no@away.test"), HELLO, NOUSER, ""),
    (("x@far.test",), b"Subject: x\n\n" + b"x" * 76 * 65536, DATAERR, "bytes"),
    (("-Z",), HELLO, USAGE, "-Z"),
    (("-bd",), b"", USAGE, "mcp"),
    (("-q30m",), b"", USAGE, "qmgr"),
    (("-C", "/nonexistent", "x@far.test"), HELLO, CONFIG, "/nonexistent"),
    (("-bi",), b"", UNAVAILABLE, "createmap"),
], ids=lambda x: str(x)[:20])
def test_status(sendmail, args, text, status, says):
    # the last -C counts: the wrapper's own comes first
    err = sendmail(*args, text=text, status=status)
    assert says in err and (says or not err)


def test_partial(sendmail, sink, to):
    """All or nobody; with -oem, as cron has it, those who are accepted."""
    err = sendmail(to, "no@away.test", status=NOUSER)
    assert "no@away.test: 550" in err and "nothing was sent" in err
    err = sendmail("-oem", f"m-{to}", "no@away.test", "later@away.test", status=NOUSER)
    assert arrived(sink, f"m-{to}").rcpts == [f"m-{to}"] and "nothing" not in err
    assert not sink.find(lambda m: to in m.rcpts)


def test_away(sink, to):
    """smx is down: the caller keeps the mail."""
    with Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"]) as s:
        sendmail = Sendmail(s)
        s.stop()
        assert "submit/smtp" in sendmail(to, status=TEMPFAIL)
        sendmail("-OTempfailStatus=69", to, status=UNAVAILABLE)
        sendmail("-bs", status=TEMPFAIL)
        sendmail("-bp", text=b"", status=UNAVAILABLE)
        s.start()
        sendmail(to)
        arrived(sink, to)


GREETING, EHLO, OK = Send(b"220 hi\r\n"), Expect(rb"EHLO"), Send(b"250 ok\r\n")
SAID = [GREETING, EHLO, OK, Expect(rb"MAIL"), OK, Expect(rb"RCPT"), OK, Expect(rb"DATA"), Send(b"354 go\r\n"), Content()]


@pytest.mark.parametrize("script, status", [
    *[([*SAID[:n], Close()], TEMPFAIL) for n in range(len(SAID) + 1)],
    ([Send(b"421 4.3.2 no\r\n")], TEMPFAIL),
    ([Send(b"554 5.7.1 no\r\n")], NOPERM),
    ([Send(b"554 no\r\n")], UNAVAILABLE),
    ([Send(b"hello\r\n")], PROTOCOL),
    ([GREETING, EHLO, Send(b"250-" + b"x" * 3000 + b"\r\n250 ok\r\n")], PROTOCOL),
    ([GREETING, EHLO, Send(b"250-a\r\n" * 200)], PROTOCOL),
    ([*SAID[:4], Send(b"553 5.1.8 who?\r\n"), Hang()], DATAERR),
    ([*SAID[:4], Send(b"452 4.3.1 full\r\n"), Hang()], TEMPFAIL),
    ([*SAID[:7], Expect(rb"DATA"), Send(b"451 4.3.0 no\r\n"), Hang()], TEMPFAIL),
    ([*SAID, Send(b"552 5.3.4 too large\r\n"), Hang()], DATAERR),
    ([*SAID, Send(b"554 5.6.0 bad content\r\n"), Hang()], DATAERR),
    ([*SAID, Send(b"554 5.3.0 no\r\n"), Hang()], UNAVAILABLE),
    ([*SAID, Send(b"451 4.3.0 later\r\n"), Hang()], TEMPFAIL),
    ([*SAID, OK, Hang()], 0),
    ([*SAID[:6], Send(b"550 5.1.1 no\r\n421 4.7.0 enough\r\n"), Close()], NOUSER),
])
def test_server_says(site, tmp_path, script, status):
    """A server that ends midway, or says strange things."""
    conf, socket = tmp_path / "smx.conf", f"{tmp_path}/s"
    conf.write_text(f'hostname = "mx.test"; sendmail {{ socket = "{socket}"; }}\n')
    # who greets with a no, or is not understood, is left
    with Sink(unix=socket, scripts=[[x for x in script if not isinstance(x, Hang)] + [Serve(greet=False)] if any(isinstance(x, Hang) for x in script) else script]):
        r = subprocess.run([os.path.join(BUILD, "sendmail"), "-C", str(conf), "-f", "a@src.test", "b@far.test", *(["c@far.test"] if status == NOUSER else [])], input=HELLO, capture_output=True,
                           timeout=PATIENCE * SLOW)
    assert r.returncode == status and (r.stderr if status else not r.stderr), r


# ---- other modes

def test_bs(sendmail, sink, to, site):
    """SMTP on standard input and output."""
    p = subprocess.Popen([*sendmail.prefix, sendmail.path, "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def say(line):
        p.stdin.write(line + b"\r\n")
        p.stdin.flush()
        while True:
            r = p.stdout.readline()
            if r[3:4] != b"-":
                return r[:3]
    assert p.stdout.readline().startswith(b"220 ")
    assert [say(x) for x in (b"EHLO x.test", b"MAIL FROM:<a@src.test>", b"RCPT TO:<%s>" % to.encode(), b"DATA", b"Subject: bs\r\n\r\nx\r\n.", b"QUIT")] == \
        [b"250", b"250", b"250", b"354", b"250", b"221"]
    assert p.wait(PATIENCE * SLOW) == 0
    assert arrived(sink, to).sender == "a@src.test"
    assert sendmail("-bs", text=b"QUIT\r\n").startswith("220 ")


def test_verify(sendmail):
    r = sendmail.run("-bv", "a@far.test", "no@away.test")
    assert r.returncode == NOUSER and b"a@far.test: 250 " in r.stdout and b"no@away.test: 550 5.1.1" in r.stderr


def test_queue(site, sendmail):
    assert "empty" in sendmail("-bp", text=b"") or "Queue ID" in sendmail("-bp", text=b"")
    if os.getuid() == 0 and site.prefix:
        assert Sendmail(site, ["setpriv", "--reuid=1", "--regid=1", "--clear-groups"]).run("-bp").returncode in (NOPERM, UNAVAILABLE)
    sendmail("-q", text=b"")


def test_queue_run(to):
    """-q is tried now: what waits for a run, and what waits for its next try."""
    with Sink(scripts=[[Serve({"GREETING": b"421 4.3.2 not now\r\n"})]]) as away:
        with Site(routes=[f". {away.port}^esmtp:[127.0.0.1]"], settings={"qmgr.retry_min_delay": "1h", "qmgr.retry_max_delay": "1h"}) as s:
            sendmail = Sendmail(s)
            sendmail(to)
            until(lambda: '"deferred"' in s.qmgrctl("-j", "list", check=False), "it waits")
            assert to in sendmail("-bp", text=b"")
            away.script([Serve()])
            sendmail("-q", text=b"")
            arrived(away, to)
    with Sink() as there, Site(routes=[f". {there.port}^esmtp:[127.0.0.1]"], settings={"smtps.deliver": "queue", "qmgr.queue_run.interval": "0s"}) as s:
        sendmail = Sendmail(s)
        sendmail(to)
        until(lambda: to in sendmail("-bp", text=b""), "it waits")
        assert not there.messages
        sendmail("-q", text=b"")
        arrived(there, to)


def test_verbose(sendmail, sink, to):
    out = sendmail("-v", to)
    assert ">>> MAIL FROM:<" in out and ">>> ." in out and re.search(r"(?m)^250 .*S[0-9A-F]{18}", out)


@pytest.mark.parametrize("name, status", [("newaliases", UNAVAILABLE), ("mailq", UNAVAILABLE)])
def test_names(tmp_path, name, status):
    """Links to it do what their names say; nothing of smx is at the compiled-in places of a test."""
    if os.path.exists("/var/spool/smx/ctl/qmgr"):
        pytest.skip("this machine runs smx")
    link = tmp_path / name
    link.symlink_to(os.path.join(BUILD, "sendmail"))
    assert subprocess.run([link], capture_output=True, timeout=PATIENCE * SLOW).returncode == status


# ---- who wants no good

@pytest.mark.parametrize("address", ["-oQ/tmp@far.test", "-bs", "-C/etc/passwd", "--version"])
def test_no_address_is_an_option(sendmail, sink, address, to):
    sendmail(to, address, status=USAGE)
    sendmail("-t", text=f"To: {address}, {to}\n\nx\n".encode())
    assert sorted(arrived(sink, to).rcpts) == sorted([to, address if "@" in address else address + "@mx.test"])
    sendmail("--", address, f"b-{to}")
    arrived(sink, f"b-{to}")


def test_nothing_is_run(sendmail, sink, to, site):
    victim = os.path.join(site.dir, "v")
    sendmail("-t", text=f'To: |touch${{IFS}}{victim}, {to}\n\nx\n'.encode())
    sendmail("-t", text=f"To: {victim}, c-{to}\n\nx\n".encode())
    sendmail("-t", text=b"To: :include:/etc/passwd\n\nx\n", status=DATAERR)
    arrived(sink, to)
    arrived(sink, f"c-{to}")
    assert not os.path.exists(victim)


@pytest.mark.parametrize("name", ["x\nBcc: evil@far.test\n\nevil", "x\r\nBcc: evil@far.test", 'x" <evil@far.test>, "', "x\rTo: y", "x\\", "=?x?q?=0ABcc:_a?=",
                                  "ä" * 5000, b"\xff\n\xfe"])
def test_name_stays_a_name(sendmail, sink, to, name):
    sendmail("-F", name, "-f", "me@src.test", to)
    m = arrived(sink, to)
    header = parsed(m)
    assert m.body == b"hello\r\n" and set(header.keys()) == {"Subject", "Date", "Message-ID", "From"}
    addresses = header["From"].addresses
    assert len(addresses) == 1 and addresses[0].addr_spec == "me@src.test"


@pytest.mark.parametrize("text, body", [
    (b"S: x\n\n" + b"y" * 1000000 + b"\n", b"y" * 1000000 + b"\r\n"),
    (b"z" * 1500000 + b"\n", b"z" * 1500000 + b"\r\n"),
    (b"S: x\rBcc: evil@far.test\n\n.\r.\rz", b".\r\n.\r\nz\r\n"),
    (b"S: \0\n\n\0\n", b"\0\r\n"),
    (b"S: x\r\n\r\na\r\n.\r\nQUIT\r\n", b"a\r\n"),
    (b"S: x\n\na\r\n\r.\r\nb\n", b"a\r\n\r\n.\r\nb\r\n"),
    (b"", b""),
    (b"\n", b""),
    (b".\n", b""),
    (b"X: y\n" * 9000 + b"\nz\n", b"z\r\n"),
], ids=["line", "text", "cr", "nul", "crlf", "crdot", "empty", "blank", "dot", "header"])
def test_strange_content(sendmail, sink, to, text, body):
    sendmail(to, text=text)
    m = arrived(sink, to)
    assert m.body == body and m.rcpts == [to]
    assert b"\nBcc" not in m.content


@pytest.mark.parametrize("text", [b"X: " + b"y" * 2000000 + b"\n\n", b"X: y\n" * 300000 + b"\n"], ids=["field", "fields"])
def test_huge_header(sendmail, text):
    assert "header" in sendmail("x@far.test", text=text, status=DATAERR)


def test_many_recipients(sendmail, sink, to):
    """As many as smx takes; 100,000 are refused at once."""
    err = sendmail("-t", text=b"To: " + b",\n ".join(b"u%d@x.test" % i for i in range(40000)) + b"\n\n", status=DATAERR)
    assert "1000 recipients" in err
    assert "header" in sendmail("-t", text=b"To: " + b",\n ".join(b"u%d@x.test" % i for i in range(100000)) + b"\n\n", status=DATAERR)
    assert "1000 recipients" in sendmail(*[f"u{i}@x.test" for i in range(50000)], status=DATAERR)  # more, and the kernel refuses it
    user, _, domain = to.partition("@")
    sendmail(*[f"{user}-{i}@{domain}" for i in range(1000)])
    until(lambda: sum(len(m.rcpts) for m in sink.find(lambda m: m.rcpts[0].startswith(user))) == 1000, "all have it")


def test_bare_environment(site, sink, to):
    """No HOME, no PATH, nothing."""
    r = subprocess.run([*site.prefix, os.path.join(BUILD, "sendmail"), "-C", site.conf, to], input=HELLO, capture_output=True, env={}, timeout=PATIENCE * SLOW)
    assert r.returncode == 0 and not r.stderr, r
    arrived(sink, to)


def shell(site, command, *args):
    return subprocess.run([*site.prefix, "sh", "-c", command, os.path.join(BUILD, "sendmail"), "-C", site.conf, *args], input=HELLO, capture_output=True,
                          timeout=PATIENCE * SLOW)


@pytest.mark.parametrize("close", ["2>&-", ">&-", ">&- 2>&-"])
def test_closed_output(site, sink, to, close):
    """Neither the socket nor the message becomes somebody's standard error."""
    assert shell(site, f'"$0" "$@" {close}', "-v", to).returncode in ((0, 74) if ">&-" in close else (0,))
    assert arrived(sink, to).body == b"hello\r\n"
    assert shell(site, f'"$0" "$@" {close}', "no@away.test").returncode == NOUSER


def test_closed_input(site, to):
    r = shell(site, '"$0" "$@" <&-', to)
    assert r.returncode == IOERR and b"standard input" in r.stderr
    assert shell(site, '"$0" "$@" </', to).returncode == IOERR


def test_nobody_reads(site, sink, to):
    """EPIPE is no death: the mail is sent."""
    assert shell(site, '{ "$0" "$@"; echo $? >&2; } | true', "-v", to).stderr.strip() == b"0"
    arrived(sink, to)


def test_writer_hears_why(site):
    """Who writes too much can write it to its end."""
    p = subprocess.Popen([*site.prefix, os.path.join(BUILD, "sendmail"), "-C", site.conf, "x@far.test"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdin.write(b"S: x\n\n")
    for _ in range(2000):
        p.stdin.write(b"x" * 65535 + b"\n")
    _, err = p.communicate(timeout=PATIENCE * SLOW)
    assert p.returncode == DATAERR and b"larger" in err


# ---- programs

def program(package, path):
    try:
        return os.path.join(unpacked(package), path)
    except Unavailable as e:
        pytest.skip(str(e))


def runs(*argv):
    try:
        return subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=PATIENCE * SLOW).returncode == 0
    except OSError:
        return False


def test_bsd_mailx(sendmail, sink, to, tmp_path):
    mail = program("bsd-mailx", "usr/bin/bsd-mailx")
    rc = tmp_path / "mailrc"
    rc.write_text(f"set sendmail={sendmail.path}\n")
    r = subprocess.run([mail, "-s", "from mailx", "-c", f"c-{to}", to], input=b"text\n.\nmore\n", env=dict(os.environ, MAILRC=str(rc), HOME=str(tmp_path)), capture_output=True,
                       timeout=PATIENCE * SLOW)
    assert r.returncode == 0 and not r.stderr, r
    m = arrived(sink, to)
    assert m.subject() == "from mailx" and sorted(m.rcpts) == sorted([to, f"c-{to}"]) and m.body.startswith(b"text\r\n")


def test_s_nail(sendmail, sink, to, tmp_path):
    mail = program("s-nail", "usr/bin/s-nail")
    r = subprocess.run([mail, "-n", "-S", f"mta={sendmail.path}", "-S", "v15-compat", "-r", "me@src.test", "-s", "from s-nail ä", "-b", f"b-{to}", to], input="text\n.\nmörë\n".encode(),
                       env=dict(os.environ, HOME=str(tmp_path), LC_ALL="C.UTF-8"), capture_output=True, timeout=PATIENCE * SLOW)
    assert r.returncode == 0, r
    m = arrived(sink, to)
    header = parsed(m)
    assert header["Subject"] == "from s-nail ä" and sorted(m.rcpts) == sorted([to, f"b-{to}"]) and m.sender == "me@src.test"
    assert header.get_content().replace("\r\n", "\n") == "text\n.\nmörë\n"


def test_git_send_email(sendmail, sink, to, tmp_path):
    script = program("git-email", "usr/lib/git-core/git-send-email")
    if not runs("perl", "-MGit", "-e1"):
        pytest.skip("no Git.pm")
    git = ["git", "-c", "user.name=Ä. U. Thor", "-c", "user.email=author@src.test", "-C", str(tmp_path)]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "file").write_text("From here\n.\nend\n")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-qm", "Subject of the change"], check=True)
    subprocess.run([*git, "format-patch", "-q", "--root", "-o", str(tmp_path)], check=True)
    patch, = tmp_path.glob("*.patch")
    exec_path = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    r = subprocess.run(["perl", script, f"--sendmail-cmd={sendmail.path}", "--from", "author@src.test", "--envelope-sender", "author@src.test", "--to", to, "--cc", f"c-{to}", "--suppress-cc=all", "--confirm=never",
                        "--quiet", str(patch)], capture_output=True, cwd=tmp_path, timeout=PATIENCE * SLOW,
                       env=dict(os.environ, HOME=str(tmp_path), GIT_CONFIG_NOSYSTEM="1", EMAIL="author@src.test", PATH=exec_path + ":" + os.environ["PATH"]))
    assert r.returncode == 0, r
    m = arrived(sink, to)
    assert m.subject() == "[PATCH] Subject of the change" and sorted(m.rcpts) == sorted([to, f"c-{to}"]) and m.sender == "author@src.test"
    assert b"\r\n+.\r\n" in m.body and (shutil.which("git") and runs(*git, "apply", "--check", "--reverse", str(patch)))


def php(sendmail, tmp_path, code, *options):
    php_cli = program("php8.2-cli", "usr/bin/php8.2")
    if not runs(php_cli, "-n", "-v"):
        pytest.skip("PHP does not run here: libraries are missing")
    r = subprocess.run([php_cli, "-n", "-d", f"sendmail_path={sendmail.path} -t -i {' '.join(options)}", "-r", code], capture_output=True, cwd=tmp_path, timeout=PATIENCE * SLOW)
    assert r.returncode == 0, r
    return r.stdout.decode()


def test_php(sendmail, sink, to, tmp_path):
    code = f'var_dump(mail("{to}", "s\u00e4ubject", "text\\n.\\nmore", "From: me@src.test\\r\\nBcc: b-{to}", "-fenvelope@src.test"));'
    assert php(sendmail, tmp_path, code).strip() == "bool(true)"
    m = arrived(sink, to)
    assert m.body == b"text\r\n.\r\nmore\r\n" and m.sender == "envelope@src.test" and sorted(m.rcpts) == sorted([to, f"b-{to}"])
    assert b"bcc" not in m.header.lower()
    assert php(sendmail, tmp_path, 'var_dump(mail("no@away.test", "s", "t"));').strip() == "bool(false)"


def test_php_and_trouble(sendmail, tmp_path):
    """Some releases of PHP take 75 for a success, because other sendmails keep the mail then: hence TempfailStatus."""
    code = 'var_dump(mail("later@away.test", "s", "t"));'
    assert php(sendmail, tmp_path, code, "-OTempfailStatus=69").strip() == "bool(false)"


def test_python(sendmail, sink, to):
    """As scripts do: a message object, and the addresses in its header."""
    m = email.message.EmailMessage()
    m["From"], m["To"], m["Subject"] = "me@src.test", f"Jörg <{to}>", "Grüße"
    m.set_content("Größe\n.\n")
    m.add_attachment(bytes(range(256)) * 100, maintype="application", subtype="octet-stream")
    r = subprocess.run([sendmail.path, "-t", "-oi"], input=bytes(m), capture_output=True, timeout=PATIENCE * SLOW)
    assert r.returncode == 0, r
    got = parsed(arrived(sink, to))
    assert got["Subject"] == "Grüße" and next(got.iter_attachments()).get_content() == bytes(range(256)) * 100


# ---- as on a real machine

@pytest.mark.skipif(os.getuid() != 0, reason="not root: no other users")
def test_any_user(sink, to):
    """Five accounts; whoever is on this machine may send, is known by his number, and cannot be somebody else's."""
    with Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], users="real") as s:
        st = os.stat(os.path.join(s.spool, "submit"))
        assert (st.st_uid, st.st_mode & 0o7777) == (0, 0o755)
        assert os.stat(os.path.join(s.spool, "submit/smtp")).st_mode & 0o7777 == 0o666
        for number in (0, 1, 65534, 54321):
            user = f"u{number}-{to}"
            Sendmail(s, ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"])(user)
            m = arrived(sink, user)
            assert f"(uid {number})".encode() in m.header
        assert m.sender == "uid54321@mx.test"  # who has no name in the list of accounts
        r = Sendmail(s, ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]).run("-bp")
        assert r.returncode == NOPERM or r.returncode == UNAVAILABLE, r
        # in a container he is still who he is here
        container = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user", "--map-root-user"]
        if runs(*container, "true"):
            Sendmail(s, container)(f"container-{to}")
            m = arrived(sink, f"container-{to}")
            assert b"(uid 65534)" in m.header and m.sender == "root@mx.test"
        # smtps on its other listener knows nobody, and relays for nobody
        with s.client() as c:
            assert c.mail("a@src.test").code == 250 and c.rcpt("b@far.test").code == 550


def page(heading, name):
    """A file as doc/setups.md has it."""
    with open(os.path.join(SRC, "doc/setups.md"), encoding="utf-8") as f:
        part = f.read().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return part.partition(f"```\n# /etc/smx/{name}\n")[2].partition("```\n")[0]


@pytest.mark.skipif(os.getuid() != 0, reason="not root: no other users")
def test_host_that_only_sends(sink):
    """The configuration of doc/setups.md, with the places of this site."""
    with Site(users="real") as s:
        s.stop()
        conf = page("A host that only sends", "smx.conf").replace("/etc/smx/", s.dir + "/").replace(
            "CDB_gid = 262", f"CDB_gid = {grp.getgrnam('smxc').gr_gid}").replace(
            "sendmail {", f'sendmail {{ socket = "{s.spool}/submit/smtp"; control_socket = "{s.spool}/ctl/qmgr";')
        conf, n = re.subn(r"/usr/local/libexec/(\w+)", lambda m: os.path.join(BUILD, m[1], m[1]), conf)
        assert n == 4
        with open(s.conf, "w", encoding="utf-8") as f:
            f.write(conf)
        with open(os.path.join(s.dir, "mt"), "w", encoding="utf-8") as f:
            f.write(page("A host that only sends", "mt").replace("esmtp:smart.example.org", f"{sink.port}^esmtp:[127.0.0.1]"))
        s.start(wait=False)
        until(lambda: os.path.exists(os.path.join(s.spool, "submit/smtp")), "the socket is there")
        Sendmail(s, ["setpriv", "--reuid=1", "--regid=1", "--clear-groups"])("-i", "-oem", "root", text=b"Subject: only sends\n\nx\n")
        m, = sink.wait("only sends")
        assert m.rcpts == ["root@example.org"] and m.sender == "daemon@example.org" and b"by web1.example.org" in m.header
        until(lambda: "uid:1" in s.qmgrctl("users"), "its user is counted")
        # no port is open
        ports = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
        assert not [p for pids in s.all_pids().values() for p in pids if f"pid={p}," in ports]


def test_no_rights():
    """It needs no bit that would give it some."""
    assert os.stat(os.path.join(BUILD, "sendmail")).st_mode & 0o6000 == 0


def test_smtplib_on_the_socket(site, sink, to):
    """Programs that speak SMTP may use the socket themselves."""
    import socket
    s = smtplib.SMTP()
    s.sock = socket.socket(socket.AF_UNIX)
    s.sock.connect(os.path.join(site.spool, "submit/smtp"))
    s.file = None
    assert s.getreply()[0] == 220
    s.sendmail("me@src.test", [to], "Subject: x\r\n\r\ny\r\n")
    s.quit()
    assert f"(uid {os.getuid()})".encode() in arrived(sink, to).header
