#!/usr/bin/python3
"""Cut the power of a disk again and again, start smx on what is left, and ask the ledger whether anything acknowledged was lost.

A life of the suite is recorded once, by a FUSE file under a loop mount that notes each write and each flush (recorder.c). Then, for each of
many moments of it, the disk is made as a power cut at that moment could have left it (recording.py: writes that were not yet flushed are
dropped, or torn at 512 bytes), mounted, the suite is started on it, and when its queue is empty the rules of lib/ledger.py are applied to
all that was acknowledged before that moment (suite.py). Nobody repairs anything in between.

So that we know the test would see a loss, the same is done with toy writers (controls.py): those that leave out a sync must fail.

    powercut.py [--what suite,no-file-sync,no-directory-sync,all-syncs] [--cuts N] [--seed S] [--seconds N] [--fs ext4|xfs|btrfs]
                [--mount-options OPTIONS] [--size MB] [--keep]

The dice of the cuts are seeded; what is recorded depends on timing. Environment: SMX_BUILD, SMX_CUTS (default 300), SMX_CUTS_SEED, TMPDIR.
Exit 0: nothing was lost, and the negative controls failed as they must. 77: this machine lacks what it takes. Root only.
"""
import argparse
import collections
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import disk  # noqa: E402
from controls import CONTROLS, MUST_FAIL  # noqa: E402
from recording import Disks, Recording  # noqa: E402
from suite import Suite  # noqa: E402

CONTROL_CUTS = 50  # of each control: a loss shows within a few


class Run:
    """One program under test: recorded, then cut."""

    def __init__(self, name, options, top):
        self.name, self.o = name, options
        self.dir = os.path.join(top, name)
        # the disk is always mounted in the same place: a site's configuration has its path
        self.mount = os.path.join(self.dir, "site", "spool")
        for d in ("site", "site/spool", "fuse", "work"):
            os.mkdir(os.path.join(self.dir, d))
        self.figures = collections.Counter()
        work = os.path.join(self.dir, "work")
        self.program = CONTROLS[name]() if name in CONTROLS else Suite(work, options.seconds)

    def path(self, name):
        return os.path.join(self.dir, name)

    def record(self):
        disk.make(self.path("base.img"), self.o.fs, self.o.size)
        shutil.copyfile(self.path("base.img"), self.path("disk.img"))
        with disk.recorded(self.path("disk.img"), self.path("log"), self.path("fuse")) as image, \
                disk.mounted(image, self.mount, self.o.mount_options), contextlib.closing(self.program):
            begin, end = self.program.record(self.mount)
        os.unlink(self.path("disk.img"))
        self.recording = Recording(self.path("log"), self.path("base.img"))
        entries = self.recording.entries
        print(f"{self.name}: recorded {len(entries)} writes and flushes ({len(self.recording.flushes)}) of "
              f"{sum(e.length for e in entries) >> 20} MB in {end - begin:.1f} s", flush=True)
        return begin, end

    def cut(self, begin, end, number):
        disks = Disks(self.recording, self.dir, self.o.seed)
        for cut in self.recording.choose(number, random.Random(self.o.seed), begin, end):
            image = disks.after(cut)
            moment = self.recording.entries[cut].time
            try:
                with disk.mounted(image, self.mount, self.o.mount_options), contextlib.closing(self.program):
                    wrong = self.program.check(moment, self.mount, self.figures)
            except OSError as e:
                wrong = [str(e)]
            self.figures["cuts"] += 1
            if wrong:
                self.figures["bad"] += 1
                if self.name not in MUST_FAIL:
                    self.tell(cut, moment - begin, wrong, disks)
            if self.figures["cuts"] % 20 == 0 and self.name not in CONTROLS:
                print(f"  {self.summary()}", flush=True)

    def tell(self, cut, second, wrong, disks):
        print(f"{self.name}: cut at entry {cut} ({second:.3f} s): {len(wrong)} wrong\n  " + "\n  ".join(wrong[:10]), flush=True)
        if self.o.keep and self.figures["bad"] <= 5:
            where = tempfile.mkdtemp(prefix=f"smx-powercut-{cut}-")
            shutil.copyfile(disks.after(cut), os.path.join(where, "disk.img"))
            if hasattr(self.program, "keep"):
                self.program.keep(where)
            print(f"  kept: {where}", flush=True)

    def summary(self):
        f = self.figures
        text = f"{self.name}: {f['cuts']} cuts, {f['acked']} acknowledged messages over all cuts, {f['lost']} lost, {f['bad']} bad cuts"
        if "slowest_start_ms" in f:
            text += (f", slowest start {f['slowest_start_ms']} ms; {f['acked_rcpts']} recipients, {f['later_rcpts']} served after the cut, "
                     f"{f['reported_rcpts']} reported, {f['duplicates']} twice")
        return text

    def all(self):
        start = time.monotonic()
        begin, end = self.record()
        self.cut(begin, end, CONTROL_CUTS if self.name in CONTROLS else self.o.cuts)
        f, must_fail = self.figures, self.name in MUST_FAIL
        as_it_must = f["lost"] > 0 if must_fail else f["acked"] > 0 and f["bad"] == 0
        print(f"{self.summary()}; {time.monotonic() - start:.0f} s"
              + (": as it must be, a sync is missing there" if as_it_must and must_fail else "" if as_it_must else ": WRONG"), flush=True)
        return as_it_must


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--what", type=lambda s: s.split(","), default=["suite", *CONTROLS], help="by comma")
    p.add_argument("--cuts", type=int, default=int(os.environ.get("SMX_CUTS", "300")))
    p.add_argument("--seed", type=int, default=int(os.environ.get("SMX_CUTS_SEED", "1")))
    p.add_argument("--seconds", type=float, default=20, help="length of the recorded life")
    p.add_argument("--fs", choices=disk.MKFS, default="ext4")
    p.add_argument("--mount-options", default="", help="e.g. data=writeback")
    p.add_argument("--size", type=int, default=128, help="MB of the disk")
    p.add_argument("--keep", action="store_true", help="keep the disk and the logs of bad cuts")
    o = p.parse_args()
    for what in o.what:
        if what != "suite" and what not in CONTROLS:
            p.error(f"--what: there are suite, {', '.join(CONTROLS)}")
    lacks = disk.why_not(o.fs)
    if lacks:
        print(f"powercut: not possible here: {lacks}")
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is undone
    top = tempfile.mkdtemp(prefix="smx-powercut-")
    os.chmod(top, 0o755)
    try:
        fine = True
        for what in o.what:
            os.mkdir(os.path.join(top, what))
            fine &= Run(what, o, top).all()
            shutil.rmtree(os.path.join(top, what))
        return 0 if fine else 1
    finally:
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
