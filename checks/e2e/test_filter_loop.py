"""A content filter in the loop: mail comes in, goes to the filter by SMTP or LMTP, comes back on another port and leaves. Debian's amavisd-new, with one
instance of smx, whose section for the way back bypasses the filter, and with two, each with a queue of its own."""
import contextlib
import grp
import os
import re
import subprocess

import pytest
from lib.amavis import BAD, NAME, Amavis
from lib.client import Client, message
from lib.debian import Unavailable
from lib.ledger import judge
from lib.paths import BUILD, SRC, free_port, program
from lib.programs import Load, SinkProgram
from lib.sections import edit, listener, split_smtps
from lib.sink import Sink
from lib.site import Site
from lib.tap import Tap
from lib.wait import never, until

pytestmark = pytest.mark.inside

LIMIT = 3  # sessions to the filter
PER_SESSION = 10
TOLD = "xforward { from = { 127.0.0.1 }; }"


def conf_of(port):
    """How the filter is treated, in the access map; and its limit, in qmgr_conf."""
    return (f"smtpc_session_conf:127.0.0.1:{port} xforward = on; max_transactions = {PER_SESSION}; timeouts {{ data_final = 20m; }}\n",
            f"oci:127.0.0.1:{port} {LIMIT}\nocm:127.0.0.1:{port} {LIMIT}\n")


def put(site, port):
    access, limits = conf_of(port)
    for name, text in (("access", access), ("qmgr_conf", limits)):
        with open(os.path.join(site.dir, name), "w") as f:
            f.write(text)
    site.add("smar", 'map ac { type = text; file = "@/access"; } access_map { name = ac; }')
    site.add("qmgr", 'conf = "@/qmgr_conf";')


class Loop:
    """`site` is where mail comes in; `out` the one that it leaves by. tap.port is the filter's to them, and `direct` a port that bypasses it."""

    def __init__(self, form, by, sink_port, stack, reject=False, settings=None, routes=()):
        self.direct = free_port()
        try:
            self.filter = Amavis(self.direct, servers=LIMIT + 2, reject=reject)
        except Unavailable as e:
            pytest.skip(str(e))
        stack.callback(self.filter.remove)
        stack.callback(self.filter.stop)
        self.tap = stack.enter_context(Tap(self.filter.port))
        to_filter = f"{self.tap.port}^{'lmtp' if by == 'lmtp' else 'esmtp'}:[127.0.0.1]"
        to_sink = f". {sink_port}^esmtp:[127.0.0.1]"
        if form == "one":
            self.site = self.out = Site(routes=[*routes, to_sink], relay=["local.test"], settings=settings)
            split_smtps(self.site, "MTA", BACK=f"{listener(self.direct, 'back')}\nrelay_from_local = {{ back }};\n{TOLD}")
            self.site.add("smtps MTA", f'route = "{to_filter}";')
            put(self.site, self.tap.port)
            stack.enter_context(self.site)
        else:
            self.site = Site(routes=[*routes, f". {to_filter}"], relay=["local.test"], hostname="rx.test", settings=settings)
            put(self.site, self.tap.port)
            self.out = Site(routes=[*routes, to_sink], hostname="tx.test", settings=settings)
            self.out.add("smtps", f"{listener(self.direct, 'back')}\nrelay_from_local = {{ back }};\n{TOLD}")
            stack.enter_context(self.out)
            stack.enter_context(self.site)

    def send(self, tag, rcpts="b@local.test", body=b"text\r\n", **client):
        with Client(self.site.port, **client) as c:
            r = c.send_mail("a@src.test", rcpts, message(tag, body))
            assert r.code == 250, r

    def is_empty(self):
        return not self.site.content_files() and not self.out.content_files()

    def wait_empty(self):
        until(self.is_empty, lambda: f"both queues empty\n{self.site.log_tail()}\n{self.filter.log()[-2000:]}")

    def passed(self):
        return self.filter.log().count(") Passed CLEAN {")


@pytest.fixture
def stack():
    with contextlib.ExitStack() as s:
        yield s


@pytest.fixture(params=[("one", "lmtp"), ("one", "smtp"), ("two", "lmtp"), ("two", "smtp")], ids=lambda p: "-".join(p), scope="module")
def loop(request):
    with contextlib.ExitStack() as s:
        sink = s.enter_context(Sink())
        made = Loop(*request.param, sink.port, s)
        made.sink, made.by = sink, request.param[1]
        made.filter.start()
        yield made


def fields_of(m, name):
    return re.findall(rb"(?im)^" + name + rb":[^\r\n]*(?:\r\n[ \t][^\r\n]*)*", m.header)


