"""Plays doc/operating.md: sets its scenes with a real site and real next hops, runs each command as the page gives it, and compares what is printed.

The page says what it needs in comments, which nobody sees who reads it:

    <!-- scene NAME -->     what happens now: the function scene_NAME below
    <!-- file PATH -->      the next block is written to this file
    <!-- moving -->         the numbers in the next block are of that moment

A block with lines that begin with "$ " is a session: commands, each with what it printed. "# exit status 1" behind a command says how it ends; otherwise with 0.
The page speaks of an installed smx and of addresses for documentation (RFC 5737); PLACES says where that is on the machine that plays it, both ways.
"""
import os
import re
import subprocess
import tempfile
import time

from .client import message
from .dns import A, Dns
from .paths import BUILD, SRC, free_port
from .sink import Serve, Sink
from .site import Site
from .wait import SLOW, until

PAGE = os.path.join(SRC, "doc", "operating.md")
ID = r"S[0-9A-F]{18}"
ANGRY = b"421 4.7.0 unusual rate of mail from your address, try again later\r\n"
FULL = b"450 4.2.1 this user receives mail at a rate that is too high\r\n"
BIG, OTHER, SENDERS = "127.0.0.71", "127.0.0.72", 7


class Step:
    """A command with what the page says it prints, or a directive."""

    def __init__(self, line, kind, text, status=0, moving=False):
        self.line, self.kind, self.text, self.status, self.moving = line, kind, text, status, moving
        self.says, self.printed = [], None

    def __repr__(self):
        return f"doc/operating.md:{self.line}: {self.text}"


def parse(text):
    steps, block, path, moving = [], None, None, False
    for number, line in enumerate(text.splitlines(), 1):
        directive = re.fullmatch(r"<!-- (scene|file|moving) ?(\S*) -->", line)
        if line.startswith("```"):
            block = None if block is not None else []
            if block is None:
                path, moving = None, False
        elif directive:
            kind, word = directive.groups()
            path, moving = (word, moving) if kind == "file" else (path, True) if kind == "moving" else (path, moving)
            if kind == "scene":
                steps.append(Step(number, kind, word))
        elif block is not None and path:
            if not block:
                steps.append(Step(number, "file", path))
            block.append(line)
            steps[-1].says.append(line)
        elif block is not None and line.startswith("$ "):
            command, _, status = line[2:].partition("  # exit status ")
            steps.append(Step(number, "command", command, int(status.split(":")[0]) if status else 0, moving))
            block.append(line)
        elif block:
            steps[-1].says.append(line)
    return steps


def alike(line, moving=False):
    """A line without what differs from run to run: ids, times, sizes, pids, and how wide their columns are."""
    for pattern, word in ((ID, "ID"), (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", "TIME"), (r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d", "TIME"),
                          (r"\w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d [-+]\d{4}", "TIME"),
                          (r"\b\d+[smhdw](\d+[smhd])?\b|\bnow\b", "SPAN"), (r"\b\d+(\.\d+)?[KMG]\b", "SIZE"), (r"\b\d+ Kbytes", "SIZE"), (r"\buid[ =]\d+", "UID"),
                          (r"^size +\d+$", "size SIZE"), (r"\b(act|took_ms|mcp_pid)=\d+", r"\1=N"), (r"/[0-9A-F]/ID", "/D/ID"), (r"port \d+|\d+ \(SMTPD\)", "PORT"),
                          (r"(?<=ID)([!* ]) +\d+ TIME", r"\1 SIZE TIME")):
        line = re.sub(pattern, word, line)
    if moving:
        line = re.sub(r"^(ok|full|rate) ", "STATE ", line)
        line = re.sub(r"(SPAN|SIZE|-|\d+(/\d+)?)(?= )|\bSPAN\b", "N", line)
    return re.sub(r" +", " ", line).strip()


