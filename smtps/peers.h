/*
 * The two processes that smtps depends on: qmgr (ids, credit) and smar. Links that come back by
 * themselves.
 */
#ifndef SS_PEERS_H
#define SS_PEERS_H

#include "libsm/id.h"
#include "libsm/proc.h"

struct ss;

/* Who may answer behind the sockets, beside root and ourselves. Looked up before rights are
 * dropped. */
struct ss_peer_users {
	struct sm_uids qmgr, smar;
};
void ss_peers_open(struct ss *ss, const char *qmgr_path, const char *smar_path,
                   const struct ss_peer_users *users);
void ss_peers_close(struct ss *ss);

/* A new id for a session or a transaction; false: none is left (qmgr is away for long). */
bool ss_peers_id(struct ss *ss, struct sm_id *id);
/* One-way: a session that qmgr knew is gone. */
/* Nothing more comes into this segment, and qmgr has all of it that it will ever have. */
void ss_peers_sealed(struct ss *ss, struct sm_id segment);
void ss_peers_session_gone(struct ss *ss, struct sm_id id);

#endif
