"""mcp by itself: restarts and their brake, dependencies, the watchdog."""
import os
import re
import signal
import time

from lib.health import alive
from lib.mcp import ask
from lib.paths import free_port
from lib.wait import never, until

# ---- restarts ----

def test_brake_on_a_crash_loop_leaves_the_others_alone(mcp):
    m = mcp()
    m.conf(m.child("good", "ready loop"), m.child("bad", "exit1"))
    m.start()
    m.logged("mc.brake service=bad, id=0, deaths=5")
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
    started = [("conf", 1), ("usage", 1), ("limit", 3)]
    assert [(tag, len(m.events(tag, "start"))) for tag, _ in started] == started
    never(lambda: any(len(m.events(tag, "start")) > n for tag, n in started), "a further start", 0.6)
    m.signal(signal.SIGHUP)
    m.event("conf", "start", 2)
    m.event("limit", "start", 6)
    assert len(m.events("good", "start")) == 1


def test_temporary_failure_backs_off_but_is_no_crash_loop(mcp):
    m = mcp()
    m.conf(m.child("busy", "exit75", "restart_limit = 2;"))
    m.start()
    m.event("busy", "start", 8)
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
    never(lambda: [len(m.events(t, "start")) for t in ("base", "mid", "leaf")] != [2, 2, 1], "a further start", 0.3)
    # It was asked, not killed.
    assert len(m.events("mid", "term")) == 1


def test_dependencies_are_left_alone_by_a_crash_loop(mcp):
    m = mcp()
    m.conf(m.child("base", "exit1", "restart_dependencies = { mid };"), m.child("mid", "ready loop"))
    m.start()
    m.event("base", "start", 5)
    assert len(m.events("mid", "start")) == 1 and "mc.depend" not in m.log()


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
           m.child("well", "ready loop", "watchdog = 3s;"))  # it may have to wait for the processor
    m.start()
    m.logged("mc.watchdog service=hung")
    m.event("hung", "start", 2)
    m.logged("mc.watchdog service=hung", count=3)
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
    m.conf(m.child("srv", "ready loop", "watchdog = 3s;"))  # it may have to wait for the processor
    m.start()
    m.signal(signal.SIGSTOP)
    time.sleep(5)  # longer than the watchdog waits
    m.signal(signal.SIGCONT)
    never(lambda: "mc.watchdog" in m.log() or len(m.events("srv", "start")) > 1, "somebody is blamed", 4)


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
