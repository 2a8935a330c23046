/* One look at what is active and at what is deferred. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/view.h"

#define STR_IS(s, want) assert_true(sm_str_eq((s), SM_STR(want)))

static struct qm_txn_table table;
static struct qm_edbc *index_;
static struct sm_arena arena;

static struct qm_txn *make(void)
{
	static const char *const addrs[] = {"a@example.org",      "\"odd@local\"@example.net",
	                                    "postmaster",         "gone@example.org",
	                                    "failed@example.org", "told@example.org"};
	struct qm_txn *txn = qm_txn_new(&table, (struct sm_id){77, 3}, SM_ARRAY_SIZE(addrs));

	txn->sender = SM_STR("s@example.com");
	txn->size = 1025;
	txn->received_s = 5000;
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		txn->rcpts[i].addr = sm_str(addrs[i]);
		txn->rcpts[i].tries = (uint16_t)i;
		txn->rcpts[i].next_try_s = 9000 + i;
	}
	txn->rcpts[1].code = 450;
	txn->rcpts[1].text = SM_STR("4.2.1 greylisted until 12:00");
	txn->rcpts[1].host = SM_STR("mx.example.net");
	qm_rcpt_set(&txn->rcpts[1], QM_RCPT_DEFERRED);
	txn->rcpts[2].flags = QM_RCPT_HELD;
	qm_rcpt_set(&txn->rcpts[2], QM_RCPT_DEFERRED);
	qm_rcpt_set(&txn->rcpts[3], QM_RCPT_SETTLED);
	qm_rcpt_set(&txn->rcpts[4], QM_RCPT_FAILED);
	qm_rcpt_set(&txn->rcpts[5], QM_RCPT_RELAYED);
	return txn;
}

static int setup(void **state)
{
	(void)state;
	qm_txn_table_init(&table);
	index_ = qm_edbc_new();
	sm_arena_init(&arena, "test", 1024, 1024 * 1024);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	qm_txn_table_fini(&table);
	qm_edbc_free(&index_);
	sm_arena_fini(&arena);
	return 0;
}

static void addresses_and_reasons(const struct qm_view *v)
{
	assert_int_equal(v->id.counter, 77);
	assert_int_equal(v->id.proc, 3);
	STR_IS(v->sender, "s@example.com");
	assert_int_equal(v->received_s, 5000);
	assert_int_equal(v->rcpt_count, 5);
	STR_IS(v->rcpts[0].local, "a");
	STR_IS(v->rcpts[0].domain, "example.org");
	STR_IS(v->rcpts[0].host, "");
	STR_IS(v->rcpts[0].reason, "");
	assert_int_equal(v->rcpts[0].code, 0);
	STR_IS(v->rcpts[1].local, "\"odd@local\"");
	STR_IS(v->rcpts[1].domain, "example.net");
	STR_IS(v->rcpts[1].host, "mx.example.net");
	STR_IS(v->rcpts[1].reason, "450 4.2.1 greylisted until #");
	assert_int_equal(v->rcpts[1].code, 450);
	assert_int_equal(v->rcpts[1].tries, 1);
	assert_int_equal(v->rcpts[1].state, QM_VIEW_DEFERRED);
	STR_IS(v->rcpts[2].local, "postmaster");
	STR_IS(v->rcpts[2].domain, "");
	assert_int_equal(v->rcpts[2].state, QM_VIEW_HELD);
	/* The settled one is not there. */
	assert_int_equal(v->rcpts[3].index, 4);
	assert_int_equal(v->rcpts[3].state, QM_VIEW_FAILED);
	assert_int_equal(v->rcpts[4].index, 5);
	assert_int_equal(v->rcpts[4].state, QM_VIEW_DELIVERED);
}

