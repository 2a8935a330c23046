/* Transactions in memory: states of recipients, snapshots, changes, users of content. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/txn.h"

static const struct sm_id id = {77, 1};

static struct qm_txn *three(struct qm_txn_table *t)
{
	struct sm_msg_rcpt_new rcpts[3] = {
	    {SM_STR("a@x.test"), SM_STR("rfc822;a@x.test"), SM_NOTIFY_FAILURE},
	    {SM_STR("b@x.test"), SM_STR(""), 0},
	    {SM_STR("c@y.test"), SM_STR(""), 0}};
	struct sm_msg_ta_commit m = {.ta = id,
	                             .content = id,
	                             .sender = SM_STR("s@z.test"),
	                             .envid = SM_STR("e1"),
	                             .size = 1234,
	                             .received_s = 1000,
	                             .rcpts_count = 3,
	                             .rcpts = rcpts};

	return qm_txn_from_commit(t, &m);
}

static void counts_follow_states(void **state)
{
	struct qm_txn_table t;
	struct qm_txn *txn;

	(void)state;
	qm_txn_table_init(&t);
	txn = three(&t);
	assert_int_equal(t.rcpts, 3);
	assert_int_equal(txn->busy, 3);
	qm_rcpt_set(&txn->rcpts[0], QM_RCPT_ROUTING);
	qm_rcpt_set(&txn->rcpts[0], QM_RCPT_DELIVERING);
	assert_int_equal(txn->busy, 3);
	qm_rcpt_set(&txn->rcpts[0], QM_RCPT_SETTLED);
	qm_rcpt_set(&txn->rcpts[1], QM_RCPT_DEFERRED);
	assert_int_equal(txn->busy, 1);
	assert_int_equal(txn->open, 2);
	qm_rcpt_set(&txn->rcpts[1], QM_RCPT_NEW);
	assert_int_equal(txn->busy, 2);
	assert_ptr_equal(qm_txn_find(&t, id), txn);
	qm_txn_free(&t, &txn);
	assert_null(qm_txn_find(&t, id));
	assert_int_equal(t.rcpts, 0);
	qm_txn_table_fini(&t);
}

static void what_is_said_of_all_is_kept_once(void **state)
{
	char text[] = "4.4.1 away", host[] = "mx.y.test";
	struct qm_txn_table t;
	struct qm_txn *txn;

	(void)state;
	qm_txn_table_init(&t);
	txn = three(&t);
	for (unsigned i = 0; i < 3; i++)
		qm_rcpt_note(&txn->rcpts[i], 451, sm_str(text), sm_str(host), 1010);
	text[0] = host[0] = '?'; /* they are the caller's */
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(txn->rcpts[i].text.p, txn->rcpts[0].text.p);
		assert_ptr_equal(txn->rcpts[i].host.p, txn->rcpts[0].host.p);
		assert_true(sm_str_eq(txn->rcpts[i].text, SM_STR("4.4.1 away")));
	}
	qm_rcpt_note(&txn->rcpts[0], 250, SM_STR("2.0.0 fine"), SM_STR("mx.y.test"), 1020);
	assert_ptr_equal(txn->rcpts[0].host.p, txn->rcpts[1].host.p);
	assert_true(sm_str_eq(txn->rcpts[0].text, SM_STR("2.0.0 fine")));
	assert_true(sm_str_eq(txn->rcpts[1].text, SM_STR("4.4.1 away")));
	qm_txn_free(&t, &txn);
	qm_txn_table_fini(&t);
}

static struct sm_sa t_address(void)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, SM_STR("[192.0.2.7]"), 4711), 0);
	return sa;
}

