/*
 * Asking the access map: a tag and a lookup order go in, what is to be done comes out.
 */
#ifndef AR_ACCESS_H
#define AR_ACCESS_H

#include "libsm/msg.h"
#include "smar/access_rhs.h"
#include "smar/ar.h"

/*
 * The action for the first key that is found; CONT with `none` if there is none, or no map. 0, or
 * SM_E_AGAIN (only without may_wait). A map that fails and a value with an error are an action as
 * well: a temporary refusal, with `failed`; they are logged here.
 */
int ar_access_find(const struct ar *ar, const struct ar_ctx *ctx, struct ar_keys *keys,
                   struct ar_action *out) SM_YIELDS SM_MUST_CHECK;
/* The value as it stands. SM_E_NOTFOUND; otherwise as ar_map_find: nothing is logged. */
int ar_access_value(const struct ar *ar, const struct ar_ctx *ctx, struct ar_keys *keys,
                    struct sm_str *value) SM_YIELDS SM_MUST_CHECK;
/* The temporary refusal, for what cannot be told now (the diag says why): logged here. */
void ar_access_failed(const struct ar_ctx *ctx, const struct ar_keys *keys, int rc,
                      struct ar_action *out);

/* Put an action into a verdict. False: it is CONT, and the verdict is as it was. */
bool ar_access_apply(const struct ar_ctx *ctx, const struct ar_action *action,
                     struct sm_msg_verdict *v);

#endif
