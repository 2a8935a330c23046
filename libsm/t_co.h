/* For unit tests of what runs in coroutines: a loop for each test, that ends when all coroutines
 * have. */
#ifndef SM_T_CO_H
#define SM_T_CO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/co.h"
#include "libsm/loop.h"
#include "libsm/t_patience.h"

static inline int t_setup(void **state)
{
	(void)state;
	return sm_loop_init();
}

static inline int t_teardown(void **state)
{
	(void)state;
	assert_int_equal(sm_co_count(), 0);
	sm_co_cleanup();
	sm_loop_fini();
	sm_time_real();
	return 0;
}

static inline struct sm_co *t_spawn(void (*fn)(void *), void *arg)
{
	struct sm_co *co = sm_co_spawn("test", fn, arg);

	assert_non_null(co);
	return co;
}

/* Of a timer: ends the loop. */
static inline void t_stop(void *arg)
{
	(void)arg;
	sm_loop_stop(0);
}

/* Ends the loop when all others are gone; looks each millisecond, so that the loop does sleep. */
static inline void t_ender(void *arg)
{
	(void)arg;
	while (sm_co_count() > 1)
		if (sm_co_sleep(sm_loop_now_ms() + 1) != 0)
			sm_co_yield();
	sm_loop_stop(0);
}

static inline void t_run_all(void)
{
	t_spawn(t_ender, NULL);
	assert_int_equal(sm_loop_run(), 0);
}

#define T_TEST(fn) cmocka_unit_test_setup_teardown(fn, t_setup, t_teardown)

#endif
