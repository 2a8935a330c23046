/*
 * Fuzz the search for a user's name in a response. Input: one byte that picks mechanism and step,
 * then the response.
 *
 * Checked: a name is within its bounds, folded, without blanks around it; what a mechanism finds in
 * a response it finds again in a copy.
 */
#include "libsm/err.h"
#include "smtps/authname.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct sm_str mechs[] = {
	    SM_STR("PLAIN"),       SM_STR("LOGIN"),   SM_STR("CRAM-MD5"), SM_STR("DIGEST-MD5"),
	    SM_STR("SCRAM-SHA-1"), SM_STR("XOAUTH2"), SM_STR("GSSAPI")};
	static const struct sm_str realm = SM_STR("mx.test");
	struct sm_str mech, name, again;
	char out[40], out2[40], *copy;
	unsigned step;

	if (n < 1 || n > 20000)
		return 0;
	mech = mechs[p[0] % SM_ARRAY_SIZE(mechs)];
	step = p[0] / SM_ARRAY_SIZE(mechs) % 2;
	/* Memory of its own, so that a byte too many is seen. */
	copy = sm_malloc(n);
	memcpy(copy, p + 1, n - 1);
	name = ss_auth_name(mech, step, sm_str_n(copy, n - 1), realm, out, sizeof(out));
	sm_assert(name.n <= sizeof(out) && (name.n == 0 || name.p == out));
	for (size_t i = 0; i < name.n; i++)
		sm_assert(name.p[i] < 'A' || name.p[i] > 'Z');
	sm_assert(name.n == 0 || (name.p[0] != ' ' && name.p[0] != '\t'));
	again = ss_auth_name(mech, step, sm_str_n(p + 1, n - 1), realm, out2, sizeof(out2));
	sm_assert(sm_str_eq(name, again));
	sm_free(copy);
	return 0;
}
