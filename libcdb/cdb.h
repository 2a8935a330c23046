/*
 * The content store: what was between DATA and the dot, by id. Written by smtps, read by smtpc,
 * removed by qmgr.
 *
 * Content is CRLF lines, not dot-stuffed, our Received: first. A content is on stable storage when
 * cdb_commit has given 0, and not before. How a content is kept on disk is this library's affair
 * (doc/formats.md); callers know ids, offsets and bytes. Blocking work runs in helper threads
 * (offload.h); calls marked SM_YIELDS park the calling coroutine meanwhile. Every error here is a
 * local trouble, whatever its class: towards a client it is a 4xx.
 */
#ifndef CDB_H
#define CDB_H

#include <sys/types.h>
#include "libsm/buf.h"
#include "libsm/co.h"
#include "libsm/id.h"
#include "libsm/priv.h"

enum { CDB_DIRS = 16 };

/*
 * A content is a file of its own, named by the transaction's id, or has a place in a segment: a
 * file for many, with an id of its own that has this bit in its counter. Ids of transactions never
 * have it.
 */
#define CDB_SEGMENT_BIT ((uint64_t)1 << 63)
static inline bool cdb_is_segment(struct sm_id content)
{
	return (content.counter & CDB_SEGMENT_BIT) != 0;
}
/* The counter that the id of a content was made from: tells which came earlier. */
static inline uint64_t cdb_counter(struct sm_id content)
{
	return content.counter & ~CDB_SEGMENT_BIT;
}

/* Where a content is: in which file, from where on, how long. */
struct cdb_place {
	struct sm_id content;
	uint32_t offset;
	uint64_t size;
};
/* A part of a segment: a content, without its head. */
struct cdb_span {
	uint32_t offset, size;
};
/* The segment that it is in; none: it has a file of its own. */
static inline struct sm_id cdb_segment_of(const struct cdb_place *at)
{
	return cdb_is_segment(at->content) ? at->content : (struct sm_id){0};
}

struct cdb; /* an open store: base directory and its 16 directories held open */

enum cdb_sync_dir { CDB_SYNC_DIR_AUTO, CDB_SYNC_DIR_ALWAYS, CDB_SYNC_DIR_NEVER };
struct cdb_conf {
	const char *base; /* "" or a path with a trailing slash */
	gid_t gid;        /* group of new contents, (gid_t)-1: leave */
	enum cdb_sync_dir
	    sync_dir; /* AUTO: by statfs, whether fdatasync of a new file makes its name durable */
	/* Small contents go into segments of about so many bytes; 0: each into a file of its own.
	 * A segment begins when so many contents come in a second: a few would not share it. */
	uint64_t segment_bytes;
	unsigned segment_pace;
	/* With segments, on the loop. An id for a segment, as for a transaction (false: none now);
	 * and: nothing more comes into this one, and all that is in it was handed over. */
	bool (*new_id)(void *arg, struct sm_id *id);
	void (*sealed)(void *arg, struct sm_id segment);
	void *arg;
};
/* Opens the directories once (so that a sandbox may close the paths afterwards). SM_E_* with the
 * path in the diag. */
int cdb_open(const struct cdb_conf *conf, struct cdb **out) SM_MUST_CHECK;
void cdb_close(struct cdb **s);

/* The rules of a sandbox that has these rights (SM_PATH_*) to contents and to nothing beside them.
 * Paths are in `a`. */
void cdb_paths(const char *base, unsigned rights, struct sm_arena *a,
               struct sm_priv_path out[CDB_DIRS]);

/* ---- write ---- */
struct cdb_writer;
/*
 * Begin content `id` (which must be new). `gap` bytes are left free at its front for a header block
 * that is known only at the end; 0: none. Nothing touches the disk until 64 KiB have gathered (with
 * segments 256 KiB) or commit: a small content costs one off-loop job, or shares one.
 */
struct cdb_writer *cdb_write(struct cdb *s, struct sm_id id, size_t gap);
int cdb_append(struct cdb_writer *w, const void *p, size_t n) SM_YIELDS
    SM_MUST_CHECK; /* 0, SM_E_FULL, SM_E_IO, ...: sticky, then abort */
/* Put the final header block right-aligned into the gap; at most `gap` bytes (SM_E_TOOBIG). Before
 * commit, once. */
