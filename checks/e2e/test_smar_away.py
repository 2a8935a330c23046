"""smar is killed, and hangs, while mail flows: clients wait or get a 4xx and come again, qmgr asks again, nothing is lost or comes twice."""
import signal
import threading
import time

import pytest
from lib.client import Closed, message
from lib.dns import MX, A, Dns
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

KILLS = 5


@pytest.fixture(scope="module")
def dnsd():
    d = Dns()
    d.add("far.test", MX("mx.far.test", 10))
    d.add("mx.far.test", A("127.0.0.1"))
    yield d
    d.stop()


def make(sink, dnsd, **settings):
    return Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test", "far.test"], dns=dnsd.address,
                settings={"smtps.flags": "{ access }", "smtps.check_timeout": "5s", "smar.DNS_timeout": "2s", **settings})


class Sender(threading.Thread):
    """Sends until it is stopped, as a client does that comes again after a 4xx. What was accepted is remembered."""

    def __init__(self, site, name):
        super().__init__()
        self.site, self.name_, self.on, self.accepted, self.wrong = site, name, True, [], []

    def run(self):
        n = 0
        while self.on:
            tag = f"{self.name_}-{n}-"
            try:
                with self.site.client() as c:
                    if c.greeting.code != 220:
                        self.refused(c.greeting)
                        continue
                    r = c.mail("a@src.test")
                    if r.code == 250:
                        r = c.rcpt("b@local.test")
                    if r.code == 250:
                        r = c.cmd("DATA")
                    if r.code == 354:
                        r = c.finish(message(tag))
                    if r.code == 250:
                        self.accepted.append(tag)
                        n += 1
                    else:
                        self.refused(r)
            except (OSError, Closed, AssertionError) as e:
                self.wrong.append(repr(e))

    def refused(self, r):
        if not 400 <= r.code < 500:
            self.wrong.append(r)
        time.sleep(0.05)


def flow(site, sink, name, trouble):
    senders = [Sender(site, f"{name}{i}") for i in range(3)]
    for s in senders:
        s.start()
    try:
        until(lambda: all(s.accepted for s in senders), "mail flows")
        trouble(senders)
        counts = [len(s.accepted) for s in senders]
        until(lambda: all(len(s.accepted) > n for s, n in zip(senders, counts)), "mail flows again")
    finally:
        for s in senders:
            s.on = False
        for s in senders:
            s.join()
    wrong = [w for s in senders for w in s.wrong]
    assert not wrong, wrong[:5]
    tags = {t for s in senders for t in s.accepted}
    until(lambda: tags <= {m.subject() for m in sink.accepted}, "all that was accepted arrives")
    site.wait_empty()
    came = [m.subject() for m in sink.accepted if m.subject().startswith(name)]
    assert sorted(came) == sorted(tags), "each one once"


def test_killed_again_and_again(sink, dnsd):
    with make(sink, dnsd) as own:
        def kills(senders):
            for _ in range(KILLS):
                old = own.kill("smar")
                own.restarted("smar", old)
                counts = [len(s.accepted) for s in senders]
                until(lambda: all(len(s.accepted) > n for s, n in zip(senders, counts)), "mail flows between")
        flow(own, sink, "killed", kills)


def test_hangs_and_goes_on(sink, dnsd):
    """Longer than clients are kept waiting, shorter than the watchdog: nobody is restarted."""
    with make(sink, dnsd, **{"smtps.check_timeout": "2s"}) as own:
        old = own.pids("smar")

        def hang(senders):
            marks = own.log_marks()
            own.kill("smar", signal.SIGSTOP)
            try:
                until(lambda: "stat=4" in own.logs_since(marks)["smtps.log"], "clients are told to come again")
            finally:
                own.kill("smar", signal.SIGCONT)
        flow(own, sink, "hung", hang)
        assert own.pids("smar") == old


def test_hangs_for_ever(sink, dnsd):
    """The supervisor ends it, and mail goes on by itself."""
    with make(sink, dnsd, **{"smar.watchdog": "5s", "smtps.check_timeout": "2s"}) as own:
        def hang(senders):
            old = own.kill("smar", signal.SIGSTOP)
            own.restarted("smar", old)
        flow(own, sink, "dead", hang)


def test_queue_asks_again(sink, dnsd, tag):
    """A recipient whose route was asked for when smar died gets it from the next smar."""
    with make(sink, dnsd) as own:
        dnsd.silent = True
        try:
            with own.client() as c:
                c.begin("", "b@far.test")
                assert c.finish(message(tag)).code == 250
            until(lambda: ("far.test", "MX", "udp") in dnsd.asked, "smar asks")
            old = own.kill("smar")
            own.restarted("smar", old)
        finally:
            dnsd.silent = False
        n = len(dnsd.asked)
        until(lambda: ("far.test", "MX", "udp") in dnsd.asked[n:], "the next smar asks")
        assert not sink.reports(about=tag)
