/* Shared by the tests of the scheduler: one, with routes, mail, and a clock that stands. */
#ifndef QM_T_SCHED_H
#define QM_T_SCHED_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "qmgr/sched.h"

static struct qm_txn_table txns;
static struct qm_sched sched;
static uint64_t next_id;
static int64_t now; /* ms */

/* Windows of a host begin with so many connections, and grow up to so many. */
static inline void sched_begin(unsigned oci, unsigned ocm)
{
	const struct qm_sched_conf conf = {.hosts = {.oci = oci,
	                                             .ocm = ocm,
	                                             .octo_ms = 3600000,
	                                             .penalty_ms = 60000,
	                                             .penalty_max_ms = 1800000,
	                                             .max = 1000},
	                                   .lmtp_max_rcpts = 3,
	                                   .smtp_max_rcpts = 100,
	                                   .max_routes = 8};

	qm_txn_table_init(&txns);
	qm_sched_init(&sched, &conf);
	next_id = 1;
	now = 1000000;
}

/* Whatever waits or runs. */
static inline void sched_end(void)
{
	SM_LIST_FOR (txn, &txns.active, struct qm_txn, link)
		for (unsigned i = 0; i < txn->rcpt_count; i++)
			sm_list_remove(&txn->rcpts[i].link);
	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		if (sched.agents[i])
			sched.agents[i]->running = 0;
	qm_sched_fini(&sched);
	qm_txn_table_fini(&txns);
}

static inline int setup(void **state)
{
	(void)state;
	sched_begin(2, 4);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	sched_end();
	return 0;
}

/* A route to these hosts: "10.0.0.1/10 10.0.0.2/20", all with port 25. */
static inline struct qm_route *route_to(const char *key, enum sm_agent agent, const char *hosts)
{
	struct sm_msg_host host[8];
	struct sm_msg_route m = {.agent = (uint8_t)agent, .key = sm_str(key), .hosts = host};
	struct sm_str rest = sm_str(hosts);

	while (rest.n > 0) {
		struct sm_str pref, one = sm_str_word(&rest);
		struct sm_msg_host *h = &host[m.hosts_count++];
		uint64_t v;

		*h = (struct sm_msg_host){.name = SM_STR("mx.test")};
		assert_int_equal(sm_sa_ip(&h->sa, sm_str_split(one, '/', &pref), 25), 0);
		assert_int_equal(sm_str_u64(pref, 10, 1000, &v), 0);
		h->pref = (uint16_t)v;
	}
	return qm_route_get(&sched, &m, now);
}

/* A route to a host of its own. */
static inline struct qm_route *route(const char *key, enum sm_agent agent)
{
	char host[32];

	snprintf(host, sizeof(host), "10.1.%u.%u/10", (unsigned char)key[0],
	         (unsigned)(sm_hash_str(sm_str(key)) % 250));
	return route_to(key, agent, host);
}

static inline struct sm_sa address(const char *text)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 25), 0);
	return sa;
}

/* A transaction of this sender with so many recipients, all ready for one route. */
static inline struct qm_txn *mail_from(const char *sender, struct qm_route *r, unsigned rcpts)
{
	struct qm_txn *txn = qm_txn_new(&txns, (struct sm_id){next_id++, 1}, rcpts);

	txn->sender = sm_str(sender);
	for (unsigned i = 0; i < rcpts; i++)
		qm_sched_add(&sched, r, &txn->rcpts[i]);
	qm_sched_release(&sched, txn);
	return txn;
}

static inline struct qm_txn *mail(struct qm_route *r, unsigned rcpts)
{
	return mail_from("a@src.test", r, rcpts);
}

static inline bool pick(struct qm_pick *p)
{
	struct sm_list rcpts, *e;
	unsigned n = 0;

	sm_list_init(&rcpts);
	if (qm_sched_next(&sched, now, p, &rcpts) != QM_STEP_TASK)
		return false;
	while ((e = sm_list_shift(&rcpts)) != NULL) {
		qm_rcpt_set(SM_LIST_ENTRY(e, struct qm_rcpt, link), QM_RCPT_DELIVERING);
		n++;
	}
	assert_int_equal(n, p->count);
	return true;
}

/* Tasks that may begin now; the last of them in *p. */
static inline unsigned pick_all(struct qm_pick *p)
{
	unsigned n = 0;

	while (pick(p))
		n++;
	return n;
}

static inline void done(const struct qm_pick *p, enum sm_reach reach, bool kept)
{
	struct sm_sa sa = p->host->sa;

	qm_sched_done(&sched, p->route, p->host, p->agent, kept ? &sa : NULL, now);
	(void)qm_sched_reached(&sched, &sa, reach, 421, SM_STR("4.3.2 busy"), now);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
