"""Filters that speak the milter protocol: what they are told, what they may say, and in which order."""
import re
import threading

import pytest
from lib import milter as ml
from lib.client import Client, Closed, message, stuff
from lib.filtered import arrived, make_site, milter, own, send, well_behaved  # noqa: F401 (fixtures)
from lib.milter import ACCEPT, CONN_FAIL, CONTINUE, DISCARD, PROGRESS, REJECT, SHUTDOWN, SKIP, TEMPFAIL, Milter, add_header, \
    change_header, insert_header, quarantine, replace_body, reply
from lib.wait import until

pytestmark = pytest.mark.inside


# ---- what they are told ----

def test_passes_mail(own, milter, sink, tag):
    with own.client() as c:
        assert c.send_mail("a@src.test", ["b@local.test", "c@local.test"], message(tag)).code == 250
        s = milter.seen("OCHMRRTLNBE")
        c.quit()
    sink.wait(tag)
    milter.seen("Q", s)
    assert s.offered == (6, 0x1ff, 0x1fffff)
    assert s.headers() == [("Subject", tag)] and s.body() == b"text\r\n"
    assert s.of("M")[0].texts == ["<a@src.test>"] and [e.texts for e in s.of("R")] == [["<b@local.test>"], ["<c@local.test>"]]
    assert s.of("H")[0].texts == ["client.test"]
    connect = s.of("C")[0].data
    name, _, rest = connect.partition(b"\0")
    assert rest[:1] == b"4" and rest[3:] == b"127.0.0.1\0" and name in (b"localhost", b"[127.0.0.1]"), connect


def test_parameters(own, milter, tag):
    with own.client() as c:
        assert c.mail("a@src.test", " SIZE=100 BODY=8BITMIME  RET=HDRS").code == 250
        assert c.rcpt("b@local.test", " NOTIFY=NEVER ORCPT=rfc822;x@y").code == 250
        s = milter.last()
        c.quit()
    assert s.of("M")[0].texts == ["<a@src.test>", "SIZE=100", "BODY=8BITMIME", "RET=HDRS"]
    assert s.of("R")[0].texts == ["<b@local.test>", "NOTIFY=NEVER", "ORCPT=rfc822;x@y"]


def test_macros(own, milter, sink, tag):
    with own.client() as c:
        r = c.send_mail("a@src.test", ["b@local.test", "c@local.test"], message(tag, headers=b"Message-ID: <1@x>\r\n"))
        port = c.sock.getsockname()[1]
    ta = re.search(r"S[0-9A-F]{18}", r.text).group(0)
    s = milter.seen("E")
    m = {code: s.of(code)[-1].macros for code in "CHMRTNE"}
    assert m["C"]["j"] == "mx.test" and m["C"]["{daemon_name}"] == "mta" and m["C"]["{client_addr}"] == "127.0.0.1"
    assert m["C"]["{client_port}"] == str(port) and m["C"]["{daemon_port}"] == str(own.port) and m["C"]["{if_addr}"] == "127.0.0.1"
    assert m["C"]["_"].endswith(" [127.0.0.1]") and m["C"]["v"].startswith("smx ") and m["C"]["{client_resolve}"] in ("OK", "FAIL", "TEMP")
    assert m["M"]["i"] == ta and m["M"]["{mail_addr}"] == "a@src.test" and m["M"]["{mail_host}"] == "src.test"
    assert m["R"]["{rcpt_addr}"] == "c@local.test" and m["R"]["{rcpt_host}"] == "local.test" and m["R"]["{rcpt_mailer}"] in ("esmtp", "local")
    assert m["T"]["{nrcpts}"] == "2" and m["N"]["i"] == ta and m["E"]["i"] == ta and m["E"]["{msg_id}"] == "<1@x>"
    sink.wait(tag)


