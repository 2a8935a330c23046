"""A mailing list of ten thousand: each member has a sender of its own, what bounces leads to who it was, and the list may change meanwhile."""
import collections
import grp
import os
import re
import subprocess

import pytest
from lib.client import message
from lib.paths import BUILD, SRC, free_port, is_testing_build, program
from lib.sink import Serve, Sink
from lib.site import Site
from lib.wait import until

pytestmark = [pytest.mark.inside, pytest.mark.slow]

COUNT = 10000
ALIASES = """
news: :include:news
owner-news*: verp: <bounces${extension}@local.test>
bounces*: local:
"""
SETTINGS = {"smar.aliases.flags": "{ localpart, replace_macros }"}


class List:
    def __init__(self, members, settings=None):
        self.box, self.far, self.gone, self.author = Sink(lmtp=True), Sink(), Sink(), Sink()
        self.gone.default = Serve({"RCPT": b"550 5.1.1 no such user\r\n"})
        servers = {"local.test": self.box, "far.test": self.far, "gone.test": self.gone, "from.test": self.author}
        self.site = Site(routes=[f"{d} {s.port}^{'lmtp' if s.lmtp else 'esmtp'}:[127.0.0.1]" for d, s in servers.items()], relay=["far.test", "gone.test"],
                         hostname="local.test", settings={**SETTINGS, **(settings or {})})
        self.site.add("smar", 'aliases { file = "@/aliases"; include_directory = "@/lists"; }')
        self.site.put("aliases", ALIASES)
        os.mkdir(os.path.join(self.site.dir, "lists"))
        os.chmod(os.path.join(self.site.dir, "lists"), 0o755)
        self.members(members)

    def __enter__(self):
        self.site.start()
        return self

    def __exit__(self, *why):
        self.site.__exit__(*why)
        for s in (self.box, self.far, self.gone, self.author):
            s.stop()

    def members(self, addresses):
        self.site.put("lists/news", "".join(f"<{m}>\n" if m[0] == chr(34) else f"{m}\n" for m in addresses))

    def post(self, tag, sender="author@from.test"):
        with self.site.client() as c:
            assert c.send_mail(sender, "news@local.test", message(tag)).code == 250

    def got(self, tag):
        return collections.Counter(r for m in self.far.find(tag) for r in m.rcpts)

    def bounced(self):
        """Whom the handler of bounces is told about, by the address that it is told at."""
        return collections.Counter(r for m in self.box.accepted for r in m.rcpts)


def verp(member):
    return "owner-news+" + member.replace("@", "=") + "@local.test"


def test_ten_thousand(tag):
    good = [f"m{i:05}@far.test" for i in range(COUNT - 20)]
    gone = [f"gone{i}@gone.test" for i in range(18)]
    odd = ['"a b"@far.test', "x" * 60 + "@gone.test"]  # no address could be made of these
    with List(good + gone + odd) as x:
        x.post(tag)
        x.site.wait_empty(300)
        assert x.got(tag) == collections.Counter(good + odd[:1])
        senders = {m.rcpts[0]: m.sender for m in x.far.find(tag)}
        assert all(senders[m] == verp(m) for m in good) and senders[odd[0]] == "owner-news@local.test"
        # Who was refused at once: smx tells the handler, of each by its own address, and the author nothing.
        expected = collections.Counter([f"bounces+{m.replace('@', '=')}@local.test" for m in gone] + ["bounces@local.test"])
        assert x.bounced() == expected
        assert all(m.sender == "" for m in x.box.accepted) and not x.author.accepted
        report = next(m for m in x.box.accepted if m.rcpts == ["bounces+gone7=gone.test@local.test"]).content.decode("latin-1")
        assert "Final-Recipient: rfc822; gone7@gone.test" in report.replace("\r", "")

        # Who took it and gives it back later, to where it came from.
        for m in ("m00017@far.test", "m00042@far.test"):
            with x.site.client() as c:
                assert c.send_mail("", verp(m), message(tag + "-back", b"I could not deliver it after all\r\n")).code == 250
        x.site.wait_empty(60)
        late = [(m.sender, r) for m in x.box.find(tag + "-back") for r in m.rcpts]
        assert sorted(late) == [("", "bounces+m00017=far.test@local.test"), ("", "bounces+m00042=far.test@local.test")]


