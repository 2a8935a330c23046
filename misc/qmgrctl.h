/*
 * What qmgrctl, mailq and metaqueue share: showing what qmgr says to people. Asking is in ctl.h.
 */
#ifndef MISC_QMGRCTL_H
#define MISC_QMGRCTL_H

#include "misc/ctl.h"

#define QC_SOCKET SMX_QUEUEDIR "/ctl/qmgr"

/* ---- qmgrctl_print.c ---- */

struct qc_print {
	const char *verb;
	unsigned rows; /* so far */
	bool hosts;    /* their table has begun */
	struct sm_buf out;
};
/* One line of an answer, for people, to stdout. For qc_ask.line; arg is the struct qc_print. */
void qc_print(void *arg, struct sm_str json);

/* How long it is to that time, and since: "5m", "now", "-" for 0. */
const char *qc_until(int64_t wall_s, char out[24]);
const char *qc_since(int64_t wall_s, char out[24]);

/* How one type of line is shown: appended to p->out. */
struct qc_printer {
	const char *type;
	void (*print)(struct qc_print *p, const json_t *o);
};
/* Those of other files; a NULL type ends each. */
extern const struct qc_printer qc_print_dest[];       /* qmgrctl_dest.c */
extern const struct qc_printer qc_print_transcript[]; /* qmgrctl_transcript.c */

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
