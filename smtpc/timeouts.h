/*
 * How long each step of a conversation may take (RFC 5321 4.5.3.2). Bound by sc_timeout_opts, in
 * smtpc's section for all servers, behind smtpc_session_conf: for one; RFC 5321's order of steps.
 */
#ifndef SC_TIMEOUTS_H
#define SC_TIMEOUTS_H

#include "libsm/conf.h"

struct sc_timeouts {
	int64_t connect_ms, greeting_ms, helo_ms, mail_ms, rcpt_ms, data_init_ms, data_block_ms,
	    data_final_ms, rset_ms, quit_ms; /* helo, rset: 0: io_timeout of the section */
};

extern const struct sm_opt sc_timeout_opts[];

#endif
