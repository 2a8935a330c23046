/* What the configuration says about lists of addresses in DNS: "dnsbl { ... }". */
#ifndef AR_DNSBL_CONF_H
#define AR_DNSBL_CONF_H

#include "libsm/conf.h"

enum { AR_DNSBL_MAX = 32, AR_DNSBL_TAG_MAX = 40 };

struct ar_dnsbl_conf {
	struct sm_conf_where where;
	struct sm_str domain, tag; /* as they are written */
};
extern const struct sm_opt ar_dnsbl_opts[];

/* What the table cannot say: SM_E_SYNTAX with diag. */
struct ar_conf;
int ar_dnsbl_conf_check(const struct ar_conf *conf) SM_MUST_CHECK;

#endif
