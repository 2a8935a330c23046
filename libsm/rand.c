/*
 * Random numbers: the kernel's for secrets, xoshiro256** for spreading load. The fast generator's
 * state belongs to the thread and is seeded from the kernel at its first use.
 */
#include "libsm/rand.h"

#include <errno.h>
#include <sys/random.h>

static _Thread_local uint64_t state[4];
static _Thread_local bool seeded;

void sm_rand_secret(void *p, size_t n)
{
	char *to = p;

	while (n > 0) {
		ssize_t got = getrandom(to, n, 0);

		if (got == -1 && errno == EINTR)
			continue;
		sm_assert(got > 0);
		to += got;
		n -= (size_t)got;
	}
}

/* splitmix64: spreads one number over the state, never all zero. */
void sm_rand_seed(uint64_t seed)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(state); i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
		z = (z ^ z >> 27) * 0x94d049bb133111eb;
		state[i] = z ^ z >> 31;
	}
	seeded = true;
}

static uint64_t rotl(uint64_t v, unsigned by)
{
	return v << by | v >> (64 - by);
}

uint64_t sm_rand_u64(void)
{
	if (SM_UNLIKELY(!seeded)) {
		uint64_t seed;

		sm_rand_secret(&seed, sizeof(seed));
		sm_rand_seed(seed);
	}
	uint64_t result = rotl(state[1] * 5, 7) * 9;
	uint64_t t = state[1] << 17;

	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= t;
	state[3] = rotl(state[3], 45);
	return result;
}

uint64_t sm_rand_below(uint64_t n)
{
	sm_assert(n > 0);
	/* The first 2^64 mod n numbers are thrown away, so that every remainder has the same share.
	 */
	uint64_t skip = -n % n;
	uint64_t r;

	do {
		r = sm_rand_u64();
	} while (r < skip);
	return r % n;
}
