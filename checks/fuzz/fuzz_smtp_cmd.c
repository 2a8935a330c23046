/* Fuzz smtp_cmd.c: a line goes all the way a command of a client goes: verb, path, parameters,
 * xtext of each value. */
#include "libsm/buf.h"
#include "libsm/smtp_cmd.h"
#include "libsm/utf8.h"

/* What is an address in UTF-8 comes back from what is written of it. */
static void check_unitext(struct sm_str value, struct sm_arena *a)
{
	struct sm_str text, again;
	struct sm_buf b;

	if (sm_unitext_decode(value, true, a, &text) != 0)
		return;
	sm_assert(sm_utf8_graphic(text));
	sm_buf_init(&b, 1 << 20);
	sm_unitext_put(&b, text);
	sm_assert(sm_str_is_ascii(sm_buf_view(&b)));
	sm_assert(sm_unitext_decode(sm_buf_view(&b), false, a, &again) == 0);
	sm_assert(sm_str_eq(text, again));
	sm_buf_fini(&b);
}

/* A size is what its digits say. */
static void check_bdat(struct sm_str arg)
{
	uint64_t size;
	bool last;

	if (sm_smtp_bdat(arg, &size, &last) != 0)
		return;
	sm_assert(sm_isdigit(arg.p[0]));
	sm_assert(last == (arg.p[arg.n - 1] == 'T' || arg.p[arg.n - 1] == 't'));
	sm_assert(size <= 9 || arg.n >= 2);
}

static void walk_params(struct sm_str s, struct sm_arena *a)
{
	struct sm_str key, value, text;

	while (sm_smtp_param_next(&s, &key, &value) == 1) {
		sm_assert(key.n > 0);
		if (sm_xtext_decode(value, a, &text) == 0)
			for (size_t i = 0; i < text.n; i++)
				sm_assert(text.p[i] >= ' ' && text.p[i] <= '~');
		check_unitext(value, a);
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
		if (sm_smtp_from_to(c.arg, SM_STR("FROM:"), SM_ADDR_NULL_OK | SM_ADDR_UTF8_OK, &a,
		                    &addr, &params) == 0)
			walk_params(params, &a);
		if (sm_smtp_from_to(c.arg, SM_STR("TO:"), SM_ADDR_BARE_POSTMASTER_OK, &a, &addr,
		                    &params) == 0)
			walk_params(params, &a);
		walk_params(c.arg, &a);
		check_bdat(c.arg);
	}
	sm_arena_fini(&a);
	return 0;
}
