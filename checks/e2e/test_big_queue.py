"""A deferred queue that nobody would want to list: start, new mail, questions, acts, a kill in the midst of one. checks/bench/queue measures it."""
import os
import re
import shutil

import pytest
from lib import bigqueue
from lib.bigqueue import DEST, Queue, fill
from lib.client import message
from lib.paths import free_port
from lib.sink import Sink
from lib.site import Site
from lib.wait import until

pytestmark = [pytest.mark.inside]

MAILS, RCPTS, DOMAINS = 4000, 5, 4000
ALL = MAILS * RCPTS
HALF = "rcpt=*@domain000*.example,*@domain001*.example"  # domains 0 to 1999


@pytest.fixture
def queue():
    """A running site in which all waits for hours."""
    with Sink() as sink:
        site = Site(routes=[f"{DEST} {sink.port}^esmtp:[127.0.0.1]", f". {free_port()}^esmtp:[127.0.0.1]"], relay=[DEST], settings=bigqueue.SETTINGS)
        fill(site, MAILS, RCPTS, domains=DOMAINS, senders=1000)
        with site:
            q = Queue(site)
            q.sink = sink
            yield q
    shutil.rmtree(site.dir, ignore_errors=True)


@pytest.mark.parametrize("contents", ["segments", "files"])
def test_contents_that_were_filled_in(contents):
    """What fillqueue writes is what smtps and qmgr would have written: where each is, what it says, and that it goes with the last mail that needs it."""
    mails = 1000
    with Sink() as sink:
        site = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=[DEST], settings=bigqueue.SETTINGS)
        fill(site, mails, domains=20, contents=contents)
        files = {os.path.basename(p) for p in site.content_files()}
        assert len(files) == mails if contents == "files" else 1 <= len(files) < 10
        with site:
            q = Queue(site)
            ids = [m["id"] for m in q.ask("list")[1]]
            assert len(ids) == mails
            shown = [next(x for x in q.ask("show", i)[1] if x["type"] == "envelope") for i in ids[::100]]
            assert {x["content"] for x in shown} <= files
            assert all((x["content"] == x["id"] and x["content_offset"] == 0) == (contents == "files") for x in shown)
            assert len({(x["content"], x["content_offset"]) for x in shown}) == len(shown)
            for x in shown:  # at the place that is told there are the bytes that will be delivered
                path = next(p for p in site.content_files() if os.path.basename(p) == x["content"])
                with open(path, "rb") as f:
                    f.seek(x["content_offset"])
                    assert re.fullmatch(rb"Received: from bench\r\n.*fillqueue %09d\r\n.*waits\.\r\n" % ids.index(x["id"]), f.read(x["size"]), re.S)
            q.ask("flush", "domain=domain000003.example")
            some = sink.wait(lambda m: m.rcpts[0].endswith("@domain000003.example"), mails // 20)
            assert len(some) == mails // 20
            left = mails - mails // 20 if contents == "files" else len(files)
            until(lambda: len(site.content_files()) == left, lambda: f"{left} files are left; now {len(site.content_files())}")
            q.ask("flush", "all")
            sink.wait(lambda m: True, mails, 120)
            site.wait_empty(60)
        assert len(sink.messages) == mails
        for m in sink.messages:  # the number in the recipient is that in the text
            assert f"X-Bench: fillqueue {m.rcpts[0].split('.')[1]}\r\n".encode() in m.content and m.content.endswith(b"\r\n\r\nThis mail waits.\r\n")
    shutil.rmtree(site.dir, ignore_errors=True)


def test_all_is_found_and_new_mail_flows(queue):
    rows = queue.ask("summary", "--by=domain", "--limit", str(DOMAINS))[1]
    total, = [r for r in rows if r["type"] == "total"]
    assert (total["mails"], total["rcpts"], total["keys"], len(rows)) == (MAILS, ALL, DOMAINS, DOMAINS + 1)
    assert all(r["rcpts"] == ALL // DOMAINS for r in rows if r["type"] == "row")
    rows = queue.ask("summary", "--by=reason", "--limit", "100")[1]
    assert len(rows) == 51 and sum(r["rcpts"] for r in rows if r["type"] == "row") == ALL
    mails = queue.ask("list", "sender=user000007@*")[1]
    assert len(mails) == MAILS // 1000 and all(len(m["rcpts"]) == RCPTS for m in mails)
    assert len({m["id"] for m in queue.ask("list")[1]}) == MAILS
    queue.site.canary(queue.sink, "new@" + DEST)


def test_half_of_it_is_held_and_stays_so(queue):
    assert queue.count(HALF) == ALL // 2
    act, = queue.ask("hold", HALF)[1]
    assert act["rcpts"] == ALL // 2
    until(lambda: queue.held() == ALL // 2, "half is held")
    queue.kill()
    assert (queue.held(), queue.count()) == (ALL // 2, ALL)
    queue.site.canary(queue.sink, "new@" + DEST)
    act, = queue.ask("release", "all")[1]
    assert act["rcpts"] == ALL // 2
    until(lambda: queue.held() == 0, "nothing is held")


def test_a_kill_in_the_midst_of_a_hold(queue):
    """All of it or none; and all of it, when the answer came."""
    for after in (0.0, 0.005, 0.01, 0.02, 0.04):
        answered = queue.act_and_kill(after, "hold", "all")
        held = queue.held()
        assert held in (0, ALL) and (held or not answered), (after, answered, held)
        assert queue.count() == ALL
        if held:
            break
    with queue.site.client() as c:
        assert c.send_mail("s@source.test", "new@" + DEST, message("after")).code == 250
    queue.sink.wait("after")
