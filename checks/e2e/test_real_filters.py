"""Filters that others have written, and the one that comes with smx, behind smtps."""
import contextlib
import grp
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile

import pytest
from lib import foreign
from lib.client import message
from lib.paths import BUILD, free_port
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

OPENDKIM, GENKEY = "/usr/sbin/opendkim", "/usr/sbin/opendkim-genkey"
REGEX = os.path.join(BUILD, "contrib/milter-regex")


# Who runs filters that do not want to be root.
USER = os.environ.get("SMX_TEST_USER", "nobody")
GROUP = grp.getgrgid(pwd.getpwnam(USER).pw_gid).gr_name


@contextlib.contextmanager
def open_place():
    """A directory for a filter; it may write there."""
    d = tempfile.mkdtemp(prefix="smx-filters-")
    if os.getuid() == 0:
        shutil.chown(d, USER, GROUP)
    os.chmod(d, 0o755)
    try:
        yield d
    finally:
        shutil.rmtree(d, ignore_errors=True)


@pytest.fixture(scope="module")
def place():
    with open_place() as d:
        yield d


def file(place, name, text, mode=0o644):
    path = os.path.join(place, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


@contextlib.contextmanager
def running(port, *argv):
    """A filter in the foreground, from when it answers; what it says is on our standard output."""
    said = tempfile.TemporaryFile()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def text():
        return os.pread(said.fileno(), 1000000, 0).decode(errors="replace")

    def answers():
        assert process.poll() is None, f"{argv}: {text()}"
        try:
            with socket.create_connection(("127.0.0.1", port), 5):
                return True
        except OSError:
            return False
    try:
        until(answers, f"{argv[0]} listens", 300)
        yield process
    finally:
        foreign.end(process)
        print(text())
        said.close()


def site_with(sink, dns, *ports, more=""):
    """Asked in this order."""
    site = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    site.add("smtps", "".join(f'policy_milter f{p} {{ socket {{ type = inet; address = "127.0.0.1"; port = {p}; }} flags = {{ tempfail }}; {more} }}\n'
                              for p in ports))
    return site


def send(site, content, sender="a@src.test", rcpts=("b@local.test",), helo="client.test"):
    with site.client(helo=helo) as c:
        return c.send_mail(sender, list(rcpts), content)


# ---- OpenDKIM ----

SELECTOR, DOMAIN = "s1", "src.test"


@pytest.fixture(scope="module")
def key(place):
    """(file with the key, text of the TXT record)."""
    if not os.access(OPENDKIM, os.X_OK) or not os.access(GENKEY, os.X_OK):
        pytest.skip("opendkim and opendkim-tools are not installed")
    subprocess.run([GENKEY, "-D", place, "-s", SELECTOR, "-d", DOMAIN, "-b", "2048"], check=True)
    with open(os.path.join(place, SELECTOR + ".txt")) as f:
        record = "".join(re.findall(r'"([^"]*)"', f.read()))
    return os.path.join(place, SELECTOR + ".private"), record


def opendkim(place, mode, key, port, canonicalization, more=""):
    """Keys of the verifier are in a file: there is no name server for it."""
    record = file(place, "keys", f"{SELECTOR}._domainkey.{DOMAIN} {key[1]}\n")
    return [OPENDKIM, "-f", "-x", file(place, f"conf-{port}", f"""
Mode {mode}
Socket inet:{port}@127.0.0.1
Domain {DOMAIN}
Selector {SELECTOR}
KeyFile {key[0]}
RequireSafeKeys false
Canonicalization {canonicalization}
InternalHosts 127.0.0.1
TestPublicKeys {record}
AlwaysAddARHeader yes
AuthservID verifier.test
Syslog no
{more}""")]


CONTENTS = {
    "plain": message("@", headers=b"From: a@src.test\r\nTo: b@local.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"),
    "empty": message("@", b"", headers=b"From: a@src.test\r\n"),
    "folded": message("@", b"x  \r\n\r\n \tx\r\n\r\n\r\n", headers=b"From: a@src.test\r\nTo: x,\r\n\ty,\r\n  z\r\nX:y\r\nSUBJECT:   twice \r\n"),
    "dots": message("@", b".\r\n..\r\n.x\r\n", headers=b"From: a@src.test\r\n"),
    "long": message("@", b"0123456789abcdef\r\n" * 20000, headers=b"From: a@src.test\r\n"),
    "8bit": message("@", "Grüße\r\n".encode(), headers="From: a@src.test\r\nX: Grüße\r\n".encode()),
}


@pytest.fixture(scope="module", params=["simple/simple", "relaxed/relaxed"])
def signer(request, place, key, sink, dns):
    port = free_port()
    with running(port, *opendkim(place, "s", key, port, request.param)), site_with(sink, dns, port) as site:
        yield site


def verified(content, key):
    """By an implementation of its own."""
    dkim = pytest.importorskip("dkim", reason="python3-dkim is not installed")
    return dkim.verify(content, dnsfunc=lambda name, timeout=5: key[1].encode() if name == f"{SELECTOR}._domainkey.{DOMAIN}.".encode() else None)


@pytest.mark.parametrize("name", CONTENTS)
def test_opendkim_signs(signer, key, sink, tag, name):
    content = CONTENTS[name].replace(b"@\r\n", tag.encode() + b"\r\n", 1)
    assert send(signer, content).code == 250
    got = sink.wait(tag)[0].content
    assert b"\r\nDKIM-Signature: v=1;" in got or got.startswith(b"DKIM-Signature: v=1;")
    assert verified(got, key)
    assert not verified(got.replace(tag.encode(), b"something else"), key)


def test_opendkim_verifies(place, key, sink, dns, tag):
    """What one has signed, the next one behind it in the same server finds good; what was changed between, bad."""
    sign, check = free_port(), free_port()
    content = message(tag, headers=b"From: a@src.test\r\nTo: b@local.test\r\n")
    with running(sign, *opendkim(place, "s", key, sign, "relaxed/simple")), running(check, *opendkim(place, "v", key, check, "relaxed/simple",
                                                                                                 "InternalHosts 192.0.2.1\n")):
        with site_with(sink, dns, sign, check) as site:
            assert send(site, content).code == 250
            good = sink.wait(tag)[0].content
        with site_with(sink, dns, check) as site:
            # what came from the first server, changed on its way
            bad = message(tag + "-changed", headers=b"X-Note: @\r\n") if b"DKIM-Signature" not in good else \
                good[good.index(b"DKIM-Signature"):].replace(b"\r\n\r\ntext", b"\r\n\r\nother text").replace(tag.encode(), tag.encode() + b"-bad")
            assert send(site, bad).code == 250
            changed = sink.wait(tag + "-bad")[0].content
    assert re.search(rb"(?s)Authentication-Results: verifier\.test;.{0,80}dkim=pass", good), good
    assert re.search(rb"(?s)Authentication-Results: verifier\.test;.{0,80}dkim=fail", changed), changed


# ---- milter-regex ----

RULES = r"""
accept mail /^trusted@/
reject "554 5.7.1 not %from you" mail /@spam\./i
tempfail helo /^later\./
reject "550 5.1.1 not this one" rcpt /^closed@/i
discard mail /^nobody@/ and rcpt /^list@/
add "X-Mark" "one" header /^subject$/i /urgent/i
add "X-Mark" "two" rcpt /^marked@/
quarantine "looks bad" body /^begin 644 .*\.exe/
reject "550 5.6.0 word" body /\bforbidden\b/ and not header /^x-allow$/i
"""


@pytest.fixture(scope="module", params=[2, 6])
def regex(request, place, sink, dns):
    if not os.access(REGEX, os.X_OK):
        pytest.skip("libmilter was not there at configure")
    port = free_port()
    rules = file(place, "rules", RULES)
    with running(port, REGEX, "-d", "-c", rules, "-p", f"inet:{port}@127.0.0.1"), site_with(
            sink, dns, port, more=f"version = {request.param};") as site:
        yield site


def test_regex_refuses(regex, tag, sink):
    with regex.client() as c:
        r = c.mail("x@SPAM.test")
        assert (r.code, r.text) == (554, "5.7.1 not %from you")
        assert c.mail("a@src.test").code == 250
        r = c.rcpt("Closed@local.test")
        assert (r.code, r.text) == (550, "5.1.1 not this one")
        assert c.rcpt("b@local.test").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250
    assert sink.wait(tag)[0].rcpts == ["b@local.test"]
    with regex.client(helo=None) as c:
        assert c.cmd("EHLO later.test").code in (250, 451)
        assert c.mail("a@src.test").code in (451, 503)


def test_regex_reads_content(regex, tag, sink):
    long = b"x" * 70000 + b"\r\n"
    no = message(tag + "-no", long[:900] + b"\r\n" + b"y\r\n" * 40000 + b"a forbidden word")
    r = send(regex, no)
    assert (r.code, r.text) == (550, "5.6.0 word")
    assert send(regex, message(tag + "-allowed", b"a forbidden word\r\n", headers=b"X-Allow: yes\r\n")).code == 250
    assert send(regex, message(tag + "-trusted", b"a forbidden word\r\n"), sender="trusted@src.test").code == 250
    assert sink.wait(tag + "-allowed") and sink.wait(tag + "-trusted") and not sink.find(tag + "-no")


def test_regex_marks(regex, tag, sink):
    assert send(regex, message("very\r\n Urgent " + tag), rcpts=("b@local.test", "marked@local.test")).code == 250
    got = sink.wait(lambda m: b"Urgent " + tag.encode() in m.content)[0]
    assert got.header.endswith(b"X-Mark: one\r\nX-Mark: two\r\n")
    assert send(regex, message(tag + "-plain")).code == 250
    assert b"X-Mark" not in sink.wait(tag + "-plain")[0].header


def test_regex_discards_and_holds(regex, tag, sink):
    assert send(regex, message(tag + "-gone"), sender="nobody@src.test", rcpts=("list@local.test",)).code == 250
    assert send(regex, message(tag + "-held", b"begin 644 a.exe\r\n")).code == 250
    assert send(regex, message(tag + "-other"), sender="nobody@src.test").code == 250
    sink.wait(tag + "-other")
    assert not sink.find(tag + "-gone") and not sink.find(tag + "-held")
    assert any("looks bad" in text for text in regex.logs_since().values())


# ---- ClamAV, with one signature of our own ----

CLAMD, CLAMAV_MILTER = "/usr/sbin/clamd", "/usr/sbin/clamav-milter"
VIRUS = b"this is a virus, says the test"


@pytest.fixture(scope="module")
def clamav(sink, dns):
    if not os.access(CLAMD, os.X_OK) or not os.access(CLAMAV_MILTER, os.X_OK):
        pytest.skip("clamav-daemon and clamav-milter are not installed")
    with open_place() as d:
        clamd, port = free_port(), free_port()
        os.mkdir(os.path.join(d, "db"), 0o755)
        file(d, "db/smx.ndb", f"Smx.Test:0:*:{VIRUS.hex()}\n")
        user = f"User {USER}\n" if os.getuid() == 0 else ""
        daemon = file(d, "clamd.conf", f"DatabaseDirectory {d}/db\nTCPSocket {clamd}\nTCPAddr 127.0.0.1\nForeground yes\n{user}")
        milter = file(d, "milter.conf", f"MilterSocket inet:{port}@127.0.0.1\nClamdSocket tcp:127.0.0.1:{clamd}\nForeground yes\n{user}"
                                        "OnInfected Reject\nRejectMsg Infected: %v\nAddHeader Replace\n")
        with running(clamd, CLAMD, "-c", daemon), running(port, CLAMAV_MILTER, "-c", milter), site_with(sink, dns, port) as site:
            yield site


def test_clamav(clamav, sink, tag):
    assert send(clamav, message(tag + "-good", b"x\r\n" * 30000, headers=b"X-Virus-Status: I say Clean\r\n")).code == 250
    r = send(clamav, message(tag + "-bad", b"x\r\n" * 30000 + VIRUS + b"\r\n"))
    assert r.code == 550 and "Infected: Smx.Test" in r.text
    got = sink.wait(tag + "-good")[0]
    assert re.findall(rb"(?m)^X-Virus-Status: ([^\r]*)", got.header) == [b"Clean"] and got.body == b"x\r\n" * 30000
    assert not sink.find(tag + "-bad")


# ---- rspamd, with two rules of our own ----

RSPAMD = "/usr/bin/rspamd"
RSPAMD_CONF = """
options {{
  filters = ""; pidfile = "{d}/pid"; tempdir = "{d}"; hs_cache_dir = "{d}"; rrd = ""; control_socket = "{d}/control mode=0600";
  dns {{ nameserver = ["127.0.0.1:9"]; timeout = 1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "info"; }}
lua = "{d}/rules.lua";
actions {{ reject = 15; rewrite_subject = 8; add_header = 6; subject = "[spam] %s"; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}"; count = 1; milter = yes; timeout = 60s;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
"""
RSPAMD_RULES = """
rspamd_config:register_symbol({name = 'TEST_SCORE', score = 1, callback = function(task)
  return true, tonumber(task:get_header('X-Score') or '0') end})
rspamd_config:register_symbol({name = 'TEST_FACTS', type = 'idempotent', callback = function(task)
  task:set_milter_reply({remove_headers = {['X-Old'] = 1}, add_headers = {['X-Facts'] = string.format('%s %s %s %d %s', tostring(task:get_from_ip()),
    task:get_helo(), task:get_from('smtp')[1].addr, #task:get_recipients('smtp'), task:get_queue_id())}})
end})
"""


@pytest.fixture(scope="module")
def rspamd_port():
    if not os.access(RSPAMD, os.X_OK):
        pytest.skip("rspamd is not installed")
    with open_place() as d:
        port = free_port()
        conf = file(d, "rspamd.conf", RSPAMD_CONF.format(d=d, port=port))
        file(d, "rules.lua", RSPAMD_RULES)
        user = ["-u", USER, "-g", GROUP] if os.getuid() == 0 else []
        with running(port, RSPAMD, "-f", "-c", conf, *user):
            yield port


@pytest.fixture(scope="module")
def rspamd(rspamd_port, sink, dns):
    with site_with(sink, dns, rspamd_port) as site:
        yield site


def test_rspamd_knows(rspamd, sink, tag):
    """Who sent it and to whom, under which id; a field of the mail goes, one of rspamd's comes."""
    r = send(rspamd, message(tag, headers=b"X-Old: a\r\nFrom: a@src.test\r\n"), rcpts=("b@local.test", "c@local.test"))
    assert r.code == 250
    ta = re.search(r"S[0-9A-F]{18}", r.text).group(0)
    got = sink.wait(tag)[0]
    assert f"X-Facts: 127.0.0.1 client.test a@src.test 2 {ta}\r\n".encode() in got.header and b"X-Old" not in got.header


def test_rspamd_acts(rspamd, sink, tag):
    assert send(rspamd, message(tag + "-mark", headers=b"X-Score: 7\r\n")).code == 250
    assert send(rspamd, message(tag + "-subject", headers=b"X-Score: 9\r\n")).code == 250
    assert send(rspamd, message(tag + "-no", headers=b"X-Score: 16\r\n")).code == 554
    mark, subject = sink.wait(lambda m: tag.encode() + b"-mark" in m.content)[0], sink.wait(lambda m: tag.encode() + b"-subject" in m.content)[0]
    assert b"X-Spam: Yes" in mark.header and subject.subject() == f"[spam] {tag}-subject"
    assert not sink.find(lambda m: tag.encode() + b"-no" in m.content)
