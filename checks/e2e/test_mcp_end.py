"""mcp by itself: one at a time, the background, the end, systemd, mcp.sh, and users."""
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
from lib.health import alive
from lib.mcp import NOBODY, ROOT, ask
from lib.paths import free_port, program
from lib.wait import PATIENCE, SLOW, never, until

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
    assert m.process.wait(PATIENCE * SLOW) == 0


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
        until(lambda: os.path.exists(m.path("mcp.lock")), "mcp runs")
        never(lambda: m.process.poll() is not None or m.events("srv", "start"), "it starts or ends without the address", 0.5)
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
    s.settimeout(PATIENCE * SLOW)
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
    m.process.wait(PATIENCE * SLOW)
    env = subprocess.run(["grep", "-c", "NOTIFY", m.path("log/srv.log")], stdout=subprocess.PIPE, text=True)
    assert env.stdout.strip() == "0"


def mcp_sh_env(m):
    return {**os.environ, "MCP_PROG": program("mcp/mcp"), "MCP_CONF": m.path("mcp.conf"), "MCP_DIR": m.dir, "MCP_LOGDIR": m.path("log")}


def test_mcp_sh(mcp):
    m = mcp()
    m.conf(m.child("srv", "sleep0.2 ready loop"))
    env = mcp_sh_env(m)

    def sh(verb, **more):
        return subprocess.run([*m.prefix, "sh", program("misc/mcp.sh"), verb], env={**env, **more}, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=PATIENCE * SLOW)
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


# Is called mcp and has lost its command line, as a process that was killed has for a moment; and then ends.
DYING = """
import sys
open("/proc/self/comm", "w").write("mcp")
first, end = map(int, open("/proc/self/stat").read().rsplit(")", 1)[1].split()[45:47])
with open("/proc/self/mem", "r+b", buffering=0) as memory:
    memory.seek(first)
    memory.write(bytes(end - first))
print(flush=True)
sys.stdin.read()
"""


def test_mcp_sh_start_after_kill(mcp):
    """One that dies is not taken for one that runs: start waits for its end."""
    m = mcp()
    m.conf(m.child("srv", "ready loop"))
    env = mcp_sh_env(m)
    sh = [*m.prefix, "sh", program("misc/mcp.sh")]
    with subprocess.Popen([*m.prefix, sys.executable, "-c", DYING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as dying:
        dying.stdout.readline()
        m.write("mcp.pid", str(dying.pid))
        os.chmod(m.path("mcp.pid"), 0o666)
        with subprocess.Popen([*sh, "start"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as start:
            never(lambda: start.poll() is not None or m.events("srv"), "it ends or starts before that one is gone", 0.5)
            dying.stdin.close()
            dying.wait()
            try:
                assert "mcp started" in start.communicate(timeout=PATIENCE * SLOW)[0] and start.returncode == 0
                assert m.events("srv", "start")
            finally:
                subprocess.run([*sh, "stop"], env=env, check=True, timeout=PATIENCE * SLOW)


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
