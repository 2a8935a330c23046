"""The filter of checks/milter/testfilter.c as an object: told what to do, asked what it was told."""
import os
import re
import shutil
import subprocess
import tempfile
from urllib.parse import quote, unquote_to_bytes

from .paths import BUILD, free_port, program
from .wait import until

NAME = "checks/milter/testfilter"


def available():
    return os.access(os.path.join(BUILD, NAME), os.X_OK)


def plain(field):
    return unquote_to_bytes(field).decode("latin-1")


class Session:
    """What one of its sessions was told: events as tuples of name and arguments; macros[event] as it was first asked for."""

    def __init__(self, number):
        self.number, self.events, self.macros, self.did = number, [], {}, []

    def of(self, name):
        return [e[1:] for e in self.events if e[0] == name]

    def body(self):
        return "".join(a[0] for a in self.of("body"))

    def mail(self):
        """All that was said of mail, the body as one piece; without aborts: Postfix says more of them than there are messages."""
        out = []
        for e in self.events:
            if e[0] == "body" and out and out[-1][0] == "body":
                out[-1] = ("body", out[-1][1] + e[1])
            elif e[0] not in ("negotiate", "connect", "helo", "abort", "close"):
                out.append(e)
        return out


class TestFilter:
    __test__ = False

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="smx-filter-")
        self.port = free_port()
        self.log = os.path.join(self.dir, "log")
        self.control = os.path.join(self.dir, "control")
        self.orders()
        self.process = subprocess.Popen([program(NAME), f"inet:{self.port}@127.0.0.1", self.control, self.log], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def orders(self, *lines):
        """For sessions that begin from now on: tuples of words, which may be bytes."""
        with open(self.control + ".new", "w") as f:
            f.writelines(" ".join(quote(w if isinstance(w, bytes) else str(w), safe="=<>@") for w in line) + "\n" for line in lines)
        os.rename(self.control + ".new", self.control)

    def sessions(self):
        out = {}
        with open(self.log) as f:
            text = f.read()
        for line in text[:text.rfind("\n") + 1].splitlines():
            number, event, *args = map(plain, line.split("\t"))
            s = out.setdefault(int(number), Session(int(number)))
            if event == "macro":
                s.macros.setdefault(args[0], {}).setdefault(args[1], args[2])
            elif event == "did":
                s.did.append(tuple(args))
            else:
                s.events.append((event, *args))
        return out

    def ended(self, after):
        """The first session behind that number, when it is over."""
        def find():
            for s in self.sessions().values():
                if s.number > after and s.events and s.events[-1][0] == "close":
                    return s
            return None
        return until(find, lambda: f"a session has ended: {[s.events for s in self.sessions().values() if s.number > after]}", 20)

    def last(self):
        """The number of the newest session."""
        return max(self.sessions(), default=0)

    def section(self, name, more="flags = { tempfail };"):
        """For the configuration of smtps."""
        return f'policy_milter {name} {{ socket {{ type = inet; address = "127.0.0.1"; port = {self.port}; }} {more} }}\n'


def fields(content, own=r"(?s)Received:.*\bby (mx|postfix)\.test\b.*"):
    """The header of what left, as a list; what the server puts in front itself is only `Received`."""
    head = content.partition(b"\r\n\r\n")[0].decode("latin-1")
    return ["Received" if re.fullmatch(own, f) else f for f in re.split(r"\r\n(?![ \t])", head)]
