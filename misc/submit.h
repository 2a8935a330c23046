/*
 * Mail into a queue by SMTP, for programs of this host: sendmail and rcvrenv. Blocking; a silent
 * server is given up after ten minutes (RFC 5321 4.5.3.2.6).
 *
 * Who has another word for the server than mail says it by sb_command.
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
/* The same for a server that is not of this host: `name` is what we are called. */
int sb_open_as(const char *to, const char *name, FILE *echo, struct sb **out) SM_MUST_CHECK;
void sb_close(struct sb **s); /* with QUIT, if the session is in order; NULL is fine */

/* The connection alone, for who talks himself: a descriptor, or an error. */
int sb_connect(const char *to) SM_MUST_CHECK;

/* Say `line`. 0: a reply of the class of `want` (250: any 2yz); SM_E_DENIED: another one. */
int sb_command(struct sb *s, const char *line, int want) SM_MUST_CHECK;
/* Was this word of EHLO ("ETRN") offered? */
bool sb_offers(const struct sb *s, struct sm_str keyword);

/*
 * For submit_tls.c. The connection's descriptor, borrowed; and from here on through these streams
 * (owned), with another EHLO: what was offered before is forgotten.
 */
int sb_fd(const struct sb *s);
int sb_begin_again(struct sb *s, FILE *in, FILE *out) SM_MUST_CHECK;
void sb_give_up(struct sb *s); /* no more may be said */
/*
 * STARTTLS, which was offered. `name`: of the server. `ctx`: a client's; `verify`: its certificate
 * has to lead to a CA of it, and be for that name. SM_E_DENIED: the server does not want to after
 * all; other errors: the session is over. Programs that call this need $(TLS_LIBS).
 */
struct sm_tls_ctx;
int sb_starttls(struct sb *s, struct sm_tls_ctx *ctx, const char *name, bool verify) SM_MUST_CHECK;

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
