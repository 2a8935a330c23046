"""Extensions that are switched off for a peer: hide_extensions of smtps, ignore_extensions of smtpc. All is as if they were not there."""
import os
import re
import tempfile

import pytest
from lib.certs import Certs
from lib.client import Client, message
from lib.sasl import Sasl, available
from lib.sink import Expect, Hang, Send, Serve, Sink
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside

ALL = "PIPELINING ENHANCEDSTATUSCODES STARTTLS 8BITMIME CHUNKING BINARYMIME SMTPUTF8 AUTH SIZE DSN LIMITS HELP".split()
# words, what is missing then
SMTPS = [
    ("pipelining", "PIPELINING"), ("enhancedstatuscodes", "ENHANCEDSTATUSCODES"), ("starttls", "STARTTLS"), ("8bitmime", "8BITMIME BINARYMIME SMTPUTF8"),
    ("chunking", "CHUNKING BINARYMIME"), ("binarymime", "BINARYMIME"), ("smtputf8", "SMTPUTF8"), ("auth", "AUTH"), ("size", "SIZE"), ("dsn", "DSN"),
    ("limits", "LIMITS"), ("help", "HELP"), ("pipelining, size, dsn, chunking, no_dsn", "PIPELINING SIZE CHUNKING BINARYMIME"),
]


def address(i):
    return f"127.0.7.{i + 1}"


@pytest.fixture(scope="module")
def site(sink):
    certs = Certs()
    certs.make("ec", "/CN=mx.test", ["mx.test"])
    auth = {}
    if available():
        auth = Sasl(tempfile.mkdtemp(prefix="smx-sasl-"), users=[("joe", "secret")]).settings()
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"],
             settings={**certs.settings("ec"), **auth, "smtps.flags": "{ access, session_conf, binarymime }"})
    with open(os.path.join(s.dir, "access"), "w") as f:
        for i, (words, _) in enumerate(SMTPS):
            f.write(f"smtps_session_conf:{address(i)}\thide_extensions = {{ {words} }};\n")
    s.add("smar", 'map ac { type = text; file = "@/access"; } access_map { name = ac; }')
    with s:
        yield s
    certs.stop()


@pytest.mark.parametrize("i", range(len(SMTPS)), ids=[w for w, _ in SMTPS])
def test_what_is_hidden_is_not_offered(site, i):
    with Client(site.port, source="127.0.0.1") as c:
        before = set(c.extensions)
    assert before >= {x for x in ALL if x != "AUTH" or available()}
    with Client(site.port, source=address(i)) as c:
        assert before - set(c.extensions) == set(SMTPS[i][1].split()) & before


def hidden(site, word):
    return Client(site.port, source=address([w for w, _ in SMTPS].index(word)))


@pytest.mark.parametrize("word, line, code", [
    ("starttls", "STARTTLS", 502), ("auth", "AUTH PLAIN AGpvZQBzZWNyZXQ=", 502), ("help", "HELP", 502), ("chunking", "BDAT 3 LAST", 500),
    ("size", "MAIL FROM:<a@src.test> SIZE=10", 555), ("dsn", "MAIL FROM:<a@src.test> RET=HDRS", 555), ("dsn", "MAIL FROM:<a@src.test> ENVID=x", 555),
    ("auth", "MAIL FROM:<a@src.test> AUTH=<>", 555), ("8bitmime", "MAIL FROM:<a@src.test> BODY=8BITMIME", 555),
    ("smtputf8", "MAIL FROM:<a@src.test> SMTPUTF8", 555), ("8bitmime", "MAIL FROM:<a@src.test> SMTPUTF8", 555),
    ("binarymime", "MAIL FROM:<a@src.test> BODY=BINARYMIME", 501), ("chunking", "MAIL FROM:<a@src.test> BODY=BINARYMIME", 501)])
def test_who_uses_it_all_the_same(site, word, line, code):
    with hidden(site, word) as c:
        assert c.cmd(line).code == code
        c.stays()


@pytest.mark.parametrize("parameter", ["NOTIFY=NEVER", "ORCPT=rfc822;b@local.test"])
def test_rcpt_without_dsn(site, parameter):
    with hidden(site, "dsn") as c:
        assert c.mail("a@src.test").code == 250
        assert c.cmd(f"RCPT TO:<b@local.test> {parameter}").code == 555
        assert c.rcpt("b@local.test").code == 250


def test_no_enhanced_codes(site, sink, tag):
    with hidden(site, "enhancedstatuscodes") as c:
        assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
        assert c.cmd("FOO").code == 500 and c.cmd("RCPT TO:<x@local.test>").code == 503
        for r in c.replies:
            assert r.enhanced is None, r
        assert c.replies[-1].text and not re.match(r"\d\.", c.replies[-1].text)
    sink.wait(tag)


def test_limits_hold_unsaid(site):
    with hidden(site, "size") as c:
        c.begin("a@src.test", "b@local.test")
        assert c.finish(b"Subject: x\r\n\r\n" + b"x" * 70 * 10).code == 250


# ---- smtpc ----

EHLO = b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-DSN\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n" \
       b"250-LIMITS RCPTMAX=1\r\n250 STARTTLS\r\n"


