/*
 * What filters change: fields of a header, and a whole message that is rewritten in a real content
 * store, with its envelope.
 */
#include "libcdb/t_cdb.h"

#include <stdio.h>

#include "libsm/err.h"
#include "libsm/fault.h"
#include "libsm/log.h"
#include "smtps/edit.h"
#include "smtps/fields.h"
#include "smtps/session.h"

/* ---- fields, however the message is cut ---- */

static struct sm_buf seen;

static int on_field(void *arg, struct sm_str field)
{
	(void)arg;
	sm_buf_char(&seen, '[');
	sm_buf_str(&seen, field);
	sm_buf_char(&seen, ']');
	return 0;
}

static int on_end(void *arg, bool blank)
{
	(void)arg;
	sm_buf_char(&seen, blank ? '|' : '/');
	return 0;
}

static int on_body(void *arg, const char *p, size_t n)
{
	(void)arg;
	sm_buf_append(&seen, p, n);
	return 0;
}

static void cut(const char *message, size_t piece, const char *want)
{
	static const struct ss_fields_sink sink = {on_field, on_end, on_body};
	struct sm_str rest = sm_str(message);
	struct ss_fields f;

	sm_buf_init(&seen, 100000);
	ss_fields_init(&f, &sink, NULL, 1000);
	while (rest.n > 0) {
		struct sm_str now = sm_str_head(rest, piece);

		assert_int_equal(ss_fields_feed(&f, now.p, now.n), 0);
		rest = sm_str_from(rest, now.n);
	}
	assert_int_equal(ss_fields_finish(&f), 0);
	ss_fields_fini(&f);
	assert_string_equal(sm_buf_c(&seen), want);
	sm_buf_fini(&seen);
}

static void t_fields(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 30; piece++) {
		cut("A: 1\r\nB: 2\r\n 3\r\n\r\ntext\r\nC: 4\r\n", piece,
		    "[A: 1\r\n][B: 2\r\n 3\r\n]|text\r\nC: 4\r\n");
		cut("A: 1\r\n", piece, "[A: 1\r\n]/");
		cut("A: 1\r\n\r\n", piece, "[A: 1\r\n]|");
		cut("", piece, "/");
		cut("\r\nA: 1\r\n", piece, "|A: 1\r\n");
		cut(" A: 1\r\n\r\nx\r\n", piece, "/ A: 1\r\n\r\nx\r\n");
		cut("A: 1\r\nno field\r\n\r\nx\r\n", piece, "[A: 1\r\n]/no field\r\n\r\nx\r\n");
		cut("A \t: 1\r\n: 2\r\n", piece, "[A \t: 1\r\n]/: 2\r\n");
		cut("A: 1\r\nB", piece, "[A: 1\r\n]/B");
	}
}

static void t_field_too_long(void **state)
{
	static const struct ss_fields_sink sink = {on_field, on_end, on_body};
	struct ss_fields f;
	int err = 0;

	(void)state;
	sm_buf_init(&seen, 100000);
	ss_fields_init(&f, &sink, NULL, 1000);
	for (int i = 0; err == 0 && i < 2000; i++)
		err = ss_fields_feed(&f, "x", 1);
	assert_int_equal(err, SM_E_TOOBIG);
	ss_fields_fini(&f);
	sm_buf_fini(&seen);
}

/* ---- a change is one field, whatever it says ---- */

