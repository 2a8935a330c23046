/*
 * The ledger of t_life: what was promised to whom, over many lives of one queue, and what smtpc's
 * puppet is given and answers. It is in memory that all of the processes share; who finds a promise
 * broken says so in it and ends the process.
 */
#ifndef QM_T_LEDGER_H
#define QM_T_LEDGER_H

#include "qmgr/t_qm.h"

#define MAILS   3000
#define RCPTS   6 /* of a mail, at most */
#define DOMAINS 4
#define DELAYS  4
#define MEMBERS 5 /* of an alias, two in a child */

/* Each has a time when it is asked for, and one from which on it is sure. */
enum fact { NO, MAYBE, SURE };

struct ledger_rcpt {
	unsigned delivered; /* times that its server took it */
	bool settled;       /* and that is durable */
	bool refused;       /* its server does not want it */
	bool told;          /* and the sender has got the report */
	struct sm_id report, delay[DELAYS];
	bool called;      /* a run, or a release, was for it */
	unsigned given;   /* times that smtpc got it */
	uint16_t decided; /* what its client was told; 0: nothing */
	unsigned delays, requeues;
	enum fact removed, bounced, held;
};

struct ledger_mail {
	struct sm_id id;
	enum { ASKED, TAKEN, REFUSED } is;
	bool alias;      /* then these are its members */
	uint8_t deliver; /* SM_DELIVER_* */
	unsigned rcpts;
	struct ledger_rcpt rcpt[RCPTS];
};

struct ledger {
	/* How this life is: of ten tries so many fail for now, and for good; how often the disk is
	 * full and not full again, of 16 steps. */
	unsigned temporary, permanent, changes, steps;
	bool slow; /* servers take their time, so mails are at work in part */
	unsigned mails, cuts, acts, fills, tasks, reports, runs, told;
	size_t kept, shadows, overs; /* the most at a time */
	enum fact suspended[DOMAINS];
	struct ledger_mail mail[MAILS];
	char wrong[512];
};
extern struct ledger *led;

/* The life's own dice: the same numbers for the same seed. */
extern uint64_t ledger_seed;
unsigned rnd(unsigned n);
bool one_in(unsigned n);

/* A promise is broken: notes it, and ends the process. */
void ledger_wrong(const char *what, unsigned m, unsigned r) __attribute__((noreturn));
unsigned ledger_domain_of(unsigned m, unsigned r);
/* Is this recipient still open for qmgr? */
bool ledger_is_open(const struct ledger_mail *m, unsigned r);

/* A process begins: nothing was given to smtpc yet. */
void ledger_begin(void);
/* After a start: what was promised is there, what is over is not. */
void ledger_audit(void);
/* What smtpc was given since the last time: may it be tried? */
void ledger_take_tasks(void);
/* What has arrived and is over for good. `stopped`: one of the logs syncs no more. */
void ledger_take_results(bool stopped);
/* Its client was told of it, by index. */
void ledger_decided(unsigned m, const uint16_t *codes, unsigned count);
/* smtpc answers some of what it has; `fine`: all of it, and all is well. */
void ledger_answer_some(bool fine);
void ledger_answer_half(void);

#endif
