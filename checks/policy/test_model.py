"""The model against the manual's own examples: what it is compared with must not be its author's fancy."""
from policy.model import Session, World, address_keys, domain_keys, ip_keys, parse


def test_lookup_orders():
    assert domain_keys("sub2.sub1.tld", True) == ["sub2.sub1.tld", ".sub1.tld", ".tld", "."]
    assert ip_keys("1.2.3.4") == ["1.2.3.4", "1.2.3", "1.2", "1"]
    assert address_keys("user+detail@tld", True) == [
        "user+detail@tld", "user++@tld", "user+*@tld", "user*@tld", "@tld", "user+detail", "user++", "user+*", "user*"]
    assert address_keys("user@a.tld") == ["user*@a.tld", "user@a.tld", "@a.tld", "user*@.tld", "user@.tld", "@.tld"]


def test_values():
    a = parse("cltresolve", "error:451 4.7.1 reverse lookup failed")
    assert (a.kind, a.quick, a.code, a.text) == ("error", False, 451, "4.7.1 reverse lookup failed")
    assert parse("cltaddr", "quick:relay").quick
    assert parse("from", "relay").failed and parse("to", "error:550 4.7.1 x").failed and parse("to", "nonsense").failed


EXAMPLE = {
    "from:@spammer.domain": "error:551 5.7.1 No spammers",
    "from:@.spammer.domain": "error:551 5.7.1 No spammers in subdomains either",
    "to:root": "error:551 5.7.1 No mail to root",
    "to:abuse": "quick:ok",
    "to:@primary.domain": "relay",
    "cltaddr:10": "relay",
    "cltaddr:127.0.0.1": "quick:relay",
}


def session(client, **settings):
    domains = {"spammer.domain": ["192.0.2.1"], "a.spammer.domain": ["192.0.2.1"], "good.domain": ["192.0.2.1"]}
    s = Session(World(access=EXAMPLE, local=("my.domain",), senders=domains, **settings), client)
    assert s.connect().code == 220
    return s


def test_example():
    s = session("192.0.2.7")
    assert s.mail("x@spammer.domain").text == "5.7.1 No spammers"
    assert s.mail("x@a.spammer.domain").text == "5.7.1 No spammers in subdomains either"
    assert s.mail("x@good.domain").code == 250
    assert s.rcpt("root@my.domain").text == "5.7.1 No mail to root"
    assert s.rcpt("user@my.domain").code == 250
    assert s.rcpt("user@primary.domain").code == 250
    assert s.rcpt("user@elsewhere.domain").code == 550
    assert session("10.1.2.3").mail("x@spammer.domain").code == 551
    s = session("127.0.0.1")
    assert s.mail("x@spammer.domain").code == 250
    assert s.rcpt("user@elsewhere.domain").code == 250 and s.rcpt("root@my.domain").code == 250


def test_delayed_example():
    s = session("192.0.2.7", delay_checks=True)
    assert s.mail("x@spammer.domain").code == 250
    assert s.rcpt("user@my.domain").text == "5.7.1 No spammers"
    assert s.rcpt("abuse@my.domain").code == 250
    assert s.delivered() == ["abuse@my.domain"]


def test_protected_example():
    access = {"protectedrcpt:list1@local.dom": "list:<list1@local.dom>",
              "protectedrcpt:list3": "from:<moderator3@local.dom> cltaddr:1.2.3.4 cltaddr:10"}
    lists = {"list1@local.dom": ("user1-1@l1-1.dom", "user2-1@l1-1.dom", "list2@local.dom")}

    def try_it(client, sender, rcpt, **settings):
        s = Session(World(access=access, local=("local.dom",), routed=("l1-1.dom", "l2-1.dom"), lists=lists, allow_by=("sender", "client_ip"),
                          **settings), client)
        assert s.connect().code == 220 and s.mail(sender).code == 250
        return s.rcpt(rcpt).code
    assert try_it("192.0.2.1", "user1-1@l1-1.dom", "list1@local.dom") == 250
    assert try_it("192.0.2.1", "user1-2@l2-1.dom", "list1@local.dom") == 550
    assert try_it("192.0.2.1", "moderator3@local.dom", "list3@local.dom") == 250
    assert try_it("1.2.3.4", "other@local.dom", "list3@local.dom") == 250
    assert try_it("10.9.8.7", "other@local.dom", "list3@local.dom") == 550
    assert try_it("10.9.8.7", "other@local.dom", "list3@local.dom", match_type="generic_lookup") == 250
    assert try_it("192.0.2.1", "user1-1+x@l1-1.dom", "list1@local.dom", match_type="generic_lookup") == 550
    assert try_it("192.0.2.1", "user1-1+x@l1-1.dom", "list1@local.dom", match_type="implicitly_match_detail") == 250
