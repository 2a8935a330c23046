/*
 * Envelopes from logs: what the parts of rcvrenv share.
 *
 * The content store says which mails there are, the logs whom they are from and for, and who has
 * got them. Lines may come in any order and more than once: each only adds to what is known.
 */
#ifndef RCVRENV_H
#define RCVRENV_H

#include <stdio.h>

#include "libcdb/cdb.h"
#include "libsm/hash.h"
#include "libsm/msg.h"
#include "misc/submit.h"

struct rcv_rcpt {
	char *addr, *orcpt;   /* NULL: no line told it */
	uint8_t notify;       /* SM_NOTIFY_*, 0: not given */
	bool settled, failed; /* delivered or dropped; refused for good, to be reported */
	struct sm_id dsn;     /* that reports it */
	/* Where filters changed the envelope: what was committed with this index. */
	char *final_addr, *final_orcpt;
	uint8_t final_notify;
};

/* A file of the store that holds many contents. */
struct rcv_segment {
	struct sm_hash_node node;
	struct sm_id id;
	bool kept;    /* qmgr keeps it for what its logs may have lost */
	size_t users; /* contents in it that somebody needs */
};

/* A content in a segment, as the store has it. */
struct rcv_place {
	struct sm_hash_node node; /* by at */
	struct cdb_place at;
	struct rcv_segment *segment;
	struct rcv_mail *mail;
	bool needed;            /* by mail in qmgr's queue */
	struct rcv_place *next; /* of that mail: where bytes of others look like it, one too many */
};

enum rcv_state {
	RCV_OPEN,        /* acknowledged to the client, and somebody has not got it */
	RCV_SETTLED,     /* nothing is owed */
	RCV_REFUSED,     /* never acknowledged: its client knows that */
	RCV_UNCONFIRMED, /* neither acknowledged nor refused: its client tries again */
	RCV_INCOMPLETE,  /* acknowledged, but not all of its envelope is in these logs */
	RCV_UNKNOWN,     /* no line about it */
	RCV_STATES
};

struct rcv_mail {
	struct sm_hash_node node;
	struct sm_id id;
	struct cdb_place at; /* of its content, as ss.final says; content none: a file of its own */
	struct sm_id content;     /* of a child, a part of an alias: what it shares; else none */
	struct rcv_mail *owner;   /* whose content that is, when it is in the store; else NULL */
	bool file;                /* its content is in the store, as a file of its own, */
	struct rcv_place *places; /* or in a segment; NULL: it is not */
	size_t users;             /* of its content: mails that still need it */
	char *sender, *envid;
	uint8_t body, ret, utf8; /* SM_BODY_*, SM_RET_*, SM_UTF8_* */
	uint64_t nrcpts;         /* as ss.final says */
	bool has_final, accepted, refused, ended;
	bool kept; /* of a file of its own: qmgr said that it does not know it */
	struct rcv_rcpt *rcpts;
	size_t count;
	char *final_sender, *final_envid; /* as in rcv_rcpt; NULL: nobody changed it */
	uint8_t final_ret;
	size_t final_count;
	struct sm_id *ended_dsns;
	size_t ended_count;
};

struct rcv {
	struct sm_hash mails; /* one for each content, and one for each transaction of qmgr's own */
	struct sm_hash segments, places;
	size_t lines, strange;
	bool marked; /* RCV_MARK came: nothing was cut off */
};
#define RCV_MARK "# end of logs"

void rcv_init(struct rcv *r);
void rcv_fini(struct rcv *r);
void rcv_store_init(struct rcv *r); /* of these, what rcvrenv_store.c has */
void rcv_store_fini(struct rcv *r);
struct rcv_mail *rcv_find(const struct rcv *r, struct sm_id id); /* NULL: no such mail */
struct rcv_mail *rcv_mail(struct rcv *r, struct sm_id id);       /* the same, made if need be */
/* A content that is in the store; at NULL: a file of its own. */
void rcv_add(struct rcv *r, struct sm_id id, const struct cdb_place *at);
void rcv_hold(struct rcv *r, struct sm_id segment); /* it must stay, whatever is in it */
/* What qmgr keeps, a line: an id; or that of a segment, and the offset of a content in it that mail
 * in the queue needs. */
void rcv_kept(struct rcv *r, struct sm_str line);
/* Read a log to its end. */
int rcv_read(struct rcv *r, FILE *f) SM_MUST_CHECK;
/* All is read: children get what their content has, contents know their users. */
void rcv_join(struct rcv *r);
/* Is its content in the store? */
bool rcv_is_stored(const struct rcv_mail *m);
/* Is it a mail whose content is there? The others are DSNs, and what is over. */
bool rcv_is_mail(const struct rcv_mail *m);
/* Whose content it has: its own, or that of the mail it is a child of. */
struct rcv_mail *rcv_content_of(const struct rcv_mail *m);
/* Where the store has what the log says of it; NULL: a file of its own, or somewhere else. */
struct rcv_place *rcv_place_of(const struct rcv_mail *m);
/* Has qmgr lost it? It keeps the content, and has no mail that needs it. */
bool rcv_is_ours(const struct rcv_mail *m);

/* All lines are read: what was committed, not what MAIL and RCPT said. */
void rcv_take_final(struct rcv_mail *m);
enum rcv_state rcv_state(const struct rcv_mail *m);
bool rcv_rcpt_open(const struct rcv_mail *m, const struct rcv_rcpt *p);

/*
 * Hands the mail over with its open recipients, content from `fd`. 0: the server has it for all of
 * them. SM_E_DENIED: it refused, the session is in order; others: the session is broken. The diag
 * says what.
 */
int rcv_send(struct sb *s, const struct rcv_mail *m, int fd) SM_MUST_CHECK;

#endif
