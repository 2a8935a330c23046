/*
 * From the access map to actions. Invariant: whatever goes wrong with the map is a temporary
 * refusal, never "nothing found". Thread: the loop's; coroutine when it may wait.
 */
#include "smar/access.h"

#include "libsm/addr.h"
#include "libsm/err.h"
#include "libsm/log.h"

int ar_access_value(const struct ar *ar, const struct ar_ctx *ctx, struct ar_keys *keys,
                    struct sm_str *value)
{
	struct ar_map *map = ar_maps_access(ar->maps);

	return map != NULL ? ar_map_find(map, ctx, keys, value) : SM_E_NOTFOUND;
}

void ar_access_failed(const struct ar_ctx *ctx, const struct ar_keys *keys, int rc,
                      struct ar_action *out)
{
	sm_log(SM_WARN, "ar.access", "key=%S error=%E", keys->key, rc);
	ar_trace_failed(ctx, keys->key, sm_diag());
	*out = (struct ar_action){.kind = AR_ACTION_ERROR,
	                          .failed = true,
	                          .code = 451,
	                          .text = SM_STR("4.3.0 Access cannot be checked now, try again "
	                                         "later")};
}

int ar_access_find(const struct ar *ar, const struct ar_ctx *ctx, struct ar_keys *keys,
                   struct ar_action *out)
{
	struct sm_str value;
	int rc = ar_access_value(ar, ctx, keys, &value);

	*out = (struct ar_action){.kind = AR_ACTION_CONT, .none = true};
	if (rc == SM_E_NOTFOUND)
		return 0;
	if (rc == SM_E_AGAIN)
		return rc;
	if (rc == 0)
		rc = ar_action_parse(value, out);
	if (rc == 0 && out->kind == AR_ACTION_RELAY && !ar_access_may_relay(keys->tag))
		rc = sm_fail(SM_E_SYNTAX, "\"relay\" means nothing here");
	if (rc != 0)
		ar_access_failed(ctx, keys, rc, out);
	return 0;
}

bool ar_access_apply(const struct ar_ctx *ctx, const struct ar_action *action,
                     struct sm_msg_verdict *v)
{
	switch (action->kind) {
	case AR_ACTION_CONT:
		return false;
	case AR_ACTION_OK:
		v->flags |= SM_VERDICT_OK;
		break;
	case AR_ACTION_RELAY:
		v->flags |= SM_VERDICT_RELAY;
		break;
	case AR_ACTION_DISCARD:
		v->flags |= SM_VERDICT_DISCARD;
		break;
	case AR_ACTION_ERROR:
		v->code = action->code;
		v->text = sm_arena_str(ctx->a, action->text);
		break;
	}
	if (action->quick)
		v->flags |= SM_VERDICT_QUICK;
	return true;
}
