"""Ways of the mailertable: sockets as hosts, conditions, a second way when the first one fails, by DNS after all; programs as delivery agents."""
import os
import shutil
import sys
import tempfile

import pytest
from lib.client import message
from lib.dns import MX, A, Dns
from lib.paths import BUILD, is_testing_build
from lib.sink import Content, Expect, Hang, Send, Serve, Sink
from lib.site import Site
from lib.smarctl import Ctl
from lib.wait import until

pytestmark = pytest.mark.inside


def busy():
    return Serve({"RCPT": b"451 4.2.1 not now\r\n"})


def good_again(sink):
    sink.default = Serve()
    sink.drop()


@pytest.fixture(scope="module")
def place():
    """Where sockets are: everybody may reach them."""
    d = tempfile.mkdtemp(prefix="smx-ways-")
    os.chmod(d, 0o777)
    yield d
    shutil.rmtree(d)


@pytest.fixture(scope="module")
def feed(place):
    with Sink(unix=os.path.join(place, "Feed"), lmtp=True) as s:
        os.chmod(os.path.join(place, "Feed"), 0o777)
        yield s


@pytest.fixture
def first():
    with Sink() as s:
        yield s


@pytest.fixture
def second():
    with Sink() as s:
        yield s


def site_of(routes, **kw):
    kw.setdefault("settings", {})
    kw["settings"] = {"smtpc.timeouts.connect": "3s", **kw["settings"]}
    return Site(routes=routes, relay=["a.test", "b.test", "src.test"], **kw)


def send(site, rcpts, content):
    with site.client() as c:
        assert c.send_mail("a@src.test", rcpts, content).code == 250


def test_socket(feed, tag):
    with site_of([f"a.test lmtp:[unix:{feed.port}]", f"b.test lmtp:[unix:{feed.port}x]"]) as site:
        send(site, ["x@a.test", "y@a.test"], message(tag))
        m, = feed.wait(tag)
        assert m.rcpts == ["x@a.test", "y@a.test"] and m.without_trace() == message(tag)
        site.wait_empty()
        send(site, ["x@b.test"], message(tag))
        until(lambda: site.log_lines("qmgr", "qm.host"), "the socket that is not there is found dead")
        shown = Ctl(site).one("route", "route", "x@b.test")
        assert shown["key"] == f"lmtp:[unix:{feed.port}x]" and shown["hosts"][0]["address"] == f"unix:{feed.port}x"
        # An operator calls it by its path.
        assert feed.port + "x" in site.qmgrctl("dest", feed.port + "x")


def test_conditions(feed, second, tag):
    way = f"lmtp:[unix:{feed.port}] {{recipients >= 3, size <= 20KB, first}} else {second.port}^esmtp:[127.0.0.1]"
    with site_of([f"a.test {way}"]) as site:
        rcpts = [f"r{i}@a.test" for i in range(3)]
        send(site, rcpts, message(tag + "many"))
        m, = feed.wait(tag + "many")
        assert m.rcpts == rcpts
        send(site, rcpts[:2], message(tag + "few"))
        m, = second.wait(tag + "few")
        assert m.rcpts == rcpts[:2]
        large = message(tag + "large") + b"x" * 70 + b"\r\n"
        large += (b"x" * 70 + b"\r\n") * 400
        send(site, rcpts, large)
        second.wait(tag + "large")
        site.wait_empty()
        assert not feed.find(tag + "few") and not feed.find(tag + "large") and not second.find(tag + "many")
        # smarctl tells the same, and why.
        ctl = Ctl(site)
        for args, taken in ((["--recipients", "3", "--size", "20000"], 1), ([], 2), (["--recipients", "3", "--size", "30KB"], 2),
                            (["--recipients", "3", "--again"], 2)):
            assert ctl.one("route", "route", "x@a.test", *args)["way"] == taken, args
        seen = [(o["key"], o["result"]) for o in ctl.of("lookup", "route", "x@a.test") if o["map"] == "way"]
        assert seen == [(f"lmtp:[unix:{feed.port}]", "none"), (f"smtp:{second.port}:[127.0.0.1]", "found")]
        assert "way 1 of 2; when it fails for now, the next one" in ctl.text("route", "x@a.test", "--recipients", "5")


