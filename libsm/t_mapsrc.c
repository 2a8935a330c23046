/* Unit tests of mapsrc.c: what is an entry, what is wrong and where, and the way back to text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "libsm/mapsrc.h"

struct got {
	struct sm_buf text; /* "line:key=value;" for each entry */
	struct sm_buf errors;
	int refuse_line;
};

static int on_entry(void *arg, const struct sm_mapsrc_entry *e)
{
	struct got *g = arg;

	if ((int)e->line == g->refuse_line)
		return sm_fail(SM_E_RANGE, "not this one");
	sm_buf_printf(&g->text, "%u:" SM_STR_FMT "=" SM_STR_FMT ";", e->line, SM_STR_ARG(e->key),
	              SM_STR_ARG(e->value));
	return 0;
}

static bool on_wrong(void *arg, int err)
{
	struct got *g = arg;

	assert_true(err < 0);
	sm_buf_printf(&g->errors, "%s;", sm_diag());
	return true;
}

static int setup(void **state)
{
	struct got *g = calloc(1, sizeof(*g));

	sm_buf_init(&g->text, 1 << 20);
	sm_buf_init(&g->errors, 1 << 20);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct got *g = *state;

	sm_buf_fini(&g->text);
	sm_buf_fini(&g->errors);
	free(g);
	return 0;
}

static int through_file(const struct sm_mapsrc *src, struct sm_str text)
{
	FILE *f = tmpfile();
	int rc;

	assert_non_null(f);
	assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
	assert_int_equal(fflush(f), 0);
	assert_int_equal(lseek(fileno(f), 0, SEEK_SET), 0);
	rc = sm_mapsrc_fd(src, fileno(f));
	fclose(f);
	return rc;
}

/* Both from memory and from a file. */
static int read_it(struct got *g, unsigned flags, struct sm_str text)
{
	struct sm_mapsrc src = {.name = "t", .flags = flags, .entry = on_entry, .arg = g};
	char *first;
	int rc;

	sm_buf_reset(&g->text);
	rc = sm_mapsrc_text(&src, text);
	first = strdup(sm_buf_c(&g->text));
	sm_buf_reset(&g->text);
	assert_int_equal(through_file(&src, text), rc);
	assert_string_equal(sm_buf_c(&g->text), first);
	free(first);
	return rc;
}

static void expect(void **state, unsigned flags, const char *text, const char *want)
{
	assert_int_equal(read_it(*state, flags, sm_str(text)), 0);
	assert_string_equal(sm_buf_c(&((struct got *)*state)->text), want);
}

static void expect_wrong(void **state, unsigned flags, struct sm_str text, int rc, const char *diag)
{
	assert_int_equal(read_it(*state, flags, text), rc);
	assert_string_equal(sm_diag(), diag);
}

static void test_entries(void **state)
{
	expect(state, 0, "", "");
	expect(state, 0, "a b\nc\t \td  e \n", "1:a=b;2:c=d  e;");
	expect(state, 0, "a b\r\nc d\r\n", "1:a=b;2:c=d;");
	expect(state, 0, "a b", "1:a=b;");
	expect(state, 0, "# no\n\n  # no\n\t \na b # yes\n", "5:a=b # yes;");
	expect(state, 0, "To:User@Example.ORG Relay\n", "1:to:user@example.org=Relay;");
	expect(state, SM_MAPSRC_CASE, "To:User x\n", "1:To:User=x;");
}

