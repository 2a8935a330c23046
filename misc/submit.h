/*
 * Mail into a queue by SMTP, for programs of this host: sendmail and rcvrenv. Blocking; a silent
 * server is given up after ten minutes (RFC 5321 4.5.3.2.6).
 *
 * One session, one mail after the other:
 *     sb_open, then for each mail sb_envelope and sb_content (or sb_reset), then sb_close
 * Every function gives 0 or an error with a diag. SM_E_DENIED: the server said no, the session is
 * in order, and sb_code tells what it said; every other error but SM_E_NOTSUP: the session is over.
 */
#ifndef MISC_SUBMIT_H
#define MISC_SUBMIT_H

#include <stdio.h>

#include "libsm/msg.h"

struct sb;

struct sb_mail {
	const char *sender; /* "" for <> */
	const char *envid;  /* as xtext; NULL: none */
	uint8_t body, ret;  /* SM_BODY_*, SM_RET_* */
	bool utf8;          /* needs SMTPUTF8 */
	uint64_t size;      /* 0: not told */
};
struct sb_rcpt {
	const char *addr, *orcpt; /* orcpt: with its type, as xtext; NULL: none */
	uint8_t notify;           /* SM_NOTIFY_*, 0: not told */
	int code;                 /* what the server said to it; 2yz: it is in */
	char *text;               /* ... owned by the caller: sm_free */
};

/*
 * Connect, greeting, EHLO. `to`: "HOST:PORT", "[IPV6]:PORT", or the path of a Unix socket. `echo`
 * (may be NULL) is shown what is said. SM_E_DENIED: *out is there, for sb_code and sb_close; with
 * other errors it is NULL.
 */
int sb_open(const char *to, FILE *echo, struct sb **out) SM_MUST_CHECK;
void sb_close(struct sb **s); /* with QUIT, if the session is in order; NULL is fine */

/* The connection alone, for who talks himself: a descriptor, or an error. */
int sb_connect(const char *to) SM_MUST_CHECK;

/* What the server has offered. Largest message, 0: not told. */
uint64_t sb_max_size(const struct sb *s);
/*
 * MAIL, and RCPT for each of `n`, whose `code` and `text` are filled. 0: MAIL was accepted,
 * whatever was said of recipients. SM_E_NOTSUP: the mail needs what the server has not, nothing was
 * said. What DSN asks for is left out where there is no DSN.
 */
int sb_envelope(struct sb *s, const struct sb_mail *m, struct sb_rcpt *rcpts,
                size_t n) SM_MUST_CHECK;
/* `size` bytes of `fd` from `offset` on, lines that end in CRLF; BINARYMIME: as they are. 0: the
 * server has the mail for all whom it had accepted. */
int sb_content(struct sb *s, int fd, uint64_t offset, uint64_t size) SM_MUST_CHECK;
/* The server forgets the envelope. */
int sb_reset(struct sb *s) SM_MUST_CHECK;

/* The last reply; 0: none came. */
int sb_code(const struct sb *s);
const char *sb_text(const struct sb *s);

#endif
