"""The instruments: load and sink in TLS lose nothing, and checks/bench/run compares peers as it says, on a small scale."""
import json
import os
import subprocess
import sys

import pytest
from lib.certs import Certs
from lib.debian import Unavailable, unpacked
from lib.paths import SRC, build_says
from lib.programs import Load, SinkProgram
from lib.tracer import Failed, Perf, Strace, perf_counts
from lib.wait import SLOW

pytestmark = [pytest.mark.inside, pytest.mark.plain]
tls = pytest.mark.skipif(not build_says("#define SM_HAVE_TLS 1"), reason="no TLS")


def lines(path, word, *columns):
    with open(path) as f:
        return sorted(tuple(w[c] for c in columns) for w in (line.split() for line in f) if w[0] == word)


@pytest.fixture(scope="module")
def certs():
    with Certs() as c:
        c.make("mx", "/CN=mx.test", ["mx.test"])
        yield c


@tls
@pytest.mark.parametrize("arguments", [["-S"], ["-z"], ["-S", "-d", "-l", "200000"], ["-S", "-p", "-r", "3"], []], ids=" ".join)
def test_load_to_sink(certs, tmp_path, arguments):
    """What was said to be sent is what came, whoever waits for whom; replies that come late do not stop TLS."""
    with SinkProgram(str(tmp_path), "-w", "1", "-W", "5", "-c", certs.path("mx"), "-k", certs.key("mx")) as sink:
        f = Load(str(tmp_path), f"127.0.0.1:{sink.port}", "-s", "10", "-m", "100", *arguments).done()
        got = sink.stop()
    assert f["acked"] == f["begun"] == got["messages"] == 100 and f["drops"] == 0
    assert f["handshakes"] == got["handshakes"] == (got["connections"] if arguments else 0)
    assert f["resumed"] == got["resumed"] and (got["resumed"] >= 80) == (arguments == ["-z"])
    sent = lines(os.path.join(tmp_path, "ledger"), "SENT", 2, 3)
    rcpts = 3 if "-r" in arguments else 1
    assert lines(sink.arrivals, "GOT", 2, 4) == sorted(sent * rcpts)


