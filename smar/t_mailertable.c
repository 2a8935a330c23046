/* The mailertable: what its lines mean, what is refused and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <unistd.h>

#include "libsm/err.h"
#include "smar/mailertable.h"

static struct ar_mt *parse(const char *text)
{
	struct ar_mt *mt = NULL;

	assert_int_equal(ar_mt_parse("mt", sm_str(text), &mt), 0);
	return mt;
}

static const struct ar_mt_entry *find(const struct ar_mt *mt, const char *domain)
{
	return ar_mt_find(mt, sm_str(domain));
}

static void meaning(void **state)
{
	struct ar_mt *mt = parse("# comment\n"
	                         "\n"
	                         "localhost lmtp:\n"
	                         "SPAM.Filter.example 2525^esmtp:[127.0.0.1]\r\n"
	                         "lmtphost.example \t 525^LMTP:[10.11.12.13] lmtp2.example\n"
	                         "  my.example esmtp:[10.1.2.3] # by the cellar\n"
	                         "other.example mta.server.example\n"
	                         "[192.0.2.1] [192.0.2.9]\n"
	                         "six.example esmtp: [IPv6:2001:db8::25]\n"
	                         "some.example a.example,[B.example],[10.0.0.1] c.example\n"
	                         ".tld esmtp:Gate.Way.example gate2.example\n"
	                         ". 587^smart.host.example\n"
	                         "B\xc3\xbc"
	                         "cher.example lmtp:\n"
	                         ".xn--fsqu00a.example m\xc3\xbcller.example");
	const struct ar_mt_entry *e;
	char text[SM_SA_TEXT];

	(void)state;
	/* By A-labels, whoever wrote it how. */
	e = find(mt, "xn--bcher-kva.example");
	assert_int_equal(e->ways.v[0].agent, SM_AGENT_LMTP);
	e = find(mt, "a.xn--fsqu00a.example");
	assert_true(sm_str_eq(e->ways.v[0].key, SM_STR("smtp:25:xn--mller-kva.example")));

	e = find(mt, "localhost");
	assert_int_equal(e->ways.v[0].agent, SM_AGENT_LMTP);
	assert_int_equal(e->ways.v[0].count, 0);
	assert_true(sm_str_eq(e->ways.v[0].key, SM_STR("lmtp:")));

	e = find(mt, "spam.filter.example");
	assert_int_equal(e->ways.v[0].agent, SM_AGENT_SMTP);
	assert_int_equal(e->ways.v[0].port, 2525);
	assert_int_equal(e->ways.v[0].count, 1);
	assert_string_equal(sm_sa_text(&e->ways.v[0].hosts[0].sa, text), "127.0.0.1:2525");
	assert_true(sm_str_eq(e->ways.v[0].key, SM_STR("smtp:2525:[127.0.0.1]")));

	e = find(mt, "lmtphost.example");
	assert_int_equal(e->ways.v[0].agent, SM_AGENT_LMTP);
	assert_int_equal(e->ways.v[0].count, 2);
	assert_string_equal(sm_sa_text(&e->ways.v[0].hosts[0].sa, text), "10.11.12.13:525");
	assert_int_equal(e->ways.v[0].hosts[1].sa.len, 0);
	assert_true(sm_str_eq(e->ways.v[0].hosts[1].name, SM_STR("lmtp2.example")));
	assert_true(sm_str_eq(e->ways.v[0].key, SM_STR("lmtp:525:[10.11.12.13] lmtp2.example")));

	assert_int_equal(find(mt, "my.example")->ways.v[0].count, 1);
	assert_int_equal(find(mt, "my.example")->ways.v[0].port, 25);
	assert_int_equal(find(mt, "other.example")->line, 7);
	assert_int_equal(find(mt, "[192.0.2.1]")->line, 8);
	assert_string_equal(sm_sa_text(&find(mt, "six.example")->ways.v[0].hosts[0].sa, text),
	                    "[2001:db8::25]:25");
	e = find(mt, "a.b.tld");
	assert_int_equal(e->ways.v[0].count, 2);
	assert_true(sm_str_eq(e->ways.v[0].hosts[0].name, SM_STR("gate.way.example")));

	e = find(mt, "some.example");
	assert_int_equal(e->ways.v[0].count, 4);
	assert_int_equal(e->ways.v[0].hosts[0].pref, 0);
	assert_int_equal(e->ways.v[0].hosts[1].pref, 0);
	assert_int_equal(e->ways.v[0].hosts[2].pref, 0);
	assert_int_equal(e->ways.v[0].hosts[3].pref, 1);
	assert_false(e->ways.v[0].hosts[0].no_mx);
	assert_true(e->ways.v[0].hosts[1].no_mx);
	assert_true(sm_str_eq(e->ways.v[0].hosts[1].name, SM_STR("b.example")));
	assert_int_equal(e->ways.v[0].hosts[1].sa.len, 0);
	assert_false(e->ways.v[0].hosts[2].no_mx);
	assert_true(sm_str_eq(e->ways.v[0].key,
	                      SM_STR("smtp:25:a.example,[b.example],[10.0.0.1] c.example")));

	/* No implicit match of subdomains; the default takes the rest, literals too. */
	e = find(mt, ".");
	assert_int_equal(e->ways.v[0].port, 587);
	assert_ptr_equal(find(mt, "sub.my.example"), e);
	assert_ptr_equal(find(mt, "[192.0.2.2]"), e);
	ar_mt_unref(&mt);
	assert_null(mt);
}

