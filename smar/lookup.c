/* The lookup order of domains: a pure walk over one string. Any thread. */
#include "smar/lookup.h"

void ar_lookup_domain(struct ar_lookup *l, struct sm_str domain, bool with_default)
{
	*l = (struct ar_lookup){.rest = domain, .first = true, .with_default = with_default};
}

bool ar_lookup_next(struct ar_lookup *l, struct sm_str *key)
{
	bool literal = l->rest.n > 0 && l->rest.p[0] == '[';
	ptrdiff_t dot;

	if (l->first && l->rest.n > 0) {
		l->first = false;
		*key = l->rest;
		if (literal)
			l->rest = SM_STR("");
		return true;
	}
	/* What is left begins behind the last key's own dot. */
	dot = sm_str_chr(sm_str_from(l->rest, 1), '.');
	if (dot >= 0 && l->rest.n > 0) {
		l->rest = sm_str_from(l->rest, (size_t)dot + 1);
		*key = l->rest;
		return true;
	}
	l->rest = SM_STR("");
	if (!l->with_default)
		return false;
	l->with_default = false;
	*key = SM_STR(".");
	return true;
}
