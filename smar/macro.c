/* Replacement of "${name}". What is put in is never looked through again, so nothing that comes
 * with an address can be a macro itself. Pure; any thread. */
#include "smar/macro.h"

#include "libsm/buf.h"
#include "libsm/err.h"

static const struct sm_str opening = SM_STR("${");

/* Where the next macro begins, or -1. */
static ptrdiff_t find(struct sm_str s)
{
	for (size_t i = 0; i + opening.n <= s.n; i++)
		if (s.p[i] == '$' && s.p[i + 1] == '{')
			return (ptrdiff_t)i;
	return -1;
}

bool ar_macro_any(struct sm_str text)
{
	return find(text) >= 0;
}

static int put(struct sm_buf *b, struct sm_str name, const struct ar_macros *m)
{
	const struct ar_parts *p = &m->parts;

	if (sm_str_eq(name, SM_STR("user"))) {
		sm_buf_str(b, p->user);
	} else if (sm_str_eq(name, SM_STR("detail"))) {
		sm_buf_str(b, p->detail);
	} else if (sm_str_eq(name, SM_STR("extension"))) {
		if (p->has_detail)
			sm_buf_char(b, p->delimiter);
		sm_buf_str(b, p->detail);
	} else if (sm_str_eq(name, SM_STR("delimiter"))) {
		sm_buf_char(b, p->delimiter);
	} else if (sm_str_eq(name, SM_STR("domain"))) {
		sm_buf_str(b, p->domain);
	} else if (sm_str_eq(name, SM_STR("subdomain"))) {
		sm_buf_str(b, m->subdomain);
	} else if (sm_str_eq(name, SM_STR("tag"))) {
		sm_buf_str(b, m->tag);
	} else {
		return sm_fail(SM_E_SYNTAX,
		               "unknown macro ${" SM_STR_FMT "} (user, detail, extension, "
		               "delimiter, domain, subdomain, tag)",
		               SM_STR_ARG(sm_str_head(name, 40)));
	}
	return 0;
}

int ar_macro_replace(struct sm_str text, const struct ar_macros *m, struct sm_arena *a,
                     struct sm_str *out)
{
	struct sm_buf b;
	ptrdiff_t at, end;
	int rc = 0;

	*out = text;
	if (!ar_macro_any(text))
		return 0;
	sm_buf_init(&b, AR_MACRO_TEXT_MAX);
	while (rc == 0 && (at = find(text)) >= 0) {
		sm_buf_str(&b, sm_str_head(text, (size_t)at));
		text = sm_str_from(text, (size_t)at + opening.n);
		end = sm_str_chr(text, '}');
		if (end < 0) {
			rc = sm_fail(SM_E_SYNTAX, "macro ${" SM_STR_FMT " is not closed by \"}\"",
			             SM_STR_ARG(sm_str_head(text, 40)));
		} else {
			rc = put(&b, sm_str_head(text, (size_t)end), m);
			text = sm_str_from(text, (size_t)end + 1);
		}
	}
	sm_buf_str(&b, text);
	if (rc == 0 && sm_buf_err(&b) == 0)
		*out = sm_arena_str(a, sm_buf_view(&b));
	if (rc == 0 && (sm_buf_err(&b) != 0 || out->p == NULL))
		rc = sm_fail(SM_E_TOOBIG, "longer than %d with its macros", AR_MACRO_TEXT_MAX);
	sm_buf_fini(&b);
	return rc;
}
