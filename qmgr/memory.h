/*
 * What is remembered of recipients that clients want to have tried at once: so that one who was cut
 * off and sends again, under the same id of his, gets no second copy. Pure: the caller passes the
 * time.
 *
 * An entry is one recipient (id of the mail at its client, its Message-ID, sender, address): a
 * client that has one id for two mails, at once or in the course of time, must not lose the second.
 * While a transaction works on it, that one owns it, and the same recipient of others waits in its
 * list. What was delivered is kept for a while; the oldest go when there are too many.
 */
#ifndef QM_MEMORY_H
#define QM_MEMORY_H

#include "libsm/hash.h"
#include "libsm/list.h"
#include "libsm/str.h"

struct qm_rcpt;

struct qm_memory_key {
	struct sm_str xid, msgid, sender, rcpt;
};

struct qm_memory_entry {
	struct sm_hash_node node;
	struct sm_list link;    /* in memory.delivered, oldest first */
	struct qm_rcpt *owner;  /* NULL: it is delivered */
	struct sm_list waiting; /* qm_rcpt.link: of others, until the owner knows */
	int64_t until_ms;
	uint16_t code;
	struct sm_str text;       /* the reply that it was delivered with; in `reply` */
	struct qm_memory_key key; /* in `strings` */
	char *strings, *reply;
};

struct qm_memory {
	struct sm_hash entries;
	struct sm_list delivered;
	size_t delivered_count, max; /* of those */
	int64_t keep_ms;
};

struct qm_memory *qm_memory_new(size_t max, int64_t keep_ms);
/* Nobody waits in it any more. */
void qm_memory_free(struct qm_memory **m);
/* NULL: it is not known, or no more. */
struct qm_memory_entry *qm_memory_find(struct qm_memory *m, const struct qm_memory_key *key,
                                       int64_t now_ms);
/* One that is not known, for an owner; the strings are copied. */
struct qm_memory_entry *qm_memory_add(struct qm_memory *m, const struct qm_memory_key *key,
                                      struct qm_rcpt *owner);
/* It was delivered: nobody owns it any more. May drop the oldest of these, but not this one. */
void qm_memory_delivered(struct qm_memory *m, struct qm_memory_entry *e, uint16_t code,
                         struct sm_str text, int64_t now_ms);
/* Nothing came of it. Nobody waits there any more. */
void qm_memory_forget(struct qm_memory *m, struct qm_memory_entry *e);

#endif
