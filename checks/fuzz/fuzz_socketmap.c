/* Replies of socketmap servers: however they come in pieces, they are taken in the same way, and
 * what is taken lies within them. And requests: whatever is asked for, it is one netstring. */
#include "libsm/err.h"
#include "smar/socketmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check_request(struct sm_str key)
{
	struct sm_str payload;
	struct sm_buf b;
	size_t used;

	sm_buf_init(&b, AR_SOCKETMAP_REPLY_MAX + 100);
	ar_socketmap_request(&b, SM_STR("map"), key);
	sm_assert(ar_socketmap_netstring(sm_buf_view(&b), &payload, &used) == 0 && used == b.len);
	sm_assert(sm_str_has_prefix(payload, SM_STR("map ")) &&
	          sm_str_eq(sm_str_from(payload, 4), key));
	sm_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_str in = sm_str_n(p, n), payload, again;
	struct ar_socketmap_reply r;
	size_t used = 0, used_again = 0;
	int rc = ar_socketmap_netstring(in, &payload, &used);

	if (n < 1000)
		check_request(in);
	/* The beginning says "not yet", or already what the whole says. */
	for (size_t k = 0; k < SM_MIN(n, (size_t)200); k++) {
		int early = ar_socketmap_netstring(sm_str_head(in, k), &again, &used_again);

		sm_assert(early == SM_E_AGAIN || early == rc);
		sm_assert(early != 0 || used_again == used);
	}
	if (rc != 0) {
		sm_assert(rc == SM_E_AGAIN || rc == SM_E_PROTO || rc == SM_E_TOOBIG);
		return 0;
	}
	sm_assert(used <= n && payload.n < used && payload.n <= AR_SOCKETMAP_REPLY_MAX);
	sm_assert(payload.p >= in.p && payload.p + payload.n < in.p + used);
	if (ar_socketmap_reply(payload, &r) == 0)
		sm_assert(r.data.n <= payload.n &&
		          memchr(r.data.p ? r.data.p : "", '\0', r.data.n) == NULL);
	return 0;
}
