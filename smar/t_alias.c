/* Aliases, local users and lists: tables of entries, questions and answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/addr.h"
#include "libsm/buf.h"
#include "libsm/loop.h"
#include "libsm/offload.h"
#include "libsm/rand.h"
#include "smar/alias.h"
#include "smar/local.h"
#include "smar/resolve.h"

static const char mailertable[] = "host.example lmtp:\n"
				  "local.dom lmtp:\n"
				  "first.dom lmtp:\n"
				  "second.dom lmtp:\n"
				  ".domain lmtp:\n"
				  "virt.dom lmtp:\n"
				  ". [192.0.2.1]\n";

static struct sm_arena arena;
static struct sm_conf_file file;
static struct ar_conf conf;
static struct ar ar;
static char dir[64];

static int set_up(void **state SM_UNUSED)
{
	snprintf(dir, sizeof(dir), "/tmp/t_alias.XXXXXX");
	assert_non_null(mkdtemp(dir));
	return 0;
}

static int tear_down(void **state SM_UNUSED)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

/* One string for each line. */
static void entries(struct sm_buf *b, const char *name, const char *lines)
{
	struct sm_str text = sm_str(lines), line;

	sm_buf_printf(b, "map %s { type = inline; entries = {", name);
	while (text.n > 0) {
		line = sm_str_split(text, '\n', &text);
		sm_buf_char(b, '"');
		for (size_t i = 0; i < line.n; i++)
			sm_buf_printf(b, line.p[i] == '"' || line.p[i] == '\\' ? "\\%c" : "%c",
			              line.p[i]);
		sm_buf_printf(b, "\"%s", text.n > 0 ? "," : "");
	}
	sm_buf_cstr(b, "}; }\n");
}

/* `aliases`, `users`: lines "key value", NULL: not configured. */
static void begin(const char *aliases, const char *flags, const char *more, const char *users,
                  const char *user_flags)
{
	struct sm_buf b;
	int rc;

	sm_arena_init(&arena, "test", 65536, SIZE_MAX / 8);
	sm_buf_init(&b, 1 << 24);
	if (aliases != NULL) {
		entries(&b, "al", aliases);
		sm_buf_printf(&b,
		              "aliases { name = al; flags = { %s }; include_directory = \"%s\"; "
		              "%s }\n",
		              flags, dir, more);
	}
	if (users != NULL) {
		entries(&b, "us", users);
		sm_buf_printf(&b, "local_user_map { name = us; flags = { %s }; }\n", user_flags);
	}
	sm_conf_defaults(ar_conf_opts, &conf, &arena);
	rc = sm_conf_parse(&file, "smx.conf", sm_buf_view(&b));
	if (rc == 0)
		rc = sm_conf_bind(&file, &file.root, ar_conf_opts, NULL, &conf, &arena);
	if (rc == 0)
		rc = ar_conf_check(&conf);
	ar = (struct ar){.conf = &conf, .hostname = SM_STR("host.example"), .dns_timeout_ms = 1000};
	if (rc == 0)
		rc = ar_maps_open(&conf, &ar.maps);
	if (rc == 0)
		rc = ar_mt_parse("mt", sm_str(mailertable), &ar.mt);
	if (rc != 0)
		fail_msg("%s", sm_diag());
	sm_buf_fini(&b);
}

static void end(void)
{
	ar_alias_fini();
	ar_release(&ar);
	sm_conf_free(&file);
	sm_arena_fini(&arena);
}

/* ---- in a coroutine, for files and the loop's timers ---- */

static void (*body)(void);

static void run_body(void *arg SM_UNUSED)
{
	body();
	sm_loop_stop(0);
}

static void in_loop(void (*fn)(void))
{
	assert_int_equal(sm_loop_init(), 0);
	assert_int_equal(sm_offload_init(1), 0);
	body = fn;
	assert_non_null(sm_co_spawn("test", run_body, NULL));
	assert_int_equal(sm_loop_run(), 0);
	sm_offload_fini();
	ar_alias_fini();
	sm_co_cleanup();
	sm_loop_fini();
}

static int ask_in(struct sm_arena *a, const char *rcpt, const char *after, unsigned flags,
                  unsigned level, struct sm_msg_route *out)
{
	struct ar_ctx ctx = {
	    .a = a, .deadline_ms = sm_now_ms() + 60000, .may_wait = sm_co_self() != NULL};
	struct sm_msg_route_get m = {
	    .rcpt = sm_str(rcpt), .after = sm_str(after), .flags = flags, .level = (uint8_t)level};

	return ar_resolve(&ar, &ctx, &m, out);
}

