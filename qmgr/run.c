/*
 * Queue runs: when the schedule has one, and how each goes through what waits. Loop thread.
 *
 * A run begins with what waits in the active queue, for others of its transaction; then it walks
 * over the lists of the index (edbc_wait.c) in slices, and makes due what is meant. From there it
 * goes as all mail does: read back, through the active queue's limit and the windows of its hosts.
 * Invariant: one run walks at a time, so no walk puts behind its own end what another has to see.
 */
#include "qmgr/run_int.h"

#include <stdio.h>
#include "libsm/addr.h"
#include "libsm/time.h"
#include "qmgr/atoms.h"

#define SLICE_US   100 /* a mail waits so long for a slice, at each of its steps */
#define SLICE_STEP 16  /* so many recipients, or lists, between two looks at the clock */
#define RUNS_MAX   1000
#define LOOK_MS    20000 /* the clock may be set: look at least so often */
#define ASK_MS     10000

struct run {
	struct sm_list link;
	struct qm *q;
	struct qm_call call;
	char dest[256];
	enum sm_wait what; /* SM_WAIT_NO: they are tried */
	bool silent;       /* a change, no run */
	const char *by;
	uint32_t uid;
	qm_run_cb *cb;
	void *arg;
	bool begun, walked;
	bool all;           /* over all lists */
	bool in_list;       /* of which the one `at` has something of it */
	uint32_t until, at; /* of the walk: the list, or QM_EDBC_NO_DEST */
	int64_t began_ms;
	struct qm_run_done done;
	struct sm_call ask;
	bool asking;
};

static struct sm_str domain_of(struct sm_str addr)
{
	ptrdiff_t at = sm_str_rchr(addr, '@');

	return at < 0 ? SM_STR("") : sm_str_from(addr, (size_t)at + 1);
}

/* ---- the end of a run ---- */

static void run_free(struct run *r)
{
	r->q->runs->count--;
	sm_list_remove(&r->link);
	if (r->asking)
		sm_call_cancel(&r->ask);
	sm_free(r);
}

static void finish(struct run *r)
{
	struct qm *q = r->q;

	if (!r->walked || r->asking)
		return;
	r->done.took_ms = sm_now_ms() - r->began_ms;
	if (!r->silent || r->done.rcpts > 0)
		sm_log(r->silent || r->done.mails == 0 ? SM_INFO : SM_NOTICE, "qm.run",
		       "destination=%S by=%s uid=%u transactions=%zu recipients=%zu took_ms=%lld",
		       r->dest[0] ? sm_str(r->dest) : SM_STR("all"), r->by, r->uid, r->done.mails,
		       r->done.rcpts, (long long)r->done.took_ms);
	if (r->cb)
		r->cb(r->arg, &r->done);
	run_free(r);
	qm_defer_run(q);
}

static void answered(int err, const struct sm_frame *f, void *arg)
{
	struct run *r = arg;
	struct sm_arena a;
	struct sm_msg_route m;

	r->asking = false;
	sm_arena_init(&a, "answer", 4096, 4 * SM_FRAME_MAX);
	if (err == 0 && f->type == SM_MSG_route && sm_msg_route_decode(f->body, &a, &m) == 0 &&
	    (m.status == SM_ROUTE_OK || m.status == SM_ROUTE_WAIT))
		r->done.ours = m.wait == SM_WAIT_NO ? QM_RUN_NOT_OURS : QM_RUN_OURS;
	sm_arena_fini(&a);
	finish(r);
}

/* Only smar knows whether a domain is one of those. */
static void ask(struct run *r)
{
	struct sm_msg_route_get m = {.flags = SM_ROUTE_FINAL | SM_ROUTE_ASK_WAIT};
	char rcpt[sizeof("postmaster@") + sizeof(r->dest)];

	snprintf(rcpt, sizeof(rcpt), "postmaster@%s", r->dest);
	m.rcpt = sm_str(rcpt);
	r->asking = true;
	sm_call(&r->ask, qm_resolver_peer(r->q), SM_MSG_route_get, &m, sm_loop_now_ms() + ASK_MS,
	        answered, r);
}

/* ---- in the active queue ---- */

static bool is_meant(const struct run *r, const struct qm_rcpt *x)
{
	return x->state == QM_RCPT_DEFERRED && qm_rcpt_waits(x) && !(x->flags & QM_RCPT_HELD) &&
	       qm_call_means(&r->call, domain_of(x->addr), qm_wait_of(x->flags),
	                     qm_deliver_wait(x->txn->deliver) == SM_WAIT_NO);
}

/* What is on its way to the index, or waits in memory for others of its transaction. */
static void wake_active(struct run *r)
{
	SM_LIST_FOR (txn, &r->q->txns.active, struct qm_txn, link) {
		size_t before = r->done.rcpts;

		for (unsigned i = 0; i < txn->rcpt_count; i++) {
			struct qm_rcpt *x = &txn->rcpts[i];

			if (!is_meant(r, x))
				continue;
			x->flags |= QM_RCPT_RUN;
			x->next_try_s = 0;
			r->done.rcpts++;
		}
		r->done.mails += r->done.rcpts > before;
	}
	qm_kept_wake(r->q);
}