int cdb_header(struct cdb_writer *w, const void *p, size_t n) SM_YIELDS SM_MUST_CHECK;
/*
 * All on stable storage: 0, and *at, where it is; the writer is gone. Whoever gets that calls
 * cdb_handed_over when it is known whether qmgr has it. On failure the content is removed, the
 * writer is gone, nothing is retried.
 */
int cdb_commit(struct cdb_writer **w, struct cdb_place *at) SM_YIELDS SM_MUST_CHECK;
void cdb_handed_over(struct cdb *s, struct sm_id content);
/* The segments that are not sealed: how many, and the first `max` of their ids. */
size_t cdb_segments_unsealed(const struct cdb *s, struct sm_id *ids, size_t max);
/* Remove it. Never fails: what cannot be removed is found as an orphan later. */
void cdb_abort(struct cdb_writer **w) SM_YIELDS;

struct cdb_reader;
/*
 * Read back what was appended so far, before it is committed. Until the reader is closed nothing is
 * appended, and the writer stays.
 */
int cdb_reread(struct cdb_writer *w, struct cdb_reader **out) SM_YIELDS SM_MUST_CHECK;
/*
 * Begin the content anew: a writer for the same id, in *w's place. The former one has no name any
 * more: it can be read back, and aborted. On failure *w is as it was.
 */
int cdb_rewrite(struct cdb_writer **w, struct cdb_writer **former) SM_YIELDS SM_MUST_CHECK;
/* A writer for what is kept only for a while: it never has a name for longer than a moment, and is
 * read back and aborted, not committed. `id` is the content's that it belongs to. */
struct cdb_writer *cdb_scratch(struct cdb *s, struct sm_id id);

/* ---- read ---- */
/* SM_E_NOTFOUND, SM_E_IO, SM_E_CORRUPT (shorter than offset + size, not a plain file, more than one
 * link). */
int cdb_read_open(struct cdb *s, struct sm_id id, uint32_t offset, uint64_t size,
                  struct cdb_reader **out) SM_YIELDS SM_MUST_CHECK;
/* Next piece: count > 0, 0 at the end, SM_E_IO. *p valid until the next call. The first call of a
 * small content needs no further system call. */
ssize_t cdb_read(struct cdb_reader *r, const char **p) SM_YIELDS SM_MUST_CHECK;
int cdb_read_rewind(struct cdb_reader *r) SM_MUST_CHECK;
void cdb_read_close(struct cdb_reader **r);

/* ---- remove (qmgr) ---- */
/* Not found is success. Blocking; for helper threads. */
int cdb_unlink(struct cdb *s, struct sm_id id) SM_MUST_CHECK;
/* Every id in the store, in no order; blocking; for helper threads. `each` gives true to go on.
 * Names that are no ids are passed over and counted in *strange. */
int cdb_list(struct cdb *s, bool (*each)(struct sm_id id, void *arg), void *arg,
             size_t *strange) SM_MUST_CHECK;
/* Give back the room of all of a sealed segment but these contents, in order of their offsets.
 * Blocking; for helper threads. SM_E_NOTSUP: the file system cannot. */
int cdb_release(struct cdb *s, struct sm_id segment, const struct cdb_span *keep,
                size_t count) SM_MUST_CHECK;
/* ---- of a segment, for who has lost the records (cdb_walk.c); blocking ---- */
/*
 * Every content that is in a segment, in the order of its places; `each` gives true to go on. What
 * reads as zeros is room, what is damaged is stepped over, and *damaged, how many bytes that were:
 * behind damage a content may show up that is none but bytes of another. SM_E_NOTFOUND, SM_E_IO,
 * SM_E_CORRUPT (no plain file).
 */
int cdb_entries(struct cdb *s, struct sm_id segment,
                bool (*each)(struct sm_id id, const struct cdb_place *at, void *arg), void *arg,
                uint64_t *damaged) SM_MUST_CHECK;
/* The content of transaction `id` is there, whole: 0, and a descriptor to read it from, the
 * caller's. SM_E_CORRUPT: something else is, or it is damaged. */
int cdb_entry_open(struct cdb *s, struct sm_id id, const struct cdb_place *at,
                   int *fd) SM_MUST_CHECK;
/* Nobody needs it any more: its place becomes room, its neighbours stay. */
int cdb_entry_clear(struct cdb *s, struct sm_id id, const struct cdb_place *at) SM_MUST_CHECK;

/* Free space of the file systems of the store, the least of them, in bytes. Blocking, cheap. */
int cdb_space(struct cdb *s, uint64_t *free_bytes) SM_MUST_CHECK;

#endif
