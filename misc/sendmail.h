/*
 * sendmail: what programs and cron call to send mail. What its parts share.
 *
 * A mail is made of the command line (sl_opts), the configuration (sl_conf), the account that calls
 * and standard input; it is handed to smtps over a Unix socket (submit.h). The program has no
 * rights that its caller has not, and keeps no mail: what it could not hand over stays the
 * caller's.
 */
#ifndef SENDMAIL_H
#define SENDMAIL_H

#include <stdio.h>

#include "libsm/arena.h"
#include "libsm/buf.h"
#include "libsm/conf.h"

/* Exit statuses, as of sysexits.h. */
enum {
	SL_OK = 0,
	SL_USAGE = 64,
	SL_DATAERR = 65, /* the message, or an address, is none */
	SL_NOUSER = 67,  /* a recipient was refused for good */
	SL_UNAVAILABLE = 69,
	SL_SOFTWARE = 70,
	SL_OSERR = 71,
	SL_IOERR = 74, /* standard input */
	SL_TEMPFAIL = 75,
	SL_PROTOCOL = 76,
	SL_NOPERM = 77,
	SL_CONFIG = 78
};

/* ---- sendmail_conf.c: section `sendmail` of the configuration ---- */

struct sl_conf {
	struct sm_str socket;         /* of the listener of smtps */
	struct sm_str qualify_domain; /* behind an address without one; empty: the hostname */
	struct sm_str control_socket; /* of qmgr */
	int64_t max_message_bytes, max_rcpts;
};
extern const struct sm_opt sl_conf_opts[];
/* What the table cannot say. */
int sl_conf_check(const struct sl_conf *c) SM_MUST_CHECK;

/* ---- sendmail_opts.c: the command line ---- */

enum sl_mode {
	SL_SEND,    /* -bm: a message on standard input */
	SL_SMTP,    /* -bs: SMTP on standard input and output */
	SL_VERIFY,  /* -bv: would these recipients be taken? */
	SL_QUEUE,   /* -bp, mailq */
	SL_RUN,     /* -q */
	SL_ALIASES, /* -bi, newaliases */
};
struct sl_opts {
	enum sl_mode mode;
	bool from_header;   /* -t */
	bool ignore_dots;   /* -i */
	bool verbose;       /* -v */
	bool some_will_do;  /* -oem: those who are accepted get the mail, although others are not */
	bool quiet;         /* -oeq */
	const char *conf;   /* -C; NULL: the default one, if it is there */
	const char *sender; /* -f, -r; NULL: the account */
	const char *name;   /* -F; NULL: that of the account */
	const char *envid;  /* -V, xtext */
	uint8_t notify;     /* -N: SM_NOTIFY_*, 0: not given */
	uint8_t ret;        /* -R: SM_RET_* */
	int tempfail;       /* exit status when the mail cannot be taken now */
	char **args;        /* addresses */
	size_t count;
};
/* SM_E_SYNTAX with a diag that names the option. */
int sl_opts(struct sl_opts *o, int argc, char **argv) SM_MUST_CHECK;

/* ---- sendmail_addr.c ---- */

#define SL_SPEC_MAX  1000
#define SL_QUALIFIED SIZE_MAX
struct sl_address {
	struct sm_str spec; /* "local@domain" or "local", without comments and folding; empty: <> */
	size_t bare_at;     /* no domain: where in the text it would stand; else SL_QUALIFIED */
};
/*
 * Each mailbox of a list, in order. What `each` gives, other than 0, ends it and is given back;
 * SM_E_SYNTAX: no list of addresses (some may have been told already). The specs may still be no
 * addresses of SMTP (sl_rcpt_add says so).
 */
int sl_addresses(struct sm_str text, int (*each)(void *arg, const struct sl_address *a),
                 void *arg) SM_MUST_CHECK;

/* ---- sendmail_mail.c: whose it is and to whom it goes ---- */

struct sl_mail {
	const struct sl_opts *opts;
	const struct sl_conf *conf;
	struct sm_arena arena;
	struct sm_str hostname, domain; /* domain: put behind bare addresses */
	struct sm_str sender;           /* "" for <> */
	struct sm_str phrase;           /* for From: and Resent-From: */
	struct sm_str *rcpts;
	size_t rcpt_count;
	struct sm_str *except; /* -t: addresses of the command line */
	size_t except_count;
	bool utf8;      /* an address needs SMTPUTF8 */
	bool eight_bit; /* the content does */
	int fd;         /* the content: CRLF lines */
	uint64_t size;
};
/* Whose it is and, unless -t says otherwise, to whom it goes. `hostname` must outlive it.
 * SM_E_SYNTAX, SM_E_TOOBIG: an address is bad, or there are too many. */
int sl_mail_init(struct sl_mail *m, const struct sl_opts *o, const struct sl_conf *c,
                 struct sm_str hostname) SM_MUST_CHECK;
void sl_mail_fini(struct sl_mail *m);
/* One more recipient, unless it is there already or to be left out; a bare one is completed. */
int sl_rcpt_add(struct sl_mail *m, struct sm_str spec) SM_MUST_CHECK;
/* A name as a phrase of RFC 5322 3.2.5: as it is, quoted, or in encoded words (RFC 2047); nothing
 * in it can end the field. Empty when the name is. */
void sl_phrase(struct sm_buf *b, struct sm_str name);

/* ---- sendmail_head.c: what a header says, and what becomes of it ---- */

struct sl_head {
	bool wants_rcpts;     /* -t */
	struct sm_str domain; /* put behind bare addresses */
	struct sm_str from;   /* value of a Resent-From that is missing */
	int64_t wall_s;
	int (*rcpt)(void *arg, struct sm_str spec); /* each one of the header, if wants_rcpts */
	void *arg;
	struct sm_buf *out; /* what the header becomes, appended */
};
/*
 * `header`: lines that end in CRLF, each of them a field or its continuation. Bcc and Resent-Bcc
 * go, bare addresses get a domain, resent mail gets the fields that it lacks (RFC 5322 3.6.6). With
 * wants_rcpts a list of recipients that is none is an error: SM_E_SYNTAX.
 */
int sl_head(const struct sl_head *h, struct sm_str header) SM_MUST_CHECK;
/* Does a line begin a field? As smtps/complete.h sees it. */
bool sl_is_field(struct sm_str line);

/* ---- sendmail_text.c: standard input ---- */

/*
 * Read the message from `in` to its end into m->fd, with CRLF, a header that is complete, and
 * without what ends it; with -t the recipients as well. SM_E_IO: it cannot be read; SM_E_TOOBIG,
 * SM_E_SYNTAX: it is bad; else the system's trouble.
 */
int sl_text_read(struct sl_mail *m, int in) SM_MUST_CHECK;

/* ---- sendmail_send.c: to smtps ---- */

/* Exit status; what is wrong goes to stderr. */
int sl_send(struct sl_mail *m);
int sl_verify(struct sl_mail *m);
/* SMTP between descriptors 0 and 1 and smtps. */
int sl_bridge(const struct sl_opts *o, const struct sl_conf *c);
/* To stderr, unless -oeq. */
void sl_complain(const struct sl_opts *o, const char *fmt, ...) SM_PRINTF(2, 3);

#endif
