/*
 * Inside of the content store: shared by the files of libcdb, seen by nobody else.
 *
 * A content is a file of its own or has a place in a segment, a file that holds many. Either is
 * named by its id, in the directory of the last hex digit of the id's counter, so that consecutive
 * ones go to different directories (which an administrator may put on different disks):
 *
 *     <base>2/S000000000006B1D200
 *
 * A file of its own holds the content from some offset to its end. What is before the offset is not
 * content: it is a hole, or the unused front of the gap that was left for a header block. In a
 * segment a head is before each content (cdb_entry.c).
 */
#ifndef CDB_INT_H
#define CDB_INT_H

#include <sys/uio.h>

#include "libcdb/cdb.h"
#include "libsm/loop.h"

/* What is gathered before the disk is touched, and the piece in which a large content is written.
 */
#define CDB_WRITE_BYTES ((size_t)64 * 1024)
/* A content up to this is read at once when it is opened; a larger one in pieces. */
#define CDB_SMALL_BYTES CDB_WRITE_BYTES
#define CDB_PIECE_BYTES ((size_t)256 * 1024)
#define CDB_IOV_MAX     1024
/* What holds a content that can go into a segment: it is read as one piece. */
#define CDB_BUFFERS ((int)(CDB_PIECE_BYTES / CDB_WRITE_BYTES))

struct cdb_spare {
	struct cdb_spare *next;
};

/* Buffers of one size that wait for their next use. Loop thread only. */
struct cdb_pool {
	struct cdb_spare *first;
	size_t count, max, bytes;
};

struct cdb_segments;
struct cdb_open_files;

struct cdb {
	/* Set by cdb_open, then only read: by the loop and by helper threads. */
	struct cdb_conf conf;
	char *base;
	int dir[CDB_DIRS];
	bool sync_dir[CDB_DIRS];
	/* Loop thread only. */
	struct cdb_pool small, pieces;
	size_t more_buffers;           /* of `small`: in use beside one for each writer */
	struct cdb_segments *segments; /* NULL: each content is a file of its own */
	struct cdb_open_files *files;  /* segments that are being read; NULL: none was yet */
};

/* ---- a file that is being written (cdb_file.c); for helper threads ---- */

struct cdb_file {
	struct cdb *s;
	struct sm_id id;
	char name[SM_ID_SIZE]; /* of the id */
	int fd;                /* -1: no file yet, or no more */
	bool exists;           /* the name is ours and in the directory */
	bool named;            /* the directory was synced since, where that is needed */
};
void cdb_file_init(struct cdb_file *f, struct cdb *s, struct sm_id id);
int cdb_file_create(struct cdb_file *f) SM_MUST_CHECK;
int cdb_file_scratch(struct cdb_file *f) SM_MUST_CHECK; /* one without a name */
/* `f` becomes another open file of one that is durable. */
int cdb_file_again(struct cdb_file *f, const struct cdb_file *of) SM_MUST_CHECK;
/* All of `v` at `at`; changes `v`. */
int cdb_file_write(struct cdb_file *f, struct iovec *v, int n, uint64_t at) SM_MUST_CHECK;
int cdb_file_sync(struct cdb_file *f) SM_MUST_CHECK; /* its name too, where that is needed */
int cdb_file_close(struct cdb_file *f) SM_MUST_CHECK;
int cdb_file_unname(struct cdb_file *f) SM_MUST_CHECK; /* the name goes, the descriptor stays */
/* Leaves nothing behind. Its own trouble is nobody's: the name is found as an orphan later. */
void cdb_file_remove(struct cdb_file *f);
/* After a failure: the file goes at once, before the client hears of it and tries again. Gives rc
 * with its diag. */
int cdb_file_give_up(struct cdb_file *f, int rc);

/* ---- segments ---- */

#define CDB_BLOCK       4096 /* a batch begins on one: a disk writes no less at a time */
#define CDB_ENTRY_BYTES 32
#define CDB_ENTRY_ALIGN 32

/* The head of a content in a segment. */
struct cdb_entry {
	struct sm_id id;
	uint64_t size;
	uint32_t crc; /* of the content, CRC-32C */
};
void cdb_entry_put(const struct cdb_entry *e, char out[CDB_ENTRY_BYTES]);
bool cdb_entry_get(const char *p, struct cdb_entry *e); /* false: that is none */
/* What a content takes: from the beginning of its head to where the next head may be. */
static inline uint64_t cdb_entry_end(uint64_t size)
{
	return (CDB_ENTRY_BYTES + size + CDB_ENTRY_ALIGN - 1) / CDB_ENTRY_ALIGN * CDB_ENTRY_ALIGN;
}

struct cdb_segment_entry {
	struct sm_id id;
	struct iovec v[1 + CDB_BUFFERS]; /* the content */
	int count;
};
static inline bool cdb_segments_on(const struct cdb *s)
{
	return s->segments != NULL;
}
void cdb_segments_open(struct cdb *s);
void cdb_segments_close(struct cdb *s);
/* As cdb_commit; SM_E_AGAIN: too few come for a segment, or there is no id for one. Nothing has
 * happened then. */
int cdb_segment_commit(struct cdb *s, const struct cdb_segment_entry *e,
                       struct cdb_place *at) SM_YIELDS SM_MUST_CHECK;

/* ---- segments that are being read (cdb_open_files.c) ---- */

struct cdb_open_file {
	struct sm_list link;
	struct sm_id id;
	int fd;
	unsigned users;
	int64_t used_ms;
};
/* One that is open already, or NULL; or from now on, with its descriptor. Given back by put. */
struct cdb_open_file *cdb_open_file_get(struct cdb *s, struct sm_id id);
struct cdb_open_file *cdb_open_file_add(struct cdb *s, struct sm_id id, int fd);
void cdb_open_file_put(struct cdb *s, struct cdb_open_file *f);
void cdb_open_files_close(struct cdb *s);

/* For cdb_reread: `size` bytes, of `fd` from `offset` (it stays its owner's), or all of them in
 * the buffers `v` with fd -1. */
struct cdb_reader *cdb_reader_of(struct cdb *s, struct sm_id id, int fd, uint64_t offset,
                                 const struct iovec *v, int count, uint64_t size);

/* Which of the 16 holds it. */
static inline int cdb_dir_index(struct sm_id id)
{
	return (int)(id.counter & 15);
}

/* Where a content is, for a diag. */
#define CDB_AT_FMT "%s%X/%s"

/* What went wrong with the file of that id, in the diag (cdb_store.c): "<what> <its path>:
 * <errno>", SM_E_* of it; "<its path> <why>", SM_E_CORRUPT. For helper threads too. */
int cdb_fail(const struct cdb *s, struct sm_id id, int errnum, const char *what);
int cdb_corrupt(const struct cdb *s, struct sm_id id, const char *why);

char *cdb_pool_get(struct cdb_pool *p);
void cdb_pool_put(struct cdb_pool *p, char *buf); /* NULL is fine */

#endif
