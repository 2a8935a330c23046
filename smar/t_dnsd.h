/* For tests: a DNS server on loopback within the test's own loop, that says what a table tells it,
 * lies included. */
#ifndef AR_T_DNSD_H
#define AR_T_DNSD_H

#include "libsm/buf.h"
#include "libsm/net.h"

/*
 * A row: what is said of `name`. type 0: of every type; then, or instead of a record, `data` is one
 * of the words DROP (no answer), SERVFAIL, REFUSED, FORMERR, EMPTY (a datagram of no bytes), SHORT
 * (11 bytes), LOOPING (a name that points to itself), MANY (65535 records announced, none there),
 * LAME (a referral), OTHER (answer to another question), TCP (truncated by UDP; the rows that
 * follow by TCP), NOTCP, OLD (FORMERR for EDNS; without it, the rows that follow), AD (the answer
 * is validated, if the question asks so; see the rows that follow). Records: A and AAAA "address",
 * MX "pref name", CNAME and PTR "name". Bytes in names as \DDD. "raw" hex rdata begins with "#". A
 * name that is in no row does not exist; in rows of other types only: no data.
 */
struct t_dns_row {
	const char *name;
	uint16_t type;
	uint32_t ttl;
	const char *data;
};

/* Gives the address. `rows` ends with a name NULL and may be changed at any time. */
struct sm_sa t_dnsd_start(const struct t_dns_row *rows);
void t_dnsd_stop(void);
unsigned t_dnsd_asked(void); /* questions that came */
/* Make the answer to a question without a server: for the parser's tests. False: no answer is to be
 * sent. */
bool t_dnsd_answer(const struct t_dns_row *rows, struct sm_str question, bool tcp,
                   struct sm_buf *out);
void t_dnsd_question(const char *name, uint16_t type, struct sm_buf *out);

#endif
