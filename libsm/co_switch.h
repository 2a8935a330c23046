/*
 * The one machine-dependent step under co.c: leave this stack, go on with that one. Private to co.c
 * and its back ends.
 *
 * Back ends: co_x86_64.S, co_aarch64.S (a saved stack pointer, callee-saved registers below it),
 * co_ucontext.c (anything else). The floating point control words are not switched: nothing in smx
 * changes them.
 */
#ifndef SM_CO_SWITCH_H
#define SM_CO_SWITCH_H

#include "libsm/base.h"

#ifdef SM_CO_UCONTEXT
#include <ucontext.h>
struct sm_co_ctx {
	ucontext_t uc;
};
#else
struct sm_co_ctx {
	void *sp; /* while switched out: where the registers were pushed */
};
#endif

/* `c` begins at sm_co_main(arg) on the `bytes` of stack from `low`; both multiples of 16. */
void sm_co_ctx_make(struct sm_co_ctx *c, char *low, size_t bytes, void *arg);
void sm_co_ctx_swap(struct sm_co_ctx *from, struct sm_co_ctx *to);

/* In co.c: the first function on every stack. */
SM_NORETURN void sm_co_main(void *arg);

#endif
