/*
 * rcpt_verify: smtps wants to know whether the next hop knows a recipient, before it accepts it.
 *
 * What is remembered is answered at once (verify_cache.h). Else there is one job for an address,
 * whoever asks for it: smar is asked for its route as for mail, the job waits for its turn at the
 * next hop (probe.h), and smtpc asks there. Nothing of this is in a log: a crash forgets it, and
 * smtps asks again or says 450.
 *
 * Invariant: every question gets exactly one answer, at the latest `timeout` after it came; what
 * comes later is remembered only. Everything that is not a plain no of the next hop to this
 * recipient, or of smar, is "cannot be told". Loop thread.
 */
#include "qmgr/qm.h"

#include <stdio.h>

#include "qmgr/probe.h"
#include "qmgr/verify_cache.h"

enum job_state { ROUTING, WAITING, PROBING };

struct asker {
	struct sm_list link; /* in job.askers */
	struct sm_peer *peer;
	uint64_t tag;
};

struct job {
	struct sm_hash_node node; /* by address */
	struct sm_list timed;     /* in verifier.timed, oldest first, while somebody may wait */
	struct sm_list askers;
	struct qm *q;
	struct qm_probe probe;
	struct sm_call call; /* to smar, then to smtpc */
	enum job_state state;
	int64_t begun_ms, deadline_ms;
	struct sm_id ta;       /* of who asked first */
	struct sm_sa *address; /* of the task's hosts, as smtpc numbers them */
	uint32_t address_count;
	struct sm_str addr;
	char memory[];
};

struct qm_verifier {
	struct qm_verify_cache cache;
	struct sm_hash jobs;
	struct sm_list timed;
	struct sm_timer timer;
	struct sm_hook hook;
	struct sm_arena arena;
	size_t asking;
	uint64_t known, unknown, not_told, last_number;
};

/* ---- answers ---- */

static void answer(struct sm_peer *peer, uint64_t tag, const struct qm_verified *v)
{
	const struct sm_msg_verdict m = {.code = v->code, .text = v->text};

	sm_peer_reply(peer, tag, 0, SM_MSG_verdict, &m);
}

static struct qm_verified not_told(const char *text)
{
	return (struct qm_verified){.known = QM_NOT_TOLD, .code = 450, .text = sm_str(text)};
}

static void answer_all(struct job *j, const struct qm_verified *v)
{
	struct sm_list *e;

	while ((e = sm_list_shift(&j->askers)) != NULL) {
		struct asker *a = SM_LIST_ENTRY(e, struct asker, link);

		answer(a->peer, a->tag, v);
		sm_free(a);
		j->q->verifier->asking--;
	}
}

static void job_free(struct job *j)
{
	struct qm_verifier *vf = j->q->verifier;

	sm_hash_remove(&vf->jobs, &j->node);
	sm_list_remove(&j->timed);
	sm_free(j->address);
	sm_free(j);
}

/* `keep`: remember it; not what is trouble of our own. */
static void finish(struct job *j, const struct qm_verified *v, bool keep)
{
	static const char *const words[] = {
	    [QM_KNOWN] = "known", [QM_UNKNOWN] = "unknown", [QM_NOT_TOLD] = "not_told"};
	struct qm_verifier *vf = j->q->verifier;

	sm_log(SM_INFO, "qm.verify", "ss_ta=%?I rcpt=<%S> result=%s delay=%m text=%?S", j->ta,
	       j->addr, words[v->known], sm_loop_now_ms() - j->begun_ms, v->text);
	vf->known += v->known == QM_KNOWN;
	vf->unknown += v->known == QM_UNKNOWN;
	vf->not_told += v->known == QM_NOT_TOLD;
	if (keep)
		qm_verify_cache_put(&vf->cache, j->addr, v, sm_loop_now_ms());
	answer_all(j, v);
	job_free(j);
}

static void fail(struct job *j, const char *text, bool keep)
{
	const struct qm_verified v = not_told(text);

	finish(j, &v, keep);
}

/* ---- time ---- */

static void on_timer(void *arg);

static void arm(struct qm *q)
{
	struct qm_verifier *vf = q->verifier;
	const struct job *first = SM_LIST_FIRST(&vf->timed, struct job, timed);

	if (first == NULL)
		sm_timer_cancel(&vf->timer);
	else if (!sm_timer_is_set(&vf->timer))
		sm_timer_set(&vf->timer, first->deadline_ms, on_timer, q);
}

/* What smtpc has begun goes on, for those who ask later. */
static void on_timer(void *arg)
{
	struct qm *q = arg;
	struct job *j;

	while ((j = SM_LIST_FIRST(&q->verifier->timed, struct job, timed)) != NULL &&
	       j->deadline_ms <= sm_loop_now_ms()) {
		const struct qm_verified v = not_told("4.4.3 no answer from the next hop so far");

		sm_list_remove(&j->timed);
		if (j->state == PROBING) {
			answer_all(j, &v);
			continue;
		}
		if (j->state == WAITING)
			qm_probe_remove(&q->sched, &j->probe);
		else
			sm_call_cancel(&j->call);
		finish(j, &v, true);
	}
	arm(q);
}

