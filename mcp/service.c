/*
 * The life of a service's processes. Invariant: a slot has a process, or a timer that will start
 * one, or was given up, or its service is not up; the end of a process is always noticed and always
 * leads to exactly one of these.
 */
#include "mcp/service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsm/log.h"
#include "mcp/accept.h"
#include "mcp/conf.h"
#include "mcp/files.h"
#include "mcp/handover.h"
#include "mcp/listen.h"
#include "mcp/spawn.h"
#include "mcp/supervise.h"
#include "mcp/talk.h"

#define ABORT_MS 2000 /* for the last words of one that hangs */

/* ---- preparing and releasing ---- */

static int set_blocking(const struct mc_listener *l, bool blocking)
{
	int flags = fcntl(l->fd, F_GETFL);

	flags = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
	return flags < 0 ? -1 : fcntl(l->fd, F_SETFL, flags);
}

int mc_service_prepare(struct mc_service *s)
{
	int rc;

	if (s->conf.max_descriptors > 0 && (rlim_t)s->conf.max_descriptors > mc.nofile.rlim_max)
		return sm_fail(SM_E_RANGE,
		               "section %s: max_descriptors is above the limit of mcp, %llu",
		               s->name, (unsigned long long)mc.nofile.rlim_max);
	if ((rc = mc_program_open(s)) != 0)
		return rc;
	if ((rc = mc_log_open(s->name, s->uid, &s->log_fd)) != 0 || (rc = mc_listen_open(s)) != 0) {
		if (s->log_fd >= 0)
			(void)close(s->log_fd);
		(void)close(s->program.fd);
		s->log_fd = s->program.fd = -1;
		return rc;
	}
	s->slot_count =
	    (size_t)(mc_per_connection(s) ? s->conf.max_processes : s->conf.min_processes);
	s->slots = sm_calloc(SM_MAX(s->slot_count, 1), sizeof(*s->slots));
	for (size_t i = 0; i < s->slot_count; i++)
		s->slots[i] = (struct mc_slot){.service = s, .id = (unsigned)i};
	return 0;
}

void mc_service_release(struct mc_service **sp)
{
	struct mc_service *s = *sp;

	if (s == NULL)
		return;
	sm_assert(s->alive == 0);
	mc_service_release(&s->next);
	for (size_t i = 0; i < s->slot_count; i++)
		sm_timer_cancel(&s->slots[i].restart);
	sm_timer_cancel(&s->kill_timer);
	sm_timer_cancel(&s->start_timer);
	mc_accept_end(s);
	mc_listen_close(s);
	if (s->program.fd >= 0)
		(void)close(s->program.fd);
	if (s->log_fd >= 0)
		(void)close(s->log_fd);
	mc_conf_free(sp);
}

/* ---- starting a process ---- */

static void ended(struct mc_slot *slot, int64_t ran_ms, int status);

static void kill_group(const struct mc_child *c, int sig)
{
	/* Its own session, so its own group; before the child has made it, the process alone. */
	if (kill(-c->pid, sig) != 0)
		(void)kill(c->pid, sig);
}

/* A connection is not worth more than this time. First it may say good-bye. */
static void overrun(void *arg)
{
	struct mc_child *c = arg;

	sm_log(SM_WARN, "mc.overrun", "service=%s child_pid=%d ran_ms=%lld", c->service->name,
	       (int)c->pid, (long long)(sm_loop_now_ms() - c->started_ms));
	kill_group(c, c->killed ? SIGKILL : SIGTERM);
	c->killed = true;
	sm_timer_set(&c->watchdog, sm_loop_now_ms() + SM_MAX(1, c->service->conf.stop_timeout_ms),
	             overrun, c);
}

