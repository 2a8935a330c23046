/* run: what waits for a queue run, or until it is asked for, is tried now. Loop thread. */
#include "qmgr/control.h"

static const char *ours_word(enum qm_run_ours ours)
{
	return ours == QM_RUN_OURS ? "yes" : ours == QM_RUN_NOT_OURS ? "no" : "unknown";
}

static void ran(void *arg, const struct qm_run_done *done)
{
	struct qm_ctl *c = arg;

	c->fini = NULL;
	qm_ctl_begin(c, "run");
	qm_ctl_str(c, "dest", c->word_count ? c->words[0] : SM_STR(""));
	qm_ctl_num(c, "mails", (int64_t)done->mails);
	qm_ctl_num(c, "rcpts", (int64_t)done->rcpts);
	qm_ctl_bool(c, "waited", done->waited);
	qm_ctl_str(c, "on_demand", sm_str(ours_word(done->ours)));
	qm_ctl_num(c, "took_ms", done->took_ms);
	qm_ctl_line(c);
	qm_ctl_end(c, done->mails ? QM_CTL_OK : QM_CTL_NOTHING, "");
}

static void nobody_waits(struct qm_ctl *c)
{
	qm_run_forget(c->q, c);
}

/* Nothing: what waits for a run. all: what waits until it is asked for as well. A destination: all
 * that waits for it. */
void qm_ctl_run(struct qm_ctl *c)
{
	bool all = c->word_count == 1 && sm_str_eq(c->words[0], SM_STR("all"));
	const struct qm_run_ask ask = {.dest =
	                                   c->word_count == 1 && !all ? c->words[0] : SM_STR(""),
	                               .asked_for = all,
	                               .by = "operator",
	                               .uid = (uint32_t)sm_peer_uid(c->peer),
	                               .cb = ran,
	                               .arg = c};
	int err;

	if (c->word_count > 1) {
		qm_ctl_end(c, QM_CTL_USAGE, "run takes a domain, @domain, all, or nothing");
		return;
	}
	c->fini = nobody_waits;
	err = qm_run(c->q, &ask);
	if (err != 0)
		qm_ctl_fail(c, err == SM_E_SYNTAX ? QM_CTL_USAGE : QM_CTL_LATER);
}
