/*
 * Protected recipients. Invariant: a recipient that has an entry is accepted only if a restriction
 * of it is met; an entry or a list that cannot be read is a temporary refusal. Thread: the loop's;
 * coroutine when it may wait.
 */
#include "smar/protect.h"

#include "libsm/err.h"
#include "smar/access.h"
#include "smar/address.h"
#include "smar/alias.h"

/* ---- comparing ---- */

static bool any_key(struct ar_keys *keys, struct sm_str pattern)
{
	char text[AR_KEY_MAX + 1];
	bool other;

	if (!sm_str_is_ascii(pattern))
		(void)ar_key_ascii(pattern, text, &pattern, &other);
	while (ar_keys_next(keys))
		if (sm_str_caseeq(keys->key, pattern))
			return true;
	return false;
}

bool ar_protect_sender_is(struct sm_str pattern, const struct ar_parts *sender, uint32_t flags)
{
	struct ar_keys keys;
	unsigned how = AR_KEYS_EXACT;

	if (flags & SM_CHECK_PROTECT_DETAIL)
		how = AR_KEYS_IMPLICIT_DETAIL;
	else if (flags & SM_CHECK_PROTECT_LOOKUP)
		how = 0;
	ar_keys_address(&keys, SM_STR(""), sender, how);
	return any_key(&keys, pattern);
}

bool ar_protect_client_is(struct sm_str pattern, const struct sm_sa *client, uint32_t flags)
{
	const uint32_t lookup = SM_CHECK_PROTECT_LOOKUP | SM_CHECK_PROTECT_DETAIL;
	struct ar_keys keys;

	ar_keys_ip(&keys, SM_STR(""), client, flags & lookup ? 0 : AR_KEYS_EXACT);
	return any_key(&keys, pattern);
}

/* ---- restrictions ---- */

struct question {
	const struct sm_msg_rcpt_check *m;
	const struct ar_parts *rcpt;
	struct ar_address sender;
};

struct member {
	const struct ar_parts *sender;
	uint32_t flags;
};

static bool member_is(void *arg, struct sm_str member)
{
	const struct member *m = arg;

	return ar_protect_sender_is(member, m->sender, m->flags);
}

/* Members of members are none: a list names whom it means. */
static int sender_in_list(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str list,
                          const struct question *q, bool *met)
{
	struct member m = {&q->sender.parts, q->m->flags};
	struct sm_str mailbox = list;
	int rc;

	/* A local part alone is one beside the recipient. */
	if (sm_str_chr(list, '@') < 0)
		mailbox = sm_arena_printf(ctx->a, SM_STR_FMT "@" SM_STR_FMT, SM_STR_ARG(list),
		                          SM_STR_ARG(q->rcpt->domain));
	if (mailbox.p == NULL)
		return sm_fail(SM_E_TOOBIG, "too many lists");
	rc = ar_alias_any(ar, ctx, mailbox, member_is, &m);
	*met = rc == 0;
	return rc == SM_E_NOTFOUND ? 0 : rc;
}

/* 0 and *met, SM_E_AGAIN, or why it cannot be told. */
static int try_restriction(const struct ar *ar, const struct ar_ctx *ctx,
                           const struct ar_restriction *r, const struct question *q, bool *met)
{
	uint32_t flags = q->m->flags;
	bool by_sender = (flags & SM_CHECK_PROTECT_SENDER) != 0 && q->sender.parts.local.n > 0;

	switch (r->kind) {
	case AR_RESTRICTION_FROM:
		*met = by_sender && ar_protect_sender_is(r->what, &q->sender.parts, flags);
		break;
	case AR_RESTRICTION_CLIENT:
		*met = (flags & SM_CHECK_PROTECT_CLIENT) != 0 &&
		       ar_protect_client_is(r->what, &q->m->client, flags);
		break;
	case AR_RESTRICTION_LIST:
		return by_sender ? sender_in_list(ar, ctx, r->what, q, met) : 0;
	}
	return 0;
}

/* All restrictions are read, also behind one that is met: an error in one of them has to be seen.
 */
static int any_restriction(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str value,
                           const struct question *q, bool *met)
{
	struct ar_restriction r;
	int rc, count = 0;

	*met = false;
	while ((rc = ar_restriction_next(&value, &r)) == 0) {
		count++;
		if (!*met && (rc = try_restriction(ar, ctx, &r, q, met)) != 0)
			return rc;
	}
	if (rc == SM_E_EOF)
		rc = count > 0 ? 0 : sm_fail(SM_E_SYNTAX, "no restriction");
	return rc;
}

int ar_protect(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_rcpt_check *m,
               const struct ar_parts *rcpt, struct sm_msg_verdict *out)
{
	struct question q = {.m = m, .rcpt = rcpt};
	struct ar_action failed;
	struct ar_keys keys;
	struct sm_str value;
	bool met;
	int rc;

	if (!(m->flags & (SM_CHECK_PROTECT_SENDER | SM_CHECK_PROTECT_CLIENT)))
		return 0;
	ar_keys_address(&keys, SM_STR("protectedrcpt:"), rcpt,
	                AR_KEYS_LOCALPART | AR_KEYS_IMPLICIT_DETAIL);
	rc = ar_access_value(ar, ctx, &keys, &value);
	if (rc == SM_E_NOTFOUND)
		return 0;
	if (rc == 0 && m->sender.n > 0)
		rc = ar_address_of(ar, ctx->a, m->sender, &q.sender);
	if (rc == 0)
		rc = any_restriction(ar, ctx, value, &q, &met);
	if (rc == SM_E_AGAIN)
		return rc;
	if (rc != 0) {
		ar_access_failed(ctx, &keys, rc, &failed);
		(void)ar_access_apply(ctx, &failed, out);
	} else if (!met) {
		out->code = 550;
		out->text = SM_STR("5.7.1 You may not send to this recipient");
	}
	return 0;
}
