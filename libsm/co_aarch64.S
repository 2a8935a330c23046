/*
 * Coroutine switch for aarch64 (AAPCS64). 160 bytes of a sleeping stack, from its saved pointer upwards:
 *     x19..x28 x29 x30 d8..d15
 * A new stack holds the same: x19 the argument, x29 0, x30 sm_co_boot. misc/gdb/co.py knows this layout.
 */
	.text

/* void sm_co_ctx_swap(struct sm_co_ctx *from [x0], struct sm_co_ctx *to [x1]) */
	.globl	sm_co_ctx_swap
	.hidden	sm_co_ctx_swap
	.type	sm_co_ctx_swap, %function
	.p2align 4
sm_co_ctx_swap:
	.cfi_startproc
	hint	#34			/* bti c */
	stp	x19, x20, [sp, #-160]!
	.cfi_adjust_cfa_offset 160
	.cfi_rel_offset x19, 0
	.cfi_rel_offset x20, 8
	stp	x21, x22, [sp, #16]
	.cfi_rel_offset x21, 16
	.cfi_rel_offset x22, 24
	stp	x23, x24, [sp, #32]
	.cfi_rel_offset x23, 32
	.cfi_rel_offset x24, 40
	stp	x25, x26, [sp, #48]
	.cfi_rel_offset x25, 48
	.cfi_rel_offset x26, 56
	stp	x27, x28, [sp, #64]
	.cfi_rel_offset x27, 64
	.cfi_rel_offset x28, 72
	stp	x29, x30, [sp, #80]
	.cfi_rel_offset x29, 80
	.cfi_rel_offset x30, 88
	stp	d8, d9, [sp, #96]
	stp	d10, d11, [sp, #112]
	stp	d12, d13, [sp, #128]
	stp	d14, d15, [sp, #144]
	mov	x9, sp
	str	x9, [x0]
	ldr	x9, [x1]
	mov	sp, x9			/* same layout over there: the unwind rules stay true */
	ldp	d14, d15, [sp, #144]
	ldp	d12, d13, [sp, #128]
	ldp	d10, d11, [sp, #112]
	ldp	d8, d9, [sp, #96]
	ldp	x29, x30, [sp, #80]
	.cfi_restore x29
	.cfi_restore x30
	ldp	x27, x28, [sp, #64]
	.cfi_restore x27
	.cfi_restore x28
	ldp	x25, x26, [sp, #48]
	.cfi_restore x25
	.cfi_restore x26
	ldp	x23, x24, [sp, #32]
	.cfi_restore x23
	.cfi_restore x24
	ldp	x21, x22, [sp, #16]
	.cfi_restore x21
	.cfi_restore x22
	ldp	x19, x20, [sp], #160
	.cfi_restore x19
	.cfi_restore x20
	.cfi_adjust_cfa_offset -160
	ret
	.cfi_endproc
	.size	sm_co_ctx_swap, . - sm_co_ctx_swap

/* First frame of a stack: unwinders stop here, because its return address is said to be undefined. */
	.type	sm_co_boot, %function
	.p2align 4
sm_co_boot:
	.cfi_startproc
	.cfi_undefined x30
	hint	#36			/* bti j */
	mov	x0, x19
	bl	sm_co_main
	brk	#1
	.cfi_endproc
	.size	sm_co_boot, . - sm_co_boot

/* void sm_co_ctx_make(struct sm_co_ctx *c [x0], char *low [x1], size_t bytes [x2], void *arg [x3]) */
	.globl	sm_co_ctx_make
	.hidden	sm_co_ctx_make
	.type	sm_co_ctx_make, %function
	.p2align 4
sm_co_ctx_make:
	.cfi_startproc
	hint	#34
	add	x9, x1, x2
	sub	x9, x9, #160
	mov	x10, #0
1:	str	xzr, [x9, x10]
	add	x10, x10, #8
	cmp	x10, #160
	b.ne	1b
	str	x3, [x9]
	adrp	x10, sm_co_boot
	add	x10, x10, :lo12:sm_co_boot
	str	x10, [x9, #88]
	str	x9, [x0]
	ret
	.cfi_endproc
	.size	sm_co_ctx_make, . - sm_co_ctx_make

	.section .note.GNU-stack,"",%progbits
