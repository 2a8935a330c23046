/*
 * Coroutines: their stacks, who is ready, who is parked and until when. The switch itself is in
 * co_switch.h's back ends.
 *
 * One mapping a coroutine, lowest address first:
 *
 *     | guard page | stack, grows downwards ............. <- sp | struct sm_co |
 *
 * so that an idle one costs the one page that holds its struct and its first frames. Stacks are
 * recycled through a free list. Invariant: a coroutine is in exactly one of the states of enum
 * state; only the loop's own stack resumes coroutines, and a coroutine only ever switches back to
 * the loop. A stack is released by the loop after its function has returned, never earlier. Thread:
 * the loop's. `self` is thread-local so that helper threads see that they are none.
 */
#include "libsm/co.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libsm/co_switch.h"
#include "libsm/log.h"
#include "libsm/loop.h"

#ifdef SM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef SM_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#endif

/* Sanitizers make frames several times larger. */
#if defined(SM_ASAN) || defined(SM_TSAN)
#define STACK_BYTES (4 * SM_CO_STACK_BYTES)
#else
#define STACK_BYTES SM_CO_STACK_BYTES
#endif
#define FREE_MAX   256  /* recycled stacks that are kept */
#define SLICE_OPS  64   /* operations that did not wait, after which the others get their turn */
#define SLICE_MS   50   /* testing builds tell who ran for longer without letting others run */
#define MAPS_SPARE 4096 /* mappings left to libraries, heap and threads */

enum state { CO_READY, CO_RUNNING, CO_PARKED, CO_DONE };

struct sm_co {
	struct sm_co_ctx ctx;
	struct sm_list all;  /* in sm_co_all */
	struct sm_list link; /* in ready, or in free_stacks */
	enum state state;
	bool woken;     /* a wake that no park has consumed yet */
	bool cancelled; /* for good */
	bool deaf;      /* this park is not ended by a cancel */
	bool timed_out;
	unsigned ops; /* since it was resumed */
	uint64_t number;
	struct sm_timer timer;
	void (*fn)(void *arg);
	void *arg;
	char *map; /* guard page and all */
	size_t map_bytes;
	char *low; /* of the stack */
	size_t stack_bytes;
	const char *waits; /* what the park said; NULL: not parked */
	const struct sm_last_words *words;
	int64_t since_ms;
	char name[SM_CO_NAME_MAX];
	char doing[SM_CO_DOING_MAX];
	char diag[SM_DIAG_MAX];
#ifdef SM_ASAN
	void *fake_stack;
#endif
#ifdef SM_TSAN
	void *fiber;
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
	unsigned valgrind_id;
#endif
};

/* Not static: misc/gdb/co.py walks it. */
extern struct sm_list sm_co_all;
struct sm_list sm_co_all = SM_LIST_INIT(sm_co_all);

static _Thread_local struct sm_co *self;
static struct sm_co_ctx loop_ctx;
static struct sm_list ready = SM_LIST_INIT(ready);
static struct sm_list free_stacks = SM_LIST_INIT(free_stacks);
static size_t free_count, count, limit = 30000;
static uint64_t last_number;
#ifdef SM_ASAN
static const void *loop_low;
static size_t loop_bytes;
static void *loop_fake_stack;
#endif
#ifdef SM_TSAN
static void *loop_fiber;
#endif

#ifdef SM_TESTING
static unsigned noyield;

void sm_noyield_enter(void)
{
	noyield++;
}

void sm_noyield_leave(void)
{
	sm_assert(noyield > 0);
	noyield--;
}
#endif

/* ---- stacks ---- */

static size_t page_bytes(void)
{
	static size_t bytes;

	if (bytes == 0)
		bytes = (size_t)sysconf(_SC_PAGESIZE);
	return bytes;
}

