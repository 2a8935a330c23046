/* The event loop: timers, hooks, signals, posts from threads. */
#include "libsm/t_co.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- timers ---- */

static char fired[64];
static int fired_count;

static void on_timer(void *arg)
{
	fired[fired_count++] = *(const char *)arg;
	if (fired[fired_count - 1] == 'z')
		sm_loop_stop(7);
}

static void test_timers_in_order(void **state)
{
	static char names[] = "abcz";
	struct sm_timer t[4] = {{.cb = NULL}};
	int64_t now = sm_loop_now_ms();

	(void)state;
	fired_count = 0;
	sm_timer_set(&t[0], now + 20, on_timer, &names[0]);
	sm_timer_set(&t[1], now + 5, on_timer, &names[1]);
	sm_timer_set(&t[2], now + 1, on_timer, &names[2]);
	sm_timer_set(&t[3], now + 30, on_timer, &names[3]);
	sm_timer_set(&t[2], now + 10, on_timer, &names[2]); /* moves */
	assert_true(sm_timer_is_set(&t[0]));
	sm_timer_cancel(&t[0]);
	sm_timer_cancel(&t[0]);
	assert_false(sm_timer_is_set(&t[0]));
	assert_int_equal(sm_loop_run(), 7);
	assert_int_equal(fired_count, 3);
	assert_memory_equal(fired, "bcz", 3);
	assert_true(sm_now_ms() >= now + 29);
	assert_false(sm_timer_is_set(&t[3]));
}

static struct sm_timer again;
static int again_count;

static void on_again(void *arg)
{
	sm_timer_set(&again, sm_loop_now_ms(), on_again, arg);
	if (++again_count == 2)
		sm_timer_set(arg, sm_loop_now_ms() + 5, t_stop, NULL);
}

static void test_timer_set_to_now_starves_nobody(void **state)
{
	struct sm_timer stop = {.cb = NULL};

	(void)state;
	again_count = 0;
	sm_timer_set(&again, sm_loop_now_ms(), on_again, &stop);
	assert_int_equal(sm_loop_run(), 0);
	sm_timer_cancel(&again);
}

/* ---- hooks, signals, posts ---- */

static int hook_calls;

static bool on_hook(void *arg)
{
	if (++hook_calls == 3)
		sm_timer_set(arg, sm_now_ms() + 20, t_stop, NULL);
	return hook_calls < 3; /* there is work: do not sleep */
}

static char hook_order[8];

static bool on_ordered_hook(void *arg)
{
	if (strlen(hook_order) < 4)
		strncat(hook_order, arg, 1);
	return strlen(hook_order) < 4;
}

/* Whoever registers when: decide, send, log. */
static void test_hook_order(void **state)
{
	static char names[] = "12sl";
	struct sm_hook log, send, one, two;
	struct sm_timer t = {.cb = NULL};

	(void)state;
	hook_order[0] = '\0';
	sm_loop_before_sleep_at(&log, SM_HOOK_LOG, on_ordered_hook, &names[3]);
	sm_loop_before_sleep(&one, on_ordered_hook, &names[0]);
	sm_loop_before_sleep_at(&send, SM_HOOK_SEND, on_ordered_hook, &names[2]);
	sm_loop_before_sleep(&two, on_ordered_hook, &names[1]);
	sm_timer_set(&t, sm_now_ms() + 5, t_stop, NULL);
	assert_int_equal(sm_loop_run(), 0);
	assert_string_equal(hook_order, "12sl");
	sm_hook_remove(&log);
	sm_hook_remove(&one);
	sm_hook_remove(&two);
	sm_hook_remove(&send);
}

static void test_hook(void **state)
{
	struct sm_hook h;
	struct sm_timer t = {.cb = NULL};

	(void)state;
	hook_calls = 0;
	sm_loop_before_sleep(&h, on_hook, &t);
	sm_timer_set(&t, sm_now_ms() + T_PATIENCE_MS, t_stop, NULL);
	assert_int_equal(sm_loop_run(), 0);
	assert_in_range(hook_calls, 3, 8);
	sm_hook_remove(&h);
}

static int signals_seen;

static void on_signal(int sig, void *arg)
{
	(void)arg;
	signals_seen += sig;
	sm_loop_stop(0);
}

static void test_signal(void **state)
{
	sigset_t before;

	(void)state;
	signals_seen = 0;
	assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &before), 0);
	assert_int_equal(sm_loop_signal(SIGUSR1, on_signal, NULL), 0);
	assert_int_equal(sm_loop_signal(SIGUSR2, on_signal, NULL), 0);
	assert_int_equal(kill(getpid(), SIGUSR2), 0);
	assert_int_equal(sm_loop_run(), 0);
	assert_int_equal(signals_seen, SIGUSR2);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_int_equal(sm_loop_run(), 0);
	assert_int_equal(signals_seen, SIGUSR1 + SIGUSR2);
	assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

enum { POSTERS = 4, POSTS = 5000 };
struct job {
	struct sm_post post;
	int thread, number;
};
static int next_number[POSTERS], posts_seen;

static void on_post(void *arg)
{
	struct job *j = arg;

	assert_int_equal(j->number, next_number[j->thread]); /* in order */
	next_number[j->thread]++;
	if (++posts_seen == POSTERS * POSTS)
		sm_loop_stop(0);
	free(j);
}

static void *poster(void *arg)
{
	for (int i = 0; i < POSTS; i++) {
		struct job *j = malloc(sizeof(*j));
		j->post.cb = on_post;
		j->post.arg = j;
		j->thread = *(int *)arg;
		j->number = i;
		sm_loop_post(&j->post);
	}
	return NULL;
}

static void test_post(void **state)
{
	pthread_t t[POSTERS];
	static int ids[POSTERS] = {0, 1, 2, 3};

	(void)state;
	posts_seen = 0;
	memset(next_number, 0, sizeof(next_number));
	for (size_t i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, poster, &ids[i]), 0);
	assert_int_equal(sm_loop_run(), 0);
	assert_int_equal(posts_seen, POSTERS * POSTS);
	for (size_t i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T_TEST(test_timers_in_order),
	    T_TEST(test_timer_set_to_now_starves_nobody),
	    T_TEST(test_hook),
	    T_TEST(test_hook_order),
	    T_TEST(test_signal),
	    T_TEST(test_post),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
