/*
 * Aliases, all levels: the answer for a recipient, in chunks.
 *
 * Nothing is kept between the chunks of an answer, but for a moment the last few expansions that
 * take several: a cache, without which each chunk is made anew. As what fails for now would then
 * shift the chunks, it defers an expansion that takes several of them as a whole.
 *
 * Thread: the loop's; coroutine when it may wait. It holds the maps that it began with.
 */
#include "smar/alias.h"

#include "libsm/addr.h"
#include "libsm/log.h"
#include "libsm/loop.h"
#include "smar/alias_tree.h"

enum {
	KEPT_MAX = 4,
	KEPT_MS = 10 * 1000,
	FAILED_TTL_S = 60,
};

/* ---- the last few expansions that take several chunks ---- */

static struct {
	struct ar_alias_tree *tree[KEPT_MAX]; /* the newest first */
	struct sm_timer timer;
} kept;

void ar_alias_fini(void)
{
	sm_timer_cancel(&kept.timer);
	for (size_t i = 0; i < KEPT_MAX; i++)
		ar_alias_tree_free(&kept.tree[i]);
}

static void forget(void *arg SM_UNUSED)
{
	ar_alias_fini();
}

/* It is the caller's then. NULL: there is none. */
static struct ar_alias_tree *take(struct sm_str mailbox)
{
	for (size_t i = 0; i < KEPT_MAX; i++) {
		struct ar_alias_tree *t = kept.tree[i];

		if (t == NULL || !sm_str_eq(t->root->addr, mailbox))
			continue;
		memmove(&kept.tree[i], &kept.tree[i + 1], (KEPT_MAX - 1 - i) * sizeof(t));
		kept.tree[KEPT_MAX - 1] = NULL;
		return t;
	}
	return NULL;
}

static void keep(struct ar_alias_tree *t)
{
	struct ar_alias_tree *same = take(t->root->addr);

	ar_alias_tree_free(&same);
	ar_alias_tree_free(&kept.tree[KEPT_MAX - 1]);
	memmove(&kept.tree[1], &kept.tree[0], (KEPT_MAX - 1) * sizeof(t));
	kept.tree[0] = t;
	/* Of the request that made it nothing is left. */
	t->ar = NULL;
	t->ctx = (struct ar_ctx){.a = &t->arena};
	sm_timer_set(&kept.timer, sm_loop_now_ms() + KEPT_MS, forget, NULL);
}

/* ---- the answer ---- */

static int refuse(struct sm_msg_route *out, enum ar_alias_fault fault)
{
	static const struct {
		enum sm_route_status status;
		uint16_t code;
		const char *text;
	} of[] = {
	    [AR_FAULT_LOOP] = {SM_ROUTE_PERM, 550, "5.4.6 alias leads back to itself"},
	    [AR_FAULT_DEPTH] = {SM_ROUTE_PERM, 550, "5.4.6 aliases are nested too deep"},
	    [AR_FAULT_ADDRESS] = {SM_ROUTE_PERM, 550,
	                          "5.1.3 alias makes no address of this recipient"},
	    [AR_FAULT_EMPTY] = {SM_ROUTE_TEMP, 451, "4.2.4 list has no members"},
	    [AR_FAULT_TEMP] = {SM_ROUTE_TEMP, 451, "4.2.4 alias cannot be expanded now"},
	};

	*out = (struct sm_msg_route){.status = (uint8_t)of[fault].status,
	                             .code = of[fault].code,
	                             .text = sm_str(of[fault].text),
	                             .ttl_s = FAILED_TTL_S};
	return 0;
}

/* The sender for a member of a list: "owner-list+user=domain@domain", or the plain one, where that
 * would be too long, or the member has a quoted local part or an address literal. */
static struct sm_str sender_of(const struct ar_alias_tree *t, struct sm_str plain,
                               struct sm_str member, struct sm_arena *a)
{
	struct sm_str owner = sm_str_head(plain, (size_t)sm_str_rchr(plain, '@'));
	struct sm_str user, domain;
	ptrdiff_t at = sm_str_rchr(member, '@');
	struct sm_str text;

	sm_assert(at > 0);
	user = sm_str_head(member, (size_t)at);
	domain = sm_str_from(member, (size_t)at + 1);
	if (!t->verp || user.p[0] == '"' || domain.p[0] == '[' ||
	    owner.n + 1 + member.n > SM_LOCALPART_MAX || plain.n + 1 + member.n > SM_PATH_MAX - 2)
		return plain;
	text = sm_arena_printf(a, SM_STR_FMT "%c" SM_STR_FMT "=" SM_STR_FMT "@" SM_STR_FMT,
	                       SM_STR_ARG(owner), t->delimiter, SM_STR_ARG(user),
	                       SM_STR_ARG(domain), SM_STR_ARG(t->parts.domain));
	return text.p != NULL ? text : plain;
}

static void chunk(const struct ar_alias_tree *t, struct sm_str after, struct sm_arena *a,
                  struct sm_msg_route *out)
{
	size_t low = 0, high = t->out_count, n;
	struct sm_str owner = SM_STR("");

