"""What the servers of others that run here have in common: they are waited for, and they are ended."""
import signal
import socket
import subprocess

from .client import greets
from .wait import until


def ready(process, name, log, *places):
    """Returns when it greets at each of these, (family, address); AssertionError with its log if it ends, or never does."""
    def all_greet():
        assert process.poll() is None, f"{name} ended:\n{log()}"
        return all(greets(to, family) for family, to in places)
    until(all_greet, lambda: f"{name} greets:\n{log()}")


def ready_at(process, name, log, port):
    """The same for a port of IPv4."""
    ready(process, name, log, (socket.AF_INET, ("127.0.0.1", port)))


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
