"""Filters that are away, die, hang, or talk nonsense, at each stage and under each policy; and a disk that fails while content is written anew."""
import contextlib
import struct
import time

import pytest
from lib import milter as ml
from lib.client import Client, Closed, message
from lib.filtered import arrived, make_site, send
from lib.milter import CONTINUE, DIE, HANG, Milter, add_header, add_rcpt, packet, replace_body, reply
from lib.paths import free_port
from lib.wait import SLOW, until

pytestmark = pytest.mark.inside

POLICIES = ("ignore", "again", "temp", "abort")
FLAGS = {"ignore": "{ }", "again": "{ accept_but_reconnect }", "temp": "{ tempfail }", "abort": "{ abort }"}
TIMES = {"timeout": "1500ms", "content_timeout": "1500ms", "end_timeout": "1500ms", "connect_timeout": "1500ms", "rest_time": "0s"}


@pytest.fixture(scope="module")
def milters():
    """One for each policy, at a listener of its own."""
    with contextlib.ExitStack() as stack:
        yield {p: stack.enter_context(Milter()) for p in POLICIES}


@pytest.fixture(scope="module")
def own(sink, dns, milters):
    s = make_site(sink, dns)
    s.ports = {p: free_port() for p in POLICIES}
    for p in POLICIES:
        s.add("smtps", milters[p].section(p, listeners='{ "%s" }' % p, flags=FLAGS[p], **TIMES))
        s.add("smtps", f'listen_socket {{ type = inet; address = "127.0.0.1"; port = {s.ports[p]}; name = "{p}"; }}\n')
    with s:
        yield s


@pytest.fixture(autouse=True)
def well_behaved(milters):
    for m in milters.values():
        m.reset()
    yield
    for m in milters.values():
        m.reset()


def dialogue(port, tag, content=None):
    """A mail, as far as it gets: replies to EHLO, MAIL, RCPT, DATA, the end; the greeting alone when that refuses. None: closed."""
    got = []
    try:
        with Client(port, greet=False, timeout=30) as c:
            got.append(c.reply())
            for line in ("EHLO client.test", "MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", "DATA"):
                if got[-1].code in (220, 250):
                    got.append(c.cmd(line))
            if got[-1].code == 354:
                c.send((content or message(tag)) + b".\r\n")
                got.append(c.reply())
            if got[-1].code == 421:
                c.rest()
    except Closed:
        got.append(None)
    return [r.code if r else None for r in got]


# Each of these breaks the conversation.
WRONG = {
    "dies": DIE,
    "hangs": HANG,
    "unknown reply": packet("!"),
    "empty packet": struct.pack(">I", 0),
    "too large": struct.pack(">I", 0x7fffffff) + b"c",
    "http": b"HTTP/1.0 400 no\r\n\r\n",
    "continue with data": packet("c", b"x"),
    "half a packet": [struct.pack(">I", 40) + b"y550 5.7", DIE],
    "negotiation": packet("O", struct.pack(">III", 6, 0, 0)),
    "change": add_header("X", "y"),
    "reply code of 1": packet("y", b"5"),
    "reply code of 2": packet("y", b"55"),
    "empty reply code": packet("y", b""),
    "reply code 250": reply("250 2.0.0 fine"),
    "reply code abc": reply("abc 2.0.0 fine"),
    "reply codes differ": reply("550-5.7.1 a\r\n450 4.7.1 b"),
    "enhanced code differs": reply("550 4.7.1 a"),
    "no separator": reply("550x5.7.1 a"),
}


def expected(policy, at):
    """What the client reads from a filter that breaks at this stage."""
    before = {"C": [], "H": [220], "M": [220, 250], "R": [220, 250, 250], "T": [220, 250, 250, 250]}.get(at, [220, 250, 250, 250, 354])
    if policy in ("ignore", "again"):
        return [220, 250, 250, 250, 354, 250]
    if policy == "abort":
        return [*before, 421]
    return [220, 250, 451] if at in "CH" else [*before, 451]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("wrong", WRONG)
def test_breaks(own, milters, sink, tag, policy, wrong):
    """At each stage, each policy does what it is for; the next session has a filter that is well again."""
    m = milters[policy]
    results = {}

    def one(stage):
        results[stage] = dialogue(own.ports[policy], f"{tag}-{stage}")
    for stage in "CMBE" if wrong == "hangs" else "CHMRTLNB" if wrong == "change" else "CHMRTLNBE":
        m.on.clear()
        m.on[stage] = WRONG[wrong]
        one(stage)
    want = {stage: expected(policy, stage) for stage in results}
    assert results == want
    m.on.clear()
    m.on["E"] = [add_header("X-Well", "again"), CONTINUE]
    assert dialogue(own.ports[policy], tag + "-well") == [220, 250, 250, 250, 354, 250]
    assert "X-Well: again" in arrived(sink, tag + "-well")[1]
    own.wait_empty()
    assert len([x for x in sink.accepted if x.subject().startswith(tag + "-")]) == 1 + (len(results) if policy in ("ignore", "again") else 0)
    until(lambda: not own.content_files(), "nothing is left in the store")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("changes", [[add_header("X", "y")], [replace_body(b"new\r\n")], [replace_body(b"x" * 65535)] * 5, [add_rcpt("c@local.test")]],
                         ids=["header", "body", "large-body", "rcpt"])
