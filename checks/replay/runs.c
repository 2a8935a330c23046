/*
 * Mail that waits for queue runs, and the runs of the real schedule: what run.c and run_wait.c of
 * qmgr do.
 */
#include "checks/replay/replay.h"

#define LOOK_S 20

void schedule_set(void)
{
	struct sm_str v[QM_SCHEDULE_ROWS];
	const struct sm_conf_list rows = {.v = v, .count = w.rows};

	for (unsigned i = 0; i < w.rows; i++)
		v[i] = sm_str(w.row[i]);
	if (qm_schedule_parse(&rows, w.interval_ms, &w.schedule) != 0)
		broken("schedule", sm_diag());
	w.looked_s = wall_s();
	w.run_due_s = qm_schedule_next(&w.schedule, w.looked_s);
}

int64_t schedule_in_ms(void)
{
	return SM_MAX((int64_t)1, SM_MIN(w.run_due_s - wall_s(), (int64_t)LOOK_S) * 1000);
}

void look_at_schedule(void)
{
	int64_t now = wall_s();

	if (w.run_due_s != QM_NO_RUN && now >= w.run_due_s) {
		w.runs++;
		run(NULL);
	}
	if (now >= w.run_due_s || now < w.looked_s)
		w.run_due_s = qm_schedule_next(&w.schedule, now);
	w.looked_s = now;
}

bool waits(const struct letter *l)
{
	return !l->over && l->domain->waits != SM_WAIT_NO && !l->run;
}

void wait_on(const struct mail *m, struct letter *l)
{
	int64_t now = wall_s(), end = m->queued_s + w.retry.return_s;
	int64_t since = SM_MAX(m->queued_s, w.clock.stepped_s);

	l->next_s = end > now ? end : now + w.retry.max_s;
	if (l->told || !qm_retry_late(&w.retry, since, now, true, since, 0, &l->next_s))
		return;
	l->told = true;
	l->domain->told++;
}

bool put_off_waiting(struct mail *m)
{
	int64_t now = wall_s(), first = INT64_MAX;

	for (unsigned i = 0; i < m->count; i++) {
		if (m->rcpt[i].over)
			continue;
		if (!waits(&m->rcpt[i]) || m->rcpt[i].next_s <= now)
			return false;
		first = SM_MIN(first, m->rcpt[i].next_s);
	}
	sm_heap_set(&w.deferred, &m->due, SM_MIN(first, now + w.retry.max_s));
	return true;
}

static bool is_meant(const struct letter *l, const char *domain)
{
	return waits(l) && (domain == NULL ? l->domain->waits == SM_WAIT_RUN
	                                   : strcmp(l->domain->name, domain) == 0);
}

void run(const char *domain)
{
	for (uint64_t id = 0; id < w.next_id; id++) {
		struct mail *m = w.mails[id];
		bool any = false;

		for (unsigned i = 0; i < m->count; i++) {
			if (!is_meant(&m->rcpt[i], domain))
				continue;
			m->rcpt[i].run = any = true;
			m->rcpt[i].next_s = wall_s();
		}
		if (any && qm_txn_find(&w.txns, m->id) == NULL)
			sm_heap_set(&w.deferred, &m->due, wall_s());
	}
}
