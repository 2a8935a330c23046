/*
 * Coroutine switch by ucontext(3): for machines without an assembler back end, and as a cross-check
 * of those that have one (configure --enable-ucontext). Two system calls for the signal mask make
 * it about fifteen times slower. Loop thread only.
 */
#include "libsm/co_switch.h"

/* makecontext passes ints: the pointer travels as two halves. */
static void boot(unsigned hi, unsigned lo)
{
	sm_co_main((void *)(((uintptr_t)hi << 16 << 16) | (uintptr_t)lo));
}

void sm_co_ctx_make(struct sm_co_ctx *c, char *low, size_t bytes, void *arg)
{
	uintptr_t a = (uintptr_t)arg;

	sm_assert(getcontext(&c->uc) == 0);
	c->uc.uc_stack.ss_sp = low;
	c->uc.uc_stack.ss_size = bytes;
	c->uc.uc_link = NULL;
	makecontext(&c->uc, (void (*)(void))boot, 2, (unsigned)(a >> 16 >> 16),
	            (unsigned)(a & 0xFFFFFFFFU));
}

void sm_co_ctx_swap(struct sm_co_ctx *from, struct sm_co_ctx *to)
{
	sm_assert(swapcontext(&from->uc, &to->uc) == 0);
}
