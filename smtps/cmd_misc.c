/* The commands without substance: RSET, NOOP, VRFY, EXPN, HELP, QUIT (RFC 5321 4.1.1.5
 * to 4.1.1.10). */
#include "smtps/cmds.h"
#include "smtps/session.h"

void ss_cmd_rset(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	ss_txn_reset(s, false);
	ss_say(s, SS_R_RESET);
}

void ss_cmd_noop(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	ss_say(s, SS_R_OK);
}

/* RFC 5321 3.5.3 allows 252 for everything: a list of addresses is nobody's business. */
void ss_cmd_vrfy(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	ss_say(s, SS_R_VRFY);
}

void ss_cmd_expn(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	ss_say(s, SS_R_NOT_OFFERED);
}

void ss_cmd_help(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	ss_say(s, SS_R_HELP);
}

void ss_cmd_quit(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	ss_say_and_close(s, SS_R_BYE, "quit");
	s->linger = sm_stream_has_input(&s->io);
}
