/*
 * Lives of a whole queue, cut at random: mail is taken, tried, put off, reported, held, released,
 * requeued, removed and bounced, while DEFEDB gets full and has room again. Some of it waits for a
 * queue run, or until it is asked for; of some a client waits for the outcome. Then one of the logs
 * stops where it is, the other goes on for a while, and the process dies. The next life goes on
 * with what is on the disk.
 *
 * A ledger (t_ledger.h) outlives them all and knows what was promised to whom: nothing that was
 * taken is lost, nothing that is durable comes again, no failure is told twice, what is held,
 * suspended or removed is not tried, nor what waits for a run before one is for it; what a client
 * is told is so, and nothing of it is tried again. T_LIVES and T_LIFE_SEED say how many and which.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "libsm/fault.h"
#include "libsm/time.h"
#include "qmgr/t_life.h"

#ifdef SM_TESTING

#define LIVES      1   /* by default */
#define CUTS       6   /* in one life */
#define STEPS      150 /* until a log stops, at most */
#define LONG       800 /* the same, of a life that sees segments freed */
#define JUNK       64
#define JUNK_BYTES 9000

/* ---- of one process ---- */

static bool is_full;
static const char *stopped; /* the log that goes no further; NULL: both do */
static struct qm_loc junk[JUNK];
static unsigned junk_count;
static int asked; /* the mail whose verdict is waited for; -1: none */
static unsigned verdicts;
static int waits_now; /* the mail whose client waits; -1: none */
static unsigned decisions;
static struct sm_id sess = {77, 1};

/* ---- mail ---- */

static void session_is(bool open)
{
	struct sm_msg_sess_open m = {.sess = sess, .listener = SM_STR("l")};
	const struct sm_msg_sess_close end = {.sess = sess};
	unsigned before = w.ss.verdicts;

	assert_int_equal(sm_sa_ip(&m.client, SM_STR("192.0.2.1"), 25), 0);
	if (open)
		t_send(&w.ss.p, SM_MSG_sess_open, &m, true);
	else
		t_send(&w.ss.p, SM_MSG_sess_close, &end, false);
	if (open)
		t_wait_n(t_verdicts, before + 1);
}

static void client_gone(void)
{
	session_is(false);
	session_is(true);
}

/* Or it is gone before it says so. */
static void client_waits(unsigned m)
{
	const struct sm_msg_ta_wait wait = {.ta = led->mail[m].id,
	                                    .within_ms = one_in(3) ? 1 + rnd(30) : 60000};

	if (one_in(8)) {
		client_gone();
		return;
	}
	waits_now = (int)m;
	decisions = w.ss.decisions;
	t_send(&w.ss.p, SM_MSG_ta_wait, &wait, true);
}

static void look_at_decision(void)
{
	if (waits_now < 0 || w.ss.decisions == decisions)
		return;
	ledger_decided((unsigned)waits_now, w.ss.decided, w.ss.decided_count);
	waits_now = -1;
}

static void look_at_verdict(void)
{
	unsigned m;

	if (asked < 0 || w.ss.verdicts == verdicts)
		return;
	led->mail[asked].is = w.ss.code == 0 ? TAKEN : REFUSED;
	m = (unsigned)asked;
	asked = -1;
	if (led->mail[m].is == TAKEN && led->mail[m].deliver == SM_DELIVER_NOW)
		client_waits(m);
}

static void ask(void)
{
	char rcpts[RCPTS * 32] = "";
	struct ledger_mail *m = &led->mail[led->mails];
	struct sm_id id;

	if (asked >= 0 || led->mails == MAILS)
		return;
	id = t_content();
	for (unsigned i = 0; i < led->mails; i++)
		if (sm_id_eq(led->mail[i].id, id))
			ledger_wrong("its id was given again", i, 0);
	*m = (struct ledger_mail){.id = id, .rcpts = 1 + rnd(RCPTS), .alias = one_in(6)};
	if (!one_in(3))
		m->deliver = (uint8_t)rnd(4);
	if (m->deliver == SM_DELIVER_NOW && waits_now >= 0)
		m->deliver = SM_DELIVER_BACKGROUND;
	if (m->deliver == SM_DELIVER_NOW)
		m->alias = false;
	if (m->alias) {
		m->rcpts = MEMBERS;
		strcpy(rcpts, "list@alias.test");
	}
	for (unsigned r = 0; r < m->rcpts && !m->alias; r++)
		snprintf(rcpts + strlen(rcpts), sizeof(rcpts) - strlen(rcpts), "%sm%u-r%u@d%u.test",
		         r ? " " : "", led->mails, r, ledger_domain_of(led->mails, r));
	asked = (int)led->mails++;
	verdicts = w.ss.verdicts;
	w.deliver = m->deliver;
	w.sess = m->deliver == SM_DELIVER_NOW ? sess : (struct sm_id){0};
	t_commit_raw(&w.ss, id, "s@src.test", rcpts, sm_wall_s(), 0);
}

/* ---- the disk ---- */

static struct qm_log *defedb(void)
{
	return qm_store_defedb(w.q.store);
}

