"""Submission as people use it: STARTTLS and AUTH on one section, TLS from the start on another, certificates; and what MAIL needs of TLS."""
import os
import shutil
import socket
import tempfile

import pytest
from lib.certs import Certs
from lib.client import Client, message, trusting
from lib.dns import A, PTR
from lib.paths import free_port
from lib.sasl import Sasl, available, plain
from lib.sections import listener, split_smtps
from lib.site import Site
from lib.wait import until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not available(), reason="no saslpasswd2")]

# 127.0.0.9 has no name, and that is held against it: everywhere, or at RCPT. Certificates of "friend" may relay.
ACCESS = """\
cltaddr:127.0.0.1 cont
cltresolve:no error:550 5.7.1 who are you
cltaddr:127.0.0.8 error:550 5.7.1 not you
certissuer:/C=US/O=endmail.org/CN=Test+20CA cont
certsubject:/CN=friend.example relay
smtps_session_conf:127.0.0.20 require_tls { level = encrypted; }
smtps_session_conf:127.0.0.21 require_tls { min_bits = 256; violation = temporary; }
smtps_session_conf:127.0.0.22 require_tls { level = verified; violation = abort; }
smtps_session_conf:127.0.0.23 require_tls { issuer = "/C=US/O=endmail.org/CN=Test+20CA"; subject = "/CN=friend.example"; }
smtps_session_conf:127.0.0.24 require_tls { name = "*.example"; }
smtps_session_conf:127.0.0.25 auth { mechanisms = { CRAM-MD5 }; trusted_mechs = { CRAM-MD5 }; }
"""


@pytest.fixture(scope="module")
def ports():
    return {"submission": free_port(), "submissions": free_port(), "delayed": free_port(), "verified": free_port(), "unasked": free_port(), "behind": free_port()}


@pytest.fixture(scope="module")
def certs():
    with Certs() as c:
        c.make("mx", "/CN=mx.test", ["mx.test"])
        c.make("friend", "/CN=friend.example")
        c.make("stranger", "/CN=stranger.other")
        c.make("long", "/O=" + "o" * 60 + "".join(f"/OU={i:02}" + "u" * 60 for i in range(18)) + "/CN=friend.example")
        c.make("expired", "/CN=friend.example", days=-1)
        c.authority("otherca", "/CN=Another CA")
        c.make("forged", "/CN=friend.example", ca="otherca")
        yield c


@pytest.fixture(scope="module")
def sasl():
    d = tempfile.mkdtemp(prefix="smx-sasl-")
    os.chmod(d, 0o755)
    yield Sasl(d, users=[("jane", "secret")])
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture(scope="module")
def site(sink, dns, certs, sasl, ports):
    names = {f"127.0.0.{i}": f"c{i}.named.example" for i in (1, 2, 3, 8, *range(20, 30))}
    for address, name in names.items():

        dns.add(".".join(reversed(address.split("."))) + ".in-addr.arpa", PTR(name))
        dns.add(name, A(address))
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]", f"local.test {sink.port}^lmtp:[127.0.0.1]"], dns=dns.address)

    def tls(more=""):
        return f'tls {{ cert_file = {{ "{certs.path("mx")}" }}; key_file = {{ "{certs.key("mx")}" }}; CAcert_file = "{certs.path("ca")}"; {more} }}\n'
    cas = os.path.join(certs.dir, "cas")
    os.makedirs(cas, exist_ok=True)
    os.chmod(cas, 0o755)
    shutil.copy(certs.path("ca"), os.path.join(cas, "some-ca.crt"))
    auth = f'auth {{ trusted_mechs = {{ PLAIN }}; flags = {{ noplaintext }}; config_directory = "{sasl.dir}"; readable = {{ "{sasl.dir}" }}; failure_delay = 0s; }}\n'
    by_map = "flags = { check_access_map_for_relaying };"
    split_smtps(
        s, "MTA",
        MSA=listener(ports["submission"], "submission") + "\nflags = { access, submission, session_conf };\n" + tls(by_map) + auth,
        MSAS=listener(ports["submissions"], "submissions") + "\nflags = { access, submission };\n" +
        tls(by_map + "implicit_listeners = { submissions };") + auth,
        # all who can show a certificate of a CA in a directory may relay; nobody is asked for one
        VERIFIED=listener(ports["verified"], "verified") + "\n" + tls("flags = { allow_relaying_if_verified };").replace(
            f'CAcert_file = "{certs.path("ca")}"', f'CAcert_directory = "{cas}"'),
        UNASKED=listener(ports["unasked"], "unasked") + "\n" + tls("flags = { allow_relaying_if_verified, dont_request_cert };"),
        BEHIND=listener(ports["behind"], "behind") + "\nflags = { access, submission };\n" + tls(by_map + "implicit_listeners = { behind };") + auth +
        "proxy { listeners = { behind }; from = { 127.0.0.2 }; }",
        LATE=listener(ports["delayed"], "delayed") + "\nflags = { access, delay_checks };\n" + tls(by_map) + auth)
    s.add("smar", 'access_map { file = "@/access.cdb"; }')
    s.createmap("access.cdb", ACCESS, kind="access")
    with s:
        until(lambda: _up(ports["delayed"]), "all serve", 20)
        yield s


