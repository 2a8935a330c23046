/*
 * The process: what its sessions share. One of it, in main's memory, passed to whoever needs it.
 */
#ifndef SS_SS_H
#define SS_SS_H

#include "libcdb/cdb.h"
#include "libsm/list.h"
#include "libsm/net.h"
#include "libsm/rpc.h"
#include "smtps/authlimit.h"
#include "smtps/conf.h"
#include "smtps/idblock.h"
#include "smtps/one_client.h"
#include "smtps/pressure.h"
#include "smtps/tls.h"

/* What qmgr lets us have open (the last `credit` message). */
struct ss_credit {
	uint32_t max_sessions, max_transactions, max_rcpts;
	uint16_t code; /* the reply to MAIL when not 0 */
	char text[512];
};

struct ss {
	const struct ss_conf *conf; /* the current one; sessions keep that of their start */
	struct sm_str hostname;
	uint8_t proc; /* process index: last part of our ids */
	struct cdb *cdb;

	/* peers.c */
	struct sm_link *qmgr, *smar;
	struct ss_idblock ids;
	struct sm_call ids_call;
	struct ss_credit credit;

	/* session.c, txn.c */
	struct sm_list sessions; /* struct ss_session.link */
	size_t session_count;
	struct sm_list
	    transactions; /* struct ss_txn.link: whose content or outcome is ours to know */
	size_t txn_count, rcpt_count;

	struct ss_one_client one_client; /* greet.c */
	struct ss_pressure_state pressure;
	/* cmd_auth.c */
	struct ss_authlimit authlimit;
	struct ss_tls_state tls; /* tls_ctx.c */

	/* milters.c: until when a filter that could not be reached is left alone */
	int64_t milter_rest_ms[SS_MILTERS_MAX];

	/* accept.c */
	struct sm_list listeners;
	int spare_fd; /* given up for a moment when there are no descriptors left */

	/* main.c */
	bool draining;                  /* told to end: no new sessions, no new transactions */
	bool single;                    /* one session on descriptor 0, then the end */
	void (*on_idle)(struct ss *ss); /* the last session is gone */
};

#endif
