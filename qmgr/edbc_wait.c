/*
 * What waits for a queue run, by destination: lists through the entries of the deferred index, so
 * that a run for one domain never looks at the mail of others.
 *
 * The links are in an array beside that of the entries, which is made when something waits for the
 * first time. A walk takes the first of a list, and puts it behind the last: what has a later
 * serial than the walk began with came later, or was seen. Invariant: an entry is in one list if
 * and only if it has a recipient with a waiting byte; serials ascend along each list; a list is
 * there as long as it is not empty. Loop thread only.
 */
#include <stddef.h>
#include "libsm/utf8.h"
#include "qmgr/edbc_int.h"

#define NONE QM_EDBC_NONE

struct qm_edbc_list {
	struct sm_hash_node node;
	uint32_t number, first, last, mails;
	uint32_t rcpts[2], by_dest[2]; /* by at(): that wait; of these, for where they go */
	/* There may be as many as mails: nothing here that can be done without. */
	uint16_t n;
	char text[]; /* its domain, as it is compared; empty: of those that wait for several */
};

/* Nothing is counted of what waits for nothing. */
static unsigned at(enum sm_wait wait)
{
	return wait == SM_WAIT_ASKED;
}

static struct sm_str domain_of(const struct qm_edbc_list *l)
{
	return sm_str_n(l->text, l->n);
}

/* ---- domains ---- */

/* What is no domain is compared as it is. */
static struct sm_str compared(struct sm_str domain, char text[SM_DOMAIN_ASCII_SIZE])
{
	struct sm_str ascii;

	return sm_domain_ascii(domain, text, &ascii) == 0 ? ascii : domain;
}

static bool is_below(struct sm_str domain, struct sm_str top)
{
	return domain.n > top.n && domain.p[domain.n - top.n - 1] == '.' &&
	       sm_str_has_casesuffix(domain, top);
}

bool qm_call_means(const struct qm_call *c, struct sm_str domain, enum sm_wait wait, bool by_dest)
{
	char text[SM_DOMAIN_ASCII_SIZE], dest_text[SM_DOMAIN_ASCII_SIZE];
	struct sm_str dest;

	if (!(c->waits >> wait & 1) || (c->by_dest && !by_dest))
		return false;
	if (c->dest.n == 0)
		return true;
	dest = compared(c->dest, dest_text);
	domain = compared(domain, text);
	return sm_str_caseeq(domain, dest) || (c->below && is_below(domain, dest));
}

/* ---- lists ---- */

static bool list_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_caseeq(domain_of(SM_CONTAINER_OF(n, struct qm_edbc_list, node)),
	                     *(const struct sm_str *)key);
}

static struct qm_edbc_list *find(const struct qm_edbc *e, struct sm_str domain)
{
	struct sm_hash_node *n =
	    sm_hash_find(&e->waits.by_domain, sm_hash_case(domain), list_eq, &domain);

	return n ? SM_CONTAINER_OF(n, struct qm_edbc_list, node) : NULL;
}

static struct qm_edbc_list *list_at(const struct qm_edbc *e, uint32_t dest)
{
	return dest < e->waits.dest_count ? e->waits.dests[dest] : NULL;
}

/* Numbers that are free are used first; 0 is kept for those that wait for several. */
static struct qm_edbc_list *list_new(struct qm_edbc *e, struct sm_str domain)
{
	struct qm_edbc_waits *w = &e->waits;
	struct qm_edbc_list *l =
	    sm_calloc(1, SM_MAX(sizeof(*l), offsetof(struct qm_edbc_list, text) + domain.n));

	if (domain.n > 0)
		memcpy(l->text, domain.p, domain.n);
	l->n = (uint16_t)domain.n;
	l->first = l->last = NONE;
	l->number = domain.n == 0       ? QM_EDBC_SEVERAL
	            : w->free_count > 0 ? w->free[--w->free_count]
	                                : SM_MAX(w->dest_count, 1u);
	if (l->number >= w->dest_cap) {
		w->dest_cap = l->number + l->number / 2 + 16;
		w->dests = sm_realloc(w->dests, w->dest_cap, sizeof(struct qm_edbc_list *));
		w->free = sm_realloc(w->free, w->dest_cap, sizeof(*w->free));
	}
	while (w->dest_count <= l->number)
		w->dests[w->dest_count++] = NULL;
	w->dests[l->number] = l;
	sm_hash_insert(&w->by_domain, &l->node, sm_hash_case(domain));
	return l;
}

