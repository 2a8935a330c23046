/*
 * Coroutines: straight-line code for conversations that wait. One OS thread, one loop (loop.h),
 * many coroutines.
 *
 * A coroutine runs until it calls something marked SM_YIELDS. Its stack is 64 KiB with a guard
 * page, taken from a free list. Cancelling sets a flag and resumes it: every later blocking call
 * gives SM_E_CANCEL at once and the code unwinds by its own `goto out`. A stack is never freed
 * before its function has returned.
 */
#ifndef SM_CO_H
#define SM_CO_H

#include "libsm/err.h"
#include "libsm/str.h"
#include "libsm/time.h"

struct sm_co;

#define SM_CO_STACK_BYTES (64 * 1024)
#define SM_CO_NAME_MAX    24
#define SM_CO_DOING_MAX   48

/*
 * Start `fn(arg)` as a coroutine; it first runs at the next turn of the loop. `name` (copied, cut
 * to SM_CO_NAME_MAX) is for people. Gives NULL with a diag when no stack can be had (limit of
 * sm_co_limit, or mmap failed). The handle is valid until fn returns.
 */
struct sm_co *sm_co_spawn(const char *name, void (*fn)(void *arg), void *arg) SM_MUST_CHECK;
/* The running coroutine, NULL on the loop's own stack. */
struct sm_co *sm_co_self(void);

/*
 * Park until sm_co_wake or the deadline (SM_NEVER allowed: the waker is then responsible). 0 woken,
 * SM_E_TIMEOUT, SM_E_CANCEL. Wake-ups may be spurious: callers loop over their condition. `doing`
 * (static text) tells the dump what is waited for.
 */
int sm_co_park(const char *doing, int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* Make a parked coroutine runnable at this or the next turn; harmless when it is not parked (a wake
 * before the park is not lost). */
void sm_co_wake(struct sm_co *co);
void sm_co_cancel(struct sm_co *co);
bool sm_co_cancelled(void); /* of the running one */
/* Let the others run, then go on. */
void sm_co_yield(void) SM_YIELDS;
int sm_co_sleep(int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK; /* 0 at the deadline, SM_E_CANCEL */

/* For last_words.c only: what is to be said if the process dies while this one runs. The getter may
 * be called in a signal handler. */
struct sm_last_words;
void sm_co_set_words(struct sm_co *co, const struct sm_last_words *w);
const struct sm_last_words *sm_co_words(const struct sm_co *co);

/* What this coroutine is about ("RCPT", "<a@b>"; the latter may be empty): printed by the dump
 * until the next call; copied and cut. */
void sm_co_doing(struct sm_str what, struct sm_str of);
/* Give back the untouched-since deep part of this coroutine's stack, e.g. after a TLS handshake. */
void sm_co_trim(void);
/* One line for each coroutine: name, doing, what it waits for, for how long. For SIGUSR2. */
void sm_co_dump(int fd);
size_t sm_co_count(void);
/* Most coroutines at a time; further spawns give NULL. Also checks vm.max_map_count (two mappings a
 * stack). Default 30000. */
void sm_co_limit(size_t max);
/* Free the recycled stacks (process end, for leak checkers). */
void sm_co_cleanup(void);

/* Debug and testing builds: abort when a switch happens between the two. For walks of shared lists.
 * Nest. */
#ifdef SM_TESTING
void sm_noyield_enter(void);
void sm_noyield_leave(void);
#else
static inline void sm_noyield_enter(void)
{
}
static inline void sm_noyield_leave(void)
{
}
#endif

/* For loop.c only: run every coroutine that is ready; true when some became ready meanwhile. */
bool sm_co_run_ready(void);
bool sm_co_any_ready(void);
/* For offload.c only: park until woken, whatever else comes (a cancel is seen by the next blocking
 * call). */
void sm_co_park_deaf(const char *doing) SM_YIELDS;
/* For net.c: an operation did not have to wait; after a good many of them in a row, let the others
 * run. */
void sm_co_fair(void) SM_YIELDS;

#endif
