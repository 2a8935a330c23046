/*
 * Suspended destinations at work. Loop thread.
 *
 * Mail for a suspended domain or host is deferred when its route is known; what is in DEFEDB for a
 * suspended domain is not even read back, but parked in the index when it is due. While all
 * deliveries are stopped the active queue keeps what it has. When something is resumed, or its time
 * is over, a walk makes due what was put off; what is still suspended is parked again. So does one
 * at the start: a crash may have cut the last one. From there it goes as all mail does: through the
 * active queue's limit and the windows of its hosts.
 */
#include "qmgr/halt.h"

#include <stdio.h>
#include "libsm/time.h"
#include "qmgr/atoms.h"
#include "qmgr/qm.h"

#define SLICE_US   1000
#define SLICE_STEP 64
#define LOOK_MS    60000 /* the clock may be set: look at times at least so often */

/* As people read it, and as the reasons in the index begin with it (reason.h). */
#define WORDS "4.3.2 deliveries to this destination are suspended"

struct qm_halt {
	struct sm_timer timer; /* the next suspension that is over */
	struct sm_hook hook;
	bool walking, again;
	uint64_t cursor;
	struct sm_list tells;
};

/* Somebody who waits for a record. */
struct tell {
	struct qm_wait wait;
	struct sm_list link;
	void (*cb)(void *arg);
	void *arg;
};

static void told(void *arg)
{
	struct tell *t = arg;

	sm_list_remove(&t->link);
	if (t->cb)
		t->cb(t->arg);
	sm_free(t);
}

static void tell_when(struct qm *q, uint64_t lsn, void (*cb)(void *arg), void *arg)
{
	struct tell *t;

	if (cb == NULL)
		return;
	t = sm_calloc(1, sizeof(*t));
	t->cb = cb;
	t->arg = arg;
	sm_list_push(&q->halt->tells, &t->link);
	qm_store_after(q->store, qm_store_ibdb(q->store), lsn, &t->wait, told, t);
}

void qm_halt_forget(struct qm *q, const void *arg)
{
	SM_LIST_FOR (t, &q->halt->tells, struct tell, link)
		if (t->arg == arg)
			t->cb = NULL;
}

/* ---- questions ---- */

const struct qm_suspension *qm_halted(const struct qm *q, struct sm_str dest)
{
	return qm_suspends_find(qm_store_suspends(q->store), dest);
}

bool qm_halt_all(const struct qm *q)
{
	return qm_halted(q, SM_STR("")) != NULL;
}

bool qm_halt_accepting(const struct qm *q)
{
	return !qm_store_suspends(q->store)->accept.stopped;
}

static struct sm_str domain_of(struct sm_str addr)
{
	ptrdiff_t at = sm_str_rchr(addr, '@');

	return at < 0 ? SM_STR("") : sm_str_from(addr, (size_t)at + 1);
}

/* Not what stops all: that is asked for by itself. What is suspended beside that stays so when all
 * others may go on. */
static const struct qm_suspension *halted_only(const struct qm *q, struct sm_str dest)
{
	return dest.n ? qm_suspends_of(qm_store_suspends(q->store), dest) : NULL;
}

static const struct qm_suspension *halted_host(const struct qm *q, const struct sm_msg_host *h)
{
	const struct qm_suspension *s = halted_only(q, h->name);
	char literal[SM_SA_TEXT];

	if (s == NULL && h->sa.len > 0)
		s = halted_only(q, sm_str(sm_sa_literal(&h->sa, literal)));
	return s;
}

/* ---- putting off ---- */

static void put_off(struct qm *q, struct qm_rcpt *r, const struct qm_suspension *s,
                    struct sm_str host)
{
	int64_t now_s = sm_wall_s(), max_s = q->conf->retry_max_ms / 1000;
	char text[sizeof(WORDS) + 2 + 256];
	struct qm_try t = {
	    .outcome = SM_OUTCOME_TEMP,
	    .code = 451,
	    .host = host,
	    .local = true,
	    .retry_in_s = s->until_s ? SM_MAX(1, SM_MIN(s->until_s - now_s, max_s)) : max_s,
	};

