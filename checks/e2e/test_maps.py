"""Maps of smar: the mailertable in a map, files that change while it runs, files that are broken."""
import os
import re
import subprocess

import pytest
from lib.client import message
from lib.paths import BUILD, free_port, program
from lib.sink import Sink
from lib.site import Site, SiteError
from lib.wait import until

DEAD = "[127.0.0.98]"  # nobody listens there


class Taken:
    """Counts what smar has taken, and what it has refused."""

    def __init__(self, site):
        self.site, self.maps, self.refused = site, *self.now(site)

    @staticmethod
    def now(site):
        return len(site.log_lines("smar", "ar.map")), len(site.log_lines("smar", "ar.maps"))

    def until_taken(self, count):
        until(lambda: self.now(self.site)[0] >= self.maps + count, "maps are taken", 30)
        self.maps, refused = self.now(self.site)
        assert refused == self.refused

    def until_refused(self):
        until(lambda: self.now(self.site)[1] > self.refused, "maps are refused", 30)
        maps, self.refused = self.now(self.site)
        assert maps == self.maps
        return self.site.log_lines("smar", "ar.maps")[-1]


@pytest.fixture(name="sinks")
def fixture_sinks():
    port = free_port()
    both = Sink(port, host="127.0.0.1"), Sink(port, host="127.0.0.2")
    yield (port, *both)
    for s in both:
        s.stop()


def sends(site, sink, tag):
    with site.client() as c:
        assert c.send_mail("a@src.test", "x@d.test", message(tag)).code == 250
    sink.wait(tag, timeout=20)
    site.wait_empty()


@pytest.mark.parametrize("name, declared", [("mt.db", ""), ("mt.cdb", ""), ("mt.mdb", ""), ("mt.db", "type = hash; "), ("mt.txt", "")])
def test_a_changed_map_is_taken(sinks, name, declared, tag):
    port, first, second = sinks

    def write(rhs):
        text = f"d.test {port}^{rhs}\nother.test lmtp:\n"
        (site.createmap if name != "mt.txt" else site.put)(name, text)

    site = Site(relay=["d.test"])
    site.add("smar", f'map_check_interval = 200ms; map routes {{ {declared}file = "@/{name}"; }} mailertable {{ name = routes; }}')
    write("[127.0.0.1]")
    with site:
        taken = Taken(site)
        assert taken.maps == 1 and "entries=2" in site.log_lines("smar", "ar.map")[0]
        sends(site, first, tag + "-1")
        write("[127.0.0.2]")
        taken.until_taken(1)
        # qmgr keeps a route for a while.
        until(lambda: route_of(site) == "127.0.0.2", "the new route is used", 30)


def route_of(site):
    """Which sink a new mail reaches: by the log of smtpc."""
    with site.client() as c:
        tag = os.urandom(6).hex()
        assert c.send_mail("a@src.test", "x@d.test", message(tag)).code == 250
    site.wait_empty()
    return re.search(r"127\.0\.0\.\d", site.log_lines("smtpc", "sc.delivered")[-1]).group(0)


