/*
 * All services together. Invariant: mc.services is what runs or is on its way; a new configuration
 * is prepared completely before anything of the old one is touched, so that a bad file, a missing
 * program or a port in use leaves everything as it was.
 */
#include "mcp/supervise.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "libsm/log.h"
#include "mcp/conf.h"
#include "mcp/files.h"
#include "mcp/listen.h"
#include "mcp/notify.h"
#include "mcp/order.h"
#include "mcp/service.h"

#define VIEWS_MAX 1024 /* services of the file, and those that are going away */

static struct sm_hook hook;
static bool dirty, want_up = true, in_haste, announced;
static void (*tell_up)(void);

/* ---- loading ---- */

static void release_all(struct sm_list *services)
{
	SM_LIST_FOR_SAFE (s, services, struct mc_service, link) {
		sm_list_remove(&s->link);
		mc_service_release(&s);
	}
}

/* The listener is shared with the former configuration by design, but not within one. */
static int check_listeners(const struct sm_list *services, const struct mc_service *s)
{
	SM_LIST_FOR (o, services, struct mc_service, link) {
		for (size_t i = 0; i < o->listener_count; i++)
			for (size_t k = 0; k < s->listener_count; k++)
				if (o->listeners[i] == s->listeners[k] && (o != s || i < k))
					return sm_fail(SM_E_EXISTS,
					               "section %s: %s is taken by section %s",
					               s->name, s->listeners[k]->key, o->name);
		if (o == s)
			return 0;
	}
	return 0;
}

static int prepare(struct sm_list *services, struct mc_own *own, struct sm_arena *a)
{
	int rc;

	if ((rc = mc_conf_load(mc.conf_path, services, own, a)) != 0)
		return rc;
	SM_LIST_FOR (s, services, struct mc_service, link) {
		if ((rc = mc_service_prepare(s)) != 0 || (rc = check_listeners(services, s)) != 0)
			break;
	}
	if (rc != 0)
		release_all(services);
	return rc;
}

/* The settings of mcp itself take effect. -l without a facility means daemon. */
static void use_own(struct mc_own *own)
{
	sm_log_level((int)own->log_level);
	sm_log_format((enum sm_log_format)own->log.format);
	if (mc.syslog && own->log.facility == -1)
		own->log.facility = LOG_DAEMON;
	sm_log_syslog(&own->log);
}

static int load(struct sm_list *services)
{
	struct mc_own own;
	struct sm_arena a;
	int rc;

	sm_arena_init(&a, "own", 512, 65536);
	if ((rc = prepare(services, &own, &a)) == 0)
		use_own(&own);
	sm_arena_fini(&a);
	return rc;
}

int mc_supervise_load(void)
{
	return load(&mc.services);
}

/* ---- order ---- */

void mc_kick(void)
{
	dirty = true;
}

void mc_dependents(const struct mc_service *s)
{
	SM_LIST_FOR (d, &mc.services, struct mc_service, link) {
		if (d == s || d->again || d->gone || !mc_conf_depends(s, d))
			continue;
		sm_log(SM_NOTICE, "mc.depend", "service=%s because_of=%s", d->name, s->name);
		d->again = true;
	}
	mc_kick();
}

/* The time for the new configuration of a service has come: it has no processes. */
static struct mc_service *adopt(struct mc_service *s)
{
	struct mc_service *n = s->next;

	if (n == NULL)
		return s;
	s->next = NULL;
	sm_list_insert_(&n->link, &s->link, s->link.next);
	sm_list_remove(&s->link);
	mc_service_release(&s);
	return n;
}

static void forget_gone(void)
{
	SM_LIST_FOR_SAFE (s, &mc.services, struct mc_service, link) {
		if (s->gone && !s->up && s->alive == 0) {
			sm_list_remove(&s->link);
			mc_service_release(&s);
		}
	}
}

static void arrived(void)
{
	forget_gone();
	if (!want_up) {
		sm_loop_stop(0);
		return;
	}
	mc_notify_ready();
	if (announced)
		return;
	announced = true;
	sm_log(SM_NOTICE, "mc.up", "mcp_pid=%d", (int)getpid());
	sm_log_flush(); /* whoever waited for us may look at once */
	tell_up();
}

static bool step(void *arg)
{
	struct mc_view views[VIEWS_MAX];
	struct mc_service *at[VIEWS_MAX];

	(void)arg;
	if (!dirty)
		return false;
	for (;;) {
		size_t n = 0, which = 0;

		SM_LIST_FOR (s, &mc.services, struct mc_service, link) {
			sm_assert(n < VIEWS_MAX);
			at[n] = s;
			views[n++] = mc_service_view(s);
		}
		switch (mc_order_next(want_up, views, n, &which)) {
		case MC_START:
			mc_service_start(adopt(at[which]));
			break;
		case MC_STOP:
			mc_service_stop(at[which], in_haste);
			break;
		case MC_WAIT:
			dirty = false;
			return true;
		case MC_DONE:
			dirty = false;
			arrived();
			return true;
		}
	}
}

