"""The decision table: every tag with every right hand side at every stage, with and without delay_checks, through smtps and smar by SMTP,
compared with the model.

A site has one access map with all cases, told apart by addresses: client 127.x.y.z for the connection, a domain each for MAIL, an address
each for RCPT. cltresolve: has four keys only, so each of its right hand sides needs a site in which nothing else speaks at connect; the lists in
DNS have sites of their own as well, and greylisting, which needs clients nobody has seen before.
"""
import contextlib
import itertools
import os

import pytest
from lib.client import Client
from lib.dns import A, PTR, Dns, MX
from lib.sink import Sink
from lib.site import Site
from lib.wait import until
from policy.model import Greylist, Reply, Session, World

RIGHT = {  # name: value; the texts tell which entry spoke
    "relay": "relay", "ok": "ok", "cont": "cont", "discard": "discard", "reject": "reject",
    "e5": "error:551 5.7.1 {} says no", "e4": "error:450 4.7.1 {} says not now", "bad": "errror:550 5.7.1 x", "class": "error:550 4.7.1 x",
    "q-relay": "quick:relay", "q-ok": "quick:ok", "q-discard": "quick:discard", "q-reject": "quick:reject",
    "q-e5": "quick:error:553 5.7.1 {} says no", "q-e4": "quick:error:452 4.7.1 {} says not now", "q-cont": "quick:cont",
}


def right(name, who):
    return RIGHT[name].format(who)


