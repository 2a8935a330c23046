"""TLS towards servers: when it is used, what may be required of it, and what servers may do wrong."""
import json
import os
import ssl

import pytest
from lib.client import Client, message
from lib.dns import A
from lib.paths import free_port
from lib.sink import Sink
from lib.tls_world import deferred, send, world  # noqa: F401 (a fixture)
from lib.wait import until

pytestmark = pytest.mark.inside


def tls_line(site, count=1):
    return until(lambda: site.log_lines("smtpc", "sc.tls")[count - 1:], "smtpc says how TLS is")[-1]


def test_offered_is_used(world):
    """Whoever the server is; the hello is said again inside; log and queue tell."""
    s = world.server(cert=world.issue("nobody.test", "stranger"))
    with world.site({"good.test": (s, "mx.good.test")}) as site:
        send(site, "a@good.test")
        m, = s.wait()
        assert m.tls == "TLSv1.3" and m.hellos == 2 and m.client is None
        line = tls_line(site)
        assert "starttls=TLSv1.3" in line and "verify=FAIL" in line and "server=mx.good.test" in line
        assert "tls=\"TLSv1.3 " in deferred(site, "a@good.test", "sc.delivered")
        assert s.clear_lines() == [b"EHLO mx.test", b"STARTTLS"]


def test_a_session_is_resumed_and_reused(world):
    s = world.server()
    with world.site({"good.test": (s, "mx.good.test")}, settings={"smtpc.max_messages_per_session": "1"}) as site:
        for i in range(3):
            send(site, "a@good.test")
            s.wait(i + 1)
        assert "verify=OK" in tls_line(site) and "cn=mx.good.test" in tls_line(site)
        assert s.connections == 3
        assert "resumed=1" in tls_line(site, 3)


def test_not_offered_goes_in_clear(world):
    s = world.server(cert=None)
    with world.site({"good.test": (s, "mx.good.test")}) as site:
        send(site, "a@good.test")
        assert s.wait()[0].tls is None
        assert "tls=none" in deferred(site, "a@good.test", "sc.delivered")


@pytest.mark.parametrize("how", ["plain", "close", "old"])
def test_failed_handshake_then_clear_and_remembered(world, how):
    def old(context):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["x"])
    settings = {}
    s = world.server(starttls="ok" if how == "old" else how, tls=None if how != "old" else old)
    if how == "old":  # no cipher in common
        settings["smtpc.tls.ciphersuites"] = "TLS_AES_128_CCM_8_SHA256"
        settings["smtpc.tls.min_version"] = "TLSv1.3"
    with world.site({"good.test": (s, "mx.good.test")}, settings={"smtpc.session_idle_timeout": "0s", **settings}) as site:
        send(site, "a@good.test")
        m, = s.wait()
        assert m.tls is None and m.connection == 2
        assert "next=clear" in until(lambda: site.log_lines("smtpc", "sc.tls_failed"), "said")[0]
        send(site, "a@good.test")
        assert s.wait(2)[1].connection == 3
        assert len(site.log_lines("smtpc", "sc.tls_failed")) == 1


def test_refused_starttls_goes_in_clear(world):
    s = world.server(starttls="refuse")
    with world.site({"good.test": (s, "mx.good.test")}) as site:
        send(site, "a@good.test")
        m, = s.wait()
        assert m.tls is None and m.connection == 1


def test_injected_reply_ends_the_connection(world):
    """CVE-2021-38371: what comes in one piece with the reply to STARTTLS is from somebody in between. Nothing is sent, not in clear either."""
    s = world.server(starttls="inject")
    with world.site({"good.test": (s, "mx.good.test")}) as site:
        send(site, "a@good.test")
        deferred(site, "server sent more than it was asked for")
        until(lambda: s.connections >= 2, "it is tried again")
        assert not s.mails and not [x for x in s.said if x[2].startswith((b"MAIL", b"AUTH"))]


LEVELS = [
    # what the access map says, cert, served?, what is said
    ("tls { level = none; }", "good", "clear", None),
    ("tls { level = encrypt; }", "stranger", "tls", None),
    ("tls { level = verify; }", "good", "tls", None),
    ("tls { level = verify; }", "stranger", None, "4.7.5 certificate of the server"),
    ("tls { level = verify; }", "other", None, "4.7.5 certificate of the server"),
    ("tls { level = verify; names = { mx.other.test, x.test }; }", "other", "tls", None),
    ("tls { level = encrypt; }", None, None, "4.7.4 TLS is required"),
    ("tls { min_bits = 128; }", "good", "tls", None),
    ("tls { min_bits = 512; }", "good", None, "are required"),
    ('tls { issuer = "/C=US/O=endmail.org/CN=Test+20CA"; }', "good", "tls", None),
    ('tls { issuer = "/O=smx+20tests/CN=Other+20CA"; }', "good", None, "it is signed by somebody else"),
    ('tls { subject = "/O=smx+20tests/CN=mx.good.test"; }', "good", "tls", None),
    ('tls { subject = "/O=smx+20tests/CN=mx.bad.test"; }', "good", None, "it is for somebody else"),
    ("tls { min_version = TLSv1.3; }", "good", "tls", None),
]


