/* Unit test of buf.h. */
#include "libsm/buf.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/err.h"
#include "libsm/rand.h"

static void is(const struct sm_buf *b, const char *want)
{
	assert_int_equal(b->len, strlen(want));
	assert_true(sm_str_eq(sm_buf_view(b), sm_str(want)));
}

static void t_append(void **state)
{
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 20);
	is(&b, "");
	assert_string_equal(sm_buf_c(&b), "");
	sm_buf_cstr(&b, "abc");
	sm_buf_char(&b, '-');
	sm_buf_str(&b, SM_STR("de"));
	sm_buf_str(&b, SM_STR_NONE);
	sm_buf_printf(&b, "%d", 12);
	is(&b, "abc-de12");
	assert_string_equal(sm_buf_c(&b), "abc-de12");
	sm_buf_consume(&b, 4);
	is(&b, "de12");
	sm_buf_truncate(&b, 3);
	is(&b, "de1");
	assert_string_equal(sm_buf_c(&b), "de1");
	sm_buf_consume(&b, 3);
	is(&b, "");
	sm_buf_fini(&b);
	assert_null(b.mem);
	sm_buf_fini(&b);
}

/* Only what is empty and large is given back; what is kept tells nothing of what was in it. */
static void t_trim(void **state)
{
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 1000);
	sm_buf_trim(&b);
	assert_null(b.mem);
	sm_buf_printf(&b, "%0200d", 7);
	sm_buf_trim(&b);
	assert_int_equal(b.len, 200);
	sm_buf_consume(&b, 200);
	sm_buf_trim(&b);
	assert_true(b.mem != NULL && b.cap <= 256 && b.mem[199] == '7');
	b.wipe = true;
	sm_buf_trim(&b);
	assert_true(b.mem != NULL && b.mem[199] == '\0');
	sm_buf_printf(&b, "%0300d", 7);
	sm_buf_reset(&b);
	sm_buf_trim(&b);
	assert_true(b.mem == NULL && b.cap == 0);
	sm_buf_cstr(&b, "again");
	is(&b, "again");
	sm_buf_fini(&b);
}

static void t_maximum(void **state)
{
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 5);
	sm_buf_cstr(&b, "abc");
	sm_buf_cstr(&b, "def"); /* one too many: none is appended */
	assert_int_equal(sm_buf_err(&b), SM_E_TOOBIG);
	is(&b, "abc");
	sm_buf_char(&b, 'd'); /* would fit, but then the text had a hole */
	assert_null(sm_buf_reserve(&b, 0));
	is(&b, "abc");
	sm_buf_reset(&b);
	assert_int_equal(sm_buf_err(&b), 0);
	sm_buf_printf(&b, "%s", "12345");
	is(&b, "12345");
	assert_string_equal(sm_buf_c(&b), "12345");
	sm_buf_printf(&b, "%s", "");
	assert_int_equal(sm_buf_err(&b), 0);
	sm_buf_printf(&b, "%d", 6);
	assert_int_equal(sm_buf_err(&b), SM_E_TOOBIG);
	is(&b, "12345");
	sm_buf_reset(&b);
	assert_null(sm_buf_reserve(&b, SIZE_MAX));
	assert_int_equal(sm_buf_err(&b), SM_E_TOOBIG);
	sm_buf_wipe(&b);
	assert_null(b.mem);

	sm_buf_init(&b, 0);
	sm_buf_append(&b, "", 0);
	assert_int_equal(sm_buf_err(&b), 0);
	sm_buf_char(&b, 'x');
	assert_int_equal(sm_buf_err(&b), SM_E_TOOBIG);
	sm_buf_fini(&b);
}

/* A long text through printf: neither the first try nor the second may cut it. */
static void t_printf_grows(void **state)
{
	struct sm_buf b;
	char text[300];

	(void)state;
	sm_buf_init(&b, 10000);
	for (size_t n = 0; n < sizeof(text); n++) {
		memset(text, 'a' + (int)(n % 26), n);
		text[n] = '\0';
		sm_buf_reset(&b);
		sm_buf_trim(&b);
		sm_buf_printf(&b, "%s", text);
		is(&b, text);
		sm_buf_printf(&b, "%s", text);
		assert_int_equal(b.len, 2 * n);
	}
	sm_buf_fini(&b);
}

/* Against a model: a number that is appended to at one end and taken from at the other. */
static void t_queue(void **state)
{
	struct sm_buf b;
	unsigned char in = 0, out = 0;
	size_t len = 0;
	const size_t max = 1000;

	(void)state;
	sm_rand_seed(1);
	sm_buf_init(&b, max);
	for (int i = 0; i < 20000; i++) {
		size_t n = sm_rand_below(200);

		if (sm_rand_below(2)) {
			n = SM_MIN(n, max - len);
			char *p = sm_buf_reserve(&b, n);

			assert_non_null(p);
			for (size_t k = 0; k < n; k++)
				p[k] = (char)in++;
			sm_buf_commit(&b, n);
			len += n;
		} else {
			n = SM_MIN(n, len);
			for (size_t k = 0; k < n; k++)
				assert_int_equal((unsigned char)sm_buf_p(&b)[k], out++);
			sm_buf_consume(&b, n);
			len -= n;
		}
		assert_int_equal(b.len, len);
		assert_true(b.cap <= max + 1);
		assert_true(b.mem == NULL || b.head + b.len < b.cap);
	}
	sm_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_append),  cmocka_unit_test(t_trim),
	    cmocka_unit_test(t_maximum), cmocka_unit_test(t_printf_grows),
	    cmocka_unit_test(t_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
