"""A program for the tests of mcp. Its last argument is LOG TAG ACTION...: it does the actions in turn, and what happens is appended to LOG as
"when TAG word pid"."""
import array
import contextlib
import os
import signal
import socket
import sys
import time

log, tag, *actions = sys.argv[-1].split()
ident = sys.argv[sys.argv.index("-i") + 1] if "-i" in sys.argv else ""
mcp = socket.socket(fileno=int(os.environ["SM_MCP_FD"])) if "SM_MCP_FD" in os.environ else None


def say(word):
    with open(log, "a") as f:
        f.write(f"{time.monotonic():.3f} {tag} {word} {os.getpid()}\n")


def term(*_):
    say("term")
    sys.exit(0)


def packet(timeout):
    mcp.settimeout(timeout)
    try:
        data, anc, *_ = mcp.recvmsg(512, socket.CMSG_SPACE(4))
    except (TimeoutError, socket.timeout):
        return
    if not data:
        sys.exit(3)
    fd = array.array("i", anc[0][2])[0] if anc else -1
    kind, name = data[:1].decode(), data[1:].decode()
    if kind == "F":
        say(f"file:{name}:{os.read(fd, 100).decode().strip()}")
    elif kind == "A":
        say(f"listener:{name}:{socket.socket(fileno=fd).getsockname()[1]}")
        fd = -1
    elif kind == "L":
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        print("after reopen", flush=True)
        say("log")
    else:
        say("packet" + kind)
    if fd >= 0:
        os.close(fd)


signal.signal(signal.SIGTERM, term)
say("start" + ident)
for a in actions:
    if a == "ready":
        mcp.send(b"R")
    elif a.startswith("sleep"):
        time.sleep(float(a[5:]))
    elif a.startswith("exit"):
        sys.exit(int(a[4:]))
    elif a.startswith("say"):
        mcp.send(b"S" + a[3:].encode())
    elif a == "hardterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif a.startswith("tick"):
        for _ in range(int(a[4:])):
            mcp.send(b"T")
            time.sleep(int(os.environ["SM_MCP_TICK_MS"]) / 1000)
    elif a == "silent":
        while True:
            time.sleep(10)
    elif a == "flood":
        while True:
            mcp.send(b"T")
    elif a == "listen":
        path = os.environ["SM_MCP_PASS_FD"]
        s = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        s.bind(path)
        s.listen(5)
        c = s.accept()[0]
        while True:
            data, anc, *_ = c.recvmsg(512, socket.CMSG_SPACE(4))
            if not data:
                break
            listener = socket.socket(fileno=array.array("i", anc[0][2])[0])
            say(f"passed:{data.decode()}:{path}")
    elif a == "serve":
        while True:
            conn = listener.accept()[0]
            conn.sendall(f"{tag}{ident} {os.getpid()}\n".encode())
            conn.close()
    elif a == "serve0":
        listener = socket.socket(fileno=0)
        while True:
            conn = listener.accept()[0]
            conn.sendall(f"{tag} {os.getpid()}\n".encode())
            conn.close()
    elif a == "loop":
        while True:
            mcp.send(b"T")
            packet(int(os.environ["SM_MCP_TICK_MS"]) / 1000)
