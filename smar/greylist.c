/*
 * Requests for the greylist, and who works on them.
 *
 * At most one job works on the databases (open, a batch, a purge), beside it at most one
 * checkpoint. Invariant: a request is in `queue`, in `batch`, or answered; one whose client has
 * stopped waiting is freed when it is answered. Thread: the loop's, but for the functions of jobs
 * (job_*), which touch only `batch`, its requests and the database.
 */
#include "smar/greylist.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/offload.h"
#include "libsm/sync.h"
#include "smar/grey_db.h"

enum {
	BATCH_MAX = 64,
	PURGE_STEP = 200,
	RETRY_MS = 60 * 1000,
	FORGET_MS = 2 * 60 * 60 * 1000, /* a failure: longer than all retries */
	PURGE_AGAIN_MS = 5 * 1000       /* when nothing was expired */
};

static const char unusable[] = "nobody is greylisted until it can be used";

enum outcome { REFUSED, CONFIRMED, ACCEPTED, UNCHECKED };

/* Of a client, or of an operator. */
struct request {
	struct sm_list link;
	struct ar_greylist_walk *walk; /* a copy; NULL: of a client */
	struct ar_grey_key key;
	struct sm_cond cond;
	bool dry; /* nobody was here: tell, and write nothing down */
	bool done, abandoned;
	int rc; /* of a walk */
	enum outcome outcome;
};

struct batch {
	struct ar_grey_db *db;
	struct ar_grey_conf conf;
	size_t count;
	struct request *v[BATCH_MAX];
	bool anew; /* open: nothing of it is of use */
	unsigned purged;
	bool checkpoint_due;
};

struct ar_greylist {
	const struct ar *ar;
	struct ar_grey_db *db; /* NULL: not open */
	bool broken;           /* close and open it again */
	int64_t retry_ms;      /* not before that */
	int64_t failed_ms;     /* the last time */
	unsigned failures;     /* in a row */
	unsigned corruptions;  /* ... that were not for want of room or rights */
	struct sm_list queue;
	struct sm_offload_job job, checkpoint_job;
	bool busy, checkpointing;
	bool purged_last; /* batches and purges take turns */
	int64_t purge_ms; /* not before that */
	struct batch batch;
	struct ar_greylist_stats stats;
};

/* ---- what helpers do ---- */

static int job_open(void *arg)
{
	struct batch *b = &((struct ar_greylist *)arg)->batch;

	ar_grey_db_close(&b->db);
	return ar_grey_db_open(&b->conf, b->anew, &b->db);
}

static int do_check(struct batch *b, struct request *q, int64_t now_s)
{
	struct ar_grey_entry e;
	bool accept, write, was_white;
	int rc = ar_grey_db_get(b->db, &q->key, &e);
	unsigned purged = 0;

	if (rc != 0)
		return rc;
	was_white = e.state == AR_GREY_WHITE;
	if (!q->dry && e.state == AR_GREY_UNKNOWN &&
	    ar_grey_db_count(b->db) >= (uint64_t)b->conf.max_entries)
		rc = ar_grey_db_purge(b->db, INT64_MAX, 1, &purged);
	accept = ar_grey_decide(&e, now_s, &b->conf, &write);
	if (rc == 0 && write && !q->dry)
		rc = ar_grey_db_put(b->db, &q->key, &e);
	q->outcome = !accept ? REFUSED : was_white ? ACCEPTED : CONFIRMED;
	return rc;
}

static bool take_row(void *arg, const struct ar_grey_key *key, const struct ar_grey_entry *e)
{
	struct ar_greylist_walk *w = arg;

	if (w->count == AR_GREYLIST_WALK_MAX) {
		w->more = true;
		return false;
	}
	w->rows[w->count++] = (struct ar_greylist_row){*key, *e};
	return true;
}

static int do_walk(struct batch *b, struct ar_greylist_walk *w, int64_t now_s)
{
	w->count = 0;
	w->more = false;
	w->shift_s = sm_wall_s() - now_s;
	return ar_grey_db_walk(b->db, &w->net, w->bits, &w->after, w->remove, take_row, w);
}

static int job_batch(void *arg)
{
	struct batch *b = &((struct ar_greylist *)arg)->batch;
	int64_t now_s = ar_grey_db_now(b->db, sm_now_ms());
	int rc = ar_grey_db_begin(b->db);

	for (size_t i = 0; i < b->count && rc == 0; i++)
		rc = b->v[i]->walk != NULL ? do_walk(b, b->v[i]->walk, now_s)
		                           : do_check(b, b->v[i], now_s);
	if (rc == 0)
		rc = ar_grey_db_commit(b->db, sm_now_ms(), sm_wall_s());
	b->checkpoint_due = rc == 0 && ar_grey_db_checkpoint_due(b->db);
	return rc;
}

static int job_purge(void *arg)
{
	struct batch *b = &((struct ar_greylist *)arg)->batch;
	int rc = ar_grey_db_begin(b->db);

	if (rc == 0)
		rc = ar_grey_db_purge(b->db, ar_grey_db_now(b->db, sm_now_ms()), PURGE_STEP,
		                      &b->purged);
	if (rc == 0)
		rc = ar_grey_db_commit(b->db, sm_now_ms(), sm_wall_s());
	b->checkpoint_due = rc == 0 && ar_grey_db_checkpoint_due(b->db);
	return rc;
}

