/* Lists of networks in the configuration. Pure. */
#ifndef SS_NETS_H
#define SS_NETS_H

#include "libsm/conf.h"
#include "libsm/net.h"

/*
 *   net = address [ "/" bits ] / "unix"
 * An IPv4 address and its mapped form are the same. "unix" is any Unix client. SM_E_SYNTAX with a
 * diag: one of them is none of these.
 */
int ss_nets_check(const struct sm_conf_list *list) SM_MUST_CHECK;
bool ss_nets_have(const struct sm_conf_list *list, const struct sm_sa *sa);
/* An address that is not routed in the Internet, and not loopback: somebody stands between. */
bool ss_net_is_private(const struct sm_sa *sa);

#endif
