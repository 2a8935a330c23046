/* Shared by the tests of the configuration language. */
#ifndef SM_T_CONF_H
#define SM_T_CONF_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/conf.h"

static inline void assert_str(struct sm_str s, const char *want)
{
	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

#endif
