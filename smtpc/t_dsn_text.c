/* Unit tests of dsn_text.c and mime.c: what an operator may write, and what is told about mistakes;
 * encodings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "libsm/msg.h"
#include "smtpc/dsn_text.h"
#include "smtpc/mime.h"

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/t_dsn_text.XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
	char command[100];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void put_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void built_in(void **state)
{
	struct sc_dsn_texts *t;

	(void)state;
	assert_int_equal(sc_dsn_texts_load(SM_STR(""), &t), 0);
	assert_int_equal(t->files, 0);
	for (unsigned i = 0; i < SC_DSN_KINDS; i++) {
		bool recipients = false;

		assert_true(t->of[i].subject.n > 0);
		for (size_t k = 0; k < t->of[i].count; k++)
			recipients = recipients || t->of[i].pieces[k].var == SC_DSN_RECIPIENTS;
		assert_true(recipients);
	}
	sc_dsn_texts_free(&t);
	assert_null(t);
}

static void files(void **state)
{
	struct sc_dsn_texts *t;

	(void)state;
	put_file("failed.txt", "Subject: no\r\n\r\nSorry, ${sender}.\r\n");
	put_file("notes", "this is nobody's");
	assert_int_equal(sc_dsn_texts_load(sm_str(dir), &t), 0);
	assert_int_equal(t->files, 1);
	const struct sc_dsn_text *x = &t->of[SM_DSN_FAILED];
	assert_true(sm_str_eq(x->subject, SM_STR("no")));
	assert_int_equal(x->count, 4);
	assert_true(sm_str_eq(x->pieces[0].text, SM_STR("Sorry, ")));
	assert_int_equal(x->pieces[1].var, SC_DSN_SENDER);
	assert_true(sm_str_eq(x->pieces[2].text, SM_STR(".")));
	assert_true(sm_str_eq(x->pieces[3].text, SM_STR("\r\n")));
	assert_true(sm_str_has_prefix(t->of[SM_DSN_DELAYED].subject, SM_STR("Warning")));
	sc_dsn_texts_free(&t);
	/* One mistake, and none of them is taken. */
	put_file("delayed.txt", "Subject: late\n\nline\n${what}\n");
	assert_int_equal(sc_dsn_texts_load(sm_str(dir), &t), SM_E_SYNTAX);
	assert_null(t);
	assert_non_null(strstr(sm_diag(), "/delayed.txt:4: unknown variable ${what}"));
	assert_int_not_equal(sc_dsn_texts_load(SM_STR("/nowhere/at/all"), &t), 0);
	assert_non_null(strstr(sm_diag(), "/nowhere/at/all"));
	char *large = malloc(20001);
	memset(large, 'x', 20000);
	memcpy(large, "Subject: x\n\n", 12);
	large[20000] = '\0';
	put_file("delayed.txt", large);
	free(large);
	assert_int_equal(sc_dsn_texts_load(sm_str(dir), &t), SM_E_TOOBIG);
}

