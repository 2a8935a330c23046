/*
 * MAIL (RFC 5321 4.1.1.2): syntax, limits, the sender's check by smar; then the transaction begins
 * with an id of its own.
 *
 *   "MAIL FROM:" Reverse-path [SP Mail-parameters]
 */
#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/smtp_cmd.h"
#include "smtps/cmds.h"
#include "smtps/milters.h"
#include "smtps/params.h"
#include "smtps/peers.h"
#include "smtps/prefetch.h"
#include "smtps/qualify.h"
#include "smtps/session.h"
#include "smtps/xforward.h"

enum { SCRATCH_CAP = 8192 };

struct mail {
	struct sm_addr sender;
	struct ss_mail_params params;
	struct sm_str written; /* parameters as the client wrote them */
	bool discard;          /* by the access map, or a filter */
	int later_code;        /* delay_checks: to be said at RCPT; 0: nothing */
	struct sm_str later_text;
};

/*
 * Refuse: a pipelining client may have sent RCPT and DATA behind it, which is no offence then. It
 * counts as a command that did nothing.
 */
static void refuse(struct ss_session *s, const struct mail *m, int code, struct sm_str text)
{
	enum ss_reply_name many = ss_limits_nop(&s->limits, s->conf, false);

	if (many != SS_R_NONE)
		ss_say_and_close(s, many, "too many refused senders");
	else
		ss_say_text(s, code, text);
	s->refused = true;
	sm_log(SM_INFO, "ss.mail", "ss_sess=%I client=%A where=mail mail=<%S> stat=%d text=%s",
	       s->id, &s->client, m->sender.mailbox, s->reply_code, s->reply_text);
	if (s->reply_code == 421 && !s->closing) {
		s->closing = s->linger = true;
		s->why = "421 at MAIL";
	}
}

static void refuse_by(struct ss_session *s, const struct mail *m, enum ss_reply_name r)
{
	refuse(s, m, ss_reply_code(r), ss_reply_text(r));
}

static bool parse(struct ss_session *s, struct sm_str arg, struct sm_arena *a, struct mail *m)
{
	struct sm_str rest, what;
	unsigned how = SM_ADDR_NULL_OK | ss_qualify_flags(s->conf) |
	               (ss_offers_smtputf8(s->conf) ? SM_ADDR_UTF8_OK : 0);
	int err = sm_smtp_from_to(arg, SM_STR("FROM:"), how, a, &m->sender, &rest);
	enum ss_reply_name r;

	if (err == 0)
		err = ss_qualify(s->conf, s->ss->hostname, a, &m->sender);
	if (err != 0) {
		if (err == SM_E_NOTSUP)
			refuse_by(s, m, SS_R_SENDER_8BIT);
		else
			ss_bad_detail(s, SS_R_BAD_SENDER, sm_diag());
		s->refused = true;
		return false;
	}
	m->written = rest;
	r = ss_mail_params(rest, s->conf, a, &m->params, &what);
	if (r == SS_R_SIZE_TOO_BIG) {
		refuse_by(s, m, r);
		return false;
	}
	if (r != SS_R_NONE) {
		ss_bad_param(s, r, what);
		return false;
	}
	if (!m->params.utf8 && !sm_str_is_ascii(m->sender.mailbox)) {
		refuse_by(s, m, SS_R_SENDER_8BIT);
		return false;
	}
	return true;
}

/* What there is room for now. */
static bool admit(struct ss_session *s, const struct mail *m)
{
	const struct ss_credit *credit = &s->ss->credit;
	enum ss_reply_name r;

	if (s->ss->draining) {
		ss_say_and_close(s, SS_R_SHUTDOWN, "shutdown");
		return false;
	}
	r = ss_session_lacks(s);
	if (r != SS_R_NONE) {
		refuse_by(s, m, r);
		return false;
	}
	r = ss_limits_transaction(&s->limits, s->conf);
	if (r != SS_R_NONE) {
		ss_say_and_close(s, r, "too many transactions");
		return false;
	}
	if (credit->code != 0) {
		refuse(s, m, credit->code, sm_str(credit->text));
		return false;
	}
	r = ss_pressure_mail(s);
	if (r != SS_R_NONE) {
		refuse_by(s, m, r);
		return false;
	}
	if (s->ss->txn_count >= credit->max_transactions) {
		refuse_by(s, m, SS_R_NO_ROOM);
		return false;
	}
	return true;
}

