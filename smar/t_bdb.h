/* For tests: files as the library of Berkeley DB makes them. */
#ifndef AR_T_BDB_H
#define AR_T_BDB_H

#include <stdint.h>

#include "libsm/str.h"

struct t_bdb {
	const char *path;
	bool btree, duplicates;
	bool unchecked; /* without checksums */
	bool nul;       /* behind keys and values, as makemap -N and postmap do */
	const char *subdb, *password;
	uint32_t page_bytes; /* 0: as the library likes */
	int order;           /* 1234, 4321; 0: of the machine */
};
/* Make it anew with `count` entries of `entry` (`key`, `value`: 2000 bytes). */
void t_bdb_make(const struct t_bdb *how, unsigned count,
                void (*entry)(unsigned i, char *key, char *value));

#endif
