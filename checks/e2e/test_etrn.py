"""ETRN (RFC 1985): customers that are not always there ask for their mail. Who may, how often, and that each gets nobody else's."""
import os
import shutil
import subprocess
import tempfile

import pytest
from lib import netns, sasl
from lib.certs import Certs
from lib.client import Client, message
from lib.debian import Unavailable, unpacked
from lib.dns import Dns
from lib.on_demand import names, send, sink, site_for, waiting  # noqa: F401 (fixtures)
from lib.paths import BUILD, free_port, is_testing_build
from lib.postfix import Postfix
from lib.qmgrctl import Ctl
from lib.sasl import Sasl
from lib.sink import Sink
from lib.site import Site
from lib.wait import PATIENCE, SLOW, never, until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not is_testing_build(), reason="only a testing build lets DNS name loopback addresses")]

ACCESS = 'map ac { type = text; file = "@/access"; } access_map { name = ac; }'
ON_DEMAND = 'on_demand { domains = { "cust1.test", ".cust1.test", "cust2.test" }; }'


def isp(sink, names, etrn='from = { "127.0.0.1" };', access=None, settings=None, **more):
    """A provider whose customers are asked for."""
    s = site_for(sink, names, f"etrn {{ {etrn} }}", ON_DEMAND + (ACCESS if access is not None else ""),
                 settings={**(settings or {}), **({"smtps.flags": "{ access }"} if access is not None else {})}, **more)
    if access is not None:
        with open(f"{s.dir}/access", "w") as f:
            f.write("".join(line + "\n" for line in access))
    return s


def fill(site, tag):
    """Two mails for cust1, one below it, one for cust2."""
    for i, to in enumerate(("cust1", "cust1", "sub.cust1", "cust2")):
        send(site, f"{tag}-{i}", f"x@{to}.test")
    waiting(site, "on_demand", 4)


def ask(site, node, source=None):
    with Client(site.port, source=source) as c:
        return c.cmd(f"ETRN {node}")


def test_just_his_mail(names, sink, tag):
    with isp(sink, names) as site:
        fill(site, tag)
        never(lambda: [n for n, *_ in names.asked if "cust" in n], "a customer is looked for", 2)
        with site.client() as c:
            assert "ETRN" in c.extensions
            r = c.cmd("ETRN cust1.test")
            assert r.code == 253 and "2 pending messages for node cust1.test started" in r.text
            sink.wait(f"{tag}-0")
            sink.wait(f"{tag}-1")
            assert {n for n, *_ in names.asked if "cust" in n} == {"mx.cust1.test", "host.cust1.test"}
            until(lambda: c.cmd("ETRN cust1.test").code == 251, "nothing is left")
            assert c.cmd("ETRN @CUST1.test").code == 253
            sink.wait(f"{tag}-2")
        waiting(site, "on_demand", 1)
        assert [r for m in sink.messages for r in m.rcpts if "cust2" in r] == []
        assert ask(site, "cust2.test").code == 253
        sink.wait(f"{tag}-3")
        site.wait_empty()
        assert len(sink.messages) == 4
        line = site.log_lines("smtps", "ss.etrn")[0]
        assert "destination=cust1.test" in line and "stat=253" in line
        assert "by=client" in site.log_lines("qmgr", "qm.run")[0]


def test_nobody_may_by_default(names, sink, tag):
    with isp(sink, names, etrn="") as site, site.client() as c:
        assert "ETRN" not in c.extensions
        assert c.cmd("ETRN cust1.test").code == 502


def test_what_is_refused(names, sink, tag):
    with isp(sink, names, etrn='from = { "127.0.0.1" };') as site:
        fill(site, tag)
        with site.client() as c:
            for node, code in (("", 501), ("a b", 501), ("cust1..test", 501), ("#cust1.test", 459), ("other.test", 459), ("@", 501)):
                assert c.cmd(f"ETRN {node}".rstrip()).code == code, node
            assert c.mail("a@src.test").code == 250
            assert c.cmd("ETRN cust1.test").code == 503
            assert c.rcpt("x@cust1.test").code == 250
            assert c.cmd("ETRN cust1.test").code == 503
            assert c.cmd("RSET").code == 250
        with Client(site.port, source="127.0.0.9") as c:
            assert "ETRN" not in c.ehlo().text
            assert c.cmd("ETRN cust1.test").code == 459
        never(lambda: sink.messages, "mail leaves", 1)
        waiting(site, "on_demand", 4)


