/*
 * XFORWARD: who brought a mail, told to a server that is to judge it as if the client had come to
 * it, as a content filter does. Only where smtpc_session_conf: says `xforward = on`, the server
 * offers it, and of the attributes those that it names (Postfix, XFORWARD_README).
 *
 *   XFORWARD = "XFORWARD" 1*( SP attribute "=" xtext )      ; at most 255 bytes each, 512 a line
 */
#ifndef SC_XFORWARD_H
#define SC_XFORWARD_H

#include "smtpc/session.h"

struct sc_task;

/*
 * Say it for the mail of this task, before each MAIL: a server forgets it with the transaction.
 * What is not known is said to be so, hence nothing of a former mail stays. 0, also when the server
 * refuses it: the mail goes without, and that is logged; or what sc_session_reply gives for a
 * session that is lost: an error, or 221 or 421.
 */
int sc_xforward(struct sc_task *t, struct sc_session *s) SM_YIELDS SM_MUST_CHECK;

#endif
