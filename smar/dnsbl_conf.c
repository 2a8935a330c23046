/* The options of lists in DNS, and what a table cannot say. Pure; any thread. */
#include <stdio.h>

#include "libsm/addr.h"
#include "smar/access_rhs.h"
#include "smar/conf.h"
#include "smar/reverse.h"

#define DNSBL(m) offsetof(struct ar_dnsbl_conf, m)

/* clang-format off */
const struct sm_opt ar_dnsbl_opts[] = {
    {.name = "domain", .type = SM_OPT_STR, .offset = DNSBL(domain), .min = 1, .max = AR_DNS_NAME_MAX - AR_REVERSE_MAX,
     .required = true, .reload = true, .help = "the list: A.B.C.D is looked up as D.C.B.A.domain",
     .man = "IPv6 addresses are looked up by their 32 nibbles. All lists are asked at once."},
    {.name = "tag", .type = SM_OPT_STR, .offset = DNSBL(tag), .min = 1, .max = AR_DNSBL_TAG_MAX, .required = true, .reload = true,
     .help = "an answer W.X.Y.Z is looked up in the access map as tag:W.X.Y.Z",
     .man = "A question that fails is looked up as tag:temp, or as tag:perm if the name servers refuse it. The lists are gone through "
            "in their order; the first entry that is found decides, and an answer without entry means nothing. 127.255.255.0/24 and "
            "what is not in 127.0.0.0/8 is trouble of the list, not a listing: it is logged and left out."},
    SM_OPT_END,
};
/* clang-format on */

static bool good_tag(struct sm_str tag)
{
	for (size_t i = 0; i < tag.n; i++) {
		char c = sm_lower(tag.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' &&
		    c != '.')
			return false;
	}
	return true;
}

static int check_list(const struct ar_dnsbl_conf *list)
{
	char tag[AR_DNSBL_TAG_MAX + 2];
	int n = snprintf(tag, sizeof(tag), SM_STR_FMT ":", SM_STR_ARG(list->tag));

	if (!sm_domain_valid(list->domain, false))
		return sm_fail(SM_E_SYNTAX, "domain: " SM_STR_FMT " is no domain name",
		               SM_STR_ARG(sm_str_head(list->domain, 100)));
	if (!good_tag(list->tag))
		return sm_fail(SM_E_SYNTAX,
		               "tag: only letters, digits, '.', '-' and '_' may be in it");
	if (ar_access_tag_taken(sm_str_n(tag, (size_t)n)))
		return sm_fail(SM_E_SYNTAX, "tag: %s means something else in the access map", tag);
	return 0;
}

int ar_dnsbl_conf_check(const struct ar_conf *conf)
{
	const struct ar_dnsbl_conf *v = conf->dnsbl.v;

	for (size_t i = 0; i < conf->dnsbl.count; i++) {
		int rc = check_list(&v[i]);

		if (rc == 0 && !ar_map_used(&conf->access_map))
			rc = sm_fail(SM_E_SYNTAX, "without access_map no answer means anything");
		if (rc != 0)
			return sm_conf_fail_in(rc, v[i].where.path != NULL ? v[i].where.path : "",
			                       v[i].where.line, SM_STR("dnsbl"));
	}
	return 0;
}
