/* Which names and addresses are this host: mail is never sent to itself by way of DNS. */
#ifndef AR_OWN_H
#define AR_OWN_H

#include "libsm/conf.h"
#include "libsm/net.h"

/* `hostname` and `names` (which stay the caller's), and "localhost". */
void ar_own_init(struct sm_str hostname, const struct sm_conf_list *names);
void ar_own_fini(void);
/* The addresses of all interfaces as they are now. Call before rights are dropped. */
int ar_own_interfaces(void) SM_MUST_CHECK;
void ar_own_add_addr(const struct sm_sa *sa);
bool ar_own_name(struct sm_str name);     /* case is ignored */
bool ar_own_addr(const struct sm_sa *sa); /* not loopback: see sm_sa_is_loopback */

#endif
