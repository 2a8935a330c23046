/*
 * The control socket: who may ask, each request in a coroutine of its own, the trace of what it
 * looks up.
 *
 * Root and smar's own user may all; the socket's group may not act, nor see who is on the greylist.
 * A client has one request at a time. Invariant: every request gets its end, also when its client
 * is gone, which lets the handle of the peer go. Thread: the loop's.
 */
#include "smar/control.h"

#include "libsm/err.h"
#include "libsm/log.h"
#include "smar/ask.h"

enum {
	PATH_BYTES = 108,
	SOCKET_UMASK = 0007,
	PEERS_MAX = 16,
	FRAME_BYTES = 64 * 1024,
	SCRATCH_BYTES = 32 * 1024,
	ARENA_CAP = 4 * 1024 * 1024,
	OUT_MAX = 16 * 1024 * 1024,
	UNSENT_BYTES = 128 * 1024,
	TRACED_MAX = 2000, /* lines of a trace; further ones are only counted */
	VALUE_MAX = 500    /* bytes of a value in it */
};

static struct {
	const struct ar *ar;
	const struct ar_handlers *handlers;
	struct sm_rpc_server *rpc;
	struct sm_list requests;
	struct sm_arena frame;
	bool open, stopping;
	int64_t since_ms;
	void (*idle)(void *arg);
	void *idle_arg;
} k;

static const struct ar_ctl_verb verbs[] = {
    {{"conn", AR_CTL_CHECK | AR_CTL_CLIENT_NAME, 1, 1}, false, ar_ctl_conn},
    {{"mail", AR_CTL_CHECK | AR_CTL_CLIENT, 1, 1}, false, ar_ctl_mail},
    {{"rcpt", AR_CTL_CHECK | AR_CTL_CLIENT | AR_CTL_FROM, 1, 1}, false, ar_ctl_rcpt},
    {{"cert", AR_CTL_CHECK | AR_CTL_CLIENT, 2, 2}, false, ar_ctl_cert},
    {{"route", AR_CTL_FROM | AR_CTL_MAIL, 1, 1}, false, ar_ctl_route},
    {{"lookup", AR_CTL_AS | AR_CTL_TAG, 2, 2}, false, ar_ctl_lookup},
    {{"dns", 0, 1, 2}, false, ar_ctl_dns},
    {{"status", 0, 0, 0}, false, ar_ctl_status},
    {{"reload", 0, 0, 0}, true, ar_ctl_reload},
    {{"grey-list", 0, 0, 1}, true, ar_ctl_grey_list},
    {{"grey-remove", 0, 1, 1}, true, ar_ctl_grey_remove},
};

/* ---- the trace ---- */

/* May one more line be written? */
static bool trace_goes_on(struct ar_ctl *c)
{
	if (c->traced++ >= TRACED_MAX)
		return false;
	if (c->out.len >= SM_CTL_PIECE_BYTES)
		sm_ctl_send(c->peer, c->tag, &c->out);
	return true;
}

static void tried(void *arg, const char *map, struct sm_str key, int rc, struct sm_str value)
{
	struct ar_ctl *c = arg;
	const char *result = rc == 0               ? "found"
	                     : rc == SM_E_NOTFOUND ? "none"
	                     : rc == SM_E_EOF      ? "last"
	                                           : "failed";

	if (rc == 0 && c->keeps_found) {
		c->found_map = sm_arena_str(&c->arena, sm_str(map));
		c->found_key = sm_arena_str(&c->arena, key);
		c->found_value = sm_arena_str(&c->arena, value);
	}
	if (!trace_goes_on(c))
		return;
	sm_ctl_begin(&c->out, "lookup");
	sm_ctl_str(&c->out, "map", sm_str(map));
	sm_ctl_str(&c->out, "key", key);
	sm_ctl_str(&c->out, "result", sm_str(result));
	if (rc == 0)
		sm_ctl_str(&c->out, "value", sm_str_head(value, VALUE_MAX));
	else if (rc != SM_E_NOTFOUND && rc != SM_E_EOF)
		sm_ctl_str(&c->out, "why", sm_str(sm_diag()));
	sm_ctl_line(&c->out);
}

static const char *type_name(uint16_t type)
{
	switch (type) {
	case AR_DNS_A:
		return "A";
	case AR_DNS_AAAA:
		return "AAAA";
	case AR_DNS_MX:
		return "MX";
	case AR_DNS_PTR:
		return "PTR";
	default:
		return "?";
	}
}

