/*
 * Aliases, all levels: from a recipient to its members.
 *
 * Addresses are nodes, each once; an alias is a node with members. First each node is judged, depth
 * first: a leaf, a list with an owner of its own, an alias that is good, or one that is not, and
 * why. Then the leaves below good aliases are gathered. An alias all of whose members are bad is
 * bad itself, so a fault comes up as far as nobody else is touched by it; where it has good
 * siblings it is handed out as not final, and is judged by itself when it is asked for. What leads
 * back to itself is bad as a whole: nothing of it goes out, or some would go out twice.
 *
 * Nothing is kept between the chunks of an answer, but for a moment the last few expansions that
 * take several: a cache, without which each chunk is made anew. As what fails for now would then
 * shift the chunks, it defers an expansion that takes several of them as a whole.
 *
 * Thread: the loop's; coroutine when it may wait. It holds the maps that it began with.
 */
#include <stdlib.h>

#include "libsm/addr.h"
#include "libsm/hash.h"
#include "libsm/log.h"
#include "libsm/loop.h"
#include "libsm/offload.h"
#include "smar/alias.h"

enum {
	LOOKUPS_AT_ONCE = 200, /* without waiting */
	LOOKUPS_A_TURN = 64,
	SORT_IN_HELPER = 4000,
	KEPT_MAX = 4,
	KEPT_MS = 10 * 1000,
	FAILED_TTL_S = 60,
};

enum state { UNSEEN, OPEN, LEAF, OWNED, GOOD, BAD };
/* The greatest among the members tells: one that may pass makes it temporary. */
enum fault { NO_FAULT, LOOP, DEPTH, ADDRESS, EMPTY, TEMP };

struct node {
	struct sm_hash_node link; /* in tree.nodes */
	struct sm_str addr;       /* as to be sent */
	struct sm_str folded;     /* in lower case */
	struct sm_str key;        /* the same for the same mailbox */
	bool local;
	struct node **members;
	size_t count;
	struct node *below; /* on the stack of those that are OPEN */
	size_t index, low;  /* in the order of their opening; the lowest that it leads to */
	unsigned depth;
	enum state state;
	enum fault fault;
	bool gathered, given, final;
	struct sm_str why; /* of BAD; empty: because of its members */
};

struct tree {
	const struct ar *ar;
	struct ar_ctx ctx; /* the caller's, with this arena */
	struct sm_arena arena;
	struct sm_hash nodes;
	struct node *root, *stack;
	char delimiter;
	unsigned max_levels;
	size_t max_nodes, links, lookups, opened;
	bool temp; /* something failed for now */
	/* The owner of the root, when it has one. */
	bool owner, verp;
	struct ar_parts parts;
	/* The members, in the order of their bytes. */
	struct node **out;
	size_t out_count, out_cap;
};

/* ---- the tree ---- */

static struct tree *tree_new(const struct ar *ar, const struct ar_ctx *ctx, unsigned level)
{
	const struct ar_aliases_conf *conf = &ar->conf->aliases;
	struct tree *t = sm_calloc(1, sizeof(*t));

	t->ar = ar;
	t->ctx = *ctx;
	t->ctx.a = &t->arena;
	t->delimiter = ar->conf->address_delimiter.p[0];
	sm_arena_init(&t->arena, "alias", 16 * 1024, SIZE_MAX / 8);
	sm_hash_init(&t->nodes);
	t->max_levels = (unsigned)conf->max_levels > level ? (unsigned)conf->max_levels - level : 0;
	t->max_nodes = (size_t)conf->max_members;
	return t;
}

static void tree_free(struct tree **tp)
{
	struct tree *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	sm_hash_fini(&t->nodes);
	sm_arena_fini(&t->arena);
	sm_free(t);
}

/* Lookups are counted: so many without patience, and with patience others get their turn. */
static int turn(struct tree *t)
{
	t->lookups++;
	if (!t->ctx.may_wait)
		return t->lookups > LOOKUPS_AT_ONCE ? SM_E_AGAIN : 0;
	if (t->lookups % LOOKUPS_A_TURN == 0)
		sm_co_yield();
	return sm_co_cancelled() ? sm_fail(SM_E_CANCEL, "ends") : 0;
}

