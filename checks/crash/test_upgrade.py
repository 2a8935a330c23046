"""Another build is installed over a running suite. Workers that die meanwhile come back as the build that was started; only a reload or a
restart changes to the new one, all together, and no mail is lost on the way."""
import os
import shutil

import pytest
from crash import settings
from events import copy_of_programs, inode, install_broken, install_other
from lib.client import message
from lib.ledger import judge
from lib.paths import free_port
from lib.programs import Load, SinkProgram
from lib.site import COMPONENTS, Site
from lib.wait import until


@pytest.fixture
def tree():
    """A copy of the programs that can be overwritten."""
    top = copy_of_programs()
    yield top
    shutil.rmtree(top)


def test_upgrade(tree, tmp_path):
    port = free_port()
    directory = str(tmp_path / "run")
    os.mkdir(directory)
    with SinkProgram(directory, "-w", 2, port=port) as sink, \
            Site(routes=[f"{d} {port}^esmtp:[127.0.0.1]" for d in ("source.test", "src.test", *(f"d{i}.test" for i in range(10)))],
                 relay=[f"d{i}.test" for i in range(10)], settings=settings(), build=tree) as site:
        started = {c: inode(site.pids(c)[0]) for c in COMPONENTS}
        load = Load(directory, f"127.0.0.1:{site.port}", "-k", "-m", 10000000, "-s", 10, "-t", "u%n@d%d.test", "-D", 10, "-w", 5, "-T", 1000)
        # a build that cannot even start
        install_broken(tree)
        for c in COMPONENTS:
            old = site.kill(c)
            new = site.restarted(c, old)
            assert inode(new[0]) == started[c], f"{c} came back as another build"
            site.wait_ready()
        # the next real one: other bytes, same protocol
        install_other(tree, 1)
        old = {c: site.pids(c) for c in COMPONENTS}
        for c in COMPONENTS:
            new = site.restarted(c, site.kill(c))
            assert inode(new[0]) == started[c], f"{c} changed build without being asked"
            old[c] = new
            site.wait_ready()
        site.reload()
        for c in COMPONENTS:
            until(lambda: site.pids(c) and not set(site.pids(c)) & set(old[c]), f"{c} is replaced", 60)
            assert inode(site.pids(c)[0]) != started[c]
        site.wait_ready()
        load.process.terminate()
        figures = load.done()
        with site.client() as c:
            assert c.send_mail("probe@src.test", "probe@d0.test", message("probe")).code == 250
        site.wait_empty(60)
        sink.settled()
        sink.stop()
        verdict = judge(load.ledger, sink.arrivals, sink.reports, left=len(site.content_files()))
        print(verdict)
        assert not verdict.wrong, verdict
        assert figures["acked"] > 50
