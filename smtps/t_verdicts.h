/* Shared by the tests of what smtps makes of verdicts: a session whose client, qmgr and smar are
 * played. */
#ifndef SS_T_VERDICTS_H
#define SS_T_VERDICTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtps/session.h"

enum { T_NO_ANSWER = 1 }; /* as a code */
struct t_told {
	const char *word; /* beginning of an address; "" for the connection; NULL: the end */
	uint16_t code;
	uint32_t flags;
};

extern struct t_played {
	const struct t_told *verdicts;
	char committed[500];      /* recipients that qmgr got, and "." behind each transaction */
	char asked[500];          /* recipients that smar was asked about */
	char probed[500];         /* ... and the next hop, through qmgr */
	const struct t_told *hop; /* what that says; NULL: knows all */
	uint32_t rcpt_flags;      /* of the last question about a recipient */
	unsigned mail_asked;
	/* ETRN: who may ask, as the section of the configuration; of smar and qmgr. */
	uint32_t etrn;
	const char *may_ask_for; /* nodes begin with it; NULL: smar does not answer */
	char runs[500];          /* nodes that qmgr was asked for */
	const char *last;        /* reply */
	int protocol, deliver;   /* of the configuration; ta_decided: see puppet_decides */
} played;

/* Plays `lines`, separated by LF; "|": the next one goes with it. Gives the codes of all replies,
 * the greeting's first. A line that is "+" sends nothing and waits for one more reply. `told` ends
 * with a word NULL. */
const char *t_play(uint32_t flags, const struct t_told *told, const char *lines);

#endif
