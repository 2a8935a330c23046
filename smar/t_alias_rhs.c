/* Right hand sides of aliases and texts of lists: what they mean, what is refused and in which
 * words; macros. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/buf.h"
#include "libsm/err.h"
#include "smar/alias_rhs.h"

static struct sm_arena arena;

static int setup(void **state)
{
	(void)state;
	sm_arena_init(&arena, "test", 4096, 1 << 24);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sm_arena_fini(&arena);
	return 0;
}

static struct ar_macros macros_of(const char *mailbox, const char *subdomain)
{
	struct ar_macros m = {.subdomain = sm_str(subdomain), .tag = SM_STR("")};

	ar_parts_of(sm_str(mailbox), '+', &m.parts);
	return m;
}

/* Members with a blank between; names of lists begin with a colon. */
static const char *text_of(const struct ar_members *m)
{
	struct sm_buf b;
	struct sm_str s;

	sm_buf_init(&b, 65536);
	for (size_t i = 0; i < m->count; i++)
		sm_buf_printf(&b, "%s%s" SM_STR_FMT, i > 0 ? " " : "",
		              m->v[i].kind == AR_MEMBER_INCLUDE ? ":" : "",
		              SM_STR_ARG(m->v[i].text));
	s = sm_arena_str(&arena, sm_buf_view(&b));
	sm_buf_fini(&b);
	return s.p;
}

enum { PLAIN, LOCAL, VERP };
static const struct {
	const char *rhs;
	int kind;
	const char *members; /* NULL: refused */
	const char *diag;    /* part of it */
} rows[] = {
    /* The manual's. */
    {"localuser", PLAIN, "localuser@host.example", NULL},
    {"<user1@my.dom> <user2@my.dom> <localuser@local.host>", PLAIN,
     "user1@my.dom user2@my.dom localuser@local.host", NULL},
    {"user+abuse", PLAIN, "user+abuse@host.example", NULL},
    {"<user@host.domain>", PLAIN, "user@host.domain", NULL},
    {"local:", LOCAL, "", NULL},
    {" Local: ", LOCAL, "", NULL},
    /* Forms. */
    {"user@Elsewhere.Example", PLAIN, "user@elsewhere.example", NULL},
    {"\t<a@b.example>\t  <c@d.example> ", PLAIN, "a@b.example c@d.example", NULL},
    {"<Postmaster>", PLAIN, "Postmaster@host.example", NULL},
    {"<\"john doe\"@b.example>", PLAIN, "\"john doe\"@b.example", NULL},
    {"<\"a>b\"@b.example> <c@d.example>", PLAIN, "\"a>b\"@b.example c@d.example", NULL},
    {"<u@[192.0.2.1]>", PLAIN, "u@[192.0.2.1]", NULL},
    {"<${user}@b.example>", PLAIN, "${user}@b.example", NULL}, /* macros are off */
    {":include:staff", PLAIN, ":staff", NULL},
    {":Include:a/b.list <x@y.example> :include:c", PLAIN, ":a/b.list x@y.example :c", NULL},
    {"verp: <a@b.example>", VERP, "a@b.example", NULL},
    {"VERP:\tsomeuser", VERP, "someuser@host.example", NULL},
    /* What people bring along. */
    {"user1, user2", PLAIN, NULL, "no commas"},
    {"<a@b.example>, <c@d.example>", PLAIN, NULL, "no commas"},
    {"a@b.example,c@d.example", PLAIN, NULL, "no commas"},
    {"\"John, Doe\" <john@b.example>", PLAIN, NULL, "quotes belong into an address"},
    {"\"|/usr/bin/vacation john\"", PLAIN, NULL, "programs and files"},
    {"|/usr/bin/vacation", PLAIN, NULL, "programs and files"},
    {"/var/mail/archive", PLAIN, NULL, "programs and files"},
    {"\"/var/mail/x y\"", PLAIN, NULL, "programs and files"},
    {"\\john", PLAIN, NULL, "names itself"},
    {":include:/etc/mail/list", PLAIN, NULL, "aliases.include_directory"},
    /* Wrong. */
    {"", PLAIN, NULL, "no address"},
    {"verp:", PLAIN, NULL, "no address"},
    {"verp: local:", PLAIN, NULL, "not possible here"},
    {"local: <a@b.example>", PLAIN, NULL, "stands alone"},
    {"<a@b.example> local:", PLAIN, NULL, "not possible here"},
    {"user1 # a comment", PLAIN, NULL, "line of its own"},
    {"<a@b.example> #c", PLAIN, NULL, "line of its own"},
    {"user1 user2", PLAIN, NULL, "each stands in <>"},
    {"user1 <a@b.example>", PLAIN, NULL, "each stands in <>"},
    {"<a@b.example> user1", PLAIN, NULL, "each stands in <>"},
    {"<user1> <user2>", PLAIN, NULL, "address without domain"},
    {"<a@b.example", PLAIN, NULL, "no \">\""},
    {"<\"a@b.example>", PLAIN, NULL, "no \">\""},
    {"<a@b.example><c@d.example>", PLAIN, NULL, "no blank behind"},
    {"<>", PLAIN, NULL, "address without domain"},
    {"<a@b_c.example>", PLAIN, NULL, "domain"},
    {"a@b@c", PLAIN, NULL, "domain"},
    {"\"\"", PLAIN, NULL, "quotes belong"},
    {"<@b.example>", PLAIN, NULL, "empty local part"},
    {"<\xc3\xa4@b.example>", PLAIN, "\xc3\xa4@b.example", NULL},
    {"<a@\xc3\xa4.example> <c@d.example>", PLAIN, "a@\xc3\xa4.example c@d.example", NULL},
    {"<\xe4@b.example>", PLAIN, NULL, "not in UTF-8"},
    {"<a@\xe4.example>", PLAIN, NULL, "domain"},
    {":include:", PLAIN, NULL, "no name"},
    {":include:../secret", PLAIN, NULL, "begins with a dot"},
    {":include:a/../../secret", PLAIN, NULL, "begins with a dot"},
    {":include:a//b", PLAIN, NULL, "is empty or"},
    {":include:a/", PLAIN, NULL, "is empty or"},
    {":include:.", PLAIN, NULL, "begins with a dot"},
    {":include:.hidden", PLAIN, NULL, "begins with a dot"},
    {":include:a\x01", PLAIN, NULL, "0x01"},
    {":include:a,b", PLAIN, NULL, "no commas"},
};

