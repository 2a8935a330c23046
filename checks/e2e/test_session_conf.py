"""smtps_session_conf: in the access map: options for the sessions of a client, by its address and confirmed name."""
import os
import subprocess

import pytest
from lib.client import Client
from lib.dns import A, PTR
from lib.paths import BUILD
from lib.site import Site
from lib.socketmap import SocketMap
from lib.wait import until

pytestmark = pytest.mark.inside

LONG = " ".join(f"max_recipients_per_transaction = {i};" for i in range(120, 1, -1))
assert len(LONG) > 4000
ACCESS = f"""\
smtps_session_conf:127.0.0.2 max_recipients_per_transaction = 2; flags = {{ no_8bitmime, strict_ehlo_checks }};
smtps_session_conf:127.0.0.3 {LONG}
smtps_session_conf:127.0.1 max_message_size = 2KB;
smtps_session_conf:127.0.1.9 max_message_size = 3KB;
smtps_session_conf:named.example max_bad_commands_per_session = 1;
smtps_session_conf:.sub.example max_bad_commands_per_session = 2;
smtps_session_conf:127.0.0.20 require_tls {{ level = encrypted; }}
smtps_session_conf:127.0.0.21 require_tls {{ level = verified; violation = temporary; }}
smtps_session_conf:127.0.0.22 require_tls {{ min_bits = 128; violation = abort; }}
smtps_session_conf:127.0.0.30 flags = {{ submission }};
smtps_session_conf:127.0.0.31 relay_to = {{ far.test }};
smtps_session_conf:127.0.0.32 flags = {{ allow_loopback_relaying }};
smtps_session_conf:127.0.0.40 max_hop = 3;
smtps_session_conf:127.0.0.41 max_threads = 3;
smtps_session_conf:127.0.0.42 max_message_size = 1GB;
smtps_session_conf:127.0.0.43 flags = {{ delay_checks, nonsense }};
cltaddr:127.0.0.50 error:550 5.7.1 no
smtps_session_conf:127.0.0.50 flags = {{ delay_checks }};
cltresolve:no error:550 5.7.1 no name
cltaddr:127 cont
"""


@pytest.fixture(scope="module")
def site(sink, dns):
    for a, name in (("127.0.0.10", "named.example"), ("127.0.0.11", "a.sub.example"), ("127.0.0.12", "liar.example")):
        dns.add(".".join(reversed(a.split("."))) + ".in-addr.arpa", PTR(name))
        if name != "liar.example":
            dns.add(name, A(a))
    dns.add("12.0.0.127.in-addr.arpa", PTR("named.example"))
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    s.add("smtps", "flags = { access, session_conf };")
    s.add("smar", 'access_map { file = "@/access.cdb"; }')
    s.createmap("access.cdb", ACCESS.replace("cltresolve:no error:550 5.7.1 no name\n", "").replace("cltaddr:127 cont\n", ""), kind="access")
    with s:
        yield s


def at(site, source, **kw):
    return Client(site.port, source=source, **kw)


def accepted(c, n=6):
    assert c.mail("me@src.test").code == 250
    return [c.rcpt(f"r{i}@local.test").code for i in range(n)].count(250)


def test_limits_and_flags(site):
    with at(site, "127.0.0.2") as c:
        assert "8BITMIME" not in c.extensions and accepted(c, 4) == 2
        assert c.cmd("EHLO under_score").code == 501
    with at(site, "127.0.0.1") as c:
        assert "8BITMIME" in c.extensions and accepted(c) == 6
        assert c.cmd("EHLO under_score").code == 250


def test_long_text(site):
    with at(site, "127.0.0.3") as c:
        assert accepted(c, 4) == 2


def test_by_network(site):
    for source, size in (("127.0.1.1", "2048"), ("127.0.1.9", "3072"), ("127.0.0.1", "52428800")):
        with at(site, source) as c:
            assert c.extensions["SIZE"] == f"SIZE {size}"
    with at(site, "127.0.1.1") as c:
        c.begin("me@src.test", "you@local.test")
        assert c.finish(b"Subject: x\r\n\r\n" + b"x" * 70 * 40).code == 552 or c.finish
    with at(site, "127.0.1.1") as c:
        assert c.mail("me@src.test", " SIZE=2049").code == 552


def bad_commands(c):
    n = 0
    while c.cmd("FOO").code == 500:
        n += 1
    return n


def test_by_confirmed_name(site):
    for source, most in (("127.0.0.10", 1), ("127.0.0.11", 2)):
        with at(site, source) as c:
            assert bad_commands(c) == most
    with at(site, "127.0.0.12") as c:  # a name that does not lead back is none
        assert bad_commands(c) > 5


def test_tls_is_required(site):
    with at(site, "127.0.0.20") as c:
        r = c.mail("me@src.test")
        assert r.code == 530 and r.enhanced == "5.7.0" and "STARTTLS" in r.text, r
        c.stays()
    with at(site, "127.0.0.21") as c:
        r = c.mail("me@src.test")
        assert r.code == 450, r
        c.stays()
    with at(site, "127.0.0.22") as c:
        r = c.mail("me@src.test")
        assert r.code == 421, r
        assert not c.closes()


