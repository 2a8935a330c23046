/*
 * Fuzz addr.c and utf8.c: whatever is taken is canonical, within its limits and printable, and
 * parses to itself again; domains that are compared by the same are the same. Input: one byte of
 * flags, then a path.
 */
#include "libsm/addr.h"
#include "libsm/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_arena a;
	struct sm_addr one, two;
	struct sm_str in, rest;

	if (n == 0)
		return 0;
	in = sm_str_n(p + 1, n - 1);
	sm_arena_init(&a, "fuzz", 512, 65536);
	if (sm_addr_path(in, p[0] & 7, &a, &one, &rest) == 0) {
		sm_assert(rest.p > in.p && rest.p + rest.n == in.p + in.n);
		sm_assert(one.mailbox.n <= SM_PATH_MAX - 2);
		sm_assert(one.local.n <= SM_LOCALPART_MAX && one.domain.n <= SM_DOMAIN_MAX);
		sm_assert(sm_utf8_graphic(one.mailbox));
		sm_assert((p[0] & SM_ADDR_UTF8_OK) || sm_str_is_ascii(one.mailbox));
		for (size_t i = 0; i < one.mailbox.n; i++)
			sm_assert((unsigned char)one.mailbox.p[i] >= ' ' &&
			          one.mailbox.p[i] != 0x7f);
		if (one.domain.n > 0) {
			sm_assert(sm_addr_mailbox(one.mailbox, &a, &two) == 0);
			sm_assert(sm_str_eq(one.mailbox, two.mailbox));
			sm_assert(sm_str_eq(one.domain, two.domain));
			sm_assert(sm_str_eq(one.ascii_domain, two.ascii_domain));
			sm_assert(sm_helo_valid(one.ascii_domain, true));
			sm_assert(sm_domain_eq(one.domain, one.ascii_domain));
		}
	}
	if (sm_addr_mailbox(in, &a, &one) == 0)
		sm_assert(one.domain.n > 0);
	(void)sm_helo_valid(in, false);
	sm_arena_fini(&a);
	return 0;
}
