/*
 * What each authenticated user has sent of late: messages and recipients within a sliding period,
 * against one limit for all. Bounded: of more users than may be remembered the longest unused one
 * is forgotten, with what it had sent. Pure: the caller passes the time.
 */
#ifndef QM_USERS_H
#define QM_USERS_H

#include "libsm/hash.h"
#include "libsm/list.h"

enum { QM_USER_MAX = 256 }; /* bytes of a name */

struct qm_users {
	struct sm_hash by_name;
	struct sm_list lru;  /* the longest unused first */
	struct sm_list over; /* whose last message was refused; the latest last */
	size_t over_count;
	uint64_t refused; /* messages, of all */
	/* 0: no limit. Whoever owns the configuration keeps them as it is. */
	uint64_t max_messages, max_rcpts;
	int64_t period_ms;
	size_t max_entries;
};

enum qm_user_verdict {
	QM_USER_OK,
	QM_USER_OVER,      /* refuse */
	QM_USER_OVER_TELL, /* ... and tell somebody: the first time within a period */
};

struct qm_user_stat {
	struct sm_str name; /* lower case */
	uint64_t messages, rcpts;
	uint64_t refused; /* messages, since the user is remembered */
	bool over;
};

void qm_users_init(struct qm_users *u);
void qm_users_fini(struct qm_users *u);
/* A message of `name` (case is folded) to `rcpts` recipients: counts it if it is within the limits.
 */
enum qm_user_verdict qm_users_take(struct qm_users *u, struct sm_str name, uint32_t rcpts,
                                   int64_t now_ms);
/*
 * The users that an operator wants to see: those over their limit, then the others, each kind from
 * the latest on, at most `max` calls. Gives how many there were.
 */
size_t qm_users_list(struct qm_users *u, int64_t now_ms, size_t max,
                     void (*each)(void *arg, const struct qm_user_stat *s), void *arg);
size_t qm_users_count(const struct qm_users *u);
/* Forget what `name` has sent; false: it is not known. */
bool qm_users_forget(struct qm_users *u, struct sm_str name);

#endif
