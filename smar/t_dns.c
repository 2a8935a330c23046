/* Asking and remembering: against a server that fails in all the ways it can, while other questions
 * go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/t_patience.h"
#include "smar/conf.h"
#include "smar/dns.h"
#include "smar/dns_cache.h"
#include "smar/t_dns_run.h"

/* A question that nobody answers takes TIMEOUT_MS. */
enum { TIMEOUT_MS = 2000 };

static void run(const struct t_dns_row *rows, size_t max_entries, size_t max_queries,
                void (*fn)(void))
{
	t_dns_run(rows, &(struct ar_cache_conf){max_entries, max_queries}, TIMEOUT_MS, fn);
}

static struct ar_answer *ask(const char *name, uint16_t type)
{
	return ar_cache_wait(sm_str(name), type, sm_now_ms() + T_PATIENCE_MS);
}

static void assert_status(const char *name, uint16_t type, enum ar_dns_status status)
{
	struct ar_answer *a = ask(name, type);

	if (a->status != status)
		fail_msg("%s: %d (%s)", name, (int)a->status, a->why ? a->why : "");
	ar_answer_put(&a);
}

static const struct t_dns_row zone[] = {
    {"good.example", AR_DNS_A, 300, "192.0.2.1"},
    {"good.example", AR_DNS_MX, 300, "10 mx.good.example"},
    {"servfail.example", 0, 0, "SERVFAIL"},
    {"refused.example", 0, 0, "REFUSED"},
    {"formerr.example", 0, 0, "FORMERR"},
    {"drop.example", 0, 0, "DROP"},
    {"empty.example", 0, 0, "EMPTY"},
    {"short.example", 0, 0, "SHORT"},
    {"looping.example", 0, 0, "LOOPING"},
    {"many.example", 0, 0, "MANY"},
    {"mixed.example", 0, 0, "OTHER"},
    {"lame.example", 0, 0, "LAME"},
    {"notcp.example", 0, 0, "NOTCP"},
    {"tcp.example", AR_DNS_A, 0, "TCP"},
    {"tcp.example", AR_DNS_A, 300, "192.0.2.3"},
    {"alias.example", AR_DNS_CNAME, 300, "good.example"},
    {"far.example", AR_DNS_CNAME, 0, "far2.example"},
    {"far2.example", AR_DNS_CNAME, 0, "good.example"},
    {"circle.example", AR_DNS_CNAME, 0, "circle2.example"},
    {"circle2.example", AR_DNS_CNAME, 0, "circle.example"},
    {NULL, 0, 0, NULL},
};

static void body_good(void)
{
	struct ar_answer *a, *b;

	a = ask("good.example", AR_DNS_A);
	assert_int_equal(a->status, AR_DNS_OK);
	assert_int_equal(a->count, 1);
	assert_memory_equal(a->rr[0].addr, "\xc0\0\2\1", 4);
	assert_in_range(ar_answer_ttl_s(a), 298, 300);
	b = ask("good.example", AR_DNS_MX);
	assert_true(sm_str_eq(b->rr[0].name, SM_STR("mx.good.example")));
	ar_answer_put(&b);
	assert_int_equal(t_dnsd_asked(), 2);
	/* From memory, and shared. */
	b = ar_cache_get(SM_STR("good.example"), AR_DNS_A);
	assert_ptr_equal(a, b);
	ar_answer_put(&b);
	assert_null(b);
	ar_answer_put(&a);
	assert_int_equal(t_dnsd_asked(), 2);

	assert_status("good.example", AR_DNS_AAAA, AR_DNS_NODATA);
	assert_status("none.example", AR_DNS_A, AR_DNS_NXDOMAIN);
	assert_status("none.example", AR_DNS_A, AR_DNS_NXDOMAIN);
	assert_int_equal(t_dnsd_asked(), 4);
	assert_status("tcp.example", AR_DNS_A, AR_DNS_OK);
}

static void good(void **state SM_UNUSED)
{
	run(zone, 100, 100, body_good);
}

static void body_bad(void)
{
	static const char *const bad[] = {"servfail.example", "refused.example", "formerr.example",
	                                  "drop.example",     "empty.example",   "short.example",
	                                  "looping.example",  "many.example",    "mixed.example",
	                                  "lame.example",     "notcp.example"};
	struct ar_answer *a;
	unsigned asked;

	/* All at once, and a good one behind them, which has to wait for none of them. */
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		assert_null(ar_cache_get(sm_str(bad[i]), AR_DNS_A));
	assert_status("good.example", AR_DNS_A, AR_DNS_OK);
	assert_null(ar_cache_get(SM_STR("drop.example"), AR_DNS_A));
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		assert_status(bad[i], AR_DNS_A, AR_DNS_TEMP);
	/* A failure is remembered for a while. */
	asked = t_dnsd_asked();
	assert_status("servfail.example", AR_DNS_A, AR_DNS_TEMP);
	assert_int_equal(t_dnsd_asked(), asked);
	/* For nothing: whoever has less patience than the question goes on without it. */
	a = ar_cache_wait(SM_STR("drop.example"), AR_DNS_MX, sm_now_ms() + 10);
	assert_int_equal(a->status, AR_DNS_TEMP);
	ar_answer_put(&a);
}

