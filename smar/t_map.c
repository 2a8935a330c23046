/* Maps and sets of them: what is found, what is refused at opening, and that a failure is never
 * "not there". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/err.h"
#include "smar/ar.h"
#include "smar/map_int.h"
#include "smar/t_bdb.h"

static char dir[64];
static struct sm_arena arena;
static struct sm_conf_file file;
static struct ar_conf conf;
static struct ar_ctx ctx;

static int set_up(void **state SM_UNUSED)
{
	snprintf(dir, sizeof(dir), "/tmp/t_map.%d", (int)getpid());
	assert_int_equal(mkdir(dir, 0700), 0);
	sm_arena_init(&arena, "test", 65536, 1 << 24);
	ctx = (struct ar_ctx){.a = &arena};
	return 0;
}

static int tear_down(void **state SM_UNUSED)
{
	char command[100];

	sm_arena_fini(&arena);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static const char *path(const char *name)
{
	static char p[4][100];
	static unsigned next;
	char *here = p[next++ % 4];

	snprintf(here, sizeof(p[0]), "%s/%s", dir, name);
	return here;
}

/* Made anew under another name and moved there, as a careful program does. */
static void write_file(const char *name, const char *text)
{
	char tmp[100];
	FILE *f;

	snprintf(tmp, sizeof(tmp), "%s/new", dir);
	f = fopen(tmp, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(tmp, path(name)), 0);
}

/* "@" in the text stands for the test's directory. Gives what binding or the check gave. */
static int configure(const char *text)
{
	char full[4096];
	size_t n = 0;
	int rc;

	for (; *text != '\0'; text++)
		n += (size_t)snprintf(full + n, sizeof(full) - n, *text == '@' ? "%s" : "%.1s",
		                      *text == '@' ? dir : text);
	sm_conf_defaults(ar_conf_opts, &conf, &arena);
	assert_int_equal(sm_conf_parse(&file, "smx.conf", sm_str(full)), 0);
	rc = sm_conf_bind(&file, &file.root, ar_conf_opts, NULL, &conf, &arena);
	if (rc == 0)
		rc = ar_conf_check(&conf);
	sm_conf_free(&file);
	return rc;
}

static struct ar_maps *open_set(const char *text)
{
	struct ar_maps *set;

	assert_int_equal(configure(text), 0);
	if (ar_maps_open(&conf, &set) != 0)
		fail_msg("%s", sm_diag());
	return set;
}

static const char *get(struct ar_map *m, const char *key)
{
	struct sm_str value;
	int rc = ar_map_get(m, &ctx, sm_str(key), &value);

	if (rc == SM_E_NOTFOUND)
		return NULL;
	assert_int_equal(rc, 0);
	return sm_arena_str(&arena, value).p;
}

static void text_and_inline(void **state)
{
	struct ar_maps *set;
	struct ar_map *m;

	(void)state;
	write_file("users", "# users\n"
	                    "\n"
	                    "Ann: local:\n"
	                    "bob\t<b@b.example>\n"
	                    "    <B2@b.example>   \r\n"
	                    "to:@Dom.example  relay\n");
	set = open_set("map users { type = text; file = \"@/users\"; }\n"
	               "map few { type = inline; entries = { \"One first entry\", \"two: 2\" }; }\n"
	               "access_map { file = \"@/users\"; } aliases { name = FEW; }");
	m = ar_maps_find(set, SM_STR("Users"));
	assert_non_null(m);
	assert_string_equal(ar_map_name(m), "users");
	assert_string_equal(get(m, "ann"), "local:");
	assert_string_equal(get(m, "bob"), "<b@b.example> <B2@b.example>");
	assert_string_equal(get(m, "to:@dom.example"), "relay");
	assert_null(get(m, "nobody"));
	assert_null(get(m, ""));
	m = ar_maps_find(set, SM_STR("few"));
	assert_string_equal(get(m, "one"), "first entry");
	assert_string_equal(get(m, "two"), "2");
	assert_ptr_equal(ar_maps_aliases(set), m);
	assert_string_equal(ar_map_name(ar_maps_access(set)), "access_map");
	assert_string_equal(get(ar_maps_access(set), "ann"), "local:");
	assert_null(ar_maps_users(set));
	assert_null(ar_maps_mailertable(set));
	assert_null(ar_maps_find(set, SM_STR("access_map")));
	assert_null(ar_maps_find(NULL, SM_STR("few")));
	ar_maps_unref(&set);
	assert_null(set);
}

