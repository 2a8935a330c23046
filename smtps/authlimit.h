/*
 * Guessing passwords is made slow: failures are counted for each client address and for each user
 * name, whether there is such a user or not. Pure: the caller passes the time, and parks; nothing
 * here sleeps.
 *
 * Who has failed within the window takes turns: attempts of one key begin at least delay(n) apart,
 * however many sessions there are, n its failures; delay(n) doubles with each, up to the most. Who
 * would have to wait longer than that for his turn is refused, as is who has failed too often. A
 * user is not kept out by those who guess elsewhere: an address from which the user has come in
 * before is remembered, and is only limited as an address.
 *
 * Bounded: max_entries of each kind, the longest unused is forgotten first.
 */
#ifndef SS_AUTHLIMIT_H
#define SS_AUTHLIMIT_H

#include "libsm/hash.h"
#include "libsm/list.h"
#include "libsm/net.h"
#include "smtps/auth_conf.h"

struct ss_authlimit_table {
	struct sm_hash by_key;
	struct sm_list lru; /* the longest unused first */
};
struct ss_authlimit {
	struct ss_authlimit_table clients, users, known; /* known: address and user that fit */
};

void ss_authlimit_init(struct ss_authlimit *l);
void ss_authlimit_fini(struct ss_authlimit *l);

/*
 * May an attempt of this client begin? False: it is refused. Else *at_ms is when (now, or later),
 * and the turn is taken. Unix clients are not limited.
 */
bool ss_authlimit_client(struct ss_authlimit *l, const struct ss_auth_conf *c,
                         const struct sm_sa *client, int64_t now_ms, int64_t *at_ms) SM_MUST_CHECK;
/* The same when the user's name is known: `user` as ss_auth_name gave it; empty: not known. */
bool ss_authlimit_user(struct ss_authlimit *l, const struct ss_auth_conf *c,
                       const struct sm_sa *client, struct sm_str user, int64_t now_ms,
                       int64_t *at_ms) SM_MUST_CHECK;
/* It failed. Gives the delay of the answer, in ms: that of the key with more failures. */
int64_t ss_authlimit_failed(struct ss_authlimit *l, const struct ss_auth_conf *c,
                            const struct sm_sa *client, struct sm_str user, int64_t now_ms);
/* It did not. */
void ss_authlimit_passed(struct ss_authlimit *l, const struct ss_auth_conf *c,
                         const struct sm_sa *client, struct sm_str user, int64_t now_ms);
/*
 * When the answer to a failure leaves: `delay_ms` after `begin_ms`, when the password came; if that
 * is over already, at the next multiple of it. So the time between shows the delay, and nothing of
 * what the check did.
 */
int64_t ss_authlimit_answer_at(int64_t begin_ms, int64_t delay_ms, int64_t now_ms);

#endif
