"""smtpc logs in to servers of others: mechanisms, credentials by host, what goes wrong, and that no secret is anywhere to be read."""
import os

import pytest
from lib import sasl
from lib.client import Client, message
from lib.tls_world import deferred, send, world  # noqa: F401 (a fixture)
from lib.wait import until

pytestmark = pytest.mark.inside
SECRET = "Tr0ub4dor 3;x"
TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg"
PASSWORD = f'user = "joe"; password = "{SECRET}";'
BEARER = f'user = "joe@good.test"; token = "{TOKEN}";'


def site_for(world, server, auth, access="", settings=None, **kw):
    return world.site({"good.test": (server, "mx.good.test")}, access, settings, auth, **kw)


def no_secret(site):
    logs = "".join(site.logs_since().values())
    for s in (SECRET, TOKEN):
        assert s not in logs


MECHS = [("PLAIN", PASSWORD), ("LOGIN", PASSWORD), ("SCRAM-SHA-1", PASSWORD), ("SCRAM-SHA-256", PASSWORD), ("XOAUTH2", BEARER), ("OAUTHBEARER", BEARER)]


@pytest.mark.parametrize("mech, entry", MECHS)
def test_mechanisms(world, mech, entry):
    s = world.server(users={"joe": SECRET, "joe@good.test": TOKEN}, mechs=(mech,))
    with site_for(world, s, f"mx.good.test {entry}\n") as site:
        send(site, "a@good.test")
        m, = s.wait()
        assert m.mech == mech and m.user.startswith("joe") and m.tls == "TLSv1.3"
        line = until(lambda: site.log_lines("smtpc", "sc.auth"), "logged")[0]
        assert f"auth={mech}" in line and "stat=235" in line
        if mech == "OAUTHBEARER":
            assert s.bearer["host"] == "mx.good.test" and s.bearer["port"] == str(s.port)
        no_secret(site)


@pytest.mark.parametrize("mech, entry", MECHS)
def test_a_wrong_secret_is_temporary(world, mech, entry):
    s = world.server(users={"joe": "another", "joe@good.test": "another"}, mechs=(mech,))
    with site_for(world, s, f"mx.good.test {entry}\n") as site:
        send(site, "a@good.test")
        line = deferred(site, "5.7.8 authentication failed")
        assert "where=auth" in line
        assert not s.mails and s.logins
        if "OAUTH" in mech:
            assert s.errors == [b"" if mech == "XOAUTH2" else b"\x01"] * len(s.errors) and s.errors
        no_secret(site)


def test_a_wrong_password_is_not_tried_with_each_mail(world):
    """Servers lock accounts: the first failures speak for those that wait."""
    s = world.server(users={"joe": "another"}, mechs=("PLAIN",))
    with site_for(world, s, f"mx.good.test {PASSWORD}\n", settings={"qmgr.retry_min_delay": "1h", "qmgr.retry_max_delay": "4h"}) as site:
        for _ in range(40):
            send(site, "a@good.test")
        until(lambda: len(site.log_lines("qmgr", "qm.rcpt")) >= 40, lambda: f"all wait\n{site.log_tail()}")
        assert 0 < len(s.logins) <= 20 and not s.mails


