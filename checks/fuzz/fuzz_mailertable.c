/* The mailertable's text: what is accepted can be looked up, and every entry is found under its own
 * name. */
#include "libsm/rand.h"
#include "smar/mailertable.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Each way has somewhere to go, and whatever the mail the last one is for it. */
static void look_at(const struct ar_ways *ways, size_t at)
{
	const struct ar_way_mail small = {1, 0, true}, large = {UINT32_MAX, UINT64_MAX, false};
	const struct ar_way *w = &ways->v[at];

	sm_assert(w->count > 0 ? !w->by_dns : w->by_dns || w->agent == SM_AGENT_LMTP);
	for (size_t i = 0; i < w->count; i++)
		sm_assert(w->hosts[i].sa.u.sa.sa_family == AF_UNIX || w->port > 0);
	sm_assert(ar_ways_pick(ways, at, &small) >= at);
	sm_assert(ar_ways_pick(ways, at, &large) >= at);
	sm_assert(ar_way_fits(&ways->v[ways->count - 1], &small));
	sm_assert(ar_way_fits(&ways->v[ways->count - 1], &large));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct ar_mt *mt;

	if (ar_mt_parse("fuzz", sm_str_n(p, n), &mt) != 0)
		return 0;
	for (struct sm_hash_node *i = sm_hash_next(&mt->by_domain, NULL); i != NULL;
	     i = sm_hash_next(&mt->by_domain, i)) {
		const struct ar_mt_entry *e = SM_CONTAINER_OF(i, struct ar_mt_entry, node);

		sm_assert(ar_mt_get(mt, e->domain) == e);
		if (sm_str_chr(e->domain, '@') < 0)
			sm_assert(ar_mt_find(mt, e->domain) == e);
		sm_assert(!ar_mt_is_local(e) || ar_mt_is_routed(e));
		sm_assert(e->ways.count > 0);
		for (size_t k = 0; k < e->ways.count; k++)
			look_at(&e->ways, k);
	}
	(void)ar_mt_find(mt, SM_STR("a.b.example"));
	ar_mt_unref(&mt);
	return 0;
}