static struct sm_co *stack_map(void)
{
	size_t guard = page_bytes(), bytes = guard + STACK_BYTES;
	char *map = mmap(NULL, bytes, PROT_NONE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		(void)sm_fail_sys(errno, "mmap of a coroutine stack");
		return NULL;
	}
	if (mprotect(map + guard, bytes - guard, PROT_READ | PROT_WRITE) != 0) {
		(void)sm_fail_sys(errno, "mprotect of a coroutine stack");
		munmap(map, bytes);
		return NULL;
	}
	/* The struct begins on a cache line below the top. */
	size_t own = (sizeof(struct sm_co) + 63) & ~(size_t)63;
	struct sm_co *co = (struct sm_co *)(void *)(map + bytes - own);
	co->map = map;
	co->map_bytes = bytes;
	co->low = map + guard;
	co->stack_bytes = STACK_BYTES - own;
#ifdef SM_ASAN
	/* What only a parked coroutine points to is not leaked. */
	__lsan_register_root_region(map + guard, bytes - guard);
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
	co->valgrind_id = VALGRIND_STACK_REGISTER(co->low, co->low + co->stack_bytes);
#endif
	return co;
}

static void stack_unmap(struct sm_co *co)
{
#ifdef SM_ASAN
	__lsan_unregister_root_region(co->low, co->map_bytes - (size_t)(co->low - co->map));
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
	VALGRIND_STACK_DEREGISTER(co->valgrind_id);
#endif
	munmap(co->map, co->map_bytes);
}

static void stack_release(struct sm_co *co)
{
#ifdef SM_ASAN
	/* The frames that never returned left their red zones behind. */
	__asan_unpoison_memory_region(co->low, co->stack_bytes);
#endif
	if (free_count >= FREE_MAX) {
		stack_unmap(co);
		return;
	}
	sm_list_unshift(&free_stacks, &co->link);
	free_count++;
}

void sm_co_cleanup(void)
{
	for (struct sm_list *e; (e = sm_list_shift(&free_stacks)) != NULL;)
		stack_unmap(SM_LIST_ENTRY(e, struct sm_co, link));
	free_count = 0;
}

void sm_co_trim(void)
{
#ifndef SM_ASAN
	sm_assert(self != NULL);
	/* Below this frame nothing lives but the return address of madvise. */
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0) - 512;
	uintptr_t end = sp & ~(uintptr_t)(page_bytes() - 1);
	if (end > (uintptr_t)self->low)
		(void)madvise(self->low, end - (uintptr_t)self->low, MADV_DONTNEED);
#endif
}

void sm_co_limit(size_t max)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);

	if (fd != -1) {
		if (read(fd, text, sizeof(text) - 1) > 0) {
			size_t maps = strtoul(text, NULL, 10);
			if (maps > 2 * (size_t)MAPS_SPARE)
				max = SM_MIN(max, (maps - MAPS_SPARE) / 2);
		}
		close(fd);
	}
	limit = max;
}

/* ---- switching ---- */

static void resume(struct sm_co *co)
{
	char *diag = sm_diag_swap(co->diag);
	int saved = errno;

	sm_assert(self == NULL && co->state == CO_READY);
	co->state = CO_RUNNING;
	co->waits = NULL;
	co->ops = 0;
	self = co;
#ifdef SM_ASAN
	__sanitizer_start_switch_fiber(&loop_fake_stack, co->low, co->stack_bytes);
#endif
#ifdef SM_TSAN
	loop_fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(co->fiber, 0);
#endif
	sm_co_ctx_swap(&loop_ctx, &co->ctx);
#ifdef SM_ASAN
	__sanitizer_finish_switch_fiber(loop_fake_stack, NULL, NULL);
#endif
	self = NULL;
	errno = saved;
	(void)sm_diag_swap(diag);
	if (co->state != CO_DONE)
		return;
	sm_list_remove(&co->all);
	count--;
#ifdef SM_TSAN
	__tsan_destroy_fiber(co->fiber);
#endif
	stack_release(co);
}

