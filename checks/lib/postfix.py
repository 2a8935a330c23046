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
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
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
smtputf8_enable = yes
smtputf8_autodetect_classes = sendmail, verify
local_header_rewrite_clients =
disable_mime_output_conversion = yes
smtp_line_length_limit = 0
bounce_queue_lifetime = 0
maximal_queue_lifetime = 0
transport_maps = inline:{{ {routes} }}
"""


class Postfix:
    def __init__(self, routes, settings=()):
        """`routes`: domain to port on 127.0.0.1."""
        tree = unpacked("postfix")
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
        with open(os.path.join(conf, "main.cf"), "w") as f:
            f.write(MAIN.format(dir=self.dir, tree=tree, owner=OWNER, setgid=SETGID,
                                routes=" ".join(f"{{ {d} = smtp:[127.0.0.1]:{p} }}" for d, p in routes.items())) + "".join(s + "\n" for s in settings))
        with open(os.path.join(conf, "master.cf"), "w") as f:
            f.write(MASTER.format(address=f"127.0.0.1:{self.port}"))
        environment = smtp_source_environment(os.path.join(tree, "usr/sbin/smtp-source"))
        environment["MAIL_CONFIG"] = conf
        self.process = subprocess.Popen([os.path.join(tree, "usr/lib/postfix/sbin/master"), "-d", "-c", conf], env=environment,
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