def test_it_has_been_filtered_and_knows_the_client(loop, tag):
    loop.send(tag, ["b@local.test", "c@local.test"], source="127.0.0.77")
    m, = loop.sink.wait(tag)
    assert m.rcpts == ["b@local.test", "c@local.test"]
    assert len(fields_of(m, b"X-Virus-Scanned")) == 1
    received = fields_of(m, b"Received")
    assert len(received) == 3 and NAME.encode() in received[1], received
    assert (b"with LMTP" if loop.by == "lmtp" else b"with ESMTP") in received[1]
    ident = re.search(rb"\bid (S[0-9A-F]{18})", received[2]).group(1)
    said = loop.tap.said("C", loop.tap.connection(b"IDENT=" + ident)).decode()
    xforward = re.search(rf"XFORWARD ([^\r]*IDENT={ident.decode()}[^\r]*)", said).group(1).split()
    assert {"ADDR=127.0.0.77", "HELO=client.test", "PROTO=ESMTP", "SOURCE=LOCAL"} <= set(xforward), xforward
    until(lambda: any("Checking:" in x and " [127.0.0.77] " in x for x in loop.filter.log().splitlines()), "the filter knows the client")
    # ... and tells it on the way back, with the id that the mail had.
    until(lambda: [x for x in loop.out.log_lines("smtps", "ss.xforward") if "first_client=127.0.0.77:" in x and f"xid={ident.decode()}" in x],
          lambda: "the way back knows the client: " + "\n".join(loop.out.log_lines("smtps", "ss.xforward")))
    loop.wait_empty()


def test_one_recipient_is_removed(loop, tag):
    """Bad content is for who wants it; it is kept, nobody else gets it, and nobody is told."""
    kept = set(loop.filter.quarantine())
    loop.send(tag, ["b@local.test", "lover@local.test", "c@local.test"], BAD.encode() + b"\r\n")
    m, = loop.sink.wait(lambda m: tag in m.subject())  # which says that it is infected
    assert m.rcpts == ["lover@local.test"]
    loop.wait_empty()
    assert len(loop.sink.wait(lambda m: tag in m.subject())) == 1
    assert not [x for x in loop.sink.accepted if x.sender == ""]
    new = [text for name, text in loop.filter.quarantine().items() if name not in kept]
    assert len(new) == 1 and BAD.encode() in new[0] and tag.encode() in new[0]


def test_sessions_are_within_their_limits(loop, tag):
    for i in range(4 * PER_SESSION):
        loop.send(f"{tag}-{i}-")
    loop.sink.wait(lambda m: tag in m.subject(), 4 * PER_SESSION)
    loop.wait_empty()
    assert loop.tap.most <= LIMIT
    for n in range(1, loop.tap.connections + 1):
        assert loop.tap.said("C", n).count(b"MAIL FROM:") <= PER_SESSION


def test_a_refused_recipient_is_reported(stack, tag):
    """By LMTP the filter may refuse one recipient of several."""
    sink = stack.enter_context(Sink())
    loop = Loop("one", "lmtp", sink.port, stack, reject=True)
    loop.filter.start()
    loop.send(tag, ["b@local.test", "lover@local.test"], BAD.encode() + b"\r\n")
    report, = sink.wait(lambda m: m.sender == "")
    assert report.rcpts == ["a@src.test"]
    assert b"b@local.test" in report.content and b"Final-Recipient: rfc822;lover" not in report.content
    m, = sink.wait(lambda m: m.sender and tag in m.subject())
    assert m.rcpts == ["lover@local.test"]
    loop.wait_empty()


# ---- a filter that stops, is away, or slow ----

@pytest.mark.parametrize("form,by", [("one", "lmtp"), ("two", "smtp")])
def test_stopped_and_started_under_load(stack, tmp_path, form, by):
    sink = stack.enter_context(SinkProgram(str(tmp_path)))
    loop = Loop(form, by, sink.port, stack)
    loop.filter.start()
    load = stack.enter_context(Load(str(tmp_path), f"127.0.0.1:{loop.site.port}", "-s", 5, "-m", 300, "-l", 2000, "-r", 2, "-t", "u%n.%r@local.test", "-T", 200))
    stops = 0
    for at in (20, 60, 100):
        until(lambda: loop.passed() >= at, "it filters")
        loop.filter.stop()
        stops += 1
        until(lambda: loop.site.log_lines("smtpc", "sc.deferred"), "its absence is noticed")
        loop.filter.start()
    assert load.done()["acked"] == 300
    loop.wait_empty()
    sink.stop()
    verdict = judge(load.ledger, sink.arrivals, sink.reports, duplicates_allowed=2 * LIMIT * stops)
    assert not verdict.wrong and verdict.figures["delivered_rcpts"] == 600 and verdict.figures["reported_rcpts"] == 0, str(verdict)
    # Each arrival was filtered once: what the filter passed on before it was stopped is all that may come twice.
    assert loop.passed() * 2 <= 600 + verdict.figures["duplicates"] + 2 * LIMIT * stops
    assert loop.tap.most <= LIMIT