CALLER = """
import os, sys, threading
def calls():
    gate.wait()
    for _ in range(100):
        os.getppid()
gate = threading.Event()
threads = [threading.Thread(target=calls) for _ in range(20)]
[t.start() for t in threads]
print("ready", flush=True)
sys.stdin.readline()
gate.set()
[t.join() for t in threads]
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("by", ["perf", "strace"])
def test_tracers_miss_no_call(by):
    """Not the first ones either, of whatever thread: they count when they are said to."""
    event = "syscalls:sys_enter_getppid" if by == "perf" else "getppid"
    if by == "perf" and not perf_counts(event):
        pytest.skip("perf may not count here")
    with subprocess.Popen([sys.executable, "-c", CALLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        try:
            p.stdout.readline()
            try:
                t = Perf([event], [p.pid]) if by == "perf" else Strace([p.pid])
            except Failed as e:
                pytest.skip(str(e))
            with t:
                print(file=p.stdin, flush=True)
                p.stdout.readline()
                assert t.counts()[event] == 2000
        finally:
            p.kill()


def test_a_tracer_that_cannot_begin_says_so():
    for tool in (lambda: Perf(["no:such"], [os.getpid()]), lambda: Strace([1 << 30])):
        with pytest.raises(Failed):
            tool()


def instrument(tmp_path, name, *arguments):
    """What it printed, and its figures."""
    out = os.path.join(tmp_path, "figures")
    r = subprocess.run([sys.executable, os.path.join(SRC, "checks", "bench", name), "--json", out, *arguments], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=400 * SLOW, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
    assert r.returncode == 0, r.stdout
    with open(out) as f:
        return r.stdout, json.load(f)


def compare(tmp_path, *arguments):
    return instrument(tmp_path, "run", "--sessions", "5", *arguments)


@pytest.mark.parametrize("contents", ["segments", "files"])
def test_a_queue_is_measured(tmp_path, contents):
    _, figures = instrument(tmp_path, "queue", "--shapes", "1000x2", "--runs", "1", "--parts", "start,look,act,run", "--contents", contents)
    of = {f["what"]: f["values"] for f in figures}
    assert len(of["PSS of qmgr after the start"]) == len(of["PSS of qmgr behind a run of all"]) == 1
    assert "list of all (1000 mails)" in of and "hold of 2000 recipients, durable" in of and all(v[0] > 0 for v in of.values())


def test_scale_is_measured(tmp_path):
    _, figures = instrument(tmp_path, "scale", "--axis", "queue", "--max", "1000", "--scale", "0.01", "--runs", "1")
    for n in (0, 1000):
        mine = [r for r in figures["results"] if r["point"] == n]
        assert {"pss_mb", "rate", "switches"} <= {k for r in mine for k in r} and all(r["rate"] > 0 for r in mine if "rate" in r)


def test_calls_are_measured(tmp_path):
    """Each message takes as many, also the first."""
    try:
        with Strace([os.getpid()]):
            pass
    except Failed as e:
        pytest.skip(str(e))
    _, figures = instrument(tmp_path, "profile", "--cases", "A", "--parts", "calls", "--messages", "20", "--sessions", "1", "--by", "strace")
    assert figures["cases"]["A"]["calls"]["smtps"]["accept4"] >= 1 and figures["cases"]["A"]["calls"]["smtpc"]["sendmsg"] > 0


def has_postfix():
    try:
        return os.getuid() == 0 and bool(unpacked("postfix"))
    except Unavailable:
        return False


@tls
def test_peers_in_turns(tmp_path):
    peers = ["raw", "smx"] + (["postfix"] if has_postfix() else [])
    text, figures = compare(tmp_path, "--cases", "A,D,E,F,T2", "--scale", "0.005", "--runs", "2", "--peers", ",".join(peers))
    runs = figures["runs"]
    assert not [r for r in runs if "failed" in r], "all arrived, all queues are empty"
    assert [(r["peer"], r["run"]) for r in runs if r["case"] == "A"] == [(p, 1) for p in peers] + [(p, 2) for p in peers[1:] + peers[:1]]
    assert {(r["of"], r["peer"]) for r in runs} == {(c, p) for c in "A D E F T2".split() for p in peers if p != "raw" or c not in "EF"}
    assert {(r["case"], r["peer"]) for r in runs if r["of"] == "E"} == {("E segments", "smx"), ("E files", "smx"), *(("E", p) for p in peers[2:])}
    assert {r["messages"] for r in runs if r["case"] == "A"} == {50} and {r["messages"] for r in runs if r["case"] == "D"} == {5}
    assert all(r["queued"] == 50 for r in runs if r["of"] == "E")
    assert all(r["sink_handshakes"] == r["connections"] > 0 for r in runs if r["case"] == "T2")
    assert figures["machine"]["cores"] >= 1 and figures["machine"]["kernel"] in text
    if "postfix" in peers:
        assert figures["versions"]["postfix"] and set(figures["ratios_to_postfix"]) == {"A", "D", "E segments", "E files", "F", "T2"}
        a = {(r["peer"], r["run"]): r["rate"] for r in runs if r["case"] == "A"}
        assert figures["ratios_to_postfix"]["A"]["least"] == min(a["smx", n] / a["postfix", n] for n in (1, 2))
    for w in figures["wanted"]:
        assert (w["value"] is None) == (w["figure"] == "ratio" and "postfix" not in peers)
        assert w["met"] is None or w["met"] == (w["value"] >= w["wanted"] if w["bound"] == "least" else w["value"] <= w["wanted"])
        assert f"| {w['case']} |" in text


def test_idle_and_events(tmp_path):
    text, figures = compare(tmp_path, "--cases", "I,S", "--scale", "0.05", "--peers", "smx")
    rows = {r["case"]: r for r in figures["runs"]}
    assert rows.keys() == {"SA", "SD"} | ({"I"} if os.getuid() == 0 else set())
    if "I" in rows:  # what has dropped its rights only root may look at
        idle = rows["I"]
        assert (idle["open"], idle["refused"], idle["processes"]) == (50, 0, 5) and 0 < idle["pss_more_mb"] < idle["pss_mb"]
    a, d = rows["SA"], rows["SD"]
    assert 0 < a["voluntary"] < 100 and {"smtps", "qmgr"} <= set(a["roles"])
    assert 10 < a["calls"] < d["calls"] if "calls" in a else "strace" in a["note"]


def test_what_cannot_be_is_said(tmp_path):
    text, figures = compare(tmp_path, "--cases", "A", "--scale", "0.002", "--runs", "1", "--peers", "raw", "--other", "nobody=127.0.0.1:1")
    assert "nobody greets at 127.0.0.1:1" in text and {r["peer"] for r in figures["runs"]} == {"raw"}
    r = subprocess.run([sys.executable, os.path.join(SRC, "checks", "bench", "run"), "--cases", "A,X"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert r.returncode == 2 and "X: there are A, B" in r.stdout
