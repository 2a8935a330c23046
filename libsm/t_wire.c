/* The field coder: errors stick, nothing is read past the end, a value has one form only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/wire.h"

static void integers(void **state)
{
	struct sm_buf b;
	struct sm_reader r;

	(void)state;
	sm_buf_init(&b, 1024);
	sm_w_u8(&b, 0xFF);
	sm_w_u16(&b, 0xFFFE);
	sm_w_u32(&b, 0xFFFFFFFD);
	sm_w_u64(&b, UINT64_MAX - 3);
	sm_w_i64(&b, INT64_MIN);
	assert_int_equal(b.len, 1 + 2 + 4 + 8 + 8);
	r = sm_reader(sm_buf_view(&b));
	assert_int_equal(sm_r_u8(&r), 0xFF);
	assert_int_equal(sm_r_u16(&r), 0xFFFE);
	assert_int_equal(sm_r_u32(&r), 0xFFFFFFFD);
	assert_true(sm_r_u64(&r) == UINT64_MAX - 3);
	assert_true(sm_r_i64(&r) == INT64_MIN);
	assert_int_equal(sm_r_end(&r), 0);
	sm_buf_fini(&b);
}

static void errors_stick(void **state)
{
	struct sm_reader r = sm_reader(SM_STR("\x01\x02\x03"));
	struct sm_sa sa;

	(void)state;
	assert_int_equal(sm_r_u32(&r), 0);
	assert_int_equal(r.err, SM_E_PROTO);
	/* The three bytes are there, but what follows an error is not to be trusted. */
	assert_int_equal(sm_r_u8(&r), 0);
	assert_int_equal(sm_r_str(&r, 10).n, 0);
	sm_r_sa(&r, &sa);
	assert_int_equal(sa.len, 0);
	assert_int_equal(sm_r_count(&r, 10, 1), 0);
	assert_int_equal(sm_r_end(&r), SM_E_PROTO);
}

static void strings(void **state)
{
	struct sm_reader r;

	(void)state;
	r = sm_reader(SM_STR("\x03\0\0\0abc"));
	assert_true(sm_str_eq(sm_r_str(&r, 3), SM_STR("abc")));
	assert_int_equal(sm_r_end(&r), 0);
	r = sm_reader(SM_STR("\x03\0\0\0abc"));
	assert_int_equal(sm_r_str(&r, 2).n, 0);
	assert_int_equal(sm_r_end(&r), SM_E_TOOBIG);
	r = sm_reader(SM_STR("\xff\xff\xff\xff"
	                     "abc"));
	assert_int_equal(sm_r_str(&r, SIZE_MAX).n, 0);
	assert_int_equal(sm_r_end(&r), SM_E_PROTO);
	r = sm_reader(SM_STR("\x03\0\0\0abcd"));
	sm_r_str(&r, 9);
	assert_int_equal(sm_r_end(&r), SM_E_PROTO);
}

static struct sm_sa read_sa(struct sm_str bytes, int want)
{
	struct sm_reader r = sm_reader(bytes);
	struct sm_sa sa;

	sm_r_sa(&r, &sa);
	assert_int_equal(sm_r_end(&r), want);
	return sa;
}

static void addresses(void **state)
{
	struct sm_sa sa;
	struct sm_buf b;

	(void)state;
	assert_int_equal(read_sa(SM_STR("\0"), 0).len, 0);
	sa = read_sa(SM_STR("\x04\x7f\0\0\x01\x00\x19"), 0);
	assert_int_equal(sm_sa_port(&sa), 25);
	assert_true(sm_sa_is_loopback(&sa));
	sa = read_sa(SM_STR("\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x19\0\0\0\0"), 0);
	assert_true(sm_sa_is_loopback(&sa));
	sa = read_sa(SM_STR("\x01\x02/a"), 0);
	assert_string_equal(sa.u.un.sun_path, "/a");

	read_sa(SM_STR(""), SM_E_PROTO);
	read_sa(SM_STR("\x02"), SM_E_PROTO);
	read_sa(SM_STR("\x04\x7f\0\0\x01\x00"), SM_E_PROTO);
	read_sa(SM_STR("\x01\x03/a"), SM_E_PROTO);
	read_sa(SM_STR("\x01\x04/a\0b"), SM_E_PROTO);
	read_sa(SM_STR("\x01\xff/a"), SM_E_PROTO);

	/* A path as long as the kernel takes one comes back whole. */
	memset(&sa, 0, sizeof(sa));
	sa.u.un.sun_family = AF_UNIX;
	memset(sa.u.un.sun_path, 'x', sizeof(sa.u.un.sun_path) - 1);
	sa.len = sizeof(sa.u.un);
	sm_buf_init(&b, 1024);
	sm_w_sa(&b, &sa);
	assert_string_equal(read_sa(sm_buf_view(&b), 0).u.un.sun_path, sa.u.un.sun_path);
	sm_buf_fini(&b);
}

static void counts(void **state)
{
	struct sm_reader r = sm_reader(SM_STR("\x02\0\0\0abcd"));

	(void)state;
	assert_int_equal(sm_r_count(&r, 2, 2), 2);
	r = sm_reader(SM_STR("\x02\0\0\0abc"));
	assert_int_equal(sm_r_count(&r, 2, 2), 0);
	assert_int_equal(r.err, SM_E_PROTO);
	r = sm_reader(SM_STR("\x03\0\0\0abcdefgh"));
	assert_int_equal(sm_r_count(&r, 2, 2), 0);
	assert_int_equal(r.err, SM_E_TOOBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(integers),  cmocka_unit_test(errors_stick), cmocka_unit_test(strings),
	    cmocka_unit_test(addresses), cmocka_unit_test(counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
