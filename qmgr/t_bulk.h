/* Acts of operators in tests of the whole queue manager (t_qm.h). Tests only. */
#ifndef QM_T_BULK_H
#define QM_T_BULK_H

#include "qmgr/filter.h"
#include "qmgr/t_qm.h"

/* What the acts so far came to; of the last one, but for the count. */
struct t_acts {
	unsigned count;
	int err;
	size_t txns, rcpts;
};
extern struct t_acts t_acts;

struct qm_filter *t_filter(const char *conditions); /* words with spaces between */
/* Begun, not waited for. */
void t_act_begin(enum qm_mark_verb verb, const char *conditions, bool dry_run);
bool t_acts_over(void); /* t_want of them */
/* Carried out, and it chose so many recipients. */
void t_act(enum qm_mark_verb verb, const char *conditions, size_t rcpts);
bool t_held(void); /* recipients in DEFEDB, and no mail is active or being read back */

#endif
