/* Conditions: what they match, what they complain about, and strings that change their numbers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/err.h"
#include "qmgr/filter.h"

#define NOW 1000000

static struct qm_view_rcpt rcpts[] = {
    {.local = SM_STR("Anna.B"),
     .domain = SM_STR("example.org"),
     .host = SM_STR("mx1.example.org"),
     .reason = SM_STR("450 4.2.2 Mailbox is full, sorry"),
     .index = 0,
     .tries = 3,
     .code = 450,
     .state = QM_VIEW_DEFERRED},
    {.local = SM_STR("carl"),
     .domain = SM_STR("deep.sub.example.org"),
     .reason = SM_STR("connection refused"),
     .index = 1,
     .tries = 7,
     .state = QM_VIEW_HELD},
    {.local = SM_STR("postmaster"),
     .host = SM_STR("[192.0.2.1]"),
     .index = 4,
     .state = QM_VIEW_ACTIVE},
};
static const struct qm_view view = {.id = {0x6B00E62C10001, 2},
                                    .sender = SM_STR("News@Letter.example"),
                                    .size = 64 * 1024,
                                    .received_s = NOW - 7200,
                                    .next_try_s = NOW + 600,
                                    .rcpt_count = SM_ARRAY_SIZE(rcpts),
                                    .rcpts = rcpts};

static struct qm_filter *make(const char *const *conditions, size_t n)
{
	struct sm_str v[8];
	struct qm_filter *f;

	for (size_t i = 0; i < n; i++)
		v[i] = sm_str(conditions[i]);
	if (qm_filter_new(v, n, NOW, &f) != 0)
		fail_msg("%s", sm_diag());
	return f;
}

/* The recipients that match, as bits of their places. */
static unsigned matched(const struct qm_view *v, const char *const *conditions, size_t n)
{
	struct qm_filter *f = make(conditions, n);
	uint32_t which[8];
	unsigned count = qm_filter_match(f, v, which), bits = 0;

	for (unsigned i = 0; i < count; i++)
		bits |= 1u << which[i];
	assert_int_equal(qm_filter_match(f, v, NULL), count);
	qm_filter_free(&f);
	assert_null(f);
	return bits;
}

