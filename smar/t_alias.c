/* Aliases, local users and lists: tables of entries, questions and answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>

#include "smar/local.h"
#include "smar/t_alias_site.h"

#define ROUTE "route lmtp:"
#define OTHER "route smtp:25:[192.0.2.1]"
#define NONE  "550 5.1.1 User unknown"
#define LOOPS "550 5.4.6 alias leads back to itself"
#define DEEP  "550 5.4.6 aliases are nested too deep"
#define BROKE "451 4.2.4 alias cannot be expanded now"

static const struct {
	const char *aliases, *flags;
	struct {
		const char *rcpt, *answer;
	} q[14];
} tables[] = {
    {/* The manual's. */
     "myalias localuser\n"
     "mylist <user1@my.dom> <user2@my.dom> <localuser@host.example>\n"
     "owner-mylist someuser\n"
     "localuser local:\n"
     "postmaster <user@host.domain>\n"
     "abuse user+abuse\n"
     "user++ local:\n"
     "user local:",
     "localpart",
     {{"myalias@local.dom", "localuser@host.example"},
      {"MyAlias@Local.DOM", "localuser@host.example"},
      {"myalias@elsewhere.dom", OTHER},
      {"mylist@local.dom", "localuser@host.example/owner-mylist@local.dom "
                           "user1@my.dom/owner-mylist@local.dom "
                           "user2@my.dom/owner-mylist@local.dom"},
      {"owner-mylist@local.dom", "someuser@host.example"},
      {"abuse@local.dom", "user+abuse@host.example"},
      {"user+abuse@local.dom", ROUTE},
      {"user@local.dom", ROUTE},
      {"user+@local.dom", NONE},
      {"nobody@local.dom", NONE},
      {"postmaster", "user@host.domain"},
      {"postmaster@first.dom", "user@host.domain"}}},
    {/* Virtual users. */
     "vuser1@virt.dom user1\n"
     "vuser2@virt.dom <user2@far.dom>\n"
     "myalias@first.dom user1\n"
     "another@second.dom user2\n"
     "x@far.dom never",
     "local_domains",
     {{"vuser1@virt.dom", "user1@host.example"},
      {"vuser2@virt.dom", "user2@far.dom"},
      {"vuser1+x@virt.dom", NONE},
      {"myalias@first.dom", "user1@host.example"},
      {"myalias@second.dom", NONE},
      {"another@first.dom", NONE},
      {"another@second.dom", "user2@host.example"},
      {"user1@host.example", NONE},
      {"postmaster@first.dom", ROUTE},
      {"x@far.dom", OTHER}}},
    {"vuser1@virt.dom user1\nuser1 local:\nuser1@second.dom <a@b.dom>",
     "localpart, local_domains",
     {{"vuser1@virt.dom", "user1@host.example"},
      {"user1@host.example", ROUTE},
      {"user1@second.dom", "a@b.dom"},
      {"vuser1@first.dom", NONE}}},
    {"x@far.dom <y@further.dom>\n@gone.dom <new@here.dom>\nu@virt.dom <w@far.dom>",
     "all_domains",
     {{"x@far.dom", "y@further.dom"},
      {"any+thing@gone.dom", "new@here.dom"},
      {"u@virt.dom", "w@far.dom"},
      {"y@further.dom", OTHER},
      {"x+y@far.dom", OTHER}}},
    {"x@far.dom <y@further.dom>\nx local:",
     "all_domains, localpart",
     {{"x@far.dom", "y@further.dom"}, {"x@virt.dom", ROUTE}, {"x@other.dom", OTHER}}},
    {"ann local:\nbob <b@far.dom>\n@virt.dom never",
     "implicitly_match_detail",
     {{"ann+x@first.dom", ROUTE}, {"bob+@first.dom", "b@far.dom"}, {"carl@virt.dom", NONE}}},
    {/* Macros. */
     "alias*@.domain user${extension}@${subdomain}.domain\n"
     "user* local:\n"
     "bad <${nothing}@far.dom>\n"
     "det <${detail}@far.dom>\ndet* <${detail}@far.dom>",
     "localpart, local_domains, replace_macros",
     {{"alias@host.domain", "user@host.domain"},
      {"alias+detail@host2.domain", "user+detail@host2.domain"},
      {"Alias+DeTail@host2.domain", "user+DeTail@host2.domain"},
      {"bad@first.dom", BROKE},
      {"det+x@first.dom", "x@far.dom"},
      {"det@first.dom", "550 5.1.3 alias makes no address of this recipient"}}},
    {"v unq\n<u v", "preserve_domain", {{"v@virt.dom", "unq@virt.dom"}}},
    {/* Ends and circles. */
     "self self\n"
     "copy <copy@host.example> <c@far.dom>\n"
     "there <there@host.example>\n"
     "a <b@host.example>\nb <c@host.example>\nc <a@host.example>\n"
     "mix <x@far.dom> <a@host.example>\n"
     "ring <x@far.dom> <ring2@host.example>\nring2 <y@far.dom> <ring@host.example>\n"
     "big <z@far.dom> <ring@host.example> <z@far.dom> <Z@far.dom>\n"
     "post postmaster",
     "",
     {{"self@host.example", ROUTE},
      {"self@first.dom", "self@host.example"},
      {"copy@host.example", "c@far.dom copy@host.example"},
      {"copy@first.dom", "c@far.dom copy@host.example"},
      {"COPY@host.example", "COPY@host.example c@far.dom"},
      {"there@first.dom", "there@host.example"},
      {"a@host.example", LOOPS},
      {"b@first.dom", LOOPS},
      {"mix@host.example", "a@host.example? x@far.dom"},
      {"ring@host.example", LOOPS},
      {"ring2@host.example", LOOPS},
      {"big@host.example", "Z@far.dom ring@host.example? z@far.dom"},
      {"post@first.dom", "postmaster@host.example"}}},
    {/* Levels. */
     "l1 l2\nl2 l3\nl3 l4\nl4 l5\nl5 <x@far.dom>\n"
     "k1 <k2@host.example>\nk2 k3\nk3 k4\nk4 k5\nk5 k6\nk6 <x@far.dom>\n"
     "wide <y@far.dom> <k1@host.example>\n"
     /* Too deep by one way, not by the other. */
     "dag <k1@host.example> <k3@host.example>",
     "localpart",
     {{"l1@first.dom", "x@far.dom"},
      {"k1@first.dom", DEEP},
      {"k2@first.dom", "x@far.dom"},
      {"wide@first.dom", "k1@host.example? y@far.dom"},
      {"dag@first.dom", "k1@host.example? x@far.dom"}}},
    {/* Lists in lists. */
     "outer <o@far.dom> <plain@host.example> <inner@host.example>\nowner-outer boss\n"
     "plain <p@far.dom> <o@far.dom>\n"
     "inner <i@far.dom>\nowner-inner <b2@far.dom>\n"
     "noowner <inner@host.example>\n"
     "r1 <q@far.dom> <r2@host.example>\nowner-r1 boss\n"
     "r2 <s@far.dom> <r1@host.example>\nowner-r2 boss\n"
     "boss local:\n@host.example never\n"
     "every* <e@far.dom>\nowner-every* boss",
     "localpart, implicitly_match_detail",
     {{"outer@virt.dom", "inner@host.example?/owner-outer@virt.dom o@far.dom/owner-outer@virt.dom "
                         "p@far.dom/owner-outer@virt.dom"},
      {"inner@host.example", "i@far.dom/owner-inner@host.example"},
      {"Inner+x@host.example", "i@far.dom/owner-inner@host.example"},
      {"noowner@virt.dom", "inner@host.example?"},
      {"r1@virt.dom", "q@far.dom/owner-r1@virt.dom r2@host.example?/owner-r1@virt.dom"},
      {"r1@host.example", LOOPS},
      {"r2@host.example", LOOPS},
      {"plain@virt.dom", "o@far.dom p@far.dom"},
      {"every+1@virt.dom", "e@far.dom/owner-every@virt.dom"},
      {"owner-inner@virt.dom", "b2@far.dom"}}},
    {/* The domain as a whole is no owner. */
     "@virt.dom <all@far.dom>\nowner-x@first.dom <boss@far.dom>\nx@first.dom <y@far.dom>\n"
     "x@second.dom <y@far.dom>",
     "local_domains",
     {{"list@virt.dom", "all@far.dom"},
      {"x@first.dom", "y@far.dom/owner-x@first.dom"},
      {"x@second.dom", "y@far.dom"}}},
    {/* VERP. */
     "list <ann@far.dom> <b+c@far.dom> <\"d e\"@far.dom> <f@[192.0.2.1]> "
     "<this.is.a.long.local.part.for.verp@quite.a.long.domain.example>\n"
     "owner-list* verp: <boss@host.example>\nboss local:",
     "localpart",
     {{"list@virt.dom",
       "\"d e\"@far.dom/owner-list@virt.dom "
       "ann@far.dom/owner-list+ann=far.dom@virt.dom "
       "b+c@far.dom/owner-list+b+c=far.dom@virt.dom "
       "f@[192.0.2.1]/owner-list@virt.dom "
       "this.is.a.long.local.part.for.verp@quite.a.long.domain.example/owner-list@virt.dom"},
      {"owner-list+ann=far.dom@virt.dom", "boss@host.example"},
      {"owner-list@virt.dom", "boss@host.example"}}},
    {/* What is wrong spoils only itself. */
     "team <a@far.dom> <bad@host.example>\nbad a, b\nonly <bad@host.example>\n"
     "worse <bad@host.example> <loop@host.example>\nloop <loop2@host.example>\n"
     "loop2 <loop@host.example>\ninc :include:x",
     "localpart",
     {{"bad@virt.dom", BROKE},
      {"team@virt.dom", "a@far.dom bad@host.example?"},
      {"only@virt.dom", BROKE},
      {"worse@virt.dom", BROKE},
      {"inc@virt.dom", "AGAIN"}}},
    {/* A delimiter in front is none; quoted local parts are whole. */
     "+x <a@far.dom>\nq* <b@far.dom>",
     "localpart",
     {{"+x@virt.dom", "a@far.dom"}, {"\"q r\"@virt.dom", NONE}}},
};

