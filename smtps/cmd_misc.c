/* The commands without substance: RSET, NOOP, VRFY, EXPN, HELP, QUIT (RFC 5321 4.1.1.5
 * to 4.1.1.10). */
#include "libsm/utf8.h"
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

/* "SMTPUTF8" behind what is asked for (RFC 6531 3.7.4.2), and then only UTF-8. */
static bool asks_in_utf8(const struct ss_session *s, struct sm_str arg)
{
	return ss_offers_smtputf8(s->conf) && sm_str_has_casesuffix(arg, SM_STR(" SMTPUTF8")) &&
	       sm_utf8_graphic(arg);
}

/* RFC 5321 3.5.3 allows 252 for everything: a list of addresses is nobody's business. */
void ss_cmd_vrfy(struct ss_session *s, struct sm_str arg)
{
	ss_say(s, sm_str_is_ascii(arg) || asks_in_utf8(s, arg) ? SS_R_VRFY : SS_R_VRFY_8BIT);
}

void ss_cmd_expn(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	ss_say(s, SS_R_NOT_OFFERED);
}

void ss_cmd_help(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	if (ss_hides(s->conf, SS_X_HELP))
		ss_bad(s, SS_R_NOT_OFFERED);
	else
		ss_say(s, SS_R_HELP);
}

void ss_cmd_quit(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	ss_say_and_close(s, SS_R_BYE, "quit");
	s->linger = sm_stream_has_input(&s->io);
}
