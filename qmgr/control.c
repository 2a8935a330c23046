/*
 * What operators ask over the control socket: status, list, flush. Root, the queue's own user and
 * smxq may act; the socket's group may read.
 *
 * Answers are streams of text; a listing walks the tables piece by piece as the reader takes it, so
 * a queue of a million stalls nobody.
 */
#include "qmgr/qm.h"

#include <grp.h>
#include <inttypes.h>
#include <stdlib.h>
#include "libsm/time.h"

#define PIECE_BYTES  (32u * 1024)
#define UNSENT_BYTES (128u * 1024)
#define UNSENT_MAX   (1024u * 1024)

struct qm_control {
	struct sm_rpc_server *rpc;
	struct sm_arena arena;
	struct sm_buf text;
	struct sm_list listings;
};

/* A listing under way. */
struct listing {
	struct sm_list link;
	struct qm *q;
	struct sm_peer *peer;
	uint64_t tag;
	bool json, first;
	uint64_t edbc_cursor;
	struct sm_id *active; /* ids at the beginning: the table may change meanwhile */
	size_t active_count, active_at;
};

static void send_text(struct sm_peer *peer, uint64_t tag, struct sm_buf *b)
{
	struct sm_msg_ctl_text m;

	while (b->len > 0) {
		m.text = sm_str_head(sm_buf_view(b), PIECE_BYTES);
		sm_peer_reply(peer, tag, SM_FRAME_MORE, SM_MSG_ctl_text, &m);
		sm_buf_consume(b, m.text.n);
	}
}

static void send_end(struct sm_peer *peer, uint64_t tag, uint8_t status, const char *text)
{
	struct sm_msg_ctl_end m = {.status = status, .text = sm_str(text)};

	sm_peer_reply(peer, tag, 0, SM_MSG_ctl_end, &m);
}

/* ---- status
 * ------------------------------------------------------------------------------------------------------------
 */

struct figure {
	const char *name;
	uint64_t value;
};

static void do_status(struct qm *q, struct sm_peer *peer, uint64_t tag, bool json)
{
	struct qm_log_stat ib, de;
	struct sm_buf *b = &q->control->text;

	qm_log_stat(qm_store_ibdb(q->store), &ib);
	qm_log_stat(qm_store_defedb(q->store), &de);

	const struct figure f[] = {
	    {"uptime_s", (uint64_t)(sm_wall_s() - q->started_s)},
	    {"accepting", q->running && !q->stopping && !q->resources.v[QM_RES_DISK].full &&
	                      !qm_store_low(q->store) && qm_halt_accepting(q)},
	    {"delivering", !qm_halt_all(q)},
	    {"suspended_destinations", qm_store_suspends(q->store)->by_dest.count},
	    {"standing_marks", qm_store_marks(q->store)->count},
	    {"smtps_processes", qm_incoming_servers(q)},
	    {"smtps_sessions", qm_incoming_sessions(q)},
	    {"active_transactions", q->txns.by_id.count},
	    {"active_recipients", q->txns.rcpts},
	    {"deferred_transactions", qm_edbc_count(q->edbc)},
	    {"held_recipients", qm_edbc_held_count(q->edbc)},
	    {"tasks_running", qm_delivery_tasks(q)},
	    {"routes_known", q->sched.routes.count},
	    {"accepted", q->stats.accepted},
	    {"accepted_recipients", q->stats.accepted_rcpts},
	    {"refused", q->stats.refused},
	    {"delivered_recipients", q->stats.delivered},
	    {"deferrals", q->stats.deferred},
	    {"failed_recipients", q->stats.failed},
	    {"dsns", q->stats.dsns},
	    {"double_bounces", q->stats.double_bounces},
	    {"ended", q->stats.ended},
	    {"orphans_removed", q->stats.orphans},
	    {"orphans_kept", qm_content_kept(q)},
	    {"disk_free_bytes", qm_space_free_bytes(q)},
	    {"ibdb_records", ib.records},
	    {"ibdb_syncs", ib.syncs},
	    {"ibdb_segments", ib.segments},
	    {"defedb_records", de.records},
	    {"defedb_syncs", de.syncs},
	    {"defedb_segments", de.segments},
	};

	sm_buf_reset(b);
	if (json)
		sm_buf_char(b, '{');
	for (size_t i = 0; i < SM_ARRAY_SIZE(f); i++) {
		if (json)
			sm_buf_printf(b, "%s\"%s\":%" PRIu64, i ? "," : "", f[i].name, f[i].value);
		else
			sm_buf_printf(b, "%-22s %" PRIu64 "\n", f[i].name, f[i].value);
	}
	if (json)
		sm_buf_cstr(b, "}\n");
	send_text(peer, tag, b);
	send_end(peer, tag, 0, "");
}