def test_macros_that_are_asked_for(own, milter, tag):
    milter.lists = {0: "j {client_name}", 2: "{mail_addr},i {nonsense}"}
    try:
        assert send(own, tag).code == 250
    finally:
        milter.lists = {}
    s = milter.seen("E")
    assert set(s.of("C")[0].macros) <= {"j", "{client_name}"} and set(s.of("M")[0].macros) == {"{mail_addr}", "i"}
    assert "{rcpt_addr}" in s.of("R")[0].macros


def test_macros_are_not_the_client_s(own, milter, tag):
    """What a NUL in a value would begin is another macro: who the client is, for one."""
    assert send(own, tag, message(tag, headers=b"Message-ID: <a\0{auth_authen}\0admin\0x>\r\n")).code == 250
    macros = milter.seen("E").of("E")[0].macros
    assert macros["{msg_id}"] == "<a" and macros["{nrcpts}"] == "1" and "{auth_authen}" not in macros


HEADER = b"A: one\r\nB:two\r\nC:\tthree\r\n  more\r\nD :  four\r\nE:\r\n"


@pytest.mark.parametrize("spaced", [False, True])
def test_header_values(own, milter, sink, tag, spaced):
    """Lines of a field by LF; the first space behind the colon is not part of the value, unless it is asked for."""
    milter.steps = ml.LEADSPC if spaced else 0
    try:
        assert send(own, tag, message(tag, headers=HEADER)).code == 250
    finally:
        milter.steps = 0
    s = milter.seen("E")
    space = " " if spaced else ""
    assert s.headers() == [("Subject", space + tag), ("A", space + "one"), ("B", "two"), ("C", "\tthree\n  more"),
                           ("D", "  four" if spaced else " four"), ("E", "")]
    sink.wait(tag)


def test_nul_in_a_header(own, milter, sink, tag):
    """A packet has a name and a value, whatever the client sends: what stands behind a NUL is not told."""
    assert send(own, tag, message(tag, headers=b"A: one\0two\0\r\n three\r\nB: \0\r\n")).code == 250
    assert [e.texts for e in milter.seen("E").of("L")] == [["Subject", tag], ["A", "one"], ["B", ""]]
    assert b"A: one\0two\0\r\n three\r\n" in sink.wait(tag)[0].content


@pytest.mark.parametrize("content,headers,body", [
    (b"Subject: @\r\nno field\r\nTo: x\r\n\r\ntext\r\n", 1, b"no field\r\nTo: x\r\n\r\ntext\r\n"),
    (b"Subject: @\r\n", 1, b""),
    (b"Subject: @\r\n\r\n", 1, b""),
    (b"\r\nSubject: @\r\n", 0, b"Subject: @\r\n"),
], ids=["no-field", "only-header", "no-body", "only-body"])
def test_where_the_header_ends(own, milter, sink, tag, content, headers, body):
    assert send(own, tag, content.replace(b"@", tag.encode())).code == 250
    s = milter.seen("NE")
    assert len(s.headers()) == headers and s.body() == body.replace(b"@", tag.encode())


