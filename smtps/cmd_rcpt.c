/*
 * RCPT (RFC 5321 4.1.1.3): syntax, limits, smar's check, the relay decision (policy.c), and what
 * the next hop says of it.
 *
 *   "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]
 */
#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/smtp_cmd.h"
#include "smtps/cmds.h"
#include "smtps/milters.h"
#include "smtps/params.h"
#include "smtps/policy.h"
#include "smtps/prefetch.h"
#include "smtps/qualify.h"
#include "smtps/session.h"

enum { SCRATCH_CAP = 8192 };

/* With ss.mail and ss.final this is the envelope: rcvrenv makes it from the log again. */
static void log_accepted(const struct ss_session *s)
{
	const struct sm_msg_rcpt_new *r = &s->txn.rcpts[s->txn.rcpt_count - 1];

	sm_log(SM_INFO, "ss.rcpt",
	       "ss_sess=%I ss_ta=%I xid=%?S where=rcpt rcpt=<%S> rcpt_idx=%u orcpt=%?S notify=%?u "
	       "stat=%d",
	       s->id, s->txn.id, s->txn.xid, r->addr, s->txn.rcpt_count - 1, r->orcpt,
	       (unsigned)r->notify, s->reply_code);
}

static void log_refused(const struct ss_session *s, struct sm_str rcpt)
{
	sm_log(SM_INFO, "ss.rcpt",
	       "ss_sess=%I ss_ta=%I client=%A where=rcpt rcpt=<%S> stat=%d text=%s", s->id,
	       s->txn.id, &s->client, rcpt, s->reply_code, s->reply_text);
}

/* A name of its own: rcvrenv must not take it for a recipient that is to have the mail. */
static void log_vanishes(const struct ss_session *s, struct sm_str rcpt)
{
	sm_log(SM_INFO, "ss.discard",
	       "ss_sess=%I ss_ta=%I client=%A where=rcpt rcpt=<%S> stat=%d why=%s", s->id,
	       s->txn.id, &s->client, rcpt, s->reply_code, "discarded by policy");
}

/* Refuse this recipient, and count it, so that nobody tries addresses for ever. */
static void refuse(struct ss_session *s, struct sm_str rcpt, int code, struct sm_str text)
{
	enum ss_reply_name many = code >= 500 ? ss_limits_invalid(&s->limits, s->conf)
	                                      : ss_limits_deferred(&s->limits, s->conf);

	s->refused = true;
	if (many != SS_R_NONE)
		ss_say_and_close(s, many, "too many refused recipients");
	else
		ss_say_text(s, code, text);
	log_refused(s, rcpt);
	if (s->reply_code == 421 && !s->closing) {
		s->closing = s->linger = true;
		s->why = "421 at RCPT";
	}
}

static void refuse_by(struct ss_session *s, struct sm_str rcpt, enum ss_reply_name r)
{
	refuse(s, rcpt, ss_reply_code(r), ss_reply_text(r));
}

static bool parse(struct ss_session *s, struct sm_str arg, struct sm_arena *a, struct sm_addr *addr,
                  struct ss_rcpt_params *params, struct sm_str *written)
{
	struct sm_str rest, what;
	bool utf8 = (s->txn.utf8 & SM_UTF8_DECLARED) != 0;
	unsigned how =
	    SM_ADDR_BARE_POSTMASTER_OK | ss_qualify_flags(s->conf) | (utf8 ? SM_ADDR_UTF8_OK : 0);
	int err = sm_smtp_from_to(arg, SM_STR("TO:"), how, a, addr, &rest);
	enum ss_reply_name r;

	if (err != 0) {
		char text[SM_DIAG_MAX + 64];
		struct sm_buf b;
		if (err == SM_E_NOTSUP) {
			refuse_by(s, SM_STR("(8-bit)"), SS_R_RCPT_8BIT);
			return false;
		}
		sm_buf_init(&b, sizeof(text));
		sm_buf_str(&b, ss_reply_text(SS_R_BAD_RCPT));
		sm_buf_printf(&b, ": %s", sm_diag());
		refuse(s, SM_STR("(syntax)"), ss_reply_code(SS_R_BAD_RCPT), sm_buf_view(&b));
		sm_buf_fini(&b);
		return false;
	}
	*written = rest;
	r = ss_rcpt_params(rest, s->conf, utf8, a, params, &what);
	if (r != SS_R_NONE) {
		ss_bad_param(s, r, what);
		return false;
	}
	if (ss_qualify(s->conf, s->ss->hostname, a, addr) != 0) {
		refuse_by(s, addr->mailbox, SS_R_NO_RELAY);
		return false;
	}
	return true;
}

/* What the check at connect has left to say, or else that of MAIL. */
static void refuse_stored(struct ss_session *s, struct sm_str rcpt)
{
	if (s->conn_code != 0)
		refuse(s, rcpt, s->conn_code, s->conn_text);
	else
		refuse(s, rcpt, s->txn.mail_code, s->txn.mail_text);
}

/* By the verdict on the recipient. True: accepted; the verdict may want it to vanish. */
static bool decide(struct ss_session *s, const struct sm_addr *addr, const struct ss_ask *a)
{
	struct ss_policy p = ss_policy_of(s->conf, &s->who, a->code, a->flags, a->listed,
	                                  s->conn_code != 0 || s->txn.mail_code != 0);
	bool greylisted = (a->flags & SM_VERDICT_GREYLISTED) != 0;

	switch (ss_policy_rcpt(&p)) {
	case SS_POLICY_ACCEPT:
		if (ss_policy_grey_later(s->conf, a->flags))
			s->txn.greylisted = sm_arena_str(&s->txn.arena, a->text);
		return true;
	case SS_POLICY_NO_RELAY:
		refuse_by(s, addr->mailbox, SS_R_NO_RELAY);
		break;
	case SS_POLICY_SAY_VERDICT:
		refuse(s, addr->mailbox, greylisted ? ss_grey_code(s->conf) : a->code, a->text);
		break;
	case SS_POLICY_SAY_STORED:
		refuse_stored(s, addr->mailbox);
		break;
	}
	if (a->flags & SM_VERDICT_CLOSE)
		s->closing = true;
	return false;
}