static void no_default(void **state)
{
	struct ar_mt *mt = parse(".example lmtp:\n");

	(void)state;
	assert_non_null(find(mt, "a.example"));
	assert_null(find(mt, "example"));
	assert_null(find(mt, "other"));
	ar_mt_unref(&mt);
	mt = parse("");
	assert_null(find(mt, "other"));
	ar_mt_unref(&mt);
}

static void errors(void **state)
{
	static const struct {
		const char *text, *diag;
	} bad[] = {
	    {"a.example", "mt:1: nothing behind \"a.example\""},
	    {"\n\na.example # lmtp:\n", "mt:3: nothing behind"},
	    {"a..example lmtp:", "\"a..example\" is no domain"},
	    {"..example lmtp:", "is no domain"},
	    {"[1.2.3] lmtp:", "is no domain"},
	    {"@a.example lmtp:", "is neither domain nor address"},
	    {"user@ lmtp:", "is neither domain nor address"},
	    {"user@a@b.example lmtp:", "is neither domain nor address"},
	    {"User@a.Example lmtp:\nuser@a.example mx:\n", "user@a.example is in line 1 already"},
	    {"a.example foo:b.example", "unknown mailer \"foo:\""},
	    {"a.example lmtps:b.example", "unknown mailer \"lmtps:\""},
	    {"a.example mx:b.example", "mx: has no hosts"},
	    {"a.example mx: b.example", "mx: has no hosts"},
	    {"a.example 25^mx:", "mx: has no port"},
	    {"a.example lmtp:[unix:run/feed]", "is no socket"},
	    {"a.example lmtp:[unix:", "is no socket"},
	    {"a.example lmtp:[unix:]", "is no socket"},
	    {"a.example lmtp:[unix:/run/feed", "is no socket"},
	    {"a.example 24^lmtp:[unix:/run/feed]", "a Unix socket has no port"},
	    {"a.example 24^esmtp:[unix:/run/feed]", "a Unix socket has no port"},
	    {"a.example lmtp:[unix:/run/feed] [10.0.0.1]", "needs a port"},
	    {"a.example lmtp:[unix:/"
	     "0123456789012345678901234567890123456789012345678901234567890123456789"
	     "01234567890123456789012345678901234567890123456789]",
	     "socket path of"},
	    {"a.example esmtp:", "no host"},
	    {"a.example 25^esmtp:", "no host"},
	    {"a.example 25^lmtp:", "a port, but no host"},
	    {"a.example lmtp:[10.0.0.1]", "needs a port"},
	    {"a.example 0^b.example", "\"0\" is no port"},
	    {"a.example 65536^b.example", "\"65536\" is no port"},
	    {"a.example ^b.example", "\"\" is no port"},
	    {"a.example 2x^b.example", "is no port"},
	    {"a.example [10.0.0.256]", "is no address"},
	    {"a.example [10.0.0.1", "is no address"},
	    {"a.example [IPv6:1::2::3]", "is no address"},
	    {"a.example [0.0.0.0]", "nothing can be sent to"},
	    {"a.example [224.0.0.1]", "nothing can be sent to"},
	    {"a.example b..example", "is no host"},
	    {"a.example b.example,", "\"\" is no host"},
	    {"a.example b.example,,c.example", "\"\" is no host"},
	    {"a.example [mail.10]", "is no address"},
	    {"a.example [mail..example]", "is no address"},
	    {"a.example []", "is no address"},
	    {"a.example [", "is no address"},
	    {"a.example lmtp:\nb.example lmtp:\nA.example lmtp:\n",
	     "mt:3: a.example is in line 1 already"},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		struct ar_mt *mt = NULL;

		assert_int_equal(ar_mt_parse("mt", sm_str(bad[i].text), &mt), SM_E_SYNTAX);
		assert_null(mt);
		if (strstr(sm_diag(), bad[i].diag) == NULL)
			fail_msg("%s: %s", bad[i].text, sm_diag());
	}
}

