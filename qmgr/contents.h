/*
 * Who uses which content.
 *
 * A content in a file of its own belongs to a mail (its owner: same id) and is used by that one's
 * children too: DSNs about it, and parts of its aliases. A segment holds the contents of many
 * mails, its members, and is used by them and their children. Only contents with children and
 * segments have an entry, so a queue of a million mails pays little for it. Pure, loop thread.
 */
#ifndef QM_CONTENTS_H
#define QM_CONTENTS_H

#include "libsm/hash.h"
#include "libsm/id.h"
#include "libsm/list.h"

struct qm_contents {
	struct sm_hash by_id;
	struct sm_hash children; /* of all of them, by their own ids */
};

struct qm_content_child {
	struct sm_hash_node node; /* by id */
	struct sm_list link;      /* oldest first */
	struct sm_id id, of;      /* the child, and its parent: the mail, or another child */
};

void qm_contents_init(struct qm_contents *t);
void qm_contents_fini(struct qm_contents *t);

/* A child uses it from now on. `owner_open`: so does the owner, unless it is a segment. */
void qm_content_child(struct qm_contents *t, struct sm_id content, struct sm_id id, struct sm_id of,
                      bool dsn, bool owner_open);
/* A mail has its content in this segment. */
void qm_content_member(struct qm_contents *t, struct sm_id segment);
/* Transaction `id` does not use it any more. True: nobody does, and the file may go. */
bool qm_content_end(struct qm_contents *t, struct sm_id content, struct sm_id id) SM_MUST_CHECK;

/* The server says that nothing more comes into this segment. True: the file may go at once. */
bool qm_content_seal(struct qm_contents *t, struct sm_id segment) SM_MUST_CHECK;
/* The same for each segment that `over` says it of; `gone` is told those whose file may go. */
void qm_content_seal_all(struct qm_contents *t, bool (*over)(void *arg, struct sm_id segment),
                         void (*gone)(void *arg, struct sm_id segment), void *arg);

/* Does anybody use it, beside the owner of a file of its own? A segment that is not sealed is in
 * use as well. */
bool qm_content_known(const struct qm_contents *t, struct sm_id content);
/* The children that use it, oldest first, until the next change: DSNs, or the others. Begin with
 * NULL; NULL is the end. */
const struct qm_content_child *qm_content_next(const struct qm_contents *t, struct sm_id content,
                                               bool dsns, const struct qm_content_child *prev);

#endif
