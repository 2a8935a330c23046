"""An SMTP client that sends exactly the bytes it is told to, and is pedantic about what comes back.

smtplib normalises line ends and addresses, so it cannot ask the questions that matter here.
"""
import re
import socket
import ssl
import time

from .wait import PATIENCE, SLOW

LINE = re.compile(rb"[2-5][0-9][0-9][ -][\x20-\x7e]*\r\n\Z")


class ProtocolError(AssertionError):
    """The server broke RFC 5321 4.2: one reply a command, CRLF, 512 bytes, one code."""


class Closed(ConnectionError):
    """The server closed the connection; `reset` when by RST."""

    def __init__(self, reset=False, rest=b""):
        super().__init__("connection closed" + (" by reset" if reset else "") + (f", left {rest!r}" if rest else ""))
        self.reset, self.rest = reset, rest


class Reply:
    def __init__(self, code, lines, raw):
        self.code, self.lines, self.raw = code, lines, raw

    @property
    def text(self):
        return " ".join(self.lines)

    @property
    def enhanced(self):
        m = re.match(r"([245]\.\d{1,3}\.\d{1,3})\b", self.lines[-1])
        return m.group(1) if m else None

    def __repr__(self):
        return f"{self.code} {self.text}"


class Client:
    def __init__(self, port, host="127.0.0.1", source=None, timeout=PATIENCE, greet=True, helo="client.test", unix=None):
        if unix:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout * SLOW)
            self.sock.connect(unix)
        else:
            self.sock = socket.create_connection(
                (host, port), timeout * SLOW, source_address=(source, 0) if source else None)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.replies = []
        self.extensions = {}
        if greet:
            self.greeting = self.reply()
            if self.greeting.code == 220 and helo:
                self.ehlo(helo)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Close by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    # -- bytes out
    def send(self, data):
        """All of it in one write."""
        try:
            self.sock.sendall(data.encode() if isinstance(data, str) else data)
        except (ConnectionError, ssl.SSLEOFError):
            raise Closed(True, self.buf) from None

    def send_slowly(self, data, pause=0.005):
        """Each byte in a segment of its own."""
        for i in range(len(data)):
            self.sock.sendall(data[i:i + 1])
            time.sleep(pause)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    # -- bytes in
    def _fill(self):
        try:
            more = self.sock.recv(65536)
        except ConnectionResetError:
            raise Closed(True, self.buf) from None
        except ssl.SSLEOFError:
            raise Closed(False, self.buf) from None
        except socket.timeout:
            raise AssertionError(f"no reply in time; so far {self.buf!r}; before: {self.replies[-3:]}") from None
        if not more:
            raise Closed(False, self.buf)
        self.buf += more

    def reply(self):
        raw, lines, code = b"", [], None
        while True:
            while b"\n" not in self.buf:
                if len(self.buf) > 512:
                    raise ProtocolError(f"reply line over 512 bytes: {self.buf[:80]!r}...")
                self._fill()
            at = self.buf.index(b"\n") + 1
            line, self.buf = self.buf[:at], self.buf[at:]
            raw += line
            if len(line) > 512 or not LINE.match(line):
                raise ProtocolError(f"not a reply line: {line!r}")
            if code is not None and line[:3] != code:
                raise ProtocolError(f"codes differ within a reply: {raw!r}")
            code = line[:3]
            lines.append(line[4:-2].decode())
            if line[3:4] == b" ":
                r = Reply(int(code), lines, raw)
                self.replies.append(r)
                return r

    def cmd(self, line):
        """Send, adding CRLF to a str; bytes go as they are. Gives the reply."""
        self.send(line + "\r\n" if isinstance(line, str) else line)
        return self.reply()

    def silent(self, seconds=0.3):
        """Nothing may come for so long."""
        if self.buf:
            raise AssertionError(f"unasked: {self.buf!r}")
        old = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            got = self.sock.recv(65536)
        except socket.timeout:
            return
        finally:
            self.sock.settimeout(old)
        raise AssertionError(f"came unasked: {got!r}" if got else "closed while nothing was asked")

    def rest(self, timeout=PATIENCE):
        """Everything until the server closes; AssertionError when it does not."""
        self.sock.settimeout(timeout * SLOW)
        try:
            while True:
                self._fill()
        except Closed:
            got, self.buf = self.buf, b""
            return got
        except AssertionError:
            raise AssertionError(f"the connection stays open, got {self.buf!r}") from None

    def closes(self):
        """The connection ends; gives what came before, as replies."""
        raw = self.rest()
        sub = Client.__new__(Client)
        sub.buf, sub.replies, sub.sock = raw, [], _Dead()
        out = []
        while sub.buf:
            out.append(sub.reply())
        return out

    def stays(self):
        """The session is usable: NOOP gives 250."""
        r = self.cmd("NOOP")
        assert r.code == 250, f"NOOP: {r}"

    # -- SMTP
    def ehlo(self, name="client.test"):
        r = self.cmd("EHLO " + name)
        if r.code == 250:
            self.extensions = {ln.split(" ")[0].upper(): ln for ln in r.lines[1:]}
        return r

    def starttls(self, context=None, name=None, helo="client.test"):
        """Encrypt from here on, and EHLO again; the socket's `ssl` methods are those of Python."""
        r = self.cmd("STARTTLS")
        assert r.code == 220, r
        self.encrypt(context, name)
        if helo:
            self.ehlo(helo)
        return r

    def encrypt(self, context=None, name=None):
        assert not self.buf, f"in clear behind the reply to STARTTLS: {self.buf!r}"
        self.sock = (context or trusting()).wrap_socket(self.sock, server_hostname=name, suppress_ragged_eofs=False)

    def mail(self, sender, params=""):
        return self.cmd(f"MAIL FROM:<{sender}>{params}")

    def rcpt(self, rcpt, params=""):
        return self.cmd(f"RCPT TO:<{rcpt}>{params}")

    def begin(self, sender, *rcpts):
        """MAIL, RCPTs, DATA, all must be accepted."""
        r = self.mail(sender)
        assert r.code == 250, f"MAIL: {r}"
        for rcpt in rcpts:
            r = self.rcpt(rcpt)
            assert r.code in (250, 251), f"RCPT {rcpt}: {r}"
        r = self.cmd("DATA")
        assert r.code == 354, f"DATA: {r}"

    def send_mail(self, sender, rcpts, content):
        """One mail; content is bytes with CRLF, dots are stuffed here. Gives the final reply."""
        self.begin(sender, *([rcpts] if isinstance(rcpts, str) else rcpts))
        return self.finish(content)

    def finish(self, content):
        self.send(stuff(content) + b".\r\n")
        return self.reply()

    def quit(self):
        r = self.cmd("QUIT")
        assert r.code == 221, r
        return self.closes()


def trusting(**more):
    """TLS with whoever is there; certificate= and key= are shown to the server."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if "certificate" in more:
        c.load_cert_chain(more["certificate"], more["key"])
    return c


class _Dead:
    def recv(self, _):
        return b""


def stuff(content):
    """RFC 5321 4.5.2."""
    content = re.sub(rb"(\A|(?<=\r\n))\.", b"..", content)
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def greets(to, family=socket.AF_INET):
    """Whether a server says 220 there."""
    try:
        with socket.socket(family) as s:
            s.settimeout(5)
            s.connect(to)
            return s.recv(100).startswith(b"220")
    except OSError:
        return False


def message(tag, body=b"text\r\n", headers=b""):
    """A small mail that the sink finds again by its tag."""
    return b"Subject: " + tag.encode() + b"\r\n" + headers + b"\r\n" + body
