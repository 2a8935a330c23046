/* Who uses which content: the table by itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
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

/* Of a mail in a segment: each has a page of it. */
static struct cdb_place place(struct sm_id segment_id, uint64_t counter)
{
	return (struct cdb_place){segment_id, (uint32_t)counter * 4096 + 32, 3000};
}

static void member(struct sm_id segment_id, uint64_t counter)
{
	struct cdb_place at = place(segment_id, counter);

	assert_true(qm_content_is_free(&t, &at));
	qm_content_member(&t, &at);
	assert_false(qm_content_is_free(&t, &at));
}

/* A child of that mail. */
static void child(struct sm_id content, struct sm_id id, uint64_t of, bool dsn, bool owner_open)
{
	struct cdb_place at = {content, 0, 3000};

	if (cdb_is_segment(content))
		at = place(content, of);
	qm_content_child(&t, &at, id, mail(of), dsn, owner_open);
}

/* `counter`: of the mail whose content it is. */
static bool ends(struct sm_id content, uint64_t counter, struct sm_id id)
{
	struct cdb_place at = {content, 0, 3000};

	if (cdb_is_segment(content))
		at = place(content, counter);
	return qm_content_end(&t, &at, id);
}

static void assert_nothing_left(void)
{
	assert_int_equal(t.by_id.count, 0);
	assert_int_equal(t.children.count, 0);
	assert_int_equal(t.dsns.count, 0);
}

/* ---- a file of its own ---- */

static void a_mail_alone_has_no_entry(void **state)
{
	(void)state;
	assert_false(qm_content_known(&t, mail(1)));
	assert_true(ends(mail(1), 1, mail(1)));
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

		child(mail(1), own(2), 1, true, true);
		child(mail(1), own(3), 1, false, true);
		for (int i = 0; i < 3; i++) {
			/* With the last child the entry is not needed any more. */
			assert_int_equal(qm_content_known(&t, mail(1)), owner_at < 2 || i < 2);
			assert_int_equal(ends(mail(1), 1, users[i]), i == 2);
		}
		assert_nothing_left();
	}
	/* The owner has ended before, as replay finds it. */
	child(mail(1), own(2), 1, true, false);
	assert_true(ends(mail(1), 1, own(2)));
	assert_nothing_left();
}

