/* Limits by address: keys, the longest prefix, errors with their place, maps in both forms. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/limits.h"

#include <db.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libsm/err.h"

static struct qm_limits *parsed(const char *text)
{
	struct qm_limits *l = qm_limits_new();

	if (qm_limits_parse(l, "map", sm_str(text)) != 0)
		fail_msg("%s", sm_diag());
	return l;
}

static unsigned ocm(const struct qm_limits *l, const char *address)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(address), 25), 0);
	return qm_limits_get(l, QM_LIMIT_OCM, &sa, 77);
}

/* Two servers on one address have limits of their own. */
static void ports_come_first(void **state)
{
	struct qm_limits *l = parsed("ocm:127.0.0.1:10024 2\nocm:127.0.0.1 9\nocm:[::1]:10024 3\n"
	                             "ocm:[127.0.0.2]:10024 4\nocm: 8\n");
	static const struct {
		const char *address;
		uint16_t port;
		unsigned most;
	} cases[] = {{"127.0.0.1", 10024, 2}, {"127.0.0.1", 25, 9},
	             {"127.0.0.1", 10025, 9}, {"::1", 10024, 3},
	             {"::1", 25, 8},          {"127.0.0.2", 10024, 4},
	             {"127.0.0.2", 25, 8},    {"::ffff:127.0.0.1", 10024, 2}};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct sm_sa sa;

		assert_int_equal(sm_sa_ip(&sa, sm_str(cases[i].address), cases[i].port), 0);
		assert_int_equal(qm_limits_get(l, QM_LIMIT_OCM, &sa, 77), cases[i].most);
	}
	qm_limits_free(&l);
}

/* createmap takes the colon at the end of a key for its end. */
static void keys_of_createmap(void **state)
{
	struct qm_limits *l = qm_limits_new();

	(void)state;
	assert_int_equal(qm_limits_add(l, SM_STR("ocm"), SM_STR("9")), 0);
	assert_int_equal(qm_limits_add(l, SM_STR("ocm:10"), SM_STR("8")), 0);
	assert_int_equal(qm_limits_add(l, SM_STR("octo"), SM_STR("2m")), 0);
	assert_int_equal(qm_limits_add(l, SM_STR("what"), SM_STR("9")), SM_E_SYNTAX);
	assert_int_equal(ocm(l, "10.1.2.3"), 8);
	assert_int_equal(ocm(l, "11.1.2.3"), 9);
	assert_int_equal(qm_limits_octo_ms(l, 1), 120 * 1000);
	qm_limits_free(&l);
}

static void the_longest_prefix_rules(void **state)
{
	struct qm_limits *l = parsed("# limits\n"
	                             "ocm:\t\t9\n\n"
	                             "ocm:10 8\n"
	                             "OCM:10.1 7\r\n"
	                             "ocm:10.1.2 6\n"
	                             "ocm:10.1.2.3 5\n"
	                             "ocm:2001:db8 4\n"
	                             "ocm:IPv6:2001:db8::1 3\n"
	                             "ocm:::ffff:10.9.9.9 2\n"
	                             "ocm:IPv6:0:0:0:0:0:ffff:0a09:0908 1\n"
	                             "oci:10.1.2.3 1\n"
	                             "octo: 2m\n");
	struct sm_sa none = {0};

	(void)state;
	assert_int_equal(ocm(l, "10.1.2.3"), 5);
	assert_int_equal(ocm(l, "::ffff:10.1.2.3"), 5);
	assert_int_equal(ocm(l, "10.9.9.9"), 2); /* a mapped address is the IPv4 one */
	assert_int_equal(ocm(l, "::ffff:10.9.9.9"), 2);
	assert_int_equal(ocm(l, "10.9.9.8"), 1);
	assert_int_equal(ocm(l, "10.1.2.4"), 6);
	assert_int_equal(ocm(l, "10.1.3.4"), 7);
	assert_int_equal(ocm(l, "10.11.2.3"), 8); /* on octet boundaries only */
	assert_int_equal(ocm(l, "101.1.2.3"), 9);
	assert_int_equal(ocm(l, "2001:db8::1"), 3);
	assert_int_equal(ocm(l, "2001:db8:1::1"), 4);
	assert_int_equal(ocm(l, "2001:db9::1"), 9);
	assert_int_equal(qm_limits_get(l, QM_LIMIT_OCM, &none, 77), 9);
	assert_int_equal(qm_limits_get(l, QM_LIMIT_ICM, &none, 77), 77);
	assert_int_equal(qm_limits_get(NULL, QM_LIMIT_OCM, &none, 77), 77);
	assert_int_equal(qm_limits_octo_ms(l, 1), 120000);
	qm_limits_free(&l);
	l = parsed("oci:0.0 5\n");
	assert_int_equal(qm_limits_octo_ms(l, 1), 1);
	qm_limits_free(&l);
}

