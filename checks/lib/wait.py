"""Tests wait for conditions with generous deadlines, never for a time."""
import os
import time

SLOW = float(os.environ.get("SMX_SLOW", "1"))  # sanitizer and valgrind builds: 5, 20


def until(condition, what, timeout=10.0, every=0.02):
    """The first true value of condition(); AssertionError with `what` when the time is up."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout * SLOW:.0f} s: {what() if callable(what) else what}")
        time.sleep(every)


def never(condition, what, seconds):
    """AssertionError as soon as condition() is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            raise AssertionError(f"happened: {what}")
        time.sleep(0.02)
