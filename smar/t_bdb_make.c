/* Files of Berkeley DB by its library: what the tests hold smar's own reading against. */
#include <db.h>
#include <stdio.h>
#include <unistd.h>

#include "smar/t_bdb.h"

#define MUST(what) sm_assert((what) == 0)

void t_bdb_make(const struct t_bdb *how, unsigned count,
                void (*entry)(unsigned i, char *key, char *value))
{
	static char k[2001], v[2001];
	DB *db;

	(void)unlink(how->path);
	MUST(db_create(&db, NULL, 0));
	if (how->page_bytes != 0)
		MUST(db->set_pagesize(db, how->page_bytes));
	if (how->order != 0)
		MUST(db->set_lorder(db, how->order));
	if (how->password != NULL)
		MUST(db->set_encrypt(db, how->password, DB_ENCRYPT_AES));
	MUST(db->set_flags(db, (how->unchecked ? 0 : DB_CHKSUM) | (how->duplicates ? DB_DUP : 0)));
	MUST(db->open(db, NULL, how->path, how->subdb, how->btree ? DB_BTREE : DB_HASH, DB_CREATE,
	              0600));
	for (unsigned i = 0; i < count; i++) {
		DBT key = {.data = k}, value = {.data = v};

		entry(i, k, v);
		key.size = (uint32_t)strlen(k) + how->nul;
		value.size = (uint32_t)strlen(v) + how->nul;
		MUST(db->put(db, NULL, &key, &value, how->duplicates ? 0 : DB_NOOVERWRITE));
	}
	MUST(db->close(db, 0));
}
