"""Toy programs that keep files, to try the test itself: two that acknowledge too early, and must be found out, and one that does it right.

Each writes a file under a temporary name, gives it its name, and notes when it would have said "250". Now and then something else is
synced, as in every busy system, so that the journal of the file system moves on.
"""
import os
import time

FILES = 400
OTHER_EVERY = 3  # files between two syncs of something else


def content(n):
    return f"content of {n}\n".encode() * (20 + n * 37 % 400)


class Writer:
    """`steps` says what is synced: "file" before it gets its name, "directory" behind."""

    def __init__(self, *steps):
        self.steps = steps
        self.acked = []  # (time, name, content)

    def record(self, directory):
        keep = os.path.join(directory, "keep")
        os.mkdir(keep)
        os.sync()
        parent = os.open(keep, os.O_RDONLY | os.O_DIRECTORY)
        for n in range(FILES):
            name, data = f"{n:05d}", content(n)
            temporary = os.path.join(keep, f"tmp.{name}")
            self.write(temporary, data, "file" in self.steps)
            os.rename(temporary, os.path.join(keep, name))
            if "directory" in self.steps:
                os.fsync(parent)
            self.acked.append((time.monotonic(), name, data))
            if n % OTHER_EVERY == 0:
                self.write(os.path.join(directory, "other"), data, True)
        os.close(parent)
        return self.acked[0][0], time.monotonic()

    def write(self, path, data, sync):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(fd, data)
        if sync:
            os.fsync(fd)
        os.close(fd)

    def check(self, moment, directory, figures):
        """What is wrong after a cut at this time, a line each."""
        wrong = []
        for acked, name, data in self.acked:
            if acked >= moment:
                break
            figures["acked"] += 1
            try:
                with open(os.path.join(directory, "keep", name), "rb") as f:
                    if f.read() != data:
                        wrong.append(f"{name}: other content")
            except OSError as e:
                wrong.append(f"{name}: {e.strerror}")
        figures["lost"] += len(wrong)
        return wrong

    def close(self):
        """It holds nothing."""


CONTROLS = {"no-file-sync": Writer, "no-directory-sync": lambda: Writer("file"), "all-syncs": lambda: Writer("file", "directory")}
MUST_FAIL = {"no-file-sync", "no-directory-sync"}