def test_chunks(own, milter, sink, tag):
    body = b"".join(b"%07d\r\n" % i for i in range(40000))
    assert send(own, tag, message(tag, body)).code == 250
    s = milter.seen("E")
    assert s.body() == body and [len(e.data) for e in s.of("B")][:-1] == [65535] * (len(body) // 65535)
    assert sink.wait(tag)[0].content.endswith(body)


@pytest.mark.parametrize("version", [2, 3, 4, 6])
def test_versions(own, milter, sink, tag, version):
    milter.version, milter.actions = version, 0x3f if version < 6 else 0x1ff
    milter.on["E"] = [add_header("X-Version", str(version)), CONTINUE]
    try:
        with own.client() as c:
            assert c.cmd("BLURB x").code == 500
            assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
    finally:
        milter.version, milter.actions = 6, ml.ALL
    s = milter.seen("CHMRLNBE")
    assert ("T" in s.codes()) == (version >= 4) and ("U" in s.codes()) == (version >= 3)
    assert f"X-Version: {version}" in arrived(sink, tag)[1]


def test_offers_less(sink, dns, tag):
    """version = 2: for a filter that refuses what it does not know."""
    with Milter(version=2, actions=0x3f) as m, make_site(sink, dns, m.section("old", version=2)) as s:
        assert send(s, tag).code == 250
        assert m.seen("E").offered == (2, 0x3f, 0x7f)


def test_wants_nothing(own, milter, sink, tag):
    milter.steps = ml.NOCONNECT | ml.NOHELO | ml.NOMAIL | ml.NORCPT | ml.NOBODY | ml.NOHDRS | ml.NOEOH | ml.NODATA | ml.NOUNKNOWN
    milter.on["E"] = [add_header("X-A", "b"), CONTINUE]
    try:
        assert send(own, tag).code == 250
    finally:
        milter.steps = 0
    s = milter.seen("E")
    assert s.codes().replace("D", "") == "OE" or s.codes().replace("D", "") == "OEQ"
    assert "X-A: b" in arrived(sink, tag)[1]


def test_answers_nothing(own, milter, sink, tag):
    """It has promised not to answer: nobody waits, and all of it arrives."""
    milter.steps = ml.NR_ALL
    milter.on["E"] = [add_header("X-A", "b"), CONTINUE]
    body = b"0123456789\r\n" * 20000
    try:
        assert send(own, tag, message(tag, body)).code == 250
    finally:
        milter.steps = 0
    s = milter.seen("CHMRTLNBE")
    assert s.body() == body
    assert "X-A: b" in arrived(sink, tag)[1]


def test_skip(own, milter, sink, tag):
    milter.on["B"] = SKIP
    assert send(own, tag, message(tag, b"0123456789\r\n" * 20000)).code == 250
    s = milter.seen("E")
    assert len(s.of("B")) == 1
    with own.client() as c:  # the next message is told as ever
        for _ in range(2):
            assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
    assert len(milter.seen("EE").of("B")) == 2


def test_unknown_command(own, milter):
    with own.client() as c:
        milter.on["U"] = reply("502 5.5.1 never heard")
        r = c.cmd("BLURB  x y")
        assert r.code == 502 and r.text == "5.5.1 never heard"
        assert milter.seen("U").of("U")[0].texts == ["BLURB  x y"]
        milter.on["U"] = CONTINUE
        assert c.cmd("BLURB").code == 500


def test_refused_recipients(own, milter, tag):
    """One that we refuse is told to who wants to know, and only to him."""
    for steps in (0, ml.RCPT_REJ):
        milter.reset()
        milter.steps = steps
        try:
            with own.client() as c:
                assert c.mail("a@src.test").code == 250
                assert c.rcpt("x@elsewhere.test").code == 550
                assert c.rcpt("b@local.test").code == 250
                s = milter.seen("R")
        finally:
            milter.steps = 0
        assert len(s.of("R")) == (2 if steps else 1)
        if steps:
            m = s.of("R")[0].macros
            assert m["{rcpt_mailer}"] == "error" and m["{rcpt_host}"] == "5.7.1" and m["{rcpt_addr}"] == "Relaying denied"


def test_refused_by_itself(own, milter):
    """One recipient is one event: who has refused it need not be told that it was refused."""
    milter.steps, milter.on["R"] = ml.RCPT_REJ, reply("550 5.1.1 not this one")
    try:
        with own.client() as c:
            assert c.mail("a@src.test").code == 250
            assert c.rcpt("b@local.test").code == 550
            milter.on["R"] = CONTINUE
            assert c.rcpt("c@local.test").code == 250
            assert [e.texts[0] for e in milter.seen("RR").of("R")] == ["<b@local.test>", "<c@local.test>"]
    finally:
        milter.steps = 0


def test_progress(own, milter, sink, tag):
    """Longer than the time-out, but it says that it works."""
    def work(conn, _):
        for _ in range(6):
            conn.works(0.5)
            conn.conn.sendall(PROGRESS)
        return CONTINUE
    milter.on["E"] = work
    assert send(own, tag).code == 250
    sink.wait(tag)


# ---- what they say ----

NO = {"reject": (REJECT, 550, "5.7.1"), "tempfail": (TEMPFAIL, 451, "4.7.1"), "reply": (reply("554 5.6.9 I say 100%% no"), 554, "5.6.9"),
      "lines": (reply("452-4.5.1 one\r\n452-4.5.1 two\r\n452 4.5.1 three"), 452, "4.5.1")}


@pytest.mark.parametrize("stage", "HMRTLNBE")
@pytest.mark.parametrize("how", NO)
def test_no(own, milter, sink, tag, stage, how):
    packet, code, enhanced = NO[how]
    milter.on[stage] = packet
    if stage == "H":
        with own.client(helo=None) as c:
            r = c.cmd("EHLO client.test")
            assert c.mail("a@src.test").code in (503, code)
    else:
        r = send(own, tag)
    assert r.code == code and r.enhanced == enhanced, r
    if how == "reply":
        assert r.text == "5.6.9 I say 100% no"
    if how == "lines":
        assert r.lines == ["4.5.1 one", "4.5.1 two", "4.5.1 three"]
    milter.on.clear()
    again = send(own, tag + "-again")
    assert again.code == 250
    sink.wait(tag + "-again")
    assert not sink.find(tag)
    until(lambda: not own.content_files(), "nothing is left in the store")


@pytest.mark.parametrize("packet,code", [(REJECT, 554), (TEMPFAIL, 421), (reply("550 5.7.1 not you"), 554), (SHUTDOWN, 421)])
def test_no_at_connect(own, milter, packet, code):
    milter.on["C"] = packet
    with Client(own.port, greet=False) as c:
        r = c.reply()
        assert r.code == code, r
        c.rest()


def test_verdict_dies_with_its_transaction(own, milter, sink, tag):
    """Accepted by ACCEPT at MAIL; the next mail of the session is looked at again, and refused."""
    with own.client() as c:
        milter.on["M"] = ACCEPT
        assert c.send_mail("a@src.test", "b@local.test", message(tag + "-1")).code == 250
        assert c.mail("a@src.test").code == 250
        assert c.cmd("RSET").code == 250
        milter.on["M"] = CONTINUE
        milter.on["R"] = REJECT
        assert c.mail("a@src.test").code == 250
        assert c.rcpt("b@local.test").code == 550
        milter.on["R"] = CONTINUE
        milter.on["B"] = DISCARD
        assert c.rcpt("b@local.test").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag + "-2")).code == 250
        milter.on["B"] = CONTINUE
        milter.on["E"] = [quarantine("x"), REJECT]
        c.begin("a@src.test", "b@local.test")
        assert c.finish(message(tag + "-3")).code == 550
        milter.on["E"] = CONTINUE
        assert c.send_mail("a@src.test", "b@local.test", message(tag + "-4")).code == 250
    s = milter.last()
    assert s.codes().replace("D", "").startswith("OCHMMMRR")
    sink.wait(tag + "-1")
    sink.wait(tag + "-4")
    assert not sink.find(tag + "-2") and not sink.find(tag + "-3")


