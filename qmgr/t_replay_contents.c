/* Which contents are used, as a start finds it, against a plain model: snapshots of mails with
 * files of their own, in segments, and of children, again and again, in any order, many of them
 * over. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/rand.h"
#include "qmgr/replay.h"

#define MAILS    4000
#define SEGMENTS 5
#define STEP     128 /* from a content in a segment to the next */
#define SIZE     90

static struct qm_txn_table txns;
static struct qm_replay rp;
static bool mail_open[MAILS], child_open[MAILS];

static int begin(void **state)
{
	(void)state;
	qm_txn_table_init(&txns);
	qm_replay_init(&rp, NULL, &txns, qm_edbc_new());
	memset(mail_open, 0, sizeof(mail_open));
	memset(child_open, 0, sizeof(child_open));
	return 0;
}

static int over(void **state)
{
	(void)state;
	qm_edbc_free(&rp.edbc);
	qm_replay_fini(&rp);
	qm_txn_table_fini(&txns);
	return 0;
}

/* Every third has a file of its own. */
static bool has_file(unsigned k)
{
	return k % 3 == 0;
}

static struct sm_id mail_id(unsigned k)
{
	return (struct sm_id){1000 + k, 0};
}

static struct sm_id child_id(unsigned k)
{
	return (struct sm_id){1000 + k, SM_ID_PROC_QMGR};
}

static struct cdb_place place(unsigned k)
{
	if (has_file(k))
		return (struct cdb_place){mail_id(k), 0, (uint64_t)5 << 32};
	return (struct cdb_place){
	    {CDB_SEGMENT_BIT | (1 + k % SEGMENTS), 0}, 32 + (MAILS - k) * STEP, SIZE};
}

static void saw(struct sm_id id, unsigned k, bool child)
{
	struct qm_rec_rcpt r = {.addr = SM_STR("a@b.example"), .next_try_s = 1000 + k};
	const struct qm_rec_txn rec = {.ta = id, .rcpts = &r, .rcpts_count = 1};
	const struct cdb_place at = place(k);

	qm_edbc_put_rec(rp.edbc, &rec, (struct qm_loc){1, k, 0});
	qm_replay_saw_content(&rp, id, &at, child ? mail_id(k) : (struct sm_id){0}, child);
}

static void step(void)
{
	unsigned k = (unsigned)sm_rand_below(MAILS);

	switch (sm_rand_below(10)) {
	case 0:
	case 1:
		qm_edbc_remove(rp.edbc, mail_id(k));
		mail_open[k] = false;
		break;
	case 2:
		qm_edbc_remove(rp.edbc, child_id(k));
		child_open[k] = false;
		break;
	case 3:
		saw(child_id(k), k, true);
		child_open[k] = true;
		break;
	default:
		saw(mail_id(k), k, false);
		mail_open[k] = true;
	}
}

/* Whose content is at this place of this segment? */
static unsigned mail_at(struct sm_id segment, uint32_t offset)
{
	unsigned k = MAILS - (offset - 32) / STEP;

	assert_true(k < MAILS && place(k).offset == offset);
	assert_true(sm_id_eq(place(k).content, segment));
	return k;
}

static void check_segment(struct sm_id segment)
{
	struct cdb_span span;
	size_t at = 0, wanted = 0;
	uint32_t end = 0;

	for (unsigned k = 0; k < MAILS; k++)
		wanted += sm_id_eq(place(k).content, segment) && (mail_open[k] || child_open[k]);
	while (qm_content_needed(&txns.contents, segment, &at, &span)) {
		unsigned k = mail_at(segment, span.offset);

		assert_true(mail_open[k] || child_open[k]);
		assert_true(span.offset >= end && span.size == SIZE);
		end = span.offset + span.size;
	}
	assert_int_equal(at, wanted);
}

/* The children of a content, or of all in a segment, oldest first. */
static void check_children(struct sm_id content)
{
	const struct qm_content_child *c = NULL;
	size_t n = 0, wanted = 0;
	struct sm_id before = {0};

	for (unsigned k = 0; k < MAILS; k++)
		wanted += child_open[k] && sm_id_eq(place(k).content, content);
	while ((c = qm_content_next(&txns.contents, content, true, c)) != NULL) {
		assert_true(c->id.counter > before.counter);
		assert_true(sm_id_eq(c->of, mail_id((unsigned)c->id.counter - 1000)));
		before = c->id;
		n++;
	}
	assert_int_equal(n, wanted);
}

/* All end: a file is free when its last user has, and not before. */
static void check_ends(void)
{
	for (unsigned k = 0; k < MAILS; k++) {
		const struct cdb_place at = place(k);

		if (child_open[k])
			assert_int_equal(qm_content_end(&txns.contents, &at, child_id(k)),
			                 has_file(k) && !mail_open[k]);
		if (mail_open[k])
			assert_int_equal(qm_content_end(&txns.contents, &at, mail_id(k)),
			                 has_file(k));
	}
	for (unsigned s = 1; s <= SEGMENTS; s++)
		assert_true(
		    qm_content_seal(&txns.contents, (struct sm_id){CDB_SEGMENT_BIT | s, 0}));
	assert_int_equal(txns.contents.by_id.count, 0);
}

static void against_a_model(void **state)
{
	(void)state;
	sm_rand_seed(8);
	for (unsigned i = 0; i < 60000; i++)
		step();
	qm_replay_count_contents(&rp);
	for (unsigned s = 1; s <= SEGMENTS; s++) {
		check_segment((struct sm_id){CDB_SEGMENT_BIT | s, 0});
		check_children((struct sm_id){CDB_SEGMENT_BIT | s, 0});
	}
	for (unsigned k = 0; k < MAILS; k += 3)
		check_children(mail_id(k));
	check_ends();
}

/* However often each was written again, it is remembered once. */
static void what_is_remembered_does_not_grow(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 50; round++)
		for (unsigned k = 0; k < 300; k++) {
			saw(mail_id(k), k, false);
			saw(child_id(k), k, true);
		}
	assert_in_range(rp.place_cap, 600, 1200);
	assert_in_range(rp.child_cap, 300, 1200);
	qm_replay_count_contents(&rp);
	assert_null(rp.places);
	assert_null(rp.children);
}

/* Without segments and children there is nothing to remember. */
static void files_need_nothing(void **state)
{
	(void)state;
	for (unsigned k = 0; k < MAILS; k += 3)
		saw(mail_id(k), k, false);
	assert_null(rp.places);
	qm_replay_count_contents(&rp);
	assert_int_equal(txns.contents.by_id.count, 0);
}

/* The number of an entry in a segment goes to one with a file. */
static void a_number_is_used_again(void **state)
{
	(void)state;
	saw(mail_id(1), 1, false);
	qm_edbc_remove(rp.edbc, mail_id(1));
	saw(mail_id(3), 3, false);
	assert_int_equal(qm_edbc_number(rp.edbc, qm_edbc_find(rp.edbc, mail_id(3))), 0);
	qm_replay_count_contents(&rp);
	assert_int_equal(txns.contents.by_id.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(against_a_model, begin, over),
	    cmocka_unit_test_setup_teardown(what_is_remembered_does_not_grow, begin, over),
	    cmocka_unit_test_setup_teardown(files_need_nothing, begin, over),
	    cmocka_unit_test_setup_teardown(a_number_is_used_again, begin, over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
