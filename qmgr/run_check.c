/*
 * Does mail that waits for where it goes still have to? smar's table of these domains may have
 * changed since. Loop thread.
 *
 * smar is asked for one domain after the other, now and then: what waits for nothing any more is
 * tried, what waits for something else is told so. Invariant: one question at a time, and none
 * while nothing waits.
 */
#include <stdio.h>
#include "libsm/time.h"
#include "qmgr/run_int.h"

#define ROUND_MS 30000 /* between two rounds */
#define ASK_MS   10000
#define LISTS    256 /* are looked at in one turn: there may be as many as mails */

struct qm_run_check {
	struct sm_timer timer;
	struct sm_call ask;
	uint32_t at;    /* the list that is asked about */
	char dest[256]; /* its domain */
};

static void next(void *arg);

static void on_time(void *arg)
{
	struct qm *q = arg;

	q->runs->check->at = QM_EDBC_SEVERAL;
	next(q);
}

void qm_run_check(struct qm *q)
{
	/* One that is under way may have passed what is different now. */
	sm_call_cancel(&q->runs->check->ask);
	on_time(q);
}

static void rest(struct qm *q)
{
	sm_timer_set(&q->runs->check->timer, sm_loop_now_ms() + ROUND_MS, on_time, q);
}

static bool waits_for(const struct qm *q, uint32_t dest, enum sm_wait wait)
{
	return qm_edbc_dest_rcpts(q->edbc, dest, wait, true) > 0;
}

static void compare(struct qm *q, enum sm_wait wait)
{
	const struct qm_run_check *c = q->runs->check;
	struct qm_call call = {.dest = sm_str(c->dest), .by_dest = true};
	uint32_t dest = qm_edbc_dest_find(q->edbc, call.dest);

	for (int w = SM_WAIT_RUN; w <= SM_WAIT_ASKED; w++)
		if (w != (int)wait && waits_for(q, dest, (enum sm_wait)w))
			call.waits |= 1u << w;
	if (call.waits)
		qm_run_change(q, &call, wait);
}

static void answered(int err, const struct sm_frame *f, void *arg)
{
	struct qm *q = arg;
	struct sm_msg_route m;
	struct sm_arena a;
	bool good;

	sm_arena_init(&a, "answer", 4096, 4 * SM_FRAME_MAX);
	good = err == 0 && f->type == SM_MSG_route && sm_msg_route_decode(f->body, &a, &m) == 0;
	sm_arena_fini(&a);
	if (good && (m.status == SM_ROUTE_OK || m.status == SM_ROUTE_WAIT) &&
	    m.wait <= SM_WAIT_ASKED)
		compare(q, (enum sm_wait)m.wait);
	if (err == 0)
		next(q);
	else
		rest(q); /* smar is away */
}

static void next(void *arg)
{
	struct qm *q = arg;
	struct qm_run_check *c = q->runs->check;
	unsigned lists = 0;
	char rcpt[sizeof("postmaster@") + sizeof(c->dest)];
	struct sm_msg_route_get m = {.flags = SM_ROUTE_FINAL | SM_ROUTE_ASK_WAIT};

	do
		c->at++;
	while (++lists < LISTS && c->at < qm_edbc_dests(q->edbc) &&
	       !waits_for(q, c->at, SM_WAIT_RUN) && !waits_for(q, c->at, SM_WAIT_ASKED));
	if (c->at >= qm_edbc_dests(q->edbc) || q->stopping || !q->running) {
		rest(q);
		return;
	}
	if (!waits_for(q, c->at, SM_WAIT_RUN) && !waits_for(q, c->at, SM_WAIT_ASKED)) {
		sm_timer_set(&c->timer, sm_loop_now_ms(), next, q);
		return;
	}
	sm_str_cut(qm_edbc_dest(q->edbc, c->at), c->dest, sizeof(c->dest));
	snprintf(rcpt, sizeof(rcpt), "postmaster@%s", c->dest);
	m.rcpt = sm_str(rcpt);
	sm_call(&c->ask, qm_resolver_peer(q), SM_MSG_route_get, &m, sm_loop_now_ms() + ASK_MS,
	        answered, q);
}

void qm_run_check_open(struct qm *q)
{
	q->runs->check = sm_calloc(1, sizeof(*q->runs->check));
	rest(q);
}

void qm_run_check_close(struct qm *q)
{
	sm_timer_cancel(&q->runs->check->timer);
	sm_call_cancel(&q->runs->check->ask);
	SM_FREE(q->runs->check);
}
