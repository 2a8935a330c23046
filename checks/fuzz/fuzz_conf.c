/* The configuration: any text parses or is refused; what binds also dumps, and the dump binds to
 * the same. */
#include <stdlib.h>

#include "libsm/buf.h"
#include "libsm/conf_mcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *arg, const char *line)
{
	(void)arg;
	(void)line;
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
	sm_buf_fini(&once);
	sm_buf_fini(&twice);
	return 0;
}
