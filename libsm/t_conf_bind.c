/* The configuration language: a file is bound to tables of options, told what is wrong, dumped,
 * kept at a reload. */
#include "libsm/t_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libsm/buf.h"

enum { RED = 1, GREEN = 2, BLUE = 4 };
static const struct sm_word colours[] = {
    {"red", RED, "as a rose"}, {"green", GREEN, "as grass"}, {"blue", BLUE, NULL}, {0}};

struct map {
	struct sm_conf_where where;
	int kind;
	struct sm_str file;
};
struct all {
	bool yes;
	int64_t n, umask, t_ms, t_us, size, kb;
	struct sm_str s, p, etc;
	int colour;
	uint32_t flags;
	struct sm_conf_list list;
	struct {
		int64_t deep;
		struct sm_str must;
	} sub;
	struct {
		struct sm_str dir, other;
	} on;
	struct sm_conf_sections maps;
};

/* clang-format off */
static const struct sm_opt map_opts[] = {
    {.name = "kind", .type = SM_OPT_ENUM, .offset = offsetof(struct map, kind), .words = colours, .help = "kind"},
    {.name = "file", .type = SM_OPT_PATH, .offset = offsetof(struct map, file), .required = true, .help = "file"},
    SM_OPT_END,
};
static const struct sm_opt sub_opts[] = {
    {.name = "deep", .type = SM_OPT_INT, .offset = offsetof(struct all, sub.deep) - offsetof(struct all, sub), .def = "3", .min = -5, .max = 100, .help = "deep", .reload = true},
    {.name = "must", .type = SM_OPT_STR, .offset = offsetof(struct all, sub.must) - offsetof(struct all, sub), .required = true, .help = "must"},
    SM_OPT_END,
};
static const struct sm_opt on_opts[] = {
    {.name = "dir", .type = SM_OPT_PATH, .offset = 0, .def = "", .written = "here", .help = "dir"},
    {.name = "other", .type = SM_OPT_STR, .offset = sizeof(struct sm_str), .def = "", .help = "other"},
    SM_OPT_END,
};
#define AT(m) .offset = offsetof(struct all, m)
static const struct sm_opt opts[] = {
    {.name = "yes", .type = SM_OPT_BOOL, AT(yes), .def = "on", .help = "a switch"},
    {.name = "max_hops", .type = SM_OPT_INT, AT(n), .def = "25", .min = 1, .max = 100, .unit = "hops", .help = "a number", .reload = true},
    {.name = "umask", .type = SM_OPT_INT, AT(umask), .def = "007", .max = 0777, .help = "octal"},
    {.name = "IO_timeout", .type = SM_OPT_TIME, AT(t_ms), .def = "5m", .min = 1000, .max = 3600000, .unit = "s", .help = "a time"},
    {.name = "commit_delay", .type = SM_OPT_TIME, AT(t_us), .def = "100", .max = 1000000, .unit = "us", .help = "a short time"},
    {.name = "size", .type = SM_OPT_SIZE, AT(size), .def = "64KB", .max = 1 << 30, .help = "a size"},
    {.name = "space", .type = SM_OPT_SIZE, AT(kb), .def = "10", .unit = "KB", .help = "a size in KB"},
    {.name = "s", .type = SM_OPT_STR, AT(s), .def = "abc", .max = 10, .help = "a string"},
    {.name = "p", .type = SM_OPT_PATH, AT(p), .def = "sock/x", .help = "a path"},
    {.name = "mt", .type = SM_OPT_PATH, AT(etc), .def = "mt", .unit = "etc", .help = "beside the file. A second sentence"},
    {.name = "colour", .type = SM_OPT_ENUM, AT(colour), .def = "green", .words = colours, .help = "a word"},
    {.name = "flags", .type = SM_OPT_FLAGS, AT(flags), .def = "red, blue", .words = colours, .help = "flags"},
    {.name = "list", .type = SM_OPT_LIST, AT(list), .def = "one, two", .max = 4, .help = "a list", .man = ".starts with a dot. Has \\ too."},
    {.name = "sub", .type = SM_OPT_SECTION, AT(sub), .sub = sub_opts, .help = "a section"},
    {.name = "on", .type = SM_OPT_SECTION, AT(on), .sub = on_opts, .help = "a section that says something by being there"},
    {.name = "map", .type = SM_OPT_SECTIONS, AT(maps), .sub = map_opts, .sub_size = sizeof(struct map), .max = 3, .help = "sections", .reload = true},
    SM_OPT_END,
};
/* clang-format on */

