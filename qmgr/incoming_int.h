/* What the files of the side that smtps processes talk to share: incoming.c (processes, ids,
 * sessions), incoming_commit.c (transactions). */
#ifndef QM_INCOMING_INT_H
#define QM_INCOMING_INT_H

#include "qmgr/holders.h"
#include "qmgr/qm.h"

/* One smtps process that is connected. */
struct qm_in_server {
	struct sm_list link;
	struct sm_peer *peer;
	struct sm_hash sessions;
	uint8_t proc;
	bool started; /* its ids are in force */
};

/* A commit or a block of ids that waits for the disk. */
struct qm_in_pending {
	struct qm_wait wait;
	struct qm *q;
	struct sm_peer *peer; /* is answered in any case, also when it is gone */
	uint64_t tag;
	struct qm_txn *txn;
	struct sm_id sess; /* that it came by */
	struct sm_msg_id_block block;
};

struct qm_incoming {
	struct sm_rpc_server *rpc;
	struct sm_hook hook;
	enum qm_refusal told; /* to every smtps */
	uint32_t told_waiting;
	int64_t told_ms;
	size_t committing; /* recipients that wait for the disk */
	struct sm_list servers;
	struct qm_clients clients;
	struct qm_holders holders;
	uint64_t next_counter; /* next id block */
	struct {
		uint64_t next, end;
	} own; /* qmgr's own ids, durable */
	bool own_coming;
	struct qm_taken taken;
	struct sm_arena arena;
};

void qm_in_verdict(struct sm_peer *peer, uint64_t tag, uint16_t code, struct sm_str text);

/* Handlers of messages, incoming_commit.c. */
int qm_in_commit(struct qm *q, struct qm_in_server *s, const struct sm_frame *f) SM_MUST_CHECK;
int qm_in_query(struct qm *q, struct qm_in_server *s, const struct sm_frame *f) SM_MUST_CHECK;

#endif
