/*
 * Networks: the address as 128 bits, compared by their first so many. Invariant: what is no network
 * has nobody in it. Pure.
 */
#include "smtps/nets.h"

#include "libsm/err.h"

struct net {
	struct in6_addr addr;
	unsigned bits;
	bool is_unix;
};

/* IPv4 as its mapped address. False: neither. */
static bool as_in6(const struct sm_sa *sa, struct in6_addr *out)
{
	if (sa->len == 0)
		return false;
	if (sa->u.sa.sa_family == AF_INET6) {
		*out = sa->u.in6.sin6_addr;
		return true;
	}
	if (sa->u.sa.sa_family != AF_INET)
		return false;
	*out = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
	memcpy(out->s6_addr + 12, &sa->u.in4.sin_addr, 4);
	return true;
}

static int parse(struct sm_str text, struct net *out)
{
	struct sm_str bits, host = sm_str_split(text, '/', &bits);
	struct sm_sa sa;
	uint64_t n = 128;

	*out = (struct net){.is_unix = sm_str_caseeq(text, SM_STR("unix"))};
	if (out->is_unix)
		return 0;
	if (sm_sa_ip(&sa, host, 0) != 0 || !as_in6(&sa, &out->addr))
		goto none;
	if (bits.p != NULL) {
		bool v4 = sa.u.sa.sa_family == AF_INET;

		if (sm_str_u64(bits, 10, v4 ? 32 : 128, &n) != 0)
			goto none;
		n += v4 ? 96 : 0;
	}
	out->bits = (unsigned)n;
	return 0;
none:
	return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no address, network or \"unix\"",
	               SM_STR_ARG(sm_str_head(text, 60)));
}

static bool in_net(const struct in6_addr *a, const struct net *net)
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;

	if (memcmp(a->s6_addr, net->addr.s6_addr, whole) != 0)
		return false;
	return rest == 0 || (a->s6_addr[whole] ^ net->addr.s6_addr[whole]) >> (8 - rest) == 0;
}

int ss_nets_check(const struct sm_conf_list *list)
{
	struct net net;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < list->count; i++)
		rc = parse(list->v[i], &net);
	return rc;
}

bool ss_nets_have(const struct sm_conf_list *list, const struct sm_sa *sa)
{
	bool is_unix = sa->len > 0 && sa->u.sa.sa_family == AF_UNIX;
	struct in6_addr addr;
	struct net net;

	if (!is_unix && !as_in6(sa, &addr))
		return false;
	for (size_t i = 0; i < list->count; i++) {
		if (parse(list->v[i], &net) != 0)
			continue;
		if (net.is_unix ? is_unix : !is_unix && in_net(&addr, &net))
			return true;
	}
	return false;
}

bool ss_net_is_private(const struct sm_sa *sa)
{
	static struct sm_str private[] = {
	    SM_STR("10.0.0.0/8"),    SM_STR("172.16.0.0/12"),  SM_STR("192.168.0.0/16"),
	    SM_STR("100.64.0.0/10"), SM_STR("169.254.0.0/16"), SM_STR("fc00::/7"),
	    SM_STR("fe80::/10"),
	};
	const struct sm_conf_list list = {SM_ARRAY_SIZE(private), private};

	return ss_nets_have(&list, sa);
}
