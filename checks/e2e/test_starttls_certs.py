"""Client certificates: what they are worth for relaying, and what of them comes into header and log."""
import os
import re
import signal
import subprocess

import pytest
from lib.certs import Certs
from lib.client import message, trusting
from lib.paths import BUILD
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

DARTH = "/C=US/O=endmail.org/OU=private/CN=Darth Mail (Cert)/emailAddress=darth\\+cert@endmail.org"
DARTH_KEY = "/C=US/O=endmail.org/OU=private/CN=Darth+20Mail+20+28Cert+29/emailAddress=darth+2Bcert@endmail.org"
CA_KEY = "/C=US/O=endmail.org/CN=Test+20CA"
ACCESS = f"""\
certissuer:{CA_KEY} cont
CertSubject:{DARTH_KEY} relay
certsubject:/CN=okay ok
certsubject:/O=a/CN=relay relay
certissuer:/CN=Other+20CA relay
certissuer:/CN=Third+20CA error:550 5.7.1 never
"""


@pytest.fixture(scope="module")
def certs():
    with Certs() as c:
        c.make("server", "/CN=mx.test", ["mx.test"])
        c.authority("ca2", "/CN=Other CA")
        c.authority("ca3", "/CN=Third CA")
        c.authority("foreign", "/C=US/O=endmail.org/CN=Test CA")  # the same name, another key
        c.make("darth", DARTH)
        c.make("okay", "/CN=okay")
        c.make("second", "/CN=whoever", ca="ca2")
        c.make("third", "/CN=whoever", ca="ca3")
        c.make("forged", DARTH, ca="foreign")
        # One component whose value looks like the components of another name
        c.make("slash", r"/O=a\/CN=relay")
        c.make("noslash", "/O=a/CN=relay")
        c.make("expired", DARTH, days=-1)
        c.make("odd", "/CN=a\\, b\\=\"c\\\"\n\x1b[2J\\\\\xe9", kind="rsa")
        c.make("long", "/C=US" + "".join(f"/OU={n}{'x' * 60}" for n in range(10, 30)) + "/CN=long")
        with open(c.path("cas"), "w") as all_of_them:
            for name in ("ca", "ca2", "ca3"):
                with open(c.path(name)) as f:
                    all_of_them.write(f.read())
        yield c


def make(sink, dns, certs, tls_flags, access=None, smtps_flags="access", **more):
    settings = {**certs.settings("server", ca="cas", flags="{ " + tls_flags + " }"), **more}
    if access:
        settings.update({"smtps.flags": "{ " + smtps_flags + " }", "smar.access_map.file": "../access.db"})
    site = Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("far.test", "src.test")], relay=["local.test"], dns=dns.address, settings=settings)
    if access:
        subprocess.run([os.path.join(BUILD, "createmap"), "-k", "access", os.path.join(site.dir, "access.db")], input=access, text=True, check=True)
        os.chmod(os.path.join(site.dir, "access.db"), 0o644)
    return site


@pytest.fixture(scope="module")
def verified(sink, dns, certs):
    with make(sink, dns, certs, "allow_relaying_if_verified") as s:
        yield s


@pytest.fixture(scope="module")
def mapped(sink, dns, certs):
    with make(sink, dns, certs, "check_access_map_for_relaying", ACCESS) as s:
        yield s


def relays(site, certs, name):
    """May whoever shows this certificate send to somebody else's domain? Gives the reply to RCPT."""
    with site.client() as c:
        c.starttls(trusting(certificate=certs.path(name), key=certs.key(name)) if name else trusting())
        assert c.mail("a@src.test").code == 250
        return c.rcpt("b@far.test")


VERIFIED = {None: False, "darth": True, "okay": True, "second": True, "third": True, "forged": False, "expired": False, "odd": True, "long": True}
MAPPED = {None: False, "darth": True, "okay": False, "second": True, "third": False, "forged": False, "expired": False, "slash": False, "noslash": True, "odd": False,
          "long": False}


