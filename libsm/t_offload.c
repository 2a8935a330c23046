/* Helper threads: results, diag, order, what a cancel may not interrupt. */
#include "libsm/t_co.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "libsm/offload.h"

static int with_helpers(void **state)
{
	int rc = t_setup(state);

	return rc != 0 ? rc : sm_offload_init(3);
}

static int with_all_helpers(void **state)
{
	int rc = t_setup(state);

	return rc != 0 ? rc : sm_offload_init(SM_OFFLOAD_MAX);
}

static int without_helpers(void **state)
{
	assert_int_equal(sm_offload_queued(), 0);
	sm_offload_fini();
	return t_teardown(state);
}

static void nap_ms(long ms)
{
	struct timespec t = {.tv_sec = 0, .tv_nsec = ms * 1000000};

	(void)nanosleep(&t, NULL);
}

struct work {
	int in, out, rc;
	pthread_t ran_in;
	char diag[SM_DIAG_MAX];
};

static int square(void *arg)
{
	struct work *w = arg;

	assert_null(sm_co_self());
	w->out = w->in * w->in;
	w->ran_in = pthread_self();
	return w->in == 13 ? sm_fail(SM_E_RANGE, "%d brings bad luck", w->in) : w->in;
}

static void asker(void *arg)
{
	struct work *w = arg;

	(void)sm_fail(SM_E_SYS, "old");
	w->rc = sm_offload("squaring", square, w);
	(void)strcpy(w->diag, sm_diag());
}

static void test_results(void **state)
{
	static struct work w[200];

	(void)state;
	for (int i = 0; i < 200; i++) {
		w[i] = (struct work){.in = i};
		t_spawn(asker, &w[i]);
	}
	t_run_all();
	for (int i = 0; i < 200; i++) {
		assert_int_equal(w[i].out, i * i);
		assert_int_equal(w[i].rc, i == 13 ? SM_E_RANGE : i);
		assert_string_equal(w[i].diag, i == 13 ? "13 brings bad luck" : "old");
		assert_false(pthread_equal(w[i].ran_in, pthread_self()));
	}
}

static _Atomic bool slow_ended;

static int slow(void *arg)
{
	(void)arg;
	nap_ms(30);
	slow_ended = true;
	return 5;
}

static void impatient(void *arg)
{
	int *rc = arg;

	rc[0] = sm_offload("something slow", slow, NULL);
	assert_true(slow_ended);
	rc[1] = sm_co_sleep(sm_loop_now_ms() + 1000);
}

static void test_cancel_waits_for_the_helper(void **state)
{
	int rc[2] = {0, 0};

	(void)state;
	slow_ended = false;
	struct sm_co *co = t_spawn(impatient, rc);
	(void)sm_co_run_ready();
	sm_co_cancel(co);
	sm_co_wake(co); /* nor does a stray wake end it early */
	t_run_all();
	assert_int_equal(rc[0], 5);
	assert_int_equal(rc[1], SM_E_CANCEL);
}

static void ticker(void *arg)
{
	while (!slow_ended) {
		++*(int *)arg;
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	}
}

static void test_loop_goes_on(void **state)
{
	int rc[2], ticks = 0;

	(void)state;
	slow_ended = false;
	struct sm_co *co = t_spawn(impatient, rc);
	t_spawn(ticker, &ticks);
	sm_co_cancel(co);
	t_run_all();
	assert_true(ticks > 2);
}

static int done_count;

static void on_done(int rc, void *arg)
{
	struct work *w = arg;

	assert_int_equal(rc, w->in == 13 ? SM_E_RANGE : w->in);
	if (rc < 0)
		assert_string_equal(sm_diag(), "13 brings bad luck");
	if (++done_count == 20)
		sm_loop_stop(0);
}

static void test_async(void **state)
{
	static struct work w[20];
	static struct sm_offload_job jobs[20];

	(void)state;
	done_count = 0;
	for (int i = 0; i < 20; i++) {
		w[i] = (struct work){.in = i};
		sm_offload_async(&jobs[i], square, on_done, &w[i]);
	}
	assert_int_equal(sm_offload_queued(), 20);
	assert_int_equal(sm_loop_run(), 0);
	assert_int_equal(done_count, 20);
}

/* Without helpers the work is done in place. */
static int in_place(void *arg)
{
	*(pthread_t *)arg = pthread_self();
	return 3;
}

static void in_place_asker(void *arg)
{
	pthread_t ran_in;

	*(int *)arg = sm_offload("in place", in_place, &ran_in);
	assert_true(pthread_equal(ran_in, pthread_self()));
}

static void test_no_helpers(void **state)
{
	int rc = 0;

	(void)state;
	t_spawn(in_place_asker, &rc);
	t_run_all();
	assert_int_equal(rc, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_results, with_helpers, without_helpers),
	    cmocka_unit_test_setup_teardown(test_cancel_waits_for_the_helper, with_helpers,
	                                    without_helpers),
	    cmocka_unit_test_setup_teardown(test_loop_goes_on, with_helpers, without_helpers),
	    cmocka_unit_test_setup_teardown(test_async, with_helpers, without_helpers),
	    cmocka_unit_test_setup_teardown(test_results, with_all_helpers, without_helpers),
	    T_TEST(test_no_helpers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
