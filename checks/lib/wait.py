"""Tests wait for conditions with generous deadlines, never for a time."""
import os
import time

from .paths import BUILD


def _sanitizer():
    """"thread", "address" or None: what the build looks for at run time."""
    try:
        with open(os.path.join(BUILD, "Makefile")) as f:
            text = f.read()
    except OSError:
        return None
    return "thread" if "-fsanitize=thread" in text else "address" if "-fsanitize=address" in text else None


SANITIZER = _sanitizer()
# How much longer things may take than in a plain build. SMX_SLOW says so (valgrind: 20), else the build's sanitizer does.
SLOW = float(os.environ.get("SMX_SLOW", {"thread": 4, "address": 3}.get(SANITIZER, 1)))


# Seconds for anything that has to come, in a plain build on a machine that does much else.
PATIENCE = 60


def until(condition, what="what was waited for", timeout=PATIENCE, every=0.02):
    """The first true value of condition(); AssertionError with `what` when the time is up. Less than PATIENCE is only what it usually takes."""
    timeout = max(timeout, PATIENCE)
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout * SLOW:.0f} s: {what() if callable(what) else what}")
        time.sleep(every)


def settled(read, margin, what, every=0.5):
    """What read() gives as soon as that differs by no more than `margin` from what it gave `every` seconds before."""
    seen = [read()]

    def same():
        time.sleep(every)
        seen.append(read())
        return abs(seen[-1] - seen[-2]) <= margin
    until(same, lambda: f"{what} settles; the last were {[round(x, 3) for x in seen[-5:]]}")
    return seen[-1]


def never(condition, what, seconds):
    """AssertionError as soon as condition() is true; the only wait for a time, because nothing tells that something will not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            raise AssertionError(f"happened: {what}")
        time.sleep(0.02)
