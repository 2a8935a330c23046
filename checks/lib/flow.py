"""Exact numbers of messages through a site to a sink, each number followed by quiet: what instruments of counts need.

    with Flow(sessions=1) as flow:
        flow.send("A", 100)     begun, delivered, and nobody busy any more
        ... look at flow.site
"""
import os
import subprocess
import time

from .paths import free_port, program
from .programs import Program, figures
from .site import Site
from .wait import SLOW

CASES = {  # as in checks/bench/run: arguments of load, recipients of a message
    "A": ("a connection for each message", ["-l", "5120"], 1),
    "B": ("connections kept", ["-l", "5120", "-d"], 1),
    "C": ("100 KB", ["-l", "102400"], 1),
    "D": ("20 recipients", ["-l", "5120"], 20),
}
TICK = os.sysconf("SC_CLK_TCK")


class Flow:
    """A site that is started by `with`; before that, it may be changed."""

    def __init__(self, sessions, settings=None):
        self.sessions = sessions
        self.sink_port = free_port()
        self.site = Site(routes=[f"dest.test {self.sink_port}^esmtp:[127.0.0.1]"], relay=["dest.test"], settings=settings)

    def __enter__(self):
        self.site.start()
        return self

    def __exit__(self, *args):
        self.site.__exit__(*args)

    def send(self, case, messages, limit=600):
        """SystemExit when one of them was not accepted or has not arrived."""
        limit = int(limit * SLOW)
        _, args, each = CASES[case]
        rcpts = messages * each
        with Program("sink", "-n", rcpts, "-T", limit, f"127.0.0.1:{self.sink_port}") as sink:
            r = subprocess.run([program("checks/bench/load"), "-s", str(self.sessions), "-m", str(messages), "-T", str(limit), "-R", str(limit), *args, "-r", str(each),
                                "-t", "rcpt%r@dest.test", f"127.0.0.1:{self.site.port}"], stdout=subprocess.PIPE, text=True)
            acked = figures(r.stdout.strip().splitlines()[-1])["acked"]
            if acked != messages:
                raise SystemExit(f"only {acked} of {messages} messages were acknowledged\n{self.site.log_tail()}")
            sink.wait(limit + 10)
            came = sink.stop()["rcpts"]
        if came != rcpts:
            raise SystemExit(f"{came:g} of {rcpts} copies arrived\n{self.site.log_tail()}")
        self.quiet()

    def quiet(self, seconds=1.5):
        """Until no process of the site has used the processor for so long: ends are written, logs are synced."""
        last, since = self._cpu(), time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.1)
            cpu = self._cpu()
            if cpu != last:
                last, since = cpu, time.monotonic()

    def _cpu(self):
        total = 0
        for pids in self.site.all_pids().values():
            for pid in pids:
                try:
                    with open(f"/proc/{pid}/stat") as f:
                        text = f.read()
                except OSError:
                    continue
                w = text[text.rindex(")") + 2:].split()
                total += int(w[11]) + int(w[12])
        return total
