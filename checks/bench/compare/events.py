"""System calls, syncs and context switches of a message. Switches are what /proc says of each thread; calls are counted by perf, else by strace."""
import os
import re
import signal
import subprocess
import time

from .cases import CASES
from .meters import switches_between
from .relay import flow, warm_up

EVENTS = ["raw_syscalls:sys_enter", "syscalls:sys_enter_fsync", "syscalls:sys_enter_fdatasync", "syscalls:sys_enter_sync_file_range", "context-switches"]
NAMES = {"raw_syscalls:sys_enter": "calls", "context-switches": "switches"}
LOADS = {"A": 500, "D": 50}  # messages


def _perf_works():
    try:
        return subprocess.run(["perf", "stat", "-e", EVENTS[0], "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def _perf(processes):
    """Started, or None."""
    if not _perf_works():
        return None
    where = ["-a", "--for-each-cgroup", os.path.basename(processes.cgroup)] if processes.cgroup else ["-p", ",".join(map(str, processes.pids()))]
    perf = subprocess.Popen(["perf", "stat", "-x,", "-e", ",".join(EVENTS), *where], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    time.sleep(0.5)
    return perf if perf.poll() is None else None


def _strace(processes):
    try:
        tool = subprocess.Popen(["strace", "-c", "-f", "-qq", *[x for p in processes.pids() for x in ("-p", str(p))]], stderr=subprocess.PIPE, text=True)
    except OSError:
        return None
    time.sleep(1)
    return tool


def _said(tool):
    tool.send_signal(signal.SIGINT)
    return tool.communicate()[1]


def _of_perf(text, n):
    out = {}
    for line in text.splitlines():
        w = line.split(",")
        if len(w) > 2 and w[0].strip().replace(".", "").isdigit():
            out[NAMES.get(w[2], w[2].split("sys_enter_")[-1])] = round(float(w[0]) / n, 2)
    return out


def _of_strace(text, n):
    out, total = {}, 0
    for line in text.splitlines():
        m = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", line)
        if m and m.group(2) != "total":
            total += int(m.group(1))
            if "sync" in m.group(2):
                out[m.group(2)] = round(int(m.group(1)) / n, 2)
    return {**out, "calls": round(total / n, 2), "note": "calls by strace"} if total else {"note": "strace may not look at it"}


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
    tool, read = _perf(peer.processes), _of_perf
    if not tool:
        tool, read = _strace(peer.processes), _of_strace
    if not tool:
        return {"note": "no perf and no strace"}
    try:
        flow(bench, case, peer, n, look=False)
    finally:
        text = _said(tool)
    return read(text, n)


def events(bench, case, peer):
    if not peer.processes:
        return
    for name, n in LOADS.items():
        load = CASES[name]
        warm_up(bench, load, peer)
        switches, calls = _switches(bench, load, peer, n), _calls(bench, load, peer, n)
        notes = [r.pop("note") for r in (switches, calls) if "note" in r]
        yield {"row": name, "messages": n, **switches, **calls, **({"note": ", ".join(notes)} if notes else {})}
