"""Debian's amavisd-new, unpacked and not installed (lib/debian.py), as a content filter of our own: it takes mail on one port of 127.0.0.1 by SMTP or
LMTP and gives it back on another one. No network, no spam check; what it looks for in contents is what a small scanner of ours finds.

It does not trust a configuration that its user could change, so this needs root; it runs as the user of a test site.
"""
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

from .debian import Unavailable, unpacked
from .paths import free_port
from .wait import SLOW, until

PACKAGES = ("amavisd-new", "libarchive-zip-perl", "libberkeleydb-perl", "libcommon-sense-perl", "libconvert-tnef-perl", "libconvert-uulib-perl",
            "libio-multiplex-perl", "libio-stringy-perl", "libmailtools-perl", "libmime-tools-perl", "libnet-cidr-perl", "libnet-libidn-perl",
            "libnet-server-perl", "libtimedate-perl", "libunix-syslog-perl", "libmail-dkim-perl", "libmail-authenticationresults-perl",
            "libcrypt-openssl-rsa-perl", "libcrypt-openssl-bignum-perl", "libcrypt-openssl-random-perl", "libnet-dns-perl")
# The signature of the test file that every scanner knows, in two pieces: this file is none.
BAD = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
NAME = "amavis.test"

SCANNER = """#!/bin/sh
# Each file below the directory, by its content.
found=$(grep -rlF 'EICAR-STANDARD-ANTIVIRUS-TEST-FILE' "$1") && {{ echo "infected: Eicar-Test ($found)"; exit 1; }}
while [ -e {dir}/hold ]; do sleep 0.1; done
exit 0
"""

CONF = """use strict;
$MYHOME = '{dir}/var';
$TEMPBASE = "$MYHOME/tmp";
$ENV{{TMPDIR}} = $TEMPBASE;
$QUARANTINEDIR = "$MYHOME/quarantine";
$db_home = "$MYHOME/db";
$helpers_home = $MYHOME;
$lock_file = "$MYHOME/lock";
$pid_file = "$MYHOME/pid";
$do_syslog = 0;
$log_level = 2;
$logfile = '{dir}/log';
$enable_db = 0;
$enable_zmq = 0;
$enable_dkim_verification = 0;
$mydomain = 'src.test';
$myhostname = '{name}';
@local_domains_maps = (1);
@mynetworks = qw(127.0.0.0/8);
$max_servers = {servers};
$max_requests = 20;
$child_timeout = 20 * 60;
$inet_socket_bind = '127.0.0.1';
$inet_socket_port = [{port}];
@inet_acl = qw(127.0.0.1);
$forward_method = 'smtp:[127.0.0.1]:{back}';
$notify_method = $forward_method;
@bypass_spam_checks_maps = (1);
@bypass_banned_checks_maps = (1);
@bypass_header_checks_maps = (1);
@decoders = (['mail', \\&do_mime_decode]);
@av_scanners = (['tiny', '{dir}/scanner', '{{}}', [0], [1], qr/infected: (\\S+)/m]);
@virus_lovers_maps = ({{'lover@local.test' => 1}});
$final_virus_destiny = {destiny};
$virus_quarantine_method = 'local:virus-%m';
$virus_quarantine_to = 'virus-quarantine';
$virus_admin = undef;
$mailfrom_notify_admin = $mailfrom_notify_recip = $mailfrom_notify_spamadmin = '';
$warnvirussender = $warnvirusrecip = 0;
1;
"""


class Amavis:
    """`back`: the port that it gives mail back to. `servers`: how many mails it takes at a time. What is bad is dropped, or refused with `reject`."""

    def __init__(self, back, servers=4, reject=False):
        if os.getuid() != 0:
            raise Unavailable("amavisd needs root here")
        trees = [unpacked(p) for p in PACKAGES]
        self.user = pwd.getpwnam(os.environ.get("SMX_TEST_USER", "nobody"))
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix="smx-amavis-")
        os.chmod(self.dir, 0o755)
        for name in ("var", "var/tmp", "var/quarantine", "var/db"):
            os.mkdir(os.path.join(self.dir, name), 0o750)
            os.chown(os.path.join(self.dir, name), self.user.pw_uid, self.user.pw_gid)
        self._write("log", "")
        os.chown(os.path.join(self.dir, "log"), self.user.pw_uid, self.user.pw_gid)
        self._write("scanner", SCANNER.format(dir=self.dir))
        os.chmod(os.path.join(self.dir, "scanner"), 0o755)
        self._write("conf", CONF.format(dir=self.dir, name=NAME, port=self.port, back=back, servers=servers,
                                        destiny="D_REJECT" if reject else "D_DISCARD"))
        # That user may not go into the cache: what is needed lies beside the rest.
        lib = os.path.join(self.dir, "perl")
        for tree in trees:
            for d in glob.glob(tree + "/usr/share/perl5") + glob.glob(tree + "/usr/lib/*/perl5/*"):
                shutil.copytree(d, lib, dirs_exist_ok=True)
        program = os.path.join(self.dir, "amavisd")  # it runs itself once more: its first line has to know where the modules are
        with open(os.path.join(trees[0], "usr/sbin/amavisd")) as f:
            self._write("amavisd", f.read().replace("#!/usr/bin/perl -T", f"#!/usr/bin/perl -T -I{lib}", 1))
        os.chmod(program, 0o755)
        self.command = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups", program,
                        "-c", os.path.join(self.dir, "conf")]
        self.process = None
        tried = subprocess.run([*self.command, "-V"], capture_output=True, text=True, timeout=60 * SLOW)
        if "amavis-" not in tried.stdout + tried.stderr:  # it ends with 1 in any case
            self.remove()
            raise Unavailable(f"amavisd does not run here: {(tried.stdout + tried.stderr).strip()[-300:]}")

    def _write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write(text)

    def __enter__(self):
        try:
            self.start()
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        self.remove()

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        with open(os.path.join(self.dir, "out"), "a") as out:
            self.process = subprocess.Popen([*self.command, "foreground"], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            start_new_session=True)

        def answers():
            if self.process.poll() is not None:
                raise AssertionError("amavisd ended: " + self.log("out") + self.log())
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                    return s.recv(100).startswith(b"220")
            except OSError:
                return False
        until(answers, lambda: "amavisd is ready: " + self.log("out") + self.log()[-2000:])

    def stop(self, sig=signal.SIGTERM):
        """Its children end with it, whatever they are at."""
        if self.process is None:
            return
        self.process.send_signal(sig)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process = None

    def hold(self, on=True):
        """It comes to no end with any mail until it is let go."""
        if on:
            self._write("hold", "")
        else:
            os.unlink(os.path.join(self.dir, "hold"))

    def log(self, name="log"):
        try:
            with open(os.path.join(self.dir, name), errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def quarantine(self):
        """The mails that it keeps, by name."""
        out = {}
        for path in glob.glob(os.path.join(self.dir, "var/quarantine/**"), recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    out[os.path.basename(path)] = f.read()
        return out
