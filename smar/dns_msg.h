/*
 * A DNS answer as bytes (RFC 1035 4): what smar believes of it. The library that talked to the
 * server is not asked again: every name, count and length is checked here.
 */
#ifndef AR_DNS_MSG_H
#define AR_DNS_MSG_H

#include "libsm/str.h"

enum {
	AR_DNS_A = 1,
	AR_DNS_CNAME = 5,
	AR_DNS_SOA = 6,
	AR_DNS_PTR = 12,
	AR_DNS_MX = 15,
	AR_DNS_AAAA = 28
};

enum ar_dns_status {
	AR_DNS_OK,
	AR_DNS_NODATA,   /* the name exists, records of this type do not */
	AR_DNS_NXDOMAIN, /* the name does not exist */
	AR_DNS_TEMP,     /* no answer to rely on: ask again later */
	AR_DNS_ALIAS     /* only from the parser: the CNAMEs lead elsewhere, ask for `alias` */
};

enum {
	AR_DNS_NAME_MAX = 255,
	AR_DNS_RR_MAX = 64,  /* records kept of an answer; of MX those of least preference */
	AR_DNS_TTL_MIN = 60, /* seconds */
	AR_DNS_TTL_MAX = 24 * 60 * 60,
	AR_DNS_NEGATIVE_MAX = 60 * 60,
	AR_DNS_NEGATIVE = 300, /* without SOA */
	AR_DNS_CNAME_MAX = 8
};

struct ar_dns_rr {
	uint16_t pref;    /* MX */
	uint8_t addr[16]; /* A: 4, AAAA: 16 */
	/* MX, PTR: a valid host name in lower case; MX "": the null MX (RFC 7505). */
	char name[AR_DNS_NAME_MAX + 1];
};
struct ar_dns_msg {
	enum ar_dns_status status;
	const char *why; /* static text for TEMP */
	bool refused;    /* TEMP: the server will not answer this question later either */
	bool ad;         /* the server says that it has validated the answer (RFC 4035 3.2.3) */
	uint32_t ttl_s;  /* clamped */
	char alias[AR_DNS_NAME_MAX + 1];
	size_t count;
	struct ar_dns_rr rr[AR_DNS_RR_MAX];
};

/* Is it an answer that says of a question that it failed? Then which (`name` in lower case, perhaps
 * no host name), and whether it is no use to ask again. */
bool ar_dns_failure(struct sm_str packet, char name[AR_DNS_NAME_MAX + 1], uint16_t *type,
                    bool *refused);

/* Is it an answer that says that the question was malformed? */
bool ar_dns_is_formerr(struct sm_str packet);

/* Parse the answer to the question (`name` in lower case, `type`). Never fails: what is malformed
 * is AR_DNS_TEMP. */
void ar_dns_parse(struct sm_str packet, struct sm_str name, uint16_t type, struct ar_dns_msg *m);

#endif