def test_relaying(site):
    with at(site, "127.0.0.30") as c:
        assert c.mail("me@src.test").code == 530
    with at(site, "127.0.0.31") as c:
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 250 and c.rcpt("you@other.test").code == 550
    with at(site, "127.0.0.32") as c:
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 250
    with at(site, "127.0.0.1") as c:
        assert c.mail("me@src.test").code == 250 and c.rcpt("you@far.test").code == 550


def test_it_is_in_force_for_the_connection_as_well(site):
    """delay_checks: what cltaddr: refuses is said at RCPT."""
    with at(site, "127.0.0.50") as c:
        assert c.greeting.code == 220 and c.mail("me@src.test").code == 250 and c.rcpt("you@local.test").code == 550


@pytest.mark.parametrize("source,why", [("127.0.0.40", "did you mean max_hops"), ("127.0.0.41", "max_threads cannot differ between sessions"),
                                        ("127.0.0.42", "larger than that of the server"), ("127.0.0.43", "nonsense")])
def test_what_is_none(site, source, why):
    """Nobody is served by half of a configuration: a temporary error, and a line in the log that says what is wrong."""
    marks = site.log_marks()
    with at(site, source, helo=None) as c:
        assert c.greeting.code == 421 and c.greeting.enhanced == "4.3.5", c.greeting
        assert not c.closes()
    until(lambda: any(" ss.session_conf " in t and why in t for t in site.logs_since(marks).values()), lambda: f"{why}: {site.logs_since(marks)}")


def test_smarctl(site):
    def check(client, *more):
        r = subprocess.run([os.path.join(site.dir, "smarctl"), "check", "--client", client, "--from", "me@src.test", "--to", "you@far.test", *more],
                           capture_output=True, text=True)
        return r.stdout + r.stderr
    text = check("127.0.0.31")
    assert "smtps_session_conf:127.0.0.31 -> relay_to" in text and "configuration of the session: relay_to" in text, text
    assert "=> 250 2.1.5" in text
    assert "=> 550 5.7.1" in check("127.0.0.1")
    assert "=> 530 5.7.0" in check("127.0.0.20")
    text = check("127.0.0.41")
    assert "=> 421 4.3.5" in text and "max_threads cannot differ" in text, text


def test_createmap_checks_the_grammar(site, tmp_path):
    def make(line):
        return subprocess.run([os.path.join(BUILD, "createmap"), "-k", "access", str(tmp_path / "x.cdb")], input=line, text=True, capture_output=True)
    for bad, why in (("smtps_session_conf:10 max_hops = 3", "missing"), ("smtps_session_conf:10 flags = { a;", "expected"),
                     ("smtps_session_conf:a@b x = 1;", "never be looked up"), ("smtps_session_conf:10 " + "max_hops = 3; " * 700, "at most 8192")):
        r = make(bad + "\n")
        assert r.returncode != 0 and why in r.stderr, r.stderr
    assert make("smtps_session_conf:10 max_hops = 3;\nsmtpc_session_conf:mx.example tls { level = verify; }\nsmtpc_rcpt_conf:a@b tls { level = encrypt; }\n").returncode == 0


def test_without_the_flag_nothing_is_asked(sink, dns):
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    s.add("smtps", "flags = { access };")
    s.add("smar", 'access_map { file = "@/access.cdb"; }')
    s.createmap("access.cdb", "smtps_session_conf:127.0.0.1 max_recipients_per_transaction = 2;\n", kind="access")
    with s, s.client() as c:
        assert accepted(c) == 6


@pytest.mark.parametrize("answer,why", [("TEMP not now", "not now"), ("PERM who are you", "who are you"), ("OK max_hops", "expected"),
                                        ("OK " + "max_hops = 3; " * 700, "at most 8192")], ids=["temp", "perm", "syntax", "long"])
def test_a_map_that_fails(sink, dns, answer, why):
    """Who cannot be looked up, or only gets nonsense, is told to come again: at once, also with delay_checks, and not served by defaults."""
    server = SocketMap()
    server.answers["smtps_session_conf:127.0.0.9"] = answer
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    s.add("smtps", "flags = { access, session_conf, delay_checks };")
    s.add("smar", f"map sock {{ type = socket; mapname = access; address = 127.0.0.1; port = {server.port}; }} access_map {{ name = sock; }}")
    try:
        with s:
            with at(s, "127.0.0.9", helo=None) as c:
                assert c.greeting.code == 421 and c.greeting.enhanced == "4.3.0", c.greeting
                assert not c.closes()
            line = until(lambda: s.log_lines("smar", "ar.access"), "smar says why")[-1]
            assert "smtps_session_conf:127.0.0.9" in line and why in line, line
            with at(s, "127.0.0.8") as c:
                assert c.greeting.code == 220
    finally:
        server.stop()