def test_by_the_access_map(names, sink, tag):
    """Each for his own."""
    rows = ["etrn:127.0.0.2 cust1.test .cust1.test", "etrn:127.0.0.3 cust2.test"]
    with isp(sink, names, "flags = { access };", rows) as site:
        fill(site, tag)
        for source, offered, cust1, below, cust2 in (("127.0.0.4", False, 459, 459, 459), ("127.0.0.3", True, 459, 459, 253), ("127.0.0.2", True, 253, 253, 459)):
            with Client(site.port, source=source) as c:
                assert ("ETRN" in c.ehlo().lines) == offered
                assert [c.cmd(f"ETRN {x}").code for x in ("cust1.test", "@cust1.test", "cust2.test")] == [cust1, below, cust2]
        site.wait_empty()
        assert len(sink.messages) == 4


def test_too_often(names, sink, tag):
    with isp(sink, names, settings={"qmgr.etrn.max_per_node": "3", "qmgr.etrn.max_per_client": "6"}) as site:
        assert [ask(site, "cust1.test").code for _ in range(5)] == [251, 251, 251, 458, 458]
        assert ask(site, "cust2.test").code == 251
        r = ask(site, "cust2.test")  # a client's sixth was the last one
        assert r.code == 458 and r.enhanced == "4.7.1"


def test_over_a_restart_of_qmgr(names, sink, tag):
    with isp(sink, names) as site:
        fill(site, tag)
        old = site.kill("qmgr")
        site.restarted("qmgr", old)
        site.wait_ready()
        until(lambda: ask(site, "cust1.test").code == 253, "the mail is found")
        sink.wait(f"{tag}-0")
        sink.wait(f"{tag}-1")


# ---- who has authenticated ----

@pytest.mark.skipif(not sasl.available(), reason="no saslpasswd2")
def test_authenticated(names, sink, tag):
    with tempfile.TemporaryDirectory(prefix="smx-sasl-") as d:
        db = Sasl(d, users=[("joe", "secret")])
        with isp(sink, names, "flags = { authenticated };", settings={**db.settings()}) as site:
            with Client(site.port) as c:
                assert "ETRN" not in c.ehlo().lines
                r = c.cmd("ETRN cust1.test")
                assert (r.code, r.enhanced) == (530, "5.7.0")
                assert sasl.plain(c, "joe", "secret").code == 235
                assert "ETRN" in c.ehlo().lines
                assert c.cmd("ETRN cust1.test").code == 251
            until(lambda: "user=joe" in site.log_lines("smtps", "ss.etrn")[-1], "the log says who")


@pytest.mark.skipif(not sasl.available(), reason="no saslpasswd2")
def test_a_user_for_his_own(names, sink, tag):
    with tempfile.TemporaryDirectory(prefix="smx-sasl-") as d:
        db = Sasl(d, users=[("joe", "secret")])
        with isp(sink, names, "flags = { access };", ["etrn:joe@ cust2.test"], settings={**db.settings()}) as site, Client(site.port) as c:
            c.ehlo()
            assert c.cmd("ETRN cust2.test").code == 459
            assert sasl.plain(c, "joe", "secret").code == 235
            assert [c.cmd(f"ETRN {x}").code for x in ("cust2.test", "cust1.test")] == [251, 459]


# ---- our own command ----

def etrn(*args, status=0):
    r = subprocess.run([os.path.join(BUILD, "etrn"), *map(str, args)], capture_output=True, text=True, timeout=PATIENCE * SLOW, stdin=subprocess.DEVNULL)
    assert r.returncode == status, (args, r.returncode, r.stdout, r.stderr)
    return r.stdout + r.stderr


