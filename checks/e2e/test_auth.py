"""AUTH against real Cyrus SASL: sasldb and a private saslauthd; what a client becomes by it, and what users may send."""
import base64
import os
import re
import shutil
import smtplib
import subprocess
import tempfile

import pytest
from lib import sasl
from lib.certs import Certs
from lib.client import Client, message
from lib.paths import build_says
from lib.programs import Load
from lib.sasl import MECHANISMS, Sasl, Saslauthd, b64
from lib.site import Site
from lib.smarctl import Ctl
from lib.wait import until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not sasl.available(), reason="no saslpasswd2"),
              pytest.mark.skipif(not build_says("#define SM_HAVE_SASL 1"), reason="built without Cyrus SASL")]

PASSWORD = "Tr0ub4dor&3"
USERS = ("bob", "ann", "carl", "dora", "emil")
PLAINTEXT = {"PLAIN", "LOGIN"}
TRUSTED = {"PLAIN", "CRAM-MD5", "SCRAM-SHA-256"}
WRONG = (535, "5.7.8 Authentication credentials invalid")


@pytest.fixture(scope="module")
def db():
    d = tempfile.mkdtemp(prefix="smx-sasl-")
    yield Sasl(d, users=[(u, PASSWORD) for u in USERS])
    shutil.rmtree(d, ignore_errors=True)


def make(db, sink, settings=None, more=None, **auth):
    auth = {"trusted_mechs": "{ " + ", ".join(sorted(TRUSTED)) + " }", "max_failures_per_session": "1000", "max_failures_per_client": "0",
            "max_failures_per_user": "0", **auth}
    return Site(routes=["local.test lmtp:", f"far.test {sink.port}^esmtp:[127.0.0.1]"], lmtp_agent=True,
                settings={**db.settings(**auth), "smtps.max_bad_commands_per_session": "1000",
                          "smtps.max_bad_commands_per_transaction": "1000", **(settings or {})}, **(more or {}))


@pytest.fixture(scope="module")
def site(db, sink):
    with make(db, sink, {"qmgr.smtps.max_messages_per_user": "5"}) as s:
        yield s


def said(r):
    return r.code, r.text


def may_relay(c):
    """Whether a recipient of others is taken."""
    assert c.mail("s@src.test").code == 250
    r = c.rcpt("u@far.test")
    assert c.cmd("RSET").code == 250
    assert r.code in (250, 550), r
    return r.code == 250


# ---- who is let in ----

def test_offered(site):
    with Client(site.port) as c:
        offered = c.extensions["AUTH"].split()[1:]
    assert set(MECHANISMS) <= set(offered)
    assert "ANONYMOUS" not in offered and "NTLM" not in offered  # installed, but not in the allow-list
    assert len(set(offered)) == len(offered)


@pytest.mark.parametrize("mech", MECHANISMS)
def test_mechanism(site, mech):
    exchange = MECHANISMS[mech]
    with Client(site.port) as c:
        assert said(exchange(c, "bob", "wrong")) == WRONG
        assert said(exchange(c, "nobody", PASSWORD)) == WRONG
        assert not may_relay(c)
        assert exchange(c, "bob", PASSWORD).code == 235
        assert may_relay(c) == (mech in TRUSTED)
    line = site.log_lines("smtps", "ss.auth")[-1]
    assert f"auth={mech}" in line and "user=bob" in line and "stat=235" in line


def test_smarctl_knows_what_comes_of_it(site):
    ctl = Ctl(site)
    dialogue = ("--client", "127.0.0.1", "--from", "s@src.test", "--to", "u@far.test")
    assert ctl.told(*dialogue, status=1)[-1] == ("rcpt", 550)
    for mech in MECHANISMS:
        relays = mech in TRUSTED
        assert ctl.told(*dialogue, "--auth", mech.lower(), status=0 if relays else 1)[1:] == [
            ("auth", 235), ("mail", 250), ("rcpt", 250 if relays else 550)], mech
    assert ctl.told(*dialogue, "--auth", "NTLM", status=1)[-1] == ("auth", 504)


