/*
 * The programs of smx and their option tables, as far as the configuration checker is concerned.
 */
#include "misc/smconf.h"

#include "smtpc/conf.h"

static const struct sm_opt no_opts[] = {SM_OPT_END};

const struct cf_component cf_components[] = {
    {"mcp", no_opts, 1, NULL, "The supervisor itself"},
    {"smtpc", sc_conf_opts, sizeof(struct sc_conf), NULL, "The SMTP and LMTP client"},
    {NULL, NULL, 0, NULL, NULL},
};
