"""LIMITS (RFC 9422): what we say is our configuration, and what others say is kept to."""
import pytest
from lib.client import message
from lib.sink import Serve, Sink
from lib.site import Site

pytestmark = pytest.mark.inside


def ehlo(limits):
    return b"250-sink.test\r\n250-PIPELINING\r\n250-LIMITS " + limits + b"\r\n250 SIZE\r\n"


class Strict(Sink):
    """Takes its own limits seriously: 452 for a recipient too many, 421 for a MAIL too many."""

    def __init__(self, limits):
        self.limits = {k: int(v) for k, v in (x.split("=") for x in limits.split())}
        super().__init__()
        self.default = Serve({"EHLO": ehlo(limits.encode())})

    def transactions(self):
        """Of each connection, in order: the recipients of each MAIL."""
        out = {}
        for n, line in self.commands:
            verb = line[:4].upper()
            if verb == b"MAIL":
                out.setdefault(n, []).append([])
            elif verb == b"RCPT":
                out[n][-1].append(line.split(b"<")[1].split(b">")[0].decode())
        return list(out.values())


@pytest.fixture
def server(request):
    with Strict(request.param) as s:
        yield s


@pytest.fixture
def limits_site(server):
    with Site(routes=[f"{d} {server.port}^esmtp:[127.0.0.1]" for d in ("a.test", "b.test", "c.test", "src.test")],
              relay=["a.test", "b.test", "c.test"], settings={"smtpc.session_idle_timeout": "0s"}) as s:
        yield s


def send(site, server, tag, rcpts):
    with site.client() as c:
        assert c.send_mail("x@src.test", rcpts, message(tag)).code == 250
    server.wait(lambda m: m.subject() == tag and rcpts[-1] in m.rcpts)
    got = sorted(r for m in server.find(tag) for r in m.rcpts)
    assert got == sorted(rcpts), "each once"


def users(*domains):
    return [f"u{i}@{d}" for d in domains for i in range(5)]


@pytest.mark.parametrize("server", ["RCPTMAX=2"], indirect=True)
def test_rcptmax(limits_site, server, tag):
    """One session, as many transactions as it takes."""
    send(limits_site, server, tag, users("a.test"))
    sessions = server.transactions()
    assert [len(t) for t in sessions[0]] == [2, 2, 1] and len(sessions) == 1


@pytest.mark.parametrize("server", ["RCPTMAX=2 MAILMAX=2"], indirect=True)
def test_mailmax(limits_site, server, tag):
    """What is left has another session, at once."""
    send(limits_site, server, tag, users("a.test"))
    assert [[len(t) for t in s] for s in server.transactions()] == [[2, 2], [1]]


@pytest.mark.parametrize("server", ["MAILMAX=1"], indirect=True)
def test_one_mail_a_session(server, tag):
    """A session that is used up is not kept, and not given to the next mail."""
    with Site(routes=[f"a.test {server.port}^esmtp:[127.0.0.1]"], relay=["a.test"], settings={"smtpc.session_idle_timeout": "60s"}) as s:
        for i in range(3):
            with s.client() as c:
                assert c.send_mail("x@src.test", "u@a.test", message(f"{tag}-{i}")).code == 250
            server.wait(f"{tag}-{i}")
    assert [len(x) for x in server.transactions()] == [1, 1, 1]


@pytest.mark.parametrize("server", ["RCPTDOMAINMAX=1"], indirect=True)
def test_rcptdomainmax(server, tag):
    """Domains that share a next hop share transactions, unless it does not want that."""
    with Site(routes=[f". {server.port}^esmtp:[127.0.0.1]"], relay=["a.test", "b.test"], settings={"smtpc.session_idle_timeout": "0s"}) as s:
        send(s, server, tag, users("a.test", "b.test"))
    per = [t for x in server.transactions() for t in x if t[0] != "x@src.test"]
    assert sorted(len(t) for t in per) == [5, 5]
    assert all(len({r.split("@")[1] for r in t}) == 1 for t in per)


@pytest.mark.parametrize("server", ["RCPTMAX=0 MAILMAX=00 RCPTDOMAINMAX=9999999 FUTURE=1"], indirect=True)
def test_nonsense_limits_nothing(limits_site, server, tag):
    send(limits_site, server, tag, users("a.test"))
    assert [[len(t) for t in s] for s in server.transactions()] == [[5]]


def test_what_we_say():
    """And keep: the next recipient is refused with 452, the next MAIL with 421."""
    with Sink() as sink, Site(routes=[f"a.test {sink.port}^esmtp:[127.0.0.1]"], relay=["a.test"],
                              settings={"smtps.max_recipients_per_transaction": "3", "smtps.max_transactions": "2"}) as s, s.client() as c:
        words = dict(x.split("=") for x in c.extensions["LIMITS"].split()[1:])
        assert words == {"MAILMAX": "2", "RCPTMAX": "3"}
        for _ in range(2):
            assert c.mail("x@src.test").code == 250
            assert [c.rcpt(f"u{i}@a.test").code for i in range(4)] == [250, 250, 250, 452]
            assert c.cmd("RSET").code == 250
        assert c.mail("x@src.test").code == 421
