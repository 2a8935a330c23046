/* Who uses which content: the table by itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "libcdb/cdb.h"
#include "qmgr/contents.h"

static struct qm_contents t;

static int setup(void **state)
{
	(void)state;
	qm_contents_init(&t);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	qm_contents_fini(&t);
	return 0;
}

static struct sm_id mail(uint64_t counter)
{
	return (struct sm_id){counter, 1};
}

static struct sm_id own(uint64_t counter)
{
	return (struct sm_id){counter, SM_ID_PROC_QMGR};
}

static struct sm_id segment(uint64_t counter)
{
	return (struct sm_id){counter | CDB_SEGMENT_BIT, 1};
}

static void assert_nothing_left(void)
{
	assert_int_equal(t.by_id.count, 0);
	assert_int_equal(t.children.count, 0);
}

/* ---- a file of its own ---- */

static void a_mail_alone_has_no_entry(void **state)
{
	(void)state;
	assert_false(qm_content_known(&t, mail(1)));
	assert_true(qm_content_end(&t, mail(1), mail(1)));
	assert_nothing_left();
}

/* The file goes with the last of them, whoever that is. */
static void with_children(void **state)
{
	(void)state;
	for (int owner_at = 0; owner_at < 3; owner_at++) {
		const struct sm_id users[3] = {owner_at == 0 ? mail(1) : own(2),
		                               owner_at == 1   ? mail(1)
		                               : owner_at == 0 ? own(2)
		                                               : own(3),
		                               owner_at == 2 ? mail(1) : own(3)};

		qm_content_child(&t, mail(1), own(2), mail(1), true, true);
		qm_content_child(&t, mail(1), own(3), mail(1), false, true);
		for (int i = 0; i < 3; i++) {
			/* With the last child the entry is not needed any more. */
			assert_int_equal(qm_content_known(&t, mail(1)), owner_at < 2 || i < 2);
			assert_int_equal(qm_content_end(&t, mail(1), users[i]), i == 2);
		}
		assert_nothing_left();
	}
	/* The owner has ended before, as replay finds it. */
	qm_content_child(&t, mail(1), own(2), mail(1), true, false);
	assert_true(qm_content_end(&t, mail(1), own(2)));
	assert_nothing_left();
}

static void children_are_told_apart(void **state)
{
	const struct qm_content_child *c;

	(void)state;
	qm_content_child(&t, segment(1), own(2), mail(5), true, false);
	qm_content_child(&t, segment(1), own(3), mail(6), false, false);
	qm_content_child(&t, segment(1), own(4), mail(7), true, false);
	c = qm_content_next(&t, segment(1), true, NULL);
	assert_true(sm_id_eq(c->id, own(2)) && sm_id_eq(c->of, mail(5)));
	c = qm_content_next(&t, segment(1), true, c);
	assert_true(sm_id_eq(c->id, own(4)) && sm_id_eq(c->of, mail(7)));
	assert_null(qm_content_next(&t, segment(1), true, c));
	c = qm_content_next(&t, segment(1), false, NULL);
	assert_true(sm_id_eq(c->id, own(3)));
	assert_null(qm_content_next(&t, segment(1), false, c));
	assert_null(qm_content_next(&t, segment(2), false, NULL));
}

/* ---- segments ---- */

enum event { MAIL_1, MAIL_2, CHILD, SEAL, EVENTS };

static bool happens(enum event e)
{
	switch (e) {
	case MAIL_1:
		return qm_content_end(&t, segment(9), mail(1));
	case MAIL_2:
		return qm_content_end(&t, segment(9), mail(2));
	case CHILD:
		return qm_content_end(&t, segment(9), own(3));
	default:
		return qm_content_seal(&t, segment(9));
	}
}