@pytest.mark.parametrize("end", [[DIE], [HANG], [packet("h", b"half")], [packet("!")]], ids=["dies", "hangs", "malformed", "garbage"])
def test_half_a_change_is_never_committed(own, milters, sink, tag, policy, changes, end):
    """Neither the changed mail nor the one that the filter did not want as it was: whatever the policy, the client keeps it."""
    milters[policy].on["E"] = [*changes, *end]
    assert dialogue(own.ports[policy], tag, message(tag, b"old\r\n" * 20000))[-1] == (421 if policy == "abort" else 451)
    until(lambda: not own.content_files(), "nothing is left in the store")
    own.wait_empty()
    assert not sink.find(tag)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("wrong", ["twice", "unasked"])
def test_reply_that_nobody_asked_for(own, milters, sink, tag, policy, wrong):
    """A verdict never belongs to another command than the one it was given for."""
    m = milters[policy]
    if wrong == "twice":
        m.on["M"] = CONTINUE + packet("r")
    with Client(own.ports[policy], timeout=30) as c:
        assert c.mail("a@src.test").code == 250
        if wrong == "unasked":
            m.last().conn.sendall(CONTINUE)
        r = c.rcpt("b@local.test")
    assert r.code == {"ignore": 250, "again": 250, "temp": 451, "abort": 421}[policy], r


NEGOTIATIONS = {
    "version 1": packet("O", struct.pack(">III", 1, 0, 0)), "version 7": packet("O", struct.pack(">III", 7, 0, 0)),
    "unknown action": packet("O", struct.pack(">III", 6, 0x8000, 0)), "short": packet("O", b"\0\0\0\6"), "continue": CONTINUE, "dies": DIE, "hangs": HANG,
    "broken list": packet("O", struct.pack(">III", 6, 0, 0) + struct.pack(">I", 0) + b"j"), "too large": struct.pack(">I", 1 << 30) + b"O",
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("wrong", NEGOTIATIONS)
def test_negotiation(own, milters, sink, tag, policy, wrong):
    milters[policy].on["O"] = NEGOTIATIONS[wrong]
    assert dialogue(own.ports[policy], tag) == expected(policy, "C")


def test_unknown_steps_are_harmless(own, milters, sink, tag):
    milters["temp"].on["O"] = packet("O", struct.pack(">III", 6, 0, 0xfff00000 | ml.NOHELO) + struct.pack(">I", 99) + b"j\0")
    assert dialogue(own.ports["temp"], tag)[-1] == 250


def test_away(sink, dns, tag):
    """Nobody listens: refused for now, ignored, or the end, from the first command on."""
    for policy, flags in FLAGS.items():
        with Milter() as m, make_site(sink, dns, m.section("gone", flags=flags, **TIMES)) as s:
            m.stop()
            assert dialogue(s.port, f"{tag}-{policy}") == expected(policy, "C"), policy


def test_left_alone(sink, dns, tag):
    """A filter that is ignored is not tried again before its time; with accept_but_reconnect it is."""
    for flags, tried in ((FLAGS["ignore"], False), (FLAGS["again"], True)):
        m = Milter()
        m.stop()
        with make_site(sink, dns, m.section("f", flags=flags, rest_time="1h")) as s:
            assert send(s, tag + "-1").code == 250
            m.start()
            m.on["E"] = [add_header("X", "y"), CONTINUE]
            name = f"{tag}-{tried}"
            assert send(s, name).code == 250
            assert ("X: y" in arrived(sink, name)[1]) == tried
        m.stop()


def test_silent_listener(sink, dns, tag):
    """It accepts no connection: the queue of its listener is full."""
    m = Milter()
    with m, make_site(sink, dns, m.section("f", flags=FLAGS["temp"], **TIMES)) as s:
        m.on["O"] = HANG
        start = time.monotonic()
        assert dialogue(s.port, tag) == [220, 250, 451]
        assert time.monotonic() - start < 10 * SLOW


def test_told_to_end_while_a_filter_thinks(own, milters, sink, tag):
    """The supervisor does not wait for filters: who waits for one gets 421, or the end of the connection."""
    milters["temp"].on["E"] = HANG
    with Client(own.ports["temp"], timeout=30) as c:
        c.begin("a@src.test", "b@local.test")
        c.send(message(tag) + b".\r\n")
        milters["temp"].seen("E")
        r = c.reply()
        assert r.code == 451


@pytest.mark.parametrize("size", [10, 300000])
@pytest.mark.parametrize("fault,code", [("cdb.open=enospc", 452), ("cdb.write=enospc", 452), ("cdb.write=eio", 451), ("cdb.read=eio", 451), ("cdb.sync=eio", 451),
                                        ("cdb.unlink=eio", 451)])
def test_disk(own, milters, sink, tag, size, fault, code):
    """Trouble at each step of writing anew is an answer of 4yz, and leaves nothing."""
    if not own.has_faults():
        pytest.skip("no fault points in this build")
    body = b"0123456789\r\n" * (size // 12 + 1)
    milters["temp"].on["E"] = [add_header("X", "y"), replace_body(b"z" * min(size, 65535)), replace_body(b"\r\n"), CONTINUE]
    got = []
    for n in (1, 2, 3):
        with own.faults("smtps", f"{fault}@{n}"):
            got.append(dialogue(own.ports["temp"], f"{tag}-{n}", message(f"{tag}-{n}", body))[-1])
        if got[-1] == 250:
            sink.wait(f"{tag}-{n}")
        else:
            assert not sink.find(f"{tag}-{n}")
        own.wait_empty()
        until(lambda: not own.content_files(), "nothing is left in the store")
    # What is small is read from memory, and has no name before its commit.
    assert set(got) <= {250, code} and (code in got) == (size > 65536 or fault.split("=")[0] in ("cdb.open", "cdb.write", "cdb.sync")), got
    assert dialogue(own.ports["temp"], tag + "-well", message(tag + "-well", body))[-1] == 250
    sink.wait(tag + "-well")
