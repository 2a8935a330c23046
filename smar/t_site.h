/* A small smar for tests: its configuration, maps and mailertable, of texts. Whatever fails fails
 * the test. */
#ifndef AR_T_SITE_H
#define AR_T_SITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smar/ar.h"

extern struct t_site {
	struct ar_conf conf;
	struct ar ar;
	struct sm_arena arena;
	struct ar_ctx ctx; /* of questions to it */
} site;

/* `mailertable`: NULL: none. Questions do not wait. */
void t_site_open(const char *config, const char *mailertable);
void t_site_close(void);
/* Questions from here on wait, in a coroutine and for two seconds from now, or do not. */
void t_site_patient(void);
void t_site_impatient(void);

#endif
