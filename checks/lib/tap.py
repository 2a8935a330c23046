"""Between a client and a server on loopback: passes on what each says, and keeps it.

    with Tap(port) as tap: ...    tap.port is for the client; tap.segments: (connection, "C" or "S", bytes) as they came;
                                  tap.most: the most connections that the client had open at a time
"""
import socket
import threading


class Tap:
    def __init__(self, server):
        self.server = server
        self.segments = []
        self.connections = self.most = 0
        self.clients = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def said(self, who, connection=None):
        """All bytes of a side, of one connection when given."""
        return b"".join(b for n, w, b in list(self.segments) if w == who and connection in (None, n))

    def connection(self, text):
        """The number of the connection on which the client said this."""
        found = [n for n in range(1, self.connections + 1) if text in self.said("C", n)]
        assert len(found) == 1, f"{text!r} is on connections {found}"
        return found[0]

    @staticmethod
    def _is_open(client):
        """The client has not closed it, whether or not that was noticed here."""
        try:
            return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.clients = [c for c in self.clients if self._is_open(c)] + [client]
            self.most = max(self.most, len(self.clients))
            try:
                server = socket.create_connection(("127.0.0.1", self.server))
            except OSError:
                client.close()
                continue
            for who, a, b in (("C", client, server), ("S", server, client)):
                a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass, args=(self.connections, who, a, b), daemon=True).start()

    def _pass(self, number, who, source, to):
        try:
            while data := source.recv(1 << 20):
                self.segments.append((number, who, data))
                to.sendall(data)
        except OSError:
            pass
        for s, how in ((to, socket.SHUT_WR), (source, socket.SHUT_RD)):
            try:
                s.shutdown(how)
            except OSError:
                pass