int mc_slot_start(struct mc_slot *slot, int connection)
{
	struct mc_service *s = slot->service;
	struct mc_child *c = sm_calloc(1, sizeof(*c));
	struct mc_spawn sp = {.service = s, .id = slot->id, .stdin_fd = connection, .talk_fd = -1};
	char path[128];
	int rc;

	c->service = s;
	c->slot = slot;
	c->talk.fd = -1;
	c->started_ms = sm_loop_now_ms();
	if (mc_per_connection(s))
		sp.stdout_too = true;
	else if ((rc = mc_talk_open(c, &sp.talk_fd)) != 0)
		goto fail;
	if (s->conf.start_action == SM_START_ACCEPT)
		sp.stdin_fd = s->listeners[0]->fd;
	if (mc_handover_path(s, slot->id, path, sizeof(path)))
		sp.pass_fd_path = path;
	if ((rc = mc_spawn(&sp, &c->pid)) != 0)
		goto fail;
	slot->child = c;
	s->alive++;
	sm_log(SM_INFO, "mc.start", "service=%s child_pid=%d id=%u", s->name, (int)c->pid,
	       slot->id);
	if (sp.talk_fd >= 0)
		(void)close(sp.talk_fd);
	if (mc_per_connection(s) && s->conf.max_run_time_ms > 0)
		sm_timer_set(&c->watchdog, c->started_ms + s->conf.max_run_time_ms, overrun, c);
	if (!mc_per_connection(s)) {
		mc_talk_send_files(c);
		if (sp.pass_fd_path != NULL)
			mc_handover_start(c);
		else if (s->conf.start_action == SM_START_PASS)
			mc_talk_send_listeners(c);
	}
	mc_kick();
	return 0;
fail:
	if (sp.talk_fd >= 0)
		(void)close(sp.talk_fd);
	mc_talk_close(c);
	SM_FREE(c);
	return rc;
}

static void start_slot(struct mc_slot *slot)
{
	if (mc_slot_start(slot, -1) == 0)
		return;
	sm_log(SM_ERROR, "mc.start", "service=%s id=%u stat=%s", slot->service->name, slot->id,
	       sm_diag());
	/* Like a program that says "later": no memory, no process free. */
	ended(slot, 0, 75 << 8);
}

static void restart_slot(void *arg)
{
	struct mc_slot *slot = arg;
	bool missed = slot->missed;

	slot->missed = false;
	start_slot(slot);
	if (missed)
		mc_dependents(slot->service);
}

/* ---- the whole service up and down ---- */

static int64_t start_deadline(const struct mc_child *c)
{
	int64_t patience = c->service->conf.start_timeout_ms;

	if (!c->spoke && c->service->conf.start_action == SM_START_ACCEPT)
		return c->started_ms;
	return c->started_ms + (c->spoke ? patience : SM_MIN(patience, MC_SILENT_START_MS));
}

static void start_over(void *arg)
{
	struct mc_service *s = arg;

	for (size_t i = 0; i < s->slot_count; i++) {
		const struct mc_child *c = s->slots[i].child;
		if (c != NULL && c->spoke && !c->ready && start_deadline(c) <= sm_loop_now_ms())
			sm_log(SM_WARN, "mc.slow", "service=%s child_pid=%d ms=%lld", s->name,
			       (int)c->pid, (long long)(sm_loop_now_ms() - c->started_ms));
	}
	mc_kick();
}

/* When the first process that is not ready will have had its time; 0: none. */
static int64_t pending_until(const struct mc_service *s)
{
	int64_t until = 0;

	for (size_t i = 0; i < s->slot_count && !mc_per_connection(s); i++) {
		const struct mc_child *c = s->slots[i].child;
		if (c != NULL && !c->ready && start_deadline(c) > sm_loop_now_ms() &&
		    (until == 0 || start_deadline(c) < until))
			until = start_deadline(c);
	}
	return until;
}

struct mc_view mc_service_view(const struct mc_service *s)
{
	return (struct mc_view){.up = s->up,
	                        .alive = s->alive > 0,
	                        .stopping = s->stopping,
	                        .pending = s->up && pending_until(s) != 0,
	                        .again = s->again,
	                        .gone = s->gone};
}

static void watch_start(struct mc_service *s)
{
	int64_t until = pending_until(s);

	if (until != 0)
		sm_timer_set(&s->start_timer, until, start_over, s);
}

void mc_service_start(struct mc_service *s)
{
	sm_assert(!s->up && s->alive == 0);
	s->up = true;
	s->again = false;
	for (size_t i = 0; i < s->listener_count; i++)
		(void)set_blocking(s->listeners[i], s->conf.start_action == SM_START_ACCEPT);
	if (mc_per_connection(s)) {
		mc_accept_begin(s);
		return;
	}
	for (size_t i = 0; i < s->slot_count; i++) {
		s->slots[i].given_up = false;
		s->slots[i].brake = (struct mc_brake){0};
		start_slot(&s->slots[i]);
	}
	watch_start(s);
}

static void kill_all(void *arg)
{
	struct mc_service *s = arg;

	for (size_t i = 0; i < s->slot_count; i++) {
		struct mc_child *c = s->slots[i].child;
		if (c == NULL)
			continue;
		c->killed = true;
		sm_log(SM_WARN, "mc.kill", "service=%s child_pid=%d reason=stop_timeout", s->name,
		       (int)c->pid);
		kill_group(c, SIGKILL);
	}
}