@pytest.mark.skipif(not is_testing_build(), reason="needs fault points")
@pytest.mark.parametrize("how", ["reload", "smar dies"])
def test_members_change_meanwhile(tag, how):
    """Those who stay have it once; who joins or leaves meanwhile has it once or not at all."""
    stay = [f"s{i:05}@far.test" for i in range(3000)]
    leave = [f"l{i:05}@far.test" for i in range(1500)] + [f"t{i:05}@far.test" for i in range(1500)]
    join = [f"a{i:05}@far.test" for i in range(1000)] + [f"z{i:05}@far.test" for i in range(1000)]
    with List(stay + leave) as x:
        with x.site.faults("qmgr", "ibdb.sync=delay:500") as slow:  # a slow disk: it takes a while
            x.post(tag)
            until(lambda: x.site.log_lines("qmgr", "qm.expand"), "it has begun")
            x.members(stay + join)
            if how == "reload":
                x.site.qmgrctl("reload")
            else:
                x.site.kill("smar")
            slow.write("")
            until(lambda: any("more=0" in line for line in x.site.log_lines("qmgr", "qm.expand")), "it is expanded", 120)
        x.site.wait_empty(120)
        got = x.got(tag)
        assert [m for m in stay if got[m] != 1] == []
        assert set(got.values()) == {1} and set(got) <= set(stay + leave + join)
        # It was in the middle: those at the beginning were dealt with before, those at the end after.
        assert leave[0] in got and leave[-1] not in got and join[0] not in got and join[-1] in got
        # Each mail from now on goes to whom the list has now.
        x.post(tag + "-2")
        x.site.wait_empty(120)
        assert x.got(tag + "-2") == collections.Counter(stay + join)


def test_the_list_itself(tag):
    """What is wrong with the list is told to nobody while it may be mended; the author never hears of members."""
    with List(["p@far.test"], {"qmgr.retry_min_delay": "1s", "qmgr.retry_max_delay": "1s"}) as x:
        x.members(["p@far.test", "not an address"])
        x.post(tag)
        until(lambda: any("4.2.4" in line for line in x.site.log_lines("qmgr", "qm.rcpt")), "it waits")
        x.members(["p@far.test", "q@gone.test"])
        x.site.wait_empty(60)
        assert x.got(tag) == {"p@far.test": 1} and x.bounced() == {"bounces+q=gone.test@local.test": 1} and not x.author.accepted
        assert re.search(r"qm\.expand .*child_ta=", "\n".join(x.site.log_lines("qmgr", "qm.expand")))


def page(name):
    """A file as doc/setups.md has it."""
    with open(os.path.join(SRC, "doc/setups.md"), encoding="utf-8") as f:
        part = f.read().partition("\n## Mailing lists\n")[2].partition("\n## ")[0]
    return part.partition(f"```\n# /etc/smx/{name}\n")[2].partition("```\n")[0]


@pytest.mark.skipif(os.getuid() != 0, reason="not root: no other users")
def test_as_the_page_has_it(tag):
    """The configuration of doc/setups.md, with the places of this site."""
    port = free_port()
    relays = [Sink(port, host=f"127.0.0.{i}") for i in (1, 2, 3)]
    with Sink(lmtp=True) as box, Site(users="real") as s:
        s.stop()
        conf = page("smx.conf").replace("/etc/smx/", s.dir + "/").replace("CDB_gid = 262", f"CDB_gid = {grp.getgrnam('smxc').gr_gid}")
        conf = conf.replace("port = 25;", f'address = "127.0.0.1"; port = {s.port};')
        conf, n = re.subn(r"/usr/local/libexec/(\w+)", lambda m: os.path.join(BUILD, m[1], m[1]), conf)
        assert n == 4
        s.put("smx.conf", conf)
        mt = page("mt").replace("lmtp:", f"{box.port}^lmtp:[127.0.0.1]").replace("esmtp:", f"{port}^esmtp:")
        s.put("mt", re.sub(r"relay(\d)\.example\.org", r"127.0.0.\1", mt))
        os.mkdir(os.path.join(s.dir, "lists"))
        s.put("lists/news", page("lists/news"))
        s.put("lists/staff", "dora@elsewhere.example\n")
        for name in ("aliases", "access"):
            s.put(name, page(name))
            subprocess.run([program("createmap"), "-k", name, f"{s.dir}/{name}.db", f"{s.dir}/{name}"], check=True)
            os.chmod(f"{s.dir}/{name}.db", 0o644)
        s.start()
        with s.client() as c:
            assert c.mail("stranger@example.org").code == 250 and c.rcpt("news@lists.example.org").code == 550
        with s.client() as c:
            assert c.send_mail("editor@example.org", "news@lists.example.org", message(tag)).code == 250
            assert c.send_mail("x@example.org", "staff@lists.example.org", message(tag + "-staff")).code == 250
            assert c.send_mail("", "owner-news+bob=home.example@lists.example.org", message(tag + "-back")).code == 250

        def got(t):
            return sorted((m.sender, *m.rcpts) for r in relays for m in r.find(t))
        until(lambda: len(got(tag)) == 2 and got(tag + "-staff") and box.accepted, "all of it")
        assert got(tag) == [("owner-news+bob=home.example@lists.example.org", "bob@home.example"),
                            ("owner-news+carol=example.net@lists.example.org", "carol@example.net")]
        assert got(tag + "-staff") == [("owner-staff@lists.example.org", "dora@elsewhere.example")]
        assert [m.rcpts for m in box.accepted] == [["bounces+bob=home.example@lists.example.org"]]
        assert not relays[2].messages
    for r in relays:
        r.stop()
