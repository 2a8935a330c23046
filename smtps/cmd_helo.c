/* HELO and EHLO (RFC 5321 4.1.1.1), LHLO (RFC 2033 4.1): who the client says it is, and what we
 * offer. They reset the transaction. */
#include "libsm/addr.h"
#include "smtps/cmds.h"
#include "smtps/milters.h"
#include "smtps/session.h"
#include "smtps/xclient.h"
#include "smtps/xforward.h"

/* The name is checked, never believed: it goes into the Received: header and the log. */
static bool greet(struct ss_session *s, struct sm_str name, bool esmtp)
{
	bool strict = (s->conf->flags & SS_F_STRICT_EHLO) != 0;
	/* The first one is no offence, each further one does nothing. */
	enum ss_reply_name many =
	    sm_str_empty(s->helo) ? SS_R_NONE : ss_limits_nop(&s->limits, s->conf, false);

	if (many != SS_R_NONE) {
		ss_say_and_close(s, many, "too many commands that do nothing");
		return false;
	}
	if (!sm_helo_valid(name, strict)) {
		ss_bad(s, SS_R_BAD_HELO);
		return false;
	}
	if (!ss_tls_judge(s))
		return false;
	ss_txn_reset(s, false);
	if (ss_word_stops(s, ss_milters_helo(s, name)))
		return false;
	if (!sm_str_eq(name, s->helo)) {
		/* Bounded by max_nop_commands: a session's names are few. */
		struct sm_str copy = sm_arena_str(&s->arena, name);
		if (copy.p == NULL) {
			ss_say_and_close(s, SS_R_TOO_MANY_NOP, "too many names");
			return false;
		}
		s->helo = copy;
	}
	s->esmtp = esmtp;
	return true;
}

void ss_cmd_helo(struct ss_session *s, struct sm_str arg)
{
	if (greet(s, arg, false))
		ss_say_text(s, 250, s->ss->hostname);
}

static void put_number(struct sm_buf *b, const char *what, int64_t n)
{
	sm_buf_cstr(b, what);
	sm_buf_u64(b, (uint64_t)n);
}

static void offer(struct ss_session *s, struct sm_buf *b, uint32_t extension, const char *line)
{
	if (!ss_hides(s->conf, extension))
		sm_buf_cstr(b, line);
}

void ss_cmd_ehlo(struct ss_session *s, struct sm_str arg)
{
	const struct ss_conf *c = s->conf;
	struct sm_buf b;

	if (!greet(s, arg, true))
		return;
	sm_buf_init(&b, 2048);
	sm_buf_str(&b, s->ss->hostname);
	sm_buf_cstr(&b, " pleased to meet you\n");
	offer(s, &b, SS_X_PIPELINING, "PIPELINING\n");
	offer(s, &b, SS_X_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES\n");
	if (ss_tls_offered(s))
		sm_buf_cstr(&b, "STARTTLS\n");
	if (ss_offers_8bitmime(c))
		sm_buf_cstr(&b, "8BITMIME\n");
	if (ss_offers_chunking(c))
		sm_buf_cstr(&b, "CHUNKING\n");
	if (ss_offers_binarymime(c))
		sm_buf_cstr(&b, "BINARYMIME\n");
	if (ss_offers_smtputf8(c))
		sm_buf_cstr(&b, "SMTPUTF8\n");
	ss_xclient_offer(s, &b);
	ss_xforward_offer(s, &b);
	ss_auth_offer(s, &b);
	ss_etrn_offer(s, &b);
	if (!ss_hides(c, SS_X_SIZE)) {
		put_number(&b, "SIZE ", c->max_message_bytes);
		sm_buf_char(&b, '\n');
	}
	if (ss_offers_dsn(c))
		sm_buf_cstr(&b, "DSN\n");
	if (!ss_hides(c, SS_X_LIMITS)) {
		put_number(&b, "LIMITS MAILMAX=", c->max_transactions);
		put_number(&b, " RCPTMAX=", c->max_rcpts_transaction);
		sm_buf_char(&b, '\n');
	}
	offer(s, &b, SS_X_HELP, "HELP\n");
	sm_buf_truncate(&b, b.len - 1); /* the last LF */
	ss_say_text(s, 250, sm_buf_view(&b));
	sm_buf_fini(&b);
}