static void put_record(struct sm_buf *b, const struct ar_rr *rr, uint16_t type)
{
	char text[SM_SA_TEXT];
	struct sm_sa sa = {0};

	sm_ctl_open(b);
	if (type == AR_DNS_A || type == AR_DNS_AAAA) {
		sa = ar_rr_sa(rr, type);
		sm_ctl_str(b, "address", sm_str(sm_sa_host_text(&sa, text)));
	} else {
		if (type == AR_DNS_MX)
			sm_ctl_num(b, "preference", rr->pref);
		sm_ctl_str(b, "name", rr->name);
	}
	sm_ctl_close(b);
}

static void asked(void *arg, struct sm_str name, uint16_t type, bool known,
                  const struct ar_answer *a)
{
	static const char *const statuses[] = {[AR_DNS_OK] = "ok",
	                                       [AR_DNS_NODATA] = "nodata",
	                                       [AR_DNS_NXDOMAIN] = "nxdomain",
	                                       [AR_DNS_TEMP] = "failed",
	                                       [AR_DNS_ALIAS] = "failed"};
	struct ar_ctl *c = arg;

	c->dns_status = a->status;
	if (!trace_goes_on(c))
		return;
	sm_ctl_begin(&c->out, "dns");
	sm_ctl_str(&c->out, "name", name);
	sm_ctl_str(&c->out, "rrtype", sm_str(type_name(type)));
	sm_ctl_str(&c->out, "result", sm_str(statuses[a->status]));
	if (a->why != NULL)
		sm_ctl_str(&c->out, "why", sm_str(a->why));
	sm_ctl_bool(&c->out, "cached", known);
	sm_ctl_bool(&c->out, "validated", a->ad);
	sm_ctl_num(&c->out, "ttl_s", ar_answer_ttl_s(a));
	sm_ctl_array(&c->out, "records");
	for (size_t i = 0; i < a->count; i++)
		put_record(&c->out, &a->rr[i], type);
	sm_ctl_array_end(&c->out);
	sm_ctl_line(&c->out);
}

static void failed(void *arg, struct sm_str about, const char *why)
{
	struct ar_ctl *c = arg;

	if (!trace_goes_on(c))
		return;
	sm_ctl_begin(&c->out, "trouble");
	sm_ctl_str(&c->out, "about", about);
	sm_ctl_str(&c->out, "why", sm_str(why));
	sm_ctl_line(&c->out);
}

static void drained(struct sm_peer *p, void *arg SM_UNUSED)
{
	SM_LIST_FOR (c, &k.requests, struct ar_ctl, link)
		if (c->peer == p)
			sm_co_wake(c->co);
}

void ar_ctl_flush(struct ar_ctl *c)
{
	sm_ctl_send(c->peer, c->tag, &c->out);
	while (sm_peer_unsent(c->peer) > UNSENT_BYTES) {
		sm_peer_on_drain(c->peer, UNSENT_BYTES / 2, drained, NULL);
		if (sm_co_park("operator reads", SM_NEVER) != 0)
			break;
	}
}

/* ---- requests ---- */

static void free_request(struct ar_ctl *c)
{
	sm_list_remove(&c->link);
	ar_release(&c->ar);
	sm_buf_fini(&c->out);
	sm_arena_fini(&c->scratch);
	sm_arena_fini(&c->arena);
	sm_free(c);
	if (k.stopping && sm_list_empty(&k.requests))
		k.idle(k.idle_arg);
}

static void end(struct ar_ctl *c, uint8_t status, const char *why)
{
	if (c->traced > TRACED_MAX) {
		sm_ctl_begin(&c->out, "omitted");
		sm_ctl_num(&c->out, "lines", c->traced - TRACED_MAX);
		sm_ctl_line(&c->out);
	}
	sm_ctl_send(c->peer, c->tag, &c->out);
	sm_ctl_end(c->peer, c->tag, status, why);
	free_request(c);
}

static void run(void *arg)
{
	struct ar_ctl *c = arg;
	const char *why = "";
	uint8_t status = c->verb->run(c, &why);

	if (sm_co_cancelled())
		end(c, SM_CTL_LATER, "smar ends");
	else
		end(c, status, why);
}

