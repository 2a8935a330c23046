"""smtpc against servers that lie, stall, babble and drop. Each hostile connection is followed by a good one."""
import time

import pytest
from cases.hostile import BOUNCE, CASES, EITHER, GARBAGE, RETRY, STAGES
from lib.client import message
from lib.sink import Hang, Serve, Sink
from lib.wait import until

pytestmark = pytest.mark.inside


def give(site, domain, tag, sender="sender"):
    with site.client() as c:
        r = c.send_mail(f"{sender}@src.test", f"rcpt@{domain}", message(tag))
        assert r.code == 250, r


def reported(sink, sender):
    return sink.reports(f"{sender}@src.test")


@pytest.mark.parametrize("name,scripts,fate,least,most", CASES, ids=[c[0] for c in CASES])
def test_case(site, sink, hostile, tag, name, scripts, fate, least, most):
    server, domain = hostile
    good = [] if fate in ("taken", BOUNCE) else [[Serve()]]
    server.script(*scripts, *good)
    sender = f"s-{name}"
    give(site, domain, tag, sender)
    if fate == "taken" or fate == RETRY:
        server.wait(tag, timeout=40)
    elif fate == "scripted":
        until(lambda: server.messages, "the content came", 20)
    elif fate == BOUNCE:
        until(lambda: reported(sink, sender), "a report", 20)
    else:
        until(lambda: server.find(tag) or reported(sink, sender), "delivered or reported", 40)
    site.wait_empty(timeout=20)
    assert least <= len(server.find(tag)) <= most, server.commands
    assert len(reported(sink, sender)) == (fate == BOUNCE) or fate == EITHER, sink.reports()
    if fate == "scripted":
        assert len(server.messages) == 1, "a complete 250 means it was taken: never again"
    for m in server.find(tag):
        assert m.without_trace() == message(tag)
    assert not server.failures, server.failures
    site.canary(sink)


@pytest.mark.slow
@pytest.mark.parametrize("stage,before", STAGES, ids=[s[0] for s in STAGES])
def test_garbage(site, sink, hostile_many, tag, stage, before):
    """A server for each kind of garbage, all at this stage of the session. In the end each has its mail once, and nobody was told of a failure."""
    at = list(zip(GARBAGE, hostile_many, strict=True))
    for (_, garbage), (server, _) in at:
        server.drop()
        server.script([*before, *garbage], [Serve()])
    seen = [server.connections for server, _ in hostile_many]
    for (name, _), (_, domain) in at:
        give(site, domain, f"{tag}-{name}", f"g-{stage}")
    site.canary(sink)
    for ((name, _), (server, _)), n in zip(at, seen):
        server.wait(f"{tag}-{name}", timeout=60)
        assert server.connections > n + 1, f"{name}: the garbage did not matter"
    site.wait_empty(timeout=20)
    for (name, _), (server, _) in at:
        assert len(server.find(f"{tag}-{name}")) == 1, name
    assert not reported(sink, f"g-{stage}")
    site.canary(sink)


def test_others_are_not_held_up(site, sink, hostile, tag):
    """While one server stalls, mail to others flows."""
    server, domain = hostile
    server.script([Hang()])
    for i in range(20):
        give(site, domain, f"{tag}-{i}")
    start = time.monotonic()
    site.canary(sink, timeout=5)
    assert time.monotonic() - start < 5
    server.script([Serve()])
    until(lambda: len({m.subject() for m in server.accepted}) == 20, "all 20 arrive", 60)


def test_mixed_recipients(site, sink, hostile, tag):
    """One good, one to be tried again, one refused: each has its own fate, nobody is served twice."""
    server, domain = hostile
    server.script([Serve({"RCPT": [b"250 ok\r\n", b"450 4.2.0 later\r\n", b"550 5.1.1 nobody\r\n"]})], [Serve()])
    with site.client() as c:
        assert c.send_mail("mixed@src.test", [f"{u}@{domain}" for u in ("good", "later", "bad")], message(tag)).code == 250
    until(lambda: len(server.find(tag)) >= 2, "two transactions", 30)
    until(lambda: reported(sink, "mixed"), "a report", 20)
    site.wait_empty()
    rcpts = sorted(r.partition("@")[0] for m in server.find(tag) for r in m.rcpts)
    # which of the three got which reply depends on the order they were sent in
    assert len(rcpts) == 2 and len(set(rcpts)) == 2, rcpts
    reports = reported(sink, "mixed")
    assert len(reports) == 1
    failed = ({"good", "later", "bad"} - set(rcpts)).pop()
    assert f"{failed}@{domain}".encode() in reports[0].content
    assert b"nobody" in reports[0].content


def test_refused_connection(site, sink, hostile, tag):
    """Nobody listens: deferred; when somebody does, delivered."""
    server, domain = hostile
    port, host = server.port, None
    server.stop()
    give(site, domain, tag, "refused")
    site.canary(sink)
    assert site.content_files()
    host = "127.0.1.%d" % (int(domain[1:domain.index(".")]) + 1)
    with Sink(port, host=host) as again:
        again.wait(tag, timeout=30)
        site.wait_empty()
    assert not reported(sink, "refused")


def test_report_of_a_report(site, sink, hostile, tag):
    """Mail from <> that fails makes no report."""
    server, domain = hostile
    server.script([Serve({"RCPT": b"550 5.1.1 nobody\r\n"})])
    with site.client() as c:
        assert c.send_mail("", f"x@{domain}", message(tag)).code == 250
    site.wait_empty()
    assert not sink.reports(about=tag)
