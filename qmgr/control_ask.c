/*
 * What an operator's request asks smar: where mail goes, and to open its maps anew. Loop thread.
 *
 * Invariant: a request asks one thing at a time; one that ends before the answer cancels the call.
 */
#include "qmgr/control.h"

#include "libsm/time.h"

#define ASK_MS    20000
#define RELOAD_MS 70000 /* smar gives up before */

struct qm_ctl_asking {
	struct sm_call call;
	struct sm_arena arena;
	struct qm_ctl *c;
	qm_ctl_route_cb *route;
	qm_ctl_reload_cb *reload;
};

static void not_asking(struct qm_ctl *c)
{
	struct qm_ctl_asking *a = c->asking;

	sm_call_cancel(&a->call);
	sm_arena_fini(&a->arena);
	sm_free(a);
}

static void give_route(struct qm_ctl_asking *a, const struct sm_frame *f)
{
	struct sm_msg_route m;
	bool good = f != NULL && f->type == SM_MSG_route &&
	            sm_msg_route_decode(f->body, &a->arena, &m) == 0;

	a->route(a->c, good ? &m : NULL);
}

static void give_reloaded(struct qm_ctl_asking *a, const struct sm_frame *f)
{
	struct sm_msg_maps_reloaded m;
	bool good = f != NULL && f->type == SM_MSG_maps_reloaded &&
	            sm_msg_maps_reloaded_decode(f->body, &a->arena, &m) == 0;

	a->reload(a->c, good ? &m : NULL);
}

static void answered(int err, const struct sm_frame *f, void *arg)
{
	struct qm_ctl_asking *a = arg;

	a->c->fini = NULL;
	a->c->asking = NULL;
	if (a->route != NULL)
		give_route(a, err == 0 ? f : NULL);
	else
		give_reloaded(a, err == 0 ? f : NULL);
	sm_arena_fini(&a->arena);
	sm_free(a);
}

static struct qm_ctl_asking *asking(struct qm_ctl *c)
{
	struct qm_ctl_asking *a = sm_calloc(1, sizeof(*a));

	a->c = c;
	sm_arena_init(&a->arena, "answer", 4096, 4 * SM_FRAME_MAX);
	c->asking = a;
	c->fini = not_asking;
	return a;
}

void qm_ctl_ask_route(struct qm_ctl *c, struct sm_str domain, qm_ctl_route_cb *cb)
{
	struct sm_msg_route_get m = {
	    .rcpt = sm_arena_printf(&c->arena, "postmaster@" SM_STR_FMT, SM_STR_ARG(domain)),
	    .rcpts = 1,
	    .flags = SM_ROUTE_FINAL}; /* of the domain, whatever alias the postmaster is */
	struct qm_ctl_asking *a = asking(c);

	a->route = cb;
	sm_call(&a->call, qm_resolver_peer(c->q), SM_MSG_route_get, &m, sm_loop_now_ms() + ASK_MS,
	        answered, a);
}

void qm_ctl_ask_reload(struct qm_ctl *c, qm_ctl_reload_cb *cb)
{
	struct sm_msg_maps_reload m = {.uid = (uint32_t)sm_peer_uid(c->peer)};
	struct qm_ctl_asking *a = asking(c);

	a->reload = cb;
	sm_call(&a->call, qm_resolver_peer(c->q), SM_MSG_maps_reload, &m,
	        sm_loop_now_ms() + RELOAD_MS, answered, a);
}
