/* Fuzz ehlo.c: whatever a server says, limits are those of RFC 9422 or none, and what is said a
 * second time changes nothing. Input: the text of a reply. */
#include "smtpc/ehlo.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sc_ehlo one, two;

	sc_ehlo_parse(sm_str_n(p, n), &one);
	sm_assert(one.mail_max < 1000000 && one.rcpt_max < 1000000);
	sm_assert(one.rcpt_domain_max < 1000000);
	sm_assert(one.size_max == 0 || (one.caps & SC_CAP_SIZE));
	sc_ehlo_parse(sm_str_n(p, n), &two);
	sm_assert(one.caps == two.caps && one.size_max == two.size_max);
	/* What is ignored was never said. */
	sc_ehlo_ignore(&one, ~0u);
	sm_assert(one.caps == 0 && one.xforward == 0 && one.mechanisms[0] == '\0');
	sm_assert(one.size_max + one.mail_max + one.rcpt_max + one.rcpt_domain_max == 0);
	return 0;
}
