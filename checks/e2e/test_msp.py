"""The submission program of sendmail 8 hands its mail to smx: the one of Debian's package, unpacked, with the configuration that misc/ offers."""
import os
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest
from lib.contents import CONTENTS
from lib.debian import Unavailable, unpacked
from lib.paths import SRC, free_port
from lib.site import Site
from lib.wait import PATIENCE, SLOW, until

pytestmark = pytest.mark.inside


class Msp:
    """sendmail as a normal user, with its own queue directory."""

    def __init__(self, directory, port, *defines):
        if not shutil.which("m4"):
            pytest.skip("no m4")
        try:
            self.program = os.path.join(unpacked("sendmail-bin"), "usr/libexec/sendmail/sendmail")
            cf = os.path.join(unpacked("sendmail-cf"), "usr/share/sendmail/cf/")
        except Unavailable as e:
            pytest.skip(str(e))
        if os.getuid() != 0:
            pytest.skip("not root: sendmail wants a host name with a domain, and only root can give it one of its own")
        user = pwd.getpwnam("nobody")
        # without a dot in the host's name it sleeps for a minute
        self.prefix = ["unshare", "--uts", "sh", "-c", 'hostname msp.test && exec "$@"', "sh",
                       "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self.environment = dict(os.environ, RES_OPTIONS="timeout:1 attempts:1")
        self.queue, self.cf = os.path.join(directory, "clientmqueue"), os.path.join(directory, "submit.cf")
        # programs of the cache of root must be reachable for the user
        copy = os.path.join(directory, "sendmail")
        shutil.copy(self.program, copy)
        self.program = copy
        os.makedirs(self.queue, mode=0o770)
        os.chmod(directory, 0o755)
        os.chown(self.queue, user.pw_uid, user.pw_gid)
        m4 = subprocess.run(["m4", f"-D_CF_DIR_={cf}", f"-DSMX_PORT={port}", f"-DMSP_QUEUE_DIR={self.queue}", f"-DconfRUN_AS_USER={user.pw_name}",
                             # from a load of 8 on it would only queue what is large, and nobody runs its queue
                             "-DconfQUEUE_LA=1000000", *defines, os.path.join(cf, "m4/cf.m4"), os.path.join(SRC, "misc/sm8.submit.mc")], capture_output=True, text=True)
        assert m4.returncode == 0 and not m4.stderr, m4.stderr
        with open(self.cf, "w") as f:
            f.write(m4.stdout)
        os.chmod(self.cf, 0o644)

    def __call__(self, *args, text=b"", check=True):
        r = subprocess.run([*self.prefix, self.program, "-C", self.cf, *args], input=text, timeout=PATIENCE * SLOW, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, cwd="/", env=self.environment)
        assert not check or r.returncode == 0, r.stdout.decode(errors="replace")
        return r.stdout.decode(errors="replace")

    def waiting(self):
        return [n for n in os.listdir(self.queue) if n.startswith("qf")]


@pytest.fixture(scope="module")
def submit_port():
    return free_port()


@pytest.fixture(scope="module")
def msp(submit_port):
    with tempfile.TemporaryDirectory(prefix="smx-msp-") as d:
        yield Msp(d, submit_port)


def relay(sink, submit_port):
    """Relays for loopback clients of the submission listener; elsewhere for nobody."""
    return Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], arguments=["--submit-port", str(submit_port)])


@pytest.fixture(scope="module")
def site(sink, submit_port):
    with relay(sink, submit_port) as s:
        yield s


def unix(content):
    return content.replace(b"\r\n", b"\n")


def test_submit(site, sink, msp, tag):
    out = msp("-bm", "-i", "-f", "me@src.example", f"{tag.lower()}@far.example", text=b"Subject: hello\n\nfrom sendmail 8\n")
    m, = sink.wait(lambda m: m.rcpts == [f"{tag.lower()}@far.example"])
    assert m.sender == "me@src.example" and m.body == b"from sendmail 8\r\n" and out == ""
    until(lambda: not msp.waiting(), "its queue empties", 10)


@pytest.mark.parametrize("name", ["small", "dots", "utf8", "5mb", "blank_ends"])
def test_contents(site, sink, msp, name):
    to = f"content-{name.replace('_', '-')}@far.example"
    msp("-bm", "-i", "-B8BITMIME", "-f", "me@src.example", to, text=unix(CONTENTS[name]))
    m, = sink.wait(lambda m: m.rcpts == [to], timeout=60)
    assert m.body == CONTENTS[name].partition(b"\r\n\r\n")[2]


def test_header_recipients(site, sink, msp, tag):
    """-t: recipients from the header, several at once in one transaction."""
    low = tag.lower()
    msp("-t", "-i", "-f", "me@src.example", text=f"To: a-{low}@one.example, b-{low}@two.example\nCc: c-{low}@one.example\nSubject: x\n\ntext\n".encode())
    found = sink.wait(lambda m: low in str(m.rcpts), 1)
    until(lambda: sorted(r for m in sink.find(lambda m: low in str(m.rcpts)) for r in m.rcpts) ==
          [f"a-{low}@one.example", f"b-{low}@two.example", f"c-{low}@one.example"], lambda: f"all three: {found}", 15)


def test_verbose_dialog(site, sink, msp, tag):
    """-v shows what it says to smx: one EHLO, and our id in the last reply."""
    out = msp("-v", "-bm", "-i", "-f", "me@src.example", f"{tag.lower()}@far.example", text=b"Subject: v\n\nx\n")
    assert ">>> EHLO" in out and re.search(r"(?m)^250 .*S[0-9A-F]{18}", out), out
    sink.wait(lambda m: m.rcpts == [f"{tag.lower()}@far.example"])


def test_only_there(site, sink):
    """The other listener relays for nobody."""
    with site.client() as c:
        assert c.mail("me@src.example").code == 250
        assert c.rcpt("you@far.example").code == 550


def test_smx_away(sink, tag):
    """Mail waits in sendmail's queue while smx is away, and goes with its next run."""
    port, to = free_port(), f"{tag.lower()}@far.example"
    with tempfile.TemporaryDirectory(prefix="smx-msp-") as d:
        msp = Msp(d, port)
        msp("-bm", "-i", "-f", "me@src.example", to, text=b"Subject: late\n\nlate\n")
        until(lambda: len(msp.waiting()) == 1, "it waits", 10)
        with relay(sink, port):
            msp("-q")
            sink.wait(lambda m: m.rcpts == [to], timeout=30)
            until(lambda: not msp.waiting(), "its queue empties", 20)


def test_trying_out(site, sink, msp, submit_port, tag):
    """-DSMX_TRY: only user+X goes to smx, without the +X; -bt tells that all else goes as it would with the distribution's configuration."""
    with tempfile.TemporaryDirectory(prefix="smx-msp-") as d:
        trying, to = Msp(d, submit_port, "-DSMX_TRY"), f"{tag.lower()}@far.example"
        trying("-bm", "-i", "-f", "me@src.example", to.replace("@", "+X@"), text=b"Subject: x\n\nx\n")
        sink.wait(lambda m: m.rcpts == [to])

        def way(program, address):
            return re.search(r"(?m)^parse +returns: (.*)", program("-bt", text=f"3,0 {address}\n".encode())).group(1)
        assert way(trying, "user+X@far.example").startswith("$# smx $@ [ 127 . 0 . 0 . 1 ] $: user <")
        for address in ("user@far.example", "user+Y@far.example", "user"):
            assert way(trying, address) == way(msp, address)
