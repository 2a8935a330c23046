/* What waits for queue runs, in the index: its lists against a walk over all entries, runs while
 * mail comes and goes, and a million. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

#include "libsm/rand.h"
#include "libsm/time.h"
#include "qmgr/atoms.h"
#include "qmgr/edbc_int.h"

#define ANY (1u << SM_WAIT_RUN | 1u << SM_WAIT_ASKED)

static const char *const domains[] = {"a.test", "B.test", "b.TEST", "sub.a.test", "c.test"};
#define DOMAINS SM_ARRAY_SIZE(domains)

/* What waits is by `flags`, one recipient after the other; in the domains from `first` on. */
static void put(struct qm_edbc *e, uint64_t k, unsigned first, const uint8_t *flags, unsigned n,
                uint8_t deliver)
{
	struct qm_rec_rcpt rcpts[4];
	struct qm_rec_txn rec = {.ta = {k, 3},
	                         .sender = SM_STR("s@x.test"),
	                         .deliver = deliver,
	                         .rcpts = rcpts,
	                         .rcpts_count = n};
	char addr[4][32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(addr[i], sizeof(addr[i]), "u@%s", domains[(first + i) % DOMAINS]);
		rcpts[i] = (struct qm_rec_rcpt){.index = (uint16_t)i,
		                                .addr = sm_str(addr[i]),
		                                .text = SM_STR(""),
		                                .host = SM_STR(""),
		                                .orcpt = SM_STR(""),
		                                .flags = flags[i],
		                                .next_try_s = 1000 + (int64_t)k};
	}
	qm_edbc_put_rec(e, &rec, (struct qm_loc){1, 2, 3});
}

static size_t counted(const struct qm_edbc *e, const struct qm_call *c, size_t *mails)
{
	const struct qm_edbc_entry *x;
	uint64_t cursor = 0;
	size_t n = 0;

	*mails = 0;
	while ((x = qm_edbc_walk(e, &cursor)) != NULL) {
		struct qm_edbc_reader r = qm_edbc_read(e, x);
		struct qm_edbc_rcpt rcpt;
		size_t before = n;

		while (qm_edbc_read_rcpt(&r, &rcpt))
			n += rcpt.wait != SM_WAIT_NO && !rcpt.run && !rcpt.held &&
			     rcpt.mark == QM_MARK_NONE &&
			     qm_call_means(c, qm_atoms_text(qm_edbc_names(e), rcpt.domain),
			                   rcpt.wait, rcpt.by_dest);
		*mails += n > before;
	}
	return n;
}

/* A run as run.c has it. */
static size_t call(struct qm_edbc *e, const struct qm_call *c, size_t *mails, unsigned *seen)
{
	uint32_t until = qm_edbc_wait_now(e);
	uint32_t lists[] = {qm_edbc_dest_find(e, c->dest), QM_EDBC_SEVERAL};
	const struct qm_edbc_entry *x;
	size_t n = 0;

	*mails = 0;
	*seen = 0;
	for (size_t i = 0; i < 2; i++) {
		while ((x = qm_edbc_wait_next(e, lists[i], until)) != NULL) {
			unsigned hit = qm_edbc_call(e, qm_edbc_id(x), c, 7);

			n += hit;
			*mails += hit > 0;
			(*seen)++;
		}
	}
	return n;
}

static void check(const struct qm_edbc *e)
{
	size_t in_lists[3] = {0}, listed = 0, have = 0;
	const struct qm_edbc_entry *x;
	uint64_t cursor = 0;

	while ((x = qm_edbc_walk(e, &cursor)) != NULL)
		have += qm_edbc_has_waits(x);
	for (uint32_t d = 0; d < qm_edbc_dests(e); d++) {
		listed += qm_edbc_dest_mails(e, d);
		for (int w = SM_WAIT_RUN; w <= SM_WAIT_ASKED; w++) {
			in_lists[w] += qm_edbc_dest_rcpts(e, d, (enum sm_wait)w, false);
			assert_true(qm_edbc_dest_rcpts(e, d, (enum sm_wait)w, true) <=
			            qm_edbc_dest_rcpts(e, d, (enum sm_wait)w, false));
		}
	}
	assert_int_equal(listed, have);
	for (int w = SM_WAIT_RUN; w <= SM_WAIT_ASKED; w++)
		assert_int_equal(in_lists[w], qm_edbc_wait_count(e, (enum sm_wait)w));
}

