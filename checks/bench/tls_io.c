/* OpenSSL's results, as errno. The queue of its errors is empty between two calls. */
#include "config.h"

#ifdef SM_HAVE_TLS
#include "checks/bench/tls_io.h"

#include <errno.h>
#include <openssl/err.h>

static ssize_t result(SSL *ssl, bool *wants_write, int ret, size_t n)
{
	if (ret == 1)
		return (ssize_t)n;
	switch (SSL_get_error(ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		*wants_write = false;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_WANT_WRITE:
		*wants_write = true;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		ERR_clear_error();
		errno = EPROTO;
		return -1;
	}
}

ssize_t tls_io_read(SSL *ssl, bool *wants_write, void *p, size_t size)
{
	size_t n = 0;

	ERR_clear_error();
	int ret = SSL_read_ex(ssl, p, size, &n);
	return result(ssl, wants_write, ret, n);
}

ssize_t tls_io_write(SSL *ssl, bool *wants_write, const void *p, size_t size)
{
	size_t n = 0;

	ERR_clear_error();
	int ret = SSL_write_ex(ssl, p, size, &n);
	return result(ssl, wants_write, ret, n);
}

int tls_io_handshake(SSL *ssl, bool *wants_write)
{
	ERR_clear_error();
	int ret = SSL_do_handshake(ssl);

	if (ret == 1) {
		*wants_write = false;
		return 1;
	}
	(void)result(ssl, wants_write, ret, 0);
	return errno == EAGAIN ? 0 : -1;
}

void tls_io_end(SSL *ssl)
{
	if (!ssl)
		return;
	ERR_clear_error();
	if (SSL_is_init_finished(ssl))
		(void)SSL_shutdown(ssl);
	ERR_clear_error();
	SSL_free(ssl);
}
#endif
