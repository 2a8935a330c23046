/* PROXY headers: what is taken, what is refused, and that nothing is decided too early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/crc32c.h"
#include "libsm/err.h"
#include "smtps/proxy.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"

/* The beginning of a header says "more" at each byte, and what is behind it changes nothing. */
static int parse(struct sm_str in, struct ss_proxy *p)
{
	char text[SS_PROXY_MAX + 100];
	int rc = ss_proxy_parse(in, p);

	if (rc != 0)
		return rc;
	assert_int_equal(p->used, in.n);
	for (size_t i = 0; i < in.n; i++) {
		struct ss_proxy part;
		assert_int_equal(ss_proxy_parse(sm_str_head(in, i), &part), SM_E_AGAIN);
	}
	memcpy(text, in.p, in.n);
	memcpy(text + in.n, "EHLO x\r\n\r\n", 10);
	rc = ss_proxy_parse(sm_str_n(text, in.n + 10), p);
	assert_int_equal(rc, 0);
	assert_int_equal(p->used, in.n);
	return 0;
}

static void ends(const struct ss_proxy *p, const char *client, const char *server)
{
	char text[SM_SA_TEXT];

	assert_true(p->told);
	assert_string_equal(sm_sa_text(&p->client, text), client);
	assert_string_equal(sm_sa_text(&p->server, text), server);
}

