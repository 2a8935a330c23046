"""mcp by itself: reload, upgrade, logs."""
import contextlib
import os
import re
import shutil
import signal
import socket
import time

import pytest
from lib.mcp import ask
from lib.paths import free_port
from lib.wait import PATIENCE, SLOW, until

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
        assert time.monotonic() < end + PATIENCE * SLOW
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