void mc_service_stop(struct mc_service *s, bool now)
{
	s->up = false;
	sm_timer_cancel(&s->start_timer);
	mc_accept_end(s);
	for (size_t i = 0; i < s->slot_count; i++) {
		struct mc_child *c = s->slots[i].child;
		sm_timer_cancel(&s->slots[i].restart);
		if (c == NULL)
			continue;
		mc_handover_stop(c);
		sm_timer_cancel(&c->watchdog);
		if (!c->asked)
			(void)kill(c->pid, SIGTERM);
		c->asked = true;
	}
	if (s->alive == 0)
		return;
	/* One that is stopped by SIGSTOP gets the TERM only when it goes on, and the KILL at once.
	 */
	s->stopping = true;
	sm_timer_set(&s->kill_timer, sm_loop_now_ms() + (now ? 0 : s->conf.stop_timeout_ms),
	             kill_all, s);
}

/* ---- signs of life ---- */

static void silent(void *arg)
{
	struct mc_child *c = arg;
	int64_t patience = c->service->conf.watchdog_ms, for_ms;

	/* mcp may have been away itself: what the child said meanwhile counts. */
	mc_talk_drain(c);
	for_ms = sm_loop_now_ms() - c->heard_ms;
	if (for_ms < patience) {
		sm_timer_set(&c->watchdog, c->heard_ms + patience, silent, c);
		return;
	}
	sm_log(SM_ERROR, "mc.watchdog", "service=%s child_pid=%d silent_ms=%lld status=%s",
	       c->service->name, (int)c->pid, (long long)for_ms, c->status);
	/* ABRT first: it may tell what it was working on. Whoever still lives a moment later is
	 * killed. */
	kill_group(c, c->aborted ? SIGKILL : SIGABRT);
	c->killed = true;
	c->aborted = true;
	sm_timer_set(&c->watchdog, sm_loop_now_ms() + ABORT_MS, silent, c);
}

void mc_child_heard(struct mc_child *c, bool ready)
{
	bool first = !c->spoke;

	c->heard_ms = sm_loop_now_ms();
	c->spoke = true;
	if (first && c->service->conf.watchdog_ms > 0 && !c->asked)
		sm_timer_set(&c->watchdog, c->heard_ms + c->service->conf.watchdog_ms, silent, c);
	if (ready && !c->ready) {
		c->ready = true;
		sm_log(SM_INFO, "mc.ready", "service=%s child_pid=%d ms=%lld", c->service->name,
		       (int)c->pid, (long long)(c->heard_ms - c->started_ms));
	} else if (!first) {
		return;
	}
	watch_start(c->service);
	mc_kick();
}

/* ---- the end of a process ---- */

static void give_up(struct mc_slot *slot, const char *why)
{
	slot->given_up = true;
	sm_log(SM_ERROR, "mc.giveup", "service=%s id=%u reason=%s", slot->service->name, slot->id,
	       why);
	mc_kick();
}

/* A process of an up service is gone, unasked. */
static void ended(struct mc_slot *slot, int64_t ran_ms, int status)
{
	const struct sm_conf_service *conf = &slot->service->conf;
	struct mc_brake_rule rule = {.min_delay_ms = conf->restart_min_delay_ms,
	                             .max_delay_ms = conf->restart_max_delay_ms,
	                             .good_time_ms = conf->restart_good_time_ms,
	                             .limit = (unsigned)conf->restart_limit};
	struct mc_brake_next next = mc_brake_ended(&slot->brake, &rule, ran_ms, status);

	switch (next.what) {
	case MC_HOPELESS:
		give_up(slot, "exit-status");
		return;
	case MC_GIVEUP:
		give_up(slot, "restart_limit");
		return;
	case MC_LOOP:
		sm_log(SM_ERROR, "mc.brake", "service=%s id=%u deaths=%u delay_ms=%lld",
		       slot->service->name, slot->id, slot->brake.deaths, (long long)next.delay_ms);
		break;
	case MC_AGAIN:
		break;
	}
	sm_timer_set(&slot->restart, sm_loop_now_ms() + next.delay_ms, restart_slot, slot);
}

static void log_end(const struct mc_child *c, int64_t ran_ms, int status)
{
	bool bad = !c->asked && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);

	sm_log(bad ? SM_WARN : SM_INFO, "mc.exit",
	       "service=%s child_pid=%d %s=%d ran_ms=%lld asked=%d", c->service->name, (int)c->pid,
	       WIFSIGNALED(status) ? "signal" : "status",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), (long long)ran_ms,
	       c->asked);
}

