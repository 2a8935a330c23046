"""Mail that stays in the queue: how fast it is accepted while deliveries are stopped, how fast it leaves when all of it is due."""
import os
import time

from lib.wait import until

from .relay import Used, latencies, send, sink, wait_for


def _in_queue(peer, count, what, seconds=300):
    until(lambda: peer.held() == count, lambda: f"{peer.name}: {count} {what}; now {peer.held()}", seconds, 0.2)


def accept(bench, case, peer):
    """Nothing is delivered, and nothing but what makes a mail safe is written. The time is that of the load."""
    n = bench.messages(case)
    peer.stop_deliveries()
    send(bench, case, peer, bench.warm)
    peer.processes.quiet()
    os.sync()
    used = Used(peer)
    f, took = send(bench, case, peer, n)
    r = {"messages": f["acked"], "seconds": f["seconds"], "rate": f["rate"], **latencies(f), **used.figures(f["acked"])}
    r["queued"] = peer.held() - bench.warm
    if not f["acked"] == r["queued"] == n:
        r["failed"] = f"{f['acked']} of {n} acknowledged, {r['queued']} in the queue"
    yield r


def drain(bench, case, peer):
    """The sink is away until all are deferred; the time is from the command that makes them due to the sink's last final reply."""
    n = bench.messages(case)
    send(bench, case, peer, n)
    until(lambda: peer.deferred() == n, lambda: f"{peer.name}: {n} are deferred; now {peer.deferred()}", 300, 0.2)
    peer.processes.quiet()
    os.sync()
    with sink(bench, case, peer, n) as s:
        used, mark = Used(peer), peer.mark()
        start = time.monotonic()
        peer.flush()
        got = wait_for(s, bench.o.limit + 10)
    if not got["rcpts"]:
        raise SystemExit(f"{peer.name}: nothing has arrived")
    r = {"messages": got["rcpts"], "seconds": round(got["last"] - start, 3), "rate": round(got["rcpts"] / (got["last"] - start), 1),
         "sink_rate": round(got["rcpts"] / (got["last"] - got["first"]), 1), "connections": got["connections"], "peak_connections": got["peak"],
         **used.figures(got["rcpts"])}
    if why := peer.put_off(mark):
        r["note"] = why
    if got["rcpts"] != n:
        r["failed"] = f"only {got['rcpts']} of {n} arrived"
    else:
        _in_queue(peer, 0, "left")
    yield r
