/*
 * The links to qmgr and smar. Invariant: the first frame on a new link to qmgr is ss_start with
 * every transaction whose content is on disk or whose outcome is open, and every segment that is
 * not sealed, so that qmgr takes none of them for an orphan. Callbacks on the loop's stack.
 */
#include "smtps/peers.h"

#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/offload.h"
#include "smtps/ss.h"
#include "smtps/txn.h"

#define IDS_TIMEOUT_MS 60000

static void on_block(int err, const struct sm_frame *f, void *arg)
{
	struct ss *ss = arg;
	struct sm_msg_id_block m;
	struct sm_arena none;

	sm_arena_init(&none, "id block", 64, 1024);
	if (err == 0 &&
	    (f->type != SM_MSG_id_block || sm_msg_id_block_decode(f->body, &none, &m) != 0))
		err = SM_E_PROTO;
	sm_arena_fini(&none);
	if (err != 0) {
		/* Asked again with the next id, or at the next ss_start. */
		ss_idblock_lost(&ss->ids);
		sm_log(SM_NOTICE, "ss.ids", "error=%E", err);
		return;
	}
	ss_idblock_add(&ss->ids, m.first, m.count);
	sm_log(SM_DEBUG, "ss.ids", "first=%llu count=%u", (unsigned long long)m.first, m.count);
}

static void on_qmgr_up(struct sm_peer *p, void *arg)
{
	struct ss *ss = arg;
	struct sm_msg_ss_start m = {.max_sessions = (uint32_t)ss->conf->max_threads,
	                            .next_counter = ss_idblock_floor(&ss->ids)};
	size_t segments = cdb_segments_unsealed(ss->cdb, NULL, 0);
	struct sm_msg_id_item *open = sm_calloc(ss->txn_count + segments + 1, sizeof(*open));
	struct sm_id *ids = sm_calloc(segments + 1, sizeof(*ids));

	sm_noyield_enter();
	SM_LIST_FOR (t, &ss->transactions, struct ss_txn, link) {
		open[m.open_count++].id = t->id;
	}
	(void)cdb_segments_unsealed(ss->cdb, ids, segments);
	for (size_t i = 0; i < segments; i++)
		open[m.open_count++].id = ids[i];
	sm_noyield_leave();
	sm_free(ids);
	m.open = open;
	ss->ids.asked = true;
	sm_call(&ss->ids_call, p, SM_MSG_ss_start, &m, sm_loop_now_ms() + IDS_TIMEOUT_MS, on_block,
	        ss);
	sm_free(open);
	sm_log(SM_INFO, "ss.peer", "peer=qmgr stat=up open=%u", m.open_count);
}

static void on_smar_up(struct sm_peer *p SM_UNUSED, void *arg SM_UNUSED)
{
	sm_log(SM_INFO, "ss.peer", "peer=smar stat=up");
}

static void on_qmgr_down(struct sm_peer *p, void *arg SM_UNUSED)
{
	sm_log(SM_NOTICE, "ss.peer", "peer=qmgr stat=down why=%s", sm_peer_why(p));
}

static void on_smar_down(struct sm_peer *p, void *arg SM_UNUSED)
{
	sm_log(SM_NOTICE, "ss.peer", "peer=smar stat=down why=%s", sm_peer_why(p));
}

static int read_certs(struct ss *ss, struct sm_str body)
{
	struct sm_msg_certs_reload m;
	struct sm_arena none;
	int err;

	sm_arena_init(&none, "reload", 64, 1024);
	err = sm_msg_certs_reload_decode(body, &none, &m);
	sm_arena_fini(&none);
	if (err == 0)
		ss_tls_reload(ss);
	return err;
}

struct release {
	struct sm_offload_job job;
	struct cdb *cdb;
	struct sm_id segment;
	size_t count;
	struct cdb_span keep[];
};

static int release_job(void *arg)
{
	const struct release *r = arg;

	return cdb_release(r->cdb, r->segment, r->keep, r->count);
}

static void released(int rc, void *arg)
{
	struct release *r = arg;

	if (rc != 0)
		sm_log(rc == SM_E_NOTSUP ? SM_DEBUG : SM_WARN, "ss.release", "content=%I error=%E",
		       r->segment, rc);
	sm_free(r);
}

static bool is_unsealed(const struct ss *ss, struct sm_id segment)
{
	size_t n = cdb_segments_unsealed(ss->cdb, NULL, 0);
	struct sm_id *ids = sm_calloc(n + 1, sizeof(*ids));
	bool is = false;

	(void)cdb_segments_unsealed(ss->cdb, ids, n);
	for (size_t i = 0; i < n; i++)
		is = is || sm_id_eq(ids[i], segment);
	sm_free(ids);
	return is;
}

