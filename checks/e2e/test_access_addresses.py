"""The tests of addresses, parameters and EHLO arguments once more, against a site that asks maps about all of them."""
import pytest
from lib.dns import A, Dns, MX
from lib.site import Site
from test_addresses import *  # noqa: F401,F403

ACCESS = """\
to:@local.test relay
from:root ok
cltaddr:127 cont
cltname:.test ok
mxbadip:198.51.100 reject
protectedrcpt:nobody@local.test from:<nobody@src.test>
"""


@pytest.fixture(scope="module")
def names():
    """Every domain below test has an exchanger, however long its name."""
    d = Dns()
    d.fallback = lambda name, qtype: ([A("192.0.2.1")] if qtype == "A" else [MX("mx.test", 10)] if qtype == "MX" else []) \
        if name.endswith(".test") else "NXDOMAIN"
    yield d
    d.stop()


@pytest.fixture(scope="module")
def site(sink, names):
    """Nothing is relayed but what the map says; no domain is listed."""
    s = Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test", "e.test", "b.test")], dns=names.address,
             settings={"smtps.max_message_size": "1024", "smtps.flags": "{ access, 8bitmime }",
                       "smtps.protected_recipients.allow_by": "{ sender, client_ip }",
                       "smtps.protected_recipients.match_type": "generic_lookup"})
    s.add("smar", 'access_map { file = "@/access"; } aliases { file = "@/aliases"; flags = { all_domains, replace_macros }; }')
    s.put("access", ACCESS)
    s.put("aliases", "never@local.test: <${user}@elsewhere.test>\n")
    with s:
        yield s