	snprintf(text, sizeof(text), WORDS "%s%.*s", s->reason.n ? ": " : "",
	         SM_STR_ARG(s->reason));
	t.text = sm_str(text);
	qm_settle_rcpt(q, r, &t);
}

bool qm_halt_catch(struct qm *q, struct qm_rcpt *r, struct sm_msg_route *m)
{
	const struct qm_suspension *s, *of_host = NULL;
	struct sm_str host = SM_STR("");
	uint32_t left = 0;

	if (!qm_suspends_any(qm_store_suspends(q->store)))
		return false;
	if ((s = halted_only(q, domain_of(r->addr))) != NULL) {
		put_off(q, r, s, host);
		return true;
	}
	for (uint32_t i = 0; i < m->hosts_count; i++) {
		if ((s = halted_host(q, &m->hosts[i])) != NULL) {
			of_host = s;
			host = m->hosts[i].name;
		} else {
			m->hosts[left++] = m->hosts[i];
		}
	}
	m->hosts_count = left;
	if (left > 0 || of_host == NULL)
		return false;
	put_off(q, r, of_host, host);
	return true;
}

bool qm_halt_entry(struct qm *q, const struct qm_edbc_entry *e)
{
	struct qm_edbc_reader in;
	struct qm_edbc_rcpt x;
	bool all;

	if (!qm_suspends_any(qm_store_suspends(q->store)) || qm_edbc_is_marked(q->edbc, e))
		return false;
	all = qm_halt_all(q);
	in = qm_edbc_read(q->edbc, e);
	while (qm_edbc_read_rcpt(&in, &x)) {
		struct sm_str domain = qm_atoms_text(qm_edbc_names(q->edbc), x.domain);

		/* A DSN that is owed goes elsewhere. */
		if (x.failed || x.delivered || (!all && halted_only(q, domain) == NULL))
			return false;
	}
	return qm_edbc_set(q->edbc, qm_edbc_id(e), QM_EDBC_NEVER);
}

static bool goes_there(const struct qm *q, const struct qm_rcpt *r)
{
	const struct qm_route *route = r->group->route;

	if (halted_only(q, domain_of(r->addr)))
		return true;
	for (uint32_t i = 0; i < route->hop_count; i++)
		if (halted_host(q, &route->hops[i].target))
			return true;
	return false;
}

/* What waits in the active queue for a way that is suspended now asks for its way again: there may
 * be others. */
static void reroute(struct qm *q)
{
	SM_LIST_FOR_SAFE (txn, &q->txns.active, struct qm_txn, link) {
		bool any = false;

		for (unsigned i = 0; i < txn->rcpt_count; i++) {
			struct qm_rcpt *r = &txn->rcpts[i];

			if (r->state != QM_RCPT_READY || !goes_there(q, r))
				continue;
			qm_sched_remove(&q->sched, r);
			qm_rcpt_set(r, QM_RCPT_NEW);
			any = true;
		}
		if (any)
			qm_resolve(q, txn);
	}
}

/* ---- coming back ---- */

static bool was_put_off(const struct qm *q, const struct qm_edbc_entry *e)
{
	struct qm_edbc_reader in;
	struct qm_edbc_rcpt x;

	if (qm_edbc_next_try(e) == QM_EDBC_NEVER)
		return !qm_defer_loading(q, qm_edbc_id(e)); /* what is held stays so */
	in = qm_edbc_read(q->edbc, e);
	while (qm_edbc_read_rcpt(&in, &x))
		if (sm_str_has_prefix(qm_atoms_text(qm_edbc_reasons(q->edbc), x.reason),
		                      SM_STR("451 " WORDS)))
			return true;
	return false;
}

