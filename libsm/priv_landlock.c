/*
 * Landlock: which paths and which kinds of sockets this process can still reach.
 *
 * Invariant: every right that the running kernel knows (and this file knows) is handled, thus
 * denied, unless a rule of the profile or the short list of what libc itself needs grants it.
 * Rights that a newer kernel adds stay open until they are added to the table; a kernel without
 * Landlock leaves everything to users and modes. Thread: the only one.
 *
 * Numbers are spelled out here because the headers of the build host are often older than the
 * kernel that runs.
 */
#include "libsm/priv_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

#define RULESET_VERSION 1u
enum { RULE_PATH = 1, RULE_PORT = 2 };

/* Rights to files, by bit. */
#define FS_EXECUTE     (1ull << 0)
#define FS_WRITE_FILE  (1ull << 1)
#define FS_READ_FILE   (1ull << 2)
#define FS_READ_DIR    (1ull << 3)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_REG    (1ull << 8)
#define FS_MAKE_SOCK   (1ull << 9)
#define FS_REFER       (1ull << 13)
#define FS_TRUNCATE    (1ull << 14)
#define FS_IOCTL_DEV   (1ull << 15)
/* Of these, what a rule for something other than a directory may have. */
#define FS_OF_FILE (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

#define NET_BIND_TCP    (1ull << 0)
#define NET_CONNECT_TCP (1ull << 1)

#define SCOPE_ABSTRACT_SOCKET (1ull << 0)
#define SCOPE_SIGNAL          (1ull << 1)

/* The kernel takes a prefix of this: older ABIs have shorter ones. */
struct ruleset {
	uint64_t fs, net, scope;
};
struct rule_path {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));
struct rule_port {
	uint64_t allowed, port;
};

/* What each ABI knows, and how long its ruleset is. */
static const struct {
	size_t size;
	uint64_t fs, net, scope;
} abis[] = {
    {0, 0, 0, 0},
    {8, (1ull << 13) - 1, 0, 0},
    {8, (1ull << 14) - 1, 0, 0},
    {8, (1ull << 15) - 1, 0, 0},
    {16, (1ull << 15) - 1, NET_BIND_TCP | NET_CONNECT_TCP, 0},
    {16, (1ull << 16) - 1, NET_BIND_TCP | NET_CONNECT_TCP, 0},
    {24, (1ull << 16) - 1, NET_BIND_TCP | NET_CONNECT_TCP, SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL},
};

/* What libc reads behind our back: zone, allocator tuning, number of processors. */
static const struct sm_priv_path libc_paths[] = {
    {"/etc/localtime", SM_PATH_READ},
    {"/usr/share/zoneinfo", SM_PATH_READ},
    {"/dev/null", SM_PATH_READ | SM_PATH_WRITE},
    {"/dev/urandom", SM_PATH_READ},
    {"/proc/sys/vm/overcommit_memory", SM_PATH_READ},
    {"/proc/sys/vm/max_map_count", SM_PATH_READ},
    {"/sys/devices/system/cpu", SM_PATH_READ},
#ifdef SM_TESTING
    {"/proc/self", SM_PATH_READ},
#endif
#ifdef SM_PRIV_SANITIZER
    /* Reports read maps, the binary and its debug text. */
    {"/proc", SM_PATH_READ},
    {"/proc/self/exe", SM_PATH_READ},
    {"/usr", SM_PATH_READ},
#endif
    {NULL, 0},
};

static uint64_t fs_rights(unsigned rights)
{
	uint64_t fs = 0;

	if (rights & SM_PATH_READ)
		fs |= FS_READ_FILE | FS_READ_DIR;
	if (rights & SM_PATH_LIST)
		fs |= FS_READ_DIR;
	if (rights & SM_PATH_REMOVE)
		fs |= FS_REMOVE_FILE;
	if (rights & SM_PATH_WRITE)
		fs |= FS_WRITE_FILE | FS_TRUNCATE;
	if (rights & SM_PATH_CREATE)
		fs |= FS_MAKE_REG | FS_REMOVE_FILE | FS_REFER;
	if (rights & SM_PATH_SOCKET)
		fs |= FS_MAKE_SOCK | FS_REMOVE_FILE;
	return fs;
}

static int add_path(int ruleset, const struct sm_priv_path *p, uint64_t handled)
{
	struct rule_path rule = {.allowed = fs_rights(p->rights) & handled};
	struct stat st;
	int rc = 0;

	if (rule.allowed == 0)
		return 0;
	rule.fd = open(p->path, O_PATH | O_CLOEXEC);
	if (rule.fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES
		           ? 0
		           : sm_fail_sys(errno, "landlock: %s", p->path);
	if (fstat(rule.fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed &= FS_OF_FILE;
	if (rule.allowed != 0 && syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &rule, 0) != 0)
		rc = sm_fail_sys(errno, "landlock: rule for %s", p->path);
	(void)close(rule.fd);
	return rc;
}

int sm_priv_landlock(const struct sm_priv_profile *p, int *abi)
{
	struct ruleset rs = {0};
	/* Outgoing sources are bound to port 0 only: no role ever makes its own TCP listener. */
	struct rule_port any_source = {.allowed = NET_BIND_TCP, .port = 0};
	long version;
	size_t known;
	int fd, rc = 0;

	version = syscall(SYS_landlock_create_ruleset, NULL, 0, RULESET_VERSION);
	if (version <= 0) {
		*abi = 0;
		return 0;
	}
	*abi = (int)version;
	known = SM_MIN((size_t)version, SM_ARRAY_SIZE(abis) - 1);
	rs.fs = abis[known].fs;
	rs.net = p->inet && p->connect_ports == NULL ? abis[known].net & ~NET_CONNECT_TCP
	                                             : abis[known].net;
	rs.scope = abis[known].scope;

	fd = (int)syscall(SYS_landlock_create_ruleset, &rs, abis[known].size, 0);
	if (fd < 0)
		return sm_fail_sys(errno, "landlock: ruleset of ABI %ld", version);
	for (const struct sm_priv_path *q = libc_paths; rc == 0 && q->path != NULL; q++)
		rc = add_path(fd, q, rs.fs);
	for (const struct sm_priv_path *q = p->paths; rc == 0 && q->path != NULL; q++)
		rc = add_path(fd, q, rs.fs);
	if (rc == 0 && p->inet && rs.net != 0 &&
	    syscall(SYS_landlock_add_rule, fd, RULE_PORT, &any_source, 0) != 0)
		rc = sm_fail_sys(errno, "landlock: rule for source ports");
	for (const uint16_t *port = p->connect_ports; rc == 0 && rs.net != 0 && port && *port;
	     port++) {
		struct rule_port to = {.allowed = NET_CONNECT_TCP, .port = *port};

		if (syscall(SYS_landlock_add_rule, fd, RULE_PORT, &to, 0) != 0)
			rc = sm_fail_sys(errno, "landlock: rule for port %u", *port);
	}
	if (rc == 0 && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
		rc = sm_fail_sys(errno, "landlock_restrict_self");
	(void)close(fd);
	return rc;
}
