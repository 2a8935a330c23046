/* The command table, and what it says of legality. Loop thread; pure but for the table's functions.
 */
#include "smtps/cmds.h"

#include "smtps/session.h"

/* It is searched from the front. */
static const struct ss_cmd table[] = {
    {SM_STR("RCPT"), SS_ST_MAIL | SS_ST_RCPT, 0, ss_cmd_rcpt},
    {SM_STR("MAIL"), SS_ST_READY, 0, ss_cmd_mail},
    {SM_STR("DATA"), SS_ST_RCPT, SS_CMD_LAST | SS_CMD_NOARG, ss_cmd_data},
    {SM_STR("BDAT"), SS_ST_RCPT | SS_ST_CHUNKS, SS_CMD_CHUNK, ss_cmd_bdat},
    {SM_STR("EHLO"), SS_ST_ANY, SS_CMD_LAST | SS_CMD_ANYBODY | SS_CMD_SMTP, ss_cmd_ehlo},
    {SM_STR("HELO"), SS_ST_ANY, SS_CMD_LAST | SS_CMD_ANYBODY | SS_CMD_SMTP, ss_cmd_helo},
    {SM_STR("LHLO"), SS_ST_ANY, SS_CMD_LAST | SS_CMD_ANYBODY | SS_CMD_LMTP, ss_cmd_ehlo},
    {SM_STR("STARTTLS"), SS_ST_READY, SS_CMD_LAST | SS_CMD_NOARG | SS_CMD_ANYBODY, ss_cmd_starttls},
    {SM_STR("QUIT"), SS_ST_ANY, SS_CMD_NOARG | SS_CMD_ANYBODY, ss_cmd_quit},
    {SM_STR("RSET"), SS_ST_ANY, SS_CMD_NOP | SS_CMD_NOARG | SS_CMD_ANYBODY, ss_cmd_rset},
    {SM_STR("NOOP"), SS_ST_ANY, SS_CMD_NOP | SS_CMD_ANYBODY, ss_cmd_noop},
    {SM_STR("AUTH"), SS_ST_READY, SS_CMD_LAST, ss_cmd_auth},
    {SM_STR("VRFY"), SS_ST_ANY, SS_CMD_NOP, ss_cmd_vrfy},
    {SM_STR("EXPN"), SS_ST_ANY, SS_CMD_NOP, ss_cmd_expn},
    {SM_STR("HELP"), SS_ST_ANY, SS_CMD_NOP | SS_CMD_ANYBODY, ss_cmd_help},
    {SM_STR("ETRN"), SS_ST_READY, SS_CMD_NOP, ss_cmd_etrn},
    {SM_STR("XCLIENT"), SS_ST_NEW | SS_ST_READY, SS_CMD_LAST | SS_CMD_ANYBODY, ss_cmd_xclient},
    {SM_STR("XFORWARD"), SS_ST_READY, SS_CMD_NOP, ss_cmd_xforward},
};

const struct ss_cmd *ss_cmd_table(size_t *count)
{
	*count = SM_ARRAY_SIZE(table);
	return table;
}

const struct ss_cmd *ss_cmd_find(struct sm_str verb)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(table); i++)
		if (sm_str_caseeq(table[i].verb, verb))
			return &table[i];
	return NULL;
}

enum ss_state ss_state(const struct ss_session *s)
{
	if (sm_str_empty(s->helo))
		return SS_ST_NEW;
	if (!s->txn.open)
		return SS_ST_READY;
	if (s->txn.in != NULL)
		return SS_ST_CHUNKS;
	return s->txn.rcpt_count + s->txn.discarded == 0 ? SS_ST_MAIL : SS_ST_RCPT;
}

enum ss_reply_name ss_cmd_illegal(const struct ss_cmd *c, enum ss_state state)
{
	if (c->states & state)
		return SS_R_NONE;
	switch (state) {
	case SS_ST_NEW:
		return SS_R_HELO_FIRST;
	case SS_ST_READY:
		return SS_R_MAIL_FIRST;
	case SS_ST_MAIL:
		return c->states & SS_ST_READY ? SS_R_NESTED_MAIL : SS_R_RCPT_FIRST;
	case SS_ST_CHUNKS:
		return SS_R_CHUNKS_OPEN;
	case SS_ST_RCPT:
	case SS_ST_ANY:
		break;
	}
	return SS_R_NESTED_MAIL;
}

bool ss_cmd_foreign(struct sm_str verb)
{
	static const struct sm_str http[] = {
	    SM_STR("GET"),    SM_STR("POST"),    SM_STR("PUT"),   SM_STR("HEAD"),
	    SM_STR("DELETE"), SM_STR("OPTIONS"), SM_STR("PATCH"), SM_STR("CONNECT"),
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(http); i++)
		if (sm_str_caseeq(http[i], verb))
			return true;
	return false;
}
