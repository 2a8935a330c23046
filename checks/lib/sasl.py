"""The server's side of Cyrus SASL for tests (sendmail.conf, sasldb, a private saslauthd) and the client's side of its mechanisms."""
import base64
import hashlib
import hmac
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

from .wait import until

SASLPASSWD = "/usr/sbin/saslpasswd2"
SASLAUTHD = "/usr/sbin/saslauthd"


def available():
    return os.access(SASLPASSWD, os.X_OK)


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


class Sasl:
    """A directory with sendmail.conf and a sasldb, which the site's user can read. Pass settings() to a Site, then call write()."""

    def __init__(self, directory, realm="mx.test", lines=(), users=()):
        self.dir, self.realm = directory, realm
        self.db = os.path.join(directory, "sasldb2")
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, 0o755)
        self.write(lines)
        for name, password in users:
            self.add(name, password)

    def write(self, lines=()):
        with open(os.path.join(self.dir, "sendmail.conf"), "w") as f:
            f.write("\n".join(lines or ["pwcheck_method: auxprop", "auxprop_plugin: sasldb"]) + f"\nsasldb_path: {self.db}\n")

    def add(self, name, password):
        subprocess.run([SASLPASSWD, "-f", self.db, "-c", "-p", "-u", self.realm, name], input=password, text=True, check=True)
        os.chmod(self.db, 0o644)

    def remove(self, name):
        subprocess.run([SASLPASSWD, "-f", self.db, "-d", "-u", self.realm, name], check=True)

    def settings(self, **more):
        out = {"smtps.auth.config_directory": self.dir, "smtps.auth.readable": "{ \"" + self.dir + "\" }",
               "smtps.auth.failure_delay": "0s"}
        out.update({f"smtps.auth.{k}": v for k, v in more.items()})
        return out


class Imap:
    """Enough of an IMAP server for saslauthd -a rimap: LOGIN with one of `users`."""

    def __init__(self, users):
        self.users, self.logins, self.hang = dict(users), [], False
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(c,), daemon=True).start()

    def _talk(self, c):
        with c, c.makefile("rwb") as f:
            f.write(b"* OK puppet\r\n")
            f.flush()
            line = f.readline().decode("latin-1")
            m = re.match(r'(\S+) LOGIN "?([^" ]*)"? "?([^"\r]*)"?', line)
            if not m:
                return
            self.logins.append(m.group(2))
            while self.hang:
                if not until(lambda: not self.hang, "the server answers again"):
                    return
            good = self.users.get(m.group(2)) == m.group(3)
            f.write(f"{m.group(1)} {'OK' if good else 'NO'} done\r\n".encode())
            f.flush()

    def stop(self):
        self.hang = False
        self.sock.close()


class Saslauthd:
    """A private saslauthd that asks a puppet IMAP server; its socket is `mux` in `directory`."""

    def __init__(self, directory, users):
        self.dir = directory
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, 0o755)
        self.imap = Imap(users)
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen([SASLAUTHD, "-d", "-a", "rimap", "-O", f"127.0.0.1/{self.imap.port}", "-n", "3", "-m", self.dir],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        mux = os.path.join(self.dir, "mux")
        until(lambda: os.path.exists(mux), "saslauthd listens")
        os.chmod(mux, 0o777)

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            for name in os.listdir(self.dir):
                os.unlink(os.path.join(self.dir, name))

    def stop(self):
        self.kill()
        self.imap.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- the client's side: each takes the client, and gives the last reply ----

def plain(c, user, password, authzid="", initial=True):
    token = b64(f"{authzid}\0{user}\0{password}")
    if initial:
        return c.cmd("AUTH PLAIN " + token)
    r = c.cmd("AUTH PLAIN")
    assert (r.code, r.text) == (334, ""), r
    return c.cmd(token)


def login(c, user, password):
    r = c.cmd("AUTH LOGIN")
    assert r.code == 334, r
    r = c.cmd(b64(user))
    return c.cmd(b64(password)) if r.code == 334 else r


def cram_md5(c, user, password):
    r = c.cmd("AUTH CRAM-MD5")
    assert r.code == 334, r
    digest = hmac.new(password.encode(), base64.b64decode(r.text), "md5").hexdigest()
    return c.cmd(b64(f"{user} {digest}"))


def digest_md5(c, user, password):
    r = c.cmd("AUTH DIGEST-MD5")
    assert r.code == 334, r
    said = dict(re.findall(r'(\w+)="?([^",]*)"?', base64.b64decode(r.text).decode()))
    realm, nonce, cnonce, uri = said.get("realm", ""), said["nonce"], "OA6MHXh6VqTrRk", "smtp/mx.test"

    def h(x):
        return hashlib.md5(x if isinstance(x, bytes) else x.encode())
    a1 = h(f"{user}:{realm}:{password}").digest() + f":{nonce}:{cnonce}".encode()
    response = h(f"{h(a1).hexdigest()}:{nonce}:00000001:{cnonce}:auth:{h(f'AUTHENTICATE:{uri}').hexdigest()}").hexdigest()
    r = c.cmd(b64(f'charset=utf-8,username="{user}",realm="{realm}",nonce="{nonce}",nc=00000001,cnonce="{cnonce}",'
                  f'digest-uri="{uri}",response={response},qop=auth'))
    if r.code != 334:
        return r
    assert base64.b64decode(r.text).startswith(b"rspauth=")
    return c.cmd("")


def scram(c, user, password, mech="SCRAM-SHA-256", stop_at=None):
    name = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}[mech]
    bare = f"n={user},r=fyko+d2lbbFgONRv9qkxdawL"
    r = c.cmd(f"AUTH {mech} " + b64("n,," + bare))
    if r.code != 334 or stop_at == 1:
        return r
    first = base64.b64decode(r.text).decode()
    said = dict(x.split("=", 1) for x in first.split(","))
    salted = hashlib.pbkdf2_hmac(name, password.encode(), base64.b64decode(said["s"]), int(said["i"]))

    def mac(key, text):
        return hmac.new(key, text, name).digest()
    client_key = mac(salted, b"Client Key")
    stored = hashlib.new(name, client_key).digest()
    without = f"c=biws,r={said['r']}"
    message = ",".join((bare, first, without)).encode()
    proof = bytes(a ^ b for a, b in zip(client_key, mac(stored, message)))
    r = c.cmd(b64(f"{without},p={b64(proof)}"))
    if r.code != 334:
        return r
    assert base64.b64decode(r.text).decode() == "v=" + b64(mac(mac(salted, b"Server Key"), message))
    return c.cmd("")


MECHANISMS = {
    "PLAIN": plain, "LOGIN": login, "CRAM-MD5": cram_md5, "DIGEST-MD5": digest_md5,
    "SCRAM-SHA-1": lambda c, u, p: scram(c, u, p, "SCRAM-SHA-1"),
    "SCRAM-SHA-256": scram,
    "SCRAM-SHA-512": lambda c, u, p: scram(c, u, p, "SCRAM-SHA-512"),
}
