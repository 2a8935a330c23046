/*
 * Entries in memory: what maps of type text and inline are made of. Filled once, then only read.
 */
#ifndef AR_MAP_TABLE_H
#define AR_MAP_TABLE_H

#include "libsm/arena.h"
#include "libsm/hash.h"

struct ar_table {
	struct sm_arena arena;
	struct sm_hash hash;
};
void ar_table_init(struct ar_table *t);
void ar_table_fini(struct ar_table *t);
/* Both are copied, the key in lower case. The line where the key stands already, or 0: added. */
int ar_table_add(struct ar_table *t, struct sm_str key, struct sm_str value, int line);
/* Key in lower case. False: not there. */
bool ar_table_get(const struct ar_table *t, struct sm_str key, struct sm_str *value);

#endif