@pytest.mark.parametrize("trouble", ["busy", "refused", "dead", "half"])
def test_second_way_at_once(first, second, tag, trouble):
    """What one way does not take for now the next one has in the same attempt; nobody waits for a retry time, and nobody gets it twice."""
    host = "127.0.0.98" if trouble == "dead" else "127.0.0.1"
    if trouble == "busy":
        first.default = busy()
    elif trouble == "refused":
        first.script([Send(b"421 4.3.2 closed\r\n")])
    elif trouble == "half":
        first.default = Serve({"RCPT": lambda line: b"451 4.2.1 not now\r\n" if b"late" in line else b"250 2.1.5 ok\r\n"})
    with site_of([f"a.test {first.port}^esmtp:[{host}] {{first}} else {second.port}^esmtp:[127.0.0.1]"],
                 settings={"qmgr.retry_min_delay": "10m", "qmgr.retry_max_delay": "20m"}) as site:
        send(site, ["now@a.test", "late@a.test"], message(tag))
        m, = second.wait(tag)
        assert m.rcpts == (["late@a.test"] if trouble == "half" else ["now@a.test", "late@a.test"])
        site.wait_empty()
        assert [x.rcpts for x in first.find(tag)] == ([["now@a.test"]] if trouble == "half" else [])
        failed, = [x for x in site.log_lines("qmgr", "qm.way") if "late@a.test" in x]
        assert "way=1" in failed and "stat=failed" in failed
        assert not [x for x in site.log_lines("qmgr", "qm.rcpt") if "deferred" in x]
        # The next mail does so as well, also when the first host is known as dead.
        send(site, ["late@a.test"], message(tag + "again"))
        second.wait(tag + "again")
        site.wait_empty()


def test_only_and_permanent(first, second, tag):
    """A way that says `only` is waited for; what a server refuses for good goes no other way."""
    with site_of([f"a.test {first.port}^esmtp:[127.0.0.1] {{recipients <= 9, only}} else {second.port}^esmtp:[127.0.0.1]",
                  f"b.test {first.port}^esmtp:[127.0.0.1] {{recipients <= 9}} else {second.port}^esmtp:[127.0.0.1]",
                  f"src.test {second.port}^esmtp:[127.0.0.1]"]) as site:
        first.default = busy()
        send(site, ["x@a.test"], message(tag))
        until(lambda: len([x for x in site.log_lines("qmgr", "qm.rcpt") if "deferred" in x]) >= 2, "it is tried again")
        good_again(first)
        m, = first.wait(tag)
        assert m.rcpts == ["x@a.test"] and not second.find(tag)
        site.wait_empty()
        first.default = Serve({"RCPT": b"550 5.1.1 nobody\r\n"})
        first.drop()
        send(site, ["x@b.test"], message(tag + "never"))
        dsn, = second.wait(lambda m: m.rcpts == ["a@src.test"])
        assert b"5.1.1 nobody" in dsn.content
        site.wait_empty()
        assert not [x for x in site.log_lines("qmgr", "qm.way") if "x@" in x]


def test_all_ways_fail(first, second, tag):
    """Then it waits, and the next attempt begins with the first way again."""
    first.default, second.default = busy(), busy()
    with site_of([f"a.test {first.port}^esmtp:[127.0.0.1] else {second.port}^esmtp:[127.0.0.1]"]) as site:
        send(site, ["x@a.test"], message(tag))
        until(lambda: len([x for x in site.log_lines("qmgr", "qm.way") if "x@a.test" in x]) >= 2, "two attempts")
        good_again(first)
        m, = first.wait(tag)
        assert m.rcpts == ["x@a.test"]
        site.wait_empty()
        assert not second.find(tag)
        # Each attempt had both, and is one try.
        for line in site.log_lines("qmgr", "qm.rcpt"):
            assert "way=" not in line


