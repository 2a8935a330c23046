/* The lookup order, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smar/lookup.h"

static const struct {
	const char *domain;
	bool with_default;
	const char *keys[6];
} cases[] = {
    {"a.b.tld", true, {"a.b.tld", ".b.tld", ".tld", "."}},
    {"a.b.tld", false, {"a.b.tld", ".b.tld", ".tld"}},
    {"a.b.c.tld", false, {"a.b.c.tld", ".b.c.tld", ".c.tld", ".tld"}},
    {"tld", true, {"tld", "."}},
    {"tld", false, {"tld"}},
    {"[127.0.0.1]", true, {"[127.0.0.1]", "."}},
    {"[IPv6:::1]", false, {"[IPv6:::1]"}},
    {"", true, {"."}},
    {"", false, {NULL}},
};

static void order(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct ar_lookup l;
		struct sm_str key;
		size_t n = 0;

		ar_lookup_domain(&l, sm_str(cases[i].domain), cases[i].with_default);
		while (ar_lookup_next(&l, &key)) {
			assert_non_null(cases[i].keys[n]);
			assert_true(sm_str_eq(key, sm_str(cases[i].keys[n])));
			n++;
		}
		assert_null(cases[i].keys[n]);
		assert_false(ar_lookup_next(&l, &key));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(order)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
