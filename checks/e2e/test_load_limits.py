"""Clients wait, or are refused, while the host works hard, while much waits in the queue, and while the disk is short: what was accepted goes on."""
import os
import re
import time

import pytest
from lib.client import message
from lib.paths import free_port, is_testing_build
from lib.sink import Sink
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

DELAY = 2


def greeting(site):
    """The code of a new session's greeting, its text, and the seconds that it took."""
    start = time.monotonic()
    with site.client(helo=None) as c:
        return c.greeting.code, c.greeting.text, time.monotonic() - start


def is_told(site, what, stat):
    lines = site.log_lines("smtps", "ss.pressure")
    return any(f"what={what}, stat={stat}" in x for x in lines[-1:])


@pytest.mark.skipif(not is_testing_build(), reason="needs a testing build")
def test_load_average(sink, tmp_path, tag):
    path = tmp_path / "loadavg"
    for d in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(d, 0o755)

    def load(number, stat):
        path.write_text(f"{number} 1.00 1.00 1/100 1000\n")
        until(lambda: is_told(s, "load", stat), f"smtps knows that the load is {number}")
    path.write_text("0.10 1.00 1.00 1/100 1000\n")
    with Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], environment={"SM_TEST_LOADAVG": str(path)},
              settings={"smtps.delay_LA": "4", "smtps.refuse_LA": "8", "smtps.load_delay": f"{DELAY}s"}) as s:
        with s.client() as before:
            load("4.00", "delay")
            code, _, took = greeting(s)
            assert code == 220 and took >= DELAY
            load("12.50", "refuse")
            code, text, took = greeting(s)
            assert code == 421 and text.startswith("4.3.2 Load") and took < DELAY
            assert before.send_mail("a@src.test", "b@local.test", message(tag)).code == 250, "a session that was open goes on"
            sink.wait(tag)
            load("0.90", "none")
            assert greeting(s)[0] == 220


def test_much_waits(tag):
    with Sink() as sink:
        away = free_port()
        with Site(routes=[f"far.test {away}^esmtp:[127.0.0.1]", f". {sink.port}^esmtp:[127.0.0.1]"], relay=["far.test", "local.test"],
                  settings={"smtps.delay_waiting": "10", "smtps.refuse_waiting": "30", "smtps.load_delay": f"{DELAY}s"}) as s:
            with s.client() as before:
                def send(n, domain="far.test"):
                    return before.send_mail("a@src.test", [f"u{i}@{domain}" for i in range(n)], message(tag)).code
                assert send(12) == 250
                until(lambda: is_told(s, "queue", "delay"), "smtps knows how much waits")
                code, _, took = greeting(s)
                assert code == 220 and took >= DELAY
                assert send(20) == 250
                until(lambda: is_told(s, "queue", "refuse"), "smtps knows how much waits")
                code, text, _ = greeting(s)
                assert code == 421 and "Too much mail waits" in text
                r = before.mail("a@src.test")
                assert r.code == 452 and "Too much mail waits" in r.text
                s.kill("qmgr")  # it comes back with what waits, and says so again
                until(lambda: before.mail("a@src.test").text.startswith("4.3.1 Too much mail waits"), "still too much", every=0.3)
                s.qmgrctl("remove", "rcpt=u*@far.test")
                until(lambda: is_told(s, "queue", "none"), "smtps knows that less waits")
                assert greeting(s)[0] == 220
                assert send(1, "local.test") == 250
            assert sink.wait(tag)


def test_the_disk_is_short(tag):
    """Receiving stops before delivering does: what is in the queue leaves. An instance with another limit on the same disk takes mail."""
    st = os.statvfs("/tmp")
    free_kb = st.f_bavail * st.f_frsize // 1024
    settings = {"qmgr.min_disk_space": "1000KB", "qmgr.ok_disk_space": "2000KB"}
    sink = Sink()
    sink.stop()
    with Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], settings=settings) as rx:
        with rx.client() as c:
            assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
        until(lambda: rx.log_lines("smtpc", "sc.session_failed"), "it waits")
        with open(rx.conf) as f:
            conf = f.read()
        conf, n = re.subn(r'(min|ok)_disk_space = "[^"]*"', lambda m: f'{m.group(1)}_disk_space = "{10 * free_kb}KB"', conf)
        assert n == 2
        with open(rx.conf, "w") as f:
            f.write(conf)
        rx.reload()

        def refused():
            with rx.client() as c:
                r = c.mail("a@src.test")
                return r.code == 452 and "4.3.1" in r.text
        until(refused, "new mail is refused", every=0.2)
        with Sink(sink.port) as back:
            until(lambda: rx.qmgrctl("flush", "all", check=False) is not None and back.accepted, "what is there leaves", every=0.5)
            assert refused()
            with Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], settings=settings) as tx:
                tx.canary(back)