/* A slice of the walk over the index, once a turn. */
static bool turn(void *arg)
{
	struct qm *q = arg;
	struct qm_halt *h = q->halt;
	int64_t until_us, now_s = sm_wall_s();

	if (!h->walking || !q->running || q->stopping)
		return false;
	until_us = sm_now_us() + SLICE_US;
	do {
		for (unsigned i = 0; i < SLICE_STEP; i++) {
			const struct qm_edbc_entry *e = qm_edbc_walk(q->edbc, &h->cursor);

			if (e == NULL) {
				h->walking = h->again;
				h->again = false;
				h->cursor = 0;
				qm_defer_run(q);
				return h->walking;
			}
			if (was_put_off(q, e) && qm_edbc_next_try(e) > now_s)
				(void)qm_edbc_set(q->edbc, qm_edbc_id(e), now_s);
		}
	} while (sm_now_us() < until_us);
	return true;
}

/* What is on its way to the index, or waits in memory: for others of its transaction, or because
 * DEFEDB has no room. */
static void wake_active(struct qm *q)
{
	SM_LIST_FOR (txn, &q->txns.active, struct qm_txn, link) {
		for (unsigned i = 0; i < txn->rcpt_count; i++) {
			struct qm_rcpt *r = &txn->rcpts[i];

			if (r->state == QM_RCPT_DEFERRED && r->code == 451 &&
			    sm_str_has_prefix(r->text, SM_STR(WORDS)))
				r->next_try_s = 0;
		}
	}
	qm_kept_wake(q);
}

static void come_back(struct qm *q)
{
	wake_active(q);
	/* One that is under way may have passed what is free now. */
	q->halt->again = q->halt->walking;
	q->halt->walking = true;
}

static void on_time(void *arg);

static void arm(struct qm *q)
{
	struct sm_hash *all = &qm_store_suspends(q->store)->by_dest;
	int64_t wait_ms = LOOK_MS, now_s = sm_wall_s();

	for (struct sm_hash_node *n = sm_hash_next(all, NULL); n; n = sm_hash_next(all, n)) {
		int64_t until_s = SM_CONTAINER_OF(n, struct qm_suspension, node)->until_s;

		if (until_s)
			wait_ms = SM_MIN(
			    wait_ms,
			    SM_MIN(SM_MAX(0, until_s - now_s), (int64_t)LOOK_MS / 1000) * 1000 +
				20);
	}
	sm_timer_set(&q->halt->timer, sm_now_ms() + wait_ms, on_time, q);
}

static void on_time(void *arg)
{
	struct qm *q = arg;
	struct sm_hash *all = &qm_store_suspends(q->store)->by_dest;
	int64_t now_s = sm_wall_s();
	uint64_t lsn;

	for (struct sm_hash_node *n = sm_hash_next(all, NULL), *next; n; n = next) {
		struct qm_suspension *s = SM_CONTAINER_OF(n, struct qm_suspension, node);

		next = sm_hash_next(all, n);
		if (s->until_s == 0 || s->until_s > now_s)
			continue;
		sm_log(SM_NOTICE, "qm.resume", "destination=%S stat=time_is_over",
		       s->dest.n ? s->dest : SM_STR("all"));
		(void)qm_suspends_remove(q->store, s->dest, s->uid, now_s, &lsn);
		come_back(q);
	}
	arm(q);
}

/* ---- what operators ask for ---- */

static int check_dest(struct sm_str dest)
{
	if (dest.n > 255)
		return sm_fail(SM_E_SYNTAX, "a destination has at most 255 bytes");
	for (size_t i = 0; i < dest.n; i++)
		if (dest.p[i] <= ' ' || dest.p[i] > '~' || dest.p[i] == '@')
			return sm_fail(SM_E_SYNTAX,
			               "a destination is a domain, the name of a host, or "
			               "an address in brackets");
	return 0;
}

