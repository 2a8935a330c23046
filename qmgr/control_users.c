/* users: what authenticated users have sent of late, and who may not go on. Loop thread. */
#include "qmgr/control.h"

#define USERS_SHOWN 20 /* without --limit */

static void line(void *arg, const struct qm_user_stat *s)
{
	struct qm_ctl *c = arg;

	qm_ctl_begin(c, "user");
	qm_ctl_str(c, "user", s->name);
	qm_ctl_num(c, "messages", (int64_t)s->messages);
	qm_ctl_num(c, "recipients", (int64_t)s->rcpts);
	qm_ctl_num(c, "refused", (int64_t)s->refused);
	qm_ctl_bool(c, "over", s->over);
	qm_ctl_line(c);
}

static void forget(struct qm_ctl *c, struct sm_str name)
{
	bool known;

	if (!sm_peer_trusted(c->peer)) {
		qm_ctl_end(c, QM_CTL_NOPERM, QM_CTL_LOOK_ONLY);
		return;
	}
	known = qm_users_forget(&c->q->users, name);
	sm_log(SM_NOTICE, "qm.user_forgotten", "uid=%u user=%S count=%d",
	       (unsigned)sm_peer_uid(c->peer), name, known);
	qm_ctl_begin(c, "forgotten");
	qm_ctl_num(c, "count", known);
	qm_ctl_line(c);
	qm_ctl_end(c, known ? QM_CTL_OK : QM_CTL_NOTHING,
	           known ? "" : "this user has sent nothing of late");
}

void qm_ctl_users(struct qm_ctl *c)
{
	size_t max = c->limit > 0 ? (size_t)c->limit : USERS_SHOWN;

	if (c->word_count == 2 && sm_str_eq(c->words[0], SM_STR("forget"))) {
		forget(c, c->words[1]);
		return;
	}
	if (c->word_count > 0) {
		qm_ctl_end(c, QM_CTL_USAGE, "users takes nothing, or forget and a name");
		return;
	}
	if (qm_users_list(&c->q->users, sm_loop_now_ms(), max, line, c) == 0)
		qm_ctl_end(c, QM_CTL_NOTHING, "no authenticated user has sent anything of late");
	else
		qm_ctl_end(c, QM_CTL_OK, "");
}
