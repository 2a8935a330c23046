/*
 * Removal of content that nobody needs any more, in helper threads and in batches; the search for
 * orphans; and now and then a look at segments that mail keeps which has to wait.
 *
 * An orphan is content that no transaction uses and that its smtps has given up: a crash left it
 * between DATA and commit. A file is removed only when its holder told this qmgr what it still has
 * open (incoming.c decides). Content that is older than the logs is kept; a segment also when
 * transactions use it and when the last one has ended, because only who can read it knows what else
 * is in it.
 */
#include "qmgr/qm.h"

#include <stdio.h>
#include <stdlib.h>
#include "libsm/offload.h"
#include "libsm/time.h"

#define BATCH    128
#define SOON_MS  1000
#define PIECE    4096  /* contents looked up in a turn */
#define AGAIN_MS 10000 /* before what could not be removed is tried again */
#define RELEASES 32    /* segments in a second: each is work for a helper that mail waits for */
#define REST_MS  30000 /* a sealed segment that is there for so long holds mail that waits */

#define KEPT_MAX 50000 /* ids of contents that are kept, for who asks */

struct batch {
	struct sm_list link;
	struct sm_offload_job job;
	struct sm_timer again;
	struct qm *q;
	struct cdb *cdb;
	size_t count, failed; /* the failed ones come first after the job */
	struct sm_id ids[BATCH];
	char why[SM_DIAG_MAX];
};

struct search {
	struct sm_offload_job job;
	struct qm *q;
	struct cdb *cdb;
	struct sm_id *v;
	size_t count, cap, strange;
	size_t at, orphans, kept; /* looked up so far; what they were */
	struct sm_id *kept_ids;
};

struct qm_content {
	struct sm_hook hook;
	struct batch *gathering;
	struct sm_list batches; /* being removed */
	unsigned running;
	struct sm_timer timer;    /* next search */
	struct sm_timer release;  /* next look at segments that rest */
	size_t kept;              /* contents that the last search would not call orphans */
	struct sm_id *kept_ids;   /* the first KEPT_MAX of them; NULL: no search has ended */
	struct search *searching; /* NULL: none */
};

static int unlink_job(void *arg)
{
	struct batch *b = arg;

	b->failed = 0;
	for (size_t i = 0; i < b->count; i++) {
		if (cdb_unlink(b->cdb, b->ids[i]) == 0)
			continue;
		if (b->failed == 0)
			snprintf(b->why, sizeof(b->why), "%s", sm_diag());
		b->ids[b->failed++] = b->ids[i];
	}
	return 0;
}

static void send_batch(struct batch *b);

static void try_again(void *arg)
{
	send_batch(arg);
}

static void unlinked(int rc, void *arg)
{
	struct batch *b = arg;

	(void)rc;
	if (b->failed)
		sm_log(SM_ERROR, "qm.unlink", "failed=%zu of=%zu diag=%s", b->failed, b->count,
		       b->why);
	b->q->content->running--;
	if (b->failed > 0) {
		/* A directory that cannot be written now. A restart would find them as orphans,
		 * too. */
		b->count = b->failed;
		sm_timer_set(&b->again, sm_loop_now_ms() + AGAIN_MS, try_again, b);
		return;
	}
	sm_list_remove(&b->link);
	sm_free(b);
}

static void send_batch(struct batch *b)
{
	b->q->content->running++;
	sm_offload_async(&b->job, unlink_job, unlinked, b);
}

static void send_gathered(struct qm *q)
{
	struct batch *b = q->content->gathering;

	q->content->gathering = NULL;
	sm_list_push(&q->content->batches, &b->link);
	send_batch(b);
}

/* Gather while a batch is being removed, as the journal does: one helper at a time, larger batches
 * under load. */
static bool before_sleep(void *arg)
{
	struct qm *q = arg;

	if (q->content->gathering && q->content->running == 0)
		send_gathered(q);
	return false;
}

/* Is it older than the logs, or than a damage in them? */
static bool is_older(const struct qm *q, struct sm_id id)
{
	return cdb_counter(id) < qm_store_birth(q->store);
}

