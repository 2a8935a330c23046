/*
 * Transcripts of sessions: which mail an operator wants them of, and the newest of each recipient,
 * in bounded memory. Nothing of it is on disk: a restart forgets all. Pure: the caller passes the
 * time.
 */
#ifndef QM_TRANSCRIPT_H
#define QM_TRANSCRIPT_H

#include "libsm/id.h"
#include "libsm/list.h"
#include "qmgr/filter.h"

enum { QM_WISHES_MAX = 16, QM_WISH_TEXT_MAX = 1000 };

/* What is wanted. */
struct qm_wish {
	struct sm_list link;
	uint64_t number;
	struct qm_filter *filter; /* owned */
	char text[QM_WISH_TEXT_MAX + 1];
	int64_t since_s, until_s; /* wall */
	uint32_t uid;             /* who wants it */
	uint64_t taken;           /* transcripts so far */
};

struct qm_said_rcpt {
	uint16_t index;
	struct sm_str addr;
};

/* What was said in one attempt. */
struct qm_said {
	struct sm_list link;
	struct sm_id ta;
	int64_t at_s; /* wall: when it had ended */
	size_t bytes; /* that it takes */
	uint32_t rcpt_count;
	struct qm_said_rcpt *rcpts; /* of which there is nothing newer */
	struct sm_str body;         /* the message `transcript` as it came */
};

struct qm_transcripts {
	struct sm_list wishes, all; /* the oldest first */
	size_t wish_count;
	uint64_t last_number;
	size_t bytes, count;
	/* Whoever owns the configuration keeps them as it is. */
	size_t max_bytes;
	int64_t keep_s;
};

void qm_transcripts_init(struct qm_transcripts *t);
void qm_transcripts_fini(struct qm_transcripts *t);

/* Take over `filter`, and say what it was made of (cut). SM_E_TOOBIG: there are QM_WISHES_MAX; then
 * it is the caller's. */
int qm_transcripts_on(struct qm_transcripts *t, struct qm_filter *filter, struct sm_str text,
                      uint32_t uid, int64_t now_s, int64_t until_s, uint64_t *number) SM_MUST_CHECK;
/* End one, 0: all. Gives how many there were. */
size_t qm_transcripts_off(struct qm_transcripts *t, uint64_t number);

/* Does anybody want one of a mail like this, of any recipient in the view? NULL: nobody. */
struct qm_wish *qm_transcripts_wanted(struct qm_transcripts *t, const struct qm_view *v,
                                      int64_t now_s);
/* Keep one; everything is copied. Former ones of these recipients go, and the oldest of all when
 * there is no room. */
void qm_transcripts_put(struct qm_transcripts *t, struct sm_id ta, const struct qm_said_rcpt *rcpts,
                        uint32_t rcpt_count, struct sm_str body, int64_t now_s);
/* The one after `after` (NULL: the first) that is kept of a mail; NULL: none. */
const struct qm_said *qm_transcripts_next(const struct qm_transcripts *t, struct sm_id ta,
                                          const struct qm_said *after);
/* Drop what is too old, and wishes whose time is over. When there will be something to drop next;
 * INT64_MAX: never. */
int64_t qm_transcripts_prune(struct qm_transcripts *t, int64_t now_s);

#endif