/* ---- reload ---- */

static struct mc_service *find(struct sm_list *services, const char *name)
{
	SM_LIST_FOR (s, services, struct mc_service, link) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

static bool changed(const struct mc_service *old, const struct mc_service *new)
{
	const struct mc_service *latest = old->next != NULL ? old->next : old;

	return !sm_str_eq(latest->text, new->text) || latest->uid != new->uid ||
	       latest->gid != new->gid;
}

/* Make mc.services what `news` says; consumes it. */
static void take_over(struct sm_list *news)
{
	struct sm_list list, told;
	bool upgraded = false;
	unsigned restarts = 0;

	sm_list_init(&list);
	sm_list_init(&told);
	SM_LIST_FOR (n, news, struct mc_service, link) {
		const struct mc_service *o = find(&mc.services, n->name);
		upgraded = upgraded || (o != NULL && !mc_program_same(&o->program, &n->program));
	}
	SM_LIST_FOR_SAFE (n, news, struct mc_service, link) {
		struct mc_service *o = find(&mc.services, n->name);
		sm_list_remove(&n->link);
		if (o == NULL) {
			sm_list_push(&list, &n->link);
			continue;
		}
		sm_list_remove(&o->link);
		sm_list_push(&list, &o->link);
		if (upgraded || o->gone || changed(o, n)) {
			o->gone = false;
			mc_service_release(&o->next);
			o->next = n;
			o->again = true;
			restarts++;
		} else {
			/* Also when it waits to be replaced by what is the same as this. */
			mc_service_release(&n);
		}
	}
	/* Those left are no longer in the file: they go first, and make room. */
	SM_LIST_FOR (o, &mc.services, struct mc_service, link) {
		o->gone = true;
		o->again = false;
	}
	sm_list_splice(&mc.services, &list);
	SM_LIST_FOR (s, &mc.services, struct mc_service, link) {
		if (s->again && s->next != NULL)
			mc_dependents(s->next);
	}
	SM_LIST_FOR (s, &mc.services, struct mc_service, link) {
		if (!s->again && !s->gone)
			mc_service_reload(s);
	}
	sm_log(SM_NOTICE, "mc.reload", "stat=ok upgraded=%d restarts=%u", upgraded, restarts);
}

static void reload(void)
{
	struct sm_list news;
	size_t n = 0;

	mc_notify_reloading();
	SM_LIST_FOR (s, &mc.services, struct mc_service, link)
		n++;
	if (n > VIEWS_MAX - MC_SERVICES_MAX)
		sm_log(SM_ERROR, "mc.reload", "stat=refused reason=%s",
		       "too many services of former configurations have not ended yet");
	else if (load(&news) == 0)
		take_over(&news);
	else
		sm_log(SM_ERROR, "mc.reload", "stat=refused reason=%s", sm_diag());
	mc_kick();
}

/* ---- signals ---- */

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		mc_service_reaped(pid, status);
}

static void reopen_logs(void)
{
	int fd;

	if (mc_log_open("mcp", geteuid(), &fd) != 0) {
		sm_log(SM_ERROR, "mc.log", "service=mcp stat=%s", sm_diag());
	} else if (fd >= 0) {
		sm_log_flush();
		(void)dup2(fd, 2);
		(void)close(fd);
	}
	SM_LIST_FOR (s, &mc.services, struct mc_service, link)
		mc_service_reopen_log(s);
	sm_log(SM_NOTICE, "mc.logs", "stat=reopened");
}

static void finish(int sig)
{
	/* A second one: no patience any more. */
	in_haste = !want_up;
	want_up = false;
	sm_log(SM_NOTICE, "mc.stop", "signal=%d haste=%d", sig, in_haste);
	mc_notify_stopping();
	if (in_haste)
		SM_LIST_FOR (s, &mc.services, struct mc_service, link) {
			if (s->stopping)
				mc_service_stop(s, true);
		}
	mc_kick();
}

static void on_signal(int sig, void *arg)
{
	(void)arg;
	switch (sig) {
	case SIGCHLD:
		reap();
		break;
	case SIGHUP:
		if (want_up)
			reload();
		break;
	case SIGUSR1:
		reopen_logs();
		break;
	case SIGUSR2:
		SM_LIST_FOR (s, &mc.services, struct mc_service, link) {
			mc_service_log_state(s);
			mc_service_signal(s, SIGUSR2);
		}
		break;
	default: /* TERM, INT */
		finish(sig);
	}
}

int mc_supervise_start(void (*on_up)(void))
{
	static const int signals[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
	int rc;

	tell_up = on_up;
	(void)signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < SM_ARRAY_SIZE(signals); i++)
		if ((rc = sm_loop_signal(signals[i], on_signal, NULL)) != 0)
			return rc;
	sm_loop_before_sleep(&hook, step, NULL);
	mc_kick();
	return 0;
}

void mc_supervise_end(void)
{
	release_all(&mc.services);
	sm_assert(mc_listen_none());
}
