/* The table of smar's options, and what a table cannot say. Pure; any thread. */
#include "smar/conf.h"

#include "libsm/addr.h"

enum { DNS_PORT = 53 };

#define CONF(m) offsetof(struct ar_conf, m)

/* clang-format off */
static const struct sm_word family_words[] = {
    {"any", AR_FAMILY_ANY, "IPv4 and IPv6, in random order"},
    {"ipv4", AR_FAMILY_IPV4, "IPv4 only"},
    {"ipv6", AR_FAMILY_IPV6, "IPv6 only"},
    {"prefer_ipv4", AR_FAMILY_PREFER_IPV4, "the IPv4 addresses of a host before its IPv6 addresses"},
    {"prefer_ipv6", AR_FAMILY_PREFER_IPV6, "the IPv6 addresses of a host before its IPv4 addresses"},
    {0},
};

const struct sm_opt ar_conf_opts[] = {
    {.name = "nameserver", .type = SM_OPT_LIST, .offset = CONF(nameserver), .def = "", .max = 4,
     .help = "up to four name servers: ip, ip:port or [ip6]:port; none: those of /etc/resolv.conf",
     .man = "Use a resolver on this host or in its network, one that validates DNSSEC: what it says is believed."},
    {.name = "DNS_timeout", .type = SM_OPT_TIME, .offset = CONF(dns_timeout_ms), .def = "6s",
     .min = 1000, .max = 60 * 1000,
     .help = "how long a DNS question may take, with all its repetitions",
     .man = "The environment variable SM_DNS_TIMEOUT (seconds) goes before it."},
    {.name = "address_delimiter", .type = SM_OPT_STR, .offset = CONF(address_delimiter), .def = "+",
     .min = 1, .max = 1, .help = "what separates user and detail in a local part"},
    {.name = "map", .type = SM_OPT_SECTIONS, .offset = CONF(map), .max = AR_MAPS_MAX, .sub = ar_map_opts,
     .sub_size = sizeof(struct ar_map_conf), .reload = true,
     .help = "map NAME { ... } declares a map, to be used by its name"},
    {.name = "map_check_interval", .type = SM_OPT_TIME, .offset = CONF(map_check_interval_ms), .def = "3s",
     .max = 24 * 60 * 60 * 1000, .reload = true,
     .help = "how often to look whether files of maps and mailertable have changed; 0: only when told to reload",
     .man = "Changed files are taken without a restart: all of them together, when nothing has changed for half a second, and only if "
            "none has an error."},
    {.name = "access_map", .type = SM_OPT_SECTION, .offset = CONF(access_map), .sub = ar_access_opts,
     .help = "whom to take mail from, and for whom; used by listeners with the flag access"},
    {.name = "dnsbl", .type = SM_OPT_SECTIONS, .offset = CONF(dnsbl), .max = AR_DNSBL_MAX, .sub = ar_dnsbl_opts,
     .sub_size = sizeof(struct ar_dnsbl_conf), .reload = true,
     .help = "a black or white list of addresses in DNS, asked for each client; may be given several times"},
    {.name = "greylisting", .type = SM_OPT_SECTION, .offset = CONF(greylisting), .sub = ar_grey_opts,
     .help = "clients that are not known have to come twice; used by listeners with the flag greylisting"},
    {.name = "aliases", .type = SM_OPT_SECTION, .offset = CONF(aliases), .sub = ar_aliases_opts,
     .help = "addresses that stand for others"},
    {.name = "local_user_map", .type = SM_OPT_SECTION, .offset = CONF(local_user_map), .sub = ar_users_opts,
     .help = "local addresses that exist"},
    {.name = "mailertable", .type = SM_OPT_SECTION, .offset = CONF(mailertable), .sub = ar_mailertable_opts,
     .help = "routes that are not those of DNS"},
    {.name = "server_auth", .type = SM_OPT_SECTION, .offset = CONF(server_auth), .sub = ar_server_auth_opts,
     .help = "what smtpc says to servers of others that want to know who it is (AUTH)"},
    {.name = "control_socket", .type = SM_OPT_PATH, .offset = CONF(control_socket), .def = "smarctl/smar",
     .help = "where smarctl, greyprint and greyrm ask"},
    {.name = "verify_recipient", .type = SM_OPT_SECTION, .offset = CONF(verify), .sub = ar_verify_opts,
     .help = "domains for whose recipients the next hop is asked before they are accepted",
     .man = "For gateways and backup MX hosts. smtps asks qmgr, which remembers the answers (its section verify_recipient) and has "
            "smtpc ask the next hop by MAIL and RCPT, without sending anything."},
    {.name = "on_demand", .type = SM_OPT_SECTION, .offset = CONF(on_demand), .sub = ar_demand_opts,
     .help = "domains whose mail waits for a queue run, or until it is asked for",
     .man = "For lines that cost, and for customers who are not always there. No name server is asked for such a domain before its "
            "mail goes out."},
    {.name = "max_cache_entries", .type = SM_OPT_INT, .offset = CONF(max_cache_entries), .def = "20000",
     .min = 100, .max = 10000000, .help = "DNS answers kept; the longest unused go first"},
    {.name = "max_queries", .type = SM_OPT_INT, .offset = CONF(max_queries), .def = "2000",
     .min = 10, .max = 30000, .help = "DNS questions asked at a time; beyond that the result is temporary"},
    {.name = "max_requests", .type = SM_OPT_INT, .offset = CONF(max_requests), .def = "5000",
     .min = 10, .max = 20000,
     .help = "requests of smtps and qmgr that wait for DNS at a time; beyond that the result is temporary"},
    {.name = "max_hosts", .type = SM_OPT_INT, .offset = CONF(max_hosts), .def = "20",
     .min = 1, .max = 100, .reload = true, .help = "addresses to try for a recipient"},
    {.name = "own_names", .type = SM_OPT_LIST, .offset = CONF(own_names), .def = "", .max = 1000,
     .help = "further names of this host, beside hostname and localhost",
     .man = "A mail exchanger of one of these names is this host: it and all of lower priority are left "
            "out, so that mail does not run in a circle."},
    {.name = "address_family", .type = SM_OPT_ENUM, .offset = CONF(address_family), .def = "any",
     .words = family_words, .reload = true, .help = "which addresses of a host are used"},
    SM_OPT_END,
};
/* clang-format on */

