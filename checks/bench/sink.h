/*
 * The sink between sink.c, which has the connections and their times, and sink_smtp.c, which takes
 * what comes over them. One thread.
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
	struct conn *next, **prev;   /* all that are open */
	struct conn *next_due;       /* waiting for the delayed reply */
	double due;
	bool waiting, dead;
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
	int arrivals, tempfail, permfail, window_ms, drop_before, drop_after, delay_ms, spread_ms;
	bool quick, dead_domains;
	long stop_after;
	double timeout;
	const char *reports;
	const char *name;
};
extern struct sink_options opt;

struct sink_count {
	long messages, rcpts, reports, connections, open, peak, tempfailed, permfailed,
	    dropped_before, dropped_after, half, bytes;
	double first, last;
};
extern struct sink_count count;

/* ---- sink.c ---- */

/* Throws the dice. */
bool chance(int percent);
/* Until final_reply is due, nothing of the connection is consumed. */
void reply_later(struct conn *c);

/* ---- sink_smtp.c ---- */

void say(struct conn *c, const char *text);
/* Commands and content out of the input, replies into the output. */
void consume(struct conn *c);
void final_reply(struct conn *c);

#endif