static void change_something(struct qm_edbc *e)
{
	static const uint8_t kinds[] = {0,
	                                QM_RCPT_QUEUED,
	                                QM_RCPT_ASKED,
	                                QM_RCPT_ASKED,
	                                QM_RCPT_ASKED | QM_RCPT_RUN,
	                                QM_RCPT_QUEUED | QM_RCPT_HELD};
	uint64_t k = sm_rand_below(500);
	struct sm_id id = {k, 3};
	struct qm_call c = {.dest = sm_str(domains[sm_rand_below(DOMAINS)]), .waits = ANY};
	uint8_t flags[4];
	size_t mails, wanted, wanted_mails;
	unsigned seen;

	switch (sm_rand_below(9)) {
	case 0:
		qm_edbc_remove(e, id);
		break;
	case 1:
		(void)qm_edbc_mark(e, id, QM_MARK_ALL,
		                   (enum qm_mark_verb)(1 + sm_rand_below(QM_MARK_REQUEUE)), 5);
		break;
	case 2:
		(void)qm_edbc_run_over(e, id, c.dest);
		break;
	case 3:
		(void)qm_edbc_rewait(e, id, &c, SM_WAIT_RUN);
		break;
	case 4:
		wanted = counted(e, &c, &wanted_mails);
		assert_int_equal(call(e, &c, &mails, &seen), wanted);
		assert_int_equal(mails, wanted_mails);
		assert_int_equal(counted(e, &c, &mails), 0);
		break;
	default:
		for (size_t i = 0; i < SM_ARRAY_SIZE(flags); i++)
			flags[i] = kinds[sm_rand_below(SM_ARRAY_SIZE(kinds))];
		put(e, k, (unsigned)sm_rand_below(DOMAINS), flags, 1 + (unsigned)sm_rand_below(4),
		    sm_rand_below(2) ? SM_DELIVER_QUEUE : SM_DELIVER_BACKGROUND);
	}
}

static void against_a_walk(void **state)
{
	struct qm_edbc *e = qm_edbc_new();

	(void)state;
	sm_rand_seed(11);
	for (int round = 0; round < 60000; round++) {
		change_something(e);
		if (round % 20 == 0)
			check(e);
	}
	while (qm_edbc_top(e))
		qm_edbc_remove(e, qm_edbc_id(qm_edbc_top(e)));
	check(e);
	assert_int_equal(qm_edbc_wait_count(e, SM_WAIT_ASKED), 0);
	qm_edbc_free(&e);
}

/* Domains in whatever case; those below; and what came later. */
static void what_is_meant(void **state)
{
	const uint8_t asked[] = {QM_RCPT_ASKED, QM_RCPT_ASKED};
	struct qm_call c = {.dest = SM_STR("b.test"), .waits = ANY};
	struct qm_edbc *e = qm_edbc_new();
	const struct qm_edbc_entry *x;
	uint32_t until;
	size_t mails;
	unsigned seen, n = 0;

	(void)state;
	put(e, 1, 1, asked, 1, 0);
	put(e, 2, 2, asked, 1, 0);
	put(e, 3, 1, asked, 2, 0); /* both are one domain */
	put(e, 4, 0, asked, 2, 0);
	assert_int_equal(qm_edbc_dest_mails(e, qm_edbc_dest_find(e, SM_STR("B.TEST"))), 3);
	assert_int_equal(qm_edbc_dest_mails(e, QM_EDBC_SEVERAL), 1);
	until = qm_edbc_wait_now(e);
	while ((x = qm_edbc_wait_next(e, qm_edbc_dest_find(e, c.dest), until)) != NULL) {
		if (n++ == 0) {
			put(e, 5, 1, asked, 1, 0);
			qm_edbc_remove(e, (struct sm_id){2, 3});
		}
		if (n < 100)
			(void)qm_edbc_call(e, qm_edbc_id(x), &c, 7);
	}
	assert_int_equal(n, 2); /* neither the one that went nor the one that came */
	assert_int_equal(call(e, &c, &mails, &seen), 2);
	assert_int_equal(seen, 4);
	assert_true(qm_call_means(&c, SM_STR("B.Test"), SM_WAIT_RUN, false));
	assert_false(qm_call_means(&c, SM_STR("x.b.test"), SM_WAIT_RUN, false));
	c.below = true;
	assert_true(qm_call_means(&c, SM_STR("x.B.test"), SM_WAIT_RUN, false));
	assert_false(qm_call_means(&c, SM_STR("xb.test"), SM_WAIT_RUN, false));
	c.by_dest = true;
	assert_false(qm_call_means(&c, SM_STR("b.test"), SM_WAIT_RUN, false));
	c.waits = 1u << SM_WAIT_RUN;
	assert_false(qm_call_means(&c, SM_STR("b.test"), SM_WAIT_ASKED, true));
	c.dest = SM_STR("b\xc3\xbc"
	                "cher.test"); /* a domain is what it is, however it is written */
	assert_true(qm_call_means(&c, SM_STR("xn--bcher-kva.TEST"), SM_WAIT_RUN, true));
	qm_edbc_free(&e);
}

