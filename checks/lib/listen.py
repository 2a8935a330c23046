"""Where the puppets of these tests listen."""
import contextlib
import os
import socket


def listener(path=None, port=0):
    """A socket that listens on a port of loopback (0: any), or at a path, where anybody may connect."""
    if path is None:
        return socket.create_server(("127.0.0.1", port), backlog=128)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    os.chmod(path, 0o777)
    s.listen(128)
    return s
