/*
 * The mailertable: which domains do not go where DNS says.
 *
 *   line  = LHS blanks RHS
 *   LHS   = [ "." ] domain / "." / "[" IPv4 "]" / "[IPv6:" IPv6 "]" / local-part "@" domain
 *   RHS   = the ways, see way.h
 *
 * "#" begins a comment, at the start of a line or of a word. Case is folded. No domain is listed
 * twice.
 */
#ifndef AR_MAILERTABLE_H
#define AR_MAILERTABLE_H

#include "libsm/arena.h"
#include "libsm/hash.h"
#include "smar/way.h"

enum { AR_MT_LINE_MAX = 8192, AR_MT_FILE_MAX = 64 * 1024 * 1024 };

struct ar_mt_entry {
	struct sm_hash_node node;
	struct sm_str domain; /* the left hand side */
	int line;
	struct ar_ways ways;
};
struct ar_mt {
	unsigned refs; /* answers in the making hold the table that they began with */
	struct sm_arena arena;
	struct sm_hash by_domain; /* and by address */
	size_t addresses;         /* how many of these are addresses */
};

/* What goes by LMTP, whichever way, is ours, and anybody may send to it; but "." names no domain:
 * "everything else to a filter" makes nobody an open relay. */
bool ar_mt_is_local(const struct ar_mt_entry *e);
/* It says something else than DNS. */
bool ar_mt_is_routed(const struct ar_mt_entry *e);

/* Read the file. On error (SM_E_NOTFOUND ..., SM_E_SYNTAX with "file:line: what" in the diag) there
 * is no table. Blocks; any thread. */
int ar_mt_load(const char *path, struct ar_mt **out) SM_MUST_CHECK;
int ar_mt_parse(const char *path, struct sm_str text, struct ar_mt **out) SM_MUST_CHECK;
/* A new table has one reference. */
struct ar_mt *ar_mt_ref(struct ar_mt *mt);
void ar_mt_unref(struct ar_mt **mt); /* frees with the last one; sets NULL */

/* The entry with this left hand side, in lower case; NULL: none. */
const struct ar_mt_entry *ar_mt_get(const struct ar_mt *mt, struct sm_str domain);

/* The entry for a domain (lower case) by the lookup order, NULL: none. */
const struct ar_mt_entry *ar_mt_find(const struct ar_mt *mt, struct sm_str domain);

/*
 * The same in what the configuration says is the mailertable: the file, or a map. 0 with *out, NULL
 * if there is none; SM_E_AGAIN as ar_map_get; anything else: the map failed, or its value is wrong,
 * with diag.
 *
 * That of a recipient (its address as a key) goes before that of its domain, and says only where
 * its mail goes: whether a domain is local is asked by domain.
 */
struct ar;
struct ar_ctx;
int ar_mt_lookup(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                 const struct ar_mt_entry **out) SM_YIELDS SM_MUST_CHECK;
int ar_mt_lookup_rcpt(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str key,
                      struct sm_str domain, const struct ar_mt_entry **out) SM_YIELDS SM_MUST_CHECK;

#endif
