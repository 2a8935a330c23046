/*
 * What became of each recipient: settled once, logged once, sent to qmgr in one frame.
 */
#ifndef SC_RESULT_H
#define SC_RESULT_H

#include "smtpc/session.h"

struct sc_task;

enum sc_rcpt_state {
	SC_RCPT_OPEN,     /* no answer yet: the next host may be asked */
	SC_RCPT_ACCEPTED, /* RCPT was accepted in the running transaction */
	SC_RCPT_SETTLED   /* has its result */
};

struct sc_rcpt {
	const struct sm_msg_rcpt_task *in;
	enum sc_rcpt_state state;
	bool in_round; /* part of the running transaction */
	bool again; /* refused only because there were too many: another transaction may take it */
	struct sm_msg_rcpt_result r;
};

/*
 * Texts as they go to qmgr and into DSNs, at most SC_TEXT_MAX bytes of printable ASCII in one line,
 * an enhanced code in front (RFC 3463): the server's own if it is one, else one that fits reply
 * code and stage. Both give `out`.
 */
const char *sc_text_reply(char out[SC_TEXT_MAX + 1], int code, struct sm_str text,
                          enum sm_stage stage);
const char *sc_text_local(char out[SC_TEXT_MAX + 1], const char *enhanced, const char *text);
const char *sc_stage_name(enum sm_stage stage);

/* Done, temporary or permanent, as the code (200..599) says; other codes are a temporary failure.
 */
enum sm_outcome sc_outcome(int code);

/* Settle one, or all that are in the given state (and in the running transaction, if `round`). `s`
 * NULL: no session. */
void sc_result_set(struct sc_task *t, struct sc_rcpt *r, const struct sc_session *s,
                   enum sm_outcome outcome, const struct sc_why *why);
void sc_result_set_all(struct sc_task *t, enum sc_rcpt_state state, bool round,
                       const struct sc_session *s, enum sm_outcome outcome,
                       const struct sc_why *why);
/* Tell qmgr, or log that nobody is there any more to be told. All recipients are settled. */
void sc_result_send(struct sc_task *t);

#endif
