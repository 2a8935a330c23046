/*
 * Base64 (RFC 4648 4): strict, one line, with padding. Pure.
 *
 *   base64   = *( 4digit ) [ 2digit "==" / 3digit "=" ]
 *
 * The bits that padding leaves over are zero, and there is nothing else in it: no blank, no line
 * end. What is decoded may hold any byte, NUL too.
 */
#ifndef SM_BASE64_H
#define SM_BASE64_H

#include "libsm/buf.h"

static inline size_t sm_base64_size(size_t n) /* encoded */
{
	return (n + 2) / 3 * 4;
}
/* Appends; sticky error of the buffer when there is no room. */
void sm_base64_encode(struct sm_buf *out, struct sm_str bytes);
/* Appends. 0, SM_E_SYNTAX (nothing was appended), SM_E_TOOBIG. */
int sm_base64_decode(struct sm_buf *out, struct sm_str text) SM_MUST_CHECK;

#endif
