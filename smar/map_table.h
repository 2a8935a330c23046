/*
 * Entries in memory: what every map that is a file, or stands in the configuration, is made of.
 * Filled once, then only read.
 *
 * Keys are kept in lower case, their domains as they are compared (ar_key_ascii). A million entries
 * take as many bytes as their keys and values have, 12 more for each, and 16 MiB for the way to
 * them.
 */
#ifndef AR_MAP_TABLE_H
#define AR_MAP_TABLE_H

#include "smar/map_int.h"

struct ar_table;
struct ar_table *ar_table_new(void) __attribute__((returns_nonnull));
/* Both are copied; the key in that form; what may be a domain or a local part is found as both. The
 * line (above 0) where the key stands already, or 0:
 * added. */
unsigned ar_table_add(struct ar_table *t, struct sm_str key, struct sm_str value, unsigned line);

/* What a driver does whose handle is a table. Opened: `rc` came of filling it; 0: the table is the
 * handle's; otherwise it is freed. Get: the key in lower case, the value is the table's;
 * SM_E_NOTFOUND. */
int ar_table_opened(int rc, struct ar_table *t, void **handle, size_t *entries);
int ar_table_driver_get(void *handle, const struct ar_ctx *ctx, struct sm_str key,
                        struct sm_str *value);
void ar_table_driver_close(void *handle);

#endif
