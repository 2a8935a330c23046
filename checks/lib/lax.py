"""A server as there were many: it takes for the end of data whatever looks like it. What is sent to find such servers must find this one.

    with LaxServer() as s:
        s.port, s.senders   # of the mails that it took
"""
import re
import socket
import threading

LINE_END = rb"(?:\r\n|\n|\r|\xe2\x80\xa8)"
END = re.compile(LINE_END + rb"\.{1,2}[ \t\x0b\x0c\x85]?" + LINE_END + rb"|\.\r\n")


class LaxServer:
    def __init__(self):
        self.senders = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def _accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn:
                try:
                    self._talk(conn)
                except ConnectionError:
                    pass

    def _talk(self, conn):
        buf, sender, in_data = b"", None, False
        conn.sendall(b"220 lax.test\r\n")
        while True:
            at = END.search(buf) if in_data else re.search(rb"\r?\n", buf)
            if at is None:
                more = conn.recv(65536)
                if not more:
                    return
                buf += more.replace(b"\0", b"")
                continue
            line, buf = buf[:at.start()].strip(), buf[at.end():]
            verb = line[:4].upper()
            if in_data:
                in_data = False
                self.senders.append(sender)
                conn.sendall(b"250 taken\r\n")
            elif verb == b"DATA":
                in_data = True
                conn.sendall(b"354 go on\r\n")
            elif line:
                if verb == b"MAIL":
                    sender = line[line.index(b"<") + 1:line.index(b">")].decode()
                conn.sendall(b"250 lax.test\r\n")