/* ---- over the index ---- */

static bool has_meant(const struct run *r, uint32_t dest)
{
	for (int w = SM_WAIT_RUN; w <= SM_WAIT_ASKED; w++)
		if ((r->call.waits >> w & 1) &&
		    qm_edbc_dest_rcpts(r->q->edbc, dest, (enum sm_wait)w, r->call.by_dest) > 0)
			return true;
	return false;
}

/* Is anything of it in this list? */
static bool has_list(struct run *r)
{
	struct sm_str domain = qm_edbc_dest(r->q->edbc, r->at);
	struct qm_call call = r->call;

	call.waits = QM_WAITS_ANY;
	call.by_dest = false;
	if (domain.p == NULL || !qm_call_means(&call, domain, SM_WAIT_RUN, false))
		return false;
	r->done.waited = true;
	if (!has_meant(r, r->at))
		return false;
	qm_blocked_forget(&r->q->blocked, domain);
	return true;
}

/* The next list: one a step, there may be as many as mails. False: that was the last. */
static bool next_list(struct run *r)
{

	if (!r->all) {
		if (r->at == QM_EDBC_SEVERAL)
			return false;
		r->at = QM_EDBC_SEVERAL;
		return true;
	}
	if (++r->at >= qm_edbc_dests(r->q->edbc))
		return false;
	r->in_list = has_list(r);
	return true;
}

static void begin(struct run *r)
{
	struct qm *q = r->q;

	r->begun = true;
	r->began_ms = sm_now_ms();
	r->until = qm_edbc_wait_now(q->edbc);
	r->all = r->call.dest.n == 0 || r->call.below;
	r->at = r->all ? QM_EDBC_SEVERAL : qm_edbc_dest_find(q->edbc, r->call.dest);
	r->in_list = true;
	r->done.waited = !r->all && r->at != QM_EDBC_NO_DEST;
	if (r->what != SM_WAIT_NO)
		return;
	qm_blocked_forget(&q->blocked, r->call.dest);
	wake_active(r);
	if (r->silent)
		return;
	q->runs->began_ms = sm_loop_now_ms();
	if (r->call.dest.n == 0)
		q->runs->last_s = sm_wall_s();
	if (r->call.dest.n > 0 && r->cb)
		ask(r);
}

/* What is known of dead hosts is older than this run. */
static void forget_blocked(struct qm *q, struct sm_id id)
{
	struct qm_edbc_reader in = qm_edbc_read(q->edbc, qm_edbc_find(q->edbc, id));
	struct qm_edbc_rcpt x;

	while (qm_edbc_read_rcpt(&in, &x))
		if (x.run)
			qm_blocked_forget(&q->blocked,
			                  qm_atoms_text(qm_edbc_names(q->edbc), x.domain));
}

/* One mail, or one list; false: that was the last. Counts what it looks at. */
static bool step(struct run *r, size_t *work)
{
	struct qm_edbc *e = r->q->edbc;
	const struct qm_edbc_entry *x = r->in_list ? qm_edbc_wait_next(e, r->at, r->until) : NULL;
	struct sm_id id;
	unsigned n;

	*work += x ? qm_edbc_rcpts(x) : 1;
	if (x == NULL)
		return next_list(r);
	id = qm_edbc_id(x);
	if (r->what != SM_WAIT_NO)
		n = qm_edbc_rewait(e, id, &r->call, r->what);
	else
		n = qm_edbc_call(e, id, &r->call, sm_wall_s());
	if (n > 0 && r->at == QM_EDBC_SEVERAL)
		forget_blocked(r->q, id);
	r->done.rcpts += n;
	r->done.mails += n > 0;
	return true;
}

/* A slice of the first run, once a turn. */
static bool turn(void *arg)
{
	struct qm *q = arg;
	struct run *r;
	int64_t until_us;

	if (sm_list_empty(&q->runs->walks) || !q->running || q->stopping)
		return false;
	r = SM_LIST_FIRST(&q->runs->walks, struct run, link);
	if (!r->begun)
		begin(r);
	until_us = sm_now_us() + SLICE_US;
	do {
		for (size_t work = 0; work < SLICE_STEP;) {
			if (step(r, &work))
				continue;
			r->walked = true;
			r->done.waited = r->done.waited || r->done.rcpts > 0;
			sm_list_remove(&r->link);
			sm_list_push(&q->runs->answers, &r->link);
			finish(r);
			return true;
		}
	} while (sm_now_us() < until_us);
	return true;
}

/* ---- the door ---- */