static void sockets(void **state)
{
	struct ar_mt *mt = parse("feed.example lmtp:[unix:/Run/Feed]\n"
	                         "loop.example esmtp:[UNIX:/run/smtps]\n"
	                         "both.example 24^lmtp:[unix:/run/a] [10.0.0.1],[unix:/run/b]\n");
	const struct ar_way *w = &find(mt, "feed.example")->ways.v[0];
	char text[SM_SA_TEXT];

	(void)state;
	assert_int_equal(w->count, 1);
	assert_int_equal(w->port, 0);
	assert_string_equal(sm_sa_text(&w->hosts[0].sa, text), "unix:/Run/Feed");
	assert_true(sm_str_eq(w->hosts[0].name, SM_STR("/Run/Feed")));
	assert_true(sm_str_eq(w->key, SM_STR("lmtp:[unix:/Run/Feed]")));
	w = &find(mt, "loop.example")->ways.v[0];
	assert_int_equal(w->agent, SM_AGENT_SMTP);
	assert_true(sm_str_eq(w->key, SM_STR("smtp:[unix:/run/smtps]")));
	w = &find(mt, "both.example")->ways.v[0];
	assert_int_equal(w->count, 3);
	assert_int_equal(w->hosts[2].pref, 1);
	assert_true(sm_str_eq(w->key, SM_STR("lmtp:24:[unix:/run/a] [10.0.0.1],[unix:/run/b]")));
	ar_mt_unref(&mt);
}

/* Which way does such a mail take? */
static size_t taken(const struct ar_ways *w, size_t from, uint32_t rcpts, uint64_t bytes,
                    bool again)
{
	const struct ar_way_mail m = {rcpts, bytes, again};

	return ar_ways_pick(w, from, &m);
}

static void several_ways(void **state)
{
	struct ar_mt *mt =
	    parse("a.example lmtp:[unix:/run/feed] {recipients >= 5, size <= 50KB, first} else "
	          "relay.example\n"
	          "b.example lmtp: {recipients>=2,recipients<=9 , only} Else [10.0.0.1] [10.0.0.2] "
	          "{ size >= 1000 }\telse mx: # that is all\n"
	          "c.example lmtp: {first} else 24^lmtp:[10.0.0.1]\n"
	          "d.example mx:\n"
	          "e.example [10.0.0.1] else mx:\n"
	          ". esmtp: [10.0.0.9]\n");
	const struct ar_ways *w = &find(mt, "a.example")->ways;

	(void)state;
	assert_int_equal(w->count, 2);
	assert_true(sm_str_eq(w->v[0].when, SM_STR("recipients >= 5, size <= 50KB, first")));
	assert_true(sm_str_eq(w->v[1].when, SM_STR("")));
	assert_true(sm_str_eq(w->v[1].key, SM_STR("smtp:25:relay.example")));
	assert_int_equal(taken(w, 0, 5, 51200, false), 0);
	assert_int_equal(taken(w, 0, 4, 51200, false), 1);
	assert_int_equal(taken(w, 0, 5, 51201, false), 1);
	assert_int_equal(taken(w, 0, 5, 51200, true), 1);
	/* It has failed; and one behind the end, of a table that was longer. */
	assert_int_equal(taken(w, 1, 5, 51200, false), 1);
	assert_int_equal(taken(w, 7, 5, 51200, false), 1);

	w = &find(mt, "b.example")->ways;
	assert_int_equal(w->count, 3);
	assert_true(w->v[0].only);
	assert_false(w->v[1].only);
	assert_true(w->v[2].by_dns);
	assert_int_equal(w->v[1].count, 2);
	assert_int_equal(taken(w, 0, 1, 1000, false), 1);
	assert_int_equal(taken(w, 0, 2, 1000, true), 0);
	assert_int_equal(taken(w, 0, 9, 0, false), 0);
	assert_int_equal(taken(w, 0, 10, 999, false), 2);
	assert_int_equal(taken(w, 1, 2, 999, false), 2);

	/* Ours is what goes by LMTP whichever way; what DNS says is as if nothing were said. */
	assert_false(ar_mt_is_local(find(mt, "a.example")));
	assert_false(ar_mt_is_local(find(mt, "b.example")));
	assert_true(ar_mt_is_local(find(mt, "c.example")));
	assert_false(ar_mt_is_local(find(mt, "d.example")));
	assert_false(ar_mt_is_routed(find(mt, "d.example")));
	assert_true(ar_mt_is_routed(find(mt, "e.example")));
	assert_true(ar_mt_is_routed(find(mt, "other.example")));
	ar_mt_unref(&mt);
}

