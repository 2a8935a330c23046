"""Addresses, parameters and EHLO arguments: nothing is executed, nothing cut, nothing relayed that must not be."""
import re

import pytest
from cases.addresses import EHLO_ARGUMENTS, MAIL_PARAMETERS, RCPT_PARAMETERS, RECIPIENTS, SENDERS
from lib.client import message
from lib.faults import Inject, can_trace
from lib.wait import until


def ids(table):
    return [row[0] for row in table]


def one_received(m):
    """Our own trace field is one well-formed field, printable, whatever the client called itself."""
    first = re.match(rb"Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", m.content)
    assert first, m.content[:300]
    assert re.fullmatch(rb"[\x20-\x7e\t\r\n]*", first.group(0)), first.group(0)
    return first.group(0)


@pytest.mark.parametrize("path,codes,same", [row[1:] for row in SENDERS], ids=ids(SENDERS))
def test_sender(site, sink, tag, path, codes, same):
    with site.client() as c:
        r = c.cmd(b"MAIL FROM:" + path + b"\r\n")
        assert r.code in codes, r
        if r.code != 250:
            if r.code != 421:
                assert c.rcpt("b@local.test").code == 503
            return
        assert c.rcpt("b@local.test").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250
    m = sink.wait(tag)[0]
    if same is not None:
        assert m.sender == same
    one_received(m)


@pytest.mark.parametrize("path,codes,same", [row[1:] for row in RECIPIENTS], ids=ids(RECIPIENTS))
def test_recipient(site, sink, tag, path, codes, same):
    with site.client() as c:
        assert c.mail("a@src.test").code == 250
        r = c.cmd(b"RCPT TO:" + path + b"\r\n")
        assert r.code in codes, r
        if r.code != 250:
            if r.code != 421:
                assert c.cmd("DATA").code in (503, 554)
            return
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250
    if same is not None:
        assert sink.wait(tag)[0].rcpts == [same]


@pytest.mark.parametrize("verb,path", [("MAIL FROM:<a@src.test>", "mail"), ("RCPT TO:<b@local.test>", "rcpt")])
def test_parameters_are_refused_whole(site, verb, path):
    """After a refused parameter there is no transaction, or no recipient."""
    with site.client() as c:
        if path == "rcpt":
            assert c.mail("a@src.test").code == 250
        assert c.cmd(verb + " FOO=BAR").code in (501, 555)
        assert c.cmd("DATA").code in (503, 554)


@pytest.mark.parametrize("parameters,codes", [row[1:] for row in MAIL_PARAMETERS], ids=ids(MAIL_PARAMETERS))
def test_mail_parameters(site, parameters, codes):
    with site.client() as c:
        r = c.cmd(b"MAIL FROM:<a@src.test>" + parameters + b"\r\n")
        assert r.code in codes, r


@pytest.mark.parametrize("parameters,codes", [row[1:] for row in RCPT_PARAMETERS], ids=ids(RCPT_PARAMETERS))
def test_rcpt_parameters(site, parameters, codes):
    with site.client() as c:
        assert c.mail("a@src.test").code == 250
        r = c.cmd(b"RCPT TO:<b@local.test>" + parameters + b"\r\n")
        assert r.code in codes, r


@pytest.mark.parametrize("argument,codes", [row[1:] for row in EHLO_ARGUMENTS], ids=ids(EHLO_ARGUMENTS))
@pytest.mark.parametrize("verb", ["EHLO", "HELO"])
def test_ehlo(site, sink, tag, verb, argument, codes):
    with site.client(helo=None) as c:
        r = c.cmd(verb.encode() + b" " + argument + b"\r\n")
        assert r.code in codes, r
        if r.code == 250:
            assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
            trace = one_received(sink.wait(tag)[0])
            assert trace.count(b"\r\n") <= 6


@pytest.mark.inside
@pytest.mark.skipif(not can_trace(), reason="no strace")
def test_nothing_is_executed(site, sink):
    pids = [p for name, ps in site.all_pids().items() if name != "mcp" for p in ps]
    with Inject(pids, "execve,execveat:error=EPERM") as trace:
        with site.client() as c:
            for _, path, _, _ in SENDERS:
                if len(path) < 500:
                    c.cmd(b"MAIL FROM:" + path + b"\r\n")
                    c.cmd("RSET")
                c.close()
                c = site.client()
        site.canary(sink)
    assert "exec" not in trace.log, trace.log


@pytest.mark.parametrize("length", [255, 256, 257])
def test_path_length(site, sink, tag, length):
    """RFC 5321 4.5.3.1.3: 256 octets with the brackets; one more is refused, none is ever cut off."""
    domain = ".".join(["d" * 61] * 3 + ["e" * (length - 4 - 5 - 186), "test"])
    assert len(f"<a@{domain}>") == length
    with site.client() as c:
        r = c.mail("a@" + domain)
        if length > 256:
            assert r.code in (501, 553, 552), r
            return
        assert r.code == 250, r
        assert c.rcpt("b@local.test").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250
    assert sink.wait(tag)[0].sender == "a@" + domain


def test_recipients(site, sink, tag):
    """100 for sure (RFC 5321 4.5.3.1.8); beyond the limit 452 for each, and the mail goes to those accepted."""
    accepted = []
    with site.client() as c:
        assert c.mail("a@src.test").code == 250
        for i in range(1100):
            r = c.rcpt(f"u{i}@local.test")
            if r.code == 250:
                accepted.append(f"u{i}@local.test")
            else:
                assert r.code in (452, 421) and len(accepted) >= 100, (i, r)
                assert r.code == 421 or r.enhanced == "4.5.3", r
            if r.code == 421:
                return
        assert len(accepted) < 1100
        assert c.cmd("DATA").code == 354
        assert c.finish(message(tag)).code == 250
    until(lambda: sorted(r for m in sink.find(tag) for r in m.rcpts) == sorted(accepted), "all accepted, none twice", 30)
