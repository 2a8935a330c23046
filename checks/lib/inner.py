"""A server that knows its users, behind a site that asks it for them: what the site says, and what it remembers."""
import json

from .sink import Serve, Sink

USERS = {b"user1", b"user2", b"postmaster"}
OK, UNKNOWN, LATER = b"250 2.1.5 fine\r\n", b"550 5.1.1 nobody of that name\r\n", b"450 4.2.0 not now\r\n"
REFUSED = "550 5.1.1 Recipient is unknown at its server, which said: 550 5.1.1 nobody of that name"
NOT_NOW = "450 4.4.3 Recipient cannot be verified now, try again later"


class Inner(Sink):
    """A server that knows its users. `answer`: to RCPT, in place of that."""

    def __init__(self, port=0, users=USERS, **kw):
        self.users, self.answer = set(users), None
        super().__init__(port, scripts=[[Serve({"RCPT": self.rcpt})]], **kw)

    def rcpt(self, line):
        if self.answer:
            return self.answer(line)
        return OK if local_part(line) in self.users else UNKNOWN

    def said(self, verb=b"RCPT"):
        return [line for _, line in self.commands if line.upper().startswith(verb)]


def local_part(line):
    return line.partition(b"<")[2].partition(b"@")[0]


def ask(site, *rcpts, sender="s@src.test"):
    """The reply to each RCPT; the one to MAIL when that is refused, as it is while qmgr begins anew."""
    with site.client() as c:
        r = c.mail(sender)
        return [str(c.rcpt(x)) for x in rcpts] if r.code == 250 else [str(r)]


def figures(site):
    return json.loads(site.qmgrctl("--json", "status").splitlines()[0])
