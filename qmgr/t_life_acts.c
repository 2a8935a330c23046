/*
 * What operators do in the lives of t_life: they hold, release, requeue, remove and bounce, suspend
 * destinations and call queue runs, each chosen by the life's dice; and what the ledger is to
 * expect of that: maybe from when it is asked for, surely from when it was told. At most one act
 * and one suspension wait to be told.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/time.h"
#include "qmgr/filter.h"
#include "qmgr/t_life.h"

#ifdef SM_TESTING

static struct {
	bool waits, told;
	enum qm_mark_verb verb;
	int mail, rcpt, domain; /* -1: any */
	size_t hits;
} act;
static struct {
	bool told;
	bool waits;
	unsigned domain;
} halt;

/* ---- the ledger ---- */

static bool is_hit(unsigned m, unsigned r)
{
	return !led->mail[m].alias && (act.mail < 0 || (unsigned)act.mail == m) &&
	       (act.rcpt < 0 || (unsigned)act.rcpt == r) &&
	       (act.domain < 0 || (unsigned)act.domain == ledger_domain_of(m, r));
}

static void note_act(bool done)
{
	for (unsigned m = 0; m < led->mails; m++)
		for (unsigned r = 0; r < led->mail[m].rcpts; r++) {
			struct ledger_rcpt *x = &led->mail[m].rcpt[r];

			if (!is_hit(m, r))
				continue;
			switch (act.verb) {
			case QM_MARK_HOLD:
				/* What is over, but not durably, was not chosen. */
				if (done && x->held == MAYBE && !x->refused && x->bounced == NO &&
				    ledger_is_open(&led->mail[m], r))
					x->held = SURE;
				else if (!done && x->held == NO && led->mail[m].is == TAKEN)
					x->held = MAYBE;
				break;
			case QM_MARK_RELEASE:
				x->held = NO;
				x->called = true;
				break;
			case QM_MARK_REQUEUE:
				x->held = NO;
				if (!done)
					x->requeues++;
				break;
			case QM_MARK_REMOVE:
				if (!done)
					x->removed = SM_MAX(x->removed, MAYBE);
				else if (x->removed == MAYBE && act.hits == 1)
					x->removed = SURE;
				if (!done)
					x->held = NO;
				break;
			case QM_MARK_BOUNCE:
				if (!done) {
					x->bounced = SM_MAX(x->bounced, MAYBE);
					x->held = NO;
				}
				break;
			default:
				break;
			}
		}
}

/* ---- acts ---- */

static void act_done(void *arg, const struct qm_bulk_done *d)
{
	(void)arg;
	act.hits = d->rcpts;
	act.told = d->err == 0;
	if (d->err != 0)
		act.waits = false;
}

void life_act(void)
{
	static const enum qm_mark_verb verbs[] = {QM_MARK_HOLD,    QM_MARK_HOLD,    QM_MARK_RELEASE,
	                                          QM_MARK_RELEASE, QM_MARK_REQUEUE, QM_MARK_REMOVE,
	                                          QM_MARK_BOUNCE};
	char text[64];
	struct sm_str v[1];
	struct qm_bulk_ask a = {.reason = SM_STR("life"), .cb = act_done};

	if (act.waits || led->mails == 0)
		return;
	act.verb = verbs[rnd(SM_ARRAY_SIZE(verbs))];
	act.mail = act.rcpt = act.domain = -1;
	if ((act.verb == QM_MARK_REMOVE || act.verb == QM_MARK_BOUNCE) || !one_in(4)) {
		unsigned m = led->mails - 1 - rnd(SM_MIN(led->mails, 40U));

		act.mail = (int)m;
		act.rcpt = (int)rnd(led->mail[m].rcpts);
		snprintf(text, sizeof(text), "rcpt=m%d-r%d@*", act.mail, act.rcpt);
	} else {
		act.domain = (int)rnd(DOMAINS);
		snprintf(text, sizeof(text), "domain=d%d.test", act.domain);
	}
	v[0] = a.text = sm_str(text);
	a.verb = act.verb;
	assert_int_equal(qm_filter_new(v, 1, sm_wall_s(), &a.filter), 0);
	act.waits = true;
	act.told = false;
	note_act(false);
	if (qm_bulk_begin(&w.q, &a) != 0)
		act.waits = false;
	led->acts++;
}

static void halt_done(void *arg)
{
	(void)arg;
	halt.told = true;
}

static void resume(unsigned domain)
{
	char dest[16];

	led->suspended[domain] = NO;
	snprintf(dest, sizeof(dest), "d%u.test", domain);
	(void)!qm_halt_resume(&w.q, sm_str(dest), 42, NULL, NULL);
}

void life_halt_or_resume(void)
{
	char dest[16];

	if (halt.waits)
		return;
	halt.domain = rnd(DOMAINS);
	snprintf(dest, sizeof(dest), "d%u.test", halt.domain);
	if (led->suspended[halt.domain] == NO) {
		led->suspended[halt.domain] = MAYBE;
		halt.waits = true;
		halt.told = false;
		assert_int_equal(
		    qm_halt_suspend(&w.q, sm_str(dest), 0, 42, SM_STR("life"), halt_done, NULL), 0);
	} else {
		resume(halt.domain);
	}
}

/* That a crash forgets it is no wrong. */
void life_run(int domain, bool asked_for)
{
	char dest[32] = "";
	struct qm_run_ask a = {.asked_for = asked_for, .by = "operator"};

	if (domain >= 0)
		snprintf(dest, sizeof(dest), "d%d.test", domain);
	a.dest = sm_str(dest);
	for (unsigned m = 0; m < led->mails; m++)
		for (unsigned r = 0; r < led->mail[m].rcpts; r++)
			if (domain >= 0
			        ? !led->mail[m].alias && (unsigned)domain == ledger_domain_of(m, r)
			        : asked_for || led->mail[m].deliver == SM_DELIVER_QUEUE)
				led->mail[m].rcpt[r].called = true;
	if (qm_run(&w.q, &a) == 0)
		led->runs++;
}

void life_release_all(void)
{
	struct qm_bulk_ask a = {.verb = QM_MARK_RELEASE, .cb = act_done};

	for (unsigned d = 0; d < DOMAINS; d++)
		resume(d);
	for (unsigned m = 0; m < led->mails; m++)
		for (unsigned r = 0; r < led->mail[m].rcpts; r++)
			led->mail[m].rcpt[r].held = NO;
	act.mail = act.rcpt = act.domain = -1;
	act.verb = QM_MARK_RELEASE;
	assert_int_equal(qm_filter_new(NULL, 0, sm_wall_s(), &a.filter), 0);
	assert_int_equal(qm_bulk_begin(&w.q, &a), 0);
}

/* ---- what is sure ---- */

void life_acts_begin(void)
{
	act.waits = halt.waits = false;
}

struct life_told life_told(void)
{
	return (struct life_told){.act = act.waits && act.told, .halt = halt.waits && halt.told};
}

void life_note(struct life_told told)
{
	if (told.act) {
		note_act(true);
		act.waits = false;
	}
	if (told.halt) {
		if (led->suspended[halt.domain] == MAYBE)
			led->suspended[halt.domain] = SURE;
		halt.waits = false;
	}
}

#endif
