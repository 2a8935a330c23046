/*
 * The control socket of smar: what an operator wonders about is decided by the functions that
 * answer smtps and qmgr, with a trace of every lookup, and nothing comes of it (smarctl); and the
 * entries of the greylist (greyprint, greyrm).
 *
 * control.c has the socket, the rights and the requests, control_words.c what may stand behind a
 * verb, control_check.c the stages of a dialogue, control_grey.c the greylist, control_show.c the
 * rest. An answer is a stream of JSON objects (doc/formats.md) and an end with an exit status.
 */
#ifndef AR_CONTROL_H
#define AR_CONTROL_H

#include "libsm/ctl.h"
#include "smar/ar.h"
#include "smar/dns_msg.h"

/* ---- for main.c ---- */

struct ar_handlers;
/* Listen at conf->control_socket; nothing if that is empty. Before rights are dropped. */
int ar_control_open(const struct ar *ar, const struct ar_handlers *handlers) SM_MUST_CHECK;
/* Cancel what waits; idle(arg) comes when nothing is left, perhaps at once. */
void ar_control_stop(void (*idle)(void *arg), void *arg);
void ar_control_close(void); /* nothing waits */

const struct ar *ar_control_now(void); /* what is in force */
int64_t ar_control_since_ms(void);     /* monotonic: of the start */

/* ---- words ---- */

/* What may stand behind a verb. */
enum {
	AR_CTL_CLIENT = 1,      /* --client=ADDRESS */
	AR_CTL_CLIENT_NAME = 2, /* --client-name=DOMAIN */
	AR_CTL_FROM = 4,        /* --from=MAILBOX, empty: <> */
	AR_CTL_CHECK = 8,       /* --check=BITS, SM_CHECK_* */
	AR_CTL_AS = 16,         /* --as=domain|ip|address|word */
	AR_CTL_TAG = 32,        /* --tag=WORD: */
	AR_CTL_MAIL = 64 /* --recipients=N, --size=BYTES, --again=1: for conditions of ways */
};
enum { AR_CTL_WORDS_MAX = 2, AR_CTL_WORD_BYTES = 1024, AR_CTL_TAG_BYTES = 64 };

enum ar_ctl_as { AR_AS_ANY, AR_AS_DOMAIN, AR_AS_IP, AR_AS_ADDRESS, AR_AS_WORD };

struct ar_ctl_words {
	struct sm_str word[AR_CTL_WORDS_MAX];
	size_t count;
	struct sm_sa client;       /* len 0: none was given */
	struct sm_str client_name; /* lower case; p NULL: none */
	struct sm_str from;
	uint32_t check;
	enum ar_ctl_as as;
	struct sm_str tag; /* lower case, with its colon; or empty */
	uint32_t rcpts;    /* 1: nobody said */
	uint64_t bytes;
	bool again;
};
struct ar_ctl_takes {
	const char *verb;
	unsigned options;     /* AR_CTL_* */
	unsigned least, most; /* words */
};
/* Sort the words of a request; copies are in `a`. SM_E_SYNTAX, SM_E_TOOBIG with a diag for people.
 * Pure. */
int ar_ctl_take_words(const struct ar_ctl_takes *takes, const struct sm_msg_ctl_request *m,
                      struct sm_arena *a, struct ar_ctl_words *out) SM_MUST_CHECK;

/* ---- requests ---- */

/* One, in a coroutine of its own. */
struct ar_ctl {
	struct sm_list link;
	struct sm_peer *peer;
	uint64_t tag;
	struct sm_co *co;
	const struct ar_ctl_verb *verb;
	struct ar_ctl_words words;
	struct sm_arena arena;   /* words */
	struct sm_arena scratch; /* of ctx: may be reset between decisions */
	struct sm_buf out;
	struct ar ar; /* held */
	const struct ar_handlers *handlers;

	struct ar_ctx ctx; /* may wait, traces, dry */
	struct ar_trace trace;
	struct ar_dry dry;
	unsigned traced;  /* lines so far */
	bool keeps_found; /* the last lookup that found something, in `arena` */
	struct sm_str found_map, found_key, found_value;
	enum ar_dns_status dns_status; /* of the last answer of DNS */
};

struct ar_ctl_verb {
	struct ar_ctl_takes takes;
	bool guarded; /* only for root and the owner */
	/* Writes its lines to c->out. Gives the exit status; *why for people, when not 0. */
	uint8_t (*run)(struct ar_ctl *c, const char **why) SM_YIELDS;
};

/* Send what was written; waits for a reader that is behind. */
void ar_ctl_flush(struct ar_ctl *c) SM_YIELDS;

typedef uint8_t ar_ctl_run(struct ar_ctl *c, const char **why);
ar_ctl_run ar_ctl_conn, ar_ctl_mail, ar_ctl_rcpt, ar_ctl_cert;
ar_ctl_run ar_ctl_route, ar_ctl_lookup, ar_ctl_dns, ar_ctl_status, ar_ctl_reload;
ar_ctl_run ar_ctl_grey_list, ar_ctl_grey_remove;

#endif
