"""The decision table: every tag with every right hand side at every stage, with and without delay_checks, through smtps and smar by SMTP,
compared with the model.

A site has one access map with all cases, told apart by addresses: client 127.x.y.z for the connection, a domain each for MAIL, an address
each for RCPT. cltresolve: has four keys only, so each of its right hand sides needs a site in which nothing else speaks at connect.
"""
import itertools
import os

import pytest
from lib.client import Client, Closed
from lib.dns import A, PTR, Dns, MX
from lib.paths import free_port
from lib.sink import Sink
from lib.site import Site
from lib.wait import until
from policy.model import Session, World

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

    def __init__(self, resolves=None, **settings):
        self.access, self.zone, self.servfail, self.names = {}, {}, set(), {}
        self.clients, self.senders, self.rcpts, self.mail_domains = {}, {}, {}, {}
        self.settings = settings
        self.access["cltaddr:127.0.0.1"] = "quick:relay"  # who looks whether the site is up
        if resolves is None:
            self._clients()
        else:
            self._resolves(resolves)
        self._senders(full=resolves is None)
        self._rcpts()

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
    def _rcpts(self):
        for domain in ("local", "routed", "listed"):
            self.rcpts[f"none@{domain}"] = f"none@{domain}.test"
            for n, r in enumerate(RIGHT):
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
                     **self.settings)


SITES = {
    f"{'delayed' if delay else 'at-once'}-{name}": (resolves, dict(delay_checks=delay, **more))
    for delay in (False, True)
    for name, resolves, more in (
        ("all", None, dict(allow_by=("sender", "client_ip"), match_type="generic_lookup")),
        ("no-implied-relay", None, dict(lmtp_does_not_imply_relaying=True, allow_by=("sender",))),
        ("resolve-1", ("ok", "e5", "q-e4", "discard"), {}),
        ("resolve-2", ("cont", "q-ok", "e4", "q-reject"), {}),
        ("resolve-3", ("discard", "relay", "bad", "reject"), {}),
    )
}


@pytest.fixture(scope="module", params=list(SITES))
def served(request):
    resolves, settings = SITES[request.param]
    table = Table(resolves, **settings)
    dns = Dns()
    for name, records in table.zone.items():
        dns.add(name, *records)
    for name in table.servfail:
        dns.rcode(name, "SERVFAIL")
    flags = ["access"] + [f for f in ("delay_checks", "lmtp_does_not_imply_relaying") if settings.get(f)]
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
    with site:
        yield table, site, (sink, smtp)
    for s in (sink, smtp):
        s.stop()
    dns.stop()


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
                    if not model.may_send_data():
                        assert c.cmd("DATA").code == 503
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
