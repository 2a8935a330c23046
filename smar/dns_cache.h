/*
 * What DNS said, for as long as it may be believed: positive and negative answers, each question
 * asked once however many wait for it, the longest unused forgotten when there are too many.
 */
#ifndef AR_DNS_CACHE_H
#define AR_DNS_CACHE_H

#include "libsm/co.h"
#include "smar/dns_msg.h"

struct ar_rr {
	uint16_t pref;
	uint8_t addr[16];
	struct sm_str name;
};
/* Shared, unchanging. Whoever got one gives it back by ar_answer_put. */
struct ar_answer {
	unsigned refs;
	enum ar_dns_status status; /* OK, NODATA, NXDOMAIN, TEMP */
	const char *why;           /* TEMP: static text; else NULL */
	bool refused;              /* TEMP: see dns_msg.h */
	bool ad; /* validated by the server, every link of a chain; of no worth unless it is trusted
	          */
	int64_t expires_ms;
	size_t bytes; /* of this memory */
	size_t count;
	struct ar_rr rr[];
};
void ar_answer_put(struct ar_answer **a);
/* Whole seconds that it is still good for; at least 1. */
uint32_t ar_answer_ttl_s(const struct ar_answer *a);

struct ar_cache_conf {
	size_t max_entries; /* and so many KiB in all */
	size_t max_queries; /* asked at a time; beyond that the answer is TEMP at once */
};
void ar_cache_init(const struct ar_cache_conf *conf);
void ar_cache_fini(void); /* after ar_dns_fini; nobody waits any more */

/* The answer if it is here; else NULL, and the question is on its way. `name` in lower case, a
 * valid domain. */
struct ar_answer *ar_cache_get(struct sm_str name, uint16_t type) SM_MUST_CHECK;
/* Would it be here? Asks nothing. */
bool ar_cache_has(struct sm_str name, uint16_t type);
/* The same, but waits. Never NULL: TEMP at the deadline, or when cancelled. */
struct ar_answer *ar_cache_wait(struct sm_str name, uint16_t type,
                                int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;

struct ar_cache_stats {
	size_t entries, bytes, queries; /* now */
	uint64_t hits, misses, asked;
};
struct ar_cache_stats ar_cache_stats(void);

#endif
