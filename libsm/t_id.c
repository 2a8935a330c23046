/* Unit test of id.h. */
#include "libsm/id.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/err.h"

static void t_round_trip(void **state)
{
	static const struct {
		struct sm_id id;
		const char *text;
	} t[] = {
	    {{0x6B1D2, 0}, "S000000000006B1D200"},
	    {{0, 0}, "S000000000000000000"},
	    {{UINT64_MAX, 0xFF}, "SFFFFFFFFFFFFFFFFFF"},
	    {{0x0123456789ABCDEF, 0x1A}, "S0123456789ABCDEF1A"},
	};
	char text[SM_ID_SIZE];
	struct sm_id id;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		assert_ptr_equal(sm_id_text(t[i].id, text), text);
		assert_string_equal(text, t[i].text);
		assert_int_equal(sm_id_parse(sm_str(text), &id), 0);
		assert_true(sm_id_eq(id, t[i].id));
		assert_true(sm_id_hash(id) == sm_id_hash(t[i].id));
	}
	assert_true(sm_id_none((struct sm_id){0}));
	assert_false(sm_id_none(t[0].id));
	assert_true(sm_id_hash(t[0].id) != sm_id_hash((struct sm_id){0x6B1D2, 1}));
}

static void t_bad(void **state)
{
	static const struct sm_str t[] = {
	    SM_STR(""),
	    SM_STR_NONE,
	    SM_STR("S"),
	    SM_STR("S000000000006B1D20"),
	    SM_STR("S000000000006B1D2000"),
	    SM_STR("s000000000006B1D200"),
	    SM_STR("C000000000006B1D200"),
	    SM_STR("S000000000006b1d200"), /* would be a second name of the same file */
	    SM_STR("S000000000006B1D20G"),
	    SM_STR("S000000000006B1D2 0"),
	    SM_STR("S../../000006B1D200"),
	    SM_STR("S000000000006B1D2\0"
	           "0"),
	    SM_STR("S-00000000006B1D200"),
	    SM_STR("S0x0000000006B1D200"),
	};
	struct sm_id id = {7, 7};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++)
		assert_int_equal(sm_id_parse(t[i], &id), SM_E_SYNTAX);
	assert_true(sm_id_eq(id, (struct sm_id){7, 7}));
}

static void t_client(void **state)
{
	char text[SM_ID_SIZE];

	(void)state;
	assert_string_equal(
	    sm_cid_text((struct sm_cid){.proc = 2, .counter = 0xAB, .task = 0xFFFFFFFF}, text),
	    "C02000000ABFFFFFFFF");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_round_trip),
	    cmocka_unit_test(t_bad),
	    cmocka_unit_test(t_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