@pytest.mark.parametrize("stage", "MRTLNBE")
def test_discard(own, milter, sink, tag, stage):
    milter.on[stage] = DISCARD
    with own.client() as c:
        r = c.send_mail("a@src.test", "b@local.test", message(tag))
        assert r.code == 250 and "accepted for delivery" in r.text
        milter.on.clear()
        assert c.send_mail("a@src.test", "b@local.test", message(tag + "-next")).code == 250
    sink.wait(tag + "-next")
    assert not sink.find(tag)
    until(lambda: not own.content_files(), "nothing is left in the store")


@pytest.mark.parametrize("stage", "CHMRTLNBE")
def test_accept(own, milter, sink, tag, stage):
    milter.on[stage] = ACCEPT
    assert send(own, tag).code == 250
    sink.wait(tag)
    codes = milter.last().codes().replace("D", "")
    after = codes.partition(stage)[2]
    assert not set(after) - set("Q"), codes


@pytest.mark.parametrize("stage", "HMRTLBE")
@pytest.mark.parametrize("packet", [SHUTDOWN, CONN_FAIL], ids=["shutdown", "connection-failure"])
def test_ends_the_session(own, milter, sink, tag, stage, packet):
    milter.on[stage] = packet
    with own.client(helo=None) as c:
        try:
            r = c.cmd("EHLO client.test")
            for line in ("MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", "DATA"):
                r = c.cmd(line) if r.code in (250, 354) else r
            r = c.finish(message(tag)) if r.code == 354 else r
        except Closed:
            assert packet is CONN_FAIL
        else:
            assert packet is SHUTDOWN and r.code == 421 and r.enhanced == "4.7.0"
            c.closes()
    assert not sink.find(tag)