def test_while_it_is_away_mail_waits(stack, tag):
    """Nobody is told, its host is left alone, and when it is back all flows at the pace that it may."""
    sink = stack.enter_context(Sink())
    loop = Loop("one", "lmtp", sink.port, stack, settings={"qmgr.retry_min_delay": "1s", "qmgr.retry_max_delay": "2s"})
    for i in range(60):
        loop.send(f"{tag}-{i}-")
    dead = until(lambda: [x for x in loop.site.qmgrctl("dest", f"127.0.0.1:{loop.tap.port}", check=False).splitlines() if x.startswith("dead")], "it is dead")
    assert len(dead) == 1
    tries = loop.tap.connections
    never(lambda: sink.messages, "something left, or was reported", 3)
    assert loop.tap.connections - tries <= 4, "each mail tries for itself"
    with Client(loop.direct) as c:  # others do not wait for it
        assert c.send_mail("a@src.test", "b@local.test", message(tag + "-other-")).code == 250
    sink.wait(tag + "-other-")
    loop.filter.start()
    until(lambda: loop.site.qmgrctl("flush", "all", check=False) is not None and len(sink.accepted) >= 61, "all has come", every=0.5)
    loop.wait_empty()
    assert not [m for m in sink.accepted if m.sender == ""] and len(sink.accepted) == 61
    assert loop.tap.most <= LIMIT


def test_while_it_is_slow_others_flow(stack, tmp_path, tag):
    """It holds on to each mail until it is let go: what does not go there passes by, though more waits for it than the active queue has room for."""
    sink = stack.enter_context(Sink())
    loop = Loop("one", "lmtp", sink.port, stack, settings={"qmgr.AQ_max_entries": "1100"})
    loop.filter.hold()
    loop.filter.start()
    load = stack.enter_context(Load(str(tmp_path), f"127.0.0.1:{loop.site.port}", "-s", 5, "-m", 40, "-l", 2000, "-r", 50, "-t", "u%n.%r@local.test"))
    assert load.done()["acked"] == 40
    until(lambda: loop.filter.log().count("Checking:") == LIMIT, "the filter has as many as it may")
    for i in range(40):
        with Client(loop.direct) as c:
            assert c.send_mail("a@src.test", "b@local.test", message(f"{tag}-{i}-")).code == 250
    sink.wait(lambda m: tag in m.subject(), 40)
    assert len(sink.messages) == 40 and loop.filter.log().count("Checking:") == LIMIT
    loop.filter.hold(False)
    # What found no room would come back by itself within two minutes.
    until(lambda: sum(len(m.rcpts) for m in sink.accepted) >= 40 + 40 * 50 or (loop.site.qmgrctl("flush", "all", check=False) and None), "all has come", every=1)
    loop.wait_empty()
    assert loop.tap.most <= LIMIT


# ---- as doc/setups.md has it ----

def page(name):
    with open(os.path.join(SRC, "doc/setups.md"), encoding="utf-8") as f:
        part = f.read().partition("\n## A content filter in the loop\n")[2].partition("\n## ")[0]
    text = part.partition(f"```\n# {name}\n")[2].partition("```\n")[0]
    assert text, name
    return text


def write(site, etc, port, places):
    """The files of the page into a site, with its places."""
    for name in ("smx.conf", "mt", "access", "qmgr_conf"):
        text = page(f"{etc if name in ('smx.conf', 'mt') else '/etc/smx'}/{name}")
        text = text.replace(etc + "/", site.dir + "/").replace("CDB_gid = 262", f"CDB_gid = {grp.getgrnam('smxc').gr_gid}").replace(
            "port = 25;", f"address = 127.0.0.1; port = {port};")
        for was, now in places.items():
            text = text.replace(was, now)
        text = re.sub(r"/usr/local/libexec/(\w+)", lambda m: os.path.join(BUILD, m[1], m[1]), text)
        with open(os.path.join(site.dir, name), "w", encoding="utf-8") as f:
            f.write(text)


