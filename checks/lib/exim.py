"""An Exim of our own, from an unpacked package (lib/debian.py), in a directory of its own: one daemon, and routes to where it passes mail on.

Needs root, and the right to mount: Exim looks for a user of its own and for its hosts in files of /etc, which it sees ours in place of. All of it runs
as the user of a test site, and none of the host's files is touched.
"""
import glob
import os
import pwd
import re
import shutil
import subprocess
import tempfile

from lib import foreign
from lib.debian import Unavailable, unpacked
from lib.paths import free_port
from lib.wait import SLOW, until

PACKAGE = "exim4-daemon-light"
USER = "Debian-exim"  # the name is in the program
HOSTS = ("mx.test", "wrong.test", "sink.test")  # on 127.0.0.1, for routes

CONF = """exim_path = {dir}/exim4
spool_directory = {dir}/spool
log_file_path = {dir}/log/%s
pid_file_path = {dir}/spool/pid
log_selector = +all
primary_hostname = exim.test
keep_environment =
local_interfaces = 127.0.0.1.{port}
disable_ipv6 = true
deliver_drop_privilege = true
split_spool_directory = false
message_size_limit = 30M
received_headers_max = 200
host_lookup =
smtp_accept_max = 0
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
strip_excess_angle_brackets = false
bounce_return_size_limit = 100K
acl_smtp_rcpt = rcpt
acl_smtp_data = data
acl_smtp_vrfy = accept
dsn_advertise_hosts = *
chunking_advertise_hosts = *
pipelining_advertise_hosts = *
smtputf8_advertise_hosts = *
tls_advertise_hosts = {tls}
prdr_enable = true
{settings}
begin acl
rcpt:
  deny local_parts = refused
       message = 5.1.1 no such user
  warn local_parts = queued
       control = queue
  accept
data:
  deny condition = ${{if def:h_X-Refuse:}}
       message = 5.7.1 not this content
  accept
begin routers
{routers}
begin transports
{transports}
begin retry
"""

ROUTER = """r{n}:
  driver = manualroute
  domains = {domain}
  route_list = "* {host}::{port} byname"
  self = send
  transport = t{n}
"""

TRANSPORT = """t{n}:
  driver = smtp
  allow_localhost
  hosts_try_dane =
  {options}
"""

SEES = """for f in passwd group hosts; do mount --bind "$1/$f" /etc/$f || exit; done; shift; exec setpriv --reuid={uid} --regid={gid} --clear-groups "$@" """


class Route:
    """`options`: lines of Exim's smtp transport. Without any it speaks in clear."""

    def __init__(self, port, host="mx.test", options=("hosts_avoid_tls = *",)):
        self.port, self.host, self.options = port, host, options


class Exim:
    """Its port and whether it can run are known at once; it listens inside the with block."""

    def __init__(self, cert=None, settings=()):
        """`cert`: (certificate, key) to offer TLS with."""
        if os.getuid() != 0:
            raise Unavailable("Exim needs root here")
        program = os.path.join(unpacked(PACKAGE), "usr/sbin/exim4")
        user = pwd.getpwnam(os.environ.get("SMX_TEST_USER", "nobody"))
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix="smx-exim-")
        os.chmod(self.dir, 0o755)
        self.program = os.path.join(self.dir, "exim4")
        shutil.copyfile(program, self.program)  # without setuid, and where that user may go
        os.chmod(self.program, 0o755)
        for name in ("spool", "log"):
            os.mkdir(os.path.join(self.dir, name), 0o750)
            os.chown(os.path.join(self.dir, name), user.pw_uid, user.pw_gid)
        self.tls, self.settings = "*" if cert else "", list(settings)
        for option, path in zip(("tls_certificate", "tls_privatekey"), cert or ()):
            self.settings.append(f"{option} = {path}")
        self._write("passwd", f"root:x:0:0::/:/bin/sh\n{USER}:x:{user.pw_uid}:{user.pw_gid}::/:/bin/false\n")
        self._write("group", f"{USER}:x:{user.pw_gid}:\n")
        self._write("hosts", "".join(f"127.0.0.1 {name}\n" for name in HOSTS))
        self.prefix = ["unshare", "--mount", "sh", "-c", SEES.format(uid=user.pw_uid, gid=user.pw_gid), "sh", self.dir, self.program,
                       "-C", os.path.join(self.dir, "conf")]
        self.process = None
        self.route({})
        tried = self.run("-bV")
        if tried.returncode:
            self.remove()
            raise Unavailable(f"Exim does not run here: {tried.stdout.strip()[-300:]}")

    def route(self, routes):
        """Before it starts. `routes`: domain ("*.x" is all below x, "*" any other) to Route, the first that fits."""
        self._write("conf", CONF.format(
            dir=self.dir, port=self.port, tls=self.tls, settings="\n".join(self.settings),
            routers="".join(ROUTER.format(n=n, domain=d, host=r.host, port=r.port) for n, (d, r) in enumerate(routes.items())),
            transports="".join(TRANSPORT.format(n=n, options="\n  ".join(r.options)) for n, r in enumerate(routes.values()))))

    def _write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write(text)

    def run(self, *args):
        """Exim with this configuration and these arguments."""
        return subprocess.run([*self.prefix, *args], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=120 * SLOW)

    def __enter__(self):
        self.process = subprocess.Popen([*self.prefix, "-bdf"], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        try:
            foreign.ready_at(self.process, "exim", self.log, self.port)
        except AssertionError:
            self.__exit__(AssertionError)
            raise
        return self

    def __exit__(self, kind=None, *_):
        foreign.end(self.process)
        panic = self.log("panic")
        self.remove()
        assert kind or not panic, panic

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self, name="main"):
        try:
            with open(os.path.join(self.dir, "log", name), errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def lines(self, *texts):
        """Lines of the log that hold all of these."""
        return [x for x in self.log().splitlines() if all(t in x for t in texts)]

    def logged(self, *texts):
        """The first such line, when it is there."""
        return until(lambda: self.lines(*texts), lambda: f"exim logs {texts}:\n{self.log()[-3000:]}")[0]

    def arrived(self, subject):
        """The lines about a mail, by its subject: (of its arrival, all)."""
        line = self.logged(" <= ", f'T="{subject}"')
        ident = re.search(r" ([0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4}) <= ", line).group(1)
        return line, until(lambda: self.lines(ident, "Completed") and self.lines(ident), lambda: f"{ident} is done:\n{self.log()[-3000:]}")

    def queue(self):
        return [os.path.basename(p)[:-2] for p in glob.glob(os.path.join(self.dir, "spool", "input", "*-H"))]
