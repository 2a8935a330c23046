/* What sasl.c and sasl_lib.c share. */
#ifndef SS_SASL_INT_H
#define SS_SASL_INT_H

#include "smtps/sasl.h"

#ifdef SM_HAVE_SASL
#include <sasl/sasl.h>

/* Cyrus SASL finds functions by number and calls them by what the number says. */
typedef int (*ss_sasl_cb)(void);

/* Callback SASL_CB_GETOPT of a connection: sends all lookups of secrets past our plugin as well. */
int ss_sasl_getopt(void *context, const char *plugin, const char *option, const char **result,
                   unsigned *len);
/* Names of users without a realm belong there. */
const char *ss_sasl_hostname(void);
#endif

#endif
