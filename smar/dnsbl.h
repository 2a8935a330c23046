/*
 * Black and white lists of client addresses in DNS (RFC 5782), and what the access map says of
 * their answers.
 *
 * An answer counts only if the access map names it. What a list says to tell that it does not
 * answer (127.255.255.0/24, or an address outside of 127.0.0.0/8, as of a domain that was sold) is
 * no listing, whatever the map says: it is logged as trouble of the list.
 */
#ifndef AR_DNSBL_H
#define AR_DNSBL_H

#include "smar/access.h"

/* Ask all lists about this client, so that the answers come together while something else is waited
 * for. */
void ar_dnsbl_ask(const struct ar *ar, const struct sm_sa *client);
/*
 * What the first list says that has an entry for its answer: CONT with `none` if there is no such
 * list. 0, or SM_E_AGAIN (only without may_wait).
 */
int ar_dnsbl_check(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_sa *client,
                   struct ar_action *out) SM_YIELDS SM_MUST_CHECK;

/*
 * At once and then daily look whether each list works: 127.0.0.1 must not be in it, 127.0.0.2
 * should (RFC 5782 5). What is wrong is logged, and changes nothing. `ar` lives until
 * ar_dnsbl_stop.
 */
void ar_dnsbl_start(const struct ar *ar);
void ar_dnsbl_test_soon(void); /* the lists may be others; nothing if not started */
void ar_dnsbl_stop(void);

struct ar_dnsbl_stats {
	uint64_t listed;  /* clients for whom an entry was found */
	uint64_t strange; /* answers that are trouble of the list */
};
struct ar_dnsbl_stats ar_dnsbl_stats(void);

#endif
