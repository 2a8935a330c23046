/* Aliases with many members: chunks, limits, what changes meanwhile; and any graph of aliases,
 * against its closure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>

#include "libsm/addr.h"
#include "libsm/buf.h"
#include "libsm/rand.h"
#include "smar/t_alias_site.h"

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
		assert_int_equal(t_alias_ask_in(&a, "list@virt.dom", after, 0, 0, &m), 0);
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
	t_alias_put("many", sm_buf_c(&b));
	sm_buf_fini(&b);
}

static void in_chunks(void **state)
{
	(void)state;
	write_list(3000);
	t_alias_begin("list :include:many <user1@virt.dom>\nowner-list verp: boss", "localpart", "",
	              NULL, "");
	t_alias_in_loop(body_chunks);
	assert_int_equal(members, 6000);
	assert_int_equal(chunks, 6);
	small_steps = true;
	t_alias_in_loop(body_chunks);
	small_steps = false;
	assert_int_equal(members, 6000);
	assert_int_equal(chunks, 6);
	t_alias_end();
	write_list(500);
	t_alias_begin("list :include:many\nowner-list boss", "localpart", "", NULL, "");
	t_alias_in_loop(body_chunks);
	assert_int_equal(members, 1000);
	assert_int_equal(chunks, 1);
	t_alias_end();
}

enum { WAY = 3000 };

static void body_long_way(void)
{
	assert_string_equal(t_alias_answer("list@host.example", 0, 0),
	                    "l1@host.example? x@far.dom");
}

/* All of a chain of aliases is judged from near, the last one first, as members of one that is bad;
 * then it is gone through from its start: that must not take a stack as long as it. */
static void long_way(void **state)
{
	struct sm_buf lines, many;

	(void)state;
	sm_buf_init(&lines, 1 << 20);
	sm_buf_init(&many, 1 << 20);
	sm_buf_cstr(&lines, "list <l1@host.example> <g0@host.example>\nl1 :include:many\n"
	                    "l2 <l1@host.example>\n");
	sm_buf_cstr(&many, "l2@host.example\n");
	for (int i = 0; i < WAY; i++) {
		sm_buf_printf(&lines, "g%d <g%d@host.example>\n", i, i + 1);
		sm_buf_printf(&many, "g%d@host.example\n", WAY - i);
	}
	sm_buf_printf(&lines, "g%d <x@far.dom>", WAY);
	t_alias_put("many", sm_buf_c(&many));
	t_alias_begin(sm_buf_c(&lines), "localpart", "", NULL, "");
	t_alias_in_loop(body_long_way);
	t_alias_end();
	sm_buf_fini(&many);
	sm_buf_fini(&lines);
}

static struct sm_msg_route got;
static const char *asked_after;

static void body_ask(void)
{
	assert_int_equal(t_alias_ask("list@virt.dom", asked_after, 0, 0, &got), 0);
}

/* While chunks are under way: the alias goes, the list gets shorter, something fails for now. */
static void changed_meanwhile(void **state)
{
	(void)state;
	asked_after = "m@far.dom";
	t_alias_put("many", "a@far.dom\nb@far.dom\n");
	t_alias_begin("list :include:many\nowner-list boss", "localpart", "", NULL, "");
	t_alias_in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_ALIAS);
	assert_int_equal(got.aliases_count, 0);
	assert_int_equal(got.more, 0);
	t_alias_end();
	t_alias_begin("other <x@far.dom>", "localpart", "", NULL, "");
	t_alias_in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_TEMP);
	t_alias_end();
	t_alias_begin("list <x@far.dom> <sub@host.example>\nsub a, b", "localpart", "", NULL, "");
	t_alias_in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_TEMP);
	asked_after = "";
	t_alias_in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_ALIAS);
	assert_int_equal(got.aliases_count, 2);
	t_alias_end();
	/* Of many members the ones that fail for now make all wait. */
	write_list(600);
	t_alias_begin("list :include:many <sub@host.example>\nsub a, b", "localpart", "", NULL, "");
	t_alias_in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_TEMP);
	assert_int_equal(got.code, 451);
	t_alias_end();
}

static void fan_out(void **state)
{
	(void)state;
	asked_after = "";
	t_alias_put("many", "a@far.dom\nb@far.dom\nc@far.dom\nd@far.dom\n");
	t_alias_begin("list :include:many", "localpart", "max_members = 4;", NULL, "");
	t_alias_in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_ALIAS);
	assert_int_equal(got.aliases_count, 4);
	t_alias_end();
	t_alias_begin("list :include:many <e@far.dom>", "localpart", "max_members = 4;", NULL, "");
	t_alias_in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_TEMP);
	assert_int_equal(got.code, 452);
	t_alias_end();
	/* In several aliases together. */
	t_alias_begin("list :include:many <sub@host.example>\nsub <e@far.dom>", "localpart",
	              "max_members = 5;", NULL, "");
	t_alias_in_loop(body_ask);
	assert_int_equal(got.code, 452);
	t_alias_end();
	/* The same ones over and over. */
	t_alias_begin("list <s1@host.example> <s2@host.example> <s3@host.example>\n"
	              "s1 :include:many :include:many\ns2 :include:many :include:many\n"
	              "s3 :include:many :include:many",
	              "localpart", "max_members = 8;", NULL, "");
	t_alias_in_loop(body_ask);
	assert_int_equal(got.status, SM_ROUTE_ALIAS);
	assert_int_equal(got.aliases_count, 4);
	t_alias_end();
	/* But not without end. */
	t_alias_begin(
	    "list <s1@host.example> <s2@host.example> <s3@host.example> <s4@host.example> "
	    "<s1@host.example> <s2@host.example> <s3@host.example> <s4@host.example>\n"
	    "s1 :include:many :include:many\ns2 :include:many :include:many\n"
	    "s3 :include:many :include:many\ns4 :include:many :include:many",
	    "localpart", "max_members = 8;", NULL, "");
	t_alias_in_loop(body_ask);
	assert_int_equal(got.code, 452);
	t_alias_end();
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
	assert_int_equal(t_alias_ask(rcpt, "", 0, level, &m), 0);
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
		t_alias_begin(sm_buf_c(&lines), "localpart", "max_levels = 10;", NULL, "");
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
		t_alias_end();
		sm_buf_fini(&lines);
	}
	/* Neither all nor none. */
	assert_true(bad > GRAPHS / 2 && bad < (size_t)GRAPHS * NODES / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(in_chunks),         cmocka_unit_test(long_way),
	    cmocka_unit_test(changed_meanwhile), cmocka_unit_test(fan_out),
	    cmocka_unit_test(any_graph),
	};

	return cmocka_run_group_tests(tests, t_alias_set_up, t_alias_tear_down);
}
