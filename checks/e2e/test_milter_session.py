"""What filters learn of a session: TLS, AUTH, a front end's client; and sessions that are spared them."""
import os
import shutil
import tempfile

import pytest
from lib.certs import Certs
from lib.client import message, trusting
from lib.filtered import arrived
from lib.milter import CONTINUE, REJECT, Milter, add_header
from lib.sasl import Sasl, available, plain
from lib.site import Site

pytestmark = pytest.mark.inside


@pytest.fixture(scope="module")
def milter():
    with Milter() as m:
        yield m


@pytest.fixture(scope="module")
def certs():
    with Certs() as c:
        c.make("mx", "/CN=mx.test", ["mx.test"])
        c.make("friend", "/CN=friend.example")
        yield c


@pytest.fixture(scope="module")
def sasl():
    if not available():
        pytest.skip("no saslpasswd2")
    d = tempfile.mkdtemp(prefix="smx-sasl-")
    os.chmod(d, 0o755)
    yield Sasl(d, users=[("jane", "secret")])
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture(scope="module")
def own(sink, dns, milter, certs, sasl):
    s = Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test"], dns=dns.address)
    s.add("smtps", milter.section("f") + 'flags = { access, session_conf };\nxclient { from = { "127.0.0.6" }; flags = { login }; }\n'
                 f'tls {{ cert_file = {{ "{certs.path("mx")}" }}; key_file = {{ "{certs.key("mx")}" }}; CAcert_file = "{certs.path("ca")}"; flags = {{ request_cert }}; }}\n'
                 f'auth {{ config_directory = "{sasl.dir}"; readable = {{ "{sasl.dir}" }}; failure_delay = 0s; }}\n')
    s.add("smar", 'access_map { file = "@/access.cdb"; }')
    s.createmap("access.cdb", "smtps_session_conf:127.0.0.7 policy_milters = false;\n", kind="access")
    with s:
        yield s


@pytest.fixture(autouse=True)
def well_behaved(milter):
    milter.reset()
    yield
    milter.reset()


def test_tls_and_auth(own, milter, certs, sink, tag):
    with own.client(source="127.0.0.2") as c:
        assert not set(milter.seen("H").of("H")[0].macros) & {"{tls_version}", "{cipher}"}
        c.starttls(trusting(certificate=certs.path("friend"), key=certs.key("friend")))
        s = milter.seen("HH")
        m = s.of("H")[-1].macros
        assert m["{tls_version}"].startswith("TLSv1.") and m["{cipher}"] and int(m["{cipher_bits}"]) >= 128 and m["{verify}"] == "OK"
        assert m["{cert_subject}"] == "/CN=friend.example" and m["{cert_issuer}"].endswith("/CN=Test+20CA")
        assert plain(c, "jane", "secret").code == 235
        assert c.mail("jane@src.test", " AUTH=boss+40src.test").code == 250
        m = milter.seen("M").of("M")[0].macros
        assert m["{auth_type}"] == "PLAIN" and m["{auth_authen}"].startswith("jane") and "boss" in m["{auth_author}"]


def test_starttls_ends_a_message(own, milter):
    with own.client(source="127.0.0.2") as c:
        assert c.mail("a@src.test").code == 250
        milter.seen("M")
        c.cmd("RSET")
        c.starttls()
        assert c.mail("a@src.test").code == 250
    assert milter.seen("MAHM").codes().count("C") == 1


def test_spared(own, milter, sink, tag):
    milter.on["C"] = REJECT
    with own.client(source="127.0.0.7") as c:
        assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
    sink.wait(tag)
    assert not milter.sessions


@pytest.mark.parametrize("used", [False, True])
def test_front_end(own, milter, sink, tag, used):
    """The client that XCLIENT names is a new one to filters, on a connection of its own; also when the front end had been a client itself."""
    with own.client(source="127.0.0.6") as c:
        if used:
            assert c.mail("a@src.test").code == 250
            assert c.cmd("RSET").code == 250
        assert c.cmd("XCLIENT ADDR=192.0.2.77 NAME=far.example HELO=said.example LOGIN=joe").code == 220
        milter.on["E"] = [add_header("X", "y"), CONTINUE]
        assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
    assert "X: y" in arrived(sink, tag)[1]
    s = milter.seen("OCHMRTLNBE")
    assert b"192.0.2.77\0" in s.of("C")[-1].data and s.of("C")[-1].macros["{client_addr}"] == "192.0.2.77"
    assert s.of("H")[0].texts == ["said.example"] and s.of("M")[-1].macros["{auth_authen}"] == "joe"
    assert len(milter.sessions) == 1 + used
    if used:
        milter.seen("OCMAQ", milter.sessions[0])


def test_chunks_of_the_client(own, milter, sink, tag):
    """BDAT: the same events as with DATA, however the client cuts it."""
    content = message(tag, b"0123456789\r\n" * 9000, b"A: 1\r\nB: 2\r\n")
    milter.on["E"] = [add_header("X", "y"), CONTINUE]
    with own.client(source="127.0.0.2") as c:
        c.mail("a@src.test")
        c.rcpt("b@local.test")
        for i in range(0, len(content), 7000):
            piece = content[i:i + 7000]
            c.send(b"BDAT %d\r\n" % len(piece) + piece)
            assert c.reply().code == 250
        c.send(b"BDAT 0 LAST\r\n")
        assert c.reply().code == 250
    s = milter.seen("MRTLNBE")
    assert s.body() == b"0123456789\r\n" * 9000 and len(s.headers()) == 3 and len(s.of("T")) == 1
    assert "X: y" in arrived(sink, tag)[1]
    milter.reset()
    milter.on["T"] = REJECT
    with own.client(source="127.0.0.2") as c:
        c.mail("a@src.test")
        c.rcpt("b@local.test")
        c.send(b"BDAT 9 LAST\r\nA: 1\r\n\r\nx")
        assert c.reply().code == 550
        c.stays()