static bool key_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_eq(SM_CONTAINER_OF(n, const struct node, link)->key,
	                 *(const struct sm_str *)key);
}

/* The node of an address. Local parts of local domains fold case, as lookups do; others may differ
 * by it (RFC 5321 2.4). */
static int intern(struct tree *t, struct sm_str addr, struct node **out)
{
	struct sm_str folded = ar_alias_lower(&t->arena, addr), key;
	struct sm_hash_node *h;
	struct ar_parts parts;
	struct node *n;
	bool local;
	int rc;

	ar_parts_of(folded, t->delimiter, &parts);
	rc = ar_alias_local(t->ar, &t->ctx, &parts, &local);
	if (rc != 0)
		return rc;
	key = local ? folded : addr;
	h = sm_hash_find(&t->nodes, sm_hash_str(key), key_eq, &key);
	if (h != NULL) {
		*out = SM_CONTAINER_OF(h, struct node, link);
		return 0;
	}
	/* One more: the root is none of the members. */
	if (t->nodes.count > t->max_nodes)
		return sm_fail(SM_E_TOOBIG, "more than %zu members", t->max_nodes);
	n = SM_ARENA_NEW(&t->arena, struct node);
	n->addr = addr;
	n->folded = folded;
	n->key = key;
	n->local = local;
	sm_hash_insert(&t->nodes, &n->link, sm_hash_str(key));
	*out = n;
	return 0;
}

/* These end the whole expansion, the others only spoil a node. */
static bool ends_all(int rc)
{
	return rc == SM_E_AGAIN || rc == SM_E_CANCEL || rc == SM_E_TOOBIG;
}

static void spoil(struct tree *t, struct node *n, enum fault fault, const char *why)
{
	n->state = BAD;
	n->fault = fault;
	n->why = sm_arena_str(&t->arena, sm_str(why));
	t->temp = t->temp || fault == TEMP;
}

/* Its members as nodes. SM_E_NOTFOUND: it is a leaf. */
static int open_node(struct tree *t, struct node *n)
{
	struct ar_rhs rhs;
	int rc = ar_alias_members(t->ar, &t->ctx, n->addr, &rhs);

	if (rc == 0 && rhs.local)
		rc = SM_E_NOTFOUND;
	if (rc != 0)
		return rc;
	/* The same may be in several lists, but not in any number of them. */
	t->links += rhs.members.count;
	if (t->links > 4 * t->max_nodes + 4)
		return sm_fail(SM_E_TOOBIG, "more than %zu members", 4 * t->max_nodes);
	n->members = sm_arena_must(&t->arena, (rhs.members.count + 1) * sizeof(n->members[0]));
	for (n->count = 0; n->count < rhs.members.count && rc == 0; n->count += rc == 0)
		rc = intern(t, rhs.members.v[n->count].text, &n->members[n->count]);
	return rc;
}

/* Is it an alias, and has it an owner of its own? OWNED, or OPEN with its members; LEAF; BAD. 0;
 * what ends_all() says. */
static int look(struct tree *t, struct node *n)
{
	struct ar_alias_found found;
	struct ar_parts parts;
	bool verp, only_itself;
	int rc = turn(t);

	ar_parts_of(n->folded, t->delimiter, &parts);
	n->state = LEAF;
	if (rc == 0)
		rc = ar_alias_find(t->ar, &t->ctx, &parts, n->local, &found);
	if (rc == 0 && n != t->root) {
		n->state = OWNED;
		rc = ar_alias_owner(t->ar, &t->ctx, &parts, n->local, &verp);
		if (rc == 0)
			return 0;
		rc = rc == SM_E_NOTFOUND ? 0 : rc;
		n->state = LEAF;
	}
	if (rc == 0) {
		rc = open_node(t, n);
		only_itself = n->count > 0;
		for (size_t i = 0; i < n->count; i++)
			only_itself = only_itself && n->members[i] == n;
		if (rc == 0 && (!only_itself || (n == t->root && t->owner)))
			n->state = OPEN;
	}
	if (rc == SM_E_NOTFOUND)
		rc = 0;
	else if (rc != 0 && !ends_all(rc))
		spoil(t, n, rc == SM_E_RANGE ? ADDRESS : TEMP, sm_diag());
	return ends_all(rc) ? rc : 0;
}