static void list_free(struct qm_edbc *e, struct qm_edbc_list *l)
{
	struct qm_edbc_waits *w = &e->waits;

	sm_hash_remove(&w->by_domain, &l->node);
	w->dests[l->number] = NULL;
	if (l->number != QM_EDBC_SEVERAL)
		w->free[w->free_count++] = l->number;
	sm_free(l);
}

/* ---- links ---- */

static void append(struct qm_edbc *e, struct qm_edbc_list *l, uint32_t i)
{
	struct qm_edbc_link *v = e->waits.v;

	v[i] = (struct qm_edbc_link){
	    .prev = l->last, .next = NONE, .list = l->number + 1, .serial = ++e->waits.serial};
	if (l->last == NONE)
		l->first = i;
	else
		v[l->last].next = i;
	l->last = i;
	l->mails++;
}

static void unlink_it(struct qm_edbc *e, struct qm_edbc_list *l, uint32_t i)
{
	struct qm_edbc_link *v = e->waits.v, *x = &v[i];

	if (x->prev == NONE)
		l->first = x->next;
	else
		v[x->prev].next = x->next;
	if (x->next == NONE)
		l->last = x->prev;
	else
		v[x->next].prev = x->prev;
	x->list = 0;
	l->mails--;
}

/* What realloc gave is not zero. */
void qm_edbc_wait_none(struct qm_edbc *e, uint32_t i)
{
	if (e->waits.v != NULL)
		e->waits.v[i].list = 0;
}

/* NULL: in none. */
static struct qm_edbc_list *list_of(const struct qm_edbc *e, uint32_t i)
{
	return e->waits.v && e->waits.v[i].list ? e->waits.dests[e->waits.v[i].list - 1] : NULL;
}

/* The one domain that its waiting recipients are in; empty: there are several. */
static struct sm_str only_domain(const struct qm_edbc *e, const struct qm_edbc_entry *x,
                                 char text[SM_DOMAIN_ASCII_SIZE])
{
	struct qm_edbc_reader r = qm_edbc_read(e, x);
	uint32_t first = 0;
	struct sm_str domain = SM_STR("");
	char other[SM_DOMAIN_ASCII_SIZE];
	struct qm_edbc_rcpt rcpt;

	while (qm_edbc_read_rcpt(&r, &rcpt)) {
		if (rcpt.wait == SM_WAIT_NO || rcpt.domain == first)
			continue;
		if (first == 0)
			domain = compared(qm_atoms_text(e->names, rcpt.domain), text);
		else if (!sm_str_caseeq(domain,
		                        compared(qm_atoms_text(e->names, rcpt.domain), other)))
			return SM_STR("");
		first = rcpt.domain;
	}
	return domain;
}

/* One more recipient waits in list `l`, or one less. */
static void count(struct qm_edbc *e, struct qm_edbc_list *l, enum sm_wait wait, bool by_dest,
                  int change)
{
	e->waits.rcpts[wait] += (size_t)change;
	l->rcpts[at(wait)] += (uint32_t)change;
	l->by_dest[at(wait)] += by_dest ? (uint32_t)change : 0;
}

static void count_all(struct qm_edbc *e, struct qm_edbc_list *l, uint32_t i, int change)
{
	struct qm_edbc_reader r = qm_edbc_read(e, &e->v[i]);
	struct qm_edbc_rcpt rcpt;

	while (qm_edbc_read_rcpt(&r, &rcpt))
		if (rcpt.wait != SM_WAIT_NO && !rcpt.run)
			count(e, l, rcpt.wait, rcpt.by_dest, change);
}

void qm_edbc_wait_in(struct qm_edbc *e, uint32_t i)
{
	char text[SM_DOMAIN_ASCII_SIZE];
	struct sm_str domain = only_domain(e, &e->v[i], text);
	struct qm_edbc_list *l = find(e, domain);

	/* Pages that the kernel zeroes when they are used: there may be a million entries. */
	if (e->waits.v == NULL)
		e->waits.v = sm_calloc(e->cap, sizeof(*e->waits.v));
	if (l == NULL)
		l = list_new(e, domain);
	append(e, l, i);
	count_all(e, l, i, 1);
}

