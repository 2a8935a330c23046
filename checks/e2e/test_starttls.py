"""STARTTLS and TLS from the start (RFC 3207, RFC 8314): what a client may expect, and what real clients make of it."""
import os
import re
import ssl
import subprocess

import pytest
from lib.certs import Certs
from lib.client import Client, Closed, message, trusting
from lib.openssl import V12, V13, Tls
from lib.paths import free_port
from lib.site import Site
from lib.wait import SLOW, until

pytestmark = pytest.mark.inside


@pytest.fixture(scope="module")
def certs():
    with Certs() as c:
        c.make("ec", "/CN=mx.test", ["mx.test", "*.wild.test"])
        c.make("rsa", "/CN=mx.test", ["mx.test"], kind="rsa")
        c.make("other", "/CN=other.test", ["other.test"])
        yield c


@pytest.fixture(scope="module")
def tls_port():
    return free_port()


def both_ways(sink, dns, tls_port, settings):
    """A site with STARTTLS on its own port, and TLS from the start on that one."""
    return Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test"], dns=dns.address,
                settings={**settings, "smtps.tls.implicit_listeners": '{ "127.0.0.1:%d" }' % tls_port}, arguments=["--listen", f"127.0.0.1:{tls_port}"])


@pytest.fixture(scope="module")
def site(sink, dns, certs, tls_port):
    with both_ways(sink, dns, tls_port, {**certs.settings("ec", "rsa", "other"), "smtps.max_message_size": "1024"}) as s:
        yield s


def verifying(certs, **more):
    c = ssl.create_default_context(cafile=certs.path("ca"))
    for name, value in more.items():
        setattr(c, name, value)
    return c


def implicit(port, context=None, name=None):
    c = Client(port, greet=False)
    c.encrypt(context, name)
    c.greeting = c.reply()
    assert c.greeting.code == 220, c.greeting
    c.ehlo()
    return c


def one_line(site, event, marks):
    """The line of this event behind the marks."""
    def found():
        return [x for n, text in site.logs_since(marks).items() if n.startswith("smtps") for x in text.splitlines() if f" {event} " in x]
    return until(found, event)[-1]


# -- what is offered and what it does

def test_offered_before_and_not_after(site, certs):
    with site.client() as c:
        assert "STARTTLS" in c.extensions
        c.starttls(verifying(certs), "mx.test")
        assert c.sock.version() == "TLSv1.3"
        assert "STARTTLS" not in c.extensions
        assert "PIPELINING" in c.extensions
        c.stays()
        c.quit()


@pytest.mark.parametrize("how", ["starttls", "implicit"])
def test_a_mail(site, sink, certs, tag, tls_port, how):
    marks = site.log_marks()
    if how == "starttls":
        c = site.client()
        c.starttls(verifying(certs), "mx.test")
    else:
        c = implicit(tls_port, verifying(certs), "mx.test")
        assert "STARTTLS" not in c.extensions
    with c:
        assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
        cipher, version, bits = c.sock.cipher()
        c.quit()
    received = re.sub(rb"\s+", b" ", sink.wait(tag)[0].content).decode()
    assert f"with ESMTPS (version={version} cipher={cipher} bits={bits} verify=NO) id S" in received
    line = one_line(site, "ss.tls", marks)
    assert f"starttls={version}, cipher={cipher}, bits={bits}, verify=NO, sni=mx.test, resumed=0" in line, line
    assert f"starttls={version}, cipher={cipher}, verify=NO" in one_line(site, "ss.final", marks)


def test_in_clear_there_is_no_word_of_it(site, sink, tag):
    with site.client() as c:
        assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
    received = sink.wait(tag)[0].content
    assert b"with ESMTP\r\n" in received and b"version=" not in received


def test_long_content_and_pipelining(site, sink, tag):
    """Larger than records and buffers, both ways."""
    body = b"".join(b"%06d %s\r\n" % (i, b"x" * 60) for i in range(12000))
    with site.client() as c:
        c.starttls()
        c.send(b"MAIL FROM:<a@src.test>\r\nRCPT TO:<b@local.test>\r\nDATA\r\n")
        assert [c.reply().code for _ in range(3)] == [250, 250, 354]
        assert c.finish(message(tag, body)).code == 250
        c.send(b"NOOP\r\n" * 40)
        assert [c.reply().code for _ in range(40)] == [250] * 40
    assert sink.wait(tag)[0].body == body


