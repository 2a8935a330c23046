/*
 * createmap: the formats of maps, as they are made and read back. Everything blocks. Errors are
 * SM_E_* with a diag that names no file: the caller does.
 */
#ifndef CREATEMAP_H
#define CREATEMAP_H

#include "libsm/mapdb.h"

struct cm_format {
	const char *name;
	const char *suffixes[3]; /* of files; the first one is ours. Ends with NULL. */
	size_t key_max;          /* bytes; 0: as many as there may be in the source */
	/* A new map in the empty file `path`; about `size_hint` bytes will be put into it. */
	int (*create)(const char *path, uint64_t size_hint, void **map);
	/* SM_E_EXISTS: the key is there already, and `replace` was not given. */
	int (*put)(void *map, struct sm_str key, struct sm_str value, bool replace);
	/* Write what is not yet written, and close; also after an error. Not synced. */
	int (*close)(void *map);
	int (*walk)(const char *path, sm_mapdb_entry_cb *cb, void *arg);
	/* By its first bytes, is it of this format? */
	bool (*is_it)(struct sm_str head, uint64_t size);
};
enum { CM_HEAD_BYTES = SM_MAPDB_CDB_HEAD };

extern const struct cm_format cm_hash, cm_btree, cm_lmdb, cm_cdb;
extern const struct cm_format *const cm_formats[]; /* ends with NULL */

/* By its name; by the end of a file's name; by what is in the file. NULL: none. */
const struct cm_format *cm_format_named(const char *name);
const struct cm_format *cm_format_of_path(const char *path);
/* *size 0: there is nothing to be lost. An error of open or read; SM_E_NOTSUP: no regular file. */
int cm_format_of_file(const char *path, const struct cm_format **out, uint64_t *size) SM_MUST_CHECK;

/* Checks of right hand sides (-k). NULL: no such kind; "plain" checks nothing. */
typedef int cm_check_cb(struct sm_str key, struct sm_str value);
cm_check_cb *cm_check_named(const char *kind);

struct cm_job {
	const struct cm_format *format;
	const char *target;
	const char *source; /* NULL: standard input */
	cm_check_cb *check;
	bool append, replace, keep_case, empty_ok, dry;
	/* Entries of the source; of the old map; errors in the source. */
	uint64_t read, kept, wrong;
	bool unreadable; /* the source could not even be begun */
};
/* Build, and put it in the target's place. What is wrong with the source has been said on standard
 * error then (SM_E_SYNTAX); of other errors the diag tells. */
int cm_build(struct cm_job *job) SM_MUST_CHECK;

#endif
