/*
 * What a kind of map has to be able to do. A driver is one file (map_TYPE.c) and one row in
 * map_drivers.c; beyond it, only map_conf.c knows of its options.
 */
#ifndef AR_MAP_INT_H
#define AR_MAP_INT_H

#include "libsm/err.h"
#include "smar/conf.h"
#include "smar/map.h"

struct ar_map_driver {
	enum ar_map_type type;
	const char *name; /* as in "type = NAME" */
	/*
	 * Open; a handle of the driver's own. Blocks; in a helper thread, so it may neither log nor
	 * touch what is shared. `conf` and its strings live longer than the handle. On error the
	 * diag says what is wrong, with "file:line" where there is one; SM_E_NOTSUP: this build
	 * lacks the library. *entries: how many there are, AR_ENTRIES_UNKNOWN.
	 */
	int (*open)(const struct ar_map_conf *conf, void **handle, size_t *entries);
	/* All maps of the set are open: find the others that it asks. NULL: asks none. */
	int (*link)(void *handle, const struct ar_maps *set);
	/*
	 * One key, in lower case; in the loop's thread. What ar_map_get gives. A driver that can
	 * wait gives SM_E_AGAIN as long as !ctx->may_wait and the answer is not at hand; with
	 * may_wait it waits until ctx->deadline_ms at the longest. A miss is a bare SM_E_NOTFOUND,
	 * without a diag (misses are many). SM_E_EOF only as NOMORE.
	 */
	int (*get)(void *handle, const struct ar_ctx *ctx, struct sm_str key,
	           struct sm_str *value) SM_YIELDS;
	/* In the loop's thread, or in that of a failed open. */
	void (*close)(void *handle);
};

#define AR_ENTRIES_UNKNOWN SIZE_MAX

const struct ar_map_driver *ar_map_driver(enum ar_map_type type); /* NULL: not in this build */
/* Tests only: in the place of one type; NULL ends it. */
void ar_map_driver_replace(enum ar_map_type type, const struct ar_map_driver *by);

extern const struct ar_map_driver ar_map_text, ar_map_lmdb, ar_map_cdb, ar_map_regex, ar_map_socket,
    ar_map_passwd, ar_map_inline, ar_map_hash, ar_map_sequence;

#endif
