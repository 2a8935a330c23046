"""mcp by itself: start actions, handing over, restarts and their brake, watchdog, reload, upgrade, logs, the end.

The programs that it runs here are small python and shell children; each test has a directory and an mcp of its own. Run as root the
tests use an unprivileged user for mcp, but for those about the change of user.
"""
import array
import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lib.paths import free_port, program  # noqa: E402

PYTHON = "/usr/bin/python3"
SLOW = float(os.environ.get("SMX_SLOW", "1"))
ROOT = os.getuid() == 0
NOBODY = pwd.getpwnam("nobody")

# A child that speaks with mcp. Its arguments: LOG TAG ACTION...; what happens is appended to LOG as "TAG word".
CHILD = r'''
import array, os, signal, socket, sys, time
log, tag, actions = sys.argv[-1].split()[0], sys.argv[-1].split()[1], sys.argv[-1].split()[2:]
ident = sys.argv[sys.argv.index("-i") + 1] if "-i" in sys.argv else ""
def say(word):
    with open(log, "a") as f:
        f.write(f"{time.monotonic():.3f} {tag} {word} {os.getpid()}\n")
mcp = socket.socket(fileno=int(os.environ["SM_MCP_FD"])) if "SM_MCP_FD" in os.environ else None
def term(*_):
    say("term")
    sys.exit(0)
signal.signal(signal.SIGTERM, term)
say("start" + ident)
def packet(timeout):
    mcp.settimeout(timeout)
    try:
        data, anc, *_ = mcp.recvmsg(512, socket.CMSG_SPACE(4))
    except (TimeoutError, socket.timeout):
        return
    if not data:
        sys.exit(3)
    fd = array.array("i", anc[0][2])[0] if anc else -1
    kind, name = data[:1].decode(), data[1:].decode()
    if kind == "F":
        say(f"file:{name}:{os.read(fd, 100).decode().strip()}")
    elif kind == "A":
        say(f"listener:{name}:{socket.socket(fileno=fd).getsockname()[1]}")
        fd = -1
    elif kind == "L":
        os.dup2(fd, 1), os.dup2(fd, 2)
        print("after reopen", flush=True)
        say("log")
    else:
        say("packet" + kind)
    if fd >= 0:
        os.close(fd)
for a in actions:
    if a == "ready":
        mcp.send(b"R")
    elif a.startswith("sleep"):
        time.sleep(float(a[5:]))
    elif a.startswith("exit"):
        sys.exit(int(a[4:]))
    elif a.startswith("say"):
        mcp.send(b"S" + a[3:].encode())
    elif a == "hardterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif a.startswith("tick"):
        for _ in range(int(a[4:])):
            mcp.send(b"T")
            time.sleep(int(os.environ["SM_MCP_TICK_MS"]) / 1000)
    elif a == "silent":
        while True:
            time.sleep(10)
    elif a == "flood":
        while True:
            mcp.send(b"T")
    elif a == "listen":
        path = os.environ["SM_MCP_PASS_FD"]
        s = socket.socket(socket.AF_UNIX)
        with __import__("contextlib").suppress(FileNotFoundError):
            os.unlink(path)
        s.bind(path)
        s.listen(5)
        c = s.accept()[0]
        while True:
            data, anc, *_ = c.recvmsg(512, socket.CMSG_SPACE(4))
            if not data:
                break
            listener = socket.socket(fileno=array.array("i", anc[0][2])[0])
            say(f"passed:{data.decode()}:{path}")
    elif a == "serve":
        while True:
            conn = listener.accept()[0]
            conn.sendall(f"{tag}{ident} {os.getpid()}\n".encode())
            conn.close()
    elif a == "serve0":
        listener = socket.socket(fileno=0)
        while True:
            conn = listener.accept()[0]
            conn.sendall(f"{tag} {os.getpid()}\n".encode())
            conn.close()
    elif a == "loop":
        while True:
            mcp.send(b"T")
            packet(int(os.environ["SM_MCP_TICK_MS"]) / 1000)
'''


def until(condition, what="condition", timeout=15):
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what() if callable(what) else what}: not within {timeout} s")
        time.sleep(0.02)


