/*
 * UTF-8 as mail has it (RFC 3629, 6531): what is valid, one character at a time, and what domains
 * are compared by. Pure.
 */
#ifndef SM_UTF8_H
#define SM_UTF8_H

#include "libsm/arena.h"

/* The next character of *s, which moves behind it; -1: it is none (overlong, a surrogate, too
 * large, cut). *s is not empty. */
int32_t sm_utf8_next(struct sm_str *s);
/* Is it UTF-8? */
bool sm_utf8_valid(struct sm_str s);
/* ... that may stand in an address: also without the controls U+0080 to U+009F. */
bool sm_utf8_graphic(struct sm_str s);
/* `c` as bytes into `out`; how many. `c` is a character: below 0x110000. */
size_t sm_utf8_put(uint32_t c, char out[4]);

/*
 * THE form in which domains are compared, looked up in maps and asked for in DNS: lower case,
 * labels that are not ASCII as A-labels ("xn--..."; RFC 5891 by UTS 46, not transitional). A dot in
 * front stays, and what is ASCII is only folded, whatever it is. SM_E_SYNTAX: no domain in UTF-8.
 */
enum { SM_DOMAIN_ASCII_SIZE = 1 + 255 + 1 };
int sm_domain_ascii(struct sm_str d, char out[SM_DOMAIN_ASCII_SIZE],
                    struct sm_str *ascii) SM_MUST_CHECK;
/* The same, in the arena if it has to be; what is ASCII in lower case is given back as it is.
 * SM_E_TOOBIG: no room. */
int sm_domain_ascii_in(struct sm_arena *a, struct sm_str d, struct sm_str *ascii) SM_MUST_CHECK;
/* Do both name the same? What is no domain equals nothing but itself. */
bool sm_domain_eq(struct sm_str a, struct sm_str b);

#endif