static void right_hand_sides(void **state)
{
	const struct ar_rhs_how how = {.domain = SM_STR("host.example"), .max_members = 100};
	struct ar_rhs rhs;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		int rc = ar_rhs_parse(sm_str(rows[i].rhs), &how, &arena, &rhs);

		if (rows[i].members == NULL) {
			if (rc != SM_E_SYNTAX || strstr(sm_diag(), rows[i].diag) == NULL)
				fail_msg("\"%s\": %d %s", rows[i].rhs, rc, sm_diag());
			assert_int_equal(ar_rhs_check(sm_str(rows[i].rhs), false), SM_E_SYNTAX);
			continue;
		}
		if (rc != 0)
			fail_msg("\"%s\": %s", rows[i].rhs, sm_diag());
		assert_string_equal(text_of(&rhs.members), rows[i].members);
		assert_int_equal(rhs.local, rows[i].kind == LOCAL);
		assert_int_equal(rhs.verp, rows[i].kind == VERP);
		assert_int_equal(ar_rhs_check(sm_str(rows[i].rhs), false), 0);
	}
}

static const struct {
	const char *rhs, *mailbox, *subdomain;
	int rc;
	const char *members; /* or a part of the diag */
} macro_rows[] = {
    /* The manual's: alias*@.domain. */
    {"user${extension}@${subdomain}.domain", "alias@host.domain", "host", 0, "user@host.domain"},
    {"user${extension}@${subdomain}.domain", "alias+detail@host2.domain", "host2", 0,
     "user+detail@host2.domain"},
    {"user${extension}@x.example", "alias+@x.example", "", 0, "user+@x.example"},
    {"<${user}@x.example> <${user}-${detail}@${domain}>", "a+b@c.example", "", 0,
     "a@x.example a-b@c.example"},
    {"${user}${delimiter}spam", "a@c.example", "", 0, "a+spam@host.example"},
    {"${detail}", "x+root@c.example", "", 0, "root@host.example"},
    {"a${tag}b", "x@c.example", "", 0, "ab@host.example"},
    {"<$1$@x.example>", "x@c.example", "", 0, "$1$@x.example"},
    /* Case is kept. */
    {"<${user}${extension}@x.example>", "Ann+Box@c.example", "", 0, "Ann+Box@x.example"},
    /* A quoted local part is the user, and stays one word. */
    {"<${user}@x.example>", "\"a b> <c@d\"@c.example", "", 0, "\"a b> <c@d\"@x.example"},
    {"<${user}@x.example>", "\"local:\"@c.example", "", 0, "\"local:\"@x.example"},
    {"${user}", "\":include:x\"@c.example", "", 0, "\":include:x\"@host.example"},
    {"pre-${user}", "\"a b\"@c.example", "", SM_E_RANGE, "pre-"},
    /* What makes no address with this one. */
    {"${detail}", "a@c.example", "", SM_E_RANGE, "empty local part"},
    {"<a@${subdomain}.example>", "a@c.example", "", SM_E_RANGE, "empty label"},
    {"<${user}@x.example>", "${user}@c.example", "", 0, "${user}@x.example"},
    {"<${user}${user}@x.example>", "a23456789012345678901234567890123@c.example", "", SM_E_RANGE,
     "longer than 64"},
    /* Wrong for every address. */
    {"<${User}@x.example>", "a@c.example", "", SM_E_SYNTAX, "unknown macro ${User}"},
    {"<a${user@x.example>", "a@c.example", "", SM_E_SYNTAX, "not closed"},
    {"<${}@x.example>", "a@c.example", "", SM_E_SYNTAX, "unknown macro ${}"},
    {":include:${user}", "a@c.example", "", SM_E_SYNTAX, "no macros in the name"},
};

