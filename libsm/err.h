/*
 * Errors: a function that can fail gives 0 (or a count >= 0) or one of the negative SM_E_* codes.
 *
 * The lowest layer that fails also writes one line of explanation, the diag; upper layers may put
 * context before it; exactly one place logs it. Each coroutine has a diag of its own, so a switch
 * never mixes two.
 */
#ifndef SM_ERR_H
#define SM_ERR_H

#include "libsm/base.h"

enum sm_err_base {
	SM_E_FIRST_ = -4096,
#define X(name, class, text) name,
#include "libsm/err.def"
#undef X
	SM_E_LAST_
};

enum sm_err_class { SM_CLASS_TEMP, SM_CLASS_PERM, SM_CLASS_BUG, SM_CLASS_CANCEL };

#define SM_DIAG_MAX 240

/* The text of a code; "unknown error" for a number that is none. Static memory. */
const char *sm_strerr(int err);
enum sm_err_class sm_err_class(int err);
bool sm_err_is_temp(int err); /* worth another try: TEMP or CANCEL */

/* Set the diag and give `err` back, so that `return sm_fail(SM_E_RANGE, "...", ...)` is one line.
 */
int sm_fail(int err, const char *fmt, ...) SM_PRINTF(2, 3);
/* The same for a failed system call: adds strerror(errnum) and maps the number: ENOSPC, EDQUOT ->
 * SM_E_FULL; EIO -> SM_E_IO; ENOENT -> SM_E_NOTFOUND; EEXIST -> SM_E_EXISTS; EACCES, EPERM, EROFS
 * -> SM_E_DENIED; EADDRINUSE -> SM_E_BUSY; ETIMEDOUT -> SM_E_TIMEOUT; ECONNRESET, EPIPE ->
 * SM_E_EOF; else SM_E_SYS. */
int sm_fail_sys(int errnum, const char *fmt, ...) SM_PRINTF(2, 3);
/* Put "context: " before the diag that is there; gives `err` back. */
int sm_fail_in(int err, const char *fmt, ...) SM_PRINTF(2, 3);
/* The diag of this coroutine, or of the thread outside of any. Never NULL; valid until the next
 * sm_fail*. */
const char *sm_diag(void);

/* For co.c: which buffer (SM_DIAG_MAX bytes) belongs to what runs now; NULL: the thread's own.
 * Gives the former one. */
char *sm_diag_swap(char *buf);

#endif
