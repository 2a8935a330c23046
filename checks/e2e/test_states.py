"""The session's states: what is legal when, and that nothing survives what should have ended it."""
import pytest
from cases.states import BEFORE_EHLO, FORMS, OTHER_PROTOCOLS, SEQUENCES
from lib.client import Client, Closed, message
from lib.wait import until


def ids(table):
    return [row[0] for row in table]


def no_evil(sink):
    assert not [m for m in sink.messages if m.sender == "evil@e.test" or m.subject() == "smuggled"]


@pytest.mark.parametrize("command,codes", [row[1:] for row in BEFORE_EHLO], ids=ids(BEFORE_EHLO))
def test_before_ehlo(site, command, codes):
    with site.client(helo=None) as c:
        r = c.cmd(command)
        assert r.code in codes, r


@pytest.mark.parametrize("commands,codes", [row[1:] for row in SEQUENCES + FORMS], ids=ids(SEQUENCES + FORMS))
def test_sequence(site, commands, codes):
    with site.client() as c:
        for command in commands[:-1]:
            c.cmd(command)
        r = c.cmd(commands[-1])
        assert r.code in codes, f"{commands}: {[x.code for x in c.replies[2:]]} {r}"


@pytest.mark.parametrize("content", [
    pytest.param(b"Received: from x by y; z\r\n" * 300 + b"Subject: loop\r\n\r\nx\r\n", id="hops"),
    pytest.param(b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 30000, id="size"),
])
def test_nothing_survives_a_refusal_at_the_dot(site, content):
    with site.client() as c:
        c.begin("a@src.test", "b@local.test")
        r = c.finish(content)
        assert r.code in (552, 554), r
        assert c.rcpt("b@local.test").code == 503
        assert c.cmd("DATA").code == 503
        c.begin("a@src.test", "b@local.test")


def test_nothing_survives_a_good_mail(site, sink, tag):
    with site.client() as c:
        assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
        assert c.rcpt("b@local.test").code == 503
        assert c.cmd("DATA").code == 503
        # what was accepted for one says nothing about the next
        assert c.mail("a@src.test").code == 250
        assert c.rcpt("b@other.invalid").code == 550
        assert c.cmd("DATA").code in (503, 554)
    assert sink.wait(tag)[0].rcpts == ["b@local.test"]


def test_recipients_do_not_leak_into_the_next(site, sink, tag):
    with site.client() as c:
        c.mail("first@src.test")
        c.rcpt("one@local.test")
        c.cmd("RSET")
        assert c.send_mail("second@src.test", "two@local.test", message(tag)).code == 250
    m = sink.wait(tag)[0]
    assert (m.sender, m.rcpts) == ("second@src.test", ["two@local.test"])


class TestBdat:
    """Without a size that can be, or out of order, nothing is content."""

    @pytest.mark.parametrize("line", ["BDAT 99999999999999999999", "BDAT -1", "BDAT", "BDAT x"])
    def test_refused(self, site, line):
        with site.client() as c:
            c.mail("a@src.test")
            c.rcpt("b@local.test")
            assert c.cmd(line).code in (501, 552)

    @pytest.mark.inside
    def test_many(self, site):
        """Ends in 421, and costs no memory."""
        before = site.snapshot()
        with site.client() as c:
            codes = set()
            try:
                c.send(b"BDAT 1\r\nx" * 2000)
                while True:
                    codes.add(c.reply().code)
            except (Closed, ConnectionError):
                pass
        assert codes == {503, 421}, codes
        before.leaks(kb=2048, fds=4)


