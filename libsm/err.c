/*
 * The table of error codes, and the diag: one line that says why the last call failed.
 *
 * The diag belongs to what runs now: co.c swaps in the buffer of the coroutine it switches to, a
 * thread outside of any coroutine has its own. So no lock is needed and nobody reads the text of
 * somebody else's failure.
 */
#include "libsm/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	enum sm_err_class class;
	const char *text;
} table[] = {
#define X(name, class, text) {SM_CLASS_##class, text},
#include "libsm/err.def"
#undef X
};

static _Thread_local char thread_diag[SM_DIAG_MAX];
static _Thread_local char *current; /* NULL: thread_diag */

static bool is_code(int err)
{
	return err > SM_E_FIRST_ && err < SM_E_LAST_;
}

const char *sm_strerr(int err)
{
	if (err >= 0)
		return "no error";
	return is_code(err) ? table[err - SM_E_FIRST_ - 1].text : "unknown error";
}

enum sm_err_class sm_err_class(int err)
{
	return is_code(err) ? table[err - SM_E_FIRST_ - 1].class : SM_CLASS_BUG;
}

bool sm_err_is_temp(int err)
{
	enum sm_err_class c = sm_err_class(err);

	return c == SM_CLASS_TEMP || c == SM_CLASS_CANCEL;
}

static char *diag_buf(void)
{
	return current ? current : thread_diag;
}

/* By way of a second buffer, because an argument may well be the present sm_diag(). */
static void set(const char *text)
{
	char *d = diag_buf();
	size_t n = strnlen(text, SM_DIAG_MAX - 1);

	memmove(d, text, n);
	d[n] = '\0';
}

/* "context: reason". The reason says more than the end of a long context: it may take up to half of
 * the room. */
static void set_joined(const char *context, const char *reason)
{
	const size_t room = SM_DIAG_MAX - 3;
	size_t nr = strnlen(reason, room);
	size_t nc = strnlen(context, room);

	nc = SM_MIN(nc, room - SM_MIN(nr, room / 2));
	nr = SM_MIN(nr, room - nc);
	char *d = diag_buf();

	memcpy(d, context, nc);
	memcpy(d + nc, ": ", 2);
	memcpy(d + nc + 2, reason, nr);
	d[nc + 2 + nr] = '\0';
}

int sm_fail(int err, const char *fmt, ...)
{
	char text[SM_DIAG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	set(text);
	return err;
}

static int code_of(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return SM_E_FULL;
	case EIO:
		return SM_E_IO;
	case ENOENT:
		return SM_E_NOTFOUND;
	case EEXIST:
		return SM_E_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
		return SM_E_DENIED;
	case EADDRINUSE:
		return SM_E_BUSY;
	case ETIMEDOUT:
		return SM_E_TIMEOUT;
	case ECONNRESET:
	case EPIPE:
		return SM_E_EOF;
	default:
		return SM_E_SYS;
	}
}

int sm_fail_sys(int errnum, const char *fmt, ...)
{
	char text[SM_DIAG_MAX], reason[80];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	set_joined(text, strerror_r(errnum, reason, sizeof(reason)));
	return code_of(errnum);
}

int sm_fail_in(int err, const char *fmt, ...)
{
	char text[SM_DIAG_MAX], former[SM_DIAG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memcpy(former, diag_buf(), sizeof(former));
	set_joined(text, former);
	return err;
}

const char *sm_diag(void)
{
	return diag_buf();
}

char *sm_diag_swap(char *buf)
{
	char *former = current;

	current = buf;
	return former;
}
