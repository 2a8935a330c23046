"""SMTP and LMTP servers that do as a script says, byte for byte, and remember what came.

A script is a list of steps, one list a connection; the last script stays for all later connections:

    [Send(b"220 hi\\r\\n"), Expect(rb"EHLO"), Send(b"250-x\\r\\n250"), Rst()]

A step is Send, Expect, Content, Sleep, Drip, Flood, Close, Rst, Hang or Serve. A connection whose script ends is closed.
"""
import asyncio
import re
import socket
import threading

from .wait import until


class Send:
    def __init__(self, data):
        self.data = data


class Drip:
    """Byte by byte with a pause between."""

    def __init__(self, data, pause):
        self.data, self.pause = data, pause


class Flood:
    """`data` until the peer gives up, at most `count` times."""

    def __init__(self, data, count=10 ** 9):
        self.data, self.count = data, count


class Expect:
    """Read one line; it must match."""

    def __init__(self, regex):
        self.regex = re.compile(regex, re.I)


class Content:
    """Read to CRLF.CRLF and keep it as a message."""


class Sleep:
    def __init__(self, seconds):
        self.seconds = seconds


class Close:
    pass


class Rst:
    pass


class Hang:
    """Say nothing until the peer closes."""


class Serve:
    """From here on (or from the start) behave as a good server. `reply` maps a verb, "." or "GREETING" to other bytes; a list: one after the other;
    a function: of the line; None from it is silence."""

    def __init__(self, reply=None, greet=True):
        self.reply, self.greet = dict(reply or {}), greet


class Message:
    def __init__(self, sender, rcpts, content, answer, connection):
        self.sender, self.rcpts, self.content, self.answer, self.connection = sender, rcpts, content, answer, connection

    @property
    def header(self):
        return self.content.partition(b"\r\n\r\n")[0] + b"\r\n"

    @property
    def body(self):
        return self.content.partition(b"\r\n\r\n")[2]

    def without_trace(self):
        """Content without the Received and Return-Path fields that hops have put in front."""
        c = self.content
        while True:
            m = re.match(rb"(?i)(received|return-path|delivered-to):[^\r\n]*\r\n([ \t][^\r\n]*\r\n)*", c)
            if not m:
                return c
            c = c[m.end():]

    def subject(self):
        m = re.search(rb"(?im)^subject: *([^\r\n]*)", self.header)
        return m.group(1).decode("latin-1") if m else ""

    def __repr__(self):
        return f"<{self.sender}> to {self.rcpts} {self.answer}: {self.content[:60]!r}"