static int check_domain(struct sm_str domain)
{
	if (sm_domain_valid_utf8(domain, true) || (domain.n > 0 && domain.p[0] == '['))
		return 0;
	return sm_fail(SM_E_SYNTAX, "a run is for a domain, or @domain with all below it");
}

static struct run *run_new(struct qm *q, const struct qm_call *call)
{
	struct run *r = sm_calloc(1, sizeof(*r));

	r->q = q;
	r->call = *call;
	sm_str_cut(call->dest, r->dest, sizeof(r->dest));
	r->call.dest = sm_str(r->dest);
	r->done.ours = call->dest.n == 0 ? QM_RUN_OURS : QM_RUN_UNKNOWN;
	sm_list_push(&q->runs->walks, &r->link);
	q->runs->count++;
	return r;
}

int qm_run(struct qm *q, const struct qm_run_ask *ask)
{
	struct qm_call call = {.dest = ask->dest, .waits = QM_WAITS_ANY};
	struct run *r;
	int err;

	if (ask->dest.n > 0 && ask->dest.p[0] == '@') {
		call.below = true;
		call.dest = sm_str_from(ask->dest, 1);
	}
	if (ask->dest.n == 0 && !ask->asked_for)
		call.waits = 1u << SM_WAIT_RUN;
	if (ask->dest.n > 0 && (err = check_domain(call.dest)) != 0)
		return err;
	if (q->runs->count >= RUNS_MAX)
		return sm_fail(SM_E_BUSY, "%d runs wait for their turn already", RUNS_MAX);
	r = run_new(q, &call);
	r->by = ask->by;
	r->uid = ask->uid;
	r->cb = ask->cb;
	r->arg = ask->arg;
	return 0;
}

void qm_run_change(struct qm *q, const struct qm_call *call, enum sm_wait what)
{
	struct run *r;

	if (q->runs->count >= RUNS_MAX)
		return; /* the next check comes by */
	r = run_new(q, call);
	r->by = "on_demand";
	r->silent = true;
	r->what = what;
}

void qm_run_forget(struct qm *q, const void *arg)
{
	SM_LIST_FOR (r, &q->runs->walks, struct run, link)
		if (r->arg == arg)
			r->cb = NULL;
	SM_LIST_FOR (r, &q->runs->answers, struct run, link)
		if (r->arg == arg)
			r->cb = NULL;
}

/* ---- the schedule ---- */

int64_t qm_run_next_s(const struct qm *q)
{
	return q->runs->due_s;
}

int64_t qm_run_last_s(const struct qm *q)
{
	return q->runs->last_s;
}

static void on_time(void *arg)
{
	qm_run_look(arg);
}

void qm_run_look(struct qm *q)
{
	struct qm_runs *all = q->runs;
	const struct qm_run_ask scheduled = {.by = "schedule", .dest = SM_STR("")};
	int64_t now_s = sm_wall_s(), wait_ms = LOOK_MS;

	/* A clock that was set forward over some has one; set back, none waits for times that are
	 * far again. */
	if (now_s >= all->due_s && qm_run(q, &scheduled) != 0)
		sm_log(SM_WARN, "qm.run", "by=schedule error=%s", sm_diag());
	if (now_s >= all->due_s || now_s < all->looked_s)
		all->due_s = qm_schedule_next(&all->schedule, now_s);
	all->looked_s = now_s;
	if (all->due_s != QM_NO_RUN)
		wait_ms = SM_MIN(wait_ms, SM_MAX(1, (all->due_s - now_s) * 1000));
	sm_timer_set(&all->timer, sm_loop_now_ms() + wait_ms, on_time, q);
}

void qm_run_reload(struct qm *q)
{
	struct qm_runs *all = q->runs;
	struct qm_schedule schedule;

	/* The configuration was checked: it says the same. */
	if (qm_schedule_parse(&q->conf->run.schedule, q->conf->run.interval_ms, &schedule) != 0)
		return;
	all->schedule = schedule;
	all->looked_s = sm_wall_s();
	all->due_s = qm_schedule_next(&schedule, all->looked_s);
	sm_timer_set(&all->timer, sm_loop_now_ms(), on_time, q);
}

void qm_run_open(struct qm *q)
{
	q->runs = sm_calloc(1, sizeof(*q->runs));
	sm_list_init(&q->runs->walks);
	sm_list_init(&q->runs->answers);
	q->runs->due_s = QM_NO_RUN;
	sm_loop_before_sleep(&q->runs->hook, turn, q);
	qm_run_reload(q);
	qm_run_check_open(q);
}

void qm_run_close(struct qm *q)
{
	if (q->runs == NULL)
		return;
	qm_run_check_close(q);
	sm_hook_remove(&q->runs->hook);
	sm_timer_cancel(&q->runs->timer);
	sm_list_splice(&q->runs->walks, &q->runs->answers);
	while (!sm_list_empty(&q->runs->walks))
		run_free(SM_LIST_FIRST(&q->runs->walks, struct run, link));
	SM_FREE(q->runs);
}
