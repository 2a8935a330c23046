"""A site whose workers run below valgrind's callgrind, and what that counted.

    cg = Callgrind(site)        before the site is started: changes its configuration
    first = cg.taken()          {worker: Counts} since the start or the time before; nothing else should happen meanwhile

mcp starts valgrind as it would start the worker; valgrind opens the real program. Counts are taken when a worker enters sm_co_dump, which SIGUSR2
makes it do, so nothing has to be attached, and what was set up before rights were dropped is enough.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile

from .paths import BUILD, SRC, build_says
from .site import COMPONENTS
from .wait import until

SWITCH = "sm_co_ctx_swap"  # coroutines: behind it another stack goes on
MARK = "sm_co_dump"
# valgrind keeps a dozen descriptors for itself and lets nobody change the limit, so it has to be below what each worker wants.
DESCRIPTORS = 1000


def missing():
    """What is in the way of it, as text; None: nothing."""
    if not valgrind():
        return "valgrind is not installed"
    if not build_says("#define HAVE_VALGRIND_VALGRIND_H 1"):
        return f"{BUILD} was configured without <valgrind/valgrind.h>"
    if build_says("-fsanitize=", "Makefile"):
        return f"{BUILD} has sanitizers, which exclude valgrind"
    return None


def valgrind():
    """The program itself, not the shell script around it that Debian has: mcp executes a descriptor."""
    return shutil.which("valgrind.bin") or shutil.which("valgrind")


def version():
    return subprocess.run([valgrind(), "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()


class Callgrind:
    def __init__(self, site, descriptors=None):
        """`descriptors`: how many a worker may have, where that is not DESCRIPTORS."""
        self.site, self.parts, self.descriptors = site, 0, descriptors or {}
        self.dir = tempfile.mkdtemp(prefix="callgrind-", dir=site.dir)
        shutil.chown(self.dir, os.stat(site.dir).st_uid)
        with open(site.conf) as f:
            conf = f.read()
        for worker in COMPONENTS:
            conf, n = re.subn(rf'path = "([^"]*/{worker})"; arguments = "{worker} ', lambda m: self._section(worker, m.group(1)), conf)
            assert n == 1, worker
        # the number of a process would stand before valgrind's own arguments; there is one of each
        conf = conf.replace('pass_id = "-i"; ', "")
        with open(site.conf, "w") as f:
            f.write(conf)

    def _section(self, worker, path):
        options = f"--tool=callgrind --vgdb=no --dump-before={MARK} --callgrind-out-file={self.dir}/{worker} --log-file={self.dir}/{worker}.log"
        return f'max_descriptors = {self.descriptors.get(worker, DESCRIPTORS)}; watchdog = 10m; path = "{valgrind()}"; arguments = "{worker} {options} {path} '

    def taken(self):
        self.parts += 1
        out = {}
        for worker in COMPONENTS:
            self.site.kill(worker, signal.SIGUSR2)
        for worker in COMPONENTS:
            path = f"{self.dir}/{worker}.{self.parts}"
            out[worker] = read(until(lambda p=path: _complete(p), lambda p=path: f"callgrind writes {p}\n{self.site.log_tail()}"))
        return out


def _complete(path):
    try:
        with open(path) as f:
            text = f.read()
    except OSError:
        return None
    return text if re.search(r"^totals: \d+\n", text[-100:], re.M) else None


class Counts:
    """Instructions, `total` and of each function ("name (file)"): `own`, and `all` with what it called.

    `all` lacks the functions that may switch coroutines: what goes on behind a switch is none of theirs, and callgrind cannot know."""

    def __init__(self, total, own, all_):
        self.total, self.own, self.all = total, own, all_

    def per(self, other, n):
        """What each of n messages took that `other` has more."""
        def by(a, b):
            return {k: (b.get(k, 0) - a.get(k, 0)) / n for k in {**a, **b}}
        return Counts((other.total - self.total) / n, by(self.own, other.own), by(self.all, other.all))


def _place(source, program):
    if source.startswith(SRC + "/"):
        return source[len(SRC) + 1:]
    if source.startswith("/") or source == "???" or not os.path.exists(os.path.join(SRC, source)):
        return os.path.basename(program)
    return source


def read(text):
    """Of the text of one dump. The format is told in valgrind's manual, "Callgrind Format Specification"."""
    names = {"f": {}, "fn": {}, "ob": {}}
    own, edges = {}, {}
    now = {"fl": "???", "fn": None, "ob": ""}
    callee, total, called = {}, 0, False

    def name(kind, value):
        number, _, rest = value.partition(" ")
        if rest:
            names[kind][number] = rest
        return names[kind][number]

    for line in text.splitlines():
        if not line or line[0] == "#":
            continue
        if line[0] in "0123456789+-*":
            cost = int(line.split()[1])
            if called:
                key = now["fn"], (callee["fn"], _place(callee.get("fl", now["fl"]), callee.get("ob", now["ob"])))
                edges[key] = edges.get(key, 0) + cost
                callee, called = {}, False
            elif now["fn"]:
                own[now["fn"]] = own.get(now["fn"], 0) + cost
            continue
        word, _, value = line.partition("=")
        if word == "calls":
            called = True
        elif word == "ob":
            now["ob"] = name("ob", value)
        elif word == "fl":
            now["fl"] = name("f", value)
        elif word in ("fi", "fe"):
            name("f", value)  # a piece of another file, inlined: still of the same function
        elif word == "fn":
            now["fn"] = _plain(name("fn", value)), _place(now["fl"], now["ob"])
        elif word == "cob":
            callee["ob"] = name("ob", value)
        elif word in ("cfi", "cfl"):
            callee["fl"] = name("f", value)
        elif word == "cfn":
            callee["fn"] = _plain(name("fn", value))
        elif line.startswith("totals: "):
            total = int(line.split()[1])
    return Counts(total, {_text(k): v for k, v in own.items()}, _inclusive(own, edges))


def _plain(function):
    """Without recursion level, version of a library's symbol, and what the compiler adds to the name of a part or variant."""
    return re.sub(r"(\.(constprop|isra|part|cold|lto_priv)(\.\d+)*|@@?\w[\w.]*|'\d+)+$", "", function)


def _text(key):
    return f"{key[0]} ({key[1]})"


def _inclusive(own, edges):
    callers, switches = {}, set()
    for f, g in edges:
        callers.setdefault(g, set()).add(f)
        switches.update(k for k in (f, g) if k[0] == SWITCH)
    todo = list(switches)
    while todo:
        new = callers.get(todo.pop(), set()) - switches
        switches |= new
        todo += new
    out = {_text(k): v for k, v in own.items() if k not in switches}
    for (f, g), cost in edges.items():
        if f not in switches and f != g:
            out[_text(f)] = out.get(_text(f), 0) + cost
    return out
