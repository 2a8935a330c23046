/*
 * The ledger of t_life. Invariant: a fact is SURE only when qmgr's answer that says so came before
 * what is looked at now; what was merely asked for is MAYBE, and either outcome is right then.
 */
#include "qmgr/t_ledger.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef SM_TESTING

#define TASKS 20000

struct ledger *led;
uint64_t ledger_seed;

/* ---- of one process ---- */

static unsigned seen; /* tasks of smtpc's puppet that were looked at */
static struct given {
	unsigned count, mail[40], rcpt[40];
	bool lost[40];
} * given;
static bool arrived[MAILS][RCPTS];

void ledger_begin(void)
{
	seen = 0;
	given = sm_calloc(TASKS, sizeof(*given));
}

unsigned rnd(unsigned n)
{
	ledger_seed = ledger_seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(ledger_seed >> 33) % n;
}

bool one_in(unsigned n)
{
	return rnd(n) == 0;
}

void ledger_wrong(const char *what, unsigned m, unsigned r)
{
	char id[SM_ID_SIZE] = "";

	sm_id_text(led->mail[m].id, id);
	snprintf(led->wrong, sizeof(led->wrong), "%s: mail %u (%s, %u) recipient %u, cut %u", what,
	         m, id, led->mail[m].deliver + 10U * led->mail[m].alias, r, led->cuts);
	_exit(3);
}

/* Whose address that is; members are the same for all aliases. */
static bool get(struct sm_id content, const char *addr, unsigned *m, unsigned *r)
{
	unsigned d;

	if (sscanf(addr, "m%u-r%u@d%u.test", m, r, &d) == 3)
		return *m < led->mails && *r < led->mail[*m].rcpts;
	if (sscanf(addr, "m%u@m.test", r) != 1)
		return false;
	for (*m = 0; *m < led->mails; ++*m)
		if (led->mail[*m].alias && sm_id_eq(led->mail[*m].id, content))
			return *r < led->mail[*m].rcpts;
	return false;
}

unsigned ledger_domain_of(unsigned m, unsigned r)
{
	return (m + r) % DOMAINS;
}

/* ---- what qmgr has ---- */

/* In one of the children, or still in the alias. */
static bool member_is_open(const struct ledger_mail *m, unsigned r)
{
	const struct qm_txn *owner = qm_txn_find(&w.q.txns, m->id);
	const struct qm_content_child *c = NULL;
	char name[32];

	snprintf(name, sizeof(name), "m%05u", r);
	if (qm_edbc_find(w.q.edbc, m->id))
		return true;
	if (owner && owner->open > 0 && !qm_rcpt_owed(&owner->rcpts[0]) &&
	    sm_str_cmp(owner->rcpts[0].after, sm_str(name)) < 0)
		return true;
	while ((c = qm_content_next(&w.q.txns.contents, m->id, false, c)) != NULL) {
		const struct qm_txn *txn = qm_txn_find(&w.q.txns, c->id);
		const struct qm_edbc_entry *e = qm_edbc_find(w.q.edbc, c->id);
		struct qm_edbc_reader in;
		struct qm_edbc_rcpt x;

		for (unsigned i = 0; txn && i < txn->rcpt_count; i++)
			if (sm_str_has_prefix(txn->rcpts[i].addr, sm_str(name)) &&
			    txn->rcpts[i].state != QM_RCPT_SETTLED)
				return true;
		if (txn || e == NULL)
			continue;
		in = qm_edbc_read(w.q.edbc, e);
		while (qm_edbc_read_rcpt(&in, &x))
			if (sm_str_eq(x.local, sm_str(name)))
				return true;
	}
	return false;
}

bool ledger_is_open(const struct ledger_mail *m, unsigned r)
{
	struct qm_txn *txn = qm_txn_find(&w.q.txns, m->id);
	const struct qm_edbc_entry *e = qm_edbc_find(w.q.edbc, m->id);
	struct qm_edbc_reader in;
	struct qm_edbc_rcpt x;

	if (m->alias)
		return member_is_open(m, r);
	if (txn) {
		const struct qm_rcpt *rcpt = qm_txn_rcpt(txn, (uint16_t)r);

		return rcpt && rcpt->state != QM_RCPT_SETTLED;
	}
	if (e == NULL)
		return false;
	in = qm_edbc_read(w.q.edbc, e);
	while (qm_edbc_read_rcpt(&in, &x))
		if (x.index == r)
			return x.mark !=
			       QM_MARK_REMOVE; /* else it is only read back to be removed */
	return false;
}