def test_the_best_mechanism_is_taken(world):
    s = world.server(users={"joe": SECRET}, mechs=("LOGIN", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"))
    with site_for(world, s, f"mx.good.test {PASSWORD}\n") as site:
        send(site, "a@good.test")
        assert s.wait()[0].mech == "SCRAM-SHA-256"


def test_the_configuration_says_which(world):
    s = world.server(users={"joe": SECRET}, mechs=("LOGIN", "PLAIN", "SCRAM-SHA-1"))
    with site_for(world, s, f"mx.good.test {PASSWORD}\n", "smtpc_session_conf:mx.good.test auth { mechanisms = { LOGIN, PLAIN }; }\n") as site:
        send(site, "a@good.test")
        assert s.wait()[0].mech == "LOGIN"


@pytest.mark.parametrize("key", [".good.test", "127.0.0.1", "127"])
def test_credentials_by_parent_and_address(world, key):
    s = world.server(users={"joe": SECRET}, mechs=("PLAIN",))
    with site_for(world, s, f"{key} {PASSWORD}\n") as site:
        send(site, "a@good.test")
        assert s.wait()[0].user == "joe"


def test_no_entry_no_auth(world):
    s = world.server(users={"joe": SECRET}, mechs=("PLAIN",), must_auth=False)
    with site_for(world, s, f"mx.other.test {PASSWORD}\n") as site:
        send(site, "a@good.test")
        assert s.wait()[0].user is None and not s.logins


@pytest.mark.parametrize("mech, entry", MECHS)
def test_never_in_clear(world, mech, entry):
    """A secret that a listener could use is not said without TLS; what is no secret to him is."""
    s = world.server(cert=None, users={"joe": SECRET, "joe@good.test": TOKEN}, mechs=(mech,), auth_in_clear=True)
    with site_for(world, s, f"mx.good.test {entry}\n") as site:
        send(site, "a@good.test")
        if mech.startswith("SCRAM"):
            assert s.wait()[0].tls is None
        else:
            deferred(site, "4.7.4 AUTH: it would be readable")
            assert not s.logins and not s.mails


def test_in_clear_where_the_configuration_says_so(world):
    s = world.server(cert=None, users={"joe": SECRET}, mechs=("PLAIN",), auth_in_clear=True)
    with site_for(world, s, f"mx.good.test {PASSWORD}\n", "smtpc_session_conf:mx.good.test auth { clear_text = on; }\n") as site:
        send(site, "a@good.test")
        assert s.wait()[0].user == "joe"


@pytest.mark.parametrize("how, offered", [("temporary", ()), ("ignore", ()), ("permanent", ()), ("ignore", ("PLAIN",)), ("permanent", ("PLAIN",))])
def test_failure_as_configured(world, how, offered):
    s = world.server(users={"joe": "another"}, mechs=offered, must_auth=False)
    with site_for(world, s, f"mx.good.test {PASSWORD}\n", f"smtpc_session_conf:mx.good.test auth {{ failure = {how}; }}\n") as site:
        send(site, "a@good.test")
        if how == "ignore":
            assert s.wait()[0].user is None
        else:
            event = "sc.deferred" if how == "temporary" else "sc.failed"
            deferred(site, "AUTH: server does not offer it" if not offered else "authentication failed", event)
            assert not s.mails


@pytest.mark.parametrize("proof", [False, "wrong"])
def test_scram_server_has_to_prove_itself(world, proof):
    """One that does not know the password says 235 all the same: it gets no mail."""
    s = world.server(users={"joe": SECRET}, mechs=("SCRAM-SHA-256",), scram_proof=proof)
    with site_for(world, s, f"mx.good.test {PASSWORD}\n") as site:
        send(site, "a@good.test")
        deferred(site, "SCRAM-SHA-256")
        assert not s.mails


def test_scram_server_cannot_keep_us_hashing(world):
    s = world.server(users={"joe": SECRET}, mechs=("SCRAM-SHA-1",), scram_rounds=2 * 10 ** 6)
    with site_for(world, s, f"mx.good.test {PASSWORD}\n") as site:
        send(site, "a@good.test")
        deferred(site, "too many rounds of hashing")
        assert not s.mails


def test_questions_without_end(world):
    def ask(c, first):
        while c.ask(b"and?") is not None:
            pass
        c.say("501 5.7.0 cancelled")
        return ""
    s = world.server(users={"joe": SECRET}, mechs=("LOGIN",), auth_hook=ask)
    with site_for(world, s, f"mx.good.test {PASSWORD}\n") as site:
        send(site, "a@good.test")
        deferred(site, "LOGIN: more questions than there are answers")
        assert not s.mails


def token_file(directory, name, text):
    path = os.path.join(directory, name)
    with open(path + ".new", "w") as f:
        f.write(text)
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)


def test_token_of_a_file_is_read_anew(world):
    directory = os.path.join(world.certs.dir, "tokens")
    os.makedirs(directory)
    token_file(directory, "good", "old\n")
    s = world.server(users={"joe@good.test": TOKEN}, mechs=("XOAUTH2",))
    with site_for(world, s, 'mx.good.test user = "joe@good.test"; token_file = good;\n', settings={"smtpc.token_directory": directory}) as site:
        send(site, "a@good.test")
        deferred(site, "authentication failed")
        token_file(directory, "good", TOKEN + "\n")
        assert s.wait()[0].user == "joe@good.test"
        no_secret(site)


@pytest.mark.parametrize("name, directory, text", [("../passwd", "/etc", "is no name of a file"), ("gone", "/etc", "No such file"), ("x", None, "without token_directory")])
def test_token_file_that_is_none(world, name, directory, text):
    s = world.server(users={"joe@good.test": TOKEN}, mechs=("XOAUTH2",))
    with site_for(world, s, f'mx.good.test user = "joe@good.test"; token_file = "{name}";\n',
                  settings={"smtpc.token_directory": directory} if directory else None) as site:
        send(site, "a@good.test")
        deferred(site, "the OAuth 2.0 token cannot be had")
        assert text in site.log_lines("smtpc", "sc.auth_token")[0]
        assert not s.logins


@pytest.mark.parametrize("entry", [f"joe:{SECRET}", f'user = joe; passwd = "{SECRET}";', f'user = joe; password = "{SECRET}', "user = joe;"])
def test_a_wrong_entry_is_said_without_it(world, entry):
    s = world.server(users={"joe": SECRET}, mechs=("PLAIN",))
    with site_for(world, s, f"mx.good.test {entry}\n") as site:
        send(site, "a@good.test")
        deferred(site, "4.3.0 what the access map says of this server is wrong")
        assert not s.connections
        no_secret(site)


@pytest.mark.parametrize("trusted, want", [("off", b"MAIL FROM:<s@src.test>"), ("on", b"MAIL FROM:<s@src.test> AUTH=<>")])
def test_who_submitted_is_told_to_trusted_servers(world, trusted, want):
    s = world.server(users={"joe": SECRET}, mechs=("PLAIN",))
    with site_for(world, s, f"mx.good.test {PASSWORD}\n", f"smtpc_session_conf:mx.good.test auth {{ trusted = {trusted}; }}\n") as site:
        send(site, "a@good.test")
        assert s.wait()[0].mail.encode() == want


def test_one_login_for_many_mails(world):
    s = world.server(users={"joe": SECRET}, mechs=("PLAIN",))
    with site_for(world, s, f"mx.good.test {PASSWORD}\n", settings={"smtpc.session_idle_timeout": "1m"}) as site:
        for i in range(3):
            send(site, "a@good.test")
            s.wait(i + 1)
        assert len(s.logins) == 1 and s.connections == 1


@pytest.mark.skipif(not sasl.available(), reason="no saslpasswd2")
def test_who_submitted_goes_from_client_to_server(world):
    """AUTH= of a client that has said who it is, as it gave it; of nobody else."""
    db = sasl.Sasl(os.path.join(world.certs.dir, "users"), users=[("jane", "pw")])
    s = world.server(users={"joe": SECRET}, mechs=("PLAIN",))
    with site_for(world, s, f"mx.good.test {PASSWORD}\n", "smtpc_session_conf:mx.good.test auth { trusted = on; }\n", settings=db.settings()) as site:
        with Client(site.port) as c:
            c.ehlo()
            assert c.mail("s@src.test", " AUTH=e+3Dmc2@example.com").code == 250
            assert c.rcpt("a@good.test").code == 250 and c.cmd("DATA").code == 354
            assert c.finish(message("x")).code == 250
            s.wait(1)
            assert c.cmd("AUTH PLAIN " + sasl.b64("\0jane\0pw")).code == 235
            assert c.mail("s@src.test", " AUTH=e+3Dmc2@example.com").code == 250
            assert c.rcpt("a@good.test").code == 250 and c.cmd("DATA").code == 354
            assert c.finish(message("x")).code == 250
            s.wait(2)
        assert s.mails[0].mail == "MAIL FROM:<s@src.test> AUTH=<>"
        assert s.mails[1].mail == "MAIL FROM:<s@src.test> AUTH=e+3Dmc2@example.com"
