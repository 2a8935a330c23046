"""A filter that speaks the milter protocol, packet by packet, and does every wrong thing it is told to.

    m = Milter()                                   # TCP on loopback, m.port; Milter(path=...) a Unix socket
    m.on["R"] = reply("550 5.7.1 no")              # what it says to an event; others get "continue"
    m.on["E"] = [add_header("X-A", "b"), CONTINUE] # several packets, in one write
    m.on["B"] = lambda conn, event: ...            # gives packets, or one of the next
    m.on["H"] = HANG                               # DIE, HANG, QUIET (no answer, and on it goes)

An event is a letter of the protocol: C connect, H helo, M mail, R rcpt, T data, L header, N end of header, B body, E end of message,
U unknown; and A abort, Q quit, K quit but another client comes. O is the negotiation: m.on["O"] replaces its answer. Everything that came is
in m.sessions[i].events.
"""
import contextlib
import socket
import struct
import threading

from .listen import listener
from .wait import until

DIE, HANG, QUIET = object(), object(), object()
SILENT = "AQK"  # commands without an answer

ADDHDRS, CHGBODY, ADDRCPT, DELRCPT, CHGHDRS, QUARANTINE, CHGFROM, ADDRCPT_PAR, SETSYMLIST = (1 << i for i in range(9))
ALL = 0x1ff
NOCONNECT, NOHELO, NOMAIL, NORCPT, NOBODY, NOHDRS, NOEOH, NR_HDR, NOUNKNOWN, NODATA, SKIPS, RCPT_REJ, NR_CONN, NR_HELO, NR_MAIL, NR_RCPT, \
    NR_DATA, NR_UNKN, NR_EOH, NR_BODY, LEADSPC = (1 << i for i in range(21))
NR_ALL = NR_HDR | NR_CONN | NR_HELO | NR_MAIL | NR_RCPT | NR_DATA | NR_UNKN | NR_EOH | NR_BODY
NR_OF = {"L": NR_HDR, "C": NR_CONN, "H": NR_HELO, "M": NR_MAIL, "R": NR_RCPT, "T": NR_DATA, "U": NR_UNKN, "N": NR_EOH, "B": NR_BODY}


def packet(code, data=b""):
    return struct.pack(">I", len(data) + 1) + code.encode() + data


def text(*parts):
    return b"".join((p.encode() if isinstance(p, str) else p) + b"\0" for p in parts)


CONTINUE, ACCEPT, REJECT, TEMPFAIL, DISCARD, SKIP, PROGRESS, SHUTDOWN, CONN_FAIL = (packet(c) for c in "cartdsp4f")


def reply(line):
    return packet("y", text(line))


def add_header(name, value):
    return packet("h", text(name, value))


def insert_header(index, name, value):
    return packet("i", struct.pack(">I", index) + text(name, value))


def change_header(index, name, value):
    return packet("m", struct.pack(">I", index) + text(name, value))


def add_rcpt(addr, *args):
    return packet("2", text(addr, *args)) if args else packet("+", text(addr))


def delete_rcpt(addr):
    return packet("-", text(addr))


def change_sender(addr, *args):
    return packet("e", text(addr, *args))


def replace_body(data):
    return packet("b", data)


def quarantine(reason):
    return packet("q", text(reason))


class Event:
    def __init__(self, code, data, macros):
        self.code, self.data, self.macros = code, data, macros

    @property
    def texts(self):
        """Its strings, which end with a NUL each."""
        return [t.decode("latin-1") for t in self.data.split(b"\0")[:-1]]

    def __repr__(self):
        return f"{self.code}{self.data[:60]!r}"


