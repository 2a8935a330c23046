"""Postfix as a smart host: TLS that is verified, and each mechanism that its Cyrus SASL has."""
import os

import pytest
from lib.debian import Unavailable
from lib.postfix import Postfix
from lib.sasl import Sasl, available
from lib.sink import Sink
from lib.tls_world import deferred, send, world  # noqa: F401 (a fixture)
from lib.wait import until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(os.getuid() != 0, reason="Postfix needs root"),
              pytest.mark.skipif(not available(), reason="no sasl2-bin")]
PASSWORD = "correct horse, battery"
MECHS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"]


@pytest.fixture(scope="module")
def sink():
    with Sink() as s:
        yield s


@pytest.fixture(scope="module")
def postfix(world, sink):
    sasl = Sasl(os.path.join(world.certs.dir, "sasl"), realm="postfix.test")
    sasl.add("joe", PASSWORD)
    cert, key = world.issue("mx.good.test")
    settings = [f"smtpd_tls_cert_file = {cert}", f"smtpd_tls_key_file = {key}", "smtpd_tls_security_level = may", "smtpd_tls_auth_only = yes",
                "smtpd_tls_ask_ccert = yes", f"smtpd_tls_CAfile = {world.certs.path('ca')}", "smtpd_tls_received_header = yes",
                "smtpd_sasl_auth_enable = yes", f"cyrus_sasl_config_path = {sasl.dir}", "smtpd_sasl_local_domain = postfix.test",
                "smtpd_sasl_authenticated_header = yes", "smtpd_relay_restrictions = permit_sasl_authenticated, reject"]
    try:
        p = Postfix({"*": sink.port}, settings)
    except Unavailable as e:
        pytest.skip(str(e))
    # Where Debian's Postfix looks, and where others are told to.
    os.mkdir(os.path.join(p.dir, "conf", "sasl"))
    for directory in (sasl.dir, os.path.join(p.dir, "conf", "sasl")):
        with open(os.path.join(directory, "smtpd.conf"), "w") as f:
            f.write(f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {sasl.db}\nmech_list: {' '.join(MECHS)}\n")
    with p:
        yield p


def site_for(world, postfix, password, access):
    return world.site({"good.test": (postfix, "mx.good.test")}, access, auth=f'mx.good.test user = joe; password = "{password}";\n')


@pytest.mark.parametrize("mech", [None, *MECHS])
def test_mechanisms(world, postfix, sink, tag, mech):
    auth = f"auth {{ mechanisms = {{ {mech} }}; }}" if mech else ""
    with site_for(world, postfix, PASSWORD, f"smtpc_session_conf:mx.good.test tls {{ level = verify; }} {auth}\n") as site:
        send(site, "a@good.test", tag)
        m, = sink.wait(tag)
        received = m.header.replace(b"\r\n\t", b" ")
        assert b"ESMTPSA" in received and b"(Authenticated sender: joe" in received
        line = until(lambda: site.log_lines("smtpc", "sc.auth"), "logged")[0]
        assert f"auth={mech or MECHS[0]}" in line and "stat=235" in line and PASSWORD not in line
        assert "verify=OK" in site.log_lines("smtpc", "sc.tls")[0]


@pytest.mark.parametrize("mech", MECHS)
def test_a_wrong_password_waits(world, postfix, sink, tag, mech):
    with site_for(world, postfix, "wrong", f"smtpc_session_conf:mx.good.test auth {{ mechanisms = {{ {mech} }}; }}\n") as site:
        send(site, "a@good.test", tag)
        assert "where=auth" in deferred(site, "authentication failed")
        assert not sink.find(tag)


def test_without_tls_it_does_not_offer_auth(world, postfix, sink, tag):
    with site_for(world, postfix, PASSWORD, "smtpc_session_conf:mx.good.test tls { level = none; }\n") as site:
        send(site, "a@good.test", tag)
        deferred(site, "4.7.4 AUTH: server does not offer it")
        assert not sink.find(tag)
