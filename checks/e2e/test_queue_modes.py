"""Mail that waits: for a queue run, or until it is asked for. By the listener it came by, and by where it goes. No name server hears of it before its time."""
import grp
import os
import re
import subprocess
import threading

import pytest
from lib.client import message
from lib.dns import MX, A
from lib.on_demand import DOMAINS, names, send, sink, site_for, waiting  # noqa: F401 (fixtures)
from lib.paths import BUILD, SRC, is_testing_build
from lib.qmgrctl import Ctl
from lib.sink import Serve, Sink
from lib.site import Site
from lib.wait import never, until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not is_testing_build(), reason="only a testing build lets DNS name loopback addresses")]

# What a listener that looks at its clients and senders would ask DNS for
CURIOUS = {"smtps.flags": "{ access }"}
ACCESS = 'map ac { type = inline; entries = { "from:nobody reject" }; } access_map { name = ac; }'


def test_no_packet_before_the_run(names, sink, tag):
    with site_for(sink, names, "deliver = queue;", ACCESS, relay=[f"{x}.test" for x in DOMAINS], settings=CURIOUS) as site:
        ctl = Ctl(site)
        send(site, tag + "-1", "x@cust1.test", "y@other.test")
        send(site, tag + "-2", "x@cust1.test")
        waiting(site, "queued", 2)
        with site.client() as c:  # what needs no name server is checked as ever
            assert c.mail("nobody@bad.test").code == 550
        site.stop()
        site.start()
        waiting(site, "queued", 2)
        never(lambda: names.asked or sink.messages, "something leaves this host", 3)
        run = ctl.one("run")
        assert (run["mails"], run["rcpts"], run["on_demand"]) == (2, 3, "yes")
        sink.wait(tag + "-1", count=2)
        sink.wait(tag + "-2")
        assert ("mx.cust1.test", "MX", "udp") in names.asked
        site.wait_empty()
        assert ctl.one("run", status=1)["mails"] == 0
        lines = site.log_lines("qmgr", "qm.run")
        assert len(lines) == 2 and "by=operator" in lines[0] and "transactions=2, recipients=3" in lines[0]


def test_what_a_run_cannot_deliver_waits_for_the_next(names, sink, tag):
    sink.script([Serve({"RCPT": b"450 4.2.0 not now\r\n"})])
    with site_for(sink, names, "deliver = queue;", relay=["cust1.test"]) as site:
        ctl = Ctl(site)
        send(site, tag, "x@cust1.test")
        waiting(site, "queued", 1)
        for tries in (1, 2):
            ctl("run")
            until(lambda: ctl.found("state=queued", f"tries={tries}") == 0, "it was tried and waits again")
        never(lambda: ctl.found("tries>2") == 0, "it is tried by its age", 5)  # retry_max_delay is 4 s
        assert ctl.mails()[0]["rcpts"][0]["reason"] == "450 4.2.0 not now"
        sink.script([Serve()])
        ctl("run")
        sink.wait(tag)


def test_one_customer_only(names, sink, tag):
    table = 'on_demand { domains = { "cust1.test", ".cust1.test" }; file = "@/on_demand"; }'
    with_table = site_for(sink, names, smar=table, relay=["other.test"])
    path = os.path.join(with_table.dir, "on_demand")

    def write(text):
        with open(path, "w") as f:
            f.write(text)
    write("cust2.test hold\n")
    with with_table as site:
        ctl = Ctl(site)
        # Their mail may be brought by anybody, that of others may not.
        for i, to in enumerate(("cust1", "sub.cust1", "cust2", "other")):
            send(site, f"{tag}-{i}", f"x@{to}.test")
        send(site, f"{tag}-all", "x@cust1.test", "x@cust2.test", "x@other.test")
        with site.client() as c:
            c.mail("a@src.test")
            assert c.rcpt("x@cust3.test").code == 550
        sink.wait(f"{tag}-3")
        sink.wait(f"{tag}-all")
        waiting(site, "on_demand", 4)
        assert not [n for n, *_ in names.asked if "cust" in n]
        assert ctl.one("run", status=1)["mails"] == 0  # the schedule's
        nobody = ctl.one("run", "nobody.test", status=1)
        assert nobody["on_demand"] == "no" and not nobody["waited"]
        assert ctl.one("run", "cust1.test")["mails"] == 2
        until(lambda: len(sink.messages) == 4, "his mail leaves")
        waiting(site, "on_demand", 3)
        assert sorted(m.rcpts[0] for m in sink.messages) == ["x@cust1.test"] * 2 + ["x@other.test"] * 2
        assert not [n for n, *_ in names.asked if "cust2" in n or "sub." in n]
        assert ctl.one("run", "@cust1.test")["mails"] == 1
        sink.wait(f"{tag}-1")
        # One who has a line of his own now, and one who has given up his.
        write("cust3.test hold\n")
        ctl("reload")
        sink.wait(f"{tag}-2")
        waiting(site, "on_demand", 0)
        send(site, f"{tag}-5", "x@cust3.test")
        waiting(site, "on_demand", 1)
        ctl("run", "cust3.test")
        sink.wait(f"{tag}-5")
        site.wait_empty()