def test_all_that_was_learnt_is_forgotten(site):
    with site.client() as c:
        c.starttls(helo=None)
        assert c.mail("a@src.test").code == 503
        assert c.cmd("STARTTLS").code == 503
        c.ehlo()
        assert c.mail("a@src.test").code == 250


def test_out_of_order(site):
    with site.client(helo=None) as c:
        assert c.cmd("STARTTLS").code == 503
        c.ehlo()
        assert c.cmd("STARTTLS x").code == 501
        assert c.cmd("STARTTLS ").code in (220, 501)
    with site.client() as c:
        assert c.mail("a@src.test").code == 250
        assert c.cmd("STARTTLS").code == 503
        assert c.rcpt("b@local.test").code == 250
        assert c.cmd("STARTTLS").code == 503
        assert c.cmd("RSET").code == 250
        c.starttls()
        assert c.cmd("STARTTLS").code == 503
        c.stays()


# -- which certificate

@pytest.mark.parametrize("name,subject", [("mx.test", "mx.test"), ("OTHER.test", "other.test"), ("a.wild.test", "mx.test")])
def test_the_name_chooses(site, certs, name, subject):
    with site.client() as c:
        c.starttls(verifying(certs), name)
        assert (("commonName", subject),) in c.sock.getpeercert()["subject"]


@pytest.mark.parametrize("sigalgs,kind", [("ECDSA+SHA256", "ECDSA"), ("RSA+SHA256:RSA-PSS+SHA256", "RSA")])
def test_the_key_suits_the_client(site, certs, sigalgs, kind):
    out = s_client(site.port, "-starttls", "smtp", "-servername", "mx.test", "-sigalgs", sigalgs, "-CAfile", certs.path("ca"), "-verify_return_error")
    assert re.search(r"Peer signature type: (RSA-PSS|RSA|ECDSA)", out).group(1).startswith(kind), out


HOSTILE_NAMES = {"unknown": b"nobody.example", "255": b"a" * 255, "backslash": b"mx.test\\0\\", "8bit": b"\xff\xfe\x80", "format": b"%s%n%s",
                 "control": b"a\r\nRCPT TO:<x@y>\x1b[2J", "comma": b'x", ss_sess=0', "dots": b"." * 200, "star": b"*.wild.test"}


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_any_name_is_harmless(site, name):
    """It gets the default certificate, and stands in the log as one value of one line."""
    marks = site.log_marks()
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        t = Tls(c.sock, name=name)
        t.write(b"EHLO x\r\n")
        assert t.line().startswith(b"250")
        t.close()
    assert "sni=" in one_line(site, "ss.tls", marks)


def client_hello(name):
    """A ClientHello of TLS 1.2 whose only extension is this server name."""
    def vector(data, size):
        return len(data).to_bytes(size, "big") + data
    sni = b"\0\0" + vector(vector(b"\0" + vector(name, 2), 2), 2)
    body = b"\x03\x03" + bytes(32) + b"\0" + vector(b"\xc0\x2f\xc0\x2b\0\xff", 2) + b"\x01\0" + vector(sni, 2)
    return b"\x16\x03\x01" + vector(b"\x01" + vector(body, 3), 2)


@pytest.mark.parametrize("name", [b"mx.test\0evil", b"\0", b"", b"a" * 256, b"mx.test\\\0"], ids=["nul", "only-nul", "empty", "256", "backslash-nul"])
def test_names_that_openssl_would_not_send(site, name):
    """An alert and the end, or a handshake that goes on: never more than that."""
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        c.send(client_hello(name))
        try:
            got = c.sock.recv(5)
        except ConnectionResetError:
            got = b""
        assert got[:1] in (b"\x15", b"\x16", b""), got


# -- versions