/* ---- the next hop ---- */

static void judge(struct job *j, const struct sm_msg_task_result *m)
{
	const struct sm_msg_rcpt_result *r = m->results;
	struct qm_verified v = {.known = QM_KNOWN, .text = SM_STR("")};
	char text[QM_VERIFY_TEXT];

	if (m->results_count != 1 || r->outcome > SM_OUTCOME_PERM) {
		fail(j, "4.3.0 delivery agent did not answer", false);
		return;
	}
	if (r->outcome == SM_OUTCOME_PERM && r->stage == SM_STAGE_RCPT) {
		v.known = QM_UNKNOWN;
		v.code = 550;
		v.text = r->text; /* it was not even asked: this cannot be sent there */
		if (r->code != 0) {
			(void)snprintf(
			    text, sizeof(text),
			    "5.1.1 Recipient is unknown at its server, which said: %u " SM_STR_FMT,
			    r->code, SM_STR_ARG(sm_str_head(r->text, 300)));
			v.text = sm_str(text);
		}
	} else if (r->outcome != SM_OUTCOME_DONE) {
		v.known = QM_NOT_TOLD;
		v.code = 450;
		v.text = r->text;
	}
	finish(j, &v, !r->local);
}

static void probed(int err, const struct sm_frame *f, void *arg)
{
	struct job *j = arg;
	struct qm *q = j->q;
	struct sm_msg_task_result m = {0};

	sm_arena_reset(&q->verifier->arena);
	if (err == 0)
		err = f->type == SM_MSG_task_result
		          ? sm_msg_task_result_decode(f->body, &q->verifier->arena, &m)
		          : SM_E_PROTO;
	if (err != 0) {
		m = (struct sm_msg_task_result){0};
		sm_log(SM_WARN, "qm.verify", "ss_ta=%?I rcpt=<%S> result=lost error=%s", j->ta,
		       j->addr, sm_strerr(err));
	}
	qm_probe_done(&q->sched, &j->probe, m.session_kept ? &m.host : NULL, sm_loop_now_ms());
	qm_delivery_learn(q, j->address, j->address_count, &m);
	/* One that kills who works on it may not do that as often as somebody asks. */
	if (err == SM_E_DIED)
		fail(j, "4.3.0 delivery agent crashed with it", true);
	else
		judge(j, &m);
	arm(q);
}

static void send_probe(struct qm *q, struct job *j)
{
	struct qm_verifier *vf = q->verifier;
	const struct qm_route *r = j->probe.route;
	struct sm_msg_rcpt_task rcpt = {.addr = j->addr, .orcpt = SM_STR("")};
	struct sm_msg_task m = {
	    .task = ++vf->last_number,
	    .ta = j->ta,
	    .sender = SM_STR(""),
	    .agent = r->agent,
	    .key = r->key,
	    .conf = r->conf,
	    .rcpts = &rcpt,
	    .rcpts_count = 1,
	    .probe_ms = (uint32_t)q->conf->verify.timeout_ms,
	};

	sm_arena_reset(&vf->arena);
	m.hosts = sm_arena_must(&vf->arena, (r->hop_count + 1) * sizeof(*m.hosts));
	m.hosts_count = qm_probe_hosts(&q->sched, &j->probe, sm_loop_now_ms(), m.hosts);
	j->address = sm_calloc(m.hosts_count, sizeof(*j->address));
	for (uint32_t i = 0; i < m.hosts_count; i++)
		j->address[j->address_count++] = m.hosts[i].sa;
	j->state = PROBING;
	sm_call(&j->call, j->probe.agent->peer, SM_MSG_task, &m, SM_NEVER, probed, j);
}

static void fail_dead(struct qm *q, struct job *j)
{
	const struct qm_try t =
	    qm_try_dead(qm_route_dead(&q->sched, j->probe.route, sm_loop_now_ms()));
	const struct qm_verified v = {.known = QM_NOT_TOLD, .code = 450, .text = t.text};

	finish(j, &v, true);
}

/* Once a turn, before mail takes what is free. */
static bool dispatch(void *arg)
{
	struct qm *q = arg;
	struct qm_probe *p;
	enum qm_step step;
	bool any = false;

	if (q->stopping || qm_halt_all(q))
		return false;
	while ((step = qm_probe_next(&q->sched, sm_loop_now_ms(),
	                             (unsigned)q->conf->verify.max_probes, &p)) != QM_STEP_NONE) {
		struct job *j = SM_CONTAINER_OF(p, struct job, probe);

		if (step == QM_STEP_TASK)
			send_probe(q, j);
		else
			fail_dead(q, j);
		any = true;
	}
	return any;
}