static bool is_due_to_come(const struct ledger_rcpt *r)
{
	return r->delivered == 0 && r->removed == NO && sm_id_none(r->report);
}

void ledger_audit(void)
{
	for (unsigned m = 0; m < led->mails; m++)
		for (unsigned r = 0; r < led->mail[m].rcpts; r++) {
			const struct ledger_rcpt *x = &led->mail[m].rcpt[r];
			bool open = ledger_is_open(&led->mail[m], r);

			/* It is its client's. */
			if (led->mail[m].deliver == SM_DELIVER_NOW) {
				if (open)
					ledger_wrong(
					    "its client waited, and it is open after a start", m,
					    r);
				continue;
			}
			if (led->mail[m].is == TAKEN && is_due_to_come(x) && !x->refused &&
			    x->bounced == NO && !open)
				ledger_wrong("lost at a start", m, r);
			if (led->mail[m].alias)
				continue; /* the index does not say how far it was expanded */
			if (x->settled && open)
				ledger_wrong("delivered for good, and open after a start", m, r);
			if (!sm_id_none(x->report) && open)
				ledger_wrong("reported, and open after a start", m, r);
			/* An act that was first wins: it is to be bounced when it comes back. */
			if (x->removed == SURE && x->bounced == NO && open && !x->refused)
				ledger_wrong("removed, and open after a start", m, r);
		}
}

/* Is it over for this recipient, and does the disk say so? */
static bool is_over(const struct ledger_mail *m, unsigned r, bool stopped)
{
	const struct qm_txn *txn = qm_txn_find(&w.q.txns, m->id);

	if (ledger_is_open(m, r))
		return false;
	if (txn && !m->alias)
		return txn->last_lsn <= qm_log_durable(txn->log);
	return !stopped && qm_store_pending(w.q.store) == 0;
}

void ledger_take_results(bool stopped)
{
	for (unsigned m = 0; m < led->mails; m++)
		for (unsigned r = 0; r < led->mail[m].rcpts; r++) {
			struct ledger_rcpt *x = &led->mail[m].rcpt[r];

			/* What a life before took may have been forgotten. */
			if (arrived[m][r] && !x->settled && !x->refused && x->bounced == NO)
				x->settled = is_over(&led->mail[m], r, stopped);
		}
}

void ledger_decided(unsigned m, const uint16_t *codes, unsigned count)
{
	if (count != 0 && count != led->mail[m].rcpts)
		ledger_wrong("told of some of its recipients", m, 0);
	for (unsigned r = 0; r < count; r++) {
		struct ledger_rcpt *x = &led->mail[m].rcpt[r];

		x->decided = codes[r];
		if (codes[r] / 100 == 2 && x->delivered == 0 && x->removed == NO)
			ledger_wrong("told as delivered, and it is not", m, r);
		if (codes[r] / 100 != 2 && x->delivered > 0)
			ledger_wrong("told as not delivered, and it is", m, r);
		if (codes[r] / 100 == 5 && !x->refused && x->bounced == NO)
			ledger_wrong("told as refused, and it is not", m, r);
	}
	led->told++;
}

/* ---- what smtpc gets ---- */

/* Whose time has not come, and who is tried once. */
static void handed_early(unsigned m, unsigned r)
{
	struct ledger_rcpt *x = &led->mail[m].rcpt[r];
	uint8_t deliver = led->mail[m].deliver;

	if ((deliver == SM_DELIVER_QUEUE || deliver == SM_DELIVER_HOLD) && !x->called)
		ledger_wrong("handed out, and it waits for a run", m, r);
	if (deliver == SM_DELIVER_NOW && x->given > 0)
		ledger_wrong("handed out again, and its client waits", m, r);
	if (deliver == SM_DELIVER_NOW && x->decided != 0)
		ledger_wrong("handed out, and its client was told", m, r);
	x->given++;
}

