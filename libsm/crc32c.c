/*
 * CRC-32C three ways: SSE4.2, the ARMv8 CRC extension, and tables (8 bytes a step) for every other
 * CPU. The way is chosen at the first call; choosing twice from two threads gives the same answer,
 * so no lock is needed.
 */
#include "libsm/crc32c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

#define POLY 0x82f63b78u /* 0x1edc6f41 reflected */

typedef uint32_t crc_fn(uint32_t crc, const unsigned char *p, size_t n);

/* table[k][b]: what byte b does to the crc when k more bytes follow it in the same step. */
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLY : crc >> 1;
		table[0][b] = crc;
	}
	for (int k = 1; k < 8; k++)
		for (int b = 0; b < 256; b++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

static uint32_t le32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t crc_table(uint32_t crc, const unsigned char *p, size_t n)
{
	pthread_once(&table_once, make_table);
	for (; n >= 8; n -= 8, p += 8) {
		uint32_t lo = crc ^ le32(p);
		uint32_t hi = le32(p + 4);

		crc = table[7][lo & 0xff] ^ table[6][lo >> 8 & 0xff] ^ table[5][lo >> 16 & 0xff] ^
		      table[4][lo >> 24] ^ table[3][hi & 0xff] ^ table[2][hi >> 8 & 0xff] ^
		      table[1][hi >> 16 & 0xff] ^ table[0][hi >> 24];
	}
	for (; n > 0; n--, p++)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_cpu(uint32_t crc, const unsigned char *p,
                                                          size_t n)
{
	uint64_t c = crc;

	for (; n >= 8; n -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		c = _mm_crc32_u64(c, w);
	}
	crc = (uint32_t)c;
	for (; n > 0; n--, p++)
		crc = _mm_crc32_u8(crc, *p);
	return crc;
}

static crc_fn *choose(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("sse4.2") ? crc_cpu : crc_table;
}
#elif defined(__aarch64__)
/* By assembler, because compilers hide the intrinsics unless the whole program is for such CPUs. */
static uint32_t crc_cpu(uint32_t crc, const unsigned char *p, size_t n)
{
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		__asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(w));
	}
	for (; n > 0; n--, p++)
		__asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1"
		        : "+r"(crc)
		        : "r"((uint32_t)*p));
	return crc;
}

static crc_fn *choose(void)
{
	return getauxval(AT_HWCAP) & HWCAP_CRC32 ? crc_cpu : crc_table;
}
#else
static crc_fn *choose(void)
{
	return crc_table;
}
#endif

uint32_t sm_crc32c(uint32_t crc, const void *p, size_t n)
{
	static _Atomic(crc_fn *) way;
	crc_fn *fn = atomic_load_explicit(&way, memory_order_relaxed);

	if (SM_UNLIKELY(fn == NULL)) {
		fn = choose();
		atomic_store_explicit(&way, fn, memory_order_relaxed);
	}
	return ~fn(~crc, p, n);
}

uint32_t sm_crc32c_table(uint32_t crc, const void *p, size_t n)
{
	return ~crc_table(~crc, p, n);
}
