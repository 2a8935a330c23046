/*
 * DNS answers: a byte that picks the type, then the packet. The question is taken from the packet,
 * so that the records are reached. What comes out is bounded and made of host names.
 */
#include "libsm/addr.h"
#include "smar/dns_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const uint16_t types[] = {AR_DNS_A, AR_DNS_AAAA, AR_DNS_MX, AR_DNS_PTR};

/* Plain labels only; whatever is not becomes a question that does not match. */
static size_t question(const uint8_t *p, size_t n, char out[AR_DNS_NAME_MAX + 1])
{
	size_t len = 0;

	for (size_t at = 12;
	     at < n && p[at] != 0 && p[at] < 64 && len + p[at] + 1 < AR_DNS_NAME_MAX;
	     at += p[at] + 1U) {
		if (n - at <= p[at])
			break;
		if (len > 0)
			out[len++] = '.';
		for (unsigned i = 1; i <= p[at]; i++)
			out[len++] = sm_lower((char)p[at + i]);
	}
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct ar_dns_msg m;
	char name[AR_DNS_NAME_MAX + 1];
	bool refused;
	uint16_t type;

	if (n == 0)
		return 0;
	(void)ar_dns_is_formerr(sm_str_n(p + 1, n - 1));
	if (ar_dns_failure(sm_str_n(p + 1, n - 1), name, &type, &refused))
		sm_assert(strlen(name) <= AR_DNS_NAME_MAX);
	type = types[p[0] % SM_ARRAY_SIZE(types)];
	ar_dns_parse(sm_str_n(p + 1, n - 1), sm_str_n(name, question(p + 1, n - 1, name)), type,
	             &m);
	sm_assert(!m.ad || m.status != AR_DNS_TEMP);
	sm_assert(m.count <= AR_DNS_RR_MAX && (m.status == AR_DNS_OK) == (m.count > 0));
	sm_assert(m.status == AR_DNS_TEMP ||
	          (m.ttl_s >= AR_DNS_TTL_MIN && m.ttl_s <= AR_DNS_TTL_MAX));
	sm_assert((m.status == AR_DNS_TEMP) == (m.why != NULL));
	for (size_t i = 0; i < m.count; i++)
		if ((type == AR_DNS_MX && m.rr[i].name[0] != '\0') || type == AR_DNS_PTR)
			sm_assert(sm_domain_valid(sm_str(m.rr[i].name), true));
	if (m.status == AR_DNS_ALIAS)
		sm_assert(m.alias[0] != '\0' &&
		          strspn(m.alias, "abcdefghijklmnopqrstuvwxyz0123456789-_/.") ==
		              strlen(m.alias));
	return 0;
}
