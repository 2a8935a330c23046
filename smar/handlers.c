/*
 * One function for each request: decode, decide, answer.
 *
 * Every request is first decided without waiting, in the turn of the loop that brought it. Only if
 * something has to be waited for (DNS, a map) is its body kept, and a coroutine decides once more,
 * now with patience. Invariant: every request gets exactly one answer, also when it is cancelled or
 * there are too many. Thread: the loop's.
 */
#include "smar/handlers.h"

#include "libsm/fault.h"
#include "libsm/last_words.h"
#include "libsm/log.h"
#include "libsm/msg_words.h"
#include "smar/check.h"
#include "smar/reload.h"
#include "smar/resolve.h"
#include "smar/server_conf.h"

enum {
	FAST_ARENA_BYTES = 64 * 1024,
	REQUEST_ARENA_BYTES = 32 * 1024,
	ARENA_CAP_BYTES = 1024 * 1024,
	RELOAD_MS = 60 * 1000, /* an operator has more patience than a client */
};

/* An answer of any type. */
struct answer {
	uint16_t type;
	union {
		struct sm_msg_verdict verdict;
		struct sm_msg_conn_verdict conn;
		struct sm_msg_route route;
		struct sm_msg_maps_reloaded reloaded;
		struct sm_msg_server_confd server;
	} m;
};

struct handler {
	uint16_t type;
	/* 0; SM_E_AGAIN, only without may_wait; or what is wrong with the request: its sender is
	 * disconnected. */
	int (*decide)(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str body,
	              struct answer *out);
	/* The answer when there is no patience left for it. */
	void (*busy)(const struct ar_ctx *ctx, struct sm_str body, struct answer *out);
};

struct request {
	struct ar_handlers *h;
	const struct handler *handler;
	struct sm_list link;
	struct sm_co *co;
	struct sm_peer *peer;
	uint64_t tag;
	struct sm_last_words words;
	struct sm_arena arena;
	struct sm_str body;
	struct ar ar; /* what it is decided with, held */
};

struct ar_handlers {
	const struct ar *ar;
	size_t max, count;
	struct sm_list requests;
	struct sm_arena fast;
	bool stopping;
	void (*idle)(void *arg);
	void *idle_arg;
};

/* ---- the requests ---- */

static int conn_check(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str body,
                      struct answer *out)
{
	struct sm_msg_conn_check m;
	int rc = sm_msg_conn_check_decode(body, ctx->a, &m);

	if (rc != 0)
		return rc;
	out->type = SM_MSG_conn_verdict;
	rc = ar_check_conn(ar, ctx, &m, &out->m.conn);
	if (rc == 0)
		sm_log(SM_INFO, "ar.conn", "ss_sess=%I client=%A resolve=%s name=%?S code=%u",
		       m.sess, &m.client, sm_word_of(sm_resolve_words, out->m.conn.resolve),
		       out->m.conn.client_name, out->m.conn.code);
	return rc;
}

/* Without a name, but not past the access map. */
static void conn_busy(const struct ar_ctx *ctx, struct sm_str body, struct answer *out)
{
	struct sm_msg_conn_check m;

	out->type = SM_MSG_conn_verdict;
	out->m.conn = (struct sm_msg_conn_verdict){.resolve = SM_RESOLVE_TEMP_PTR};
	if (sm_msg_conn_check_decode(body, ctx->a, &m) != 0 || (m.flags & SM_CHECK_ACCESS)) {
		out->m.conn.code = 451;
		out->m.conn.text = SM_STR("4.3.2 too busy, try again later");
	}
}

static int mail_check(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str body,
                      struct answer *out)
{
	struct sm_msg_mail_check m;
	int rc = sm_msg_mail_check_decode(body, ctx->a, &m);

	if (rc != 0)
		return rc;
	out->type = SM_MSG_verdict;
	rc = ar_check_mail(ar, ctx, &m, &out->m.verdict);
	if (rc == 0)
		sm_log(out->m.verdict.code ? SM_INFO : SM_DEBUG, "ar.mail",
		       "ss_sess=%I client=%A mail=<%S> code=%u text=%?S", m.sess, &m.client,
		       m.sender, out->m.verdict.code, out->m.verdict.text);
	return rc;
}

