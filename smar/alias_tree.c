/*
 * The tree of an alias: its members of all levels, and what is wrong with them.
 *
 * Addresses are nodes, each once; an alias is a node with members. First each node is judged, depth
 * first: a leaf, a list with an owner of its own, an alias that is good, or one that is not, and
 * why. Then the leaves below good aliases are gathered. An alias all of whose members are bad is
 * bad itself, so a fault comes up as far as nobody else is touched by it; where it has good
 * siblings it is handed out as not final, and is judged by itself when it is asked for. What leads
 * back to itself is bad as a whole: nothing of it goes out, or some would go out twice.
 *
 * Thread: the loop's; coroutine when it may wait; a long list is sorted in a helper thread.
 */
#include <stdlib.h>

#include "smar/alias_tree.h"

#include "libsm/offload.h"

enum {
	LOOKUPS_AT_ONCE = 200, /* without waiting */
	LOOKUPS_A_TURN = 64,
	SORT_IN_HELPER = 4000,
};

struct ar_alias_tree *ar_alias_tree_new(const struct ar *ar, const struct ar_ctx *ctx,
                                        unsigned level)
{
	const struct ar_aliases_conf *conf = &ar->conf->aliases;
	struct ar_alias_tree *t = sm_calloc(1, sizeof(*t));

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

void ar_alias_tree_free(struct ar_alias_tree **tp)
{
	struct ar_alias_tree *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	sm_hash_fini(&t->nodes);
	sm_arena_fini(&t->arena);
	sm_free(t);
}

/* Lookups are counted: so many without patience, and with patience others get their turn. */
static int turn(struct ar_alias_tree *t)
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
	return sm_str_eq(SM_CONTAINER_OF(n, const struct ar_alias_node, link)->key,
	                 *(const struct sm_str *)key);
}

/* The node of an address. Local parts of local domains fold case, as lookups do; others may differ
 * by it (RFC 5321 2.4). */
