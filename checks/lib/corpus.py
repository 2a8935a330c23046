"""Mails of others, as they come in the world: what parsers of mail are tested with. Fetched like other packages (lib/debian.py), none of it is ours.

There are multiparts of every nesting, and broken ones; bounces of a hundred kinds of servers; headers in raw 8-bit, without an end, or without a beginning;
mails that begin with the "From " of a mailbox; lines without an end.
"""
import glob
import os
import re
import sys

from .debian import unpacked

PYTHON = f"python3.{sys.version_info.minor}"
SOURCES = {  # package: where its mails are
    "golang-github-jhillyerd-enmime-dev": "usr/share/gocode/src/github.com/jhillyerd/enmime/testdata/*/*.raw",
    "python3-flufl.bounce": "usr/lib/python3/dist-packages/flufl/bounce/tests/data/*.txt",
    f"lib{PYTHON}-testsuite": f"usr/lib/{PYTHON}/test/test_email/data/msg_*.txt",
}

FIELD = re.compile(rb"[!-9;-~]+[ \t]*:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


def mails():
    """{name: content}, with CRLF, and one at the end, as a client has to send it. What begins with "From " is there without that line as well."""
    out = {}
    for package, files in SOURCES.items():
        for path in sorted(glob.glob(os.path.join(unpacked(package), files))):
            with open(path, "rb") as f:
                content = re.sub(rb"\r\n|\r|\n", b"\r\n", f.read())
            name = "/".join(path.split("/")[-2:])
            out[name] = content if content.endswith(b"\r\n") else content + b"\r\n"
            if content.startswith(b"From "):
                out[name + " from its second line"] = out[name].partition(b"\r\n")[2]
    return out


def parts(content):
    """(fields of the header, all that is behind them): it ends before the first line that is no field, mostly an empty one."""
    fields, at = [], 0
    while m := FIELD.match(content, at):
        fields.append(m.group())
        at = m.end()
    return fields, content[at:]
