/* Fuzz smtp_cmd.c: a line goes all the way a command of a client goes: verb, path, parameters,
 * xtext of each value. */
#include "libsm/smtp_cmd.h"

static void walk_params(struct sm_str s, struct sm_arena *a)
{
	struct sm_str key, value, text;

	while (sm_smtp_param_next(&s, &key, &value) == 1) {
		sm_assert(key.n > 0);
		if (sm_xtext_decode(value, a, &text) == 0)
			for (size_t i = 0; i < text.n; i++)
				sm_assert(text.p[i] >= ' ' && text.p[i] <= '~');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_arena a;
	struct sm_smtp_cmd c;
	struct sm_addr addr;
	struct sm_str params;

	sm_arena_init(&a, "fuzz", 512, 1024 * 1024);
	if (sm_smtp_cmd_parse(sm_str_n(p, n), &c) == 0) {
		sm_assert(c.verb.n > 0 && c.verb.n + c.arg.n <= n);
		if (sm_smtp_from_to(c.arg, SM_STR("FROM:"), SM_ADDR_NULL_OK, &a, &addr, &params) ==
		    0)
			walk_params(params, &a);
		if (sm_smtp_from_to(c.arg, SM_STR("TO:"), SM_ADDR_BARE_POSTMASTER_OK, &a, &addr,
		                    &params) == 0)
			walk_params(params, &a);
		walk_params(c.arg, &a);
	}
	sm_arena_fini(&a);
	return 0;
}