def test_unknown_fate(first, second, tag):
    """Who may have it already is not passed over for another at once: it would come twice."""
    first.script([Send(b"220 x\r\n"), Expect(rb"EHLO"), Send(b"250 x\r\n"), Expect(rb"MAIL"), Send(b"250 x\r\n"), Expect(rb"RCPT"), Send(b"250 x\r\n"),
                  Expect(rb"DATA"), Send(b"354 x\r\n"), Content(), Hang()], [Serve()])
    with site_of([f"a.test {first.port}^esmtp:[127.0.0.1] else {second.port}^esmtp:[127.0.0.1]"],
                 settings={"smtpc.timeouts.data_final": "2s"}) as site:
        send(site, ["x@a.test"], message(tag))
        until(lambda: [x for x in site.log_lines("qmgr", "qm.rcpt") if "deferred" in x], "it was put off")
        assert not site.log_lines("qmgr", "qm.way") and not second.find(tag)
        first.wait(tag)
        site.wait_empty()


@pytest.mark.skipif(not is_testing_build(), reason="only a testing build lets DNS name loopback addresses")
def test_default_for_all_but(first, second, tag):
    """A default relay, but for what is said to go by DNS."""
    d = Dns()
    d.add("b.test", MX("mx.b.test", 10))
    d.add("mx.b.test", A("127.0.0.98"))
    with site_of([f". {first.port}^esmtp:[127.0.0.1]", "b.test mx:"], dns=d.address, environment={"SM_TEST_LOOPBACK": "1"}) as site:
        send(site, ["x@a.test"], message(tag))
        first.wait(tag)
        ctl = Ctl(site)
        shown = ctl.one("route", "route", "x@b.test")
        assert shown["key"] == "smtp:25:mx.b.test" and shown["hosts"][0]["address"] == "127.0.0.98:25"
        assert ctl.one("route", "route", "x@other.test")["key"] == f"smtp:{first.port}:[127.0.0.1]"
        send(site, ["x@b.test"], message(tag + "dns"))
        until(lambda: [x for x in site.log_lines("qmgr", "qm.host") if "127.0.0.98:25" in x], "it is tried there")
        assert not first.find(tag + "dns")
    d.stop()


def test_one_recipient(first, second, tag):
    """A single member of a list goes by a relay, with his own address; the others of his domain as ever."""
    with site_of([f"a.test {second.port}^esmtp:[127.0.0.1]", f"Far.Away@a.test {first.port}^esmtp:[127.0.0.1]"]) as site:
        send(site, ["near@a.test", "far.away@A.test", "faraway@a.test"], message(tag))
        assert [x.lower() for x in first.wait(tag)[0].rcpts] == ["far.away@a.test"]
        assert second.wait(tag)[0].rcpts == ["near@a.test", "faraway@a.test"]
        site.wait_empty()
        assert Ctl(site).one("route", "route", "FAR.away@a.test")["key"] == f"smtp:{first.port}:[127.0.0.1]"


def test_route_of_listener(feed, second, tag):
    """The same grammar for all that comes to one listener."""
    with site_of(["a.test [127.0.0.98]"], settings={
            "smtps.route": f"lmtp:[unix:{feed.port}] {{recipients >= 2}} else {second.port}^esmtp:[127.0.0.1]"}) as site:
        send(site, ["x@a.test"], message(tag + "one"))
        send(site, ["x@a.test", "y@b.test"], message(tag + "two"))
        assert second.wait(tag + "one")[0].rcpts == ["x@a.test"]
        assert feed.wait(tag + "two")[0].rcpts == ["x@a.test", "y@b.test"]
        site.wait_empty()


# ---- programs