class Table:
    """An access map, the DNS and the addresses of all cases of a site."""

    def __init__(self, connect="all", few=False, **settings):
        self.access, self.zone, self.servfail, self.refused, self.names = {}, {}, set(), set(), {}
        self.clients, self.senders, self.rcpts, self.mail_domains = {}, {}, {}, {}
        self.settings = settings
        self.access["cltaddr:127.0.0.1"] = "quick:relay"  # who looks whether the site is up
        self.lists = {}  # tag: {client: what the list says}
        if connect == "all":
            self._clients()
        elif connect == "lists":
            self._listed()
        elif connect == "greylist":
            self._for_greylist()
        else:
            self._resolves(connect)
        self._senders(full=connect in ("all", "lists") and not few)
        self._rcpts(RIGHT if not few else ("relay", "ok", "discard", "e5", "bad", "q-relay", "q-ok", "q-discard", "q-e4"))

    # -- connect
    def _client(self, name, resolve="ok"):
        n = len(self.clients) + 1
        ip = f"127.{20 + n // 200}.{n % 200}.9"
        host = f"c{n}.clients.test"
        self.clients[name] = ip
        reverse = ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
        if resolve == "tempptr":
            self.servfail.add(reverse)
        elif resolve != "no":
            self.zone[reverse] = [PTR(host)]
            if resolve == "tempa":
                self.servfail.add(host)
            else:
                self.zone[host] = [A(ip)]
        self.names[ip] = (resolve, host if resolve == "ok" else "")
        return ip, host

    def _clients(self):
        self._client("none")
        for r in RIGHT:
            ip, _ = self._client(f"cltaddr-{r}")
            # Whole addresses and nets take turns.
            self.access["cltaddr:" + (ip if len(self.clients) % 2 else ip.rpartition(".")[0])] = right(r, f"cltaddr-{r}")
        for r in RIGHT:
            _, host = self._client(f"cltname-{r}")
            self.access["cltname:" + host] = right(r, f"cltname-{r}")
        # A name that does not lead back is none; the address goes before the name, cont lets the name speak.
        ip, host = self._client("unconfirmed", "no")
        self.zone[".".join(reversed(ip.split("."))) + ".in-addr.arpa"] = [PTR(host)]
        self.zone[host] = [A("192.0.2.77")]
        self.access["cltname:" + host] = "quick:relay"
        for first, second in itertools.product(("ok", "cont", "e5", "discard", "q-relay"), ("e5", "relay", "discard")):
            ip, host = self._client(f"both-{first}-{second}")
            self.access["cltaddr:" + ip] = right(first, f"both-{first}")
            self.access["cltname:" + host] = right(second, f"both-{second}")

    def _resolves(self, four):
        for resolve, r in zip(("ok", "no", "tempptr", "tempa"), four):
            self._client(f"resolve-{resolve}-{r}", resolve)
            self.access["cltresolve:" + resolve] = right(r, f"resolve-{r}")
            ip, _ = self._client(f"resolve-{resolve}-{r}-addr-cont", resolve)
            self.access["cltaddr:" + ip] = "cont"
            ip, _ = self._client(f"resolve-{resolve}-{r}-addr-ok", resolve)
            self.access["cltaddr:" + ip] = "ok"
        ip, host = self._client("resolve-then-name")
        self.access["cltname:" + host] = right("e4", "resolve-then-name")

    def _in_list(self, ip, tag, said):
        """What a list in DNS answers: addresses, or "temp", "perm"."""
        name = ".".join(reversed(ip.split("."))) + f".{tag}.lists.test"
        self.lists[tag][ip] = said
        if said == "temp":
            self.servfail.add(name)
        elif said == "perm":
            self.refused.add(name)
        else:
            self.zone[name] = [A(x) for x in said]

    def _listed(self):
        # Not in the order of their names. The last one has no entries for failures: it then knows nothing.
        self.lists = {tag: {} for tag in ("second", "first", "third", "silent")}
        tags = list(self.lists)
        self._client("none")
        where = {}
        for n, r in enumerate(RIGHT):
            tag = tags[n % 4]
            where[r] = f"127.0.{n + 1}.2"
            ip, _ = self._client(f"{tag}-{r}")
            self._in_list(ip, tag, [where[r]])
            # Whole addresses and nets take turns.
            for t in tags:
                self.access[f"{t}:" + (where[r] if n % 2 else where[r].rpartition(".")[0])] = right(r, f"{t}-{r}")
        failures = {"second": ("cont", "e5"), "first": ("q-e4", "ok"), "third": ("relay", "bad")}
        if self.settings.get("delay_checks"):
            failures = {"second": ("e4", "discard"), "first": ("q-ok", "q-reject"), "third": ("class", "q-relay")}
        for tag in tags:
            for said, r in zip(("temp", "perm"), failures.get(tag, ())):
                self.access[f"{tag}:{said}"] = right(r, f"{tag}-{said}")
            for said in ("temp", "perm"):
                ip, _ = self._client(f"{tag}-{said}")
                self._in_list(ip, tag, said)
                if tag != "silent":
                    ip, _ = self._client(f"{tag}-{said}-then-listed")
                    self._in_list(ip, tag, said)
                    self._in_list(ip, "silent", [where["e5"]])
        # A list that does not work lists nobody, whatever entry there is.
        for n, said in enumerate((["127.255.255.254"], ["203.0.113.9"], [where["e5"], "127.255.255.1"], [where["q-relay"], "10.0.0.1"])):
            for ip in said:
                self.access[f"second:{ip}"] = self.access.get(f"second:{ip}", right("e5", "strange"))
            ip, _ = self._client(f"strange-{n}")
            self._in_list(ip, "second", said)
            ip, _ = self._client(f"strange-{n}-then-listed")
            self._in_list(ip, "second", said)
            self._in_list(ip, "third", [where["q-e4"]])
        # The first list with an entry decides, cont as well; an answer without an entry is none.
        for first, second in itertools.product(("ok", "cont", "e5", "discard", "q-relay", None), ("e5", "relay", "discard")):
            ip, _ = self._client(f"lists-{first}-{second}")
            self._in_list(ip, "second", [where[first] if first else "127.0.99.99"])
            self._in_list(ip, "first", [where[second]])
        for several in itertools.permutations(("q-e5", "ok", "e4"), 2):
            ip, _ = self._client(f"several-{'-'.join(several)}")
            self._in_list(ip, "first", ["127.0.99.99", *(where[x] for x in several)])
        # Address and name go before.
        for first, second in itertools.product(("ok", "cont", "e5", "discard", "q-relay"), ("e5", "q-ok", "relay", "discard")):
            ip, _ = self._client(f"cltaddr-{first}-listed-{second}")
            self.access["cltaddr:" + ip] = right(first, f"cltaddr-{first}")
            self._in_list(ip, "third", [where[second]])
            ip, host = self._client(f"cltname-{first}-listed-{second}")
            self.access["cltname:" + host] = right(first, f"cltname-{first}")
            self._in_list(ip, "third", [where[second]])

    def _for_greylist(self):
        self.lists = {"list": {}}
        self._client("none")
        for n, r in enumerate(RIGHT):
            ip, _ = self._client(f"cltaddr-{r}")
            self.access["cltaddr:" + ip] = right(r, f"cltaddr-{r}")
            if r in ("relay", "ok", "cont", "e5", "q-ok", "q-relay"):
                _, host = self._client(f"cltname-{r}")
                self.access["cltname:" + host] = right(r, f"cltname-{r}")
                ip, _ = self._client(f"list-{r}")
                self._in_list(ip, "list", [f"127.0.{n}.2"])
                self.access[f"list:127.0.{n}.2"] = right(r, f"list-{r}")
                self._client(f"resolve-{r}")

    # -- MAIL
    def _sender(self, name, addresses):
        domain = f"{name}.senders.test"
        self.senders[name] = f"s@{domain}"
        self.mail_domains[domain] = addresses
        if isinstance(addresses, list):
            self.zone[domain] = [MX(f"mx.{domain}", 10)]
            self.zone[f"mx.{domain}"] = [A(a) for a in addresses]
        elif addresses == "temp":
            self.servfail.add(domain)
        elif addresses == "null":
            self.zone[domain] = [MX(".", 0)]
        return domain

    def _senders(self, full):
        self.senders["null"] = ""
        self._sender("none", ["192.0.2.1"])
        for r in RIGHT if full else ("discard", "e5", "q-e4"):
            domain = self._sender(f"from-{r}", ["192.0.2.1"])
            self.access[f"from:@{domain}"] = right(r, f"from-{r}")
        if not full:
            return
        for n, r in enumerate(RIGHT):
            self._sender(f"mxbadip-{r}", [f"198.18.{n}.1"])
            self.access[f"mxbadip:198.18.{n}" + (".1" if n % 2 else "")] = right(r, f"mxbadip-{r}")
        domain = self._sender("from-cont-mxbadip", ["192.0.2.1", "198.19.0.1"])
        self.access[f"from:s@{domain}"] = "cont"
        self.access["mxbadip:198.19.0.1"] = right("e5", "mxbadip")
        domain = self._sender("from-ok-mxbadip", ["198.19.0.1"])
        self.access[f"from:s@{domain}"] = "ok"
        for kind in ("nxdomain", "temp", "null"):
            domain = self._sender(kind, kind)
            self.access[f"from:@{domain}"] = "quick:ok"
        self.senders["local"] = "s@local.test"
        self.senders["local-unknown"] = "nobody@local.test"
        self.senders["routed"] = "s@routed.test"

    # -- RCPT
    def _rcpts(self, names):
        for domain in ("local", "routed", "listed"):
            self.rcpts[f"none@{domain}"] = f"none@{domain}.test"
            for n, r in enumerate(names):
                # Exact, by a detail, by a parent domain, by local part alone.
                kind = n % 3
                rcpt = (f"{r}@{domain}.test", f"{r}+x@{domain}.test", f"{r}@{r}.{domain}.test")[kind]
                key = (f"{r}@{domain}.test", f"{r}++@{domain}.test", f"@.{domain}.test")[kind]
                if kind == 2:
                    rcpt, key = f"{r}-only@{domain}.test", f"{r}-only@{domain}.test"
                self.rcpts[f"to-{r}@{domain}"] = rcpt
                self.access["to:" + key] = right(r, f"to-{r}-{domain}")
        self.access["to:by-local-part"] = right("e5", "by-local-part")
        self.rcpts["by-local-part"] = "By-Local-Part@local.test"
        self.access["protectedrcpt:protected-from"] = "from:<s@none.senders.test> from:<s@from-e5.senders.test>"
        self.access["protectedrcpt:protected-client@local.test"] = f"cltaddr:{self.clients[next(iter(self.clients))]} cltaddr:127.20.3"
        self.access["protectedrcpt:protected-bad"] = "from:<s@none.senders.test> for:<x@y>"
        self.access["to:protected-both@local.test"] = "quick:ok"
        self.access["protectedrcpt:protected-both@local.test"] = "from:<s@none.senders.test>"
        self.access["protectedrcpt:protected-list"] = "cltaddr:127.0.0.5 list:<members@local.test>"
        self.access["protectedrcpt:protected-beside"] = "list:members"
        for name in ("from", "client", "bad", "both", "list", "beside"):
            self.rcpts[f"protected-{name}"] = f"protected-{name}@local.test"
        self.rcpts["protected-detail"] = "protected-from+any@local.test"
        known = {r.rpartition("@")[0].lower() for r in self.rcpts.values()}
        self.aliases = {x: "local:" for x in known | {"s"}}
        self.members = ("s@none.senders.test", "s@from-e5.senders.test")
        self.aliases["members"] = " ".join(f"<{m}>" for m in self.members)
        # What is not among them does not exist, whatever the access map says.
        self.rcpts["unknown"] = "nobody@local.test"
        self.rcpts["unknown-quick"] = "quick.nobody@local.test"
        self.access["to:quick.nobody@local.test"] = "quick:relay"

    def world(self):
        return World(access={k.lower(): v for k, v in self.access.items()}, local=("local.test",), routed=("routed.test", "listed.test"),
                     relay_to=("listed.test",), resolve=lambda ip: self.names[ip], senders=self.mail_domains,
                     unknown=("nobody@local.test", "quick.nobody@local.test"), lists={"members@local.test": self.members, "members": self.members},
                     dnsbl=tuple(self.lists.items()), **self.settings)