static void bad_ways(void **state)
{
	static const struct {
		const char *rhs, *diag;
	} bad[] = {
	    {"else [10.0.0.1]", "no host"},
	    {"[10.0.0.1] else", "no host"},
	    {"[10.0.0.1] else # nothing", "no host"},
	    {"[10.0.0.1] else else [10.0.0.2]", "no host"},
	    {"{first} [10.0.0.1]", "no host"},
	    {"[10.0.0.1] {first}", "the last way can have no conditions"},
	    {"[10.0.0.1] else [10.0.0.2] {first}", "the last way can have no conditions"},
	    {"[10.0.0.1] {only} else [10.0.0.2]", "is never used"},
	    {"[10.0.0.1] {first [10.0.0.2]", "without a \"}\""},
	    {"[10.0.0.1] {first # } else mx:", "without a \"}\""},
	    {"[10.0.0.1] {first} [10.0.0.2]", "only else can follow"},
	    {"[10.0.0.1] {} else mx:", "\"\" is no condition"},
	    {"[10.0.0.1] {first,} else mx:", "\"\" is no condition"},
	    {"[10.0.0.1] {last} else mx:", "\"last\" is no condition"},
	    {"[10.0.0.1] {recipients = 5} else mx:", "is compared with"},
	    {"[10.0.0.1] {recipients >=} else mx:", "is compared with"},
	    {"[10.0.0.1] {recipients >= many} else mx:", "no number of recipients"},
	    {"[10.0.0.1] {recipients >= 0} else mx:", "no number of recipients"},
	    {"[10.0.0.1] {size <= big} else mx:", "size"},
	    {"[10.0.0.1] {size >= 1, size >= 2} else mx:", "two bounds"},
	    {"[10.0.0.1] {recipients <= 1, recipients <= 2} else mx:", "two bounds"},
	    {"[10.0.0.1] {recipients >= 3, recipients <= 2} else mx:", "no mail can fulfil"},
	    {"[10.0.0.1] {size >= 3, size <= 2} else mx:", "no mail can fulfil"},
	    {"a else b else c else d else e else f else g else h else i", "more than 8 ways"},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		struct ar_ways w;
		struct sm_arena a;

		sm_arena_init(&a, "test", 4096, 1 << 20);
		assert_int_equal(ar_ways_parse(sm_str(bad[i].rhs), &a, &w), SM_E_SYNTAX);
		if (strstr(sm_diag(), bad[i].diag) == NULL)
			fail_msg("%s: %s", bad[i].rhs, sm_diag());
		sm_arena_fini(&a);
	}
}

static void too_many_hosts(void **state)
{
	char text[8192] = "a.example";
	struct ar_mt *mt = NULL;

	(void)state;
	for (int i = 0; i < AR_WAY_HOSTS_MAX; i++)
		strcat(text, " h.example");
	assert_int_equal(ar_mt_parse("mt", sm_str(text), &mt), 0);
	/* A key has to fit into messages. */
	assert_true(find(mt, "a.example")->ways.v[0].key.n < 500);
	ar_mt_unref(&mt);
	strcat(text, " h.example");
	assert_int_equal(ar_mt_parse("mt", sm_str(text), &mt), SM_E_SYNTAX);
}

static void files(void **state)
{
	char path[64];
	struct ar_mt *mt = NULL;
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/t_mt.%d", (int)getpid());
	assert_int_equal(ar_mt_load(path, &mt), SM_E_NOTFOUND);
	assert_non_null(strstr(sm_diag(), path));
	f = fopen(path, "w");
	for (int i = 0; i < 20000; i++)
		fprintf(f, "d%d.example lmtp:\n", i);
	fclose(f);
	assert_int_equal(ar_mt_load(path, &mt), 0);
	assert_int_equal(find(mt, "d19999.example")->line, 20000);
	ar_mt_unref(&mt);
	unlink(path);
}

/* Whose domains may anybody send to? Not to all of the world, because all goes to a filter. */
static void what_is_ours(void **state)
{
	struct ar_mt *mt = parse("ours.example lmtp:\n.ours.example 24^lmtp:[10.0.0.7]\n"
	                         "gate.example [10.0.0.7]\n. 10024^lmtp:[127.0.0.1]\n");

	(void)state;
	assert_true(ar_mt_is_local(find(mt, "ours.example")));
	assert_true(ar_mt_is_local(find(mt, "sub.ours.example")));
	assert_false(ar_mt_is_local(find(mt, "gate.example")));
	assert_int_equal(find(mt, "other.example")->ways.v[0].agent, SM_AGENT_LMTP);
	assert_false(ar_mt_is_local(find(mt, "other.example")));
	ar_mt_unref(&mt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(meaning),  cmocka_unit_test(no_default),
	    cmocka_unit_test(errors),   cmocka_unit_test(too_many_hosts),
	    cmocka_unit_test(files),    cmocka_unit_test(what_is_ours),
	    cmocka_unit_test(sockets),  cmocka_unit_test(several_ways),
	    cmocka_unit_test(bad_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
