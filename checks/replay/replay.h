/*
 * The world that a scenario plays in, between what reads the scenario (script.c), what happens in
 * the world (world.c) and the clock (replay.c).
 */
#ifndef CHECKS_REPLAY_H
#define CHECKS_REPLAY_H

#include <stdio.h>
#include <stdlib.h>

#include "qmgr/blocked.h"
#include "qmgr/retry.h"
#include "qmgr/sched.h"
#include "qmgr/schedule.h"

enum { NAMES_MAX = 256, HOPS_MAX = 8, TEXT_MAX = 80 };
#define WALL_0 1700000000
#define MONO_0 1000000
#define ORDERS 1000

struct server {
	char name[TEXT_MAX];
	struct sm_sa sa;
	int64_t takes_ms, dead_from, dead_to, dead_after, temp_from, temp_to;
	unsigned most, open, peak, connections, transactions;
};

struct domain {
	char name[TEXT_MAX], key[256];
	struct sm_msg_host hops[HOPS_MAX];
	uint32_t hop_count;
	enum sm_wait waits; /* what its mail waits for */
	unsigned delivered, failed, deferrals, reads, tries, told;
};

struct from {
	char name[TEXT_MAX];
	unsigned delivered;
};

struct letter {
	struct domain *domain;
	int64_t next_s, last_s;
	unsigned tries;
	bool over, told; /* its sender knows that it takes long */
	bool run;        /* of mail that waits: its time has come */
};

struct mail {
	struct sm_heap_node due; /* in the deferred queue */
	struct sm_id id;
	struct from *from;
	int64_t queued_s;
	unsigned count;
	struct letter rcpt[];
};

struct event {
	struct sm_heap_node node;
	void (*cb)(struct event *e);
	char *line; /* a command */
	int number;
	/* a task */
	struct qm_pick pick;
	struct sm_list rcpts;
	struct sm_msg_host hosts[HOPS_MAX];
	uint32_t host_count, at;
	struct server *server; /* a connection is open there */
	enum sm_reach reach[HOPS_MAX];
	bool taken, temp;
};

struct world {
	const char *file;
	int line;
	bool failed;
	struct qm_sched_conf conf;
	struct qm_retry_conf retry;
	size_t aq_max, aq_peak;
	bool crowded, more; /* more to read back at once */
	unsigned tasks;
	struct qm_sched sched;
	struct qm_limits *limits;
	struct qm_blocked blocked;
	struct qm_clock clock;
	struct qm_txn_table txns;
	struct sm_heap events, deferred;
	struct server server[NAMES_MAX];
	struct domain domain[NAMES_MAX];
	struct from from[NAMES_MAX];
	unsigned servers, domains, froms, runs;
	struct qm_schedule schedule;
	char row[QM_SCHEDULE_ROWS][TEXT_MAX];
	unsigned rows;
	int64_t interval_ms, run_due_s, looked_s;
	int64_t now_ms, ahead_s; /* monotonic; how far the wall clock was set */
	uint64_t next_id, dice;
	struct mail **mails; /* by id */
	bool started;
};
extern struct world w;

/* ---- the scenario: script.c ---- */

/* Commands without a time are carried out, the others become events. */
void read_file(FILE *f);
void timed(struct event *e); /* a command of the scenario: what is left of it is to be played */
_Noreturn void broken(const char *what, const char *detail);

/* ---- what is in the world: world.c ---- */

struct server *server_of(const char *name);
struct domain *domain_of(const char *name);
struct from *from_of(const char *name);
/* Mails for the recipients, see the command. */
void queue(unsigned n, const char *sender, char **rcpt, unsigned rcpts);

/* ---- mail that waits for a queue run: runs.c ---- */

void schedule_set(void); /* from rows and interval */
void look_at_schedule(void);
int64_t schedule_in_ms(void); /* so long until that is to be looked at */
/* What waits for a run, or all that waits for this domain. */
void run(const char *domain);
bool waits(const struct letter *l);
/* It waits on: when is somebody to be told, or is it to be given up? */
void wait_on(const struct mail *m, struct letter *l);
/* All of a mail that is due waits on: true, and it has its time. */
bool put_off_waiting(struct mail *m);

/* ---- what happens when nobody says anything ---- */

void dispatch(void);  /* what is ready goes out */
void read_back(void); /* of the deferred queue what is due and has room */
int64_t wall_s(void);
/* The key of an event: of one moment, commands come first, in the order of the file. */
int64_t key_of(int64_t at_ms, int order);

#endif
