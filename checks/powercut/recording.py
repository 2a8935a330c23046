"""What the recorder wrote, and what the disk would hold had the power gone at a moment of it.

A cut at entry c is made of
    every write before the last flush that stands before c: it is on the platter, whole;
    each later write with probability 1/2, some of those torn: a random part of its 512-byte sectors arrived.
The entry c itself and all behind it never happened. Whatever was acknowledged before the time of entry c had been acknowledged when the
power went: that is the only thing the file system and the program above are asked about.
"""
import bisect
import collections
import mmap
import os
import random
import shutil
import struct

WRITE, FLUSH = 1, 2
HEAD = struct.Struct("=IIQQ")  # struct record of recorder.c
SECTOR = 512

# `time` in seconds of the monotonic clock, as ledgers have it; `at`: where the data is in the log
Entry = collections.namedtuple("Entry", "kind length offset time at")


class Recording:
    def __init__(self, log, base):
        """`log` as the recorder left it, `base` the disk as it was when the recorder began."""
        self.base = base
        self.entries = []
        with open(log, "rb") as f:
            self.log = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        at = 0
        while at < len(self.log):
            kind, length, offset, ns = HEAD.unpack_from(self.log, at)
            if kind not in (WRITE, FLUSH) or at + HEAD.size + length > len(self.log):
                raise ValueError(f"{log}: no record at {at}")
            self.entries.append(Entry(kind, length, offset, ns / 1e9, at + HEAD.size))
            at += HEAD.size + length
        self.flushes = [i for i, e in enumerate(self.entries) if e.kind == FLUSH]

    def data(self, entry):
        return self.log[entry.at:entry.at + entry.length]

    def last_flush(self, cut):
        """Index of the last flush before this entry, -1: none."""
        i = bisect.bisect_left(self.flushes, cut)
        return self.flushes[i - 1] if i else -1

    def choose(self, number, dice, begin, end):
        """Cuts between two times, ascending: a third right before or behind a flush, a third at any entry, a third at any time."""
        times = [e.time for e in self.entries]
        first, last = bisect.bisect_left(times, begin), bisect.bisect_left(times, end)
        flushes = [i for i in self.flushes if first <= i < last - 1]
        if last - first < 2 * number or not flushes:
            raise ValueError(f"only {last - first} entries with {len(flushes)} flushes: too few for {number} cuts")
        ways = (lambda: dice.choice(flushes) + dice.randrange(2),
                lambda: dice.randrange(first, last),
                lambda: min(last - 1, bisect.bisect_left(times, dice.uniform(times[first], times[last - 1]))))
        cuts = set()
        while len(cuts) < number:
            cuts.add(ways[len(cuts) % 3]())
        return sorted(cuts)


class Disks:
    """Images of the disk after cuts, which must come in ascending order: what is settled is applied once for all."""

    def __init__(self, recording, directory, seed):
        self.recording, self.seed = recording, seed
        self.settled = os.path.join(directory, "settled.img")
        self.image = os.path.join(directory, "cut.img")
        self.next = 0  # first entry that is not in `settled`
        shutil.copyfile(recording.base, self.settled)

    def after(self, cut):
        """Path of the image, valid until the next one. The same cut and seed give the same image."""
        dice = random.Random(f"{self.seed}/{cut}")
        entries, flush = self.recording.entries, self.recording.last_flush(cut)
        if flush + 1 < self.next:
            raise ValueError("cuts must ascend")
        with open(self.settled, "r+b") as f:
            for e in entries[self.next:flush + 1]:
                self._write(f, e, 0, e.length)
        self.next = flush + 1
        shutil.copyfile(self.settled, self.image)
        with open(self.image, "r+b") as f:
            for e in entries[flush + 1:cut]:
                if e.kind == WRITE and dice.random() < 0.5:
                    for start, end in arrived(e.length, dice):
                        self._write(f, e, start, end)
        return self.image

    def _write(self, f, entry, start, end):
        if entry.kind == WRITE:
            f.seek(entry.offset + start)
            f.write(self.recording.log[entry.at + start:entry.at + end])


def arrived(length, dice):
    """The parts of a write that the platter got: in half of the cases all, else the first sectors, or any."""
    if dice.random() < 0.5:
        return [(0, length)]
    sectors = range(0, length, SECTOR)
    if dice.random() < 0.5:
        return [(0, dice.choice(sectors))]
    return [(s, min(s + SECTOR, length)) for s in sectors if dice.random() < 0.5]
