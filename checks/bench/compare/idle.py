"""What clients cost that only stay connected."""
import subprocess
import time

from lib.paths import program
from lib.programs import figures

from .peers import Impossible

SAMPLE = 2  # seconds during which nothing happens


def idle(bench, case, peer):
    """PSS before and after all of them have heard the reply to EHLO, and CPU while nothing happens."""
    if not peer.processes:
        return
    n, look = bench.messages(case), peer.processes
    look.quiet()
    try:
        before = look.settled_pss_mb()
    except PermissionError:
        raise Impossible("needs root to see memory") from None
    # some from each address: a relay limits the connections of one client
    p = subprocess.Popen([program("checks/bench/load"), *case.load, "-s", str(n), "-i", str(bench.o.limit), "-T", str(2 * bench.o.limit), "-A", "20",
                          peer.address], stdout=subprocess.PIPE, text=True)
    try:
        f = figures(p.stdout.readline())
        after = look.settled_pss_mb()
        look.quiet()
        cpu = sum(look.cpu())
        time.sleep(SAMPLE)
        used = sum(look.cpu()) - cpu
    finally:
        p.terminate()
        p.communicate()
    r = {"open": f["open"], "refused": f["refused"], "seconds": f["seconds"], "pss_mb": round(after, 1), "pss_more_mb": round(after - before, 1),
         "kb_per_connection": round((after - before) * 1024 / max(1, f["open"]), 1), "idle_cpu_percent": round(used / SAMPLE * 100, 2),
         "processes": len(look.pids())}
    if f["refused"]:
        r["failed"] = f"{f['refused']} refused"
    yield r
