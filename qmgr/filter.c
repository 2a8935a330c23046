/*
 * Matching views against conditions.
 *
 * Most conditions are on strings that many transactions share. The verdict on such a string is
 * found once and remembered under its number in the index, together with its stamp: a number that
 * was given to another string since is looked at again. Loop thread only.
 */
#include "qmgr/filter_int.h"

#include <stdlib.h>
#include "libsm/err.h"

#define CONDS_MOST  64u
#define BYTES_MOST  (512u * 1024)
#define ARENA_BYTES (32u * 1024 * 1024) /* above what BYTES_MOST can become */
#define ADDR_MOST   600

/* Verdicts, in the two low bits; above is the stamp. */
enum { UNKNOWN, NO, YES };

int qm_filter_new(const struct sm_str *conditions, size_t count, int64_t now_s,
                  struct qm_filter **out)
{
	struct qm_filter *f;
	size_t bytes = 0;
	int err = 0;

	*out = NULL;
	for (size_t i = 0; i < count; i++)
		bytes += conditions[i].n;
	if (count > CONDS_MOST || bytes > BYTES_MOST)
		return sm_fail(SM_E_TOOBIG, "at most %u conditions with %u bytes in all",
		               CONDS_MOST, BYTES_MOST);
	f = sm_calloc(1, sizeof(*f));
	sm_arena_init(&f->arena, "filter", 1024, ARENA_BYTES);
	f->now_s = now_s;
	f->conds = sm_arena_must(&f->arena, count * sizeof(*f->conds));
	for (size_t i = 0; i < count && err == 0; i++)
		if ((err = qm_filter_parse(conditions[i], &f->arena, &f->conds[f->count])) == 0)
			f->count++;
	if (err != 0)
		qm_filter_free(&f);
	*out = f;
	return err;
}

void qm_filter_set_time(struct qm_filter *f, int64_t now_s)
{
	f->now_s = now_s;
}

void qm_filter_free(struct qm_filter **fp)
{
	struct qm_filter *f = *fp;

	if (f == NULL)
		return;
	for (size_t i = 0; i < f->count; i++)
		sm_free(f->conds[i].verdicts);
	sm_arena_fini(&f->arena);
	SM_FREE(*fp);
}

bool qm_filter_empty(const struct qm_filter *f)
{
	return f->count == 0;
}

static bool of_rcpt(const struct qm_cond *c)
{
	return c->key >= QM_KEY_FIRST_OF_RCPT;
}

bool qm_filter_whole(const struct qm_filter *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (of_rcpt(&f->conds[i]))
			return false;
	return true;
}

const struct sm_id *qm_filter_ids(const struct qm_filter *f, size_t *count)
{
	*count = 0;
	for (size_t i = 0; i < f->count; i++) {
		if (f->conds[i].key == QM_KEY_ID && !f->conds[i].negated) {
			*count = f->conds[i].count;
			return f->conds[i].ids;
		}
	}
	return NULL;
}

/* ---- strings ---- */

/* Does all of `s` fit? At each * the shortest is tried first; only the last * need ever be taken
 * further, so the time is the product of the lengths at the most. */