/* What smar says of the sender; <> is never asked about. False: refused. */
static bool check(struct ss_session *s, struct sm_arena *arena, struct mail *m)
{
	bool ok = false;
	struct ss_ask a;
	int err;

	if (s->who.discard)
		return true;
	if (sm_str_empty(m->sender.mailbox)) {
		ss_prefetch(s, m->sender.mailbox);
		return true;
	}
	ss_ask_start(&a, s, SS_ASK_MAIL, m->sender.mailbox, SM_STR_NONE);
	/* Greylisting writes down who came: not before it is known that the sender may. */
	if (!(s->conf->flags & SS_F_GREYLISTING))
		ss_prefetch(s, m->sender.mailbox);
	err = ss_ask_wait(&a);
	if (err != 0) {
		refuse_by(s, m, SS_R_MAIL_CHECK_AWAY);
	} else if (a.code < 400) {
		m->discard = (a.flags & SM_VERDICT_DISCARD) != 0;
		ok = true;
	} else if (ss_policy_later(s->conf, a.code, a.flags)) {
		m->later_code = a.code;
		m->later_text = sm_arena_str(arena, a.text);
		ok = true;
	} else {
		refuse(s, m, a.code, a.text);
		if (a.flags & SM_VERDICT_CLOSE)
			s->closing = true;
	}
	ss_ask_end(&a);
	return ok;
}

/* What the filters say of it. False: refused. */
static bool filter(struct ss_session *s, struct mail *m, struct sm_id id)
{
	struct ss_word w;

	if (s->who.discard || m->discard)
		return true;
	w = ss_milters_mail(s, id, m->sender.mailbox, m->written, m->params.auth);
	m->discard = w.kind == SS_WORD_DISCARD;
	if (w.kind == SS_WORD_CUT)
		ss_word_cut(s);
	else if (w.kind == SS_WORD_REFUSE)
		refuse(s, m, w.code, w.text);
	if (w.kind != SS_WORD_CUT && w.kind != SS_WORD_REFUSE)
		return true;
	/* Those that were content know of a message now. */
	ss_milters_reset(s);
	return false;
}

void ss_cmd_mail(struct ss_session *s, struct sm_str arg)
{
	struct mail m = {.params = {.size = 0}};
	struct sm_arena_room room;
	struct sm_arena a;
	struct sm_id id;

	sm_arena_init_in(&a, "MAIL", &room, SCRATCH_CAP);
	s->refused = false;
	if (!parse(s, arg, &a, &m) || !admit(s, &m) || !check(s, &a, &m))
		goto out;
	if (!ss_peers_id(s->ss, &id)) {
		refuse_by(s, &m, SS_R_NO_TA_ID);
		goto out;
	}
	if (!filter(s, &m, id))
		goto out;
	ss_txn_begin(s, id, m.sender.mailbox);
	s->txn.declared_size = m.params.size;
	s->txn.body = m.params.body;
	s->txn.ret = m.params.ret;
	s->txn.utf8 = m.params.utf8 ? SM_UTF8_DECLARED : 0;
	s->txn.envid = sm_arena_str(&s->txn.arena, m.params.envid);
	/* Whoever has not said who it is, is not believed who else it was (RFC 4954 5). */
	if (s->auth.done)
		s->txn.auth = sm_arena_str(&s->txn.arena, m.params.auth);
	s->txn.discard = m.discard;
	s->txn.mail_code = m.later_code;
	s->txn.mail_text = sm_arena_str(&s->txn.arena, m.later_text);
	ss_xforward_mail(s);
	ss_prefetch_verify(s);
	ss_say(s, SS_R_SENDER_OK);
	sm_log(
	    SM_INFO, "ss.mail",
	    "ss_sess=%I ss_ta=%I xid=%?S where=mail mail=<%S> size=%?llu body=%?u ret=%?u utf8=%?u "
	    "envid=%?S auth=%?S user=%?S on_behalf=%?S stat=%d",
	    s->id, id, s->txn.xid, m.sender.mailbox, (unsigned long long)m.params.size,
	    (unsigned)s->txn.body, (unsigned)s->txn.ret, (unsigned)s->txn.utf8, s->txn.envid,
	    s->auth.mech, s->auth.user, m.params.auth, s->reply_code);
out:
	if (!s->txn.open)
		ss_prefetch_drop(s);
	sm_arena_fini(&a);
}
