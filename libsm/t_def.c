/* The table expander on a table that is not msg.def: exact bytes, nesting, and what changes the
 * hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/def.h"

#define SM_DEF_FILE "libsm/t_def.def"

/* Three tables of one text: `one` and `same` alike, `other` with another maximum. */
#define T_MAX               6
#define T_NUMBER            0x7001
#define SM_DEF(name)        one_##name
#define SM_DEF_NUMBER(name) ONE_##name
#include "libsm/def_struct.h"
#include "libsm/def_proto.h"
enum one_type {
#include "libsm/def_numbers.h"
};
#include "libsm/def_code.h"
#undef SM_DEF

#define SM_DEF(name) same_##name
#include "libsm/def_struct.h"
#include "libsm/def_proto.h"
#include "libsm/def_code.h"
#undef SM_DEF

#undef T_MAX
#define T_MAX        7
#define SM_DEF(name) other_##name
#include "libsm/def_struct.h"
#include "libsm/def_proto.h"
#include "libsm/def_code.h"
#undef SM_DEF

#undef T_MAX
#undef T_NUMBER
#define T_MAX        6
#define T_NUMBER     0x7003
#define SM_DEF(name) moved_##name
#include "libsm/def_struct.h"
#include "libsm/def_proto.h"
#include "libsm/def_code.h"

static void exact_bytes(void **state)
{
	static const char want[] = "\x01"
				   "\x02\x01"
				   "\x04\x03\x02\x01"
				   "\x08\x07\x06\x05\x04\x03\x02\x01"
				   "\xfe\xff\xff\xff\xff\xff\xff\xff"
				   "\x09\x00\x00\x00\x00\x00\x00\x00\x0a"
				   "\x04\x7f\x00\x00\x01\x00\x19"
				   "\x03\x00\x00\x00"
				   "abc"
				   "\x01\x00\x00\x00"
				   "\x0b\x00\x00\x00\x00\x00\x00\x00\x0c"
				   "\x02\x00\x00\x00"
				   "\x0d\x00\x00\x00\x00"
				   "\x0e\x01\x00\x00\x00z";
	struct one_leaf leaves[] = {{0x0d, SM_STR("")}, {0x0e, SM_STR("z")}};
	struct one_branch branch = {{11, 12}, 2, leaves};
	struct one_tree t = {
	    1, 0x0102, 0x01020304, 0x0102030405060708, -2, {9, 10}, {0}, SM_STR("abc"), 1, &branch};
	struct one_tree back;
	struct sm_arena a;
	struct sm_buf b, dump;

	(void)state;
	t.sa.len = sizeof(t.sa.u.in4);
	t.sa.u.in4.sin_family = AF_INET;
	t.sa.u.in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	t.sa.u.in4.sin_port = htons(25);
	sm_arena_init(&a, "test", 1024, 65536);
	sm_buf_init(&b, 65536);
	one_tree_encode(&b, &t);
	assert_int_equal(b.len, sizeof(want) - 1);
	assert_memory_equal(sm_buf_p(&b), want, sizeof(want) - 1);
	assert_int_equal(one_tree_decode(sm_buf_view(&b), &a, &back), 0);
	assert_int_equal(back.i64, -2);
	assert_int_equal(back.branches_count, 1);
	assert_int_equal(back.branches[0].leaves_count, 2);
	assert_true(sm_str_eq(back.branches[0].leaves[1].b, SM_STR("z")));

	sm_buf_init(&dump, 65536);
	one_tree_dump(&dump, &back);
	assert_string_equal(
	    sm_buf_c(&dump),
	    "u8=1 u16=258 u32=16909060 u64=72623859790382856 i64=-2 "
	    "id=S00000000000000090A sa=127.0.0.1:25 str=<abc> "
	    "branches=[{id=S000000000000000B0C leaves=[{a=13 b=<>},{a=14 b=<z>}]}]");
	sm_buf_fini(&b);
	sm_buf_fini(&dump);
	sm_arena_fini(&a);
}

static void empty_message(void **state)
{
	struct one_empty e;

	(void)state;
	assert_int_equal(one_empty_decode(SM_STR(""), NULL, &e), 0);
	assert_int_equal(one_empty_decode(SM_STR("x"), NULL, &e), SM_E_PROTO);
	assert_int_equal(ONE_empty, 0x7002);
}

/* What was written before fields were added ends where they begin; nothing else may be missing. */
static void came_later(void **state)
{
	static const struct one_grown first = {.first = 7}, second = {7, 8, SM_STR("xy"), 0};
	struct one_grown whole = {7, 8, SM_STR("xy"), 9}, back;
	struct one_wrapped outer = {1, 1, &whole}, outer_back;
	struct sm_arena a;
	struct sm_str s;
	struct sm_buf b;

	(void)state;
	sm_arena_init(&a, "test", 1024, 65536);
	sm_buf_init(&b, 1024);
	one_grown_encode(&b, &whole);
	s = sm_buf_view(&b);
	assert_int_equal(s.n, 10);
	for (size_t n = 0; n <= s.n; n++) {
		bool good = n == 1 || n == 9 || n == 10;

		memset(&back, 0xff, sizeof(back));
		assert_int_equal(one_grown_decode(sm_str_head(s, n), &a, &back),
		                 good ? 0 : SM_E_PROTO);
		if (n == 1)
			assert_memory_equal(&back, &first, sizeof(back));
		if (n == 9) {
			assert_true(sm_str_eq(back.third, second.third));
			assert_int_equal(back.second, 8);
			assert_int_equal(back.fourth, 0);
		}
	}
	assert_int_equal(back.fourth, 9);
	sm_buf_reset(&b);
	one_wrapped_encode(&b, &outer);
	s = sm_buf_view(&b);
	assert_int_equal(one_wrapped_decode(sm_str_head(s, 6), &a, &outer_back), 0);
	assert_int_equal(outer_back.grown[0].first, 7);
	assert_int_equal(outer_back.grown[0].second, 0);
	assert_int_equal(one_wrapped_decode(sm_str_head(s, 5), &a, &outer_back), SM_E_PROTO);
	sm_buf_fini(&b);
	sm_arena_fini(&a);
}

static void hash(void **state)
{
	(void)state;
	assert_true(one_table_hash() == same_table_hash());
	assert_true(one_table_hash() != other_table_hash());
	assert_true(one_table_hash() != moved_table_hash());
	assert_ptr_equal(one_info(0x7001), one_table(&(size_t){0}));
	assert_ptr_equal(moved_info(0x7003), moved_table(&(size_t){0}));
	assert_null(moved_info(0x7001));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(exact_bytes),
	    cmocka_unit_test(empty_message),
	    cmocka_unit_test(came_later),
	    cmocka_unit_test(hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
