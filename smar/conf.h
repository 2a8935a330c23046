/* smar's section of the configuration. */
#ifndef AR_CONF_H
#define AR_CONF_H

#include "libsm/conf.h"
#include "libsm/net.h"
#include "smar/dnsbl_conf.h"
#include "smar/grey_conf.h"
#include "smar/map_conf.h"

enum ar_family {
	AR_FAMILY_ANY,
	AR_FAMILY_IPV4,
	AR_FAMILY_IPV6,
	AR_FAMILY_PREFER_IPV4,
	AR_FAMILY_PREFER_IPV6
};

struct ar_conf {
	struct sm_conf_list nameserver;
	int64_t dns_timeout_ms;
	struct sm_str address_delimiter;
	struct sm_conf_sections map; /* of struct ar_map_conf */
	struct ar_map_use access_map, local_user_map, mailertable, server_auth;
	struct ar_aliases_conf aliases;
	struct sm_conf_sections dnsbl; /* of struct ar_dnsbl_conf */
	struct ar_grey_conf greylisting;
	struct ar_verify_conf verify;
	struct ar_demand_conf on_demand;
	int64_t map_check_interval_ms; /* 0: never */
	struct sm_str control_socket;  /* empty: none */
	int64_t max_cache_entries, max_queries, max_requests, max_hosts;
	struct sm_conf_list own_names;
	int address_family; /* enum ar_family */
};
extern const struct sm_opt ar_conf_opts[];

/* A name server: "ip", "ip:port", "[ip6]", "[ip6]:port". SM_E_SYNTAX. */
int ar_conf_server(struct sm_str text, struct sm_sa *sa) SM_MUST_CHECK;
/* What the table cannot say. SM_E_SYNTAX with diag. */
int ar_conf_check(const struct ar_conf *conf) SM_MUST_CHECK;

#endif
