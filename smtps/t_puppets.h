/*
 * qmgr, smar and what is only there for filters, played in the place of rpc and cdb for a whole
 * session of smtps: for its unit tests and its fuzz target, who link t_puppets.c and say what is
 * answered.
 */
#ifndef SS_T_PUPPETS_H
#define SS_T_PUPPETS_H

#include "libsm/msg.h"
#include "libsm/rpc.h"

struct ss_answer {
	int err; /* SM_E_*: there is none */
	uint16_t code;
	uint32_t flags;
};

/* The id that the next block of them begins with. */
extern uint64_t puppet_next_id;

/* How many recipients ta_decided tells of: each second one is delivered, and the sixth is left out.
 */
extern uint32_t puppet_decides;

/* Every question has its answer before the loop sleeps. After sm_loop_init, once. */
void puppets_start(void);
/* Those that are still to be answered will not be. Gives how many there were. */
size_t puppets_forget(void);

/* Given by who links this: what is said to a question, when it is asked, and with which text. */
struct ss_answer puppet_answer(uint16_t type, const void *m);
struct sm_str puppet_text(uint16_t code);

#endif