/* In each order: the file goes with the last of them, and not before. */
static void in_each_order(void **state)
{
	(void)state;
	for (unsigned n = 0; n < EVENTS * EVENTS * EVENTS * EVENTS; n++) {
		unsigned order[EVENTS] = {n % 4, n / 4 % 4, n / 16 % 4, n / 64}, seen = 0;

		for (int i = 0; i < EVENTS; i++)
			seen |= 1u << order[i];
		if (seen != (1u << EVENTS) - 1)
			continue;
		qm_content_member(&t, segment(9));
		qm_content_member(&t, segment(9));
		qm_content_child(&t, segment(9), own(3), mail(1), true, true);
		for (int i = 0; i < EVENTS; i++) {
			assert_true(qm_content_known(&t, segment(9)));
			assert_int_equal(happens(order[i]), i == EVENTS - 1);
		}
		assert_nothing_left();
	}
}

/* Nobody is in it for a while, and then somebody is. */
static void an_open_one_stays(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		qm_content_member(&t, segment(9));
		assert_false(qm_content_end(&t, segment(9), mail(i)));
		assert_true(qm_content_known(&t, segment(9)));
	}
	assert_true(qm_content_seal(&t, segment(9)));
	assert_nothing_left();
	/* One that nobody ever was in. */
	assert_true(qm_content_seal(&t, segment(8)));
	/* And once more is once. */
	qm_content_member(&t, segment(9));
	assert_false(qm_content_seal(&t, segment(9)));
	assert_false(qm_content_seal(&t, segment(9)));
	assert_true(qm_content_end(&t, segment(9), mail(1)));
	assert_nothing_left();
}

struct sealing {
	unsigned asked, gone;
	uint64_t below; /* those are over */
	uint64_t gone_sum;
};

static bool is_over(void *arg, struct sm_id id)
{
	struct sealing *s = arg;

	s->asked++;
	assert_true(cdb_is_segment(id));
	return cdb_counter(id) < s->below;
}

static void is_gone(void *arg, struct sm_id id)
{
	struct sealing *s = arg;

	s->gone++;
	s->gone_sum += cdb_counter(id);
}

static void all_at_once(void **state)
{
	struct sealing s = {.below = 500};

	(void)state;
	/* Each third one is in use; each seventh is sealed; beside them a file that has a child. */
	qm_content_child(&t, mail(1), own(2), mail(1), true, true);
	for (uint64_t i = 0; i < 1000; i++) {
		qm_content_member(&t, segment(i));
		if (i % 7 == 0)
			assert_false(qm_content_seal(&t, segment(i)));
		if (i % 3 != 0)
			assert_int_equal(qm_content_end(&t, segment(i), mail(i)), i % 7 == 0);
	}
	uint64_t gone = 0, sum = 0, open = 0;

	for (uint64_t i = 0; i < 1000; i++) {
		open += i % 7 != 0;
		if (i < 500 && i % 3 != 0 && i % 7 != 0) {
			gone++;
			sum += i;
		}
	}
	qm_content_seal_all(&t, is_over, is_gone, &s);
	assert_int_equal(s.asked, open);
	assert_int_equal(s.gone, gone);
	assert_int_equal(s.gone_sum, sum);
	/* Those that were in use go with their last user now. */
	assert_true(qm_content_end(&t, segment(3), mail(3)));
	assert_false(qm_content_end(&t, segment(501), mail(501)));
	assert_true(qm_content_known(&t, mail(1)));
	s.asked = 0;
	qm_content_seal_all(&t, is_over, is_gone, &s);
	assert_int_equal(s.gone, gone);
	s.below = 1000;
	qm_content_seal_all(&t, is_over, is_gone, &s);
	for (uint64_t i = 0; i < 1000; i += 3)
		if (i != 3 && i != 501)
			assert_true(qm_content_end(&t, segment(i), mail(i)));
	assert_int_equal(t.by_id.count, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_mail_alone_has_no_entry), T(with_children),
	    T(children_are_told_apart),   T(in_each_order),
	    T(an_open_one_stays),         T(all_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
