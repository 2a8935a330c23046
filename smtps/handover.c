/*
 * Takes listening sockets from the supervisor over a Unix socket: one message each, the text is the
 * listener's name. Invariant: only root, our own user, or the process that started us is listened
 * to. One socket a process. Callbacks on the loop's stack.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/net.h"
#include "smtps/accept.h"
#include "smtps/ss.h"

/* One supervisor that is connected; more than one at a time would be odd, but harmless. */
struct giver {
	struct sm_fd f;
	struct sm_timer patience;
};

static struct {
	struct sm_fd f;
	struct ss *ss;
	void (*on_first)(void *arg);
	void *arg;
	bool had_one;
	unsigned givers;
} door = {.f.fd = -1};

enum { PATIENCE_MS = 10000, GIVERS_MAX = 16, BACKLOG = 128 };

static void give_up(void *arg)
{
	struct giver *g = arg;

	sm_timer_cancel(&g->patience);
	sm_fd_close(&g->f);
	sm_free(g);
	door.givers--;
}

static void on_message(struct sm_fd *f SM_UNUSED, unsigned events SM_UNUSED, void *arg)
{
	struct giver *g = arg;

	for (;;) {
		char name[256];
		int fd;
		ssize_t n = sm_net_recv_fd(g->f.fd, &fd, name, sizeof(name) - 1);

		if (n == SM_E_AGAIN)
			return;
		/* Its end, or somebody who has no descriptor to give. */
		if (n <= 0 || fd == -1) {
			give_up(g);
			return;
		}
		name[n] = '\0';
		int err = ss_accept_add(door.ss, fd, name);
		if (err != 0)
			sm_log(SM_ERROR, "ss.handover", "name=%s error=%E", name, err);
		else if (!door.had_one && door.on_first != NULL)
			door.on_first(door.arg);
		door.had_one = door.had_one || err == 0;
	}
}

static void on_connect(struct sm_fd *f, unsigned events SM_UNUSED, void *arg SM_UNUSED)
{
	int fd;

	while ((fd = accept4(f->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
		struct giver *g;
		pid_t pid;
		uid_t uid;
		gid_t gid;

		if (sm_net_peercred(fd, &pid, &uid, &gid) != 0 ||
		    (uid != 0 && uid != getuid() && pid != getppid())) {
			sm_log(SM_WARN, "ss.handover", "peer_pid=%d uid=%u stat=refused", (int)pid,
			       (unsigned)uid);
			(void)close(fd);
			continue;
		}
		if (door.givers == GIVERS_MAX) {
			(void)close(fd);
			continue;
		}
		g = sm_calloc(1, sizeof(*g));
		if (sm_fd_open(&g->f, fd, on_message, g) != 0) {
			sm_free(g);
			continue;
		}
		door.givers++;
		sm_timer_set(&g->patience, sm_loop_now_ms() + PATIENCE_MS, give_up, g);
	}
}

int ss_handover_open(struct ss *ss, const char *path, void (*on_first)(void *arg), void *arg)
{
	struct sm_sa sa;
	int fd, err = sm_sa_unix(&sa, sm_str(path));

	if (err != 0)
		return err;
	fd = sm_net_listen(&sa, BACKLOG, 0077);
	if (fd < 0)
		return fd;
	door.ss = ss;
	door.on_first = on_first;
	door.arg = arg;
	return sm_fd_open(&door.f, fd, on_connect, NULL);
}

void ss_handover_close(void)
{
	sm_fd_close(&door.f);
}
