"""Real programs at both ends: swaks and Postfix's smtp-source send, Dovecot's LMTP service takes, byte for byte."""
import os
import shutil
import subprocess

import pytest
from lib import dovecot
from lib.contents import CONTENTS
from lib.debian import Unavailable, smtp_source
from lib.dns import A, AAAA, Dns, MX
from lib.paths import is_testing_build
from lib.sink import Message
from lib.site import Site
from lib.wait import SLOW, until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not dovecot.available(), reason="no Dovecot with LMTP (dovecot-lmtpd)")]

# how a domain reaches Dovecot; {port} is its LMTP port
ROUTES = {
    "unix.test": "lmtp:",
    "inet.test": "{port}^lmtp:[127.0.0.1]",
    "inet6.test": "{port}^lmtp:[IPv6:::1]",
    "named.test": "{port}^lmtp:mailbox.host.test",
    "named6.test": "{port}^lmtp:mailbox6.host.test",
    "spare.test": "{port}^lmtp:[127.0.0.99] [127.0.0.1]",
}


@pytest.fixture(scope="module")
def mailbox():
    with dovecot.Dovecot() as d:
        yield d


@pytest.fixture(scope="module")
def site(mailbox, sink):
    names = Dns()
    names.add("mailbox.host.test", A("127.0.0.1"))
    # LMTP is for this very host (RFC 2033): no exchangers
    names.add("mailbox.host.test", MX("elsewhere.test", 10))
    names.add("mailbox6.host.test", AAAA("::1"))
    with Site(routes=[f"{d} {rhs.format(port=mailbox.port)}" for d, rhs in ROUTES.items()] +
              [f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("sink.test", "src.test")],
              relay=[*ROUTES, "sink.test", "src.test"], dns=names.address,
              settings={"smtpc.LMTP_socket": mailbox.socket, "smtps.max_message_size": "20480"},
              environment={"SM_TEST_LOOPBACK": "1"}) as s:
        yield s
    names.stop()


_users = iter(dovecot.USERS)


@pytest.fixture
def user():
    """A mailbox of this test's own."""
    return next(_users)


def original(mail):
    """Without the fields that hops have put in front."""
    return Message("", [], mail, b"", 0).without_trace()


@pytest.fixture(scope="module")
def source():
    try:
        program, environment = smtp_source()
    except Unavailable as e:
        pytest.skip(str(e))

    def run(site, *args):
        r = subprocess.run([program, *args, f"inet:127.0.0.1:{site.port}"], env=environment, timeout=120 * SLOW, capture_output=True, text=True)
        assert r.returncode == 0, r.stderr
    return run


def swaks(site, *args, check=True):
    if not shutil.which("swaks"):
        pytest.skip("no swaks")
    r = subprocess.run(["swaks", "--server", f"127.0.0.1:{site.port}", "--helo", "swaks.test", "--timeout", "60", *args],
                       timeout=120 * SLOW, capture_output=True, text=True, errors="replace")
    assert not check or r.returncode == 0, f"{r.stdout[-2000:]}\n{r.stderr}"
    return r


@pytest.mark.parametrize("domain", ROUTES)
def test_each_route(site, mailbox, user, domain):
    if domain.startswith("named") and not is_testing_build():
        pytest.skip("only a testing build lets DNS name loopback addresses")
    with site.client() as c:
        assert c.send_mail("a@src.test", f"{user}@{domain}", CONTENTS["dots"]).code == 250
    mail, = mailbox.wait(user)
    assert original(mail) == CONTENTS["dots"]
    assert b"Return-Path: <a@src.test>\r\n" in mail
    assert f"Delivered-To: {user}@{domain}\r\n".encode() in mail
    site.wait_empty()


@pytest.mark.parametrize("name", CONTENTS)
def test_each_content(site, mailbox, user, name):
    with site.client() as c:
        assert c.send_mail("a@src.test", f"{user}@unix.test", CONTENTS[name]).code == 250
    mail, = mailbox.wait(user, timeout=60)
    assert original(mail) == CONTENTS[name]


@pytest.mark.parametrize("name", ["small", "dots", "utf8", "5mb"])
def test_swaks(site, mailbox, user, tmp_path, name):
    path = tmp_path / "content"
    path.write_bytes(CONTENTS[name])
    swaks(site, "--from", "a@src.test", "--to", f"{user}@unix.test", "--data", f"@{path}")
    mail, = mailbox.wait(user, timeout=60)
    # swaks ends the data by a line end of its own
    assert original(mail).rstrip(b"\r\n") == CONTENTS[name].rstrip(b"\r\n")


