"""smarctl of a site: its answers, which hold what doc/formats.md says."""
import json
import os
import re
import subprocess

from lib.paths import SRC


def schema():
    with open(os.path.join(SRC, "doc", "formats.md")) as f:
        text = f.read().partition("## Answers of smarctl")[2].partition("\n## ")[0]
    return {t: set(re.findall(r"`(\w+)`", keys)) for t, _, keys in re.findall(r"^\| `(\w+)` \| ([^|]*) \| (.*) \|$", text, re.M)}


class Ctl:
    def __init__(self, site):
        self.site, self.schema = site, schema()

    def text(self, *args, status=0):
        r = subprocess.run([*self.site.prefix, os.path.join(self.site.dir, "smarctl"), *args], capture_output=True, cwd=self.site.dir, timeout=120,
                           stdin=subprocess.DEVNULL)
        assert r.returncode == status, (args, r.returncode, r.stdout, r.stderr)
        assert b"runtime error" not in r.stderr and b"Sanitizer" not in r.stderr, r.stderr
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", r.stdout + r.stderr), "controls reach the terminal"
        self.err = r.stderr.decode()
        return r.stdout.decode()

    def __call__(self, *args, status=0):
        out = [json.loads(x) for x in self.text("-j", *args, status=status).splitlines()]
        for o in out:
            unknown = set(o) - self.schema[o["type"]] - {"type"}
            assert not unknown, f"{o['type']}: {unknown} are not in doc/formats.md"
        return out

    def of(self, kind, *args, status=0):
        return [o for o in self(*args, status=status) if o["type"] == kind]

    def one(self, kind, *args, status=0):
        line, = self.of(kind, *args, status=status)
        return line

    def told(self, *args, status=0):
        """Codes that the client reads, of RCPT a list."""
        return [(o["stage"], o["code"]) for o in self.of("told", "check", *args, status=status)]