/* All its members are judged, and it leads back to nothing that is open still. */
static void judge(struct tree *t, struct node *n)
{
	enum fault worst = NO_FAULT;
	size_t good = 0;

	for (size_t i = 0; i < n->count; i++) {
		const struct node *c = n->members[i];

		/* Where it names itself, it ends. */
		if (c == n || c->state != BAD)
			good++;
		else
			worst = SM_MAX(worst, c->fault);
	}
	if (n->count == 0)
		spoil(t, n, EMPTY, "a list without members");
	else if (good == 0)
		spoil(t, n, worst, ""); /* they say why */
	else
		n->state = GOOD;
}

/* Whatever was opened since `n`, and it, lead to each other. */
static void close_down_to(struct tree *t, const struct node *n)
{
	struct node *top;

	do {
		top = t->stack;
		t->stack = top->below;
		spoil(t, top, LOOP, "leads back to itself");
	} while (top != n);
}

/*
 * Judge a node, after its members: Tarjan's algorithm for strongly connected components. It stays
 * OPEN when it leads back to one that is open still, which closes both. 0; what ends_all() says.
 */
static int visit(struct tree *t, struct node *n, unsigned depth)
{
	int rc;

	n->depth = depth;
	rc = look(t, n);
	if (rc != 0 || n->state != OPEN)
		return rc;
	if (depth >= t->max_levels) {
		spoil(t, n, DEPTH, "nested too deep");
		return 0;
	}
	n->index = n->low = t->opened++;
	n->below = t->stack;
	t->stack = n;
	for (size_t i = 0; i < n->count; i++) {
		struct node *c = n->members[i];
		/* A fault of depth may be none from higher up. */
		bool again = c->state == BAD && c->fault == DEPTH && c->depth > depth + 1;

		rc = c->state == UNSEEN || again ? visit(t, c, depth + 1) : 0;
		if (rc != 0)
			return rc;
		if (c->state == OPEN && c != n)
			n->low = SM_MIN(n->low, c->low);
	}
	if (n->low < n->index)
		return 0;
	if (t->stack != n) {
		close_down_to(t, n);
		return 0;
	}
	t->stack = n->below;
	judge(t, n);
	return 0;
}

/* ---- lists with owners of their own that lead back ---- */

/*
 * Each of these is expanded by itself, so nobody else would see that it leads back to the root. 1:
 * it does. What cannot be told here does not matter here.
 */