@pytest.mark.parametrize("mech", [m for m in MECHANISMS if m.startswith("SCRAM")])
def test_unknown_users_are_asked_as_well(site, mech):
    """SCRAM tells the user's salt before it sees a proof: who does not exist has one, too, and always the same."""
    def first(user):
        with Client(site.port) as c:
            r = sasl.scram(c, user, "x", mech, stop_at=1)
            assert r.code == 334, r
            assert c.cmd("*").code == 501
        return dict(x.split("=", 1) for x in base64.b64decode(r.text).decode().split(","))
    known, unknown = first("bob"), first("nobody")
    assert known.keys() == unknown.keys() and known["i"] == unknown["i"] and len(known["s"]) == len(unknown["s"])
    assert known["s"] != unknown["s"] and known["s"] == first("bob")["s"] and unknown["s"] == first("nobody")["s"]


def test_initial_responses(site):
    with Client(site.port) as c:
        assert sasl.plain(c, "ann", PASSWORD, initial=False).code == 235
    with Client(site.port) as c:
        r = c.cmd("AUTH login " + b64("ann"))  # names of mechanisms fold case
        assert r.code == 334 and base64.b64decode(r.text) == b"Password:"
        assert c.cmd(b64(PASSWORD)).code == 235
    with Client(site.port) as c:
        assert c.cmd("AUTH CRAM-MD5 " + b64("ann x")).code == 501  # the server speaks first there
        assert c.cmd("AUTH PLAIN =").code in (501, 535)
        assert c.cmd("AUTH SCRAM-SHA-256 =").code in (334, 501, 535)  # Cyrus SASL asks again
        assert c.cmd("*").code in (500, 501)
        c.stays()


def test_as_another(site):
    """Nobody acts for others."""
    with Client(site.port) as c:
        assert said(sasl.plain(c, "bob", PASSWORD, authzid="ann")) == WRONG
        assert sasl.plain(c, "bob", PASSWORD, authzid="bob").code == 235


def test_fifty_rounds(site):
    """Each attempt is a new one: wrong, cancelled and senseless ones of all mechanisms leave nothing behind (CVE-2011-1720)."""
    with Client(site.port) as c:
        for i in range(50):
            mech = list(MECHANISMS)[i % len(MECHANISMS)]
            if i % 3 == 0:
                r = c.cmd("AUTH " + mech)
                assert r.code == 334
                assert said(c.cmd("*")) == (501, "5.7.0 Authentication cancelled")
            elif i % 3 == 1:
                assert said(MECHANISMS[mech](c, "bob", f"wrong{i}")) == WRONG
            else:
                assert c.cmd("AUTH " + mech).code == 334
                assert c.cmd(b64("\0\0\0")).code in (334, 501, 535)
                if c.replies[-1].code == 334:
                    assert c.cmd(b64("x")).code in (501, 535)
        assert sasl.plain(c, "bob", PASSWORD).code == 235


# ---- what a session becomes ----

def test_relays_and_says_so(site, sink, tag):
    with Client(site.port) as c:
        assert sasl.cram_md5(c, "ann", PASSWORD).code == 235
        assert c.cmd("RSET").code == 250
        assert c.send_mail("ann@src.test", "u@far.test", message(tag)).code == 250
        c.ehlo()
        assert "AUTH" not in c.extensions
        assert c.cmd("AUTH PLAIN =").code == 503
        assert c.send_mail("ann@src.test", "u@far.test", message(tag + "-2")).code == 250
    got = sink.wait(tag)[0]
    assert re.search(rb"by \S+ \(smx \S+\) with ESMTPA\r\n", got.content), got.content[:500]
    line = [x for x in site.log_lines("smtps", "ss.mail") if "user=ann" in x][-1]
    assert "auth=CRAM-MD5" in line


def test_order(site):
    with Client(site.port, helo=None) as c:
        assert c.cmd("AUTH PLAIN " + b64(f"\0bob\0{PASSWORD}")).code == 503
        c.ehlo()
        assert c.mail("s@src.test").code == 250
        assert c.cmd("AUTH PLAIN " + b64(f"\0bob\0{PASSWORD}")).code == 503
        assert c.cmd("RSET").code == 250
        assert sasl.plain(c, "bob", PASSWORD).code == 235
        assert said(sasl.plain(c, "bob", PASSWORD)) == (503, "5.5.1 Already authenticated")
        assert c.cmd("RSET").code == 250
        assert may_relay(c)