static int job_checkpoint(void *arg)
{
	/* It is neither closed nor opened meanwhile. */
	return ar_grey_db_checkpoint(((struct ar_greylist *)arg)->db);
}

/* ---- answers ---- */

static void free_request(struct request *q)
{
	sm_free(q->walk);
	sm_free(q);
}

static void answer(struct ar_greylist *g, struct request *q, int rc)
{
	q->rc = rc;
	if (rc != 0)
		q->outcome = UNCHECKED;
	if (q->walk == NULL && !q->dry) {
		g->stats.refused += q->outcome == REFUSED;
		g->stats.confirmed += q->outcome == CONFIRMED;
		g->stats.accepted += q->outcome == ACCEPTED;
		g->stats.unchecked += q->outcome == UNCHECKED;
	}
	q->done = true;
	if (q->abandoned)
		free_request(q);
	else
		sm_cond_signal(&q->cond);
}

static void answer_queue(struct ar_greylist *g, int rc)
{
	struct sm_list now = SM_LIST_INIT(now);
	struct sm_list *l;

	sm_list_splice(&now, &g->queue);
	while ((l = sm_list_shift(&now)) != NULL)
		answer(g, SM_LIST_ENTRY(l, struct request, link), rc);
}

/* ---- one job after the other ---- */

static void go_on(struct ar_greylist *g);

static void fail(struct ar_greylist *g, int rc, const char *why)
{
	int64_t now_ms = sm_now_ms();

	bool corrupt = rc == SM_E_CORRUPT, once;

	g->broken = true;
	g->stats.usable = false;
	if (now_ms - g->failed_ms > FORGET_MS)
		g->failures = g->corruptions = 0;
	g->failed_ms = now_ms;
	g->failures++;
	g->corruptions += corrupt;
	/* Once is an accident: opening it again recovers it. Twice: begin anew. Then wait, as for a
	 * full disk at once, longer each time: the library does not give back all memory of what
	 * has failed. */
	once = corrupt && g->failures <= 2;
	g->batch.anew = corrupt && g->corruptions > 1;
	if (!once)
		g->retry_ms = now_ms + (RETRY_MS << SM_MIN(g->failures - 1, 5U));
	sm_log(SM_ERROR, "ar.grey", "error=%s hint=%?S", why, sm_str(once ? "" : unusable));
}

static void opened(int rc, void *arg)
{
	struct ar_greylist *g = arg;
	const char *renewed;

	g->busy = false;
	g->db = g->batch.db;
	g->broken = g->batch.anew = false;
	g->stats.usable = rc == 0;
	if (rc != 0) {
		sm_log(SM_ERROR, "ar.grey", "error=%s hint=%s", g->job.diag, unusable);
		g->retry_ms = sm_now_ms() + RETRY_MS;
		answer_queue(g, SM_E_BUSY);
		return;
	}
	renewed = ar_grey_db_renewed(g->db);
	if (renewed != NULL)
		sm_log(SM_ERROR, "ar.grey", "error=%s hint=%s", renewed,
		       "it was of no use: begun anew");
	g->stats.entries = ar_grey_db_count(g->db);
	sm_log(SM_NOTICE, "ar.grey", "dir=%S entries=%llu", g->ar->conf->greylisting.directory,
	       (unsigned long long)g->stats.entries);
	go_on(g);
}

static void checkpointed(int rc, void *arg)
{
	struct ar_greylist *g = arg;

	g->checkpointing = false;
	if (rc != 0)
		fail(g, rc, g->checkpoint_job.diag);
	go_on(g);
}

/* What follows a batch or a purge. */
static void worked(struct ar_greylist *g, int rc)
{
	g->busy = false;
	if (rc != 0) {
		fail(g, rc, g->job.diag);
		return;
	}
	g->stats.entries = ar_grey_db_count(g->db);
	if (g->batch.checkpoint_due && !g->checkpointing) {
		g->checkpointing = true;
		sm_offload_async(&g->checkpoint_job, job_checkpoint, checkpointed, g);
	}
}

static void batch_done(int rc, void *arg)
{
	struct ar_greylist *g = arg;

	g->purged_last = false;
	/* Busy until all are answered: an answer may bring the next request. */
	for (size_t i = 0; i < g->batch.count; i++)
		answer(g, g->batch.v[i], rc);
	g->batch.count = 0;
	worked(g, rc);
	go_on(g);
}

static void purge_done(int rc, void *arg)
{
	struct ar_greylist *g = arg;

	g->purged_last = true;
	if (rc == 0 && g->batch.purged < PURGE_STEP)
		g->purge_ms = sm_now_ms() + PURGE_AGAIN_MS;
	worked(g, rc);
	go_on(g);
}

static bool purge_due(const struct ar_greylist *g)
{
	return g->stats.entries > (uint64_t)g->ar->conf->greylisting.expire_limit &&
	       sm_now_ms() >= g->purge_ms && !(g->purged_last && !sm_list_empty(&g->queue));
}