static void hash_entry(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, "key%u", i);
	snprintf(value, 2001, "value%u", i);
}

static void hash_and_sequence(void **state)
{
	struct t_bdb how = {.path = path("h.db"), .nul = true};
	struct ar_maps *set;
	struct ar_map *m;

	(void)state;
	t_bdb_make(&how, 100, hash_entry);
	how.path = path("b.db");
	how.btree = true;
	t_bdb_make(&how, 200, hash_entry);
	set = open_set("map seq { type = sequence; maps = { first, more }; }\n"
	               "map more { type = sequence; maps = { h, b }; }\n"
	               "map h { type = hash; file = \"@/h.db\"; } map b { file = \"@/b.db\"; }\n"
	               "map first { type = inline; entries = { \"key7 seven\" }; }");
	m = ar_maps_find(set, SM_STR("seq"));
	assert_string_equal(get(m, "key7"), "seven");
	assert_string_equal(get(m, "key8"), "value8");
	assert_string_equal(get(m, "key199"), "value199");
	assert_null(get(m, "key200"));
	assert_null(get(ar_maps_find(set, SM_STR("h")), "key199"));
	ar_maps_unref(&set);
	/* One that is broken breaks the set. */
	write_file("b.db", "key value\n");
	assert_int_equal(ar_maps_open(&conf, &set), SM_E_CORRUPT);
	assert_null(set);
}

/* What a map can say beside a value, as a driver gives it: that of its name. */
static int odd_open(const struct ar_map_conf *c, void **handle, size_t *entries SM_UNUSED)
{
	*handle = (void *)(uintptr_t)c;
	return 0;
}

static int odd_get(void *handle, const struct ar_ctx *c, struct sm_str key SM_UNUSED,
                   struct sm_str *value SM_UNUSED)
{
	struct sm_str name = ((const struct ar_map_conf *)handle)->where.name;

	if (sm_str_eq(name, SM_STR("broken")))
		return sm_fail(SM_E_CORRUPT, "broken");
	if (sm_str_eq(name, SM_STR("nomore")))
		return SM_E_EOF;
	/* "slow": has to wait, and then does not get it in time. */
	return c->may_wait ? sm_fail(SM_E_AGAIN, "no answer") : SM_E_AGAIN;
}

static void odd_close(void *handle SM_UNUSED)
{
}

static const struct ar_map_driver odd = {
    .type = AR_MAP_PASSWD, .name = "odd", .open = odd_open, .get = odd_get, .close = odd_close};