SITES = {
    f"{'delayed' if delay else 'at-once'}-{name}": (connect, dict(delay_checks=delay, **more))
    for delay in (False, True)
    for name, connect, more in (
        ("all", "all", dict(allow_by=("sender", "client_ip"), match_type="generic_lookup")),
        ("no-implied-relay", "all", dict(lmtp_does_not_imply_relaying=True, allow_by=("sender",))),
        ("lists", "lists", {}),
        ("resolve-1", ("ok", "e5", "q-e4", "discard"), {}),
        ("resolve-2", ("cont", "q-ok", "e4", "q-reject"), {}),
        ("resolve-3", ("discard", "relay", "bad", "reject"), {}),
    )
}
FLAGS = {"delay_checks": "delay_checks", "lmtp_does_not_imply_relaying": "lmtp_does_not_imply_relaying",
         "greylisting_at_data": "delay_greylisting_error_until_DATA", "greylisting_keeps_session": "greylisting_keeps_session"}


@contextlib.contextmanager
def serve(table, settings, greylisting=False):
    dns = Dns()
    for name, records in table.zone.items():
        dns.add(name, *records)
    for names, word in ((table.servfail, "SERVFAIL"), (table.refused, "REFUSED")):
        for name in names:
            dns.rcode(name, word)
    flags = ["access"] + [f for x, f in FLAGS.items() if settings.get(x)] + ["greylisting"] * greylisting
    sets = {
        "smtps.flags": "{ " + ", ".join(flags) + " }",
        "smar.access_map.file": "../access",
        "smar.aliases.file": "../aliases",
        **{f"smtps.max_{x}": "100000" for x in (
            "bad_commands_per_session", "bad_commands_per_transaction", "invalid_addresses_per_session",
            "invalid_addresses_per_transaction", "nop_commands_between_transactions", "nop_commands_in_transaction", "transactions")},
    }
    if settings.get("allow_by"):
        sets["smtps.protected_recipients.allow_by"] = "{ " + ", ".join(settings["allow_by"]) + " }"
        sets["smtps.protected_recipients.match_type"] = settings.get("match_type", "exact")
    sink = Sink(lmtp=True)
    smtp = Sink()
    site = Site(routes=[f"local.test {sink.port}^lmtp:[127.0.0.1]", f"routed.test {smtp.port}^esmtp:[127.0.0.1]",
                        f"listed.test {smtp.port}^esmtp:[127.0.0.1]"],
                relay=["listed.test"], dns=dns.address, settings=sets)
    for name, entries in (("access", table.access), ("aliases", table.aliases)):
        with open(os.path.join(site.dir, name), "w") as f:
            f.writelines(f"{k} {v}\n" for k, v in entries.items())
    site.add("smar", "".join(f"\tdnsbl {{ domain = {tag}.lists.test; tag = {tag}; }}\n" for tag in table.lists))
    if greylisting:
        site.add("smar", GREYLISTING)
    try:
        with site:
            yield site, (sink, smtp)
    finally:
        for s in (sink, smtp):
            s.stop()
        dns.stop()


