/* The configuration language: grammar and values. */
#include "libsm/t_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libsm/buf.h"
#include "libsm/conf_value.h"

/* ---- grammar ---- */

static void grammar_accepts(void **state)
{
	static const char *const good[] = {
	    "",
	    "  # only a comment",
	    "a = b;",
	    "A=b;",
	    "a={};",
	    "a={}",
	    "a = { b };",
	    "a = { b, \"c\" }",
	    "s { }",
	    "s { };",
	    "s name { a = b; };",
	    "s \"a name\" {}",
	    "s{t{u{a=1;}}}",
	    "/* c */ a /* d */ = /**/ b; # e\n",
	    "a = 1h 5m 12s;",
	    "a = b;\r\nc = d;\r\n",
	    "\xef\xbb\xbf A = b;",
	    "a = \"x\" \"y\"\n\t# between\n\"z\";",
	    "a = \"\";",
	    "a=b;s{}b=c;",
	    "s {} s {}",
	    "s a {} s b {}",
	    "t { s a {} s a {} }",
	    "a = \"1 = 2; { } , # /*\";",
	    "a = /etc/passwd;",
	    "a = 10.0.0.1;",
	    "a = [::1];",
	    "a = user@host;",
	    "s1{s2{s3{s4{s5{s6{s7{s8{a=1;}}}}}}}}",
	};
	struct sm_conf_file f;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(good); i++) {
		if (sm_conf_parse(&f, "f", sm_str(good[i])) != 0)
			fail_msg("%s: %s", good[i], sm_diag());
		sm_conf_free(&f);
	}
}

static void grammar_refuses(void **state)
{
	static const struct {
		const char *text, *diag;
	} bad[] = {
	    {"a", "f:1: \"=\" or \"{\" expected after a, not the end of the file"},
	    {"\n\na = ;", "f:3: value expected for a, not \";\""},
	    {"a = b", "f:1: missing \";\" after the value of a"},
	    {"a = 5\nb = 6;", "f:1: missing \";\" after the value of a"},
	    {"a = b, c;", "f:1: several values for a must stand in braces"},
	    {"a = \"b\" c;", "f:1: missing \";\" after the value of a"},
	    {"a = { b,\n };", "f:2: value expected for a, not \"}\""},
	    {"a = { b\nc = d;", "f:2: \",\" or \"}\" expected in the list of a, not \"=\""},
	    {"a = { b\n", "f:2: missing \"}\": the list of a began on line 1"},
	    {"\nqmgr {\n a = b;\n", "f:4: missing \"}\": section qmgr began on line 2"},
	    {"}", "f:1: \"}\" closes nothing"},
	    {"s {} }", "f:1: \"}\" closes nothing"},
	    {"= b;", "f:1: name of an option or a section expected, not \"=\""},
	    {"\"a\" = b;", "f:1: name of an option or a section expected, not \"a\""},
	    {";", "f:1: name of an option or a section expected, not \";\""},
	    {"a b = c;", "f:1: \"{\" expected after a b, not \"=\""},
	    {"a = \"b;\nc", "f:1: string is not closed on its line"},
	    {"a = \"b\\", "f:1: string is not closed on its line"},
	    {"a = \"\\x\";", "f:1: unknown escape in a string"},
	    {"\n/* a\n b", "f:2: comment is never closed"},
	    {"# one\n/* two\nthree */ a =\n;", "f:4: value expected for a, not \";\""},
	    {"a /", "f:1: \"{\" expected after a /, not the end of the file"},
	    {"/*", "f:1: comment is never closed"},
	    {"a = b\001;", "f:1: control character 0x01 in the text"},
	    {"a = \"b\177\";", "f:1: control character 0x7f in the text"},
	    {"smtps MTA {}\nSMTPS mta {}", "f:2: section SMTPS mta was given on line 1 already"},
	    {"s1{s2{s3{s4{s5{s6{s7{s8{s9{", "f:1: sections nest deeper than 8"},
	};
	struct sm_conf_file f;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		int rc = sm_conf_parse(&f, "f", sm_str(bad[i].text));
		if (rc == 0 || strncmp(sm_diag(), bad[i].diag, strlen(bad[i].diag)) != 0)
			fail_msg("%s: %d %s", bad[i].text, rc, rc != 0 ? sm_diag() : "");
	}
	assert_int_equal(sm_conf_parse(&f, "f", sm_str_n("a = b;\0", 7)), SM_E_SYNTAX);
}