def test_swaks_pipelining(site, mailbox, user):
    """--pipeline sends MAIL, RCPTs and DATA in one go."""
    other = next(_users)
    swaks(site, "--pipeline", "--from", "a@src.test", "--to", f"{user}@unix.test,{other}@inet.test", "--body", "in one go")
    for u in (user, other):
        mail, = mailbox.wait(u)
        assert b"in one go" in mail


def test_swaks_refused(site):
    """No relay: swaks's exit status 24 means that no recipient was accepted."""
    r = swaks(site, "--from", "a@src.test", "--to", "x@elsewhere.example", check=False)
    assert r.returncode == 24 and "550 5.7.1" in r.stdout, r.stdout


def test_smtp_source(site, mailbox, source, tmp_path):
    """Many at once, a connection for each and kept ones, all of the right bytes."""
    path = tmp_path / "content"
    path.write_bytes(CONTENTS["dots"].replace(b"\r\n", b"\n"))  # it wants Unix lines
    for args in (["-s", "10", "-m", "50"], ["-d", "-s", "5", "-m", "50"]):
        user = next(_users)
        source(site, *args, "-F", str(path), "-f", "a@src.test", "-t", f"{user}@unix.test")
        mails = mailbox.wait(user, 50, 60)
        # it puts an empty line before the final dot
        assert len(mails) == 50 and {original(m) for m in mails} == {CONTENTS["dots"] + b"\r\n"}
    site.wait_empty()


def test_smtp_source_recipients(site, sink, source, user):
    """-r 5 numbers the recipients of each message: NAME, 2NAME to 5NAME."""
    source(site, "-s", "2", "-m", "4", "-r", "5", "-l", "2000", "-f", f"many-{user}@src.test", "-t", f"{user}@sink.test")
    found = sink.wait(lambda m: m.sender == f"many-{user}@src.test", 4)
    assert [sorted(m.rcpts) for m in found] == [[*(f"{i}{user}@sink.test" for i in range(2, 6)), f"{user}@sink.test"]] * 4
    site.wait_empty()


def test_two_routes(site, mailbox, sink, user, tag):
    """One message, five recipients, four routes: each gets it once."""
    users = [user, *(next(_users) for _ in range(3))]
    content = CONTENTS["utf8"].replace(b"Subject: contents", b"Subject: " + tag.encode())
    with site.client() as c:
        assert c.send_mail("a@src.test", [f"{users[0]}@unix.test", f"{users[1]}@unix.test", f"{users[2]}@inet.test", f"{users[3]}@inet6.test",
                                          "x@sink.test"], content).code == 250
    m, = sink.wait(tag)
    assert m.rcpts == ["x@sink.test"] and m.without_trace() == content
    for u in users:
        mail, = mailbox.wait(u)
        assert original(mail) == content
    site.wait_empty()
    assert all(len(mailbox.mail(u)) == 1 for u in users) and len(sink.find(tag)) == 1


def test_one_of_two_refused(site, mailbox, sink, user):
    """LMTP answers for each recipient: one is delivered, the other reported, once."""
    sender = f"refused-{user}@src.test"
    with site.client() as c:
        assert c.send_mail(sender, [f"{user}@unix.test", "nobody-of-this-name@unix.test"], CONTENTS["small"]).code == 250
    mailbox.wait(user)
    until(lambda: sink.reports(sender), "the report", 20)
    site.wait_empty()
    report, = sink.reports(sender)
    assert b"nobody-of-this-name@unix.test" in report.content and f"{user}@unix.test".encode() not in report.content
    assert b"Status: 5.1.1" in report.content
    assert len(mailbox.mail(user)) == 1


def test_dovecot_away(user):
    """Mail waits while the delivery agent is away, and is delivered when it is back."""
    with dovecot.Dovecot() as d, Site(routes=["away.test lmtp:"], relay=["away.test"], settings={"smtpc.LMTP_socket": d.socket}) as s:
        d.stop()
        with s.client() as c:
            assert c.send_mail("a@src.test", f"{user}@away.test", CONTENTS["small"]).code == 250
        until(lambda: "stat=deferred" in s.log_tail(1000), lambda: s.log_tail(40), 15)
        assert len(s.content_files()) == 1
        d.start()
        mail, = d.wait(user, timeout=30)
        assert original(mail) == CONTENTS["small"]
        s.wait_empty()