	while (after.n > 0 && low < high) {
		size_t mid = low + (high - low) / 2;

		if (sm_str_cmp(t->out[mid]->addr, after) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	n = SM_MIN(t->out_count - low, (size_t)AR_ALIAS_CHUNK);
	*out = (struct sm_msg_route){
	    .status = SM_ROUTE_ALIAS, .more = low + n < t->out_count, .aliases_count = (uint32_t)n};
	out->aliases = sm_arena_must(a, (n + 1) * sizeof(out->aliases[0]));
	if (t->owner)
		owner = sm_arena_printf(a, "owner-" SM_STR_FMT "@" SM_STR_FMT,
		                        SM_STR_ARG(t->parts.user), SM_STR_ARG(t->parts.domain));
	for (size_t i = 0; i < n; i++) {
		const struct ar_alias_node *c = t->out[low + i];

		out->aliases[i] = (struct sm_msg_alias_item){
		    .addr = sm_arena_str(a, c->addr),
		    .sender = t->owner ? sender_of(t, owner, c->addr, a) : owner,
		    .flags = (uint8_t)((c->final ? SM_ALIAS_FINAL : 0) |
		                       (t->owner ? SM_ALIAS_LIST : 0))};
	}
}

/* One line for each alias that an operator has to look at. */
static void tell(const struct ar_alias_tree *t, const struct ar_ctx *ctx,
                 const struct sm_msg_route_get *m)
{
	for (struct sm_hash_node *h = sm_hash_next(&t->nodes, NULL); h != NULL;
	     h = sm_hash_next(&t->nodes, h)) {
		const struct ar_alias_node *n =
		    SM_CONTAINER_OF(h, const struct ar_alias_node, link);

		if (n->state != AR_NODE_BAD || n->why.n == 0)
			continue;
		sm_log(n->fault == AR_FAULT_ADDRESS ? SM_INFO : SM_ERROR, "ar.alias",
		       "ss_ta=%?I rcpt=<%S> alias=<%S> error=%S", m->ta, m->rcpt, n->addr, n->why);
		ar_trace_failed(ctx, n->addr, n->why.p);
	}
}

/* *tp is kept, or stays the caller's. */
static int answer(struct ar_alias_tree **tp, const struct ar_ctx *ctx,
                  const struct sm_msg_route_get *m, struct sm_msg_route *out)
{
	struct ar_alias_tree *t = *tp;
	bool several = t->out_count > AR_ALIAS_CHUNK || m->after.n > 0;

	if (t->root->state == AR_NODE_BAD)
		return refuse(out, t->root->fault);
	if (several && t->temp)
		return refuse(out, AR_FAULT_TEMP);
	chunk(t, m->after, ctx->a, out);
	if (out->more) {
		keep(t);
		*tp = NULL;
	}
	return 0;
}

/* Why an expansion as a whole came to nothing. */
static int give_up(const struct ar_ctx *ctx, int rc, struct sm_str mailbox,
                   const struct sm_msg_route_get *m, struct sm_msg_route *out)
{
	if (rc == SM_E_AGAIN || (rc == SM_E_NOTFOUND && m->after.n == 0))
		return rc;
	/* Some members have got it: the address itself is not to be delivered to. */
	if (rc == SM_E_NOTFOUND)
		rc = sm_fail(rc, "no alias any more");
	sm_log(SM_ERROR, "ar.alias", "ss_ta=%?I rcpt=<%S> alias=<%S> error=%E", m->ta, m->rcpt,
	       mailbox, rc);
	ar_trace_failed(ctx, mailbox, sm_diag());
	(void)refuse(out, AR_FAULT_TEMP);
	if (rc == SM_E_TOOBIG) {
		out->code = 452;
		out->text = SM_STR("4.5.3 alias has more members than are allowed");
	}
	return 0;
}

int ar_alias_route(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
                   const struct ar_address *rcpt, struct sm_msg_route *out)
{
	struct ar_alias_found found;
	struct ar_alias_tree *t = NULL;
	bool local;
	int rc;

	if (ar_maps_aliases(ar->maps) == NULL || (m->flags & SM_ROUTE_FINAL) != 0)
		return SM_E_NOTFOUND;
	if (m->after.n > 0)
		t = take(rcpt->mailbox);
	if (t != NULL) {
		rc = answer(&t, ctx, m, out);
		ar_alias_tree_free(&t);
		return rc;
	}
	/* Most are none. */
	rc = ar_alias_local(ar, ctx, &rcpt->parts, &local);
	if (rc == 0)
		rc = ar_alias_find(ar, ctx, &rcpt->parts, local, &found);
	if (rc == 0) {
		t = ar_alias_tree_new(ar, ctx, m->level);
		rc = ar_alias_tree_expand(t, rcpt->mailbox);
	}
	if (rc == 0 && t->root->state == AR_NODE_LEAF)
		rc = SM_E_NOTFOUND;
	if (rc == 0) {
		tell(t, ctx, m);
		rc = answer(&t, ctx, m, out);
	} else {
		rc = give_up(ctx, rc, rcpt->mailbox, m, out);
	}
	ar_alias_tree_free(&t);
	return rc;
}