static void of_the_active_queue(void **state)
{
	struct qm_txn *txn = make();
	struct qm_view v;

	(void)state;
	qm_view_of_txn(txn, &arena, &v);
	addresses_and_reasons(&v);
	assert_true(v.active);
	assert_int_equal(v.size, 1025);
	assert_int_equal(v.next_try_s, 0);
	assert_int_equal(v.rcpts[0].state, QM_VIEW_ACTIVE);
	assert_int_equal(v.sender_atom.number, 0);
	/* What smtpc has is active, whatever is to become of it. */
	txn->rcpts[0].flags = QM_RCPT_HELD;
	qm_rcpt_set(&txn->rcpts[0], QM_RCPT_DELIVERING);
	qm_view_of_txn(txn, &arena, &v);
	assert_int_equal(v.rcpts[0].state, QM_VIEW_ACTIVE);
	qm_rcpt_set(&txn->rcpts[0], QM_RCPT_DEFERRED);
	qm_view_of_txn(txn, &arena, &v);
	assert_int_equal(v.rcpts[0].state, QM_VIEW_HELD);
}

static void of_the_index(void **state)
{
	struct qm_txn *txn = make();
	const struct qm_edbc_entry *x;
	struct qm_view v;

	(void)state;
	qm_edbc_put_txn(index_, txn, (struct qm_loc){1, 2, 3});
	x = qm_edbc_find(index_, txn->id);
	qm_view_of_entry(index_, x, &arena, &v);
	addresses_and_reasons(&v);
	assert_false(v.active);
	assert_int_equal(v.size, 2048);
	assert_int_equal(v.next_try_s, 9000);
	assert_int_equal(v.rcpts[0].state, QM_VIEW_DEFERRED);
	assert_int_not_equal(v.sender_atom.number, 0);
	assert_int_equal(v.rcpts[0].domain_atom.number, v.rcpts[3].domain_atom.number);
	assert_int_equal(v.rcpts[2].domain_atom.number, 0);
	assert_int_not_equal(v.rcpts[1].reason_atom.number, 0);
}

/* The same from the snapshot as from the transaction. */
static void of_a_snapshot(void **state)
{
	struct qm_txn *txn = make();
	struct qm_rec_txn rec;
	struct qm_view v;

	(void)state;
	qm_txn_to_rec(txn, &arena, &rec);
	qm_edbc_put_rec(index_, &rec, (struct qm_loc){1, 2, 3});
	qm_view_of_entry(index_, qm_edbc_find(index_, txn->id), &arena, &v);
	addresses_and_reasons(&v);
	assert_int_equal(v.next_try_s, 9000);
}

static void with_marks(void **state)
{
	struct qm_txn *txn = make();
	struct qm_view v;

	(void)state;
	qm_edbc_put_txn(index_, txn, (struct qm_loc){1, 2, 3});
	assert_true(qm_edbc_mark(index_, txn->id, 0, QM_MARK_REMOVE, 8000));
	assert_true(qm_edbc_mark(index_, txn->id, 1, QM_MARK_BOUNCE, 8000));
	assert_true(qm_edbc_mark(index_, txn->id, 2, QM_MARK_RELEASE, 8000));
	assert_true(qm_edbc_mark(index_, txn->id, 4, QM_MARK_HOLD, 8000));
	qm_view_of_entry(index_, qm_edbc_find(index_, txn->id), &arena, &v);
	assert_int_equal(v.rcpt_count, 4);
	assert_int_equal(v.rcpts[0].index, 1);
	assert_int_equal(v.rcpts[0].state, QM_VIEW_FAILED);
	assert_int_equal(v.rcpts[1].state, QM_VIEW_DEFERRED);
	assert_int_equal(v.rcpts[2].state, QM_VIEW_FAILED); /* beyond acts */
	assert_int_equal(v.next_try_s, 8000);
}

static void words(void **state)
{
	(void)state;
	assert_string_equal(qm_view_state_word(QM_VIEW_ACTIVE), "active");
	assert_string_equal(qm_view_state_word(QM_VIEW_DELIVERED), "delivered");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(of_the_active_queue, setup, teardown),
	    cmocka_unit_test_setup_teardown(of_the_index, setup, teardown),
	    cmocka_unit_test_setup_teardown(of_a_snapshot, setup, teardown),
	    cmocka_unit_test_setup_teardown(with_marks, setup, teardown),
	    cmocka_unit_test(words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
