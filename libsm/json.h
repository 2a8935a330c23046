/*
 * Strings for JSON (RFC 8259 7). What is no UTF-8 becomes U+FFFD, control characters and DEL become
 * \u00XX.
 */
#ifndef SM_JSON_H
#define SM_JSON_H

#include "libsm/str.h"

struct sm_buf;

/* With its quotes; characters beyond ASCII stay as they are. */
void sm_json_str(struct sm_buf *b, struct sm_str s);
/* Without quotes and in ASCII alone, other characters as \uXXXX: for lines that end up on terminals
 * and in the logs of others. Whole characters of the first `max` bytes. */
void sm_json_ascii(struct sm_buf *b, struct sm_str s, size_t max);

/* Bytes of the well-formed UTF-8 character (RFC 3629) at the front of `s`, which is not empty, and
 * its code point; 0: none there. */
size_t sm_utf8(struct sm_str s, uint32_t *code_point);

#endif