static void t_one_field(void **state)
{
	static const struct {
		const char *value, *want;
	} cases[] = {
	    {"y", "X: y\r\n"},
	    {"", "X: \r\n"},
	    {"y\n", "X: y\r\n"},
	    {"y\n\tz", "X: y\r\n\tz\r\n"},
	    {"y\r\n z", "X: y\r\n z\r\n"},
	    {"y\nBcc: z", "X: y\r\n\tBcc: z\r\n"},
	    {"y\n\n\r\n \nz", "X: y\r\n\tz\r\n"},
	    {"\ny", "X: y\r\n"},
	    {"a\rb", "X: a b\r\n"},
	    {"\n\n", "X: \r\n"},
	};
	struct ss_header_change *c;
	struct sm_arena a;

	(void)state;
	sm_arena_init(&a, "test", 1000, 100000);
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		assert_int_equal(ss_header_change_new(&a, SS_HEADER_ADD, 0, SM_STR("X"),
		                                      sm_str(cases[i].value), false, &c),
		                 0);
		assert_true(sm_str_eq(c->field, sm_str(cases[i].want)));
	}
	assert_int_equal(
	    ss_header_change_new(&a, SS_HEADER_ADD, 0, SM_STR("X"), SM_STR("\ty"), true, &c), 0);
	assert_true(sm_str_eq(c->field, SM_STR("X:\ty\r\n")));
	assert_int_equal(
	    ss_header_change_new(&a, SS_HEADER_ADD, 0, SM_STR("X Y"), SM_STR("z"), false, &c),
	    SM_E_SYNTAX);
	assert_int_equal(
	    ss_header_change_new(&a, SS_HEADER_ADD, 0, SM_STR("X:"), SM_STR("z"), false, &c),
	    SM_E_SYNTAX);
	sm_arena_fini(&a);
}

/* ---- a message ---- */

static struct ss ss;
static struct ss_session s;
static struct ss_conf conf;

static void begin_message(uint64_t number, const char *content)
{
	static struct sm_arena a;

	sm_arena_init(&a, "conf", 1000, 1 << 20);
	sm_conf_defaults(ss_conf_opts, &conf, &a);
	sm_arena_fini(&a);
	ss = (struct ss){.cdb = t_store, .hostname = SM_STR("mx.test"), .conf = &conf};
	s = (struct ss_session){.ss = &ss, .conf = &conf, .why = ""};
	sm_list_init(&ss.transactions);
	sm_list_init(&s.prefetch);
	sm_list_init(&s.link);
	ss_txn_init(&s.txn);
	ss_txn_begin(&s, (struct sm_id){.counter = number, .proc = 1}, SM_STR("a@src.test"));
	assert_int_equal(ss_txn_add_rcpt(&s, SM_STR("b@local.test"), SM_STR(""), 0), 0);
	assert_int_equal(ss_txn_add_rcpt(&s, SM_STR("c@local.test"), SM_STR(""), 0), 0);
	s.txn.content = cdb_write(t_store, s.txn.id, 0);
	assert_int_equal(cdb_append(s.txn.content, content, strlen(content)), 0);
}

/* What is in the store in the end; then there is nothing any more. */
static void end_message(const char *want)
{
	struct sm_buf got;
	struct cdb_reader *r;
	struct cdb_place at;
	const char *p;
	ssize_t n;

	sm_buf_init(&got, 10 * 1024 * 1024);
	assert_int_equal(cdb_commit(&s.txn.content, &at), 0);
	assert_int_equal(cdb_read_open(t_store, s.txn.id, at.offset, at.size, &r), 0);
	while ((n = cdb_read(r, &p)) > 0)
		sm_buf_append(&got, p, (size_t)n);
	assert_int_equal(n, 0);
	cdb_read_close(&r);
	assert_string_equal(sm_buf_c(&got), want);
	sm_buf_fini(&got);
	assert_int_equal(cdb_unlink(t_store, s.txn.id), 0);
	ss_txn_reset(&s, true);
	sm_arena_fini(&s.txn.arena);
	assert_int_equal(ss.rcpt_count, 0);
}

#define OURS "Received: from us\r\n"

