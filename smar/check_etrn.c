/*
 * Who may ask for which mail (ETRN): the entries etrn: of the access map, by the user, by the
 * client's address and by its name.
 *
 *   etrn:192.0.2.7       cust1.example .cust1.example
 *   etrn:joe@            cust2.example
 *   etrn:.isp.example    .
 *
 * All that are found count: none of them takes away what another one gives. Invariant: what cannot
 * be told is a temporary error, never a yes. Thread: the loop's; coroutine when it may wait.
 */
#include "smar/check_int.h"

#include <stdio.h>

#include "libsm/addr.h"
#include "libsm/utf8.h"

static const struct sm_str tag = SM_STR("etrn:");

/* The words of a value: domains, ".domain" for all below it, "." for all. */
static bool lists(struct sm_str value, struct sm_str word)
{
	struct sm_str rest = value, w;

	while (!sm_str_empty(w = sm_str_word(&rest)))
		if (sm_domain_eq(w, word))
			return true;
	return false;
}

/* `below`: all below `domain`, without itself. */
static bool gives(struct sm_str value, struct sm_str domain, bool below)
{
	char inside[SM_DOMAIN_ASCII_SIZE + 2];
	struct ar_keys keys;

	(void)snprintf(inside, sizeof(inside), ".%.*s", SM_STR_ARG(domain));
	if (below && lists(value, sm_str(inside)))
		return true;
	ar_keys_domain(&keys, SM_STR(""), domain, AR_KEYS_DEFAULT);
	while (ar_keys_next(&keys)) {
		bool itself = sm_str_eq(keys.key, domain);

		if (!(itself && below) && lists(value, keys.key))
			return true;
	}
	return false;
}

static bool gives_node(struct sm_str value, struct sm_str node)
{
	struct sm_str domain = node;

	if (node.n == 0)
		return true;
	if (node.p[0] != '@')
		return gives(value, domain, false);
	domain = sm_str_from(node, 1);
	return gives(value, domain, false) && gives(value, domain, true);
}

/* True: there is no need to go on; *rc is 0, SM_E_AGAIN, or the verdict was filled. */
static bool look(const struct ar *ar, const struct ar_ctx *ctx, struct ar_keys *keys,
                 struct sm_str node, struct sm_msg_verdict *out, int *rc)
{
	struct sm_str value;
	struct ar_action failed;

	*rc = ar_access_value(ar, ctx, keys, &value);
	if (*rc == SM_E_AGAIN)
		return true;
	if (*rc == 0 && gives_node(value, node)) {
		out->flags = SM_VERDICT_OK;
		return true;
	}
	if (*rc != 0 && *rc != SM_E_NOTFOUND) {
		ar_access_failed(ctx, keys, *rc, &failed);
		out->code = failed.code;
		out->text = failed.text;
		*rc = 0;
		return true;
	}
	*rc = 0;
	return false;
}

/* "joe@", or "joe@its.domain". */
static void keys_user(struct ar_keys *keys, struct sm_arena *a, struct sm_str user)
{
	struct sm_str name = ar_address_key(a, user);

	if (sm_str_chr(user, '@') < 0)
		name = sm_arena_printf(a, "%.*s@", SM_STR_ARG(name));
	ar_keys_word(keys, tag, name);
}

int ar_check_etrn(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_etrn_check *m,
                  struct sm_msg_verdict *out)
{
	struct ar_keys keys;
	int rc = 0;

	*out = (struct sm_msg_verdict){.text = SM_STR("")};
	if (m->user.n > 0) {
		keys_user(&keys, ctx->a, m->user);
		if (look(ar, ctx, &keys, m->node, out, &rc))
			return rc;
	}
	ar_keys_ip(&keys, tag, &m->client, 0);
	if (look(ar, ctx, &keys, m->node, out, &rc))
		return rc;
	if (m->client_name.n > 0) {
		ar_keys_domain(&keys, tag, m->client_name, 0);
		(void)look(ar, ctx, &keys, m->node, out, &rc);
	}
	return rc;
}