static void when_it_is_due(void **state)
{
	const uint8_t mixed[] = {QM_RCPT_ASKED, 0}, asked[] = {QM_RCPT_ASKED, QM_RCPT_ASKED};
	const struct sm_id one = {1, 3}, two = {2, 3};
	struct qm_call c = {.dest = SM_STR("a.test"), .waits = ANY};
	struct qm_edbc *e = qm_edbc_new();

	(void)state;
	put(e, 1, 0, asked, 2, 0);
	put(e, 2, 0, mixed, 2, 0);
	assert_true(qm_edbc_all_waits(qm_edbc_find(e, one)));
	assert_false(qm_edbc_all_waits(qm_edbc_find(e, two)));
	assert_int_equal(qm_edbc_set_all(e, 1), 1); /* who flushes does not run */
	assert_int_equal(qm_edbc_next_try(qm_edbc_find(e, one)), 1001);
	assert_int_equal(qm_edbc_call(e, one, &c, 500), 1);
	assert_int_equal(qm_edbc_next_try(qm_edbc_find(e, one)), 500);
	assert_false(qm_edbc_all_waits(qm_edbc_find(e, one)));
	assert_int_equal(qm_edbc_call(e, one, &c, 500), 0);
	assert_int_equal(qm_edbc_run_over(e, one, SM_STR("a.test")), 1);
	assert_true(qm_edbc_all_waits(qm_edbc_find(e, one)));
	/* What an operator has released is said in the journal as well, and does not wait again. */
	assert_false(qm_edbc_is_marked(e, qm_edbc_find(e, one)));
	assert_true(qm_edbc_mark(e, one, 0, QM_MARK_RELEASE, 5));
	assert_true(qm_edbc_is_marked(e, qm_edbc_find(e, one)));
	assert_int_equal(qm_edbc_waiting(e, qm_edbc_find(e, one), 0), SM_WAIT_NO);
	assert_int_equal(qm_edbc_waiting(e, qm_edbc_find(e, one), 1), SM_WAIT_ASKED);
	assert_int_equal(qm_edbc_run_over(e, one, SM_STR("a.test")), 0);
	qm_edbc_free(&e);
}

/* Others had runs all the time. */
static void waits_for_long(void **state)
{
	static const uint32_t given[] = {1, 1u << 31, 3000000000u, UINT32_MAX};
	const uint8_t flags[] = {QM_RCPT_ASKED};
	const struct qm_call c = {.dest = SM_STR("a.test"), .waits = ANY};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(given); i++) {
		struct qm_edbc *e = qm_edbc_new();
		unsigned seen;
		size_t mails;

		put(e, 1, 0, flags, 1, 0);
		put(e, 2, 0, flags, 1, 0);
		e->waits.serial += given[i];
		put(e, 3, 0, flags, 1, 0);
		assert_int_equal(call(e, &c, &mails, &seen), 3);
		assert_int_equal(seen, 3);
		qm_edbc_free(&e);
	}
}

#define MILLION 1000000u

static int64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* That nothing waited so far costs the first one nothing. */
static int64_t first_wait(struct qm_edbc *e, struct qm_rec_txn *rec)
{
	int64_t began_us;

	rec->rcpts[0].flags = QM_RCPT_ASKED;
	rec->ta.counter = 7;
	began_us = cpu_us();
	qm_edbc_put_rec(e, rec, (struct qm_loc){1, 2, 3});
	began_us = cpu_us() - began_us;
	assert_int_equal(qm_edbc_wait_count(e, SM_WAIT_ASKED), 1);
	return began_us;
}

static void a_million(void **state)
{
	const struct qm_call c = {.dest = SM_STR("d00007.test"), .waits = ANY};
	struct qm_rec_rcpt r = {.text = SM_STR("4.4.0 waits until it is asked for"),
	                        .code = 451,
	                        .host = SM_STR(""),
	                        .orcpt = SM_STR(""),
	                        .next_try_s = 1000,
	                        .flags = QM_RCPT_ASKED};
	struct qm_rec_txn rec = {.sender = SM_STR("s@x.test"), .rcpts = &r, .rcpts_count = 1};
	struct qm_edbc *e = qm_edbc_new();
	int64_t began_us, one_us;
	size_t mails, bytes;
	unsigned seen;
	char addr[64];

	(void)state;
	for (int waits = 1; waits >= 0; waits--) {
		struct qm_edbc *x = waits ? e : qm_edbc_new();

		r.flags = waits ? QM_RCPT_ASKED : 0;
		for (uint64_t k = 0; k < MILLION; k++) {
			snprintf(addr, sizeof(addr), "part%07u@d%05u.test", (unsigned)k,
			         (unsigned)(k % 5000));
			r.addr = sm_str(addr);
			rec.ta = (struct sm_id){k, 3};
			qm_edbc_put_rec(x, &rec, (struct qm_loc){1, 2, 3});
		}
		bytes = qm_edbc_bytes(x);
		printf("1,000,000 that %s: %zu KB\n", waits ? "wait" : "are deferred",
		       bytes / 1024);
		if (!waits) {
			one_us = first_wait(x, &rec);
			printf("the first of them that waits: %lld us of CPU\n", (long long)one_us);
			assert_true(one_us < 3000);
			qm_edbc_free(&x);
		}
	}
	began_us = sm_now_us();
	assert_int_equal(call(e, &c, &mails, &seen), 200);
	one_us = sm_now_us() - began_us;
	printf("run for one of 5000 destinations: %u mails looked at, %lld us\n", seen,
	       (long long)one_us);
	assert_int_equal(seen, 200);
	assert_true(qm_edbc_bytes(e) < 140u * 1000 * 1000);
	qm_edbc_free(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(against_a_walk), cmocka_unit_test(what_is_meant),
	    cmocka_unit_test(when_it_is_due), cmocka_unit_test(waits_for_long),
	    cmocka_unit_test(a_million),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
