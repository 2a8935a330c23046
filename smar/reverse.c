/* An address as labels, the last part first. Pure. */
#include "smar/reverse.h"

#include <stdio.h>

/* The bytes of the address; NULL: none of the Internet. */
static const uint8_t *bytes_of(const struct sm_sa *sa, bool *v6)
{
	*v6 = false;
	if (sa->len == 0)
		return NULL;
	if (sa->u.sa.sa_family == AF_INET)
		return (const uint8_t *)&sa->u.in4.sin_addr;
	if (sa->u.sa.sa_family != AF_INET6)
		return NULL;
	if (IN6_IS_ADDR_V4MAPPED(&sa->u.in6.sin6_addr))
		return &sa->u.in6.sin6_addr.s6_addr[12];
	*v6 = true;
	return sa->u.in6.sin6_addr.s6_addr;
}

bool ar_reverse_name(const struct sm_sa *sa, struct sm_str zone4, struct sm_str zone6,
                     char out[AR_DNS_NAME_MAX + 1])
{
	const size_t size = AR_DNS_NAME_MAX + 1;
	size_t n = 0;
	bool v6;
	const uint8_t *p = bytes_of(sa, &v6);
	struct sm_str zone = v6 ? zone6 : zone4;

	if (p == NULL || zone.n > AR_DNS_NAME_MAX - AR_REVERSE_MAX)
		return false;
	if (v6)
		for (int i = 15; i >= 0; i--)
			n += (size_t)snprintf(out + n, size - n, "%x.%x.", p[i] & 15U, p[i] >> 4);
	else
		n = (size_t)snprintf(out, size, "%u.%u.%u.%u.", p[3], p[2], p[1], p[0]);
	memcpy(out + n, zone.p, zone.n);
	out[n + zone.n] = '\0';
	return true;
}