class Out:
    """A server that offers everything, behind a site that ignores `words` of it."""

    def __init__(self, words, more="", **settings):
        self.sink, self.back = Sink(host="127.0.0.2"), Sink()
        self.sink.default = Serve({"EHLO": EHLO, "STARTTLS": b"454 4.7.0 not now\r\n"})
        self.site = Site(routes=[f"out.test {self.sink.port}^esmtp:[127.0.0.2]", f"src.test {self.back.port}^esmtp:[127.0.0.1]"], relay=["out.test"],
                         settings={"smtps.flags": "{ binarymime }", "smtpc.session_idle_timeout": "0s", **settings})
        with open(os.path.join(self.site.dir, "access"), "w") as f:
            f.write(f"smtpc_session_conf:127.0.0.2\tignore_extensions = {{ {words} }}; {more}\n")
        self.site.add("smar", 'map ac { type = text; file = "@/access"; } access_map { name = ac; }')

    def __enter__(self):
        self.site.start()
        return self

    def __exit__(self, *why):
        self.site.__exit__(*why)
        self.sink.stop()
        self.back.stop()

    def send(self, tag, params="", rcpts=("b@out.test",), rcpt_params="", content=None):
        with self.site.client() as c:
            assert c.mail("a@src.test", params).code == 250
            for r in rcpts:
                assert c.rcpt(r, rcpt_params).code == 250
            assert c.cmd("DATA").code == 354
            assert c.finish(content or message(tag)).code == 250

    def lines(self):
        return b"".join(self.sink.raw).decode("latin-1").upper()

    def bounce(self, tag):
        return until(lambda: [m for m in self.back.reports("a@src.test") if tag.encode() in m.content], "it is returned")[0].content


def test_nothing_is_ignored(tag):
    """What the others are compared with."""
    with Out("") as o:
        o.send(tag, " BODY=8BITMIME RET=HDRS", rcpts=("b@out.test", "c@out.test"), rcpt_params=" NOTIFY=SUCCESS,FAILURE")
        o.sink.wait(tag, 2)
        said = o.lines()
        for word in ("SIZE=", "BODY=8BITMIME", "RET=HDRS", "NOTIFY=SUCCESS,FAILURE", "BDAT ", "STARTTLS"):
            assert word in said, (word, said)


def test_all_is_ignored(tag):
    with Out("pipelining, size, 8bitmime, dsn, chunking, binarymime, smtputf8, limits, starttls, auth") as o:
        o.send(tag, " BODY=8BITMIME RET=HDRS", rcpts=("b@out.test", "c@out.test"), rcpt_params=" NOTIFY=SUCCESS,FAILURE",
               content=message(tag, b"x" * 60 + b"\r\n" * 2000))
        m, = o.sink.wait(tag)
        assert sorted(m.rcpts) == ["b@out.test", "c@out.test"]  # its limit was not looked at
        assert len(m.content) > 1000                           # ... nor its size
        said = o.lines()
        for word in ("SIZE=", "BODY=", "RET=", "NOTIFY=", "ORCPT=", "BDAT ", "STARTTLS"):
            assert word not in said, word
        # Whoever asked for a notice has one of smx.
        o.back.wait(lambda m: m.sender == "" and b"Action: relayed" in m.content)


@pytest.mark.parametrize("words, behind", [("", True), ("pipelining", False)])
def test_one_command_at_a_time(tag, words, behind):
    """A server that does not answer MAIL shows what comes behind it."""
    with Out(words, **{"smtpc.timeouts.mail": "2s"}) as o:
        o.sink.script([Send(b"220 mx\r\n"), Expect(b"EHLO"), Send(EHLO.replace(b"STARTTLS", b"HELP")), Expect(b"MAIL"), Expect(b"RCPT"), Hang()])
        o.send(tag)
        until(lambda: "sc.deferred" in "".join(o.site.logs_since().values()), "it is given up")
        assert "MAIL FROM" in o.lines() and ("RCPT TO" in o.lines()) == behind


@pytest.mark.parametrize("words", ["chunking", "binarymime", "chunking, binarymime"])
def test_binary_content_is_returned(tag, words):
    with Out(words) as o:
        with o.site.client() as c:
            assert c.mail("a@src.test", " BODY=BINARYMIME").code == 250
            assert c.rcpt("b@out.test").code == 250
            content = f"Subject: {tag}\r\n\r\n".encode() + b"\0\1\n"
            assert c.cmd(b"BDAT %d LAST\r\n" % len(content) + content).code == 250
        assert b"5.6.3" in o.bounce(tag)
        assert not o.sink.messages


def test_utf8_is_returned(tag):
    with Out("smtputf8") as o:
        o.send(tag, " SMTPUTF8", rcpts=("jürg@out.test",))
        assert b"5.6.7" in o.bounce(tag)


def test_tls_policy_rules(tag):
    """A server whose STARTTLS is ignored is one without: where TLS is required it gets no mail."""
    with Out("starttls", "tls { level = encrypt; violation = permanent; }") as o:
        o.send(tag)
        assert b"5.7.4" in o.bounce(tag)
        assert "MAIL" not in o.lines()
