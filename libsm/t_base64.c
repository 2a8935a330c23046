/* Base64: the vectors of RFC 4648, every length both ways, and what is refused. */
#include "libsm/base64.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/err.h"

static void encodes(const char *plain, const char *text)
{
	struct sm_buf b;

	sm_buf_init(&b, 100);
	sm_base64_encode(&b, sm_str(plain));
	assert_string_equal(sm_buf_c(&b), text);
	sm_buf_reset(&b);
	assert_int_equal(sm_base64_decode(&b, sm_str(text)), 0);
	assert_string_equal(sm_buf_c(&b), plain);
	sm_buf_fini(&b);
}

static void vectors(void **state SM_UNUSED)
{
	encodes("", "");
	encodes("f", "Zg==");
	encodes("fo", "Zm8=");
	encodes("foo", "Zm9v");
	encodes("foob", "Zm9vYg==");
	encodes("fooba", "Zm9vYmE=");
	encodes("foobar", "Zm9vYmFy");
}

static void all_bytes(void **state SM_UNUSED)
{
	struct sm_buf text, back;
	char bytes[256];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(255 - i);
	sm_buf_init(&text, 1000);
	sm_buf_init(&back, 1000);
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		sm_buf_reset(&text);
		sm_buf_reset(&back);
		sm_base64_encode(&text, sm_str_n(bytes, n));
		assert_int_equal(text.len, sm_base64_size(n));
		assert_int_equal(sm_base64_decode(&back, sm_buf_view(&text)), 0);
		assert_true(sm_str_eq(sm_buf_view(&back), sm_str_n(bytes, n)));
	}
	sm_buf_fini(&text);
	sm_buf_fini(&back);
}

static void refused(void **state SM_UNUSED)
{
	static const char *const bad[] = {"Z",    "Zg",   "Zg=",   "====", "Z===", "Zh==",
	                                  "Zm9=", "Zm 9", "Zm9\n", "=Zm9", "Z=g=", "Zm9vZg==Zm9v"};
	struct sm_buf b;

	sm_buf_init(&b, 100);
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		assert_int_equal(sm_base64_decode(&b, sm_str(bad[i])), SM_E_SYNTAX);
		assert_int_equal(b.len, 0);
	}
	sm_buf_fini(&b);
	sm_buf_init(&b, 5);
	assert_int_equal(sm_base64_decode(&b, SM_STR("Zm9vYmFy")), SM_E_TOOBIG);
	sm_buf_reset(&b);
	sm_base64_encode(&b, SM_STR("foobar"));
	assert_int_equal(sm_buf_err(&b), SM_E_TOOBIG);
	sm_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(vectors),
	    cmocka_unit_test(all_bytes),
	    cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
