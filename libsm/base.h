/*
 * What every file of smx may use: sizes, annotations, assertions, and an allocator that does not
 * fail. The only header that everyone includes.
 */
#ifndef SM_BASE_H
#define SM_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which sanitizer looks on: gcc and clang tell it differently. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SM_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define SM_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(SM_ASAN)
#define SM_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(SM_TSAN)
#define SM_TSAN 1
#endif

/* A call that may switch to another coroutine: what the caller read before may be stale after. */
#define SM_YIELDS
#define SM_MUST_CHECK   __attribute__((warn_unused_result))
#define SM_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define SM_NORETURN     __attribute__((noreturn))
#define SM_UNUSED       __attribute__((unused))

#define SM_ARRAY_SIZE(a)               (sizeof(a) / sizeof((a)[0]))
#define SM_CONTAINER_OF(p, type, memb) ((type *)(void *)((char *)(p)-offsetof(type, memb)))
#define SM_MIN(a, b)                   ((a) < (b) ? (a) : (b))
#define SM_MAX(a, b)                   ((a) > (b) ? (a) : (b))
#define SM_LIKELY(x)                   __builtin_expect(!!(x), 1)
#define SM_UNLIKELY(x)                 __builtin_expect(!!(x), 0)

/* A broken assertion is a bug in smx: it stays on in release builds, says where, and aborts. */
#define sm_assert(x) (SM_LIKELY(x) ? (void)0 : sm_assert_fail(__FILE__, __LINE__, #x))
SM_NORETURN void sm_assert_fail(const char *file, int line, const char *what);

/*
 * Memory from the heap. Out of memory ends the process (its supervisor restarts it): every size
 * that a peer can influence is bounded before it gets here, so that no peer can bring it about. `n
 * * size` is checked for overflow. Ownership: the caller's; sm_free(NULL) is fine.
 */
void *sm_malloc(size_t size) __attribute__((malloc, returns_nonnull));
void *sm_calloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *sm_realloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *sm_strdup(const char *s) __attribute__((returns_nonnull));
void sm_free(void *p);

/* Free what `pp` points to and set it NULL: no pointer is left that points to freed memory. */
#define SM_FREE(p)          \
	do {                \
		sm_free(p); \
		(p) = NULL; \
	} while (0)

#endif