def _up(port):
    try:
        with Client(port) as c:
            return c.greeting.code == 220
    except OSError:
        return False


def msa(ports, source="127.0.0.2", **kw):
    return Client(ports["submission"], source=source, **kw)


def with_cert(certs, name):
    return trusting(certificate=certs.path(name), key=certs.key(name))


# ---- who may

def test_authentication_first(ports, site, sink, tag):
    with msa(ports) as c:
        assert "PLAIN" not in c.extensions.get("AUTH", "") and c.mail("jane@src.example").code == 530
        c.starttls()
        assert "PLAIN" in c.extensions["AUTH"] and c.mail("jane@src.example").code == 530
        assert plain(c, "jane", "wrong").code == 535 and c.mail("jane@src.example").code == 530
        assert plain(c, "jane", "secret").code == 235
        assert c.send_mail("jane@src.example", "you@far.example", message(tag)).code == 250
    m, = sink.wait(tag)
    assert b"with ESMTPSA" in m.content


def test_tls_from_the_start(ports, site, sink, tag):
    c = Client(ports["submissions"], source="127.0.0.2", greet=False)
    with c:
        c.encrypt()
        c.greeting = c.reply()
        assert c.greeting.code == 220
        c.ehlo()
        assert "STARTTLS" not in c.extensions and c.mail("jane@src.example").code == 530
        assert plain(c, "jane", "secret").code == 235
        assert c.send_mail("jane@src.example", "you@far.example", message(tag)).code == 250
    sink.wait(tag)


def test_a_certificate_is_enough(ports, site, certs):
    """A verified one may say MAIL; what it may relay is said by the access map."""
    for name, mail, far in (("friend", 250, 250), ("stranger", 250, 550), ("long", 250, 550), ("forged", 530, None), ("expired", 530, None)):
        with msa(ports) as c:
            c.starttls(with_cert(certs, name))
            assert c.mail("me@src.example").code == mail, name
            if far:
                assert c.rcpt("you@far.example").code == far, name
                assert c.rcpt("you@local.test").code == far, name  # local domains imply nothing


def test_verified_means_relaying_if_so_configured(ports, site, certs):
    for which, name, far in (("verified", "stranger", 250), ("verified", "forged", 550), ("verified", "expired", 550), ("unasked", "stranger", 550)):
        with Client(ports[which], source="127.0.0.2") as c:
            c.starttls(with_cert(certs, name))
            assert c.mail("me@src.example").code == 250 and c.rcpt("you@far.example").code == far, (which, name)
    with Client(ports["verified"], source="127.0.0.2") as c:
        c.starttls()
        assert c.mail("me@src.example").code == 250 and c.rcpt("you@far.example").code == 550
    last = [x for x in site.log_lines("smtps", "ss.tls") if "verify=" in x]
    assert any("verify=NONE" in x for x in last) and any("verify=FAIL" in x for x in last) and any("verify=NO," in x for x in last)


def test_each_section_has_its_own(ports, site):
    """The MTA offers neither, the MSA both, each under its own name in the log."""
    with site.client() as c:
        assert "STARTTLS" not in c.extensions and "AUTH" not in c.extensions
        assert c.cmd("STARTTLS").code in (500, 502)
    with msa(ports) as c:
        assert "STARTTLS" in c.extensions


def test_auth_offered_may_differ(ports, site):
    with msa(ports, "127.0.0.25") as c:
        c.starttls()
        assert c.extensions["AUTH"] == "AUTH CRAM-MD5"


