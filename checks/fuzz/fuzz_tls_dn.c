/*
 * Fuzz what is read of certificates and of the name that a client asks for: a distinguished name in
 * DER, and names against patterns.
 *
 * Input: DER. Checked: the text is bounded, holds nothing that would need an escape in log, header
 * or access map, and only as many '/' as there are components at the most. Then the same bytes as a
 * pattern and a name, split at each 0xff.
 */
#include <stdint.h>

#include "libsm/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_dn(struct sm_str der)
{
	static const struct sm_str never = SM_STR("<>()\" ");
	struct sm_arena a;
	struct sm_str dn;

	sm_arena_init(&a, "fuzz", 4096, 65536);
	if (sm_tls_dn(der, &a, &dn) == 0) {
		sm_assert(dn.n <= SM_TLS_DN_MAX);
		sm_assert(dn.n == 0 || dn.p[0] == '/');
		for (size_t i = 0; i < dn.n; i++) {
			sm_assert(dn.p[i] > ' ' && dn.p[i] <= '~');
			sm_assert(sm_str_chr(never, dn.p[i]) < 0);
			/* A '+' is always the beginning of an escape, and a whole one. */
			sm_assert(dn.p[i] != '+' || i + 2 < dn.n);
		}
	}
	sm_arena_fini(&a);
}

static void check_names(struct sm_str all)
{
	struct sm_str name, pattern = sm_str_split(all, '\xff', &name);

	if (!sm_tls_name_fits(pattern, name))
		return;
	/* Whatever fits is the pattern itself, or one label more than what follows its star. */
	sm_assert(!sm_str_empty(name));
	if (!sm_str_caseeq(pattern, name)) {
		sm_assert(sm_str_has_prefix(pattern, SM_STR("*.")));
		sm_assert(sm_str_has_casesuffix(name, sm_str_from(pattern, 1)));
		sm_assert(sm_str_chr(sm_str_head(name, name.n - (pattern.n - 1)), '.') < 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sm_str all = sm_str_n(data, size);

	check_dn(all);
	check_names(all);
	return 0;
}
