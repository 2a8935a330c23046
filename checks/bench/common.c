/*
 * Sockets, clock, ledger file, message text and hash for load, sink and dnsd.
 * Invariant: message_make is a pure function of its arguments. One thread.
 */
#include "config.h"
#include "checks/bench/common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifdef SM_HAVE_TLS
#include <openssl/evp.h>
#endif

_Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

_Noreturn void die_text(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void cpu_used(double *user, double *sys)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	*user = (double)ru.ru_utime.tv_sec + (double)ru.ru_utime.tv_usec / 1e6;
	*sys = (double)ru.ru_stime.tv_sec + (double)ru.ru_stime.tv_usec / 1e6;
}

long number(const char *s, long min, long max)
{
	char *end;
	long v = strtol(s, &end, 10);

	if (end == s || *end || v < min || v > max)
		die_text("%s: not a number from %ld to %ld", s, min, max);
	return v;
}

static void address_unix(const char *path, struct address *a)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->ss;

	if (strlen(path) >= sizeof un->sun_path)
		die_text("%s: too long for a socket", path);
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, strlen(path) + 1);
	a->len = sizeof *un;
}

void address_parse(const char *text, struct address *a)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&a->ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->ss;
	char host[64] = "";
	const char *colon = strrchr(text, ':');
	size_t n;

	memset(a, 0, sizeof *a);
	if (!strncmp(text, "unix:", 5)) {
		address_unix(text + 5, a);
		return;
	}
	if (!colon || (n = (size_t)(colon - text)) >= sizeof host)
		die_text("%s: want ADDRESS:PORT or unix:PATH", text);
	memcpy(host, text, n);
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)number(colon + 1, 1, 65535));
		a->len = sizeof *in6;
		if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) == 1)
			return;
	} else {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)number(colon + 1, 1, 65535));
		a->len = sizeof *in;
		if (inet_pton(AF_INET, host, &in->sin_addr) == 1)
			return;
	}
	die_text("%s: not an address", text);
}

int listen_on(const struct address *a)
{
	int one = 1, fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->ss;

	if (fd < 0)
		die("socket");
	if (a->ss.ss_family == AF_UNIX)
		unlink(un->sun_path);
	else
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (const struct sockaddr *)&a->ss, a->len) || listen(fd, 4096))
		die("bind");
	return fd;
}

void raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl))
		return;
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
}

int ledger_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (fd < 0)
		die(path);
	return fd;
}

void ledger_line(int fd, const char *text, size_t n)
{
	/* A short write would make the ledger lie: better none at all. */
	if (write(fd, text, n) != (ssize_t)n)
		die("ledger");
}

uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* One line of 76 characters and CRLF at p from the stream `*x`. One line in 16 begins with one to
 * three dots. */
static void text_line(char *p, uint64_t *x)
{
	static const char set[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+ ";
	size_t i, dots;

	for (i = 0; i < 76; i++) {
		if (i % 10 == 0)
			*x = mix(*x);
		p[i] = set[*x >> (i % 10 * 6) & 63];
	}
	if ((*x >> 60) == 0)
		for (dots = 1 + (*x >> 58 & 1) + (*x >> 57 & 1); dots > 0; dots--)
			p[dots - 1] = '.';
	memcpy(p + 76, "\r\n", 2);
}

size_t message_make(char *out, size_t max, const char *run, uint64_t n, uint64_t seed, size_t size,
                    bool varied)
{
	uint64_t x = varied ? mix(seed ^ mix(n)) : 1;
	int h =
	    snprintf(out, max,
	             "X-Ledger: %s-%llu\r\nFrom: Load <load@load.test>\r\nTo: rcpts:;\r\n"
	             "Subject: message %llu\r\nMessage-ID: <%s.%llu@load.test>\r\n"
	             "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n\r\n",
	             run, (unsigned long long)n, (unsigned long long)n, run, (unsigned long long)n);
	size_t at = (size_t)h, first;

	if (h < 0 || at + size + 80 > max)
		die_text("message does not fit");
	first = at;
	while (at + 78 <= size) {
		if (varied || at == first)
			text_line(out + at, &x);
		else
			memcpy(out + at, out + first, 78);
		at += 78;
	}
	/* What is left of the wanted size: one shorter line. */
	while (at + 2 < size)
		out[at++] = 'z';
	if (at + 2 == size) {
		memcpy(out + at, "\r\n", 2);
		at += 2;
	}
	return at;
}

#ifdef SM_HAVE_TLS
void sha256_hex(const void *p, size_t n, char out[65])
{
	static EVP_MD *md;
	static EVP_MD_CTX *ctx;
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned int i, len = 0;

	if (!ctx) { /* fetched once: EVP_sha256() would look it up for each message */
		md = EVP_MD_fetch(NULL, "SHA256", NULL);
		ctx = EVP_MD_CTX_new();
	}
	if (!md || !ctx || !EVP_DigestInit_ex2(ctx, md, NULL) || !EVP_DigestUpdate(ctx, p, n) ||
	    !EVP_DigestFinal_ex(ctx, raw, &len) || len != 32)
		die_text("SHA-256 failed");
	for (i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", raw[i]);
}
#else
void sha256_hex(const void *p, size_t n, char out[65])
{
	(void)p, (void)n, (void)out;
	die_text("built without OpenSSL: no ledger and no arrivals file");
}
#endif
