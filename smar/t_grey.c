/* The policy of greylisting with a clock of its own: each edge, steps of the time of day, masks,
 * records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/err.h"
#include "smar/grey.h"

enum { T0 = 1000000, WAIT = 300, EXPIRE = 3600, WHITE_EXPIRE = 10000, WHITE_TIMEOUT = 20000 };

static const struct ar_grey_conf conf = {.wait_ms = WAIT * 1000,
                                         .expire_ms = EXPIRE * 1000,
                                         .white_expire_ms = WHITE_EXPIRE * 1000,
                                         .white_timeout_ms = WHITE_TIMEOUT * 1000};

static struct ar_grey_entry e;
static bool written;

static bool comes(int64_t at_s)
{
	return ar_grey_decide(&e, at_s, &conf, &written);
}

static void make(enum ar_grey_state state, int64_t first_s, int64_t last_s)
{
	e = (struct ar_grey_entry){state, first_s, last_s, 0};
}

static void edges(void **state SM_UNUSED)
{
	static const struct {
		enum ar_grey_state state;
		int64_t first, last, now; /* after T0 */
		bool accept, write;
		enum ar_grey_state then;
		int64_t first_then, expires;
	} rows[] = {
	    {AR_GREY_UNKNOWN, 0, 0, 0, false, true, AR_GREY_LISTED, 0, EXPIRE},
	    {AR_GREY_LISTED, 0, 0, 0, false, false, AR_GREY_LISTED, 0, -T0},
	    {AR_GREY_LISTED, 0, 0, WAIT - 1, false, false, AR_GREY_LISTED, 0, -T0},
	    {AR_GREY_LISTED, 0, 0, WAIT, true, true, AR_GREY_WHITE, 0, WAIT + WHITE_EXPIRE},
	    {AR_GREY_LISTED, 0, 0, EXPIRE - 1, true, true, AR_GREY_WHITE, 0,
	     EXPIRE - 1 + WHITE_EXPIRE},
	    {AR_GREY_LISTED, 0, 0, EXPIRE, false, true, AR_GREY_LISTED, EXPIRE, 2 * EXPIRE},
	    {AR_GREY_LISTED, 500, 500, 0, false, true, AR_GREY_LISTED, 0, EXPIRE},
	    {AR_GREY_WHITE, 0, 100, 100, true, false, AR_GREY_WHITE, 0, -T0},
	    {AR_GREY_WHITE, 0, 100, 159, true, false, AR_GREY_WHITE, 0, -T0},
	    {AR_GREY_WHITE, 0, 100, 160, true, true, AR_GREY_WHITE, 0, 160 + WHITE_EXPIRE},
	    {AR_GREY_WHITE, 0, 0, WHITE_EXPIRE + 1, true, true, AR_GREY_WHITE, 0,
	     2 * WHITE_EXPIRE + 1},
	    {AR_GREY_WHITE, 0, 0, WHITE_TIMEOUT - 1, true, true, AR_GREY_WHITE, 0,
	     WHITE_TIMEOUT - 1 + WHITE_EXPIRE},
	    {AR_GREY_WHITE, 0, 0, WHITE_TIMEOUT, false, true, AR_GREY_LISTED, WHITE_TIMEOUT,
	     WHITE_TIMEOUT + EXPIRE},
	    {AR_GREY_WHITE, 9000, 9000, 0, true, false, AR_GREY_WHITE, 9000, -T0},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		make(rows[i].state, T0 + rows[i].first, T0 + rows[i].last);
		if (comes(T0 + rows[i].now) != rows[i].accept || written != rows[i].write ||
		    e.state != rows[i].then || e.first_s != T0 + rows[i].first_then ||
		    e.expires_s != T0 + rows[i].expires)
			fail_msg("row %zu: write %d state %d first %lld expires %lld", i, written,
			         (int)e.state, (long long)e.first_s - T0,
			         (long long)e.expires_s - T0);
	}
}

/* A client that knocks all the time comes in when it has waited, not later; one that sends each
 * day stays; one that is silent has to wait again. */
static void lives(void **state SM_UNUSED)
{
	int64_t t = T0;

	make(AR_GREY_UNKNOWN, 0, 0);
	for (; t < T0 + WAIT; t += 10)
		assert_false(comes(t));
	assert_true(comes(t));
	for (int i = 0; i < 50; i++)
		assert_true(comes(t += WHITE_TIMEOUT - 1));
	assert_false(comes(t += WHITE_TIMEOUT));
	assert_false(comes(t + 1));
	assert_true(comes(t + WAIT));
}