static void errors_name_their_line(void **state)
{
	static const char *const wrong[] = {
	    "ocmx 5",           "xcm: 5",
	    "ocm:10.1",         "ocm:10.256 5",
	    "ocm:1.2.3.4.5 5",  "ocm:10..1 5",
	    "ocm:host 5",       "ocm:2001:db8:g 5",
	    "ocm: 0",           "oci: -1",
	    "icr: 1000001",     "omr: 60001",
	    "octo: 0",          "octo: soon",
	    "ocm: 5 6",         "ocm:1:2:3:4:5:6:7:8:9 5",
	    "ocm:010 5",        "ocm:10.01 5",
	    "ocm:IPv6: 5",      "ocm:00001:2 5",
	    "ocm:10.1:25 5",    "icm:10.1.2.3:25 5",
	    "ocm:10.1.2.3:0 5", "ocm:10.1.2.3:65536 5",
	    "ocm:[::1 5",       "ocm:[::1]25 5",
	    "ocm:10.1.2.3: 5",  "ocm:[]:25 5",
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(wrong); i++) {
		struct qm_limits *l = qm_limits_new();

		snprintf(text, sizeof(text), "ocm: 1\n%s\n", wrong[i]);
		if (qm_limits_parse(l, "map", sm_str(text)) == 0)
			fail_msg("%s was taken", wrong[i]);
		if (strncmp(sm_diag(), "map:2: ", 7) != 0)
			fail_msg("%s: %s", wrong[i], sm_diag());
		qm_limits_free(&l);
	}
}

static char dir[] = "/tmp/t_limits.XXXXXX";
static char path[64];

static void put_db(const char *key, const char *value, DB *db, unsigned nul)
{
	DBT k = {.data = (void *)(uintptr_t)key, .size = (u_int32_t)strlen(key) + nul};
	DBT v = {.data = (void *)(uintptr_t)value, .size = (u_int32_t)strlen(value) + nul};

	assert_int_equal(db->put(db, NULL, &k, &v, 0), 0);
}

static void make_db(const char *key)
{
	DB *db;

	unlink(path);
	assert_int_equal(db_create(&db, NULL, 0), 0);
	assert_int_equal(db->open(db, NULL, path, NULL, DB_HASH, DB_CREATE, 0600), 0);
	put_db("ocm:10.0", "3", db, 0);
	put_db(key, "4", db, 1); /* as some programs do */
	assert_int_equal(db->close(db, 0), 0);
}

static void maps_are_loaded(void **state)
{
	struct qm_limits *l;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/qmgr_conf.db", dir);
	assert_int_equal(qm_limits_load(path, &l), 0); /* not there: nothing is limited */
	assert_int_equal(qm_limits_count(l), 0);
	qm_limits_free(&l);
	make_db("ocm:10.1");
	assert_int_equal(qm_limits_load(path, &l), 0);
	assert_int_equal(qm_limits_count(l), 2);
	assert_int_equal(ocm(l, "10.0.0.1"), 3);
	assert_int_equal(ocm(l, "10.1.0.1"), 4);
	qm_limits_free(&l);
	make_db("nonsense");
	assert_int_not_equal(qm_limits_load(path, &l), 0);
	assert_null(l);
	assert_non_null(strstr(sm_diag(), "nonsense"));
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("this is no database", f);
	fclose(f);
	assert_int_not_equal(qm_limits_load(path, &l), 0);
	unlink(path);
	snprintf(path, sizeof(path), "%s/qmgr_conf", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("ocm: 5\nocm:10.0 many\n", f);
	fclose(f);
	assert_int_not_equal(qm_limits_load(path, &l), 0);
	assert_non_null(strstr(sm_diag(), "qmgr_conf:2: "));
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_longest_prefix_rules), cmocka_unit_test(ports_come_first),
	    cmocka_unit_test(keys_of_createmap),        cmocka_unit_test(errors_name_their_line),
	    cmocka_unit_test(maps_are_loaded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
