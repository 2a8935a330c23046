/*
 * What a mail needs of a server, beyond plain SMTP: size (RFC 1870), content that is binary (RFC
 * 3030), addresses or a header in UTF-8 (RFC 6531). Nothing is converted: what a server does not
 * take is returned.
 */
#ifndef SC_SUITS_H
#define SC_SUITS_H

#include "libsm/str.h"

struct sc_session;
struct sc_task;

/* Nothing may break out of a command line: printable ASCII or UTF-8 without controls, and without
 * the end of the path. Beyond ASCII it is for servers that offer SMTPUTF8. */
bool sc_is_sendable(struct sm_str s);

/* Settle what cannot be asked of this server at all. False: nobody is left. */
bool sc_suits(struct sc_task *t, struct sc_session *s);
/* What a report may have for it: SC_DSN_*. */
unsigned sc_takes(const struct sc_session *s);
/* Is MAIL to have SMTPUTF8? For the recipients that are in the round. */
bool sc_says_utf8(const struct sc_task *t, const struct sc_session *s);
/* Does it go in a chunk? */
bool sc_says_bdat(const struct sc_task *t, const struct sc_session *s);

#endif