/* ---- the way there ---- */

static struct sm_str domain_of(struct sm_str addr)
{
	return sm_str_from(addr, (size_t)(sm_str_rchr(addr, '@') + 1));
}

/* Where an operator wants nothing to go, nothing is asked either. False: nothing is left. */
static bool leave_suspended_out(const struct qm *q, struct sm_str addr, struct sm_msg_route *m)
{
	char literal[SM_SA_TEXT];
	uint32_t left = 0;

	if (qm_halted(q, domain_of(addr)) != NULL)
		return false;
	for (uint32_t i = 0; i < m->hosts_count; i++) {
		const struct sm_msg_host *h = &m->hosts[i];

		if (qm_halted(q, h->name) == NULL &&
		    (h->sa.len == 0 ||
		     qm_halted(q, sm_str(sm_sa_literal(&h->sa, literal))) == NULL))
			m->hosts[left++] = *h;
	}
	m->hosts_count = left;
	return left > 0;
}

static void routed(struct job *j, struct sm_msg_route *m)
{
	struct qm *q = j->q;
	struct qm_verified v = {.known = QM_KNOWN, .text = SM_STR("")};

	switch (m->status) {
	case SM_ROUTE_OK:
		break;
	case SM_ROUTE_ALIAS: /* it is of this host: that is enough */
		finish(j, &v, true);
		return;
	case SM_ROUTE_PERM: /* taken, it would fail at once */
		v = (struct qm_verified){QM_UNKNOWN, m->code, m->text, false};
		if (v.code < 500 || v.code > 599)
			v.code = 550;
		finish(j, &v, true);
		return;
	default:
		v = (struct qm_verified){QM_NOT_TOLD, 450, m->text, false};
		finish(j, &v, true);
		return;
	}
	if (qm_halt_all(q) || !leave_suspended_out(q, j->addr, m)) {
		fail(j, "4.3.2 deliveries there are suspended", false);
		return;
	}
	j->state = WAITING;
	qm_probe_add(&q->sched, qm_route_get(&q->sched, m, sm_loop_now_ms()), &j->probe);
}

static void answered(int err, const struct sm_frame *f, void *arg)
{
	struct job *j = arg;
	struct qm *q = j->q;
	struct sm_msg_route m;

	sm_arena_reset(&q->verifier->arena);
	if (err == 0 && f->type != SM_MSG_route)
		err = SM_E_PROTO;
	if (err == 0)
		err = sm_msg_route_decode(f->body, &q->verifier->arena, &m);
	if (err == 0) {
		routed(j, &m);
	} else {
		sm_log(SM_WARN, "qm.verify", "ss_ta=%?I rcpt=<%S> result=no_route error=%s", j->ta,
		       j->addr, sm_strerr(err));
		fail(j, "4.3.0 address resolver did not answer", err == SM_E_DIED);
	}
	arm(q);
}

/* ---- questions ---- */

static bool job_eq(const struct sm_hash_node *n, const void *key)
{
	return qm_verify_eq(SM_CONTAINER_OF(n, struct job, node)->addr,
	                    *(const struct sm_str *)key);
}

static struct job *job_find(const struct qm_verifier *vf, struct sm_str addr)
{
	struct sm_hash_node *n = sm_hash_find(&vf->jobs, qm_verify_hash(addr), job_eq, &addr);

	return n ? SM_CONTAINER_OF(n, struct job, node) : NULL;
}

static struct job *job_start(struct qm *q, const struct sm_msg_rcpt_verify *m)
{
	struct qm_verifier *vf = q->verifier;
	struct job *j = sm_calloc(1, sizeof(*j) + m->rcpt.n);
	struct sm_msg_route_get get = {
	    .ta = m->ta, .sender = SM_STR(""), .after = SM_STR(""), .rcpts = 1};

	j->q = q;
	j->ta = m->ta;
	if (m->rcpt.n > 0)
		memcpy(j->memory, m->rcpt.p, m->rcpt.n);
	j->addr = get.rcpt = sm_str_n(j->memory, m->rcpt.n);
	j->begun_ms = sm_loop_now_ms();
	j->deadline_ms = j->begun_ms + q->conf->verify.timeout_ms;
	sm_list_init(&j->askers);
	sm_list_init(&j->probe.link);
	sm_hash_insert(&vf->jobs, &j->node, qm_verify_hash(j->addr));
	sm_list_push(&vf->timed, &j->timed);
	arm(q);
	/* The timer of all jobs ends this as well; with smar away it fails in the next turn. */
	sm_call(&j->call, qm_resolver_peer(q), SM_MSG_route_get, &get, SM_NEVER, answered, j);
	return j;
}