static void test_colons(void **state)
{
	expect(state, 0, "user: local:\nuser2 local:\n", "1:user=local:;2:user2=local:;");
	expect(state, 0, "to:@dom relay\ncltaddr:2001:db8 ok\n",
	       "1:to:@dom=relay;2:cltaddr:2001:db8=ok;");
	expect(state, 0, "a : b\nc : : d\ne :f\n", "1:a=b;2:c=: d;3:e=:f;");
	expect(state, 0, "dnsbl:temp error:451 4.7.1 x\n", "1:dnsbl:temp=error:451 4.7.1 x;");
	expect(state, 0, ". esmtp:[127.0.0.1]\n", "1:.=esmtp:[127.0.0.1];");
	expect_wrong(state, 0, SM_STR(": x\n"), SM_E_SYNTAX, "t:1: the key is empty");
	expect_wrong(state, 0, SM_STR("a:\n"), SM_E_SYNTAX, "t:1: nothing behind \"a\"");
	expect_wrong(state, 0, SM_STR("a :\n"), SM_E_SYNTAX, "t:1: nothing behind \"a\"");
	expect(state, SM_MAPSRC_EMPTY, "a:\nb\n", "1:a=;2:b=;");
}

static void test_quotes(void **state)
{
	expect(state, 0, "\"a b\" c\n\"A b\": c\n", "1:a b=c;2:a b=c;");
	expect(state, 0, "\"x y\"@dom: u\nto:\"x y\"@dom ok\n",
	       "1:\"x y\"@dom=u;2:to:\"x y\"@dom=ok;");
	expect(state, 0, "\"\\\"x y\\\"\" u\n\"a\\\\b\" c\n\"#\\x41:\" d\n",
	       "1:\"x y\"=u;2:a\\b=c;3:#a:=d;");
	expect(state, 0, "\"x\\\" y\"@dom: u\n", "1:\"x\\\" y\"@dom=u;");
	expect(state, 0, "a \"b c\n", "1:a=\"b c;");
	expect_wrong(state, 0, SM_STR("\"a b\n"), SM_E_SYNTAX, "t:1: a double quote is not closed");
	expect_wrong(state, 0, SM_STR("\"a\\n\" b\n"), SM_E_SYNTAX,
	             "t:1: in a quoted key \\ stands before \", \\ or xHH only");
	expect_wrong(state, 0, SM_STR("\"\" b\n"), SM_E_SYNTAX, "t:1: the key is empty");
}

static void test_continuation(void **state)
{
	expect(state, 0, "list: <a>\n  <b>\n# not this\n\t<c>  \nx y\n",
	       "1:list=<a> <b> <c>;5:x=y;");
	expect(state, 0, "list:\n  <b>\r\n\n", "1:list=<b>;");
	expect_wrong(state, 0, SM_STR(" a b\n"), SM_E_SYNTAX,
	             "t:1: the line begins with white space, but there is nothing to continue");
	expect_wrong(state, 0, SM_STR("a b\n\n c\n"), SM_E_SYNTAX,
	             "t:3: the line begins with white space, but there is nothing to continue");
}

static void test_whole(void **state)
{
	expect(state, SM_MAPSRC_WHOLE, "/a \"b/ c\n\t d \n# no\nx\n", "1:=/a \"b/ c d;4:=x;");
	expect_wrong(state, SM_MAPSRC_WHOLE, SM_STR("a\x01\n"), SM_E_SYNTAX,
	             "t:1: control character 0x01");
}

static void test_bad_bytes(void **state)
{
	expect_wrong(state, 0, SM_STR("a b\nc \0d\n"), SM_E_SYNTAX, "t:2: control character 0x00");
	expect_wrong(state, 0, SM_STR("a b\rc\n"), SM_E_SYNTAX, "t:1: control character 0x0d");
	expect_wrong(state, 0, SM_STR("a b\x7f\n"), SM_E_SYNTAX, "t:1: control character 0x7f");
	expect(state, 0, "\xc3\xa4 \xc3\xb6\n", "1:\xc3\xa4=\xc3\xb6;");
}

