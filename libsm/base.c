/*
 * Assertions and the allocator that does not fail: the two places where a process of smx gives up
 * on purpose. Keeps no state; safe in every thread.
 */
#include "libsm/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Pieces up to this size, used before, malloc of the GNU C library has at hand for each thread. Its
 * calloc does not look there (before 2.41). */
#define AT_HAND_BYTES 1024

/* Says where, by one write: neither stdio's buffers nor the heap can be trusted at this point. */
SM_NORETURN static void die(const char *file, int line, const char *text)
{
	char msg[512];
	int n = snprintf(msg, sizeof(msg), "%s:%d: %s\n", file, line, text);

	if (n > 0) {
		size_t len = SM_MIN((size_t)n, sizeof(msg) - 1);
		ssize_t ignored = write(STDERR_FILENO, msg, len);
		(void)ignored;
	}
	abort();
}

void sm_assert_fail(const char *file, int line, const char *what)
{
	char text[400];

	snprintf(text, sizeof(text), "assertion failed: %s", what);
	die(file, line, text);
}

SM_NORETURN static void no_memory(size_t size)
{
	char text[64];

	snprintf(text, sizeof(text), "out of memory for %zu bytes", size);
	die(__FILE__, __LINE__, text);
}

static size_t bytes_of(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		no_memory(SIZE_MAX);
	return bytes ? bytes : 1; /* malloc(0) may give NULL, which would look like a failure */
}

void *sm_malloc(size_t size)
{
	void *p = malloc(bytes_of(1, size));

	if (p == NULL)
		no_memory(size);
	return p;
}

void *sm_calloc(size_t n, size_t size)
{
	size_t bytes = bytes_of(n, size);
	void *p;

	if (bytes <= AT_HAND_BYTES)
		return memset(sm_malloc(bytes), 0, bytes);
	p = calloc(1, bytes);
	if (p == NULL)
		no_memory(bytes);
	return p;
}

void *sm_realloc(void *p, size_t n, size_t size)
{
	size_t bytes = bytes_of(n, size);
	void *q = realloc(p, bytes);

	if (q == NULL)
		no_memory(bytes);
	return q;
}

char *sm_strdup(const char *s)
{
	size_t bytes = strlen(s) + 1;

	return memcpy(sm_malloc(bytes), s, bytes);
}

void sm_free(void *p)
{
	free(p);
}
