/* The names and addresses of this host, gathered once at start. Thread: the loop's. */
#include "smar/own.h"

#include <errno.h>
#include <ifaddrs.h>

#include "libsm/err.h"
#include "libsm/utf8.h"

enum { ADDRS_MAX = 1024 };

static struct sm_str *own_names;
static size_t name_count;
static struct sm_sa *addrs;
static size_t addr_count;

static void add_name(struct sm_str s)
{
	own_names = sm_realloc(own_names, name_count + 1, sizeof(own_names[0]));
	own_names[name_count++] = s;
}

void ar_own_add_addr(const struct sm_sa *sa)
{
	if (addr_count == ADDRS_MAX || ar_own_addr(sa))
		return;
	addrs = sm_realloc(addrs, addr_count + 1, sizeof(addrs[0]));
	addrs[addr_count++] = *sa;
}

void ar_own_init(struct sm_str hostname, const struct sm_conf_list *names)
{
	if (hostname.n > 0)
		add_name(hostname);
	add_name(SM_STR("localhost"));
	for (size_t i = 0; i < names->count; i++)
		add_name(names->v[i]);
}

int ar_own_interfaces(void)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) != 0)
		return sm_fail_sys(errno, "getifaddrs");
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		struct sm_sa sa = {0};

		if (i->ifa_addr == NULL)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			sa.len = sizeof(sa.u.in4);
		else if (i->ifa_addr->sa_family == AF_INET6)
			sa.len = sizeof(sa.u.in6);
		else
			continue;
		memcpy(&sa.u, i->ifa_addr, sa.len);
		if (!sm_sa_is_loopback(&sa))
			ar_own_add_addr(&sa);
	}
	freeifaddrs(all);
	return 0;
}

void ar_own_fini(void)
{
	SM_FREE(own_names);
	SM_FREE(addrs);
	name_count = addr_count = 0;
}

bool ar_own_name(struct sm_str name)
{
	for (size_t i = 0; i < name_count; i++)
		if (sm_domain_eq(own_names[i], name))
			return true;
	return false;
}

bool ar_own_addr(const struct sm_sa *sa)
{
	for (size_t i = 0; i < addr_count; i++)
		if (sm_sa_eq_host(&addrs[i], sa))
			return true;
	return false;
}
