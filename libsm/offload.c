/*
 * A pool of helper threads for work that blocks.
 *
 * One queue under one mutex goes out; finished jobs come back through sm_loop_post, which wakes the
 * loop once for as many as have gathered. Invariant: a job belongs to the caller before
 * sm_offload_async and from its callback on, to the queue, a helper or the loop's post list in
 * between. Threads: `pool` is shared under its mutex; `queued` belongs to the loop; a helper sees
 * only its job.
 */
#include "libsm/offload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#define HELPER_STACK (512 * 1024) /* NSS modules and Berkeley DB like some room */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct sm_offload_job *first, **end;
	unsigned idle;
	bool stop;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
static pthread_t helpers[SM_OFFLOAD_MAX];
static unsigned helper_count;
static size_t queued;

static void run_job(struct sm_offload_job *job)
{
	char *before = sm_diag_swap(job->diag);

	job->diag[0] = '\0';
	job->rc = job->fn(job->arg);
	(void)sm_diag_swap(before);
}

static void *helper(void *arg SM_UNUSED)
{
	(void)pthread_setname_np(pthread_self(), "helper"); /* for top and profilers */
	pthread_mutex_lock(&pool.lock);
	for (;;) {
		struct sm_offload_job *job = pool.first;
		if (job == NULL) {
			if (pool.stop)
				break;
			pool.idle++;
			pthread_cond_wait(&pool.more, &pool.lock);
			pool.idle--;
			continue;
		}
		pool.first = job->next;
		if (pool.first == NULL)
			pool.end = &pool.first;
		pthread_mutex_unlock(&pool.lock);
		run_job(job);
		sm_loop_post(&job->post);
		pthread_mutex_lock(&pool.lock);
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

int sm_offload_init(unsigned threads)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int err = 0;

	sm_assert(helper_count == 0 && threads > 0 && threads <= SM_OFFLOAD_MAX);
	pool.first = NULL;
	pool.end = &pool.first;
	pool.stop = false;
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* a testing build reports forbidden calls by it (priv.h) */
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, HELPER_STACK);
	while (helper_count < threads && err == 0) {
		err = pthread_create(&helpers[helper_count], &attr, helper, NULL);
		if (err == 0)
			helper_count++;
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err == 0)
		return 0;
	sm_offload_fini();
	return sm_fail_sys(err, "pthread_create of a helper");
}

void sm_offload_fini(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.stop = true;
	pthread_cond_broadcast(&pool.more);
	pthread_mutex_unlock(&pool.lock);
	while (helper_count > 0)
		pthread_join(helpers[--helper_count], NULL);
}

/* On the loop. The diag becomes that of the thread, so that `done` finds it by sm_diag(); the job
 * may be gone after `done`. */
static void on_done(void *arg)
{
	struct sm_offload_job *job = arg;

	queued--;
	if (job->rc < 0)
		(void)sm_fail(job->rc, "%s", job->diag);
	job->done(job->rc, job->arg);
}

void sm_offload_async(struct sm_offload_job *job, int (*fn)(void *arg),
                      void (*done)(int rc, void *arg), void *arg)
{
	job->post = (struct sm_post){.cb = on_done, .arg = job};
	job->next = NULL;
	job->fn = fn;
	job->done = done;
	job->arg = arg;
	queued++;
	if (helper_count == 0) {
		/* A small tool without helpers waits itself. */
		run_job(job);
		sm_loop_post(&job->post);
		return;
	}
	pthread_mutex_lock(&pool.lock);
	*pool.end = job;
	pool.end = &job->next;
	bool wake = pool.idle > 0;
	pthread_mutex_unlock(&pool.lock);
	/* After the unlock: the helper would wake only to wait for the lock. */
	if (wake)
		pthread_cond_signal(&pool.more);
}

struct call {
	struct sm_offload_job job;
	int (*fn)(void *arg);
	void *arg;
	struct sm_co *co;
	bool done;
};

static int call_fn(void *arg)
{
	struct call *c = arg;

	return c->fn(c->arg);
}

static void call_done(int rc SM_UNUSED, void *arg)
{
	struct call *c = arg;

	c->done = true;
	sm_co_wake(c->co);
}

int sm_offload(const char *doing, int (*fn)(void *arg), void *arg)
{
	struct call c = {.fn = fn, .arg = arg, .co = sm_co_self()};

	sm_assert(c.co != NULL);
	sm_offload_async(&c.job, call_fn, call_done, &c);
	while (!c.done)
		sm_co_park_deaf(doing);
	if (c.job.rc < 0)
		(void)sm_fail(c.job.rc, "%s", c.job.diag);
	return c.job.rc;
}

size_t sm_offload_queued(void)
{
	return queued;
}
