/*
 * The load generator between load.c, which has the connections and their times, and load_smtp.c,
 * which says what goes over them. One thread.
 */
#ifndef BENCH_LOAD_INT_H
#define BENCH_LOAD_INT_H

#include "checks/bench/load.h"

enum state {
	ST_WAIT,
	ST_CONNECT,
	ST_GREET,
	ST_EHLO,
	ST_STARTTLS,
	ST_HANDSHAKE,
	ST_AUTH,
	ST_MAIL,
	ST_RCPT,
	ST_DATA,
	ST_DOT,
	ST_RSET,
	ST_QUIT,
	ST_HOLD,
	ST_END
};

struct session {
	int fd, index;
	unsigned connection; /* counts: tells a new one from the one an event was for */
	enum state state;
	double wake; /* ST_WAIT: when to go on; else: when the reply is overdue */
	int backoff_ms;
	bool writable_wanted;
	struct ssl_st *ssl;            /* NULL: in clear */
	struct ssl_session_st *resume; /* NULL: nothing */
	bool tls_wants_write;          /* what it waits for when it says EAGAIN */
	char in[4096];
	size_t in_len;
	char *out; /* what is still to be written: out[out_at, out_len) */
	size_t out_at, out_len, out_max;
	long n; /* number of the message in work, -1: none */
	bool sent;
	int expected; /* replies that are still to come in this step */
	bool data_refused;
	unsigned char *rcpt_ok;
	int rcpt_at, rcpts_ok;
	char reason[128]; /* last refusal */
	double dot_at;
};

extern const struct load_options *opt;
extern struct load_figures *fig;

/* ---- load.c ---- */

/* The connection is gone or useless: say what it means for the message, come back later. */
void lost(struct session *s, const char *why);
/* Go on with the handshake; may lose the connection. */
void shake(struct session *s);
/* Write what is in `out`; may lose the connection. */
void flush(struct session *s);
/* The session waits for so many replies now, and not for ever. */
void step(struct session *s, enum state state, int expected);
/* No further message is wanted. */
bool enough(void);

/* ---- load_tls.c ---- */

void tls_init(void);
void tls_fini(void);
/* TLS from now on; then tls_handshake until it gives 1 (0: later, -1: failed). */
void tls_begin(struct session *s);
int tls_handshake(struct session *s);
/* As read(2) and write(2) on the non-blocking socket. */
ssize_t tls_read(struct session *s, void *p, size_t size);
ssize_t tls_write(struct session *s, const void *p, size_t size);
void tls_end(struct session *s);    /* of the connection */
void tls_forget(struct session *s); /* and of what could be resumed */

/* ---- load_auth.c ---- */

/* "AUTH PLAIN ..." with its line end, for USER:PASSWORD; to be freed. Dies when it is none. */
char *auth_plain(const char *login);

/* ---- load_smtp.c ---- */

void smtp_init(void);
void smtp_fini(void);
void ledger(const char *kind, long n, const char *text);
/* After EHLO, or after a pause: the next message, or QUIT when there are enough. */
void begin_message(struct session *s);
/* The handshake is done: EHLO again. */
void begin_again(struct session *s);
/* Take complete replies out of the input. */
void parse(struct session *s);

#endif
