/* What one smtpc process consists of. Owned by main.c; everything runs in the loop's thread. */
#ifndef SC_SC_H
#define SC_SC_H

#include "libsm/id.h"
#include "libsm/rpc.h"
#include "libcdb/cdb.h"
#include "smtpc/cache.h"
#include "smtpc/conf.h"
#include "smtpc/dsn_text.h"
#include "smtpc/tls_memory.h"

struct sc {
	const struct sc_conf *conf;
	struct sm_str hostname;
	struct cdb *cdb;
	struct sc_dsn_texts *dsn_texts;
	struct sm_link *qmgr; /* NULL in tests */
	struct sm_link *smar; /* NULL in tests: then this is what it says of each server */
	struct sm_str server_text, server_auth;
	struct sm_tls_ctx *tls; /* NULL: a build without it */
	struct sc_tls_memory tls_failed;
	uint64_t connection; /* counts connections to qmgr: results of an older one have nobody to
	                        go to */
	uint8_t proc;        /* process index, part of ids */
	uint32_t session_count; /* so far: counter of ids */
	struct sc_cache cache;
	struct sm_list tasks; /* struct sc_task that run */
	size_t task_count;
	bool draining;
};

#endif
