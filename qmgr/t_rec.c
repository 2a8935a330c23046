/* The versions of the table of records: whoever changes it is told here what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/rec.h"

static void list_is_up_to_date(void **state)
{
	const struct qm_rec_version *own = qm_rec_own();

	(void)state;
	if (own->hash != qm_rec_table_hash())
		fail_msg("rec.def has changed: add {%u, 0x%016llx} to the versions in rec.c",
		         own->number + 1, (unsigned long long)qm_rec_table_hash());
}

static void versions_rise(void **state)
{
	size_t n;
	const struct qm_rec_version *v = qm_rec_versions(&n);

	(void)state;
	assert_true(n > 0 && v[0].number > 0);
	assert_ptr_equal(qm_rec_own(), &v[n - 1]);
	for (size_t i = 1; i < n; i++)
		assert_true(v[i].number > v[i - 1].number);
}

static void only_these_are_read(void **state)
{
	size_t n;
	const struct qm_rec_version *v = qm_rec_versions(&n);
	struct qm_rec_version other;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		assert_true(qm_rec_reads(v[i]));
		other = v[i];
		other.hash ^= 1;
		assert_false(qm_rec_reads(other));
	}
	/* A later one that differs only in what its fields mean. */
	other = *qm_rec_own();
	other.number++;
	assert_false(qm_rec_reads(other));
	assert_false(qm_rec_reads((struct qm_rec_version){0, 0}));
}

/* Numbers stand in logs: one that was used is never given to another record. */
static void numbers_stay(void **state)
{
	static const struct {
		uint16_t type;
		const char *name;
	} known[] = {
	    {2, "txn"},        {3, "rcpt_change"}, {4, "child"},   {5, "end"},
	    {6, "moved"},      {7, "id_block"},    {8, "mark"},    {9, "suspend"},
	    {10, "accepting"}, {11, "over"},       {12, "expand"},
	};

	(void)state;
	assert_null(qm_rec_info(1));
	for (size_t i = 0; i < SM_ARRAY_SIZE(known); i++) {
		assert_non_null(qm_rec_info(known[i].type));
		assert_string_equal(qm_rec_info(known[i].type)->name, known[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(list_is_up_to_date),
	    cmocka_unit_test(versions_rise),
	    cmocka_unit_test(only_these_are_read),
	    cmocka_unit_test(numbers_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