/* Parse `text` and bind its section "x"; 0 or the error with its diag. */
static int bind(const char *text, struct all *v, struct sm_arena *a)
{
	struct sm_conf_file f;
	int rc = sm_conf_parse(&f, "/etc/smx/f.conf", sm_str(text));

	sm_arena_init(a, "test", 1024, 1 << 20);
	sm_conf_defaults(opts, v, a);
	if (rc != 0)
		return rc;
	struct sm_conf_node *x = sm_conf_find(&f, SM_STR("x"), SM_STR_NONE);
	rc = x != NULL ? sm_conf_bind(&f, x, opts, sm_conf_common_opts, v, a) : -1;
	sm_conf_free(&f);
	return rc;
}

/* ---- binding ---- */

static void defaults(void **state)
{
	struct sm_arena a;
	struct all v;

	(void)state;
	assert_int_equal(bind("x { sub { must = m; } }", &v, &a), 0);
	assert_true(v.yes);
	assert_int_equal(v.n, 25);
	assert_int_equal(v.umask, 7);
	assert_int_equal(v.t_ms, 300000);
	assert_int_equal(v.t_us, 100);
	assert_int_equal(v.size, 65536);
	assert_int_equal(v.kb, 10240);
	assert_str(v.s, "abc");
	assert_str(v.p, "sock/x");
	assert_str(v.etc, "/etc/smx/mt"); /* beside the file */
	assert_int_equal(v.colour, GREEN);
	assert_int_equal(v.flags, RED | BLUE);
	assert_int_equal(v.list.count, 2);
	assert_str(v.list.v[1], "two");
	assert_int_equal(v.sub.deep, 3);
	assert_int_equal(v.maps.count, 0);
	sm_arena_fini(&a);
}

static void everything_binds(void **state)
{
	struct sm_arena a;
	struct all v;

	(void)state;
	assert_int_equal(
	    bind(
		"other { nonsense = 1; }\n"
		"x { YES = Off; max_hops = 0x10; umask = 0022; io_TIMEOUT = 1m 1s; commit_delay = "
		"1ms;\n"
		" size = 1MB; space = 64; s = \"two words\"; p = rel; mt = mt;\n"
		" colour = Blue; flags = { dont_RED, green, no_green, green, not_blue };\n"
		" list = { a, b, \"c d\" };\n"
		" sub { deep = -3; must = one; } sub { must = two; }\n"
		" map m1 { kind = blue; file = f1; } map { file = f2; } map m3 { file = f3; }\n"
		" max_hops = 17; user = smxs; log_level = 3; log { facility = mail; } path = /x; }",
		&v, &a),
	    0);
	assert_false(v.yes);
	assert_int_equal(v.n, 17);
	assert_int_equal(v.umask, 022);
	assert_int_equal(v.t_ms, 61000);
	assert_int_equal(v.t_us, 1000);
	assert_int_equal(v.size, 1 << 20);
	assert_int_equal(v.kb, 65536);
	assert_str(v.s, "two words");
	assert_str(v.p, "rel");
	assert_str(v.etc, "mt"); /* written: left as it is */
	assert_int_equal(v.colour, BLUE);
	assert_int_equal(v.flags, GREEN);
	assert_int_equal(v.list.count, 3);
	assert_str(v.list.v[2], "c d");
	assert_int_equal(v.sub.deep, -3);
	assert_str(v.sub.must, "two");
	assert_int_equal(v.maps.count, 3);
	const struct map *m = v.maps.v;
	assert_str(m[0].where.name, "m1");
	assert_int_equal(m[0].kind, BLUE);
	assert_int_equal(m[0].where.line, 7);
	assert_str(m[1].where.name, "");
	assert_int_equal(m[1].kind, RED);
	assert_str(m[2].file, "f3");
	sm_arena_fini(&a);
}