@pytest.mark.parametrize("version,works", [("SSLv3", False), ("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_versions(site, version, works):
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    wanted = getattr(ssl.TLSVersion, version)
    try:
        context.minimum_version = context.maximum_version = wanted
    except ValueError:
        pytest.skip("this OpenSSL has no " + version)
    marks = site.log_marks()
    with site.client() as c:
        if works:
            c.starttls(context)
            assert c.sock.version() == version.replace("_", ".")
            return
        with pytest.raises((ssl.SSLError, ConnectionError, Closed)):
            c.starttls(context)
    assert "stat=failed" in one_line(site, "ss.tls", marks)


@pytest.mark.parametrize("ciphers", ["aNULL:@SECLEVEL=0", "eNULL:@SECLEVEL=0"])
def test_no_cipher_without_substance(site, ciphers):
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    with site.client() as c, pytest.raises((ssl.SSLError, ConnectionError, Closed)):
        c.starttls(context)


# -- tickets

@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_resumption(site, tls_port, version):
    def session(port, known=None):
        with Client(port, greet=port == site.port) as c:
            if port == site.port:
                assert c.cmd("STARTTLS").code == 220
            t = Tls(c.sock, version, b"mx.test", known)
            if port != site.port:
                t.line()
            t.write(b"EHLO x\r\n")
            t.line()
            resumed, ticket = t.reused, t.session()
            assert Tls.early_data(ticket) == 0
            t.close()
            return resumed, ticket
    resumed, ticket = session(site.port)
    assert not resumed
    resumed, next_ticket = session(site.port, ticket)
    assert resumed
    # The listener that speaks TLS at once is the same service
    assert session(tls_port, next_ticket)[0]


def test_tickets_of_another_configuration(site, certs):
    """Behind a reload nothing of the former context counts any more, and everybody is served."""
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        t = Tls(c.sock, V13, b"mx.test")
        t.write(b"EHLO x\r\n")
        t.line()
        ticket = t.session()
        reload_tls(site)
        t.write(b"NOOP\r\n")
        assert t.line().startswith(b"250")
        t.close()
    with site.client() as c:
        assert c.cmd("STARTTLS").code == 220
        t = Tls(c.sock, V13, b"mx.test", ticket)
        assert not t.reused
        t.close()


# -- reload

def reload_tls(site, stat="ready"):
    marks = site.log_marks()
    site.reload()
    line = one_line(site, "ss.tls_ctx", marks)
    assert f"stat={stat}" in line, line
    return line


def test_reload_by_qmgrctl(site, certs):
    old = serial(site, "other.test")
    certs.make("other", "/CN=other.test", ["other.test"])
    marks = site.log_marks()
    site.qmgrctl("reload")
    assert "stat=ready" in one_line(site, "ss.tls_ctx", marks)
    assert serial(site, "other.test") != old


def serial(site, name="mx.test"):
    with site.client() as c:
        c.starttls(name=name)
        return ssl.DER_cert_to_PEM_cert(c.sock.getpeercert(True))


def test_reload(site, sink, certs, tag):
    """A new certificate counts for new sessions; a broken one changes nothing; sessions go on."""
    old = serial(site)
    with site.client() as c:
        c.starttls(verifying(certs), "mx.test")
        c.begin("a@src.test", "b@local.test")
        certs.make("ec", "/CN=mx.test", ["mx.test", "*.wild.test"])
        certs.make("rsa", "/CN=mx.test", ["mx.test"], kind="rsa")
        reload_tls(site)
        new = serial(site)
        assert new != old
        for broken in ("nonsense", None):
            with open(certs.path("other"), "rb") as f:
                good = f.read()
            try:
                if broken:
                    with open(certs.path("other"), "w") as f:
                        f.write(broken)
                else:
                    os.chmod(certs.key("other"), 0o644)
                line = reload_tls(site, "failed")
                assert "kept=old" in line and certs.dir in line, line
                assert broken or "others can read it" in line, line
                assert serial(site) == new
                assert serial(site, "other.test") != new
            finally:
                with open(certs.path("other"), "wb") as f:
                    f.write(good)
                os.chmod(certs.key("other"), 0o600)
        reload_tls(site)
        assert c.finish(message(tag)).code == 250
        c.quit()
    assert len(sink.wait(tag)) == 1


# -- real clients

def s_client(port, *args, stdin="quit\r\n", check=True):
    """With STARTTLS s_client has read the greeting when it passes on what is typed; else that would come too early."""
    if "-starttls" not in args:
        with subprocess.Popen(["openssl", "s_client", "-ign_eof", "-connect", f"127.0.0.1:{port}", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace") as p:
            seen = ""
            for line in p.stdout:
                seen += line
                if line.startswith("220 "):
                    p.stdin.write(stdin)
                    p.stdin.flush()
            p.stdin.close()
        assert not check or p.returncode == 0, seen
        return seen
    r = subprocess.run(["openssl", "s_client", "-ign_eof", "-connect", f"127.0.0.1:{port}", *args], input=stdin, text=True, errors="replace", stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=60 * SLOW)
    assert not check or r.returncode == 0, r.stdout
    return r.stdout


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client(site, certs, tls_port, version):
    trust = ["-CAfile", certs.path("ca"), "-verify_return_error", "-verify_hostname", "mx.test", version]
    for args in ([site.port, "-starttls", "smtp"], [tls_port]):
        out = s_client(*args, *trust)
        assert "Verify return code: 0 (ok)" in out and "Secure Renegotiation IS" in out or version == "-tls1_3", out
        assert "Compression: NONE" in out
        assert "221 2.0.0" in out


def test_s_client_early_data(site, tmp_path):
    kept = str(tmp_path / "session")
    s_client(site.port, "-starttls", "smtp", "-tls1_3", "-sess_out", kept, stdin="EHLO x\r\nquit\r\n")
    early = tmp_path / "early"
    early.write_bytes(b"EHLO early\r\n")
    out = s_client(site.port, "-starttls", "smtp", "-tls1_3", "-sess_in", kept, "-early_data", str(early), check=False)
    assert "Early data was accepted" not in out


@pytest.mark.parametrize("how", ["--tls", "--tlsc"])
def test_swaks(site, sink, tag, tls_port, how):
    port = site.port if how == "--tls" else tls_port
    r = subprocess.run(["swaks", "--server", f"127.0.0.1:{port}", how, "--from", "a@src.test", "--to", "b@local.test", "--header", f"Subject: {tag}",
                        "--ehlo", "swaks.test"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 * SLOW)
    assert r.returncode == 0, r.stdout
    assert b"with ESMTPS" in sink.wait(tag)[0].content


# -- at the start

def test_a_broken_certificate_at_the_start(sink, dns, certs):
    """Mail flows, in clear; STARTTLS is not offered, and who asks comes again; repaired by a reload."""
    certs.make("late", "/CN=late.test", ["late.test"])
    os.chmod(certs.key("late"), 0o604)
    with Site(relay=["local.test"], routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]"], dns=dns.address, settings=certs.settings("late")) as s:
        line = s.log_lines("smtps", "ss.tls_ctx")[-1]
        assert "stat=failed, kept=none" in line and "others can read it: its mode is 0604" in line, line
        with s.client() as c:
            assert "STARTTLS" not in c.extensions
            assert c.cmd("STARTTLS").code == 454
            c.stays()
        os.chmod(certs.key("late"), 0o600)
        reload_tls(s)
        with s.client() as c:
            c.starttls(verifying(certs), "late.test")


def test_none_configured(sink, dns):
    with Site(relay=["local.test"], dns=dns.address) as s, s.client() as c:
        assert "STARTTLS" not in c.extensions
        assert c.cmd("STARTTLS").code == 502
        c.stays()


def test_an_old_version_can_be_allowed(sink, dns, certs):
    with Site(relay=["local.test"], dns=dns.address, settings=certs.settings("ec", min_version="TLSv1")) as s, s.client() as c:
        context = trusting()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
        c.starttls(context)
        assert c.sock.version() == "TLSv1"


def test_resumption_can_be_switched_off(dns, certs):
    with Site(relay=["local.test"], dns=dns.address, settings=certs.settings("ec", flags="{ dont_resumption }")) as s:
        ticket = None
        for _ in range(2):
            with s.client() as c:
                assert c.cmd("STARTTLS").code == 220
                t = Tls(c.sock, V13, b"mx.test", ticket)
                t.write(b"EHLO x\r\n")
                t.line()
                assert not t.reused
                ticket = t.session()
                t.close()


# -- keys that only root may read

@pytest.mark.skipif(os.getuid() != 0, reason="not root: no other users")
def test_a_key_of_root_alone(sink, dns):
    """mcp opens it (open_files), at the start and at a reload; smtps itself could not."""
    with Certs() as own:
        own.make("ec", "/CN=mx.test", ["mx.test"])
        os.chown(own.key("ec"), 0, 0)
        os.chmod(own.key("ec"), 0o600)
        settings = own.settings("ec")
        with Site(relay=["local.test"], dns=dns.address, settings=settings, users="real") as s:
            assert "stat=failed, kept=none" in s.log_lines("smtps", "ss.tls_ctx")[-1]
            with s.client() as c:
                assert c.cmd("STARTTLS").code == 454
        with Site(relay=["local.test"], dns=dns.address, settings={**settings, "smtps.open_files": '{ "%s" }' % own.key("ec")}, users="real") as s:
            assert [x for x in s.log_lines("smtps", "ss.tls_ctx") if "stat=ready" in x]
            assert not [x for x in s.log_lines("smtps", "ss.tls_ctx") if "stat=failed" in x]
            old = serial(s)
            own.make("ec", "/CN=mx.test", ["mx.test"])
            os.chown(own.key("ec"), 0, 0)
            reload_tls(s)
            assert serial(s) != old
            # A worker that is started again gets it as well
            s.restarted("smtps", s.kill("smtps"))
            s.wait_ready()
            assert serial(s) != old
