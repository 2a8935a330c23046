/* The mailertable's text: what is accepted can be looked up, and every entry is found under its own
 * name. */
#include "libsm/rand.h"
#include "smar/mailertable.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct ar_mt *mt;

	if (ar_mt_parse("fuzz", sm_str_n(p, n), &mt) != 0)
		return 0;
	for (struct sm_hash_node *i = sm_hash_next(&mt->by_domain, NULL); i != NULL;
	     i = sm_hash_next(&mt->by_domain, i)) {
		const struct ar_mt_entry *e = SM_CONTAINER_OF(i, struct ar_mt_entry, node);

		sm_assert(ar_mt_find(mt, e->domain) == e);
		sm_assert(e->count > 0 ? e->port > 0 : e->agent == SM_AGENT_LMTP);
	}
	(void)ar_mt_find(mt, SM_STR("a.b.example"));
	ar_mt_unref(&mt);
	return 0;
}