static void written_section(void **state)
{
	static const struct {
		const char *text, *dir;
	} rows[] = {
	    {"", ""},
	    {"on { }", "here"},
	    {"on { other = x; }", "here"},
	    {"on { dir = there; }", "there"},
	    {"on { } on { dir = there; }", "there"},
	    {"on { dir = there; } on { other = x; }", "there"},
	    {"on { dir = \"\"; }", ""},
	    {"on { dir = \"\"; } on { other = x; }", ""},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		struct sm_arena a;
		struct all v;
		char text[100];

		snprintf(text, sizeof(text), "x { sub { must = m; } %s }", rows[i].text);
		assert_int_equal(bind(text, &v, &a), 0);
		assert_str(v.on.dir, rows[i].dir);
		sm_arena_fini(&a);
	}
}

static void binding_refuses(void **state)
{
	static const struct {
		const char *text; /* of section x on line 2 */
		int rc;
		const char *diag;
	} bad[] = {
	    {"max_hop = 1;", SM_E_NOTFOUND, "unknown option max_hop (did you mean max_hops?)"},
	    {"maxhops = 1;", SM_E_NOTFOUND, "unknown option maxhops (did you mean max_hops?)"},
	    {"usre = me;", SM_E_NOTFOUND, "unknown option usre (did you mean user?)"},
	    {"lgo { }", SM_E_NOTFOUND, "unknown section lgo (did you mean log?)"},
	    {"zzzzzz = me;", SM_E_NOTFOUND, "unknown option zzzzzz"},
	    {"max_hops = 101;", SM_E_RANGE, "max_hops = 101 is out of range: 1 to 100 hops"},
	    {"max_hops = 0;", SM_E_RANGE, "max_hops = 0 is out of range: 1 to 100 hops"},
	    {"max_hops = 99999999999999999999;", SM_E_RANGE,
	     "max_hops = 99999999999999999999 is out of range: 1 to 100 hops"},
	    {"max_hops = many;", SM_E_SYNTAX, "max_hops = many: must be a number"},
	    {"umask = 09;", SM_E_SYNTAX,
	     "umask = 09: a leading 0 means octal, which has digits 0 to 7 only"},
	    {"IO_timeout = 2h;", SM_E_RANGE, "IO_timeout = 2h is out of range: 1s to 1h"},
	    {"IO_timeout = soon;", SM_E_SYNTAX,
	     "IO_timeout = soon: must be a time such as 90s or 1h 5m"},
	    {"commit_delay = 2s;", SM_E_RANGE, "commit_delay = 2s is out of range: 0us to 1s"},
	    {"size = 2GB;", SM_E_RANGE, "size = 2GB is out of range: 0B to 1GB"},
	    {"size = -1;", SM_E_SYNTAX, "size = -1: must be a size such as 64KB or 10MB"},
	    {"space = 9999999999GB;", SM_E_RANGE,
	     "space = 9999999999GB is out of range: 0B or more"},
	    {"yes = maybe;", SM_E_SYNTAX, "yes = maybe: must be 0, false, off, 1, true or on"},
	    {"s = 12345678901;", SM_E_RANGE, "s has 11 characters, which is out of range: 0 to 10"},
	    {"colour = grene;", SM_E_NOTFOUND, "colour knows no \"grene\" (did you mean green?)"},
	    {"colour = xyzzy;", SM_E_NOTFOUND, "colour knows no \"xyzzy\", only red, green, blue"},
	    {"flags = { red, dont_yellow };", SM_E_NOTFOUND, "flags knows no \"dont_yellow\""},
	    {"list = { 1, 2, 3, 4, 5 };", SM_E_RANGE,
	     "list has 5 values, which is out of range: 0 to 4"},
	    {"s = { a };", SM_E_SYNTAX, "s takes one value, not a list"},
	    {"s { a = b; }", SM_E_SYNTAX, "s is an option, not a section: write s = value;"},
	    {"sub = 3;", SM_E_SYNTAX, "sub is a section, not an option: write sub { ... }"},
	    {"sub name { must = 1; }", SM_E_SYNTAX, "section sub has no name"},
	    {"sub { }", SM_E_SYNTAX, "section sub has no must, which is required"},
	    {"map { }", SM_E_SYNTAX, "section map has no file, which is required"},
	    {"map m { file = a; } map M { file = b; }", SM_E_EXISTS,
	     "section map M was given on line 2 already"},
	    {"map { file=1; } map { file=2; } map { file=3; } map { file=4; }", SM_E_RANGE,
	     "more than 3 sections map"},
	    {"sub { user = u; must = 1; }", SM_E_NOTFOUND,
	     "unknown option user"}, /* mcp's only one level up */
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		char text[300], diag[300];
		struct sm_arena a;
		struct all v;
		snprintf(text, sizeof(text), "x {\n%s }", bad[i].text);
		snprintf(diag, sizeof(diag), "/etc/smx/f.conf:2: %s", bad[i].diag);
		int rc = bind(text, &v, &a);
		if (rc != bad[i].rc || strncmp(sm_diag(), diag, strlen(diag)) != 0)
			fail_msg("%s: %d %s", text, rc, rc != 0 ? sm_diag() : "");
		sm_arena_fini(&a);
	}
}

