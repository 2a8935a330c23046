/*
 * The greylist as smar's loop uses it: requests gather while a helper thread works on those before
 * them; each batch is one transaction.
 *
 * It never keeps mail from coming in for long: while the databases cannot be used, everybody is
 * taken for whitelisted, the log says so, and after a minute they are opened again.
 */
#ifndef AR_GREYLIST_H
#define AR_GREYLIST_H

#include "smar/ar.h"
#include "smar/grey.h"

struct ar_greylist;

/* Does the directory exist, and may we write there? For a clear word at the start. */
int ar_greylist_try(const struct ar_grey_conf *conf) SM_MUST_CHECK;
/* `conf` of each time is ar->conf. After sm_offload_init; opens in a helper. */
struct ar_greylist *ar_greylist_new(const struct ar *ar);
/* After sm_offload_fini; nobody waits any more. */
void ar_greylist_free(struct ar_greylist **g);

/*
 * A client with an otherwise acceptable recipient: may it come in? Writes down that it was here,
 * unless the decision is dry. 0;
 * SM_E_AGAIN without may_wait. `g` NULL: it may.
 */
int ar_greylist_check(struct ar_greylist *g, const struct ar_ctx *ctx, const struct sm_sa *client,
                      bool *accept) SM_YIELDS SM_MUST_CHECK;

/* For operators: the entries of a net, or removing them, some at a time. */
enum { AR_GREYLIST_WALK_MAX = 500 };
struct ar_greylist_row {
	struct ar_grey_key key;
	struct ar_grey_entry entry;
};
struct ar_greylist_walk {
	struct ar_grey_key net; /* n 0: all */
	unsigned bits;
	struct ar_grey_key after; /* begin behind it; n 0: at the start */
	bool remove;
	/* The answer. */
	bool more;       /* call again, with `after` the last row's */
	int64_t shift_s; /* to be added to an entry's times: then they are the time of day */
	size_t count;
	struct ar_greylist_row rows[AR_GREYLIST_WALK_MAX];
};
/* Waits as long as it takes. 0; SM_E_CANCEL: perhaps it comes to pass all the same; otherwise the
 * greylist cannot be used now. */
int ar_greylist_walk(struct ar_greylist *g, struct ar_greylist_walk *w) SM_YIELDS SM_MUST_CHECK;

struct ar_greylist_stats {
	bool usable;
	uint64_t entries;
	uint64_t refused, confirmed, accepted; /* clients: first or too early, whitelisted just now,
	                                          whitelisted before */
	uint64_t unchecked;                    /* let in because the databases could not be used */
};
struct ar_greylist_stats ar_greylist_stats(const struct ar_greylist *g);

#endif
