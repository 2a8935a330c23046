/*
 * Segments: contents of many transactions in one file, made durable by one sync for all that have
 * gathered while the sync before ran. A disk that is slow to sync holds nobody up for long: then
 * batches overlap.
 *
 * What comes goes into one segment at a time. It begins when much comes, and ends when it is full,
 * when nothing has come for a moment, or with the first failure. So what comes one by one costs
 * what a file costs, and neither qmgr nor the disk has a segment for each. Invariants: a batch
 * begins on a block of its own, so nothing durable is ever written again; the first of a segment,
 * which makes the file, runs alone in it; those that overlap have open files of their own, because
 * the kernel tells each open file of a failed write once, whoever asks; a segment is `sealed` when
 * it is written no more and nobody has a content in it that qmgr may still be asked to take: then,
 * and not before, qmgr may remove it. Loop thread, but for batch_job.
 */
#include "libcdb/cdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "libsm/crc32c.h"
#include "libsm/offload.h"
#include "libsm/pace.h"

#define BATCH_MAX   256
#define BATCH_BYTES ((uint64_t)4 * 1024 * 1024)
#define BATCHES     4 /* that may run at a time */
#define SLOW_MS     2 /* a batch that runs so long does not hold the next one */
#define IDLE_MS     250

struct segment {
	struct sm_list link;
	struct sm_id id;
	struct cdb_file f;
	uint64_t end;       /* of what is durable, or about to be */
	unsigned batches;   /* that run */
	unsigned in_flight; /* contents that were committed here, and not handed over yet */
	bool open;          /* more may come */
	bool durable;       /* its name, and something in it */
};

/* Who waits for a commit, on the stack of its coroutine. */
struct waiting {
	struct sm_list link;
	struct sm_co *co;
	const struct cdb_segment_entry *entry;
	char head[CDB_ENTRY_BYTES];
	struct cdb_place place; /* of the content; its head is before it */
	int rc;
	bool done;
	char diag[SM_DIAG_MAX];
};

/* Contents that one job writes and syncs. */
struct batch {
	struct cdb_segments *g;
	struct segment *seg; /* NULL: it does not run */
	bool beside;         /* others run in the same segment */
	struct sm_offload_job job;
	uint64_t start; /* in the segment */
	size_t count;
	struct waiting *of[BATCH_MAX];
	struct iovec iov[BATCH_MAX * (3 + CDB_BUFFERS)];
};

struct cdb_segments {
	struct cdb *s;
	struct sm_hook hook;
	struct sm_timer idle, slow;
	struct sm_list all; /* segments that are not sealed */
	struct sm_list waiting;
	struct sm_pace pace;     /* of contents that are small enough */
	struct segment *current; /* NULL: none */
	int64_t begun_ms;        /* the youngest batch */
	unsigned running;
	struct batch batches[BATCHES];
};

static const char zeros[CDB_ENTRY_ALIGN];

/* ---- helper thread ---- */

static uint32_t checksum(const struct cdb_segment_entry *e)
{
	uint32_t crc = 0;

	for (int i = 0; i < e->count; i++)
		crc = sm_crc32c(crc, e->v[i].iov_base, e->v[i].iov_len);
	return crc;
}

/* Heads, contents, and zeros up to where the next head may be. */
static int gather(struct batch *b)
{
	int n = 0;

	for (size_t i = 0; i < b->count; i++) {
		struct waiting *w = b->of[i];
		size_t pad =
		    (size_t)(cdb_entry_end(w->place.size) - CDB_ENTRY_BYTES - w->place.size);

		cdb_entry_put(&(struct cdb_entry){.id = w->entry->id,
		                                  .size = w->place.size,
		                                  .crc = checksum(w->entry)},
		              w->head);
		b->iov[n++] = (struct iovec){w->head, sizeof(w->head)};
		memcpy(b->iov + n, w->entry->v, (size_t)w->entry->count * sizeof(*b->iov));
		n += w->entry->count;
		b->iov[n++] = (struct iovec){(void *)(uintptr_t)zeros, pad};
	}
	return n;
}

static int write_and_sync(struct batch *b, struct cdb_file *f)
{
	int n = gather(b);
	int rc = cdb_file_write(f, b->iov, n, b->start);

	return rc == 0 ? cdb_file_sync(f) : rc;
}