static int rcpt_check(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str body,
                      struct answer *out)
{
	struct sm_msg_rcpt_check m;
	int rc = sm_msg_rcpt_check_decode(body, ctx->a, &m);

	if (rc != 0)
		return rc;
	out->type = SM_MSG_verdict;
	rc = ar_check_rcpt(ar, ctx, &m, &out->m.verdict);
	if (rc == 0)
		sm_log(out->m.verdict.code ? SM_INFO : SM_DEBUG, "ar.rcpt",
		       "ss_sess=%I ss_ta=%?I client=%A rcpt=<%S> code=%u text=%?S", m.sess, m.ta,
		       &m.client, m.rcpt, out->m.verdict.code, out->m.verdict.text);
	return rc;
}

static int cert_check(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str body,
                      struct answer *out)
{
	struct sm_msg_cert_check m;
	int rc = sm_msg_cert_check_decode(body, ctx->a, &m);

	if (rc != 0)
		return rc;
	out->type = SM_MSG_verdict;
	rc = ar_check_cert(ar, ctx, &m, &out->m.verdict);
	if (rc == 0)
		sm_log(SM_INFO, "ar.cert",
		       "ss_sess=%I client=%A issuer=%S subject=%S code=%u relay=%u", m.sess,
		       &m.client, m.issuer, m.subject, out->m.verdict.code,
		       (out->m.verdict.flags & SM_VERDICT_RELAY) != 0);
	return rc;
}

static int etrn_check(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str body,
                      struct answer *out)
{
	struct sm_msg_etrn_check m;
	int rc = sm_msg_etrn_check_decode(body, ctx->a, &m);

	if (rc != 0)
		return rc;
	out->type = SM_MSG_verdict;
	rc = ar_check_etrn(ar, ctx, &m, &out->m.verdict);
	if (rc == 0)
		sm_log(SM_INFO, "ar.etrn",
		       "ss_sess=%I client=%A user=%?S destination=%?S result=%s", m.sess, &m.client,
		       m.user, m.node, out->m.verdict.flags & SM_VERDICT_OK ? "allowed" : "denied");
	return rc;
}

static void verdict_busy(const struct ar_ctx *ctx SM_UNUSED, struct sm_str body SM_UNUSED,
                         struct answer *out)
{
	out->type = SM_MSG_verdict;
	out->m.verdict =
	    (struct sm_msg_verdict){.code = 451, .text = SM_STR("4.3.2 too busy, try again later")};
}

static int route_get(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str body,
                     struct answer *out)
{
	struct sm_msg_route_get m;
	int rc = sm_msg_route_get_decode(body, ctx->a, &m);

	if (rc != 0)
		return rc;
	out->type = SM_MSG_route;
	(void)SM_FAULT_OF("smar.rcpt:", m.rcpt);
	rc = ar_resolve(ar, ctx, &m, &out->m.route);
	if (rc == 0 && out->m.route.status == SM_ROUTE_ALIAS)
		sm_log(SM_INFO, "ar.route", "ss_ta=%?I rcpt=<%S> members=%u more=%u", m.ta, m.rcpt,
		       out->m.route.aliases_count, out->m.route.more);
	else if (rc == 0 && out->m.route.status != SM_ROUTE_OK)
		sm_log(SM_INFO, "ar.route", "ss_ta=%?I rcpt=<%S> code=%u text=%S", m.ta, m.rcpt,
		       out->m.route.code, out->m.route.text);
	else if (rc == 0)
		sm_log(SM_DEBUG, "ar.route", "ss_ta=%?I rcpt=<%S> key=%S hosts=%u ttl=%u", m.ta,
		       m.rcpt, out->m.route.key, out->m.route.hosts_count, out->m.route.ttl_s);
	return rc;
}

