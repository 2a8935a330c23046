"""A Postfix of our own, from an unpacked package (lib/debian.py), in a directory of its own: one smtpd, and routes to where it passes mail on.

Needs root: Postfix wants users for its processes. None of the host's files is touched.
"""
import grp
import os
import pwd
import shutil
import subprocess
import tempfile

from lib import foreign
from lib.debian import smtp_source_environment, unpacked
from lib.paths import free_port

OWNER, SETGID = "games", "staff"  # any that are nobody else's

MASTER = """{address} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
tlsproxy unix - - n - 0 tlsproxy
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

MAIN = """compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
daemon_directory = {tree}/usr/lib/postfix/sbin
command_directory = {tree}/usr/sbin
shlib_directory = {tree}/usr/lib/postfix
mail_owner = {owner}
setgid_group = {setgid}
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
maillog_file = {dir}/log
maillog_file_prefixes = {dir}
myhostname = postfix.test
mydestination =
local_transport = error:nobody is local
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
smtp_host_lookup = native
disable_dns_lookups = yes
"""

# What tests want of it: content goes through untouched, and what cannot be delivered comes back at once.
FOR_TESTS = ["smtputf8_enable = yes", "smtputf8_autodetect_classes = sendmail, verify", "local_header_rewrite_clients =",
             "disable_mime_output_conversion = yes", "smtp_line_length_limit = 0", "bounce_queue_lifetime = 0", "maximal_queue_lifetime = 0"]
QUEUES = ("maildrop", "incoming", "active", "deferred", "hold")


class Postfix:
    def __init__(self, routes, settings=(), defaults=FOR_TESTS, prefix=()):
        """`routes`: domain to port on 127.0.0.1. `settings` go behind `defaults`, and the last one counts. `prefix`: a command that runs the master."""
        self.tree = tree = unpacked("postfix")
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix="smx-postfix-")
        os.chmod(self.dir, 0o755)
        conf, queue, data = (os.path.join(self.dir, x) for x in ("conf", "queue", "data"))
        for d in (conf, queue, data):
            os.mkdir(d)
        owner, setgid = pwd.getpwnam(OWNER).pw_uid, grp.getgrnam(SETGID).gr_gid
        os.chown(data, owner, -1)
        for name in ("incoming", "active", "deferred", "bounce", "defer", "corrupt", "flush", "hold", "private", "saved", "trace"):
            os.mkdir(os.path.join(queue, name), 0o700)
            os.chown(os.path.join(queue, name), owner, -1)
        for name, mode in (("public", 0o710), ("maildrop", 0o730)):
            os.mkdir(os.path.join(queue, name))
            os.chown(os.path.join(queue, name), owner, setgid)
            os.chmod(os.path.join(queue, name), mode)
        os.mkdir(os.path.join(queue, "pid"), 0o755)
        table = " ".join(f"{{ {d} = smtp:[127.0.0.1]:{p} }}" for d, p in routes.items())
        lines = [*defaults, *([f"transport_maps = inline:{{ {table} }}"] if routes else []), *settings]
        with open(os.path.join(conf, "main.cf"), "w") as f:
            f.write(MAIN.format(dir=self.dir, tree=tree, owner=OWNER, setgid=SETGID) + "".join(s + "\n" for s in lines))
        with open(os.path.join(conf, "master.cf"), "w") as f:
            f.write(MASTER.format(address=f"127.0.0.1:{self.port}"))
        self.environment = smtp_source_environment(os.path.join(tree, "usr/sbin/smtp-source"))
        self.environment["MAIL_CONFIG"] = conf
        self.process = subprocess.Popen([*prefix, os.path.join(tree, "usr/lib/postfix/sbin/master"), "-d", "-c", conf], env=self.environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        try:
            foreign.ready_at(self.process, "postfix", self.log, self.port)
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        foreign.end(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        try:
            with open(os.path.join(self.dir, "log"), errors="replace") as f:
                return f.read()[-3000:]
        except OSError:
            return ""

    def tool(self, name, *args):
        """One of its programs for operators, to this instance; what it prints."""
        r = subprocess.run([os.path.join(self.tree, "usr/sbin", name), *args], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60)
        assert r.returncode == 0, f"{name} {args}: {r.stdout}"
        return r.stdout

    def version(self):
        return self.tool("postconf", "-h", "mail_version").strip().splitlines()[-1]

    def count(self, *queues):
        """Mails in these of its queues; in all of them."""
        return sum(len(files) for q in queues or QUEUES for _, _, files in os.walk(os.path.join(self.dir, "queue", q)))

    def pids(self):
        """The master and its children."""
        out = [self.process.pid]
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/stat") as f:
                    text = f.read()
            except OSError:  # no process, or it has ended
                continue
            if int(text[text.rindex(")") + 2:].split()[1]) == self.process.pid:
                out.append(int(entry))
        return out