/* ---- the next hop ---- */

/* It does not say, or nobody could ask it. True: then it is accepted. */
static bool not_told(struct ss_session *s, const struct sm_addr *addr, const struct ss_ask *a,
                     struct sm_str why)
{
	bool accept = (a->flags & SM_VERDICT_VERIFY_ACCEPT) != 0;

	sm_log(SM_INFO, "ss.verify", "ss_sess=%I ss_ta=%I rcpt=<%S> result=%s text=%S", s->id,
	       s->txn.id, addr->mailbox, accept ? "accepted" : "deferred", why);
	if (!accept)
		refuse_by(s, addr->mailbox, SS_R_NOT_VERIFIED);
	return accept;
}

/* Does the next hop know the recipient that smar has let pass? False: refused. */
static bool verify(struct ss_session *s, const struct sm_addr *addr, struct ss_ask *a)
{
	const struct ss_ask *v;
	int err;

	ss_ask_verify(a);
	v = a->verify;
	if (v == NULL)
		return true;
	err = ss_ask_wait(a->verify);
	if (err != 0)
		return not_told(s, addr, a, sm_str(sm_strerr(err)));
	if (v->code >= 500)
		refuse(s, addr->mailbox, v->code, v->text);
	else if (v->code >= 400)
		return not_told(s, addr, a, v->text);
	return v->code < 400;
}

/* ---- all of it ---- */

enum admitted { REFUSED, ACCEPTED, VANISHES };

/* What the filters say of it. */
static enum admitted filter(struct ss_session *s, const struct sm_addr *addr, struct sm_str written,
                            bool local)
{
	struct ss_word w = ss_milters_rcpt(s, addr->mailbox, written, local);

	switch (w.kind) {
	case SS_WORD_GO:
		return ACCEPTED;
	case SS_WORD_DISCARD:
		s->txn.discard = true;
		return VANISHES;
	case SS_WORD_REFUSE:
		refuse(s, addr->mailbox, w.code, w.text);
		break;
	case SS_WORD_CUT:
		ss_word_cut(s);
		break;
	}
	return REFUSED;
}

/* What limits, a stored rejection, smar and the relay policy say; filters see what passes. */
static enum admitted admit(struct ss_session *s, const struct sm_addr *addr, struct sm_str written)
{
	struct ss_txn *t = &s->txn;
	enum ss_reply_name r = ss_limits_rcpt(&s->limits, s->conf, t->rcpt_count + t->discarded);
	enum admitted result = REFUSED;
	bool asked = false;
	struct ss_ask mem, *a;

	if (r == SS_R_NONE && s->ss->rcpt_count >= s->ss->credit.max_rcpts)
		r = SS_R_NO_RCPT_ROOM;
	if (r != SS_R_NONE) {
		ss_prefetch_drop(s);
		refuse_by(s, addr->mailbox, r);
		return REFUSED;
	}
	if ((s->who.discard || t->discard) && s->conn_code == 0)
		return VANISHES;
	ss_prefetch(s, t->sender);
	a = ss_prefetch_rcpt(s, t->sender, addr->mailbox, &mem);
	ss_prefetch(s, t->sender);
	if (ss_ask_wait(a) != 0) {
		refuse_by(s, addr->mailbox, SS_R_RCPT_CHECK_AWAY);
	} else if (decide(s, addr, a)) {
		bool vanishes = (a->flags & SM_VERDICT_DISCARD) != 0;

		if (vanishes && (a->flags & SM_VERDICT_QUICK))
			t->discard = true;
		if (vanishes || t->discard)
			result = VANISHES;
		else if ((asked = verify(s, addr, a)))
			result = filter(s, addr, written, (a->flags & SM_VERDICT_LOCAL) != 0);
	}
	/* Filters may want to know of those that they were not asked about. */
	if (result == REFUSED && !asked && !s->closing)
		ss_milters_rcpt_refused(s, addr->mailbox, written);
	ss_ask_end(a);
	return result;
}

static void add(struct ss_session *s, const struct sm_addr *addr,
                const struct ss_rcpt_params *params)
{
	if (ss_txn_add_rcpt(s, addr->mailbox, params->orcpt, params->notify) != 0) {
		refuse_by(s, addr->mailbox, SS_R_NO_RCPT_ROOM);
		return;
	}
	ss_say(s, SS_R_RCPT_OK);
	log_accepted(s);
}

void ss_cmd_rcpt(struct ss_session *s, struct sm_str arg)
{
	struct ss_rcpt_params params;
	struct sm_addr addr;
	struct sm_str written;
	struct sm_arena_room room;
	struct sm_arena a;

	sm_arena_init_in(&a, "RCPT", &room, SCRATCH_CAP);
	if (parse(s, arg, &a, &addr, &params, &written)) {
		switch (admit(s, &addr, written)) {
		case REFUSED:
			break;
		case ACCEPTED:
			add(s, &addr, &params);
			break;
		case VANISHES:
			ss_txn_discard_rcpt(s);
			ss_say(s, SS_R_RCPT_OK);
			log_vanishes(s, addr.mailbox);
			break;
		}
	}
	sm_arena_fini(&a);
}