static void tree_is_as_written(void **state)
{
	struct sm_conf_file f;

	(void)state;
	assert_int_equal(sm_conf_parse(&f, "f",
	                               SM_STR("Glob = \"a\" \"b\\\"\\\\\\n\\t\"\n\"c\";\n"
	                                      "s N { t = 1h  5m; l = { x , \"y z\" }; u { } }\n"
	                                      "q { a = 1; }\nq { b = 2; }")),
	                 0);
	struct sm_conf_node *n = f.root.first;
	assert_str(n->key, "Glob");
	assert_str(n->values->text, "ab\"\\\n\tc");
	assert_null(n->values->next);
	n = n->next;
	assert_true(n->is_section);
	assert_str(n->name, "N");
	assert_int_equal(n->line, 3);
	assert_str(n->first->values->text, "1h 5m");
	assert_false(n->first->is_list);
	assert_true(n->first->next->is_list);
	assert_str(n->first->next->values->next->text, "y z");
	assert_true(n->last->is_section);
	assert_ptr_equal(n->last->parent, n);
	/* The two unnamed q are one. */
	n = n->next;
	assert_str(n->key, "q");
	assert_int_equal(n->first->line, 4);
	assert_int_equal(n->last->line, 5);
	assert_null(n->next);
	sm_conf_free(&f);
}

static void find_section(void **state)
{
	struct sm_conf_file f;

	(void)state;
	assert_int_equal(
	    sm_conf_parse(&f, "f", SM_STR("a = 1; one X {} two A {} two B {} three {} three C {}")),
	    0);
	assert_str(sm_conf_find(&f, SM_STR("ONE"), SM_STR_NONE)->name, "X"); /* the only one */
	assert_null(sm_conf_find(&f, SM_STR("two"), SM_STR_NONE));           /* which? */
	assert_str(sm_conf_find(&f, SM_STR("two"), SM_STR("b"))->name, "B");
	assert_str(sm_conf_find(&f, SM_STR("three"), SM_STR_NONE)->name, ""); /* the unnamed one */
	assert_null(sm_conf_find(&f, SM_STR("one"), SM_STR("Y")));
	assert_null(sm_conf_find(&f, SM_STR("a"), SM_STR_NONE));
	sm_conf_free(&f);
}

static void limits_hold(void **state)
{
	struct sm_conf_file f;
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 4 << 20);
	/* as many entries as are allowed, each as costly as it can be in 1 MiB, then one more */
	for (int i = 0; i < 10000; i++)
		sm_buf_cstr(
		    &b, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\";\n");
	assert_int_equal(sm_conf_parse(&f, "f", sm_buf_view(&b)), 0);
	sm_conf_free(&f);
	sm_buf_cstr(&b, "a=b;");
	assert_int_equal(sm_conf_parse(&f, "f", sm_buf_view(&b)), SM_E_TOOBIG);
	assert_string_equal(sm_diag(), "f:10001: more than 20000 entries");
	sm_buf_reset(&b);
	sm_buf_cstr(&b, "a = \"");
	for (int i = 0; i < 65536; i++)
		sm_buf_char(&b, 'x');
	sm_buf_cstr(&b, "\";");
	assert_int_equal(sm_conf_parse(&f, "f", sm_buf_view(&b)), 0);
	assert_int_equal(f.root.first->values->text.n, 65536);
	sm_conf_free(&f);
	sm_buf_truncate(&b, b.len - 2);
	sm_buf_cstr(&b, "x\";");
	assert_int_equal(sm_conf_parse(&f, "f", sm_buf_view(&b)), SM_E_TOOBIG);
	while (b.len < (1 << 20))
		sm_buf_cstr(&b,
		            "# ##############################################################\n");
	assert_int_equal(sm_conf_parse(&f, "f", sm_buf_view(&b)), SM_E_TOOBIG);
	assert_string_equal(sm_diag(), "f: larger than 1048576 bytes");
	sm_buf_fini(&b);
}

static void load_file(void **state)
{
	char path[] = "/tmp/t_conf.XXXXXX";
	int fd = mkstemp(path);
	struct sm_conf_file f;

	(void)state;
	assert_int_equal(write(fd, "a = b;", 6), 6);
	close(fd);
	assert_int_equal(sm_conf_load(&f, path), 0);
	assert_str(f.root.first->values->text, "b");
	sm_conf_free(&f);
	unlink(path);
	assert_int_equal(sm_conf_load(&f, path), SM_E_NOTFOUND);
	assert_non_null(strstr(sm_diag(), path));
	assert_int_not_equal(sm_conf_load(&f, "/tmp"), 0);
	sm_conf_free(&f); /* harmless after a failure */
}

/* ---- values ---- */

static void numbers(void **state)
{
	static const struct {
		const char *text;
		int rc;
		int64_t v;
	} t[] = {
	    {"0", 0, 0},
	    {"25", 0, 25},
	    {"0x1F", 0, 31},
	    {"0Xff", 0, 255},
	    {"017", 0, 15},
	    {"-5", 0, -5},
	    {"9223372036854775807", 0, INT64_MAX},
	    {"9223372036854775808", SM_E_RANGE, 0},
	    {"0777777777777777777777", 0, INT64_MAX},
	    {"01777777777777777777777", SM_E_RANGE, 0},
	    {"0x7fffffffffffffff", 0, INT64_MAX},
	    {"0x8000000000000000", SM_E_RANGE, 0},
	    {"08", SM_E_SYNTAX, 0},
	    {"", SM_E_SYNTAX, 0},
	    {"-", SM_E_SYNTAX, 0},
	    {"0x", SM_E_SYNTAX, 0},
	    {"1 2", SM_E_SYNTAX, 0},
	    {"5m", SM_E_SYNTAX, 0},
	    {"--1", SM_E_SYNTAX, 0},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		int64_t v = 0;
		int rc = sm_conf_int(sm_str(t[i].text), &v);
		if (rc != t[i].rc || (rc == 0 && v != t[i].v))
			fail_msg("%s: %d %lld", t[i].text, rc, (long long)v);
	}
}

