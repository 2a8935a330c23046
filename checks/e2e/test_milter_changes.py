"""What filters change of a message: header, body, envelope, and whether it is held."""
import re

import pytest
from lib.client import message
from lib.filtered import arrived, make_site, milter, own, send, well_behaved, without_ours  # noqa: F401 (fixtures)
from lib.milter import CONTINUE, Milter, add_header, add_rcpt, change_header, change_sender, delete_rcpt, insert_header, quarantine, replace_body
from lib.wait import until

pytestmark = pytest.mark.inside


def changed(own, milter, sink, tag, *changes, content=None, **kw):
    milter.on["E"] = [*changes, CONTINUE]
    r = send(own, tag, content, **kw)
    assert r.code == 250, r
    return arrived(sink, tag)


BASE = b"A: 1\r\nB: 2\r\nA: 3\r\n"


@pytest.mark.parametrize("changes,expected", [
    ([add_header("X", "y")], ["S", "A: 1", "B: 2", "A: 3", "X: y"]),
    ([insert_header(1, "X", "y")], ["X: y", "S", "A: 1", "B: 2", "A: 3"]),
    ([insert_header(2, "X", "y")], ["S", "X: y", "A: 1", "B: 2", "A: 3"]),
    ([insert_header(99, "X", "y")], ["S", "A: 1", "B: 2", "A: 3", "X: y"]),
    ([change_header(1, "A", "x")], ["S", "A: x", "B: 2", "A: 3"]),
    ([change_header(0, "a", "x")], ["S", "a: x", "B: 2", "A: 3"]),
    ([change_header(2, "A", "x")], ["S", "A: 1", "B: 2", "A: x"]),
    ([change_header(3, "A", "x")], ["S", "A: 1", "B: 2", "A: 3", "A: x"]),
    ([change_header(1, "A", "")], ["S", "B: 2", "A: 3"]),
    ([change_header(2, "A", "")], ["S", "A: 1", "B: 2"]),
    ([change_header(7, "A", ""), change_header(1, "Z", "")], ["S", "A: 1", "B: 2", "A: 3"]),
    ([change_header(1, "A", ""), change_header(1, "A", "")], ["S", "B: 2"]),
    ([change_header(1, "Received", "x")], ["S", "A: 1", "B: 2", "A: 3", "Received: x"]),
    ([change_header(1, "Received", "")], ["S", "A: 1", "B: 2", "A: 3"]),
    ([add_header("X", "y"), change_header(1, "X", "z"), insert_header(1, "Y", "1")], ["Y: 1", "S", "A: 1", "B: 2", "A: 3", "X: z"]),
    ([add_header("X", "y\n\tz")], ["S", "A: 1", "B: 2", "A: 3", "X: y\r\n\tz"]),
    ([add_header("X", "y\r\n z\n")], ["S", "A: 1", "B: 2", "A: 3", "X: y\r\n z"]),
    ([add_header("X", "y\nBcc: all\n\nbody")], ["S", "A: 1", "B: 2", "A: 3", "X: y\r\n\tBcc: all\r\n\tbody"]),
    ([add_header("X", "")], ["S", "A: 1", "B: 2", "A: 3", "X: "]),
])
def test_header_changes(own, milter, sink, tag, changes, expected):
    _, got, body = changed(own, milter, sink, tag, *changes, content=message(tag, headers=BASE))
    assert got[0].startswith("Received: from") and body == b"text\r\n"
    assert without_ours(got) == [f"Subject: {tag}" if e == "S" else e for e in expected]


def test_before_our_received(own, milter, sink, tag):
    """Place 0 is in front of everything; what is ours still is nobody's to change."""
    _, got, _ = changed(own, milter, sink, tag, insert_header(0, "X", "y"), change_header(1, "Received", ""))
    assert got[0] == "X: y" and got[1].startswith("Received: from") and got[2] == f"Subject: {tag}"


@pytest.mark.parametrize("came,change,goes", [
    ("gruen", add_header("X", "grün"), False), ("grün", change_header(1, "A", "gruen"), True), ("gruen", replace_body("grün".encode()), True),
    ("grün", replace_body(b"gruen"), False)], ids=["added", "taken-away", "body", "stays"])
def test_utf8(own, milter, sink, tag, came, change, goes):
    """A server without SMTPUTF8 gets what has no UTF-8 in the header that the filter has left."""
    milter.on["E"] = [change, CONTINUE]
    with own.client() as c:
        assert c.mail("a@src.test", " SMTPUTF8").code == 250 and c.rcpt("b@local.test").code == 250 and c.cmd("DATA").code == 354
        assert c.finish(message(tag, headers=f"A: {came}\r\n".encode())).code == 250
    m, = sink.wait(lambda m: tag.encode() in m.content)
    assert (m.sender, b"Status: 5.6.7" in m.content) == (("a@src.test", False) if goes else ("", True))


def test_header_of_a_message_without(own, milter, sink, tag):
    """There is no header, and no body: what is added is one all the same."""
    milter.on["E"] = [add_header("Subject", tag), CONTINUE]
    assert send(own, tag, b"just text\r\n").code == 250
    m, got, _ = arrived(sink, tag)
    assert got[0].startswith("Received: from") and m.content.endswith(b"just text\r\n")


