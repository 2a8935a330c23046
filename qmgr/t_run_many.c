/* Queue runs where much waits: one looks at its own mail only, and no turn of the loop is long. */
#include "qmgr/t_run.h"

#include "libsm/time.h"
#include "qmgr/run_int.h"

#define MANY 200000u

/* So many mails in the index that wait until they are asked for, each to so many recipients; in so
 * many domains, c0.test and on. */
static void put(unsigned mails, unsigned rcpts, unsigned domains)
{
	static struct qm_rec_rcpt r[1000];
	static char addr[1000][40];
	struct qm_rec_txn rec = {
	    .sender = SM_STR(""), .envid = SM_STR(""), .rcpts_count = rcpts, .rcpts = r};

	for (uint64_t i = 1; i <= mails; i++) {
		for (unsigned k = 0; k < rcpts; k++) {
			snprintf(addr[k], sizeof(addr[k]), "x@c%u.test",
			         (unsigned)(i + k) % domains);
			r[k] = (struct qm_rec_rcpt){.index = (uint16_t)k,
			                            .addr = sm_str(addr[k]),
			                            .orcpt = SM_STR(""),
			                            .text = SM_STR(""),
			                            .host = SM_STR(""),
			                            .flags = QM_RCPT_ASKED,
			                            .next_try_s = sm_wall_s() + 86400};
		}
		rec.ta = (struct sm_id){i, 7};
		qm_edbc_put_rec(w.q.edbc, &rec, (struct qm_loc){0});
	}
}

static void remove_all(unsigned mails)
{
	for (uint64_t i = 1; i <= mails; i++)
		qm_edbc_remove(w.q.edbc, (struct sm_id){i, 7});
}

static void of_many_only_some(void **state)
{
	struct qm_call call = {.dest = SM_STR("c7.test"), .waits = QM_WAITS_ANY};
	int64_t began_us;
	uint32_t until, dest;
	unsigned n = 0;

	(void)state;
	t_qm_all();
	put(MANY, 1, 1000);
	/* A run of one looks at its own, and ends although it puts them behind the end. */
	began_us = sm_now_us();
	until = qm_edbc_wait_now(w.q.edbc);
	dest = qm_edbc_dest_find(w.q.edbc, call.dest);
	for (const struct qm_edbc_entry *x; (x = qm_edbc_wait_next(w.q.edbc, dest, until)) != NULL;
	     n++)
		assert_int_equal(qm_edbc_call(w.q.edbc, qm_edbc_id(x), &call, INT32_MAX), 1);
	assert_int_equal(n, MANY / 1000);
	printf("%u of %u in %lld us, %zu KB\n", n, MANY, (long long)(sm_now_us() - began_us),
	       qm_edbc_bytes(w.q.edbc) / 1024);
	assert_int_equal(waits(SM_WAIT_ASKED), MANY - n);
	remove_all(MANY);
	assert_int_equal(waits(SM_WAIT_ASKED), 0);
	assert_int_equal(qm_edbc_dest_find(w.q.edbc, call.dest), QM_EDBC_NO_DEST);
}

static unsigned turns;

static bool count_turn(void *arg)
{
	(void)arg;
	turns++;
	return false;
}

/* A run over such mails: how many turns it takes. */
static unsigned turns_of(unsigned mails, unsigned rcpts, unsigned domains, const char *dest)
{
	put(mails, rcpts, domains);
	turns = 0;
	run_of(dest, false);
	remove_all(mails);
	return turns;
}

static void no_turn_is_long(void **state)
{
	struct sm_hook hook = {0};

	(void)state;
	t_qm_all();
	sm_loop_before_sleep(&hook, count_turn, NULL);
	assert_true(turns_of(100000, 1, 100000, "") > 10); /* of lists that nothing is in for it */
	assert_true(turns_of(64, 1000, 500, "none.test") > 20);
	sm_hook_remove(&hook);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(of_many_only_some),
	    T(no_turn_is_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
