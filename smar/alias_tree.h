/*
 * The tree of an alias: its members of all levels, each address once, and what is wrong with them.
 * For alias_expand.c alone.
 *
 * A tree owns the memory of its nodes. It is made for one recipient, expanded once, and only read
 * from then on.
 */
#ifndef AR_ALIAS_TREE_H
#define AR_ALIAS_TREE_H

#include "libsm/hash.h"
#include "smar/alias.h"

enum ar_node_state {
	AR_NODE_UNSEEN,
	AR_NODE_OPEN,
	AR_NODE_LEAF,
	AR_NODE_OWNED,
	AR_NODE_GOOD,
	AR_NODE_BAD,
};
/* The greatest among the members tells: one that may pass makes it temporary. */
enum ar_alias_fault {
	AR_FAULT_NONE,
	AR_FAULT_LOOP,
	AR_FAULT_DEPTH,
	AR_FAULT_ADDRESS,
	AR_FAULT_EMPTY,
	AR_FAULT_TEMP,
};

struct ar_alias_node {
	struct sm_hash_node link; /* in tree.nodes */
	struct sm_str addr;       /* as to be sent */
	struct sm_str folded;     /* in lower case */
	struct sm_str key;        /* the same for the same mailbox */
	bool local;
	struct ar_alias_node **members;
	size_t count;
	struct ar_alias_node *below; /* on the stack of those that are AR_NODE_OPEN; then of those
	                                whose members are still to be gathered */
	size_t index, low; /* in the order of their opening; the lowest that it leads to */
	unsigned depth;
	enum ar_node_state state;
	enum ar_alias_fault fault;
	bool gathered, given, final;
	struct sm_str why; /* of AR_NODE_BAD; empty: because of its members */
};

struct ar_alias_tree {
	const struct ar *ar;
	struct ar_ctx ctx; /* the caller's, with this arena */
	struct sm_arena arena;
	struct sm_hash nodes;
	struct ar_alias_node *root, *stack;
	char delimiter;
	unsigned max_levels;
	size_t max_nodes, links, lookups, opened;
	bool temp; /* something failed for now */
	/* The owner of the root, when it has one. */
	bool owner, verp;
	struct ar_parts parts;
	/* The members, in the order of their bytes. */
	struct ar_alias_node **out;
	size_t out_count, out_cap;
};

/* `level`: so many of the levels that are allowed are used up. The caller's until
 * ar_alias_tree_free(); it holds `ar`, and what `ctx` points to, until it is expanded. */
struct ar_alias_tree *ar_alias_tree_new(const struct ar *ar, const struct ar_ctx *ctx,
                                        unsigned level);
/* NULL is no tree. */
void ar_alias_tree_free(struct ar_alias_tree **tp);
/*
 * Expand a mailbox (canonical): t->root is then LEAF (it is no alias), BAD, or GOOD with the
 * members in t->out. 0; SM_E_AGAIN: only without may_wait; SM_E_CANCEL; SM_E_TOOBIG: more members
 * than aliases.max_members; else a temporary failure of a map.
 */
int ar_alias_tree_expand(struct ar_alias_tree *t, struct sm_str mailbox) SM_YIELDS SM_MUST_CHECK;

#endif
