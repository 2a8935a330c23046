"""A socketmap server, over TCP on loopback or a Unix socket, that answers as told and misbehaves as told.

    s = SocketMap(path="/tmp/x")            # or none: TCP, s.port
    s.answers["user"] = "OK local:"         # key -> reply; others get NOTFOUND
    s.behave = "garbage"                    # see BEHAVIOURS; None: well
"""
import socket
import threading

from .listen import listener


def netstring(data):
    return str(len(data)).encode() + b":" + data + b","


def slowly(conn, reply, stopped):
    """One byte now and then, and never the last one."""
    for byte in netstring(reply)[:-1]:
        conn.sendall(bytes([byte]))
        if stopped.wait(0.05):
            return
    stopped.wait(60)


BEHAVIOURS = {  # what it does with a question, instead of answering
    "die": lambda conn, reply, stopped: None,
    "half": lambda conn, reply, stopped: conn.sendall(netstring(reply)[:-2]),
    "silence": lambda conn, reply, stopped: stopped.wait(60),
    "slow": slowly,
    "garbage": lambda conn, reply, stopped: conn.sendall(b"\x16\x03\x01\x02\x00 HTTP/1.0 500 no\r\n\r\n"),
    "no netstring": lambda conn, reply, stopped: conn.sendall(b"NOTFOUND \n"),
    "wrong length": lambda conn, reply, stopped: conn.sendall(b"3:" + reply + b","),
    "too long": lambda conn, reply, stopped: conn.sendall(b"999999999:" + b"x" * 200000),
    "other status": lambda conn, reply, stopped: conn.sendall(netstring(b"MAYBE local:")),
    "line feed": lambda conn, reply, stopped: conn.sendall(netstring(b"OK local:\r\nRCPT TO:<x@y>")),
    "two replies": lambda conn, reply, stopped: conn.sendall(netstring(b"NOTFOUND ") * 2),
    "TEMP": lambda conn, reply, stopped: conn.sendall(netstring(b"TEMP not now")),
    "TIMEOUT": lambda conn, reply, stopped: conn.sendall(netstring(b"TIMEOUT ")),
    "PERM": lambda conn, reply, stopped: conn.sendall(netstring(b"PERM who are you?")),
}


class SocketMap:
    def __init__(self, path=None, port=0):
        self.path, self.port = path, port
        self.answers, self.behave, self.asked, self.connections = {}, None, [], 0
        self.listener = self.stopped = None
        self.start()

    def start(self):
        self.stopped = threading.Event()
        self.conns = set()
        self.listener = listener(self.path, self.port)
        if not self.path:
            self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener, self.stopped), daemon=True).start()

    def stop(self):
        """As if it were killed: all connections end."""
        self.stopped.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for c in list(self.conns):
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _accept(self, listener, stopped):
        while not stopped.is_set():
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self.conns.add(conn)
            threading.Thread(target=self._serve, args=(conn, stopped), daemon=True).start()

    def _serve(self, conn, stopped):
        try:
            with conn, conn.makefile("rb") as f:
                while self._one(conn, f, stopped):
                    pass
        except OSError:
            pass
        self.conns.discard(conn)

    def _one(self, conn, f, stopped):
        length = b""
        while not length.endswith(b":"):
            c = f.read(1)
            if not c:
                return False
            length += c
        request = f.read(int(length[:-1]) + 1)
        assert request.endswith(b",")
        mapname, _, key = request[:-1].decode().partition(" ")
        self.asked.append((mapname, key))
        reply = self.answers.get(key, "NOTFOUND ").encode()
        if self.behave:
            BEHAVIOURS[self.behave](conn, reply, stopped)
            return self.behave in ("TEMP", "TIMEOUT", "PERM")
        conn.sendall(netstring(reply))
        return True
