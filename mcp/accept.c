/*
 * Programs that serve one connection (nostartaccept): mcp accepts, and each connection gets a
 * process of its own.
 *
 * Invariant: while the service is up its listeners are watched; they are read from unless all slots
 * have a process, or a timer is set that ends the pause: after a failure, or because of
 * max_start_rate. Whoever is not accepted waits in the kernel's queue.
 */
#include "mcp/accept.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/log.h"
#include "mcp/service.h"

#define ACCEPTS_PER_TURN 16
#define ACCEPT_PAUSE_MS  1000

static struct mc_slot *free_slot(struct mc_service *s)
{
	if (s->alive >= s->slot_count)
		return NULL;
	for (size_t i = 0; i < s->slot_count; i++)
		if (s->slots[i].child == NULL)
			return &s->slots[i];
	return NULL;
}

static void accept_level(struct mc_service *s, unsigned directions)
{
	for (size_t i = 0; i < s->listener_count; i++)
		if (s->listeners[i]->watched && s->listeners[i]->service == s)
			(void)sm_fd_level(&s->listeners[i]->watch, directions);
}

static void resume_accept(void *arg)
{
	accept_level(arg, SM_RD);
}

static void pause_accept(struct mc_service *s, int64_t ms)
{
	accept_level(s, 0);
	sm_timer_set(&s->start_timer, sm_loop_now_ms() + ms, resume_accept, s);
}

static void on_connection(struct sm_fd *f, unsigned events, void *arg)
{
	struct mc_listener *l = arg;
	struct mc_service *s = l->service;
	struct mc_slot *slot;

	(void)f;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int64_t wait_ms =
		    mc_rate_wait_ms(&s->rate, s->conf.max_start_rate, sm_loop_now_ms());
		int fd, rc;

		if (wait_ms > 0) {
			pause_accept(s, wait_ms);
			return;
		}
		/* Full: the others wait in the kernel's queue; the next end of a process resumes.
		 */
		if ((slot = free_slot(s)) == NULL) {
			accept_level(s, 0);
			return;
		}
		if ((fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC)) < 0) {
			if (errno == EAGAIN || errno == EWOULDBLOCK)
				return;
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			(void)sm_fail_sys(errno, "accept on %s", l->key);
			sm_log(SM_WARN, "mc.accept", "service=%s stat=%s", s->name, sm_diag());
			pause_accept(s, ACCEPT_PAUSE_MS);
			return;
		}
		mc_rate_take(&s->rate, s->conf.max_start_rate, sm_loop_now_ms());
		rc = mc_slot_start(slot, fd);
		(void)close(fd);
		if (rc != 0) {
			sm_log(SM_ERROR, "mc.start", "service=%s stat=%s", s->name, sm_diag());
			pause_accept(s, ACCEPT_PAUSE_MS);
			return;
		}
	}
}

void mc_accept_begin(struct mc_service *s)
{
	for (size_t i = 0; i < s->listener_count; i++) {
		struct mc_listener *l = s->listeners[i];
		l->service = s;
		if (sm_fd_open_level(&l->watch, l->fd, SM_RD, on_connection, l) == 0)
			l->watched = true;
		else
			sm_log(SM_ERROR, "mc.listen", "service=%s stat=%s", s->name, sm_diag());
	}
}

void mc_accept_again(struct mc_service *s)
{
	if (!sm_timer_is_set(&s->start_timer))
		accept_level(s, SM_RD);
}

void mc_accept_end(struct mc_service *s)
{
	for (size_t i = 0; i < s->listener_count; i++) {
		struct mc_listener *l = s->listeners[i];
		if (l->watched && l->service == s) {
			sm_fd_forget(&l->watch);
			l->watched = false;
		}
	}
}
