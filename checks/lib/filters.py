"""Filters that others have written, started with a configuration of ours, and sites that ask them. For tests: fixtures `place`, `key` and `rspamd_port`."""
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

from . import foreign
from .paths import free_port
from .site import Site
from .wait import until

OPENDKIM, GENKEY = "/usr/sbin/opendkim", "/usr/sbin/opendkim-genkey"
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


def verified(content, key):
    """By an implementation of its own."""
    dkim = pytest.importorskip("dkim", reason="python3-dkim is not installed")
    return dkim.verify(content, dnsfunc=lambda name, timeout=5: key[1].encode() if name == f"{SELECTOR}._domainkey.{DOMAIN}.".encode() else None)


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