@pytest.fixture(scope="module", params=list(SITES))
def served(request):
    connect, settings = SITES[request.param]
    table = Table(connect, **settings)
    with serve(table, settings) as (site, sinks):
        yield table, site, sinks


def differs(got, want):
    if got.code != want.code or not got.text.startswith(want.text):
        return f"got {got}, the model says {want.code} {want.text}"
    return None


def connect(site, ip):
    return Client(site.port, source=ip, helo=None)


def say_ehlo(c):
    assert c.cmd("EHLO x.test").code == 250


def batch(c, lines):
    """Pipelined; replies as they come."""
    c.send("".join(x + "\r\n" for x in lines))
    return [c.reply() for _ in lines]


def test_replies(served):
    """Each client, each sender, each recipient: greeting, MAIL, and all RCPTs of a transaction at once."""
    table, site, _ = served
    wrong, count = [], 0
    for who, ip in table.clients.items():
        model = Session(table.world(), ip)
        want = model.connect()
        with connect(site, ip) as c:
            count += 1
            bad = differs(c.greeting, want)
            if bad:
                wrong.append(f"{who}: greeting: {bad}")
            if want.closes or bad:
                continue
            say_ehlo(c)
            for sender_name, sender in table.senders.items():
                want = model.mail(sender)
                got = c.cmd(f"MAIL FROM:<{sender}>")
                count += 1
                bad = differs(got, want)
                if bad:
                    wrong.append(f"{who}, {sender_name}: MAIL: {bad}")
                if got.code != 250:
                    continue
                if not bad:
                    # What decides for the whole transaction comes last.
                    rcpts = sorted(table.rcpts.items(), key=lambda x: "q-discard" in x[0])
                    for (name, rcpt), got in zip(rcpts, batch(c, [f"RCPT TO:<{r}>" for _, r in rcpts])):
                        count += 1
                        bad = differs(got, model.rcpt(rcpt))
                        if bad:
                            wrong.append(f"{who}, {sender_name}, {name}: RCPT: {bad}")
                assert c.cmd("RSET").code == 250
    assert not wrong, f"{len(wrong)} of {count} differ:\n" + "\n".join(wrong[:60])
    print(f"{count} decisions")


