"""What a hostile TLS client does, by OpenSSL's own functions: Python's ssl module has no way to ask for it."""
import ctypes
import ctypes.util
import re
import socket

_ssl = ctypes.CDLL(ctypes.util.find_library("ssl") or "libssl.so.3")
_crypto = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")


def _declare(lib, name, result, *args):
    f = getattr(lib, name)
    f.restype, f.argtypes = result, list(args)
    return f


_p, _i, _l = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_method = _declare(_ssl, "TLS_client_method", _p)
_ctx_new = _declare(_ssl, "SSL_CTX_new", _p, _p)
_ctx_free = _declare(_ssl, "SSL_CTX_free", None, _p)
_ctx_ctrl = _declare(_ssl, "SSL_CTX_ctrl", _l, _p, _i, _l, _p)
_new = _declare(_ssl, "SSL_new", _p, _p)
_free = _declare(_ssl, "SSL_free", None, _p)
_set_fd = _declare(_ssl, "SSL_set_fd", _i, _p, _i)
_ctrl = _declare(_ssl, "SSL_ctrl", _l, _p, _i, _l, _p)
_connect = _declare(_ssl, "SSL_connect", _i, _p)
_write = _declare(_ssl, "SSL_write", _i, _p, _p, _i)
_read = _declare(_ssl, "SSL_read", _i, _p, _p, _i)
_key_update = _declare(_ssl, "SSL_key_update", _i, _p, _i)
_renegotiate = _declare(_ssl, "SSL_renegotiate", _i, _p)
_handshake = _declare(_ssl, "SSL_do_handshake", _i, _p)
_shutdown = _declare(_ssl, "SSL_shutdown", _i, _p)
_session = _declare(_ssl, "SSL_get1_session", _p, _p)
_session_free = _declare(_ssl, "SSL_SESSION_free", None, _p)
_set_session = _declare(_ssl, "SSL_set_session", _i, _p, _p)
_reused = _declare(_ssl, "SSL_session_reused", _i, _p)
_max_early = _declare(_ssl, "SSL_SESSION_get_max_early_data", ctypes.c_uint32, _p)
_errors = _declare(_crypto, "ERR_clear_error", None)
MIN_VERSION, MAX_VERSION, HOST_NAME = 123, 124, 55
V12, V13 = 0x0303, 0x0304


class Broken(ConnectionError):
    """OpenSSL gave an error: the server has ended the connection, or is about to."""


class Tls:
    """TLS over a socket that is connected, and blocking with a time-out: SO_RCVTIMEO, so that OpenSSL sees it as an error."""

    def __init__(self, sock, version=V13, name=b"", session=None):
        self.sock = sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, (60).to_bytes(8, "little") + bytes(8))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, (60).to_bytes(8, "little") + bytes(8))
        sock.setblocking(True)
        self.ctx = _ctx_new(_method())
        _ctx_ctrl(self.ctx, MIN_VERSION, version, None)
        _ctx_ctrl(self.ctx, MAX_VERSION, version, None)
        self.ssl = _new(self.ctx)
        if name:
            assert _ctrl(self.ssl, HOST_NAME, 0, ctypes.c_char_p(name)) == 1
        if session:
            _set_session(self.ssl, session)
        _set_fd(self.ssl, sock.fileno())
        self._do(_connect(self.ssl))

    def _do(self, result):
        if result <= 0:
            _errors()
            raise Broken("by the server")
        return result

    def write(self, data):
        self._do(_write(self.ssl, data, len(data)))

    def read(self, size=65536):
        buf = ctypes.create_string_buffer(size)
        n = self._do(_read(self.ssl, buf, size))
        return buf.raw[:n]

    def line(self):
        """Up to the end of a reply; small writes of the server are gathered."""
        data = b""
        while not re.search(rb"(?m)^[0-9]{3} .*\r\n\Z", data):
            data += self.read()
        return data

    def key_update(self, answer=False):
        self._do(_key_update(self.ssl, 1 if answer else 0))
        self._do(_handshake(self.ssl))

    def renegotiate(self):
        self._do(_renegotiate(self.ssl))
        self._do(_handshake(self.ssl))

    def close_notify(self):
        _shutdown(self.ssl)
        _errors()

    @property
    def reused(self):
        return _reused(self.ssl) == 1

    def session(self):
        return _session(self.ssl)

    @staticmethod
    def early_data(session):
        """How much of it the server would take."""
        return _max_early(session)

    @staticmethod
    def forget(session):
        _session_free(session)

    def close(self):
        """With a close_notify, without which OpenSSL takes the session for one that must not be resumed."""
        self.close_notify()
        _free(self.ssl)
        _ctx_free(self.ctx)
        self.sock.close()