static void failures_are_not_misses(void **state)
{
	static const struct {
		const char *members;
		bool may_wait;
		int get, find;
		const char *diag;
	} cases[] = {
	    {"broken, has", false, SM_E_CORRUPT, SM_E_CORRUPT, "map s: map broken: broken"},
	    {"has, broken", false, 0, 0, NULL},
	    {"none, broken", false, SM_E_CORRUPT, SM_E_CORRUPT, "map s: map broken: broken"},
	    {"nomore, has", false, SM_E_EOF, SM_E_NOTFOUND, NULL},
	    {"slow, has", false, SM_E_AGAIN, SM_E_AGAIN, NULL},
	    {"slow, has", true, SM_E_TIMEOUT, SM_E_TIMEOUT, "map s: map slow: no answer"},
	    {"none, has", true, 0, 0, NULL},
	};

	(void)state;
	ar_map_driver_replace(AR_MAP_PASSWD, &odd);
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		char text[500];
		struct ar_maps *set;
		struct ar_map *m;
		struct sm_str value;
		struct ar_keys keys;

		snprintf(text, sizeof(text),
		         "map s { type = sequence; maps = { %s }; } map broken { type = passwd; }"
		         "map nomore { type = passwd; } map slow { type = passwd; }"
		         "map has { type = inline; entries = { \"a.b 1\" }; }"
		         "map none { type = inline; entries = { \"x 1\" }; }",
		         cases[i].members);
		set = open_set(text);
		m = ar_maps_find(set, SM_STR("s"));
		ctx.may_wait = cases[i].may_wait;
		assert_int_equal(ar_map_get(m, &ctx, SM_STR("a.b"), &value), cases[i].get);
		if (cases[i].diag != NULL)
			assert_string_equal(sm_diag(), cases[i].diag);
		ar_keys_domain(&keys, SM_STR(""), SM_STR("a.b"), 0);
		assert_int_equal(ar_map_find(m, &ctx, &keys, &value), cases[i].find);
		ctx.may_wait = false;
		ar_maps_unref(&set);
	}
	ar_map_driver_replace(AR_MAP_PASSWD, NULL);
}

static void lookup_orders(void **state)
{
	struct ar_maps *set = open_set("map m { type = inline; entries = { \".example rhs\" }; }");
	struct ar_map *m = ar_maps_find(set, SM_STR("m"));
	struct sm_str value;
	struct ar_keys keys;

	(void)state;
	ar_keys_domain(&keys, SM_STR(""), SM_STR("a.b.example"), 0);
	assert_int_equal(ar_map_find(m, &ctx, &keys, &value), 0);
	assert_true(sm_str_eq(keys.key, SM_STR(".example")));
	assert_true(sm_str_eq(value, SM_STR("rhs")));
	ar_keys_domain(&keys, SM_STR(""), SM_STR("a.b.test"), AR_KEYS_DEFAULT);
	assert_int_equal(ar_map_find(m, &ctx, &keys, &value), SM_E_NOTFOUND);
	ar_maps_unref(&set);
}

static void refused_by_the_configuration(void **state)
{
	static const struct {
		const char *text, *diag;
	} cases[] = {
	    {"\nmap a { type = hash; }", "smx.conf:2: map a: it needs the option file"},
	    {"map a { type = text; }", "smx.conf:1: map a: it needs the option file"},
	    {"map { type = passwd; }", "smx.conf:1: map : it needs a name"},
	    {"map a { type = socket; }", "smx.conf:1: map a: it needs the option mapname"},
	    {"map a { type = socket; mapname = x; }",
	     "smx.conf:1: map a: it needs either path, or address and port"},
	    {"map a { type = socket; mapname = x; address = \"here\"; port = 1; }",
	     "smx.conf:1: map a: no IP address: here"},
	    {"map a { type = socket; mapname = x; address = \"127.0.0.1\"; }",
	     "smx.conf:1: map a: it needs the option port"},
	    {"map a { type = sequence; }", "smx.conf:1: map a: it needs the option maps"},
	    {"map a { type = sequence; maps = { b }; }", "smx.conf:1: map a: there is no map b"},
	    {"map a { type = sequence; maps = { b }; }\nmap b { type = sequence; maps = { a }; }",
	     "smx.conf:1: map a: sequences lead in a circle, or are nested too deep"},
	    {"access_map { name = x; }", "access_map.name: there is no map x"},
	    {"access_map { name = x; file = y; }", "access_map: either file or name"},
	    {"mailertable { name = x; }", "mailertable.name: there is no map x"},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		assert_int_equal(configure(cases[i].text), SM_E_SYNTAX);
		assert_string_equal(sm_diag(), cases[i].diag);
	}
}