static int intern(struct ar_alias_tree *t, struct sm_str addr, struct ar_alias_node **out)
{
	struct sm_str folded = ar_address_key(&t->arena, addr), key;
	struct sm_hash_node *h;
	struct ar_parts parts;
	struct ar_alias_node *n;
	bool local;
	int rc;

	ar_parts_of(folded, t->delimiter, &parts);
	rc = ar_alias_local(t->ar, &t->ctx, &parts, &local);
	if (rc != 0)
		return rc;
	key = folded;
	if (!local && sm_str_is_ascii(addr))
		key = addr;
	else if (!local)
		key = sm_arena_printf(
		    &t->arena, SM_STR_FMT SM_STR_FMT,
		    SM_STR_ARG(sm_str_head(addr, (size_t)(sm_str_rchr(addr, '@') + 1))),
		    SM_STR_ARG(parts.domain));
	h = sm_hash_find(&t->nodes, sm_hash_str(key), key_eq, &key);
	if (h != NULL) {
		*out = SM_CONTAINER_OF(h, struct ar_alias_node, link);
		return 0;
	}
	/* One more: the root is none of the members. */
	if (t->nodes.count > t->max_nodes)
		return sm_fail(SM_E_TOOBIG, "more than %zu members", t->max_nodes);
	n = SM_ARENA_NEW(&t->arena, struct ar_alias_node);
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

static void spoil(struct ar_alias_tree *t, struct ar_alias_node *n, enum ar_alias_fault fault,
                  const char *why)
{
	n->state = AR_NODE_BAD;
	n->fault = fault;
	n->why = sm_arena_str(&t->arena, sm_str(why));
	t->temp = t->temp || fault == AR_FAULT_TEMP;
}

/* Its members as nodes. SM_E_NOTFOUND: it is a leaf. */
static int open_node(struct ar_alias_tree *t, struct ar_alias_node *n)
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

/* Is it an alias, and has it an owner of its own? AR_NODE_OWNED, or AR_NODE_OPEN with its members;
 * AR_NODE_LEAF; AR_NODE_BAD. 0; what ends_all() says. */
static int look(struct ar_alias_tree *t, struct ar_alias_node *n)
{
	struct ar_alias_found found;
	struct ar_parts parts;
	bool verp, only_itself;
	int rc = turn(t);

	ar_parts_of(n->folded, t->delimiter, &parts);
	n->state = AR_NODE_LEAF;
	if (rc == 0)
		rc = ar_alias_find(t->ar, &t->ctx, &parts, n->local, &found);
	if (rc == 0 && n != t->root) {
		n->state = AR_NODE_OWNED;
		rc = ar_alias_owner(t->ar, &t->ctx, &parts, n->local, &verp);
		if (rc == 0)
			return 0;
		rc = rc == SM_E_NOTFOUND ? 0 : rc;
		n->state = AR_NODE_LEAF;
	}
	if (rc == 0) {
		rc = open_node(t, n);
		only_itself = n->count > 0;
		for (size_t i = 0; i < n->count; i++)
			only_itself = only_itself && n->members[i] == n;
		if (rc == 0 && (!only_itself || (n == t->root && t->owner)))
			n->state = AR_NODE_OPEN;
	}
	if (rc == SM_E_NOTFOUND)
		rc = 0;
	else if (rc != 0 && !ends_all(rc))
		spoil(t, n, rc == SM_E_RANGE ? AR_FAULT_ADDRESS : AR_FAULT_TEMP, sm_diag());
	return ends_all(rc) ? rc : 0;
}

/* All its members are judged, and it leads back to nothing that is open still. */
static void judge(struct ar_alias_tree *t, struct ar_alias_node *n)
{
	enum ar_alias_fault worst = AR_FAULT_NONE;
	size_t good = 0;

	for (size_t i = 0; i < n->count; i++) {
		const struct ar_alias_node *c = n->members[i];

		/* Where it names itself, it ends. */
		if (c == n || c->state != AR_NODE_BAD)
			good++;
		else
			worst = SM_MAX(worst, c->fault);
	}
	if (n->count == 0)
		spoil(t, n, AR_FAULT_EMPTY, "a list without members");
	else if (good == 0)
		spoil(t, n, worst, ""); /* they say why */
	else
		n->state = AR_NODE_GOOD;
}

/* Whatever was opened since `n`, and it, lead to each other. */
static void close_down_to(struct ar_alias_tree *t, const struct ar_alias_node *n)
{
	struct ar_alias_node *top;

	do {
		top = t->stack;
		t->stack = top->below;
		spoil(t, top, AR_FAULT_LOOP, "leads back to itself");
	} while (top != n);
}

/*
 * Judge a node, after its members: Tarjan's algorithm for strongly connected components. It stays
 * AR_NODE_OPEN when it leads back to one that is open still, which closes both. 0; what ends_all()
 * says.
 */
static int visit(struct ar_alias_tree *t, struct ar_alias_node *n, unsigned depth)
{
	int rc;

	n->depth = depth;
	rc = look(t, n);
	if (rc != 0 || n->state != AR_NODE_OPEN)
		return rc;
	if (depth >= t->max_levels) {
		spoil(t, n, AR_FAULT_DEPTH, "nested too deep");
		return 0;
	}
	n->index = n->low = t->opened++;
	n->below = t->stack;
	t->stack = n;
	for (size_t i = 0; i < n->count; i++) {
		struct ar_alias_node *c = n->members[i];
		/* A fault of depth may be none from higher up. */
		bool again =
		    c->state == AR_NODE_BAD && c->fault == AR_FAULT_DEPTH && c->depth > depth + 1;

		rc = c->state == AR_NODE_UNSEEN || again ? visit(t, c, depth + 1) : 0;
		if (rc != 0)
			return rc;
		if (c->state == AR_NODE_OPEN && c != n)
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
static int leads_back(struct ar_alias_tree *probe, struct ar_alias_node *n, unsigned depth,
                      const struct ar_alias_node *root)
{
	int rc;

	if (n->state != AR_NODE_UNSEEN || depth > (unsigned)probe->ar->conf->aliases.max_levels)
		return 0;
	n->state = AR_NODE_OPEN;
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

static int check_owned(struct ar_alias_tree *t)
{
	struct ar_alias_tree *probe = NULL;
	int rc = 0;

	for (size_t i = 0; i < t->out_count && rc == 0; i++) {
		struct ar_alias_node *n = t->out[i];

		if (n->state != AR_NODE_OWNED)
			continue;
		if (probe == NULL)
			probe = ar_alias_tree_new(t->ar, &t->ctx, 0);
		rc = intern(probe, n->addr, &n);
		if (rc == 0)
			rc = leads_back(probe, n, 0, t->root);
		else if (rc != SM_E_AGAIN && rc != SM_E_CANCEL)
			rc = 0;
	}
	ar_alias_tree_free(&probe);
	if (rc == 1) {
		spoil(t, t->root, AR_FAULT_LOOP, "leads back to itself");
		rc = 0;
	}
	return rc;
}

/* ---- members ---- */

static void give(struct ar_alias_tree *t, struct ar_alias_node *n, bool final)
{
	if (n->given)
		return;
	n->given = true;
	n->final = final;
	if (t->out_count == t->out_cap) {
		size_t cap = t->out_cap > 0 ? 2 * t->out_cap : 16;
		struct ar_alias_node **v = sm_arena_must(&t->arena, cap * sizeof(*v));

		if (t->out_count > 0)
			memcpy(v, t->out, t->out_count * sizeof(*v));
		t->out = v;
		t->out_cap = cap;
	}
	t->out[t->out_count++] = n;
}

/* With a list of what is still to be done: what was judged from near the root may be a way that is
 * as long as there are aliases. */
static void gather(struct ar_alias_tree *t)
{
	struct ar_alias_node *todo = t->root, *n;

	todo->gathered = true;
	todo->below = NULL;
	while ((n = todo) != NULL) {
		todo = n->below;
		for (size_t i = 0; i < n->count; i++) {
			struct ar_alias_node *c = n->members[i];

			if (c == n || c->state == AR_NODE_LEAF) {
				give(t, c, true);
			} else if (c->state != AR_NODE_GOOD) {
				give(t, c, false);
			} else if (!c->gathered) {
				c->gathered = true;
				c->below = todo;
				todo = c;
			}
		}
	}
}

static int by_bytes(const void *a, const void *b)
{
	return sm_str_cmp((*(struct ar_alias_node *const *)a)->addr,
	                  (*(struct ar_alias_node *const *)b)->addr);
}

static int sort(void *arg)
{
	struct ar_alias_tree *t = arg;

	qsort(t->out, t->out_count, sizeof(t->out[0]), by_bytes);
	return 0;
}

int ar_alias_tree_expand(struct ar_alias_tree *t, struct sm_str mailbox)
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
	if (rc != 0 || t->root->state != AR_NODE_GOOD)
		return rc;
	gather(t);
	rc = check_owned(t);
	if (rc == 0 && t->out_count >= SORT_IN_HELPER && t->ctx.may_wait)
		rc = sm_offload("sort", sort, t);
	else if (rc == 0)
		rc = sort(t);
	return rc;
}