@pytest.mark.parametrize("tag", ["smtpc_session_conf:mx.good.test", "smtpc_rcpt_conf:@good.test"])
@pytest.mark.parametrize("conf, cert, how, text", LEVELS)
def test_requirements(world, tag, conf, cert, how, text):
    certs = {"good": lambda: world.good, "stranger": lambda: world.issue("mx.good.test", "stranger"), "other": lambda: world.issue("mx.other.test"),
             None: lambda: None}
    if "none" in conf and "rcpt" in tag:
        pytest.skip("a recipient cannot want less than its server is given")
    s = world.server(cert=certs[cert]())
    with world.site({"good.test": (s, "mx.good.test")}, f"{tag} {conf}\n") as site:
        send(site, "a@good.test")
        if text:
            line = deferred(site, text)
            assert "where=tls" in line or "where=tls" in deferred(site, text, "sc.session_failed")
            assert not s.mails
        else:
            m, = s.wait()
            assert (m.tls is None) == (how == "clear")


def test_entries_by_parent_and_address(world):
    for key in (".good.test", "127.0.0.1", "127.0"):
        s = world.server(cert=None)
        with world.site({"good.test": (s, "mx.good.test")}, f"smtpc_session_conf:{key} tls {{ level = encrypt; }}\n") as site:
            send(site, "a@good.test")
            deferred(site, "TLS is required")
            assert not s.mails


def test_violation_permanent_is_a_bounce(world):
    s = world.server(cert=None)
    with Sink() as back:
        with world.site({"good.test": (s, "mx.good.test"), "src.test": (back, "mx.other.test")},
                        "smtpc_session_conf:mx.good.test tls { level = encrypt; violation = permanent; }\n") as site:
            send(site, "a@good.test")
            dsn = until(lambda: back.reports("s@src.test"), "the sender is told")[0]
            assert b"Status: 5.7.4" in dsn.content and b"TLS is required" in dsn.content
            site.wait_empty()


@pytest.mark.parametrize("violation, second", [("temporary", True), ("permanent", True), ("abort", False)])
def test_other_servers_are_tried_unless_it_is_abort(world, violation, second):
    port = free_port()
    bad, good = Sink(port, host="127.0.0.1"), Sink(port, host="127.0.0.2")
    world.dns.add("mx.second.test", A("127.0.0.2"))
    try:
        with world.site({"good.test": [(bad, "mx.good.test"), (good, "mx.second.test")]},
                        f"smtpc_session_conf:mx.good.test tls {{ level = encrypt; violation = {violation}; }}\n") as site:
            send(site, "a@good.test")
            if second:
                good.wait("x")
            else:
                deferred(site, "TLS is required")
                assert not good.connections
                assert b"QUIT" not in [line for _, line in bad.commands]
            assert not bad.messages
    finally:
        bad.stop()
        good.stop()


def test_recipients_who_require_do_not_share_sessions(world):
    """A session opened for somebody who does not care is not used for somebody who requires TLS; the others go on meanwhile."""
    s = world.server(cert=None)
    with world.site({"good.test": (s, "mx.good.test")}, "smtpc_rcpt_conf:vip@good.test tls { level = encrypt; }\n",
                    settings={"smtpc.session_idle_timeout": "1m"}) as site:
        send(site, "a@good.test")
        s.wait(1)
        send(site, ["vip@good.test", "b@good.test"])
        s.wait(2)
        assert s.mails[1].rcpts == ["RCPT TO:<b@good.test>"]
        deferred(site, "vip@good.test")
        # What one recipient requires is no reason to think ill of the host.
        send(site, "c@good.test")
        s.wait(3)


def test_show_tells_of_the_last_try(world):
    s = world.server()
    with world.site({"good.test": (s, "mx.good.test")}) as site:
        s.refuse_rcpt = True
        with Client(site.port) as c:
            c.ehlo()
            ta = c.send_mail("s@src.test", ["a@good.test"], message("x")).text
        deferred(site, "a@good.test")
        shown = [json.loads(x) for x in site._run(["sh", os.path.join(site.dir, "qmgrctl"), "-j", "show", next(w for w in ta.split() if w.startswith("S0"))]).stdout.splitlines()]
        rcpt = [x for x in shown if x.get("type") == "rcpt" or "rcpt" in x][0]
        assert rcpt["tls"].startswith("TLSv1.3 ") and rcpt["tls"].endswith(" OK mx.good.test")


def test_a_client_certificate_is_shown(world):
    cert, key = world.issue("client.test")

    def ask(context):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(world.certs.path("ca"))
    s = world.server(tls=ask)
    with world.site({"good.test": (s, "mx.good.test")}, settings={"smtpc.tls.cert_file": f'{{ "{cert}" }}', "smtpc.tls.key_file": f'{{ "{key}" }}'}) as site:
        send(site, "a@good.test")
        assert s.wait()[0].client == "client.test"


def test_a_wrong_entry_is_trouble_of_our_own(world):
    s = world.server()
    with world.site({"good.test": (s, "mx.good.test")}, "smtpc_session_conf:mx.good.test tls { level = may; names = { a.test }; }\n") as site:
        send(site, "a@good.test")
        assert "where=local" in deferred(site, "4.3.0 what the access map says of this server is wrong")
        assert "tls: what is required needs level verify" in site.log_lines("smtpc", "sc.server_conf")[0]
        assert not s.connections


def test_smar_away_is_temporary(world):
    """Nothing is sent without having asked; it goes out when smar is back."""
    s = world.server()
    with world.site({"good.test": (s, "mx.good.test")}) as site:
        send(site, "a@good.test")
        s.wait(1)
        old = site.kill("smar")
        site.restarted("smar", old)
        send(site, "a@good.test")
        s.wait(2)
        site.wait_empty()
