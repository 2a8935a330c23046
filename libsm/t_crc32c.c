/* Unit test of crc32c.h. */
#include "libsm/crc32c.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "libsm/rand.h"

/* RFC 3720, B.4, and the customary check value. */
static void t_vectors(void **state)
{
	unsigned char b[32];

	(void)state;
	memset(b, 0, sizeof(b));
	assert_int_equal(sm_crc32c(0, b, sizeof(b)), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	assert_int_equal(sm_crc32c(0, b, sizeof(b)), 0x62a8ab43);
	for (unsigned i = 0; i < sizeof(b); i++)
		b[i] = (unsigned char)i;
	assert_int_equal(sm_crc32c(0, b, sizeof(b)), 0x46dd794e);
	for (unsigned i = 0; i < sizeof(b); i++)
		b[i] = (unsigned char)(31 - i);
	assert_int_equal(sm_crc32c(0, b, sizeof(b)), 0x113fdb5c);
	static const unsigned char iscsi_read[48] = {
	    [0] = 0x01,  [1] = 0xc0,  [16] = 0x14, [22] = 0x04,
	    [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
	};

	assert_int_equal(sm_crc32c(0, iscsi_read, sizeof(iscsi_read)), 0xd9963a56);
	assert_int_equal(sm_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(sm_crc32c_table(0, "123456789", 9), 0xe3069283);
	assert_int_equal(sm_crc32c(0, "", 0), 0);
}

/* The instruction and the tables agree, at every length and alignment, in one piece and in two. */
static void t_same(void **state)
{
	unsigned char b[4096];

	(void)state;
	sm_rand_seed(3);
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (unsigned char)sm_rand_u64();
	for (size_t at = 0; at < 9; at++) {
		for (size_t n = 0; n < 300; n++) {
			uint32_t crc = sm_crc32c(0, b + at, n);

			assert_int_equal(crc, sm_crc32c_table(0, b + at, n));
			size_t half = n / 3;

			assert_int_equal(
			    sm_crc32c(sm_crc32c(0, b + at, half), b + at + half, n - half), crc);
		}
	}
	assert_int_equal(sm_crc32c(7, b, sizeof(b)), sm_crc32c_table(7, b, sizeof(b)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_vectors),
	    cmocka_unit_test(t_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
