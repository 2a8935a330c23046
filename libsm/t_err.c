/* Unit test of err.h. */
#include "libsm/err.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

static void t_codes(void **state)
{
	(void)state;
	assert_string_equal(sm_strerr(SM_E_FULL), "no space or quota left");
	assert_string_equal(sm_strerr(SM_E_SYS), "system call failed");
	assert_string_equal(sm_strerr(SM_E_BUG), "wrong use of a function");
	assert_string_equal(sm_strerr(SM_E_FIRST_), "unknown error");
	assert_string_equal(sm_strerr(SM_E_LAST_), "unknown error");
	assert_string_equal(sm_strerr(INT32_MIN), "unknown error");
	assert_string_equal(sm_strerr(0), "no error");
	for (int err = SM_E_FIRST_ + 1; err < SM_E_LAST_; err++) {
		assert_true(err < 0);
		assert_string_not_equal(sm_strerr(err), "unknown error");
	}
	assert_true(sm_err_is_temp(SM_E_FULL));
	assert_true(sm_err_is_temp(SM_E_CANCEL));
	assert_false(sm_err_is_temp(SM_E_SYNTAX));
	assert_false(sm_err_is_temp(SM_E_BUG));
	assert_int_equal(sm_err_class(SM_E_CORRUPT), SM_CLASS_PERM);
	assert_int_equal(sm_err_class(12345), SM_CLASS_BUG);
}

static void t_errno(void **state)
{
	static const struct {
		int errnum, err;
	} t[] = {
	    {ENOSPC, SM_E_FULL},     {EDQUOT, SM_E_FULL},    {EIO, SM_E_IO},
	    {ENOENT, SM_E_NOTFOUND}, {EEXIST, SM_E_EXISTS},  {EACCES, SM_E_DENIED},
	    {EPERM, SM_E_DENIED},    {EROFS, SM_E_DENIED},   {ETIMEDOUT, SM_E_TIMEOUT},
	    {EPIPE, SM_E_EOF},       {ECONNRESET, SM_E_EOF}, {EMFILE, SM_E_SYS},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++)
		assert_int_equal(sm_fail_sys(t[i].errnum, "open %s", "x"), t[i].err);
	assert_int_equal(sm_fail_sys(ENOSPC, "write %d", 3), SM_E_FULL);
	assert_string_equal(sm_diag(), "write 3: No space left on device");
}

static void t_diag(void **state)
{
	char text[1000], other[SM_DIAG_MAX] = "";

	(void)state;
	assert_int_equal(sm_fail(SM_E_RANGE, "%d is too much", 9), SM_E_RANGE);
	assert_int_equal(sm_fail_in(SM_E_SYNTAX, "line %d", 4), SM_E_SYNTAX);
	assert_string_equal(sm_diag(), "line 4: 9 is too much");
	/* The present diag may be an argument of the next. */
	sm_fail(SM_E_RANGE, "again <%s>", sm_diag());
	assert_string_equal(sm_diag(), "again <line 4: 9 is too much>");

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	sm_fail(SM_E_RANGE, "%s", text);
	assert_int_equal(strlen(sm_diag()), SM_DIAG_MAX - 1);
	/* A long context leaves room for the reason, and a long reason for the context. */
	sm_fail_sys(ENOSPC, "%s", text);
	assert_int_equal(strlen(sm_diag()), SM_DIAG_MAX - 1);
	assert_non_null(strstr(sm_diag(), ": No space left on device"));
	sm_fail(SM_E_RANGE, "%s", text);
	sm_fail_in(SM_E_RANGE, "start of");
	assert_memory_equal(sm_diag(), "start of: xxx", 13);
	assert_int_equal(strlen(sm_diag()), SM_DIAG_MAX - 1);

	sm_fail(SM_E_RANGE, "mine");
	assert_null(sm_diag_swap(other));
	sm_fail(SM_E_RANGE, "the other's");
	assert_ptr_equal(sm_diag_swap(NULL), other);
	assert_string_equal(sm_diag(), "mine");
	assert_string_equal(other, "the other's");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_codes),
	    cmocka_unit_test(t_errno),
	    cmocka_unit_test(t_diag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
