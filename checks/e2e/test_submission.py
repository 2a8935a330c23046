"""Submission (RFC 6409), and several SMTP servers in one tree of processes: MTA, MSA and MSP, each with its own listeners, flags, id and name."""
import os
import re
import subprocess
import tempfile

import pytest
from lib.client import Client
from lib.paths import BUILD, free_port
from lib.sections import listener, split_smtps
from lib.site import Site
from lib.wait import until
from test_msp import Msp

pytestmark = pytest.mark.inside

ACCESS = "cltaddr:127.0.0.2 relay\n"


@pytest.fixture(scope="module")
def ports():
    return {"msa": free_port(), "msp": free_port(), "plain": free_port()}


def servers(sink, ports):
    """Not yet started."""
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]", f"local.test {sink.port}^lmtp:[127.0.0.1]"])
    split_smtps(
        s, "MTA",
        MSA=f"    {listener(ports['msa'], 'msa')}\n    flags = {{ access, submission }};\n    qualify_domain = example.org;",
        MSP=f"    {listener(ports['msp'], 'msp')}\n    relay_from_local = {{ msp }};\n    flags = {{ submission }};",
        LEAVE=f"    {listener(ports['plain'], 'plain')}\n    relay_from_local = {{ plain }};\n    flags = {{ submission, leave_header }};")
    s.add("smar", 'access_map { file = "@/access.cdb"; }')
    s.createmap("access.cdb", ACCESS, kind="access")
    return s


@pytest.fixture(scope="module")
def site(sink, ports):
    with servers(sink, ports) as s:
        yield s


def submit(ports, which="msa", source="127.0.0.2", **kw):
    return Client(ports[which], source=source, **kw)


# ---- who may

def test_needs_authorization(ports, site):
    with submit(ports, source="127.0.0.1") as c:
        r = c.mail("me@example.org")
        assert r.code == 530 and r.enhanced == "5.7.0", r
        # and what was pipelined behind it is no offence
        c.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<you@far.example>\r\nDATA\r\n")
        assert [c.reply().code for _ in range(3)] == [530, 503, 503]
        c.stays()
        assert c.cmd("RSET").code == 250 and c.cmd("VRFY x").code == 252 and c.ehlo().code == 250


def test_relay_right_is_enough(ports, site, sink, tag):
    with submit(ports) as c:
        assert c.send_mail("me@example.org", f"{tag.lower()}@far.example", b"Subject: x\r\n\r\nx\r\n").code == 250
    sink.wait(lambda m: m.rcpts == [f"{tag.lower()}@far.example"])


def test_local_domains_imply_nothing(ports, site):
    """The MTA takes mail for a local domain from everybody, the MSA from nobody who is not authorized."""
    with site.client() as c:
        assert c.mail("me@src.example").code == 250 and c.rcpt("you@local.test").code == 250
    with submit(ports, source="127.0.0.1") as c:
        assert c.mail("me@src.example").code == 530
    with submit(ports) as c:
        assert c.mail("me@src.example").code == 250 and c.rcpt("you@local.test").code == 250


def test_the_mta_is_none(site):
    """Flags of one section are not those of another."""
    with site.client() as c:
        assert c.mail("me@src.example").code == 250
        assert c.rcpt("you@far.example").code == 550
        r = c.rcpt("you")
        assert r.code == 501, r


# ---- addresses

def test_addresses_are_completed(ports, site, sink, tag):
    with submit(ports) as c:
        assert c.mail("me").code == 250
        assert c.rcpt(f"{tag.lower()}").code == 250
        assert c.rcpt("postmaster").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(b"Subject: x\r\n\r\nx\r\n").code == 250
    m, = sink.wait(lambda m: f"{tag.lower()}@example.org" in m.rcpts)
    assert m.sender == "me@example.org"
    sink.wait(lambda m: "postmaster@mx.test" in m.rcpts and m.sender == "me@example.org")


def test_without_qualify_domain_it_is_the_hostname(ports, site, sink, tag):
    with submit(ports, "msp", "127.0.0.1") as c:
        assert c.send_mail("me", tag.lower(), b"Subject: x\r\n\r\nx\r\n").code == 250
    m, = sink.wait(lambda m: m.rcpts == [f"{tag.lower()}@mx.test"])
    assert m.sender == "me@mx.test"


@pytest.mark.parametrize("bad", ["a b", "a@", "@x.example", ".", "a..b", "a>b", "x" * 65])
def test_what_is_no_address_stays_none(ports, site, bad):
    with submit(ports) as c:
        assert c.mail(bad).code == 501


# ---- header

def fields(m):
    return [line.split(b":")[0].lower() for line in m.header.split(b"\r\n") if line and line[:1] not in b" \t"]