static void route_busy(const struct ar_ctx *ctx SM_UNUSED, struct sm_str body SM_UNUSED,
                       struct answer *out)
{
	out->type = SM_MSG_route;
	out->m.route = (struct sm_msg_route){.status = SM_ROUTE_TEMP,
	                                     .code = 451,
	                                     .text = SM_STR("4.3.2 address resolver is too busy"),
	                                     .ttl_s = 1};
}

static int server_conf(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str body,
                       struct answer *out)
{
	struct sm_msg_server_conf m;
	int rc = sm_msg_server_conf_decode(body, ctx->a, &m);

	if (rc != 0)
		return rc;
	out->type = SM_MSG_server_confd;
	rc = ar_server_conf(ar, ctx, &m, &out->m.server);
	if (rc == 0)
		sm_log(SM_DEBUG, "ar.server", "server=%S address=%A code=%u conf=%?S auth=%s",
		       m.name, &m.sa, out->m.server.code, out->m.server.conf,
		       out->m.server.auth.n > 0 ? "yes" : "no");
	return rc;
}

static void server_busy(const struct ar_ctx *ctx SM_UNUSED, struct sm_str body SM_UNUSED,
                        struct answer *out)
{
	out->type = SM_MSG_server_confd;
	out->m.server =
	    (struct sm_msg_server_confd){.code = 451,
	                                 .text = SM_STR("4.3.2 address resolver is too busy"),
	                                 .conf = SM_STR(""),
	                                 .auth = SM_STR("")};
}

/* Whatever comes of it is the answer; what this request holds is the former set. */
static int maps_reload(const struct ar *ar SM_UNUSED, const struct ar_ctx *ctx, struct sm_str body,
                       struct answer *out)
{
	struct sm_msg_maps_reloaded *r = &out->m.reloaded;
	struct sm_msg_maps_reload m;
	int rc = sm_msg_maps_reload_decode(body, ctx->a, &m);

	if (rc != 0)
		return rc;
	if (!ctx->may_wait)
		return SM_E_AGAIN;
	sm_log(SM_NOTICE, "ar.reload", "uid=%u", m.uid);
	out->type = SM_MSG_maps_reloaded;
	*r = (struct sm_msg_maps_reloaded){.text = SM_STR("")};
	rc = ar_reload_wait(sm_now_ms() + RELOAD_MS);
	if (rc == 0) {
		r->maps = (uint32_t)ar_reload_count();
		return 0;
	}
	r->status = rc == SM_E_TIMEOUT || rc == SM_E_CANCEL ? SM_RELOAD_LATER : SM_RELOAD_REFUSED;
	r->text = sm_arena_str(ctx->a, sm_str_head(sm_str(sm_diag()), 512));
	return 0;
}

static void reload_busy(const struct ar_ctx *ctx SM_UNUSED, struct sm_str body SM_UNUSED,
                        struct answer *out)
{
	out->type = SM_MSG_maps_reloaded;
	out->m.reloaded = (struct sm_msg_maps_reloaded){
	    .status = SM_RELOAD_LATER, .text = SM_STR("too busy, try again later")};
}

static const struct handler handlers[] = {
    {SM_MSG_conn_check, conn_check, conn_busy},     {SM_MSG_mail_check, mail_check, verdict_busy},
    {SM_MSG_rcpt_check, rcpt_check, verdict_busy},  {SM_MSG_cert_check, cert_check, verdict_busy},
    {SM_MSG_route_get, route_get, route_busy},      {SM_MSG_maps_reload, maps_reload, reload_busy},
    {SM_MSG_server_conf, server_conf, server_busy}, {SM_MSG_etrn_check, etrn_check, verdict_busy},
};

/* ---- with patience ---- */

static struct ar_ctx ctx_of(const struct ar *ar, struct sm_arena *a, bool may_wait)
{
	return (struct ar_ctx){
	    .a = a, .deadline_ms = sm_now_ms() + 2 * ar->dns_timeout_ms, .may_wait = may_wait};
}