static void mistakes(void **state)
{
	static const struct {
		const char *text, *diag;
	} rows[] = {
	    {"", "f:1: does not begin with \"Subject:\""},
	    {"Hello\n\nx\n", "f:1: does not begin"},
	    {"Subject:  \n\nx\n", "f:1: the subject has 0 bytes"},
	    {"Subject: x\n", "f:2: an empty line"},
	    {"Subject: x\ny\n", "f:2: an empty line"},
	    {"Subject: x\n\n", "f: no text"},
	    {"Subject: \xff\n\nx\n", "f:1: this is not UTF-8"},
	    {"Subject: x\n\nfine\n\xc3\n", "f:4: this is not UTF-8"},
	    {"Subject: x\n\n\xed\xa0\x80\n", "f:3: this is not UTF-8"},
	    {"Subject: x\n\n\xc0\xaf\n", "f:3: this is not UTF-8"},
	    {"Subject: x\n\n\xf4\x90\x80\x80\n", "f:3: this is not UTF-8"},
	    {"Subject: x\n\na\rb\n", "f:3: control character"},
	    {"Subject: x\ry\n\na\n", "f:1: control character"},
	    {"Subject: x\n\n${id\n", "f:3: ${ without }"},
	    {"Subject: x\n\n${}\n", "f:3: unknown variable ${}"},
	    {"Subject: x\n\n${ID}\n", "f:3: unknown variable ${ID}"},
	    {"Subject: x\n\nfor $5\n", "f:3: $ begins a variable"},
	    {"Subject: x\n\n$", "f:3: $ begins a variable"},
	};
	struct sc_dsn_text x;
	struct sm_arena a;

	(void)state;
	sm_arena_init(&a, "test", 4096, 1 << 20);
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		int rc = sc_dsn_text_parse(&a, "f", sm_str(rows[i].text), &x);
		if (rc != SM_E_SYNTAX || strstr(sm_diag(), rows[i].diag) == NULL)
			fail_msg("row %zu: %d %s", i, rc, sm_diag());
	}
	assert_int_equal(
	    sc_dsn_text_parse(&a, "f", SM_STR("Subject: x\n\n\xf0\x9f\x93\xa7 ok"), &x), 0);
	sm_arena_fini(&a);
}

static void quoted_printable(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
	    {"plain\r\n", "plain\r\n"},
	    {"a=b\r\n", "a=3Db\r\n"},
	    {"end \r\nend\t", "end=20\r\nend=09"},
	    {"\xc3\xa4 x\n\ry", "=C3=A4 x=0A=0Dy"},
	    {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
	     "123456789012345678901234567890123456789012345678901234567890123456789012345=\r\n"
	     "67890"},
	    {"1234567890123456789012345678901234567890123456789012345678901234567890123\xc3\xa4",
	     "1234567890123456789012345678901234567890123456789012345678901234567890123=\r\n"
	     "=C3=A4"},
	};
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 1000);
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		sm_buf_reset(&b);
		sc_mime_put_qp(&b, sm_str(rows[i].in));
		assert_string_equal(sm_buf_c(&b), rows[i].out);
	}
	sm_buf_fini(&b);
}

static void encoded_words(void **state)
{
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 1000);
	sc_mime_put_words(&b, SM_STR("as it is"));
	assert_string_equal(sm_buf_c(&b), "as it is");
	sm_buf_reset(&b);
	sc_mime_put_words(&b, SM_STR("\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
	                             "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"));
	assert_string_equal(
	    sm_buf_c(&b), "=?utf-8?Q?=C3=A4=C3=A4=C3=A4=C3=A4=C3=A4=C3=A4=C3=A4=C3=A4=C3=A4=C3=A4?"
			  "=\r\n =?utf-8?Q?=C3=A4?=");
	sm_buf_fini(&b);
}

static void kinds_of_text(void **state)
{
	char line[1100];

	(void)state;
	memset(line, 'x', sizeof(line));
	assert_int_equal(sc_mime_kind(SM_STR("a\r\nb")), SC_MIME_7BIT);
	assert_int_equal(sc_mime_kind(SM_STR("a\r\n\xe4")), SC_MIME_8BIT);
	assert_int_equal(sc_mime_kind(SM_STR("a\nb")), SC_MIME_BINARY);
	assert_int_equal(sc_mime_kind(SM_STR("a\rb")), SC_MIME_BINARY);
	assert_int_equal(sc_mime_kind(SM_STR("a\r")), SC_MIME_BINARY);
	assert_int_equal(sc_mime_kind(sm_str_n("\0", 1)), SC_MIME_BINARY);
	assert_int_equal(sc_mime_kind(sm_str_n(line, 998)), SC_MIME_7BIT);
	assert_int_equal(sc_mime_kind(sm_str_n(line, 999)), SC_MIME_BINARY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(built_in),      cmocka_unit_test(files),
	    cmocka_unit_test(mistakes),      cmocka_unit_test(quoted_printable),
	    cmocka_unit_test(encoded_words), cmocka_unit_test(kinds_of_text),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
