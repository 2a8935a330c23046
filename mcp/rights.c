/*
 * The capabilities of mcp. Invariant: from here on neither mcp nor a program that it runs as root
 * has a capability that is not in the table, because the bounding set is cut as well.
 */
#include "mcp/rights.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mcp/mcp.h"

static const unsigned kept[] = {
    CAP_SETUID,
    CAP_SETGID,           /* become the user of a service */
    CAP_SETPCAP,          /* empty its bounding set */
    CAP_CHOWN,            /* log files and Unix sockets */
    CAP_DAC_OVERRIDE,     /* files and directories of the services */
    CAP_KILL,             /* signals to their processes */
    CAP_NET_BIND_SERVICE, /* port 25 */
};

static bool is_kept(unsigned cap)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(kept); i++)
		if (kept[i] == cap)
			return true;
	return false;
}

int mc_rights_limit(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct now[2], only[2] = {{0}};

	if (!mc.root)
		return 0;
	/* In a container root may have fewer: never ask for more than there is. */
	if (syscall(SYS_capget, &head, now) != 0)
		return sm_fail_sys(errno, "reading the own capabilities");
	for (unsigned cap = 0; cap < 64; cap++) {
		uint32_t bit = 1u << (cap % 32);
		if (!is_kept(cap)) {
			if (prctl(PR_CAPBSET_READ, (unsigned long)cap, 0, 0, 0) == 1 &&
			    prctl(PR_CAPBSET_DROP, (unsigned long)cap, 0, 0, 0) != 0)
				return sm_fail_sys(errno, "cutting the capability bounding set");
			continue;
		}
		only[cap / 32].effective |= now[cap / 32].permitted & bit;
		only[cap / 32].permitted |= now[cap / 32].permitted & bit;
	}
	head.pid = 0;
	if (syscall(SYS_capset, &head, only) != 0)
		return sm_fail_sys(errno, "dropping capabilities");
	return 0;
}
