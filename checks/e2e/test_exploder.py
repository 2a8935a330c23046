"""sendmail 8 hands mail with very many recipients to smx: Debian's, unpacked, with the mailer of misc/sm8.feed.mc. It hears of each recipient what became of it, keeps
those that could not be reached, and comes again; whoever dies midway, nobody gets the mail twice."""
import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile

import pytest
from lib import netns
from lib.debian import Unavailable, unpacked
from lib.dns import MX, A, Dns
from lib.paths import BUILD, SRC
from lib.sections import split_smtps
from lib.sink import Serve, Sink
from lib.site import Site
from lib.wait import PATIENCE, SLOW, until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not netns.possible(), reason="needs root, and a network of its own")]

DOMAINS, SHARED, EACH = 200, 150, 5
HOSTS = 10  # of the domains that do not share one


class Sendmail:
    """An MTA with a queue of its own that runs when it is told to."""

    def __init__(self, directory, socket_path, mode="-E"):
        if not shutil.which("m4"):
            pytest.skip("no m4")
        try:
            program = os.path.join(unpacked("sendmail-bin"), "usr/libexec/sendmail/sendmail")
            cf = os.path.join(unpacked("sendmail-cf"), "usr/share/sendmail/cf/")
        except Unavailable as e:
            pytest.skip(str(e))
        self.dir, self.queue, self.cf = directory, os.path.join(directory, "q"), os.path.join(directory, "sendmail.cf")
        os.makedirs(self.queue, mode=0o700)
        os.chmod(directory, 0o755)
        self.program = shutil.copy(program, os.path.join(directory, "sendmail"))
        self.log = os.path.join(directory, "log")
        switch = os.path.join(directory, "switch")  # names are smx's affair: here is no name server that sendmail could ask
        with open(switch, "w") as f:
            f.write("hosts files\naliases files\n")
        defines = {"confDOMAIN_NAME": "src.test", "__OSTYPE__": "", "SMXFEED": os.path.join(BUILD, "smxfeed"), "SMXFEED_ARGS": f"-C /dev/null -L {socket_path} {mode}",
                   "QUEUE_DIR": self.queue, "confQUEUE_LA": "1000000", "confREFUSE_LA": "1000000", "ALIAS_FILE": "", "STATUS_FILE": "",
                   "confPID_FILE": os.path.join(directory, "pid"), "confLOG_LEVEL": "12", "confTO_HOSTSTATUS": "0s", "confSERVICE_SWITCH_FILE": switch}
        text = "".join(f"define(`{k}', `{v}')dnl\n" for k, v in defines.items()) + f"include(`{SRC}/misc/sm8.feed.mc')dnl\n"
        m4 = subprocess.run(["m4", f"-D_CF_DIR_={cf}", os.path.join(cf, "m4/cf.m4"), "-"], input=text, capture_output=True, text=True)
        assert m4.returncode == 0 and not m4.stderr, m4.stderr
        with open(self.cf, "w") as f:
            f.write(m4.stdout)

    def start(self, *args, text=b""):
        """With -v it says what became of whom."""
        with open(os.path.join(self.dir, "message"), "wb") as f:
            f.write(text)
        with open(os.path.join(self.dir, "message"), "rb") as f, open(self.log, "ab") as log:
            return subprocess.Popen(["unshare", "--uts", "sh", "-c", 'hostname src.test && exec "$@"', "sh", self.program, "-C", self.cf, "-v", *args], stdin=f,
                                    stdout=log, stderr=subprocess.STDOUT, cwd="/", env=dict(os.environ, RES_OPTIONS="timeout:1 attempts:1"), start_new_session=True)

    def __call__(self, *args, text=b""):
        """Its exit status, and what it has said. 75, or 69 where some were refused: not all are served."""
        before = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        status = self.start(*args, text=text).wait(4 * PATIENCE * SLOW)
        with open(self.log, "rb") as f:
            f.seek(before)
            return status, f.read().decode(errors="replace")

    def waiting(self):
        """Recipients that are in its queue."""
        out = []
        for name in os.listdir(self.queue):
            if name.startswith(("qf", "hf")):
                with contextlib.suppress(FileNotFoundError), open(os.path.join(self.queue, name)) as f:
                    out += re.findall(r"(?m)^R[^:\n]*:<?([^>\n]*)>?$", f.read())
        return sorted(out)


class World:
    """200 domains: 150 of them share a mail exchanger, the others have ten."""

    def __init__(self, stack, deliver="now", each=EACH):
        self.dns = Dns()
        stack.callback(self.dns.stop)
        self.shared = stack.enter_context(Sink(25, netns.V4 + "1"))
        self.others = [stack.enter_context(Sink(25, f"{netns.V4}{i + 2}")) for i in range(HOSTS)]
        self.dns.add("mx.shared.test", A(netns.V4 + "1"))
        for i in range(HOSTS):
            self.dns.add(f"mx.o{i}.test", A(f"{netns.V4}{i + 2}"))
        for i in range(DOMAINS):
            self.dns.add(f"d{i}.test", MX("mx.shared.test" if i < SHARED else f"mx.o{i % HOSTS}.test", 10))
        self.dns.add("bounces.test", MX("mx.o0.test", 10))
        self.site = Site(dns=self.dns.address, settings={"qmgr.smtpc.smtp_max_rcpts_per_transaction": "1000"})
        split_smtps(self.site, "MTA", FEED=f"    listen_socket {{ type = unix; path = \"{self.site.dir}/feed.sock\"; name = \"feed\"; umask = 0; }}\n"
                                           f"    protocol = lmtp; deliver = {deliver}; relay_from_local = {{ feed }}; xforward {{ from = {{ unix }}; }}")
        self.sendmail = Sendmail(stack.enter_context(tempfile.TemporaryDirectory(prefix="smx-feed-")), f"{self.site.dir}/feed.sock")
        stack.enter_context(self.site)
        self.rcpts = [f"u{k}@d{i}.test" for i in range(DOMAINS) for k in range(each)]

    @property
    def sinks(self):
        return [self.shared, *self.others]

    def reply(self, reply):
        for s in self.sinks:
            s.drop()
            s.default = Serve(reply)

    def got(self, tag):
        """How often each recipient has the mail."""
        return collections.Counter(r for s in self.sinks for m in s.accepted if m.subject() == tag for r in m.rcpts)

    def send(self, tag, rcpts=None):
        return self.sendmail("-odi", "-i", "-f", "me@bounces.test", *(rcpts or self.rcpts), text=f"Subject: {tag}\n\ntext\n".encode())


