/*
 * Reads a list of attributes. Invariant: what comes out of here is printable ASCII, and an
 * attribute comes once. Pure.
 */
#include "smtps/attributes.h"

#include "libsm/err.h"
#include "libsm/smtp_cmd.h"

static struct ss_attribute *find(struct ss_attribute *all, size_t n, struct sm_str key)
{
	for (size_t i = 0; i < n; i++)
		if (sm_str_caseeq(sm_str(all[i].keyword), key))
			return &all[i];
	return NULL;
}

static bool take(struct ss_attribute *g, struct sm_str value, struct sm_arena *a)
{
	if (g == NULL || g->value.p != NULL || value.p == NULL ||
	    sm_xtext_decode(value, a, &g->value) != 0)
		return false;
	g->unknown = sm_str_caseeq(g->value, SM_STR("[UNAVAILABLE]"));
	g->later = sm_str_caseeq(g->value, SM_STR("[TEMPUNAVAIL]"));
	return true;
}

bool ss_attribute_known(const struct ss_attribute *a)
{
	return a->value.p != NULL && !a->unknown && !a->later;
}

int ss_attributes_parse(struct sm_str arg, struct sm_arena *a, struct ss_attribute *all, size_t n,
                        struct sm_str *what)
{
	struct sm_str text = sm_arena_printf(a, " " SM_STR_FMT, SM_STR_ARG(arg)), key, value;
	int rc;

	*what = SM_STR("syntax");
	if (text.p == NULL)
		return sm_fail(SM_E_TOOBIG, "too long");
	while ((rc = sm_smtp_param_next(&text, &key, &value)) == 1) {
		if (!take(find(all, n, key), value, a)) {
			*what = key;
			return sm_fail(SM_E_SYNTAX, "unknown attribute, twice, or no xtext");
		}
	}
	return rc;
}