static int ask(const char *rcpt, const char *after, unsigned flags, unsigned level,
               struct sm_msg_route *out)
{
	return ask_in(&arena, rcpt, after, flags, level, out);
}

/* "550 5.1.1 text", "route KEY", or members: "a@b" final, "a@b?" not, "a@b/sender". */
static const char *answer(const char *rcpt, unsigned flags, unsigned level)
{
	struct sm_msg_route m;
	struct sm_buf b;
	struct sm_str s;
	int rc = ask(rcpt, "", flags, level, &m);

	if (rc != 0)
		return "AGAIN";
	sm_buf_init(&b, 1 << 20);
	if (m.status == SM_ROUTE_OK)
		sm_buf_printf(&b, "route " SM_STR_FMT, SM_STR_ARG(m.key));
	else if (m.status != SM_ROUTE_ALIAS)
		sm_buf_printf(&b, "%u " SM_STR_FMT, m.code, SM_STR_ARG(m.text));
	for (size_t i = 0; m.status == SM_ROUTE_ALIAS && i < m.aliases_count; i++) {
		const struct sm_msg_alias_item *x = &m.aliases[i];

		sm_buf_printf(&b, "%s" SM_STR_FMT "%s%s" SM_STR_FMT, i > 0 ? " " : "",
		              SM_STR_ARG(x->addr), (x->flags & SM_ALIAS_FINAL) != 0 ? "" : "?",
		              x->sender.n > 0 ? "/" : "", SM_STR_ARG(x->sender));
		assert_int_equal((x->flags & SM_ALIAS_LIST) != 0, x->sender.n > 0);
	}
	s = sm_arena_str(&arena, sm_buf_view(&b));
	sm_buf_fini(&b);
	return s.p;
}

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
		begin(tables[i].aliases, tables[i].flags, "", NULL, "");
		for (size_t k = 0; k < SM_ARRAY_SIZE(tables[i].q) && tables[i].q[k].rcpt; k++) {
			const char *got = answer(tables[i].q[k].rcpt, 0, 0);

			if (strcmp(got, tables[i].q[k].answer) != 0)
				fail_msg("table %zu, %s:\n  got  %s\n  want %s", i,
				         tables[i].q[k].rcpt, got, tables[i].q[k].answer);
		}
		end();
	}
}

/* What was expanded is not expanded again, but has to exist; each level counts. */
static void final_and_level(void **state)
{
	(void)state;
	begin("a <x@far.dom>\nl1 l2\nl2 <x@far.dom>", "localpart", "", "u1 yes", "");
	assert_string_equal(answer("a@virt.dom", SM_ROUTE_FINAL, 0), ROUTE);
	assert_string_equal(answer("u1@virt.dom", SM_ROUTE_FINAL, 1), ROUTE);
	assert_string_equal(answer("u2@virt.dom", SM_ROUTE_FINAL, 1), NONE);
	assert_string_equal(answer("x@far.dom", SM_ROUTE_FINAL, 9), OTHER);
	assert_string_equal(answer("a@virt.dom", 0, 4), "x@far.dom");
	assert_string_equal(answer("a@virt.dom", 0, 5), DEEP);
	assert_string_equal(answer("a@virt.dom", 0, 255), DEEP);
	assert_string_equal(answer("u1@virt.dom", 0, 5), ROUTE);
	assert_string_equal(answer("l1@virt.dom", 0, 3), "x@far.dom");
	assert_string_equal(answer("l1@virt.dom", 0, 4), DEEP);
	end();
	begin("l1 l2\nl2 <x@far.dom>", "localpart", "max_levels = 1;", NULL, "");
	assert_string_equal(answer("l1@virt.dom", 0, 0), DEEP);
	assert_string_equal(answer("l2@virt.dom", 0, 0), "x@far.dom");
	end();
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
	struct ar_ctx ctx = {.a = &arena};
	struct ar_parts parts;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(user_tables); i++) {
		begin(user_tables[i].aliases, user_tables[i].alias_flags, "", user_tables[i].users,
		      user_tables[i].user_flags);
		for (int want = 0; want < 2; want++) {
			struct sm_str rest =
			    sm_str(want ? user_tables[i].known : user_tables[i].unknown);
			struct sm_str w;

			while ((w = sm_str_word(&rest)).n > 0) {
				ar_parts_of(w, '+', &parts);
				if (ar_local_known(&ar, &ctx, &parts) != (want ? 0 : SM_E_NOTFOUND))
					fail_msg("table %zu: " SM_STR_FMT, i, SM_STR_ARG(w));
			}
		}
		assert_int_equal(ar_local_domain(&ar, &ctx, SM_STR("virt.dom")), 0);
		assert_int_equal(ar_local_domain(&ar, &ctx, SM_STR("far.dom")), SM_E_NOTFOUND);
		end();
	}
}

