"""Source routes (RFC 5321 4.1.1.3, appendix C) are read and left out; no address that hides another one makes the site relay for whom it does not."""
import os
import shutil
import tempfile

import pytest
from lib.client import message
from lib.sink import Sink
from lib.site import Site

pytestmark = pytest.mark.inside

DENIED, SYNTAX = {550}, {501, 553}

# what a client names; who gets it (None: nobody, and what is said)
ALWAYS = {
    # a route of others or of ours, to us
    "@foreign.test:u@local.test": "u@local.test",
    "@local.test:u@local.test": "u@local.test",
    "@foreign.test,@local.test:u@local.test": "u@local.test",
    "@local.test,@foreign.test,@other.test:u@local.test": "u@local.test",
    # what looks like another address is a name in our domain: it stays there as it is
    "u%foreign.test@local.test": "u%foreign.test@local.test",
    "@foreign.test:u%foreign.test@local.test": "u%foreign.test@local.test",
    "foreign.test!u@local.test": "foreign.test!u@local.test",
    "other.test!foreign.test!u@local.test": "other.test!foreign.test!u@local.test",
    '"u@foreign.test"@local.test': '"u@foreign.test"@local.test',
    '"@foreign.test:u"@local.test': '"@foreign.test:u"@local.test',
    '@foreign.test:"u@foreign.test"@local.test': '"u@foreign.test"@local.test',
    # to others, whoever is on the way
    "u@other.test": DENIED,
    "@local.test:u@other.test": DENIED,
    "@other.test:u@other.test": DENIED,
    "@local.test,@other.test:u@other.test": DENIED,
    "@other.test,@local.test:u@other.test": DENIED,
    "u%local.test@other.test": DENIED,
    "local.test!u@other.test": DENIED,
    '"u@local.test"@other.test': DENIED,
    '"@local.test:u"@other.test': DENIED,
    '@local.test:"u@local.test"@other.test': DENIED,
    "u@[192.0.2.1]": DENIED,
    "@local.test:u@[192.0.2.1]": DENIED,
    # no addresses
    "u@other.test@local.test": SYNTAX,
    "u@local.test@other.test": SYNTAX,
    "@local.test:u": SYNTAX,
    "@local.test:": SYNTAX,
    "@local.test": SYNTAX,
    "@local.test,:u@local.test": SYNTAX,
    "@local.test,other.test:u@local.test": SYNTAX,
    "@local.test:@other.test:u@local.test": SYNTAX,
    "@:u@local.test": SYNTAX,
    "@local..test:u@local.test": SYNTAX,
    "@[192.0.2.1]:u@local.test": SYNTAX,  # At-domain is a name
    "other.test!u": SYNTAX,
    "u%other.test": SYNTAX,
    "": SYNTAX,
}
# that may be relayed to, or not
FOREIGN = {
    "u@foreign.test": "u@foreign.test",
    "@local.test:u@foreign.test": "u@foreign.test",
    "@foreign.test:u@foreign.test": "u@foreign.test",
    "@other.test:u@foreign.test": "u@foreign.test",
    "@other.test,@foreign.test:u@foreign.test": "u@foreign.test",
    "u%other.test@foreign.test": "u%other.test@foreign.test",
    "other.test!u@foreign.test": "other.test!u@foreign.test",
    '"u@other.test"@foreign.test': '"u@other.test"@foreign.test',
    '@local.test:"@other.test:u"@foreign.test': '"@other.test:u"@foreign.test',
}


@pytest.fixture(scope="module")
def sinks():
    """Of each domain."""
    out = {d: Sink() for d in ("local.test", "foreign.test", "other.test")}
    out["local.test"].stop()
    d = tempfile.mkdtemp(prefix="smx-source-routes-")
    os.chmod(d, 0o777)
    out["local.test"] = Sink(unix=os.path.join(d, "sock"), lmtp=True)
    os.chmod(os.path.join(d, "sock"), 0o777)
    yield out
    for s in out.values():
        s.stop()
    shutil.rmtree(d)


@pytest.fixture(scope="module", params=["for nobody", "for foreign.test"])
def site(request, sinks):
    """Everything would be sent, if only it were accepted."""
    routes = [f"local.test lmtp:[unix:{sinks['local.test'].port}]"]
    routes += [f"{d} {sinks[d].port}^esmtp:[127.0.0.1]" for d in ("foreign.test", "other.test")]
    routes += [f"[192.0.2.1] {sinks['other.test'].port}^esmtp:[127.0.0.1]", f". {sinks['other.test'].port}^esmtp:[127.0.0.1]"]
    with Site(routes=routes, relay=["foreign.test"] if request.param == "for foreign.test" else []) as s:
        s.relays = request.param == "for foreign.test"
        yield s


def expected(site):
    return {**ALWAYS, **({k: v if site.relays else DENIED for k, v in FOREIGN.items()})}


def test_recipients(site, sinks, tag):
    before = {d: len(s.messages) for d, s in sinks.items()}
    wanted = []
    with site.client() as c:
        for i, (rcpt, result) in enumerate(expected(site).items()):
            assert c.cmd("MAIL FROM:<a@src.test>").code == 250
            code = c.cmd(f"RCPT TO:<{rcpt}>").code
            if isinstance(result, set):
                assert code in result, (rcpt, code)
                assert c.cmd("RSET").code == 250
                continue
            assert code == 250, (rcpt, code)
            assert c.cmd("DATA").code == 354 and c.finish(message(f"{tag}{i}")).code == 250
            wanted.append((i, result))
    for i, rcpt in wanted:
        domain = rcpt.rpartition("@")[2]
        m, = sinks[domain].wait(f"{tag}{i}")
        assert m.rcpts == [rcpt]
    site.wait_empty()
    # Each went there, once, and nothing else went anywhere.
    came = {d: len(s.messages) - before[d] for d, s in sinks.items()}
    assert came == {d: len([1 for _, r in wanted if r.endswith("@" + d)]) for d in sinks} and came["other.test"] == 0


def test_sender(site, sinks, tag):
    """A way back is none: reports go to the mailbox."""
    with site.client() as c:
        for i, sender in enumerate(("@a.test:u@src.test", "@a.test,@b.test,@c.test:u@src.test")):
            assert c.cmd(f"MAIL FROM:<{sender}>").code == 250
            assert c.cmd("RCPT TO:<u@local.test>").code == 250
            assert c.cmd("DATA").code == 354 and c.finish(message(f"{tag}{i}")).code == 250
            m, = sinks["local.test"].wait(f"{tag}{i}")
            assert m.sender == "u@src.test"
        for sender in ("@a.test:", "@a.test:<>", "@a.test,:u@src.test", "@a.test:u@src.test@b.test"):
            assert c.cmd(f"MAIL FROM:<{sender}>").code in SYNTAX, sender
    site.wait_empty()
