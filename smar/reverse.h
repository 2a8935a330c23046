/* The name under which DNS keeps what it knows of an address: in-addr.arpa, ip6.arpa, black lists.
 */
#ifndef AR_REVERSE_H
#define AR_REVERSE_H

#include "libsm/net.h"
#include "smar/dns_msg.h"

enum { AR_REVERSE_MAX = 64 }; /* most bytes before the zone, last dot included */

/*
 * "4.3.2.1.ZONE", or for IPv6 the 32 nibbles (RFC 3596 2.5) in `zone6`, lower case as the zones
 * are. A mapped address is IPv4. False: not an Internet address, or the name would be too long.
 */
bool ar_reverse_name(const struct sm_sa *sa, struct sm_str zone4, struct sm_str zone6,
                     char out[AR_DNS_NAME_MAX + 1]);

#endif
