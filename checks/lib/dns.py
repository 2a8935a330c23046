"""A DNS server, UDP and TCP on one loopback port, that answers each name as told: records, errors, silence, or any bytes.

    dns.add("good.test", MX(10, "mx.good.test"))
    dns.rcode("broken.test", "SERVFAIL")
    dns.raw("evil.test", lambda query: b"...")      one answer packet from the query packet; None: no answer
    dns.tcp("big.test", lambda query: b"...")       the same for TCP, without the two length bytes; a list: raw pieces as they are, and numbers:
                                                    pauses between them, in seconds

Dns(tcp=False) refuses TCP.

Names not told of end in `fallback`: a function (name, type) -> list of rdata or "NXDOMAIN".
"""
import socket
import socketserver
import threading
import time

from dnslib import A, AAAA, CNAME, MX, NS, PTR, QTYPE, RCODE, RR, SOA, TXT, DNSLabel, DNSRecord  # noqa: F401 (for the tests)

from .paths import free_port


class Dns:
    def __init__(self, host="127.0.0.1", port=0, tcp=True):
        self.names = {}     # name -> list of (type, ttl, rdata)
        self.rcodes = {}    # name -> rcode word, for all types
        self.raws, self.tcps = {}, {}
        self.silent = False
        self.fallback = lambda name, qtype: "NXDOMAIN"
        self.asked = []     # (name, type, "udp"|"tcp")
        self.lock = threading.Lock()
        while True:
            port = port or free_port()
            try:
                self.udp = _Udp((host, port), self)
                self.tcp_server = _Tcp((host, port), self) if tcp else None
                break
            except OSError:
                port = 0
        self.host, self.port = host, port
        self.servers = [s for s in (self.udp, self.tcp_server) if s]
        for s in self.servers:
            threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def stop(self):
        for s in self.servers:
            s.shutdown()
            s.server_close()

    # -- telling it
    def add(self, name, *rdatas, ttl=60):
        with self.lock:
            self.names.setdefault(name.lower().rstrip("."), []).extend((type(r).__name__, ttl, r) for r in rdatas)

    def rcode(self, name, word):
        self.rcodes[name.lower()] = word

    def raw(self, name, f):
        self.raws[name.lower()] = f

    def tcp(self, name, f):
        self.tcps[name.lower()] = f

    def forget(self, name):
        for d in (self.names, self.rcodes, self.raws, self.tcps):
            d.pop(name.lower(), None)

    # -- answering
    def answer(self, data, over):
        """Bytes, a list of raw pieces (TCP only), or None."""
        try:
            q = DNSRecord.parse(data)
            name = str(q.q.qname).rstrip(".").lower()
            qtype = QTYPE.get(q.q.qtype)
        except Exception:
            return None
        self.asked.append((name, qtype, over))
        if self.silent:
            return None
        if over == "tcp" and name in self.tcps:
            return self.tcps[name](data)
        if name in self.raws:
            return self.raws[name](data)
        r = q.reply()
        r.header.ra = 1
        if name in self.rcodes:
            r.header.rcode = RCODE.reverse[self.rcodes[name]]
            return r.pack()
        with self.lock:
            known = name in self.names
            found = self._follow(r, name, qtype)
        if not known:
            more = self.fallback(name, qtype)
            if more == "NXDOMAIN":
                r.header.rcode = RCODE.NXDOMAIN
            else:
                for rd in more:
                    r.add_answer(RR(name, getattr(QTYPE, type(rd).__name__), ttl=60, rdata=rd))
                found = bool(more)
        if not found:
            r.add_auth(RR("test", QTYPE.SOA, ttl=60, rdata=SOA("ns.test", "root.test", (1, 3600, 600, 86400, 60))))
        out = r.pack()
        if over == "udp" and len(out) > 1232:
            t = q.reply()
            t.header.tc = 1
            return t.pack()
        return out

    def _follow(self, r, name, qtype, depth=0):
        found = False
        for kind, ttl, rd in self.names.get(name, []):
            if kind in (qtype, "CNAME") or qtype == "ANY":
                r.add_answer(RR(name, getattr(QTYPE, kind), ttl=ttl, rdata=rd))
                found = True
                if kind == "CNAME" and qtype != "CNAME" and depth < 20:
                    self._follow(r, str(rd.label).rstrip(".").lower(), qtype, depth + 1)
        return found


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        out = self.server.dns.answer(data, "udp")
        if out is not None:
            sock.sendto(out, self.client_address)


class _Udp(socketserver.ThreadingUDPServer):
    allow_reuse_address = False
    daemon_threads = True
    max_packet_size = 65535

    def __init__(self, addr, dns):
        self.dns = dns
        super().__init__(addr, _UdpHandler)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)


class _TcpHandler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(10)
        try:
            while True:
                head = self._read(2)
                if not head:
                    return
                out = self.server.dns.answer(self._read(int.from_bytes(head, "big")), "tcp")
                if out is None:
                    return
                if isinstance(out, list):
                    for piece in out:
                        if isinstance(piece, bytes):
                            self.request.sendall(piece)
                        else:
                            time.sleep(piece)
                    return
                self.request.sendall(len(out).to_bytes(2, "big") + out)
        except OSError:
            pass

    def _read(self, n):
        b = b""
        while len(b) < n:
            more = self.request.recv(n - len(b))
            if not more:
                return b""
            b += more
        return b


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, addr, dns):
        self.dns = dns
        super().__init__(addr, _TcpHandler)
