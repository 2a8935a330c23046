/*
 * What qmgrctl, mailq and metaqueue share: asking qmgr, and showing what it says to people.
 *
 * qmgr answers with lines of JSON (doc/formats.md). What people see is made of them here, and only
 * here do they pass to a terminal: bytes that could do something there are escaped.
 */
#ifndef MISC_QMGRCTL_H
#define MISC_QMGRCTL_H

#include <jansson.h>

#include "libsm/buf.h"

/* Exit statuses, beside those that qmgr gives: 0, 1, 64, 75, 77. */
enum {
	QC_OK = 0,
	QC_NOTHING = 1, /* nothing is such as it was asked for */
	QC_USAGE = 64,
	QC_DATA = 65, /* the queue's files cannot be read */
	QC_AWAY = 69, /* no qmgr is there */
	QC_OSERR = 71,
	QC_LATER = 75, /* it is there, but cannot do it now */
	QC_NOPERM = 77,
	QC_FOREIGN = 78 /* another release wrote the queue's files */
};

#define QC_SOCKET SMX_QUEUEDIR "/ctl/qmgr"

/* ---- qmgrctl_ask.c ---- */

struct qc_ask {
	const char *program; /* for messages */
	const char *socket;
	const char *verb;
	struct sm_str words[64];
	size_t count;
	void (*line)(void *arg, struct sm_str json); /* without the line end */
	void *arg;
	bool quiet; /* say nothing when no qmgr is there */
};
/* Ask, hand each line on, wait for the end. Gives the exit status; what is wrong goes to stderr. */
int qc_ask(const struct qc_ask *ask);

/* ---- qmgrctl_text.c ---- */

/* At most `width` columns, escaped; with "..." when it is longer; filled up with spaces when
 * `fill`. width 0: all of it. */
void qc_text(struct sm_buf *b, const char *utf8, unsigned width, bool fill);
/* "45s" "12m" "2h10m" "3d4h"; 0 and less: "now". */
const char *qc_duration(int64_t s, char out[24]);
/* "512" "1.5K" "23M" */
const char *qc_size(int64_t bytes, char out[24]);
/* "2026-11-21 03:20", local; "-" for 0. */
const char *qc_time(int64_t wall_s, char out[24]);
/* 90s, 15m, 2h, 3d, 1w, and 1h30m: into seconds; false: it is none. */
bool qc_seconds(const char *text, int64_t *out);

const char *qc_str(const json_t *o, const char *key); /* "" when it is not there */
int64_t qc_num(const json_t *o, const char *key);     /* 0 when it is not there, or null */
bool qc_true(const json_t *o, const char *key);

/* ---- qmgrctl_print.c ---- */

struct qc_print {
	const char *verb;
	unsigned rows; /* so far */
	bool hosts;    /* their table has begun */
	struct sm_buf out;
};
/* One line of an answer, for people, to stdout. For qc_ask.line; arg is the struct qc_print. */
void qc_print(void *arg, struct sm_str json);

/* ---- qmgrctl_mailq.c: what users of mailq know ---- */

struct qc_mailq {
	uint64_t mails, bytes;
	struct sm_buf out;
};
void qc_mailq(void *arg, struct sm_str json); /* for qc_ask.line */
void qc_mailq_mail(struct qc_mailq *m, const json_t *mail);
void qc_mailq_end(struct qc_mailq *m);

/* ---- qmgrctl_verbs.c ---- */

enum { QC_BY = 1, QC_FOR = 2, QC_REASON = 4, QC_LIMIT = 8, QC_AFTER = 16, QC_DRY_RUN = 32 };

struct qc_verb {
	const char *name, *words; /* what stands behind it */
	const char *help;         /* one line */
	const char *more;         /* further lines, or "" */
	unsigned options;
};
extern const struct qc_verb qc_verbs[]; /* ends with a NULL name */
const struct qc_verb *qc_verb(const char *name);
void qc_help(FILE *f);
void qc_help_verb(FILE *f, const struct qc_verb *v);

#endif