class Sink:
    """`messages`: everything whose final dot came, in order; `accepted`: those that were answered 2xx."""

    def __init__(self, port=0, host="127.0.0.1", scripts=None, lmtp=False, unix=None):
        self.scripts = list(scripts or [])
        self.default = Serve()
        self.lmtp = lmtp
        self.messages = []
        self.commands = []      # (connection, line) as they came
        self.raw = []           # bytes of each connection
        self.connections = 0
        self.open = 0
        self.failures = []      # what Expect did not find
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._tasks = set()
        self._thread = threading.Thread(target=self._run, args=(host, port, unix), daemon=True)
        self._thread.start()
        self._ready.wait()
        if isinstance(self.port, Exception):
            raise self.port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def accepted(self):
        return [m for m in self.messages if m.answer.startswith(b"2")]

    def wait(self, match, count=1, timeout=15):
        """The accepted messages that match (a tag in the subject, or a function), at least `count`."""
        def find():
            found = self.find(match)
            return found if len(found) >= count else None
        return until(find, lambda: f"{count} x {match} at the sink; there are {[m.subject() for m in self.messages][-8:]}", timeout)

    def find(self, match):
        if isinstance(match, str):
            tag = match
            return [m for m in self.accepted if m.subject() == tag]
        return [m for m in self.accepted if match(m)]

    def reports(self, sender=None, about=""):
        """Accepted mail from <>, to `sender` when given, with `about` (a tag of the mail that it is about) somewhere in it."""
        return [m for m in self.accepted if m.sender == "" and (sender is None or sender in m.rcpts) and about.encode() in m.content]

    def script(self, *scripts):
        """Scripts for the connections to come; the last one stays."""
        self.scripts = list(scripts)

    def drop(self):
        """Close every connection that is open: what comes next comes on a new one, and gets the next script."""
        self._loop.call_soon_threadsafe(lambda: [t.cancel() for t in self._tasks])
        until(lambda: not self.open, "connections are closed", 5)

    def stop(self):
        def end(tries=100):
            self._server.close()
            for t in self._tasks:
                t.cancel()
            self._loop.call_later(0.05, stop_or_again, tries)

        def stop_or_again(tries):  # one that was accepted meanwhile would stay open, and nobody would answer
            if self._tasks and tries:
                end(tries - 1)
            else:
                self._loop.stop()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(end)
            self._thread.join(5)

    def _run(self, host, port, unix):
        asyncio.set_event_loop(self._loop)

        async def start():
            if unix:
                return await asyncio.start_unix_server(self._connection, unix, limit=1 << 28)
            return await asyncio.start_server(self._connection, host, port, limit=1 << 28, backlog=1024)
        try:
            self._server = self._loop.run_until_complete(start())
            self.port = unix or self._server.sockets[0].getsockname()[1]
        except OSError as e:
            self.port = e
            self._ready.set()
            return
        self._ready.set()
        self._loop.run_forever()

    async def _connection(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        number = self.connections
        self.connections += 1
        self.open += 1
        self.raw.append(b"")
        script = self.scripts[0] if self.scripts else [self.default]
        if len(self.scripts) > 1:
            self.scripts.pop(0)
        conn = _Conn(self, number, reader, writer)
        sock = writer.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for step in script:
                if not await conn.step(step):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()


def text(address):
    """In UTF-8 if it is (RFC 6531), else byte by byte."""
    try:
        return address.decode()
    except UnicodeDecodeError:
        return address.decode("latin-1")


class _Conn:
    def __init__(self, sink, number, reader, writer):
        self.sink, self.number, self.reader, self.writer = sink, number, reader, writer
        self.sender, self.rcpts = None, []
        self.chunks = b""       # of a message that comes by BDAT

    async def line(self):
        b = await self.reader.readuntil(b"\n")
        self.sink.raw[self.number] += b
        self.sink.commands.append((self.number, b))
        self.note(b)
        return b

    def note(self, b):
        m = re.match(rb"(?i)(MAIL FROM|RCPT TO):<(.*)>", b)
        if m and m.group(1).upper().startswith(b"MAIL"):
            self.sender, self.rcpts, self.chunks = text(m.group(2)), [], b""
        elif m:
            self.rcpts.append(text(m.group(2)))

    async def send(self, b):
        self.writer.write(b)
        await self.writer.drain()

    async def content(self, answer):
        raw = await self.reader.readuntil(b"\n")
        if raw != b".\r\n":
            while not raw.endswith(b"\r\n.\r\n"):
                raw += await self.reader.readuntil(b"\r\n.\r\n" if not raw.endswith(b"\r\n") else b".\r\n")
        self.sink.raw[self.number] += raw
        content = re.sub(rb"(\A|(?<=\r\n))\.", b"", raw[:-3])
        self.sink.messages.append(Message(self.sender, list(self.rcpts), content, answer, self.number))

    async def chunk(self, words, answer):
        """RFC 3030: the bytes, then a reply; at the last chunk it is that of the message."""
        piece = await self.reader.readexactly(int(words[1]))
        self.sink.raw[self.number] += piece
        self.chunks += piece
        if len(words) < 3:
            await self.send(answer("BDAT"))
            return
        finals = [answer(".") for _ in range(max(1, len(self.rcpts)) if self.sink.lmtp else 1)]
        if not self.rcpts:
            finals = [b"503 5.5.1 no recipients\r\n"]
        self.sink.messages.append(Message(self.sender, list(self.rcpts), self.chunks, finals[0], self.number))
        for final in finals:
            await self.send(final)
        self.sender, self.rcpts, self.chunks = None, [], b""

    def rst(self):
        sock = self.writer.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    async def step(self, s):
        """False: the connection has ended."""
        if isinstance(s, Send):
            await self.send(s.data)
        elif isinstance(s, Drip):
            for i in range(len(s.data)):
                await self.send(s.data[i:i + 1])
                await asyncio.sleep(s.pause)
        elif isinstance(s, Flood):
            for _ in range(s.count):
                await self.send(s.data)
        elif isinstance(s, Expect):
            b = await self.line()
            if not s.regex.match(b):
                self.sink.failures.append((s.regex.pattern, b))
                return False
        elif isinstance(s, Content):
            await self.content(b"script")
        elif isinstance(s, Sleep):
            await asyncio.sleep(s.seconds)
        elif isinstance(s, Close):
            return False
        elif isinstance(s, Rst):
            self.rst()
            return False
        elif isinstance(s, Hang):
            while await self.reader.read(65536):
                pass
            return False
        elif isinstance(s, Serve):
            await self.serve(s)
            return False
        else:
            raise TypeError(s)
        return True

    async def serve(self, s):
        good = {"GREETING": b"220 sink.test ESMTP\r\n", "EHLO": b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n",
                "HELO": b"250 sink.test\r\n", "DATA": b"354 go on\r\n", ".": b"250 2.0.0 taken\r\n", "QUIT": b"221 2.0.0 bye\r\n"}
        good["LHLO"] = good["EHLO"]
        queues = {k: list(v) if isinstance(v, list) else v for k, v in s.reply.items()}

        def answer(verb, line=b""):
            q = queues.get(verb)
            if callable(q):
                return q(line)
            if isinstance(q, list):
                if q:
                    return q.pop(0) if len(q) > 1 else q[0]
                q = None
            return q if q is not None else good.get(verb, b"250 2.0.0 Ok\r\n")
        if s.greet:
            await self.send(answer("GREETING"))
        while True:
            b = await self.line()
            verb = b.split()[0].upper().decode("latin-1") if b.split() else ""
            if verb == "BDAT":
                await self.chunk(b.split(), answer)
                continue
            a = answer(verb, b)
            if a is None:
                await self.reader.read(65536)
                continue
            if verb == "RCPT" and not a.startswith(b"2") and self.rcpts:
                self.rcpts.pop()
            if verb == "RSET":
                self.sender, self.rcpts = None, []
            if verb == "DATA" and not self.rcpts and a.startswith(b"354"):
                a = b"503 5.5.1 no recipients\r\n"
            await self.send(a)
            if verb == "QUIT":
                return
            if verb == "DATA" and a.startswith(b"354"):
                finals = [answer(".") for _ in range(max(1, len(self.rcpts)) if self.sink.lmtp else 1)]
                await self.content(finals[0])
                for final in finals:
                    await self.send(final)
                self.sender, self.rcpts = None, []
