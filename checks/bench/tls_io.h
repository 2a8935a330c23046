/* TLS on a non-blocking socket for the load generator and the sink: calls that tell what happened
 * as those on the socket itself do. */
#ifndef BENCH_TLS_IO_H
#define BENCH_TLS_IO_H

#include <stdbool.h>
#include <sys/types.h>

#include <openssl/ssl.h>

/* As recv(2) and send(2). With EAGAIN *wants_write says what TLS waits for. */
ssize_t tls_io_read(SSL *ssl, bool *wants_write, void *p, size_t size);
ssize_t tls_io_write(SSL *ssl, bool *wants_write, const void *p, size_t size);
/* 1: it is done; 0: later; -1: failed. */
int tls_io_handshake(SSL *ssl, bool *wants_write);
/* Says goodbye, if the handshake is over, and frees it. NULL is fine. */
void tls_io_end(SSL *ssl);

#endif