IN_COROUTINE(t_rewrite)
{
	static const char *const headers[] = {"S: 1\r\n", ""}, *const bodies[] = {
								   "\r\n", "\r\nold\r\n", ""};

	for (size_t i = 0; i < 12; i++) {
		const char *header = headers[i & 1], *body = bodies[(i >> 1) % 3];
		bool anew = i >= 6;
		struct ss_edit e;
		size_t ours = 0;
		char before[100], want[200];

		snprintf(before, sizeof(before), OURS "%s%s", header, body);
		begin_message(i + 1, before);
		ss_edit_init(&e, &s);
		assert_int_equal(
		    ss_edit_header(&e, SS_HEADER_INSERT, 0, SM_STR("T"), SM_STR("0"), false), 0);
		assert_int_equal(
		    ss_edit_header(&e, SS_HEADER_ADD, 0, SM_STR("Z"), SM_STR("9"), false), 0);
		if (anew) {
			assert_int_equal(ss_edit_body(&e, "new\n", 4), 0);
			assert_int_equal(ss_edit_body(&e, "end", 3), 0);
		}
		assert_int_equal(ss_edit_apply(&e, &ours), 0);
		assert_int_equal(ours, 1);
		ss_edit_fini(&e);
		snprintf(want, sizeof(want), "T: 0\r\n" OURS "%sZ: 9\r\n%s", header,
		         anew ? "\r\nnew\r\nend\r\n" : body);
		end_message(want);
	}
}

IN_COROUTINE(t_line_ends)
{
	static const struct {
		const char *sent, *kept;
	} cases[] = {
	    {"a\r\nb\r\n", "a\r\nb\r\n"},
	    {"a\nb\n", "a\r\nb\r\n"},
	    {"a\rb\r", "a\r\nb\r\n"},
	    {"a\r\r\nb", "a\r\n\r\nb\r\n"},
	    {"\n\n", "\r\n\r\n"},
	    {"", ""},
	    {"\r", "\r\n"},
	    {"a", "a\r\n"},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(cases) * 2; i++) {
		const char *sent = cases[i / 2].sent;
		struct ss_edit e;
		size_t ours = 0;
		char want[100];

		begin_message(i + 1, OURS "\r\nold\r\n");
		ss_edit_init(&e, &s);
		/* In one piece, and byte by byte. */
		if (i & 1 || sent[0] == '\0')
			assert_int_equal(ss_edit_body(&e, sent, strlen(sent)), 0);
		else
			for (const char *p = sent; *p != '\0'; p++)
				assert_int_equal(ss_edit_body(&e, p, 1), 0);
		assert_int_equal(ss_edit_apply(&e, &ours), 0);
		ss_edit_fini(&e);
		snprintf(want, sizeof(want), OURS "\r\n%s", cases[i / 2].kept);
		end_message(want);
	}
}

/* What the header needs of servers is that of the header which is there in the end; of mail that
 * did not come with SMTPUTF8 nothing is known. */
IN_COROUTINE(t_utf8)
{
	static const struct {
		uint8_t came;
		const char *subject;
		uint8_t goes;
	} cases[] = {
	    {SM_UTF8_DECLARED, "\xc3\xbc", SM_UTF8_DECLARED | SM_UTF8_HEADER},
	    {SM_UTF8_DECLARED, "u", SM_UTF8_DECLARED},
	    {SM_UTF8_DECLARED | SM_UTF8_HEADER, "u", SM_UTF8_DECLARED},
	    {0, "\xc3\xbc", 0},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct ss_edit e;
		size_t ours = 0;
		char want[100];

		begin_message(i + 1, cases[i].came & SM_UTF8_HEADER
		                         ? OURS "Subject: \xc3\xa4\r\n\r\n\xc3\xa4\r\n"
		                         : OURS "Subject: a\r\n\r\n\xc3\xa4\r\n");
		s.txn.utf8 = cases[i].came;
		ss_edit_init(&e, &s);
		assert_int_equal(ss_edit_header(&e, SS_HEADER_REPLACE, 1, SM_STR("Subject"),
		                                sm_str(cases[i].subject), false),
		                 0);
		assert_int_equal(ss_edit_apply(&e, &ours), 0);
		ss_edit_fini(&e);
		assert_int_equal(s.txn.utf8, cases[i].goes);
		snprintf(want, sizeof(want), OURS "Subject: %s\r\n\r\n\xc3\xa4\r\n",
		         cases[i].subject);
		end_message(want);
	}
}

