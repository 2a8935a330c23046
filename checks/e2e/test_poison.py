"""A mail that crashes whoever works on it is held after the second time, and the others flow (testing builds: fault points by recipient)."""
import json

import pytest
from lib.client import message
from lib.paths import free_port, is_testing_build
from lib.sink import Sink
from lib.site import Site
from lib.wait import until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not is_testing_build(), reason="needs fault points (--enable-testing)")]

FAST = {"qmgr.retry_min_delay": "1s", "qmgr.retry_max_delay": "2s", "smtpc.restart_min_delay": "10ms", "smtpc.restart_max_delay": "100ms",
        "smar.restart_min_delay": "10ms", "smar.restart_max_delay": "100ms"}


@pytest.mark.parametrize("worker,event", [("smtpc", "delivery agent"), ("smar", "address resolver")])
def test_held_after_two_crashes(worker, event):
    port = free_port()
    with Sink(port) as sink, Site(routes=[f"good.test {port}^esmtp:[127.0.0.1]", f"bad.test {port}^esmtp:[127.0.0.1]"],
                                  relay=["good.test", "bad.test"], settings=FAST,
                                  environment={"SM_FAULTS": f"{worker}.rcpt:poison@bad.test=abort"}) as site:
        with site.client() as c:
            assert c.send_mail("s@src.test", "poison@bad.test", message("poison")).code == 250
            for i in range(10):
                assert c.send_mail("s@src.test", f"u{i}@bad.test", message(f"fine-{i}")).code == 250
        for i in range(10):
            sink.wait(f"fine-{i}", timeout=60)
        lines = until(lambda: site.log_lines("qmgr", "qm.poison"), lambda: f"it is held\n{site.log_tail()}", 60)
        assert "poison@bad.test" in lines[0] and event in lines[0]
        assert len(site.log_lines("qmgr", "qm.suspect")) == 1
        pids = until(lambda: site.pids(worker), "the worker is back", 60)
        # held: whatever else happens, it is not tried any more
        site.qmgrctl("flush", check=False)
        site.canary(sink, "canary@good.test", timeout=60)
        assert site.pids(worker) == pids
        until(lambda: len(site.content_files()) == 1, "only the held one is left", 60)
        until(lambda: len([json.loads(x) for x in site.qmgrctl("-j", "list").splitlines()]) == 1, "and listed", 60)
