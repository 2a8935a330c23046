/* PROXY headers: however they come in pieces, the same is said of them, and nothing behind one
 * matters. */
#include "libsm/err.h"
#include "smtps/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_str in = sm_str_n(p, n);
	struct ss_proxy whole, part;
	int rc = ss_proxy_parse(in, &whole);

	sm_assert(rc == 0 || rc == SM_E_AGAIN || rc == SM_E_SYNTAX || rc == SM_E_TOOBIG);
	sm_assert(rc != SM_E_AGAIN || n < SS_PROXY_MAX);
	if (rc == 0) {
		sm_assert(whole.used <= n && whole.used <= SS_PROXY_MAX && whole.used >= 14);
		sm_assert(whole.told == (whole.client.len > 0));
		sm_assert(!whole.told || !sm_sa_is_bogus(&whole.client));
		sm_assert(ss_proxy_parse(sm_str_head(in, whole.used), &part) == 0);
		sm_assert(part.used == whole.used);
	}
	/* Nothing is decided before it is certain. */
	for (size_t k = 0; k < SM_MIN(n, (size_t)300); k++) {
		int early = ss_proxy_parse(sm_str_head(in, k), &part);

		sm_assert(early == SM_E_AGAIN || early == rc ||
		          (early == SM_E_SYNTAX && rc == SM_E_TOOBIG) || rc == SM_E_AGAIN);
		sm_assert(early != 0 || part.used == whole.used);
		sm_assert(early == SM_E_AGAIN || rc != SM_E_AGAIN);
	}
	return 0;
}
