"""Black and white lists in DNS, by SMTP: the manual's example, several lists, failures, a list that answers with its own trouble."""
import os

import pytest
from lib.client import Client
from lib.dns import A, Dns
from lib.site import Site
from lib.wait import until

ACCESS = """\
cltaddr:127.0.0.1 quick:relay
cltaddr:127.0.1.9 ok
dnsbltld:127.0.0.1  error:550 5.7.1 listed at dnsbl.tld as open relay
dnsbltld:127.0.0.2  error:550 5.7.1 listed at dnsbl.tld as spam source
dnsbltld:127.0.0.9  error:451 4.7.1 listed at dnsbl.tld as suspicious
dnsbltld:temp       error:451 4.7.1 temporary lookup failure at dnsbl.tld
dnsbltld:perm       error:550 5.7.1 permanent lookup failure at dnsbl.tld
second:127.0.0.2    discard
white:127.0.10.3    ok
white:127.0.10.4    relay
dnsbltld:127.255.255.254 error:550 5.7.1 never said
"""
LISTS = """
	dnsbl { domain = white.tld; tag = white; }
	dnsbl { domain = dnsbl.tld; tag = dnsbltld; }
	dnsbl { domain = second.tld; tag = second; }
"""
# client: what the lists say, and what the client is told
CLIENTS = {
    "127.0.1.1": ({}, 220, ""),
    "127.0.1.2": ({"dnsbl.tld": ["127.0.0.1"]}, 554, "5.7.1 listed at dnsbl.tld as open relay"),
    "127.0.1.3": ({"dnsbl.tld": ["127.0.0.2"]}, 554, "5.7.1 listed at dnsbl.tld as spam source"),
    "127.0.1.4": ({"dnsbl.tld": ["127.0.0.9"]}, 421, "4.7.1 listed at dnsbl.tld as suspicious"),
    "127.0.1.5": ({"dnsbl.tld": "SERVFAIL"}, 421, "4.7.1 temporary lookup failure at dnsbl.tld"),
    "127.0.1.6": ({"dnsbl.tld": "REFUSED"}, 554, "5.7.1 permanent lookup failure at dnsbl.tld"),
    "127.0.1.7": ({"dnsbl.tld": ["127.0.0.77"]}, 220, ""),
    "127.0.1.8": ({"dnsbl.tld": ["127.255.255.254"]}, 220, ""),
    "127.0.1.9": ({"dnsbl.tld": ["127.0.0.2"]}, 220, ""),  # its address is "ok" before
    "127.0.1.10": ({"dnsbl.tld": ["127.0.0.2"], "white.tld": ["127.0.10.3"]}, 220, ""),
    "127.0.1.11": ({"dnsbl.tld": ["127.0.0.9", "127.0.0.1"]}, 554, "5.7.1 listed at dnsbl.tld as open relay"),
    "127.0.1.12": ({"dnsbl.tld": ["127.0.0.2", "203.0.113.9"]}, 220, ""),
    "127.0.1.13": ({"second.tld": ["127.0.0.2"], "dnsbl.tld": ["127.0.0.2"]}, 554, "5.7.1 listed at dnsbl.tld as spam source"),
    "127.0.1.14": ({"white.tld": ["127.0.10.4"]}, 220, ""),
    "127.0.1.15": ({"second.tld": "SERVFAIL", "white.tld": "REFUSED"}, 220, ""),
}


def under(ip, domain):
    return ".".join(reversed(ip.split("."))) + "." + domain


@pytest.fixture(scope="module")
def site():
    dns = Dns()
    for ip, (lists, _, _) in CLIENTS.items():
        for domain, said in lists.items():
            if isinstance(said, str):
                dns.rcode(under(ip, domain), said)
            else:
                dns.add(under(ip, domain), *map(A, said))
    # dnsbl.tld works as RFC 5782 5 says; white.tld lists everything, second.tld nothing.
    dns.add(under("127.0.0.2", "dnsbl.tld"), A("127.0.0.2"))
    dns.add(under("127.0.0.1", "white.tld"), A("127.0.10.3"))
    dns.add(under("127.0.0.2", "white.tld"), A("127.0.10.3"))
    s = Site(routes=["local.test lmtp:", "away.test [127.0.0.98]"], dns=dns.address,
             settings={"smtps.flags": "{ access }", "smar.access_map.file": "../access", "smar.DNS_timeout": "3s"})
    with open(os.path.join(s.dir, "access"), "w") as f:
        f.write(ACCESS)
    s.add("smar", LISTS)
    s.dns = dns
    with s:
        yield s
    dns.stop()


@pytest.mark.parametrize("ip", CLIENTS)
def test_greeting(site, ip):
    _, code, text = CLIENTS[ip]
    with Client(site.port, source=ip, helo=None) as c:
        assert c.greeting.code == code, c.greeting
        assert text in c.greeting.text
        if ip == "127.0.1.14":  # a list that is believed may even say who may relay
            c.ehlo("x.test")
            assert c.mail("").code == 250 and c.rcpt("u@away.test").code == 250
        elif code == 220:
            c.ehlo("x.test")
            assert c.mail("").code == 250 and c.rcpt("u@away.test").code == 550


def test_trouble_is_told(site):
    """What a list says of itself is one line, not a listing; and each list is tried at the start."""
    with Client(site.port, source="127.0.1.8", helo=None) as c:
        assert c.greeting.code == 220
    lines = site.log_lines("smar", "ar.dnsbl")
    alarms = [x for x in lines if "ERROR ar.dnsbl" in x]
    assert len(alarms) == 1 and "list=dnsbl.tld" in alarms[0], alarms
    until(lambda: len([x for x in site.log_lines("smar", "ar.dnsbl") if "WARN ar.dnsbl" in x]) >= 2, "the lists are tried", 60)
    warnings = [x for x in site.log_lines("smar", "ar.dnsbl") if "WARN ar.dnsbl" in x]
    assert any("list=white.tld" in x and "every address" in x for x in warnings)
    assert any("list=second.tld" in x and "127.0.0.2 is not listed" in x for x in warnings)
    assert not any("list=dnsbl.tld" in x for x in warnings)


def test_all_are_asked(site):
    """Also the lists behind one that decides: they are asked together."""
    asked = {name for name, _, _ in site.dns.asked}
    assert {under("127.0.1.3", d) for d in ("white.tld", "dnsbl.tld", "second.tld")} <= asked
    # The address has decided: no list hears of it.
    assert not {under("127.0.1.9", d) for d in ("white.tld", "dnsbl.tld", "second.tld")} & asked
