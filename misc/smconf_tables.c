/*
 * The programs of smx and their option tables, and those of texts in maps, as far as the
 * configuration checker is concerned.
 */
#include "misc/smconf.h"

#include "misc/sendmail.h"
#include "misc/smxfeed.h"
#include "qmgr/conf.h"
#include "smar/conf.h"
#include "smar/way.h"
#include "smtpc/conf.h"
#include "smtpc/server_conf.h"
#include "smtps/conf.h"

static const struct sm_opt no_opts[] = {SM_OPT_END};

static int check_qmgr(const void *conf)
{
	return qm_conf_check(conf);
}

static int check_smar(const void *conf)
{
	return ar_conf_check(conf);
}

static int check_smtpc(const void *conf)
{
	return sc_conf_check(conf);
}

/* A right hand side is smar's to read. */
static int check_route(struct sm_str route)
{
	struct ar_ways ways;
	struct sm_arena a;
	int rc;

	if (route.n == 0)
		return 0;
	sm_arena_init(&a, "route", 4096, 1 << 20);
	rc = ar_ways_parse(route, &a, &ways);
	sm_arena_fini(&a);
	return rc == 0 ? 0 : sm_fail_in(rc, "route");
}

static int check_smtps(const void *conf)
{
	int rc = ss_conf_check(conf);

	return rc == 0 ? check_route(((const struct ss_conf *)conf)->route) : rc;
}

static int check_sendmail(const void *conf)
{
	return sl_conf_check(conf);
}

static int check_smxfeed(const void *conf)
{
	return sf_conf_check(conf);
}

static int64_t index_smtps(const void *conf)
{
	return ((const struct ss_conf *)conf)->id;
}

static int check_port_smtps(const void *conf, int64_t port)
{
	return ss_conf_check_port(conf, port);
}

/* clang-format off */
const struct cf_component cf_components[] = {
	{"mcp", no_opts, 1, NULL, "The supervisor has no options of its own but those of every component", NULL, NULL},
	{"qmgr", qm_conf_opts, sizeof(struct qm_conf), check_qmgr, "The queue manager owns every envelope", NULL, NULL},
	{"smar", ar_conf_opts, sizeof(struct ar_conf), check_smar, "The address resolver knows where mail goes", NULL, NULL},
	{"smtpc", sc_conf_opts, sizeof(struct sc_conf), check_smtpc, "The SMTP and LMTP client delivers", NULL, NULL},
	{"smtps", ss_conf_opts, sizeof(struct ss_conf), check_smtps, "The SMTP server accepts", index_smtps, check_port_smtps},
	{"sendmail", sl_conf_opts, sizeof(struct sl_conf), check_sendmail, "The command that sends mail reads this section when it is called", NULL, NULL},
	{"smxfeed", sf_conf_opts, sizeof(struct sf_conf), check_smxfeed, "What sendmail 8 starts for mail with many recipients reads this section when it is started", NULL, NULL},
	{NULL, NULL, 0, NULL, NULL, NULL, NULL},
};
const struct cf_text cf_texts[] = {
	{"smtpc_session_conf:", sc_server_opts, NULL, "How smtpc treats a server; in the access map, behind this tag the name or address of the server"},
	{"smtpc_rcpt_conf:", sc_rcpt_opts, NULL, "What smtpc requires of whoever takes mail for a recipient; in the access map, behind this tag the address or domain"},
	{"server_auth", sc_credentials_opts, NULL, "How smtpc logs in to a server; in the map that\n.Ic server_auth\nof\n.Ic smar\nnames"},
	{"smtps_session_conf:", ss_conf_opts, "smtps", "How smtps treats a client; in the access map, behind this tag the name or address of the client"},
	{NULL, NULL, NULL, NULL},
};
/* clang-format on */
