/*
 * SASL without a library, for fuzzing what is around it. A response that begins with "ok" lets its
 * rest in as a user, "more" asks for another with the rest as the challenge, "bad", "later" and
 * "cancel" give that result; all else is denied. PLAIN lets in whoever has the password "ok", so
 * that dialogues of real clients pass. What is not encrypted has no mechanism LOGIN.
 */
#include "checks/fuzz/puppet_sasl.h"

#include "libsm/err.h"
#include "smtps/auth.h"

unsigned puppet_sasl_passed;
int puppet_sasl_open;

struct ss_sasl {
	bool plain;
	char user[SS_AUTH_USER_MAX + 1];
	struct sm_buf challenge;
};

void puppet_sasl_reset(void)
{
	puppet_sasl_passed = 0;
	puppet_sasl_open = 0;
}

int ss_sasl_init(const struct ss_auth_conf *c SM_UNUSED, struct sm_str hostname SM_UNUSED)
{
	return 0;
}
bool ss_sasl_ready(void)
{
	return true;
}
void ss_sasl_fini(void)
{
}
size_t ss_sasl_busy(void)
{
	return 0;
}

bool ss_sasl_mechs(const struct ss_sasl_ground *g, struct sm_str mech, struct sm_buf *names)
{
	static const struct sm_str all[] = {SM_STR("PLAIN"), SM_STR("CRAM-MD5"),
	                                    SM_STR("DIGEST-MD5"), SM_STR("SCRAM-SHA-1"),
	                                    SM_STR("LOGIN")};
	bool any = false;

	for (size_t i = 0; i < SM_ARRAY_SIZE(all); i++) {
		if ((mech.n > 0 && !sm_str_caseeq(all[i], mech)) ||
		    (g->bits == 0 && sm_str_eq(all[i], SM_STR("LOGIN"))))
			continue;
		if (names != NULL) {
			sm_buf_cstr(names, any ? " " : "");
			sm_buf_str(names, all[i]);
		}
		any = true;
	}
	return any;
}

struct ss_sasl *ss_sasl_new(const struct ss_sasl_ground *g SM_UNUSED, struct sm_str mech)
{
	struct ss_sasl *x = sm_calloc(1, sizeof(*x));

	sm_assert(ss_auth_mech_valid(mech));
	x->plain = sm_str_eq(mech, SM_STR("PLAIN"));
	sm_buf_init(&x->challenge, SS_AUTH_LINE_MAX);
	puppet_sasl_open++;
	return x;
}

static bool let_in(struct ss_sasl *x, struct sm_str user, struct ss_sasl_answer *out)
{
	if (user.n == 0 || sm_str_copy(user, x->user, sizeof(x->user)) != 0)
		return false;
	puppet_sasl_passed++;
	out->result = SS_SASL_OK;
	out->user = sm_str(x->user);
	return true;
}

void ss_sasl_step(struct ss_sasl *x, struct sm_str response, struct ss_sasl_answer *out)
{
	static const struct {
		struct sm_str word;
		enum ss_sasl_result result;
	} words[] = {{SM_STR("bad"), SS_SASL_BAD},
	             {SM_STR("later"), SS_SASL_LATER},
	             {SM_STR("cancel"), SS_SASL_CANCEL}};
	static const struct sm_str ok = SM_STR("ok"), more = SM_STR("more");

	sm_co_yield();
	*out = (struct ss_sasl_answer){.result = SS_SASL_DENIED, .why = "no"};
	if (response.p == NULL || sm_str_has_prefix(response, more)) {
		sm_buf_reset(&x->challenge);
		/* What base64 makes of it is to fit into a line of a reply. */
		sm_buf_str(&x->challenge, sm_str_head(sm_str_from(response, more.n), 300));
		out->result = SS_SASL_MORE;
		out->challenge =
		    response.p != NULL ? sm_buf_view(&x->challenge) : SM_STR("<1@puppet>");
		return;
	}
	if (x->plain) {
		struct sm_str rest, user;

		(void)sm_str_split(response, '\0', &rest);
		user = sm_str_split(rest, '\0', &rest);
		if (sm_str_eq(rest, ok))
			(void)let_in(x, user, out);
		return;
	}
	if (sm_str_has_prefix(response, ok) && let_in(x, sm_str_from(response, ok.n), out))
		return;
	for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++)
		if (sm_str_has_prefix(response, words[i].word))
			out->result = words[i].result;
}

void ss_sasl_free(struct ss_sasl **x)
{
	if (*x == NULL)
		return;
	puppet_sasl_open--;
	sm_buf_wipe(&(*x)->challenge);
	SM_FREE(*x);
}