@pytest.mark.skipif(os.getuid() != 0, reason="not root: no other users")
@pytest.mark.parametrize("form", ["one", "two"])
def test_the_page(stack, tag, form):
    sink, back = stack.enter_context(Sink()), free_port()
    try:
        f = Amavis(back, servers=5)
    except Unavailable as e:
        pytest.skip(str(e))
    stack.callback(f.remove)
    stack.callback(f.stop)
    f.start()
    tap = stack.enter_context(Tap(f.port))
    places = {"10024": str(tap.port), "10025": str(back), "esmtp:[10.1.2.3]": f"{sink.port}^esmtp:[127.0.0.1]", "delay_LA = 8; refuse_LA = 12;": "",
              "min_disk_space = 2000000KB; ok_disk_space = 2500000KB;": "min_disk_space = 120000KB; ok_disk_space = 160000KB;"}
    sites = []
    for etc in ("/etc/smx", "/etc/smx-rx")[:1 if form == "one" else 2]:
        s = Site(users="real")
        write(s, etc, s.port, places)
        if form == "two" and etc == "/etc/smx":  # TX: without the section for the Internet
            edit(s, lambda text: re.sub(r"(?ms)^smtps MTA \{.*?^\}\n", "", text))
            s.start(wait=False)
        else:
            s.start()
        stack.callback(s.stop)
        sites.append(s)
    with Client(sites[-1].port) as c:
        assert c.send_mail("a@src.test", "b@example.org", message(tag)).code == 250
        assert c.send_mail("a@src.test", "b@example.org", message(tag + "-bad", BAD.encode() + b"\r\n")).code == 250
        assert c.mail("a@src.test").code == 250 and c.rcpt("b@elsewhere.test").code == 550
    m, = sink.wait(tag)
    assert len(fields_of(m, b"Received")) == 3 and fields_of(m, b"X-Virus-Scanned")
    until(lambda: not any(s.content_files() for s in sites), "all is done")
    assert len(f.quarantine()) == 1 and len(sink.messages) == 1
    assert b"XFORWARD " in tap.said("C") and b"LHLO " in tap.said("C")
    # The limit is of that port, not of the address.
    for s, port, limited in ((sites[-1], tap.port, True), (sites[0], sink.port, False)):
        host, = [x for x in s.qmgrctl("dest", "127.0.0.1").splitlines() if f":{port}" in x]
        assert ("/5 " in host) == limited


# ---- two instances ----

def test_each_tool_asks_one_instance(stack, tag):
    """Mail waits in the queue of the first one: whoever asks the second one does not see it."""
    sink = stack.enter_context(Sink())
    loop = Loop("two", "smtp", sink.port, stack)
    loop.send(tag)
    tools = {}
    for name, s in (("rx", loop.site), ("tx", loop.out)):
        def run(*args, s=s):
            r = subprocess.run([*s.prefix, *args], capture_output=True, text=True, cwd=s.dir)
            return r.stdout + r.stderr
        ctl, smarctl = os.path.join(s.spool, "ctl/qmgr"), os.path.join(s.spool, "smarctl/smar")
        tools[name] = {
            "qmgrctl": lambda run=run, ctl=ctl: run(program("misc/qmgrctl"), "-s", ctl, "list"),
            "qmgrctl of the site": lambda s=s: s.qmgrctl("list", check=False),
            "mailq": lambda run=run, ctl=ctl: run(program("misc/mailq"), "-s", ctl),
            "smarctl": lambda run=run, s=s, smarctl=smarctl: run(program("misc/smarctl"), "-s", smarctl, "--conf", s.conf, "route", "b@local.test"),
            "smconf": lambda run=run, s=s: run(program("smconf"), "-d", s.conf),
            "status": lambda s=s: s.mcp_sh("status", check=False).stdout,
        }
    until(lambda: "a@src.test" in tools["rx"]["qmgrctl"](), "it waits")
    for tool in ("qmgrctl", "qmgrctl of the site", "mailq"):
        assert "a@src.test" in tools["rx"][tool](), tool
        assert "a@src.test" not in tools["tx"][tool](), tool
    assert str(loop.tap.port) in tools["rx"]["smarctl"]() and str(loop.tap.port) not in tools["tx"]["smarctl"]()
    assert str(sink.port) in tools["tx"]["smarctl"]()
    assert str(loop.direct) in tools["tx"]["smconf"]() and str(loop.direct) not in tools["rx"]["smconf"]()
    pids = {n: set(map(int, re.findall(r"\b\d{2,}\b", t["status"]()))) for n, t in tools.items()}
    assert set(loop.site.pids("qmgr")) <= pids["rx"] and not set(loop.site.pids("qmgr")) & pids["tx"]
    assert set(loop.out.pids("qmgr")) <= pids["tx"]
    loop.filter.start()
    sink.wait(tag)
    loop.wait_empty()
