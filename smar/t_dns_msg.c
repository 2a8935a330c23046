/* What is believed of a DNS answer, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
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
	assert_false(ar_dns_is_formerr(SM_STR(""))); /* also such datagrams come */
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

/* RFC 2317: the names of a part of a net, of which the zone has a slash in its name. */
static void parts_of_nets(void **state)
{
	static const struct t_dns_row rows[] = {
	    {"1.2.0.192.in-addr.arpa", AR_DNS_CNAME, 300, "1.0/25.2.0.192.in-addr.arpa"},
	    {"1.0/25.2.0.192.in-addr.arpa", AR_DNS_PTR, 300, "host.example"},
	    {"2.2.0.192.in-addr.arpa", AR_DNS_CNAME, 300, "2.0/25.2.0.192.in-addr.arpa"},
	    {"3.2.0.192.in-addr.arpa", AR_DNS_CNAME, 300, "3.0/25.2.0.192.in-addr.arpa"},
	    {"3.0/25.2.0.192.in-addr.arpa", AR_DNS_PTR, 300, "no/host.example"},
	    {"4.2.0.192.in-addr.arpa", AR_DNS_CNAME, 300, "-4/25.2.0.192.in-addr.arpa"},
	    {NULL, 0, 0, NULL},
	};

	(void)state;
	ask(rows, "1.2.0.192.in-addr.arpa", AR_DNS_PTR);
	assert_int_equal(m.status, AR_DNS_OK);
	assert_int_equal(m.count, 1);
	assert_string_equal(m.rr[0].name, "host.example");
	ask(rows, "2.2.0.192.in-addr.arpa", AR_DNS_PTR);
	assert_int_equal(m.status, AR_DNS_ALIAS);
	assert_string_equal(m.alias, "2.0/25.2.0.192.in-addr.arpa");
	ask(rows, "3.2.0.192.in-addr.arpa", AR_DNS_PTR);
	assert_int_equal(m.status, AR_DNS_TEMP);
	ask(rows, "4.2.0.192.in-addr.arpa", AR_DNS_PTR);
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

/* ---- bytes by hand ---- */

static struct sm_buf by_hand;

static void put(const char *p, size_t n)
{
	sm_buf_append(&by_hand, p, n);
}

static void put16(unsigned v)
{
	put((char[]){(char)(v >> 8), (char)v}, 2);
}

/* Header and question for a.example/type, which ends at 27. */
static void start(uint16_t type, unsigned answers)
{
	sm_buf_reset(&by_hand);
	t_dnsd_question("a.example", type, &by_hand);
	memcpy(sm_buf_p(&by_hand) + 2, "\x81\x80", 2);
	sm_buf_p(&by_hand)[6] = (char)(answers >> 8);
	sm_buf_p(&by_hand)[7] = (char)answers;
}

/* A record of a.example whose data follows. */
static void record(uint16_t type, size_t len)
{
	put16(0xC00C);
	put16(type);
	put16(1);
	put16(0);
	put16(60);
	put16((unsigned)len);
}

static void parse(uint16_t type)
{
	/* Of its exact size, for those who look on. */
	char *copy = sm_malloc(by_hand.len + 1);

	memcpy(copy, sm_buf_p(&by_hand), by_hand.len);
	ar_dns_parse(sm_str_n(copy, by_hand.len), SM_STR("a.example"), type, &m);
	sm_free(copy);
}

/* A chain of pointers, each to the one before, that ends at a good name. */
static void chain(unsigned pointers)
{
	size_t at;

	start(AR_DNS_MX, 2);
	record(0xFF00, 2 * pointers);
	put16(0xC00C);
	for (unsigned i = 1; i < pointers; i++)
		put16((unsigned)(0xC000 | (by_hand.len - 2)));
	at = by_hand.len - 2;
	record(AR_DNS_MX, 4);
	put16(10);
	put16((unsigned)(0xC000 | at));
	parse(AR_DNS_MX);
}

static void pointers(void **state)
{
	(void)state;
	sm_buf_init(&by_hand, 65535);
	chain(10);
	assert_int_equal(m.status, AR_DNS_OK);
	assert_string_equal(m.rr[0].name, "a.example");
	chain(126);
	assert_int_equal(m.status, AR_DNS_TEMP);
	/* As many as can be reached: an offset has 14 bits. */
	chain(8000);
	assert_int_equal(m.status, AR_DNS_TEMP);
	for (int to = -1; to <= 3; to++) { /* before it is allowed; itself and forward are not */
		start(AR_DNS_MX, 1);
		record(AR_DNS_MX, 6);
		put16(10);
		put16((unsigned)(0xC000 | ((int)by_hand.len + to)));
		put16(0);
		parse(AR_DNS_MX);
		assert_int_equal(m.status, AR_DNS_TEMP);
	}
	sm_buf_fini(&by_hand);
}

static void lengths(void **state)
{
	static const size_t labels[] = {62, 63, 64};

	(void)state;
	sm_buf_init(&by_hand, 65535);
	for (size_t i = 0; i < SM_ARRAY_SIZE(labels); i++) {
		size_t n = labels[i];

		start(AR_DNS_MX, 1);
		record(AR_DNS_MX, 2 + 1 + n + 1);
		put16(10);
		put((char[]){(char)n}, 1);
		for (size_t k = 0; k < n; k++)
			put("a", 1);
		put("", 1);
		parse(AR_DNS_MX);
		assert_int_equal(m.status, n <= 63 ? AR_DNS_OK : AR_DNS_TEMP);
	}
	/* Labels of 63 and what a name may have at the most: 255 bytes with their lengths. */
	for (size_t last = 59; last <= 63; last++) {
		size_t n = 3 * 64 + 1 + last + 1;

		start(AR_DNS_MX, 1);
		record(AR_DNS_MX, 2 + n);
		put16(10);
		for (int k = 0; k < 4; k++) {
			size_t len = k < 3 ? 63 : last;

			put((char[]){(char)len}, 1);
			for (size_t c = 0; c < len; c++)
				put("b", 1);
		}
		put("", 1);
		parse(AR_DNS_MX);
		assert_int_equal(m.status, n <= 255 ? AR_DNS_OK : AR_DNS_TEMP);
		assert_true(m.count == 0 || strlen(m.rr[0].name) <= 253);
	}
	/* 65535 records announced in 40 bytes. */
	start(AR_DNS_A, 65535);
	put("\xc0\x0c\0\1\0\1\0\0\0\0", 10);
	parse(AR_DNS_A);
	assert_int_equal(m.status, AR_DNS_TEMP);
	sm_buf_fini(&by_hand);
}

/* The most work that 64 KiB can make: CNAMEs that lead on and on among a thousand records, each
 * behind a chain of pointers. */
static void costs(void **state)
{
	enum { ROUNDS = 20 };
	size_t at[32];
	clock_t began;

	(void)state;
	sm_buf_init(&by_hand, 65535);
	start(AR_DNS_A, 65535);
	record(0xFF00, 64);
	for (int i = 0; i < 32; i++) {
		at[i] = by_hand.len;
		put16(i == 0 ? 0xC00C : (unsigned)(0xC000 | at[i - 1]));
	}
	while (by_hand.len < 65535 - 300) {
		put16((unsigned)(0xC000 | at[29]));
		put16(AR_DNS_CNAME);
		put16(1);
		put16(0);
		put16(60);
		put16(4);
		put("\1b", 2);
		put16((unsigned)(0xC000 | at[28]));
	}
	began = clock();
	for (int i = 0; i < ROUNDS; i++) {
		parse(AR_DNS_A);
		assert_true(m.status == AR_DNS_TEMP || m.status == AR_DNS_ALIAS);
	}
	if ((clock() - began) * 1000 / CLOCKS_PER_SEC > ROUNDS * 50)
		fail_msg("%ld ms each", (long)((clock() - began) * 1000 / CLOCKS_PER_SEC / ROUNDS));
	sm_buf_fini(&by_hand);
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
	    cmocka_unit_test(records),     cmocka_unit_test(ttls),
	    cmocka_unit_test(cnames),      cmocka_unit_test(parts_of_nets),
	    cmocka_unit_test(bad_records), cmocka_unit_test(many),
	    cmocka_unit_test(words),       cmocka_unit_test(mutilated),
	    cmocka_unit_test(pointers),    cmocka_unit_test(lengths),
	    cmocka_unit_test(costs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