/* ---- files ---- */

static void put(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

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
		const char *got = answer(include_rows[i].rcpt, 0, 0);

		if (strcmp(got, include_rows[i].answer) != 0)
			fail_msg("%s: %s", include_rows[i].rcpt, got);
	}
	/* Read each time. */
	put("staff", "new@far.dom\n");
	assert_string_equal(answer("staff@virt.dom", 0, 0), "new@far.dom");
}

static void includes(void **state)
{
	char big[600], command[100];

	(void)state;
	memset(big, '#', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	put("staff", "ann@far.dom\n# comment\nbob\n<local@host.example>\n");
	put("badlist", "ann@far.dom\nbob, carl\n");
	put("empty", "# nobody\n");
	put("big", big);
	put("looped", "<l2@host.example>\n");
	snprintf(command, sizeof(command), "ln -s staff %s/link", dir);
	assert_int_equal(system(command), 0);
	begin("staff :include:staff\nboth :include:staff <x@far.dom> :include:staff\n"
	      "none :include:none\nbadlist :include:badlist\nempty :include:empty\n"
	      "link :include:link\nbig :include:big\nsome <x@far.dom> <none@host.example>\n"
	      "looped :include:looped\nl2 <looped@host.example>",
	      "localpart", "max_list_size = 500;", NULL, "");
	assert_string_equal(answer("staff@virt.dom", 0, 0), "AGAIN");
	in_loop(body_includes);
	end();
	begin("staff :include:staff", "localpart", "include_directory = \"\";", NULL, "");
	assert_string_equal(answer("staff@virt.dom", 0, 0), BROKE);
	end();
}

/* ---- many ---- */

static size_t chunks, members;
static bool small_steps; /* forget what is kept between chunks */

/* All chunks of a list: each member once, in order. Each request has a memory of its own. */
static void body_chunks(void)
{
	char after[SM_MAILBOX_MAX + 1] = "";
	struct sm_msg_route m;
	struct sm_arena a;

	chunks = members = 0;
	do {
		sm_arena_init(&a, "request", 32 * 1024, 1024 * 1024);
		assert_int_equal(ask_in(&a, "list@virt.dom", after, 0, 0, &m), 0);
		assert_int_equal(m.status, SM_ROUTE_ALIAS);
		assert_true(m.aliases_count <= AR_ALIAS_CHUNK);
		assert_true(m.aliases_count == AR_ALIAS_CHUNK || !m.more);
		for (size_t i = 0; i < m.aliases_count; i++) {
			assert_true(sm_str_cmp(m.aliases[i].addr, sm_str(after)) > 0);
			assert_int_equal(m.aliases[i].flags, SM_ALIAS_FINAL | SM_ALIAS_LIST);
			assert_int_equal(sm_str_copy(m.aliases[i].addr, after, sizeof(after)), 0);
		}
		chunks++;
		members += m.aliases_count;
		if (small_steps)
			ar_alias_fini();
		sm_arena_fini(&a);
	} while (m.more);
}

static void write_list(size_t count)
{
	struct sm_buf b;

	sm_buf_init(&b, 1 << 24);
	for (size_t i = 0; i < count; i++)
		sm_buf_printf(&b, "user%zu@far%zu.dom\nUSER%zu@virt.dom\nuser%zu@virt.dom\n",
		              i * 7919 % count, i % 50, i, i);
	put("many", sm_buf_c(&b));
	sm_buf_fini(&b);
}

static void in_chunks(void **state)
{
	(void)state;
	write_list(3000);
	begin("list :include:many <user1@virt.dom>\nowner-list verp: boss", "localpart", "", NULL,
	      "");
	in_loop(body_chunks);
	assert_int_equal(members, 6000);
	assert_int_equal(chunks, 6);
	small_steps = true;
	in_loop(body_chunks);
	small_steps = false;
	assert_int_equal(members, 6000);
	assert_int_equal(chunks, 6);
	end();
	write_list(500);
	begin("list :include:many\nowner-list boss", "localpart", "", NULL, "");
	in_loop(body_chunks);
	assert_int_equal(members, 1000);
	assert_int_equal(chunks, 1);
	end();
}

static struct sm_msg_route got;
static const char *asked_after;

static void body_ask(void)
{
	assert_int_equal(ask("list@virt.dom", asked_after, 0, 0, &got), 0);
}

/* While chunks are under way: the alias goes, the list gets shorter, something fails for now. */
static void changed_meanwhile(void **state)
{
	(void)state;
	asked_after = "m@far.dom";
	put("many", "a@far.dom\nb@far.dom\n");
	begin("list :include:many\nowner-list boss", "localpart", "", NULL, "");
	in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_ALIAS);
	assert_int_equal(got.aliases_count, 0);
	assert_int_equal(got.more, 0);
	end();
	begin("other <x@far.dom>", "localpart", "", NULL, "");
	in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_TEMP);
	end();
	begin("list <x@far.dom> <sub@host.example>\nsub a, b", "localpart", "", NULL, "");
	in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_TEMP);
	asked_after = "";
	in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_ALIAS);
	assert_int_equal(got.aliases_count, 2);
	end();
	/* Of many members the ones that fail for now make all wait. */
	write_list(600);
	begin("list :include:many <sub@host.example>\nsub a, b", "localpart", "", NULL, "");
	in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_TEMP);
	assert_int_equal(got.code, 451);
	end();
}

