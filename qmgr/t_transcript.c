/* Which mail a transcript is wanted of, and how much is kept how long. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "qmgr/transcript.h"

static struct qm_transcripts T;

static void begin(size_t max_bytes)
{
	qm_transcripts_init(&T);
	T.max_bytes = max_bytes;
	T.keep_s = 100;
}

static uint64_t on(const char *condition, int64_t now_s, int64_t until_s)
{
	struct sm_str s = sm_str(condition);
	struct qm_filter *f;
	uint64_t number = 0;

	assert_int_equal(qm_filter_new(&s, 1, now_s, &f), 0);
	assert_int_equal(qm_transcripts_on(&T, f, s, 7, now_s, until_s, &number), 0);
	return number;
}

static uint64_t wanted(const char *sender, const char *local, const char *domain, int64_t now_s)
{
	struct qm_view_rcpt r = {.local = sm_str(local), .domain = sm_str(domain)};
	const struct qm_view v = {
	    .id = {5, 1}, .sender = sm_str(sender), .received_s = 10, .rcpt_count = 1, .rcpts = &r};
	const struct qm_wish *w = qm_transcripts_wanted(&T, &v, now_s);

	return w != NULL ? w->number : 0;
}

static void test_wishes(void **state)
{
	uint64_t a, b, c;
	(void)state;

	begin(1000);
	assert_int_equal(wanted("s@a", "x", "b.example", 10), 0);
	a = on("domain=b.example", 10, 50);
	b = on("sender=boss@*", 10, 60);
	assert_int_equal(wanted("s@a", "x", "b.example", 20), a);
	assert_int_equal(wanted("boss@a", "x", "c.example", 20), b);
	assert_int_equal(wanted("s@a", "x", "c.example", 20), 0);
	/* Each has its time. */
	assert_int_equal(wanted("boss@a", "x", "b.example", 50), b);
	assert_int_equal(wanted("boss@a", "x", "b.example", 60), 0);
	assert_int_equal(qm_transcripts_prune(&T, 50), 60);
	assert_int_equal(T.wish_count, 1);
	/* An age grows while the wish lasts. */
	c = on("age>1m", 10, 1000);
	assert_int_equal(wanted("s@a", "x", "c.example", 60), 0);
	assert_int_equal(wanted("s@a", "x", "c.example", 71), c);
	assert_int_equal(qm_transcripts_off(&T, a), 0);
	assert_int_equal(qm_transcripts_off(&T, c), 1);
	assert_int_equal(qm_transcripts_off(&T, 0), 1);
	qm_transcripts_fini(&T);
}

static void test_too_many(void **state)
{
	struct sm_str s = SM_STR("sender=a");
	struct qm_filter *f;
	uint64_t number;
	(void)state;

	begin(1000);
	for (int i = 0; i < QM_WISHES_MAX; i++)
		(void)on("sender=a", 0, 10);
	assert_int_equal(qm_filter_new(&s, 1, 0, &f), 0);
	assert_int_equal(qm_transcripts_on(&T, f, s, 7, 0, 10, &number), SM_E_TOOBIG);
	qm_filter_free(&f);
	assert_int_equal(qm_transcripts_prune(&T, 10), INT64_MAX);
	assert_int_equal(T.wish_count, 0);
	qm_transcripts_fini(&T);
}

static void put(uint64_t counter, const char *indexes, const char *body, int64_t now_s)
{
	struct qm_said_rcpt rcpts[10];
	char addrs[10][12];
	uint32_t n = 0;

	for (; *indexes; indexes++, n++) {
		(void)snprintf(addrs[n], sizeof(addrs[n]), "r%c@b", *indexes);
		rcpts[n] = (struct qm_said_rcpt){(uint16_t)(*indexes - '0'), sm_str(addrs[n])};
	}
	qm_transcripts_put(&T, (struct sm_id){counter, 1}, rcpts, n, sm_str(body), now_s);
}

/* Of each: recipients and body. */
static void expect(uint64_t counter, const char *want)
{
	char got[200] = "";
	size_t at = 0;

	for (const struct qm_said *s = NULL;
	     (s = qm_transcripts_next(&T, (struct sm_id){counter, 1}, s)) != NULL;) {
		for (uint32_t i = 0; i < s->rcpt_count; i++)
			at += (size_t)snprintf(got + at, sizeof(got) - at, SM_STR_FMT " ",
			                       SM_STR_ARG(s->rcpts[i].addr));
		at += (size_t)snprintf(got + at, sizeof(got) - at, SM_STR_FMT ";",
		                       SM_STR_ARG(s->body));
	}
	assert_string_equal(got, want);
}

static void test_newest(void **state)
{
	(void)state;

	begin(10000);
	put(1, "012", "first", 10);
	put(2, "0", "other", 11);
	expect(1, "r0@b r1@b r2@b first;");
	put(1, "1", "second", 12);
	expect(1, "r0@b r2@b first;r1@b second;");
	put(1, "02", "third", 13);
	expect(1, "r1@b second;r0@b r2@b third;");
	expect(2, "r0@b other;");
	/* Each goes when it is too old, the mail being over or not. */
	assert_int_equal(qm_transcripts_prune(&T, 111), 112);
	expect(2, "");
	assert_int_equal(qm_transcripts_prune(&T, 112), 113);
	expect(1, "r0@b r2@b third;");
	qm_transcripts_fini(&T);
	assert_int_equal(T.bytes + T.count, 0);
}

static void test_memory(void **state)
{
	static char body[401];
	(void)state;

	memset(body, 'x', sizeof(body) - 1);
	begin(2000);
	for (uint64_t i = 1; i <= 50; i++) {
		put(i, "0", body, 10);
		assert_true(T.bytes <= 2000);
	}
	assert_in_range(T.count, 3, 4);
	expect(1, "");
	/* One that is too large alone, and no memory at all. */
	T.max_bytes = 300;
	put(60, "0", body, 10);
	assert_int_equal(T.bytes + T.count, 0);
	T.max_bytes = 0;
	put(61, "0", "", 10);
	assert_int_equal(T.bytes + T.count, 0);
	qm_transcripts_fini(&T);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_wishes),
	    cmocka_unit_test(test_too_many),
	    cmocka_unit_test(test_newest),
	    cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
