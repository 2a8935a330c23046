/* The lookup orders, as tables: each rule of the manual is a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "libsm/err.h"
#include "smar/lookup.h"
#include "smar/map_table.h"

enum { KEYS_MAX = 40 };

/* All keys, separated by blanks. */
static const char *all_keys(struct ar_keys *k)
{
	static char out[KEYS_MAX * (AR_KEY_MAX + 1)];
	size_t n = 0;

	out[0] = '\0';
	while (ar_keys_next(k)) {
		assert_int_equal(k->key.p[k->key.n], '\0');
		assert_true(k->key.n <= AR_KEY_MAX);
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s" SM_STR_FMT, n > 0 ? " " : "",
		                      SM_STR_ARG(k->key));
		assert_true(n < sizeof(out));
	}
	/* The end stays the end. */
	assert_false(ar_keys_next(k));
	return out;
}

/* ---- domains ---- */

static const struct {
	const char *tag, *domain;
	unsigned flags;
	const char *keys;
} domains[] = {
    {"", "sub2.sub1.tld", AR_KEYS_DEFAULT, "sub2.sub1.tld .sub1.tld .tld ."},
    {"", "sub2.sub1.tld", 0, "sub2.sub1.tld .sub1.tld .tld"},
    {"", "a.b.c.tld", 0, "a.b.c.tld .b.c.tld .c.tld .tld"},
    {"", "tld", AR_KEYS_DEFAULT, "tld ."},
    {"", "tld", 0, "tld"},
    {"", "[127.0.0.1]", AR_KEYS_DEFAULT, "[127.0.0.1] ."},
    {"", "[127.0.0.1]", 0, "[127.0.0.1]"},
    {"", "[ipv6:::1]", 0, "[ipv6:::1]"},
    {"", "", AR_KEYS_DEFAULT, "."},
    {"", "", 0, ""},
    {"", "tld.", 0, "tld."},
    {"", "a.b.tld", AR_KEYS_EXACT, "a.b.tld"},
    {"cltname:", "a.b.tld", 0, "cltname:a.b.tld cltname:.b.tld cltname:.tld"},
    {"cltname:", "tld", AR_KEYS_DEFAULT, "cltname:tld cltname:."},
};

static void test_domains(void **state SM_UNUSED)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(domains); i++) {
		struct ar_keys k;

		ar_keys_domain(&k, sm_str(domains[i].tag), sm_str(domains[i].domain),
		               domains[i].flags);
		assert_string_equal(all_keys(&k), domains[i].keys);
	}
}

/* No key without its dot: an entry for a domain says nothing about what is below it. */
static void test_no_implicit_subdomains(void **state SM_UNUSED)
{
	struct ar_keys k;

	ar_keys_domain(&k, SM_STR(""), SM_STR("sub2.sub1.tld"), AR_KEYS_DEFAULT);
	while (ar_keys_next(&k)) {
		assert_false(sm_str_eq(k.key, SM_STR("sub1.tld")));
		assert_false(sm_str_eq(k.key, SM_STR("tld")));
	}
}

static void test_subdomain(void **state SM_UNUSED)
{
	static const char *const want[] = {"", "a", "a.b", "a.b.tld"};
	struct ar_keys k;
	size_t i = 0;

	ar_keys_domain(&k, SM_STR(""), SM_STR("a.b.tld"), AR_KEYS_DEFAULT);
	while (ar_keys_next(&k))
		assert_true(sm_str_eq(k.subdomain, sm_str(want[i++])));
	assert_int_equal(i, SM_ARRAY_SIZE(want));
}

/* ---- addresses of the Internet ---- */

static const struct {
	const char *tag, *ip;
	unsigned flags;
	const char *keys;
} ips[] = {
    {"", "1.2.3.4", 0, "1.2.3.4 1.2.3 1.2 1"},
    {"", "10.0.255.9", 0, "10.0.255.9 10.0.255 10.0 10"},
    {"", "1.2.3.4", AR_KEYS_EXACT, "1.2.3.4"},
    {"cltaddr:", "127.0.0.1", 0, "cltaddr:127.0.0.1 cltaddr:127.0.0 cltaddr:127.0 cltaddr:127"},
    {"", "::ffff:1.2.3.4", 0, "1.2.3.4 1.2.3 1.2 1"},
    {"", "2001:DB8::1", 0,
     "2001:db8:0:0:0:0:0:1 2001:db8:0:0:0:0:0 2001:db8:0:0:0:0 2001:db8:0:0:0 2001:db8:0:0 "
     "2001:db8:0 2001:db8 2001"},
    {"t:", "::1", 0,
     "t:0:0:0:0:0:0:0:1 t:0:0:0:0:0:0:0 t:0:0:0:0:0:0 t:0:0:0:0:0 t:0:0:0:0 t:0:0:0 t:0:0 t:0"},
    {"t:", "::1", AR_KEYS_EXACT, "t:0:0:0:0:0:0:0:1"},
};