IN_COROUTINE(t_envelope)
{
	struct ss_edit e;
	size_t ours = 0;

	begin_message(1, OURS "\r\nx\r\n");
	ss_edit_init(&e, &s);
	assert_int_equal(ss_edit_rcpt(&e, false, SM_STR("<B@local.test>"), SM_STR_NONE), 0);
	assert_int_equal(ss_edit_rcpt(&e, true, SM_STR("d@LOCAL.test"), SM_STR("NOTIFY=NEVER")), 0);
	assert_int_equal(ss_edit_rcpt(&e, true, SM_STR("c@local.test"), SM_STR_NONE), 0);
	assert_int_equal(ss_edit_rcpt(&e, true, SM_STR("root"), SM_STR_NONE), 0);
	assert_int_equal(ss_edit_sender(&e, SM_STR("<>"), SM_STR("RET=HDRS ENVID=x")), 0);
	assert_int_equal(ss_edit_hold(&e, SM_STR("why\r\n not")), 0);
	/* Nothing has happened yet. */
	assert_int_equal(s.txn.rcpt_count, 2);
	assert_false(s.txn.envelope_changed);
	assert_int_equal(ss_edit_apply(&e, &ours), 0);
	ss_edit_fini(&e);
	assert_int_equal(s.txn.rcpt_count, 3);
	assert_true(sm_str_eq(s.txn.rcpts[0].addr, SM_STR("c@local.test")));
	assert_true(sm_str_eq(s.txn.rcpts[1].addr, SM_STR("d@local.test")));
	assert_int_equal(s.txn.rcpts[1].notify, SM_NOTIFY_NEVER);
	assert_true(sm_str_eq(s.txn.rcpts[2].addr, SM_STR("root@mx.test")));
	assert_int_equal(s.txn.sender.n, 0);
	assert_int_equal(s.txn.ret, SM_RET_HDRS);
	assert_true(sm_str_eq(s.txn.envid, SM_STR("x")));
	assert_true(sm_str_eq(s.txn.hold, SM_STR("why?? not")));
	assert_true(s.txn.envelope_changed);
	end_message(OURS "\r\nx\r\n");
}

IN_COROUTINE(t_refused)
{
	static const char *const bad[] = {"", "<", "a b@c", "<a@b> x", "<a@b", "a@b@c", "<>", "@"};
	struct ss_edit e;

	begin_message(1, OURS "\r\nx\r\n");
	ss_edit_init(&e, &s);
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		assert_int_equal(ss_edit_rcpt(&e, true, sm_str(bad[i]), SM_STR_NONE), SM_E_SYNTAX);
	assert_int_equal(ss_edit_rcpt(&e, true, SM_STR("a@b"), SM_STR("X=1")), SM_E_SYNTAX);
	assert_int_equal(ss_edit_sender(&e, SM_STR("a@b"), SM_STR("X=1")), SM_E_SYNTAX);
	ss_edit_fini(&e);
	/* Larger than a message may be, and more than is good. */
	ss_edit_init(&e, &s);
	conf.max_message_bytes = 1000;
	assert_int_equal(ss_edit_body(&e, OURS OURS OURS, 3 * strlen(OURS)), 0);
	int err = 0;
	for (int i = 0; err == 0 && i < 100; i++)
		err = ss_edit_body(&e, OURS OURS OURS, 3 * strlen(OURS));
	assert_int_equal(err, SM_E_TOOBIG);
	err = 0;
	for (int i = 0; err == 0 && i <= SS_EDITS_MAX; i++)
		err = ss_edit_header(&e, SS_HEADER_ADD, 0, SM_STR("X"), SM_STR("y"), false);
	assert_int_equal(err, SM_E_TOOBIG);
	ss_edit_fini(&e);
	end_message(OURS "\r\nx\r\n");
}

