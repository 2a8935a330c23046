/*
 * source_address: one for each family, because a connection comes from its own. Pure; any thread.
 */
#include "smtpc/source.h"

#include "libsm/err.h"

int sc_source_parse(const struct sm_conf_list *list, struct sc_source *out)
{
	*out = (struct sc_source){.in4.len = 0};
	for (size_t i = 0; i < list->count; i++) {
		struct sm_sa sa, *mine;

		if (sm_sa_ip(&sa, list->v[i], 0) != 0)
			return sm_fail(SM_E_SYNTAX, "source_address: \"%.*s\" is no address",
			               SM_STR_ARG(list->v[i]));
		mine = sa.u.sa.sa_family == AF_INET6 ? &out->in6 : &out->in4;
		if (mine->len != 0)
			return sm_fail(SM_E_SYNTAX, "source_address: two of one family");
		*mine = sa;
	}
	return 0;
}

const struct sm_sa *sc_source_for(const struct sc_source *s, const struct sm_sa *to)
{
	const struct sm_sa *sa = to->u.sa.sa_family == AF_INET    ? &s->in4
	                         : to->u.sa.sa_family == AF_INET6 ? &s->in6
	                                                          : NULL;

	return sa != NULL && sa->len != 0 ? sa : NULL;
}