static bool glob(struct sm_str pattern, struct sm_str s)
{
	size_t p = 0, i = 0, star = SIZE_MAX, from = 0;

	while (i < s.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			from = i;
		} else if (p < pattern.n &&
		           (pattern.p[p] == '?' || pattern.p[p] == sm_lower(s.p[i]))) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++from;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

static bool any_pattern(const struct qm_cond *c, struct sm_str s)
{
	for (uint32_t i = 0; i < c->count; i++) {
		const struct qm_pattern *p = &c->patterns[i];

		if (p->glob    ? glob(p->text, s)
		    : p->below ? sm_str_has_casesuffix(s, p->text)
		               : sm_str_caseeq(p->text, s))
			return true;
	}
	return false;
}

static uint32_t *verdict_of(struct qm_cond *c, uint32_t number)
{
	if (number >= c->verdict_count) {
		uint32_t count = number + number / 4 + 256;

		c->verdicts = sm_realloc(c->verdicts, count, sizeof(*c->verdicts));
		memset(c->verdicts + c->verdict_count, 0,
		       (count - c->verdict_count) * sizeof(*c->verdicts));
		c->verdict_count = count;
	}
	return &c->verdicts[number];
}

static bool shared(struct qm_cond *c, struct qm_view_atom atom, struct sm_str s)
{
	uint32_t *verdict, stamp = atom.stamp << 2;

	if (atom.number == 0)
		return any_pattern(c, s);
	verdict = verdict_of(c, atom.number);
	if ((*verdict & 3) == UNKNOWN || (*verdict & ~3u) != stamp)
		*verdict = stamp | (any_pattern(c, s) ? YES : NO);
	return (*verdict & 3) == YES;
}

static bool address(const struct qm_cond *c, const struct qm_view_rcpt *r)
{
	char whole[ADDR_MOST];

	if (r->domain.n == 0)
		return any_pattern(c, r->local);
	if (r->local.n + 1 + r->domain.n > sizeof(whole))
		return false; /* no record has one */
	if (r->local.n)
		memcpy(whole, r->local.p, r->local.n);
	whole[r->local.n] = '@';
	memcpy(whole + r->local.n + 1, r->domain.p, r->domain.n);
	return any_pattern(c, sm_str_n(whole, r->local.n + 1 + r->domain.n));
}

/* ---- numbers ---- */

static bool number(const struct qm_cond *c, uint64_t n)
{
	switch (c->op) {
	case QM_OP_LT:
		return n < c->numbers[0];
	case QM_OP_LE:
		return n <= c->numbers[0];
	case QM_OP_GT:
		return n > c->numbers[0];
	case QM_OP_GE:
		return n >= c->numbers[0];
	case QM_OP_EQ:
		break;
	}
	for (uint32_t i = 0; i < c->count; i++)
		if (n == c->numbers[i])
			return true;
	return false;
}

/* How far `to` is behind `from`, not less than 0. */
static uint64_t span(int64_t from, int64_t to)
{
	return to > from ? (uint64_t)(to - from) : 0;
}

/* ---- conditions ---- */

static bool holds_txn(struct qm_cond *c, const struct qm_view *v, int64_t now_s)
{
	switch (c->key) {
	case QM_KEY_ID:
		return bsearch(&v->id, c->ids, c->count, sizeof(*c->ids), qm_filter_id_cmp) != NULL;
	case QM_KEY_SENDER:
		return shared(c, v->sender_atom, v->sender);
	case QM_KEY_AGE:
		return number(c, span(v->received_s, now_s));
	case QM_KEY_SIZE:
		return number(c, v->size);
	case QM_KEY_NEXT:
		return number(c, v->next_try_s == QM_EDBC_NEVER ? UINT64_MAX
		                                                : span(now_s, v->next_try_s));
	default:
		return true;
	}
}

static bool holds_rcpt(struct qm_cond *c, const struct qm_view_rcpt *r)
{
	switch (c->key) {
	case QM_KEY_RCPT:
		return address(c, r);
	case QM_KEY_DOMAIN:
		return shared(c, r->domain_atom, r->domain);
	case QM_KEY_HOST:
		return shared(c, r->host_atom, r->host);
	case QM_KEY_DEST: /* both are strings of one table: one set of verdicts does */
		return shared(c, r->domain_atom, r->domain) || shared(c, r->host_atom, r->host);
	case QM_KEY_REASON:
		return shared(c, r->reason_atom, r->reason);
	case QM_KEY_TRIES:
		return number(c, r->tries);
	case QM_KEY_STATE:
		return c->states & 1u << r->state;
	default:
		return true;
	}
}

static bool txn_fits(struct qm_filter *f, const struct qm_view *v)
{
	for (size_t i = 0; i < f->count; i++)
		if (!of_rcpt(&f->conds[i]) &&
		    holds_txn(&f->conds[i], v, f->now_s) == f->conds[i].negated)
			return false;
	return true;
}

static bool rcpt_fits(struct qm_filter *f, const struct qm_view_rcpt *r)
{
	for (size_t i = 0; i < f->count; i++)
		if (of_rcpt(&f->conds[i]) && holds_rcpt(&f->conds[i], r) == f->conds[i].negated)
			return false;
	return true;
}

unsigned qm_filter_match(struct qm_filter *f, const struct qm_view *v, uint32_t *which)
{
	unsigned n = 0;

	if (!txn_fits(f, v))
		return 0;
	for (uint32_t i = 0; i < v->rcpt_count; i++) {
		if (!rcpt_fits(f, &v->rcpts[i]))
			continue;
		if (which)
			which[n] = i;
		n++;
	}
	return n;
}
