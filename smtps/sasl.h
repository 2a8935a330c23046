/*
 * Cyrus SASL as a server has it. Nothing else sees its headers: sasl_lib.c sets the library up,
 * sasl.c makes attempts. In a build without it ss_sasl_init gives SM_E_NOTSUP.
 *
 * Threads. The library is set up by one thread, with mutexes of ours for what its plugins share,
 * and before there are others; after that a connection handle is used by one thread at a time: by
 * the helper (offload.h) that works on a step, or by nobody. An attempt has a handle of its own,
 * made for it and disposed of after it: no state of a failed attempt is ever met by another.
 *
 * Who is not known is not told: a plugin of ours (sasl_lib.c) stands behind all that look up
 * secrets, and has one, random, for each user that they do not know. So a mechanism does the same
 * work, says the same, and fails at the same place whether a user exists.
 *
 * All memory that Cyrus SASL frees is overwritten before.
 */
#ifndef SS_SASL_H
#define SS_SASL_H

#include "libsm/buf.h"
#include "libsm/co.h"
#include "libsm/net.h"
#include "smtps/auth_conf.h"

/*
 * Once, before rights are dropped and before the first helper: loads plugins, reads sendmail.conf.
 * `hostname`: borrowed for good. SM_E_NOTSUP, SM_E_SYS with a diag.
 */
int ss_sasl_init(const struct ss_auth_conf *c, struct sm_str hostname) SM_MUST_CHECK;
bool ss_sasl_ready(void);
/* Frees all, unless a helper still waits for an answer: then the process has to end without. */
void ss_sasl_fini(void);
/* Helpers that wait for saslauthd or a database just now, also for attempts that were given up. */
size_t ss_sasl_busy(void);

/* What a mechanism may build on. */
struct ss_sasl_ground {
	const struct ss_auth_conf *conf;
	unsigned bits;              /* of the encryption below; 0: none */
	const struct sm_sa *client; /* and server, for mechanisms that bind to them; may be NULL */
};

/*
 * Is `mech` (any case) to be had on this ground? Or, empty: the names of all that are, separated
 * by blanks, into `names` (may be NULL); whether there is any. Quick: nothing is asked.
 */
bool ss_sasl_mechs(const struct ss_sasl_ground *g, struct sm_str mech, struct sm_buf *names);

enum ss_sasl_result {
	SS_SASL_OK,     /* it is who it claims to be: user */
	SS_SASL_MORE,   /* `challenge` is to be answered */
	SS_SASL_DENIED, /* wrong password, unknown user, or not allowed: it is all one */
	SS_SASL_BAD,    /* the response makes no sense to the mechanism */
	SS_SASL_LATER,  /* cannot be told now */
	SS_SASL_CANCEL, /* the coroutine was told to end */
};

struct ss_sasl;
struct ss_sasl_answer {
	enum ss_sasl_result result;
	struct sm_str challenge; /* any bytes; these three live as long as the attempt */
	struct sm_str user;      /* authorization identity: 1 to SS_AUTH_USER_MAX bytes */
	const char *why;         /* what Cyrus SASL says of it; never a secret; may be "" */
};

/* Begin an attempt; only memory is taken. All is copied. */
struct ss_sasl *ss_sasl_new(const struct ss_sasl_ground *g, struct sm_str mech);
/*
 * The next step, in a helper. `response`: copied, and wiped there; p NULL: the client has sent none
 * (only at the first step). Waits for max_checks and for the answer, both together for conf.timeout
 * at the most.
 */
void ss_sasl_step(struct ss_sasl *x, struct sm_str response, struct ss_sasl_answer *out) SM_YIELDS;
/* Also while a step is under way that was given up. */
void ss_sasl_free(struct ss_sasl **x);

#endif
