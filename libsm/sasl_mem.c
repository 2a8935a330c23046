/*
 * Memory and mutexes for Cyrus SASL. Any thread.
 */
#include "libsm/sasl_mem.h"

#include "config.h"

#ifdef SM_HAVE_SASL

#include <malloc.h>
#include <pthread.h>
#include <sasl/sasl.h>
#include <stdlib.h>
#include <string.h>

#include "libsm/base.h"

/* ---- memory ---- */

static void *get(size_t n)
{
	return sm_malloc(n > 0 ? n : 1);
}

static void *get_zeroed(size_t count, size_t size)
{
	return sm_calloc(count > 0 ? count : 1, size > 0 ? size : 1);
}

static void wipe(void *p)
{
	if (p != NULL)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *get_more(void *old, size_t n)
{
	size_t had = old != NULL ? malloc_usable_size(old) : 0;
	void *p = get(n);

	if (old != NULL)
		memcpy(p, old, SM_MIN(had, n));
	wipe(old);
	return p;
}

/* ---- mutexes ---- */

static void *mutex_new(void)
{
	pthread_mutex_t *m = sm_malloc(sizeof(*m));

	sm_assert(pthread_mutex_init(m, NULL) == 0);
	return m;
}

static int mutex_lock(void *m)
{
	return pthread_mutex_lock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static int mutex_unlock(void *m)
{
	return pthread_mutex_unlock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static void mutex_free(void *m)
{
	(void)pthread_mutex_destroy(m);
	sm_free(m);
}

void sm_sasl_prepare(void)
{
	sasl_set_alloc(get, get_zeroed, get_more, wipe);
	sasl_set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
}

#endif