void qm_content_remove(struct qm *q, struct sm_id id)
{
	struct qm_content *c = q->content;

	if (cdb_is_segment(id) && is_older(q, id))
		return; /* the next search finds it, and keeps it */
	if (c->gathering == NULL) {
		c->gathering = sm_calloc(1, sizeof(*c->gathering));
		sm_list_init(&c->gathering->link);
		c->gathering->q = q;
		c->gathering->cdb = q->cdb;
	}
	c->gathering->ids[c->gathering->count++] = id;
	if (c->gathering->count == BATCH)
		send_gathered(q);
}

/* ---- orphans
 * -------------------------------------------------------------------------------------------------------
 */

static bool found(struct sm_id id, void *arg)
{
	struct search *s = arg;

	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 1024;
		s->v = sm_realloc(s->v, s->cap, sizeof(*s->v));
	}
	s->v[s->count++] = id;
	return true;
}

static int search_job(void *arg)
{
	struct search *s = arg;

	return cdb_list(s->cdb, found, s, &s->strange);
}

static bool in_use(const struct qm *q, struct sm_id id)
{
	return qm_txn_find(&q->txns, id) || qm_edbc_find(q->edbc, id) || qm_defer_loading(q, id) ||
	       qm_content_known(&q->txns.contents, id);
}

/* Mail of before the logs, or what is left of it: an operator has to say that it is not needed. Of
 * a file that is known to be in use all is known. */
static bool may_hold_lost(const struct qm *q, struct sm_id id)
{
	return is_older(q, id) && (cdb_is_segment(id) || !in_use(q, id));
}

static void tell_kept(struct qm *q, size_t kept)
{
	if (kept == q->content->kept)
		return;
	q->content->kept = kept;
	sm_log(kept > 0 ? SM_CRIT : SM_NOTICE, "qm.orphans_kept", "contents=%zu hint=%s", kept,
	       kept > 0 ? "mail that the logs do not know may be in them; see rcvrenvfromlog.sh(8)"
	                : "");
}

static void search_later(struct qm *q);

static void search_end(struct qm *q)
{
	sm_free(q->content->searching->kept_ids);
	sm_free(q->content->searching->v);
	SM_FREE(q->content->searching);
}

/* A piece a turn: a million contents must not hold up the mail. */
static void judge(void *arg)
{
	struct qm *q = arg;
	struct search *s = q->content->searching;

	for (size_t n = 0; n < PIECE && s->at < s->count; n++) {
		struct sm_id id = s->v[s->at++];

		if (!qm_incoming_abandoned(q, id))
			continue;
		if (may_hold_lost(q, id)) {
			if (s->kept < KEPT_MAX)
				s->kept_ids[s->kept] = id;
			s->kept++;
			continue;
		}
		if (in_use(q, id))
			continue;
		sm_log(SM_NOTICE, "qm.orphan", "content=%I", id);
		qm_content_remove(q, id);
		s->orphans++;
	}
	if (s->at < s->count) {
		sm_timer_set(&q->content->timer, sm_loop_now_ms() + 1, judge, q);
		return;
	}
	q->stats.orphans += s->orphans;
	tell_kept(q, s->kept);
	sm_free(q->content->kept_ids);
	q->content->kept_ids = s->kept_ids;
	s->kept_ids = NULL;
	search_end(q);
	search_later(q);
}

static void searched(int rc, void *arg)
{
	struct search *s = arg;
	struct qm *q = s->q;

	if (rc != 0) {
		sm_log(SM_ERROR, "qm.orphans", "error=%s diag=%s", sm_strerr(rc), s->job.diag);
		search_end(q);
		search_later(q);
		return;
	}
	s->kept_ids = sm_calloc(SM_MIN(s->count, (size_t)KEPT_MAX) + 1, sizeof(*s->kept_ids));
	if (s->strange)
		sm_log(SM_WARN, "qm.orphans", "strange_names=%zu", s->strange);
	judge(q);
}

static void search(void *arg)
{
	struct qm *q = arg;
	struct search *s;

	if (q->stopping)
		return;
	s = q->content->searching = sm_calloc(1, sizeof(*s));
	s->q = q;
	s->cdb = q->cdb;
	sm_offload_async(&s->job, search_job, searched, s);
}