static void children_are_told_apart(void **state)
{
	const struct qm_content_child *c;

	(void)state;
	child(segment(1), own(2), 5, true, false);
	child(segment(1), own(3), 6, false, false);
	child(segment(1), own(4), 7, true, false);
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

/* Also when the mail itself is over: by whom they are about, as long as one is there. */
static void dsns_lead_to_the_content(void **state)
{
	(void)state;
	child(segment(1), own(2), 5, true, false);
	child(segment(1), own(3), 6, false, false);
	child(segment(1), own(4), 5, true, false);
	child(mail(7), own(8), 7, true, false);
	assert_true(sm_id_eq(qm_content_of_dsns(&t, mail(5)), segment(1)));
	assert_true(sm_id_none(qm_content_of_dsns(&t, mail(6)))); /* no DSN */
	assert_true(sm_id_eq(qm_content_of_dsns(&t, mail(7)), mail(7)));
	assert_false(ends(segment(1), 5, own(4)));
	assert_true(sm_id_eq(qm_content_of_dsns(&t, mail(5)), segment(1)));
	assert_false(ends(segment(1), 5, own(2)));
	assert_true(sm_id_none(qm_content_of_dsns(&t, mail(5))));
	assert_true(ends(mail(7), 7, own(8)));
	assert_true(sm_id_none(qm_content_of_dsns(&t, mail(7))));
}

/* ---- segments ---- */

enum event { MAIL_1, MAIL_2, CHILD, SEAL, EVENTS };

static bool happens(enum event e)
{
	switch (e) {
	case MAIL_1:
		return ends(segment(9), 1, mail(1));
	case MAIL_2:
		return ends(segment(9), 2, mail(2));
	case CHILD:
		return ends(segment(9), 1, own(3));
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
		member(segment(9), 1);
		member(segment(9), 2);
		child(segment(9), own(3), 1, true, true);
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
		member(segment(9), i);
		assert_false(ends(segment(9), i, mail(i)));
		assert_true(qm_content_known(&t, segment(9)));
	}
	assert_true(qm_content_seal(&t, segment(9)));
	assert_nothing_left();
	/* One that nobody ever was in. */
	assert_true(qm_content_seal(&t, segment(8)));
	/* And once more is once. */
	member(segment(9), 1);
	assert_false(qm_content_seal(&t, segment(9)));
	assert_false(qm_content_seal(&t, segment(9)));
	assert_true(ends(segment(9), 1, mail(1)));
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
	child(mail(1), own(2), 1, true, true);
	for (uint64_t i = 0; i < 1000; i++) {
		member(segment(i), i);
		if (i % 7 == 0)
			assert_false(qm_content_seal(&t, segment(i)));
		if (i % 3 != 0)
			assert_int_equal(ends(segment(i), i, mail(i)), i % 7 == 0);
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
	assert_true(ends(segment(3), 3, mail(3)));
	assert_false(ends(segment(501), 501, mail(501)));
	assert_true(qm_content_known(&t, mail(1)));
	s.asked = 0;
	qm_content_seal_all(&t, is_over, is_gone, &s);
	assert_int_equal(s.gone, gone);
	s.below = 1000;
	qm_content_seal_all(&t, is_over, is_gone, &s);
	for (uint64_t i = 0; i < 1000; i += 3)
		if (i != 3 && i != 501)
			assert_true(ends(segment(i), i, mail(i)));
	assert_int_equal(t.by_id.count, 1);
}

/* ---- what is needed of a segment ---- */

/* What is between two mails, and behind them, is free; a part of one, and what reaches into one, is
 * not. */
static void a_place_is_one_mails(void **state)
{
	static const struct {
		uint32_t offset;
		uint64_t size;
		bool free;
	} v[] = {
	    {32, 4000, true},
	    {32, 4096, true},
	    {32, 4097, false},
	    {4128, 3000, false},
	    {4128, 0, false},
	    {4129, 0, false},
	    {7127, 1, false},
	    {7128, 0, true},
	    {7128, 1096, true},
	    {7128, 1097, false},
	    {8000, 300, false},
	    {11224, 1 << 20, true},
	    {32, UINT64_MAX, false},
	    {20000, UINT64_MAX, false},
	    {20000, INT32_MAX, true},
	    {20000, 1ull << 31, false},
	    {UINT32_MAX, INT32_MAX, true},
	};

	(void)state;
	member(segment(9), 1); /* 4128 to 7128 */
	member(segment(9), 2); /* 8224 to 11224 */
	for (size_t i = 0; i < SM_ARRAY_SIZE(v); i++) {
		struct cdb_place at = {segment(9), v[i].offset, v[i].size};

		if (qm_content_is_free(&t, &at) != v[i].free)
			fail_msg("%u, %llu", v[i].offset, (unsigned long long)v[i].size);
	}
	/* A child needs it after its mail. */
	struct cdb_place at = place(segment(9), 1);

	child(segment(9), own(3), 1, true, false);
	assert_false(ends(segment(9), 1, mail(1)));
	assert_false(qm_content_is_free(&t, &at));
	assert_false(ends(segment(9), 1, own(3)));
	assert_true(qm_content_is_free(&t, &at));
}

struct told {
	unsigned times;
	bool refuses;
	size_t count;
	struct cdb_span keep[8];
};

static bool tell(void *arg, struct sm_id id, const struct cdb_span *keep, size_t count)
{
	struct told *told = arg;

	assert_true(sm_id_eq(id, segment(9)));
	assert_true(count <= SM_ARRAY_SIZE(told->keep));
	told->times++;
	told->count = count;
	memcpy(told->keep, keep, count * sizeof(*keep));
	return !told->refuses;
}

static void assert_told(struct told *told, size_t count, const uint64_t *counters)
{
	assert_false(qm_contents_release(&t, 8, tell, told));
	assert_int_equal(told->times, 1);
	assert_int_equal(told->count, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(told->keep[i].offset, counters[i] * 4096 + 32);
		assert_int_equal(told->keep[i].size, 3000);
	}
	told->times = 0;
}

static void assert_not_told(struct told *told)
{
	assert_false(qm_contents_release(&t, 8, tell, told));
	assert_int_equal(told->times, 0);
}

/* Only of one that is sealed, was so the last time, and of which much has ended: what mails and
 * their children need is kept, and nothing else. */
static void room_is_given_back(void **state)
{
	enum { MAILS = 100 };
	struct told told = {.refuses = true};

	(void)state;
	for (uint64_t i = MAILS; i-- > 0;) /* in whatever order they come */
		member(segment(9), i);
	for (uint64_t i = 0; i < MAILS; i++)
		if (i != 7 && i != 50 && i != 60)
			assert_false(ends(segment(9), i, mail(i)));
	assert_not_told(&told);
	assert_not_told(&told); /* more may come */
	assert_false(qm_content_seal(&t, segment(9)));
	assert_not_told(&told);
	const uint64_t three[] = {7, 50, 60};
	const uint64_t two[] = {7, 50};

	assert_told(&told, 3, three);
	told.refuses = false;
	assert_told(&told, 3, three); /* nobody was there to do it */
	assert_not_told(&told);       /* nothing has ended since */
	child(segment(9), own(3), 50, true, false);
	child(segment(9), own(4), 50, false, false);
	assert_false(ends(segment(9), 50, mail(50)));
	assert_false(ends(segment(9), 50, own(4)));
	assert_false(ends(segment(9), 60, mail(60)));
	assert_not_told(&told); /* too little */
	qm_content_recovered(&t);
	assert_told(&told, 2, two); /* 50 has a child, 60 has none */
	qm_content_recovered(&t);
	assert_false(ends(segment(9), 50, own(3)));
	assert_told(&told, 1, three);
	assert_true(ends(segment(9), 7, mail(7)));
	assert_nothing_left();
}

static bool count_told(void *arg, struct sm_id id, const struct cdb_span *keep, size_t count)
{
	(void)keep;
	assert_int_equal(count, 1);
	++*(unsigned *)arg;
	return cdb_counter(id) % 4 != 0; /* some cannot be done */
}

/* After a restart that is asked of all of them: not all at once. */
static void a_few_at_a_time(void **state)
{
	enum { SEGMENTS = 100 };
	unsigned told = 0, looks = 0;

	(void)state;
	for (uint64_t i = 0; i < SEGMENTS; i++)
		member(segment(i), 1);
	qm_content_recovered(&t);
	for (uint64_t i = 0; i < SEGMENTS; i++)
		assert_false(qm_content_seal(&t, segment(i)));
	assert_false(qm_contents_release(&t, 10, count_told, &told));
	assert_int_equal(told, 0);
	while (qm_contents_release(&t, 10, count_told, &told))
		looks++;
	assert_int_equal(looks, 10);      /* each has had its turn */
	assert_int_equal(told, 100 + 10); /* then only those that cannot be done were left */
	told = 0;
	assert_false(qm_contents_release(&t, 100, count_told, &told));
	assert_int_equal(told, 25); /* each once */
}

/* Replay finds a child, and its mail, in any order, or only one of both. */
static void what_replay_finds_is_kept(void **state)
{
	struct told told = {0};
	const uint64_t both[] = {1, 2};

	(void)state;
	child(segment(9), own(3), 1, true, true);
	child(segment(9), own(4), 2, false, false);
	member(segment(9), 5);
	struct cdb_place at = place(segment(9), 1);

	qm_content_member(&t, &at);
	qm_content_recovered(&t);
	assert_false(qm_content_seal(&t, segment(9)));
	assert_not_told(&told);
	assert_false(ends(segment(9), 5, mail(5)));
	assert_false(ends(segment(9), 1, own(3)));
	assert_false(qm_contents_release(&t, 8, tell, &told));
	assert_int_equal(told.count, 2); /* 5 is over, and nobody else's */
	told.times = 0;
	qm_content_recovered(&t);
	assert_false(ends(segment(9), 2, own(4)));
	assert_told(&told, 1, both);
	assert_true(ends(segment(9), 1, mail(1)));
	assert_nothing_left();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_mail_alone_has_no_entry),
	    T(with_children),
	    T(children_are_told_apart),
	    T(in_each_order),
	    T(dsns_lead_to_the_content),
	    T(an_open_one_stays),
	    T(all_at_once),
	    T(a_place_is_one_mails),
	    T(room_is_given_back),
	    T(a_few_at_a_time),
	    T(what_replay_finds_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
