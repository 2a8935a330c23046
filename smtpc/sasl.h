/*
 * Cyrus SASL as a client, for mechanisms that calculate. What the library does runs in a helper
 * thread: it may look at files and hashes for long. Without the library there is nothing of it.
 */
#ifndef SC_SASL_H
#define SC_SASL_H

#include "libsm/buf.h"
#include "libsm/loop.h"

struct sc_credentials;
struct sc_sasl; /* one exchange */

/* Once, before rights are dropped: loads the plugins. From then on gethostname(2) is ours (sasl.c).
 * 0, or an error with a diag; without the library it is 0. */
int sc_sasl_init(void) SM_MUST_CHECK;
void sc_sasl_fini(void);
bool sc_sasl_has(struct sm_str mechanism);

/* Begin; appends the initial response to *out (bytes, not base64). `host` is the server's name. 0,
 * or SM_E_NOTSUP, SM_E_CANCEL, SM_E_PEER with a diag that has no secret. */
int sc_sasl_start(const char *mechanism, const char *host, const struct sc_credentials *c,
                  struct sm_buf *out, struct sc_sasl **sasl) SM_YIELDS SM_MUST_CHECK;
/* The answer to a challenge. SM_E_PEER: it is wrong. */
int sc_sasl_step(struct sc_sasl *sasl, struct sm_str challenge,
                 struct sm_buf *out) SM_YIELDS SM_MUST_CHECK;
/* Nothing is open: where the mechanism wants it, the server has proved that it knows us. */
bool sc_sasl_is_done(const struct sc_sasl *sasl);
void sc_sasl_free(struct sc_sasl **sasl); /* wipes */

#endif
