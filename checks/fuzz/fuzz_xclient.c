/* XCLIENT: what is taken of it can stand in a header, a log line and a lookup. */
#include "libsm/addr.h"
#include "smtps/xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void printable(struct sm_str s)
{
	for (size_t i = 0; i < s.n; i++)
		sm_assert(s.p[i] >= ' ' && s.p[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct ss_xclient x;
	struct sm_arena a;
	struct sm_str what;

	if (n > 4096)
		return 0;
	sm_arena_init(&a, "fuzz", 1024, 16384);
	if (ss_xclient_parse(sm_str_n(p, n), &a, &x, &what) == 0) {
		sm_assert(x.client.len > 0 && !sm_sa_is_bogus(&x.client));
		sm_assert((x.resolve == SM_RESOLVE_OK) == (x.name.n > 0));
		sm_assert(x.name.n == 0 || sm_domain_valid(x.name, true));
		sm_assert(x.helo.n == 0 || sm_helo_valid(x.helo, false));
		sm_assert(x.login.n <= 255);
		printable(x.login);
	}
	sm_arena_fini(&a);
	return 0;
}
