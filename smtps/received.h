/* The Received: header (RFC 5321 4.4) that smtps puts in front of every message. */
#ifndef SS_RECEIVED_H
#define SS_RECEIVED_H

#include "libsm/buf.h"
#include "libsm/id.h"
#include "libsm/net.h"
#include "libsm/tls.h"

struct ss_received {
	struct sm_str helo;        /* as the client said; checked and cleaned here */
	struct sm_str client_name; /* forward-confirmed; empty: not known */
	const struct sm_sa *client;
	const char *uid;        /* of a Unix client's owner, digits; NULL or empty: not known */
	struct sm_str hostname; /* ours */
	struct sm_str protocol; /* "ESMTP", ... */
	const struct sm_tls_facts *tls; /* NULL: clear */
	struct sm_id id;
	struct sm_str rcpt; /* the only recipient; empty: several */
	int64_t wall_s;
};
/* The protocol's name for "with" (RFC 3848): SMTP, ESMTP, ESMTPA, ESMTPS, ESMTPSA; UTF8SMTP and so
 * on for mail that came with SMTPUTF8 (RFC 6531 4.3); LMTP, LMTPA, UTF8LMTPS... */
struct sm_str ss_received_protocol(bool lmtp, bool esmtp, bool utf8, bool tls, bool auth);
/* Appends the field, CRLF-ended; a few lines, none longer than 998 bytes, printable ASCII whatever
 * the client said. */
void ss_received_put(struct sm_buf *b, const struct ss_received *r);

#endif