static void bad(void **state SM_UNUSED)
{
	run(zone, 100, 100, body_bad);
}

static void body_aliases(void)
{
	struct ar_answer *a = ask("alias.example", AR_DNS_A);

	assert_int_equal(a->status, AR_DNS_OK);
	ar_answer_put(&a);
	/* Each end of the chain in an answer of its own. */
	a = ask("far.example", AR_DNS_A);
	assert_int_equal(a->status, AR_DNS_OK);
	assert_memory_equal(a->rr[0].addr, "\xc0\0\2\1", 4);
	ar_answer_put(&a);
	assert_status("circle.example", AR_DNS_A, AR_DNS_TEMP);
	assert_true(t_dnsd_asked() < 20);
}

static void aliases(void **state SM_UNUSED)
{
	run(zone, 100, 100, body_aliases);
}

/* The AD bit is asked for and kept, over all links of a chain; without EDNS too. */
static const struct t_dns_row secure_zone[] = {
    {"secure.example", 0, 0, "AD"},
    {"secure.example", AR_DNS_A, 300, "192.0.2.1"},
    {"plain.example", AR_DNS_A, 300, "192.0.2.2"},
    {"to-secure.example", 0, 0, "AD"},
    {"to-secure.example", AR_DNS_CNAME, 0, "secure.example"},
    {"half.example", 0, 0, "AD"},
    {"half.example", AR_DNS_CNAME, 0, "plain.example"},
    {"other-half.example", AR_DNS_CNAME, 0, "secure.example"},
    {"old.example", 0, 0, "OLD"},
    {"old.example", 0, 0, "AD"},
    {"old.example", AR_DNS_A, 300, "192.0.2.3"},
    {"old2.example", 0, 0, "OLD"},
    {"old2.example", AR_DNS_A, 300, "192.0.2.4"},
    {NULL, 0, 0, NULL},
};

static void assert_ad(const char *name, bool ad)
{
	struct ar_answer *a = ask(name, AR_DNS_A);

	assert_int_equal(a->status, AR_DNS_OK);
	if (a->ad != ad)
		fail_msg("%s: ad=%d", name, a->ad);
	ar_answer_put(&a);
}

static void body_validated(void)
{
	unsigned asked;

	assert_false(ar_cache_has(SM_STR("secure.example"), AR_DNS_A));
	assert_ad("secure.example", true);
	assert_true(ar_cache_has(SM_STR("secure.example"), AR_DNS_A));
	assert_ad("plain.example", false);
	assert_ad("to-secure.example", true);
	assert_ad("half.example", false);
	assert_ad("other-half.example", false);
	/* The first one is asked twice; from then on nobody is asked in the new way. */
	assert_ad("old.example", true);
	asked = t_dnsd_asked();
	assert_ad("old2.example", false);
	assert_int_equal(t_dnsd_asked(), asked + 1);
}

static void validated(void **state SM_UNUSED)
{
	run(secure_zone, 100, 100, body_validated);
}

static unsigned woken;

static void wait_too(void *arg SM_UNUSED)
{
	assert_status("good.example", AR_DNS_A, AR_DNS_OK);
	woken++;
}

static void body_once(void)
{
	woken = 0;
	for (int i = 0; i < 100; i++)
		assert_non_null(sm_co_spawn("waiter", wait_too, NULL));
	assert_status("good.example", AR_DNS_A, AR_DNS_OK);
	while (woken < 100)
		assert_int_equal(sm_co_sleep(sm_now_ms() + 5), 0);
	assert_int_equal(t_dnsd_asked(), 1);
}

static void once(void **state SM_UNUSED)
{
	run(zone, 100, 100, body_once);
}