static void begin(struct sm_peer *peer, uint64_t tag, const struct ar_ctl_verb *verb,
                  const struct sm_msg_ctl_request *m)
{
	struct ar_ctl *c = sm_calloc(1, sizeof(*c));

	c->peer = peer;
	c->tag = tag;
	c->verb = verb;
	c->handlers = k.handlers;
	c->ar = ar_hold(k.ar);
	sm_arena_init(&c->arena, "control words", FRAME_BYTES, SIZE_MAX / 8);
	sm_arena_init(&c->scratch, "control", SCRATCH_BYTES, ARENA_CAP);
	sm_buf_init(&c->out, OUT_MAX);
	sm_list_push(&k.requests, &c->link);
	if (ar_ctl_take_words(&verb->takes, m, &c->arena, &c->words) != 0) {
		end(c, SM_CTL_USAGE, sm_diag());
		return;
	}
	c->trace = (struct ar_trace){.tried = tried, .asked = asked, .failed = failed, .arg = c};
	c->dry.client_name = c->words.client_name;
	c->ctx = (struct ar_ctx){.a = &c->scratch,
	                         .trace = &c->trace,
	                         .dry = &c->dry,
	                         .deadline_ms = sm_now_ms() + 2 * c->ar.dns_timeout_ms,
	                         .may_wait = true};
	c->co = sm_co_spawn("control", run, c);
	if (c->co == NULL)
		end(c, SM_CTL_LATER, sm_diag());
}

static const struct ar_ctl_verb *verb_of(struct sm_str name)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(verbs); i++)
		if (sm_str_eq(name, sm_str(verbs[i].takes.verb)))
			return &verbs[i];
	return NULL;
}

static int on_frame(struct sm_peer *peer, const struct sm_frame *f, void *arg SM_UNUSED)
{
	const struct ar_ctl_verb *verb;
	struct sm_msg_ctl_request m;
	int rc;

	if (f->type != SM_MSG_ctl_request)
		return sm_fail(SM_E_PROTO, "message %u is not for the control socket", f->type);
	if (f->tag == 0)
		return sm_fail(SM_E_PROTO, "request without a tag");
	sm_arena_reset(&k.frame);
	rc = sm_msg_ctl_request_decode(f->body, &k.frame, &m);
	if (rc != 0)
		return rc;
	SM_LIST_FOR (c, &k.requests, struct ar_ctl, link)
		if (c->peer == peer)
			return sm_fail(SM_E_PROTO, "one request at a time");
	verb = verb_of(m.verb);
	if (k.stopping)
		sm_ctl_end(peer, f->tag, SM_CTL_LATER, "smar ends");
	else if (verb == NULL)
		sm_ctl_end(peer, f->tag, SM_CTL_USAGE, "there is no such verb");
	else if (verb->guarded && !sm_peer_trusted(peer))
		sm_ctl_end(peer, f->tag, SM_CTL_NOPERM, "that is for root and the user of smar");
	else
		begin(peer, f->tag, verb, &m);
	return 0;
}

static void on_close(struct sm_peer *peer, void *arg SM_UNUSED)
{
	SM_LIST_FOR (c, &k.requests, struct ar_ctl, link)
		if (c->peer == peer)
			sm_co_cancel(c->co);
}

const struct ar *ar_control_now(void)
{
	return k.ar;
}

int64_t ar_control_since_ms(void)
{
	return k.since_ms;
}

/* ---- life ---- */

int ar_control_open(const struct ar *ar, const struct ar_handlers *handlers)
{
	static char path[PATH_BYTES];
	struct sm_str socket = ar->conf->control_socket;
	struct sm_rpc_server_conf conf = {
	    .path = path,
	    .umask = SOCKET_UMASK,
	    .read_gid = sm_ctl_group(socket),
	    .roles = 1U << SM_ROLE_CTL,
	    .max_peers = PEERS_MAX,
	    .on_frame = on_frame,
	    .on_close = on_close,
	};
	int rc = 0;

	memset(&k, 0, sizeof(k));
	k.ar = ar;
	k.handlers = handlers;
	k.open = true;
	k.since_ms = sm_now_ms();
	sm_list_init(&k.requests);
	sm_arena_init(&k.frame, "control", FRAME_BYTES, 4 * SM_FRAME_MAX);
	if (socket.n > 0)
		rc = sm_str_copy(socket, path, sizeof(path));
	if (rc == 0 && socket.n > 0)
		rc = sm_rpc_listen(&conf, &k.rpc);
	return rc;
}

void ar_control_stop(void (*idle)(void *arg), void *arg)
{
	k.stopping = true;
	k.idle = idle;
	k.idle_arg = arg;
	if (sm_list_empty(&k.requests))
		idle(arg);
	SM_LIST_FOR (c, &k.requests, struct ar_ctl, link)
		sm_co_cancel(c->co);
}

void ar_control_close(void)
{
	if (!k.open)
		return;
	sm_assert(sm_list_empty(&k.requests));
	sm_rpc_server_free(&k.rpc);
	sm_arena_fini(&k.frame);
	k.open = false;
}