def test_abort(own, milter):
    """RSET, EHLO, and a mail that another reason ended."""
    with own.client() as c:
        c.mail("a@src.test")
        assert c.cmd("RSET").code == 250
        milter.seen("MA")
        c.mail("a@src.test")
        c.ehlo()
        milter.seen("MAMA")
        c.begin("a@src.test", "b@local.test")
        assert c.finish(b"Subject: x\r\n\r\na\rb\r\n").code == 550
        milter.seen("MAMAMRTA")
    s = milter.seen("Q")
    assert "E" not in s.codes()


def test_pipelining(own, milter, sink, tag):
    milter.on["R"] = [[CONTINUE], [REJECT], [CONTINUE]]
    with own.client() as c:
        c.send(b"MAIL FROM:<a@src.test>\r\nRCPT TO:<b@local.test>\r\nRCPT TO:<c@local.test>\r\nRCPT TO:<d@local.test>\r\nDATA\r\n")
        assert [c.reply().code for _ in range(5)] == [250, 250, 550, 250, 354]
        assert c.finish(message(tag)).code == 250
    assert sink.wait(tag)[0].rcpts == ["b@local.test", "d@local.test"] or len(sink.find(tag)) == 2


# ---- several ----

def test_each_sees_what_those_before_made(sink, dns, tag):
    with Milter() as a, Milter() as b, Milter(actions=0) as c:
        with make_site(sink, dns, a.section("a"), b.section("b"), c.section("c")) as s:
            for body in (b"text\r\n", b"0123456789\r\n" * 30000):
                for m in (a, b, c):
                    m.reset()
                a.on["E"] = [insert_header(0, "X-Top", "0"), add_header("X-A", "a"), CONTINUE]
                b.on["E"] = [change_header(1, "X-A", "b"), replace_body(b"by b\r\n"), change_header(1, "Received", "no"), CONTINUE]
                name = f"{tag}-{len(body)}"
                assert send(s, name, message(name, body)).code == 250
                _, got, now = arrived(sink, name)
                assert got[0] == "X-Top: 0" and got[1].startswith("Received: from")
                assert got[2:] == [f"Subject: {name}", "X-A: b", "Received: no"] and now == b"by b\r\n"
                assert a.seen("E").headers() == [("Subject", name)] and a.last().body() == body
                assert b.seen("E").headers() == [("X-Top", "0"), ("Subject", name), ("X-A", "a")] and b.last().body() == body
                assert c.seen("E").headers() == [("X-Top", "0"), ("Subject", name), ("X-A", "b"), ("Received", "no")] and c.last().body() == b"by b\r\n"


def test_too_long_for_the_next_one(sink, dns, tag):
    """What a filter has made larger than any header that comes is no fault of the client."""
    with Milter() as a, Milter() as b:
        with make_site(sink, dns, a.section("a"), b.section("b"), settings={"smtps.max_header_size": "1KB", "smtps.max_line_length": "1000B"}) as s:
            a.on["E"] = [add_header("X-A", "a" * 10000), CONTINUE]
            assert send(s, tag).code == 451
            a.on["E"] = [add_header("X-A", "a" * 1000), CONTINUE]
            assert send(s, tag).code == 250


