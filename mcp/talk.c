/*
 * Packets from and to children. Invariant: of what a child sends only the first byte means
 * something, and the text of a status line is kept (bounded) and logged (escaped); descriptors that
 * it may attach are dropped by the kernel because no room is given for them. A child that floods is
 * read at a bounded rate and cannot keep mcp from its other work.
 */
#include "mcp/talk.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/net.h"
#include "mcp/files.h"
#include "mcp/service.h"

#define PACKETS_PER_TURN 64

static void status_line(struct mc_child *c, const char *text, size_t n)
{
	(void)snprintf(c->status, sizeof(c->status), "%.*s", (int)n, text);
	sm_log(SM_INFO, "mc.status", "service=%s child_pid=%d text=%s", c->service->name,
	       (int)c->pid, c->status);
}

static void packet(struct mc_child *c, const char *p, size_t n)
{
	switch (p[0]) {
	case 'R':
		mc_child_heard(c, true);
		break;
	case 'T':
		mc_child_heard(c, false);
		break;
	case 'S':
		status_line(c, p + 1, n - 1);
		break;
	default: /* of a later version, or nonsense */
		break;
	}
}

/* True when there may be more. */
static bool drain(struct mc_child *c)
{
	char p[MC_PACKET_MAX];

	for (int i = 0; i < PACKETS_PER_TURN; i++) {
		ssize_t n = recv(c->talk.fd, p, sizeof(p), MSG_DONTWAIT);
		if (n > 0) {
			packet(c, p, (size_t)n);
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else {
			/* Closed: from now on it is silent, and the watchdog counts when it once
			 * spoke. */
			if (n == 0 || errno != EAGAIN)
				sm_fd_close(&c->talk);
			return false;
		}
	}
	return true;
}

void mc_talk_drain(struct mc_child *c)
{
	if (c->talk.fd >= 0)
		(void)drain(c);
}

/* Level-triggered: what one turn left is there again at the next. */
static void on_talk(struct sm_fd *f, unsigned events, void *arg)
{
	(void)f;
	(void)events;
	(void)drain(arg);
}

int mc_talk_open(struct mc_child *c, int *theirs)
{
	int pair[2], rc;

	c->talk.fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return sm_fail_sys(errno, "mcp socket");
	if ((rc = sm_fd_open_level(&c->talk, pair[0], SM_RD, on_talk, c)) != 0) {
		(void)close(pair[0]);
		(void)close(pair[1]);
		c->talk.fd = -1;
		return rc;
	}
	*theirs = pair[1];
	return 0;
}

void mc_talk_close(struct mc_child *c)
{
	sm_fd_close(&c->talk);
}

bool mc_talk_send(struct mc_child *c, char kind, const char *name, int fd)
{
	char text[MC_PACKET_MAX];
	int n = snprintf(text, sizeof(text), "%c%s", kind, name);

	if (c->talk.fd < 0)
		return false;
	if (n >= (int)sizeof(text) || sm_net_send_fd(c->talk.fd, fd, text, (size_t)n) != 0) {
		sm_log(SM_WARN, "mc.talk", "service=%s child_pid=%d packet=%u stat=%s",
		       c->service->name, (int)c->pid, (unsigned)(unsigned char)kind, sm_diag());
		return false;
	}
	return true;
}

void mc_talk_send_files(struct mc_child *c)
{
	const struct sm_conf_list *files = &c->service->conf.open_files;

	for (size_t i = 0; i < files->count; i++) {
		int fd = mc_file_open(files->v[i].p);
		if (fd < 0) {
			/* The program decides whether it can do without. */
			sm_log(SM_ERROR, "mc.file", "service=%s file=%s stat=%s", c->service->name,
			       files->v[i].p, sm_diag());
			continue;
		}
		(void)mc_talk_send(c, 'F', files->v[i].p, fd);
		(void)close(fd);
	}
}

void mc_talk_send_listeners(struct mc_child *c)
{
	for (size_t i = 0; i < c->service->listener_count; i++)
		(void)mc_talk_send(c, 'A', c->service->listeners[i]->name,
		                   c->service->listeners[i]->fd);
}
