"""What may happen to a suite under load: everything that crash.py does to it.

An event happens at a random moment while mail flows, tells `note` when it hit whom, and does not wait longer than it must: whether the
suite recovers is seen by mail that flows again. What could not happen (a fault that did not strike in time) gives False and is no round.
"""
import itertools
import os
import re
import shutil
import signal
import tempfile
import time

from lib.faults import FaultControl
from lib.health import alive
from lib.paths import BUILD
from lib.site import COMPONENTS
from lib.wait import SLOW, until

STRIKES_WITHIN = 3.0    # s: else the fault is disarmed and another one is tried
ERRORS = ("eio", "enospc", "kill")
# Each write and each sync of content and journal, and what stands around them: who passes it, what may happen there.
POINTS = [
    ("smtps", "cdb.open", ERRORS), ("smtps", "cdb.write", (*ERRORS, "short")), ("smtps", "cdb.sync", ERRORS),
    ("smtps", "cdb.syncdir", ERRORS), ("smtps", "cdb.close", ERRORS),
    ("smtpc", "cdb.open", ERRORS), ("smtpc", "cdb.read", ("eio", "kill")),
    ("qmgr", "cdb.unlink", ("eio", "kill")),
    ("qmgr", "ibdb.write", (*ERRORS, "short")), ("qmgr", "ibdb.sync", ERRORS),
    ("qmgr", "ibdb.create", ERRORS), ("qmgr", "ibdb.prepare", ERRORS),
    ("qmgr", "defedb.write", (*ERRORS, "short")), ("qmgr", "defedb.sync", ERRORS),
    ("qmgr", "defedb.create", ERRORS), ("qmgr", "defedb.prepare", ERRORS),
]
PASSES = [1, 3, 2, 17, 5, 60, 8]    # the Nth pass since it was armed
SELDOM = ("create", "prepare")      # of segments: mostly when a new qmgr makes its first ones, while it replays

PROGRAMS = ["mcp/mcp", "qmgr/qmgr", "smar/smar", "smtpc/smtpc", "smtps/smtps"]
MORE = ["misc/qmgrctl", "misc/mcp.sh", "misc/sm.setup.sh", "config.h", "Makefile"]
CANNOT_START = b"#!/bin/sh\nexit 1\n"


# ---- builds that can be overwritten

def copy_of_programs():
    """A build directory of its own; the caller removes it."""
    top = tempfile.mkdtemp(prefix="smx-tree-")
    os.chmod(top, 0o755)
    for name in PROGRAMS + MORE:
        os.makedirs(os.path.dirname(os.path.join(top, name)), exist_ok=True)
        if os.path.exists(os.path.join(BUILD, name)):
            shutil.copy2(os.path.join(BUILD, name), os.path.join(top, name))
    return top


def install(path, content):
    """As install(1) does it: a new file under the old name."""
    with open(path + ".new", "wb") as f:
        f.write(content)
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


def install_other(top, number):
    """The next real build: other bytes, same protocol."""
    for name in PROGRAMS:
        with open(os.path.join(BUILD, name), "rb") as f:
            install(os.path.join(top, name), f.read() + b"%d" % number)


def install_broken(top):
    """One that cannot even start."""
    for name in PROGRAMS:
        install(os.path.join(top, name), CANNOT_START)


def inode(pid):
    s = os.stat(f"/proc/{pid}/exe")
    return s.st_dev, s.st_ino


# ---- events

class Said:
    """What a component logs from now on, read piece by piece."""

    def __init__(self, path):
        self.path, self.at, self.rest = path, os.path.getsize(path), b""

    def struck(self, point):
        """When a fault struck there, by our clock (the log has wall time); None: not yet."""
        with open(self.path, "rb") as f:
            f.seek(self.at)
            new = f.read()
        self.at += len(new)
        text = self.rest + new
        m = re.search(rb"(\d{10}\.\d{3}) NOTICE fault\.struck point=" + re.escape(point.encode()) + b", ", text)
        self.rest = text[-200:]
        return m and float(m.group(1)) - time.time() + time.monotonic()


