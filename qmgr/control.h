/*
 * What the files of the control socket share: a request under way, its words, its answer.
 *
 * control.c has the socket, the rights and the table of verbs, control_words.c what may follow a
 * verb; control_list.c, control_show.c, control_act.c, control_run.c and control_dest.c each answer
 * some of them. An answer is a stream of JSON objects, a line each (doc/formats.md), and an end
 * with an exit status. Whatever takes long is done in steps, a little each turn of the loop, and
 * not while the reader is behind.
 */
#ifndef QM_CONTROL_H
#define QM_CONTROL_H

#include "libsm/ctl.h"
#include "qmgr/filter.h"
#include "qmgr/qm.h"

/* Exit statuses of answers. */
enum {
	QM_CTL_OK = SM_CTL_OK,
	QM_CTL_NOTHING = SM_CTL_NOTHING,
	QM_CTL_USAGE = SM_CTL_USAGE,
	QM_CTL_LATER = SM_CTL_LATER,
	QM_CTL_NOPERM = SM_CTL_NOPERM
};

/* What may stand behind a verb. */
enum {
	QM_CTL_FILTER = 1, /* conditions and ids */
	QM_CTL_LIMIT = 2,
	QM_CTL_AFTER = 4,
	QM_CTL_BY = 8,
	QM_CTL_FOR = 16,
	QM_CTL_REASON = 32,
	QM_CTL_DRY_RUN = 64,
	QM_CTL_WORDS = 128 /* others: a destination, a name, a number */
};

#define QM_CTL_WORDS_MAX 64
#define QM_CTL_LIMIT_MAX 10000
#define QM_CTL_FOR_MAX_S (366 * 86400LL)

struct qm_ctl;
typedef void qm_ctl_cb(struct qm_ctl *c);

struct qm_ctl_verb {
	const char *name;
	bool act; /* only for root and the owner of the queue */
	unsigned takes;
	qm_ctl_cb *begin; /* answers, or leaves something to come */
};

/* A request. */
struct qm_ctl {
	struct sm_list link;
	struct qm *q;
	struct sm_peer *peer;
	uint64_t tag;
	const struct qm_ctl_verb *verb;
	struct sm_arena arena; /* of the request: its words, and what a handler keeps */
	struct sm_buf out;     /* lines that wait for their frame */

	/* The words, sorted out. */
	struct sm_str words[QM_CTL_WORDS_MAX], conditions[QM_CTL_WORDS_MAX];
	size_t word_count, condition_count;
	struct sm_str by, reason;
	uint64_t limit; /* 0: none */
	struct sm_id after;
	int64_t for_s; /* 0: for ever */
	bool dry_run;
	struct qm_filter *filter; /* when the verb takes one; may be taken over */

	/* A little of the work; true: there is more. NULL: nothing to do in steps, somebody calls
	 * back. */
	bool (*step)(struct qm_ctl *c);
	bool behind; /* the reader is: no step now */
	/* Forget what waits for a callback; NULL: nothing. */
	void (*fini)(struct qm_ctl *c);
	void *work;                   /* the handler's, in the arena */
	struct qm_ctl_asking *asking; /* what smar was asked for it */
};

/* Sort the words of the request out into `c`, by what c->verb takes. SM_E_SYNTAX, SM_E_TOOBIG with
 * a diag. */
int qm_ctl_take_words(struct qm_ctl *c, const struct sm_msg_ctl_request *m) SM_MUST_CHECK;

/* More is to be done in steps: for callbacks. */
void qm_ctl_go_on(struct qm_ctl *c, bool (*step)(struct qm_ctl *c));

/* ---- answers ---- */

/* A line: begin, fields, end. As in libsm/ctl.h, into c->out. */
void qm_ctl_line(struct qm_ctl *c);
static inline void qm_ctl_begin(struct qm_ctl *c, const char *type)
{
	sm_ctl_begin(&c->out, type);
}
static inline void qm_ctl_str(struct qm_ctl *c, const char *key, struct sm_str s)
{
	sm_ctl_str(&c->out, key, s);
}
static inline void qm_ctl_num(struct qm_ctl *c, const char *key, int64_t n)
{
	sm_ctl_num(&c->out, key, n);
}
static inline void qm_ctl_bool(struct qm_ctl *c, const char *key, bool b)
{
	sm_ctl_bool(&c->out, key, b);
}
static inline void qm_ctl_null(struct qm_ctl *c, const char *key)
{
	sm_ctl_null(&c->out, key);
}
static inline void qm_ctl_array(struct qm_ctl *c, const char *key)
{
	sm_ctl_array(&c->out, key);
}
static inline void qm_ctl_open(struct qm_ctl *c)
{
	sm_ctl_open(&c->out);
}
static inline void qm_ctl_close(struct qm_ctl *c)
{
	sm_ctl_close(&c->out);
}
static inline void qm_ctl_array_end(struct qm_ctl *c)
{
	sm_ctl_array_end(&c->out);
}
void qm_ctl_id(struct qm_ctl *c, const char *key, struct sm_id id);  /* null: none */
void qm_ctl_time(struct qm_ctl *c, const char *key, int64_t wall_s); /* null: none (0, never) */
void qm_ctl_mono(struct qm_ctl *c, const char *key, int64_t ms);     /* monotonic; shown as wall */

