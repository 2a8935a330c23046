"""System calls, syncs and context switches of a message. Switches are what /proc says of each thread; calls are counted by perf, else by strace."""
import os

from lib import tracer

from .cases import CASES
from .meters import switches_between
from .relay import flow, warm_up

EVENTS = ["raw_syscalls:sys_enter", "syscalls:sys_enter_fsync", "syscalls:sys_enter_fdatasync", "syscalls:sys_enter_sync_file_range", "context-switches"]
NAMES = {"raw_syscalls:sys_enter": "calls", "context-switches": "switches"}
LOADS = {"A": 500, "D": 50}  # messages


def _tracer(processes):
    """perf where that can count, else strace. Raises tracer.Failed."""
    if tracer.perf_counts(EVENTS[0]):
        try:
            return tracer.Perf(EVENTS, processes.pids(), processes.cgroup and os.path.basename(processes.cgroup))
        except tracer.Failed:
            pass
    return tracer.Strace(processes.pids())


def _of_perf(counts, n):
    return {NAMES.get(event, event.split("sys_enter_")[-1]): round(count / n, 2) for event, count in counts.items()}


def _of_strace(counts, n):
    syncs = {call: round(count / n, 2) for call, count in counts.items() if "sync" in call}
    return {**syncs, "calls": round(sum(counts.values()) / n, 2), "note": "calls by strace"}


def _switches(bench, case, peer, n):
    before = peer.processes.switches()
    flow(bench, case, peer, n, look=False)
    roles, ended = switches_between(before, peer.processes.switches())
    out = {what: round(sum(r[i] for r in roles.values()) / n, 2) for i, what in enumerate(("voluntary", "involuntary"))}
    out["roles"] = {role: [round(x / n, 2) for x in sums] for role, sums in sorted(roles.items()) if any(sums)}
    if ended:
        out["note"] = f"{ended} threads have ended, whose switches are missing"
    return out


def _calls(bench, case, peer, n):
    try:
        tool = _tracer(peer.processes)
    except tracer.Failed as e:
        return {"note": f"no calls: {e}"}
    with tool:
        flow(bench, case, peer, n, look=False)
        return (_of_perf if isinstance(tool, tracer.Perf) else _of_strace)(tool.counts(), n)


def events(bench, case, peer):
    if not peer.processes:
        return
    for name, n in LOADS.items():
        load = CASES[name]
        warm_up(bench, load, peer)
        switches, calls = _switches(bench, load, peer, n), _calls(bench, load, peer, n)
        notes = [r.pop("note") for r in (switches, calls) if "note" in r]
        yield {"row": name, "messages": n, **switches, **calls, **({"note": ", ".join(notes)} if notes else {})}
