"""What the access map means, a second time: written from the manual's words, not from the programs, to compare the two.

A Session is told what a client does and says what the server has to answer. It knows no addresses, no DNS and no mail: the World does.
"""
import re
from dataclasses import dataclass, field


# ---- lookup orders ----

def domain_keys(domain, default=False):
    """sub2.sub1.tld: itself, .sub1.tld, .tld, and "." if the map wants it."""
    keys = [domain]
    if not domain.startswith("["):
        labels = domain.split(".")
        keys += ["." + ".".join(labels[i:]) for i in range(1, len(labels))]
    return keys + (["."] if default else [])


def ip_keys(ip):
    """A.B.C.D, A.B.C, A.B, A"""
    parts = ip.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def address_keys(address, localpart=False, implicit_detail=False, delimiter="+"):
    """1a to 1f for the domain and each of its parents, then 2 if the map wants it."""
    local, _, domain = address.lower().rpartition("@")
    user, found, detail = local.partition(delimiter)
    if not user:
        user, found, detail = local, "", ""

    def forms():
        if found:
            yield local
            if detail:
                yield user + delimiter + "+"
            yield user + delimiter + "*"
        yield user + "*"
        if not found or implicit_detail:
            yield user
    keys = []
    for d in domain_keys(domain):
        keys += [f"{f}@{d}" for f in forms()] + ["@" + d]
    if localpart:
        keys += list(forms())
    return keys


# ---- right hand sides ----

# Tags of lists in DNS are the operator's own: whatever is not one of these.
NO_RELAY_TAGS = ("from", "cltresolve", "mxbadip")


@dataclass
class Action:
    kind: str                # cont, ok, relay, error, discard
    quick: bool = False
    code: int = 0
    text: str = ""
    failed: bool = False     # the entry cannot be understood, or the map not be asked


FAILED = Action("error", code=451, text="4.3.0", failed=True)
CONT = Action("cont")


def parse(tag, value):
    m = re.fullmatch(r"\s*(quick:)?\s*(.*?)\s*", value, re.I | re.S)
    quick, what = bool(m.group(1)), m.group(2)
    if what.lower() in ("ok", "discard", "cont") or (what.lower() == "relay" and tag not in NO_RELAY_TAGS):
        return Action(what.lower(), quick)
    if what.lower() == "reject":
        return Action("error", quick, 550, "5.7.0 Rejected.")
    m = re.fullmatch(r"error:\s*(([45])[0-5]\d) (\2\.\d{1,3}\.\d{1,3} [ -~]+)", what, re.I)
    if m:
        return Action("error", quick, int(m.group(1)), m.group(3))
    return FAILED


# ---- the greylist ----

class Greylist:
    """unknown, greylisted, whitelisted; who waits for so long is a matter of wait_is_over()."""

    def __init__(self):
        self.came, self.waited, self.white = set(), set(), set()

    def wait_is_over(self):
        self.waited |= self.came

    def lets_in(self, client):
        if client in self.waited:
            self.white.add(client)
        self.came.add(client)
        return client in self.white


# ---- the world ----

@dataclass
class World:
    access: dict = field(default_factory=dict)      # "tag:key": value
    local: tuple = ()                               # domains with lmtp: in mailertable
    routed: tuple = ()                              # other domains in mailertable
    relay_to: tuple = ()                            # -T
    unknown: tuple = ()                             # addresses of local domains that do not exist
    resolve: object = lambda ip: ("no", "")   # -> (ok|no|tempptr|tempa, name)
    senders: dict = field(default_factory=dict)     # domain: list of IP addresses | "nxdomain" | "temp" | "null"
    lists: dict = field(default_factory=dict)       # alias: members
    dnsbl: tuple = ()                               # (tag, {client: list of IP addresses | "temp" | "perm"}), as declared
    greylist: Greylist = None                       # None: not in use
    greylisting_at_data: bool = False
    greylisting_keeps_session: bool = False
    delay_checks: bool = False
    lmtp_does_not_imply_relaying: bool = False
    allow_by: tuple = ()
    match_type: str = "exact"

    def find(self, tag, keys):
        for k in keys:
            value = self.access.get(f"{tag}:{k}".lower())
            if value is not None:
                return value
        return None

    def listed(self, client):
        """What the lists say: the first entry that is found, a list after the other."""
        for tag, clients in self.dnsbl:
            said = clients.get(client, [])
            if isinstance(said, str):
                keys = [said]
            elif all(ip.startswith("127.") and not ip.startswith("127.255.255.") for ip in said):
                keys = [k for ip in sorted(said, key=lambda x: [int(n) for n in x.split(".")]) for k in ip_keys(ip)]
            else:
                keys = []   # trouble of the list
            value = self.find(tag, keys)
            if value is not None:
                return parse(tag, value)
        return CONT

    def action(self, tag, keys):
        value = self.find(tag, keys)
        return CONT if value is None else parse(tag, value)


# ---- a session ----

@dataclass
class Reply:
    code: int
    text: str = ""      # how the answer begins behind the code; "": whatever it is
    closes: bool = False


OK = Reply(250)
NO_RELAY = Reply(550, "5.7.1 Relaying denied")


def refusal(a):
    return Reply(a.code, a.text, a.code == 421)