static void handed_report(const struct t_task *t)
{
	for (unsigned i = 0; i < t->dsn_count && i < 4; i++) {
		unsigned m, r;
		struct ledger_rcpt *x;

		if (!get(t->content, t->dsn[i].addr, &m, &r))
			continue;
		x = &led->mail[m].rcpt[r];
		if (led->mail[m].deliver == SM_DELIVER_NOW)
			ledger_wrong("reported, and its client was there", m, r);
		if (t->dsn_kind == SM_DSN_DELAYED) {
			unsigned k = 0;

			while (k < x->delays && !sm_id_eq(x->delay[k], t->ta))
				k++;
			if (k == x->delays && k < DELAYS)
				x->delay[x->delays++] = t->ta;
			if (x->delays > 1 + x->requeues)
				ledger_wrong("its delay was told twice", m, r);
			continue;
		}
		if (!sm_id_none(x->report) && !sm_id_eq(x->report, t->ta))
			ledger_wrong("its failure was told twice", m, r);
		if (x->settled)
			ledger_wrong("its failure was told, and it had arrived", m, r);
		if (x->removed == SURE && x->bounced == NO && !x->refused)
			ledger_wrong("its failure was told, and it had been removed", m, r);
		x->report = t->ta;
	}
	led->reports++;
}

static void handed_out(unsigned n)
{
	const struct t_task *t = &w.sc.task[n];
	struct given *g = &given[n];

	led->tasks++;
	g->count = t->count;
	if (t->dsn_kind != SM_DSN_NONE)
		handed_report(t);
	for (unsigned k = 0; k < t->count && k < 40; k++) {
		struct ledger_rcpt *x;

		if (!get(t->content, t->rcpt[k], &g->mail[k], &g->rcpt[k])) {
			g->lost[k] = true;
			continue;
		}
		x = &led->mail[g->mail[k]].rcpt[g->rcpt[k]];
		handed_early(g->mail[k], g->rcpt[k]);
		if (led->mail[g->mail[k]].is == REFUSED)
			ledger_wrong("handed out, and it was refused", g->mail[k], g->rcpt[k]);
		if (x->settled)
			ledger_wrong("handed out, and it had arrived", g->mail[k], g->rcpt[k]);
		if (!sm_id_none(x->report))
			ledger_wrong("handed out, and its failure was told", g->mail[k],
			             g->rcpt[k]);
		if (x->held == SURE)
			ledger_wrong("handed out, and it is held", g->mail[k], g->rcpt[k]);
		if (x->removed == SURE || x->bounced == SURE)
			ledger_wrong("handed out, and an operator took it away", g->mail[k],
			             g->rcpt[k]);
		if (!led->mail[g->mail[k]].alias &&
		    led->suspended[ledger_domain_of(g->mail[k], g->rcpt[k])] == SURE)
			ledger_wrong("handed out, and its domain is suspended", g->mail[k],
			             g->rcpt[k]);
	}
	if (!t_content_there(t->content))
		ledger_wrong("handed out, and its content is gone", g->mail[0], g->rcpt[0]);
}

void ledger_take_tasks(void)
{
	for (; seen < w.sc.tasks; seen++)
		handed_out(seen);
	sm_assert(seen < TASKS);
}

static void answer(unsigned n, bool fine)
{
	struct t_task *t = &w.sc.task[n];
	unsigned luck = rnd(10);

	for (unsigned k = 0; k < t->count && k < 40; k++) {
		struct ledger_rcpt *x =
		    given[n].lost[k] ? NULL : &led->mail[given[n].mail[k]].rcpt[given[n].rcpt[k]];
		unsigned dice = fine ? 9 : luck < 2 ? luck * 9 : rnd(10);

		if (t->dsn_kind != SM_DSN_NONE) {
			strcpy(t->rcpt[k], dice < 3 ? "temp" : "fine");
			for (unsigned i = 0; dice >= 3 && i < t->dsn_count && i < 4; i++) {
				unsigned m, r;

				if (t->dsn_kind == SM_DSN_FAILED &&
				    get(t->content, t->dsn[i].addr, &m, &r))
					led->mail[m].rcpt[r].told = true;
			}
		} else if (x == NULL || dice < led->temporary) {
			strcpy(t->rcpt[k], one_in(4) ? "local" : "temp");
		} else if (dice < led->temporary + led->permanent) {
			strcpy(t->rcpt[k], "perm");
			x->refused = true;
		} else {
			strcpy(t->rcpt[k], "fine");
			x->delivered++;
			arrived[given[n].mail[k]][given[n].rcpt[k]] = true;
		}
	}
	t_answer(&w.sc, t);
}

void ledger_answer_some(bool fine)
{
	for (unsigned n = 0; n < seen; n++)
		if (!w.sc.task[n].answered && (fine || one_in(5) == led->slow))
			answer(n, fine);
}

void ledger_answer_half(void)
{
	for (unsigned n = 0; n < seen; n++)
		if (!w.sc.task[n].answered && one_in(2))
			answer(n, false);
}

#endif
