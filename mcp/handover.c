/*
 * Handing over listeners by SCM_RIGHTS. Invariant: a listener goes only to the very process that
 * mcp started: the kernel tells who listens behind the path (SO_PEERCRED), and only the pid of the
 * child will do, whoever may write in that directory.
 */
#include "mcp/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/net.h"

#define FIRST_TRY_MS  20
#define SLOW_TRY_MS   500
#define FAST_FOR_MS   5000
#define COMPLAIN_EACH 64 /* slow tries: about half a minute */

bool mc_handover_path(const struct mc_service *s, unsigned id, char *out, size_t size)
{
	if (s->conf.pass_fd_socket.n == 0)
		return false;
	if (s->conf.pass_id.n > 0 && s->conf.min_processes > 1)
		(void)snprintf(out, size, SM_STR_FMT ".%u", SM_STR_ARG(s->conf.pass_fd_socket), id);
	else
		(void)snprintf(out, size, SM_STR_FMT, SM_STR_ARG(s->conf.pass_fd_socket));
	return true;
}

static int connect_to(const char *path)
{
	struct sm_sa sa;
	int fd, rc;

	if ((rc = sm_sa_unix(&sa, sm_str(path))) != 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return sm_fail_sys(errno, "socket");
	if (connect(fd, &sa.u.sa, sa.len) != 0) {
		rc = sm_fail_sys(errno, "connect to %s", path);
		(void)close(fd);
		return rc;
	}
	return fd;
}

static int hand_over(struct mc_child *c, const char *path)
{
	int fd = connect_to(path), rc;
	pid_t pid;
	uid_t uid;
	gid_t gid;

	if (fd < 0)
		return fd;
	rc = sm_net_peercred(fd, &pid, &uid, &gid);
	if (rc == 0 && pid != c->pid)
		rc = sm_fail(SM_E_DENIED, "%s belongs to process %d", path, (int)pid);
	for (size_t i = 0; rc == 0 && i < c->service->listener_count; i++) {
		struct mc_listener *l = c->service->listeners[i];
		rc = sm_net_send_fd(fd, l->fd, l->name, strlen(l->name));
	}
	(void)close(fd);
	return rc;
}

static void try_it(void *arg)
{
	struct mc_child *c = arg;
	int64_t age = sm_loop_now_ms() - c->started_ms;
	char path[SM_SA_TEXT];
	int rc;

	if (!mc_handover_path(c->service, c->slot->id, path, sizeof(path)))
		return;
	rc = hand_over(c, path);
	if (rc == 0) {
		sm_log(SM_INFO, "mc.pass", "service=%s child_pid=%d listeners=%zu path=%s",
		       c->service->name, (int)c->pid, c->service->listener_count, path);
		return;
	}
	/* Not there yet is normal; another process at that path is not. */
	if ((rc == SM_E_DENIED || age > FAST_FOR_MS) && c->handover_tries++ % COMPLAIN_EACH == 0)
		sm_log(SM_WARN, "mc.pass", "service=%s child_pid=%d stat=%s", c->service->name,
		       (int)c->pid, sm_diag());
	sm_timer_set(&c->handover,
	             sm_loop_now_ms() + (age > FAST_FOR_MS ? SLOW_TRY_MS : FIRST_TRY_MS), try_it,
	             c);
}

void mc_handover_start(struct mc_child *c)
{
	sm_timer_set(&c->handover, sm_loop_now_ms() + FIRST_TRY_MS, try_it, c);
}

void mc_handover_stop(struct mc_child *c)
{
	sm_timer_cancel(&c->handover);
}
