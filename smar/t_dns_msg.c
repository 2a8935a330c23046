/* What is believed of a DNS answer, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/rand.h"
#include "smar/dns_msg.h"
#include "smar/t_dnsd.h"

static struct ar_dns_msg m;

/* The answer to name/type by these rows, parsed. */
static void ask(const struct t_dns_row *rows, const char *name, uint16_t type)
{
	struct sm_buf q, a;

	sm_buf_init(&q, 65535);
	sm_buf_init(&a, 65535);
	t_dnsd_question(name, type, &q);
	assert_true(t_dnsd_answer(rows, sm_buf_view(&q), true, &a));
	ar_dns_parse(sm_buf_view(&a), sm_str(name), type, &m);
	sm_buf_fini(&q);
	sm_buf_fini(&a);
}

static void records(void **state)
{
	static const struct t_dns_row rows[] = {
	    {"a.example", AR_DNS_A, 300, "192.0.2.1"},
	    {"a.example", AR_DNS_A, 100, "192.0.2.2"},
	    {"a.example", AR_DNS_MX, 300, "10 MX.Example"},
	    {"a.example", AR_DNS_MX, 300, "0 "},
	    {"six.example", AR_DNS_AAAA, 300, "2001:db8::1"},
	    {"1.2.0.192.in-addr.arpa", AR_DNS_PTR, 300, "host.example"},
	    {NULL, 0, 0, NULL},
	};

	(void)state;
	ask(rows, "a.example", AR_DNS_A);
	assert_int_equal(m.status, AR_DNS_OK);
	assert_int_equal(m.count, 2);
	assert_int_equal(m.ttl_s, 100);
	assert_memory_equal(m.rr[1].addr, "\xc0\0\2\2", 4);
	ask(rows, "a.example", AR_DNS_MX);
	assert_int_equal(m.count, 2);
	assert_int_equal(m.rr[0].pref, 10);
	assert_string_equal(m.rr[0].name, "mx.example");
	assert_string_equal(m.rr[1].name, "");
	ask(rows, "six.example", AR_DNS_AAAA);
	assert_memory_equal(m.rr[0].addr, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	ask(rows, "1.2.0.192.in-addr.arpa", AR_DNS_PTR);
	assert_string_equal(m.rr[0].name, "host.example");
	ask(rows, "a.example", AR_DNS_AAAA);
	assert_int_equal(m.status, AR_DNS_NODATA);
	ask(rows, "b.example", AR_DNS_A);
	assert_int_equal(m.status, AR_DNS_NXDOMAIN);
	assert_int_equal(m.ttl_s, AR_DNS_NEGATIVE);
}

static void ttls(void **state)
{
	static const struct t_dns_row rows[] = {
	    {"zero.example", AR_DNS_A, 0, "192.0.2.1"},
	    {"most.example", AR_DNS_A, 0x7FFFFFFF, "192.0.2.1"},
	    {"minus.example", AR_DNS_A, 0x80000001, "192.0.2.1"},
	    {"soa.example", AR_DNS_SOA, 5000, "600"},
	    {"short.example", AR_DNS_SOA, 5000, "1"},
	    {"long.example", AR_DNS_SOA, 100000, "100000"},
	    {NULL, 0, 0, NULL},
	};

	(void)state;
	ask(rows, "zero.example", AR_DNS_A);
	assert_int_equal(m.ttl_s, AR_DNS_TTL_MIN);
	ask(rows, "most.example", AR_DNS_A);
	assert_int_equal(m.ttl_s, AR_DNS_TTL_MAX);
	ask(rows, "minus.example", AR_DNS_A);
	assert_int_equal(m.ttl_s, AR_DNS_TTL_MIN);
	ask(rows, "soa.example", AR_DNS_A);
	assert_int_equal(m.status, AR_DNS_NODATA);
	assert_int_equal(m.ttl_s, 600);
	ask(rows, "short.example", AR_DNS_A);
	assert_int_equal(m.ttl_s, AR_DNS_TTL_MIN);
	ask(rows, "long.example", AR_DNS_A);
	assert_int_equal(m.ttl_s, AR_DNS_NEGATIVE_MAX);
}

static void cnames(void **state)
{
	static const struct t_dns_row rows[] = {
	    {"a.example", AR_DNS_CNAME, 70, "b.example"},
	    {"b.example", AR_DNS_CNAME, 300, "c.example"},
	    {"c.example", AR_DNS_A, 300, "192.0.2.1"},
	    {"open.example", AR_DNS_CNAME, 300, "elsewhere.example"},
	    {"l1.example", AR_DNS_CNAME, 300, "l2.example"},
	    {"l2.example", AR_DNS_CNAME, 300, "l2.example"},
	    {"bad.example", AR_DNS_CNAME, 300, "a\\010b.example"},
	    {NULL, 0, 0, NULL},
	};

	(void)state;
	ask(rows, "a.example", AR_DNS_A);
	assert_int_equal(m.status, AR_DNS_OK);
	assert_int_equal(m.count, 1);
	assert_int_equal(m.ttl_s, 70);
	ask(rows, "open.example", AR_DNS_A);
	assert_int_equal(m.status, AR_DNS_ALIAS);
	assert_string_equal(m.alias, "elsewhere.example");
	ask(rows, "l1.example", AR_DNS_A);
	assert_int_equal(m.status, AR_DNS_TEMP);
	ask(rows, "bad.example", AR_DNS_A);
	assert_int_equal(m.status, AR_DNS_TEMP);
}

/* Malformed records are passed over; if nothing else is there, it is no permanent answer. */
static void bad_records(void **state)
{
	static const char *const bad_mx[] = {
	    "#",
	    "#00",
	    "#000a",         /* no name */
	    "#000a0161",     /* not ended */
	    "#000a016100ff", /* a byte behind */
	    "#000ac0ff",     /* pointer behind the end */
	    "10 a\\010b.example",
	    "10 a\\000b.example",
	    "10 a\\034b.example",
	    "10 a b.example",
	    "10 a\\255b.example",
	    "10 %s.exam/../ple",
	    "10 192.0.2.1",
	    "10 -a.example",
	};
	struct t_dns_row rows[] = {
	    {"a.example", AR_DNS_MX, 300, NULL}, {NULL, 0, 0, NULL}, {NULL, 0, 0, NULL}};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad_mx); i++) {
		rows[0].data = bad_mx[i];
		rows[1].name = NULL;
		ask(rows, "a.example", AR_DNS_MX);
		assert_int_equal(m.status, AR_DNS_TEMP);
		assert_int_equal(m.count, 0);
		rows[1] = (struct t_dns_row){"a.example", AR_DNS_MX, 300, "20 good.example"};
		ask(rows, "a.example", AR_DNS_MX);
		assert_int_equal(m.status, AR_DNS_OK);
		assert_int_equal(m.count, 1);
		assert_string_equal(m.rr[0].name, "good.example");
	}
	rows[1].name = NULL;
	rows[0] = (struct t_dns_row){"a.example", AR_DNS_A, 300, "#010203"};
	ask(rows, "a.example", AR_DNS_A);
	assert_int_equal(m.status, AR_DNS_TEMP);
	rows[0] =
	    (struct t_dns_row){"a.example", AR_DNS_AAAA, 300, "#000102030405060708090a0b0c0d0e"};
	ask(rows, "a.example", AR_DNS_AAAA);
	assert_int_equal(m.status, AR_DNS_TEMP);
	rows[0] = (struct t_dns_row){"a.example", AR_DNS_PTR, 300, ""};
	ask(rows, "a.example", AR_DNS_PTR);
	assert_int_equal(m.status, AR_DNS_TEMP);
}

