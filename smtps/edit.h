/*
 * What a filter wants to have otherwise of one message: gathered while it tells, applied as a whole
 * when it has said that it is done, or forgotten.
 */
#ifndef SS_EDIT_H
#define SS_EDIT_H

#include "libcdb/cdb.h"
#include "libsm/msg.h"
#include "smtps/header.h"

struct ss_session;

enum { SS_EDITS_MAX = 10000, SS_EDIT_REASON_MAX = 255 };

/* A recipient that is to be added, or taken away. */
struct ss_edit_rcpt {
	struct sm_list link;
	bool add;
	struct sm_msg_rcpt_new rcpt;
};

struct ss_edit {
	struct ss_session *s;
	struct sm_arena arena; /* all strings below */
	unsigned count;        /* how many changes */
	struct sm_list header; /* struct ss_header_change */
	struct sm_list rcpts;
	bool sender_changed;
	struct sm_str sender, envid;
	uint8_t ret;
	struct cdb_writer *body; /* NULL: the body stays */
	uint64_t body_bytes;
	bool body_cr;  /* the last byte was a CR */
	bool body_bol; /* at the beginning of a line */
	bool hold;
	int trouble;          /* the first change that could not be taken; SM_E_* */
	struct sm_str reason; /* it is held */
};

void ss_edit_init(struct ss_edit *e, struct ss_session *s);
void ss_edit_fini(struct ss_edit *e) SM_YIELDS;

/* One change each: 0, or SM_E_SYNTAX, SM_E_TOOBIG (more than a message may be, or too many), or the
 * store's error. */
int ss_edit_header(struct ss_edit *e, enum ss_header_change_kind kind, uint32_t index,
                   struct sm_str name, struct sm_str value, bool spaced) SM_MUST_CHECK;
/* `args`: parameters of RCPT and MAIL; of those only what is kept with an envelope counts. */
int ss_edit_rcpt(struct ss_edit *e, bool add, struct sm_str addr, struct sm_str args) SM_MUST_CHECK;
int ss_edit_sender(struct ss_edit *e, struct sm_str addr, struct sm_str args) SM_MUST_CHECK;
/* The next piece of a new body. Lines may end with LF; a CR alone ends one as well. */
int ss_edit_body(struct ss_edit *e, const char *p, size_t n) SM_YIELDS SM_MUST_CHECK;
int ss_edit_hold(struct ss_edit *e, struct sm_str reason) SM_MUST_CHECK;

/*
 * All of it: the transaction's envelope and content are then as the filter wants them, the content
 * written anew if need be. `ours`: which field of the header is ours; follows it. On failure the
 * content is gone and the envelope as it was: SM_E_FULL, SM_E_IO, ..., SM_E_TOOBIG.
 */
int ss_edit_apply(struct ss_edit *e, size_t *ours) SM_YIELDS SM_MUST_CHECK;

#endif
