/*
 * A worker's end of the socket to its supervisor: ticks, ready and status out; reload, log file and
 * descriptors in. Invariant: nothing here waits; a tick that does not fit is left out. A packet
 * that is not understood is logged and dropped: mcp is root and trusted, but may be of another
 * build. Thread: the loop's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/net.h"
#include "libsm/priv.h"
#include "libsm/proc_int.h"

#define TICK_DEFAULT_MS 10000

static struct sm_fd sock = {.fd = -1};
static struct sm_timer ticker;
static int64_t tick_ms;
static bool terminating, orphaned;
static pid_t parent; /* mcp */

static bool tell(char kind, const char *text, size_t n)
{
	char packet[SM_MCP_PACKET];

	if (sock.fd == -1)
		return false;
	packet[0] = kind;
	n = SM_MIN(n, sizeof(packet) - 1);
	if (n > 0)
		memcpy(packet + 1, text, n);
	return send(sock.fd, packet, n + 1, MSG_DONTWAIT | MSG_NOSIGNAL) != -1;
}

static void tick(void *arg)
{
	(void)tell('T', NULL, 0);
	sm_timer_set(&ticker, sm_loop_now_ms() + tick_ms, tick, arg);
}

void sm_proc_term(struct sm_proc *p)
{
	bool again = terminating;

	/* A supervisor that is gone says so twice, by its socket and by TERM: that is no haste. */
	if (again && orphaned) {
		orphaned = false;
		return;
	}
	terminating = true;
	p->abandoned = orphaned || (p->mcp_fd != -1 && getppid() != parent);
	sm_log(SM_NOTICE, "proc.term", again ? "again=1" : NULL);
	if (again || p->on_term == NULL)
		sm_loop_stop(SM_EXIT_OK);
	else
		p->on_term(p);
}

static void take_log(int fd)
{
	if (dup2(fd, STDOUT_FILENO) == -1)
		sm_log(SM_ERROR, "log.reopen", "error=%s", strerror(errno));
	else if (sm_log_redirect(fd) != 0)
		sm_log(SM_ERROR, "log.reopen", "error=%s", sm_diag());
	close(fd);
}

static void take(struct sm_proc *p, char kind, const char *name, int fd)
{
	switch (kind) {
	case 'H':
		if (fd == -1) {
			sm_proc_reload(p);
			return;
		}
		break;
	case 'L':
		if (fd != -1) {
			take_log(fd);
			return;
		}
		break;
	case 'F':
	case 'A':
		if (fd != -1 && p->on_file != NULL) {
			p->on_file(p, name, fd);
			return;
		}
		break;
	default:
		break;
	}
	sm_log(SM_WARN, "proc.packet", "kind=%u name=%s fd=%d", (unsigned)(unsigned char)kind, name,
	       fd);
	if (fd != -1)
		close(fd);
}

static void on_packet(struct sm_fd *f, unsigned events SM_UNUSED, void *arg)
{
	struct sm_proc *p = arg;

	while (f->fd != -1) {
		char packet[SM_MCP_PACKET + 1];
		int fd;
		ssize_t n = sm_net_recv_fd(f->fd, &fd, packet, SM_MCP_PACKET);
		if (n > 0) {
			packet[n] = '\0';
			take(p, packet[0], packet + 1, fd);
		} else if (n == SM_E_AGAIN) {
			return;
		} else if (n != SM_E_PROTO) {
			sm_log(SM_WARN, "proc.mcp_gone", "error=%E", (int)n);
			sm_proc_mcp_close(p);
			if (!terminating) {
				orphaned = true;
				sm_proc_term(p);
			}
		}
	}
}

int sm_proc_mcp_open(struct sm_proc *p)
{
	const char *fd_text = getenv(SM_MCP_FD_ENV), *tick_text = getenv(SM_MCP_TICK_ENV);
	uint64_t fd, ms;
	int kind = 0, rc;
	socklen_t size = sizeof(kind);

	if (fd_text == NULL)
		return 0;
	if (sm_str_u64(sm_str(fd_text), 10, INT32_MAX, &fd) != 0 || fd <= STDERR_FILENO ||
	    getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &kind, &size) == -1 || kind != SOCK_SEQPACKET)
		return sm_fail(SM_E_BUG, "%s=%s is no socket of a supervisor", SM_MCP_FD_ENV,
		               fd_text);
	if (tick_text == NULL || sm_str_u64(sm_str(tick_text), 10, 3600000, &ms) != 0 || ms < 10)
		ms = TICK_DEFAULT_MS;
	tick_ms = (int64_t)ms;
	unsetenv(SM_MCP_FD_ENV);
	unsetenv(SM_MCP_TICK_ENV);
	fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	if ((rc = sm_fd_open(&sock, (int)fd, on_packet, p)) != 0)
		return rc;
	p->mcp_fd = (int)fd;
	parent = getppid();
	tick(NULL);
	return 0;
}

void sm_proc_mcp_close(struct sm_proc *p)
{
	sm_timer_cancel(&ticker);
	sm_fd_close(&sock);
	p->mcp_fd = -1;
}

void sm_proc_take_files(struct sm_proc *p)
{
	on_packet(&sock, SM_RD, p);
}

void sm_proc_ready(struct sm_proc *p)
{
	sm_log(SM_NOTICE, "proc.ready", "version=%s hostname=%S index=%d schema=%d",
	       PACKAGE_VERSION, p->global.hostname, p->index, SM_LOG_SCHEMA);
	if (p->mcp_fd != -1 && !tell('R', NULL, 0))
		sm_log(SM_ERROR, "proc.ready", "error=%s", strerror(errno));
#ifdef SM_TESTING
	sm_priv_probe(p->conf_path);
#endif
}

void sm_proc_status(struct sm_proc *p, const char *fmt, ...)
{
	char text[SM_MCP_PACKET];
	va_list ap;

	if (p->mcp_fd == -1)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)tell('S', text, strlen(text));
}
