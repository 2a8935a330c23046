"""An SMTP server with STARTTLS and AUTH that does it right, or wrong in one way.

    with Secure(cert=(certificate, key)) as s: ...       offers STARTTLS
    Secure(cert=..., users={"joe": "secret"}, mechs=("PLAIN",))

`starttls`: "ok", "refuse" (454), "plain" (220, then goes on in clear), "inject" (220 and a reply of somebody else in one write),
"close" (220, then the end), None (not offered). `tls`: further settings of the ssl.SSLContext (a function).

`mails`: what was accepted, each with tls (version or None), cipher, client (subject of its certificate), user, mech, mail (the line), rcpts, content,
hellos (how often it said EHLO before), connection. `said`: (connection, line in clear or "TLS", line).
"""
import base64
import hashlib
import hmac
import os
import socket
import ssl
import threading
import types

from .wait import until


class Closed(Exception):
    pass


class Connection:
    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.buffer = b""
        self.tls = self.cipher = self.client = self.user = self.mech = None
        self.hellos = 0

    # -- bytes
    def line(self):
        while b"\r\n" not in self.buffer:
            got = self.sock.recv(65536)
            if not got:
                raise Closed
            self.buffer += got
        text, _, self.buffer = self.buffer.partition(b"\r\n")
        self.server.said.append((self.number, self.tls, text))
        return text

    def say(self, *lines):
        self.sock.sendall(b"".join(x.encode() + b"\r\n" for x in lines))

    def content(self):
        while not (b"\r\n" + self.buffer).count(b"\r\n.\r\n"):
            got = self.sock.recv(65536)
            if not got:
                raise Closed
            self.buffer += got
        text, _, self.buffer = (b"\r\n" + self.buffer).partition(b"\r\n.\r\n")
        return text[2:] + b"\r\n"

    # -- the dialogue
    def run(self):
        s = self.server
        self.say("220 secure.test ESMTP")
        self.mail, self.rcpts = None, []
        while True:
            line = self.line().decode("latin-1")
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            if verb in ("EHLO", "LHLO"):
                self.hellos += 1
                self.hello()
            elif verb == "STARTTLS":
                self.start_tls()
            elif verb == "AUTH":
                self.auth(rest)
            elif verb == "MAIL":
                if s.users and s.must_auth and not self.user:
                    self.say("530 5.7.0 authenticate")
                    continue
                self.mail, self.rcpts = line, []
                self.say("250 2.1.0 ok")
            elif verb == "RCPT" and s.refuse_rcpt:
                self.say("450 4.2.0 later")
            elif verb == "RCPT":
                self.rcpts.append(line)
                self.say("250 2.1.5 ok")
            elif verb == "DATA":
                self.say("354 go")
                text = self.content()
                s.mails.append(types.SimpleNamespace(tls=self.tls, cipher=self.cipher, client=self.client, user=self.user, mech=self.mech, mail=self.mail,
                                                     rcpts=self.rcpts, content=text, hellos=self.hellos, connection=self.number))
                self.say("250 2.0.0 queued")
            elif verb == "RSET":
                self.say("250 ok")
            elif verb == "QUIT":
                self.say("221 bye")
                raise Closed
            else:
                self.say("502 5.5.1 what?")

    def hello(self):
        s = self.server
        words = ["secure.test", "PIPELINING", "8BITMIME"]
        if s.starttls and not self.tls:
            words.append("STARTTLS")
        mechs = s.mechs if self.tls or s.auth_in_clear else ()
        if mechs:
            words.append("AUTH " + " ".join(mechs))
        self.say(*("250" + ("-" if w is not words[-1] else " ") + w for w in words))

    def start_tls(self):
        s = self.server
        if s.starttls == "refuse":
            return self.say("454 4.7.0 not now")
        if s.starttls == "inject":
            return self.say("220 go", "250-injected", "250 AUTH PLAIN")
        self.say("220 go")
        if s.starttls == "plain":
            return self.say("250 hello again")
        if s.starttls == "close":
            raise Closed
        self.buffer = b""
        self.sock = s.context.wrap_socket(self.sock, server_side=True)
        self.tls, self.cipher = self.sock.version(), self.sock.cipher()[0]
        peer = self.sock.getpeercert()
        self.client = dict(x[0] for x in peer["subject"])["commonName"] if peer else None

    # -- AUTH
    def ask(self, challenge):
        self.say("334 " + base64.b64encode(challenge).decode())
        answer = self.line()
        if answer == b"*":
            return None
        return base64.b64decode(answer)

    def auth(self, rest):
        mech, _, initial = rest.partition(" ")
        self.mech = mech.upper()
        first = None if not initial else b"" if initial == "=" else base64.b64decode(initial)
        self.server.logins.append((self.mech, self.tls))
        user = self.server.auth_hook(self, first) if self.server.auth_hook else getattr(self, "auth_" + self.mech.replace("-", "_").lower())(first)
        if user is None:
            return self.say("535 5.7.8 authentication failed")
        if user:
            self.user = user
            self.say("235 2.7.0 welcome")

    def check(self, user, password):
        return user if self.server.users.get(user) == password else None

    def auth_plain(self, first):
        first = self.ask(b"") if first is None else first
        if first is None:
            return self.say("501 5.7.0 cancelled") or ""
        _, user, password = first.decode().split("\0")
        return self.check(user, password)

    def auth_login(self, first):
        user = self.ask(b"Username:") if first is None else first
        password = self.ask(b"Password:")
        return self.check(user.decode(), password.decode())

    def auth_xoauth2(self, first):
        fields = dict(f.partition("=")[::2] for f in first.decode().split("\1") if f)
        if fields["auth"] == "Bearer " + self.server.users.get(fields["user"], "?"):
            return fields["user"]
        self.server.errors.append(self.ask(b'{"status":"400"}'))
        return None

    def auth_oauthbearer(self, first):
        gs2, _, rest = first.decode().partition(",\1")
        fields = dict(f.partition("=")[::2] for f in rest.split("\1") if f)
        user = gs2.partition("a=")[2]
        self.server.bearer = fields
        if fields["auth"] == "Bearer " + self.server.users.get(user, "?"):
            return user
        self.server.errors.append(self.ask(b'{"status":"invalid_token"}'))
        return None

    def auth_scram_sha_1(self, first):
        return self.scram(first, "sha1")

    def auth_scram_sha_256(self, first):
        return self.scram(first, "sha256")

    def scram(self, first, name):
        rounds, salt = self.server.scram_rounds, b"salt of test"
        bare = first.decode().split(",", 2)[2]
        fields = dict(f.split("=", 1) for f in bare.split(","))
        nonce = fields["r"] + base64.b64encode(os.urandom(12)).decode()
        server_first = f"r={nonce},s={base64.b64encode(salt).decode()},i={rounds}"
        final = self.ask(server_first.encode())
        if final is None:
            return self.say("501 5.7.0 cancelled") or ""
        without, _, proof = final.decode().rpartition(",p=")
        salted = hashlib.pbkdf2_hmac(name, self.server.users.get(fields["n"], "?").encode(), salt, rounds)
        message = ",".join((bare, server_first, without)).encode()
        key = hmac.digest(salted, b"Client Key", name)
        signature = hmac.digest(hashlib.new(name, key).digest(), message, name)
        if bytes(a ^ b for a, b in zip(key, signature)) != base64.b64decode(proof):
            return None
        if self.server.scram_proof:
            mine = hmac.digest(hmac.digest(salted, b"Server Key", name), message, name)
            if self.server.scram_proof == "wrong":
                mine = mine[::-1]
            if self.ask(b"v=" + base64.b64encode(mine)) is None:
                return self.say("501 5.7.0 cancelled") or ""
        return fields["n"]


