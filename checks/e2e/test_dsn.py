"""Delivery status notifications: who is told what, by which words, how often, and that others can read it."""
import email.utils
import itertools
import os
import re
import signal
import time

import pytest
from lib.client import message
from lib.paths import free_port
from lib.report import Report, bounce_parser
from lib.sink import Serve, Sink
from lib.site import Site, SiteError
from lib.wait import until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not bounce_parser(), reason="no bounce parser (libmail-deliverystatus-bounceparser-perl)")]

DSN_EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-DSN\r\n250 SIZE\r\n"
BARE_EHLO = b"250-sink.test\r\n250 PIPELINING\r\n"
NO_SUCH_USER = b"550-5.1.1 no such user;\r\n550 5.1.1 <look> elsewhere\r\n"


@pytest.fixture(scope="module")
def servers():
    """Where mail goes: a domain each."""
    out = {
        "from.test": Sink(),  # senders: reports come here
        "bare.test": Sink(),  # as above, without 8BITMIME
        "dsn.test": Sink(),
        "plain.test": Sink(),
        "box.test": Sink(lmtp=True),
        "fail.test": Sink(),
        "later.test": Sink(),
        "soon.test": Sink(),  # changes its mind
        "mx.test": Sink(),    # the host itself
    }
    out["bare.test"].default = Serve({"EHLO": BARE_EHLO})
    out["dsn.test"].default = Serve({"EHLO": DSN_EHLO})
    out["fail.test"].default = Serve({"RCPT": NO_SUCH_USER})
    out["later.test"].default = Serve({"RCPT": b"451 4.2.1 mailbox is locked\r\n"})
    yield out
    for s in out.values():
        s.stop()


def routes(servers):
    return [f"{d} {s.port}^{'lmtp' if s.lmtp else 'esmtp'}:[127.0.0.1]" for d, s in servers.items()]


def a_site(servers, **kw):
    return Site(routes=routes(servers), relay=list(servers), hostname="mx.test", **kw)


def answers(sink, replies=None):
    """From now on, also where a session is kept."""
    sink.default = Serve(replies)
    sink.drop()


@pytest.fixture(scope="module")
def site(servers):
    with a_site(servers) as s:
        yield s


def send(site, sender, rcpts, content, mail="", rcpt=""):
    """`rcpt`: parameters of all, or a list."""
    rcpts = [rcpts] if isinstance(rcpts, str) else rcpts
    params = [rcpt] * len(rcpts) if isinstance(rcpt, str) else rcpt
    with site.client() as c:
        r = c.mail(sender, mail)
        assert r.code == 250, r
        for a, p in zip(rcpts, params):
            r = c.rcpt(a, p)
            assert r.code == 250, r
        assert c.cmd("DATA").code == 354
        r = c.finish(content)
        assert r.code == 250, r


def reports(servers, sender, count=1, timeout=15, at="from.test"):
    """The DSNs to a sender, all of them parsed; at least `count`."""
    sink = servers[at]
    until(lambda: len(sink.reports(sender)) >= count, lambda: f"{count} reports for {sender}: {sink.reports(sender)}", timeout)
    return [Report(m) for m in sink.reports(sender)]


RETS = ("", "FULL", "HDRS")
NOTIFIES = ("", "NEVER", "SUCCESS", "FAILURE", "DELAY", "SUCCESS,FAILURE", "SUCCESS,FAILURE,DELAY")
GOALS = ("fail", "plain", "dsn", "box")


def expected(notify, goal):
    """The action that the sender is told by this host; None: nothing."""
    if goal == "fail":
        return "failed" if not notify or "FAILURE" in notify else None
    if "SUCCESS" not in notify or goal == "dsn":
        return None
    return "delivered" if goal == "box" else "relayed"