class Stage:
    def __init__(self):
        self.ids = {}  # of the page -> of this run
        self.dns = Dns()
        for name, address in (("mx1.big.example", BIG), ("mx1.other.example", OTHER)):
            self.dns.add(name, A(address))
        self.dns.fallback = lambda name, qtype: [A("192.0.2.1")] if qtype == "A" and name.endswith(".example") else "NXDOMAIN"
        self.port = free_port()
        self.sinks = [Sink(self.port, host=a) for a in (BIG, OTHER)]
        self.site, self.resumed = None, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.site:
            self.site.__exit__(None)
        for s in self.sinks:
            s.stop()
        self.dns.stop()

    # -- the page and this machine
    def places(self):
        s = self.site
        return (("/etc/smx/", os.path.join(s.dir, "etc") + "/"), *((f"/var/spool/smx/{p}.log", os.path.join(s.log_dir, f"{p}.log")) for p in ("qmgr", "smtps")), ("/var/spool/smx", s.spool),
                ("192.0.2.71:25", f"{BIG}:{self.port}"), ("192.0.2.72:25", f"{OTHER}:{self.port}"), ("192.0.2.71", BIG), ("192.0.2.72", OTHER))

    def to_here(self, text):
        for there, here in self.places():
            text = text.replace(there, here)
        for there, here in self.ids.items():
            text = re.sub(rf"/[0-9A-F]/{there}", f"/{here[16]}/{here}", text).replace(there, here)
        return text

    def to_page(self, text):
        for there, here in self.places():
            text = text.replace(here, there)
        return text

    # -- scenes
    def new_site(self):
        if self.site:
            self.site.__exit__(None)
        domains = {"big.example": "mx1.big.example", "other.example": "mx1.other.example"}
        directory = tempfile.mkdtemp(prefix="smx-site-")
        etc = os.path.join(directory, "etc")
        os.mkdir(etc)
        self.site = Site(directory=directory, routes=[f"{d} {self.port}^esmtp:{host}" for d, host in domains.items()], relay=list(domains), dns=self.dns.address, hostname="mx.example.com",
                         settings={"qmgr.retry_min_delay": "15m", "qmgr.retry_max_delay": "4h", "qmgr.conf": os.path.join(etc, "qmgr_conf")}, environment={"SM_TEST_LOOPBACK": "1"})
        self.site.start()
        self.bin = os.path.join(self.site.dir, "bin")
        os.mkdir(self.bin)
        for name in ("qmgrctl", "mailq"):
            with open(os.path.join(self.bin, name), "w") as f:
                f.write(f"#!/bin/sh\nexec {BUILD}/misc/{name} -s {self.site.spool}/ctl/qmgr \"$@\"\n")
            os.chmod(f.name, 0o755)
        os.symlink(os.path.join(SRC, "misc", "log2time"), os.path.join(self.bin, "log2time"))

    def send(self, *mails, subject="Hello", text=b"How are you?\r\n"):
        with self.site.client() as c:
            for sender, rcpt in mails:
                c.begin(sender, rcpt)
                assert c.finish(message(subject, text, f"From: {sender}\r\nTo: {rcpt}\r\n".encode())).code == 250

    def deferred(self, count, moving=False):
        def are():
            # of all kinds: deferred mail, recipients with a reply
            out = self.run("qmgrctl summary --by state")[0]
            return re.search(rf"^ +{count} .* deferred$", out, re.M) and (moving or "active" not in out)
        until(are, lambda: f"{count} are deferred: {self.run('qmgrctl summary --by state')[0]}", 60)

    def scene_a_provider_refuses(self):
        self.new_site()
        self.sinks[0].script([Serve({"MAIL": ANGRY})])
        self.send(*((f"user{i % SENDERS}@example.com", f"someone{i}@big.example") for i in range(240)))
        self.deferred(240)

    def scene_more_mail_comes(self):
        self.send(*((f"user{i % SENDERS}@example.com", f"someone{i}@big.example") for i in range(20)))
        self.deferred(260)

    def scene_they_agree(self):
        self.sinks[0].script([Serve()])

    def scene_it_is_resumed(self):
        self.deferred(240, moving=True)

    def scene_mail_flows(self):
        """Neither a burst nor a stop: what is agreed, 600 a minute on 5 sessions, is kept."""
        began, before = time.monotonic(), len(self.sinks[0].accepted)
        until(lambda: len(self.sinks[0].accepted) >= before + 30, "30 more mails arrive", 30)
        took = time.monotonic() - began
        assert 30 <= 10 * (took + 1.5), f"30 mails in {took:.1f} s: more than 600 a minute"
        assert self.sinks[0].open <= 5, f"{self.sinks[0].open} sessions, 5 were agreed"

    def scene_an_account_is_stolen(self):
        self.new_site()
        for s in self.sinks:
            s.script([Serve({"RCPT": FULL})])
        self.send(("lisa@example.com", "aunt@big.example"), ("lisa@example.com", "uncle@big.example"), text=b"I come on Sunday.\r\n")
        self.send(*((f"user{i % SENDERS}@example.com", f"someone{i}@other.example") for i in range(35)))
        self.send(*(("lisa@example.com", f"victim{i}@{d}.example") for i in range(200) for d in ("other", "big")), subject="You have won", text=b"Reply with your account.\r\n")
        self.deferred(437)

    def scene_all_is_removed(self):
        until(lambda: len(self.site.log_lines("qmgr", "qm.remove")) == 400, "the log has all that was removed", 60)

    def scene_it_is_quiet(self):
        self.deferred(37)

    def scene_the_end(self):
        self.site.__exit__(None)
        self.site = None

    # -- commands
    def run(self, command):
        r = subprocess.run(["sh", "-c", command], cwd=self.site.dir, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60 * SLOW,
                           env=dict(self.site.environment, PATH=self.bin + ":" + os.environ["PATH"]))
        return r.stdout, r.returncode

    def learn_ids(self, step):
        """Ids stand at the same places in the page and here."""
        for there, here in zip(step.says, step.printed):
            for a, b in zip(re.findall(ID, there), re.findall(ID, here)):
                self.ids.setdefault(a, b)

    def play(self, step):
        """Gives what is wrong with the page, or None."""
        if step.kind == "scene":
            getattr(self, "scene_" + step.text)()
        elif step.kind == "file":
            with open(self.to_here(step.text), "w") as f:
                f.write(self.to_here("\n".join(step.says) + "\n"))
        else:
            out, status = self.run(self.to_here(step.text))
            step.printed = self.to_page(out).splitlines()
            want, got = ([alike(x, step.moving) for x in lines] for lines in (step.says, step.printed))
            self.learn_ids(step)
            if status != step.status:
                return f"{step}\nends with {status}, not {step.status}: {out}"
            if want != got:
                return f"{step}\nthe page says\n  " + "\n  ".join(step.says) + "\nit prints\n  " + "\n  ".join(step.printed)
        return None


def rewritten(text, steps, ids):
    """The page with what was printed."""
    out, skip, by_line = [], False, {s.line: s for s in steps if s.kind == "command"}
    for number, line in enumerate(text.splitlines(), 1):
        step = by_line.get(number)
        if step:
            for a, b in ids.items():
                line = re.sub(rf"/[0-9A-F]/{a}", f"/{b[16]}/{b}", line).replace(a, b)
            out += [line, *step.printed]
        if line.startswith("```"):
            skip = False
        if not skip and not step:
            out.append(line)
        skip = skip or bool(step)
    return "\n".join(out) + "\n"
