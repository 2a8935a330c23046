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
	SC_CAP_AUTH = 256,
	SC_CAP_LIMITS = 512,
	SC_CAP_XFORWARD = 1024
};
/* What it wants to know of who brought a mail. */
enum {
	SC_XFORWARD_NAME = 1,
	SC_XFORWARD_ADDR = 2,
	SC_XFORWARD_PORT = 4,
	SC_XFORWARD_PROTO = 8,
	SC_XFORWARD_HELO = 16,
	SC_XFORWARD_IDENT = 32,
	SC_XFORWARD_SOURCE = 64
};
struct sc_xforward_name {
	struct sm_str word;
	unsigned bit;
};
extern const struct sc_xforward_name sc_xforward_names[];
extern const size_t sc_xforward_count;
enum { SC_MECHANISMS_MAX = 400 };

struct sc_ehlo {
	unsigned caps;
	unsigned xforward; /* SC_XFORWARD_*; 0: not offered */
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
/* As if these (SC_CAP_*) had not been offered. */
void sc_ehlo_ignore(struct sc_ehlo *e, unsigned caps);

#endif