/* Back to the loop. The caller has set the state. */
static void leave(struct sm_co *co)
{
	int saved = errno;

#ifdef SM_TESTING
	sm_assert(noyield == 0);
#endif
#ifdef SM_ASAN
	/* NULL at the end: the sanitizer frees its own bookkeeping of this stack. */
	__sanitizer_start_switch_fiber(co->state == CO_DONE ? NULL : &co->fake_stack, loop_low,
	                               loop_bytes);
#endif
#ifdef SM_TSAN
	__tsan_switch_to_fiber(loop_fiber, 0);
#endif
	sm_co_ctx_swap(&co->ctx, &loop_ctx);
#ifdef SM_ASAN
	__sanitizer_finish_switch_fiber(co->fake_stack, &loop_low, &loop_bytes);
#endif
	errno = saved;
}

void sm_co_main(void *arg)
{
	struct sm_co *co = arg;

#ifdef SM_ASAN
	__sanitizer_finish_switch_fiber(NULL, &loop_low, &loop_bytes);
#endif
	co->fn(co->arg);
	co->state = CO_DONE;
	leave(co);
	abort(); /* nobody resumes the dead */
}

static void make_ready(struct sm_co *co)
{
	co->state = CO_READY;
	sm_list_push(&ready, &co->link);
}

#ifdef SM_TESTING
/* Whoever computes, or calls something that blocks, holds up all the others: say so. */
static void slice(struct sm_co *co)
{
	char name[SM_CO_NAME_MAX];
	int64_t before = sm_now_ms(), took;

	memcpy(name, co->name, sizeof(name));
	resume(co);
	took = sm_now_ms() - before;
	if (took > SLICE_MS)
		sm_log(SM_DEBUG, "co.slice", "name=%s ms=%lld", name, (long long)took);
}
#else
static void slice(struct sm_co *co)
{
	resume(co);
}
#endif

bool sm_co_run_ready(void)
{
	struct sm_list batch;

	/* Who becomes ready meanwhile waits for the next round: nobody is starved. */
	sm_list_init(&batch);
	sm_list_splice(&batch, &ready);
	for (struct sm_list *e; (e = sm_list_shift(&batch)) != NULL;)
		slice(SM_LIST_ENTRY(e, struct sm_co, link));
	return !sm_list_empty(&ready);
}

bool sm_co_any_ready(void)
{
	return !sm_list_empty(&ready);
}

/* ---- what callers see ---- */

struct sm_co *sm_co_spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	struct sm_list *recycled;
	struct sm_co *co;

	if (count >= limit) {
		(void)sm_fail(SM_E_BUSY, "limit of %zu coroutines is reached", limit);
		return NULL;
	}
	if ((recycled = sm_list_shift(&free_stacks)) != NULL) {
		free_count--;
		co = SM_LIST_ENTRY(recycled, struct sm_co, link);
	} else if ((co = stack_map()) == NULL) {
		return NULL;
	}
	co->woken = co->cancelled = co->deaf = co->timed_out = false;
	co->fn = fn;
	co->arg = arg;
	co->number = ++last_number;
	co->timer = (struct sm_timer){0};
	co->waits = NULL;
	co->words = NULL;
	co->since_ms = sm_loop_now_ms();
	co->doing[0] = co->diag[0] = '\0';
	sm_str_cut(sm_str(name), co->name, sizeof(co->name));
	sm_list_init(&co->link);
	sm_list_push(&sm_co_all, &co->all);
	count++;
#ifdef SM_TSAN
	co->fiber = __tsan_create_fiber(0);
#endif
	sm_co_ctx_make(&co->ctx, co->low, co->stack_bytes & ~(size_t)15, co);
	make_ready(co);
	return co;
}

struct sm_co *sm_co_self(void)
{
	return self;
}

static void on_deadline(void *arg)
{
	struct sm_co *co = arg;

	if (co->state == CO_PARKED) {
		co->timed_out = true;
		make_ready(co);
	}
}