AGENT = """import os, sys, time
def say(x): sys.stdout.write(x + "\\r\\n"); sys.stdout.flush()
mode, box = sys.argv[1:3]
if mode == "exits": sys.exit(0)
if mode == "hangs": time.sleep(100000)
if mode == "rubbish": say("220 hello"); sys.stdout.write("\\0\\xff%d\\r\\n" * 9 % tuple(range(9))); sys.stdout.flush(); sys.exit(9)
say("220 agent LMTP")
rcpts = []
while True:
    line = sys.stdin.buffer.readline()
    verb = line[:4].upper()
    if not line or verb == b"QUIT": say("221 2.0.0 bye"); break
    if verb == b"RCPT": rcpts.append(line.strip().decode())
    if verb == b"DATA":
        say("354 go on")
        content = b""
        while (line := sys.stdin.buffer.readline()) not in (b".\\r\\n", b""):
            content += line
        if not line: break
        with open(os.path.join(box, "%d.%d" % (os.getpid(), time.monotonic_ns())), "wb") as f: f.write(content)
        for r in rcpts: say("250 2.1.5 kept for " + r)
        rcpts = []
    else:
        say("250 2.0.0 ok")
"""


def program(name, sock, args, more="", path=sys.executable):
    return f"""
{name} {{
    start_action = nostartaccept; path = "{path}"; arguments = "{args}"; {more}
    listen_socket {{ type = unix; path = "{sock}"; umask = 0; }}
}}
"""


@pytest.fixture
def agents(place):
    """A site of which each domain has a program of its own for its mail."""
    d = tempfile.mkdtemp(dir=place)
    os.chmod(d, 0o777)
    with open(os.path.join(d, "agent.py"), "w") as f:
        f.write(AGENT)
    os.chmod(os.path.join(d, "agent.py"), 0o644)
    kinds = ("good", "exits", "hangs", "rubbish", "maildir")
    routes = [f"{k}.test lmtp:[unix:{d}/{k}]" for k in kinds]
    routes.append(f"rescued.test lmtp:[unix:{d}/exits] else lmtp:[unix:{d}/good]")
    site = Site(routes=routes, settings={"smtpc.timeouts.greeting": "3s"})
    conf = ""
    for k in kinds[:-1]:
        os.mkdir(os.path.join(d, "box-" + k))
        os.chmod(os.path.join(d, "box-" + k), 0o777)
        limits = "max_processes = 4; max_run_time = 2s; stop_timeout = 1s;" if k == "hangs" else "max_processes = 4; max_start_rate = 50;"
        conf += program(k, f"{d}/{k}", f"python3 -S {d}/agent.py {k} {d}/box-{k}", limits)
    conf += program("maildir", f"{d}/maildir", f"lmtp2maildir -d {d}/box-good", "max_processes = 3;", os.path.join(BUILD, "contrib", "lmtp2maildir"))
    with open(site.conf, "a") as f:
        f.write(conf)
    with site:
        yield site, d


def kept(d, tag):
    """Files below there that have it."""
    found = []
    for base, _, names in os.walk(d):
        for n in names if "/box-" in base else ():
            with open(os.path.join(base, n), "rb") as f:
                if tag.encode() in f.read():
                    found.append(os.path.join(base, n))
    return found


def test_programs(agents, tag):
    """A program for each connection; one that ends early, hangs, or talks rubbish costs nobody else anything."""
    site, d = agents
    for bad in ("exits", "hangs", "rubbish"):
        send(site, [f"x@{bad}.test"], message(tag + bad))
    send(site, ["x@good.test", "y@good.test"], message(tag + "good"))
    send(site, ["x@rescued.test"], message(tag + "rescued"))
    send(site, ["box@maildir.test"], message(tag + "maildir"))
    for one in ("good", "rescued", "maildir"):
        until(lambda: kept(d, tag + one), f"{one} is delivered")
    for bad in ("exits", "hangs", "rubbish"):
        until(lambda: [x for x in site.log_lines("qmgr", "qm.rcpt") if f"x@{bad}.test" in x and "deferred" in x], f"{bad} is put off", 30)
    until(lambda: site.log_lines("mcp", "mc.overrun"), "the one that hangs is ended", 30)
    for i in range(5):
        send(site, ["x@good.test"], message(f"{tag}more{i}"))
        until(lambda: kept(d, f"{tag}more{i}"), "still")
    assert len(kept(d, tag + "good")) == 1 and len(kept(d, tag + "rescued")) == 1 and len(kept(d, tag + "maildir")) == 1
    for bad in ("exits", "hangs", "rubbish"):
        assert not kept(d, tag + bad)