def test_nothing_behind_it(site):
    """AUTH is the last of a group: what is pipelined behind it is never run."""
    with Client(site.port) as c:
        c.send(f"AUTH PLAIN {b64('x')}\r\nMAIL FROM:<a@src.test>\r\n")
        assert [r.code for r in c.closes()] == [421]
    with Client(site.port) as c:
        assert c.cmd("AUTH LOGIN").code == 334
        c.send(f"{b64('bob')}\r\n{b64(PASSWORD)}\r\n")
        assert [r.code for r in c.closes()] == [421]


# ---- what clients send ----

@pytest.mark.parametrize("line, code, enhanced", [
    ("AUTH", 501, "5.5.4"),
    ("AUTH  PLAIN", 501, "5.5.4"),
    ("AUTH NONE", 504, "5.5.4"),
    ("AUTH ANONYMOUS", 504, "5.5.4"),
    ("AUTH " + "X" * 21, 501, "5.5.4"),
    ("AUTH PLA/IN", 501, "5.5.4"),
    ("AUTH PLAIN !!!!", 501, "5.5.2"),
    ("AUTH PLAIN AA", 501, "5.5.2"),
    ("AUTH PLAIN AA==AAAA", 501, "5.5.2"),
    ("AUTH PLAIN AAAB AAAB", 501, "5.5.2"),
    ("AUTH PLAIN AB==", 501, "5.5.2"),  # bits left over
    ("AUTH PLAIN " + b64("no nul at all"), 501, "5.5.2"),
    ("AUTH PLAIN " + b64("\0\0"), 501, "5.5.2"),
    ("AUTH PLAIN " + b64("\0\0secret"), 535, "5.7.8"),
    ("AUTH PLAIN " + b64("a\0b\0c\0d"), 535, "5.7.8"),
    ("AUTH PLAIN " + "A" * (12288 - 13), 501, "5.5.2"),  # no base64, but no line that is too long
    ("AUTH PLAIN " + "A" * (12288 - 12), 500, "5.5.6"),
    ("AUTH PLAIN " + "A" * 1000000, 500, "5.5.6"),
    ("NOOP " + "A" * 3000, 500, "5.5.2"),
])
def test_syntax(site, line, code, enhanced):
    with Client(site.port) as c:
        r = c.cmd(line)
        assert r.code == code or (code == 535 and r.code == 501), r
        assert r.enhanced == enhanced or r.code == 501
        c.stays()
        assert sasl.plain(c, "bob", PASSWORD).code == 235


@pytest.mark.parametrize("answer, code", [
    ("*", 501), ("!!", 501), ("", 535), ("AAA=AAA=", 501), ("A" * 12284, None), ("A" * 12287, 500), ("A" * 500000, 500), (b"AA\rAA\r\n", 500),
])
def test_answers(site, answer, code):
    with Client(site.port) as c:
        assert c.cmd("AUTH PLAIN").code == 334
        r = c.cmd(answer)
        assert r.code == code if code not in (None, 535) else r.code in (501, 535), r
        c.stays()
        assert sasl.plain(c, "bob", PASSWORD).code == 235


def test_names_are_escaped(site):
    for name in ("a\r\nfake ss.auth user=root", "\x01\x7f", "x" * 300, "b\u00fcro", "a,user=root", "<>"):
        with Client(site.port) as c:
            r = sasl.plain(c, name, "x")
            assert r.code in (501, 535), r
    assert not any(re.search(r"user=root", x) and "tried" not in x for x in site.log_lines("smtps", "ss.auth"))
    for text in site.logs_since().values():
        assert not any(line.startswith("fake") for line in text.splitlines())