MIXES = (["none@local"], ["to-discard@local"], ["none@local", "to-discard@local"], ["none@local", "to-q-discard@local", "to-ok@local"],
         ["to-q-ok@local", "none@local"], ["to-relay@routed", "none@routed"])


def test_who_gets_it(served):
    """Mail that was accepted with 250 arrives at those whom the model names, and at nobody else."""
    table, site, sinks = served
    expected, number = {}, itertools.count()
    for who, ip in table.clients.items():
        model = Session(table.world(), ip)
        if model.connect().code != 220:
            continue
        with connect(site, ip) as c:
            say_ehlo(c)
            for sender in ("none", "from-discard", "from-e5", "null"):
                for mix in MIXES:
                    if model.mail(table.senders[sender]).code != 250:
                        continue
                    assert c.cmd(f"MAIL FROM:<{table.senders[sender]}>").code == 250
                    for name in mix:
                        got, want = c.cmd(f"RCPT TO:<{table.rcpts[name]}>"), model.rcpt(table.rcpts[name])
                        assert got.code == want.code, (who, sender, mix, name, got, want)
                    want = model.data()
                    if want.code != 354:
                        assert c.cmd("DATA").code == want.code
                        assert c.cmd("RSET").code == 250
                        continue
                    key = f"{who}/{sender}/{'+'.join(mix)}/{next(number)}"
                    assert c.cmd("DATA").code == 354
                    got = c.cmd(f"Subject: {key}\r\n\r\n.")
                    assert got.code == 250 and "Message accepted for delivery" in got.text, (key, got)
                    if model.delivered():
                        expected[key] = sorted(r.lower() for r in model.delivered())
    assert expected, "nothing to deliver"
    site.wait_empty()

    def arrived():
        out = {}
        for m in itertools.chain(*(s.accepted for s in sinks)):
            out.setdefault(m.subject(), []).extend(r.lower() for r in m.rcpts)
        return {k: sorted(v) for k, v in out.items()}
    until(lambda: len(arrived()) >= len(expected), "all mail arrives")
    assert arrived() == expected
    assert not site.content_files()


# ---- greylisting ----

GREYLISTING = "\tgreylisting { grey_wait = 1h; grey_expire = 1d; }\n"
GREY_SITES = {
    f"{'delayed' if delay else 'at-once'}-{name}": dict(delay_checks=delay, **more)
    for delay in (False, True)
    for name, more in (
        ("421", {}),
        ("450", dict(greylisting_keeps_session=True)),
        ("421-at-data", dict(greylisting_at_data=True)),
        ("450-at-data", dict(greylisting_at_data=True, greylisting_keeps_session=True)),
    )
}
GREY_SENDERS = ("null", "none", "from-discard", "from-e5", "from-q-e4")