int ar_conf_server(struct sm_str text, struct sm_sa *sa)
{
	struct sm_str ip = text;
	uint64_t port = DNS_PORT;
	ptrdiff_t colon = sm_str_rchr(text, ':');

	/* A colon in front of a port: behind a bracket, or the only one. */
	if (colon > 0 &&
	    (text.p[colon - 1] == ']' || (text.p[0] != '[' && sm_str_chr(text, ':') == colon))) {
		ip = sm_str_head(text, (size_t)colon);
		if (sm_str_u64(sm_str_from(text, (size_t)colon + 1), 10, UINT16_MAX, &port) != 0 ||
		    port == 0)
			return sm_fail(SM_E_SYNTAX, "nameserver " SM_STR_FMT ": no port",
			               SM_STR_ARG(text));
	}
	if (sm_sa_ip(sa, ip, (uint16_t)port) != 0)
		return sm_fail(SM_E_SYNTAX, "nameserver " SM_STR_FMT ": no IP address",
		               SM_STR_ARG(text));
	return 0;
}

/* Those of a section: "domain", ".domain", ".". */
static int check_domains(const char *section, const struct sm_conf_list *domains)
{
	for (size_t i = 0; i < domains->count; i++) {
		struct sm_str d = domains->v[i];

		if (sm_str_eq(d, SM_STR(".")))
			continue;
		if (!sm_domain_valid_utf8(d.n > 0 && d.p[0] == '.' ? sm_str_from(d, 1) : d, true))
			return sm_fail(SM_E_SYNTAX, "%s.domains: " SM_STR_FMT " is no domain",
			               section, SM_STR_ARG(sm_str_head(d, 100)));
	}
	return 0;
}

int ar_conf_check(const struct ar_conf *conf)
{
	int rc;

	for (size_t i = 0; i < conf->nameserver.count; i++) {
		struct sm_sa sa;

		rc = ar_conf_server(conf->nameserver.v[i], &sa);
		if (rc != 0)
			return rc;
	}
	for (size_t i = 0; i < conf->own_names.count; i++)
		if (!sm_domain_valid_utf8(conf->own_names.v[i], false))
			return sm_fail(SM_E_SYNTAX, "own_names: " SM_STR_FMT " is no domain name",
			               SM_STR_ARG(sm_str_head(conf->own_names.v[i], 100)));
	if ((rc = check_domains("verify_recipient", &conf->verify.domains)) != 0 ||
	    (rc = check_domains("on_demand", &conf->on_demand.domains)) != 0)
		return rc;
	rc = ar_map_conf_check(conf);
	if (rc == 0)
		rc = ar_dnsbl_conf_check(conf);
	return rc != 0 ? rc : ar_grey_conf_check(&conf->greylisting);
}