def test_all_that_leaves(names, sink, tag):
    """A site whose line costs: what is for here is delivered at once, all else waits for the line, whoever sent it. It is no open relay for that."""
    with Sink(lmtp=True) as here:
        s = Site(routes=[f"here.test {here.port}^lmtp:[127.0.0.1]", f"other.test {sink.port}^esmtp:mx.other.test"], dns=names.address,
                 relay=["other.test"], settings={"smar.on_demand.domains": '{ "." }', "smar.on_demand.deliver": "queue"}, environment={"SM_TEST_LOOPBACK": "1"})
        with s as site:
            ctl = Ctl(site)
            send(site, tag, "x@here.test", "x@other.test")
            here.wait(tag)
            waiting(site, "queued", 1)
            assert not [n for n, *_ in names.asked if "other" in n]
            with site.client() as c:
                c.mail("a@src.test")
                assert c.rcpt("x@cust1.test").code == 550
            ctl("run")
            sink.wait(tag)


def test_words_and_acts(names, sink, tag):
    with site_for(sink, names, "deliver = hold;", relay=["cust1.test", "cust2.test"]) as site:
        ctl = Ctl(site)
        for i in range(4):
            send(site, f"{tag}-{i}", f"x{i}@cust1.test")
        send(site, f"{tag}-4", "x@cust2.test")
        waiting(site, "on_demand", 5)
        mail = ctl.mails("rcpt=x0@cust1.test")[0]
        assert mail["next_try_s"] is None and mail["rcpts"][0]["reason"] == "451 4.4.0 waits until it is asked for"
        assert [r["key"] for r in ctl.lines("summary", "--by=state") if r["type"] == "row"] == ["on_demand"]
        shown = ctl.lines("show", mail["id"])
        assert shown[1]["waits_for"] == "being_asked" and shown[1]["next_try_s"] is None and shown[1]["last_try_s"] is None
        assert "  waits for  somebody who asks for it" in ctl("show", mail["id"])
        why = ctl.lines("why", "cust1.test")
        assert [x["cause"] for x in why if x["type"] == "cause"] == ["on_demand"]
        assert [(x["on_demand"], x["deferred"]) for x in why if x["type"] == "waiting"] == [(4, 0)]
        status = ctl.lines("status")[0]
        assert status["on_demand_recipients"] == 5 and status["queued_recipients"] == 0 and status["next_run_s"]
        assert "waiting to be asked" in ctl("status")
        # Flushing is for what waits for its time.
        assert ctl.one("flush", status=1)["mails"] == 0
        assert ctl.one("flush", "cust1.test", status=1)["mails"] == 0
        assert ctl.one("remove", "rcpt=x0@cust1.test")["mails"] == 1
        assert ctl.one("hold", "rcpt=x1@cust1.test")["mails"] == 1
        assert ctl.one("release", "rcpt=x2@cust1.test")["mails"] == 1
        sink.wait(f"{tag}-2")
        assert ctl.one("run", "all")["mails"] == 2
        sink.wait(f"{tag}-3")
        sink.wait(f"{tag}-4")
        assert ctl.one("release", "state=held")["mails"] == 1
        sink.wait(f"{tag}-1")
        site.wait_empty()
        assert len(sink.messages) == 4