def test_parameter_of_mail(site):
    with Client(site.port) as c:
        for bad in ("+0Aevil", "a+00b", "", "a+", "e+3Dx@b.test AUTH=<>"):
            assert c.mail("a@src.test", " AUTH=" + bad).code == 501, bad
        for good in ("<>", "e+3Dx@b.test"):
            assert c.mail("a@src.test", " AUTH=" + good).code == 250
            assert c.cmd("RSET").code == 250
    assert any("on_behalf=e+3Dx@b.test" in x for x in site.log_lines("smtps", "ss.mail"))


def test_no_secret_in_logs(site):
    """Of all that the tests above have sent."""
    tokens = [PASSWORD, b64(PASSWORD), b64(f"\0bob\0{PASSWORD}"), "userPassword"]
    for name, text in site.logs_since().items():
        for t in tokens:
            assert t not in text, name
        assert not re.search(r"seccomp: system call", text), name


# ---- others' clients ----

def test_smtplib(site, sink, tag):
    for user, mech in (("carl", "PLAIN"), ("carl", "CRAM-MD5")):
        with smtplib.SMTP("127.0.0.1", site.port) as s:
            s.ehlo()
            s.user, s.password = user, PASSWORD
            assert s.auth(mech, getattr(s, "auth_" + mech.lower().replace("-", "_")))[0] == 235
            s.sendmail("carl@src.test", ["u@far.test"], message(f"{tag}-{mech}"))
        sink.wait(f"{tag}-{mech}")
    with smtplib.SMTP("127.0.0.1", site.port) as s:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            s.login("carl", "wrong")


