/* Names that certificates are for, compared with those that peers claim. Pure, in every build. */
#include "libsm/tls.h"

bool sm_tls_name_fits(struct sm_str pattern, struct sm_str name)
{
	ptrdiff_t dot;

	if (sm_str_empty(name) || !sm_str_has_prefix(pattern, SM_STR("*.")))
		return !sm_str_empty(name) && sm_str_caseeq(pattern, name);
	/* RFC 6125 6.4.3: the star is one whole label. */
	dot = sm_str_chr(name, '.');
	return dot > 0 && sm_str_caseeq(sm_str_from(pattern, 1), sm_str_from(name, (size_t)dot));
}
