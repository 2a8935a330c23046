/*
 * smxfeed: what a mailer line of sendmail 8 starts to give mail with many recipients to smx. What
 * its parts share.
 *
 * sendmail speaks LMTP to its standard input and output; it speaks LMTP to a Unix socket of smtps,
 * and tells there which queue id the mail has at sendmail (XFORWARD IDENT). A transaction is
 * gathered up to DATA, said to smtps then, and answered for each recipient when smtps has. It keeps
 * no mail and no content: what smtps has not answered for is the caller's.
 */
#ifndef SMXFEED_H
#define SMXFEED_H

#include "libsm/arena.h"
#include "libsm/buf.h"
#include "libsm/conf.h"
#include "libsm/smtp_reply.h"

/* Exit statuses, as of sysexits.h. */
enum {
	SF_OK = 0,
	SF_USAGE = 64,
	SF_IOERR = 74,
	SF_TEMPFAIL = 75,
	SF_CONFIG = 78,
};
enum {
	SF_RCPTS_MAX = 1000, /* as ta_commit.rcpts */
	SF_LINE_MAX = 2046,  /* without its end */
	SF_ID_MAX = 100,
	SF_HEADER_MAX = 64 * 1024, /* in which -E looks for a Received: */
};

/* ---- smxfeed_conf.c: section `smxfeed` of the configuration ---- */

struct sf_conf {
	struct sm_str socket; /* of the listener of smtps */
	int64_t total_ms;     /* see -t */
};
extern const struct sm_opt sf_conf_opts[];
/* What the table cannot say. */
int sf_conf_check(const struct sf_conf *c) SM_MUST_CHECK;

/* ---- smxfeed_opts.c: the command line ---- */

enum sf_mode { SF_RUN, SF_HELP, SF_VERSION };
struct sf_opts {
	enum sf_mode mode;
	const char *conf;    /* -C; NULL: the default one */
	const char *socket;  /* -L; NULL: that of the configuration */
	const char *name;    /* -c; NULL: the name of this host */
	const char *id;      /* -i, -I; NULL: none */
	bool id_once;        /* -i: for the first transaction */
	bool id_from_header; /* -E */
	int64_t max_bytes;   /* -s; 0: what smtps takes */
	int64_t total_ms;    /* -t total; 0: that of the configuration */
	int facility;        /* -l; of syslog(3) */
	bool to_stderr;      /* -l stderr */
	bool dialogue;       /* -d: both dialogues are logged */
};
/* SM_E_SYNTAX with a diag that names the option and says where smx has it. */
int sf_opts(struct sf_opts *o, int argc, char **argv) SM_MUST_CHECK;
extern const char sf_usage[];

/* ---- smxfeed_text.c: what there is to see in content. Pure ---- */

/* Lines end in CRLF, or all of them in LF; that is seen in the first command. */
struct sf_text {
	bool lf;
	unsigned n;    /* bytes of the line so far, 3: more */
	bool dot, cr;  /* it begins with one, it ends in one so far */
	bool bare;     /* the line before ended in LF alone, where CRLF is due */
	uint64_t size; /* bytes so far, as they are sent */
};
/*
 * Appends what comes of `in` to `out` (as it is said to smtps: lines end in CRLF, dots are stuffed
 * as they were) up to the end of the content, which is CRLF.CRLF and nothing else. Gives how many
 * bytes were taken. *end: that was all of it; the dot is in `out`.
 */
size_t sf_text(struct sf_text *t, struct sm_str in, struct sm_buf *out, bool *end);
/*
 * The id of the first Received: field: "... id 4W2; ...". 1: it is in `id`; 0: there is none;
 * SM_E_AGAIN: not to be told before more of the content is there.
 */
int sf_received_id(struct sm_str content, char id[SF_ID_MAX + 1]);
/* May it be told as an id? 1 to SF_ID_MAX of letters, digits, ".", "-" and "_". */
bool sf_id_valid(struct sm_str id);

/* ---- smxfeed_io.c: the two ends ---- */

struct sf_end {
	int in, out; /* descriptors; -1: there is none */
	struct sm_buf rd, wr;
	const char *who; /* for the log */
};
struct sf {
	struct sf_opts opts;
	struct sf_conf conf;
	char hostname[256];
	struct sf_end client, server;
	/* Of smtps, as it greeted. */
	struct sm_str extensions; /* lines; in `arena` */
	bool pipelining, xforward;
	int64_t max_bytes; /* 0: not told */
	struct sm_reply_parser reply;
	struct sm_arena arena;
	bool lf;      /* the client's lines end in LF */
	bool greeted; /* LHLO was said */
	int status;   /* exit status; when `closing` */
	bool closing;
	struct sf_mail *mail;
};
/* SIGTERM, SIGINT and SIGHUP end waiting, and nothing else. */
void sf_signals(void);
/*
 * Blocking, up to `deadline_ms` (sm_now_ms). SM_E_EOF: that end has gone; SM_E_TIMEOUT;
 * SM_E_CANCEL: we are to end; SM_E_PEER: the client has gone while something else is waited for.
 */
int sf_fill(struct sf *f, struct sf_end *e, int64_t deadline_ms) SM_MUST_CHECK;
int sf_flush(struct sf *f, struct sf_end *e, int64_t deadline_ms) SM_MUST_CHECK;
/* The next line, without its end, until the next call. *lf: it ended in LF alone. SM_E_TOOBIG: it
 * is longer than SF_LINE_MAX, and gone. */
int sf_line(struct sf *f, struct sf_end *e, struct sm_str *line, bool *lf,
            int64_t deadline_ms) SM_MUST_CHECK;
void sf_log(const struct sf *f, int priority, const char *fmt, ...) SM_PRINTF(3, 4);

/* ---- smxfeed_server.c: smtps ---- */

/* Connected and greeted, if it is not; whatever smtps said unasked is a farewell. 0, or an error
 * with a diag. */
int sf_server_open(struct sf *f) SM_MUST_CHECK;
/* Without another word: what it was not told to keep it forgets. */
void sf_server_cut(struct sf *f);
void sf_server_quit(struct sf *f);
/* Says a line, with CRLF; it leaves with the next sf_reply. */
void sf_server_say(struct sf *f, const char *fmt, ...) SM_PRINTF(2, 3);
/* Code of the next reply, its text in f->reply; or an error with a diag, the connection is cut. */
int sf_reply(struct sf *f, int64_t deadline_ms) SM_MUST_CHECK;

/* ---- smxfeed_mail.c: a transaction ---- */

struct sf_mail *sf_mail_new(void);
void sf_mail_free(struct sf_mail **m);
void sf_mail_reset(struct sf_mail *m);
bool sf_mail_open(const struct sf_mail *m);
size_t sf_mail_rcpts(const struct sf_mail *m);
/* The lines as the client has said them. False: there is no more room. */
bool sf_mail_begin(struct sf_mail *m, struct sm_str line);
bool sf_mail_rcpt(struct sf_mail *m, struct sm_str line);
/* DATA has been said, and there are recipients: all the rest, up to a reply for each. The
 * transaction is over. f->closing, if the session is too. */
void sf_mail_data(struct sf *f);
/* Says it to the client. */
void sf_say(struct sf *f, int code, const char *text);

#endif