class Mcp:
    """One mcp in one directory."""

    def __init__(self, as_root=False):
        self.dir = tempfile.mkdtemp(prefix="smx-mcp-")
        os.chmod(self.dir, 0o755)
        self.prefix = []
        if ROOT and not as_root:
            self.prefix = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups"]
            os.chown(self.dir, NOBODY.pw_uid, NOBODY.pw_gid)
        elif as_root:
            os.chmod(self.dir, 0o777)
        self.events_file = self.path("events")
        self.write("child.py", CHILD)
        self.write("events", "", 0o666)
        os.mkdir(self.path("log"))
        if ROOT and not as_root:
            os.chown(self.path("log"), NOBODY.pw_uid, NOBODY.pw_gid)
        self.process = None

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def child(self, tag, actions, options="", start="wait"):
        """A section that runs the python child."""
        return f"""{tag} {{ start_action = {start}; path = "{PYTHON}"; restart_min_delay = 50ms; restart_max_delay = 400ms;
            arguments = "python3 {self.path('child.py')} '{self.events_file} {tag} {actions}'"; {options} }}\n"""

    def conf(self, *sections):
        self.write("mcp.conf", "\n".join(sections))

    def command(self, *args):
        return [*self.prefix, program("mcp/mcp"), "-L", self.path("log"), *args, self.path("mcp.conf")]

    def start(self, *args, env=None, wait=True):
        with open(self.path("stderr"), "wb") as err:
            self.process = subprocess.Popen(self.command("-F", *args), cwd=self.dir, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                            env={**os.environ, **(env or {})})
        if wait:
            self.logged("mc.up")
        return self

    def run(self, *args, **kw):
        return subprocess.run(self.command(*args), cwd=self.dir, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=30 * SLOW, **kw)

    def signal(self, sig):
        os.kill(self.process.pid, sig)

    def stop(self, timeout=20):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                return self.process.wait(timeout * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        return self.process.returncode if self.process else None

    def log(self):
        with contextlib.suppress(FileNotFoundError), open(self.path("log/mcp.log")) as f:
            return f.read()
        return ""

    def logged(self, pattern, timeout=15, count=1):
        def there():
            found = re.findall(pattern, self.log())
            return found if len(found) >= count else None
        return until(there, lambda: f"{pattern} in the log:\n{self.log()}\n{open(self.path('stderr')).read()}", timeout)

    def events(self, tag=None, word=None):
        """(time, tag, word, pid) of what the children did."""
        found = []
        with open(self.events_file) as f:
            for line in f:
                when, t, w, pid = line.split()
                if (tag is None or t == tag) and (word is None or re.fullmatch(word, w)):
                    found.append((float(when), t, w, int(pid)))
        return found

    def event(self, tag, word, count=1, timeout=15):
        return until(lambda: len(self.events(tag, word)) >= count and self.events(tag, word),
                     lambda: f"{count} x {tag} {word}: {self.events()}\n{self.log()}", timeout)


@pytest.fixture
def mcp():
    made = []

    def make(as_root=False):
        made.append(Mcp(as_root))
        return made[-1]
    yield make
    for m in made:
        with contextlib.suppress(subprocess.TimeoutExpired):
            m.stop()
        shutil.rmtree(m.dir, ignore_errors=True)


def ask(port, text=b"", timeout=10):
    """What the server on that port says until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout * SLOW) as s:
        if text:
            s.sendall(text)
            s.shutdown(socket.SHUT_WR)
        data = b""
        while chunk := s.recv(1000):
            data += chunk
        return data.decode()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ---- start actions ----

def test_wait_starts_in_order_and_stops_in_reverse(mcp):
    m = mcp()
    m.conf(m.child("one", "sleep0.3 ready loop"), m.child("two", "sleep0.1 ready loop"), m.child("three", "ready loop"))
    m.start()
    assert [e[1] for e in m.events(word="start")] == ["one", "two", "three"]
    # Each waited for the one before to be ready.
    starts = {e[1]: e[0] for e in m.events(word="start")}
    assert starts["two"] - starts["one"] >= 0.3 and starts["three"] - starts["two"] >= 0.1
    assert m.stop() == 0
    assert [e[1] for e in m.events(word="term")] == ["three", "two", "one"]
    assert not [e for e in m.events() if alive(e[3])]


def test_accept_gives_the_listener_as_descriptor_0(mcp):
    m, port = mcp(), free_port()
    m.conf(m.child("srv", "serve0", f"listen_socket {{ type = inet; address = 127.0.0.1; port = {port}; }}", "accept"))
    m.start()
    first = int(ask(port).split()[1])
    # The queue of the socket outlives the program: nobody is turned away while it is restarted.
    os.kill(first, signal.SIGKILL)
    until(lambda: not alive(first))
    second = int(ask(port).split()[1])
    assert second != first
    m.logged(f"mc.exit service=srv, child_pid={first}, signal=9")


@pytest.mark.parametrize("kind", ["inet", "inet6", "unix"])
def test_nostartaccept_runs_one_program_for_each_connection(mcp, kind):
    m, port = mcp(), free_port()
    where = {"inet": f"type = inet; address = 127.0.0.1; port = {port};", "inet6": f"type = inet6; address = \"::1\"; port = {port};",
             "unix": f"type = unix; path = \"{m.path('sock')}\"; umask = 0117;"}[kind]
    m.conf(f"""cat {{ start_action = nostartaccept; path = /bin/cat; arguments = cat; max_processes = 2; listen_socket {{ {where} }} }}""")
    m.start()

    def connect():
        s = socket.socket({"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}[kind])
        s.settimeout(10 * SLOW)
        s.connect(m.path("sock") if kind == "unix" else ("::1" if kind == "inet6" else "127.0.0.1", port))
        return s
    if kind == "unix":
        assert stat.S_IMODE(os.stat(m.path("sock")).st_mode) == 0o660
    a, b, c = connect(), connect(), connect()
    for s in (a, b, c):
        s.sendall(b"hello")
    assert a.recv(10) == b.recv(10) == b"hello"
    # max_processes: the third waits in the queue until one of the others ends.
    c.settimeout(0.3)
    with pytest.raises(socket.timeout):
        c.recv(10)
    a.close()
    c.settimeout(10 * SLOW)
    assert c.recv(10) == b"hello"
    assert m.stop() == 0
    assert kind != "unix" or not os.path.exists(m.path("sock"))


def test_pass_hands_listeners_to_each_process_by_name(mcp):
    m, port, port2 = mcp(), free_port(), free_port()
    m.conf(m.child("srv", "listen ready serve", f"""pass_fd_socket = "{m.path('fd')}"; pass_id = "-i"; min_processes = 2; max_processes = 2;
        listen_socket {{ address = 127.0.0.1; port = {port2}; }}
        listen_socket {{ address = 127.0.0.1; port = {port}; name = "second one"; }}""", "pass"))
    # min_processes > 1 with pass_id: argv is python3 -i N child.py ..., which python takes as its own option; so a script decides.
    script = m.write("srv.sh", f"#!/bin/sh\nexec {PYTHON} {m.path('child.py')} \"$@\"\n", 0o755)
    conf = open(m.path("mcp.conf")).read()
    conf = conf.replace(f'"{PYTHON}"', f'"{script}"').replace(f"python3 {m.path('child.py')}", "srv")
    m.write("mcp.conf", conf.replace("second one", "second_one"))
    m.start()
    m.event("srv", "passed.*", 4)
    words = sorted(e[2] for e in m.events("srv", "passed.*"))
    for ident in "01":
        assert f"passed:127.0.0.1:{port2}:{m.path('fd')}.{ident}" in words
        assert f"passed:second_one:{m.path('fd')}.{ident}" in words
    assert {e[2] for e in m.events("srv", "start.*")} == {"start0", "start1"}
    assert ask(port).startswith("srv")


def test_pass_checks_who_listens(mcp):
    """Another process at the path of pass_fd_socket gets nothing."""
    m, port = mcp(), free_port()
    thief = socket.socket(socket.AF_UNIX)
    thief.bind(m.path("fd"))
    os.chmod(m.path("fd"), 0o777)
    thief.listen(5)
    thief.settimeout(10 * SLOW)
    m.conf(m.child("srv", "silent", f"""pass_fd_socket = "{m.path('fd')}"; listen_socket {{ address = 127.0.0.1; port = {port}; }}""", "pass"))
    m.start(wait=False)
    conn = thief.accept()[0]
    conn.settimeout(10 * SLOW)
    data, anc, *_ = conn.recvmsg(100, socket.CMSG_SPACE(4))
    assert data == b"" and not anc
    m.logged(r"mc.pass service=srv, child_pid=\d+, stat=.*belongs")


def test_pass_without_path_uses_the_mcp_socket(mcp):
    m, port = mcp(), free_port()
    m.conf(m.child("srv", "ready loop", f"listen_socket {{ address = 127.0.0.1; port = {port}; name = front; }}", "pass"))
    m.start()
    m.event("srv", f"listener:front:{port}")


# ---- what a child gets ----

def test_environment_descriptors_and_arguments(mcp):
    m = mcp()
    script = m.write("look.sh", f"""#!/bin/sh
echo to-the-log
exec > {m.path('seen.tmp')}
echo "args $0 $*"; env; ls -l /proc/$$/fd; umask
mv {m.path('seen.tmp')} {m.path('seen')}
exec sleep 1000
""", 0o755)
    m.conf(f"""look {{ start_action = wait; path = "{script}"; arguments = "look 'a b' c"; watchdog = 8s; }}""")
    m.start(env={"LD_LIBRARY_PATH": "/nowhere", "SECRET": "1", "SM_SOMETHING": "2", "TZ": "UTC"})
    seen = until(lambda: os.path.exists(m.path("seen")) and open(m.path("seen")).read())
    names = dict(line.split("=", 1) for line in seen.splitlines() if re.match(r"[A-Z_]+=", line))
    assert names["SM_SOMETHING"] == "2" and names["TZ"] == "UTC" and names["SM_MCP_FD"] == "3" and names["SM_MCP_TICK_MS"] == "2000"
    assert "SECRET" not in names and "LD_LIBRARY_PATH" not in names
    assert "a b c" in seen.splitlines()[0]
    fds = {int(n): to for n, to in re.findall(r" (\d+) -> (\S+)", seen)}
    assert fds[0] == "/dev/null" and fds[3].startswith("socket:")
    # 4 is the script itself, the shell may have it open once more under a number of its own.
    more = {to for n, to in fds.items() if n > 3 and not to.endswith("look.sh") and "seen" not in to}
    assert not more
    assert "0027" in seen.split()
    until(lambda: "to-the-log" in open(m.path("log/look.log")).read())
    assert stat.S_IMODE(os.stat(m.path("log/look.log")).st_mode) == 0o640


def test_limit_of_descriptors(mcp):
    m = mcp()
    m.conf(m.child("few", "ready loop", "max_descriptors = 77;"), m.child("same", "ready loop"))
    m.start()
    before = subprocess.run([*m.prefix, "sh", "-c", "ulimit -n"], stdout=subprocess.PIPE, text=True).stdout.strip()
    limits = {t: open(f"/proc/{m.events(t, 'start')[0][3]}/limits").read() for t in ("few", "same")}
    assert re.search(r"Max open files +77 +77 ", limits["few"])
    assert re.search(rf"Max open files +{before} ", limits["same"])


def test_open_files_come_as_descriptors_at_start_and_on_reload(mcp):
    m = mcp()
    key = m.write("key", "secret1\n")
    m.conf(m.child("srv", "ready loop", f"open_files = {{ \"{key}\", \"{m.path('missing')}\" }};"))
    m.start()
    m.event("srv", f"file:{key}:secret1")
    m.logged("mc.file service=srv, file=.*missing")
    m.write("key", "secret2\n")
    m.signal(signal.SIGHUP)
    m.event("srv", f"file:{key}:secret2")
    m.event("srv", "packetH")
    assert len(m.events("srv", "start")) == 1


# ---- restarts ----

def test_brake_on_a_crash_loop_leaves_the_others_alone(mcp):
    m = mcp()
    m.conf(m.child("good", "ready loop"), m.child("bad", "exit1"))
    m.start()
    m.logged("mc.brake service=bad, id=0, deaths=5", 30)
    t = [e[0] for e in m.event("bad", "start", 7, 30)]
    gaps = [b - a for a, b in zip(t, t[1:])]
    # 50, 100, 200, 400, 400 ... ms and the run time of the child.
    for gap, least in zip(gaps, [0.05, 0.1, 0.2, 0.4, 0.4, 0.4]):
        assert gap >= least * 0.99, gaps
    assert len(m.events("good", "start")) == 1


def test_hopeless_exits_are_not_restarted_until_reload(mcp):
    m = mcp()
    m.conf(m.child("conf", "exit78"), m.child("usage", "exit64"), m.child("limit", "exit1", "restart_limit = 3;"), m.child("good", "ready loop"))
    m.start()
    m.logged("mc.giveup service=conf, id=0, reason=exit-status")
    m.logged("mc.giveup service=usage")
    m.logged("mc.giveup service=limit, id=0, reason=restart_limit")
    time.sleep(0.6)
    assert len(m.events("conf", "start")) == len(m.events("usage", "start")) == 1
    assert len(m.events("limit", "start")) == 3
    m.signal(signal.SIGHUP)
    m.event("conf", "start", 2)
    m.event("limit", "start", 6)
    assert len(m.events("good", "start")) == 1


def test_temporary_failure_backs_off_but_is_no_crash_loop(mcp):
    m = mcp()
    m.conf(m.child("busy", "exit75", "restart_limit = 2;"))
    m.start()
    m.event("busy", "start", 8, 30)
    assert "mc.brake" not in m.log() and "mc.giveup" not in m.log()


def test_missing_interpreter_is_said_and_not_repeated(mcp):
    m = mcp()
    script = m.write("broken", "#!/no/such/interpreter\n", 0o755)
    m.conf(f"""broken {{ start_action = wait; path = "{script}"; arguments = broken; }}""")
    m.start()
    m.logged("mc.status service=broken, .*cannot.*start")
    m.logged("mc.giveup service=broken")
    assert "cannot start" in open(m.path("log/broken.log")).read()


def test_dependencies_restart_once_and_not_transitively(mcp):
    m = mcp()
    m.conf(m.child("base", "ready loop", "restart_dependencies = { mid };"), m.child("mid", "ready loop", "restart_dependencies = { leaf };"),
           m.child("leaf", "ready loop"))
    m.start()
    os.kill(m.events("base", "start")[0][3], signal.SIGKILL)
    m.event("base", "start", 2)
    m.event("mid", "start", 2)
    m.logged("mc.ready service=mid", count=2)
    time.sleep(0.3)
    assert [len(m.events(t, "start")) for t in ("base", "mid", "leaf")] == [2, 2, 1]
    # It was asked, not killed.
    assert len(m.events("mid", "term")) == 1


def test_death_of_mcp_ends_the_children(mcp):
    m = mcp()
    m.conf(m.child("srv", "ready loop"))
    m.start()
    pid = m.events("srv", "start")[0][3]
    m.process.kill()
    m.process.wait()
    until(lambda: not alive(pid), "the child ends with mcp")


# ---- watchdog ----

def test_watchdog_kills_who_stopped_ticking(mcp):
    m = mcp()
    m.conf(m.child("hung", "tick5 silent", "watchdog = 1s;"), m.child("foreign", "silent", "watchdog = 1s;"),
           m.child("well", "ready loop", "watchdog = 1s;"))
    m.start()
    m.logged("mc.watchdog service=hung")
    m.event("hung", "start", 2)
    m.logged("mc.watchdog service=hung", count=2)
    assert "mc.watchdog service=foreign" not in m.log() and "mc.watchdog service=well" not in m.log()
    first = m.events("hung", "start")[0][3]
    assert re.search(f"mc.exit service=hung, child_pid={first}, signal=6", m.log())


def test_watchdog_kills_who_is_stopped(mcp):
    m = mcp()
    m.conf(m.child("srv", "ready loop", "watchdog = 1s;"))
    m.start()
    os.kill(m.events("srv", "start")[0][3], signal.SIGSTOP)
    m.event("srv", "start", 2)


def test_mcp_stopped_for_long_blames_nobody(mcp):
    m = mcp()
    m.conf(m.child("srv", "ready loop", "watchdog = 1s;"))
    m.start()
    m.signal(signal.SIGSTOP)
    time.sleep(2.5)
    m.signal(signal.SIGCONT)
    time.sleep(1.5)
    assert "mc.watchdog" not in m.log() and len(m.events("srv", "start")) == 1


def test_flooding_child_does_not_stop_mcp(mcp):
    m, port = mcp(), free_port()
    m.conf(m.child("flood", "ready flood"), f"""cat {{ start_action = nostartaccept; path = /bin/cat; arguments = cat;
        listen_socket {{ address = 127.0.0.1; port = {port}; }} }}""")
    m.start()
    for _ in range(5):
        assert ask(port, b"hello") == "hello"
    assert m.stop() == 0


def test_status_text_cannot_forge_a_log_line(mcp):
    m = mcp()
    m.conf(m.child("srv", "sayall,evil=1\\n123.000_INFO_mc.fake ready loop"))
    m.start()
    m.logged("mc.status service=srv")
    assert not re.search("^.*evil=1,", m.log(), re.M)
    assert all(re.match(r"\d+\.\d+ [A-Z]+ mc\.", line) for line in m.log().splitlines())


# ---- reload ----

def test_bad_configuration_is_refused_with_its_line(mcp):
    m, port = mcp(), free_port()
    m.conf(m.child("srv", "ready loop"))
    m.start()
    good = open(m.path("mcp.conf")).read()
    for bad, why in [(good + "\nother {\n", r"mcp.conf:"), (good + "\nother { start_action = wait; path = /no/such; arguments = x; }", "/no/such"),
                     (good + "\n\n\nother { start_action = wait; path = /bin/true; arguments = true; watchdog = soon; }", r"mcp.conf:\d+:")]:
        before = m.log().count("stat=refused")
        m.write("mcp.conf", bad)
        m.signal(signal.SIGHUP)
        until(lambda: m.log().count("stat=refused") == before + 1, "refused")
        assert re.search(why, m.log().rsplit("stat=refused", 1)[1])
    # Also what only the system can tell: a port that somebody has.
    with socket.socket() as s:
        s.bind(("127.0.0.1", port))
        s.listen(1)
        m.write("mcp.conf", good + m.child("new", "silent", f"listen_socket {{ address = 127.0.0.1; port = {port}; }}", "accept"))
        m.signal(signal.SIGHUP)
        m.logged("stat=refused.*Address", count=1)
    assert len(m.events("srv", "start")) == 1 and not m.events("new") and not m.events("srv", "packetH")
    # And then it works.
    m.signal(signal.SIGHUP)
    m.event("new", "start")
    m.event("srv", "packetH")


def test_reload_restarts_what_changed_only(mcp):
    m, port = mcp(), free_port()
    listen = f"listen_socket {{ address = 127.0.0.1; port = {port}; }}"
    m.conf(m.child("a", "ready loop"), m.child("b", "serve0", listen, "accept"), m.child("c", "ready loop"))
    m.start()
    assert ask(port).startswith("b ")
    m.conf(m.child("a", "ready loop", "worker_option = 5;"), m.child("b", "serve0", listen + " stop_timeout = 9s;", "accept"), m.child("d", "ready loop"))
    # Clients come all the time; the listener never goes away.
    m.signal(signal.SIGHUP)
    seen = set()
    end = time.monotonic() + 1.5
    while time.monotonic() < end or len(seen) < 2:
        with contextlib.suppress(ConnectionResetError):  # the old process may end with a connection in hands
            seen.add(ask(port))
        assert time.monotonic() < end + 15 * SLOW
    m.event("d", "start")
    m.event("a", "packetH")
    assert [len(m.events(t, "start")) for t in "abcd"] == [1, 2, 1, 1]
    assert len(m.events("c", "term")) == 1


def test_removed_and_added_again_while_it_stops(mcp):
    m = mcp()
    both = [m.child("a", "ready loop"), m.child("b", "hardterm ready loop", "stop_timeout = 2s;")]
    m.conf(*both)
    m.start()
    m.conf(both[0])
    m.signal(signal.SIGHUP)
    m.logged("mc.reload stat=ok")
    m.conf(*both)
    m.signal(signal.SIGHUP)
    m.event("b", "start", 2)
    assert len(m.events("a", "start")) == 1


def exe(pid):
    return os.readlink(f"/proc/{pid}/exe")


def test_restart_runs_the_program_that_was_started_until_told(mcp):
    """Upgrade: a crash between the installation of a new build and the restart must not mix builds."""
    m = mcp()
    for name in ("one", "two"):
        shutil.copy("/bin/sleep", m.path(name))
    m.conf(*[f"""{n} {{ start_action = wait; path = "{m.path(n)}"; arguments = "{n} 1000"; restart_min_delay = 50ms; }}""" for n in ("one", "two")])
    m.start()

    def pids(n):
        return [int(p) for p in re.findall(rf"mc.start service={n}, child_pid=(\d+)", m.log())]
    shutil.copy("/bin/sleep", m.path("new"))
    os.rename(m.path("new"), m.path("one"))
    os.kill(pids("one")[0], signal.SIGKILL)
    until(lambda: len(pids("one")) == 2)
    until(lambda: exe(pids("one")[1]).endswith("(deleted)"), "still the old program")
    m.signal(signal.SIGHUP)
    # All restart, in order, though only one changed.
    until(lambda: len(pids("one")) == 3 and len(pids("two")) == 2)
    m.logged("mc.reload stat=ok, upgraded=1, restarts=2")
    until(lambda: exe(pids("one")[2]) == m.path("one"))
    assert m.log().rindex("mc.start service=one") < m.log().rindex("mc.start service=two")
    # Nothing changed: nothing restarts.
    m.signal(signal.SIGHUP)
    m.logged("mc.reload stat=ok, upgraded=0, restarts=0")


# ---- logs ----

def test_logs_are_reopened_and_handed_down(mcp):
    m = mcp()
    m.conf(m.child("srv", "ready loop"))
    m.start()
    for name in ("srv", "mcp"):
        os.rename(m.path(f"log/{name}.log"), m.path(f"log/{name}.log.0"))
    m.signal(signal.SIGUSR1)
    m.event("srv", "log")
    until(lambda: "after reopen" in open(m.path("log/srv.log")).read())
    m.logged("mc.logs stat=reopened")
    assert "mc.begin" in open(m.path("log/mcp.log.0")).read()


@pytest.mark.parametrize("trick", ["symlink", "hardlink", "fifo"])
def test_log_file_tricks_are_refused(mcp, trick):
    m = mcp()
    victim = m.write("victim", "precious\n", 0o666)
    path = m.path("log/srv.log")
    {"symlink": lambda: os.symlink(victim, path), "hardlink": lambda: os.link(victim, path), "fifo": lambda: os.mkfifo(path)}[trick]()
    m.conf(m.child("srv", "ready loop"))
    r = m.run("-F")
    assert r.returncode == 78 and "srv.log" in r.stdout
    assert open(victim).read() == "precious\n"


# ---- the end, and the beginning ----

def test_stop_kills_after_the_timeout(mcp):
    m = mcp()
    m.conf(m.child("stubborn", "hardterm ready loop", "stop_timeout = 1s;"), m.child("nice", "ready loop"))
    m.start()
    begin = time.monotonic()
    assert m.stop() == 0
    assert 1 <= time.monotonic() - begin
    assert re.search("mc.kill service=stubborn", m.log()) and re.search("mc.exit service=stubborn, child_pid=\\d+, signal=9", m.log())
    assert "mc.kill service=nice" not in m.log()


def test_second_term_has_no_patience(mcp):
    m = mcp()
    m.conf(m.child("stubborn", "hardterm ready loop", "stop_timeout = 1h;"))
    m.start()
    m.signal(signal.SIGTERM)
    m.logged("mc.stop signal=15, haste=0")
    m.signal(signal.SIGTERM)
    assert m.process.wait(15 * SLOW) == 0


def test_second_mcp_in_the_directory_refuses(mcp):
    m = mcp()
    m.conf(m.child("srv", "ready loop"))
    m.start()
    r = m.run("-F")
    assert r.returncode == 75 and "another mcp" in r.stdout
    assert len(m.events("srv", "start")) == 1


def test_waits_for_an_address_that_is_still_held(mcp):
    """After a kill -9 the programs of the former mcp drain, and hold the listeners meanwhile."""
    m = mcp()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        m.conf(m.child("srv", "serve0", f"listen_socket {{ type = inet; address = 127.0.0.1; port = {port}; }}", "accept"))
        m.start(wait=False)
        until(lambda: os.path.exists(m.path("mcp.lock")), what="mcp runs")
        time.sleep(0.3)
        assert m.process.poll() is None and not m.events("srv", "start")
    m.logged("mc.up")


def test_background_pid_file_and_exit_status(mcp):
    m = mcp()
    m.conf(m.child("srv", "sleep0.5 ready loop"))
    assert m.run("-p", m.path("pid")).returncode == 0
    pid = int(open(m.path("pid")).read())
    try:
        # The shell was kept waiting until all was up.
        assert m.events("srv", "start") and "mc.up" in m.log()
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid))
    assert not os.path.exists(m.path("pid"))
    m.write("mcp.conf", "srv { start_action = wait; }")
    r = m.run()
    assert r.returncode == 78 and re.search(r"mcp.conf:1:", r.stdout)


def test_command_line(mcp):
    m = mcp()
    m.conf(m.child("srv", "ready loop"))
    assert m.run("-V").stdout.startswith("smx ")
    assert "usage" in m.run("-h").stdout
    r = m.run("-VVVVV")
    assert r.returncode == 0 and "stop_timeout = 30s" in r.stdout and "srv" in r.stdout
    assert m.run("-Z").returncode == 64
    assert m.run("-F", m.path("mcp.conf")).returncode == 64


def test_readiness_for_systemd(mcp):
    m = mcp()
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(m.path("notify"))
    os.chmod(m.path("notify"), 0o777)
    s.settimeout(15 * SLOW)
    m.conf(m.child("srv", "sleep0.3 ready loop"))
    m.start(env={"NOTIFY_SOCKET": m.path("notify"), "WATCHDOG_USEC": "400000"}, wait=False)

    def get(what):
        while True:
            text = s.recv(200).decode()
            if what in text:
                return text
    get("WATCHDOG=1")
    get("READY=1")
    assert m.events("srv", "start")
    m.signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in get("RELOADING=1")
    get("READY=1")
    m.signal(signal.SIGTERM)
    get("STOPPING=1")
    m.process.wait(15 * SLOW)
    env = subprocess.run(["grep", "-c", "NOTIFY", m.path("log/srv.log")], stdout=subprocess.PIPE, text=True)
    assert env.stdout.strip() == "0"


def test_mcp_sh(mcp):
    m = mcp()
    m.conf(m.child("srv", "sleep0.2 ready loop"))
    env = {**os.environ, "MCP_PROG": program("mcp/mcp"), "MCP_CONF": m.path("mcp.conf"), "MCP_DIR": m.dir, "MCP_LOGDIR": m.path("log")}

    def sh(verb, **more):
        return subprocess.run([*m.prefix, "sh", program("misc/mcp.sh"), verb], env={**env, **more}, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60 * SLOW)
    assert sh("status").returncode == 3 and sh("reload").returncode == 75 and sh("stop").returncode == 0
    assert sh("no_such_verb").returncode == 64
    assert sh("start", MCP_CONF="/no/such").returncode == 78
    try:
        r = sh("start")
        assert r.returncode == 0 and "mcp started" in r.stdout, r.stdout
        pid = int(open(m.path("mcp.pid")).read())
        assert m.events("srv", "start")
        r = sh("status")
        assert r.returncode == 0 and str(pid) in r.stdout and "child.py" in r.stdout
        assert "already" in sh("start").stdout
        assert sh("reload").returncode == 0
        m.event("srv", "packetH")
        assert sh("logs").returncode == 0
        m.event("srv", "log")
        good = open(m.path("mcp.conf")).read()
        m.write("mcp.conf", good + "x {")
        r = sh("reload")
        assert r.returncode == 78 and "mcp.conf:" in r.stdout
        m.write("mcp.conf", good)
        assert sh("restart").returncode == 0
        assert int(open(m.path("mcp.pid")).read()) != pid and len(m.events("srv", "start")) == 2
    finally:
        r = sh("stop")
    assert r.returncode == 0 and "mcp stopped" in r.stdout
    assert not [e for e in m.events() if alive(e[3])] and not os.path.exists(m.path("mcp.pid"))
    # A process id that now belongs to somebody else is not taken for mcp.
    m.write("mcp.pid", str(os.getpid()))
    assert sh("status").returncode == 3


# ---- users ----

def test_unprivileged_mcp_cannot_change_user(mcp):
    m = mcp()
    m.conf(m.child("srv", "ready loop", "user = root;"))
    r = m.run("-F")
    assert r.returncode == 78 and "only root" in r.stdout


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_root_changes_user_and_keeps_few_rights(mcp):
    m, port = mcp(as_root=True), free_port()
    m.conf(m.child("a", "ready loop", "user = nobody;"), m.child("b", "ready loop", "user = daemon; group = mail;"),
           f"""cat {{ start_action = nostartaccept; path = /bin/cat; arguments = cat; user = nobody;
               listen_socket {{ type = unix; path = "{m.path('sock')}"; umask = 0117; user = daemon; group = mail; }}
               listen_socket {{ address = 127.0.0.1; port = {port}; }} }}""")
    m.start()
    a, b = (status(m.events(t, "start")[0][3]) for t in "ab")
    daemon, mail = pwd.getpwnam("daemon"), 8
    assert a["Uid"].split() == [str(NOBODY.pw_uid)] * 4 and a["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    assert b["Uid"].split() == [str(daemon.pw_uid)] * 4 and b["Gid"].split() == [str(mail)] * 4
    assert "0" not in a["Groups"].split() + b["Groups"].split()
    for s in (a, b):
        assert s["NoNewPrivs"] == "1"
        for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(s[cap], 16) == 0, cap
    # CHOWN DAC_OVERRIDE KILL SETGID SETUID SETPCAP NET_BIND_SERVICE
    wanted = sum(1 << bit for bit in (0, 1, 5, 6, 7, 8, 10))
    for cap in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status(m.process.pid)[cap], 16) & ~wanted == 0
    log = os.stat(m.path("log/a.log"))
    assert log.st_uid == NOBODY.pw_uid and stat.S_IMODE(log.st_mode) == 0o640
    sock = os.stat(m.path("sock"))
    assert (sock.st_uid, sock.st_gid, stat.S_IMODE(sock.st_mode)) == (daemon.pw_uid, mail, 0o660)
    assert ask(port, b"x") == "x"


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_root_wants_a_user_for_each_section(mcp):
    m = mcp(as_root=True)
    m.conf(m.child("srv", "ready loop"))
    r = m.run("-F")
    assert r.returncode == 78 and "needs a user" in r.stdout
    m.conf(m.child("srv", "ready loop", "user = no_such_user_here;"))
    assert m.run("-F").returncode == 78
