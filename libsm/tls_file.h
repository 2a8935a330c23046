/*
 * The files of TLS as bytes: read once, whole, keys only when nobody else can. For tls*.c alone;
 * any thread.
 */
#ifndef SM_TLS_FILE_H
#define SM_TLS_FILE_H

#include "libsm/str.h"

struct sm_tls_bytes {
	char *p; /* n bytes and a NUL */
	size_t n;
};
enum { SM_TLS_FILE_MAX = 4 * 1024 * 1024 };
/* `secret`: refuse what others may read, SM_E_DENIED. The diag names `what` and the path. */
int sm_tls_read(struct sm_str path, const char *what, bool secret,
                struct sm_tls_bytes *out) SM_MUST_CHECK;
/* Overwrites it first. */
void sm_tls_bytes_free(struct sm_tls_bytes *b);

#endif
