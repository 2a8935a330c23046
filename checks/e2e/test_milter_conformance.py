"""The same filter, told the same, behind smtps and behind Postfix: what it is told, what clients hear, and what leaves."""
import os
import re

import pytest
from lib.client import Client, message
from lib.debian import Unavailable
from lib.postfix import Postfix
from lib.sink import Sink
from lib.site import Site
from lib.testfilter import TestFilter, available, fields

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not available(), reason="libmilter was not there at configure"),
              pytest.mark.skipif(os.getuid() != 0, reason="Postfix needs root")]

EVENTS = ("connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom")
# Where each server has its own words: names of hosts and daemons, ids, ports, how mail goes on.
OWN = {"j", "v", "i", "_", "{daemon_name}", "{daemon_addr}", "{daemon_port}", "{if_name}", "{client_name}", "{client_ptr}", "{client_resolve}",
       "{client_port}", "{mail_mailer}", "{rcpt_mailer}", "{mail_host}", "{rcpt_host}"}
ASKED = "{client_addr} {client_port} {client_name} {client_ptr} i {mail_addr} {mail_host} {mail_mailer} {rcpt_addr} {rcpt_host} {rcpt_mailer} {nrcpts} {auth_type}"


class End:
    """A server with a filter of its own, and the sink behind it."""

    def __init__(self, port, sink, filter_):
        self.port, self.sink, self.filter = port, sink, filter_

    def client(self):
        return Client(self.port)

    def dialogue(self, sender, rcpts, content, before):
        """Codes and texts, up to the first no at each stage."""
        heard = []
        with Client(self.port, helo=None, greet=False) as c:
            def said(r, text=False):
                heard.append((r.code, r.text if text else r.enhanced))
                return r.code < 400
            if not said(c.reply()) or not said(c.cmd("EHLO client.test")):
                return heard
            heard[:] = []
            for line in before:
                said(c.cmd(line))
            if said(c.mail(sender)):
                if [said(c.rcpt(r)) for r in rcpts].count(True) and c.cmd("DATA").code == 354:
                    r = c.finish(content)
                    heard.append((r.code, r.enhanced, r.lines if r.code >= 400 else None))
                elif c.replies[-1].code >= 400:
                    r = c.replies[-1]
                    heard.append((r.code, r.enhanced, r.lines))
            c.cmd("QUIT")
        return heard


@pytest.fixture(scope="module")
def ends(dns):
    with Sink() as ours, Sink() as theirs, TestFilter() as f, TestFilter() as g:
        with Site(routes=[f". {ours.port}^esmtp:[127.0.0.1]"], relay=["local.test", "more.test"], dns=dns.address) as site:
            site.add("smtps", f.section("conformance"))
            site.stop()
            site.start()
            try:
                postfix = Postfix({"*": theirs.port}, [f"smtpd_milters = inet:127.0.0.1:{g.port}", "milter_default_action = tempfail",
                                                       "milter_protocol = 6", "message_size_limit = 30000000"])
            except Unavailable as e:
                pytest.skip(str(e))
            with postfix:
                yield End(site.port, ours, f), End(postfix.port, theirs, g)


class Outcome:
    """What one server made of a mail."""

    def __init__(self, end, name, orders, sender, rcpts, content, before, arrives):
        end.filter.orders(*orders)
        last = end.filter.last()
        self.heard = end.dialogue(sender, rcpts, content, before)
        self.session = end.filter.ended(last)
        end.filter.orders()
        self.left = []
        if arrives:
            got = end.sink.wait(lambda m: name.encode() in m.content, arrives)
            self.left = sorted({(m.sender, r) for m in got for r in m.rcpts})  # Postfix delivers twice what a filter adds again
            self.fields, self.body = fields(got[0].content), got[0].content.partition(b"\r\n\r\n")[2]
        self.did = self.session.did


HEADER = b"To: one\r\nX-A: 1\r\nX-A: 2\r\nX-A: 3\r\nX-B: folded\r\n\tvalue\r\nX-C:no space\r\nX-D:  two\r\n"


def play(ends, name, *orders, rcpts=("b@local.test",), content=None, before=(), arrives=1):
    """Both, and what must be the same of both."""
    content = content if content is not None else message(name, headers=HEADER)
    both = [Outcome(end, name, orders, f"{name}@src.test", rcpts, content, before, arrives) for end in ends]
    us, them = both
    assert us.heard == them.heard
    assert us.did == them.did
    if arrives:
        assert us.left == them.left
        assert us.fields == them.fields
        assert us.body == them.body
    return us, them


def check_told(us, them):
    assert us.session.mail() == them.session.mail()