class Session:
    def __init__(self, world, client):
        self.w, self.client = world, client
        self.stored = None      # of connect, with delay_checks
        self.ok = self.relay = self.quick = self.discard = False

    def _apply(self, action, keep):
        """True: said at once. Otherwise kept for RCPT."""
        if action.kind != "error":
            return False
        if self.w.delay_checks and not action.quick:
            keep(action)
            return False
        return True

    def connect(self):
        w = self.w
        resolve, name = w.resolve(self.client)
        a = w.action("cltaddr", ip_keys(self.client))
        if a.kind == "cont":
            a = w.action("cltresolve", [resolve])
        if a.kind == "cont" and name:
            a = w.action("cltname", domain_keys(name))
        if a.kind == "cont":
            a = w.listed(self.client)
        if self._apply(a, lambda x: setattr(self, "stored", x)):
            # A greeting knows only two refusals (RFC 5321 4.3.2).
            return Reply(554 if a.code >= 500 else 421, a.text, True)
        self.ok, self.relay, self.discard = a.kind == "ok", a.kind == "relay", a.kind == "discard"
        self.quick = a.quick and (self.ok or self.relay)
        return Reply(220)

    def mail(self, sender):
        self.mail_stored, self.ta_discard, self.kept, self.gone = None, False, [], []
        self.greylisted = False
        self.sender = sender
        if sender == "" or self.quick or self.discard:
            return OK
        a = self._check_mail(sender)
        if self._apply(a, lambda x: setattr(self, "mail_stored", x)):
            return refusal(a)
        self.ta_discard = a.kind == "discard"
        return OK

    def _check_mail(self, sender):
        w = self.w
        domain = sender.rpartition("@")[2].lower()
        addresses = []
        if domain not in w.local and domain not in w.routed:
            addresses = w.senders.get(domain, "nxdomain")
            if addresses == "nxdomain":
                return Action("error", code=553, text="5.1.8")
            if addresses == "temp":
                return Action("error", code=451, text="4.1.8")
            if addresses == "null":
                return Action("error", code=550, text="5.7.27")
        if domain in w.local and sender.lower() in w.unknown:
            return Action("error", code=550, text="5.1.1")
        a = w.action("from", address_keys(sender, localpart=True))
        for ip in addresses:
            if a.kind == "cont":
                a = w.action("mxbadip", ip_keys(ip))
        return a

    def rcpt(self, rcpt):
        w = self.w
        stored = self.stored or self.mail_stored
        if (self.discard or self.ta_discard) and not self.stored:
            self.gone.append(rcpt)
            return OK
        a, answer = self._check_rcpt(rcpt)
        if answer is not None and 400 <= answer.code < 500:
            return answer
        if stored and not (a.quick and a.kind in ("ok", "relay")):
            return refusal(stored)
        if answer is not None:
            return answer
        if a.kind != "discard" and self._is_greylisted():
            if not w.greylisting_at_data:
                return self._grey()
            self.greylisted = True
        if a.kind == "discard":
            self.gone.append(rcpt)
            self.ta_discard = self.ta_discard or a.quick
        else:
            (self.gone if self.ta_discard else self.kept).append(rcpt)
        return OK

    def _is_greylisted(self):
        """After everything else, and not who vanishes: nothing of that comes in."""
        if self.w.greylist is None or self.ok or self.relay:
            return False
        return not self.w.greylist.lets_in(self.client)

    def _grey(self):
        return Reply(450, "4.7.1", False) if self.w.greylisting_keeps_session else Reply(421, "4.7.1", True)

    def data(self):
        """What DATA is answered."""
        if not self.kept and not self.gone:
            return Reply(503)
        return self._grey() if self.greylisted else Reply(354)

    def _check_rcpt(self, rcpt):
        """The entry of the recipient, and the refusal or None."""
        w = self.w
        domain = rcpt.rpartition("@")[2].lower()
        local = domain in w.local
        allowed = (local and not w.lmtp_does_not_imply_relaying) or self.relay or domain in w.relay_to
        a = CONT
        if not (self.quick and (self.relay or allowed)):
            a = w.action("to", address_keys(rcpt, localpart=True))
        if not allowed and a.kind != "relay":
            return a, refusal(a) if a.failed else NO_RELAY
        if local and rcpt.lower() in w.unknown:
            return a, Reply(550, "5.1.1")
        p = self._protected(rcpt)
        if p is not None:
            return a, p
        return a, refusal(a) if a.kind == "error" else None

    def _protected(self, rcpt):
        w = self.w
        # A detail does not open the door.
        value = w.find("protectedrcpt", address_keys(rcpt, localpart=True, implicit_detail=True)) if w.allow_by else None
        if value is None:
            return None
        restrictions = value.split()
        if not restrictions or not all(re.match(r"(from|list|cltaddr):\S", r, re.I) for r in restrictions):
            return refusal(FAILED)
        return None if any(self._meets(r) for r in restrictions) else Reply(550, "5.7.1")

    def _meets(self, restriction):
        w = self.w
        kind, _, what = restriction.partition(":")
        what = what.strip("<>").lower()
        if kind.lower() == "cltaddr":
            keys = [self.client] if w.match_type == "exact" else ip_keys(self.client)
            return "client_ip" in w.allow_by and what in keys
        if "sender" not in w.allow_by or not self.sender:
            return False
        if w.match_type == "exact":
            keys = [self.sender.lower()]
        else:
            keys = address_keys(self.sender, implicit_detail=w.match_type == "implicitly_match_detail")
        wanted = [what] if kind.lower() == "from" else [m.lower() for m in w.lists.get(what, ())]
        return any(x in keys for x in wanted)

    def delivered(self):
        """Who gets the mail when it is sent now."""
        return [] if self.discard or self.ta_discard else list(self.kept)
