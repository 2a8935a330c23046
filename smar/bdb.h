/*
 * Berkeley DB files, hash and btree, as bytes in memory: what map files from createmap, makemap and
 * postmap are.
 *
 * They are read without the library. It keeps its own cache over the file, so a lookup could wait
 * for a disk or see pages of a map that is just being written in place; and it trusts what it
 * finds. Here a file is taken into memory as a whole, each page and item is checked once, and from
 * then on a lookup cannot fail.
 *
 * Keys are found whatever their case, and with or without the NUL that some programs put behind
 * them.
 */
#ifndef AR_BDB_H
#define AR_BDB_H

#include "libsm/arena.h"

enum { AR_BDB_VALUE_MAX = 1024 * 1024 };

struct ar_bdb;
/*
 * `file` stays where it is and as it is until ar_bdb_free. SM_E_CORRUPT: not such a file, cut off
 * or damaged; SM_E_EXISTS: a key is there twice; SM_E_NOTSUP: of a kind that maps are not (several
 * databases in a file, encrypted, record numbers ...); with diag.
 */
int ar_bdb_open(struct sm_str file, struct ar_bdb **out) SM_MUST_CHECK;
void ar_bdb_free(struct ar_bdb **b);
size_t ar_bdb_count(const struct ar_bdb *b);
/* 0 and *value, without NUL behind it: of the file, or of `a` when it is in pieces there.
 * SM_E_NOTFOUND, without diag. SM_E_TOOBIG: `a` is full. */
int ar_bdb_get(const struct ar_bdb *b, struct sm_str key, struct sm_arena *a,
               struct sm_str *value) SM_MUST_CHECK;

#endif