static void macros(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(macro_rows); i++) {
		struct ar_macros m = macros_of(macro_rows[i].mailbox, macro_rows[i].subdomain);
		const struct ar_rhs_how how = {
		    .macros = &m, .domain = SM_STR("host.example"), .max_members = 100};
		struct ar_rhs rhs;
		int rc = ar_rhs_parse(sm_str(macro_rows[i].rhs), &how, &arena, &rhs);

		if (rc != macro_rows[i].rc)
			fail_msg("row %zu \"%s\": %d %s", i, macro_rows[i].rhs, rc, sm_diag());
		if (rc == 0)
			assert_string_equal(text_of(&rhs.members), macro_rows[i].members);
		else if (strstr(sm_diag(), macro_rows[i].members) == NULL)
			fail_msg("row %zu: %s", i, sm_diag());
		if (rc == SM_E_SYNTAX)
			assert_int_equal(ar_rhs_check(sm_str(macro_rows[i].rhs), true),
			                 SM_E_SYNTAX);
		else
			assert_int_equal(ar_rhs_check(sm_str(macro_rows[i].rhs), true), 0);
	}
}

/* A replacement is not looked through again, and is bounded. */
static void replacement(void **state)
{
	struct ar_macros m = macros_of("${domain}+${user}@a.example", "");
	char big[4096];
	struct sm_str out;

	(void)state;
	m.tag = SM_STR("to");
	assert_int_equal(
	    ar_macro_replace(SM_STR("${tag}:${user}|${detail}|$ {}"), &m, &arena, &out), 0);
	assert_true(sm_str_eq(out, SM_STR("to:${domain}|${user}|$ {}")));
	assert_int_equal(ar_macro_replace(SM_STR("none"), &m, &arena, &out), 0);
	assert_true(sm_str_eq(out, SM_STR("none")));
	for (size_t i = 0; i + 7 <= sizeof(big); i += 7)
		memcpy(big + i, "${user}", 7);
	assert_int_equal(ar_macro_replace(sm_str_n(big, 4095), &m, &arena, &out), 0);
	assert_int_equal(out.n, 4095 / 7 * 9);
	m.parts.user = sm_str_n(big, 4095);
	assert_int_equal(ar_macro_replace(sm_str_n(big, 4095), &m, &arena, &out), SM_E_TOOBIG);
}

static int include(const char *text, size_t max, struct ar_members *out)
{
	const struct ar_macros m = macros_of("a@b.example", "");
	const struct ar_rhs_how how = {
	    .macros = &m, .domain = SM_STR("host.example"), .max_members = max};

	*out = (struct ar_members){.count = 0};
	return ar_include_parse("staff", sm_str(text), &how, &arena, out);
}

static const struct {
	const char *text, *diag;
} bad_lists[] = {
    {"a@b.example\nc@d.example, e@f.example\n", "staff:2: no commas"},
    {"\n\n:include:other\n", "staff:3: a list cannot include"},
    {"local:\n", "staff:1: \"local:\" is not possible here"},
    {"a@b.example c@d.example\n", "staff:1: of several addresses"},
    {"a@b.example#x\n", "staff:1: \"a@b.example#x\""},
    {"Ann <ann@b.example>\n", "staff:1: of several addresses"},
};

static void lists(void **state)
{
	struct ar_members m;
	struct sm_buf b;

	(void)state;
	assert_int_equal(
	    include("# staff\n\nann@b.example\r\n  <Bob@B.example> \n"
	            "carl # the new one\n<d@e.example> <f@g.example>\n<x#y@z.example>\n"
	            "${user}@h.example",
	            100, &m),
	    0);
	assert_string_equal(text_of(&m),
	                    "ann@b.example Bob@b.example carl@host.example d@e.example f@g.example "
	                    "x#y@z.example ${user}@h.example");
	assert_int_equal(include("", 100, &m), 0);
	assert_int_equal(m.count, 0);
	assert_int_equal(include("a\nb\nc\n", 3, &m), 0);
	assert_int_equal(include("a\nb\nc\nd\n", 3, &m), SM_E_TOOBIG);
	assert_string_equal(sm_diag(), "staff:4: more than 3 members");
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad_lists); i++) {
		assert_int_equal(include(bad_lists[i].text, 100, &m), SM_E_SYNTAX);
		if (strstr(sm_diag(), bad_lists[i].diag) == NULL)
			fail_msg("%s", sm_diag());
	}
	sm_buf_init(&b, 65536);
	for (int i = 0; i < AR_INCLUDE_LINE_MAX; i++)
		sm_buf_char(&b, ' ');
	assert_int_equal(include(sm_buf_c(&b), 3, &m), 0);
	sm_buf_char(&b, ' ');
	assert_int_equal(include(sm_buf_c(&b), 3, &m), SM_E_SYNTAX);
	sm_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(right_hand_sides, setup, teardown),
	    cmocka_unit_test_setup_teardown(macros, setup, teardown),
	    cmocka_unit_test_setup_teardown(replacement, setup, teardown),
	    cmocka_unit_test_setup_teardown(lists, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