static void conditions(void **state)
{
	static const struct {
		const char *c;
		unsigned want;
	} cases[] = {
	    /* ids */
	    {"id=S0006B00E62C1000102", 7},
	    {"id=S0006B00E62C1000101", 0},
	    {"id=S0006B00E62C1000101,S0006B00E62C1000102,S000000000000000100", 7},
	    {"!id=S0006B00E62C1000102", 0},
	    /* globs over whole values, by case of nobody */
	    {"sender=news@letter.example", 7},
	    {"sender=<NEWS@letter.example>", 7},
	    {"sender=news", 0},
	    {"sender=NEWS*", 7},
	    {"sender=news*", 7},
	    {"sender=*@letter.example", 7},
	    {"sender=*ette*", 7},
	    {"sender=*etten*", 0},
	    {"sender=?ews@*.ex?mple", 7},
	    {"sender=?news@*", 0},
	    {"sender=*", 7},
	    {"sender=a*a*a*a*b,**e", 7},
	    {"sender=<>", 0},
	    {"!sender=<>", 7},
	    {"sender=x,y,news*", 7},
	    {"SENDER=news*", 7},
	    /* recipients */
	    {"rcpt=anna.b@example.org", 1},
	    {"rcpt=<anna.b@example.org>", 1},
	    {"rcpt=*@*.org", 3},
	    {"rcpt=postmaster", 4},
	    {"rcpt=*@*", 3},
	    {"!rcpt=*@*", 4},
	    {"domain=example.org", 1},
	    {"domain=EXAMPLE.org", 1},
	    {"domain=.example.org", 2},
	    {"domain=.sub.example.org", 2},
	    {"domain=.ample.org", 0},
	    {"domain=.b.example.org", 0},
	    {"domain=*.org", 3},
	    {"dest=example.org", 1},
	    {"dest=mx1.example.org", 1},
	    {"dest=sub.example.org,mx1.example.org", 1},
	    {"dest=.example.org", 3},
	    {"dest=192.0.2.1", 4},
	    {"host=192.0.2.1", 4},
	    {"host=[192.0.2.1]", 4},
	    {"dest=2001:db8::1", 0},
	    {"!dest=*.org", 4},
	    {"domain=example.org,.example.org", 3},
	    {"!domain=example.org", 6},
	    {"host=mx1.*", 1},
	    {"host=mx1", 0},
	    {"!host=*", 0},
	    {"reason=mailbox is full", 1},
	    {"reason=4.2.2", 1},
	    {"reason=450*sorry", 1},
	    {"reason=refused", 2},
	    {"reason=fused*con", 0},
	    {"!reason=full", 6},
	    {"tries>=3", 3},
	    {"tries>3", 2},
	    {"tries<3", 4},
	    {"tries<=3", 5},
	    {"tries=3", 1},
	    {"tries=0,7", 6},
	    {"!tries=0,7", 1},
	    {"state=deferred", 1},
	    {"state=held,Active", 6},
	    {"!state=held", 5},
	    {"state=failed", 0},
	    /* of the mail */
	    {"age>1h", 7},
	    {"age>2h", 0},
	    {"age>=2h", 7},
	    {"age<=7200", 7},
	    {"age<120m", 0},
	    {"age<1D", 7},
	    {"age<1w", 7},
	    {"size>63K", 7},
	    {"size>64k", 0},
	    {"size<1M", 7},
	    {"size<1G", 7},
	    {"size>65535", 7},
	    {"next<10m", 0},
	    {"next<=10m", 7},
	    {"next<601s", 7},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++)
		if (matched(&view, &cases[i].c, 1) != cases[i].want)
			fail_msg("%s: %u, not %u", cases[i].c, matched(&view, &cases[i].c, 1),
			         cases[i].want);
}

static void all_must_hold(void **state)
{
	static const char *const both[] = {"domain=*.org", "tries>=7", "age>1h"};
	static const char *const none[] = {"domain=*.org", "age>3h"};
	static const char *const apart[] = {"state=held", "reason=full"};

	(void)state;
	assert_int_equal(matched(&view, both, 3), 2);
	assert_int_equal(matched(&view, none, 2), 0);
	assert_int_equal(matched(&view, apart, 2), 0); /* never on the same recipient */
	assert_int_equal(matched(&view, NULL, 0), 7);
}

static void null_sender_and_never(void **state)
{
	struct qm_view v = view;
	static const char *const null[] = {"sender=<>"}, *const soon[] = {"next<52w"},
				 *const later[] = {"next>52w"}, *const any[] = {"sender=*"};

	(void)state;
	v.sender = SM_STR("");
	v.next_try_s = QM_EDBC_NEVER;
	assert_int_equal(matched(&v, null, 1), 7);
	assert_int_equal(matched(&v, any, 1), 7);
	assert_int_equal(matched(&v, soon, 1), 0);
	assert_int_equal(matched(&v, later, 1), 7);
	v.next_try_s = 0;
	assert_int_equal(matched(&v, soon, 1), 7);
	v.received_s = NOW + 100; /* the clock was set back */
	assert_int_equal(matched(&v, (const char *const[]){"age<1s"}, 1), 7);
	v.rcpt_count = 0;
	assert_int_equal(matched(&v, any, 1), 0);
}

