/* The beginning of a session: is it welcome? Then the greeting. */
#ifndef SS_GREET_H
#define SS_GREET_H

#include "libsm/base.h"

struct ss_session;

/* Asks qmgr and smar at once, says the greeting or a refusal. False: refused, the session is
 * closing. */
bool ss_greet(struct ss_session *s) SM_YIELDS;
/* A front end was greeted before anybody was asked, and now goes on as a client of its own. False:
 * refused. */
bool ss_admit_late(struct ss_session *s) SM_YIELDS;

#endif