static void snapshot_and_changes(void **state)
{
	struct qm_txn_table t;
	struct qm_rec_txn rec;
	struct sm_arena a;
	struct sm_buf b;
	struct qm_txn *txn;

	(void)state;
	qm_txn_table_init(&t);
	sm_arena_init(&a, "test", 1024, 1 << 20);
	sm_buf_init(&b, 1 << 20);
	txn = three(&t);
	qm_client_keep(txn, &(struct qm_client){.sa = t_address(),
	                                        .name = SM_STR("c.test"),
	                                        .helo = SM_STR("hello.test"),
	                                        .proto = SM_STR("ESMTPS"),
	                                        .xid = SM_STR("4711")});
	txn->route = SM_STR("10024^lmtp:[127.0.0.1]");
	txn->deliver = SM_DELIVER_QUEUE;
	txn->msgid = SM_STR("<m@a.test>");
	qm_rcpt_note(&txn->rcpts[2], 451, SM_STR("4.4.1 away"), SM_STR("mx.y.test"), 1010);
	qm_rcpt_note_tls(&txn->rcpts[2], SM_STR("TLSv1.3 x 128 OK mx.y.test"));
	txn->rcpts[2].tries = 1;
	txn->rcpts[2].next_try_s = 2000;
	qm_rcpt_set(&txn->rcpts[2], QM_RCPT_DEFERRED);
	qm_rcpt_set(&txn->rcpts[0], QM_RCPT_SETTLED);
	qm_txn_to_rec(txn, &a, &rec);
	qm_rec_txn_encode(&b, &rec);
	qm_txn_free(&t, &txn);

	assert_int_equal(qm_rec_txn_decode(sm_buf_view(&b), &a, &rec), 0);
	txn = qm_txn_from_rec(&t, &rec);
	assert_int_equal(txn->rcpt_count, 2); /* the delivered one is gone */
	assert_int_equal(txn->rcpts[1].index, 2);
	assert_ptr_equal(qm_txn_rcpt(txn, 2), &txn->rcpts[1]);
	assert_null(qm_txn_rcpt(txn, 0));
	assert_true(sm_str_eq(txn->rcpts[1].text, SM_STR("4.4.1 away")));
	assert_true(sm_str_eq(txn->rcpts[1].tls, SM_STR("TLSv1.3 x 128 OK mx.y.test")));
	assert_int_equal(txn->rcpts[0].tls.n, 0);
	assert_int_equal(txn->rcpts[1].next_try_s, 2000);
	assert_true(sm_str_eq(txn->envid, SM_STR("e1")));
	assert_true(sm_sa_eq(&txn->client.sa, &(struct sm_sa[]){t_address()}[0]));
	assert_true(sm_str_eq(txn->client.name, SM_STR("c.test")));
	assert_true(sm_str_eq(txn->client.helo, SM_STR("hello.test")));
	assert_true(sm_str_eq(txn->client.proto, SM_STR("ESMTPS")));
	assert_true(sm_str_eq(txn->client.xid, SM_STR("4711")));
	assert_true(sm_str_eq(txn->route, SM_STR("10024^lmtp:[127.0.0.1]")));
	assert_int_equal(txn->deliver, SM_DELIVER_QUEUE);
	assert_true(sm_str_eq(txn->msgid, SM_STR("<m@a.test>")));

	qm_txn_apply(txn,
	             &(struct qm_rec_rcpt_change){
			 .ta = id, .index = 0, .state = QM_REC_DONE}); /* of before the snapshot */
	qm_txn_apply(txn, &(struct qm_rec_rcpt_change){.ta = id, .index = 1, .state = QM_REC_DONE});
	qm_txn_apply(txn, &(struct qm_rec_rcpt_change){.ta = id,
	                                               .index = 2,
	                                               .state = QM_REC_FAILED,
	                                               .code = 550,
	                                               .text = SM_STR("5.1.1 no"),
	                                               .tls = SM_STR("none"),
	                                               .tries = 2});
	assert_int_equal(txn->open, 1);
	assert_int_equal(txn->rcpts[1].state, QM_RCPT_FAILED);
	assert_int_equal(txn->rcpts[1].code, 550);
	assert_true(sm_str_eq(txn->rcpts[1].tls, SM_STR("none")));
	qm_txn_table_fini(&t);
	sm_buf_fini(&b);
	sm_arena_fini(&a);
}

static bool ends(struct qm_txn_table *t, const struct qm_txn *txn)
{
	struct cdb_place at = qm_txn_place(txn);

	return qm_content_end(&t->contents, &at, txn->id);
}

static void content_ends_with_its_last_user(void **state)
{
	struct qm_txn_table t;
	struct qm_txn *mail, *dsn1, *dsn2, *member;
	const struct qm_content_child *child;

	(void)state;
	qm_txn_table_init(&t);
	mail = three(&t);
	assert_true(ends(&t, mail)); /* nobody else */
	dsn1 = qm_txn_new(&t, (struct sm_id){78, 255}, 1);
	dsn2 = qm_txn_new(&t, (struct sm_id){79, 255}, 1);
	dsn1->content = dsn2->content = id;
	member = qm_txn_new(&t, (struct sm_id){80, 255}, 1);
	member->content = id;
	qm_content_child(&t.contents, &(struct cdb_place){.content = id}, dsn1->id, id, true, true);
	qm_content_child(&t.contents, &(struct cdb_place){.content = id}, member->id, id, false,
	                 true);
	qm_content_child(&t.contents, &(struct cdb_place){.content = id}, dsn2->id, dsn1->id, true,
	                 true);
	assert_true(qm_content_known(&t.contents, id));
	child = qm_content_next(&t.contents, id, true, NULL);
	assert_true(sm_id_eq(child->id, dsn1->id));
	child = qm_content_next(&t.contents, id, true, child);
	assert_true(sm_id_eq(child->id, dsn2->id) && sm_id_eq(child->of, dsn1->id));
	assert_null(qm_content_next(&t.contents, id, true, child));
	child = qm_content_next(&t.contents, id, false, NULL);
	assert_true(sm_id_eq(child->id, member->id));
	assert_null(qm_content_next(&t.contents, id, false, child));
	assert_false(ends(&t, dsn1));
	assert_true(sm_id_eq(qm_content_next(&t.contents, id, true, NULL)->id, dsn2->id));
	assert_false(ends(&t, member));
	assert_null(qm_content_next(&t.contents, id, false, NULL));
	assert_false(ends(&t, mail));
	assert_true(ends(&t, dsn2));
	assert_false(qm_content_known(&t.contents, id));

	qm_content_child(&t.contents, &(struct cdb_place){.content = id}, dsn1->id, id, true,
	                 true); /* the DSN ends first */
	assert_false(ends(&t, dsn1));
	assert_true(ends(&t, mail));
	qm_txn_table_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_follow_states),
	    cmocka_unit_test(what_is_said_of_all_is_kept_once),
	    cmocka_unit_test(snapshot_and_changes),
	    cmocka_unit_test(content_ends_with_its_last_user),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
