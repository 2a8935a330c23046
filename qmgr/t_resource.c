/* Credit as a function of what is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "qmgr/resource.h"

static unsigned credit_at(struct qm_resources *r, enum qm_resource which, unsigned percent)
{
	qm_resource_set(r, which, percent, 100);
	(void)qm_resources_settle(r);
	return r->credit;
}

static void credit_falls(void **state SM_UNUSED)
{
	static const struct {
		enum qm_resource which;
		unsigned percent, credit;
	} t[] = {
	    {QM_RES_EDBC, 0, 100},   {QM_RES_EDBC, 80, 100}, {QM_RES_EDBC, 90, 50},
	    {QM_RES_EDBC, 99, 10},   {QM_RES_EDBC, 100, 0},  {QM_RES_AQ, 80, 100},
	    {QM_RES_AQ, 90, 75},     {QM_RES_AQ, 100, 50},   {QM_RES_IQDB, 75, 50},
	    {QM_RES_MEMORY, 100, 0},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		struct qm_resources r;

		qm_resources_init(&r);
		assert_int_equal(credit_at(&r, t[i].which, t[i].percent), t[i].credit);
		if (t[i].credit < 100)
			assert_int_equal(r.scarcest, t[i].which);
	}
}

static void full_until_it_has_fallen(void **state SM_UNUSED)
{
	struct qm_resources r;

	qm_resources_init(&r);
	assert_int_equal(credit_at(&r, QM_RES_EDBC, 100), 0);
	assert_int_equal(credit_at(&r, QM_RES_EDBC, 96), 0);
	assert_int_equal(credit_at(&r, QM_RES_EDBC, 95), 25);
	assert_int_equal(credit_at(&r, QM_RES_EDBC, 97), 15);
}

static void the_scarcest_decides(void **state SM_UNUSED)
{
	struct qm_resources r;

	qm_resources_init(&r);
	assert_int_equal(credit_at(&r, QM_RES_AQ, 100), 50);
	assert_int_equal(credit_at(&r, QM_RES_MEMORY, 96), 20);
	assert_int_equal(r.scarcest, QM_RES_MEMORY);
	assert_int_equal(credit_at(&r, QM_RES_MEMORY, 10), 50);
	assert_int_equal(r.scarcest, QM_RES_AQ);
	assert_int_equal(credit_at(&r, QM_RES_AQ, 0), 100);
}

static void disk(void **state SM_UNUSED)
{
	static const struct {
		uint64_t free, min, ok;
		unsigned credit;
	} t[] = {
	    {1000, 100, 200, 100}, {300, 100, 200, 100}, {200, 100, 200, 100},
	    {150, 100, 200, 50},   {100, 100, 200, 10},  {99, 100, 200, 0},
	    {0, 0, 0, 100},        {99, 100, 100, 0},    {100, 100, 100, 100},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		struct qm_resources r;

		qm_resources_init(&r);
		qm_resource_set_free(&r, QM_RES_DISK, t[i].free, t[i].min, t[i].ok);
		(void)qm_resources_settle(&r);
		assert_int_equal(r.credit, t[i].credit);
	}

	struct qm_resources r;

	/* Below min it ends, and not before ok it begins again. */
	qm_resources_init(&r);
	qm_resource_set_free(&r, QM_RES_DISK, 99, 100, 200);
	(void)qm_resources_settle(&r);
	qm_resource_set_free(&r, QM_RES_DISK, 190, 100, 200);
	(void)qm_resources_settle(&r);
	assert_int_equal(r.credit, 0);
	qm_resource_set_free(&r, QM_RES_DISK, 200, 100, 200);
	assert_true(qm_resources_settle(&r));
	assert_true(r.credit > 0);
}

static void small_moves_are_not_told(void **state SM_UNUSED)
{
	struct qm_resources r;

	qm_resources_init(&r);
	qm_resource_set(&r, QM_RES_EDBC, 90, 100);
	assert_true(qm_resources_settle(&r));
	qm_resource_set(&r, QM_RES_EDBC, 91, 100);
	assert_false(qm_resources_settle(&r));
	assert_int_equal(r.credit, 50);
	qm_resource_set(&r, QM_RES_EDBC, 92, 100);
	assert_true(qm_resources_settle(&r));
	assert_int_equal(r.credit, 40);
	qm_resource_set(&r, QM_RES_EDBC, 100, 100);
	assert_true(qm_resources_settle(&r));
	assert_false(qm_resources_settle(&r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(credit_falls),
	    cmocka_unit_test(full_until_it_has_fallen),
	    cmocka_unit_test(the_scarcest_decides),
	    cmocka_unit_test(disk),
	    cmocka_unit_test(small_moves_are_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