/* Of more exchangers than are kept, the best are kept. */
static void many(void **state)
{
	static char data[300][32];
	struct t_dns_row rows[301] = {{0}};

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		snprintf(data[i], sizeof(data[i]), "%u m%u.example", (i * 7919) % 300, i);
		rows[i] = (struct t_dns_row){"a.example", AR_DNS_MX, 300, data[i]};
	}
	ask(rows, "a.example", AR_DNS_MX);
	assert_int_equal(m.status, AR_DNS_OK);
	assert_int_equal(m.count, AR_DNS_RR_MAX);
	for (size_t i = 0; i < m.count; i++)
		assert_true(m.rr[i].pref < AR_DNS_RR_MAX);
}

static void words(void **state)
{
	static const char *const temp[] = {"SERVFAIL", "REFUSED", "FORMERR", "SHORT",
	                                   "LOOPING",  "MANY",    "LAME",    "OTHER"};
	struct t_dns_row rows[] = {{"a.example", 0, 0, NULL}, {NULL, 0, 0, NULL}};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(temp); i++) {
		rows[0].data = temp[i];
		ask(rows, "a.example", AR_DNS_A);
		assert_int_equal(m.status, AR_DNS_TEMP);
		assert_non_null(m.why);
	}
}

/* Cut anywhere, a good answer is never another good answer; with any byte changed it is at least
 * safe. */
static void mutilated(void **state)
{
	static const struct t_dns_row rows[] = {
	    {"a.example", AR_DNS_CNAME, 70, "b.example"},
	    {"b.example", AR_DNS_MX, 300, "10 mx.example"},
	    {"b.example", AR_DNS_MX, 300, "20 mx2.example"},
	    {NULL, 0, 0, NULL},
	};
	struct sm_buf q, a;

	(void)state;
	sm_buf_init(&q, 65535);
	sm_buf_init(&a, 65535);
	t_dnsd_question("a.example", AR_DNS_MX, &q);
	assert_true(t_dnsd_answer(rows, sm_buf_view(&q), true, &a));
	ar_dns_parse(sm_buf_view(&a), SM_STR("a.example"), AR_DNS_MX, &m);
	assert_int_equal(m.count, 2);
	for (size_t n = 0; n < a.len; n++) {
		/* A copy of its exact size, for those who look on. */
		char *copy = sm_malloc(n + 1);

		memcpy(copy, sm_buf_p(&a), n);
		ar_dns_parse(sm_str_n(copy, n), SM_STR("a.example"), AR_DNS_MX, &m);
		assert_int_equal(m.status, AR_DNS_TEMP);
		sm_free(copy);
	}
	sm_rand_seed(5);
	for (int i = 0; i < 20000; i++) {
		char *copy = sm_malloc(a.len);

		memcpy(copy, sm_buf_p(&a), a.len);
		for (int k = 0; k < 4; k++)
			copy[sm_rand_below(a.len)] = (char)sm_rand_u64();
		ar_dns_parse(sm_str_n(copy, a.len), SM_STR("a.example"), AR_DNS_MX, &m);
		sm_free(copy);
	}
	sm_buf_fini(&q);
	sm_buf_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records),     cmocka_unit_test(ttls), cmocka_unit_test(cnames),
	    cmocka_unit_test(bad_records), cmocka_unit_test(many), cmocka_unit_test(words),
	    cmocka_unit_test(mutilated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
