/*
 * Databases that maps are made of, as createmap, makemap and postmap write them: every entry of
 * one, read by the library of its format. A program that uses one of these links that library.
 *
 * The file is copied into memory first (one at a time, whichever thread asks), and the library gets
 * the copy. So what it checked is what it then reads, whoever replaces or overwrites the file
 * meanwhile, and no page of it can vanish below a library that maps files.
 */
#ifndef SM_MAPDB_H
#define SM_MAPDB_H

#include "libsm/err.h"
#include "libsm/str.h"

#define SM_MAPDB_FILE_MAX (UINT64_C(4) << 30)

/* Both are valid during the call. Gives 0 or an error, which ends it and is what it gives. */
typedef int sm_mapdb_entry_cb(void *arg, struct sm_str key, struct sm_str value);

/*
 * Every entry once, in no order that means anything. 0; what `cb` gave; SM_E_CORRUPT: no such file,
 * cut off or damaged, of which some entries may have been given; SM_E_NOTSUP: of a kind that maps
 * are not; SM_E_AGAIN: it changed while it was copied; or an error of reading. The diag does not
 * name the file. Blocks.
 */
/* Berkeley DB, hash or btree, with checksums (others: SM_E_NOTSUP); a NUL behind a key or value is
 * not part of it. */
int sm_mapdb_bdb(const char *path, sm_mapdb_entry_cb *cb, void *arg) SM_MUST_CHECK;
/* Also without checksums, verified first: for a program that may die of a damaged file. */
int sm_mapdb_bdb_any(const char *path, sm_mapdb_entry_cb *cb, void *arg) SM_MUST_CHECK;
/* One file, its unnamed database. */
int sm_mapdb_lmdb(const char *path, sm_mapdb_entry_cb *cb, void *arg) SM_MUST_CHECK;
/* A constant database. */
int sm_mapdb_cdb(const char *path, sm_mapdb_entry_cb *cb, void *arg) SM_MUST_CHECK;

/* Is it a whole constant database? There is no magic number; but its 256 tables, which its first
 * bytes tell of, stand one behind the other at its end. *entries: that they lead to. */
enum { SM_MAPDB_CDB_HEAD = 2048 };
bool sm_mapdb_is_cdb(struct sm_str head, uint64_t size, uint64_t *entries);

/* Memory for copies: before rights are dropped that it takes to get some. */
int sm_mapdb_init(void) SM_MUST_CHECK;

/* For the formats: *copy is a name under which the copy can be opened, and *size its bytes, until
 * sm_mapdb_done, which is due when this gave 0. */
enum { SM_MAPDB_NAME_BYTES = 64 };
int sm_mapdb_copy(const char *path, char copy[SM_MAPDB_NAME_BYTES], uint64_t *size) SM_MUST_CHECK;
void sm_mapdb_done(void);

#endif