@pytest.fixture
def name(request):
    """For the subject and the sender."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:50].strip("-").lower()


# ---- what it is told ----

CONTENT = {
    "plain": b"text\r\n",
    "long": b"0123456789abcdef\r\n" * 10000,
    "dots": b".\r\n..\r\n.x\r\n",
    "none": b"",
    "blank-lines": b"\r\n\r\nx\r\n\r\n",
}


@pytest.mark.parametrize("body", CONTENT)
def test_told(ends, name, body):
    us, them = play(ends, name, content=message(name, CONTENT[body].replace(b"\r\n.", b"\r\n..") if body == "dots" else CONTENT[body], headers=HEADER))
    check_told(us, them)


def test_nul_in_a_header(ends, name):
    """A value is told up to it. What leaves differs: Postfix cuts the field as well."""
    content = message(name, headers=b"X-A: 1\0 2\0\r\nX-B: 3\r\n")
    us, them = (Outcome(end, name, (), f"{name}@src.test", ["b@local.test"], content, (), 1) for end in ends)
    check_told(us, them)
    assert us.session.of("header")[-2:] == [("X-A", "1"), ("X-B", "3")]


@pytest.mark.parametrize("field,told", [
    (b"X-A: " + b"a" * 65530, ("X-A", 65530)), (b"X-A: " + b"a" * 65531, ("X-A", 65530)), (b"X-A: " + b"a" * 200000, ("X-A", 65530)),
    (b"X" * 70000 + b": a", ("X" * 65533, 0))], ids=["fits", "one-more", "many-more", "name"])
def test_long_field(ends, name, field, told):
    """libmilter takes no packet beyond 65,535 bytes: it would end the session, and a client be rid of the filter. Only ours: behind Postfix it does."""
    us = Outcome(ends[0], name, (), f"{name}@src.test", ["b@local.test"], message(name, headers=field + b"\r\nX-B: 3\r\n"), (), 1)
    assert [(n, len(value)) for n, value in us.session.of("header")][-2:] == [told, ("X-B", 1)]


def test_told_of_parameters(ends, name):
    us, them = play(ends, name, rcpts=("b@local.test", "c@more.test", '"q q"@local.test'), before=["NOOP"])
    check_told(us, them)


def test_told_with_leading_space(ends, name):
    us, them = play(ends, name, ("negotiate", "steps", "100000"), ("eom", "addheader", "X-New", " spaced"), ("eom", "addheader", "X-New", "not"))
    check_told(us, them)


@pytest.mark.parametrize("steps", [0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x200, 0x37f])
def test_told_what_it_wants(ends, name, steps):
    us, them = play(ends, name, ("negotiate", "steps", f"{steps:x}"))
    check_told(us, them)


def test_unknown_command(ends, name):
    us, them = play(ends, name, ("unknown", "reply", "502", "5.5.1", "never heard"), before=["BLURB x y"])
    assert us.session.of("unknown") == [("BLURB x y",)] and them.session.of("unknown") == [("BLURB",)]  # sendmail tells the line, too


def test_macros(ends, name):
    us, them = play(ends, name, *(("negotiate", "symlist", i, ASKED) for i in range(6)), rcpts=("b@local.test", "c@more.test"))
    for event in EVENTS:
        ours, theirs = us.session.macros.get(event, {}), them.session.macros.get(event, {})
        for macro in ours.keys() & theirs.keys() - OWN - ({"{rcpt_addr}"} if event != "rcpt" else set()):
            assert ours[macro] == theirs[macro], (event, macro)
        assert theirs.keys() - ours.keys() <= {"{client_name}", "{client_ptr}"}, event


# ---- what it says ----

SAID = {
    "reject": [("reject",)],
    "tempfail": [("tempfail",)],
    "reply": [("reply", "554", "5.6.9", "I say 100%% no")],
    "later": [("reply", "452", "4.5.1", "one line")],
    "lines": [("reply", "550", "5.7.0", "one", "two", "three")],
}
# Without a code of the filter's, each server has its own enhanced code and text.
GENERAL = ("reject", "tempfail")


def codes(heard):
    return [h[0] for h in heard]


@pytest.mark.parametrize("event", [e for e in EVENTS if e not in ("connect", "helo")])
@pytest.mark.parametrize("said", SAID)
def test_no(ends, name, event, said):
    both = [Outcome(end, name, [(event, *SAID[said][0])], f"{name}@src.test", ["b@local.test"], message(name, headers=HEADER), (), 0) for end in ends]
    us, them = both
    if said in GENERAL:
        assert codes(us.heard) == codes(them.heard)
    else:
        assert us.heard == them.heard
    assert us.did == them.did
    check_told(us, them)
    assert not any(end.sink.find(lambda m: name.encode() in m.content) for end in ends)


def test_one_recipient_of_several(ends, name):
    us, them = play(ends, name, ("rcpt=<c@local.test>", "reply", "550", "5.1.1", "not this one"),
                    rcpts=("b@local.test", "c@local.test", "d@local.test"))
    check_told(us, them)
    assert us.left == [(f"{name}@src.test", "b@local.test"), (f"{name}@src.test", "d@local.test")]


@pytest.mark.parametrize("event", ["mail", "data", "header", "eoh", "body", "eom"])
def test_discard(ends, name, event):
    us, them = play(ends, name, (event, "discard"), arrives=0)
    assert not any(end.sink.find(lambda m: name.encode() in m.content) for end in ends)


@pytest.mark.parametrize("event", ["mail", "rcpt", "data", "header", "eoh", "body", "eom"])
def test_accept(ends, name, event):
    us, them = play(ends, name, (event, "accept"), ("eom", "addheader", "X-Never", "unless at eom"))
    check_told(us, them)


def test_skip(ends, name):
    us, them = play(ends, name, ("body", "skip"), content=message(name, CONTENT["long"]))
    assert len(us.session.of("body")) == len(them.session.of("body")) == 1


# ---- what it changes ----

CHANGES = {
    "add": [("addheader", "X-New", "value"), ("addheader", "X-New", "again")],
    "add-empty": [("addheader", "X-New", "")],
    "add-folded": [("addheader", "X-New", "one\n\ttwo\n three")],
    "add-long": [("addheader", "X-New", "x" * 900)],
    "insert-0": [("insheader", 0, "X-New", "first of all")],
    "insert-1": [("insheader", 1, "X-New", "behind our own")],
    "insert-2": [("insheader", 2, "X-New", "behind the first")],
    "insert-5": [("insheader", 5, "X-New", "in the midst")],
    "insert-100": [("insheader", 100, "X-New", "at the end")],
    "insert-two": [("insheader", 1, "X-New", "a"), ("insheader", 1, "X-New", "b")],
    "change-1": [("chgheader", 1, "X-A", "changed")],
    "change-2": [("chgheader", 2, "x-a", "changed")],
    "change-9": [("chgheader", 9, "X-A", "a fourth")],
    "change-none": [("chgheader", 1, "X-New", "not there")],
    "change-folded": [("chgheader", 1, "X-B", "new\n\tlines")],
    "change-subject": [("chgheader", 1, "Subject", "[spam] @")],
    "delete-1": [("chgheader", 1, "X-A")],
    "delete-2": [("chgheader", 2, "X-A")],
    "delete-none": [("chgheader", 1, "X-New")],
    "delete-9": [("chgheader", 9, "X-A")],
    "delete-twice": [("chgheader", 1, "X-A"), ("chgheader", 1, "X-A")],
    "delete-down": [("chgheader", 3, "X-A"), ("chgheader", 2, "X-A"), ("chgheader", 1, "X-A")],
    "add-change": [("addheader", "X-New", "a"), ("chgheader", 1, "X-New", "b")],
    "add-delete": [("addheader", "X-New", "a"), ("chgheader", 1, "X-New")],
    "insert-change": [("insheader", 1, "X-A", "0"), ("chgheader", 1, "X-A", "b")],
    "delete-insert": [("chgheader", 1, "To"), ("insheader", 2, "To", "another")],
    "body": [("body", "new\r\ntext\r\n")],
    "body-lf": [("body", "new\ntext\n")],
    "body-dots": [("body", ".\r\n..\r\n.x\r\n")],
    "body-parts": [("body", "one\r\nt"), ("body", "wo\r"), ("body", "\nthree\r\n")],
    "body-no-end": [("body", "no line end")],
    "body-long": [("body", "0123456789abcde\r\n" * 8000)],
    "add-rcpt": [("addrcpt", "new@more.test")],
    "add-rcpt-brackets": [("addrcpt", "<new@more.test>")],
    "add-rcpt-there": [("addrcpt", "c@local.test")],
    "add-rcpt-par": [("addrcpt", "new@more.test", "NOTIFY=NEVER")],
    "delete-rcpt": [("delrcpt", "c@local.test")],
    "delete-rcpt-brackets": [("delrcpt", "<c@local.test>")],
    "delete-rcpt-none": [("delrcpt", "x@local.test")],
    "delete-add-rcpt": [("delrcpt", "c@local.test"), ("addrcpt", "c@local.test")],
    "add-delete-rcpt": [("addrcpt", "new@more.test"), ("delrcpt", "new@more.test")],
    "sender": [("chgfrom", "new@src.test")],
    "sender-brackets": [("chgfrom", "<new@src.test>")],
    "sender-none": [("chgfrom", "<>")],
    "sender-par": [("chgfrom", "new@src.test", "ENVID=x")],
    "progress": [("progress",), ("addheader", "X-New", "a"), ("progress",)],
    "all": [("chgheader", 1, "X-A"), ("body", "new\r\n"), ("addheader", "X-New", "v"), ("addrcpt", "new@more.test"), ("delrcpt", "b@local.test"),
            ("chgfrom", "new@src.test"), ("insheader", 1, "X-Top", "t")],
}


@pytest.mark.parametrize("change", CHANGES)
def test_change(ends, name, change):
    orders = [tuple(w.replace("@", name) if w == "[spam] @" else w for w in ("eom", *map(str, c))) for c in CHANGES[change]]
    rcpts = ("b@local.test", "c@local.test")
    us, them = play(ends, name, *orders, rcpts=rcpts, content=message("x-" + name, headers=HEADER + b"X-Name: " + name.encode() + b"\r\n"))
    assert all(answer == "yes" for _, answer in us.did)


@pytest.mark.parametrize("end", ["reject", "tempfail", "discard"])
def test_changes_of_what_is_refused(ends, name, end):
    """They leave no trace, also not in the next message of the session."""
    both = [Outcome(e, name, [("eom", "addheader", "X-New", "a"), ("eom", "addrcpt", "new@more.test"), ("eom", end)], f"{name}@src.test",
                    ["b@local.test"], message(name), (), 0) for e in ends]
    assert codes(both[0].heard) == codes(both[1].heard)
    play(ends, name + "-next")


def test_all_recipients_deleted(ends, name):
    play(ends, name, ("eom", "delrcpt", "b@local.test"), arrives=0)
    play(ends, name + "-next")
    assert not any(end.sink.find(lambda m: name.encode() + b"@" in m.sender.encode()) for end in ends)


def test_crlf_in_a_value(ends, name):
    """One line end for us, where Postfix leaves a CR behind."""
    us, them = (Outcome(end, name, [("eom", "addheader", "X-New", "one\r\n\ttwo")], f"{name}@src.test", ["b@local.test"], message(name), (), 1)
                for end in ends)
    assert us.heard == them.heard and us.fields[-1] == "X-New: one\r\n\ttwo" and us.fields[:-1] == them.fields[:-1]


def test_quarantine(ends, name):
    play(ends, name, ("eom", "quarantine", "looks bad"), ("eom", "addheader", "X-New", "a"), arrives=0)
    play(ends, name + "-next")
    assert not any(end.sink.find(lambda m: m.sender == f"{name}@src.test") for end in ends)


def test_several_messages_of_a_session(ends, name):
    """Each begins anew, whatever became of the one before."""
    told = []
    for end in ends:
        end.filter.orders(("rcpt=<no@local.test>", "reject"), ("header=X-No", "reject"), ("header=X-Gone", "discard"), ("eom", "addheader", "X-New", "a"))
        last = end.filter.last()
        with end.client() as c:
            assert c.send_mail("a@src.test", ["b@local.test"], message(name, headers=b"X-No: x\r\n")).code >= 500
            assert c.send_mail("b@src.test", ["b@local.test"], message(name, headers=b"X-Gone: x\r\n")).code == 250
            assert c.mail("c@src.test").code == 250 and c.rcpt("no@local.test").code >= 500
            assert c.cmd("RSET").code == 250
            assert c.mail("d@src.test").code == 250 and c.rcpt("b@local.test").code == 250
            assert c.cmd("RSET").code == 250
            assert c.send_mail("e@src.test", ["b@local.test"], message(name, headers=HEADER)).code == 250
            c.quit()
        end.filter.orders()
        session = end.filter.ended(last)
        told.append(session.mail())
        got = end.sink.wait(lambda m: name.encode() in m.content)
        assert [(m.sender, fields(m.content)[-1]) for m in got] == [("e@src.test", "X-New: a")]
    assert told[0] == told[1]


@pytest.mark.parametrize("event,flag", [("connect", 0x1000), ("helo", 0x2000), ("mail", 0x4000), ("rcpt", 0x8000), ("data", 0x10000), ("header", 0x80),
                                        ("eoh", 0x40000), ("body", 0x80000)])
def test_no_answer(ends, name, event, flag):
    """It has promised that it says nothing to this, and nobody waits for it."""
    us, them = play(ends, name, ("negotiate", "steps", f"{flag:x}"), (event, "noreply"), ("eom", "addheader", "X-New", "a"))
    check_told(us, them)