static void test_v1(void **state)
{
	struct ss_proxy p;
	(void)state;

	assert_int_equal(parse(SM_STR("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n"), &p), 0);
	ends(&p, "192.0.2.1:56324", "198.51.100.2:25");
	assert_int_equal(parse(SM_STR("PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n"), &p), 0);
	ends(&p, "[2001:db8::1]:0", "[2001:db8::2]:65535");
	assert_int_equal(parse(SM_STR("PROXY UNKNOWN\r\n"), &p), 0);
	assert_false(p.told);
	assert_int_equal(
	    parse(SM_STR("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), &p), 0);
	assert_false(p.told);
}

static void test_v1_bad(void **state)
{
	static const char *const bad[] = {
	    "EHLO x\r\n",
	    "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
	    "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n",
	    "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
	    "PROXY TCP4 [192.0.2.1] 192.0.2.2 1 2\r\n",
	    "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
	    "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
	    "PROXY TCP6 IPv6:2001:db8::1 2001:db8::2 1 2\r\n",
	    "PROXY TCP4 0.0.0.0 192.0.2.2 1 2\r\n",
	    "PROXY TCP4 224.0.0.1 192.0.2.2 1 2\r\n",
	    "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
	    "PROXY UNKNOWNX\r\n",
	    "PROXY \r\n",
	    "PROXY TCP4\r192.0.2.1 192.0.2.2 1 2\r\n",
	};
	struct ss_proxy p;
	char longest[200];
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		if (ss_proxy_parse(sm_str(bad[i]), &p) != SM_E_SYNTAX)
			fail_msg("%s", bad[i]);
	assert_int_equal(ss_proxy_parse(SM_STR("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n"), &p),
	                 SM_E_SYNTAX);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "PROXY UNKNOWN ", 14);
	assert_int_equal(ss_proxy_parse(sm_str_n(longest, 106), &p), SM_E_AGAIN);
	assert_int_equal(ss_proxy_parse(sm_str_n(longest, 107), &p), SM_E_TOOBIG);
	memcpy(longest + 105, "\r\n", 2);
	assert_int_equal(ss_proxy_parse(sm_str_n(longest, 107), &p), 0);
	memcpy(longest + 105, "x\r\n", 3);
	assert_int_equal(ss_proxy_parse(sm_str_n(longest, 108), &p), SM_E_TOOBIG);
}

#define V4  "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x00\x19"
#define IN6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0"
#define V6  IN6 "\x01" IN6 "\x02\xdc\x04\x00\x19"

static void test_v2(void **state)
{
	struct ss_proxy p;
	char unix_header[16 + 216] = SIG "\x21\x31\x00\xd8/a";
	(void)state;

	assert_int_equal(parse(SM_STR(SIG "\x21\x11\x00\x0c" V4), &p), 0);
	ends(&p, "192.0.2.1:56324", "198.51.100.2:25");
	assert_int_equal(parse(SM_STR(SIG "\x21\x21\x00\x24" V6), &p), 0);
	ends(&p, "[2001:db8::1]:56324", "[2001:db8::2]:25");
	/* further fields */
	assert_int_equal(parse(SM_STR(SIG "\x21\x11\x00\x13" V4 "\x04\x00\x00\xea\x00\x01x"), &p),
	                 0);
	ends(&p, "192.0.2.1:56324", "198.51.100.2:25");
	/* no client of anybody else */
	assert_int_equal(parse(SM_STR(SIG "\x20\x00\x00\x00"), &p), 0);
	assert_false(p.told);
	assert_int_equal(parse(SM_STR(SIG "\x20\x7f\x00\x03"
	                                  "xyz"),
	                       &p),
	                 0);
	assert_false(p.told);
	assert_int_equal(parse(SM_STR(SIG "\x21\x00\x00\x00"), &p), 0);
	assert_false(p.told);
	assert_int_equal(parse(sm_str_n(unix_header, sizeof(unix_header)), &p), 0);
	assert_false(p.told);
}

static void test_v2_bad(void **state)
{
	static const struct sm_str bad[] = {
	    SM_STR(SIG "\x11\x11\x00\x0c" V4), /* version 1 */
	    SM_STR(SIG "\x22\x11\x00\x0c" V4), /* no such command */
	    SM_STR(SIG "\x21\x11\x00\x0b" V4), /* too short for its addresses */
	    SM_STR(SIG "\x21\x21\x00\x0c" V4),
	    SM_STR(SIG "\x21\x12\x00\x0c" V4), /* UDP */
	    SM_STR(SIG "\x21\x41\x00\x0c" V4),
	    SM_STR(SIG "\x21\x11\x00\x0d" V4 "\x04"),
	    SM_STR(SIG "\x21\x11\x00\x0f" V4 "\x04\x00\x01"),
	    SM_STR(SIG "\x21\x11\x00\x13" V4 "\x03\x00\x04zzzz"), /* checksum */
	    SM_STR(SIG "\x21\x11\x00\x12" V4 "\x03\x00\x03zzz"),
	    SM_STR("\r\n\r\n\0\r\nQUIT\r\x21\x11\x00\x0c" V4),
	    SM_STR(SIG "\x21\x11\x00\x0c\0\0\0\0\xc6\x33\x64\x02\xdc\x04\x00\x19"),
	};
	struct ss_proxy p;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		if (ss_proxy_parse(bad[i], &p) != SM_E_SYNTAX)
			fail_msg("%zu", i);
	assert_int_equal(ss_proxy_parse(SM_STR(SIG "\x21\x11\xff\xff" V4), &p), SM_E_TOOBIG);
	assert_int_equal(ss_proxy_parse(SM_STR(SIG "\x20\x11\x20\x00"), &p), SM_E_TOOBIG);
	assert_int_equal(ss_proxy_parse(SM_STR(SIG "\x20\x11\x1f\xf0"), &p), SM_E_AGAIN);
}

static void test_checksum(void **state)
{
	char h[] = SIG "\x21\x11\x00\x13" V4 "\x03\x00\x04\0\0\0\0";
	size_t n = sizeof(h) - 1;
	uint32_t crc = sm_crc32c(0, h, n);
	struct ss_proxy p;
	(void)state;

	for (int i = 0; i < 4; i++)
		h[n - 4 + (size_t)i] = (char)(crc >> (24 - 8 * i));
	assert_int_equal(parse(sm_str_n(h, n), &p), 0);
	ends(&p, "192.0.2.1:56324", "198.51.100.2:25");
	h[16] ^= 1;
	assert_int_equal(ss_proxy_parse(sm_str_n(h, n), &p), SM_E_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_v1),       cmocka_unit_test(test_v1_bad),
	    cmocka_unit_test(test_v2),       cmocka_unit_test(test_v2_bad),
	    cmocka_unit_test(test_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
