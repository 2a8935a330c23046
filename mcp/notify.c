/*
 * The notify protocol of systemd. Invariant: READY=1 follows every RELOADING=1, whatever became of
 * the reload, or systemd would take mcp for hung. A lost datagram is not repeated: there is nobody
 * to complain to.
 */
#include "mcp/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libsm/loop.h"
#include "libsm/str.h"

static struct sockaddr_un to;
static socklen_t to_len;
static int64_t beat_ms;
static struct sm_timer beat;

static void send_text(const char *text)
{
	int fd;

	if (to_len == 0 || (fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, to_len);
	(void)close(fd);
}

static uint64_t number(const char *name)
{
	const char *v = getenv(name);
	uint64_t n = 0;

	return v != NULL && sm_str_u64(sm_str(v), 10, INT64_MAX, &n) == 0 ? n : 0;
}

void mc_notify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	uint64_t usec = number("WATCHDOG_USEC"), pid = number("WATCHDOG_PID");
	size_t n = path != NULL ? strlen(path) : 0;

	if (n > 1 && n < sizeof(to.sun_path) && (path[0] == '/' || path[0] == '@')) {
		to.sun_family = AF_UNIX;
		memcpy(to.sun_path, path, n + 1);
		/* '@' stands for the NUL of the abstract name space, whose names have no end mark.
		 */
		if (path[0] == '@')
			to.sun_path[0] = '\0';
		to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path[0] == '/'));
	}
	if (usec >= 2000 && (pid == 0 || pid == (uint64_t)getpid()))
		beat_ms = (int64_t)(usec / 2000);
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
}

static void on_beat(void *arg)
{
	(void)arg;
	send_text("WATCHDOG=1");
	sm_timer_set(&beat, sm_loop_now_ms() + beat_ms, on_beat, NULL);
}

void mc_notify_watchdog(void)
{
	if (to_len != 0 && beat_ms > 0)
		on_beat(NULL);
}

void mc_notify_ready(void)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "READY=1\nMAINPID=%d\nSTATUS=all services started",
	               (int)getpid());
	send_text(text);
}

void mc_notify_reloading(void)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reloading",
	               (long long)sm_now_us());
	send_text(text);
}

void mc_notify_stopping(void)
{
	send_text("STOPPING=1\nSTATUS=stopping");
}
