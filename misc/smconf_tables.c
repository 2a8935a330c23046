/*
 * The programs of smx and their option tables, as far as the configuration checker is concerned.
 */
#include "misc/smconf.h"

#include "misc/sendmail.h"
#include "qmgr/conf.h"
#include "smar/conf.h"
#include "smtpc/conf.h"
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

static int check_smtps(const void *conf)
{
	return ss_conf_check(conf);
}

static int check_sendmail(const void *conf)
{
	return sl_conf_check(conf);
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
	{NULL, NULL, 0, NULL, NULL, NULL, NULL},
};
/* clang-format on */
