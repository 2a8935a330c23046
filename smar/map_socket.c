/*
 * Maps of type socket: a server that speaks the socketmap protocol, over TCP or a Unix socket.
 *
 * Each question has a connection of its own while it is asked: the protocol has no ids, and many
 * servers read one netstring at a time, so nothing is pipelined; idle connections are kept, and
 * up to CONNS_MAX questions run at the same time, the others wait for their turn. After a failure
 * to connect nobody tries again for a while, which doubles each time.
 *
 * Everything that is no clear answer is a failure of the map, also PERM: that is said by a server
 * that is set up wrongly, and must not cost mail. All in the loop's thread, but open.
 */
#include "libsm/co.h"
#include "libsm/list.h"
#include "libsm/log.h"
#include "libsm/net.h"
#include "smar/map_int.h"
#include "smar/socketmap.h"

enum {
	CONNS_MAX = 16,
	WAITERS_MAX = 1000,
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 5000,
	READ_BYTES = 4096,
	ALARM_EVERY_MS = 60 * 1000
};

struct conn {
	struct sm_list link; /* idle, or not in a list */
	struct sm_net net;
	struct sm_buf buf; /* the request, then the reply */
	bool used;         /* has given an answer before */
};

struct waiter {
	struct sm_list link; /* not in a list: it may go on */
	struct sm_co *co;
	bool called;
};

struct socket_map {
	struct sm_str mapname;
	struct sm_sa to;
	char text[SM_SA_TEXT]; /* of `to` */
	struct sm_list idle, waiters;
	size_t conns, waiting;
	int64_t backoff_ms, not_before_ms, alarm_ms;
};

static int open_socket(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct socket_map *m = sm_calloc(1, sizeof(*m));
	int rc = conf->path.n > 0 ? sm_sa_unix(&m->to, conf->path)
	                          : sm_sa_ip(&m->to, conf->address, (uint16_t)conf->port);

	(void)entries;
	if (rc != 0) {
		sm_free(m);
		return sm_fail(rc, "its server has no good address");
	}
	m->mapname = conf->mapname;
	(void)sm_sa_text(&m->to, m->text);
	sm_list_init(&m->idle);
	sm_list_init(&m->waiters);
	*handle = m;
	return 0;
}

/* ---- connections ---- */

static void drop(struct socket_map *m, struct conn *c)
{
	sm_net_close(&c->net);
	sm_buf_fini(&c->buf);
	sm_free(c);
	m->conns--;
}

static struct conn *take_idle(struct socket_map *m)
{
	while (!sm_list_empty(&m->idle)) {
		struct conn *c = SM_CONTAINER_OF(m->idle.prev, struct conn, link);

		sm_list_remove(&c->link);
		if (!sm_net_pending(&c->net))
			return c;
		drop(m, c); /* closed by the server, or it speaks without being asked */
	}
	return NULL;
}

/* A place is free: who waits longest may have it. */
static void call_next(struct socket_map *m)
{
	struct waiter *w;

	if (sm_list_empty(&m->waiters))
		return;
	w = SM_CONTAINER_OF(m->waiters.next, struct waiter, link);
	sm_list_remove(&w->link);
	w->called = true;
	sm_co_wake(w->co);
}

static int wait_turn(struct socket_map *m, int64_t deadline_ms)
{
	struct waiter w = {.co = sm_co_self()};
	int rc = 0;

	if (m->waiting >= WAITERS_MAX)
		return sm_fail(SM_E_BUSY, "%s: too many wait for it", m->text);
	m->waiting++;
	sm_list_push(&m->waiters, &w.link);
	while (!w.called && rc == 0)
		rc = sm_co_park("turn at a socket map", deadline_ms);
	m->waiting--;
	if (!w.called)
		sm_list_remove(&w.link);
	else if (rc != 0)
		call_next(m);
	return rc != 0 ? sm_fail(rc, "%s: all its connections are in use", m->text) : 0;
}

static int dial(struct socket_map *m, int64_t deadline_ms, struct conn **out)
{
	int64_t now = sm_loop_now_ms();
	struct conn *c;
	int rc;

	if (now < m->not_before_ms)
		return sm_fail(SM_E_BUSY, "%s: could not be reached a moment ago", m->text);
	c = sm_calloc(1, sizeof(*c));
	sm_buf_init(&c->buf, AR_SOCKETMAP_REPLY_MAX + 16);
	m->conns++;
	rc = sm_net_connect(&c->net, &m->to, NULL, deadline_ms);
	if (rc != 0) {
		if (rc != SM_E_CANCEL) {
			m->backoff_ms = SM_MIN(SM_MAX(2 * m->backoff_ms, (int64_t)BACKOFF_FIRST_MS),
			                       (int64_t)BACKOFF_MAX_MS);
			m->not_before_ms = sm_loop_now_ms() + m->backoff_ms;
		}
		sm_buf_fini(&c->buf);
		sm_free(c);
		m->conns--;
		return rc;
	}
	m->backoff_ms = 0;
	m->not_before_ms = 0;
	*out = c;
	return 0;
}

/* ---- a question ---- */

static int converse(struct socket_map *m, struct conn *c, struct sm_str key, int64_t deadline_ms,
                    struct ar_socketmap_reply *reply, bool *answered)
{
	struct sm_str payload;
	size_t used;
	int rc;

