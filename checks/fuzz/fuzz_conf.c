/* The configuration: any text parses or is refused; what binds also dumps, and the dump binds to
 * the same. Both for mcp's table, with the first section, and for one with a row of each kind, with
 * the text as a whole. */
#include <stdlib.h>

#include "libsm/buf.h"
#include "libsm/conf_mcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

/* ---- a row of each kind ---- */

struct item {
	struct sm_conf_where where;
	struct sm_str file;
};
struct every {
	bool yes;
	int64_t number, time_ms, time_us, size, kb;
	struct sm_str text, path;
	int colour;
	uint32_t flags;
	struct sm_conf_list list;
	struct {
		int64_t deep;
		struct sm_str dir;
	} part;
	struct sm_conf_sections items;
};

#define AT(m)      .offset = offsetof(struct every, m)
#define IN_PART(m) .offset = offsetof(struct every, part.m) - offsetof(struct every, part)
/* clang-format off */
static const struct sm_word colours[] = {{"red", 1, NULL}, {"green", 2, NULL}, {"blue", 4, NULL}, {0}};
static const struct sm_opt item_opts[] = {
    {.name = "file", .type = SM_OPT_PATH, .offset = offsetof(struct item, file), .def = "", .help = "a file"},
    SM_OPT_END,
};
static const struct sm_opt part_opts[] = {
    {.name = "deep", .type = SM_OPT_INT, IN_PART(deep), .def = "3", .min = -5, .max = 100, .help = "a number"},
    {.name = "dir", .type = SM_OPT_PATH, IN_PART(dir), .def = "", .written = "here", .help = "a path"},
    SM_OPT_END,
};
static const struct sm_opt every_opts[] = {
    {.name = "yes", .type = SM_OPT_BOOL, AT(yes), .def = "on", .help = "a switch"},
    {.name = "number", .type = SM_OPT_INT, AT(number), .def = "007", .max = 0777, .help = "a number"},
    {.name = "time", .type = SM_OPT_TIME, AT(time_ms), .def = "5m", .min = 1000, .unit = "s", .help = "a time"},
    {.name = "delay", .type = SM_OPT_TIME, AT(time_us), .def = "100", .max = 1000000, .unit = "us", .help = "a short time"},
    {.name = "size", .type = SM_OPT_SIZE, AT(size), .def = "64KB", .max = 1 << 30, .help = "a size"},
    {.name = "space", .type = SM_OPT_SIZE, AT(kb), .def = "10", .unit = "KB", .help = "a size in KB"},
    {.name = "text", .type = SM_OPT_STR, AT(text), .def = "abc", .max = 10, .help = "a text"},
    {.name = "path", .type = SM_OPT_PATH, AT(path), .def = "sock/x", .unit = "etc", .help = "a path"},
    {.name = "colour", .type = SM_OPT_ENUM, AT(colour), .def = "green", .words = colours, .help = "a word"},
    {.name = "flags", .type = SM_OPT_FLAGS, AT(flags), .def = "red, blue", .words = colours, .help = "flags"},
    {.name = "list", .type = SM_OPT_LIST, AT(list), .def = "one, two", .max = 4, .help = "a list"},
    {.name = "part", .type = SM_OPT_SECTION, AT(part), .sub = part_opts, .help = "a section"},
    {.name = "item", .type = SM_OPT_SECTIONS, AT(items), .sub = item_opts, .sub_size = sizeof(struct item), .max = 3, .help = "sections"},
    SM_OPT_END,
};
/* clang-format on */

static bool bind_every(struct sm_str text, struct sm_buf *out)
{
	struct every e = {.yes = false};
	struct sm_conf_file f;
	struct sm_arena a;
	bool good;

	if (sm_conf_parse(&f, "f", text) != 0)
		return false;
	sm_arena_init(&a, "fuzz", 4096, 8 << 20);
	sm_conf_defaults(every_opts, &e, &a);
	good = sm_conf_bind(&f, &f.root, every_opts, NULL, &e, &a) == 0;
	if (good) {
		sm_assert(e.number >= 0 && e.number <= 0777 && e.time_ms >= 1000);
		sm_assert(e.time_us <= 1000000 && e.size <= 1 << 30 && e.text.n <= 10);
		sm_assert(e.list.count <= 4 && e.items.count <= 3 && (e.flags & ~7u) == 0);
		sm_assert(e.part.deep >= -5 && e.part.deep <= 100);
		sm_conf_dump(out, every_opts, &e, 0, true);
	}
	sm_conf_free(&f);
	sm_arena_fini(&a);
	return good;
}

/* Bind the first section by mcp's table and print it into `out`; false when it does not bind. */
static bool bind_and_dump(struct sm_str text, bool strict, struct sm_buf *out)
{
	struct sm_conf_file f;
	struct sm_conf_service s;
	struct sm_arena a;
	bool good = false;

	if (sm_conf_parse(&f, "f", text) != 0)
		return false;
	sm_arena_init(&a, "fuzz", 4096, 8 << 20);
	struct sm_conf_node *n = f.root.first;
	if (n != NULL && n->is_section) {
		sm_conf_defaults(sm_conf_mcp_opts, &s, &a);
		good = strict ? sm_conf_bind(&f, n, sm_conf_mcp_opts, NULL, &s, &a) == 0
		              : sm_conf_bind_all(&f, n, sm_conf_mcp_opts, sm_conf_any, &s, &a,
		                                 ignore, NULL) == 0;
		if (good) {
			(void)!sm_conf_mcp_check(&f, n, &s);
			sm_buf_cstr(out, "x {\n");
			sm_conf_dump(out, sm_conf_mcp_opts, &s, 1, true);
			sm_buf_cstr(out, "}\n");
		}
	}
	struct sm_conf_global g;
	sm_conf_defaults(sm_conf_global_opts, &g, &a);
	(void)sm_conf_bind_all(&f, &f.root, sm_conf_global_opts, NULL, &g, &a, ignore, NULL);
	sm_conf_free(&f);
	sm_arena_fini(&a);
	return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sm_buf once, twice;

	sm_buf_init(&once, 8 << 20);
	sm_buf_init(&twice, 8 << 20);
	if (bind_and_dump(sm_str_n(data, size), false, &once) && once.len < 900000 &&
	    sm_buf_err(&once) == 0) {
		if (!bind_and_dump(sm_buf_view(&once), true, &twice) ||
		    !sm_str_eq(sm_buf_view(&once), sm_buf_view(&twice)))
			abort();
	}
	sm_buf_reset(&once);
	sm_buf_reset(&twice);
	if (bind_every(sm_str_n(data, size), &once) && once.len < 900000 &&
	    sm_buf_err(&once) == 0) {
		sm_assert(bind_every(sm_buf_view(&once), &twice));
		sm_assert(sm_str_eq(sm_buf_view(&once), sm_buf_view(&twice)));
	}
	sm_buf_fini(&once);
	sm_buf_fini(&twice);
	return 0;
}