@pytest.mark.parametrize("name", VERIFIED, ids=str)
def test_allow_relaying_if_verified(verified, certs, name):
    r = relays(verified, certs, name)
    assert (r.code, r.enhanced) == ((250, "2.1.5") if VERIFIED[name] else (550, "5.7.1")), r


@pytest.mark.parametrize("name", MAPPED, ids=str)
def test_check_access_map_for_relaying(mapped, certs, name):
    r = relays(mapped, certs, name)
    assert (r.code, r.enhanced) == ((250, "2.1.5") if MAPPED[name] else (550, "5.7.1")), r


def test_no_flag_no_relaying(sink, dns, certs):
    with make(sink, dns, certs, "") as s:
        assert relays(s, certs, "darth").code == 550


def test_not_asked_for(sink, dns, certs):
    with make(sink, dns, certs, "allow_relaying_if_verified, dont_request_cert") as s:
        assert relays(s, certs, "darth").code == 550
        assert "verify=NONE" in s.log_lines("smtps", "ss.tls")[-1]


def test_the_right_ends_with_the_session(verified, certs):
    assert relays(verified, certs, "darth").code == 250
    assert relays(verified, certs, None).code == 550
    with verified.client() as c:
        assert c.mail("a@src.test").code == 250
        assert c.rcpt("b@far.test").code == 550


def test_smar_cannot_be_asked(sink, dns, certs):
    """Neither relayed nor refused for good: who has such a certificate comes again, all others are served."""
    with make(sink, dns, certs, "check_access_map_for_relaying", ACCESS, **{"smtps.check_timeout": "1s"}) as s:
        for name, code in (("darth", 421), (None, 250)):
            with s.client() as c:
                s.kill("smar", signal.SIGSTOP)
                try:
                    c.starttls(trusting(certificate=certs.path(name), key=certs.key(name)) if name else trusting(), helo=None)
                    assert c.cmd("EHLO x").code == code
                    if code == 421:
                        assert c.closes() == []
                finally:
                    s.kill("smar", signal.SIGCONT)


def test_header_and_log(verified, sink, certs, tag):
    with verified.client() as c:
        c.starttls(trusting(certificate=certs.path("darth"), key=certs.key("darth")))
        assert c.send_mail("a@src.test", "b@far.test", message(tag)).code == 250
    assert b"verify=OK)" in sink.wait(tag)[0].content
    line = [x for x in verified.log_lines("smtps", "ss.tls") if "Darth" in x][-1]
    assert 'verify=OK, cn="Darth Mail (Cert)"' in line
    assert f"issuer={CA_KEY}, subject={DARTH_KEY}," in line


def test_what_a_client_wrote_into_its_name(verified, certs, sink, tag):
    """One value of one line, and nothing in the header."""
    with verified.client() as c:
        c.starttls(trusting(certificate=certs.path("odd"), key=certs.key("odd")))
        assert c.send_mail("a@src.test", "b@far.test", message(tag)).code == 250
    line = [x for x in verified.log_lines("smtps", "ss.tls") if "verify=OK" in x][-1]
    assert re.search(r"cn=\"a\\x2c b=[^,]*\\x0a\\x1b\[2J[^,]*\"?, issuer=", line), line
    assert "subject=/CN=a\\x2c+20b=+22c+22+0A+1B[2J" in line, line
    received = sink.wait(tag)[0].content.split(b"\r\n\tid ")[0]
    assert b"\x1b" not in received and b"a, b" not in received


def test_names_are_cut(verified, certs):
    with verified.client() as c:
        c.starttls(trusting(certificate=certs.path("long"), key=certs.key("long")))
        c.stays()
    line = until(lambda: [x for x in verified.log_lines("smtps", "ss.tls") if "cn=long" in x], "ss.tls")[-1]
    assert "/OU=10xxx" in line


def test_the_flag_needs_the_map():
    r = subprocess.run([os.path.join(BUILD, "smtps/smtps"), "-f", "/dev/stdin", "-VVVVV"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       input='smtps { tls { cert_file = "/x"; flags = { check_access_map_for_relaying }; } }\n')
    assert "needs the flag access" in r.stdout, r.stdout
