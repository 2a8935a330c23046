/*
 * The log: lines to a buffer, the buffer to descriptor 2 once a turn, or each line to syslog.
 *
 * Invariants: no call here waits (a pipe is written only when poll says that it takes PIPE_BUF
 * bytes, syslog's socket does not block); what cannot be written is counted and told later. Thread:
 * the loop's.
 */
#include "libsm/log_int.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define GATHER_BYTES  (256 * 1024)
#define RETRY_MS      100 /* until a full pipe is tried again */
#define SYSLOG_SOCKET "/dev/log"

static const struct {
	const char *name;
	int min_level, priority;
} severities[] = {
    [SM_DEBUG] = {"DEBUG", 13, LOG_DEBUG},   [SM_INFO] = {"INFO", 9, LOG_INFO},
    [SM_NOTICE] = {"NOTICE", 6, LOG_NOTICE}, [SM_WARN] = {"WARN", 3, LOG_WARNING},
    [SM_ERROR] = {"ERROR", 0, LOG_ERR},      [SM_CRIT] = {"CRIT", 0, LOG_CRIT},
    [SM_FATAL] = {"FATAL", 0, LOG_ALERT},
};

static struct sm_log_who who = {.name = "smx"};
static int level = 9;
static enum sm_log_format format = SM_LOG_KV;
static struct sm_buf line = {.max = SM_LOG_LINE_BYTES};
static struct sm_buf gathered = {.max = GATHER_BYTES};
static uint64_t lost; /* lines, not told yet */
static bool torn;     /* of the last line only a part was written */
static bool attached;
static bool plain; /* descriptor 2 is a file; of a process with a loop it changes only here */
static struct sm_hook hook;
static struct sm_timer retry;

static struct {
	bool on;
	int fd; /* -1: no connection now */
	int facility;
	uint32_t options;
	char ident[64];
} sys = {.fd = -1};

void sm_log_init(const char *name, int new_level)
{
	snprintf(who.name, sizeof(who.name), "%s", name);
	who.pid = (int)getpid();
	level = new_level;
}

void sm_log_format(enum sm_log_format new_format)
{
	format = new_format;
}

void sm_log_level(int new_level)
{
	level = new_level;
}

int sm_log_level_now(void)
{
	return level;
}

bool sm_log_on(enum sm_sev sev)
{
	return level >= severities[sev].min_level;
}

const char *sm_log_sev_name(enum sm_sev sev)
{
	return severities[sev].name;
}

/* ---- from lines to where they go ---- */

static void gather(struct sm_str text)
{
	if (gathered.len + text.n + 1 > GATHER_BYTES)
		sm_log_flush();
	if (gathered.len + text.n + 1 > GATHER_BYTES) {
		lost++;
		return;
	}
	if (gathered.len == 0 && torn)
		sm_buf_char(&gathered, '\n');
	sm_buf_str(&gathered, text);
	sm_buf_char(&gathered, '\n');
}

/* An event as a line of the configured format. Gives where the text for syslog begins. */
static size_t compose(struct sm_buf *b, enum sm_sev sev, const char *event, const char *pairs,
                      va_list *ap)
{
	sm_buf_reset(b);
	if (format == SM_LOG_JSON)
		return sm_log_line_json(b, sm_wall_ms(), &who, sev, event, pairs, ap);
	return sm_log_line_kv(b, sm_wall_ms(), sev, event, pairs, ap);
}

static void gather_event(enum sm_sev sev, const char *event, const char *pairs, ...)
{
	va_list ap;

	va_start(ap, pairs);
	compose(&line, sev, event, pairs, &ap);
	va_end(ap);
	gather(sm_buf_view(&line));
}

/* What could not be written, once there is room again. */
static void tell_lost(void)
{
	uint64_t n = lost;

	lost = 0;
	if (n > 0)
		gather_event(SM_WARN, "log.lost", "lines=%lu", n);
}

/* Whole lines, at most PIPE_BUF bytes if that holds one. */
static size_t piece(void)
{
	struct sm_str all = sm_buf_view(&gathered);
	ptrdiff_t end;

	if (all.n <= PIPE_BUF)
		return all.n;
	end = sm_str_rchr(sm_str_head(all, PIPE_BUF), '\n');
	return end >= 0 ? (size_t)end + 1 : PIPE_BUF;
}

static void try_again(void *arg SM_UNUSED)
{
	sm_log_flush();
}

/* The disk is full or worse: the log must not stop the mail. */
static void drop_gathered(void)
{
	struct sm_str all = sm_buf_view(&gathered);

	for (size_t i = 1; i < all.n; i++)
		lost += all.p[i] == '\n';
	sm_buf_reset(&gathered);
}

static void look_at_output(void)
{
	struct stat st;

	plain = fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);
}