/* That was all: `c` is gone. */
void qm_ctl_end(struct qm_ctl *c, uint8_t status, const char *why);
/* Words for people: what a caller without the rights is told. */
#define QM_CTL_LOOK_ONLY \
	"you may look, but not act: that is for root and the owner of the queue (qmgrctl.sh)"
#define QM_CTL_AN_ID "a transaction id: S and 18 hex digits"
/* `word` is nothing that chooses mail. */
int qm_ctl_no_choice(struct sm_str word);

/* Complains with what sm_diag says. */
void qm_ctl_fail(struct qm_ctl *c, uint8_t status);

/* ---- all mail, one after the other ---- */

/*
 * First the active queue as it was at the beginning, then the index; only the named ones when the
 * filter names ids. A mail that is tried meanwhile may be missed, or come twice.
 */
struct qm_walk {
	struct sm_id *ids;
	size_t count, at;
	uint64_t cursor;
	bool named;
};
struct qm_walked {
	struct sm_id id;
	const struct qm_txn *txn; /* or: */
	const struct qm_edbc_entry *entry;
};
void qm_walk_begin(struct qm *q, const struct qm_filter *f, struct sm_arena *a, struct qm_walk *w);
bool qm_walk_next(struct qm *q, struct qm_walk *w, struct qm_walked *out); /* false: the end */
bool qm_walk_find(const struct qm *q, struct sm_id id, struct qm_walked *out);
/* In `a`, until it is reset. */
void qm_walk_view(const struct qm *q, const struct qm_walked *x, struct sm_arena *a,
                  struct qm_view *v);
/* The arena for views, and room for the places of `count` recipients. */
struct sm_arena *qm_ctl_view_arena(struct qm *q);
uint32_t *qm_ctl_which(struct qm *q, uint32_t count);

/* ---- destinations ---- */

/*
 * What an operator named: a domain, a host, or an address. `hops` and `names` are known after
 * qm_ctl_dest_hops. All of it in the arena of the request.
 */
#define QM_CTL_NAMES_MAX 64
struct qm_ctl_hop {
	struct sm_msg_host host;
	struct sm_str key; /* of a route that has it; empty: none has */
	unsigned waiting;  /* recipients, behind all routes that have it */
};
struct qm_ctl_dest {
	struct sm_str
	    text;        /* as suspensions have it: a name without a dot at its end, or a literal */
	struct sm_sa sa; /* of an address, port 0: each; len 0: it is a name */
	struct qm_ctl_hop *hops; /* next hops of that name or address */
	unsigned hop_count, name_count;
	struct sm_str *names; /* as which these may have said something: `text` first */
};
int qm_ctl_dest_of(struct qm_ctl *c, struct sm_str word, struct qm_ctl_dest *d) SM_MUST_CHECK;
void qm_ctl_dest_hops(struct qm_ctl *c, struct qm_ctl_dest *d);
bool qm_ctl_dest_is_host(const struct qm_ctl_dest *d, const struct sm_msg_host *h);
bool qm_ctl_dest_is_domain(const struct qm_ctl_dest *d, struct sm_str domain);
bool qm_ctl_dest_has_name(const struct qm_ctl_dest *d, struct sm_str host);

/* ---- where mail for a domain goes ---- */

/* Ask smar: `cb(c, m)` on the loop, m NULL when it did not answer; m is good during the call. */
typedef void qm_ctl_route_cb(struct qm_ctl *c, const struct sm_msg_route *m);
void qm_ctl_ask_route(struct qm_ctl *c, struct sm_str domain, qm_ctl_route_cb *cb);
/* Tell smar to open its maps anew; the same for its answer. */
typedef void qm_ctl_reload_cb(struct qm_ctl *c, const struct sm_msg_maps_reloaded *m);
void qm_ctl_ask_reload(struct qm_ctl *c, qm_ctl_reload_cb *cb);

/* ---- verbs ---- */
qm_ctl_cb qm_ctl_status, qm_ctl_list, qm_ctl_summary, qm_ctl_show, qm_ctl_mark, qm_ctl_flush,
    qm_ctl_suspend, qm_ctl_resume, qm_ctl_stop, qm_ctl_start, qm_ctl_reload, qm_ctl_loglevel,
    qm_ctl_forget, qm_ctl_orphans, qm_ctl_dest, qm_ctl_why, qm_ctl_users, qm_ctl_transcript,
    qm_ctl_run;

/* What an operator has stopped, a line each: for status and dest. Gives how many. */
unsigned qm_ctl_suspensions(struct qm_ctl *c, const struct qm_ctl_dest *dest);

#endif