class Secure:
    def __init__(self, cert=None, starttls="ok", users=None, mechs=(), auth_in_clear=False, must_auth=True, tls=None, host="127.0.0.1", auth_hook=None,
                 scram_rounds=4096, scram_proof=True):
        self.starttls = starttls if cert or starttls in ("refuse", "plain", "inject", "close") else None
        self.users, self.mechs, self.auth_in_clear, self.must_auth = users or {}, mechs, auth_in_clear, must_auth
        self.auth_hook, self.scram_rounds, self.scram_proof = auth_hook, scram_rounds, scram_proof
        self.mails, self.said, self.logins, self.errors, self.failures = [], [], [], [], []
        self.bearer = None
        self.connections, self.refuse_rcpt = 0, False
        if cert:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*cert)
            if tls:
                tls(self.context)
        self.listener = socket.create_server((host, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(sock, self.connections), daemon=True).start()

    def serve(self, sock, number):
        c = Connection(self, sock, number)
        try:
            sock.settimeout(120)
            c.run()
        except (Closed, OSError, ValueError) as e:  # ssl.SSLError is an OSError
            self.failures.append(e)
        finally:
            c.sock.close()

    def wait(self, count=1, timeout=20):
        until(lambda: len(self.mails) >= count, lambda: f"{count} mails; there are {self.mails}; {self.failures[-3:]}; {self.said[-20:]}", timeout)
        return self.mails

    def clear_lines(self, connection=None):
        return [line for n, tls, line in self.said if not tls and connection in (None, n)]