def test_a_broken_map_is_refused_and_the_old_one_stays(sinks, tag):
    port, first, _ = sinks
    site = Site(relay=["d.test"])
    site.add("smar", 'map_check_interval = 200ms; map routes { file = "@/mt.db"; } mailertable { name = routes; } '
                      'access_map { file = "@/access"; }')
    site.createmap("mt.db", f"d.test {port}^[127.0.0.1]\n")
    site.put("access", "to:abuse quick:ok\n")
    with site:
        taken = Taken(site)
        # Cut off in the middle: not even the other one, which is well, is taken.
        with open(os.path.join(site.dir, "mt.db"), "rb") as f:
            db = f.read()
        site.put("access", "to:abuse quick:ok\nto:b ok\n")
        os.truncate(os.path.join(site.dir, "mt.db"), len(db) // 2)
        line = taken.until_refused()
        assert "kept=1" in line and "map routes" in line and "mt.db" in line
        sends(site, first, tag + "-1")
        # What was refused is not tried again ...
        site.put("access", "to:abuse quick:ok\nto:b ok\nto:abuse relay\n")
        site.createmap("mt.db", f"d.test {port}^[127.0.0.1]\n")
        line = taken.until_refused()
        assert re.search(r"map access_map: \S*/access:3: .*line 1", line)
        # ... but taken when it is well.
        site.put("access", "to:abuse quick:ok\n")
        taken.until_taken(2)
        sends(site, first, tag + "-2")


def test_reload_by_signal_only(sinks):
    port, *_ = sinks
    site = Site(relay=["d.test"])
    site.add("smar", 'map_check_interval = 0; map routes { file = "@/mt.db"; } mailertable { name = routes; }')
    site.createmap("mt.db", f"d.test {port}^[127.0.0.1]\n")
    with site:
        taken = Taken(site)
        site.createmap("mt.db", f"d.test {port}^[127.0.0.2]\ne.test lmtp:\n")
        site.reload()
        taken.until_taken(1)
        assert "entries=2" in site.log_lines("smar", "ar.map")[-1]
        # A new configuration with a map that is not there: nothing changes.
        site.add("smar", 'map more { file = "@/more.db"; }')
        site.reload()
        assert "map more" in taken.until_refused()
        site.createmap("more.db", "a b\n", kind="plain")
        site.reload()
        taken.until_taken(2)


def test_reload_by_an_operator(sinks, tag):
    """qmgrctl reload waits for smar, and says whether the maps were taken."""
    port, first, _ = sinks
    site = Site(relay=["d.test"])
    site.add("smar", 'map_check_interval = 0; map routes { file = "@/mt"; } mailertable { name = routes; }')
    site.put("mt", f"d.test {port}^[127.0.0.1]\n")
    with site:
        site.put("mt", f"d.test {port}^[127.0.0.1]\nno value\nnovalue\n")
        with pytest.raises(SiteError, match=r"(?s)exit 1\n.*smar keeps the former maps: map routes: \S*/mt:3: .*maps: the former ones stay"):
            site.qmgrctl("reload")
        assert '"maps":null' in site.qmgrctl("reload", "--json", check=False)
        sends(site, first, tag + "-1")
        site.put("mt", f"d.test {port}^[127.0.0.1]\ne.test lmtp:\n")
        assert "maps: 1 opened anew" in site.qmgrctl("reload")
        assert "entries=2" in site.log_lines("smar", "ar.map")[-1]
        sends(site, first, tag + "-2")


def test_reload_of_a_configuration_that_smar_would_refuse(sinks, tag):
    """mcp does not know what belongs together in the section of another: mcp.sh looks before, and says it; nothing is restarted."""
    port, first, _ = sinks
    site = Site(relay=["d.test"], routes=[f"d.test {port}^[127.0.0.1]"])
    site.add("smar", 'map users { type = passwd; } local_user_map { name = users; }')
    with site:
        before = site.all_pids()
        with open(site.conf) as f:
            conf = f.read()
        with open(site.conf, "w") as f:
            f.write(conf.replace("name = users", "name = user"))
        with pytest.raises(SiteError, match=r"(?s)exit 78\n.*smx.conf:\d+: section smar: local_user_map.name: there is no map user\n.*nothing was changed"):
            site.reload()
        assert site.all_pids() == before
        sends(site, first, tag)


def test_a_broken_map_at_a_start_is_tried_again(sinks, tag):
    """What the running smar has refused, the next one, of an upgrade or after a crash, cannot go without: it comes when the file is mended."""
    port, first, _ = sinks
    site = Site(relay=["d.test"])
    site.add("smar", 'map_check_interval = 200ms; map routes { file = "@/mt.db"; } mailertable { name = routes; }')
    site.createmap("mt.db", f"d.test {port}^[127.0.0.1]\n")
    with site:
        taken = Taken(site)
        sends(site, first, tag + "-1")
        site.put("mt.db", "no database\n")
        taken.until_refused()
        site.kill("smar")
        until(lambda: len(site.log_lines("smar", "ar.start")) >= 3, "it is tried again and again", 30)
        assert all("FATAL" in x and "mt.db: no Berkeley DB file" in x for x in site.log_lines("smar", "ar.start"))
        os.remove(os.path.join(site.dir, "mt.db"))
        site.createmap("mt.db", f"d.test {port}^[127.0.0.1]\n")
        taken.until_taken(1)
        sends(site, first, tag + "-2")


@pytest.mark.parametrize("text, status, says", [
    ('map m { file = "@/none.db"; }', 75, "map m: .*none.db: open: No such file"),
    ('map m { file = "@/broken.db"; }', 75, "map m: .*broken.db: no Berkeley DB file"),
    ('map s { type = sequence; maps = { s }; }', 78, r"smx.conf:\d+: map s: sequences lead in a circle"),
    ('aliases { name = none; }', 78, "aliases.name: there is no map none")])
def test_what_cannot_be_opened_at_the_start_is_said(text, status, says):
    site = Site()
    site.put("broken.db", "no database\n")
    site.add("smar", text)
    r = subprocess.run([os.path.join(BUILD, "smar", "smar"), "-f", site.conf], cwd=site.dir, capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode == status, r.stderr
    assert re.search(says, r.stderr)


def test_no_lookup_fails_while_maps_are_replaced(sinks, tag):
    """Lookups go on all the time, half of them misses, and mail too, while the map is made anew ten times."""
    port, first, _ = sinks
    site = Site(relay=["d.test"])
    site.add("smar", 'map_check_interval = 100ms; map routes { file = "@/mt.db"; } mailertable { name = routes; }')

    def write(i):
        site.createmap("mt.db", f"d.test {port}^[127.0.0.1]\nn{i}.other lmtp:\n" + "".join(f"d{k}.bench.example lmtp:\n" for k in range(2000)))

    write(0)
    with site:
        taken = Taken(site)
        sock = next(os.path.join(d, n) for d, _, names in os.walk(site.dir) for n in names if re.fullmatch(r"smar.*sock", n))
        with subprocess.Popen([*site.prefix, program("checks/bench/maplookup"), sock, "2000", "64", "3600s"], stdout=subprocess.PIPE, text=True) as asker:
            for i in range(1, 11):
                write(i)
                with site.client() as c:
                    assert c.send_mail("a@src.test", "x@d.test", message(f"{tag}-{i}")).code == 250
                taken.until_taken(1)
            asker.terminate()
            figures = dict(x.split("=") for x in asker.communicate()[0].split())
        assert figures["wrong"] == figures["failed"] == "0" and int(figures["lookups"]) > 1000, figures
        for i in range(1, 11):
            first.wait(f"{tag}-{i}", timeout=20)
        site.wait_empty()
        assert not [x for x in site.log_lines("qmgr", "qm.rcpt") if "stat=sent" not in x]