def test_first_no_is_the_last_word(sink, dns, tag):
    with Milter() as a, Milter() as b:
        with make_site(sink, dns, a.section("a"), b.section("b")) as s, s.client() as c:
            a.on["R"] = reply("550 5.1.1 a says no")
            assert c.mail("a@src.test").code == 250
            assert c.rcpt("x@local.test").text == "5.1.1 a says no"
            a.on["R"] = CONTINUE
            b.on["R"] = reply("450 4.1.1 b says no")
            assert c.rcpt("x@local.test").code == 450
            b.on["R"] = CONTINUE
            assert len(b.last().of("R")) == 1
            a.on["E"] = [add_header("X", "y"), CONTINUE]
            b.on["E"] = REJECT
            c.rcpt("b@local.test")
            c.cmd("DATA")
            assert c.finish(message(tag)).code == 550
            a.on["B"] = REJECT
            c.begin("a@src.test", "b@local.test")
            assert c.finish(message(tag)).code == 550
            assert b.seen("MA").codes().endswith("A")
    assert not sink.find(tag)


def test_listeners(sink, dns, tag):
    """A filter for one listener does not see the sessions of another."""
    with Milter() as a, Milter() as b:
        with make_site(sink, dns, a.section("a", listeners='{ "mta" }'), b.section("b", listeners='{ "other" }')) as s:
            assert send(s, tag).code == 250
            sink.wait(tag)
        assert a.sessions and not b.sessions


def test_unix_socket(sink, dns, tag, tmp_path_factory):
    s = make_site(sink, dns)
    with Milter(path=s.dir + "/milter.sock") as m:
        s.add("smtps", m.section("u"))
        with s:
            m.on["E"] = [add_header("X", "y"), CONTINUE]
            assert send(s, tag).code == 250
            assert "X: y" in arrived(sink, tag)[1]


def test_a_slow_one_holds_only_its_session(own, milter, sink, tag):
    wait = threading.Event()

    def hold(conn, event):
        if event.texts == ["<slow@src.test>"]:
            wait.wait(30)
        return CONTINUE
    milter.on["M"] = hold
    with own.client() as slow:
        slow.send(b"MAIL FROM:<slow@src.test>\r\n")
        milter.seen("M")
        for i in range(20):
            assert send(own, f"{tag}-{i}").code == 250
        slow.silent(0.1)
        wait.set()
        assert slow.reply().code == 250


def test_stuffing_and_rewriting(own, milter, sink, tag):
    """Dots at the beginning of lines survive the way through the store and back."""
    body = b".\r\n..\r\n.x\r\n\r\n"
    with own.client() as c:
        milter.on["E"] = [add_header("X", "y"), CONTINUE]
        c.begin("a@src.test", "b@local.test")
        c.send(stuff(message(tag, body)) + b".\r\n")
        assert c.reply().code == 250
    assert arrived(sink, tag)[2] == body and milter.seen("E").body() == body


def test_first_line_is_no_field(own, milter, sink, tag):
    """What would go on our Received field is body, for the filter and for those to whom the mail goes."""
    content = b" by whom I like\r\nSubject: " + tag.encode() + b"\r\n\r\ntext\r\n"
    with own.client() as c:
        assert c.send_mail("a@src.test", ["b@local.test"], content).code == 250
    got = sink.wait(lambda m: m.body == content)[0]
    assert got.header.count(b"\r\n", got.header.index(b";")) == 2 and b"whom" not in got.header
    s = milter.seen("E")
    assert (s.headers(), s.body()) == ([], content)


def test_time_of_a_filter_is_not_the_client_s(sink, dns, tag):
    """min_data_rate measures the client alone."""
    def work(conn, event):
        conn.works(1)
        return CONTINUE
    with Milter() as m, make_site(sink, dns, m.section("f"), settings={"smtps.data_grace": "2s", "smtps.min_data_rate": "100000B"}) as s:
        m.on["L"] = work
        with s.client() as c:
            c.begin("a@src.test", "b@local.test")
            c.send(message(tag, headers=b"A: 1\r\nB: 2\r\n"))
            m.seen("LLLN")
            c.send(b".\r\n")
            assert c.reply().code == 250
