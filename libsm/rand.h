/* Random numbers. sm_rand_secret is the kernel's; the others are fast and only for spreading load.
 */
#ifndef SM_RAND_H
#define SM_RAND_H

#include "libsm/base.h"

void sm_rand_secret(void *p, size_t n); /* getrandom(2); aborts when the kernel has none */
uint64_t sm_rand_u64(void);
uint64_t sm_rand_below(uint64_t n); /* 0 .. n-1; n > 0 */
void sm_rand_seed(uint64_t seed);   /* tests: make the fast ones repeatable */

#endif
