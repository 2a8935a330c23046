"""load, sink and dnsd as objects: started, waited for, their figures read."""
import os
import signal
import subprocess

from .paths import free_port, program
from .wait import SLOW, until


def figures(line):
    """"key value key value [word]" as a dict."""
    w = line.split()
    return {w[i]: float(w[i + 1]) if "." in w[i + 1] else int(w[i + 1]) for i in range(0, len(w) - 1, 2)}


class Program:
    def __init__(self, name, *args, ready=True):
        self.name = name
        self.process = subprocess.Popen([program("checks/bench/" + name), *map(str, args)], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.output = None
        if ready:
            for line in self.process.stdout:
                if line.strip() == "ready":
                    return
                self.first = line
            raise AssertionError(f"{name} did not start: {self.process.wait()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.process.pid

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        self.process.wait()

    def wait(self, timeout=None):
        self.output = self.process.communicate(timeout=timeout)[0]
        return self.output

    def stop(self):
        """Ends it; gives the figures of its last line."""
        if self.output is None:
            self.process.terminate()
            self.wait(30 * SLOW)
        lines = self.output.strip().splitlines()
        return figures(lines[-1]) if lines else {}


class SinkProgram(Program):
    """The C sink. `arrivals` is the file, `reports` the directory with mail from <>."""

    def __init__(self, directory, *args, port=None, address=None):
        self.port = port or free_port()
        self.arrivals = os.path.join(directory, "arrivals")
        self.reports = os.path.join(directory, "reports")
        os.makedirs(self.reports, exist_ok=True)
        super().__init__("sink", "-o", self.arrivals, "-S", self.reports, *args, address or f"127.0.0.1:{self.port}")

    def count(self):
        """GOT lines so far."""
        try:
            with open(self.arrivals, "rb") as f:
                return sum(line.startswith(b"GOT ") for line in f)
        except FileNotFoundError:
            return 0

    def settled(self, quiet=1.0):
        """Wait until nothing has come for so long."""
        import time
        last = [self.count(), time.monotonic()]

        def still():
            n = self.count()
            if n != last[0]:
                last[:] = [n, time.monotonic()]
            return time.monotonic() - last[1] > quiet
        until(still, "the sink goes quiet", 120, 0.1)
        return last[0]


class Load(Program):
    """A load run; `ledger` is the file."""

    def __init__(self, directory, target, *args):
        self.ledger = os.path.join(directory, "ledger")
        super().__init__("load", "-L", self.ledger, "-b", 1, *args, target, ready=False)

    def done(self, timeout=300):
        self.wait(timeout * SLOW)
        lines = self.output.strip().splitlines()
        assert lines and lines[-1].startswith("begun"), self.output
        return figures(lines[-1])