int sm_log_redirect(int fd)
{
	sm_log_flush();
	if (dup2(fd, STDERR_FILENO) == -1)
		return sm_fail_sys(errno, "dup2");
	look_at_output();
	return 0;
}

void sm_log_flush(void)
{
	if (gathered.len == 0 && lost == 0)
		return;
	if (!attached)
		look_at_output();
	while (gathered.len > 0) {
		struct pollfd pfd = {.fd = STDERR_FILENO, .events = POLLOUT};
		if (!plain && poll(&pfd, 1, 0) == 0) {
			if (attached)
				sm_timer_set(&retry, sm_now_ms() + RETRY_MS, try_again, NULL);
			return;
		}
		ssize_t n =
		    write(STDERR_FILENO, sm_buf_p(&gathered), plain ? gathered.len : piece());
		if (n > 0) {
			torn = sm_buf_p(&gathered)[n - 1] != '\n';
			sm_buf_consume(&gathered, (size_t)n);
		} else if (n == -1 && errno == EAGAIN && attached) {
			sm_timer_set(&retry, sm_now_ms() + RETRY_MS, try_again, NULL);
			return;
		} else if (n == 0 || errno != EINTR) {
			drop_gathered();
			return;
		}
		if (gathered.len == 0)
			tell_lost();
	}
	if (lost > 0) {
		tell_lost();
		sm_log_flush();
	}
}

static bool before_sleep(void *arg SM_UNUSED)
{
	sm_log_flush();
	return false;
}

void sm_log_attach_loop(void)
{
	who.pid = (int)getpid(); /* a supervisor may have forked since */
	look_at_output();
	if (!attached)
		sm_loop_before_sleep_at(&hook, SM_HOOK_LOG, before_sleep, NULL);
	attached = true;
}

void sm_log_detach_loop(void)
{
	sm_log_flush();
	if (attached) {
		sm_timer_cancel(&retry);
		sm_hook_remove(&hook);
	}
	attached = false;
}

/* ---- syslog ---- */

static void sys_connect(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = SYSLOG_SOCKET};

	if (sys.fd != -1)
		close(sys.fd);
	sys.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sys.fd != -1 && connect(sys.fd, (struct sockaddr *)&un, sizeof(un)) == -1) {
		close(sys.fd);
		sys.fd = -1;
	}
}

void sm_log_syslog(const struct sm_conf_log *conf)
{
	sys.on = conf->facility != -1;
	if (!sys.on) {
		if (sys.fd != -1)
			close(sys.fd);
		sys.fd = -1;
		return;
	}
	sys.facility = conf->facility;
	sys.options = conf->options;
	if (sm_str_empty(conf->ident) ||
	    sm_str_copy(conf->ident, sys.ident, sizeof(sys.ident)) != 0)
		snprintf(sys.ident, sizeof(sys.ident), "%s", who.name);
	if (sys.fd == -1)
		sys_connect(); /* at once: a sandbox may close the path later */
}

/* The form that syslog(3) sends: "<priority>Mmm dd hh:mm:ss ident[pid]: text". */
static bool sys_send(enum sm_sev sev, struct sm_str text)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct sm_buf b;
	time_t now = (time_t)sm_wall_s();
	struct tm tm;
	bool sent = false;

	sm_buf_init(&b, SM_LOG_LINE_BYTES + 256);
	localtime_r(&now, &tm);
	sm_buf_printf(&b, "<%d>%.3s %2d %02d:%02d:%02d %s", sys.facility | severities[sev].priority,
	              months + 3 * tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
	              sys.ident);
	if (sys.options & SM_LOG_PID)
		sm_buf_printf(&b, "[%ld]", (long)getpid());
	sm_buf_cstr(&b, format == SM_LOG_JSON ? ": {" : ": ");
	sm_buf_str(&b, text);
	for (int attempt = 0; attempt < 2 && !sent; attempt++) {
		if (sys.fd != -1)
			sent = send(sys.fd, sm_buf_p(&b), b.len, MSG_NOSIGNAL) != -1;
		if (sent || (sys.fd != -1 && errno == EAGAIN))
			break;
		sys_connect(); /* the daemon was restarted */
	}
	sm_buf_fini(&b);
	return sent;
}

void sm_log(enum sm_sev sev, const char *event, const char *pairs, ...)
{
	size_t text;
	va_list ap;

	if (!sm_log_on(sev))
		return;
	va_start(ap, pairs);
	text = compose(&line, sev, event, pairs, &ap);
	va_end(ap);
	bool sent = sys.on && sys_send(sev, sm_str_from(sm_buf_view(&line), text));
	if (!sys.on || (sys.options & SM_LOG_PERROR) || (!sent && (sys.options & SM_LOG_CONS)))
		gather(sm_buf_view(&line));
	else if (!sent)
		lost++;
	if (!attached || sev >= SM_CRIT)
		sm_log_flush();
}
