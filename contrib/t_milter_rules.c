/* Rules of milter-regex: what a file may say, what it says about it when it may not, and who wins.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/milter_rules.h"

static char *errors;
static size_t errors_n;

static struct mr_rules *rules_of(const char *text)
{
	FILE *f = fmemopen((char *)(uintptr_t)text, strlen(text), "r"), *e;
	struct mr_rules *r;

	free(errors);
	e = open_memstream(&errors, &errors_n);
	assert_non_null(f);
	r = mr_read(f, "f", e);
	fclose(f);
	fclose(e);
	return r;
}

static void good(struct mr_rules **r, struct mr_state **s, const char *text)
{
	*r = rules_of(text);
	if (*r == NULL)
		fail_msg("%s", errors);
	*s = mr_state_new(*r);
	assert_non_null(*s);
}

static void done(struct mr_rules *r, struct mr_state *s)
{
	mr_state_free(s);
	mr_free(r);
}

static unsigned line(const struct mr_rule *rule)
{
	return rule != NULL ? rule->line : 0;
}

static void reads(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"# only a comment\n\n", NULL},
	    {"accept mail /x/", NULL},
	    {"reject \"554 5.6.1 50% no\"\n\tmail ,a/b,i # comment\n  and not header /^x$/ !y!\n",
	     NULL},
	    {"add \"X-A\" \"say \\\"hi\\\"\" body /\\/\\d+/", NULL},
	    {"drop mail /x/\n",
	     "f:1: a rule begins with accept, reject, tempfail, discard, quarantine or add\n"},
	    {"\naccept mail\n", "f:2: a pattern is missing: /regular expression/\n"},
	    {"accept\n", "f:1: a condition is missing: connect, helo, mail, rcpt, header or body, "
	                 "and a pattern\n"},
	    {"accept mail /x\n", "f:1: / is missing at the end of the line\n"},
	    {"accept mail /x/q\n", "f:1: flag q of a pattern: there are i and x\n"},
	    {"accept mail /(/\n", "f:1: pattern \"(\" at 1: missing closing parenthesis\n"},
	    {"accept mail /x/ rcpt /y/\n",
	     "f:1: \"and\" or the end of the line should be here: rcpt /y/\n"},
	    {"accept mail /x/ and\n\naccept\n  helo /y/ and /z/\n",
	     "f:1: a condition is missing: connect, helo, mail, rcpt, header or body, and a "
	     "pattern\n"
	     "f:4: a condition is missing: connect, helo, mail, rcpt, header or body, and a "
	     "pattern\n"},
	    {"reject \"450 x\" mail /x/\n", "f:1: code 450: reject needs 5yz\n"},
	    {"tempfail \"421 x\" mail /x/\n", "f:1: code 421: tempfail needs 4yz but 421\n"},
	    {"discard helo /x/\n",
	     "f:1: discard needs a condition about mail, rcpt, header or body\n"},
	    {"quarantine mail /x/\n", "f:1: the reason in \"\" is missing\n"},
	    {"add \"a b\" \"c\" mail /x/\n", "f:1: \"a b\" is no name of a header field\n"},
	    {"add \"\" \"c\" mail /x/\n", "f:1: the header field has no name\n"},
	    {"reject \"a\tb\" mail /x/\n", "f:1: text has a control character\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mr_rules *r = rules_of(cases[i].text);

		assert_string_equal(errors, cases[i].error != NULL ? cases[i].error : "");
		assert_int_equal(r == NULL, cases[i].error != NULL);
		mr_free(r);
	}
}

static void replies(void **state)
{
	struct mr_rules *r = rules_of("reject mail /x/\n"
	                              "reject \"554 5.6.1 50% no\" mail /x/\n"
	                              "tempfail \"450 later\" mail /x/\n"
	                              "tempfail \"1000 times no\" mail /x/\n"
	                              "reject \"552 4.2.2 x\" mail /x/\n");
	static const char *const want[][3] = {{"550", "5.7.1", "Refused"},
	                                      {"554", "5.6.1", "50% no"},
	                                      {"450", "4.7.1", "later"},
	                                      {"451", "4.7.1", "1000 times no"},
	                                      {"552", "5.7.1", "4.2.2 x"}};

	(void)state;
	assert_non_null(r);
	for (size_t i = 0; i < mr_count(r); i++) {
		assert_string_equal(mr_rule(r, i)->code, want[i][0]);
		assert_string_equal(mr_rule(r, i)->status, want[i][1]);
		assert_string_equal(mr_rule(r, i)->text, want[i][2]);
	}
	mr_free(r);
}

static void first_wins(void **state)
{
	struct mr_rules *r;
	struct mr_state *s;

	(void)state;
	good(&r, &s,
	     "accept connect /./ /^127\\./\nreject mail /@spam\\./i and rcpt /^b@/\n"
	     "reject rcpt /^[bc]@/\n");
	assert_int_equal(line(mr_tell(s, MR_CONNECT, "x.test", "192.0.2.1")), 0);
	assert_int_equal(line(mr_tell(s, MR_MAIL, "a@SPAM.test", NULL)), 0);
	assert_int_equal(line(mr_tell(s, MR_RCPT, "c@x", NULL)), 3);
	assert_int_equal(line(mr_tell(s, MR_RCPT, "b@x", NULL)), 2);
	assert_int_equal(line(mr_tell(s, MR_RCPT, "d@x", NULL)), 0);
	assert_int_equal(line(mr_tell(s, MR_MAIL, "a@ham.test", NULL)), 0);
	assert_int_equal(line(mr_tell(s, MR_RCPT, "b@x", NULL)), 3);
	assert_int_equal(line(mr_tell(s, MR_CONNECT, "x.test", "127.0.0.1")), 1);
	done(r, s);
}

/* "not" is known when there is no more of that kind. */
static void negation(void **state)
{
	struct mr_rules *r;
	struct mr_state *s;

	(void)state;
	good(&r, &s,
	     "reject not header /^message-id$/i and not rcpt /^postmaster@/\n"
	     "reject helo /^$/ and not body /please/\n");
	assert_int_equal(line(mr_tell(s, MR_MAIL, "a@x", NULL)), 0);
	assert_int_equal(line(mr_tell(s, MR_RCPT, "b@x", NULL)), 0);
	assert_int_equal(line(mr_end(s, MR_RCPT)), 0);
	assert_int_equal(line(mr_tell(s, MR_HEADER, "Subject", "s")), 0);
	assert_int_equal(line(mr_end(s, MR_HEADER)), 1);
	assert_int_equal(line(mr_tell(s, MR_MAIL, "a@x", NULL)), 0);
	assert_int_equal(line(mr_tell(s, MR_RCPT, "postmaster@x", NULL)), 0);
	assert_int_equal(line(mr_end(s, MR_RCPT)), 0);
	assert_int_equal(line(mr_end(s, MR_HEADER)), 0);
	assert_true(mr_curious(s, MR_BODY));
	assert_int_equal(line(mr_tell(s, MR_BODY, "yes please", NULL)), 0);
	assert_false(mr_curious(s, MR_BODY));
	assert_int_equal(line(mr_end(s, MR_BODY)), 0);
	assert_int_equal(line(mr_tell(s, MR_MAIL, "a@x", NULL)), 0);
	assert_int_equal(line(mr_tell(s, MR_HEADER, "Message-Id", "s")), 0);
	assert_int_equal(line(mr_end(s, MR_HEADER)), 0);
	assert_int_equal(line(mr_end(s, MR_BODY)), 2);
	done(r, s);
}

