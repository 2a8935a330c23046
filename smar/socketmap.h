/*
 * The socketmap protocol: one netstring asks, one answers, in turn. Pure.
 *
 *   netstring = length ":" *OCTET ","            ; length of the octets, in decimal
 *   request   = netstring of   mapname SP key
 *   reply     = netstring of   status [ SP data ]
 *   status    = "OK" / "NOTFOUND" / "NOMORE" / "TEMP" / "TIMEOUT" / "PERM"
 *
 * NOMORE: not found, and no key that is made of the same address will be.
 */
#ifndef AR_SOCKETMAP_H
#define AR_SOCKETMAP_H

#include "libsm/buf.h"

enum { AR_SOCKETMAP_REPLY_MAX = 100000 }; /* octets of a netstring that is taken */

void ar_socketmap_request(struct sm_buf *out, struct sm_str mapname, struct sm_str key);
/*
 * The netstring at the start of `in`: 0, *payload its octets, *used how much of `in` it takes.
 * SM_E_AGAIN: it is not complete yet. SM_E_PROTO, SM_E_TOOBIG with diag: it never will be.
 */
int ar_socketmap_netstring(struct sm_str in, struct sm_str *payload, size_t *used) SM_MUST_CHECK;

enum ar_socketmap_status {
	AR_SOCKETMAP_OK,
	AR_SOCKETMAP_NOTFOUND,
	AR_SOCKETMAP_NOMORE,
	AR_SOCKETMAP_TEMP,
	AR_SOCKETMAP_TIMEOUT,
	AR_SOCKETMAP_PERM
};
struct ar_socketmap_reply {
	enum ar_socketmap_status status;
	struct sm_str data; /* the value, or why; without control characters but tabs */
};
/* SM_E_PROTO with diag: no such status, or control characters in the data. */
int ar_socketmap_reply(struct sm_str payload, struct ar_socketmap_reply *out) SM_MUST_CHECK;

#endif
