/*
 * The log: one event to one escaped line, lines to a buffer, the buffer to descriptor 2 once a
 * turn, or each line to syslog.
 *
 * Invariants: a value never contains what ends a pair or a line; no call here waits (a pipe is
 * written only when poll says that it takes PIPE_BUF bytes, syslog's socket does not block); what
 * cannot be written is counted and told later. Thread: the loop's.
 */
#include "libsm/log.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "libsm/buf.h"

#define LINE_BYTES    8192
#define VALUE_BYTES   512
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

static char ident[64] = "smx";
static int level = 9;
static struct sm_buf line = {.max = LINE_BYTES};
static struct sm_buf gathered = {.max = GATHER_BYTES};
static uint64_t lost; /* lines, not told yet */
static bool attached;
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
	snprintf(ident, sizeof(ident), "%s", name);
	level = new_level;
}

void sm_log_level(int new_level)
{
	level = new_level;
}

bool sm_log_on(enum sm_sev sev)
{
	return level >= severities[sev].min_level;
}

const char *sm_log_sev_name(enum sm_sev sev)
{
	return severities[sev].name;
}

/* ---- from an event to a line ---- */

/* `keep`: one more character that stands for itself. */
static void escape(struct sm_buf *b, struct sm_str s, size_t max, char keep)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = SM_MIN(s.n, max);

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if ((c > ' ' && c < 0x7f && c != ',' && c != '"' && c != '\\') ||
		    (c != '\0' && c == (unsigned char)keep)) {
			sm_buf_char(b, (char)c);
		} else {
			char x[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
			sm_buf_append(b, x, 4);
		}
	}
	if (s.n > max)
		sm_buf_cstr(b, "...");
}

void sm_log_escape(struct sm_buf *b, struct sm_str s, size_t max)
{
	escape(b, s, max, '\0');
}

void sm_log_escape_text(struct sm_buf *b, struct sm_str s, size_t max)
{
	escape(b, s, max, ' ');
}

/* A value with spaces that is all of its pair stands in quotes, for people to read; the quote
 * itself is always escaped. */
static void put_value(struct sm_buf *b, struct sm_str s)
{
	bool quote = b->len > 0 && sm_buf_p(b)[b->len - 1] == '=' && sm_str_chr(s, ' ') >= 0;

	if (quote)
		sm_buf_char(b, '"');
	escape(b, s, VALUE_BYTES, quote ? ' ' : '\0');
	if (quote)
		sm_buf_char(b, '"');
}

static void put_error(struct sm_buf *b, int err)
{
	const char *diag = sm_diag();

	sm_buf_char(b, '"');
	sm_buf_cstr(b, sm_strerr(err));
	if (err < 0 && *diag != '\0') {
		sm_buf_cstr(b, ": ");
		escape(b, sm_str(diag), VALUE_BYTES, ' ');
	}
	sm_buf_char(b, '"');
}

/* An integer directive behind its length modifiers; `longs` is how many l, or 2 for z. */
static void put_integer(struct sm_buf *b, char directive, int longs, va_list *ap)
{
	int64_t s = 0;
	uint64_t u = 0;

	if (directive == 'd')
		s = longs == 0   ? va_arg(*ap, int)
		    : longs == 1 ? va_arg(*ap, long)
		                 : va_arg(*ap, long long);
	else
		u = longs == 0   ? va_arg(*ap, unsigned)
		    : longs == 1 ? va_arg(*ap, unsigned long)
		                 : va_arg(*ap, unsigned long long);
	if (directive == 'd')
		sm_buf_printf(b, "%" PRId64, s);
	else if (directive == 'u')
		sm_buf_printf(b, "%" PRIu64, u);
	else
		sm_buf_printf(b, "%" PRIx64, u);
}

_Static_assert(sizeof(size_t) == sizeof(long), "z and l are read alike");

