/* Berkeley DB files: whatever the bytes are, each key that is counted is found, or the file is
 * refused. */
#include "libsm/base.h"
#include "smar/bdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char *const keys[] = {"user1@dom1.example", "d0.example", "", "nobody"};
	struct sm_arena a;
	struct ar_bdb *b;
	struct sm_str value;

	if (ar_bdb_open(sm_str_n(p, n), &b) != 0) {
		sm_assert(b == NULL);
		return 0;
	}
	sm_arena_init(&a, "fuzz", 4096, 2 * AR_BDB_VALUE_MAX);
	for (size_t i = 0; i < SM_ARRAY_SIZE(keys); i++)
		if (ar_bdb_get(b, sm_str(keys[i]), &a, &value) == 0)
			sm_assert(value.n == 0 || memchr(value.p, value.p[0], value.n) == value.p);
	sm_arena_fini(&a);
	ar_bdb_free(&b);
	return 0;
}