static void fan_out(void **state)
{
	(void)state;
	asked_after = "";
	put("many", "a@far.dom\nb@far.dom\nc@far.dom\nd@far.dom\n");
	begin("list :include:many", "localpart", "max_members = 4;", NULL, "");
	in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_ALIAS);
	assert_int_equal(got.aliases_count, 4);
	end();
	begin("list :include:many <e@far.dom>", "localpart", "max_members = 4;", NULL, "");
	in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_TEMP);
	assert_int_equal(got.code, 452);
	end();
	/* In several aliases together. */
	begin("list :include:many <sub@host.example>\nsub <e@far.dom>", "localpart",
	      "max_members = 5;", NULL, "");
	in_loop(body_ask);
	assert_int_equal(got.code, 452);
	end();
	/* The same ones over and over. */
	begin("list <s1@host.example> <s2@host.example> <s3@host.example>\n"
	      "s1 :include:many :include:many\ns2 :include:many :include:many\n"
	      "s3 :include:many :include:many",
	      "localpart", "max_members = 8;", NULL, "");
	in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_ALIAS);
	assert_int_equal(got.aliases_count, 4);
	end();
	/* But not without end. */
	begin("list <s1@host.example> <s2@host.example> <s3@host.example> <s4@host.example> "
	      "<s1@host.example> <s2@host.example> <s3@host.example> <s4@host.example>\n"
	      "s1 :include:many :include:many\ns2 :include:many :include:many\n"
	      "s3 :include:many :include:many\ns4 :include:many :include:many",
	      "localpart", "max_members = 8;", NULL, "");
	in_loop(body_ask);
	assert_int_equal(got.code, 452);
	end();
}

/* ---- any graph ---- */

/*
 * Aliases n0 ... n7 that name each other, themselves and leaves as chance has it, and what is to be
 * expected of them, from the closure of the graph: who leads back to himself by way of others is
 * bad; so is who has nothing but bad members; the rest gets to every leaf below it once.
 */
enum { NODES = 8, LEAVES = 6, GRAPHS = 400 };

static struct {
	bool to[NODES][NODES], leaf[NODES][LEAVES], reach[NODES][NODES], bad[NODES];
	unsigned want[NODES + LEAVES], got[NODES + LEAVES]; /* deliveries */
} g;

static void random_graph(struct sm_buf *lines)
{
	memset(&g, 0, sizeof(g));
	for (size_t i = 0; i < NODES; i++) {
		size_t members_of = 1 + sm_rand_below(3);

		sm_buf_printf(lines, "%sn%zu", i > 0 ? "\n" : "", i);
		for (size_t k = 0; k < members_of; k++) {
			size_t x = sm_rand_below(2), to = sm_rand_below(x ? NODES : LEAVES);

			if (x)
				g.to[i][to] = true;
			else
				g.leaf[i][to] = true;
			sm_buf_printf(lines, x ? " <n%zu@host.example>" : " <x%zu@far.dom>", to);
		}
	}
}

