/*
 * What a server offers: the lines of its reply to EHLO or LHLO (RFC 5321 4.1.1.1), the extensions
 * that smtpc makes use of. Pure.
 */
#ifndef SC_EHLO_H
#define SC_EHLO_H

#include "libsm/str.h"

enum {
	SC_CAP_PIPELINING = 1,
	SC_CAP_SIZE = 2,
	SC_CAP_8BITMIME = 4,
	SC_CAP_DSN = 8,
	SC_CAP_CHUNKING = 16,
	SC_CAP_BINARYMIME = 32,
	SC_CAP_SMTPUTF8 = 64,
	SC_CAP_STARTTLS = 128,
	SC_CAP_AUTH = 256
};
enum { SC_MECHANISMS_MAX = 400 };

struct sc_ehlo {
	unsigned caps;
	uint64_t size_max; /* SIZE= of the server, 0: none */
	/* LIMITS (RFC 9422); 0: not said. */
	uint64_t mail_max;        /* MAIL commands in a session */
	uint64_t rcpt_max;        /* recipients of a transaction */
	uint64_t rcpt_domain_max; /* different domains among them */
	char mechanisms[SC_MECHANISMS_MAX +
	                1]; /* of AUTH: words; what does not fit is more than anybody has */
};

/* `text`: lines joined by LF, the first is the server's name. What is not understood is not there.
 */
void sc_ehlo_parse(struct sm_str text, struct sc_ehlo *out);

#endif
