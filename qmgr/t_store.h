/* What the tests of the store share: a queue of two logs in a directory of its own, what it would
 * know after a crash as a line of text. Tests only. */
#ifndef QM_T_STORE_H
#define QM_T_STORE_H

#include "qmgr/store.h"

struct t_store {
	char dir[64], ibdb[80], defedb[80];
	struct qm_conf conf;
	struct qm_txn_table txns;
	struct qm_edbc *edbc;
	struct qm_recovered found;
	struct qm_store *st;
	bool settled;
};

void t_store_dir(struct t_store *t, uint32_t segment_bytes); /* makes the directories */
void t_store_rm(struct t_store *t);
void t_store_open(struct t_store *t);   /* replay, without running the loop */
void t_store_settle(struct t_store *t); /* run the loop until the copies are durable */
void t_store_close(struct t_store *t);
/* Run the loop until `until` holds; aborts after T_PATIENCE_MS. */
void t_until(bool (*until)(struct t_store *t), struct t_store *t);
void t_flush(struct t_store *t); /* everything appended is durable, and those who wait were told */

/* Run `fn` in a child that dies without any orderly end; what it puts in `out` comes back. */
#define T_OUT_MAX 65536
void t_crash(void (*fn)(void *arg, char *out), void *arg, char *out);

/* "id[index,indexF,...]+" of all that is open, by id: F, D, R: its failure, delivery, relay is to
 * be reported; w: the delay was told; +: DSNs need its content. */
void t_known(struct t_store *t, char *out);

#endif
