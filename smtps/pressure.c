/*
 * Load average and length of the queue as limits of new work. Invariant: sessions that are open go
 * on, and what was accepted is never held up by this; a value that cannot be had refuses nobody.
 * Callbacks on the loop's stack; the file is read by a helper.
 */
#include "smtps/pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/session.h"
#include "smtps/ss.h"

enum {
	LOOK_MS = 1000, /* the kernel counts every five seconds */
	TEXT_BYTES = 64,
	LOAD_MAX = 1000000,
};

/* ---- what it means ---- */

static enum ss_pressure judge(int64_t value, int64_t delay, int64_t refuse)
{
	if (refuse > 0 && value >= refuse)
		return SS_PRESSURE_REFUSE;
	return delay > 0 && value >= delay ? SS_PRESSURE_DELAY : SS_PRESSURE_NONE;
}

enum ss_pressure ss_pressure_of_load(const struct ss_conf *c, int64_t load_percent)
{
	return judge(load_percent, c->delay_la * 100, c->refuse_la * 100);
}

enum ss_pressure ss_pressure_of_queue(const struct ss_conf *c, uint32_t waiting)
{
	return judge(waiting, c->delay_waiting, c->refuse_waiting);
}

int ss_pressure_parse(struct sm_str text, int64_t *percent)
{
	struct sm_str fraction, whole = sm_str_split(sm_str_word(&text), '.', &fraction);
	uint64_t w, f;

	if (fraction.n != 2 || sm_str_u64(whole, 10, LOAD_MAX, &w) != 0 ||
	    sm_str_u64(fraction, 10, 99, &f) != 0)
		return sm_fail(SM_E_SYNTAX, "this is no load average");
	*percent = (int64_t)(w * 100 + f);
	return 0;
}

/* Each change is logged once. */
static void tell(enum ss_pressure now, enum ss_pressure *told, const char *what, int64_t value)
{
	static const char *const words[] = {"none", "delay", "refuse"};

	if (now == *told)
		return;
	*told = now;
	sm_log(now == SS_PRESSURE_REFUSE ? SM_WARN : SM_NOTICE, "ss.pressure",
	       "what=%s stat=%s value=%lld", what, words[now], (long long)value);
}

/* ---- the load average ---- */

static int look_job(void *arg)
{
	struct ss_pressure_state *p = &((struct ss *)arg)->pressure;
	char text[TEXT_BYTES];
	ssize_t n = pread(p->fd, text, sizeof(text), 0);

	if (n < 0)
		return sm_fail_sys(errno, "load average");
	return ss_pressure_parse(sm_str_n(text, (size_t)n), &p->seen_percent);
}

static bool is_wanted(const struct ss *ss)
{
	return ss->pressure.open && ss->pressure.fd >= 0 &&
	       (ss->conf->delay_la > 0 || ss->conf->refuse_la > 0);
}

static void look(void *arg);

static void looked(int rc, void *arg)
{
	struct ss *ss = arg;
	struct ss_pressure_state *p = &ss->pressure;

	p->looking = false;
	/* Of a file that is just being written there is a next look. */
	if (rc == 0)
		p->load_percent = p->seen_percent;
	else if (rc != SM_E_SYNTAX)
		sm_log(SM_ERROR, "ss.pressure", "what=load error=%s", p->job.diag);
	if (!is_wanted(ss))
		p->load_percent = 0;
	else
		sm_timer_set(&p->timer, sm_loop_now_ms() + LOOK_MS, look, ss);
	tell(ss_pressure_of_load(ss->conf, p->load_percent), &p->told_load, "load",
	     p->load_percent / 100);
}

static void look(void *arg)
{
	struct ss *ss = arg;

	if (ss->pressure.looking)
		return;
	ss->pressure.looking = true;
	sm_offload_async(&ss->pressure.job, look_job, looked, ss);
}

void ss_pressure_open(struct ss *ss)
{
	const char *path = "/proc/loadavg";

#ifdef SM_TESTING
	if (getenv("SM_TEST_LOADAVG") != NULL)
		path = getenv("SM_TEST_LOADAVG");
#endif
	ss->pressure.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ss->pressure.open = true;
}

void ss_pressure_watch(struct ss *ss)
{
	if (is_wanted(ss))
		look(ss);
	ss_pressure_waiting(ss, ss->pressure.waiting);
}

void ss_pressure_close(struct ss *ss)
{
	sm_timer_cancel(&ss->pressure.timer);
	if (ss->pressure.open && ss->pressure.fd >= 0)
		(void)close(ss->pressure.fd);
	ss->pressure.open = false;
}

void ss_pressure_waiting(struct ss *ss, uint32_t waiting)
{
	ss->pressure.waiting = waiting;
	tell(ss_pressure_of_queue(ss->conf, waiting), &ss->pressure.told_queue, "queue", waiting);
}

/* ---- clients ---- */

enum ss_reply_name ss_pressure_refusal(const struct ss *ss)
{
	if (ss_pressure_of_load(ss->conf, ss->pressure.load_percent) == SS_PRESSURE_REFUSE)
		return SS_R_LOAD;
	if (ss_pressure_of_queue(ss->conf, ss->pressure.waiting) == SS_PRESSURE_REFUSE)
		return SS_R_QUEUE_LONG;
	return SS_R_NONE;
}

enum ss_reply_name ss_pressure_mail(const struct ss_session *s)
{
	return ss_pressure_of_queue(s->conf, s->ss->pressure.waiting) == SS_PRESSURE_REFUSE
	           ? SS_R_QUEUE_LONG_MAIL
	           : SS_R_NONE;
}

bool ss_pressure_wait(struct ss_session *s)
{
	const struct ss_pressure_state *p = &s->ss->pressure;

	if (ss_pressure_of_load(s->conf, p->load_percent) == SS_PRESSURE_NONE &&
	    ss_pressure_of_queue(s->conf, p->waiting) == SS_PRESSURE_NONE)
		return true;
	return sm_co_sleep(sm_loop_now_ms() + s->conf->pressure_delay_ms) == 0;
}
