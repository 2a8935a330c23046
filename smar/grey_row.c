/* Entries of the greylist as operators name and see them. Pure; any thread. */
#include "smar/grey_row.h"

#include <arpa/inet.h>

#include "libsm/ctl.h"
#include "libsm/err.h"

int ar_grey_net_parse(struct sm_str text, const struct ar_grey_conf *conf, struct ar_grey_key *net,
                      unsigned *bits)
{
	ptrdiff_t slash = sm_str_chr(text, '/');
	struct sm_str ip = slash >= 0 ? sm_str_head(text, (size_t)slash) : text;
	unsigned bits4 = (unsigned)ar_grey_netmask_bits(conf->netmask);
	unsigned bits6 = (unsigned)conf->netmask6, width;
	uint64_t given = 0;
	struct sm_sa sa;

	*net = (struct ar_grey_key){0};
	*bits = 0;
	if (text.n == 0)
		return 0;
	if (sm_sa_ip(&sa, ip, 0) != 0)
		return sm_fail(SM_E_SYNTAX, SM_STR_FMT ": no address",
		               SM_STR_ARG(sm_str_head(text, 60)));
	ar_grey_key_of(&sa, bits4, bits6, net);
	width = net->n == 5 ? 32 : 128;
	*bits = width;
	if (slash < 0)
		return 0;
	if (sm_str_u64(sm_str_from(text, (size_t)slash + 1), 10, width, &given) != 0)
		return sm_fail(SM_E_SYNTAX, SM_STR_FMT ": no net",
		               SM_STR_ARG(sm_str_head(text, 60)));
	*bits = (unsigned)given;
	ar_grey_key_of(&sa, *bits, *bits, net);
	return 0;
}

void ar_grey_row_put(struct sm_buf *b, const struct ar_grey_key *key, const struct ar_grey_entry *e,
                     int64_t shift_s)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (key->n == 5)
		(void)inet_ntop(AF_INET, key->p + 1, text, sizeof(text));
	else if (key->n == 17)
		(void)inet_ntop(AF_INET6, key->p + 1, text, sizeof(text));
	sm_ctl_begin(b, "grey");
	sm_ctl_str(b, "address", sm_str(text));
	sm_ctl_str(b, "state",
	           e->state == AR_GREY_WHITE    ? SM_STR("whitelisted")
	           : e->state == AR_GREY_LISTED ? SM_STR("greylisted")
	                                        : SM_STR("damaged"));
	sm_ctl_num(b, "first_s", e->first_s + shift_s);
	sm_ctl_num(b, "last_s", e->last_s + shift_s);
	sm_ctl_num(b, "expires_s", e->expires_s + shift_s);
	sm_ctl_line(b);
}