class TestPipelining:
    """RFC 2920: EHLO, DATA, STARTTLS, AUTH, QUIT and NOOP end a group."""

    def test_behind_ehlo(self, site):
        with site.client(helo=None) as c:
            c.send(b"EHLO x.test\r\nMAIL FROM:<a@src.test>\r\n")
            r = [c.reply()]
            if r[0].code == 250:
                try:
                    r.append(c.reply())
                except Closed:
                    return
            assert r[-1].code in (503, 421, 554), r

    def test_before_the_greeting(self, site, sink):
        c = Client(site.port, greet=False)
        try:
            c.send(b"EHLO x.test\r\nMAIL FROM:<evil@e.test>\r\nRCPT TO:<victim@local.test>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n")
            replies = []
            try:
                while len(replies) < 5:
                    replies.append(c.reply().code)
                    if replies[-1] in (421, 554) or len(replies) > 1 and replies[-1] == 503:
                        break
            except Closed:
                pass
            # a quick writer may come after the greeting has been sent: then EHLO is legal, what is behind it is not
            assert not {354} & set(replies) and {421, 503, 554} & set(replies), replies
        finally:
            c.close()
        no_evil(sink)

    def test_content_with_data(self, site, sink):
        """Content that does not wait for the 354 is never run as commands, nor does it become a mail."""
        with site.client() as c:
            c.mail("a@src.test")
            c.rcpt("b@local.test")
            c.send(b"DATA\r\nSubject: early\r\n\r\nMAIL FROM:<evil@e.test>\r\nRSET\r\n.\r\n")
            replies = []
            try:
                while True:
                    replies.append(c.reply())
                    if replies[-1].code in (421, 503, 554):
                        break
            except Closed:
                pass
            assert not [r for r in replies if r.code in (250, 214, 252)], replies
        no_evil(sink)
        assert not sink.find("early")

    def test_legal(self, site, sink, tag):
        """100 recipients in one write, 2 of them bad: each its reply, in order."""
        rcpts = [f"u{i}@local.test" for i in range(100)]
        rcpts[40] = "bad@@local.test"
        rcpts[41] = "bad@nowhere.invalid"
        with site.client() as c:
            c.send("MAIL FROM:<a@src.test>\r\n" + "".join(f"RCPT TO:<{r}>\r\n" for r in rcpts) + "DATA\r\n")
            codes = [c.reply().code for _ in range(102)]
            assert codes[0] == 250 and codes[-1] == 354, codes
            assert [i for i, x in enumerate(codes[1:-1]) if x != 250] == [40, 41], codes
            assert c.finish(message(tag)).code == 250
        want = set(rcpts) - {rcpts[40], rcpts[41]}

        def all_there():
            return {r for m in sink.find(tag) for r in m.rcpts} == want
        until(all_there, "98 recipients", 15)

    def test_several_mails_in_one_write_each(self, site, sink, tag):
        """MAIL, RCPT, DATA together, and the next group together with the end of data."""
        with site.client() as c:
            group = "MAIL FROM:<a@src.test>\r\nRCPT TO:<b@local.test>\r\nDATA\r\n"
            c.send(group)
            for i in range(10):
                assert [c.reply().code for _ in range(3)] == [250, 250, 354]
                c.send(message(tag) + b".\r\n" + (group.encode() if i < 9 else b""))
                assert c.reply().code == 250
            c.quit()
        assert len(sink.wait(tag, 10)) == 10


class TestEnd:
    def test_bytes_behind_quit(self, site, sink):
        with site.client() as c:
            c.send(b"QUIT\r\nMAIL FROM:<evil@e.test>\r\nRCPT TO:<victim@local.test>\r\nDATA\r\n")
            r = c.closes()
            assert [x.code for x in r] in ([221], [503], [421]), r
        no_evil(sink)

    def test_half_closed_in_data(self, site, sink, tag):
        """No dot, no mail."""
        with site.client() as c:
            c.begin("a@src.test", "b@local.test")
            c.send(message(tag) + b"half")
            c.half_close()
            r = c.closes()
            assert all(x.code in (421, 451, 554) for x in r), r
        site.canary(sink)
        assert not sink.find(tag)
        until(lambda: not site.content_files(), "the half content file is gone", 10)

    def test_half_closed_after_the_dot(self, site, sink, tag):
        """The client says all it has to say, shuts its side, and reads the replies."""
        with site.client() as c:
            c.begin("a@src.test", "b@local.test")
            c.send(message(tag) + b".\r\nQUIT\r\n")
            c.half_close()
            codes = [x.code for x in c.closes()]
            assert codes[:1] == [250], codes
        sink.wait(tag)

    def test_reset_in_data(self, site, sink, tag):
        c = site.client()
        c.begin("a@src.test", "b@local.test")
        c.send(message(tag) + b"half")
        c.reset()
        site.canary(sink)
        assert not sink.find(tag)
        until(lambda: not site.content_files(), "the half content file is gone", 10)


@pytest.mark.parametrize("bytes_", [row[1] for row in OTHER_PROTOCOLS], ids=ids(OTHER_PROTOCOLS))
def test_other_protocol(site, sink, bytes_):
    with site.client(helo=None) as c:
        c.send(bytes_)
        c.half_close()
        try:
            while True:
                r = c.reply()
                assert r.code in (421, 500, 501, 502, 503, 554), r
        except Closed:
            pass
    no_evil(sink)
