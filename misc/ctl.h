/*
 * What programs share that ask over a control socket (qc_): asking, and showing what is said to
 * people.
 *
 * Answers are lines of JSON (doc/formats.md). What people see is made of them by the programs, and
 * only there do they pass to a terminal: bytes that could do something there are escaped.
 */
#ifndef MISC_CTL_H
#define MISC_CTL_H

#include <jansson.h>

#include "libsm/buf.h"
#include "libsm/msg.h"

/* Exit statuses, beside those of an answer: 0, 1, 64, 75, 77. */
enum {
	QC_OK = 0,
	QC_NOTHING = 1, /* nothing is such as it was asked for */
	QC_USAGE = 64,
	QC_DATA = 65, /* the queue's files cannot be read */
	QC_AWAY = 69, /* nobody is there */
	QC_OSERR = 71,
	QC_LATER = 75, /* it is there, but cannot do it now */
	QC_NOPERM = 77,
	QC_FOREIGN = 78 /* another release wrote the queue's files */
};

/* ---- ctl_ask.c ---- */

struct qc_ask {
	const char *program; /* for messages */
	const char *server;  /* likewise: "qmgr" */
	enum sm_role role;   /* of the server */
	const char *socket;
	const char *verb;
	struct sm_str words[64];
	size_t count;
	void (*line)(void *arg, struct sm_str json); /* without the line end */
	void *arg;
	bool quiet; /* say nothing when nobody is there */
};
/* Ask, hand each line on, wait for the end. Gives the exit status; what is wrong goes to stderr.
 * May be called again, one question after the other. */
int qc_ask(const struct qc_ask *ask);

/* ---- ctl_text.c ---- */

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

#endif
