/*
 * XFORWARD: who first brought the next mail, told by a filter or another mail system that is
 * listed. Invariant: it is about one transaction, and is forgotten with it (ss_txn_reset); what the
 * session may do, and what is checked, stays that of who speaks. Session's coroutine.
 */
#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/cmds.h"
#include "smtps/nets.h"
#include "smtps/session.h"
#include "smtps/xforward.h"

enum { SCRATCH_CAP = 16384, COMMIT_PROTO_MAX = 16 /* as ta_commit.proto */ };

bool ss_xforward_on(const struct ss_session *s)
{
	return !ss_hides(s->conf, SS_X_XFORWARD) && !s->told_by_xclient &&
	       s->conf->xforward.from.count > 0 &&
	       ss_nets_have(&s->conf->xforward.from, &s->client);
}

void ss_xforward_offer(const struct ss_session *s, struct sm_buf *b)
{
	if (ss_xforward_on(s))
		sm_buf_cstr(b, "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\n");
}

static void take(struct ss_session *s, const struct ss_xforward *x)
{
	if (s->xforward == NULL)
		s->xforward = sm_malloc(sizeof(*s->xforward));
	*s->xforward = *x;
	ss_say(s, SS_R_OK);
}

void ss_xforward_mail(struct ss_session *s)
{
	const struct ss_xforward *x = s->xforward;
	struct sm_sa first;

	if (x == NULL)
		return;
	s->txn.xid = sm_arena_str(&s->txn.arena, sm_str(x->ident));
	first = x->addr;
	sm_sa_set_port(&first, x->port);
	sm_log(SM_INFO, "ss.xforward",
	       "ss_sess=%I ss_ta=%I client=%A first_client=%?A name=%?s helo=%?s proto=%?s xid=%?s "
	       "source=%?s",
	       s->id, s->txn.id, &s->client, &first, x->name, x->helo, x->proto, x->ident,
	       x->source);
}

void ss_cmd_xforward(struct ss_session *s, struct sm_str arg)
{
	struct ss_xforward x = {.port = 0};
	struct sm_str what;
	struct sm_arena a;

	if (!ss_xforward_on(s)) {
		ss_bad(s, SS_R_UNKNOWN_COMMAND);
		return;
	}
	if (s->xforward != NULL)
		x = *s->xforward;
	sm_arena_init(&a, "XFORWARD", 1024, SCRATCH_CAP);
	if (ss_xforward_parse(arg, &a, &x, &what) != 0)
		ss_bad_param(s, SS_R_BAD_PARAM, what);
	else
		take(s, &x);
	sm_arena_fini(&a);
}

void ss_xforward_client(const struct ss_session *s, struct sm_msg_ta_commit *m)
{
	const struct ss_xforward *x = s->xforward;

	if (x == NULL)
		return;
	m->client = x->addr;
	m->client_name = m->helo = m->proto = SM_STR("");
	if (x->addr.len == 0)
		return;
	sm_sa_set_port(&m->client, x->port);
	m->client_name = sm_str(x->name);
	m->helo = sm_str(x->helo);
	m->proto = sm_str_head(sm_str(x->proto), COMMIT_PROTO_MAX);
}