static void expansions(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(tables); i++) {
		t_alias_begin(tables[i].aliases, tables[i].flags, "", NULL, "");
		for (size_t k = 0; k < SM_ARRAY_SIZE(tables[i].q) && tables[i].q[k].rcpt; k++) {
			const char *got = t_alias_answer(tables[i].q[k].rcpt, 0, 0);

			if (strcmp(got, tables[i].q[k].answer) != 0)
				fail_msg("table %zu, %s:\n  got  %s\n  want %s", i,
				         tables[i].q[k].rcpt, got, tables[i].q[k].answer);
		}
		t_alias_end();
	}
}

/* What was expanded is not expanded again, but has to exist; each level counts. */
static void final_and_level(void **state)
{
	(void)state;
	t_alias_begin("a <x@far.dom>\nl1 l2\nl2 <x@far.dom>", "localpart", "", "u1 yes", "");
	assert_string_equal(t_alias_answer("a@virt.dom", SM_ROUTE_FINAL, 0), ROUTE);
	assert_string_equal(t_alias_answer("u1@virt.dom", SM_ROUTE_FINAL, 1), ROUTE);
	assert_string_equal(t_alias_answer("u2@virt.dom", SM_ROUTE_FINAL, 1), NONE);
	assert_string_equal(t_alias_answer("x@far.dom", SM_ROUTE_FINAL, 9), OTHER);
	assert_string_equal(t_alias_answer("a@virt.dom", 0, 4), "x@far.dom");
	assert_string_equal(t_alias_answer("a@virt.dom", 0, 5), DEEP);
	assert_string_equal(t_alias_answer("a@virt.dom", 0, 255), DEEP);
	assert_string_equal(t_alias_answer("u1@virt.dom", 0, 5), ROUTE);
	assert_string_equal(t_alias_answer("l1@virt.dom", 0, 3), "x@far.dom");
	assert_string_equal(t_alias_answer("l1@virt.dom", 0, 4), DEEP);
	t_alias_end();
	t_alias_begin("l1 l2\nl2 <x@far.dom>", "localpart", "max_levels = 1;", NULL, "");
	assert_string_equal(t_alias_answer("l1@virt.dom", 0, 0), DEEP);
	assert_string_equal(t_alias_answer("l2@virt.dom", 0, 0), "x@far.dom");
	t_alias_end();
}

