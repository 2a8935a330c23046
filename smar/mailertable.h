/*
 * The mailertable: which domains do not go where DNS says.
 *
 *   line  = LHS blanks RHS
 *   LHS   = [ "." ] domain / "." / "[" IPv4 "]" / "[IPv6:" IPv6 "]"
 *   RHS   = [ port "^" ] [ "esmtp:" ] hosts / "lmtp:" / port "^lmtp:" hosts
 *   hosts = host *( blanks host )
 *   host  = domain / "[" IPv4 "]" / "[IPv6:" IPv6 "]"
 *
 * "#" begins a comment, at the start of a line or of a word. Case is folded. No domain is listed
 * twice.
 */
#ifndef AR_MAILERTABLE_H
#define AR_MAILERTABLE_H

#include "libsm/arena.h"
#include "libsm/hash.h"
#include "libsm/msg.h"

enum { AR_MT_HOSTS_MAX = 64, AR_MT_FILE_MAX = 64 * 1024 * 1024 };

struct ar_mt_host {
	struct sm_str name; /* as written, lower case: "[1.2.3.4]" for a literal */
	struct sm_sa sa;    /* of a literal, with port; else none */
};
struct ar_mt_entry {
	struct sm_hash_node node;
	struct sm_str domain;
	int line;
	enum sm_agent agent; /* LMTP: the domain is local */
	uint16_t port;
	struct sm_str key; /* of the route: equal for lines with equal right hand sides */
	size_t count;      /* 0: LMTP over the socket that smtpc knows */
	struct ar_mt_host *hosts;
};
struct ar_mt {
	unsigned refs; /* answers in the making hold the table that they began with */
	struct sm_arena arena;
	struct sm_hash by_domain;
};

/* Read the file. On error (SM_E_NOTFOUND ..., SM_E_SYNTAX with "file:line: what" in the diag) there
 * is no table. Blocks; any thread. */
int ar_mt_load(const char *path, struct ar_mt **out) SM_MUST_CHECK;
int ar_mt_parse(const char *path, struct sm_str text, struct ar_mt **out) SM_MUST_CHECK;
/* A new table has one reference. */
struct ar_mt *ar_mt_ref(struct ar_mt *mt);
void ar_mt_unref(struct ar_mt **mt); /* frees with the last one; sets NULL */

/* The entry for a domain (lower case) by the lookup order, NULL: none. */
const struct ar_mt_entry *ar_mt_find(const struct ar_mt *mt, struct sm_str domain);

#endif
