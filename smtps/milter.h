/*
 * One conversation with one filter: its connection, what was negotiated, where it is in a message.
 * What a session makes of what filters say is in milters.h.
 */
#ifndef SS_MILTER_H
#define SS_MILTER_H

#include "libsm/net.h"
#include "smtps/milter_conf.h"
#include "smtps/milter_proto.h"

struct ss_edit;

enum ss_milter_state {
	SS_ML_OFF,     /* not asked in this session, or not any more */
	SS_ML_READY,   /* negotiated; no message */
	SS_ML_MESSAGE, /* knows of one, and has not decided */
	SS_ML_DECIDED, /* has: nothing more is told of this message */
};

struct ss_milter {
	const struct ss_milter_conf *conf;
	enum ss_milter_state state;
	bool broken; /* off because of trouble */
	struct sm_net net;
	struct sm_buf in, out;
	size_t taken;    /* bytes of `in` that the last reply was made of */
	int64_t ends_ms; /* nothing is waited for longer than that */
	uint32_t version, actions, steps;
	char *lists; /* macros that it asked for: what came behind the negotiation */
	struct sm_str list[SS_MG_COUNT_]; /* into it; p NULL: it did not ask */
	char skip;          /* SS_MP_* that it has seen enough of, for this message; 0: none */
	struct sm_buf text; /* of its last reply */
};

/* What it says to a command. */
struct ss_milter_said {
	char code;          /* SS_MR_CONTINUE, _ACCEPT, _DISCARD, _SHUTDOWN, _CONN_FAIL, or
	                       _REPLYCODE for all kinds of no */
	int reply;          /* REPLYCODE: 4yz or 5yz */
	struct sm_str text; /* ... with enhanced code, lines by LF; good until the next command */
};

void ss_milter_init(struct ss_milter *m, const struct ss_milter_conf *conf);
/* Connect and negotiate; nothing is waited for beyond `ends_ms`, then or later. */
int ss_milter_open(struct ss_milter *m, int64_t ends_ms) SM_YIELDS SM_MUST_CHECK;
/* Says goodbye, if it is there to hear it. */
void ss_milter_close(struct ss_milter *m) SM_YIELDS;

/* Does it want to be told of this kind of event, now? Events are SS_MP_*. */
bool ss_milter_wants(const struct ss_milter *m, char event);
/* Which macros to send with it: 0 and *stage; -1: none. */
int ss_milter_stage(char event, enum ss_mp_stage *stage);
/*
 * Tell it: a packet of `event` and `data` behind what is in m->out (macros); with `data` p NULL the
 * packet is in m->out already. Gives what it says; SS_MR_CONTINUE at once where it has promised not
 * to answer. Errors: those of sm_net, SM_E_PROTO, SM_E_TOOBIG; then the only thing left is
 * ss_milter_break.
 */
int ss_milter_tell(struct ss_milter *m, char event, struct sm_str data,
                   struct ss_milter_said *said) SM_YIELDS SM_MUST_CHECK;
/*
 * All of the message was told. Gathers its changes in `e` until it says what becomes of the
 * message. *changes: how many came, also when it fails.
 */
int ss_milter_end(struct ss_milter *m, struct ss_edit *e, unsigned *changes,
                  struct ss_milter_said *said) SM_YIELDS SM_MUST_CHECK;
/* The message that it knows of is over, or comes to nothing: it is told if it has not decided. */
int ss_milter_abort(struct ss_milter *m) SM_YIELDS SM_MUST_CHECK;
/* Closed without a word; it is off. */
void ss_milter_break(struct ss_milter *m);

#endif
