/*
 * What the three bench programs (load, sink, dnsd) share. They stand alone on purpose: nothing of
 * libsm is in them, so that a fault there cannot hide itself from the programs that judge it.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* "sink: what: strerror(errno)" to stderr, exit 1. */
_Noreturn void die(const char *what);
_Noreturn void die_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Seconds of CLOCK_MONOTONIC: the same clock in all processes of a machine, so ledger and arrivals
 * compare. */
double now(void);
/* User and system CPU seconds of this process. */
void cpu_used(double *user, double *sys);
/* A number in an option; dies outside of min..max. */
long number(const char *s, long min, long max);

struct address {
	struct sockaddr_storage ss;
	socklen_t len;
};
/* "127.0.0.1:25", "[::1]:25" or "unix:/path"; dies when it is neither. */
void address_parse(const char *text, struct address *a);
/* Non-blocking listener; a stale Unix socket is replaced. Dies on failure. */
int listen_on(const struct address *a);
void raise_nofile(void);

/* Append-only file, one write(2) a line: what is written survives the writer's end. */
int ledger_open(const char *path);
void ledger_line(int fd, const char *text, size_t n);

/* splitmix64: the body of a message is a function of (seed, number) alone. */
uint64_t mix(uint64_t x);
/*
 * A message: "X-Ledger: run-n", a few header lines, and text of about `size` bytes with CRLF lines,
 * some of them beginning with a dot. Not dot-stuffed. `varied` false: all bodies are alike (no cost
 * per message). Gives the length.
 */
size_t message_make(char *out, size_t max, const char *run, uint64_t n, uint64_t seed, size_t size,
                    bool varied);

/* SHA-256 as 64 hex digits. Without OpenSSL there is none: dies with a clear text. */
void sha256_hex(const void *p, size_t n, char out[65]);

#endif
