/* XFORWARD, line after line: whatever is told can stand in a header, a log line and another
 * XFORWARD, and a bad line changes nothing. */
#include "libsm/err.h"
#include "smtps/xforward.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void is_clean(const char *text, size_t size)
{
	sm_assert(memchr(text, '\0', size) != NULL);
	for (; *text != '\0'; text++)
		sm_assert(*text > ' ' && *text <= '~' && strchr("<>()\\\";@", *text) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_str rest = sm_str_n(p, n), what;
	struct ss_xforward x = {.port = 0}, before;
	struct sm_arena a;

	if (n > 4096)
		return 0;
	while (rest.p != NULL) {
		before = x;
		sm_arena_init(&a, "fuzz", 1024, 16384);
		if (ss_xforward_parse(sm_str_split(rest, '\n', &rest), &a, &x, &what) != 0) {
			sm_assert(what.n > 0);
			sm_assert(memcmp(&before, &x, sizeof(x)) == 0);
		}
		sm_arena_fini(&a);
		is_clean(x.name, sizeof(x.name));
		is_clean(x.helo, sizeof(x.helo));
		is_clean(x.ident, sizeof(x.ident));
		is_clean(x.proto, sizeof(x.proto));
		sm_assert(x.source[0] == '\0' || strcmp(x.source, "LOCAL") == 0 ||
		          strcmp(x.source, "REMOTE") == 0);
		sm_assert(x.addr.len == 0 || !sm_sa_is_bogus(&x.addr));
	}
	return 0;
}