class Events:
    """`note(which, kill=True, at=now)` is told of each hit; `flows()` waits until mail flows again, then a random time."""

    def __init__(self, site, dice, figures, note, flows):
        self.site, self.dice, self.figures, self.note, self.flows = site, dice, figures, note, flows
        self._victims = itertools.cycle([*COMPONENTS, "mcp"])
        self._plan = self._faults()
        self._builds = itertools.count(1)
        self._started = None

    def happen(self, kind):
        """True when it did. `kind` may name several, one of which it is."""
        name = self.dice.choice(kind.split("+"))
        self.flows()
        return getattr(self, name)() is not False

    def kill(self):
        """SIGKILL to one component, each in its turn, mcp included."""
        which = next(self._victims)
        if which == "mcp":
            old = [p for ps in self.site.all_pids().values() for p in ps]
            self.note(which)
            self.site.kill("mcp")
            until(lambda: not any(map(alive, old)), "the children of mcp end", 40)
            self.site.start(wait=False)
            return
        old = self.site.pids(which)
        self.note(which)
        self.site.kill(which)
        self.site.restarted(which, old, 30)

    def queue(self):
        """SIGKILL to qmgr alone or to all."""
        if self.dice.randrange(2):
            self.all()
            return
        old = self.site.pids("qmgr")
        self.note("qmgr")
        self.site.kill("qmgr")
        self.site.restarted("qmgr", old, 30)

    def all(self):
        """SIGKILL to every process of the suite at one moment, then a start."""
        self.note("all")
        self.site.kill_all()
        self.site.start(wait=False)

    def stop(self):
        """SIGSTOP for a while, then SIGCONT."""
        which = self.dice.choice(COMPONENTS)
        self.note(which + " stopped", kill=False)
        pids = self.site.kill(which, signal.SIGSTOP)
        time.sleep(self.dice.uniform(0.05, 0.5))
        for p in pids:
            try:
                os.kill(p, signal.SIGCONT)
            except ProcessLookupError:
                pass

    # -- faults
    def _faults(self):
        """Sweep after sweep over all points and actions, each sweep with another N, in a random order within the sweep."""
        for sweep in itertools.count():
            one = [(c, p, a) for c, p, actions in POINTS for a in actions]
            self.dice.shuffle(one)
            for i, (component, point, action) in enumerate(one):
                seldom = point.split(".")[1] in SELDOM
                n = 1 + sweep % 2 if seldom else PASSES[(sweep + i) % len(PASSES)]
                yield component, point, action, n, seldom and sweep % 4 != 3

    def fault(self):
        """A fault point (needs --enable-testing) fails at the Nth pass. Counts when the component said that it struck."""
        component, point, action, n, at_start = next(self._plan)
        said = Said(os.path.join(self.site.log_dir, component + ".log"))
        control = FaultControl(self.site, component, "")
        self.figures["armed"] += 1
        if at_start:
            control.write(f"{point}={action}@{n}")
            self.note(component)
            self.site.kill(component)
        else:
            control.arm(f"{point}={action}@{n}")
        end = time.monotonic() + STRIKES_WITHIN * SLOW
        while not (at := said.struck(point)) and time.monotonic() < end:
            time.sleep(0.005)
        control.write("")
        if not at:
            control.arm("")
            at = said.struck(point)
        if not at:
            self.figures[f"not struck {point}"] += 1
            return False
        self.figures["struck"] += 1
        # Errors of the journal end qmgr; a content that cannot be written ends nobody.
        kill = action == "kill" or (component == "qmgr" and point.endswith((".write", ".sync")) and action != "short")
        self.note(f"{component} {point}={action}", kill, at)
        return True

    # -- upgrade
    def upgrade(self):
        """Another build is installed over the running one, then each worker is killed: it comes back as the build that was started. Now
        and then a reload changes to the new one."""
        number = next(self._builds)
        if self._started is None:
            self._started = {c: until(lambda: self._build(c), f"{c} runs") for c in COMPONENTS}
        broken = number % 4 == 2
        if broken:
            install_broken(self.site.build)
        else:
            install_other(self.site.build, number)
        workers = list(COMPONENTS)
        self.dice.shuffle(workers)
        for i, c in enumerate(workers):
            if i > 0:
                self.flows()
            old = self.site.pids(c)
            self.note(c)
            self.site.kill(c)
            self.site.restarted(c, old, 30)
            build = until(lambda: self._build(c, old), f"{c} runs")
            assert build == self._started[c], f"{c} came back as another build"
        if number % 8 == 0:
            self._change_build()

    def _change_build(self):
        old = {c: self.site.pids(c) for c in COMPONENTS}
        self.site.reload()
        for c in COMPONENTS:
            build = until(lambda: self._build(c, old[c]), f"{c} is replaced")
            assert build != self._started[c], f"{c} is still the old build after a reload"
            self._started[c] = build
        self.figures["reloads"] += 1

    def _build(self, component, old=()):
        """The program that runs, in place of the old ones; None: not yet. In the middle of an execve /proc tells nothing."""
        try:
            pids = self.site.pids(component)
            return inode(pids[0]) if pids and not set(pids) & set(old) else None
        except OSError:
            return None
