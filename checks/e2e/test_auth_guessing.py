"""What guessing of passwords costs, and what it does not tell: limits and delays for a session, a client, a user."""
import threading
import time

import pytest
from lib import sasl
from lib.client import Client
from lib.sasl import MECHANISMS
from lib.wait import SLOW
from test_auth import db, make, PASSWORD, pytestmark, said, USERS, WRONG  # noqa: F401


def test_session_limit(db, sink):
    with make(db, sink, max_failures_per_session="3") as s, Client(s.port) as c:
        assert said(sasl.plain(c, "bob", "1")) == WRONG
        assert said(sasl.plain(c, "bob", "2")) == WRONG
        assert said(sasl.plain(c, "bob", "3")) == (421, "4.7.0 Too many failed attempts, closing")
        assert c.closes() == []


def timed(c, user, password, exchange=sasl.plain):
    began = time.monotonic()
    r = exchange(c, user, password)
    return r.code, time.monotonic() - began


def test_delays_grow(db, sink):
    with make(db, sink, failure_delay="1s", max_failure_delay="4s") as s, Client(s.port) as c:
        took = [timed(c, "bob", "x") for _ in range(4)]
        assert [code for code, _ in took] == [535] * 4
        assert all(t >= delay - 0.05 for (_, t), delay in zip(took, (1, 2, 4, 4))), took
        # neither the longest from the first, nor ever more than that: by seconds, because a busy machine is late
        assert took[0][1] < 4 * SLOW and took[3][1] < 8 * SLOW, took
        code, t = timed(c, "bob", PASSWORD)  # who knows it waits for nothing but his turn
        assert code == 235 and t < 8 * SLOW


@pytest.mark.parametrize("mech", ["PLAIN", "CRAM-MD5", "SCRAM-SHA-256"])
def test_time_tells_nothing(db, sink, mech):
    """A failure for a user who exists takes as long as for one who does not."""
    with make(db, sink, failure_delay="1s", max_failure_delay="1s") as s:
        took = {True: [], False: []}
        # all at once, each from an address of its own, so that nobody waits for another's turn
        jobs = [(i, known, Client(s.port, source=f"127.0.3.{2 * i + known + 1}")) for i in range(len(USERS)) for known in (False, True)]

        def guess(i, known, c):
            took[known].append(timed(c, USERS[i] if known else f"nobody{i}", "x", MECHANISMS[mech]))
        threads = [threading.Thread(target=guess, args=job) for job in jobs]
        [t.start() for t in threads]
        [t.join() for t in threads]
        [c.close() for _, _, c in jobs]
        assert {code for x in took.values() for code, _ in x} == {535}
        known, unknown = (min(t for _, t in took[x]) for x in (True, False))  # whatever else the machine does only adds to it
        assert known >= 0.95 and unknown >= 0.95
        assert abs(known - unknown) < 0.05 * SLOW, took


@pytest.mark.slow
def test_turns(db, sink):
    """Many sessions guess no faster than one."""
    with make(db, sink, failure_delay="1s", max_failure_delay="2s", max_failures_per_client="0") as s:
        with Client(s.port) as c:
            assert timed(c, "bob", "x")[0] == 535
        clients = [Client(s.port) for _ in range(6)]
        codes = []

        def guess(c):
            codes.append(sasl.plain(c, "bob", "x").code)
        began = time.monotonic()
        threads = [threading.Thread(target=guess, args=(c,)) for c in clients]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert time.monotonic() - began >= 2
        assert set(codes) <= {535, 421} and 535 in codes and 421 in codes, codes
        [c.close() for c in clients]


def test_clients_limit(db, sink):
    with make(db, sink, max_failures_per_client="3") as s:
        for _ in range(3):
            with Client(s.port, source="127.0.4.1") as c:
                assert said(sasl.plain(c, "bob", "x")) == WRONG
        with Client(s.port, source="127.0.4.1") as c:
            assert sasl.plain(c, "bob", PASSWORD).code == 421
            assert c.closes() == []
        with Client(s.port, source="127.0.4.2") as c:
            assert sasl.plain(c, "bob", PASSWORD).code == 235


def test_no_limit_for_webmail(db, sink):
    """Whose address may relay anyhow: its users do not lock each other out."""
    with make(db, sink, {"smtps.relay_from_local": "{ mta }"}, max_failures_per_client="2", max_failures_per_user="3") as s:
        with Client(s.port) as c:
            for i in range(5):
                assert said(sasl.plain(c, f"user{i}", "x")) == WRONG
            assert sasl.plain(c, "bob", PASSWORD).code == 235


def test_no_answer_for_ever(db, sink):
    """Attempts that come to nothing end as other commands do that do nothing."""
    with make(db, sink, {"smtps.max_nop_commands_between_transactions": "3"}, max_failures_per_user="1") as s, Client(s.port) as c:
        assert said(sasl.plain(c, "bob", "x")) == WRONG
        assert [sasl.plain(c, "bob", "x").code for _ in range(4)] == [454] * 3 + [421]
        assert c.closes() == []


@pytest.mark.parametrize("user", ["bob", "nobody"])
def test_users_limit(db, sink, user):
    """Whether there is such a user or not; and not from where the user has come in before."""
    with make(db, sink, max_failures_per_user="3") as s:
        with Client(s.port, source="127.0.5.1") as c:
            assert sasl.plain(c, "bob", PASSWORD).code == 235
        for i in range(3):
            with Client(s.port, source=f"127.0.5.{i + 2}") as c:
                assert said(sasl.plain(c, f" {user.upper()}@MX.test", "x")) == WRONG
        for exchange in (sasl.plain, sasl.login, sasl.cram_md5, sasl.digest_md5, sasl.scram):
            with Client(s.port, source="127.0.5.9") as c:
                assert said(exchange(c, user, PASSWORD)) == (454, "4.7.0 Too many failed attempts, try again later")
                c.stays()
        with Client(s.port, source="127.0.5.9") as c:
            assert sasl.plain(c, "ann", PASSWORD).code == 235
        with Client(s.port, source="127.0.5.1") as c:
            assert sasl.plain(c, "bob", PASSWORD).code == 235
