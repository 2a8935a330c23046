/*
 * Who uses which content.
 *
 * A content in a file of its own belongs to a mail (its owner: same id) and is used by that one's
 * children too: DSNs about it, and parts of its aliases. A segment holds the contents of many
 * mails, its members, and is used by them and their children; which parts that needs is known, so
 * that the room of all others can be given back. Only segments and contents with children have an
 * entry: a queue of a million mails pays twelve bytes for each that is in a segment. Pure, loop
 * thread.
 */
#ifndef QM_CONTENTS_H
#define QM_CONTENTS_H

#include "libcdb/cdb.h"
#include "libsm/hash.h"
#include "libsm/list.h"

struct qm_contents {
	struct sm_hash by_id;
	struct sm_hash children; /* of all of them, by their own ids */
	struct sm_hash dsns;     /* of these the DSNs, by whom they are about */
	struct sm_list worth;    /* sealed segments of which much has ended */
};

struct qm_content_child {
	struct sm_hash_node node;   /* by id */
	struct sm_hash_node by_of;  /* of a DSN */
	struct sm_list link;        /* oldest first */
	struct sm_id id, of;        /* the child, and its parent: the mail, or another child */
	const struct content *uses; /* contents.c's */
	bool dsn;
};

void qm_contents_init(struct qm_contents *t);
void qm_contents_fini(struct qm_contents *t);

/* A child uses it from now on. `owner_open`: so does the owner, unless it is in a segment. */
void qm_content_child(struct qm_contents *t, const struct cdb_place *at, struct sm_id id,
                      struct sm_id of, bool dsn, bool owner_open);
/* Can a mail have its content there, in a segment: does nobody need any of that place? */
bool qm_content_is_free(const struct qm_contents *t, const struct cdb_place *at);
/* It has. A place is one mail's. */
void qm_content_member(struct qm_contents *t, const struct cdb_place *at);
/* Transaction `id` does not use it any more. True: nobody uses the file, and it may go. */
bool qm_content_end(struct qm_contents *t, const struct cdb_place *at,
                    struct sm_id id) SM_MUST_CHECK;

/* All that is in there now comes from before a start: what has ended in segments is not known. */
void qm_content_recovered(struct qm_contents *t);

/* The server says that nothing more comes into this segment. True: the file may go at once. */
bool qm_content_seal(struct qm_contents *t, struct sm_id segment) SM_MUST_CHECK;
/* The same for each segment that `over` says it of; `gone` is told those whose file may go. */
void qm_content_seal_all(struct qm_contents *t, bool (*over)(void *arg, struct sm_id segment),
                         void (*gone)(void *arg, struct sm_id segment), void *arg);

/*
 * Segments that were sealed already when this was called the last time, and of which much has
 * ended since their room was given back: `tell` gets all that is still needed of each, in order,
 * and says whether it can be done now. At most `most` are tried at a time; true: some could be
 * done, and there are more.
 */
bool qm_contents_release(struct qm_contents *t, size_t most,
                         bool (*tell)(void *arg, struct sm_id segment, const struct cdb_span *keep,
                                      size_t count),
                         void *arg);

/* What is still needed of one segment: one part after the other, from *at 0 on, until the next
 * change; false: that was the last. */
bool qm_content_needed(const struct qm_contents *t, struct sm_id segment, size_t *at,
                       struct cdb_span *out);

/* Does anybody use it, beside the owner of a file of its own? A segment that is not sealed is in
 * use as well. */
bool qm_content_known(const struct qm_contents *t, struct sm_id content);
/* Where the content of a mail is that is over itself: that which DSNs about it use; none: there are
 * no such. */
struct sm_id qm_content_of_dsns(const struct qm_contents *t, struct sm_id of);
/* The children that use it, oldest first, until the next change: DSNs, or the others. Begin with
 * NULL; NULL is the end. */
const struct qm_content_child *qm_content_next(const struct qm_contents *t, struct sm_id content,
                                               bool dsns, const struct qm_content_child *prev);

#endif