def test_command(names, sink, tag):
    with isp(sink, names) as site:
        fill(site, tag)
        assert etrn("-p", site.port, "127.0.0.1", "cust1.test") == "cust1.test: 253 2.0.0 OK, 2 pending messages for node cust1.test started\n"
        sink.wait(f"{tag}-0")
        sink.wait(f"{tag}-1")
        assert etrn("-q", "-p", site.port, "127.0.0.1", "@cust1.test", "cust2.test") == ""
        site.wait_empty()
        out = etrn("-v", "-n", "line.cust1.test", "-p", site.port, "127.0.0.1", "cust1.test", "other.test", status=77)
        assert ">>> EHLO line.cust1.test\n" in out and ">>> ETRN other.test\n459 4.7.1" in out and ">>> QUIT" in out
        assert "501" in etrn("-p", site.port, "127.0.0.1", "#q..", "a..b", status=77)
        etrn("-p", site.port, "127.0.0.1", "a..b", status=65)
        etrn("-p", site.port, "127.0.0.1", "a b", status=65)
    etrn("-p", site.port, "127.0.0.1", "cust1.test", status=75)
    etrn("-p", "x", "127.0.0.1", "cust1.test", status=64)
    etrn("127.0.0.1", status=64)
    with isp(sink, names, etrn="") as site:
        assert "not offered" in etrn("-p", site.port, "127.0.0.1", "cust1.test", status=69)


def test_command_and_a_line_that_is_dialled(names, sink, tag):
    with isp(sink, names) as site:
        site.stop()
        p = subprocess.Popen([os.path.join(BUILD, "etrn"), "-d", "60", "-p", str(site.port), "127.0.0.1", "cust1.test"], stdout=subprocess.PIPE, text=True)
        assert "again in 60 s" in p.stdout.readline()
        p.terminate()
        p.wait()
        p = subprocess.Popen([os.path.join(BUILD, "etrn"), "-d", "8", "-p", str(site.port), "127.0.0.1", "cust1.test"], stdout=subprocess.PIPE, text=True)
        assert "again in 8 s" in p.stdout.readline()
        site.start()
        out, _ = p.communicate(timeout=PATIENCE * SLOW)
        assert p.returncode == 0 and out.startswith("cust1.test: 251"), out


def test_command_with_tls(names, sink, tag):
    with Certs() as certs:
        certs.make("mx", "/CN=localhost", ["localhost"])
        certs.make("other", "/CN=other.test", ["other.test"])
        with isp(sink, names, settings=certs.settings("mx")) as site:
            assert "251" in etrn("-p", site.port, "127.0.0.1", "cust1.test")
            until(lambda: "starttls=TLSv1.3" in "".join(site.log_lines("smtps", "ss.tls")), "it was by TLS")
            out = etrn("-v", "-s", "verify", "-C", certs.path("ca"), "-p", site.port, "localhost", "cust1.test")
            assert out.index(">>> STARTTLS") < out.index(">>> ETRN") and out.count(">>> EHLO") == 2
            assert "STARTTLS" in etrn("-s", "verify", "-C", certs.path("ca"), "-p", site.port, "127.0.0.1", "cust1.test", status=75)
            assert ">>> STARTTLS" not in etrn("-v", "-s", "none", "-p", site.port, "127.0.0.1", "cust1.test")
        with isp(sink, names) as site:
            etrn("-s", "verify", "-C", certs.path("ca"), "-p", site.port, "localhost", "cust1.test", status=75)


# ---- with others ----

def test_the_tool_of_sendmail(names, sink, tag):
    """Debian's etrn of sendmail. It ends its lines with LF alone, which smtps does not take (RFC 5321 2.3.8), and knows port 25 only: both are changed here."""
    try:
        program = os.path.join(unpacked("sendmail-base"), "usr/sbin/etrn")
    except Unavailable as e:
        pytest.skip(str(e))
    if not shutil.which("perl"):
        pytest.skip("no perl")
    with isp(sink, names) as site, open(program) as f:
        fill(site, tag)
        text = f.read()
        for was, now in (("my $port = 'smtp';", f"my $port = '{site.port}';"), ('print S "$p\\n";', 'print S "$p\\r\\n";'),
                         ("my ($hostname) = (gethostbyname($name))[0];", "my ($hostname) = 'line.cust1.test';")):
            assert text.count(was) == 1, was
            text = text.replace(was, now)
        r = subprocess.run(["perl", "-", "-v", "127.0.0.1", "cust1.test"], input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE * SLOW)
        assert "253 2.0.0 OK, 2 pending messages for node cust1.test started" in r.stdout, r.stdout
        sink.wait(f"{tag}-0")
        sink.wait(f"{tag}-1")
        waiting(site, "on_demand", 2)