	*answered = false;
	sm_buf_reset(&c->buf);
	ar_socketmap_request(&c->buf, m->mapname, key);
	rc = sm_net_write(&c->net, sm_buf_p(&c->buf), c->buf.len, deadline_ms);
	if (rc != 0)
		return rc;
	sm_buf_reset(&c->buf);
	while ((rc = ar_socketmap_netstring(sm_buf_view(&c->buf), &payload, &used)) == SM_E_AGAIN) {
		/* The longest netstring and its ends fit. */
		size_t room = SM_MIN((size_t)READ_BYTES, c->buf.max - c->buf.len);
		char *p = sm_buf_reserve(&c->buf, room);
		ssize_t n;

		sm_assert(p != NULL && room > 0);
		n = sm_net_read(&c->net, p, room, deadline_ms);
		if (n < 0)
			return (int)n;
		*answered = true;
		sm_buf_commit(&c->buf, (size_t)n);
	}
	if (rc == 0 && used != c->buf.len)
		rc = sm_fail(SM_E_PROTO, "more than one reply to a question");
	return rc != 0 ? rc : ar_socketmap_reply(payload, reply);
}

static void alarm_perm(struct socket_map *m, struct sm_str why)
{
	int64_t now = sm_loop_now_ms();

	if (m->alarm_ms != 0 && now < m->alarm_ms + ALARM_EVERY_MS)
		return;
	m->alarm_ms = now;
	sm_log(SM_ERROR, "ar.socket_map", "map=%S server=%s error=%S", m->mapname, m->text, why);
}

/* What ar_map_get gives for it. */
static int take(struct socket_map *m, const struct ar_ctx *ctx, const struct ar_socketmap_reply *r,
                struct sm_str *value)
{
	struct sm_str why = sm_str_head(r->data, 100);

	switch (r->status) {
	case AR_SOCKETMAP_OK:
		*value = sm_arena_str(ctx->a, r->data.n > 0 ? r->data : SM_STR(""));
		if (value->p == NULL)
			return sm_fail(SM_E_TOOBIG, "%s: the value is too long", m->text);
		return 0;
	case AR_SOCKETMAP_NOTFOUND:
		return SM_E_NOTFOUND;
	case AR_SOCKETMAP_NOMORE:
		return SM_E_EOF;
	case AR_SOCKETMAP_TIMEOUT:
		return sm_fail(SM_E_TIMEOUT, "%s: it says TIMEOUT " SM_STR_FMT, m->text,
		               SM_STR_ARG(why));
	case AR_SOCKETMAP_PERM:
		alarm_perm(m, why);
		return sm_fail(SM_E_BUSY, "%s: it says PERM " SM_STR_FMT, m->text, SM_STR_ARG(why));
	case AR_SOCKETMAP_TEMP:
		break;
	}
	return sm_fail(SM_E_BUSY, "%s: it says TEMP " SM_STR_FMT, m->text, SM_STR_ARG(why));
}

/* On `c`, which is kept or closed after it. *again: it was closed by the server while it was idle,
 * so nobody has heard the question. */
static int ask_on(struct socket_map *m, struct conn *c, const struct ar_ctx *ctx, struct sm_str key,
                  struct sm_str *value, bool *again)
{
	struct ar_socketmap_reply reply;
	bool answered;
	int rc = converse(m, c, key, ctx->deadline_ms, &reply, &answered);

	*again = rc != 0 && c->used && !answered && rc != SM_E_TIMEOUT && rc != SM_E_CANCEL;
	if (rc != 0) {
		drop(m, c);
		/* End of a stream is NOMORE beyond here. */
		return sm_fail_in(rc == SM_E_EOF ? SM_E_PEER : rc, "%s", m->text);
	}
	rc = take(m, ctx, &reply, value);
	c->used = true;
	sm_buf_reset(&c->buf);
	sm_buf_trim(&c->buf);
	sm_list_push(&m->idle, &c->link);
	return rc;
}

static int get(void *handle, const struct ar_ctx *ctx, struct sm_str key, struct sm_str *value)
{
	struct socket_map *m = handle;
	struct conn *c;
	bool again = true;
	int rc = 0;

	if (!ctx->may_wait)
		return SM_E_AGAIN;
	if (m->waiting > 0 || (sm_list_empty(&m->idle) && m->conns >= CONNS_MAX))
		rc = wait_turn(m, ctx->deadline_ms);
	if (rc != 0)
		return rc;
	while (again) {
		again = false;
		c = take_idle(m);
		rc = c == NULL ? dial(m, ctx->deadline_ms, &c) : 0;
		if (rc == 0)
			rc = ask_on(m, c, ctx, key, value, &again);
	}
	call_next(m);
	return rc;
}

static void close_socket(void *handle)
{
	struct socket_map *m = handle;

	sm_assert(sm_list_empty(&m->waiters));
	while (!sm_list_empty(&m->idle)) {
		struct conn *c = SM_CONTAINER_OF(m->idle.next, struct conn, link);

		sm_list_remove(&c->link);
		drop(m, c);
	}
	sm_free(m);
}

const struct ar_map_driver ar_map_socket = {
    .type = AR_MAP_SOCKET,
    .name = "socket",
    .open = open_socket,
    .get = get,
    .close = close_socket,
};
