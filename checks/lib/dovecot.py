"""A private Dovecot whose LMTP service takes mail for USERS into Maildirs: on a Unix socket and on an IPv4 and IPv6 port, all as an
unprivileged user. Nothing of the machine's own Dovecot configuration is read."""
import os
import pwd
import shutil
import socket
import subprocess
import tempfile

from . import foreign
from .paths import free_port
from .wait import until

PROGRAM = "/usr/sbin/dovecot"
USERS = [f"user{i}" for i in range(60)]
LMTP = "/usr/lib/dovecot/lmtp"

CONF = """\
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
protocols = lmtp
listen = 127.0.0.1, ::1
ssl = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_vsz_limit = 0
mail_location = maildir:{dir}/mail/%n
mail_home = {dir}/mail/%n
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
first_valid_gid = 0
auth_mechanisms = plain
lmtp_save_to_detail_mailbox = no
lmtp_hdr_delivery_address = final
lmtp_rcpt_check_quota = no
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {dir}/users
}}
service lmtp {{
  chroot =
  user = {user}
  unix_listener {socket} {{
    mode = 0666
  }}
  inet_listener lmtp {{
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


def available():
    return os.access(PROGRAM, os.X_OK) and os.access(LMTP, os.X_OK)


class Dovecot:
    """`port` and `socket` are where LMTP is spoken; mail(user) what has come."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="smx-dovecot-")
        self.user = pwd.getpwnam(os.environ.get("SMX_TEST_USER", "nobody")) if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        self.port = free_port()
        self.socket = os.path.join(self.dir, "lmtp")
        for d in ("", "mail", "run", "state"):
            path = os.path.join(self.dir, d)
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        with open(os.path.join(self.dir, "dovecot.conf"), "w") as f:
            f.write(CONF.format(dir=self.dir, user=self.user.pw_name, group=_group(self.user.pw_gid), socket=self.socket, port=self.port))
        with open(os.path.join(self.dir, "users"), "w") as f:
            f.writelines(f"{u}::{self.user.pw_uid}:{self.user.pw_gid}::{self.dir}/mail/{u}::\n" for u in USERS)

    def start(self):
        prefix = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups"] if os.getuid() == 0 else []
        self.process = subprocess.Popen([*prefix, PROGRAM, "-F", "-c", os.path.join(self.dir, "dovecot.conf")], cwd=self.dir,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            foreign.ready(self.process, "dovecot", lambda: self.process.stdout.read() + self.log() if self.process.poll() is not None else self.log(),
                          (socket.AF_UNIX, self.socket), (socket.AF_INET, ("127.0.0.1", self.port)), (socket.AF_INET6, ("::1", self.port)))
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def stop(self):
        foreign.end(self.process)
        if not self.process.stdout.closed:
            self.process.stdout.close()

    def log(self):
        try:
            with open(os.path.join(self.dir, "log")) as f:
                return f.read()[-3000:]
        except OSError:
            return ""

    def mail(self, user):
        """The mails in the user's Maildir, as bytes with CRLF, unsorted."""
        out = []
        new = os.path.join(self.dir, "mail", user, "new")
        for name in os.listdir(new) if os.path.isdir(new) else []:
            with open(os.path.join(new, name), "rb") as f:
                out.append(f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return out

    def wait(self, user, count=1, timeout=20):
        until(lambda: len(self.mail(user)) >= count, lambda: f"{count} mails for {user}:\n{self.log()}", timeout, 0.05)
        return self.mail(user)


def _group(gid):
    import grp
    return grp.getgrgid(gid).gr_name