static void refused_at_opening(void **state)
{
	struct ar_maps *set;
	char diag[200];

	(void)state;
	assert_int_equal(configure("map a { file = \"@/none\"; }"), 0);
	assert_int_equal(ar_maps_open(&conf, &set), SM_E_NOTFOUND);
	assert_null(set);
	snprintf(diag, sizeof(diag), "map a: %s: No such file or directory", path("none"));
	assert_string_equal(sm_diag(), diag);

	assert_int_equal(configure("map a { type = inline; entries = { \"a b\", \" c d\" }; }"), 0);
	assert_int_equal(ar_maps_open(&conf, &set), SM_E_SYNTAX);
	assert_string_equal(sm_diag(), "map a: entries:2: not one line \"key value\"");

	write_file("twice", "a 1\nb 2\nA 3\n");
	assert_int_equal(configure("map ok { type = inline; entries = { \"a b\" }; }"
	                           "aliases { file = \"@/twice\"; }"),
	                 0);
	assert_int_equal(ar_maps_open(&conf, &set), SM_E_EXISTS);
	assert_null(set);
	snprintf(diag, sizeof(diag), "map aliases: %s:3: ", path("twice"));
	assert_memory_equal(sm_diag(), diag, strlen(diag));
}

static void files_that_change(void **state)
{
	struct ar_maps *set, *held;
	uint64_t before, now;

	(void)state;
	write_file("m", "a 1\n");
	set = open_set("map m { file = \"@/m\"; }");
	held = ar_maps_ref(set);
	before = ar_maps_look(&conf);
	assert_true(ar_maps_look(&conf) == before);
	write_file("m", "a 2\n");
	now = ar_maps_look(&conf);
	assert_true(now != before);
	assert_string_equal(get(ar_maps_find(set, SM_STR("m")), "a"), "1");
	assert_int_equal(unlink(path("m")), 0);
	assert_true(ar_maps_look(&conf) != now);
	ar_maps_unref(&set);
	/* Whoever holds it still has it. */
	assert_string_equal(get(ar_maps_find(held, SM_STR("m")), "a"), "1");
	ar_maps_unref(&held);
}

struct tried {
	int count;
	int rc[4];
	char key[4][20], value[4][20];
};

static void note(void *arg, const char *map, struct sm_str key, int rc, struct sm_str value)
{
	struct tried *t = arg;

	assert_string_equal(map, "m");
	assert_true(t->count < 4);
	t->rc[t->count] = rc;
	sm_str_cut(key, t->key[t->count], sizeof(t->key[0]));
	sm_str_cut(value, t->value[t->count++], sizeof(t->value[0]));
}

static void traces(void **state)
{
	struct ar_maps *set = open_set("map m { type = inline; entries = { \".b x\" }; }");
	struct tried tried = {0};
	struct ar_trace trace = {.tried = note, .arg = &tried};
	struct sm_str value;
	struct ar_keys keys;

	(void)state;
	ctx.trace = &trace;
	ar_keys_domain(&keys, SM_STR(""), SM_STR("a.b"), 0);
	assert_int_equal(ar_map_find(ar_maps_find(set, SM_STR("m")), &ctx, &keys, &value), 0);
	ctx.trace = NULL;
	assert_int_equal(tried.count, 2);
	assert_string_equal(tried.key[0], "a.b");
	assert_int_equal(tried.rc[0], SM_E_NOTFOUND);
	assert_string_equal(tried.key[1], ".b");
	assert_string_equal(tried.value[1], "x");
	ar_maps_unref(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_and_inline),
	    cmocka_unit_test(hash_and_sequence),
	    cmocka_unit_test(failures_are_not_misses),
	    cmocka_unit_test(lookup_orders),
	    cmocka_unit_test(refused_by_the_configuration),
	    cmocka_unit_test(refused_at_opening),
	    cmocka_unit_test(files_that_change),
	    cmocka_unit_test(traces),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