static int leads_back(struct tree *probe, struct node *n, unsigned depth, const struct node *root)
{
	int rc;

	if (n->state != UNSEEN || depth > (unsigned)probe->ar->conf->aliases.max_levels)
		return 0;
	n->state = OPEN;
	rc = turn(probe);
	if (rc == 0)
		rc = open_node(probe, n);
	if (rc != 0)
		return rc == SM_E_AGAIN || rc == SM_E_CANCEL ? rc : 0;
	for (size_t i = 0; i < n->count; i++) {
		if (sm_str_eq(n->members[i]->key, root->key))
			return 1;
		rc = leads_back(probe, n->members[i], depth + 1, root);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int check_owned(struct tree *t)
{
	struct tree *probe = NULL;
	int rc = 0;

	for (size_t i = 0; i < t->out_count && rc == 0; i++) {
		struct node *n = t->out[i];

		if (n->state != OWNED)
			continue;
		if (probe == NULL)
			probe = tree_new(t->ar, &t->ctx, 0);
		rc = intern(probe, n->addr, &n);
		if (rc == 0)
			rc = leads_back(probe, n, 0, t->root);
		else if (rc != SM_E_AGAIN && rc != SM_E_CANCEL)
			rc = 0;
	}
	tree_free(&probe);
	if (rc == 1) {
		spoil(t, t->root, LOOP, "leads back to itself");
		rc = 0;
	}
	return rc;
}

/* ---- members ---- */

static void give(struct tree *t, struct node *n, bool final)
{
	if (n->given)
		return;
	n->given = true;
	n->final = final;
	if (t->out_count == t->out_cap) {
		size_t cap = t->out_cap > 0 ? 2 * t->out_cap : 16;
		struct node **v = sm_arena_must(&t->arena, cap * sizeof(*v));

		if (t->out_count > 0)
			memcpy(v, t->out, t->out_count * sizeof(*v));
		t->out = v;
		t->out_cap = cap;
	}
	t->out[t->out_count++] = n;
}

static void gather(struct tree *t, struct node *n)
{
	n->gathered = true;
	for (size_t i = 0; i < n->count; i++) {
		struct node *c = n->members[i];

		if (c == n || c->state == LEAF)
			give(t, c, true);
		else if (c->state != GOOD)
			give(t, c, false);
		else if (!c->gathered)
			gather(t, c);
	}
}

static int by_bytes(const void *a, const void *b)
{
	return sm_str_cmp((*(struct node *const *)a)->addr, (*(struct node *const *)b)->addr);
}

static int sort(void *arg)
{
	struct tree *t = arg;

	qsort(t->out, t->out_count, sizeof(t->out[0]), by_bytes);
	return 0;
}

/* Everything: t->root is good or bad then. 0; what ends_all() says. */
static int expand(struct tree *t, struct sm_str mailbox)
{
	int rc = intern(t, sm_arena_str(&t->arena, mailbox), &t->root);

	if (rc == 0) {
		ar_parts_of(t->root->folded, t->delimiter, &t->parts);
		rc = ar_alias_owner(t->ar, &t->ctx, &t->parts, t->root->local, &t->verp);
		t->owner = rc == 0;
		rc = rc == SM_E_NOTFOUND ? 0 : rc;
	}
	if (rc == 0)
		rc = visit(t, t->root, 0);
	if (rc != 0 || t->root->state != GOOD)
		return rc;
	gather(t, t->root);
	rc = check_owned(t);
	if (rc == 0 && t->out_count >= SORT_IN_HELPER && t->ctx.may_wait)
		rc = sm_offload("sort", sort, t);
	else if (rc == 0)
		rc = sort(t);
	return rc;
}

/* ---- the last few expansions that take several chunks ---- */

static struct {
	struct tree *tree[KEPT_MAX]; /* the newest first */
	struct sm_timer timer;
} kept;

void ar_alias_fini(void)
{
	sm_timer_cancel(&kept.timer);
	for (size_t i = 0; i < KEPT_MAX; i++)
		tree_free(&kept.tree[i]);
}

static void forget(void *arg SM_UNUSED)
{
	ar_alias_fini();
}

/* It is the caller's then. NULL: there is none. */
static struct tree *take(struct sm_str mailbox)
{
	for (size_t i = 0; i < KEPT_MAX; i++) {
		struct tree *t = kept.tree[i];

		if (t == NULL || !sm_str_eq(t->root->addr, mailbox))
			continue;
		memmove(&kept.tree[i], &kept.tree[i + 1], (KEPT_MAX - 1 - i) * sizeof(t));
		kept.tree[KEPT_MAX - 1] = NULL;
		return t;
	}
	return NULL;
}

static void keep(struct tree *t)
{
	struct tree *same = take(t->root->addr);

	tree_free(&same);
	tree_free(&kept.tree[KEPT_MAX - 1]);
	memmove(&kept.tree[1], &kept.tree[0], (KEPT_MAX - 1) * sizeof(t));
	kept.tree[0] = t;
	/* Of the request that made it nothing is left. */
	t->ar = NULL;
	t->ctx = (struct ar_ctx){.a = &t->arena};
	sm_timer_set(&kept.timer, sm_loop_now_ms() + KEPT_MS, forget, NULL);
}

/* ---- the answer ---- */

static int refuse(struct sm_msg_route *out, enum fault fault)
{
	static const struct {
		enum sm_route_status status;
		uint16_t code;
		const char *text;
	} of[] = {
	    [LOOP] = {SM_ROUTE_PERM, 550, "5.4.6 alias leads back to itself"},
	    [DEPTH] = {SM_ROUTE_PERM, 550, "5.4.6 aliases are nested too deep"},
	    [ADDRESS] = {SM_ROUTE_PERM, 550, "5.1.3 alias makes no address of this recipient"},
	    [EMPTY] = {SM_ROUTE_TEMP, 451, "4.2.4 list has no members"},
	    [TEMP] = {SM_ROUTE_TEMP, 451, "4.2.4 alias cannot be expanded now"},
	};

	*out = (struct sm_msg_route){.status = (uint8_t)of[fault].status,
	                             .code = of[fault].code,
	                             .text = sm_str(of[fault].text),
	                             .ttl_s = FAILED_TTL_S};
	return 0;
}

/* The sender for a member of a list: "owner-list+user=domain@domain", or the plain one, where that
 * would be too long, or the member has a quoted local part or an address literal. */
static struct sm_str sender_of(const struct tree *t, struct sm_str plain, struct sm_str member,
                               struct sm_arena *a)
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

static void chunk(const struct tree *t, struct sm_str after, struct sm_arena *a,
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
		const struct node *c = t->out[low + i];

		out->aliases[i] = (struct sm_msg_alias_item){
		    .addr = sm_arena_str(a, c->addr),
		    .sender = t->owner ? sender_of(t, owner, c->addr, a) : owner,
		    .flags = (uint8_t)((c->final ? SM_ALIAS_FINAL : 0) |
		                       (t->owner ? SM_ALIAS_LIST : 0))};
	}
}

/* One line for each alias that an operator has to look at. */
static void tell(const struct tree *t, const struct ar_ctx *ctx, const struct sm_msg_route_get *m)
{
	for (struct sm_hash_node *h = sm_hash_next(&t->nodes, NULL); h != NULL;
	     h = sm_hash_next(&t->nodes, h)) {
		const struct node *n = SM_CONTAINER_OF(h, const struct node, link);

		if (n->state != BAD || n->why.n == 0)
			continue;
		sm_log(n->fault == ADDRESS ? SM_INFO : SM_ERROR, "ar.alias",
		       "ss_ta=%?I rcpt=<%S> alias=<%S> error=%S", m->ta, m->rcpt, n->addr, n->why);
		ar_trace_failed(ctx, n->addr, n->why.p);
	}
}

/* *tp is kept, or stays the caller's. */
static int answer(struct tree **tp, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
                  struct sm_msg_route *out)
{
	struct tree *t = *tp;
	bool several = t->out_count > AR_ALIAS_CHUNK || m->after.n > 0;

	if (t->root->state == BAD)
		return refuse(out, t->root->fault);
	if (several && t->temp)
		return refuse(out, TEMP);
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
	(void)refuse(out, TEMP);
	if (rc == SM_E_TOOBIG) {
		out->code = 452;
		out->text = SM_STR("4.5.3 alias has more members than are allowed");
	}
	return 0;
}

int ar_alias_route(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
                   struct sm_msg_route *out)
{
	struct ar_alias_found found;
	struct ar_parts parts;
	struct sm_str mailbox;
	struct tree *t = NULL;
	bool local;
	int rc;

	if (ar_maps_aliases(ar->maps) == NULL || (m->flags & SM_ROUTE_FINAL) != 0 ||
	    ar_alias_mailbox(ar, ctx->a, m->rcpt, &mailbox) != 0)
		return SM_E_NOTFOUND;
	if (m->after.n > 0)
		t = take(mailbox);
	if (t != NULL) {
		rc = answer(&t, ctx, m, out);
		tree_free(&t);
		return rc;
	}
	/* Most are none. */
	ar_parts_of(ar_alias_lower(ctx->a, mailbox), ar->conf->address_delimiter.p[0], &parts);
	rc = ar_alias_local(ar, ctx, &parts, &local);
	if (rc == 0)
		rc = ar_alias_find(ar, ctx, &parts, local, &found);
	if (rc == 0) {
		t = tree_new(ar, ctx, m->level);
		rc = expand(t, mailbox);
	}
	if (rc == 0 && t->root->state == LEAF)
		rc = SM_E_NOTFOUND;
	if (rc == 0) {
		tell(t, ctx, m);
		rc = answer(&t, ctx, m, out);
	} else {
		rc = give_up(ctx, rc, mailbox, m, out);
	}
	tree_free(&t);
	return rc;
}