static void refused_value_changes_nothing(void **state)
{
	struct sm_arena a;
	struct all v;

	(void)state;
	assert_int_not_equal(bind("x { flags = { green, dont_red, grey }; }", &v, &a), 0);
	assert_int_equal(v.flags, RED | BLUE);
	sm_arena_fini(&a);
	assert_int_not_equal(bind("x { max_hops = 5; max_hops = 500; }", &v, &a), 0);
	assert_int_equal(v.n, 5);
	sm_arena_fini(&a);
}

static void count_lines(void *arg, const char *line)
{
	struct sm_buf *b = arg;

	sm_buf_printf(b, "%s\n", line);
}

static void all_errors_are_told(void **state)
{
	struct sm_conf_file f;
	struct sm_arena a;
	struct sm_buf b;
	struct all v;

	(void)state;
	sm_buf_init(&b, 10000);
	sm_arena_init(&a, "test", 1024, 1 << 20);
	sm_conf_defaults(opts, &v, &a);
	assert_int_equal(
	    sm_conf_parse(
		&f, "f",
		SM_STR("x {\n max_hops = 0;\n colour = xyzzy;\n size = 5;\n nope = 1;\n}")),
	    0);
	assert_int_equal(sm_conf_bind_all(&f, f.root.first, opts, NULL, &v, &a, count_lines, &b),
	                 3);
	assert_string_equal(sm_buf_c(&b), "f:2: max_hops = 0 is out of range: 1 to 100 hops\n"
	                                  "f:3: colour knows no \"xyzzy\", only red, green, blue\n"
	                                  "f:5: unknown option nope\n");
	assert_int_equal(v.size, 5);
	sm_conf_free(&f);
	sm_arena_fini(&a);
	sm_buf_fini(&b);
}