static bool full_or_room(void)
{
	return qm_log_low_space(defedb()) || qm_log_room(defedb(), JUNK_BYTES);
}

static void arm_faults(void)
{
	char text[128];

	snprintf(text, sizeof(text), "%s%s%s", is_full ? "defedb.create=enospc," : "",
	         stopped ? stopped : "clock", stopped ? "=delay:600000" : "=step:0");
	assert_int_equal(sm_fault_arm(text), 0);
}

static void fill(void)
{
	static char text[JUNK_BYTES];

	if (is_full || (stopped && strncmp(stopped, "defedb", 6) == 0))
		return;
	is_full = true;
	arm_faults();
	while (!qm_log_low_space(defedb()) && junk_count < JUNK) {
		if (qm_log_room(defedb(), JUNK_BYTES)) {
			qm_log_append(defedb(), QM_REC_mark, sm_str_n(text, 1 + rnd(JUNK_BYTES)),
			              &junk[junk_count]);
			qm_log_hold(defedb(), junk[junk_count++]);
		}
		assert_true(t_wait(full_or_room));
	}
	led->fills++;
}

static void make_room(void)
{
	if (!is_full)
		return;
	is_full = false;
	arm_faults();
	while (junk_count > 0)
		qm_log_drop(defedb(), junk[--junk_count], qm_log_durable(defedb()));
}

/* What is not yet on the disk stays away from it. */
static void freeze(void)
{
	static const char *const which[] = {"ibdb.write",  "defedb.write", "ibdb.sync",
	                                    "defedb.sync", "ibdb.write",   NULL};

	stopped = which[rnd(SM_ARRAY_SIZE(which))];
	arm_faults();
}

/* So that the journal turns over. */
static void roll(void)
{
	for (int i = 0; i < 400; i++)
		(void)qm_store_set_birth(w.q.store, qm_store_birth(w.q.store));
}

/* ---- a life ---- */

/* That it happens at all. */
static void count(void)
{
	size_t shadows = 0;

	SM_LIST_FOR (txn, &w.q.txns.active, struct qm_txn, link)
		shadows += txn->shadow.seq != 0;
	led->shadows = SM_MAX(led->shadows, shadows);
	led->kept = SM_MAX(led->kept, qm_kept_count(&w.q));
	led->overs = SM_MAX(led->overs, qm_store_overs(w.q.store));
}

static void turns(int ms)
{
	struct life_told before = life_told();

	t_turns(ms);
	look_at_verdict();
	ledger_take_tasks();
	look_at_decision();
	ledger_take_results(stopped != NULL);
	count();
	/* What was handed out before they were told is seen by now. */
	life_note(before);
}

static void step(void)
{
	if (rnd(16) < led->changes) {
		if (is_full && one_in(2))
			make_room();
		else if (!is_full)
			fill();
	}
	switch (rnd(16)) {
	case 0:
	case 1:
	case 2:
	case 3:
		ask();
		break;
	case 4:
		qm_defer_flush(&w.q, (struct sm_id){0});
		break;
	case 5:
		if (is_full)
			qm_defer_flush(&w.q, (struct sm_id){0});
		break;
	case 6:
		life_act();
		break;
	case 7:
		if (one_in(3))
			life_halt_or_resume();
		else if (asked < 0 && one_in(3))
			client_gone(); /* while no other verdict is waited for */
		else
			life_run(one_in(2) ? -1 : (int)rnd(DOMAINS), one_in(2));
		break;
	case 8:
		if (led->steps == LONG)
			roll();
		break;
	default:
		ledger_answer_some(false);
		break;
	}
	turns(2 + (int)rnd(4));
}

static void begin(void)
{
	is_full = false;
	stopped = NULL;
	junk_count = 0;
	asked = waits_now = -1;
	life_acts_begin();
	ledger_begin();
	w.sc.hold = true;
	t_qm_start();
	ledger_audit();
	t_smar_up();
	t_smtpc_up(&w.sc, 100);
	t_smtps_up(&w.ss, 1);
	session_is(true);
}

/* Where the two logs say most about the same mail. */
static void in_the_middle(void)
{
	fill();
	qm_defer_flush(&w.q, (struct sm_id){0});
	turns(10);
	ledger_answer_half();
	turns(2 + (int)rnd(120));
	if (one_in(2))
		make_room();
	turns(one_in(4) ? 1100 : 2 + (int)rnd(30)); /* what is over is said once a second */
}

static void live(void)
{
	unsigned before = rnd(led->steps), behind = rnd(40);

	begin();
	if (!one_in(4))
		qm_defer_flush(&w.q, (struct sm_id){0});
	for (unsigned i = 0; i < before; i++)
		step();
	freeze();
	for (unsigned i = 0; i < behind; i++)
		step();
	if (stopped == NULL || strncmp(stopped, "ibdb", 4) == 0)
		in_the_middle();
}