/* Changes gather; "accept" ends it for those behind it only. */
static void pending(void **state)
{
	struct mr_rules *r;
	struct mr_state *s;

	(void)state;
	good(&r, &s,
	     "add \"A\" \"1\" connect /./\nadd \"B\" \"2\" rcpt /^b@/\nreject rcpt /^b@no/\n"
	     "accept header /^x-ok$/i\nquarantine \"why\" header /^x-bad$/i\n");
	assert_null(mr_tell(s, MR_CONNECT, "x", "local"));
	for (int i = 0; i < 2; i++) {
		assert_null(mr_tell(s, MR_MAIL, "", NULL));
		assert_true(mr_pending(s, 0) && !mr_pending(s, 1));
		assert_int_equal(line(mr_tell(s, MR_RCPT, "b@no", NULL)), 3);
		assert_null(mr_tell(s, MR_RCPT, "c@yes", NULL));
		assert_null(mr_end(s, MR_RCPT));
		assert_false(mr_pending(s, 1));
		assert_int_equal(line(mr_tell(s, MR_HEADER, "X-OK", "")), 4);
		assert_null(mr_tell(s, MR_HEADER, "X-Bad", ""));
		assert_true(mr_pending(s, 0) && !mr_pending(s, 4));
	}
	assert_null(mr_tell(s, MR_MAIL, "", NULL));
	assert_null(mr_tell(s, MR_RCPT, "b@yes", NULL));
	assert_null(mr_end(s, MR_RCPT));
	assert_null(mr_tell(s, MR_HEADER, "X-Bad", ""));
	assert_true(mr_pending(s, 0) && mr_pending(s, 1) && mr_pending(s, 4) && mr_any_pending(s));
	done(r, s);
}

static int end(void **state)
{
	(void)state;
	free(errors);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads),    cmocka_unit_test(replies), cmocka_unit_test(first_wins),
	    cmocka_unit_test(negation), cmocka_unit_test(pending),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
