/*
 * Coroutine switch for x86-64 (System V ABI). Seven words of a sleeping stack, from its saved pointer upwards:
 *     r15 r14 r13 r12 rbx rbp return-address
 * A new stack holds the same seven: r12 the argument, rbp 0, and sm_co_boot as return address.
 * misc/gdb/co.py knows this layout.
 */
	.text

/* void sm_co_ctx_swap(struct sm_co_ctx *from [rdi], struct sm_co_ctx *to [rsi]) */
	.globl	sm_co_ctx_swap
	.hidden	sm_co_ctx_swap
	.type	sm_co_ctx_swap, @function
	.p2align 4
sm_co_ctx_swap:
	.cfi_startproc
	endbr64
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r15, 0
	movq	%rsp, (%rdi)
	movq	(%rsi), %rsp	/* same layout over there: the unwind rules stay true */
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbp
	ret
	.cfi_endproc
	.size	sm_co_ctx_swap, . - sm_co_ctx_swap

/* First frame of a stack: unwinders stop here, because its return address is said to be undefined. */
	.type	sm_co_boot, @function
	.p2align 4
sm_co_boot:
	.cfi_startproc
	.cfi_undefined %rip
	endbr64
	movq	%r12, %rdi
	call	sm_co_main	/* rsp was a multiple of 16 */
	ud2
	.cfi_endproc
	.size	sm_co_boot, . - sm_co_boot

/* void sm_co_ctx_make(struct sm_co_ctx *c [rdi], char *low [rsi], size_t bytes [rdx], void *arg [rcx]) */
	.globl	sm_co_ctx_make
	.hidden	sm_co_ctx_make
	.type	sm_co_ctx_make, @function
	.p2align 4
sm_co_ctx_make:
	.cfi_startproc
	endbr64
	leaq	-64(%rsi,%rdx), %rax	/* room for seven words and one to stay aligned behind them */
	xorl	%edx, %edx
	movq	%rdx, 0(%rax)
	movq	%rdx, 8(%rax)
	movq	%rdx, 16(%rax)
	movq	%rdx, 24(%rax)
	movq	%rdx, 32(%rax)
	movq	%rdx, 40(%rax)
	movq	%rdx, 48(%rax)
	movq	%rdx, 56(%rax)
	leaq	8(%rax), %rax		/* ret leaves rsp at the top, a multiple of 16 */
	movq	%rcx, 24(%rax)
	leaq	sm_co_boot(%rip), %rdx
	movq	%rdx, 48(%rax)
	movq	%rax, (%rdi)
	ret
	.cfi_endproc
	.size	sm_co_ctx_make, . - sm_co_ctx_make

	.section .note.GNU-stack,"",@progbits

/* Indirect branch tracking holds here; a shadow stack does not (the stack changes under it), so that bit stays clear. */
	.section .note.gnu.property,"a",@note
	.p2align 3
	.long	4, 16, 5
	.asciz	"GNU"
	.long	0xc0000002, 4, 1, 0
