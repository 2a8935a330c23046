/* Configuration of qmgr: one struct, filled by the table in conf*.c, read-only everywhere else. */
#ifndef QM_CONF_H
#define QM_CONF_H

#include "libsm/conf.h"
#include "libsm/net.h"

struct qm_conf_log {
	struct sm_str base_directory, log_directory;
	int64_t max_commit_delay_us, size_bytes, max_open_tas;
};

struct qm_conf {
	int64_t aq_max_entries, edbc_max_entries, iqdb_max_entries, iqdb_hash_entries;
	int64_t occ_max_entries, occ_timeout_ms;
	struct sm_str conf_map, control_socket;
	struct qm_conf_log ibdb, defedb;
	struct {
		int64_t merge_delay_max_ms, max_errors, max_bytes;
		uint32_t flags;
		struct sm_str submit, double_bounce_to;
	} dsn;
	int64_t min_disk_bytes, ok_disk_bytes, max_memory_bytes;
	int64_t return_timeout_ms, delay_timeout_ms, retry_min_ms, retry_max_ms;
	struct {
		int64_t initial_connections, max_connections, lmtp_max_rcpts, smtp_max_rcpts;
		int64_t max_message_rate, dead_host_min_ms, dead_host_max_ms;
	} smtpc;
	struct {
		int64_t max_connection_rate, max_connections, max_transactions, max_rcpts,
		    max_sessions;
		int64_t user_max_messages, user_max_rcpts, user_period_ms, user_max_entries;
	} smtps;
	struct {
		int64_t max_entries, known_ms, recheck_ms, unknown_ms, not_told_ms;
		int64_t max_probes, max_waiting, timeout_ms;
	} verify;
	struct {
		int64_t max_bytes, max_one_bytes, keep_ms;
	} transcripts;
	struct {
		int64_t interval_ms; /* 0: none */
		struct sm_conf_list schedule;
	} run;
	struct {
		int64_t remember_entries, remember_ms, grace_ms;
	} now;
	struct {
		int64_t max_client, max_node, period_ms, max_entries;
	} etrn;
	int64_t wait_for_client_ms, wait_for_server_ms;
	int64_t unlink_threads, orphan_delay_ms;
};
extern const struct sm_opt qm_conf_opts[];
/* What no single row can say. 0, or SM_E_RANGE with a diag. */
int qm_conf_check(const struct qm_conf *c) SM_MUST_CHECK;
/* DSN_handling.submit: "1.2.3.4:25", "[::1]:25" or the path of a socket. SM_E_SYNTAX. */
int qm_conf_submit(struct sm_str text, struct sm_sa *sa) SM_MUST_CHECK;

enum { QM_DSN_HEADER_ONLY = 1, QM_DSN_MIME = 2 };

#endif