void qm_edbc_wait_out(struct qm_edbc *e, uint32_t i)
{
	struct qm_edbc_list *l = list_of(e, i);

	if (l == NULL)
		return;
	unlink_it(e, l, i);
	count_all(e, l, i, -1);
	if (l->mails == 0)
		list_free(e, l);
}

void qm_edbc_waits_grow(struct qm_edbc *e, uint32_t cap)
{
	if (e->waits.v != NULL)
		e->waits.v = sm_realloc(e->waits.v, cap, sizeof(*e->waits.v));
}

void qm_edbc_waits_init(struct qm_edbc *e)
{
	e->waits = (struct qm_edbc_waits){0};
	sm_hash_init(&e->waits.by_domain);
}

void qm_edbc_waits_fini(struct qm_edbc *e)
{
	struct qm_edbc_waits *w = &e->waits;

	for (uint32_t n = 0; n < w->dest_count; n++)
		if (w->dests[n] != NULL)
			list_free(e, w->dests[n]);
	sm_hash_fini(&w->by_domain);
	sm_free(w->dests);
	sm_free(w->free);
	sm_free(w->v);
}

size_t qm_edbc_waits_bytes(const struct qm_edbc *e)
{
	const struct qm_edbc_waits *w = &e->waits;

	return (w->v ? e->cap * sizeof(*w->v) : 0) +
	       w->dest_cap * (sizeof(struct qm_edbc_list *) + sizeof(*w->free)) +
	       w->by_domain.count * (sizeof(struct qm_edbc_list) + 32);
}

/* ---- questions ---- */

uint32_t qm_edbc_dest_find(const struct qm_edbc *e, struct sm_str domain)
{
	char text[SM_DOMAIN_ASCII_SIZE];
	const struct qm_edbc_list *l = find(e, compared(domain, text));

	return l && domain.n > 0 ? l->number : QM_EDBC_NO_DEST;
}

uint32_t qm_edbc_dests(const struct qm_edbc *e)
{
	return e->waits.dest_count;
}

struct sm_str qm_edbc_dest(const struct qm_edbc *e, uint32_t dest)
{
	const struct qm_edbc_list *l = list_at(e, dest);

	return l ? domain_of(l) : SM_STR_NONE;
}

size_t qm_edbc_dest_mails(const struct qm_edbc *e, uint32_t dest)
{
	const struct qm_edbc_list *l = list_at(e, dest);

	return l ? l->mails : 0;
}

size_t qm_edbc_dest_rcpts(const struct qm_edbc *e, uint32_t dest, enum sm_wait wait, bool by_dest)
{
	const struct qm_edbc_list *l = list_at(e, dest);

	return l == NULL ? 0 : by_dest ? l->by_dest[at(wait)] : l->rcpts[at(wait)];
}

size_t qm_edbc_wait_count(const struct qm_edbc *e, enum sm_wait wait)
{
	return e->waits.rcpts[wait];
}

enum sm_wait qm_edbc_waiting(const struct qm_edbc *e, const struct qm_edbc_entry *x, uint16_t index)
{
	struct qm_edbc_reader r = qm_edbc_read(e, x);
	struct qm_edbc_rcpt rcpt;

	while (qm_edbc_read_rcpt(&r, &rcpt))
		if (rcpt.index == index)
			return rcpt.run ? SM_WAIT_NO : rcpt.wait;
	return SM_WAIT_NO;
}

bool qm_edbc_has_waits(const struct qm_edbc_entry *x)
{
	return x->flags & QM_EDBC_WAITS;
}

bool qm_edbc_all_waits(const struct qm_edbc_entry *x)
{
	return x->flags & QM_EDBC_ALL_WAITS;
}

uint32_t qm_edbc_wait_now(const struct qm_edbc *e)
{
	return e->waits.serial;
}