static void complaints(void **state)
{
	static const struct {
		const char *c, *diag;
	} cases[] = {
	    {"", "\"\": a condition is key=value, as domain=example.org"},
	    {"!", "\"!\": a condition is key=value, as domain=example.org"},
	    {"=x", "\"=x\": a condition is key=value, as domain=example.org"},
	    {"colour=red", "colour=red: there is no \"colour\"; conditions are on id, sender, age, "
	                   "size, next, rcpt, domain, host, dest, reason, tries, state"},
	    {"sender", "sender: after sender comes ="},
	    {"sender~x", "sender~x: after sender comes ="},
	    {"sender!=x", "sender!=x: for \"not\" put ! before it: !sender=..."},
	    {"sender>x", "sender>x: after sender comes ="},
	    {"age=2h", "age=2h: after age comes one of < <= > >="},
	    {"tries", "tries: after tries comes one of = < <= > >="},
	    {"sender=", "sender=: a value is missing; sender takes an address, with * and ?"},
	    {"sender=a,,b",
	     "sender=a,,b: a value is missing; sender takes an address, with * and ?"},
	    {"age>2x", "age>2x: \"2x\" is not right; age takes a time: 30s, 15m, 2h, 3d, 1w"},
	    {"age>", "age>: a value is missing; age takes a time: 30s, 15m, 2h, 3d, 1w"},
	    {"age>h", "age>h: \"h\" is not right; age takes a time: 30s, 15m, 2h, 3d, 1w"},
	    {"age>1,2", "age>1,2: one value, not several"},
	    {"age>99999999999999999999",
	     "age>99999999999999999999: \"99999999999999999999\" is not "
	     "right; age takes a time: 30s, 15m, 2h, 3d, 1w"},
	    {"size>1T", "size>1T: \"1T\" is not right; size takes a size: 2000, 64K, 10M, 1G"},
	    {"size>-1", "size>-1: \"-1\" is not right; size takes a size: 2000, 64K, 10M, 1G"},
	    {"tries>many", "tries>many: \"many\" is not right; tries takes a number"},
	    {"state=sleeping", "state=sleeping: \"sleeping\" is not right; state takes active, "
	                       "deferred, held, failed, delivered, queued or on_demand"},
	    {"id=S12",
	     "id=S12: \"S12\" is not right; id takes a transaction id (S and 18 hex digits)"},
	    {"host=", "host=: a value is missing; host takes a host name, with * and ?"},
	    {"age>\x1b[31m",
	     "age>?[31m: \"?[31m\" is not right; age takes a time: 30s, 15m, 2h, 3d, 1w"},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct sm_str s[] = {SM_STR("tries>1"), sm_str(cases[i].c)};
		struct qm_filter *f = (struct qm_filter *)(uintptr_t)1;

		assert_int_equal(qm_filter_new(s, 2, NOW, &f), SM_E_SYNTAX);
		assert_null(f);
		assert_string_equal(sm_diag(), cases[i].diag);
	}
}

static void too_much(void **state)
{
	enum { BIG = 600 * 1024 };
	struct sm_str many[100], one;
	struct qm_filter *f;
	char *p = sm_malloc(BIG);

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(many); i++)
		many[i] = SM_STR("tries>1");
	assert_int_equal(qm_filter_new(many, SM_ARRAY_SIZE(many), NOW, &f), SM_E_TOOBIG);
	memset(p, ',', BIG);
	memcpy(p, "sender=", 7);
	one = sm_str_n(p, BIG);
	assert_int_equal(qm_filter_new(&one, 1, NOW, &f), SM_E_TOOBIG);
	for (size_t i = 7; i < 5000; i += 2)
		p[i] = 'a';
	one = sm_str_n(p, 5000);
	assert_int_equal(qm_filter_new(&one, 1, NOW, &f), SM_E_TOOBIG);
	assert_non_null(strstr(sm_diag(), "more than 1000 values"));
	sm_free(p);
}

