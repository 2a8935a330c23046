/*
 * The programs of smx and their option tables, as far as the configuration checker is concerned.
 */
#include "misc/smconf.h"

static const struct sm_opt no_opts[] = {SM_OPT_END};

const struct cf_component cf_components[] = {
    {"mcp", no_opts, 1, NULL, "The supervisor itself"},
    {NULL, NULL, 0, NULL, NULL},
};