/* ---- list
 * --------------------------------------------------------------------------------------------------------------
 */

static const char *state_word(const struct qm_rcpt *r)
{
	static const char *const words[] = {"new",      "routing", "ready",  "delivering",
	                                    "deferred", "failed",  "settled"};

	return words[r->state];
}

static void list_txn(struct listing *l, struct sm_buf *b, const struct qm_txn *txn)
{
	char id[SM_ID_SIZE];
	int64_t now = sm_wall_s();

	sm_id_text(txn->id, id);
	if (l->json) {
		sm_buf_printf(b,
		              "{\"id\":\"%s\",\"queue\":\"active\",\"age_s\":%" PRId64
		              ",\"size\":%" PRIu64 ",\"sender\":",
		              id, now - txn->received_s, txn->size);
		sm_conf_json_str(b, txn->sender);
		sm_buf_cstr(b, ",\"rcpts\":[");
	} else {
		sm_buf_printf(b, "%s active   %6" PRId64 "s %8" PRIu64 " <", id,
		              now - txn->received_s, txn->size);
		sm_log_escape(b, txn->sender, 320);
		sm_buf_cstr(b, ">\n");
	}
	for (unsigned i = 0, n = 0; i < txn->rcpt_count; i++) {
		const struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state == QM_RCPT_SETTLED)
			continue;
		if (l->json) {
			sm_buf_printf(b, "%s{\"state\":\"%s\",\"tries\":%u,\"code\":%u,\"rcpt\":",
			              n++ ? "," : "", state_word(r), r->tries, r->code);
			sm_conf_json_str(b, r->addr);
			sm_buf_cstr(b, ",\"text\":");
			sm_conf_json_str(b, r->text);
			sm_buf_char(b, '}');
		} else {
			sm_buf_printf(b, "    %-10s tries=%u <", state_word(r), r->tries);
			sm_log_escape(b, r->addr, 320);
			sm_buf_printf(b, "> %u ", r->code);
			sm_log_escape_text(b, r->text, 512);
			sm_buf_char(b, '\n');
		}
	}
	if (l->json)
		sm_buf_cstr(b, "]}\n");
}

static void list_entry(struct listing *l, struct sm_buf *b, const struct qm_edbc_entry *e)
{
	char id[SM_ID_SIZE];
	int64_t in = qm_edbc_next_try(e) - sm_wall_s();

	sm_id_text(qm_edbc_id(e), id);
	if (in < 0)
		in = 0;
	if (l->json)
		sm_buf_printf(b,
		              "{\"id\":\"%s\",\"queue\":\"deferred\",\"next_try_s\":%" PRId64
		              ",\"rcpt_count\":%u}\n",
		              id, in, qm_edbc_rcpts(e));
	else
		sm_buf_printf(b, "%s deferred next_try=%" PRId64 "s rcpts=%u\n", id, in,
		              qm_edbc_rcpts(e));
}

static void listing_free(struct listing *l)
{
	sm_list_remove(&l->link);
	sm_free(l->active);
	sm_free(l);
}

