/* What is remembered of ids: who still needs which, and what was taken. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libcdb/cdb.h"
#include "qmgr/holders.h"

static struct sm_id id(uint64_t counter)
{
	return (struct sm_id){counter, 3};
}

static void only_what_was_given_up(void **state)
{
	static struct qm_holders h;

	(void)state;
	qm_holders_init(&h, 0);
	assert_false(qm_holder_gave_up(&h, id(1))); /* its holder never came */
	qm_holder_start(&h, 3, 100);
	qm_holder_open(&h, 3, id(40));
	qm_holder_open(&h, 3, id(50));
	assert_true(qm_holder_gave_up(&h, id(1)));
	assert_false(qm_holder_gave_up(&h, id(40)));
	assert_false(qm_holder_gave_up(&h, id(100))); /* its own business */
	assert_false(qm_holder_gave_up(&h, (struct sm_id){1, 4}));
	assert_true(qm_holder_gave_up(&h, (struct sm_id){1, SM_ID_PROC_QMGR}));
	qm_holder_taken(&h, id(40));
	assert_true(qm_holder_gave_up(&h, id(40)));
	qm_holder_start(&h, 3, 200); /* it came again, with nothing open */
	assert_true(qm_holder_gave_up(&h, id(50)));
	assert_true(qm_holder_gave_up(&h, id(199)));
	qm_holders_fini(&h);
}

/* Who does not come back is gone after an hour: of its segments nothing is needed, but a content in
 * a file of its own may still be coming. */
static void gone_for_good(void **state)
{
	static struct qm_holders h;
	const struct sm_id segment = {5 | CDB_SEGMENT_BIT, 3}, other = {5 | CDB_SEGMENT_BIT, 4};

	(void)state;
	qm_holders_init(&h, 1000);
	qm_holder_start(&h, 3, 100);
	qm_holder_open(&h, 3, id(40));
	qm_holder_open(&h, 3, segment);
	assert_false(qm_holders_look(&h, QM_HOLDER_AWAY_MS + 999));
	assert_true(qm_holders_look(&h, QM_HOLDER_AWAY_MS + 1000)); /* all that never came */
	assert_false(qm_holders_look(&h, 9 * QM_HOLDER_AWAY_MS));
	assert_true(qm_holder_gave_up(&h, other));
	assert_false(qm_holder_gave_up(&h, (struct sm_id){5, 4}));
	assert_false(qm_holder_gave_up(&h, segment)); /* as long as it is here */
	qm_holder_left(&h, 3, 9 * QM_HOLDER_AWAY_MS);
	assert_false(qm_holders_look(&h, 10 * QM_HOLDER_AWAY_MS - 1));
	assert_false(qm_holder_gave_up(&h, segment));
	assert_true(qm_holders_look(&h, 10 * QM_HOLDER_AWAY_MS));
	assert_true(qm_holder_gave_up(&h, segment));
	assert_false(qm_holder_gave_up(&h, id(40)));
	/* And comes all the same. */
	qm_holder_start(&h, 3, 200);
	qm_holder_open(&h, 3, segment);
	assert_false(qm_holder_gave_up(&h, segment));
	assert_false(qm_holders_look(&h, 20 * QM_HOLDER_AWAY_MS));
	qm_holders_fini(&h);
}

static void taken_for_a_while(void **state)
{
	struct qm_taken t;

	(void)state;
	qm_taken_init(&t, 10, 1000);
	qm_taken_add(&t, id(1), 0);
	qm_taken_add(&t, id(1), 5); /* twice is once */
	qm_taken_add(&t, id(2), 900);
	assert_int_equal(t.ids.count, 2);
	qm_taken_add(&t, id(3), 1000);
	assert_false(qm_taken_has(&t, id(1))); /* its time was up */
	assert_true(qm_taken_has(&t, id(2)));
	for (uint64_t i = 10; i < 100; i++)
		qm_taken_add(&t, id(i), 1001);
	assert_int_equal(t.ids.count, 10); /* bounded */
	assert_true(qm_taken_has(&t, id(99)));
	assert_false(qm_taken_has(&t, id(3)));
	qm_taken_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_what_was_given_up),
	    cmocka_unit_test(gone_for_good),
	    cmocka_unit_test(taken_for_a_while),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
