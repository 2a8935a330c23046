"""A deferred queue that nobody would want to list: start, new mail, questions, acts, a kill in the midst of one. checks/bench/queue measures it."""
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
