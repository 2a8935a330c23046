/*
 * Inside of the content store: shared by the files of libcdb, seen by nobody else.
 *
 * A content is one file. Its name is the text of its id, its directory the last hex digit of the
 * id's counter, so that consecutive messages go to different directories (which an administrator
 * may put on different disks):
 *
 *     <base>2/S000000000006B1D200
 *
 * The file holds the content from some offset to its end. What is before the offset is not content:
 * it is a hole, or the unused front of the gap that was left for a header block.
 */
#ifndef CDB_INT_H
#define CDB_INT_H

#include "libcdb/cdb.h"

/* What is gathered before the disk is touched, and the piece in which a large content is written.
 */
#define CDB_WRITE_BYTES ((size_t)64 * 1024)
/* A content up to this is read at once when it is opened; a larger one in pieces. */
#define CDB_SMALL_BYTES CDB_WRITE_BYTES
#define CDB_PIECE_BYTES ((size_t)256 * 1024)

struct cdb_spare {
	struct cdb_spare *next;
};

/* Buffers of one size that wait for their next use. Loop thread only. */
struct cdb_pool {
	struct cdb_spare *first;
	size_t count, max, bytes;
};

struct cdb {
	/* Set by cdb_open, then only read: by the loop and by helper threads. */
	char *base;
	int dir[CDB_DIRS];
	bool sync_dir[CDB_DIRS];
	gid_t gid;
	/* Loop thread only. */
	struct cdb_pool small, pieces;
};

/* For cdb_reread: `size` bytes, of `fd` from `offset` (it stays its owner's), or all of them in
 * `buf` with fd -1. */
struct cdb_reader *cdb_reader_of(struct cdb *s, const char *name, int dir_index, int fd,
                                 uint64_t offset, const char *buf, uint64_t size);

/* Which of the 16 holds it. */
static inline int cdb_dir_index(struct sm_id id)
{
	return (int)(id.counter & 15);
}

/* Where a content is, for a diag. */
#define CDB_AT_FMT "%s%X/%s"

char *cdb_pool_get(struct cdb_pool *p);
void cdb_pool_put(struct cdb_pool *p, char *buf); /* NULL is fine */

#endif