static void test_too_long(void **state)
{
	struct got *g = *state;
	struct sm_buf b;

	sm_buf_init(&b, 1 << 20);
	for (int i = 0; i < SM_MAPSRC_KEY_MAX; i++)
		sm_buf_char(&b, 'k');
	sm_buf_cstr(&b, ": v\n");
	assert_int_equal(read_it(g, 0, sm_buf_view(&b)), 0);
	sm_buf_cstr(&b, "a b\n");
	for (int i = 0; i <= SM_MAPSRC_KEY_MAX; i++)
		sm_buf_char(&b, 'k');
	sm_buf_cstr(&b, " v\n");
	expect_wrong(state, 0, sm_buf_view(&b), SM_E_TOOBIG,
	             "t:3: the key is longer than 600 bytes");

	sm_buf_reset(&b);
	sm_buf_cstr(&b, "a b\nk v");
	for (unsigned i = 0; i < SM_MAPSRC_LINE_MAX / 8; i++)
		sm_buf_cstr(&b, "\n 1234567");
	sm_buf_cstr(&b, "\n go\nc d\n");
	sm_buf_reset(&g->errors);
	assert_int_equal(read_it(g, 0, sm_buf_view(&b)), SM_E_TOOBIG);
	/* What is left of the entry is not spoken of again. */
	struct sm_mapsrc src = {.name = "t", .entry = on_entry, .wrong = on_wrong, .arg = g};

	sm_buf_reset(&g->text);
	assert_int_equal(sm_mapsrc_text(&src, sm_buf_view(&b)), SM_E_TOOBIG);
	assert_string_equal(sm_buf_c(&g->errors), "t:8194: the entry is longer than 65536 bytes;");
	assert_string_equal(sm_buf_c(&g->text), "1:a=b;8196:c=d;");

	/* A line without end in a file. */
	sm_buf_reset(&b);
	sm_buf_cstr(&b, "a b\n");
	for (unsigned i = 0; i < SM_MAPSRC_LINE_MAX / 2; i++)
		sm_buf_cstr(&b, "1234");
	assert_int_equal(through_file(&src, sm_buf_view(&b)), SM_E_TOOBIG);
	assert_string_equal(sm_diag(), "t:2: the line is longer than 65536 bytes");
	sm_buf_fini(&b);
}

static void test_unique(void **state)
{
	expect(state, 0, "a b\nA c\n", "1:a=b;2:a=c;");
	expect_wrong(state, SM_MAPSRC_UNIQUE, SM_STR("a b\nb: c\n\nA d\n"), SM_E_EXISTS,
	             "t:4: \"a\" is in line 1 already");
	expect(state, SM_MAPSRC_UNIQUE | SM_MAPSRC_CASE, "a b\nA c\n", "1:a=b;2:A=c;");
}

static void test_all_errors(void **state)
{
	struct got *g = *state;
	struct sm_mapsrc src = {
	    .name = "m", .flags = SM_MAPSRC_UNIQUE, .entry = on_entry, .wrong = on_wrong, .arg = g};

	g->refuse_line = 6;
	assert_int_equal(sm_mapsrc_text(&src, sm_str("a b\nc\na d\ne\x01 f\n g\nh i\nj k\n")),
	                 SM_E_SYNTAX);
	assert_string_equal(sm_buf_c(&g->text), "1:a=b;7:j=k;");
	assert_string_equal(sm_buf_c(&g->errors),
	                    "m:2: nothing behind \"c\";m:3: \"a\" is in line 1 already;"
	                    "m:4: control character 0x01;m:6: not this one;");
}

/* Pieces of a file end anywhere in a line. */
static void test_large(void **state)
{
	struct got *g = *state;
	struct sm_buf b, want;
	int n = 40000;

	sm_buf_init(&b, 8 << 20);
	sm_buf_init(&want, 8 << 20);
	sm_buf_fini(&g->text);
	sm_buf_init(&g->text, 8 << 20);
	for (int i = 1; i <= n; i++) {
		sm_buf_printf(&b, "key%d@example.org value %d\n", i, i * 7);
		sm_buf_printf(&want, "%d:key%d@example.org=value %d;", i, i, i * 7);
	}
	assert_int_equal(read_it(g, SM_MAPSRC_UNIQUE, sm_buf_view(&b)), 0);
	assert_true(sm_str_eq(sm_buf_view(&g->text), sm_buf_view(&want)));
	sm_buf_cstr(&b, "x y\nkey39999@example.org z\n");
	expect_wrong(state, SM_MAPSRC_UNIQUE, sm_buf_view(&b), SM_E_EXISTS,
	             "t:40002: \"key39999@example.org\" is in line 39999 already");
	sm_buf_fini(&b);
	sm_buf_fini(&want);
}

