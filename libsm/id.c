/*
 * Ids as text and back. There is one spelling of each id (upper-case hex, fixed width), because the
 * text is also a file name: a second spelling would be a second file.
 */
#include "libsm/id.h"

#include "libsm/err.h"
#include "libsm/hash.h"

static const char digits[] = "0123456789ABCDEF";

static char *put_hex(char *to, uint64_t v, int width)
{
	for (int i = width - 1; i >= 0; i--, v >>= 4)
		to[i] = digits[v & 15];
	return to + width;
}

uint64_t sm_id_hash(struct sm_id id)
{
	/* Counters of two processes may be the same, but never lie this far apart. */
	return sm_hash_u64(id.counter ^ (uint64_t)id.proc << 56);
}

const char *sm_id_text(struct sm_id id, char out[SM_ID_SIZE])
{
	out[0] = 'S';
	*put_hex(put_hex(out + 1, id.counter, 16), id.proc, 2) = '\0';
	return out;
}

static int hex_value(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

int sm_id_parse(struct sm_str s, struct sm_id *id)
{
	uint64_t counter = 0;
	unsigned proc = 0;

	if (s.n != SM_ID_LEN || s.p[0] != 'S')
		return sm_fail(SM_E_SYNTAX, "not an id: '%.*s'", (int)SM_MIN(s.n, 40u),
		               s.p ? s.p : "");
	for (int i = 1; i < SM_ID_LEN; i++) {
		int v = hex_value(s.p[i]);

		if (v < 0)
			return sm_fail(SM_E_SYNTAX, "not an id: '%.*s'", SM_ID_LEN, s.p);
		if (i <= 16)
			counter = counter << 4 | (uint64_t)v;
		else
			proc = proc << 4 | (unsigned)v;
	}
	*id = (struct sm_id){.counter = counter, .proc = (uint8_t)proc};
	return 0;
}

const char *sm_cid_text(struct sm_cid id, char out[SM_ID_SIZE])
{
	out[0] = 'C';
	*put_hex(put_hex(put_hex(out + 1, id.proc, 2), id.counter, 8), id.task, 8) = '\0';
	return out;
}
