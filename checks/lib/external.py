"""Another server in place of a site: the protocol tests run against it to prove the tests themselves.

    SMX_TARGET=127.0.0.1:2601 SMX_TARGET_SINK=2699 pytest checks/e2e/test_smuggling.py

The target must relay local.test, src.test and hostile.test to 127.0.0.1:SMX_TARGET_SINK. What needs a look inside is skipped.
"""
import os

from .client import Client
from .site import Site


class ExternalSite(Site):
    def __init__(self):
        host, _, port = os.environ["SMX_TARGET"].rpartition(":")
        self.host, self.port = host, int(port)
        self.dir = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def client(self, **kw):
        return Client(self.port, self.host, **kw)

    def all_pids(self):
        return {}

    def snapshot(self):
        return _Nothing()

    def content_files(self):
        return []

    def log_tail(self, lines=12):
        return "(external)"


class _Nothing:
    def alive(self):
        pass

    leaks = log_sound = alive
