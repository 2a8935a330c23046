/*
 * XCLIENT: the session begins again, with another client. Invariant: nothing that was learnt of the
 * front end is held for or against that client; it is said once a connection, and only by those who
 * are listed.
 */
#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/cmds.h"
#include "smtps/greet.h"
#include "smtps/nets.h"
#include "smtps/session.h"
#include "smtps/xclient.h"

enum { SCRATCH_CAP = 16384 };

bool ss_xclient_on(const struct ss_session *s)
{
	return !ss_hides(s->conf, SS_X_XCLIENT) && !s->told_by_xclient &&
	       s->conf->xclient.from.count > 0 && ss_nets_have(&s->conf->xclient.from, &s->client);
}

void ss_xclient_offer(const struct ss_session *s, struct sm_buf *b)
{
	if (ss_xclient_on(s))
		sm_buf_cstr(b, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\n");
}

static void begin_again(struct ss_session *s, const struct ss_xclient *x)
{
	sm_log(SM_INFO, "ss.xclient",
	       "ss_sess=%I client=%A via=%A name=%?S helo=%?S user=%?S dest=%?A", s->id, &x->client,
	       &s->client, x->name, x->helo, x->login, &x->server);
	ss_session_anew(s);
	s->told_by_xclient = true;
	ss_session_told_client(s, &x->client);
	s->told_resolve = (uint8_t)x->resolve;
	s->told_name = sm_arena_str(&s->arena, x->name);
	s->helo = sm_arena_str(&s->arena, x->helo);
	s->esmtp = !x->smtp;
	if (!sm_str_empty(x->login) && (s->conf->xclient.flags & SS_XCLIENT_LOGIN)) {
		s->auth.done = true;
		s->auth.mech = SM_STR("XCLIENT");
		s->auth.user = sm_arena_str(&s->arena, x->login);
	}
	if (ss_greet(s) && s->auth.done)
		ss_session_earned(s);
}

void ss_cmd_xclient(struct ss_session *s, struct sm_str arg)
{
	struct ss_xclient x;
	struct sm_str what;
	struct sm_arena a;

	if (s->told_by_xclient) {
		ss_bad(s, SS_R_XCLIENT_AGAIN);
		return;
	}
	if (!ss_xclient_on(s)) {
		ss_bad(s, SS_R_UNKNOWN_COMMAND);
		return;
	}
	sm_arena_init(&a, "XCLIENT", 1024, SCRATCH_CAP);
	if (ss_xclient_parse(arg, &a, &x, &what) != 0)
		ss_bad_param(s, SS_R_BAD_PARAM, what);
	else
		begin_again(s, &x);
	sm_arena_fini(&a);
}