/* A start that dies at once changes nothing. */
static void hardly_begin(void)
{
	w.q = (struct qm){.statm_fd = -1,
	                  .proc = &w.proc,
	                  .conf = &w.conf,
	                  .gid_control = (gid_t)-1,
	                  .started_s = sm_wall_s()};
	if (one_in(2))
		assert_int_equal(sm_fault_arm(one_in(2) ? "defedb.sync=delay:600000@2+"
		                                        : "ibdb.write=delay:600000@2+"),
		                 0);
	if (qm_queue_open(&w.q) != 0)
		fail_msg("open: %s", sm_diag());
	if (one_in(2))
		t_turns((int)rnd(20));
}

/* Nobody stops anything any more: all comes to its end. */
static void the_last(void)
{
	int64_t until_ms = sm_now_ms() + 60000;

	begin();
	life_release_all();
	while (w.q.txns.by_id.count > 0 || qm_edbc_count(w.q.edbc) > 0 ||
	       qm_defer_loads(&w.q) > 0) {
		qm_defer_flush(&w.q, (struct sm_id){0});
		life_run(-1, true);
		turns(5);
		ledger_answer_some(true);
		if (sm_now_ms() > until_ms) {
			snprintf(led->wrong, sizeof(led->wrong),
			         "left: active %zu, deferred %zu, held %zu", w.q.txns.by_id.count,
			         qm_edbc_count(w.q.edbc), qm_edbc_held_count(w.q.edbc));
			_exit(3);
		}
	}
	for (unsigned m = 0; m < led->mails; m++) {
		for (unsigned r = 0; r < led->mail[m].rcpts; r++) {
			const struct ledger_rcpt *x = &led->mail[m].rcpt[r];

			if (led->mail[m].is == TAKEN && x->delivered == 0 && x->removed == NO &&
			    !x->told && led->mail[m].deliver != SM_DELIVER_NOW)
				ledger_wrong("lost", m, r);
		}
		while (led->mail[m].is == TAKEN && t_content_there(led->mail[m].id)) {
			t_turns(50); /* an orphan, of before a crash */
			if (sm_now_ms() > until_ms)
				ledger_wrong("its content is left", m, 0);
		}
	}
}

static void in_a_child(void (*fn)(void), unsigned life)
{
	const char *logs = getenv("T_LIFE_LOGS");
	char log[256] = "";
	int status;

	if (logs)
		snprintf(log, sizeof(log), "%s/%u.%u", logs, life, led->cuts);
	status = t_in_a_child(fn, logs ? log : NULL);
	if (status != 0)
		fail_msg("T_LIFE_SEED=%u T_LIVES=1: status %x: %s", life, (unsigned)status,
		         led->wrong);
	unlink(w.socks[2]);
	led->cuts++;
	(void)rnd(2);
	ledger_seed += (uint64_t)led->mails * 7919;
}

static unsigned number(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void a_life(unsigned life)
{
	memset(led, 0, sizeof(*led));
	assert_int_equal(sm_fault_arm(NULL), 0);
	assert_int_equal(t_qm_setup(NULL), 0);
	ledger_seed = life;
	(void)rnd(2);
	w.members = MEMBERS;
	w.chunk = 2;
	led->temporary = 1 + rnd(7);
	led->permanent = rnd(10 - led->temporary);
	led->changes = 1 + rnd(3);
	led->slow = one_in(2);
	led->steps = one_in(4) ? LONG : STEPS;
	w.conf.ibdb.size_bytes = w.conf.defedb.size_bytes = QM_LOG_SEGMENT_LEAST;
	w.conf.dsn.max_errors = 3;
	w.conf.dsn.merge_delay_max_ms = one_in(2) ? 0 : 1000;
	w.conf.smtps.max_connection_rate = 1000000;
	w.conf.orphan_delay_ms = 500;
	if (one_in(3))
		w.conf.delay_timeout_ms = 0;
	if (one_in(3))
		w.conf.aq_max_entries = 30;
	if (one_in(2))
		t_slow_retries();
	for (unsigned i = 0; i < CUTS; i++) {
		in_a_child(live, life);
		if (one_in(4))
			in_a_child(hardly_begin, life);
	}
	in_a_child(the_last, life);
	if (getenv("T_LIFE_TELL"))
		print_message("life %u: mails %u, tasks %u, reports %u, acts %u, runs %u, told %u, "
		              "full %u; kept %zu, taken over %zu, over %zu\n",
		              life, led->mails, led->tasks, led->reports, led->acts, led->runs,
		              led->told, led->fills, led->kept, led->shadows, led->overs);
	assert_int_equal(t_qm_teardown(NULL), 0);
}

static void lives(void **state)
{
	unsigned first = number("T_LIFE_SEED", 1), count = number("T_LIVES", LIVES);

	(void)state;
	led = mmap(NULL, sizeof(*led), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(led != MAP_FAILED);
	for (unsigned i = 0; i < count; i++)
		a_life(first + i);
	munmap(led, sizeof(*led));
}

#endif

int main(void)
{
#ifdef SM_TESTING
	const struct CMUnitTest tests[] = {cmocka_unit_test(lives)};

	return cmocka_run_group_tests(tests, NULL, NULL);
#else
	return 77; /* needs fault points */
#endif
}
