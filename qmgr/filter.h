/*
 * Conditions that choose transactions and recipients: what operators give to list, summary, hold,
 * remove and the others. Pure.
 *
 * A filter is a list of conditions that must all hold. Conditions on a recipient choose recipients;
 * a transaction matches when at least one of its recipients does.
 *
 *     id=S00...      sender=GLOB   rcpt=GLOB     domain=NAME   host=GLOB     reason=GLOB
 *     age>2h         age<1d        tries>=3      size>1M       state=deferred,held
 *     next<10m       dest=NAME
 *
 * Times are 30s, 15m, 2h, 3d or 1w, sizes 2000, 64K, 10M or 1G; next_try of what is held is never.
 * Several values separated by commas: any of them. `!` before the key: not. sender=<> is the null
 * sender. domain=.example.org means all below it. dest is domain or host; an
 * address may be given to these three as people write it: 192.0.2.1. Globs know * and ?, and ignore
 * case; a glob without either matches the whole value, but for reason, where it matches any part.
 */
#ifndef QM_FILTER_H
#define QM_FILTER_H

#include "qmgr/view.h"

struct qm_filter;

/* A filter of `count` conditions, none: everything. SM_E_SYNTAX with a diag that names the
 * condition and what is wrong with it; SM_E_TOOBIG. */
int qm_filter_new(const struct sm_str *conditions, size_t count, int64_t now_s,
                  struct qm_filter **out) SM_MUST_CHECK;
/* What age and next are measured from, from here on. */
void qm_filter_set_time(struct qm_filter *f, int64_t now_s);
void qm_filter_free(struct qm_filter **f);

/* How many recipients match: their places in v->rcpts go to `which` (room for v->rcpt_count; may be
 * NULL). 0: the transaction does not match. */
unsigned qm_filter_match(struct qm_filter *f, const struct qm_view *v, uint32_t *which);

/* Do all conditions speak of the transaction as a whole? Then what matches is all of its
 * recipients. */
bool qm_filter_whole(const struct qm_filter *f);
/* Are there no conditions at all? */
bool qm_filter_empty(const struct qm_filter *f);
/* The ids it names, when it names any: then nothing else needs to be looked at. */
const struct sm_id *qm_filter_ids(const struct qm_filter *f, size_t *count);

#endif
