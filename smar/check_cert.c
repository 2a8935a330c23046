/*
 * Relaying by certificate: who signed it, and if the map says so, whom it is for. Thread: the
 * loop's; coroutine when it may wait.
 */
#include "smar/check_int.h"

struct sm_str ar_dn_key(struct sm_arena *a, struct sm_str dn)
{
	static const char hex[] = "0123456789abcdef";
	static const struct sm_str special = SM_STR("<>()\"+ ");
	char out[AR_KEY_MAX];
	size_t n = 0;

	for (size_t i = 0; i < dn.n; i++) {
		unsigned char c = (unsigned char)dn.p[i];

		if (n + 3 > sizeof(out))
			return SM_STR_NONE;
		if (c > ' ' && c <= '~' && sm_str_chr(special, dn.p[i]) < 0) {
			out[n++] = sm_lower(dn.p[i]);
			continue;
		}
		out[n++] = '+';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	return sm_arena_str(a, sm_str_n(out, n));
}

/* What was encoded where the certificate was read, in lower case as all keys. */
static int find_dn(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str tag,
                   struct sm_str dn, struct ar_action *out)
{
	struct ar_keys keys;
	char *key;

	*out = (struct ar_action){.kind = AR_ACTION_CONT, .none = true};
	if (dn.n == 0 || dn.n > AR_KEY_MAX - tag.n)
		return 0;
	key = sm_arena_must(ctx->a, dn.n);
	sm_str_lower(dn, key);
	ar_keys_word(&keys, tag, sm_str_n(key, dn.n));
	return ar_access_find(ar, ctx, &keys, out);
}

int ar_check_cert(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_cert_check *m,
                  struct sm_msg_verdict *out)
{
	struct ar_action action;
	int rc;

	*out = (struct sm_msg_verdict){.text = SM_STR("")};
	rc = find_dn(ar, ctx, SM_STR("certissuer:"), m->issuer, &action);
	/* The subject is asked only about where the map says "cont" to the issuer. */
	if (rc == 0 && action.kind == AR_ACTION_CONT && !action.none)
		rc = find_dn(ar, ctx, SM_STR("certsubject:"), m->subject, &action);
	if (rc == 0 && (action.kind == AR_ACTION_RELAY || action.failed))
		(void)ar_access_apply(ctx, &action, out);
	return rc;
}
