"""mcp by itself: start actions, handing over, what a child gets."""
import os
import re
import signal
import socket
import stat
import subprocess
import time

import pytest
from lib.health import alive
from lib.mcp import PYTHON, ask
from lib.paths import free_port
from lib.wait import SLOW, until

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


def test_nostartaccept_starts_so_many_in_a_second(mcp):
    """The others wait, and nobody is turned away."""
    m = mcp()
    sock = m.path("sock")
    m.conf(f"""cat {{ start_action = nostartaccept; path = /bin/cat; arguments = cat; max_processes = 100; max_start_rate = 4;
        listen_socket {{ type = unix; path = "{sock}"; }} }}""")
    m.start()

    def one():
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30 * SLOW)
        s.connect(sock)
        s.sendall(b"x")
        return s
    began = time.monotonic()
    all_of_them = [one() for _ in range(12)]
    assert [s.recv(1) for s in all_of_them] == [b"x"] * 12
    # Four at once, the eight behind them a quarter of a second after each other.
    assert time.monotonic() - began >= 1.9
    for s in all_of_them:
        s.close()
    m.stop()


def test_nostartaccept_ends_what_runs_too_long(mcp):
    """With what it has started, and also one that does not want to hear of it."""
    m = mcp()
    sock, script = m.path("sock"), m.path("stubborn")
    with open(script, "w") as f:
        f.write("#!/bin/sh\ntrap '' TERM\necho $$\nsleep 1000 &\necho $!\nwhile :; do sleep 1000; done\n")
    os.chmod(script, 0o755)
    m.conf(f"""it {{ start_action = nostartaccept; path = "{script}"; arguments = it; max_processes = 1; max_run_time = 500ms; stop_timeout = 300ms;
        listen_socket {{ type = unix; path = "{sock}"; }} }}""")
    m.start()

    def one():
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30 * SLOW)
        s.connect(sock)
        return s
    first, second = one(), one()
    pids = [int(x) for x in first.makefile().readlines()]  # to the end
    assert len(pids) == 2
    until(lambda: not any(alive(p) for p in pids), "both are gone")
    # The only place is free again.
    assert int(second.makefile().readline()) not in pids
    m.logged(f"mc.overrun service=it, child_pid={pids[0]}")
    m.stop()


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
    c.settimeout(0.3)  # for nothing
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
