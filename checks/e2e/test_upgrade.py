"""A queue that another release wrote: what a former one wrote is read, what a later one wrote keeps qmgr away and is not touched."""
import os
import re

import pytest
from lib import segments
from lib.client import message
from lib.paths import free_port
from lib.sink import Sink
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

SETTINGS = {"qmgr.retry_min_delay": "1s", "qmgr.retry_max_delay": "2s", "qmgr.IBDB.size": "2MB", "qmgr.DEFEDB.size": "2MB",
            "qmgr.smtpc.dead_host_min_delay": "1s", "qmgr.smtpc.dead_host_max_delay": "2s"}


def queue_dirs(site):
    return {name: os.path.join(site.spool, *where) for name, where in (("ibdb", ("ibdb",)), ("defedb", ("defedb",)))}


def contents(directory):
    out = {}
    for n in sorted(os.listdir(directory)):
        path = os.path.join(directory, n)
        if os.path.isfile(path):
            with open(path, "rb") as f:
                out[n] = f.read()
    return out


@pytest.fixture
def stopped():
    """A site that was stopped with mail in its queue, the port of its next hop, where nobody listens, and its directories."""
    port = free_port()
    with Site(routes=[f"good.test {port}^esmtp:[127.0.0.1]"], relay=["good.test"], settings=SETTINGS) as site:
        with site.client() as c:
            for i in range(5):
                assert c.send_mail("s@src.test", f"u{i}@good.test", message(f"kept-{i}")).code == 250
        until(lambda: len(site.log_lines("qmgr", "qm.rcpt")) >= 5, lambda: f"each was tried\n{site.log_tail()}")
        site.stop()
        yield site, port, queue_dirs(site)


def delivered(site, port):
    with Sink(port) as sink:
        site.start()
        for i in range(5):
            sink.wait(f"kept-{i}", timeout=60)
        site.wait_empty()


@pytest.mark.parametrize("log", ["ibdb", "defedb"])
def test_a_later_one_is_refused(stopped, log):
    site, port, dirs = stopped
    path = segments.paths(dirs[log], log)[0]
    with open(path, "rb") as f:
        own = f.read()
    segments.rewrite(path, segments.say_table(999, 0xFEEDFACECAFEBEEF, b"smx 9.1.4"))
    before = {d: contents(d) for d in dirs.values()}
    marks = site.log_marks()
    site.start(wait=False)
    said = until(lambda: [x for n, t in site.logs_since(marks).items() for x in t.splitlines() if " mc.giveup " in x],
                 lambda: f"qmgr is not started again\n{site.log_tail()}")
    assert re.search(r"service=qmgr\b.*reason=exit-status", said[0]), said
    lines = [x for n, t in site.logs_since(marks).items() for x in t.splitlines() if "qm.start" in x]
    assert len(lines) == 1 and " FATAL " in lines[0], lines
    for word in (os.path.basename(path), "record table 999 (feedfacecafebeef) by smx 9.1.4", "this program has format 3 and record table "):
        assert word in lines[0], lines
    site.stop()
    assert {d: contents(d) for d in dirs.values()} == before
    # The release that wrote it goes on where it was.
    segments.rewrite(path, lambda p: p.__setitem__(slice(0, segments.BLOCK), own[:segments.BLOCK]))
    delivered(site, port)


def test_a_former_format_is_read(stopped):
    site, port, dirs = stopped
    for name, d in dirs.items():
        for path in segments.paths(d, name):
            segments.rewrite(path, segments.format_2)
    delivered(site, port)
    assert not site.log_lines("qmgr", "qm.log_damage")
