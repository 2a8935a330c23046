/*
 * Ids as text and back. There is one spelling of each id (upper-case hex, fixed width), because the
 * text is also a file name: a second spelling would be a second file.
 */
#include "libsm/id.h"

#include <endian.h>

#include "libsm/err.h"
#include "libsm/hash.h"

static const char digits[] = "0123456789ABCDEF";

static char *put_hex2(char *to, uint8_t v)
{
	to[0] = digits[v >> 4];
	to[1] = digits[v & 15];
	return to + 2;
}

/* All digits at once, each in a byte of its own: log lines are full of ids. */
static char *put_hex8(char *to, uint32_t v)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t x = v, letters;

	x = (x | x << 16) & 0x0000ffff0000ffff;
	x = (x | x << 8) & 0x00ff00ff00ff00ff;
	x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
	letters = (x + 6 * ones) >> 4 & ones;
	x = htobe64(x + '0' * ones + ('A' - '0' - 10) * letters);
	memcpy(to, &x, sizeof(x));
	return to + sizeof(x);
}

uint64_t sm_id_hash(struct sm_id id)
{
	/* Counters of two processes may be the same, but never lie this far apart. */
	return sm_hash_u64(id.counter ^ (uint64_t)id.proc << 56);
}

const char *sm_id_text(struct sm_id id, char out[SM_ID_SIZE])
{
	char *to = out;

	*to++ = 'S';
	to = put_hex8(to, (uint32_t)(id.counter >> 32));
	to = put_hex8(to, (uint32_t)id.counter);
	*put_hex2(to, id.proc) = '\0';
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
	char *to = out;

	*to++ = 'C';
	to = put_hex2(to, id.proc);
	to = put_hex8(to, id.counter);
	*put_hex8(to, id.task) = '\0';
	return out;
}