@pytest.mark.skipif(os.getuid() != 0, reason="not root: Postfix wants users of its own")
def test_postfix_is_asked(tag):
    """Our command: Postfix has deferred mail for a customer who was not there."""
    port = free_port()
    try:
        server = Postfix({"cust1.test": port, "cust2.test": port}, ["fast_flush_domains = cust1.test", "relay_domains = cust1.test", "maximal_queue_lifetime = 1d",
                                                                    "bounce_queue_lifetime = 1d", "minimal_backoff_time = 3000s", "maximal_backoff_time = 4000s"])
    except Unavailable as e:
        pytest.skip(str(e))
    with server:
        with Client(server.port) as c:
            for to in ("cust1", "cust2"):
                assert c.send_mail("a@src.test", f"x@{to}.test", message(f"{tag}-{to}")).code == 250
        until(lambda: server.log().count("status=deferred") == 2, "both are deferred", 30)
        with Sink(port=port) as sink:
            # It notes what it can be asked for a while after it has said "deferred".
            def asked():
                assert "cust1.test: 250" in etrn("-p", server.port, "127.0.0.1", "cust1.test")
                return sink.find(f"{tag}-cust1")
            until(asked, "it comes", 30, 0.5)
            assert "459" in etrn("-p", server.port, "127.0.0.1", "cust2.test", status=77)
            never(lambda: len(sink.messages) > 1, "more comes", 1)


SENDMAIL = """divert(0)dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `sendmail.test')dnl
define(`confRUN_AS_USER', `nobody')dnl
define(`confTRUSTED_USER', `nobody')dnl
define(`confDELIVERY_MODE', `queueonly')dnl
define(`QUEUE_DIR', `{dir}/mqueue')dnl
define(`STATUS_FILE', `{dir}/statistics')dnl
define(`confPID_FILE', `{dir}/pid')dnl
define(`ALIAS_FILE', `')dnl
define(`confHOSTS_FILE', `/dev/null')dnl
define(`confQUEUE_LA', `1000000')dnl
define(`confREFUSE_LA', `1000000')dnl
define(`SMART_HOST', `relay:[127.0.0.1]')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {port}')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`promiscuous_relay')dnl
FEATURE(`nocanonify')dnl
DAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port={own}')dnl
MAILER(`smtp')dnl
"""