static void root_section_passes_programs_over(void **state)
{
	struct sm_conf_file f;
	struct sm_conf_global g;
	struct sm_arena a;

	(void)state;
	sm_arena_init(&a, "test", 1024, 1 << 20);
	sm_conf_defaults(sm_conf_global_opts, &g, &a);
	assert_int_equal(sm_conf_parse(&f, "f",
	                               SM_STR("hostname = mx.example.org; smtps { whatever = 1; } "
	                                      "CDB_base_directory = cdb;")),
	                 0);
	assert_int_equal(sm_conf_bind(&f, &f.root, sm_conf_global_opts, NULL, &g, &a), 0);
	assert_str(g.hostname, "mx.example.org");
	assert_str(g.smar_socket, "qmsmar/smarsock");
	assert_int_equal(sm_conf_global_check(&g, "f"), SM_E_SYNTAX);
	assert_string_equal(sm_diag(), "f: CDB_base_directory = cdb must end in a slash");
	g.cdb_base_directory = SM_STR("/cdb/");
	assert_int_equal(sm_conf_global_check(&g, "f"), 0);
	g.hostname = SM_STR("mx example");
	assert_int_equal(sm_conf_global_check(&g, "f"), SM_E_SYNTAX);
	sm_conf_free(&f);
	assert_int_equal(sm_conf_parse(&f, "f", SM_STR("hostnam = mx;")), 0);
	assert_int_equal(sm_conf_bind(&f, &f.root, sm_conf_global_opts, NULL, &g, &a),
	                 SM_E_NOTFOUND);
	assert_string_equal(sm_diag(), "f:1: unknown option hostnam (did you mean hostname?)");
	sm_conf_free(&f);
	sm_arena_fini(&a);
}

static void set_by_name(void **state)
{
	static const struct {
		const char *name, *value;
		int rc;
		const char *diag;
	} t[] = {
	    {"max_hops", "30", 0, ""},
	    {"SUB.deep", "7", 0, ""},
	    {"list", "a, b", 0, ""},
	    {"flags", "dont_red,green", 0, ""},
	    {"max_hops", "300", SM_E_RANGE, "-O: max_hops = 300 is out of range: 1 to 100 hops"},
	    {"max_hosp", "3", SM_E_NOTFOUND,
	     "-O: unknown option max_hosp (did you mean max_hops?)"},
	    {"sub", "3", SM_E_SYNTAX, "-O: sub cannot be set here"},
	    {"max_hops.x", "3", SM_E_SYNTAX, "-O: max_hops.x cannot be set here"},
	    {"sub.", "3", SM_E_NOTFOUND, "-O: unknown option "},
	};
	struct sm_arena a;
	struct all v;

	(void)state;
	sm_arena_init(&a, "test", 1024, 1 << 20);
	sm_conf_defaults(opts, &v, &a);
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		int rc = sm_conf_set(opts, &v, &a, t[i].name, t[i].value, "-O");
		assert_int_equal(rc, t[i].rc);
		if (rc != 0)
			assert_string_equal(sm_diag(), t[i].diag);
	}
	assert_int_equal(sm_conf_add(opts, &v, &a, "list", "c, d", "-l"), 0);
	assert_int_equal(sm_conf_add(opts, &v, &a, "list", "e", "-l"), 0);
	assert_int_equal(sm_conf_add(opts, &v, &a, "list", "f", "-l"), SM_E_RANGE);
	assert_string_equal(sm_diag(), "-l: list has 5 values, which is out of range: 0 to 4");
	assert_int_equal(v.list.count, 4);
	assert_str(v.list.v[0], "a");
	assert_str(v.list.v[2], "c, d");
	assert_str(v.list.v[3], "e");
	assert_int_equal(v.n, 30);
	assert_int_equal(v.sub.deep, 7);
	assert_str(v.list.v[1], "b");
	assert_int_equal(v.flags, GREEN | BLUE);
	sm_arena_fini(&a);
}