int sm_co_park(const char *doing, int64_t deadline_ms)
{
	struct sm_co *co = self;

	sm_assert(co != NULL);
	if (co->cancelled)
		return sm_fail(SM_E_CANCEL, "%s: cancelled", doing);
	if (!co->woken) {
		int64_t now = sm_loop_now_ms();
		if (deadline_ms <= now)
			return sm_fail(SM_E_TIMEOUT, "%s: deadline passed", doing);
		co->timed_out = false;
		if (deadline_ms != SM_NEVER)
			sm_timer_set(&co->timer, deadline_ms, on_deadline, co);
		co->waits = doing;
		co->since_ms = now;
		co->state = CO_PARKED;
		leave(co);
		sm_timer_cancel(&co->timer);
		if (co->cancelled)
			return sm_fail(SM_E_CANCEL, "%s: cancelled", doing);
		if (!co->woken && co->timed_out)
			return sm_fail(SM_E_TIMEOUT, "%s: deadline passed", doing);
	}
	co->woken = false;
	return 0;
}

void sm_co_park_deaf(const char *doing)
{
	struct sm_co *co = self;

	sm_assert(co != NULL);
	while (!co->woken) {
		co->deaf = true;
		co->waits = doing;
		co->since_ms = sm_loop_now_ms();
		co->state = CO_PARKED;
		leave(co);
		co->deaf = false;
	}
	co->woken = false;
}

void sm_co_wake(struct sm_co *co)
{
	co->woken = true;
	if (co->state == CO_PARKED)
		make_ready(co);
}

void sm_co_cancel(struct sm_co *co)
{
	co->cancelled = true;
	if (co->state == CO_PARKED && !co->deaf)
		make_ready(co);
}

bool sm_co_cancelled(void)
{
	return self != NULL && self->cancelled;
}

void sm_co_yield(void)
{
	sm_assert(self != NULL);
	make_ready(self);
	leave(self);
}

void sm_co_fair(void)
{
	if (self != NULL && ++self->ops >= SLICE_OPS)
		sm_co_yield();
}

int sm_co_sleep(int64_t deadline_ms)
{
	int rc;

	do
		rc = sm_co_park("sleep", deadline_ms);
	while (rc == 0); /* woken for some other reason */
	return rc == SM_E_TIMEOUT ? 0 : rc;
}

void sm_co_set_words(struct sm_co *co, const struct sm_last_words *w)
{
	co->words = w;
}

const struct sm_last_words *sm_co_words(const struct sm_co *co)
{
	return co->words;
}

/* ---- for people ---- */

void sm_co_doing(struct sm_str what, struct sm_str of)
{
	size_t n = SM_MIN(what.n, sizeof(self->doing) - 1);

	if (self == NULL)
		return;
	memcpy(self->doing, what.p, n);
	self->doing[n] = '\0';
	if (of.n == 0)
		return;
	if (n < sizeof(self->doing) - 1)
		self->doing[n++] = ' ';
	sm_str_cut(of, self->doing + n, sizeof(self->doing) - n);
}

void sm_co_dump(int fd)
{
	int64_t now = sm_now_ms();

	(void)dprintf(fd, "%zu coroutines, %zu stacks to reuse\n", count, free_count);
	SM_LIST_FOR (co, &sm_co_all, struct sm_co, all) {
		const char *what = co->state == CO_RUNNING ? "running"
		                   : co->state == CO_READY ? "ready"
		                   : co->waits != NULL     ? co->waits
		                                           : "parked";
		char doing[SM_CO_DOING_MAX];

		/* A peer's bytes may be in it. */
		for (size_t i = 0; i < sizeof(doing); i++) {
			char c = co->doing[i];
			doing[i] = c == '\0' || (c >= ' ' && c <= '~') ? c : '?';
		}
		doing[sizeof(doing) - 1] = '\0';
		(void)dprintf(fd, "co %llu %s [%s] %s, %lld ms%s\n", (unsigned long long)co->number,
		              co->name, doing, what, (long long)(now - co->since_ms),
		              co->cancelled ? ", cancelled" : "");
	}
}

size_t sm_co_count(void)
{
	return count;
}
