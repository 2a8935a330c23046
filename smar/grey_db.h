/*
 * The greylist on disk: two Berkeley DB databases, entries by address and an index of them by
 * expiration time, with a write-ahead log, in a directory of their own that one process at a time
 * has.
 *
 * A kill at any moment leaves what was committed before it. What a power cut or a damage leaves is
 * recovered if it can be; otherwise everything is removed and begun anew: losing a greylist is a
 * delay. All of it blocks; one thread at a time, but for ar_grey_db_checkpoint.
 */
#ifndef AR_GREY_DB_H
#define AR_GREY_DB_H

#include "smar/grey.h"

struct ar_grey_db;

/*
 * `anew`: remove what is there, because it was opened again after an error, and failed again.
 * SM_E_BUSY: another process has it. On other errors nothing can be stored there now (no room, no
 * right ...). With diag.
 */
int ar_grey_db_open(const struct ar_grey_conf *conf, bool anew,
                    struct ar_grey_db **out) SM_MUST_CHECK;
void ar_grey_db_close(struct ar_grey_db **db);
/* Was what had been there of no use? A text that says why; NULL: no. */
const char *ar_grey_db_renewed(const struct ar_grey_db *db);

/*
 * A number of acts becomes one transaction. After an error everything since the begin is undone;
 * the database is of no further use, and has to be closed and opened again.
 */
int ar_grey_db_begin(struct ar_grey_db *db) SM_MUST_CHECK;
int ar_grey_db_commit(struct ar_grey_db *db, int64_t monotonic_ms, int64_t wall_s) SM_MUST_CHECK;

/* Now, by the greylist's clock. */
int64_t ar_grey_db_now(const struct ar_grey_db *db, int64_t monotonic_ms);
uint64_t ar_grey_db_count(const struct ar_grey_db *db);

/* Within a transaction. An entry that is not there, or of no use, is AR_GREY_UNKNOWN. */
int ar_grey_db_get(struct ar_grey_db *db, const struct ar_grey_key *key,
                   struct ar_grey_entry *e) SM_MUST_CHECK;
int ar_grey_db_put(struct ar_grey_db *db, const struct ar_grey_key *key,
                   const struct ar_grey_entry *e) SM_MUST_CHECK;
/* Remove up to `most` entries, those that expire first, all of which expire until `until_s`. Gives
 * how many. */
int ar_grey_db_purge(struct ar_grey_db *db, int64_t until_s, unsigned most,
                     unsigned *removed) SM_MUST_CHECK;
/*
 * Call `each` for the entries of a net (`bits` of the address of `net`; net->n 0: all) from the one
 * behind `after` (n 0: from the first one) on, in the order of their keys, until it gives false.
 * With `remove` those for which it gave true are removed.
 */
int ar_grey_db_walk(struct ar_grey_db *db, const struct ar_grey_key *net, unsigned bits,
                    const struct ar_grey_key *after, bool remove,
                    bool (*each)(void *arg, const struct ar_grey_key *key,
                                 const struct ar_grey_entry *e),
                    void *arg) SM_MUST_CHECK;

/* Has so much been written that a checkpoint is due? Then it counts from now on. */
bool ar_grey_db_checkpoint_due(struct ar_grey_db *db);
/* Write what is only in memory and log, and forget old logs. In any thread, beside the others. */
int ar_grey_db_checkpoint(struct ar_grey_db *db);

#endif
