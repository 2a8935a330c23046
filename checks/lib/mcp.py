"""mcp alone in a directory of its own, with small programs (mcp_child.py) that tell what happens to them.

Run as root, mcp runs as an unprivileged user, but for the tests about the change of user.
"""
import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from .paths import SRC, program
from .wait import PATIENCE, SLOW, until

PYTHON = "/usr/bin/python3"
ROOT = os.getuid() == 0
NOBODY = pwd.getpwnam("nobody")


class Mcp:
    """One mcp in one directory."""

    def __init__(self, as_root=False):
        self.dir = tempfile.mkdtemp(prefix="smx-mcp-")
        os.chmod(self.dir, 0o755)
        self.prefix = []
        if ROOT and not as_root:
            self.prefix = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups"]
            os.chown(self.dir, NOBODY.pw_uid, NOBODY.pw_gid)
        elif as_root:
            os.chmod(self.dir, 0o777)
        self.events_file = self.path("events")
        shutil.copy(os.path.join(SRC, "checks/lib/mcp_child.py"), self.path("child.py"))
        self.write("events", "", 0o666)
        os.mkdir(self.path("log"))
        if ROOT and not as_root:
            os.chown(self.path("log"), NOBODY.pw_uid, NOBODY.pw_gid)
        self.process = None

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def child(self, tag, actions, options="", start="wait"):
        """A section that runs the python child."""
        return f"""{tag} {{ start_action = {start}; path = "{PYTHON}"; restart_min_delay = 50ms; restart_max_delay = 400ms;
            arguments = "python3 {self.path('child.py')} '{self.events_file} {tag} {actions}'"; {options} }}\n"""

    def conf(self, *sections):
        self.write("mcp.conf", "\n".join(sections))

    def command(self, *args):
        return [*self.prefix, program("mcp/mcp"), "-L", self.path("log"), *args, self.path("mcp.conf")]

    def start(self, *args, env=None, wait=True):
        with open(self.path("stderr"), "wb") as err:
            self.process = subprocess.Popen(self.command("-F", *args), cwd=self.dir, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                            env={**os.environ, **(env or {})})
        if wait:
            self.logged("mc.up")
        return self

    def run(self, *args, **kw):
        return subprocess.run(self.command(*args), cwd=self.dir, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE * SLOW, **kw)

    def signal(self, sig):
        os.kill(self.process.pid, sig)

    def stop(self, timeout=PATIENCE):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                return self.process.wait(timeout * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        return self.process.returncode if self.process else None

    def log(self):
        with contextlib.suppress(FileNotFoundError), open(self.path("log/mcp.log")) as f:
            return f.read()
        return ""

    def logged(self, pattern, timeout=PATIENCE, count=1):
        def there():
            found = re.findall(pattern, self.log())
            return found if len(found) >= count else None
        return until(there, lambda: f"{pattern} in the log:\n{self.log()}\n{open(self.path('stderr')).read()}")

    def events(self, tag=None, word=None):
        """(time, tag, word, pid) of what the children did."""
        found = []
        with open(self.events_file) as f:
            for line in f:
                when, t, w, pid = line.split()
                if (tag is None or t == tag) and (word is None or re.fullmatch(word, w)):
                    found.append((float(when), t, w, int(pid)))
        return found

    def event(self, tag, word, count=1, timeout=PATIENCE):
        return until(lambda: len(self.events(tag, word)) >= count and self.events(tag, word),
                     lambda: f"{count} x {tag} {word}: {self.events()}\n{self.log()}", timeout)


def ask(port, text=b"", timeout=PATIENCE):
    """What the server on that port says until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout * SLOW) as s:
        if text:
            s.sendall(text)
            s.shutdown(socket.SHUT_WR)
        data = b""
        while chunk := s.recv(1000):
            data += chunk
        return data.decode()
