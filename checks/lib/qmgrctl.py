"""qmgrctl of a site: its answers, which hold what doc/formats.md says."""
import json
import os
import re
import subprocess

from lib.paths import SRC


def schema():
    """type -> keys, from the table in doc/formats.md."""
    with open(os.path.join(SRC, "doc", "formats.md")) as f:
        text = f.read().partition("## Answers on the control socket")[2].partition("\n## ")[0]
    out = {}
    for types, _, keys in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \| (.*) \|$", text, re.M):
        for t in re.findall(r"`(\w+)`", types):
            out[t] = set(re.findall(r"`(\w+)`", keys))
    return out


class Ctl:
    """qmgrctl of a site: (exit status, stdout) with and without JSON; each JSON line is held against the documented schema."""

    def __init__(self, site):
        self.site, self.schema = site, schema()

    def __call__(self, *args, status=0, stdin=None):
        r = subprocess.run([*self.site.prefix, os.path.join(self.site.dir, "qmgrctl"), *args], capture_output=True, cwd=self.site.dir, timeout=60,
                           input=stdin.encode() if stdin else None, stdin=None if stdin else subprocess.DEVNULL)
        assert r.returncode in (status if isinstance(status, tuple) else (status,)), (args, r.returncode, r.stdout, r.stderr)
        self.err = r.stderr.decode()
        assert b"runtime error" not in r.stderr and b"Sanitizer" not in r.stderr, r.stderr
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", r.stdout + r.stderr), "controls reach the terminal"
        return r.stdout.decode()

    def lines(self, *args, status=0, stdin=None):
        out = [json.loads(x) for x in self("-j", *args, status=status, stdin=stdin).splitlines()]
        for o in out:
            unknown = set(o) - self.schema[o["type"]] - {"type"}
            assert not unknown, f"{o['type']}: {unknown} are not in doc/formats.md"
        return out

    def one(self, *args, status=0):
        line, = self.lines(*args, status=status)
        return line

    def found(self, *args):
        """0 when there is mail of that kind, 1 when there is none."""
        return subprocess.run([*self.site.prefix, os.path.join(self.site.dir, "qmgrctl"), "list", *args], capture_output=True, cwd=self.site.dir).returncode

    def mails(self, *args):
        return self.lines("list", *args, status=(0, 1))
