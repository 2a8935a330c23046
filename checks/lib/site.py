"""A private smx site in a directory of its own, made and run through misc/site.sh.

As a normal user everything runs as that user. As root the default mode drops to an unprivileged user (SMX_TEST_USER, default
nobody) for everything it runs; users="real" lets mcp run as root with the five users of a real site.
"""
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

from . import client
from .faults import FaultControl
from .health import Snapshot, alive, no_report
from .paths import BUILD, SRC, free_port
from .wait import SLOW, until

COMPONENTS = ("qmgr", "smar", "smtpc", "smtps")
# Tests open many connections from one address, retry soon, and see errors soon.
TEST_SETTINGS = {
    "qmgr.smtps.max_connection_rate": "1000000",
    "qmgr.smtps.max_connections": "2000",
    "qmgr.retry_min_delay": "1s",
    "qmgr.retry_max_delay": "4s",
}


class SiteError(AssertionError):
    pass


class Site:
    def __init__(self, routes=(), relay=(), dns=None, settings=None, users="none", hostname="mx.test", lmtp_agent=False, build=None,
                 directory=None, environment=None, arguments=()):
        self.dir = directory or tempfile.mkdtemp(prefix="smx-site-")
        self.port = free_port()
        self.users = users
        self.build = build or BUILD
        self.prefix = []
        if os.getuid() == 0 and users == "none":
            user = pwd.getpwnam(os.environ.get("SMX_TEST_USER", "nobody"))
            self.prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            os.chown(self.dir, user.pw_uid, user.pw_gid)
        os.chmod(self.dir, 0o755)
        self.faults_file = os.path.join(self.dir, "faults")
        self.maildirs = os.path.join(self.dir, "Maildirs")
        with open(self.faults_file, "w"):
            pass
        self.environment = dict(os.environ, SM_FAULTS_FILE=self.faults_file, LC_ALL="C", **(environment or {}))
        args = ["--build", self.build, "--port", str(self.port), "--hostname", hostname, "--users", users]
        if dns:
            args += ["--dns", dns]
        for r in routes:
            args += ["--route", r]
        settings = {**TEST_SETTINGS, **(settings or {})}
        if len(relay) > 10:  # a command line has an end
            settings["smtps.relay_to"] = "{ " + ", ".join(relay) + " }"
        else:
            args += [x for d in relay for x in ("--relay-domain", d)]
        for key, value in settings.items():
            args += ["--set", f"{key}={value}"]
        if lmtp_agent:
            args += ["--lmtp-agent", self.maildirs]
        args += arguments
        self._run(["sh", os.path.join(SRC, "misc", "site.sh"), "create", self.dir, *args])
        self.env = self._read_env()
        self.port = int(self.env.get("SITE_PORT", self.port))
        self.conf = os.path.join(self.dir, "smx.conf")
        self.spool = self.env.get("SITE_SPOOL", os.path.join(self.dir, "spool"))
        self.log_dir = self.env.get("SITE_LOG", os.path.join(self.dir, "log"))

    def _run(self, args, check=True, timeout=60):
        r = subprocess.run(self.prefix + args, env=self.environment, cwd=self.dir, text=True, timeout=timeout * SLOW,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        if check and r.returncode:
            raise SiteError(f"{shlex.join(args)}: exit {r.returncode}\n{r.stdout}\n{self.log_tail()}")
        return r

    def _read_env(self):
        env = {}
        path = os.path.join(self.dir, "site.env")
        if os.path.exists(path):
            with open(path) as f:
                for line in f:
                    m = re.match(r"(?:export )?(\w+)=(.*)", line.strip())
                    if m:
                        env[m.group(1)] = " ".join(shlex.split(m.group(2)))
        return env

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if kind is None:
            for name, text in self.logs_since().items():  # leaks are reported at the end
                no_report(name, text)
        if kind is None and not os.environ.get("SMX_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def add(self, section, text):
        """More of a section of the configuration, at its beginning; @ stands for the site's directory."""
        with open(self.conf) as f:
            conf = f.read()
        if "relay_from_local" in text:  # the last one counts, and that would be the site's own
            conf = re.sub(r"(?m)^ *relay_from_local = \{ submit \};\n", "", conf)
        conf, n = re.subn(rf"(?m)^{re.escape(section)} \{{$", lambda m: m.group(0) + "\n" + text.replace("@", self.dir), conf, count=1)
        assert n == 1, section
        with open(self.conf, "w") as f:
            f.write(conf)

    def put(self, name, text):
        """A file of the site's directory, as a whole: whoever reads it has the old one or this one."""
        path = os.path.join(self.dir, name)
        with open(path + ".new", "w") as f:
            f.write(text)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)

    def createmap(self, name, text, kind="mailertable", check=True):
        """A map of the site's directory, made by our own tool; what that said."""
        path = os.path.join(self.dir, name)
        r = subprocess.run([os.path.join(self.build, "createmap"), "-k", kind, path], input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if check and r.returncode:
            raise SiteError(f"createmap of {name}: exit {r.returncode}\n{r.stdout}")
        if r.returncode == 0:
            os.chmod(path, 0o644)
        return r

    # -- life
    def mcp_sh(self, verb, check=True):
        return self._run(["sh", os.path.join(self.dir, "mcp.sh"), verb], check)

    def start(self, wait=True):
        self.mcp_sh("start")
        if wait:
            self.wait_ready()

    def stop(self):
        self.mcp_sh("stop", check=False)
        until(lambda: not self.mcp_pid(), "mcp ends", 20)

    def reload(self):
        self.mcp_sh("reload")

    def wait_ready(self, timeout=20):
        """Until the port greets with 220 and a session gets through EHLO."""
        def ready():
            try:
                with client.Client(self.port, timeout=2) as c:
                    return c.greeting.code == 220 and "PIPELINING" in c.extensions
            except (OSError, AssertionError, client.Closed):
                return False
        until(ready, lambda: f"site is ready; log:\n{self.log_tail()}", timeout, 0.05)

    # -- processes
    def _processes(self):
        """(pid, ppid, name) of the processes of this site: mcp, found by this directory in its arguments, and its children."""
        mine, parents = [], {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat") as f:
                    stat = f.read()
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    argv = f.read().decode("latin-1").split("\0")
            except OSError:
                continue
            rest = stat[stat.rindex(")") + 2:].split()
            if rest[0] in "ZX" or not argv[0]:
                continue
            parents[int(entry)] = int(rest[1])
            mine.append((int(entry), int(rest[1]), os.path.basename(argv[0]), argv))
        mcp = {p for p, _, name, argv in mine if name == "mcp" and self._is_mine(p, argv)}
        # mcp may have forked and not yet executed: its child is still called mcp
        return [(p, pp, name, p in mcp and pp not in mcp) for p, pp, name, _ in mine if p in mcp or pp in mcp]

    def _is_mine(self, pid, argv):
        if any(self.dir + "/" in a or a == self.dir for a in argv):
            return True
        try:
            return os.readlink(f"/proc/{pid}/cwd").startswith(self.dir)
        except OSError:
            return False

    def mcp_pid(self):
        for pid, _, _, top in self._processes():
            if top:
                return pid
        return None

    def all_pids(self):
        """component -> sorted pids, mcp included."""
        out = {}
        for pid, _, name, _ in self._processes():
            out.setdefault(name, []).append(pid)
        return {k: sorted(v) for k, v in sorted(out.items())}

    def pids(self, component):
        return self.all_pids().get(component, [])

    def name_of(self, pid):
        for name, pids in self.all_pids().items():
            if pid in pids:
                return f"{name} {pid}"
        return str(pid)

    def kill(self, component, sig=signal.SIGKILL):
        """Gives the pids that were hit."""
        hit = []
        for pid in self.pids(component):
            try:
                os.kill(pid, sig)
                hit.append(pid)
            except ProcessLookupError:
                pass
        return hit

    def kill_all(self):
        """All at one moment: stopped one after the other, so that nobody sees another die, then killed."""
        pids = [p for ps in self.all_pids().values() for p in ps]
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
        until(lambda: not any(map(alive, pids)) and not self.all_pids(), "all are dead", 10)

    def restarted(self, component, old, timeout=15):
        """Wait for a new process in place of the old pids."""
        return until(lambda: [p for p in self.pids(component) if p not in old], f"{component} is restarted", timeout)

    # -- what it says
    def _logs(self):
        return [os.path.join(self.log_dir, n) for n in sorted(os.listdir(self.log_dir))] if os.path.isdir(self.log_dir) else []

    def log_marks(self):
        """How far each file is, by its inode: logs are moved away and begun anew."""
        return {s.st_ino: s.st_size for s in map(os.stat, self._logs())}

    def logs_since(self, marks=None):
        out = {}
        for p in self._logs():
            with open(p, "rb") as f:
                f.seek((marks or {}).get(os.fstat(f.fileno()).st_ino, 0))
                out[os.path.basename(p)] = f.read().decode("latin-1")
        return out

    def log_lines(self, component, event):
        """Lines of this event in the log of a component so far."""
        return [x for name, text in self.logs_since().items() if name.startswith(component) for x in text.splitlines() if f" {event} " in x]

    def log_tail(self, lines=6):
        try:
            return "\n".join(f"--- {n}\n" + "\n".join(t.splitlines()[-lines:]) for n, t in self.logs_since().items())
        except (AttributeError, OSError):
            return "(no log)"

    def snapshot(self):
        return Snapshot(self)

    # -- what it holds
    def content_files(self):
        out = []
        for d in "0123456789ABCDEF":
            path = os.path.join(self.spool, d)
            if os.path.isdir(path):
                out += [os.path.join(path, n) for n in os.listdir(path)]
        return out

    def wait_empty(self, timeout=30):
        """Until no content file is left: everything is delivered, reported or dropped."""
        until(lambda: not self.content_files(), lambda: f"queue empties; left: {self.content_files()[:5]}\n{self.log_tail()}", timeout, 0.05)

    def qmgrctl(self, *args, check=True):
        return self._run([os.path.join(self.dir, "qmgrctl"), *args], check).stdout

    # -- making it fail
    def faults(self, component, text):
        return FaultControl(self, component, text)

    def has_faults(self):
        with open(os.path.join(self.build, "config.h")) as f:
            return "#define SM_TESTING 1" in f.read()

    # -- mail
    def client(self, **kw):
        return client.Client(self.port, **kw)

    def canary(self, sink, rcpt="canary@local.test", timeout=10):
        """INV3: a mail from another connection is accepted now and delivered soon."""
        tag = f"canary-{time.monotonic_ns()}"
        with self.client() as c:
            r = c.send_mail("canary@src.test", rcpt, client.message(tag))
            assert r.code == 250, f"canary: {r}"
        sink.wait(tag, timeout=timeout)
