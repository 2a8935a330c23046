"""A great deal of due mail for next hops that refuse, beside a good destination: new mail for that one does not wait.

SMX_DEAD_MAILS says how much; `make check-dead-mx` takes 100,000 and holds each good mail to its 10 seconds.
"""
import os
import shutil
import time

import pytest
from lib import bigqueue
from lib.bigqueue import DEST, Queue, fill
from lib.client import message
from lib.paths import free_port
from lib.sink import Sink
from lib.site import Site
from lib.wait import SLOW, until

pytestmark = [pytest.mark.inside]

MAILS = int(os.environ.get("SMX_DEAD_MAILS", "2000"))
FULL = 100000
WITHIN = 10         # s, from the connection to the sink, when there are so many
TOLD_AFTER = 14400  # s, queue_delay_timeout
DEATHS = 3          # so often all of it is due, is kept from its host, and is due again
SETTINGS = {**bigqueue.SETTINGS, "qmgr.smtpc.dead_host_min_delay": "2s", "qmgr.smtpc.dead_host_max_delay": "2s",
            "qmgr.retry_min_delay": "1s", "qmgr.retry_max_delay": "2s"}


@pytest.mark.parametrize("domains, age", [(1, 600), (1000, 600), (1, 20000)], ids=["one", "many", "told"])
def test_good_mail_does_not_wait(domains, age):
    """One domain; many that share the dead host; and mail so old that each sender is told, by a DSN that goes nowhere either."""
    with Sink() as sink:
        site = Site(routes=[f"{DEST} {sink.port}^esmtp:[127.0.0.1]", f". {free_port()}^esmtp:[127.0.0.1]"], relay=[DEST], settings=SETTINGS)
        filled = fill(site, MAILS, domains=domains, due=0, spread=0, age=age)
        with site:
            waits = list(good_mail(site, sink))
            queue = Queue(site)
            told = MAILS if age > TOLD_AFTER else 0
            until(lambda: held_by(queue) == (MAILS + told, told), lambda: f"all of it is there, and who is told is told once: {held_by(queue)}", 120)
            report(domains, age, filled, waits, queue)
    shutil.rmtree(site.dir, ignore_errors=True)
    if MAILS >= FULL:
        assert max(waits) <= WITHIN * SLOW, waits


def good_mail(site, sink):
    """One after the other, until the dead host was tried and found dead so often: how long each took, from the connection to the sink."""
    number = deaths = 0
    with open(os.path.join(site.log_dir, "qmgr.log"), "rb") as log:
        while number < 10 or deaths < DEATHS:
            begin = time.monotonic()
            with site.client() as c:
                assert c.send_mail("s@source.test", f"u{number}@{DEST}", message(f"good-{number}")).code == 250
            sink.wait(f"good-{number}", timeout=60)
            yield time.monotonic() - begin
            number += 1
            deaths += log.read().count(b" qm.host ")


def held_by(queue):
    """Recipients in the queue, and DSNs that were made."""
    status, = queue.ask("status")[1]
    return status["active_recipients"] + status["deferred_recipients"], status["dsns"]


def report(domains, age, filled, waits, queue):
    middle = sorted(waits)[len(waits) // 2]
    print(f"\n{MAILS} mails for {domains} dead domains, {age} s old: filled in {filled:.1f} s; {len(waits)} good mails in {sum(waits):.1f} s, "
          f"each took {middle * 1000:.0f} ms, at most {max(waits) * 1000:.0f} ms; qmgr took {queue.memory_mb()[1]:.0f} MB at the most")