static void test_ips(void **state SM_UNUSED)
{
	struct sm_sa sa;
	struct ar_keys k;

	for (size_t i = 0; i < SM_ARRAY_SIZE(ips); i++) {
		assert_int_equal(sm_sa_ip(&sa, sm_str(ips[i].ip), 25), 0);
		ar_keys_ip(&k, sm_str(ips[i].tag), &sa, ips[i].flags);
		assert_string_equal(all_keys(&k), ips[i].keys);
	}
	assert_int_equal(sm_sa_unix(&sa, SM_STR("/x/y")), 0);
	ar_keys_ip(&k, SM_STR("cltaddr:"), &sa, 0);
	assert_string_equal(all_keys(&k), "");
	sa = (struct sm_sa){0};
	ar_keys_ip(&k, SM_STR("cltaddr:"), &sa, 0);
	assert_string_equal(all_keys(&k), "");
}

/* ---- mail addresses ---- */

static const struct {
	const char *tag, *mailbox;
	char delimiter;
	unsigned flags;
	const char *keys;
} addresses[] = {
    /* 1a to 1f, with and without a detail, with an empty one. */
    {"", "user+detail@tld", '+', 0, "user+detail@tld user++@tld user+*@tld user*@tld @tld"},
    {"", "user+@tld", '+', 0, "user+@tld user+*@tld user*@tld @tld"},
    {"", "user@tld", '+', 0, "user*@tld user@tld @tld"},
    /* 1e with implicitly_match_detail. */
    {"", "user+detail@tld", '+', AR_KEYS_IMPLICIT_DETAIL,
     "user+detail@tld user++@tld user+*@tld user*@tld user@tld @tld"},
    {"", "user+@tld", '+', AR_KEYS_IMPLICIT_DETAIL, "user+@tld user+*@tld user*@tld user@tld @tld"},
    {"", "user@tld", '+', AR_KEYS_IMPLICIT_DETAIL, "user*@tld user@tld @tld"},
    /* 1, for each parent. */
    {"", "u+d@a.b.tld", '+', 0,
     "u+d@a.b.tld u++@a.b.tld u+*@a.b.tld u*@a.b.tld @a.b.tld "
     "u+d@.b.tld u++@.b.tld u+*@.b.tld u*@.b.tld @.b.tld "
     "u+d@.tld u++@.tld u+*@.tld u*@.tld @.tld"},
    {"", "u@a.tld", '+', 0, "u*@a.tld u@a.tld @a.tld u*@.tld u@.tld @.tld"},
    /* 2, where the map wants it. */
    {"", "u+d@tld", '+', AR_KEYS_LOCALPART, "u+d@tld u++@tld u+*@tld u*@tld @tld u+d u++ u+* u*"},
    {"", "u+@tld", '+', AR_KEYS_LOCALPART, "u+@tld u+*@tld u*@tld @tld u+ u+* u*"},
    {"", "u@tld", '+', AR_KEYS_LOCALPART, "u*@tld u@tld @tld u* u"},
    {"", "u+d@tld", '+', AR_KEYS_LOCALPART | AR_KEYS_IMPLICIT_DETAIL,
     "u+d@tld u++@tld u+*@tld u*@tld u@tld @tld u+d u++ u+* u* u"},
    {"", "u+d@a.tld", '+', AR_KEYS_LOCALPART_ONLY, "u+d u++ u+* u*"},
    {"", "u@a.tld", '+', AR_KEYS_LOCALPART_ONLY, "u* u"},
    {"", "u+d@a.tld", '+', AR_KEYS_LOCALPART_ONLY | AR_KEYS_IMPLICIT_DETAIL, "u+d u++ u+* u* u"},
    /* Another delimiter: the second "+" and "*" stay what they are. */
    {"", "u-d@tld", '-', 0, "u-d@tld u-+@tld u-*@tld u*@tld @tld"},
    {"", "u+d@tld", '-', 0, "u+d*@tld u+d@tld @tld"},
    /* The first delimiter counts; one in front is none. */
    {"", "u+d+e@tld", '+', 0, "u+d+e@tld u++@tld u+*@tld u*@tld @tld"},
    {"", "+d@tld", '+', 0, "+d*@tld +d@tld @tld"},
    {"", "+d+e@tld", '+', 0, "+d+e*@tld +d+e@tld @tld"},
    /* A quoted string is one word. */
    {"", "\"a+b@c\"@tld", '+', 0, "\"a+b@c\"*@tld \"a+b@c\"@tld @tld"},
    /* Tags; the first key only; no domain; a literal. */
    {"to:", "u@a.tld", '+', 0, "to:u*@a.tld to:u@a.tld to:@a.tld to:u*@.tld to:u@.tld to:@.tld"},
    {"", "u+d@a.tld", '+', AR_KEYS_EXACT, "u+d@a.tld"},
    {"", "u@a.tld", '+', AR_KEYS_EXACT | AR_KEYS_LOCALPART, "u@a.tld"},
    {"", "u+d@a.tld", '+', AR_KEYS_EXACT | AR_KEYS_LOCALPART_ONLY, "u+d"},
    {"", "postmaster", '+', 0, ""},
    {"", "postmaster", '+', AR_KEYS_LOCALPART, "postmaster* postmaster"},
    {"", "u@[1.2.3.4]", '+', 0, "u*@[1.2.3.4] u@[1.2.3.4] @[1.2.3.4]"},
};