static void what_it_says_of_itself(void **state)
{
	static const char *const whole[] = {"age>1h", "sender=*", "!id=S000000000000000100"};
	static const char *const rcpt[] = {"age>1h", "host=*"};
	static const char *const ids[] = {"size>1", "id=S000000000000000200,S000000000000000100"};
	struct qm_filter *f;
	const struct sm_id *v;
	size_t n;

	(void)state;
	f = make(whole, 3);
	assert_true(qm_filter_whole(f) && !qm_filter_empty(f));
	assert_null(qm_filter_ids(f, &n));
	assert_int_equal(n, 0);
	qm_filter_free(&f);
	f = make(rcpt, 2);
	assert_false(qm_filter_whole(f));
	qm_filter_free(&f);
	f = make(NULL, 0);
	assert_true(qm_filter_whole(f) && qm_filter_empty(f));
	qm_filter_free(&f);
	f = make(ids, 2);
	v = qm_filter_ids(f, &n);
	assert_int_equal(n, 2);
	assert_int_equal(v[0].counter, 1);
	assert_int_equal(v[1].counter, 2);
	qm_filter_free(&f);
	qm_filter_free(&f);
}

/* ---- strings of the index ---- */

static void put(struct qm_edbc *e, uint64_t counter, const char *sender, const char *rcpt)
{
	struct qm_rec_rcpt r = {.addr = sm_str(rcpt), .code = 450, .text = SM_STR("later")};
	struct qm_rec_txn rec = {
	    .ta = {counter, 1}, .sender = sm_str(sender), .rcpts = &r, .rcpts_count = 1};

	qm_edbc_put_rec(e, &rec, (struct qm_loc){1, 1, 1});
}

static unsigned match_entry(struct qm_filter *f, const struct qm_edbc *e, uint64_t counter,
                            struct qm_view *v, struct sm_arena *a)
{
	sm_arena_reset(a);
	qm_view_of_entry(e, qm_edbc_find(e, (struct sm_id){counter, 1}), a, v);
	return qm_filter_match(f, v, NULL);
}

/* Between two looks of a filter a string goes, and another one gets its number. */
static void reused_numbers(void **state)
{
	static const struct {
		const char *condition, *sender[2], *rcpt[2];
	} cases[] = {
	    {"sender=good*", {"good@x", "ugly@x"}, {"a@same.example", "a@same.example"}},
	    {"sender=ugly*", {"good@x", "ugly@x"}, {"a@same.example", "a@same.example"}},
	    {"domain=good.*", {"same@x", "same@x"}, {"a@good.example", "a@ugly.example"}},
	    {"!domain=good.*", {"same@x", "same@x"}, {"a@good.example", "a@ugly.example"}},
	};
	struct sm_arena a;

	(void)state;
	sm_arena_init(&a, "test", 1024, 1024 * 1024);
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct qm_edbc *e = qm_edbc_new();
		struct qm_filter *f = make(&cases[i].condition, 1);
		struct qm_view v;
		uint32_t was[2] = {0};

		put(e, 100, "same@x", "a@same.example"); /* keeps what they share */
		for (unsigned round = 0; round < 6; round++) {
			unsigned k = round % 2;

			put(e, 1, cases[i].sender[k], cases[i].rcpt[k]);
			assert_int_equal(match_entry(f, e, 1, &v, &a), k == i % 2);
			/* It is what is tested: the numbers are the same ones. */
			assert_true(round == 0 || (v.sender_atom.number == was[0] &&
			                           v.rcpts[0].domain_atom.number == was[1]));
			was[0] = v.sender_atom.number;
			was[1] = v.rcpts[0].domain_atom.number;
			qm_edbc_remove(e, (struct sm_id){1, 1});
		}
		qm_filter_free(&f);
		qm_edbc_free(&e);
	}
	sm_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(conditions),     cmocka_unit_test(all_must_hold),
	    cmocka_unit_test(complaints),     cmocka_unit_test(null_sender_and_never),
	    cmocka_unit_test(too_much),       cmocka_unit_test(what_it_says_of_itself),
	    cmocka_unit_test(reused_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