static bool has_room(const struct qm *q)
{
	const struct qm_verifier *vf = q->verifier;
	size_t max = (size_t)q->conf->verify.max_waiting;

	return vf->asking < max && vf->jobs.count < max;
}

static void wait_for(struct job *j, struct sm_peer *peer, uint64_t tag)
{
	struct asker *a = sm_calloc(1, sizeof(*a));

	a->peer = peer;
	a->tag = tag;
	sm_list_push(&j->askers, &a->link);
	j->q->verifier->asking++;
}

int qm_verify_ask(struct qm *q, struct sm_peer *peer, const struct sm_frame *f)
{
	struct qm_verifier *vf = q->verifier;
	struct sm_msg_rcpt_verify m;
	struct qm_verified v;
	struct job *j;
	int err;

	sm_arena_reset(&vf->arena);
	if (f->tag == 0)
		return sm_fail(SM_E_PROTO, "rcpt_verify without a tag");
	if ((err = sm_msg_rcpt_verify_decode(f->body, &vf->arena, &m)) != 0)
		return err;
	if (qm_verify_cache_find(&vf->cache, m.rcpt, sm_loop_now_ms(), &v)) {
		answer(peer, f->tag, &v);
		if (v.old && job_find(vf, m.rcpt) == NULL && has_room(q) && !q->stopping)
			(void)job_start(q, &m);
		return 0;
	}
	j = job_find(vf, m.rcpt);
	/* A probe that outlived its deadline: who comes now would wait for nobody knows how long.
	 */
	if (q->stopping || !has_room(q) || (j != NULL && !sm_list_linked(&j->timed))) {
		v = not_told(q->stopping ? "4.3.2 queue manager is closing down"
		                         : "4.4.5 too many recipients wait to be verified");
		answer(peer, f->tag, &v);
		return 0;
	}
	wait_for(j != NULL ? j : job_start(q, &m), peer, f->tag);
	return 0;
}

/* ---- figures ---- */

void qm_verify_stat(const struct qm *q, struct qm_verify_stat *out)
{
	const struct qm_verifier *vf = q->verifier;

	*out = (struct qm_verify_stat){
	    .cached = qm_verify_cache_count(&vf->cache),
	    .hits = vf->cache.hits,
	    .misses = vf->cache.misses,
	    .waiting = vf->asking,
	    .probes = q->sched.probes,
	    .known = vf->known,
	    .unknown = vf->unknown,
	    .not_told = vf->not_told,
	};
}

size_t qm_verify_forget(struct qm *q, struct sm_str which)
{
	return qm_verify_cache_drop(&q->verifier->cache, which);
}

/* ---- life ---- */

static struct qm_verify_times times_of(const struct qm_conf *c)
{
	return (struct qm_verify_times){.known_ms = c->verify.known_ms,
	                                .recheck_ms = c->verify.recheck_ms,
	                                .unknown_ms = c->verify.unknown_ms,
	                                .not_told_ms = c->verify.not_told_ms};
}

void qm_verify_open(struct qm *q)
{
	struct qm_verifier *vf = sm_calloc(1, sizeof(*vf));
	const struct qm_verify_times times = times_of(q->conf);

	q->verifier = vf;
	qm_verify_cache_init(&vf->cache, (size_t)q->conf->verify.max_entries, &times);
	sm_hash_init(&vf->jobs);
	sm_list_init(&vf->timed);
	sm_arena_init(&vf->arena, "verify", 16 * 1024, 8 * SM_FRAME_MAX);
	sm_loop_before_sleep(&vf->hook, dispatch, q);
}

void qm_verify_reload(struct qm *q)
{
	const struct qm_verify_times times = times_of(q->conf);

	qm_verify_cache_reload(&q->verifier->cache, (size_t)q->conf->verify.max_entries, &times);
}

/* Before those who ask and those who are asked are closed. */
void qm_verify_close(struct qm *q)
{
	struct qm_verifier *vf = q->verifier;
	const struct qm_verified v = not_told("4.3.2 queue manager is closing down");

	if (vf == NULL)
		return;
	sm_hook_remove(&vf->hook);
	sm_timer_cancel(&vf->timer);
	for (struct sm_hash_node *n; (n = sm_hash_next(&vf->jobs, NULL)) != NULL;) {
		struct job *j = SM_CONTAINER_OF(n, struct job, node);

		sm_call_cancel(&j->call);
		if (j->state == WAITING)
			qm_probe_remove(&q->sched, &j->probe);
		else if (j->state == PROBING)
			qm_probe_done(&q->sched, &j->probe, NULL, sm_loop_now_ms());
		answer_all(j, &v);
		job_free(j);
	}
	qm_verify_cache_fini(&vf->cache);
	sm_hash_fini(&vf->jobs);
	sm_arena_fini(&vf->arena);
	SM_FREE(q->verifier);
}