IN_COROUTINE(t_all_or_nothing)
{
	struct ss_edit e;
	size_t ours = 0;

	begin_message(1, OURS "\r\nx\r\n");
	conf.max_rcpts_transaction = 2;
	ss_edit_init(&e, &s);
	assert_int_equal(ss_edit_rcpt(&e, true, SM_STR("d@local.test"), SM_STR_NONE), 0);
	assert_int_equal(ss_edit_sender(&e, SM_STR("x@y"), SM_STR_NONE), 0);
	assert_int_equal(ss_edit_apply(&e, &ours), SM_E_TOOBIG);
	ss_edit_fini(&e);
	assert_int_equal(s.txn.rcpt_count, 2);
	assert_true(sm_str_eq(s.txn.sender, SM_STR("a@src.test")));
	assert_null(s.txn.content);
	assert_false(t_exists(s.txn.id));
	ss_txn_reset(&s, false);
	sm_arena_fini(&s.txn.arena);
}

/* ---- bad disks ---- */

#ifdef SM_TESTING
static const struct point {
	const char *name, *what;
	int rc;
} points[] = {
    {"cdb.open", "enospc", SM_E_FULL},   {"cdb.write", "enospc", SM_E_FULL},
    {"cdb.write", "eio", SM_E_IO},       {"cdb.read", "eio", SM_E_IO},
    {"cdb.unlink", "enospc", SM_E_FULL},
};

/* The changes of a filter, all of them gathered before it is asked what became of them. */
static int change_all(size_t bytes)
{
	static const char line[] =
	    "0123456789012345678901234567890123456789012345678901234567890\n";
	struct ss_edit e;
	size_t ours = 0;
	int err, trouble = 0;

	ss_edit_init(&e, &s);
	err = ss_edit_header(&e, SS_HEADER_ADD, 0, SM_STR("X"), SM_STR("y"), false);
	assert_int_equal(err, 0);
	assert_int_equal(ss_edit_sender(&e, SM_STR("x@y"), SM_STR_NONE), 0);
	for (size_t n = 0; trouble == 0 && n < bytes; n += sizeof(line) - 1)
		trouble = ss_edit_body(&e, line, sizeof(line) - 1);
	err = trouble != 0 ? trouble : ss_edit_apply(&e, &ours);
	ss_edit_fini(&e);
	return err;
}

/* Whatever fails, and wherever it is: it is said, the envelope is as it was, and of the content
 * nothing is left, neither name nor descriptor. */
IN_COROUTINE(t_bad_disk)
{
	const size_t bodies[] = {0, 300000};
	char fault[64];

	for (size_t i = 0; i < SM_ARRAY_SIZE(points) * SM_ARRAY_SIZE(bodies); i++) {
		const struct point *p = &points[i / 2];
		unsigned n = 0;
		bool struck;

		do {
			int fds = t_count_fds(), err;

			begin_message(1, OURS "A: 1\r\n\r\n");
			assert_int_equal(t_append_body(s.txn.content, BIG, 10000), 0);
			snprintf(fault, sizeof(fault), "%s=%s@%u", p->name, p->what, ++n);
			assert_int_equal(sm_fault_arm(fault), 0);
			err = change_all(bodies[i % 2]);
			struck = sm_fault_passes(p->name) >= n;
			assert_int_equal(sm_fault_arm(""), 0);
			assert_int_equal(err, struck ? p->rc : 0);
			if (struck)
				assert_string_equal(s.txn.sender.p, "a@src.test");
			ss_txn_reset(&s, false);
			sm_arena_fini(&s.txn.arena);
			assert_false(t_exists(s.txn.id));
			assert_int_equal(t_count_fds(), fds);
		} while (struck);
		/* There were such calls: of an own body, more of them. */
		assert_true(n > 1);
	}
}
#endif

static int begin(void **state)
{
	sm_log_level(0);
	return t_cdb_begin(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_fields),
	    cmocka_unit_test(t_field_too_long),
	    cmocka_unit_test(t_one_field),
	    TEST(t_rewrite),
	    TEST(t_line_ends),
	    TEST(t_utf8),
	    TEST(t_envelope),
	    TEST(t_refused),
	    TEST(t_all_or_nothing),
#ifdef SM_TESTING
	    TEST(t_bad_disk),
#endif
	};

	return cmocka_run_group_tests(tests, begin, t_cdb_end);
}