static void test_file(void **state)
{
	struct sm_mapsrc src = {.name = "/nowhere/x", .entry = on_entry, .arg = *state};

	assert_int_equal(sm_mapsrc_file(&src, "/nowhere/x"), SM_E_NOTFOUND);
	assert_int_equal(sm_mapsrc_file(&src, "/"), SM_E_SYS); /* a directory cannot be read */
}

struct pair {
	struct sm_str key, value;
	bool found;
};
static int is_pair(void *arg, const struct sm_mapsrc_entry *e)
{
	struct pair *p = arg;

	assert_false(p->found);
	p->found = true;
	assert_true(sm_str_eq(e->key, p->key));
	assert_true(sm_str_eq(e->value, p->value));
	return 0;
}

static void expect_back(struct sm_str key, struct sm_str value)
{
	struct pair p = {key, value, false};
	struct sm_mapsrc src = {
	    .name = "back", .flags = SM_MAPSRC_CASE | SM_MAPSRC_EMPTY, .entry = is_pair, .arg = &p};
	struct sm_buf b;

	sm_buf_init(&b, 1 << 20);
	assert_int_equal(sm_mapsrc_write(&b, key, value), 0);
	assert_int_equal(sm_mapsrc_text(&src, sm_buf_view(&b)), 0);
	assert_true(p.found);
	sm_buf_fini(&b);
}

static void test_write(void **state)
{
	static const struct sm_str keys[] = {
	    SM_STR("a"),      SM_STR("#a"),   SM_STR(" a"),     SM_STR("a "),     SM_STR("\"a"),
	    SM_STR("\"a\""),  SM_STR("a:"),   SM_STR(":"),      SM_STR("a b\tc"), SM_STR("\\"),
	    SM_STR("a\\"),    SM_STR("\n"),   SM_STR("a\0b"),   SM_STR("\r\n #"), SM_STR("\x7f"),
	    SM_STR("\\x41"),  SM_STR("A"),    SM_STR("\xff"),   SM_STR("to:@d"),  SM_STR("."),
	    SM_STR("\"a\":"), SM_STR("\"\""), SM_STR("a\\\"b"),
	};
	static const struct sm_str values[] = {
	    SM_STR("x"),   SM_STR(":"),   SM_STR(": x"), SM_STR(":x"),   SM_STR("#"),
	    SM_STR("x #"), SM_STR("a:"),  SM_STR("\""),  SM_STR("a\tb"), SM_STR("a  b"),
	    SM_STR(""),    SM_STR("\\x"), SM_STR("\xff")};
	struct sm_buf b;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(keys); i++)
		for (size_t k = 0; k < SM_ARRAY_SIZE(values); k++)
			expect_back(keys[i], values[k]);
	sm_buf_init(&b, 1 << 20);
	sm_buf_cstr(&b, "before");
	assert_int_equal(sm_mapsrc_write(&b, SM_STR(""), SM_STR("x")), SM_E_NOTSUP);
	assert_int_equal(sm_mapsrc_write(&b, SM_STR("a"), SM_STR("x\n")), SM_E_NOTSUP);
	assert_string_equal(sm_diag(), "the value of \"a\": control character 0x0a");
	assert_int_equal(sm_mapsrc_write(&b, SM_STR("a"), SM_STR(" x")), SM_E_NOTSUP);
	assert_string_equal(sm_buf_c(&b), "before");
	sm_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_entries, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_colons, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_quotes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_continuation, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bad_bytes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_unique, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_all_errors, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_large, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_file, setup, teardown),
	    cmocka_unit_test(test_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
