/*
 * Ids that follow a message through every process, log line, reply and bounce.
 *
 * Session and transaction of smtps: 'S' + 16 hex digits (64-bit counter) + 2 hex digits (process
 * index) = 19 characters. A recipient: transaction id + '-' + 4 hex digits. smtpc: 'C' + 2 hex
 * (process) + 8 hex (counter) + 8 hex (task) = 19.
 */
#ifndef SM_ID_H
#define SM_ID_H

#include "libsm/str.h"

#define SM_ID_LEN  19
#define SM_ID_SIZE (SM_ID_LEN + 1)

/* Index that qmgr uses for transactions it makes itself (DSNs, children); no smtps may have it. */
#define SM_ID_PROC_QMGR 0xFF

struct sm_id {
	uint64_t counter;
	uint8_t proc;
};

static inline bool sm_id_eq(struct sm_id a, struct sm_id b)
{
	return a.counter == b.counter && a.proc == b.proc;
}
static inline bool sm_id_none(struct sm_id a)
{
	return a.counter == 0 && a.proc == 0;
}
uint64_t sm_id_hash(struct sm_id id);
const char *sm_id_text(struct sm_id id, char out[SM_ID_SIZE]); /* gives out */
int sm_id_parse(struct sm_str s,
                struct sm_id *id) SM_MUST_CHECK; /* exact form only, else SM_E_SYNTAX */

struct sm_cid {
	uint8_t proc;
	uint32_t counter, task;
};
const char *sm_cid_text(struct sm_cid id, char out[SM_ID_SIZE]);

#endif