static void end_request(struct request *q)
{
	struct ar_handlers *h = q->h;

	sm_list_remove(&q->link);
	ar_release(&q->ar);
	sm_arena_fini(&q->arena);
	sm_free(q);
	h->count--;
	if (h->stopping && h->count == 0)
		h->idle(h->idle_arg);
}

static void run_request(void *arg)
{
	struct request *q = arg;
	struct ar_ctx ctx = ctx_of(&q->ar, &q->arena, true);
	struct answer out;
	int rc;

	sm_last_words_make(&q->words, q->peer, q->tag);
	sm_last_words_set(&q->words);
	rc = q->handler->decide(&q->ar, &ctx, q->body, &out);
	sm_last_words_set(NULL);
	/* It was decoded once already; and with patience there is always a decision. */
	sm_assert(rc == 0);
	sm_peer_reply(q->peer, q->tag, 0, out.type, &out.m);
	end_request(q);
}

/* False: there are too many. */
static bool decide_later(struct ar_handlers *h, const struct handler *handler, struct sm_peer *p,
                         const struct sm_frame *f)
{
	struct request *q;
	bool started;

	if (h->count >= h->max || h->stopping)
		return false;
	q = sm_calloc(1, sizeof(*q));
	q->h = h;
	q->handler = handler;
	q->peer = p;
	q->tag = f->tag;
	q->ar = ar_hold(h->ar);
	sm_list_push(&h->requests, &q->link);
	h->count++;
	sm_arena_init(&q->arena, "request", REQUEST_ARENA_BYTES, ARENA_CAP_BYTES);
	q->body = sm_arena_str(&q->arena, f->body);
	q->co = q->body.p != NULL ? sm_co_spawn(sm_msg_info(f->type)->name, run_request, q) : NULL;
	started = q->co != NULL;
	if (!started)
		end_request(q);
	return started;
}

int ar_handlers_frame(struct sm_peer *p, const struct sm_frame *f, void *arg)
{
	struct ar_handlers *h = arg;
	const struct handler *handler = NULL;
	struct sm_last_words words;
	struct ar_ctx ctx;
	struct answer out;
	int rc;

	for (size_t i = 0; i < SM_ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == f->type)
			handler = &handlers[i];
	if (handler == NULL || f->tag == 0)
		return sm_fail(SM_E_PROTO, "not a request for smar");
	sm_arena_reset(&h->fast);
	ctx = ctx_of(h->ar, &h->fast, false);
	sm_last_words_make(&words, p, f->tag);
	sm_last_words_set(&words);
	rc = handler->decide(h->ar, &ctx, f->body, &out);
	sm_last_words_set(NULL);
	if (rc == SM_E_AGAIN) {
		if (decide_later(h, handler, p, f))
			return 0;
		sm_log(SM_WARN, "ar.busy", "waiting=%zu", h->count);
		handler->busy(&ctx, f->body, &out);
		rc = 0;
	}
	if (rc == 0)
		sm_peer_reply(p, f->tag, 0, out.type, &out.m);
	return rc;
}

/* ---- life ---- */

struct ar_handlers *ar_handlers_new(const struct ar *ar, size_t max_requests)
{
	struct ar_handlers *h = sm_calloc(1, sizeof(*h));

	h->ar = ar;
	h->max = max_requests;
	sm_list_init(&h->requests);
	sm_arena_init(&h->fast, "fast", FAST_ARENA_BYTES, ARENA_CAP_BYTES);
	return h;
}

void ar_handlers_stop(struct ar_handlers *h, void (*idle)(void *arg), void *arg)
{
	h->stopping = true;
	h->idle = idle;
	h->idle_arg = arg;
	if (h->count == 0)
		idle(arg);
	SM_LIST_FOR (q, &h->requests, struct request, link)
		sm_co_cancel(q->co);
}

void ar_handlers_free(struct ar_handlers **hp)
{
	struct ar_handlers *h = *hp;

	*hp = NULL;
	if (h == NULL)
		return;
	sm_assert(h->count == 0);
	sm_arena_fini(&h->fast);
	sm_free(h);
}

size_t ar_handlers_waiting(const struct ar_handlers *h)
{
	return h->count;
}