def header_of(ports, sink, tag, content, which="msa", split=None, sender="me@example.org"):
    to = re.sub(r"\W", "-", tag.lower()) + "@far.example"
    with submit(ports, which, "127.0.0.2" if which == "msa" else "127.0.0.1") as c:
        c.begin(sender, to)
        data = content + b".\r\n"
        for i in range(0, len(data), split or len(data)):
            c.send(data[i:i + (split or len(data))])
        r = c.reply()
        assert r.code == 250, r
    m, = sink.wait(lambda m: m.rcpts == [to])
    return m, re.search(r"S[0-9A-F]{18}", r.text).group(0)


@pytest.mark.parametrize("split", [None, 1])
def test_missing_fields_are_added_at_the_end(ports, site, sink, tag, split):
    m, ta = header_of(ports, sink, tag, b"Subject: x\r\nTo: you\r\n\r\nFrom: no\r\n", split=split)
    assert fields(m) == [b"received", b"subject", b"to", b"date", b"message-id", b"from"], m.header
    assert f"Message-ID: <{ta}@mx.test>".encode() in m.header and b"From: <me@example.org>" in m.header
    assert re.search(rb"Date: \w{3}, [ \d]?\d \w{3} 20\d\d \d\d:\d\d:\d\d [+-]\d{4}\r\n", m.header)
    assert m.body == b"From: no\r\n"
    line, = [x for x in site.log_lines("smtps", "ss.completed") if ta in x]
    assert "added=Date:Message-ID:From:" in line
    final, = [x for x in site.log_lines("smtps", "ss.final") if ta in x and "stat=250" in x]
    assert f"msgid=<{ta}@mx.test>" in final


@pytest.mark.parametrize("split", [None, 1])
def test_what_is_there_is_left(ports, site, sink, tag, split):
    content = b"DATE: never\r\nmessage-id : <x@y>\r\nFrom: a,\r\n b\r\nX: \xe9\r\n\r\n\r\nbody\r\n"
    m, _ = header_of(ports, sink, tag, content, split=split)
    assert m.content.endswith(content) and fields(m)[1:] == [b"date", b"message-id ", b"from", b"x"]


def test_no_header_at_all(ports, site, sink, tag):
    m, _ = header_of(ports, sink, tag, b"hello\r\nFrom: x\r\n")
    assert fields(m) == [b"received", b"date", b"message-id", b"from"] and m.body == b"hello\r\nFrom: x\r\n"


def test_header_without_body(ports, site, sink, tag):
    m, _ = header_of(ports, sink, tag, b"Subject: x\r\n")
    assert fields(m) == [b"received", b"subject", b"date", b"message-id", b"from"]


@pytest.mark.parametrize("chunks", [[b"Subj", b"ect: x\r", b"\n\r", b"\nbody\r\n"], [b"Subject: x"], [b"", b"Subject: x\r\n", b""]],
                         ids=["split", "unended", "empty"])
def test_chunks(ports, site, sink, tag, chunks):
    """BDAT: a header in pieces, and one whose last line does not end."""
    to = re.sub(r"\W", "-", tag.lower()) + "@far.example"
    with submit(ports) as c:
        if "CHUNKING" not in c.extensions:
            pytest.skip("no CHUNKING")
        assert c.mail("me@example.org").code == 250 and c.rcpt(to).code == 250
        for i, chunk in enumerate(chunks):
            c.send(b"BDAT %d%s\r\n" % (len(chunk), b" LAST" if i == len(chunks) - 1 else b"") + chunk)
            assert c.reply().code == 250
    m, = sink.wait(lambda m: m.rcpts == [to])
    assert fields(m) == [b"received", b"subject", b"date", b"message-id", b"from"], m.content
    assert m.body == (b"body\r\n" if b"\nbody\r\n" in chunks else b"")


def test_null_sender(ports, site, sink, tag):
    m, _ = header_of(ports, sink, tag, b"Subject: x\r\n\r\n", sender="")
    assert b"From: <MAILER-DAEMON@mx.test>" in m.header


def test_header_can_be_left(ports, site, sink, tag):
    m, _ = header_of(ports, sink, tag, b"Subject: x\r\n\r\n", which="plain")
    assert fields(m) == [b"received", b"subject"]


def test_the_mta_leaves_it(site, sink, tag):
    with site.client() as c:
        assert c.send_mail("me@src.example", f"{tag.lower()}@local.test", b"Subject: x\r\n\r\n").code == 250
    m, = sink.wait(lambda m: m.rcpts == [f"{tag.lower()}@local.test"])
    assert fields(m)[-1] == b"subject"


# ---- several sections

def test_each_is_a_process_of_its_own(site, ports):
    assert len(site.pids("smtps")) == 4
    args = []
    for pid in site.pids("smtps"):
        with open(f"/proc/{pid}/cmdline") as f:
            args.append(f.read().split("\0"))
    assert sorted(a[a.index("-N") + 1] for a in args) == ["LEAVE", "MSA", "MSP", "MTA"]