const struct qm_edbc_entry *qm_edbc_wait_next(struct qm_edbc *e, uint32_t dest, uint32_t until)
{
	struct qm_edbc_list *l = list_at(e, dest);
	uint32_t i;

	/* Serials go round, and a mail may wait while they do: what counts is how many were given
	 * since, in the walk and to the mail. */
	if (l == NULL || e->waits.serial - e->waits.v[l->first].serial < e->waits.serial - until)
		return NULL;
	i = l->first;
	unlink_it(e, l, i);
	append(e, l, i);
	return &e->v[i];
}

/* ---- changes ---- */

enum change { CALL, REWAIT, RUN_OVER };

static void change_byte(struct qm_edbc *e, struct qm_edbc_list *l, uint8_t *byte, enum change what,
                        enum sm_wait wait)
{
	enum sm_wait was = (enum sm_wait)(*byte & QM_EDBC_WAIT_KIND);
	bool by_dest = *byte & QM_EDBC_WAIT_DEST;

	if (what != RUN_OVER)
		count(e, l, was, by_dest, -1);
	if (what != CALL)
		count(e, l, what == REWAIT ? wait : was, by_dest, 1);
	if (what == CALL)
		*byte |= QM_EDBC_WAIT_RUN;
	else if (what == RUN_OVER)
		*byte &= (uint8_t)~QM_EDBC_WAIT_RUN;
	else
		*byte = (uint8_t)((*byte & ~QM_EDBC_WAIT_KIND) | wait);
}

bool qm_edbc_wait_release(struct qm_edbc *e, const struct qm_edbc_entry *x, uint8_t *byte)
{
	if (byte == NULL || *byte & QM_EDBC_WAIT_RELEASED)
		return false;
	if (!(*byte & QM_EDBC_WAIT_RUN))
		change_byte(e, list_of(e, (uint32_t)(x - e->v)), byte, CALL, SM_WAIT_NO);
	*byte |= QM_EDBC_WAIT_RELEASED;
	return true;
}

/* `what` to those that are meant; gives their number. */
static unsigned change(struct qm_edbc *e, struct qm_edbc_entry *x, const struct qm_call *c,
                       enum change what, enum sm_wait wait)
{
	struct qm_edbc_list *l = list_of(e, (uint32_t)(x - e->v));
	struct qm_edbc_reader r;
	struct qm_edbc_rcpt rcpt;
	unsigned n = 0;

	for (r = qm_edbc_read(e, x); r.left > 0;) {
		uint8_t *byte = qm_edbc_wait_byte(&r);

		(void)qm_edbc_read_rcpt(&r, &rcpt);
		/* What an operator has released stays so. */
		if (byte == NULL || rcpt.run != (what == RUN_OVER) ||
		    (what == RUN_OVER && (*byte & QM_EDBC_WAIT_RELEASED)) ||
		    (what == CALL && rcpt.held) || rcpt.mark != QM_MARK_NONE)
			continue;
		if (!qm_call_means(c, qm_atoms_text(e->names, rcpt.domain), rcpt.wait,
		                   rcpt.by_dest))
			continue;
		change_byte(e, l, byte, what, wait);
		n++;
	}
	if (n > 0)
		qm_edbc_flags(e, x);
	return n;
}

unsigned qm_edbc_call(struct qm_edbc *e, struct sm_id id, const struct qm_call *c, int64_t at_s)
{
	struct qm_edbc_entry *x = qm_edbc_entry_of(e, id);
	unsigned n = x ? change(e, x, c, CALL, SM_WAIT_NO) : 0;

	if (n > 0)
		qm_edbc_due(e, x, SM_MIN(at_s, (int64_t)x->next_try_s));
	return n;
}

unsigned qm_edbc_rewait(struct qm_edbc *e, struct sm_id id, const struct qm_call *c,
                        enum sm_wait wait)
{
	struct qm_edbc_entry *x = qm_edbc_entry_of(e, id);

	return x ? change(e, x, c, REWAIT, wait) : 0;
}

unsigned qm_edbc_run_over(struct qm_edbc *e, struct sm_id id, struct sm_str domain)
{
	const struct qm_call all = {.dest = domain,
	                            .waits = 1u << SM_WAIT_RUN | 1u << SM_WAIT_ASKED};
	struct qm_edbc_entry *x = qm_edbc_entry_of(e, id);

	return x ? change(e, x, &all, RUN_OVER, SM_WAIT_NO) : 0;
}