static int batch_job(void *arg)
{
	struct batch *b = arg;
	struct cdb_file *f = &b->seg->f, own;
	int rc = 0;

	if (b->beside) {
		rc = cdb_file_again(&own, f);
		if (rc == 0) {
			rc = write_and_sync(b, &own);
			close(own.fd); /* all that counts is synced */
		}
		return rc;
	}
	if (b->start == 0)
		rc = cdb_file_create(f);
	if (rc == 0)
		rc = write_and_sync(b, f);
	/* What is durable in it stays; a file without any such content goes at once. */
	return rc != 0 && b->start == 0 ? cdb_file_give_up(f, rc) : rc;
}

/* ---- a segment's life ---- */

static struct segment *begin_segment(struct cdb_segments *g)
{
	struct sm_id id;
	struct segment *seg;

	if (!g->s->conf.new_id(g->s->conf.arg, &id))
		return NULL;
	id.counter |= CDB_SEGMENT_BIT;
	seg = sm_calloc(1, sizeof(*seg));
	seg->id = id;
	seg->open = true;
	cdb_file_init(&seg->f, g->s, id);
	sm_list_push(&g->all, &seg->link);
	return seg;
}

static void free_segment(struct segment *seg)
{
	if (seg->f.fd != -1)
		close(seg->f.fd);
	sm_list_remove(&seg->link);
	sm_free(seg);
}

static struct segment *find(struct cdb_segments *g, struct sm_id id)
{
	SM_LIST_FOR (seg, &g->all, struct segment, link)
		if (sm_id_eq(seg->id, id))
			return seg;
	return NULL;
}

static void seal_if_over(struct cdb_segments *g, struct segment *seg)
{
	struct sm_id id = seg->id;

	if (seg->open || seg->batches > 0 || seg->in_flight > 0)
		return;
	free_segment(seg);
	g->s->conf.sealed(g->s->conf.arg, id);
}

/* Nothing more goes into it. */
static void end_segment(struct cdb_segments *g, struct segment *seg)
{
	if (g->current == seg)
		g->current = NULL;
	seg->open = false;
	seal_if_over(g, seg);
}

static void on_idle(void *arg)
{
	struct cdb_segments *g = arg;

	if (g->running == 0 && g->current != NULL)
		end_segment(g, g->current);
}

/* ---- batches ---- */

static void finish(struct waiting *w, int rc)
{
	w->rc = rc;
	w->done = true;
	if (rc != 0)
		memcpy(w->diag, sm_diag(), strlen(sm_diag()) + 1);
	sm_co_wake(w->co);
}

static void batch_done(int rc, void *arg)
{
	struct batch *b = arg;
	struct cdb_segments *g = b->g;
	struct segment *seg = b->seg;

	b->seg = NULL;
	g->running--;
	seg->batches--;
	if (rc == 0) {
		seg->durable = true;
		seg->in_flight += (unsigned)b->count;
		sm_timer_set(&g->idle, sm_loop_now_ms() + IDLE_MS, on_idle, g);
	}
	for (size_t i = 0; i < b->count; i++)
		finish(b->of[i], rc);
	if (rc != 0)
		end_segment(g, seg);
	/* else: who has a content in it seals it */
}

static bool has_room(const struct cdb_segments *g, uint64_t size)
{
	return g->current->end + cdb_entry_end(size) <= (uint64_t)g->s->conf.segment_bytes;
}

/* The place of each is decided here; the job follows. */
static void fill(struct batch *b, struct segment *seg)
{
	struct cdb_segments *g = b->g;
	struct waiting *w;

	seg->end = (seg->end + CDB_BLOCK - 1) / CDB_BLOCK * CDB_BLOCK;
	b->start = seg->end;
	b->count = 0;
	while ((w = SM_LIST_FIRST(&g->waiting, struct waiting, link)) != NULL &&
	       b->count < BATCH_MAX && seg->end - b->start < BATCH_BYTES &&
	       (seg->end == 0 || has_room(g, w->place.size))) {
		sm_list_remove(&w->link);
		w->place.content = seg->id;
		w->place.offset = (uint32_t)seg->end + CDB_ENTRY_BYTES;
		seg->end += cdb_entry_end(w->place.size);
		b->of[b->count++] = w;
	}
}