static struct mc_child *find(pid_t pid)
{
	SM_LIST_FOR (s, &mc.services, struct mc_service, link) {
		for (size_t i = 0; s->alive > 0 && i < s->slot_count; i++)
			if (s->slots[i].child != NULL && s->slots[i].child->pid == pid)
				return s->slots[i].child;
	}
	return NULL;
}

/* It was there for others: it said so, or never speaks and had its time. */
static bool was_up(const struct mc_child *c)
{
	return c->ready || start_deadline(c) <= sm_loop_now_ms();
}

void mc_service_reaped(pid_t pid, int status)
{
	struct mc_child *c = find(pid);
	struct mc_service *s;
	struct mc_slot *slot;
	int64_t ran_ms;

	if (c == NULL)
		return; /* of a former life of this process id, or nobody's */
	s = c->service;
	slot = c->slot;
	ran_ms = sm_loop_now_ms() - c->started_ms;
	mc_talk_drain(c); /* its last words */
	log_end(c, ran_ms, status);
	/* Those it left behind in its session would keep sockets and locks. */
	if (c->asked || c->killed)
		(void)kill(-pid, SIGKILL);
	mc_handover_stop(c);
	sm_timer_cancel(&c->watchdog);
	mc_talk_close(c);
	slot->missed = s->up && (slot->missed || was_up(c));
	slot->child = NULL;
	s->alive--;
	SM_FREE(c);

	if (s->stopping && s->alive == 0) {
		s->stopping = false;
		sm_timer_cancel(&s->kill_timer);
	} else if (s->up && mc_per_connection(s)) {
		mc_accept_again(s);
	} else if (s->up) {
		ended(slot, ran_ms, status);
	}
	mc_kick();
}

/* ---- while it runs ---- */

/* Worth telling something: it speaks, or may still begin to. */
static bool listens(const struct mc_child *c)
{
	return c != NULL && !c->asked && c->talk.fd >= 0 &&
	       (c->spoke || sm_loop_now_ms() - c->started_ms < c->service->conf.start_timeout_ms);
}

void mc_service_reload(struct mc_service *s)
{
	for (size_t i = 0; i < s->slot_count; i++) {
		struct mc_slot *slot = &s->slots[i];
		if (slot->given_up && s->up) {
			slot->given_up = false;
			slot->brake = (struct mc_brake){0};
			start_slot(slot);
		} else if (listens(slot->child)) {
			mc_talk_send_files(slot->child);
			(void)mc_talk_send(slot->child, 'H', "", -1);
		}
	}
	watch_start(s);
}

void mc_service_reopen_log(struct mc_service *s)
{
	int fd;

	if (mc_log_open(s->name, s->uid, &fd) != 0) {
		sm_log(SM_ERROR, "mc.log", "service=%s stat=%s", s->name, sm_diag());
		return;
	}
	if (fd < 0)
		return;
	if (s->log_fd >= 0)
		(void)close(s->log_fd);
	s->log_fd = fd;
	for (size_t i = 0; i < s->slot_count; i++)
		if (listens(s->slots[i].child))
			(void)mc_talk_send(s->slots[i].child, 'L', "", fd);
}

void mc_service_signal(struct mc_service *s, int sig)
{
	for (size_t i = 0; i < s->slot_count; i++)
		if (s->slots[i].child != NULL && s->slots[i].child->spoke)
			(void)kill(s->slots[i].child->pid, sig);
}

void mc_service_log_state(const struct mc_service *s)
{
	sm_log(SM_NOTICE, "mc.service", "service=%s up=%d alive=%zu stopping=%d again=%d", s->name,
	       s->up, s->alive, s->stopping, s->again);
	for (size_t i = 0; i < s->slot_count; i++) {
		const struct mc_slot *slot = &s->slots[i];
		const struct mc_child *c = slot->child;
		if (c != NULL)
			sm_log(SM_NOTICE, "mc.process",
			       "service=%s id=%u child_pid=%d age_ms=%lld ready=%d status=%s",
			       s->name, slot->id, (int)c->pid,
			       (long long)(sm_loop_now_ms() - c->started_ms), c->ready, c->status);
		else if (!mc_per_connection(s))
			sm_log(SM_NOTICE, "mc.process", "service=%s id=%u deaths=%u given_up=%d",
			       s->name, slot->id, slot->brake.deaths, slot->given_up);
	}
}
