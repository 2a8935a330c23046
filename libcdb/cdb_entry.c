/*
 * The head of a content in a segment: what it is, how long, and a checksum of both. Pure.
 *
 * Fixed width, little-endian (doc/formats.md, "Content store"): magic, CRC of what follows it in
 * the head, CRC of the content, size, id, zeros. All zeros is no head but room: what was released
 * reads like that.
 */
#include "libcdb/cdb_int.h"

#include "libsm/crc32c.h"
#include "libsm/wire.h"

#define MAGIC  0x31584d53 /* "SMX1" */
#define SUMMED 8          /* bytes before what the head's own CRC is of */

void cdb_entry_put(const struct cdb_entry *e, char out[CDB_ENTRY_BYTES])
{
	struct sm_buf b;

	sm_buf_init(&b, CDB_ENTRY_BYTES);
	sm_w_u32(&b, e->crc);
	sm_w_u64(&b, e->size);
	sm_w_id(&b, e->id);
	memset(out, 0, CDB_ENTRY_BYTES);
	memcpy(out + SUMMED, sm_buf_p(&b), b.len);
	sm_buf_reset(&b);
	sm_w_u32(&b, MAGIC);
	sm_w_u32(&b, sm_crc32c(0, out + SUMMED, CDB_ENTRY_BYTES - SUMMED));
	memcpy(out, sm_buf_p(&b), b.len);
	sm_buf_fini(&b);
}

bool cdb_entry_get(const char *p, struct cdb_entry *e)
{
	struct sm_reader r = sm_reader(sm_str_n(p, CDB_ENTRY_BYTES));
	bool whole = sm_r_u32(&r) == MAGIC;

	whole &= sm_r_u32(&r) == sm_crc32c(0, p + SUMMED, CDB_ENTRY_BYTES - SUMMED);
	e->crc = sm_r_u32(&r);
	e->size = sm_r_u64(&r);
	e->id = sm_r_id(&r);
	return whole;
}