@pytest.mark.parametrize("mech", ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"])
def test_swaks(site, mech):
    if not shutil.which("swaks"):
        pytest.skip("no swaks")
    r = subprocess.run(["swaks", "--server", f"127.0.0.1:{site.port}", "--helo", "swaks.test", "--timeout", "60", "--auth", mech, "--auth-user",
                        "dora", "--auth-password", PASSWORD, "--quit-after", "AUTH"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if "not available" in r.stdout or "No SASL mechanism" in r.stdout:
        pytest.skip(f"swaks without {mech}: {r.stdout}")
    assert r.returncode == 0 and "235 2.7.0" in r.stdout, r.stdout


# ---- what is offered to whom ----

def test_flags_and_allow_list(db, sink):
    with make(db, sink, mechanisms="{ PLAIN, CRAM-MD5, DIGEST-MD5 }", trusted_mechs="{ CRAM-MD5 }", flags="{ noplaintext, noanonymous }") as s:
        with Client(s.port) as c:
            assert set(c.extensions["AUTH"].split()[1:]) == {"CRAM-MD5", "DIGEST-MD5"}
            assert said(sasl.plain(c, "bob", PASSWORD)) == (538, "5.7.11 Encryption required for this authentication mechanism")
            assert c.cmd("AUTH LOGIN").code == 504
            assert c.cmd("AUTH SCRAM-SHA-256").code == 504
            assert sasl.cram_md5(c, "bob", PASSWORD).code == 235
    with make(db, sink, mechanisms="{ PLAIN }", trusted_mechs="{ }", flags="{ noplaintext }") as s:
        with Client(s.port) as c:
            assert "AUTH" not in c.extensions  # rather than an empty list
            assert sasl.plain(c, "bob", PASSWORD).code == 538


def test_without_the_section(sink):
    with Site(routes=["local.test lmtp:"]) as s, Client(s.port) as c:
        assert "AUTH" not in c.extensions
        assert c.cmd("AUTH PLAIN =").code == 502
        assert c.mail("a@src.test", " AUTH=<>").code == 555


def test_wrong_configuration(db, sink):
    s = make(db, sink, mechanisms="{ PLAIN }", trusted_mechs="{ GSSAPI }")
    r = subprocess.run([os.path.join(s.build, "smconf"), s.conf], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert r.returncode != 0 and "GSSAPI is not among auth.mechanisms" in r.stdout
    shutil.rmtree(s.dir)


# ---- TLS ----

@pytest.fixture(scope="module")
def certs():
    with Certs() as c:
        c.make("ec", "/CN=mx.test", ["mx.test"])
        yield c


@pytest.fixture(scope="module")
def tls_site(db, sink, dns, certs):
    s = make(db, sink, {**certs.settings("ec"), "smtps.flags": "{ access, delay_checks }", "smar.access_map.file": "../access"},
             {"dns": dns.address}, flags="{ noplaintext, noanonymous }", trusted_mechs="{ PLAIN, CRAM-MD5 }")
    with open(os.path.join(s.dir, "access"), "w") as f:
        f.write(ACCESS)
    with s:
        yield s


ACCESS = "cltresolve:no error:550 5.7.1 who are you\n"


def test_passwords_only_under_tls(tls_site, sink, tag):
    with Client(tls_site.port) as c:
        assert not PLAINTEXT & set(c.extensions["AUTH"].split())
        assert sasl.plain(c, "bob", PASSWORD).code == 538
        c.starttls()
        assert PLAINTEXT <= set(c.extensions["AUTH"].split())
        assert sasl.plain(c, "bob", "wrong").code == 535
        assert sasl.plain(c, "bob", PASSWORD).code == 235
        assert c.send_mail("bob@src.test", "u@far.test", message(tag)).code == 250
    assert b"with ESMTPSA\r\n" in sink.wait(tag)[0].content


def test_starttls_forgets_who_it_was(tls_site):
    """And all that it had become by it, the rejection of its address included."""
    with Client(tls_site.port) as c:
        assert sasl.cram_md5(c, "bob", PASSWORD).code == 235
        assert may_relay(c)
        c.starttls()
        assert "AUTH" in c.extensions
        assert c.mail("s@src.test").code == 250
        assert c.rcpt("u@far.test").code == 550
        assert said(c.rcpt("u@local.test")) == (550, "5.7.1 who are you")
        assert c.cmd("RSET").code == 250
        assert sasl.plain(c, "bob", PASSWORD).code == 235
        assert may_relay(c)


def test_smarctl_forgets_that_it_has_no_name(tls_site):
    ctl = Ctl(tls_site)
    dialogue = ("--client", "127.0.0.1", "--from", "s@src.test", "--to", "u@local.test")
    assert ctl.told(*dialogue, status=1)[-1] == ("rcpt", 550)
    assert ctl.told(*dialogue, "--auth", "CRAM-MD5")[-1] == ("rcpt", 250)


def test_starttls_takes_relaying_back(db, sink, certs):
    with make(db, sink, certs.settings("ec")) as s, Client(s.port) as c:
        assert sasl.plain(c, "bob", PASSWORD).code == 235
        assert may_relay(c)
        c.starttls()
        assert not may_relay(c)


def test_nothing_in_clear_counts_in_tls(tls_site):
    """A response that was begun in clear is none any more; failures still are."""
    with Client(tls_site.port) as c:
        assert c.cmd("AUTH CRAM-MD5").code == 334
        assert c.cmd("STARTTLS").code == 501  # it is no base64, and no command
        c.starttls()
        assert sasl.login(c, "bob", PASSWORD).code == 235


# ---- other checks ----

def with_access(db, sink, dns, flags, more="", access=ACCESS):
    s = make(db, sink, {"smtps.flags": "{ " + flags + " }", "smar.access_map.file": "../access"}, {"dns": dns.address})
    with open(os.path.join(s.dir, "access"), "w") as f:
        f.write(access)
    if more:
        with open(s.conf) as f:
            conf = f.read()
        with open(s.conf, "w") as f:
            f.write(conf.replace("\nsmar {", "\nsmar {\n" + more, 1))
    return s


def test_who_may_relay_needs_no_name(db, sink, dns):
    """With delay_checks a rejection by cltresolve: is not held against who has earned relaying, and against nobody else."""
    with with_access(db, sink, dns, "access, delay_checks") as s:
        with Client(s.port) as c:
            assert c.mail("s@src.test").code == 250
            assert c.rcpt("u@local.test").code == 550
            assert c.cmd("RSET").code == 250
            assert sasl.digest_md5(c, "bob", PASSWORD).code == 235  # no mechanism that may relay
            assert c.mail("s@src.test").code == 250
            assert c.rcpt("u@local.test").code == 550
        with Client(s.port) as c:
            assert sasl.plain(c, "bob", PASSWORD).code == 235
            assert c.mail("s@src.test").code == 250
            assert c.rcpt("u@local.test").code == 250
            assert c.rcpt("u@far.test").code == 250
    with with_access(db, sink, dns, "access, delay_checks", access="cltaddr:127 error:550 5.7.1 not you\n") as s, Client(s.port) as c:
        assert sasl.plain(c, "bob", PASSWORD).code == 235
        assert c.mail("s@src.test").code == 250
        assert c.rcpt("u@local.test").code == 550  # what the map says of the address holds


def test_no_greylisting(db, sink, dns):
    with with_access(db, sink, dns, "access, greylisting", "greylisting { grey_wait = 1h; }\n", access="to:x@y.test ok\n") as s:
        with Client(s.port) as c:
            assert sasl.digest_md5(c, "bob", PASSWORD).code == 235
            assert c.mail("s@src.test").code == 250
            assert c.rcpt("u@local.test").code == 421
        with Client(s.port) as c:
            assert sasl.plain(c, "bob", PASSWORD).code == 235
            assert c.mail("s@src.test").code == 250
            assert c.rcpt("u@local.test").code == 250


# ---- saslauthd ----

@pytest.fixture
def auth_server(sink):
    d = tempfile.mkdtemp(prefix="smx-saslauthd-")
    os.chmod(d, 0o755)
    server = Saslauthd(os.path.join(d, "run"), {"bob": PASSWORD})
    db = Sasl(os.path.join(d, "etc"), lines=["pwcheck_method: saslauthd", f"saslauthd_path: {server.dir}/mux", "mech_list: PLAIN LOGIN"])
    s = make(db, sink, timeout="2s", max_checks="2", readable="{ \"" + server.dir + "\" }", trusted_mechs="{ PLAIN }")
    yield s, server
    server.stop()
    shutil.rmtree(d, ignore_errors=True)


@pytest.mark.skipif(not os.access(sasl.SASLAUTHD, os.X_OK), reason="no saslauthd")
def test_saslauthd(auth_server, sink, tag):
    s, server = auth_server
    with s:
        with Client(s.port) as c:
            assert c.extensions["AUTH"] in ("AUTH PLAIN LOGIN", "AUTH LOGIN PLAIN")  # mech_list of sendmail.conf
            assert said(sasl.plain(c, "bob", "x")) == WRONG
            assert said(sasl.login(c, "nobody", "x")) == WRONG
            assert sasl.login(c, "bob", PASSWORD).code == 235
        assert set(server.imap.logins) == {"bob", "nobody"}
        # It hangs: who asks is told so in time, and mail does not wait for it.
        server.imap.hang = True
        clients = [Client(s.port) for _ in range(5)]
        for c in clients:
            c.send("AUTH PLAIN " + b64(f"\0bob\0{PASSWORD}") + "\r\n")
        with Client(s.port) as c:
            assert c.send_mail("a@src.test", "u@local.test", message(tag)).code == 250
        for c in clients:
            assert said(c.reply()) == (454, "4.7.0 Temporary authentication failure")
            c.stays()
            c.close()
        server.imap.hang = False

        def works():
            with Client(s.port) as c:
                return sasl.plain(c, "bob", PASSWORD).code == 235
        until(works, "it answers again")
        # It is away.
        server.kill()
        with Client(s.port) as c:
            assert sasl.plain(c, "bob", PASSWORD).code == 454
            c.stays()
        server.start()
        until(works, "it is back")
        # The end does not wait for it.
        server.imap.hang = True
        asked = len(server.imap.logins)
        c = Client(s.port)
        c.send("AUTH PLAIN " + b64(f"\0bob\0{PASSWORD}") + "\r\n")
        until(lambda: len(server.imap.logins) > asked, "it is asked")
        s.stop()
        c.close()
        server.imap.hang = False


def in_memory(pid, needles):
    """Which of them are in the memory of a process."""
    found = set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            begin, end = (int(x, 16) for x in line.split()[0].split("-"))
            if not line.split()[1].startswith("rw"):
                continue
            mem.seek(begin)
            try:
                data = mem.read(end - begin)
            except OSError:
                continue
            found |= {n for n in needles if n in data}
    return found


@pytest.mark.plain  # others keep what was freed
@pytest.mark.skipif(not os.access(sasl.SASLAUTHD, os.X_OK), reason="no saslauthd")
def test_no_secret_in_memory(auth_server, certs):
    """Neither the password nor its base64 is left anywhere, in clear and by TLS, right or wrong."""
    s, server = auth_server
    secret = "Xq7-VerySecret-91zK"
    server.imap.users["carl"] = secret
    with open(s.conf, "a") as f:
        f.write("smtps { tls { " + " ".join(f'{k.split(".")[-1]} = {v if v.startswith("{") else chr(34) + v + chr(34)};'
                                            for k, v in certs.settings("ec").items()) + " } }\n")
    needles = [secret.encode(), b64(secret).encode()[:20], b64(f"\0carl\0{secret}").encode()[8:28]]
    with s:
        pid, = s.pids("smtps")
        try:
            assert in_memory(pid, [b"mx.test"])
        except PermissionError:
            pytest.skip("may not look into it")
        for tls in (False, True):
            for exchange in (sasl.plain, sasl.login):
                for extra, code in (("", 235), ("x", 535)):
                    with Client(s.port) as c:
                        if tls:
                            c.starttls()
                        assert exchange(c, "carl", secret + extra).code == code
                        c.stays()
                        assert not in_memory(pid, needles), (tls, exchange, extra)


# ---- what measures it ----

def test_load_logs_in(db, sink, certs, tmp_path):
    """The load generator: nothing is sent to others without its login, all of it after STARTTLS, one login for each connection."""
    with make(db, sink, certs.settings("ec"), flags="{ noplaintext, noanonymous }") as s:
        def load(*args):
            return Load(str(tmp_path), f"127.0.0.1:{s.port}", "-s", 2, "-m", 6, "-T", 60, "-S", "-t", "u@far.test", *args).done()
        f = load()
        assert (f["acked"], f["refused"], f["logins"]) == (0, 6, 0)
        f = load("-a", "bob:" + PASSWORD)
        assert f["acked"] == 6 and f["logins"] == f["handshakes"] == f["connects"] >= 6 and f["drops"] == 0
        f = load("-a", "bob:" + PASSWORD, "-d")
        assert f["acked"] == 6 and f["logins"] == 2
        s.wait_empty()


# ---- what users may send ----

def test_sending_limit(site, sink, tag):
    def send(user, n):
        with Client(site.port) as c:
            assert sasl.plain(c, user, PASSWORD).code == 235
            return [c.send_mail("e@src.test", "u@far.test", message(f"{tag}-{user}-{i}")) for i in range(n)]
    replies = send("emil", 7)
    assert [r.code for r in replies] == [250] * 5 + [450] * 2
    assert replies[-1].enhanced == "4.7.1"
    assert [r.code for r in send("dora", 1)] == [250]
    alarms = [x for x in site.log_lines("qmgr", "qm.user") if "user=emil" in x]
    assert len(alarms) == 1 and "WARN" in alarms[0]
    until(lambda: any("sending limit of user emil reached" in text for name, text in site.logs_since().items() if name.startswith("mcp")),
          lambda: f"mcp is told; its log: {[t[-500:] for n, t in site.logs_since().items() if n.startswith('mcp')]}")
    rows = [x.split() for x in site.qmgrctl("users").splitlines()[1:]]
    assert rows[0][:4] == ["5", "5", "2", "emil"] and rows[0][-2:] == ["ITS", "LIMIT"], rows
    assert ["1", "1", "0", "dora"] in rows
    status = site.qmgrctl("status")
    assert re.search(r"over their limit\s+1\b", status), status
    assert "forgotten" in site.qmgrctl("-j", "users", "forget", "emil")
    assert [r.code for r in send("emil", 1)] == [250]
    site.wait_empty()
    assert not [m for m in sink.find(f"{tag}-emil-5") + sink.find(f"{tag}-emil-6")]
    with Client(site.port) as c:  # who has not authenticated is nobody's account
        assert [c.send_mail("e@src.test", "u@local.test", message(f"{tag}-{i}")).code for i in range(7)] == [250] * 7