/* ---- local users ---- */

static const struct {
	const char *aliases, *alias_flags, *users, *user_flags;
	const char *known, *unknown; /* separated by blanks */
} user_tables[] = {
    {NULL, "", NULL, "", "any@virt.dom", ""},
    {"a local:\nb <x@far.dom>\nc+* <y@far.dom>", "", NULL, "",
     "a@virt.dom b@first.dom c+@virt.dom c+d@virt.dom postmaster@virt.dom",
     "d@virt.dom a+x@virt.dom c@virt.dom postmaster+x@virt.dom"},
    {NULL, "", "u1 -\nu2* -", "", "u1@virt.dom u2@virt.dom u2+x@virt.dom postmaster@virt.dom",
     "u1+x@virt.dom u3@virt.dom"},
    {NULL, "", "u1 -", "implicitly_match_detail", "u1@virt.dom u1+x@virt.dom", "u2+u1@virt.dom"},
    {NULL, "", "u1@virt.dom -\n@second.dom -", "local_domains",
     "u1@virt.dom any@second.dom x+y@second.dom", "u1@first.dom"},
    {NULL, "", "u1@virt.dom -\nu2 -", "local_domains, localpart",
     "u1@virt.dom u2@virt.dom u2@first.dom", "u1@first.dom"},
    {"a@virt.dom <x@far.dom>", "local_domains", "u1 -", "", "a@virt.dom u1@virt.dom u1@first.dom",
     "a@first.dom x@virt.dom"},
};

