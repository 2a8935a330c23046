/* What operators do in the lives of t_life, with the ledger kept (t_life_acts.c). */
#ifndef QM_T_LIFE_H
#define QM_T_LIFE_H

#include "qmgr/t_ledger.h"

/* One of these, unless the one before is not told yet. */
void life_act(void);
void life_halt_or_resume(void);
/* A queue run for a domain, -1: for all; or for what waits to be asked for as well. What it is for
 * is called from now on. */
void life_run(int domain, bool asked_for);
/* Nothing is suspended or held any more. */
void life_release_all(void);

/* A process begins: what the one before was to be told nobody will. */
void life_acts_begin(void);
/* What was told by now, and that it is sure from now on. */
struct life_told {
	bool act, halt;
};
struct life_told life_told(void);
void life_note(struct life_told told);

#endif