@pytest.fixture
def stack():
    with contextlib.ExitStack() as s:
        s.enter_context(netns.Network())
        yield s


def local(line):
    return re.search(rb"<(u\d+)@", line).group(1)


def test_a_thousand_recipients(stack, tag):
    w = World(stack)
    later, no = {b"u3"}, {b"u4"}
    w.reply({"RCPT": lambda line: b"550 5.1.1 nobody\r\n" if b"@d" in line and local(line) in no else b"452 4.2.2 full\r\n" if b"@d" in line and local(line) in later
             else b"250 2.1.5 ok\r\n"})
    _, out = w.send(tag)
    good = [r for r in w.rcpts if r[:2] in ("u0", "u1", "u2")]
    assert w.got(tag) == {r: 1 for r in good}, out[:1500] + out[-1500:]
    # domains that share their mail exchanger: one transaction; the others are not split either
    assert [len(m.rcpts) for m in w.shared.find(tag)] == [SHARED * 3]
    assert all(len(s.find(tag)) == 1 for s in w.others)
    # sendmail has heard what each server has said of each recipient
    assert [out.count(x) for x in ("250 2.0.0 taken", "550 5.1.1 nobody", "452 4.2.2 full\n")] >= [len(good), DOMAINS, DOMAINS]
    # ... has told the sender of those that are none
    report, = [m for s in w.sinks for m in s.accepted if m.sender == "" and m.rcpts == ["me@bounces.test"]]
    assert report.content.count(b"Action: failed") == DOMAINS
    later.clear()
    w.sendmail("-q")
    assert w.sendmail.waiting() == [] and w.got(tag) == {r: 1 for r in w.rcpts if not r.startswith("u4")}
    until(lambda: not w.site.content_files(), "smx has kept nothing")
    lines = [x for x in w.site.log_lines("smtps", "ss.mail") if "xid=" in x]
    assert len(lines) >= 2


def test_queued(stack, tag):
    """deliver = background: what smx has in its queue sendmail knows as sent; a report is smx's."""
    w = World(stack, deliver="background", each=1)
    w.reply({"RCPT": lambda line: b"550 5.1.1 nobody\r\n" if b"@d199." in line else b"250 2.1.5 ok\r\n"})
    status, out = w.send(tag)
    assert status == 0 and w.sendmail.waiting() == [], out[:1500] + out[-1500:]
    until(lambda: w.got(tag) == {r: 1 for r in w.rcpts if "@d199." not in r}, "all have it")
    until(lambda: [m for s in w.sinks for m in s.accepted if m.sender == "" and m.rcpts == ["me@bounces.test"]], "the report")


def children_of(pid):
    out = []
    for p in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{p}/stat") as f:
            if int(f.read().rpartition(")")[2].split()[1]) == pid:
                out += [int(p), *children_of(int(p))]
    return out


def name_of(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as f:
        return f.read().strip()


@pytest.mark.parametrize("victim", ["smxfeed", "smtps", "sendmail"])
def test_dies_midway(stack, tag, victim):
    """Half of the recipients have it when somebody is killed. sendmail comes again with all; those who have it do not get it again."""
    w = World(stack, each=1)
    for s in w.others:
        s.default = Serve({"DATA": lambda line: None})
    p = w.sendmail.start("-odi", "-i", "-f", "me@bounces.test", *w.rcpts, text=f"Subject: {tag}\n\ntext\n".encode())
    until(lambda: len(w.got(tag)) == SHARED and all(any(b"DATA" in c for _, c in s.commands) for s in w.others), "half way")
    before = w.site.pids("smtps")
    family = [p.pid, *children_of(p.pid)]
    if victim == "smtps":
        w.site.kill("smtps")
    else:
        for pid in family:
            if victim == "sendmail" and name_of(pid) == "sendmail" or name_of(pid) == victim:
                os.kill(pid, signal.SIGKILL)
    p.wait(PATIENCE * SLOW)
    until(lambda: not any(name_of(x) == "smxfeed" for x in family), "smxfeed ends")
    w.reply(None)
    until(lambda: victim != "smtps" or (w.site.pids("smtps") and not set(w.site.pids("smtps")) & set(before)), "smtps is back")
    w.site.wait_ready()

    def again():
        w.sendmail("-q")
        return not w.sendmail.waiting()
    until(again, lambda: f"all are served: {len(w.got(tag))}, {w.sendmail.waiting()[:5]}", 2 * PATIENCE, every=1)
    assert w.got(tag) == {r: 1 for r in w.rcpts}
