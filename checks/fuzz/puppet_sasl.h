/* Takes the place of smtps/sasl.h: a mechanism that does what a response says. */
#ifndef PUPPET_SASL_H
#define PUPPET_SASL_H

#include "smtps/sasl.h"

/* How often somebody was let in since puppet_sasl_reset; how many attempts exist. */
extern unsigned puppet_sasl_passed;
extern int puppet_sasl_open;
void puppet_sasl_reset(void);

#endif