def test_ids_tell_the_server(site, ports, sink, tag):
    """The last two digits are the process index: MTA 0, MSA 16, MSP 32."""
    ids = []
    for which, source in (("msa", "127.0.0.2"), ("msp", "127.0.0.1")):
        with submit(ports, which, source) as c:
            r = c.send_mail("me@example.org", f"{which}-{tag.lower()}@far.example", b"Subject: x\r\n\r\nx\r\n")
            ids.append(re.search(r"S[0-9A-F]{16}([0-9A-F]{2})", r.text).group(1))
    assert ids == ["10", "20"]
    for which in ("msa", "msp"):
        sink.wait(lambda m: m.rcpts == [f"{which}-{tag.lower()}@far.example"])


def test_logs_are_apart(site, ports):
    """Each section has a log of its own, and its own listeners in it."""
    logs = {name: text for name, text in site.logs_since().items() if name.startswith("smtps")}
    where = {listener: [n for n, t in logs.items() if f"listener={listener}" in t] for listener in ("mta", "msa", "msp", "plain")}
    assert all(len(v) == 1 for v in where.values()) and len({v[0] for v in where.values()}) == 4, where


def test_idents_and_flags_by_smconf(site):
    def ask(name, option):
        return subprocess.run([os.path.join(BUILD, "smconf"), "-N", name, site.conf, option], capture_output=True, text=True, check=True).stdout.strip()
    assert ask("MSA", "smtps.log.ident") == "smX-MSA" and ask("MTA", "smtps.log.ident") == "smX-MTA"
    assert "submission" in ask("MSA", "smtps.flags") and "submission" not in ask("MTA", "smtps.flags")


def test_one_dies_the_others_serve(sink):
    """mcp restarts the one; the sessions of the others do not notice."""
    ports = {"msa": free_port(), "msp": free_port(), "plain": free_port()}
    with servers(sink, ports) as s:
        def named(name):
            for pid in s.pids("smtps"):
                with open(f"/proc/{pid}/cmdline") as f:
                    if f"-N\0{name}\0" in f.read():
                        return pid
            return None
        until(lambda: _greets(ports), "all serve", 20)
        old = named("MSA")
        with s.client() as c, submit(ports, "msp", "127.0.0.1") as d:
            os.kill(old, 9)
            c.stays()
            d.stays()
            until(lambda: named("MSA") not in (None, old), "the MSA is back", 20)
            until(lambda: _greets(ports), "and serves", 20)
            c.stays()
            d.stays()


def _greets(ports):
    try:
        with submit(ports) as c:
            return c.greeting.code == 220
    except OSError:
        return False


def test_same_id_is_refused(sink):
    """Two sections with one id: smconf tells, and qmgr does not serve the second, so that no content is taken for an orphan."""
    port = free_port()
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"])
    split_smtps(s, "MTA", MSA=f"    {listener(port, 'msa')}\n")
    with open(s.conf) as f:
        conf = f.read().replace("id = 16;", "id = 0;")
    with open(s.conf, "w") as f:
        f.write(conf)
    r = subprocess.run([os.path.join(BUILD, "smconf"), s.conf], capture_output=True, text=True)
    assert r.returncode == 78 and "need ids of their own" in r.stderr, r.stderr


def test_qmgr_serves_the_first(sink, tag):
    """A second process with the index of one that lives gets nothing from qmgr; the first one goes on, and its contents are its own."""
    port = free_port()
    with Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"]) as s:
        with s.client() as c:
            c.begin("me@src.test", "you@local.test")
            program = os.path.join(BUILD, "smtps/smtps")
            with open(os.path.join(s.log_dir, "second.log"), "wb") as log:
                second = subprocess.Popen([*s.prefix, program, "-f", s.conf, "-L", f"127.0.0.1:{port}"], cwd=s.spool, env=s.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                def refused():
                    return [t for n, t in s.logs_since().items() if n.startswith("qmgr") and "process index 0 is that of process" in t]
                until(refused, lambda: f"it is refused: {s.log_tail()}", 20)
                assert c.finish(b"Subject: " + tag.encode() + b"\r\n\r\nx\r\n").code == 250
                sink.wait(tag)
            finally:
                second.terminate()
                second.wait(60)


# ---- sendmail 8's submission program

def test_sendmail_msp(site, ports, sink, tag):
    """misc/sm8.submit.mc hands mail to the section MSP: the address gets its domain there, the header is sendmail's own."""
    with tempfile.TemporaryDirectory(prefix="smx-msp-") as d:
        msp = Msp(d, ports["msp"])
        to = f"{tag.lower()}@far.example"
        msp("-bm", "-i", "-f", "me@src.example", to, text=b"Subject: hello\n\nfrom sendmail 8\n")
        m, = sink.wait(lambda m: m.rcpts == [to])
        assert m.sender == "me@src.example" and m.body == b"from sendmail 8\r\n"
        assert fields(m).count(b"date") == fields(m).count(b"from") == fields(m).count(b"message-id") == 1
        assert m.header.count(b"Received:") == 2
        until(lambda: not msp.waiting(), "its queue empties", 10)