static void local_users(void **state)
{
	struct ar_ctx ctx = {.a = &site.arena};
	struct ar_parts parts;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(user_tables); i++) {
		t_alias_begin(user_tables[i].aliases, user_tables[i].alias_flags, "",
		              user_tables[i].users, user_tables[i].user_flags);
		for (int want = 0; want < 2; want++) {
			struct sm_str rest =
			    sm_str(want ? user_tables[i].known : user_tables[i].unknown);
			struct sm_str w;

			while ((w = sm_str_word(&rest)).n > 0) {
				ar_parts_of(w, '+', &parts);
				if (ar_local_known(&site.ar, &ctx, &parts) !=
				    (want ? 0 : SM_E_NOTFOUND))
					fail_msg("table %zu: " SM_STR_FMT, i, SM_STR_ARG(w));
			}
		}
		assert_int_equal(ar_local_domain(&site.ar, &ctx, SM_STR("virt.dom")), 0);
		assert_int_equal(ar_local_domain(&site.ar, &ctx, SM_STR("far.dom")), SM_E_NOTFOUND);
		t_alias_end();
	}
}

/* ---- files ---- */

static const struct {
	const char *rcpt, *answer;
} include_rows[] = {
    {"staff@virt.dom", "ann@far.dom bob@host.example local@host.example"},
    {"both@virt.dom", "ann@far.dom bob@host.example local@host.example x@far.dom"},
    {"none@virt.dom", BROKE},
    {"badlist@virt.dom", BROKE},
    {"empty@virt.dom", "451 4.2.4 list has no members"},
    {"link@virt.dom", BROKE},
    {"big@virt.dom", BROKE},
    {"some@virt.dom", "none@host.example? x@far.dom"},
    {"looped@virt.dom", LOOPS},
};

static void body_includes(void)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(include_rows); i++) {
		const char *got = t_alias_answer(include_rows[i].rcpt, 0, 0);

		if (strcmp(got, include_rows[i].answer) != 0)
			fail_msg("%s: %s", include_rows[i].rcpt, got);
	}
	/* Read each time. */
	t_alias_put("staff", "new@far.dom\n");
	assert_string_equal(t_alias_answer("staff@virt.dom", 0, 0), "new@far.dom");
}

static void includes(void **state)
{
	char big[600], command[100];

	(void)state;
	memset(big, '#', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	t_alias_put("staff", "ann@far.dom\n# comment\nbob\n<local@host.example>\n");
	t_alias_put("badlist", "ann@far.dom\nbob, carl\n");
	t_alias_put("empty", "# nobody\n");
	t_alias_put("big", big);
	t_alias_put("looped", "<l2@host.example>\n");
	snprintf(command, sizeof(command), "ln -s staff %s/link", t_alias_dir);
	assert_int_equal(system(command), 0);
	t_alias_begin("staff :include:staff\nboth :include:staff <x@far.dom> :include:staff\n"
	              "none :include:none\nbadlist :include:badlist\nempty :include:empty\n"
	              "link :include:link\nbig :include:big\nsome <x@far.dom> <none@host.example>\n"
	              "looped :include:looped\nl2 <looped@host.example>",
	              "localpart", "max_list_size = 500;", NULL, "");
	assert_string_equal(t_alias_answer("staff@virt.dom", 0, 0), "AGAIN");
	t_alias_in_loop(body_includes);
	t_alias_end();
	t_alias_begin("staff :include:staff", "localpart", "include_directory = \"\";", NULL, "");
	assert_string_equal(t_alias_answer("staff@virt.dom", 0, 0), BROKE);
	t_alias_end();
}

/* ---- members of one level ---- */

static bool is(void *arg, struct sm_str member)
{
	return sm_str_eq(member, *(struct sm_str *)arg);
}

static int any(const char *alias, const char *member)
{
	struct ar_ctx ctx = {.a = &site.arena};
	struct sm_str m = sm_str(member);

	return ar_alias_any(&site.ar, &ctx, sm_str(alias), is, &m);
}

static void any_member(void **state)
{
	(void)state;
	t_alias_begin("list1 <u1@a.dom> <u2@a.dom> <list2@host.example>\nlist2 <u3@b.dom>",
	              "localpart", "", NULL, "");
	assert_int_equal(any("list1@virt.dom", "u2@a.dom"), 0);
	assert_int_equal(any("List1@virt.dom", "list2@host.example"), 0);
	assert_int_equal(any("list1@virt.dom", "u3@b.dom"), SM_E_NOTFOUND);
	assert_int_equal(any("list3@virt.dom", "u3@b.dom"), SM_E_NOTFOUND);
	t_alias_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(expansions),  cmocka_unit_test(final_and_level),
	    cmocka_unit_test(local_users), cmocka_unit_test(includes),
	    cmocka_unit_test(any_member),
	};

	return cmocka_run_group_tests(tests, t_alias_set_up, t_alias_tear_down);
}
