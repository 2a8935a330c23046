/*
 * Fuzz addr.c and utf8.c: whatever is taken is canonical, within its limits and printable, and
 * parses to itself again; domains that are compared by the same are the same. Input: one byte of
 * flags, then a path.
 */
#include "libsm/addr.h"
#include "libsm/utf8.h"

/* Characters come back as they were, and a domain has one form to be looked up by. */
static void check_utf8(struct sm_str in, struct sm_arena *a)
{
	char text[SM_DOMAIN_ASCII_SIZE], bytes[4];
	struct sm_str s = in, ascii, same;
	bool good = true;

	while (s.n > 0 && good) {
		struct sm_str before = s;
		int32_t c = sm_utf8_next(&s);

		good = c >= 0;
		if (good)
			sm_assert(sm_str_eq(sm_str_n(bytes, sm_utf8_put((uint32_t)c, bytes)),
			                    sm_str_head(before, before.n - s.n)));
	}
	sm_assert(sm_utf8_valid(in) == good);
	sm_assert(good || !sm_utf8_graphic(in));
	if (sm_domain_ascii(in, text, &ascii) == 0) {
		sm_assert(sm_str_is_ascii(ascii) && sm_domain_eq(in, ascii));
		sm_assert(sm_domain_ascii_in(a, in, &same) == 0 && sm_str_eq(same, ascii));
	}
}

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
	check_utf8(in, &a);
	sm_arena_fini(&a);
	return 0;
}