/* Whoever made the segment: all servers are one user. */
static int release(struct ss *ss, struct sm_str body)
{
	struct sm_msg_content_keep m;
	struct sm_arena a;
	int err;

	sm_arena_init(&a, "content_keep", 4096, SM_FRAME_MAX);
	err = sm_msg_content_keep_decode(body, &a, &m);
	if (err == 0 && (!cdb_is_segment(m.content) || is_unsealed(ss, m.content)))
		err = sm_fail(SM_E_PROTO, "no sealed segment");
	if (err == 0) {
		struct release *r = sm_malloc(sizeof(*r) + m.keep_count * sizeof(r->keep[0]));

		r->cdb = ss->cdb;
		r->segment = m.content;
		r->count = m.keep_count;
		for (size_t i = 0; i < r->count; i++)
			r->keep[i] = (struct cdb_span){m.keep[i].offset, m.keep[i].size};
		sm_offload_async(&r->job, release_job, released, r);
	}
	sm_arena_fini(&a);
	return err;
}

static int on_qmgr_frame(struct sm_peer *p SM_UNUSED, const struct sm_frame *f, void *arg)
{
	struct ss *ss = arg;
	struct sm_msg_credit m;
	struct sm_arena none;
	int err;

	if (f->type == SM_MSG_certs_reload)
		return read_certs(ss, f->body);
	if (f->type == SM_MSG_content_keep)
		return release(ss, f->body);
	if (f->type != SM_MSG_credit)
		return sm_fail(SM_E_PROTO, "message of type %u from qmgr", f->type);
	sm_arena_init(&none, "credit", 64, 1024);
	err = sm_msg_credit_decode(f->body, &none, &m);
	sm_arena_fini(&none);
	if (err != 0)
		return err;
	if (m.code != ss->credit.code)
		sm_log(SM_NOTICE, "ss.credit",
		       "code=%u text=%S sessions=%u transactions=%u rcpts=%u", m.code, m.text,
		       m.max_sessions, m.max_transactions, m.max_rcpts);
	ss->credit.max_sessions = m.max_sessions;
	ss->credit.max_transactions = m.max_transactions;
	ss->credit.max_rcpts = m.max_rcpts;
	/* A refusal for now; anything else would be a refusal for good of mail that nobody has
	 * looked at. */
	ss->credit.code = m.code >= 400 && m.code < 500 ? m.code : m.code != 0 ? 451 : 0;
	sm_str_cut(m.text, ss->credit.text, sizeof(ss->credit.text));
	ss_pressure_waiting(ss, m.waiting);
	return 0;
}

void ss_peers_open(struct ss *ss, const char *qmgr_path, const char *smar_path,
                   const struct ss_peer_users *users)
{
	struct sm_link_conf qmgr = {.path = qmgr_path,
	                            .role = SM_ROLE_QMGR,
	                            .uids = users->qmgr.v,
	                            .uid_count = users->qmgr.count,
	                            .on_up = on_qmgr_up,
	                            .on_down = on_qmgr_down,
	                            .on_frame = on_qmgr_frame,
	                            .arg = ss};
	struct sm_link_conf smar = {.path = smar_path,
	                            .role = SM_ROLE_SMAR,
	                            .uids = users->smar.v,
	                            .uid_count = users->smar.count,
	                            .on_up = on_smar_up,
	                            .on_down = on_smar_down,
	                            .arg = ss};

	/* Until qmgr has said what it allows, our own limits rule. */
	ss->credit = (struct ss_credit){UINT32_MAX, UINT32_MAX, UINT32_MAX, 0, ""};
	ss->qmgr = sm_link_open(&qmgr);
	ss->smar = sm_link_open(&smar);
}

void ss_peers_close(struct ss *ss)
{
	sm_link_free(&ss->qmgr);
	sm_link_free(&ss->smar);
}

bool ss_peers_id(struct ss *ss, struct sm_id *id)
{
	uint64_t counter;
	bool ok = ss_idblock_take(&ss->ids, &counter);
	struct sm_peer *qmgr = sm_link_peer(ss->qmgr);

	if (qmgr != NULL && ss_idblock_wants(&ss->ids)) {
		struct sm_msg_id_block_get m = {0};
		sm_call(&ss->ids_call, qmgr, SM_MSG_id_block_get, &m,
		        sm_loop_now_ms() + IDS_TIMEOUT_MS, on_block, ss);
	}
	if (ok)
		*id = (struct sm_id){.counter = counter, .proc = ss->proc};
	return ok;
}

/* Without a link there is nothing to say: what the next ss_start does not name is sealed. */
void ss_peers_sealed(struct ss *ss, struct sm_id segment)
{
	struct sm_msg_content_sealed m = {.content = segment};
	struct sm_peer *qmgr = sm_link_peer(ss->qmgr);

	if (qmgr != NULL)
		sm_peer_send(qmgr, SM_MSG_content_sealed, &m);
}

void ss_peers_session_gone(struct ss *ss, struct sm_id id)
{
	struct sm_msg_sess_close m = {.sess = id};
	struct sm_peer *qmgr = sm_link_peer(ss->qmgr);

	if (qmgr != NULL)
		sm_peer_send(qmgr, SM_MSG_sess_close, &m);
}
