/*
 * Ways: where mail is to go, as a right hand side of the mailertable says it; so does the option
 * `route` of a listener.
 *
 *   RHS        = way *( blanks "else" blanks way )
 *   way        = [ port "^" ] [ "esmtp:" ] hosts / "lmtp:" / [ port "^" ] "lmtp:" hosts / "mx:"
 *                [ blanks conditions ]
 *   hosts      = equal *( blanks equal )
 *   equal      = host *( "," host )
 *   host       = domain / "[" domain "]" / "[" IPv4 "]" / "[IPv6:" IPv6 "]" / "[unix:/" path "]"
 *   conditions = "{" condition *( "," condition ) "}"
 *   condition  = ( "recipients" / "size" ) ( ">=" / "<=" ) number / "first" / "only"
 *
 * Hosts are tried in order; those joined by commas in a new random order each time. A domain in
 * brackets is a host whose mail exchangers are not asked for. LMTP to hosts needs a port, but for
 * Unix sockets, which have none. "mx:" is what DNS says of the recipient's domain, as if there were
 * no line.
 *
 * A way is taken by mail that fulfils all its conditions; others pass it over. When it fails for
 * now, the next one is taken in the same attempt, unless it says "only". The last way has no
 * conditions: every mail has a way. "first" is mail that was not yet put off. A size is in bytes,
 * or has a unit.
 *
 * "#" begins a comment, at the start of a word. Case is folded, but for paths.
 */
#ifndef AR_WAY_H
#define AR_WAY_H

#include "libsm/arena.h"
#include "libsm/msg.h"

enum { AR_WAYS_MAX = 8, AR_WAY_HOSTS_MAX = 64 };

struct ar_way_host {
	struct sm_str text; /* as written, lower case: "[1.2.3.4]", "[host.example]" */
	struct sm_str name; /* the same without the brackets of a host; the path of a socket */
	struct sm_sa sa;    /* of a literal, with port; of a socket; else none */
	uint16_t pref;      /* 0, 1 ... */
	bool no_mx;
};
struct ar_way {
	enum sm_agent agent;
	bool by_dns; /* "mx:": no hosts, no key */
	uint16_t port;
	struct sm_str key; /* of the route: equal for ways with equal hosts */
	size_t count;      /* 0, and not by_dns: LMTP over the socket that smtpc knows */
	struct ar_way_host *hosts;
	/* Conditions, and the words that say so (empty: none). */
	struct sm_str when;
	uint32_t min_rcpts, max_rcpts;
	uint64_t min_bytes, max_bytes;
	bool first, only;
};
struct ar_ways {
	size_t count; /* at least 1 */
	struct ar_way *v;
};

/* What the conditions are about. */
struct ar_way_mail {
	uint32_t rcpts; /* of its transaction */
	uint64_t bytes;
	bool again; /* it was put off before */
};

/* Memory of `a`, where no text of `rhs` is needed afterwards. SM_E_SYNTAX, SM_E_TOOBIG with diag.
 * Any thread. */
int ar_ways_parse(struct sm_str rhs, struct sm_arena *a, struct ar_ways *out) SM_MUST_CHECK;
bool ar_way_fits(const struct ar_way *w, const struct ar_way_mail *m);
/* The first that fits from this one on. The last one fits everything, also when `from` is behind
 * it: the table was another one then. */
size_t ar_ways_pick(const struct ar_ways *w, size_t from, const struct ar_way_mail *m);

#endif
