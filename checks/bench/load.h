/*
 * The load generator: what load.c (sessions, SMTP) and load_main.c (options, figures) share.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "checks/bench/common.h"

enum { LOAD_RCPTS_MAX = 1000, LOAD_SOURCES_MAX = 250 };

struct load_options {
	struct address target;
	int sessions, rcpts, sources;
	long messages; /* wanted; with keep_going: wanted acknowledged */
	long first;    /* number of the first one */
	size_t size;
	bool keep_connection, keep_every_other, pipelining, varied, keep_going;
	bool starttls, resume;
	const char *sender, *rcpt, *run;
	const char *login; /* USER:PASSWORD for AUTH PLAIN; NULL: none */
	uint64_t seed;
	int domains; /* %d in patterns is the message number modulo this */
	double reply_timeout, total_timeout;
	int pause_ms;     /* of a session between two messages */
	int idle_seconds; /* > 0: no mail, open, greet and hold */
	int ledger;       /* -1: none */
};

struct load_figures {
	long acked, nak4, nak5, unknown; /* messages whose final dot was sent, by the reply to it */
	long refused;                    /* messages that never came to the final dot */
	long rcpts_acked;
	long connects, connect_errors, drops;
	long handshakes, resumed; /* of TLS */
	long logins;
	long greeted;    /* idle mode: EHLO answered */
	double *latency; /* seconds from final dot to reply, one per acked */
	size_t latency_max;
};

/* Run until done or total_timeout; false: the timeout ended it. */
bool load_run(const struct load_options *o, struct load_figures *f);
/* Messages begun so far. */
long load_begun(void);
/* From a signal handler: end now; what is open becomes UNKNOWN. */
void load_stop(void);

#endif
