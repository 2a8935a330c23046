"""Keys and certificates, made for each run by the openssl program; nothing of the kind is in the repository."""
import os
import pwd
import shutil
import subprocess
import tempfile

KINDS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"], "rsa4096": ["-newkey", "rsa:4096"]}


class Certs:
    """A directory with a CA ("ca") and what it has signed: path("x") is the certificate, key("x") the key."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="smx-certs-")
        os.chmod(self.dir, 0o755)
        self.authority("ca", "/C=US/O=endmail.org/CN=Test CA")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name + ".pem")

    def key(self, name):
        return os.path.join(self.dir, name + ".key")

    def _openssl(self, *args):
        r = subprocess.run(["openssl", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.dir, stdin=subprocess.DEVNULL)
        assert r.returncode == 0, f"openssl {args}: {r.stdout}"
        return r.stdout

    def _give(self, name):
        """To whom the site runs as."""
        os.chmod(self.key(name), 0o600)
        os.chmod(self.path(name), 0o644)
        if os.getuid() == 0:
            user = pwd.getpwnam(os.environ.get("SMX_TEST_USER", "nobody"))
            os.chown(self.key(name), user.pw_uid, user.pw_gid)

    def authority(self, name, subject, kind="ec"):
        self._openssl("req", "-x509", *KINDS[kind], "-nodes", "-keyout", self.key(name), "-out", self.path(name), "-days", "30", "-subj", subject)
        self._give(name)

    def make(self, name, subject, names=(), kind="ec", ca="ca", days=20):
        """`days` below 0: it has expired."""
        csr, ext = os.path.join(self.dir, name + ".csr"), os.path.join(self.dir, name + ".ext")
        self._openssl("req", *KINDS[kind], "-nodes", "-keyout", self.key(name), "-out", csr, "-utf8", "-subj", subject)
        with open(ext, "w") as f:
            if names:
                f.write("subjectAltName=" + ",".join("DNS:" + n for n in names))
        args = ["x509", "-req", "-in", csr, "-CA", self.path(ca), "-CAkey", self.key(ca), "-CAcreateserial", "-extfile", ext, "-out", self.path(name)]
        self._openssl(*args, "-days", str(days))
        self._give(name)

    def settings(self, *names, ca="ca", **more):
        """Of a site that shows these."""
        def quoted(paths):
            return "{ " + ", ".join(f'"{p}"' for p in paths) + " }"
        out = {"smtps.tls.cert_file": quoted(map(self.path, names)), "smtps.tls.key_file": quoted(map(self.key, names))}
        if ca:
            out["smtps.tls.CAcert_file"] = self.path(ca)
        return {**out, **{"smtps.tls." + k: v for k, v in more.items()}}