static void closure(void)
{
	bool changed;

	for (size_t i = 0; i < NODES; i++)
		for (size_t k = 0; k < NODES; k++)
			g.reach[i][k] = g.to[i][k] && i != k;
	for (size_t m = 0; m < NODES; m++)
		for (size_t i = 0; i < NODES; i++)
			for (size_t k = 0; k < NODES; k++)
				g.reach[i][k] |= g.reach[i][m] && g.reach[m][k];
	for (size_t i = 0; i < NODES; i++)
		g.bad[i] = g.reach[i][i];
	do {
		changed = false;
		for (size_t i = 0; i < NODES; i++) {
			bool good = g.to[i][i];

			for (size_t k = 0; k < LEAVES; k++)
				good = good || g.leaf[i][k];
			for (size_t k = 0; k < NODES; k++)
				good = good || (g.to[i][k] && !g.bad[k]);
			changed = changed || (!good && !g.bad[i]);
			g.bad[i] = g.bad[i] || !good;
		}
	} while (changed);
}

static void want_below(size_t i, bool seen[NODES])
{
	if (g.bad[i] || seen[i])
		return;
	seen[i] = true;
	for (size_t k = 0; k < LEAVES; k++)
		if (g.leaf[i][k])
			g.want[NODES + k] = 1;
	if (g.to[i][i])
		g.want[i] = 1;
	for (size_t k = 0; k < NODES; k++)
		if (g.to[i][k] && k != i)
			want_below(k, seen);
}

static void delivered(struct sm_str addr)
{
	size_t i = (size_t)(addr.p[1] - '0');

	g.got[addr.p[0] == 'n' ? i : NODES + i]++;
}

/* As the queue does it: what is not final is asked for again. */
static void deliver(const char *rcpt, unsigned level)
{
	struct sm_msg_route m;

	assert_true(level < 10);
	assert_int_equal(ask(rcpt, "", 0, level, &m), 0);
	if (m.status == SM_ROUTE_OK)
		delivered(sm_str(rcpt));
	for (size_t i = 0; i < m.aliases_count; i++)
		if ((m.aliases[i].flags & SM_ALIAS_FINAL) != 0)
			delivered(m.aliases[i].addr);
		else
			deliver(m.aliases[i].addr.p, level + 1);
}

static void any_graph(void **state)
{
	size_t bad = 0;

	(void)state;
	for (size_t n = 0; n < GRAPHS; n++) {
		struct sm_buf lines;

		sm_buf_init(&lines, 65536);
		random_graph(&lines);
		closure();
		begin(sm_buf_c(&lines), "localpart", "max_levels = 10;", NULL, "");
		for (size_t i = 0; i < NODES; i++) {
			bool seen[NODES] = {false};
			char rcpt[40];

			memset(g.want, 0, sizeof(g.want));
			memset(g.got, 0, sizeof(g.got));
			want_below(i, seen);
			bad += g.bad[i];
			snprintf(rcpt, sizeof(rcpt), "n%zu@host.example", i);
			deliver(rcpt, 0);
			if (memcmp(g.want, g.got, sizeof(g.want)) != 0)
				fail_msg("%s in\n%s", rcpt, sm_buf_c(&lines));
		}
		end();
		sm_buf_fini(&lines);
	}
	/* Neither all nor none. */
	assert_true(bad > GRAPHS / 2 && bad < (size_t)GRAPHS * NODES / 2);
}

/* ---- members of one level ---- */

static bool is(void *arg, struct sm_str member)
{
	return sm_str_eq(member, *(struct sm_str *)arg);
}

static int any(const char *alias, const char *member)
{
	struct ar_ctx ctx = {.a = &arena};
	struct sm_str m = sm_str(member);

	return ar_alias_any(&ar, &ctx, sm_str(alias), is, &m);
}

static void any_member(void **state)
{
	(void)state;
	begin("list1 <u1@a.dom> <u2@a.dom> <list2@host.example>\nlist2 <u3@b.dom>", "localpart", "",
	      NULL, "");
	assert_int_equal(any("list1@virt.dom", "u2@a.dom"), 0);
	assert_int_equal(any("List1@virt.dom", "list2@host.example"), 0);
	assert_int_equal(any("list1@virt.dom", "u3@b.dom"), SM_E_NOTFOUND);
	assert_int_equal(any("list3@virt.dom", "u3@b.dom"), SM_E_NOTFOUND);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(expansions),  cmocka_unit_test(final_and_level),
	    cmocka_unit_test(local_users), cmocka_unit_test(includes),
	    cmocka_unit_test(in_chunks),   cmocka_unit_test(changed_meanwhile),
	    cmocka_unit_test(fan_out),     cmocka_unit_test(any_member),
	    cmocka_unit_test(any_graph),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
