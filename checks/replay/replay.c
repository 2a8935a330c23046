/*
 * Plays scenarios of the queue against a clock of its own: the scheduler, the hosts, their limits,
 * the retry times and the blocked domains are the real ones; smar, smtpc, the servers and DEFEDB
 * are played. A day takes a second.
 *
 *     replay FILE      one scenario; the first expectation that fails ends it
 *
 * A line is a command; # begins a comment; times are seconds from the start, with fractions.
 *
 *     conf NAME NUMBER          oci ocm omr octo penalty penalty_max retry_min retry_max return
 *                               delay aq rcpts tasks interval
 *     limit KEY VALUE           a line of the map qmgr_conf
 *     route DOMAIN HOST...      its hosts, ADDRESS[/PREFERENCE]; equal hosts: one route
 *     waits DOMAIN run|asked    its mail waits for a queue run, or until it is asked for
 *     schedule DAYS [FROM-TO] EVERY       a row of queue_run; the clock begins on Tuesday,
 *                               2023-11-14 22:13:20
 *     host ADDRESS takes S      time for one message there (0.1)
 *     host ADDRESS dead FROM TO [AFTER]   no connection then; it is known after S (0)
 *     host ADDRESS temp FROM TO           answers each recipient with 451
 *     host ADDRESS most N       more connections than that get 421
 *     at T queue N SENDER RCPT...         N mails; in both a % becomes the number of the mail
 *     at T step S               the wall clock is set forward (or back)
 *     at T set NAME NUMBER      the configuration is changed and read again
 *     at T limit KEY VALUE      likewise
 *     at T run [DOMAIN]                   qmgrctl run
 *     at T expect WHAT NAME OP NUMBER     OP is one of = < > <= >=
 *
 * WHAT: delivered, failed, deferrals, reads (back from the deferred queue), told (that it takes
 * long) of a DOMAIN; delivered, by `from`, of a SENDER; tries of a domain: those that came to a
 * host; window, running, peak (most connections at a time), connections, transactions of a HOST; aq
 * (recipients), peak, runs (of the schedule) of NAME "-".
 */
#include "checks/replay/replay.h"

static void begin(void)
{
	w.conf = (struct qm_sched_conf){.hosts = {.oci = 10,
	                                          .ocm = 100,
	                                          .octo_ms = 3600000,
	                                          .penalty_ms = 60000,
	                                          .penalty_max_ms = 1800000,
	                                          .max = 10000},
	                                .lmtp_max_rcpts = 100,
	                                .smtp_max_rcpts = 100,
	                                .max_routes = 10000};
	w.retry = (struct qm_retry_conf){
	    .min_s = 900, .max_s = 14400, .return_s = 432000, .delay_s = 14400};
	w.aq_max = 8192;
	w.tasks = 400;
	w.now_ms = MONO_0;
	w.run_due_s = QM_NO_RUN;
	w.limits = qm_limits_new();
	w.conf.hosts.limits = w.limits;
	qm_blocked_init(&w.blocked, 10000);
	qm_txn_table_init(&w.txns);
	sm_heap_init(&w.events);
	sm_heap_init(&w.deferred);
}

static int64_t look_in_ms(int64_t key)
{
	int64_t s = key - wall_s();

	return w.more ? 1 : SM_MAX((int64_t)1, SM_MIN(s, (int64_t)60)) * 1000;
}

static int64_t next_moment(void)
{
	int64_t next = INT64_MAX, wake = qm_sched_wake(&w.sched, w.now_ms);
	const struct sm_heap_node *n;

	if ((n = sm_heap_top(&w.events)) != NULL)
		next = n->key / ORDERS;
	if ((n = sm_heap_top(&w.deferred)) != NULL && w.txns.rcpts < w.aq_max * 3 / 4)
		next = SM_MIN(next, w.now_ms + look_in_ms(n->key));
	if (w.run_due_s != QM_NO_RUN)
		next = SM_MIN(next, w.now_ms + schedule_in_ms());
	return SM_MIN(next, wake);
}

static void play(void)
{
	unsigned commands = 0;
	int64_t next;

	for (size_t i = 0; i < w.events.count; i++)
		commands++;
	w.started = true;
	qm_sched_init(&w.sched, &w.conf);
	(void)qm_agent_add(&w.sched, w.tasks);
	(void)qm_clock_look(&w.clock, wall_s(), w.now_ms);
	while (!w.failed && commands > 0 && (next = next_moment()) < INT64_MAX) {
		struct sm_heap_node *n;

		w.now_ms = SM_MAX(w.now_ms, next);
		while ((n = sm_heap_top(&w.events)) != NULL && n->key / ORDERS <= w.now_ms) {
			struct event *e = SM_CONTAINER_OF(n, struct event, node);

			sm_heap_remove(&w.events, n);
			commands -= e->cb == timed;
			e->cb(e);
			dispatch();
		}
		(void)qm_clock_look(&w.clock, wall_s(), w.now_ms);
		look_at_schedule();
		read_back();
		dispatch();
	}
}

/* What a scenario leaves open is not followed to its end: the process ends with it. */
int main(int argc, char **argv)
{
	FILE *f;

	if (argc != 2 || (f = fopen(argv[1], "r")) == NULL) {
		fprintf(stderr, "usage: replay FILE\n");
		return 2;
	}
	w.file = argv[1];
	setenv("TZ", "UTC", 1);
	begin();
	read_file(f);
	(void)fclose(f);
	play();
	return w.failed;
}
