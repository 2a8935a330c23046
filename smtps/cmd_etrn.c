/*
 * ETRN (RFC 1985): a client asks for the mail that waits for a node.
 *
 *   "ETRN" SP ( domain / "@" domain / "#" queue )
 *
 * Who may is decided here and by smar, how often and what comes of it by qmgr. Invariant: nobody is
 * told whether mail waits who may not ask for it. Session's coroutine.
 */
#include <string.h>

#include "libsm/addr.h"
#include "libsm/log.h"
#include "libsm/utf8.h"
#include "smtps/ask.h"
#include "smtps/cmds.h"
#include "smtps/nets.h"
#include "smtps/session.h"

enum may { MAY, MAY_NOT, NOT_TOLD };

static bool is_on(const struct ss_session *s)
{
	return !ss_hides(s->conf, SS_X_ETRN) && !ss_speaks_lmtp(s) &&
	       (s->conf->etrn.from.count > 0 || s->conf->etrn.flags != 0);
}

static enum may ask_smar(struct ss_session *s, struct sm_str node)
{
	struct ss_ask a;
	enum may may;

	ss_ask_start(&a, s, SS_ASK_MAY_ETRN, SM_STR_NONE, node);
	if (ss_ask_wait(&a) != 0 || a.code >= 400)
		may = NOT_TOLD;
	else
		may = (a.flags & SM_VERDICT_OK) != 0 ? MAY : MAY_NOT;
	ss_ask_end(&a);
	return may;
}

/* `node` empty: of any at all? */
static enum may may_ask(struct ss_session *s, struct sm_str node)
{
	uint32_t flags = s->conf->etrn.flags;

	if (s->who.discard)
		return MAY_NOT;
	if (ss_nets_have(&s->conf->etrn.from, &s->client))
		return MAY;
	if ((flags & SS_ETRN_AUTH) && s->auth.done)
		return MAY;
	return flags & SS_ETRN_ACCESS ? ask_smar(s, node) : MAY_NOT;
}

void ss_etrn_offer(struct ss_session *s, struct sm_buf *b)
{
	if (is_on(s) && s->conn_code == 0 && ss_session_lacks(s) == SS_R_NONE &&
	    may_ask(s, SM_STR("")) == MAY)
		sm_buf_cstr(b, "ETRN\n");
}

/* As it is compared, with its "@". False: it is none, and that has been said. */
static bool parse(struct ss_session *s, struct sm_str arg, char mem[SM_DOMAIN_ASCII_SIZE + 1],
                  struct sm_str *node)
{
	struct sm_str word = sm_str_word(&arg), domain = word, ascii;
	bool below = word.n > 0 && word.p[0] == '@';

	if (below)
		domain = sm_str_from(word, 1);
	if (!sm_str_empty(sm_str_trim(arg)) || domain.n == 0) {
		ss_bad(s, SS_R_ETRN_SYNTAX);
		return false;
	}
	if (word.p[0] == '#') {
		ss_say(s, SS_R_ETRN_QUEUE);
		return false;
	}
	if (!sm_domain_valid_utf8(domain, true) || sm_domain_ascii(domain, mem + 1, &ascii) != 0) {
		ss_bad(s, SS_R_ETRN_SYNTAX);
		return false;
	}
	memmove(mem + 1, ascii.p, ascii.n);
	mem[0] = '@';
	*node = below ? sm_str_n(mem, ascii.n + 1) : sm_str_n(mem + 1, ascii.n);
	return true;
}

static void refuse(struct ss_session *s, enum may may)
{
	if (may == NOT_TOLD)
		ss_say(s, SS_R_ETRN_UNCHECKED);
	else if ((s->conf->etrn.flags & SS_ETRN_AUTH) && !s->auth.done && ss_auth_on(s))
		ss_say(s, SS_R_AUTH_FIRST);
	else
		ss_say(s, SS_R_ETRN_DENIED);
}

static void start(struct ss_session *s, struct sm_str node)
{
	struct ss_ask a;

	ss_ask_start(&a, s, SS_ASK_ETRN, SM_STR_NONE, node);
	if (ss_ask_wait(&a) != 0)
		ss_say(s, SS_R_ETRN_AWAY);
	else
		ss_say_text(s, a.code != 0 ? a.code : 250, a.text);
	ss_ask_end(&a);
}

void ss_cmd_etrn(struct ss_session *s, struct sm_str arg)
{
	char mem[SM_DOMAIN_ASCII_SIZE + 1];
	enum ss_reply_name lack = ss_session_lacks(s);
	struct sm_str node;
	enum may may;

	if (!is_on(s)) {
		ss_bad(s, SS_R_NOT_OFFERED);
		return;
	}
	if (lack != SS_R_NONE && ss_reply_code(lack) == 421) {
		ss_say_and_close(s, lack, "421 at ETRN");
		return;
	}
	if (!parse(s, arg, mem, &node))
		return;
	if (lack != SS_R_NONE)
		ss_say(s, lack);
	else if (s->conn_code != 0)
		ss_say_text(s, s->conn_code, s->conn_text);
	else if ((may = may_ask(s, node)) != MAY)
		refuse(s, may);
	else
		start(s, node);
	sm_log(SM_INFO, "ss.etrn", "ss_sess=%I client=%A user=%?S destination=%S stat=%d text=%s",
	       s->id, &s->client, s->auth.user, node, s->reply_code, s->reply_text);
}