static void body_bounds(void)
{
	struct ar_answer *a;
	char name[32];

	assert_status("good.example", AR_DNS_A, AR_DNS_OK);
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "n%d.example", i);
		assert_status(name, AR_DNS_A, AR_DNS_NXDOMAIN);
		/* What is used stays. */
		assert_status("good.example", AR_DNS_A, AR_DNS_OK);
		assert_true(ar_cache_stats().entries <= 10);
	}
	assert_int_equal(t_dnsd_asked(), 31);
	assert_status("n0.example", AR_DNS_A, AR_DNS_NXDOMAIN);
	assert_int_equal(t_dnsd_asked(), 32);

	/* At most so many questions at a time; the rest is told at once. */
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "x%d.example", i);
		assert_null(ar_cache_get(sm_str(name), AR_DNS_A));
	}
	a = ar_cache_get(SM_STR("x5.example"), AR_DNS_A);
	assert_non_null(a);
	assert_int_equal(a->status, AR_DNS_TEMP);
	ar_answer_put(&a);
	assert_status("x4.example", AR_DNS_A, AR_DNS_NXDOMAIN);
	assert_status("x5.example", AR_DNS_A, AR_DNS_NXDOMAIN);
	assert_int_equal(ar_cache_stats().queries, 0);
}

static void bounds(void **state SM_UNUSED)
{
	run(zone, 10, 5, body_bounds);
}

static char long_names[30][200];
static struct t_dns_row big_zone[31];

static void body_bytes(void)
{
	char name[32];

	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "n%d.example", i);
		for (int k = 0; k < 30; k++)
			big_zone[k].name = name;
		assert_status(name, AR_DNS_MX, AR_DNS_OK);
		/* An answer of 30 long names is more than 4 KiB: two or three of them fit. */
		assert_true(ar_cache_stats().bytes < (10 + 8) * 1024);
		assert_true(ar_cache_stats().entries < 5);
	}
}

/* Few but large answers are bounded as well. */
static void bytes(void **state SM_UNUSED)
{
	for (int k = 0; k < 30; k++) {
		snprintf(long_names[k], sizeof(long_names[k]), "10 m%d.%050d.%050d.example", k, 0,
		         0);
		big_zone[k] = (struct t_dns_row){"", AR_DNS_MX, 600, long_names[k]};
	}
	run(big_zone, 10, 5, body_bytes);
}

static void body_end_early(void)
{
	assert_null(ar_cache_get(SM_STR("drop.example"), AR_DNS_A));
	assert_null(ar_cache_get(SM_STR("good.example"), AR_DNS_A));
}

/* The end while questions are out. */
static void end_early(void **state SM_UNUSED)
{
	run(zone, 10, 5, body_end_early);
}

static void servers(void **state SM_UNUSED)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
	    {"10.0.0.1", "10.0.0.1:53"},  {"10.0.0.1:5353", "10.0.0.1:5353"},
	    {"::1", "[::1]:53"},          {"[::1]", "[::1]:53"},
	    {"[::1]:5353", "[::1]:5353"}, {"2001:db8::1:5", "[2001:db8::1:5]:53"},
	    {"10.0.0.1:0", NULL},         {"10.0.0.1:65536", NULL},
	    {"10.0.0.1:", NULL},          {"[::1]:x", NULL},
	    {"ns.example", NULL},         {"", NULL},
	    {"10.0.0.256", NULL},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		char text[SM_SA_TEXT];
		struct sm_sa sa;
		int rc = ar_conf_server(sm_str(cases[i].text), &sa);

		assert_int_equal(rc == 0, cases[i].want != NULL);
		if (rc == 0)
			assert_string_equal(sm_sa_text(&sa, text), cases[i].want);
	}
}

/* More than any socket's buffer holds, in one go. Whatever is lost is repeated after BURST_LOST_MS
 * only, which is not waited for. */
enum { BURST_COUNT = 3000, BURST_LOST_MS = 3 * 3600 * 1000 };

static void body_burst(void)
{
	char name[40];

	for (int i = 0; i < BURST_COUNT; i++) {
		snprintf(name, sizeof(name), "burst%d.example", i);
		assert_null(ar_cache_get(sm_str(name), AR_DNS_MX));
	}
	for (int i = 0; i < BURST_COUNT; i++) {
		snprintf(name, sizeof(name), "burst%d.example", i);
		assert_status(name, AR_DNS_MX, AR_DNS_NXDOMAIN);
	}
	assert_int_equal(t_dnsd_asked(), BURST_COUNT);
}

static void burst(void **state SM_UNUSED)
{
	t_dns_run(zone, &(struct ar_cache_conf){BURST_COUNT, BURST_COUNT}, BURST_LOST_MS,
	          body_burst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(validated), cmocka_unit_test(good),      cmocka_unit_test(bad),
	    cmocka_unit_test(aliases),   cmocka_unit_test(once),      cmocka_unit_test(bounds),
	    cmocka_unit_test(bytes),     cmocka_unit_test(end_early), cmocka_unit_test(servers),
	    cmocka_unit_test(burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