class Session:
    def __init__(self, milter, conn):
        self.milter, self.conn = milter, conn
        self.events, self.macros, self.offered, self.buf, self.ended = [], {}, None, b"", False

    def codes(self):
        return "".join(e.code for e in self.events)

    def of(self, code):
        return [e for e in self.events if e.code == code]

    def headers(self):
        return [tuple(e.texts) for e in self.of("L")]

    def body(self):
        return b"".join(e.data for e in self.of("B"))

    def read(self, n):
        while len(self.buf) < n:
            more = self.conn.recv(65536)
            if not more:
                raise ConnectionError("closed")
            self.buf += more
        got, self.buf = self.buf[:n], self.buf[n:]
        return got

    def works(self, seconds):
        """It takes so long over an event."""
        self.milter.stopped.wait(seconds)

    def negotiate(self, data):
        m = self.milter
        self.offered = struct.unpack(">III", data)
        if "O" in m.on:
            return m.on["O"]
        lists = b"".join(struct.pack(">I", stage) + text(names) for stage, names in m.lists.items())
        return packet("O", struct.pack(">III", m.version, m.actions, m.steps) + lists)

    def answer(self, event):
        m = self.milter
        if event.code == "O":
            return self.negotiate(event.data)
        a = m.on.get(event.code, CONTINUE)
        if callable(a):
            a = a(self, event)
        elif isinstance(a, list) and a and isinstance(a[0], list):  # one list for each time, the last one stays
            a = a.pop(0) if len(a) > 1 else a[0]
        if a is CONTINUE and (event.code in SILENT or m.steps & NR_OF.get(event.code, 0)):
            return QUIET
        return a

    def run(self):
        try:
            while True:
                n, = struct.unpack(">I", self.read(4))
                code = self.read(1).decode("latin-1")
                data = self.read(n - 1)
                if code == "D":
                    parts = [p.decode("latin-1") for p in data[1:].split(b"\0")[:-1]]
                    self.macros = dict(zip(parts[::2], parts[1::2]))
                    self.events.append(Event("D", data, {}))
                    continue
                event = Event(code, data, self.macros)
                self.macros = {}
                self.events.append(event)
                a = self.answer(event)
                if a is DIE or code == "Q":
                    return
                if a is HANG:
                    self.milter.stopped.wait(120)
                    return
                if a is not QUIET:
                    for p in a if isinstance(a, (list, tuple)) else [a]:
                        if p is DIE:
                            return
                        if p is HANG:
                            self.milter.stopped.wait(120)
                            return
                        self.conn.sendall(p)
        except OSError:
            pass
        finally:
            self.ended = True
            with contextlib.suppress(OSError):  # unread input would make it a reset, which takes back what was said
                self.conn.shutdown(socket.SHUT_WR)
            self.conn.close()


class Milter:
    def __init__(self, path=None, port=0, version=6, actions=ALL, steps=0, lists=None, on=None):
        self.path, self.port = path, port
        self.version, self.actions, self.steps, self.lists = version, actions, steps, lists or {}
        self.on, self.sessions = dict(on or {}), []
        self.listener = None
        self.start()

    def start(self):
        self.stopped = threading.Event()
        self.listener = listener(self.path, self.port)
        if not self.path:
            self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            if not self.path:
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self, conn)
            self.sessions.append(session)
            threading.Thread(target=session.run, daemon=True).start()

    def stop(self):
        """Nobody listens any more, and all conversations end."""
        self.stopped.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for s in self.sessions:
            with contextlib.suppress(OSError):
                s.conn.shutdown(socket.SHUT_RDWR)

    def reset(self):
        """Well-behaved again, and nothing seen."""
        self.on.clear()
        self.sessions.clear()

    def last(self):
        return until(lambda: self.sessions and self.sessions[-1], "a conversation")

    def seen(self, codes, session=None):
        """The last conversation, when it has seen these events in this order (others may be between)."""
        def there():
            s = session or (self.sessions and self.sessions[-1])
            it = iter(s.codes()) if s else iter("")
            return s if s and all(c in it for c in codes) else None
        return until(there, lambda: f"events {codes}; there are {[s.codes() for s in self.sessions]}")

    def section(self, name="f", **options):
        """Its section of smx.conf."""
        where = f'type = unix; path = "{self.path}";' if self.path else f'type = inet; address = "127.0.0.1"; port = {self.port};'
        more = " ".join(f"{k} = {v};" for k, v in options.items())
        return f"policy_milter {name} {{ socket {{ {where} }} {more} }}\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
