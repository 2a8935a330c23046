"""Fixtures of the end-to-end tests: one site for all protocol tests, its sink, its DNS, and the invariants after each test."""
import contextlib
import os
import shutil
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lib.dns import A, Dns, MX  # noqa: E402
from lib.external import ExternalSite  # noqa: E402
from lib.mcp import Mcp  # noqa: E402
from lib.paths import free_port  # noqa: E402
from lib.sink import Sink  # noqa: E402
from lib.site import Site  # noqa: E402
from lib.wait import SANITIZER  # noqa: E402

# smtpc gives up a silent server soon, and keeps no session: each try of the hostile tests is a connection with a script of its own
SHORT_TIMEOUTS = {f"smtpc.{name}": "3s" for name in ("io_timeout", *(f"timeouts.{x}" for x in (
    "connect", "greeting", "mail", "rcpt", "data_init", "data_block", "data_final", "quit")))}
SHORT_TIMEOUTS["smtpc.session_idle_timeout"] = "0s"
HOSTILE = 90  # domains hN.hostile.test, each with an address of its own


def pytest_configure(config):
    config.addinivalue_line("markers", "inside: needs a look inside of the site, not for an external target")
    config.addinivalue_line("markers", "plain: nothing to be seen in a build with a sanitizer")
    config.addinivalue_line("markers", "slow: takes more than a few seconds by nature (waits for time-outs)")


def pytest_collection_modifyitems(items):
    for item in items:
        if "SMX_TARGET" in os.environ and item.get_closest_marker("inside"):
            item.add_marker(pytest.mark.skip(reason="external target"))
        if SANITIZER and item.get_closest_marker("plain"):
            item.add_marker(pytest.mark.skip(reason="a sanitizer's build"))
        if os.environ.get("SM_NO_SLOW_TEST") and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="SM_NO_SLOW_TEST"))


@pytest.fixture(scope="session")
def dns():
    d = Dns()
    d.fallback = lambda name, qtype: ([A("192.0.2.1")] if qtype == "A" else [MX("mx." + name, 10)] if qtype == "MX" else []) \
        if name.endswith(".test") else "NXDOMAIN"
    yield d
    d.stop()


@pytest.fixture(scope="session")
def sink():
    with Sink(int(os.environ.get("SMX_TARGET_SINK", "0"))) as s:
        yield s


@pytest.fixture(scope="session")
def hostile_port():
    return free_port()


@pytest.fixture(scope="session")
def site(sink, dns, hostile_port):
    if "SMX_TARGET" in os.environ:
        with ExternalSite() as s:
            yield s
        return
    to_sink = f"{sink.port}^esmtp:[127.0.0.1]"
    hostile = [f"h{i}.hostile.test" for i in range(HOSTILE)]
    with Site(routes=[f"{d} {to_sink}" for d in ("local.test", "src.test", "e.test", "b.test")] +
              [f"{d} {hostile_port}^esmtp:[127.0.1.{i + 1}]" for i, d in enumerate(hostile)],
              relay=["local.test", *hostile], dns=dns.address,
              settings={"smtps.max_message_size": "1024", **SHORT_TIMEOUTS}) as s:
        yield s


@pytest.fixture(autouse=True)
def healthy(request):
    """INV1 and INV5 around every test that uses the site."""
    if "site" not in request.fixturenames:
        yield
        return
    site = request.getfixturevalue("site")
    before = site.snapshot()
    yield
    before.alive()
    before.log_sound()


@pytest.fixture
def tag(request):
    """A subject that is this test's own."""
    return f"{request.node.name[:60]}-{time.monotonic_ns()}".encode("ascii", "replace").decode().replace(" ", "_")


_next = iter(range(HOSTILE))


@pytest.fixture
def hostile(site, hostile_port):
    """A scripted server of its own address: (sink, domain)."""
    if not getattr(site, "dir", None):
        pytest.skip("external target")
    s, domain = hostile_server(hostile_port)
    with s:
        yield s, domain


def hostile_server(port):
    n = next(_next)
    return Sink(port, host=f"127.0.1.{n + 1}"), f"h{n}.hostile.test"


@pytest.fixture(scope="module")
def hostile_many(site, hostile_port):
    """Twenty of them, for what can be tried side by side."""
    if not getattr(site, "dir", None):
        pytest.skip("external target")
    servers = [hostile_server(hostile_port) for _ in range(20)]
    yield servers
    for s, _ in servers:
        s.stop()


@pytest.fixture
def mcp():
    """Makes instances of mcp alone."""
    made = []

    def make(as_root=False):
        made.append(Mcp(as_root))
        return made[-1]
    yield make
    for m in made:
        with contextlib.suppress(subprocess.TimeoutExpired):
            m.stop()
        shutil.rmtree(m.dir, ignore_errors=True)