class Visits:
    """Each client with each sender and each recipient, in as many sessions as the server makes of it."""

    def __init__(self, table, site, greylist):
        self.table, self.site = table, site
        self.world = table.world()
        self.world.greylist = greylist
        self.wrong, self.count = [], 0

    def is_as(self, got, want, *what):
        self.count += 1
        bad = differs(got, want)
        if bad:
            self.wrong.append(f"{', '.join(what)}: {bad}")
        return not bad

    def visit(self, who, senders=GREY_SENDERS, rcpts=None):
        left = [(s, r) for s in senders for r in rcpts or self.table.rcpts]
        while left:
            left = left[self._session(who, left):]

    def _session(self, who, left):
        """One session: how many it has done of them."""
        model = Session(self.world, self.table.clients[who])
        want = model.connect()
        with connect(self.site, self.table.clients[who]) as c:
            if not self.is_as(c.greeting, want, who, "greeting") or want.closes:
                return len(left)
            say_ehlo(c)
            for n, (sender, rcpt) in enumerate(left):
                said = f"MAIL FROM:<{self.table.senders[sender]}>", f"RCPT TO:<{self.table.rcpts[rcpt]}>"
                want = model.mail(self.table.senders[sender])
                if not self.is_as(c.cmd(said[0]), want, who, sender, "MAIL"):
                    return len(left)
                if want.code == 250:
                    want = model.rcpt(self.table.rcpts[rcpt])
                    if not self.is_as(c.cmd(said[1]), want, who, sender, rcpt, "RCPT"):
                        return n + 1
                    if want.code == 250:
                        want = model.data()
                        if not self.is_as(c.cmd("DATA"), want, who, sender, rcpt, "DATA"):
                            return n + 1
                        if want.code == 354:
                            self.is_as(c.cmd(f"Subject: {who}\r\n\r\n."), Reply(250), who, sender, rcpt, "the end of DATA")
                            continue
                if want.closes:
                    c.closes()
                    return n + 1
                if c.cmd("RSET").code != 250:
                    self.wrong.append(f"{who}, {sender}, {rcpt}: RSET")
                    return n + 1
        return len(left)


@pytest.mark.parametrize("name", GREY_SITES)
def test_greylisting(name):
    """Who was never here, who has come twice, and whom nobody asks to; nobody is written down who had no good recipient."""
    settings = GREY_SITES[name]
    table = Table("greylist", few=True, **settings)
    greylist = Greylist()
    with serve(table, settings, greylisting=True) as (site, _):
        visits = Visits(table, site, greylist)
        # First those who have nothing to be written down for.
        nothing = [r for r in table.rcpts if r.startswith(("unknown", "none@routed", "to-discard", "to-e5", "to-q-discard", "to-bad"))]
        for who in table.clients:
            visits.visit(who, ("none", "from-e5"), nothing)
        came = [who for who in table.clients if who != "resolve-ok"]
        for who in came:
            visits.visit(who)
        assert not visits.wrong, f"{len(visits.wrong)} of {visits.count} differ:\n" + "\n".join(visits.wrong[:60])
        # A second later all of them have waited long enough.
        with open(site.conf) as f:
            conf = f.read()
        with open(site.conf, "w") as f:
            f.write(conf.replace("grey_wait = 1h", "grey_wait = 1s"))
        site.reload()
        until(lambda: knock(site) == 354, "it need not wait so long any more", 60)
        greylist.wait_is_over()
        for who in table.clients:
            visits.visit(who, ("none",), ("none@local",))
        for who in came:
            visits.visit(who, ("none",))
        assert not visits.wrong, f"{len(visits.wrong)} of {visits.count} differ:\n" + "\n".join(visits.wrong[:60])
        # Who had nothing but bad recipients before has come for the first time now.
        assert table.clients["none"] in greylist.white and table.clients["resolve-ok"] not in greylist.white
        assert table.clients["cltaddr-ok"] not in greylist.came
    print(f"{visits.count} decisions")


def knock(site):
    """A client that is in no table: what it is told at last."""
    with Client(site.port, source="127.99.0.1") as c:
        assert c.mail("").code == 250
        r = c.rcpt("none@local.test")
        return c.cmd("DATA").code if r.code == 250 else r.code
