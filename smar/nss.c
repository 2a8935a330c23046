/* Asking the C library for users. Any thread, but ar_nss_init. */
#include "smar/nss.h"

#include <dlfcn.h>
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>

#include "libsm/err.h"

enum { ENTRY_BYTES = 1024, ENTRY_BYTES_MAX = 1 << 20, SOURCES_BYTES = 4096 };

#define NSSWITCH "/etc/nsswitch.conf"
#define OR_ELSE  "[UNAVAIL=return TRYAGAIN=return]"

/* ---- nsswitch.conf ---- */

/* What is behind "passwd:"; "files" where nothing is said. */
static struct sm_str passwd_line(struct sm_str text)
{
	while (text.n > 0) {
		struct sm_str line = sm_str_split(text, '\n', &text), rest;

		line = sm_str_split(line, '#', &rest);
		if (sm_str_eq(sm_str_trim(sm_str_split(line, ':', &rest)), SM_STR("passwd")) &&
		    sm_str_trim(rest).n > 0)
			return sm_str_trim(rest);
	}
	return SM_STR("files");
}

void ar_nss_sources(struct sm_str nsswitch, bool (*is_there)(const char *source),
                    struct sm_buf *out)
{
	struct sm_str rest = passwd_line(nsswitch);

	while ((rest = sm_str_trim(rest)).n > 0) {
		struct sm_str word = rest, more;
		char source[64];

		/* An action may have blanks in it. */
		if (rest.p[0] == '[') {
			ptrdiff_t end = sm_str_chr(rest, ']');

			word = end < 0 ? rest : sm_str_head(rest, (size_t)end + 1);
			rest = sm_str_from(rest, word.n);
		} else {
			word = sm_str_word(&rest);
			if (sm_str_chr(word, '[') > 0) {
				size_t n = (size_t)sm_str_chr(word, '[');

				rest =
				    sm_str_n(word.p + n, (size_t)(rest.p + rest.n - (word.p + n)));
				word.n = n;
			}
		}
		sm_buf_printf(out, "%s" SM_STR_FMT, out->len > 0 ? " " : "", SM_STR_ARG(word));
		more = sm_str_trim(rest);
		if (word.p[0] != '[' && (more.n == 0 || more.p[0] != '[') &&
		    sm_str_copy(word, source, sizeof(source)) == 0 && is_there(source))
			sm_buf_cstr(out, " " OR_ELSE);
	}
}

/* In the library itself, or one that can be loaded; it stays loaded. */
static bool is_there(const char *source)
{
	char name[96];

	if (strcmp(source, "files") == 0)
		return true;
	snprintf(name, sizeof(name), "libnss_%s.so.2", source);
	return dlopen(name, RTLD_NOW) != NULL;
}

static int read_nsswitch(struct sm_buf *text)
{
	FILE *f = fopen(NSSWITCH, "re");
	char *p;
	size_t n;
	int rc = 0;

	if (f == NULL)
		return errno == ENOENT ? 0 : sm_fail_sys(errno, NSSWITCH);
	while (rc == 0 && (p = sm_buf_reserve(text, 1024)) != NULL &&
	       (n = fread(p, 1, 1024, f)) > 0)
		sm_buf_commit(text, n);
	if (ferror(f))
		rc = sm_fail_sys(errno, NSSWITCH);
	else if (sm_buf_err(text) != 0)
		rc = sm_fail(SM_E_TOOBIG, NSSWITCH ": too long");
	fclose(f);
	return rc;
}

/* ---- users ---- */

int ar_nss_init(void)
{
	/* Nobody asks before the first call is over; opening of maps is never done by two. */
	static bool done;
	struct sm_buf text, sources;
	bool there;
	int rc;

	if (done)
		return 0;
	sm_buf_init(&text, 65536);
	sm_buf_init(&sources, SOURCES_BYTES);
	rc = read_nsswitch(&text);
	if (rc == 0)
		ar_nss_sources(sm_buf_view(&text), is_there, &sources);
	if (rc == 0 && (sm_buf_err(&sources) != 0 ||
	                __nss_configure_lookup("passwd", sm_buf_c(&sources)) != 0))
		rc = sm_fail(SM_E_SYNTAX, NSSWITCH ": passwd: " SM_STR_FMT,
		             SM_STR_ARG(sm_str_head(sm_buf_view(&sources), 100)));
	sm_buf_fini(&text);
	sm_buf_fini(&sources);
	/* One that is nowhere: every source is asked. */
	if (rc == 0)
		rc = ar_nss_user("smx-nobody-of-this-name", &there);
	done = rc == 0;
	return rc;
}

int ar_nss_user(const char *name, bool *there)
{
	size_t size = ENTRY_BYTES;
	struct passwd pw, *found = NULL;
	char *buf;
	int rc;

	for (;; size *= 4) {
		buf = sm_malloc(size);
		do
			rc = getpwnam_r(name, &pw, buf, size, &found);
		while (rc == EINTR);
		sm_free(buf);
		if (rc != ERANGE)
			break;
		if (size >= ENTRY_BYTES_MAX)
			return sm_fail(SM_E_TOOBIG, "user %s: the entry is too long", name);
	}
	*there = found != NULL;
	/* "There is none" is 0. Any error, ENOENT too, is of a source that could not be asked. */
	return rc == 0 ? 0 : sm_fail(SM_E_SYS, "user %s: %s", name, strerror(rc));
}