static void times_and_sizes(void **state)
{
	static const struct {
		char kind; /* t ms, u us, s bytes, k KB */
		const char *text;
		int rc;
		int64_t v;
	} t[] = {
	    {'t', "5", 0, 5000},
	    {'t', "0x10", 0, 16000},
	    {'t', "5m3s", 0, 303000},
	    {'t', "1h 5m 12s", 0, 3912000},
	    {'t', " 1W 1D ", 0, 691200000},
	    {'t', "100ms", 0, 100},
	    {'t', "5000us", 0, 5},
	    {'t', "1s500ms", 0, 1500},
	    {'t', "500us", SM_E_SYNTAX, 0},
	    {'t', "5x", SM_E_SYNTAX, 0},
	    {'t', "5m3", SM_E_SYNTAX, 0},
	    {'t', "m", SM_E_SYNTAX, 0},
	    {'t', "", SM_E_SYNTAX, 0},
	    {'t', "-5", SM_E_SYNTAX, 0},
	    {'t', "5 m", SM_E_SYNTAX, 0},
	    {'t', "1.5h", SM_E_SYNTAX, 0},
	    {'t', "9223372036854775807", SM_E_RANGE, 0},
	    {'t', "99999999999999999999w", SM_E_RANGE, 0},
	    {'t', "15250284w 15250284w", SM_E_RANGE, 0},
	    {'u', "500", 0, 500},
	    {'u', "500us", 0, 500},
	    {'u', "2ms", 0, 2000},
	    {'u', "1s", 0, 1000000},
	    {'s', "64", 0, 64},
	    {'s', "64b", 0, 64},
	    {'s', "64KB", 0, 65536},
	    {'s', "1MB 1KB", 0, 1049600},
	    {'s', "2gb", 0, 2LL << 30},
	    {'s', "2K", 0, 2048},
	    {'s', "2TB", SM_E_SYNTAX, 0},
	    {'s', "9999999999GB", SM_E_RANGE, 0},
	    {'k', "64", 0, 65536},
	    {'k', "64B", 0, 64},
	    {'k', "1MB", 0, 1 << 20},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		struct sm_str s = sm_str(t[i].text);
		int64_t v = 0;
		int rc = t[i].kind == 't'   ? sm_conf_time(s, false, &v)
		         : t[i].kind == 'u' ? sm_conf_time(s, true, &v)
		                            : sm_conf_size(s, t[i].kind == 'k', &v);
		if (rc != t[i].rc || (rc == 0 && v != t[i].v))
			fail_msg("%c %s: %d %lld", t[i].kind, t[i].text, rc, (long long)v);
	}
}

static void numbers_print_and_read_back(void **state)
{
	static const int64_t v[] = {0,
	                            1,
	                            999,
	                            1000,
	                            1001,
	                            60000,
	                            303000,
	                            3912000,
	                            65536,
	                            1 << 20,
	                            (1 << 20) + 1,
	                            691200001,
	                            5LL << 30,
	                            1LL << 50,
	                            INT64_MAX / 1000,
	                            INT64_MAX / 1000 - 1};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(v); i++) {
		struct sm_buf b;
		int64_t back;
		sm_buf_init(&b, 1000);
		sm_conf_put_time(&b, v[i], false);
		assert_int_equal(sm_conf_time(sm_buf_view(&b), false, &back), 0);
		assert_int_equal(back, v[i]);
		sm_buf_reset(&b);
		sm_conf_put_time(&b, v[i], true);
		assert_int_equal(sm_conf_time(sm_buf_view(&b), true, &back), 0);
		assert_int_equal(back, v[i]);
		sm_buf_reset(&b);
		sm_conf_put_size(&b, v[i]);
		assert_int_equal(sm_conf_size(sm_buf_view(&b), true, &back), 0);
		assert_int_equal(back, v[i]);
		sm_buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(grammar_accepts),
	    cmocka_unit_test(grammar_refuses),
	    cmocka_unit_test(tree_is_as_written),
	    cmocka_unit_test(find_section),
	    cmocka_unit_test(limits_hold),
	    cmocka_unit_test(load_file),
	    cmocka_unit_test(numbers),
	    cmocka_unit_test(times_and_sizes),
	    cmocka_unit_test(numbers_print_and_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