/* One directive, `p` behind the percent sign; gives what follows it. */
static const char *put_directive(struct sm_buf *b, const char *p, va_list *ap)
{
	char id[SM_ID_SIZE], sa[SM_SA_TEXT];
	int longs = 0;

	for (; *p == 'l' || *p == 'z'; p++)
		longs++;
	switch (*p) {
	case 'd':
	case 'u':
	case 'x':
		put_integer(b, *p, longs, ap);
		break;
	case 'S':
		put_value(b, va_arg(*ap, struct sm_str));
		break;
	case 's':
		put_value(b, sm_str(va_arg(*ap, const char *)));
		break;
	case 'I':
		sm_buf_cstr(b, sm_id_text(va_arg(*ap, struct sm_id), id));
		break;
	case 'A':
		escape(b, sm_str(sm_sa_text(va_arg(*ap, const struct sm_sa *), sa)), VALUE_BYTES,
		       '\0');
		break;
	case 'E':
		put_error(b, va_arg(*ap, int));
		break;
	case '%':
		sm_buf_char(b, '%');
		break;
	default:
		sm_assert_fail(__FILE__, __LINE__, "log directive");
	}
	return p + 1;
}

static void put_pairs(struct sm_buf *b, const char *pairs, va_list *ap)
{
	for (const char *p = pairs; *p != '\0';) {
		if (*p == '%') {
			p = put_directive(b, p + 1, ap);
		} else if (*p == ' ') {
			while (*p == ' ')
				p++;
			sm_buf_cstr(b, ", ");
		} else if (*p == ',' && p[1] == ' ') {
			p++; /* the space says it */
		} else {
			sm_buf_char(b, *p++);
		}
	}
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
	sm_buf_str(&gathered, text);
	sm_buf_char(&gathered, '\n');
}

static void put_stamp(struct sm_buf *b)
{
	int64_t now = sm_wall_ms();

	sm_buf_printf(b, "%" PRId64 ".%03d ", now / 1000, (int)(now % 1000));
}

static void tell_lost(void)
{
	uint64_t n = lost;

	if (n == 0)
		return;
	lost = 0;
	put_stamp(&gathered);
	sm_buf_printf(&gathered, "WARN log.lost lines=%" PRIu64 "\n", n);
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

	for (size_t i = 0; i < all.n; i++)
		lost += all.p[i] == '\n';
	sm_buf_reset(&gathered);
}

void sm_log_flush(void)
{
	struct stat st;
	bool plain;

	if (gathered.len == 0 && lost == 0)
		return;
	plain = fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);
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
		snprintf(sys.ident, sizeof(sys.ident), "%s", ident);
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

	sm_buf_init(&b, LINE_BYTES + 256);
	localtime_r(&now, &tm);
	sm_buf_printf(&b, "<%d>%.3s %2d %02d:%02d:%02d %s", sys.facility | severities[sev].priority,
	              months + 3 * tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
	              sys.ident);
	if (sys.options & SM_LOG_PID)
		sm_buf_printf(&b, "[%ld]", (long)getpid());
	sm_buf_cstr(&b, ": ");
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
	sm_buf_reset(&line);
	put_stamp(&line);
	text = line.len;
	sm_buf_cstr(&line, severities[sev].name);
	sm_buf_char(&line, ' ');
	sm_buf_cstr(&line, event);
	if (pairs != NULL && *pairs != '\0') {
		sm_buf_char(&line, ' ');
		va_start(ap, pairs);
		put_pairs(&line, pairs, &ap);
		va_end(ap);
	}
	if (sm_buf_err(&line) != 0) {
		sm_buf_truncate(&line, SM_MIN(line.len, (size_t)LINE_BYTES - 3));
		line.err = 0;
		sm_buf_cstr(&line, "...");
	}
	bool sent = sys.on && sys_send(sev, sm_str_from(sm_buf_view(&line), text));
	if (!sys.on || (sys.options & SM_LOG_PERROR) || (!sent && (sys.options & SM_LOG_CONS)))
		gather(sm_buf_view(&line));
	else if (!sent)
		lost++;
	if (!attached || sev >= SM_CRIT)
		sm_log_flush();
}