static void list_more(struct sm_peer *peer, void *arg)
{
	struct listing *l = arg;
	struct qm *q = l->q;
	struct sm_buf *b = &q->control->text;

	while (sm_peer_unsent(peer) < UNSENT_BYTES) {
		const struct qm_edbc_entry *e;

		sm_buf_reset(b);
		while (l->active_at < l->active_count && b->len < PIECE_BYTES) {
			const struct qm_txn *txn = qm_txn_find(&q->txns, l->active[l->active_at++]);

			if (txn)
				list_txn(l, b, txn);
		}
		while (l->active_at == l->active_count && b->len < PIECE_BYTES &&
		       (e = qm_edbc_walk(q->edbc, &l->edbc_cursor)) != NULL)
			list_entry(l, b, e);
		if (b->len == 0) {
			send_end(peer, l->tag, 0, "");
			listing_free(l);
			return;
		}
		send_text(peer, l->tag, b);
	}
	sm_peer_on_drain(peer, UNSENT_BYTES / 2, list_more, l);
}

static void do_list(struct qm *q, struct sm_peer *peer, uint64_t tag, bool json)
{
	struct listing *l;

	/* One at a time for each client: what may be asked must be bounded. */
	SM_LIST_FOR (other, &q->control->listings, struct listing, link) {
		if (other->peer == peer) {
			send_end(peer, tag, 75, "a list is on its way already");
			return;
		}
	}
	l = sm_calloc(1, sizeof(*l));

	l->q = q;
	l->peer = peer;
	l->tag = tag;
	l->json = json;
	l->active = sm_calloc(q->txns.by_id.count + 1, sizeof(*l->active));
	SM_LIST_FOR (txn, &q->txns.active, struct qm_txn, link)
		l->active[l->active_count++] = txn->id;
	sm_list_push(&q->control->listings, &l->link);
	list_more(peer, l);
}

/* ---- flush
 * --------------------------------------------------------------------------------------------------------------
 */

static void do_flush(struct qm *q, struct sm_peer *peer, const struct sm_msg_ctl_request *m,
                     uint64_t tag)
{
	struct sm_id id = {0};
	size_t n = 0;
	struct sm_buf *b = &q->control->text;

	for (uint32_t i = 0; i < m->args_count; i++) {
		if (sm_id_parse(m->args[i].text, &id) != 0) {
			send_end(peer, tag, 64, "flush takes transaction ids");
			return;
		}
		n += qm_defer_flush(q, id);
	}
	if (m->args_count == 0)
		n = qm_defer_flush(q, id);
	/* Next hops that were dead a moment ago get their try now. */
	qm_sched_revive(&q->sched);
	qm_blocked_clear(&q->blocked);
	sm_log(SM_NOTICE, "qm.flush", "uid=%u transactions=%zu", (unsigned)sm_peer_uid(peer), n);
	sm_buf_reset(b);
	if (m->json)
		sm_buf_printf(b, "{\"flushed\":%zu}\n", n);
	else
		sm_buf_printf(b, "%zu transactions are due now\n", n);
	send_text(peer, tag, b);
	send_end(peer, tag, 0, "");
}

/* ---- orphans
 * ------------------------------------------------------------------------------------------------------------
 */