static void clock_steps(void **state SM_UNUSED)
{
	struct ar_grey_stamp was = {.grey_s = 5000, .wall_s = 100000};
	struct ar_grey_clock c;

	ar_grey_clock_start(&c, NULL, 777, 50000);
	assert_int_equal(ar_grey_clock_now(&c, 50000), 777);
	assert_int_equal(ar_grey_clock_now(&c, 50000 + 61999), 777 + 61);
	/* A restart: as long as it took by the time of day. */
	ar_grey_clock_start(&c, &was, 100060, 0);
	assert_int_equal(ar_grey_clock_now(&c, 0), 5060);
	/* Set back meanwhile, even to 1970: it stands still. */
	ar_grey_clock_start(&c, &was, 10, 0);
	assert_int_equal(ar_grey_clock_now(&c, 2000), 5002);
	/* Set ahead by ten years: a week. */
	ar_grey_clock_start(&c, &was, 100000 + 10 * 365 * 86400, 0);
	assert_int_equal(ar_grey_clock_now(&c, 0), 5000 + AR_GREY_GAP_MAX_S);
}

static struct ar_grey_key key(const char *ip, unsigned bits4, unsigned bits6)
{
	struct ar_grey_key k;
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(ip), 25), 0);
	ar_grey_key_of(&sa, bits4, bits6, &k);
	return k;
}

static void same(struct ar_grey_key a, struct ar_grey_key b, bool yes)
{
	assert_int_equal(a.n == b.n && memcmp(a.p, b.p, sizeof(a.p)) == 0, yes);
}

static void keys(void **state SM_UNUSED)
{
	struct sm_sa none = {0};
	struct ar_grey_key k;

	same(key("192.0.2.1", 32, 64), key("192.0.2.2", 32, 64), false);
	same(key("192.0.2.1", 24, 64), key("192.0.2.255", 24, 64), true);
	same(key("192.0.2.1", 24, 64), key("192.0.3.1", 24, 64), false);
	same(key("192.0.2.1", 20, 64), key("192.0.15.1", 20, 64), true);
	same(key("192.0.2.1", 20, 64), key("192.0.16.1", 20, 64), false);
	same(key("::ffff:192.0.2.1", 32, 64), key("192.0.2.1", 32, 64), true);
	same(key("2001:db8::1", 32, 64), key("2001:db8::ffff:1", 32, 64), true);
	same(key("2001:db8::1", 32, 64), key("2001:db8:0:1::1", 32, 64), false);
	same(key("2001:db8::1", 32, 128), key("2001:db8::2", 32, 128), false);
	ar_grey_key_of(&none, 32, 64, &k);
	assert_int_equal(k.n, 0);
	assert_int_equal(ar_grey_netmask_bits(0xFFFFFFFF), 32);
	assert_int_equal(ar_grey_netmask_bits(0xFFFFFF00), 24);
	assert_int_equal(ar_grey_netmask_bits(0x80000000), 1);
	assert_int_equal(ar_grey_netmask_bits(24), 24);
	assert_int_equal(ar_grey_netmask_bits(0xFF00FF00), -1);
	assert_int_equal(ar_grey_netmask_bits(0xFF), -1);
}

static void records(void **state SM_UNUSED)
{
	uint8_t b[AR_GREY_RECORD_BYTES], m[AR_GREY_META_BYTES];
	struct ar_grey_meta meta = {{1, 1795217632}, 1000000}, meta2;
	struct ar_grey_entry x = {AR_GREY_WHITE, 1, 1795217632, INT64_C(1) << 40}, y;
	struct sm_str r = sm_str_n((char *)b, sizeof(b)), mr = sm_str_n((char *)m, sizeof(m));

	ar_grey_record_put(&x, b);
	assert_int_equal(ar_grey_record_get(r, &y), 0);
	assert_memory_equal(&x, &y, sizeof(x));
	assert_int_equal(ar_grey_record_get(sm_str_head(r, r.n - 1), &y), SM_E_CORRUPT);
	assert_int_equal(y.state, AR_GREY_UNKNOWN);
	b[1] = 3;
	assert_int_equal(ar_grey_record_get(r, &y), SM_E_CORRUPT);
	b[1] = 1;
	b[2] = 0x80; /* before 1970 */
	assert_int_equal(ar_grey_record_get(r, &y), SM_E_CORRUPT);
	b[2] = 0;
	b[0] = 2; /* of another release */
	assert_int_equal(ar_grey_record_get(r, &y), SM_E_CORRUPT);
	ar_grey_meta_put(&meta, m);
	assert_int_equal(ar_grey_meta_get(mr, &meta2), 0);
	assert_memory_equal(&meta, &meta2, sizeof(meta));
	m[17] = 0xFF;
	assert_int_equal(ar_grey_meta_get(mr, &meta2), SM_E_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(edges), cmocka_unit_test(lives),   cmocka_unit_test(clock_steps),
	    cmocka_unit_test(keys),  cmocka_unit_test(records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
