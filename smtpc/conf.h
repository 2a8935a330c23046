/* Options of smtpc: the `smtpc` section of the configuration. Times are milliseconds. */
#ifndef SC_CONF_H
#define SC_CONF_H

#include "libsm/tls.h"
#include "smtpc/source.h"
#include "smtpc/timeouts.h"
#include "smtpc/tls_policy.h"

/* chunking; UNSET: of a server, as the section has it */
enum { SC_CHUNKING_UNSET, SC_CHUNKING_NEVER, SC_CHUNKING_BINARY, SC_CHUNKING_OFFERED };

struct sc_conf {
	int chunking;                       /* SC_CHUNKING_* */
	int64_t io_timeout_ms;              /* of what has no time of its own */
	struct sm_conf_list source_address; /* source.h */
	struct sc_timeouts timeouts;
	int64_t max_task_time_ms, drain_time_ms;
	struct sm_str lmtp_socket, dsn_texts;
	int64_t max_threads, helper_threads;
	int64_t wait_for_server_ms;
	int64_t session_idle_timeout_ms, max_messages_per_session, max_sessions_idle,
	    max_sessions_idle_per_host;
	int64_t max_reply_lines, max_reply_bytes, max_pipelined_commands;
	struct sm_tls_conf tls;
	int tls_level; /* enum sc_tls_level */
	int64_t tls_failure_memory_ms, tls_failures;
	struct sm_str token_directory; /* empty: none */
};

extern const struct sm_opt sc_conf_opts[];
/* What no row can say: the texts of DSN_text_directory. 0 or an error with diag. Blocks. */
int sc_conf_check(const struct sc_conf *c) SM_MUST_CHECK;

#endif