static void go_on(struct ar_greylist *g)
{
	struct sm_list *l;

	if (g->busy)
		return;
	g->batch.conf = g->ar->conf->greylisting;
	g->batch.db = g->db;
	if (g->db == NULL || g->broken) {
		if (g->checkpointing)
			return;
		if (sm_now_ms() < g->retry_ms) {
			answer_queue(g, SM_E_BUSY);
			return;
		}
		g->busy = true;
		sm_offload_async(&g->job, job_open, opened, g);
		return;
	}
	if (purge_due(g)) {
		g->busy = true;
		sm_offload_async(&g->job, job_purge, purge_done, g);
		return;
	}
	while (g->batch.count < BATCH_MAX && (l = sm_list_shift(&g->queue)) != NULL)
		g->batch.v[g->batch.count++] = SM_LIST_ENTRY(l, struct request, link);
	if (g->batch.count == 0)
		return;
	g->busy = true;
	sm_offload_async(&g->job, job_batch, batch_done, g);
}

/* ---- what others call ---- */

/* A listener wants it; the configuration of this process, which it keeps, has none. */
static void tell_there_is_none(void)
{
	static bool told;

	if (!told)
		sm_log(SM_WARN, "ar.grey", "trouble=%s hint=%s",
		       "a listener has the flag greylisting, but there is no greylist",
		       "without a section greylisting in smar nobody is greylisted");
	told = true;
}

/* Wait for the answer of `q`, which goes on alone when that does not come in time. 0: there is one.
 */
static int wait_for(struct ar_greylist *g, struct request *q, int64_t deadline_ms)
{
	int rc = 0;

	sm_cond_init(&q->cond);
	sm_list_push(&g->queue, &q->link);
	go_on(g);
	while (!q->done && rc == 0)
		rc = sm_cond_wait(&q->cond, "greylist", deadline_ms);
	q->abandoned = !q->done;
	return q->done ? 0 : rc;
}

int ar_greylist_check(struct ar_greylist *g, const struct ar_ctx *ctx, const struct sm_sa *client,
                      bool *accept)
{
	const struct ar_grey_conf *conf;
	struct ar_grey_key key;
	struct request *q;

	*accept = true;
	if (g == NULL) {
		tell_there_is_none();
		return 0;
	}
	conf = &g->ar->conf->greylisting;
	ar_grey_key_of(client, (unsigned)ar_grey_netmask_bits(conf->netmask),
	               (unsigned)conf->netmask6, &key);
	if (key.n == 0)
		return 0;
	if (!ctx->may_wait)
		return SM_E_AGAIN;
	q = sm_calloc(1, sizeof(*q));
	q->key = key;
	q->dry = ctx->dry != NULL;
	if (wait_for(g, q, ctx->deadline_ms) != 0) {
		sm_log(SM_WARN, "ar.grey", "client=%A trouble=%s", client,
		       "no answer in time: not greylisted");
		return 0;
	}
	*accept = q->outcome != REFUSED;
	free_request(q);
	return 0;
}

int ar_greylist_walk(struct ar_greylist *g, struct ar_greylist_walk *w)
{
	struct request *q = sm_calloc(1, sizeof(*q));
	int rc;

	q->walk = sm_malloc(sizeof(*w));
	*q->walk = *w;
	rc = wait_for(g, q, SM_NEVER);
	if (rc != 0)
		return rc;
	*w = *q->walk;
	rc = q->rc;
	free_request(q);
	return rc;
}

struct ar_greylist_stats ar_greylist_stats(const struct ar_greylist *g)
{
	return g != NULL ? g->stats : (struct ar_greylist_stats){0};
}

/* ---- life ---- */

int ar_greylist_try(const struct ar_grey_conf *conf)
{
	char dir[AR_PATH_BYTES];
	int rc = sm_str_copy(conf->directory, dir, sizeof(dir));

	if (rc == 0 && faccessat(AT_FDCWD, dir, R_OK | W_OK | X_OK, AT_EACCESS) != 0)
		rc = sm_fail_sys(errno, "%s", dir);
	return rc != 0 ? sm_fail_in(rc, "greylisting.directory") : 0;
}

struct ar_greylist *ar_greylist_new(const struct ar *ar)
{
	struct ar_greylist *g = sm_calloc(1, sizeof(*g));

	g->ar = ar;
	sm_list_init(&g->queue);
	go_on(g);
	return g;
}

void ar_greylist_free(struct ar_greylist **gp)
{
	struct ar_greylist *g = *gp;
	struct sm_list *l;

	*gp = NULL;
	if (g == NULL)
		return;
	/* Helpers have ended, their answers did not come. */
	while ((l = sm_list_shift(&g->queue)) != NULL)
		free_request(SM_LIST_ENTRY(l, struct request, link));
	for (size_t i = 0; i < g->batch.count; i++)
		free_request(g->batch.v[i]);
	if (g->busy)
		g->db = g->batch.db;
	ar_grey_db_close(&g->db);
	sm_free(g);
}
