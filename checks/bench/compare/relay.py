"""Mail that goes through: load, relay and sink share the machine; the time is from the start of the load to the sink's last final reply."""
import os
import subprocess
import time

from lib.debian import smtp_source_environment
from lib.paths import program
from lib.programs import Program, figures

from .meters import PeakPss
from .peers import Raw, settled


def load_command(bench, case, address, messages, sessions=None):
    """(command, environment, whether it is our own, which has figures)"""
    o, sessions = bench.o, sessions or bench.o.sessions
    if o.smtp_source:
        return [o.smtp_source, "-s", str(sessions), "-m", str(messages), *case.source, "-f", "sender@source.test", "-t", "rcpt@dest.test",
                "inet:" + address], smtp_source_environment(o.smtp_source), False
    to = "rcpt%r@dest.test" if case.rcpts > 1 else "rcpt@dest.test"
    return [program("checks/bench/load"), "-s", str(sessions), "-m", str(messages), "-T", str(o.limit), *case.load, "-t", to, address], None, True


def send(bench, case, peer, messages, sessions=None):
    """Runs the load; its figures, and the seconds it took."""
    command, environment, own = load_command(bench, case, peer.address, messages, sessions)
    begin = time.monotonic()
    out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True).stdout
    took = time.monotonic() - begin
    f = figures(out.strip().splitlines()[-1]) if own else {}
    if own and not f["acked"]:
        raise SystemExit(f"{peer.name}: nothing was acknowledged: {out}")
    return f, took


def sink(bench, case, peer, count=None):
    """The sink of this case: in TLS where the relay is to use it, and where there is no relay."""
    args = ["-n", count] if count else []
    if case.tls_out or (case.tls and isinstance(peer, Raw)):
        args += ["-c", bench.certs.path("mx"), "-k", bench.certs.key("mx")]
    return Program("sink", *args, "-T", bench.o.limit, f"127.0.0.1:{bench.sink_port}")


def wait_for(program, seconds):
    """What was not acknowledged may never come."""
    try:
        program.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    return program.stop()


class Used:
    """What a relay uses between two moments, told for so many messages."""

    def __init__(self, peer):
        self.p = peer.processes
        if self.p:
            self.before, self.meter = self.p.cpu(), PeakPss(self.p)

    def figures(self, n):
        if not self.p:
            return {}
        self.p.quiet()
        user, system = (b - a for a, b in zip(self.before, self.p.cpu()))
        r = {"cpu_per_1000": round((user + system) / n * 1000, 3), "cpu_user": round(user / n * 1000, 3), "cpu_sys": round(system / n * 1000, 3),
             "processes": len(self.p.pids())}
        peak = self.meter.stop()
        return r if peak is None else {**r, "pss_mb": round(peak, 1)}


def latencies(f):
    return {"p50_ms": f["p50_ms"], "p99_ms": f["p99_ms"], "load_cpu": round(f["cpu_user"] + f["cpu_sys"], 2)} if f else {}


def warm_up(bench, case, peer):
    """Processes and connections that a relay makes when there is work are there."""
    n = bench.warm
    with sink(bench, case, peer, n * case.rcpts) as s:
        send(bench, case, peer, n)
        wait_for(s, 30)
    if peer.processes:
        settled(peer)
        peer.processes.quiet()
    os.sync()  # what others left to be written is not to be waited for


def flow(bench, case, peer, messages, look=True):
    """One run through a relay that is warm; the row. `look`: at its queues, whether they are empty again."""
    with sink(bench, case, peer, messages * case.rcpts) as s:
        used, mark = Used(peer), peer.mark()
        start = time.monotonic()
        f, accepted = send(bench, case, peer, messages)
        got = wait_for(s, bench.o.limit + 10 if not f or f["acked"] == messages else 15)
    seconds = got["last"] - start
    n = got["rcpts"] / case.rcpts
    if not n:
        raise SystemExit(f"{peer.name}: nothing has arrived")
    r = {"messages": n, "seconds": round(seconds, 3), "rate": round(n / seconds, 1), "accept_rate": round(messages / accepted, 1),
         "connections": got["connections"], "peak_connections": got["peak"], "sink_cpu": round(got["cpu_user"] + got["cpu_sys"], 2), **latencies(f),
         **used.figures(n)}
    if case.rcpts > 1:
        r["rcpts_rate"] = round(got["rcpts"] / seconds, 1)
    failed = []
    if n < messages:
        failed.append(f"only {n:.0f} of {messages} arrived")
    if f and f["acked"] != f["begun"]:
        failed.append(f"{f['begun'] - f['acked']} not acknowledged")
    if case.tls_out:
        r["sink_handshakes"] = got["handshakes"]
        if got["handshakes"] != got["connections"]:
            failed.append(f"{got['connections'] - got['handshakes']} connections to the sink in clear")
    if why := peer.put_off(mark):
        r["note"] = why
    left = settled(peer) if look and n == messages else 0
    if left:
        failed.append(f"{left} left in the queue")
    if failed:
        r["failed"] = ", ".join(failed)
    return r


def relay(bench, case, peer):
    warm_up(bench, case, peer)
    yield flow(bench, case, peer, bench.messages(case))


def slow_journal(bench, case, peer):
    """The group, and beside it one session that has no company."""
    yield from relay(bench, case, peer)
    with sink(bench, case, peer):
        f, _ = send(bench, case, peer, min(200, bench.messages(case)), 1)
    yield {"row": "1", "messages": f["acked"], **latencies(f)}
