/*
 * One delivery attempt: a message, its recipients, the hosts to try. Comes from qmgr, runs as a
 * coroutine, ends with its results.
 */
#ifndef SC_TASK_H
#define SC_TASK_H

#include "libsm/last_words.h"
#include "libsm/rpc.h"
#include "smtpc/data.h"
#include "smtpc/result.h"

struct sc;

struct sc_task {
	struct sc *sc;
	struct sm_list link; /* sc->tasks */
	struct sm_co *co;
	struct sm_arena arena; /* the decoded message and all texts of results */
	struct sm_msg_task in;
	struct sc_rcpt *rcpts;    /* in.rcpts_count */
	uint64_t tag, connection; /* whom to answer */
	struct sm_last_words words;
	/* For tests: takes the result instead of qmgr; m is valid during the call. */
	void (*answer)(struct sc_task *t, const struct sm_msg_task_result *m);
	void *answer_arg;
	struct sc_content content;
	struct sc_transcript *transcript; /* NULL: nobody wants to know */
	int64_t begun_ms, end_ms;
	struct sm_sa host; /* the last one tried */
	enum sm_reach reach;
	bool session_kept;
	struct sm_msg_host_try *tried; /* in the order they were */
	uint32_t tried_count;
	struct sm_str host_name; /* of it, as the route has it */
	struct sc_why why;       /* of the last failure; its text is empty: there was none */
	bool permanent; /* so far each host was in the way of something that an operator wants to
	                   be for good */
};

/* Decode the body of a task message into a task that does not run yet. NULL with a diag when it is
 * malformed. */
struct sc_task *sc_task_new(struct sc *sc, struct sm_str body);
/* Run it; it frees itself. When no coroutine can be had, its recipients are deferred at once. */
void sc_task_start(struct sc_task *t);
/* The work itself, for a coroutine that exists already: results are sent, the task is freed. */
void sc_task_run(struct sc_task *t) SM_YIELDS;
void sc_task_cancel_all(struct sc *sc);

#endif