void qm_content_search_soon(struct qm *q)
{
	/* One under way: it may have passed what is an orphan only now; the next one is not far. */
	if (q->content->searching == NULL)
		sm_timer_set(&q->content->timer, sm_loop_now_ms() + SOON_MS, search, q);
}

static void search_later(struct qm *q)
{
	sm_timer_set(&q->content->timer, sm_loop_now_ms() + q->conf->orphan_delay_ms, search, q);
}

size_t qm_content_kept(const struct qm *q)
{
	return q->content->kept;
}

int qm_content_kept_next(const struct qm *q, size_t *at, struct sm_id *id)
{
	const struct qm_content *c = q->content;

	if (c->kept_ids == NULL)
		return SM_E_AGAIN;
	while (*at < SM_MIN(c->kept, (size_t)KEPT_MAX)) {
		*id = c->kept_ids[(*at)++];
		if (may_hold_lost(q, *id))
			return 0;
	}
	return SM_E_EOF;
}

void qm_content_release(struct qm *q)
{
	qm_store_set_birth(q->store, 0);
	qm_content_search_soon(q);
}

struct survey {
	const struct qm *q;
	uint64_t next_counter;
	size_t count;
};

static bool surveyed(struct sm_id id, void *arg)
{
	struct survey *s = arg;

	s->next_counter = SM_MAX(s->next_counter, cdb_counter(id) + 1);
	s->count += cdb_is_segment(id) || !in_use(s->q, id);
	return true;
}

/* Blocks: only for a start after a loss, when nobody is served yet. */
static int survey(struct qm *q, struct qm_recovered *found)
{
	struct survey s = {.q = q, .next_counter = qm_store_birth(q->store)};
	int err = cdb_list(q->cdb, surveyed, &s, NULL);

	if (err != 0)
		return sm_fail_in(err, "contents that the logs do not know");
	if (s.next_counter > qm_store_birth(q->store)) {
		/* A clock that went back: those are older all the same. */
		found->next_counter = s.next_counter;
		qm_store_set_birth(q->store, s.next_counter);
	}
	tell_kept(q, s.count);
	return 0;
}

/* ---- room in segments ---- */

/* Not of one that has to be kept: what nobody needs there may be mail that the logs have lost. */
static bool give_back(void *arg, struct sm_id segment, const struct cdb_span *keep, size_t count)
{
	return !is_older(arg, segment) && qm_incoming_keep(arg, segment, keep, count);
}

static void look_again(void *arg)
{
	qm_content_look(arg);
}

void qm_content_look(struct qm *q)
{
	bool more;

	qm_incoming_look(q);
	more = qm_contents_release(&q->txns.contents, RELEASES, give_back, q);
	sm_timer_set(&q->content->release, sm_loop_now_ms() + (more ? SOON_MS : REST_MS),
	             look_again, q);
}

int qm_content_open(struct qm *q, struct qm_recovered *found)
{
	q->content = sm_calloc(1, sizeof(*q->content));
	sm_list_init(&q->content->batches);
	sm_loop_before_sleep(&q->content->hook, before_sleep, q);
	search_later(q);
	sm_timer_set(&q->content->release, sm_loop_now_ms() + REST_MS, look_again, q);
	return found->incomplete ? survey(q, found) : 0;
}

/* The helpers have ended: what still waits to be removed is removed here. */
void qm_content_close(struct qm *q)
{
	struct qm_content *c = q->content;

	if (c == NULL)
		return;
	sm_hook_remove(&c->hook);
	sm_timer_cancel(&c->timer);
	sm_timer_cancel(&c->release);
	if (c->gathering)
		(void)unlink_job(c->gathering);
	sm_free(c->gathering);
	SM_LIST_FOR_SAFE (b, &c->batches, struct batch, link) {
		sm_timer_cancel(&b->again);
		sm_free(b);
	}
	if (c->searching)
		search_end(q);
	sm_free(c->kept_ids);
	SM_FREE(q->content);
}