/* Contents that are older than the logs are removed only when somebody says so. */
static void do_orphans(struct qm *q, struct sm_peer *peer, const struct sm_msg_ctl_request *m,
                       uint64_t tag)
{
	struct sm_str what = m->args_count ? m->args[0].text : SM_STR_NONE;
	struct sm_buf *b = &q->control->text;
	bool release = sm_str_eq(what, SM_STR("release"));

	sm_buf_reset(b);
	if (sm_str_eq(what, SM_STR("list"))) {
		if (qm_content_kept_list(q, b) != 0) {
			send_end(peer, tag, 75, "not known yet: smtps has to come first");
			return;
		}
		send_text(peer, tag, b);
		send_end(peer, tag, 0, "");
		return;
	}
	if (m->args_count > 1 || (m->args_count == 1 && !release)) {
		send_end(peer, tag, 64, "orphans takes nothing, \"list\" or \"release\"");
		return;
	}
	if (release && !sm_peer_trusted(peer)) {
		send_end(peer, tag, 77, "you may look, but not act");
		return;
	}
	if (m->json)
		sm_buf_printf(b, "{\"kept\":%zu,\"released\":%s}\n", qm_content_kept(q),
		              release ? "true" : "false");
	else
		sm_buf_printf(b, "%zu contents without a mail are older than the logs: %s\n",
		              qm_content_kept(q), release ? "to be removed" : "kept");
	if (release) {
		sm_log(SM_NOTICE, "qm.orphans_released", "uid=%u contents=%zu",
		       (unsigned)sm_peer_uid(peer), qm_content_kept(q));
		qm_content_release(q);
	}
	send_text(peer, tag, b);
	send_end(peer, tag, 0, "");
}

static int on_frame(struct sm_peer *peer, const struct sm_frame *f, void *arg)
{
	struct qm *q = arg;
	struct sm_msg_ctl_request m;
	int err;

	sm_arena_reset(&q->control->arena);
	if (sm_peer_unsent(peer) > UNSENT_MAX)
		return sm_fail(SM_E_TOOBIG, "it asks and does not read");
	if (f->type != SM_MSG_ctl_request)
		return sm_fail(SM_E_PROTO, "message %u is not for the control socket", f->type);
	if ((err = sm_msg_ctl_request_decode(f->body, &q->control->arena, &m)) != 0)
		return err;
	if (sm_str_eq(m.verb, SM_STR("status")))
		do_status(q, peer, f->tag, m.json);
	else if (sm_str_eq(m.verb, SM_STR("list")))
		do_list(q, peer, f->tag, m.json);
	else if (sm_str_eq(m.verb, SM_STR("orphans")))
		do_orphans(q, peer, &m, f->tag);
	else if (!sm_str_eq(m.verb, SM_STR("flush")))
		send_end(peer, f->tag, 64, "unknown verb: status, list, flush, orphans");
	else if (!sm_peer_trusted(peer))
		send_end(peer, f->tag, 77, "you may look, but not act");
	else
		do_flush(q, peer, &m, f->tag);
	return 0;
}

static void on_close(struct sm_peer *peer, void *arg)
{
	struct qm *q = arg;

	SM_LIST_FOR_SAFE (l, &q->control->listings, struct listing, link)
		if (l->peer == peer)
			listing_free(l);
}

int qm_control_open(struct qm *q)
{
	struct qm_control *c = sm_calloc(1, sizeof(*c));
	char path[108];
	int err;

	q->control = c;
	sm_list_init(&c->listings);
	sm_arena_init(&c->arena, "control", 4096, 4 * SM_FRAME_MAX);
	sm_buf_init(&c->text, 4 * SM_FRAME_MAX);
	if (q->conf->control_socket.n == 0)
		return 0;
	if ((err = sm_str_copy(q->conf->control_socket, path, sizeof(path))) != 0)
		return err;

	struct sm_rpc_server_conf conf = {
	    .path = path,
	    .umask = 0007,
	    .read_gid = q->gid_control,
	    .roles = 1u << SM_ROLE_CTL,
	    .max_peers = 32,
	    .on_close = on_close,
	    .on_frame = on_frame,
	    .arg = q,
	};
	return sm_rpc_listen(&conf, &c->rpc);
}

void qm_control_close(struct qm *q)
{
	struct qm_control *c = q->control;

	if (c == NULL)
		return;
	sm_rpc_server_free(&c->rpc);
	SM_LIST_FOR_SAFE (l, &c->listings, struct listing, link)
		listing_free(l);
	sm_buf_fini(&c->text);
	sm_arena_fini(&c->arena);
	SM_FREE(q->control);
}
