"""Fixtures of the crash tests: a site of its own for each module, restarted at once when something dies."""
import os
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crash import settings  # noqa: E402
from lib.sink import Sink  # noqa: E402
from lib.site import Site  # noqa: E402


@pytest.fixture(scope="module")
def sink():
    with Sink() as s:
        yield s


@pytest.fixture(scope="module")
def site(sink):
    with Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")], relay=["local.test"], settings=settings()) as s:
        yield s


@pytest.fixture
def tag(request):
    return f"{request.node.name[:60]}-{time.monotonic_ns()}".replace(" ", "_")