def test_matrix(site, servers, tag):
    """RET and NOTIFY in all combinations, to servers with and without DSN, to a mailbox, to nowhere."""
    cases = list(itertools.product(RETS, NOTIFIES, GOALS))
    for i, (ret, notify, goal) in enumerate(cases):
        mail = f" ENVID={tag}+2B{i}" + (f" RET={ret}" if ret else "")
        rcpt = f" ORCPT=rfc822;first+2Bname{i}@{goal}.test" + (f" NOTIFY={notify}" if notify else "")
        send(site, f"m{i}@from.test", f"r{i}@{goal}.test", message(f"{tag}-{i}", body=b"the body\r\n", headers=b"Message-ID: <%d@x.test>\r\n" % i),
             mail, rcpt)
    site.wait_empty()
    for i, (ret, notify, goal) in enumerate(cases):
        action = expected(notify, goal)
        got = reports(servers, f"m{i}@from.test", 0)
        assert [r.actions for r in got] == ([{f"r{i}@{goal}.test": action}] if action else []), (ret, notify, goal)
        if not got:
            continue
        r = got[0]
        assert r.envid == f"{tag}+{i}"
        assert r.rcpts[0]["Original-Recipient"] == f"rfc822; first+name{i}@{goal}.test"
        assert r.about["Reporting-MTA"] == "dns; mx.test"
        assert r.returned == ("message/rfc822" if action == "failed" and ret != "HDRS" else "text/rfc822-headers")
        assert f"Subject: {tag}-{i}\r\n".encode() in r.original_bytes()
        assert (b"the body" in r.original_bytes()) == (r.returned == "message/rfc822")
        assert [str(a) for a in r.message["To"].addresses] == [f"m{i}@from.test"]
        assert r.message["References"] == f"<{i}@x.test>"
        assert r.rcpts[0]["Last-Attempt-Date"] and r.about["Arrival-Date"]
        assert r.rcpts[0]["Remote-MTA"].startswith("dns; ")
        assert r.rcpts[0]["Status"][0] == ("5" if action == "failed" else "2")
        assert f"r{i}@{goal}.test" in r.text
        b = r.bounce()
        assert bool(b["is_bounce"]) == (action == "failed"), b
        if action == "failed":
            assert r.rcpts[0]["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user; <look> elsewhere"
            assert b["addresses"] == [f"first+name{i}@fail.test"] or b["addresses"] == [f"r{i}@fail.test"], b
            assert b["reports"][0]["std_reason"] == "user_unknown" and b["reports"][0]["status"] == "5.1.1", b
            assert b["message_id"] == f"<{i}@x.test>"
        else:
            assert b["type"] == f"delivery-status {action}"


def test_passed_on(site, servers, tag):
    """What is said to the next hop: everything if it offers DSN, nothing of it otherwise."""
    for goal in ("dsn", "plain"):
        send(site, "s@from.test", [f"a@{goal}.test", f"b@{goal}.test"], message(f"{tag}-{goal}"), f" RET=HDRS ENVID={tag}+3D",
             [" NOTIFY=NEVER", " NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+2B@old.test"])
        servers[f"{goal}.test"].wait(f"{tag}-{goal}")
    said = {goal: [line for _, line in servers[f"{goal}.test"].commands] for goal in ("dsn", "plain")}
    mail = [x for x in said["dsn"] if x.startswith(b"MAIL FROM:<s@from.test>") and tag.encode() in x]
    assert len(mail) == 1 and b" RET=HDRS" in mail[0] and f" ENVID={tag}+3D".encode() in mail[0]
    assert b"RCPT TO:<a@dsn.test> NOTIFY=NEVER\r\n" in said["dsn"]
    assert b"RCPT TO:<b@dsn.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+2B@old.test\r\n" in said["dsn"]
    assert not [x for x in said["plain"] if re.search(rb" (RET|ENVID|NOTIFY|ORCPT)=", x)]


@pytest.mark.parametrize("command", [
    "MAIL FROM:<a@b.test> RET=ALL", "MAIL FROM:<a@b.test> RET=FULL RET=FULL", "MAIL FROM:<a@b.test> ENVID=", "MAIL FROM:<a@b.test> ENVID=x+0D+0A",
    "MAIL FROM:<a@b.test> ENVID=a=b", "MAIL FROM:<a@b.test> ENVID=+2b", f"MAIL FROM:<a@b.test> ENVID={'x' * 101}", "MAIL FROM:<a@b.test> ENVID=a ENVID=b",
    "RCPT TO:<a@plain.test> NOTIFY=NEVER,SUCCESS", "RCPT TO:<a@plain.test> NOTIFY=SOMETIMES", "RCPT TO:<a@plain.test> NOTIFY=",
    "RCPT TO:<a@plain.test> NOTIFY=DELAY NOTIFY=DELAY", "RCPT TO:<a@plain.test> ORCPT=a@plain.test", "RCPT TO:<a@plain.test> ORCPT=rfc822;a+0aX",
    "RCPT TO:<a@plain.test> ORCPT=rfc822;a ORCPT=rfc822;a", f"RCPT TO:<a@plain.test> ORCPT=rfc822;{'x' * 500}", "RCPT TO:<a@plain.test> ORCPT=;a"])
def test_parameters_are_strict(site, command):
    with site.client() as c:
        assert "DSN" in c.extensions
        if command.startswith("RCPT"):
            assert c.mail("a@b.test").code == 250
        r = c.cmd(command)
        assert (r.code, r.text.split()[0]) == (501, "5.5.4"), r


def test_eight_bits(site, servers, tag):
    """8-bit content goes back where 8BITMIME is; elsewhere its header, encoded, and nothing of it is lost on the way."""
    content = message(tag, body="grün\r\n".encode(), headers="X-Name: Jürgen\r\n".encode())
    for sender in ("eight@from.test", "eight@bare.test"):
        send(site, sender, "x@fail.test", content, " BODY=8BITMIME")
    full = reports(servers, "eight@from.test")[0]
    assert full.returned == "message/rfc822" and full.message["Content-Transfer-Encoding"] == "8bit"
    assert "grün\r\n".encode() in full.envelope.content and "X-Name: Jürgen\r\n".encode() in full.envelope.content
    assert any(b"BODY=8BITMIME" in line for _, line in servers["from.test"].commands if line.startswith(b"MAIL FROM:<>"))
    header = reports(servers, "eight@bare.test", at="bare.test")[0]
    assert header.returned == "text/rfc822-headers" and header.original["Content-Transfer-Encoding"] == "quoted-printable"
    assert all(b < 0x80 for b in header.envelope.content)
    assert "X-Name: Jürgen\r\n".encode() in header.original_bytes() and b"gr" not in header.original_bytes().split(b"X-Name")[0].split(b"Subject")[0]


def test_hostile_words(site, servers, tag):
    """What a server says does not become structure of the report; nor does what the message holds."""
    answers(servers["fail.test"], {"RCPT": b"550-5.1.1 x\r\n550 5.1.1 \tAction: delivered\r\n"})
    try:
        body = b"--=_\r\nContent-Type: message/delivery-status\r\n\r\nAction: delivered\r\n\r\n.\r\n..\r\n"
        send(site, "hostile@from.test", "x@fail.test", message(tag, body=body))
        r = reports(servers, "hostile@from.test")[0]
    finally:
        answers(servers["fail.test"], {"RCPT": NO_SUCH_USER})
    assert r.rcpts[0]["Diagnostic-Code"] == "smtp; 550 5.1.1 x ?Action: delivered"
    assert r.actions == {"x@fail.test": "failed"} and r.returned == "message/rfc822"
    assert body in r.envelope.content


def test_never_for_nobody(site, servers, tag):
    """No report about a mail from <>: dropped, and logged."""
    marks = site.log_marks()
    send(site, "", "x@fail.test", message(tag))
    until(lambda: any('why="null sender"' in t for t in site.logs_since(marks).values()), "it is dropped")
    site.wait_empty()


def test_double_bounce(site, servers, tag):
    """A report that cannot be delivered is told to the postmaster."""
    marks = site.log_marks()
    send(site, "forged@fail.test", "x@fail.test", message(tag, body=b"secret\r\n"))
    r = reports(servers, "postmaster@mx.test", at="mx.test")[-1]
    assert r.actions == {"forged@fail.test": "failed"}
    assert r.returned == "text/rfc822-headers" and f"Subject: {tag}".encode() in r.original_bytes() and b"secret" not in r.original_bytes()
    assert r.message["Subject"].startswith("Postmaster notice") and r.bounce()["addresses"] == ["forged@fail.test"]
    # and that one is the last
    answers(servers["mx.test"], {"RCPT": NO_SUCH_USER})
    try:
        send(site, "forged@fail.test", "x@fail.test", message(tag))
        until(lambda: any('why="double bounce"' in t for t in site.logs_since(marks).values()), "it is dropped")
        site.wait_empty()
    finally:
        answers(servers["mx.test"])
    assert sum(len(re.findall(r"qm\.dsn .*kind=double_bounce", t)) for t in site.logs_since(marks).values()) == 2


def test_delay(servers, tag):
    """One warning, in time; then, after the return time-out, a failure that says why."""
    settings = {"qmgr.queue_delay_timeout": "2s", "qmgr.queue_return_timeout": "12s", "qmgr.retry_max_delay": "1s"}
    wants = {"default": "", "both": " NOTIFY=FAILURE,DELAY", "failure": " NOTIFY=FAILURE", "never": " NOTIFY=NEVER", "delay": " NOTIFY=DELAY"}
    with a_site(servers, settings=settings) as site:
        began = time.time()
        for name, notify in wants.items():
            send(site, f"late-{name}@from.test", "x@later.test", message(tag, body=b"the body\r\n"), f" ENVID={tag}", notify)
        for name in ("default", "both", "delay"):
            r = reports(servers, f"late-{name}@from.test")[0]
            assert time.time() - began > 0.9  # times are whole seconds
            assert r.actions == {"x@later.test": "delayed"} and r.envid == tag and r.returned == "text/rfc822-headers"
            assert r.rcpts[0]["Status"] == "4.2.1" and r.rcpts[0]["Diagnostic-Code"] == "smtp; 451 4.2.1 mailbox is locked"
            last = email.utils.parsedate_to_datetime(r.rcpts[0]["Will-Retry-Until"]).timestamp()
            assert began + 10 <= last <= began + 14 and r.bounce()["type"] == "delivery-status delayed"
        site.wait_empty(60)
        for name, count in (("default", 2), ("both", 2), ("failure", 1), ("never", 0), ("delay", 1)):
            rs = reports(servers, f"late-{name}@from.test", 0)
            assert len(rs) == count, (name, [r.actions for r in rs])
            if name in ("default", "both", "failure"):
                assert rs[-1].actions == {"x@later.test": "failed"} and rs[-1].rcpts[0]["Status"] == "4.2.1"
                assert "Will-Retry-Until" not in rs[-1].rcpts[0] and rs[-1].bounce()["is_bounce"]


def test_merge(servers, tag):
    """Failures wait for others of the same mail, not for ever, and not when there are enough."""
    settings = {"qmgr.DSN_handling.merge_delay_max": "4s", "qmgr.DSN_handling.max_errors_per_DSN": "5", "qmgr.retry_max_delay": "1s"}
    with a_site(servers, settings=settings) as site:
        # the second fails a second later, then nothing is open any more: one report
        answers(servers["soon.test"], {"RCPT": b"451 4.2.0 not now\r\n"})
        send(site, "merge1@from.test", ["x@fail.test", "y@soon.test"], message(tag))
        until(lambda: servers["soon.test"].connections, "first try")
        assert not servers["from.test"].reports("merge1@from.test")
        answers(servers["soon.test"], {"RCPT": b"550 5.2.0 never\r\n"})
        r = reports(servers, "merge1@from.test")
        assert [x.actions for x in r] == [{"x@fail.test": "failed", "y@soon.test": "failed"}]
        assert sorted(r[0].bounce()["addresses"]) == ["x@fail.test", "y@soon.test"]
        # the second stays open: the first is told after the delay, and a kill changes nothing
        began, marks = time.time(), site.log_marks()
        send(site, "merge2@from.test", ["x@fail.test", "y@later.test"], message(tag))
        until(lambda: any(b"RCPT TO:<y@later.test>" in line for _, line in servers["later.test"].commands), "first try")
        until(lambda: re.search(r" qm\.rcpt .*x@fail\.test.* stat=failed", "".join(site.logs_since(marks).values())), "the other one failed")
        old = site.kill("qmgr")
        site.restarted("qmgr", old)
        r = reports(servers, "merge2@from.test")
        assert [x.actions for x in r] == [{"x@fail.test": "failed"}] and time.time() - began >= 3
        # enough of them do not wait; each five are one report
        send(site, "merge3@from.test", [f"x{i}@fail.test" for i in range(12)] + ["y@later.test"], message(tag))
        r = reports(servers, "merge3@from.test", 3)
        assert sorted(len(x.rcpts) for x in r) == [2, 5, 5]
        assert len({a for x in r for a in x.actions}) == 12
        # the content goes back once
        assert sorted(x.returned for x in r) == ["message/rfc822", "text/rfc822-headers", "text/rfc822-headers"]


def test_sizes_and_forms(servers, tag):
    settings = {"qmgr.DSN_handling.max_size": "10KB"}
    large = message(tag, body=b"x" * 70 + b"\r\n") + (b"y" * 70 + b"\r\n") * 200
    with a_site(servers, settings=settings) as site:
        send(site, "large@from.test", "x@fail.test", large, " RET=FULL")
        r = reports(servers, "large@from.test")[0]
        assert r.returned == "text/rfc822-headers" and len(r.envelope.content) < 5000
        send(site, "small@from.test", "x@fail.test", message(tag), " RET=FULL")
        assert reports(servers, "small@from.test")[0].returned == "message/rfc822"
    with a_site(servers, settings={"qmgr.DSN_handling.flags": "{ header_only, MIME_Format }"}) as site:
        send(site, "header@from.test", "x@fail.test", message(tag), " RET=FULL")
        assert reports(servers, "header@from.test")[0].returned == "text/rfc822-headers"


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def test_own_words(servers, tag, tmp_path):
    """Texts of an operator; a mistake at a reload is told with its line, and the former texts stay; at a start it ends smtpc."""
    tmp_path.chmod(0o755)
    for p in tmp_path.parents:
        if str(p).startswith("/tmp/pytest"):
            p.chmod(0o755)
    text = tmp_path / "failed.txt"
    write(text, "Subject: Unzustellbar: zurück\n\nGrüße von ${hostname} an ${sender} ($$5), Nummer ${id}.\n${recipients}\nEnde\n")
    with a_site(servers, settings={"smtpc.DSN_text_directory": str(tmp_path)}) as site:
        send(site, "words1@from.test", "x@fail.test", message(tag))
        r = reports(servers, "words1@from.test")[0]
        assert r.message["Subject"] == "Unzustellbar: zurück"
        assert r.text.startswith("Grüße von mx.test an words1@from.test ($5), Nummer S") and r.text.rstrip().endswith("Ende")
        assert "<x@fail.test>" in r.text and r.bounce()["addresses"] == ["x@fail.test"]
        marks = site.log_marks()
        write(text, "Subject: broken\n\nHello\n${nothing}\n")
        with pytest.raises(SiteError, match=r"(?s)exit 78\n.*failed.txt:4: unknown variable .*nothing was changed"):
            site.reload()
        os.kill(site.mcp_pid(), signal.SIGHUP)  # nobody looked before
        until(lambda: any("failed.txt:4: unknown variable ${nothing}" in t for t in site.logs_since(marks).values()), "the mistake is told")
        send(site, "words2@from.test", "x@fail.test", message(tag))
        assert reports(servers, "words2@from.test")[0].message["Subject"] == "Unzustellbar: zurück"
        write(text, "Subject: better\n\nHello\n${recipients}\n")
        marks = site.log_marks()
        site.reload()
        until(lambda: any("sc.dsn_texts" in t for t in site.logs_since(marks).values()), "it is read again")
        send(site, "words3@from.test", "x@fail.test", message(tag))
        assert reports(servers, "words3@from.test")[0].message["Subject"] == "better"


def test_submit(servers, tag):
    """Through an smtps section, as any mail from <>: with its Received field, and no report about it."""
    port = free_port()
    with a_site(servers, settings={"qmgr.DSN_handling.submit": f"127.0.0.1:{port}"}, arguments=["--submit-port", str(port)]) as site:
        send(site, "submit@from.test", "x@fail.test", message(tag))
        m = until(lambda: servers["from.test"].reports("submit@from.test"), "the report")[0]
        assert m.header.lower().count(b"received:") == 1 and b"by mx.test" in m.header
        r = Report(m)
        assert r.actions == {"x@fail.test": "failed"} and r.bounce()["is_bounce"]
        marks = site.log_marks()
        before = len(servers["mx.test"].messages)
        send(site, "gone@fail.test", "x@fail.test", message(tag))
        until(lambda: any('why="null sender"' in t for t in site.logs_since(marks).values()), "it is dropped")
        site.wait_empty()
        assert len(servers["mx.test"].messages) == before