static void test_addresses(void **state SM_UNUSED)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(addresses); i++) {
		struct ar_parts parts;
		struct ar_keys k;

		ar_parts_of(sm_str(addresses[i].mailbox), addresses[i].delimiter, &parts);
		ar_keys_address(&k, sm_str(addresses[i].tag), &parts, addresses[i].flags);
		assert_string_equal(all_keys(&k), addresses[i].keys);
	}
}

static void test_address_subdomain(void **state SM_UNUSED)
{
	struct ar_parts parts;
	struct ar_keys k;

	ar_parts_of(SM_STR("alias+detail@host2.domain"), '+', &parts);
	assert_true(sm_str_eq(parts.user, SM_STR("alias")));
	assert_true(sm_str_eq(parts.detail, SM_STR("detail")));
	assert_true(sm_str_eq(parts.local, SM_STR("alias+detail")));
	ar_keys_address(&k, SM_STR(""), &parts, AR_KEYS_LOCALPART);
	while (ar_keys_next(&k))
		assert_true(sm_str_eq(k.subdomain, sm_str_has_suffix(k.key, SM_STR("@.domain"))
		                                       ? SM_STR("host2")
		                                       : SM_STR("")));
}

/* ---- words, and keys that are too long ---- */

static void test_words(void **state SM_UNUSED)
{
	struct ar_keys k;

	ar_keys_word(&k, SM_STR("cltresolve:"), SM_STR("tempptr"));
	assert_string_equal(all_keys(&k), "cltresolve:tempptr");
}

static void test_too_long(void **state SM_UNUSED)
{
	char domain[AR_KEY_MAX + 10], text[AR_KEY_MAX + 10];
	struct ar_parts parts;
	struct ar_keys k;

	memset(text, 'x', sizeof(text));
	ar_keys_word(&k, SM_STR(""), sm_str_n(text, AR_KEY_MAX));
	assert_true(ar_keys_next(&k));
	ar_keys_word(&k, SM_STR(""), sm_str_n(text, AR_KEY_MAX + 1));
	assert_false(ar_keys_next(&k));
	ar_keys_word(&k, SM_STR("t:"), sm_str_n(text, AR_KEY_MAX - 1));
	assert_false(ar_keys_next(&k));
	/* Only what is too long is passed over. */
	memset(domain, 'd', sizeof(domain));
	memcpy(domain + sizeof(domain) - 6, ".b.tld", 6);
	ar_keys_domain(&k, SM_STR(""), sm_str_n(domain, sizeof(domain)), AR_KEYS_DEFAULT);
	assert_string_equal(all_keys(&k), ".b.tld .tld .");
	memcpy(text + sizeof(text) - 4, "@tld", 4);
	ar_parts_of(sm_str_n(text, sizeof(text)), '+', &parts);
	ar_keys_address(&k, SM_STR("t:"), &parts, 0);
	assert_string_equal(all_keys(&k), "t:@tld");
}

