/*
 * The sink between sink.c, which has the connections and their times, sink_smtp.c, which takes what
 * comes over them, and sink_tls.c, over which it may come. One thread.
 */
#ifndef BENCH_SINK_H
#define BENCH_SINK_H

#include "checks/bench/common.h"

enum {
	IN_MAX = 65536,
	OUT_MAX = 16384,
	LISTENERS_MAX = 16,
	RCPTS_MAX = 2000,
	CONTENT_MAX = 128 << 20
};

struct conn {
	int fd;
	bool lmtp, tcp, data, fresh; /* fresh: the last two bytes of content were CRLF */
	bool closing;                /* when the output is out */
	bool starting;               /* TLS, when the output is out */
	bool shaking, wants_write;   /* in the handshake; TLS waits until it can write */
	struct ssl_st *ssl;          /* NULL: in clear */
	struct conn *next, **prev;   /* all that are open */
	struct conn *next_due;       /* waiting for the delayed reply */
	double due;
	bool waiting, dead;
	bool held;   /* what waits is the output, reply to a command */
	char *rcpts; /* NUL-ended, one behind the other */
	size_t rcpts_len, rcpts_max;
	int rcpt_count;
	char sender[330];
	char *content;
	size_t content_len, content_max, content_bytes;
	size_t in_len, out_at, out_len;
	char in[IN_MAX], out[OUT_MAX];
};

struct sink_options {
	int arrivals, tempfail, permfail, window_ms, drop_before, drop_after, delay_ms, spread_ms,
	    command_ms;
	bool quick, dead_domains, no_pipelining;
	long stop_after;
	double timeout;
	const char *reports;
	const char *name;
};
extern struct sink_options opt;

struct sink_count {
	long messages, rcpts, reports, connections, open, peak, tempfailed, permfailed,
	    dropped_before, dropped_after, half, bytes, handshakes, resumed;
	double first, last;
};
extern struct sink_count count;

/* ---- sink.c ---- */

/* Throws the dice. */
bool chance(int percent);
/* Until final_reply is due, nothing of the connection is consumed. */
void reply_later(struct conn *c);
/* -d: what there is to say is said later, and nothing is consumed until then. */
void hold_reply(struct conn *c);

/* ---- sink_smtp.c ---- */

void say(struct conn *c, const char *text);
/* Commands and content out of the input, replies into the output. */
void consume(struct conn *c);
void final_reply(struct conn *c);

/* ---- sink_tls.c ---- */

/* PEM files, both or none; without them STARTTLS is not offered. Dies when they are no good. */
void tls_init(const char *cert, const char *key);
bool tls_offered(void);
/* TLS from now on; then tls_handshake until it gives 1 (0: later, -1: failed). */
void tls_begin(struct conn *c);
int tls_handshake(struct conn *c);
/* As recv(2) and send(2) on the non-blocking socket. */
ssize_t tls_read(struct conn *c, void *p, size_t size);
ssize_t tls_write(struct conn *c, const void *p, size_t size);
void tls_end(struct conn *c); /* of the connection */

#endif
