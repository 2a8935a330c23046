/* The conversation about one message: MAIL, RCPT, DATA, content, results. */
#ifndef SC_DIALOG_H
#define SC_DIALOG_H

#include "smtpc/session.h"

struct sc_task;

/*
 * Deliver the task's open recipients over this session. 0: the session has done what it could;
 * recipients that were in it are settled, all but those that a session which is used up
 * (sc_session_is_used_up) had no transaction left for. Else the session was lost before the end of
 * data (t->why tells), and those without a result are open again for the next host. s->broken
 * tells, in both cases, whether the session can be used again.
 */
int sc_dialog(struct sc_task *t, struct sc_session *s) SM_YIELDS SM_MUST_CHECK;

#endif
