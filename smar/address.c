/*
 * Addresses of questions. They come from smtps and qmgr, which have read them with the same parser;
 * what does not pass it here is refused all the same. Thread: the loop's.
 */
#include "smar/address.h"

#include "libsm/addr.h"

int ar_address_of(const struct ar *ar, struct sm_arena *a, struct sm_str mailbox,
                  struct ar_address *out)
{
	struct sm_str delimiter = ar->conf->address_delimiter;
	struct sm_addr addr;

	if (sm_str_caseeq(mailbox, SM_STR("postmaster")))
		mailbox = sm_arena_printf(a, "postmaster@" SM_STR_FMT, SM_STR_ARG(ar->hostname));
	if (sm_addr_mailbox(mailbox, a, &addr) != 0)
		return SM_E_SYNTAX;
	if (addr.domain.n == 0)
		return sm_fail(SM_E_SYNTAX, "address without domain");
	out->mailbox = addr.mailbox;
	out->domain = addr.ascii_domain;
	out->key = ar_address_key(a, addr.mailbox);
	ar_parts_of(out->key, delimiter.n > 0 ? delimiter.p[0] : '+', &out->parts);
	return 0;
}