def test_runs_while_mail_comes(names, sink, tag):
    """Whatever is in which run: each mail arrives, once."""
    n = 150
    with site_for(sink, names, "deliver = queue;", relay=[f"{x}.test" for x in DOMAINS]) as site:
        ctl = Ctl(site)

        def some(k):
            with site.client() as c:
                for i in range(n):
                    assert c.send_mail("a@src.test", f"u{k}-{i}@{DOMAINS[i % len(DOMAINS)]}.test", message(tag)).code == 250
        threads = [threading.Thread(target=some, args=(k,)) for k in range(3)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            site.qmgrctl("run", check=False)
        for t in threads:
            t.join()
        until(lambda: ctl.found("state=active,deferred") == 1, "the runs are over", 30)
        site.qmgrctl("run", check=False)
        site.wait_empty()
        got = sorted(r for m in sink.messages for r in m.rcpts)
        assert got == sorted(f"u{k}-{i}@{DOMAINS[i % len(DOMAINS)]}.test" for k in range(3) for i in range(n))


def test_a_crash_while_it_waits(names, sink, tag):
    with site_for(sink, names, "deliver = queue;", relay=["cust1.test"]) as site:
        ctl = Ctl(site)
        for i in range(20):
            send(site, f"{tag}-{i}", "x@cust1.test")
        old = site.kill("qmgr")
        site.restarted("qmgr", old)
        site.wait_ready()
        waiting(site, "queued", 20)
        never(lambda: names.asked or sink.messages, "something leaves this host", 1)
        assert ctl.one("run")["mails"] == 20
        site.wait_empty()
        assert len(sink.messages) == 20


def test_by_the_schedule(names, sink, tag):
    """The clock is set over the time of a run: that takes place."""
    with site_for(sink, names, "deliver = queue;", relay=["cust1.test"],
                  settings={"qmgr.queue_run.schedule": '{ "Mon-Sun 00:00-24:00 2h" }', "qmgr.queue_run.interval": "0s"}) as site:
        ctl = Ctl(site)
        send(site, tag, "x@cust1.test")
        waiting(site, "queued", 1)
        status = ctl.lines("status")[0]
        assert 0 <= status["next_run_s"] - status["now_s"] <= 7200 and status["next_run_s"] % 3600 == 0 and status["last_run_s"] is None
        with site.faults("qmgr", "clock=step:7200"):
            sink.wait(tag, timeout=60)
            assert ctl.lines("status")[0]["last_run_s"]
        assert "by=schedule" in site.log_lines("qmgr", "qm.run")[0]


# ---- as doc/setups.md has it ----

def page(half):
    """The files of one end of the line: name -> text."""
    with open(os.path.join(SRC, "doc/setups.md"), encoding="utf-8") as f:
        part = f.read().partition("\n## A dial-up line\n")[2].partition("\n## ")[0]
    part = part.partition("**The provider**")[0 if half == "site" else 2]
    return dict(re.findall(r"(?s)```\n# /etc/smx/(\S+)\n(.*?)```", part))


def site_of(half, names, places, more=None):
    s = Site(users="real", dns=names.address, environment={"SM_TEST_LOOPBACK": "1"})
    for name, text in {**page(half), **(more or {})}.items():
        text = text.replace("/etc/smx/", s.dir + "/").replace("CDB_gid = 262", f"CDB_gid = {grp.getgrnam('smxc').gr_gid}")
        text = text.replace("port = 25;", f"address = 127.0.0.1; port = {s.port};")
        for was, now in places.items():
            text = text.replace(was, now)
        text = re.sub(r"/usr/local/libexec/(\w+)", lambda m: os.path.join(BUILD, m[1], m[1]), text)
        with open(os.path.join(s.dir, name), "w", encoding="utf-8") as f:
            f.write(text)
    s.add("smar", f'nameserver = "{names.address}";')
    return s


@pytest.mark.skipif(os.getuid() != 0, reason="not root: no other users")
def test_the_page(names, tag):
    """Both ends: what the site sends comes to its provider, what comes for it there waits until the site is asked for."""
    names.add("smtp.isp.example.net", MX("host.isp.example.net", 10))
    names.add("host.isp.example.net", A("127.0.0.1"))
    names.add("mail.cust1.example.org", MX("host.cust1.example.org", 10))
    names.add("host.cust1.example.org", A("127.0.0.1"))
    with Sink(lmtp=True) as users:
        site = site_of("site", names, {"lmtp:\n": f"{users.port}^lmtp:[127.0.0.1]\n", "192.168.7": "127.0.0.9"})
        back = {"mt": f"cust1.example.org {site.port}^esmtp:mail.cust1.example.org\n"}
        isp = site_of("provider", names, {"203.0.113.0/24": "127.0.0.1"}, back)
        with open(os.path.join(site.dir, "mt")) as f:
            mt = f.read().replace("smtp.isp.example.net", f"{isp.port}^esmtp:smtp.isp.example.net")
        with open(os.path.join(site.dir, "mt"), "w") as f:
            f.write(mt)
        with isp, site:
            send(site, tag + "-in", "u@cust1.example.org")
            users.wait(tag + "-in")
            send(site, tag + "-out", "x@cust2.example.org")
            ctl, at_isp = Ctl(site), Ctl(isp)
            waiting(site, "queued", 1)
            assert not [n for n, t, _ in names.asked if t != "PTR"]
            ctl("run")
            waiting(isp, "queued", 1)  # cust2 is one of its customers, too
            send(isp, tag + "-back", "u@cust1.example.org")
            send(isp, tag + "-deep", "u@sub.cust1.example.org")
            waiting(isp, "on_demand", 2)
            assert "mail.cust1.example.org" not in [n for n, *_ in names.asked]
            asked = subprocess.run([os.path.join(BUILD, "etrn"), "-p", str(isp.port), "127.0.0.1", "cust1.example.org"], capture_output=True, text=True)
            assert asked.returncode == 0 and "253 2.0.0 OK, 1 pending" in asked.stdout, asked
            users.wait(tag + "-back")
            waiting(isp, "on_demand", 1)
            assert at_isp.one("remove", "all")["mails"] == 2
            isp.wait_empty()
            site.wait_empty()