static void log_suspension(const char *event, const struct qm_suspension *s)
{
	sm_log(SM_NOTICE, event, "destination=%S uid=%u since=%lld until=%lld reason=%S",
	       s->dest.n ? s->dest : SM_STR("all"), s->uid, (long long)s->since_s,
	       (long long)s->until_s, s->reason);
}

int qm_halt_suspend(struct qm *q, struct sm_str dest, int64_t until_s, uint32_t uid,
                    struct sm_str reason, void (*cb)(void *arg), void *arg)
{
	const struct qm_rec_suspend rec = {
	    .dest = dest,
	    .on = 1,
	    .since_s = sm_wall_s(),
	    .until_s = until_s,
	    .uid = uid,
	    .reason = sm_str_head(reason, 200),
	};
	uint64_t lsn;
	int err = check_dest(dest);

	if (err != 0)
		return err;
	if (until_s != 0 && until_s <= rec.since_s)
		return sm_fail(SM_E_RANGE, "that time is over already");
	if ((err = qm_suspends_put(q->store, &rec, &lsn)) != 0)
		return err;
	log_suspension("qm.suspend", qm_suspends_of(qm_store_suspends(q->store), dest));
	if (dest.n > 0)
		reroute(q);
	arm(q);
	tell_when(q, lsn, cb, arg);
	return 0;
}

int qm_halt_resume(struct qm *q, struct sm_str dest, uint32_t uid, void (*cb)(void *arg), void *arg)
{
	uint64_t lsn;

	if (!qm_suspends_remove(q->store, dest, uid, sm_wall_s(), &lsn))
		return dest.n ? sm_fail(SM_E_NOTFOUND,
		                        SM_STR_FMT " is not suspended; status shows what is",
		                        SM_STR_ARG(dest))
		              : sm_fail(SM_E_NOTFOUND, "delivering is not stopped");
	sm_log(SM_NOTICE, "qm.resume", "destination=%S uid=%u", dest.n ? dest : SM_STR("all"), uid);
	come_back(q);
	tell_when(q, lsn, cb, arg);
	return 0;
}

void qm_halt_accept(struct qm *q, bool on, uint32_t uid, struct sm_str reason,
                    void (*cb)(void *arg), void *arg)
{
	const struct qm_rec_accepting rec = {
	    .on = on, .since_s = sm_wall_s(), .uid = uid, .reason = sm_str_head(reason, 200)};

	sm_log(SM_NOTICE, "qm.accepting", "on=%d uid=%u reason=%S", on, uid, rec.reason);
	tell_when(q, qm_suspends_accept(q->store, &rec), cb, arg);
}

int qm_halt_open(struct qm *q)
{
	const struct qm_suspends *s = qm_store_suspends(q->store);

	q->halt = sm_calloc(1, sizeof(*q->halt));
	sm_list_init(&q->halt->tells);
	sm_loop_before_sleep(&q->halt->hook, turn, q);
	for (struct sm_hash_node *n = sm_hash_next(&s->by_dest, NULL); n;
	     n = sm_hash_next(&s->by_dest, n))
		log_suspension("qm.suspended", SM_CONTAINER_OF(n, struct qm_suspension, node));
	/* What was resumed before a crash may be due only later in its snapshot. */
	come_back(q);
	if (s->accept.stopped)
		sm_log(SM_WARN, "qm.accepting", "on=0 since=%lld uid=%u reason=%S",
		       (long long)s->accept.since_s, s->accept.uid, sm_str(s->accept.reason));
	arm(q);
	return 0;
}

/* Those who wait for a record are the store's. */
void qm_halt_close(struct qm *q)
{
	if (q->halt == NULL)
		return;
	sm_hook_remove(&q->halt->hook);
	sm_timer_cancel(&q->halt->timer);
	while (sm_list_shift(&q->halt->tells))
		;
	SM_FREE(q->halt);
}