@pytest.mark.parametrize("chunks,expected", [
    ([b"new\r\n"], b"new\r\n"), ([b"new"], b"new\r\n"), ([b"a\nb\n"], b"a\r\nb\r\n"), ([b"a\r", b"\nb\rc"], b"a\r\nb\r\nc\r\n"), ([b""], b""),
    ([b"x" * 65535] * 40, b"x" * 65535 * 40 + b"\r\n"), ([b".\r\n..\r\n"], b".\r\n..\r\n"),
], ids=["line", "no-end", "lf", "cr", "empty", "large", "dots"])
def test_body(own, milter, sink, tag, chunks, expected):
    _, got, body = changed(own, milter, sink, tag, *[replace_body(c) for c in chunks], content=message(tag, b"old\r\n" * 30000, BASE))
    assert body == expected and without_ours(got) == [f"Subject: {tag}", "A: 1", "B: 2", "A: 3"]


@pytest.mark.parametrize("size", [10, 64 * 1024, 3 * 1024 * 1024])
def test_content_stays(own, milter, sink, tag, size):
    """A changed header, and every byte of the body: in memory, at the border, and from the disk."""
    body = b"".join(b"%08d\r\n" % i for i in range(size // 10))
    _, got, now = changed(own, milter, sink, tag, insert_header(1, "X", "y"), change_header(1, "A", "x"), add_header("Z", "z"),
                          content=message(tag, body, BASE))
    assert now == body and without_ours(got) == ["X: y", f"Subject: {tag}", "A: x", "B: 2", "A: 3", "Z: z"]
    until(lambda: not own.content_files(), "nothing is left in the store")


def test_envelope(own, milter, sink, tag):
    marks = own.log_marks()
    milter.on["E"] = [add_rcpt("new@local.test"), add_rcpt("<par@local.test>", "NOTIFY=NEVER"), delete_rcpt("<b@local.test>"), add_rcpt("c@local.test"),
                      change_sender("<other@src.test>"), delete_rcpt("nobody@local.test"), CONTINUE]
    assert send(own, tag, rcpts=["b@local.test", "c@local.test"]).code == 250
    sink.wait(tag)
    until(lambda: {r for m in sink.find(tag) for r in m.rcpts} == {"c@local.test", "new@local.test", "par@local.test"}, "all recipients")
    own.wait_empty()
    assert {m.sender for m in sink.find(tag)} == {"other@src.test"} and sum(len(m.rcpts) for m in sink.find(tag)) == 3
    lines = [x for x in own.logs_since(marks)["smtps.log"].splitlines() if " ss.envelope " in x]
    assert [re.search("rcpt=<(.*?)>", x).group(1) for x in lines] == ["c@local.test", "new@local.test", "par@local.test"]
    assert all("mail=<other@src.test>" in x and "nrcpts=3" in x for x in lines)


def test_null_sender(own, milter, sink, tag):
    m, _, _ = changed(own, milter, sink, tag, change_sender("<>"))
    assert m.sender == ""


def test_nobody_left(own, milter, sink, tag):
    milter.on["E"] = [delete_rcpt("b@local.test"), CONTINUE]
    assert send(own, tag).code == 250
    until(lambda: not own.content_files(), "nothing is left in the store")
    assert not sink.find(tag)


def test_quarantine(own, milter, sink, tag):
    milter.on["E"] = [quarantine("looks like, well, bait"), add_header("X-Q", "1"), CONTINUE]
    r = send(own, tag)
    assert r.code == 250
    ta = re.search(r"S[0-9A-F]{18}", r.text).group(0)
    until(lambda: "held" in own.qmgrctl("list"), "it is held")
    shown = own.qmgrctl("show", ta)
    assert "looks like, well, bait" in shown and not sink.find(tag), shown
    old = own.kill("qmgr")
    own.restarted("qmgr", old)
    until(lambda: "held" in own.qmgrctl("list", check=False), "it is held after a restart")
    assert not sink.find(tag)
    own.qmgrctl("release", ta)
    assert "X-Q: 1" in arrived(sink, tag)[1]
    own.wait_empty()


@pytest.mark.parametrize("change", [add_rcpt("no address"), add_rcpt("<a@b"), add_rcpt("x@local.test", "BLURB=1"), change_sender("<a b>"),
                                    add_header("bad name", "x"), add_header("", "x"), [replace_body(b"x" * 65000)] * 100],
                         ids=["rcpt", "bracket", "parameter", "sender", "name", "no-name", "too-large"])
def test_what_cannot_be_done(sink, dns, tag, change):
    """Refused for now: half of what a filter wanted is not what it wanted. The filter is asked again for the next mail."""
    with Milter() as m, make_site(sink, dns, m.section("f"), settings={"smtps.max_message_size": "5000"}) as s, s.client() as c:
        m.on["E"] = [add_header("X", "y"), *(change if isinstance(change, list) else [change]), CONTINUE]
        r = c.send_mail("a@src.test", "b@local.test", message(tag))
        assert r.code == 451 and r.enhanced == "4.3.0", r
        m.on["E"] = [add_header("X", "y"), CONTINUE]
        assert c.send_mail("a@src.test", "b@local.test", message(tag + "-next")).code == 250
        assert "X: y" in arrived(sink, tag + "-next")[1]
        assert not sink.find(tag)
        assert s.log_lines("smtps", "ss.milter")[0].count("bad_change") == 1


def test_too_many_recipients(own, milter, sink, tag):
    milter.on["E"] = [*(add_rcpt(f"u{i}@local.test") for i in range(1000)), CONTINUE]
    assert send(own, tag).code == 451
    milter.on["E"] = [*(add_rcpt(f"u{i}@local.test") for i in range(999)), CONTINUE]
    assert send(own, tag).code == 250
    until(lambda: sum(len(m.rcpts) for m in sink.find(tag)) == 1000, "a thousand recipients")