@pytest.mark.skipif(os.getuid() != 0, reason="not root: sendmail wants a host name of its own")
def test_sendmail_is_asked(sink, tag):
    """Our command: sendmail 8 keeps what comes until its queue is run, for one customer by ETRN."""
    try:
        program = os.path.join(unpacked("sendmail-bin"), "usr/libexec/sendmail/sendmail")
        cf = os.path.join(unpacked("sendmail-cf"), "usr/share/sendmail/cf/")
    except Unavailable as e:
        pytest.skip(str(e))
    if not shutil.which("m4"):
        pytest.skip("no m4")
    own = free_port()
    with tempfile.TemporaryDirectory(prefix="smx-sendmail-") as d:
        os.chmod(d, 0o755)
        os.mkdir(f"{d}/mqueue", 0o700)
        shutil.chown(f"{d}/mqueue", "nobody")
        with open(f"{d}/sendmail.mc", "w") as f:
            f.write(SENDMAIL.format(dir=d, port=sink.port, own=own))
        m4 = subprocess.run(["m4", f"-D_CF_DIR_={cf}", f"{cf}m4/cf.m4", f"{d}/sendmail.mc"], capture_output=True, text=True, check=True)
        with open(f"{d}/sendmail.cf", "w") as f:
            f.write(m4.stdout)
        p = subprocess.Popen(["unshare", "--uts", "sh", "-c", 'hostname sendmail.test && exec "$@"', "sh", program, "-bD", "-C", f"{d}/sendmail.cf"],
                             env=dict(os.environ, RES_OPTIONS="timeout:1 attempts:1"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            def greets():
                assert p.poll() is None, p.stdout.read()
                try:
                    Client(own, timeout=60).quit()
                    return True
                except OSError:
                    return False
            until(greets, "sendmail greets", 60)
            with Client(own, timeout=60) as c:
                c.ehlo()
                for to in ("cust1", "cust2"):
                    assert c.send_mail("a@src.test", f"x@{to}.test", message(f"{tag}-{to}")).code == 250
            never(lambda: sink.messages, "it goes at once", 1)
            assert "cust1.test: 250" in etrn("-p", own, "127.0.0.1", "cust1.test")
            sink.wait(f"{tag}-cust1", timeout=30)
            never(lambda: len(sink.messages) > 1, "more comes", 1)
        finally:
            p.terminate()
            p.wait(30)


# ---- the customer's side ----

def test_a_line_that_is_dialled(dns, tag):
    """The first packet makes the line be dialled: mail goes by the second one, and other mail does not wait for that."""
    port = free_port()
    slow = {"qmgr.retry_min_delay": "600s", "qmgr.retry_max_delay": "600s"}
    with Sink() as other:
        s = Site(routes=[f"isp.test {port}^esmtp:[127.0.0.1]", f"other.test {other.port}^esmtp:[127.0.0.1]"], relay=["isp.test", "other.test"], dns=dns.address,
                 settings=slow)
        s.add("smar", f'map ac {{ type = inline; entries = {{ "smtpc_session_conf:127.0.0.1:{port} dial_delay = 10s;" }}; }} access_map {{ name = ac; }}')
        with s as site:
            send(site, f"{tag}-dials", "x@isp.test")
            until(lambda: site.log_lines("smtpc", "sc.dial"), "it was tried in vain")
            send(site, f"{tag}-other", "x@other.test")
            other.wait(f"{tag}-other", timeout=5)
            with Sink(port=port) as sink:
                sink.wait(f"{tag}-dials", timeout=30)
            site.wait_empty()
            assert len(site.log_lines("smtpc", "sc.dial")) == 1 and not site.log_lines("smtpc", "sc.session_failed")


@pytest.mark.skipif(not netns.possible(), reason="not root, or no right to a network of one's own")
def test_start_without_name_server(tag):
    """Who has `hostname` asks nobody at the start; mail is taken and waits, whether there is a name server or not."""
    with netns.Network(), tempfile.TemporaryDirectory(prefix="smx-resolv-") as d:
        os.chmod(d, 0o755)
        with open(f"{d}/resolv.conf", "w") as f:
            f.write("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")
        system = Dns(host="127.0.0.53", port=53)
        s = Site(relay=["far.test"])
        s.prefix = ["unshare", "--mount", "sh", "-c", f'mount --bind {d}/resolv.conf /etc/resolv.conf && exec "$@"', "sh", *s.prefix]
        s.add("smtps", "deliver = queue;")
        with s as site:
            ctl = Ctl(site)
            send(site, f"{tag}-1", "x@far.test")
            until(lambda: len(ctl.mails("state=queued")) == 1, "it waits")
            assert not system.asked
            site.stop()
            system.stop()
            site.start()
            send(site, f"{tag}-2", "x@far.test")
            until(lambda: len(ctl.mails("state=queued")) == 2, "both wait")
            site.stop()
            # It would have been seen.
            system = Dns(host="127.0.0.53", port=53)
            system.rcode("far.test", "SERVFAIL")
            site.start()
            assert not system.asked
            ctl("run")
            until(lambda: ("far.test", "MX", "udp") in system.asked, "the run asks")
            assert ctl.one("remove", "all")["mails"] == 2
        system.stop()