/* ---- UTF-8 ---- */

static void test_address_key(void **state SM_UNUSED)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
	    {"User@Example.ORG", "user@example.org"},
	    {"J\xc3\xb6rg@B\xc3\xbc"
	     "cher.Test",
	     "j\xc3\xb6rg@xn--bcher-kva.test"},
	    {"\"a@\xc3\xbc\"@b", "\"a@\xc3\xbc\"@b"},
	    {"postmaster", "postmaster"},
	    {"x@\xff", "x@\xff"},
	};
	struct sm_arena a;

	sm_arena_init(&a, "test", 512, 65536);
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++)
		if (!sm_str_eq(ar_address_key(&a, sm_str(rows[i].in)), sm_str(rows[i].out)))
			fail_msg("%s", rows[i].in);
	sm_arena_fini(&a);
}

static void test_key_ascii(void **state SM_UNUSED)
{
	static const struct {
		const char *in, *out; /* NULL: as it is */
		bool other;
	} rows[] = {
	    {"to:user@example.org", NULL, false},
	    {"to:J\xc3\xb6rg@b\xc3\xbc"
	     "cher.test",
	     "to:j\xc3\xb6rg@xn--bcher-kva.test", false},
	    {"to:@.b\xc3\xbc"
	     "cher.test",
	     "to:@.xn--bcher-kva.test", false},
	    {"cltname:.b\xc3\xbc"
	     "cher.test",
	     "cltname:.xn--bcher-kva.test", true},
	    {"b\xc3\xbc"
	     "cher.test",
	     "xn--bcher-kva.test", true},
	    {".b\xc3\xbc"
	     "cher.test",
	     ".xn--bcher-kva.test", true},
	    {"j\xc3\xb6rg", NULL, true}, /* a local part */
	    {"to:j\xc3\xb6rg+x", NULL, true},
	    {"j\xc3\xb6rg@example.org", NULL, false},
	    {"x@\xff.test", NULL, false},
	};
	char text[AR_KEY_MAX + 1];
	struct sm_str ascii;
	bool other;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		bool is = ar_key_ascii(sm_str(rows[i].in), text, &ascii, &other);
		if (is != (rows[i].out != NULL) ||
		    (is && (!sm_str_eq(ascii, sm_str(rows[i].out)) || other != rows[i].other)))
			fail_msg("%s", rows[i].in);
	}
}

/* Found whoever wrote it how; as a local part as well, where it may be one. */
static void test_table(void **state SM_UNUSED)
{
	struct ar_table *t = ar_table_new();
	struct sm_str value;
	void *handle;
	size_t n;

	assert_int_equal(ar_table_add(t,
	                              SM_STR("to:@B\xc3\x9c"
	                                     "CHER.test"),
	                              SM_STR("1"), 1),
	                 0);
	assert_int_equal(ar_table_add(t, SM_STR("j\xc3\xb6rg.m"), SM_STR("2"), 2), 0);
	assert_int_equal(ar_table_add(t, SM_STR("to:@xn--bcher-kva.test"), SM_STR("3"), 3), 1);
	assert_int_equal(ar_table_opened(0, t, &handle, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(
	    ar_table_driver_get(handle, NULL, SM_STR("to:@xn--bcher-kva.test"), &value), 0);
	assert_true(sm_str_eq(value, SM_STR("1")));
	assert_int_equal(ar_table_driver_get(handle, NULL, SM_STR("j\xc3\xb6rg.m"), &value), 0);
	assert_int_equal(ar_table_driver_get(handle, NULL, SM_STR("xn--jrg-sna.m"), &value), 0);
	assert_true(sm_str_eq(value, SM_STR("2")));
	assert_int_equal(ar_table_driver_get(handle, NULL,
	                                     SM_STR("to:@b\xc3\xbc"
	                                            "cher.test"),
	                                     &value),
	                 SM_E_NOTFOUND);
	ar_table_driver_close(handle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_domains),
	    cmocka_unit_test(test_no_implicit_subdomains),
	    cmocka_unit_test(test_subdomain),
	    cmocka_unit_test(test_ips),
	    cmocka_unit_test(test_addresses),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_address_subdomain),
	    cmocka_unit_test(test_too_long),
	    cmocka_unit_test(test_address_key),
	    cmocka_unit_test(test_key_ascii),
	    cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