static void begin_batch(struct cdb_segments *g)
{
	struct batch *b = g->batches;

	while (b->seg != NULL)
		b++;
	b->g = g;
	b->seg = g->current;
	b->beside = b->seg->batches++ > 0;
	fill(b, b->seg);
	g->running++;
	g->begun_ms = sm_loop_now_ms();
	sm_offload_async(&b->job, batch_job, batch_done, b);
}

/* Without an id for a segment: each has its own, for a file. */
static void let_go(struct cdb_segments *g)
{
	struct sm_list *e;

	while ((e = sm_list_shift(&g->waiting)) != NULL)
		finish(SM_LIST_ENTRY(e, struct waiting, link), SM_E_AGAIN);
}

/* The turn of the loop that it makes looks again. */
static void on_slow(void *arg)
{
	(void)arg;
}

/* Now, or a later turn of the loop comes when it may. */
static bool may_begin(struct cdb_segments *g)
{
	if (g->running == 0)
		return true;
	if (g->running == BATCHES || (g->current != NULL && !g->current->durable))
		return false;
	if (sm_loop_now_ms() - g->begun_ms >= SLOW_MS)
		return true;
	sm_timer_set(&g->slow, g->begun_ms + SLOW_MS, on_slow, g);
	return false;
}

/* All that became ready in this turn go together. */
static bool before_sleep(void *arg)
{
	struct cdb_segments *g = arg;
	const struct waiting *first = SM_LIST_FIRST(&g->waiting, struct waiting, link);

	if (first == NULL || !may_begin(g))
		return false;
	if (g->current != NULL && !has_room(g, first->place.size + CDB_BLOCK))
		end_segment(g, g->current);
	if (g->current == NULL)
		g->current = begin_segment(g);
	if (g->current == NULL) {
		(void)sm_fail(SM_E_AGAIN, "no id for a segment yet");
		let_go(g);
		return true;
	}
	begin_batch(g);
	return false;
}

int cdb_segment_commit(struct cdb *s, const struct cdb_segment_entry *e, struct cdb_place *at)
{
	struct cdb_segments *g = s->segments;
	struct waiting w = {.co = sm_co_self(), .entry = e};
	int64_t now_ms = sm_loop_now_ms();

	sm_pace_add(&g->pace, 1, now_ms);
	if (g->current == NULL && sm_pace(&g->pace, now_ms) < s->conf.segment_pace)
		return SM_E_AGAIN;
	for (int i = 0; i < e->count; i++)
		w.place.size += e->v[i].iov_len;
	sm_list_push(&g->waiting, &w.link);
	while (!w.done)
		sm_co_park_deaf("content commit");
	*at = w.place;
	return w.rc == 0 ? 0 : sm_fail(w.rc, "%s", w.diag);
}

/* ---- for the store's owner ---- */

void cdb_segments_open(struct cdb *s)
{
	struct cdb_segments *g = sm_calloc(1, sizeof(*g));

	g->s = s;
	sm_list_init(&g->all);
	sm_list_init(&g->waiting);
	sm_loop_before_sleep(&g->hook, before_sleep, g);
	s->segments = g;
}

void cdb_segments_close(struct cdb *s)
{
	struct cdb_segments *g = s->segments;

	if (g == NULL)
		return;
	sm_assert(g->running == 0 && sm_list_empty(&g->waiting));
	sm_hook_remove(&g->hook);
	sm_timer_cancel(&g->idle);
	sm_timer_cancel(&g->slow);
	SM_LIST_FOR_SAFE (seg, &g->all, struct segment, link)
		free_segment(seg);
	SM_FREE(s->segments);
}

void cdb_handed_over(struct cdb *s, struct sm_id content)
{
	struct segment *seg;

	if (!cdb_is_segment(content))
		return;
	seg = find(s->segments, content);

	/* A content in flight keeps its segment from being sealed. */
	sm_assert(seg != NULL && seg->in_flight > 0);
	seg->in_flight--;
	seal_if_over(s->segments, seg);
}

size_t cdb_segments_unsealed(const struct cdb *s, struct sm_id *ids, size_t max)
{
	size_t n = 0;

	if (s->segments == NULL)
		return 0;
	SM_LIST_FOR (seg, &s->segments->all, struct segment, link) {
		if (n < max)
			ids[n] = seg->id;
		n++;
	}
	return n;
}