static void nearest(void **state)
{
	(void)state;
	assert_string_equal(sm_conf_nearest(opts, NULL, SM_STR("umaks")), "umask");
	assert_string_equal(sm_conf_nearest(opts, NULL, SM_STR("IOtimeout")), "IO_timeout");
	assert_string_equal(
	    sm_conf_nearest(opts, sm_conf_common_opts, SM_STR("restart_dependency")),
	    "restart_dependencies");
	assert_null(sm_conf_nearest(opts, sm_conf_any, SM_STR("completely")));
	assert_null(sm_conf_nearest(
	    opts, NULL,
	    SM_STR(
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")));
}

/* ---- dumps ---- */

static void dump_reads_back(void **state)
{
	static const char *const texts[] = {
	    "x { sub { must = m; } }",
	    "x { yes = off; max_hops = 3; umask = 0777; IO_timeout = 61s; commit_delay = 5; size = "
	    "1000; space = 3MB;"
	    " s = \"a\\\"\\\\\\n\\t;\"; p = \"\"; colour = red; flags = { dont_red, green }; list "
	    "= { };"
	    " sub { must = \"\"; deep = 0; } on { } map a { file = f; } map { file = g; kind = "
	    "green; } }",
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(texts); i++) {
		struct sm_arena a, a2;
		struct sm_buf b, b2;
		struct all v, v2;
		for (int help = 0; help < 2; help++) {
			sm_buf_init(&b, 1 << 20);
			sm_buf_init(&b2, 1 << 20);
			assert_int_equal(bind(texts[i], &v, &a), 0);
			sm_buf_cstr(&b, "x {\n");
			sm_conf_dump(&b, opts, &v, 1, help);
			sm_buf_cstr(&b, "}\n");
			assert_int_equal(bind(sm_buf_c(&b), &v2, &a2), 0);
			sm_buf_cstr(&b2, "x {\n");
			sm_conf_dump(&b2, opts, &v2, 1, help);
			sm_buf_cstr(&b2, "}\n");
			assert_string_equal(sm_buf_c(&b), sm_buf_c(&b2));
			if (help)
				assert_non_null(strstr(
				    sm_buf_c(&b),
				    "\t# a number (1 to 100 hops, default 25)\n\tmax_hops = "));
			sm_buf_fini(&b);
			sm_buf_fini(&b2);
			sm_arena_fini(&a);
			sm_arena_fini(&a2);
		}
	}
}

static void dump_one(void **state)
{
	struct sm_arena a;
	struct sm_buf b;
	struct all v;

	(void)state;
	sm_buf_init(&b, 10000);
	assert_int_equal(bind("x { s = \"a b\"; sub { must = m; } }", &v, &a), 0);
	assert_int_equal(sm_conf_dump_one(&b, opts, &v, SM_STR("S")), 0);
	assert_int_equal(sm_conf_dump_one(&b, opts, &v, SM_STR("io_timeout")), 0);
	assert_int_equal(sm_conf_dump_one(&b, opts, &v, SM_STR("sub.deep")), 0);
	assert_int_equal(sm_conf_dump_one(&b, opts, &v, SM_STR("flags")), 0);
	assert_int_equal(sm_conf_dump_one(&b, opts, &v, SM_STR("sub")), 0);
	assert_string_equal(sm_buf_c(&b),
	                    "a b\n5m\n3\n{ red, blue }\nsub {\n\tdeep = 3;\n\tmust = \"m\";\n}\n");
	assert_int_equal(sm_conf_dump_one(&b, opts, &v, SM_STR("sub.deeper")), SM_E_NOTFOUND);
	assert_int_equal(sm_conf_dump_one(&b, opts, &v, SM_STR("s.deep")), SM_E_NOTFOUND);
	sm_buf_fini(&b);
	sm_arena_fini(&a);
}

static void json(void **state)
{
	struct sm_arena a;
	struct sm_buf b;
	struct all v;

	(void)state;
	sm_buf_init(&b, 10000);
	assert_int_equal(bind("x { s = \"\xc3\xa4\\\"\\n\xff\"; list = { }; sub { must = m; } map "
	                      "k { file = f; } }",
	                      &v, &a),
	                 0);
	sm_conf_dump_json(&b, opts, &v);
	assert_string_equal(
	    sm_buf_c(&b),
	    "{\"yes\":true,\"max_hops\":25,\"umask\":7,\"IO_timeout\":300000,\"commit_delay\":100,"
	    "\"size\":65536,\"space\":10240,\"s\":\"\xc3\xa4\\\"\\u000a\\ufffd\",\"p\":\"sock/x\","
	    "\"mt\":\"/etc/smx/mt\",\"colour\":\"green\",\"flags\":[\"red\",\"blue\"],\"list\":[],"
	    "\"sub\":{\"deep\":3,\"must\":\"m\"},\"on\":{\"dir\":\"\",\"other\":\"\"},"
	    "\"map\":[{\"name\":\"k\",\"options\":{\"kind\":\"red\",\"file\":\"f\"}}]}");
	sm_buf_reset(&b);
	/* overlong, surrogate, cut off, above U+10FFFF; then good ones of two, three and four bytes
	 */
	sm_conf_json_str(
	    &b, SM_STR("\xc0\x80\xe0\x9f\xbf\xed\xa0\x80\xf0\x8f\xbf\xbf\xf4\x90\x80\x80\xe2\x82"));
	assert_null(strpbrk(sm_buf_c(&b), "\xc0\xe0\xed\xf0\xf4\xe2\x80"));
	sm_buf_reset(&b);
	sm_conf_json_str(&b, SM_STR("\xc2\x80\xe2\x82\xac\xf0\x9f\x93\xa7"));
	assert_string_equal(sm_buf_c(&b), "\"\xc2\x80\xe2\x82\xac\xf0\x9f\x93\xa7\"");
	sm_buf_fini(&b);
	sm_arena_fini(&a);
}

static void flags_and_man(void **state)
{
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 100000);
	sm_conf_dump_flags(&b, opts);
	assert_non_null(strstr(sm_buf_c(&b), "colour:\n\tred "));
	assert_non_null(strstr(sm_buf_c(&b), "map.kind:\n"));
	sm_buf_reset(&b);
	sm_conf_man(&b, opts, "x.");
	assert_non_null(strstr(sm_buf_c(&b),
	                       ".It Ic x.max_hops Pq number\nA number.\nDefault:\n.Ql \"25\" .\n"
	                       "Range: 1 to 100 hops.\nA reload changes it.\n"));
	assert_non_null(strstr(sm_buf_c(&b), "Beside the file.\nA second sentence.\n"));
	assert_non_null(strstr(sm_buf_c(&b), "\n\\&.starts with a dot.\nHas \\e too.\n"));
	assert_non_null(strstr(sm_buf_c(&b), ".It Ic x.sub.deep Pq number\n"));
	sm_buf_fini(&b);
}

/* ---- reload ---- */

static void keep_what_needs_a_restart(void **state)
{
	struct sm_arena a, b;
	struct sm_buf names;
	struct all was, now;

	(void)state;
	sm_buf_init(&names, 1000);
	assert_int_equal(
	    bind("x { max_hops = 3; s = old; list = { a }; sub { must = m; } }", &was, &a), 0);
	assert_int_equal(
	    bind("x { max_hops = 4; s = new; list = { b }; sub { must = n; deep = 9; } }", &now,
	         &b),
	    0);
	sm_conf_keep(opts, &now, &was, count_lines, &names);
	assert_string_equal(sm_buf_c(&names), "s\nlist\nsub.must\n");
	assert_int_equal(now.n, 4);
	assert_int_equal(now.sub.deep, 9);
	assert_str(now.s, "old");
	assert_str(now.list.v[0], "a");
	assert_str(now.sub.must, "m");
	sm_buf_fini(&names);
	sm_arena_fini(&a);
	sm_arena_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults),
	    cmocka_unit_test(everything_binds),
	    cmocka_unit_test(written_section),
	    cmocka_unit_test(binding_refuses),
	    cmocka_unit_test(refused_value_changes_nothing),
	    cmocka_unit_test(all_errors_are_told),
	    cmocka_unit_test(root_section_passes_programs_over),
	    cmocka_unit_test(set_by_name),
	    cmocka_unit_test(nearest),
	    cmocka_unit_test(dump_reads_back),
	    cmocka_unit_test(dump_one),
	    cmocka_unit_test(json),
	    cmocka_unit_test(flags_and_man),
	    cmocka_unit_test(keep_what_needs_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
