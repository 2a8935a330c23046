/* CRC-32C (Castagnoli), reflected, as in RFC 3720: by the CPU's instruction where there is one. */
#ifndef SM_CRC32C_H
#define SM_CRC32C_H

#include "libsm/base.h"

/* Start with crc 0; to go on, pass what the call before gave. */
uint32_t sm_crc32c(uint32_t crc, const void *p, size_t n);
/* The same without the CPU's instruction: what the other is tested against. */
uint32_t sm_crc32c_table(uint32_t crc, const void *p, size_t n);

#endif