@pytest.mark.parametrize("header", [b"PROXY TCP4 127.0.0.3 198.51.100.2 1234 465\r\n",
                                    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x03\xc6\x33\x64\x02\x04\xd2\x01\xd1"], ids=["v1", "v2"])
@pytest.mark.parametrize("corked", [False, True])
def test_a_proxy_before_tls(ports, site, certs, header, corked):
    """The header is in clear, and what follows in the same segment is TLS: with the client's certificate, not the proxy's."""
    with Client(ports["behind"], source="127.0.0.2", greet=False) as c:
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(corked))
        c.send(header)
        c.encrypt(with_cert(certs, "friend"))
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        c.greeting = c.reply()
        assert c.greeting.code == 220
        c.ehlo()
        assert c.mail("me@src.example").code == 250 and c.rcpt("you@far.example").code == 250
    assert any("client_ipv4=127.0.0.3" in x and "via=127.0.0.2" in x for x in site.log_lines("smtps", "ss.connect"))


def test_tls_instead_of_the_header(ports, site):
    with Client(ports["behind"], source="127.0.0.2", greet=False) as c:
        with pytest.raises(OSError):
            c.encrypt()


# ---- cltresolve: and who has earned relaying (with delay_checks)

def late(ports, source):
    return Client(ports["delayed"], source=source)


def test_cltresolve_does_not_hold_for_who_is_authenticated(ports, site, sink, tag):
    with late(ports, "127.0.0.9") as c:
        assert c.greeting.code == 220 and c.mail("jane@src.example").code == 250
        r = c.rcpt("you@local.test")
        assert r.code == 550 and "who are you" in r.text
    with late(ports, "127.0.0.9") as c:
        c.starttls()
        assert plain(c, "jane", "secret").code == 235
        assert c.send_mail("jane@src.example", "you@far.example", message(tag)).code == 250
    sink.wait(tag)
    assert any("who are you" in x for x in site.log_lines("smtps", "ss.earned"))


def test_nor_for_a_certificate_that_may_relay(ports, site, certs):
    for name, code in (("friend", 250), ("stranger", 550)):
        with late(ports, "127.0.0.9") as c:
            c.starttls(with_cert(certs, name))
            assert c.mail("me@src.example").code == 250 and c.rcpt("you@local.test").code == code, name


def test_but_what_else_was_refused_holds(ports, site):
    with late(ports, "127.0.0.8") as c:
        c.starttls()
        assert plain(c, "jane", "secret").code == 235
        assert c.mail("jane@src.example").code == 250
        r = c.rcpt("you@far.example")
        assert r.code == 550 and "not you" in r.text


def test_failed_authentication_earns_nothing(ports, site):
    with late(ports, "127.0.0.9") as c:
        c.starttls()
        assert plain(c, "jane", "wrong").code == 535
        assert c.mail("jane@src.example").code == 250 and c.rcpt("you@local.test").code == 550


# ---- require_tls

def needs(ports, source, context=None, tls=True):
    """Replies to MAIL, after AUTH, so that only TLS is the question."""
    with msa(ports, source) as c:
        if tls:
            c.starttls(context)
            assert plain(c, "jane", "secret").code == 235
        return c.mail("jane@src.example").code


def test_encryption(ports, site):
    assert needs(ports, "127.0.0.20", tls=False) == 530
    assert needs(ports, "127.0.0.20") == 250


def test_strength(ports, site):
    assert needs(ports, "127.0.0.21", tls=False) == 450
    with_bits = trusting()
    with_bits.maximum_version = with_bits.minimum_version = 0x0303
    with_bits.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    assert needs(ports, "127.0.0.21", with_bits) == 450
    with_bits.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    assert needs(ports, "127.0.0.21", with_bits) == 250


def test_certificates(ports, site, certs):
    assert needs(ports, "127.0.0.22") == 421
    assert needs(ports, "127.0.0.22", with_cert(certs, "forged")) == 421
    assert needs(ports, "127.0.0.22", with_cert(certs, "stranger")) == 250
    assert needs(ports, "127.0.0.23", with_cert(certs, "stranger")) == 550
    assert needs(ports, "127.0.0.23", with_cert(certs, "friend")) == 250
    assert needs(ports, "127.0.0.24", with_cert(certs, "stranger")) == 550
    assert needs(ports, "127.0.0.24", with_cert(certs, "friend")) == 250
