/*
 * How every worker starts, lives under its supervisor and ends.
 *
 * The supervisor leaves a SOCK_SEQPACKET descriptor, its number in SM_MCP_FD. Packets are at most
 * 512 bytes, the first byte tells the kind: to mcp:    'R' ready   'T' tick (at least every quarter
 * of the watchdog time)   'S'text status line from mcp:  'H' reload configuration   'L' +
 * descriptor: the log file, becomes 1 and 2 'F'name + descriptor: an opened file (open_files)
 * 'A'name + descriptor: a listening socket when no pass_fd_socket is configured The ticks come
 * every SM_MCP_TICK_MS milliseconds. When the descriptor closes, the supervisor is gone, and the
 * program ends as by TERM. A program started by hand has none of it: then stderr is the log (USR1
 * opens the file anew) and TERM ends it.
 */
#ifndef SM_PROC_H
#define SM_PROC_H

#include <sys/types.h>

#include "libsm/conf.h"
#include "libsm/loop.h"
#include "libsm/msg.h"

#define SM_MCP_FD_ENV   "SM_MCP_FD"
#define SM_MCP_TICK_ENV "SM_MCP_TICK_MS"
#define SM_MCP_PACKET   512 /* bytes at the most */
/* The path on which a program with pass_fd_socket waits for its listeners: with `.ID` when it has
 * several processes. */
#define SM_MCP_PASS_FD_ENV "SM_MCP_PASS_FD"
enum {
	SM_EXIT_OK = 0,
	SM_EXIT_USAGE = 64,
	SM_EXIT_SOFTWARE = 70,
	SM_EXIT_OSERR = 71,
	SM_EXIT_TEMP = 75,
	SM_EXIT_CONFIG = 78
};

struct sm_proc {
	/* The component says: */
	const char *name; /* "smtps": section keyword, log ident */
	enum sm_role role;
	const struct sm_opt *opts; /* of its section */
	size_t conf_size;          /* of its configuration struct */
	/* What the table cannot say: 0 or an error with diag. NULL: nothing. */
	int (*check)(const void *conf);
	const char *short_opts; /* getopt string of its own short options, may be NULL */
	/* 0 or an error with diag. Sets something in p->conf, by sm_conf_set or sm_conf_add: a
	 * reload calls it again, for a fresh p->conf. */
	int (*short_opt)(struct sm_proc *p, int opt, const char *arg);
	const char *usage; /* lines for the short options */
	/*
	 * A configuration was read again without an error (HUP, or mcp says so): open anew what
	 * lives outside of it, such as maps and certificates. `new_conf` is p->conf itself when
	 * nothing in it changed; else p->conf is still the former one during the call and becomes
	 * new_conf after it. Options that take effect only at a start have their former values.
	 * Former configurations stay valid until the end, for sessions that point into them. NULL:
	 * none.
	 */
	void (*on_reload)(struct sm_proc *p, const void *new_conf);
	/* Asked to end: drain, then sm_loop_stop(0). NULL: stop at once. */
	void (*on_term)(struct sm_proc *p);
	/* An opened file or a listener came; owns fd. NULL: none expected. */
	void (*on_file)(struct sm_proc *p, const char *name, int fd);
	/* sm_proc_start fills: */
	void *conf;                   /* conf_size bytes, bound */
	struct sm_conf_global global; /* hostname: configured, else the system's; never empty */
	struct sm_conf_worker worker; /* log_level and log */
	struct sm_str section;        /* -N */
	int index;                    /* -i, the process index, 0..254; 0 */
	const char *conf_path;        /* -f, NULL: defaults only */
	struct sm_arena arena;        /* strings of the configuration */
	int mcp_fd;                   /* -1: none */
	bool hostname_set;            /* in the configuration */
	bool abandoned;               /* at on_term: mcp is gone, nobody starts again what ends */
	/* For proc*.c alone: */
	int argc;
	char **argv;
};
/*
 * Options -f FILE -N NAME -i ID -h -V.. and the component's own, in order; configuration; log;
 * loop; signals TERM INT HUP USR1 USR2 (coroutine dump), PIPE ignored; fault points. Gives
 * SM_EXIT_OK to go on (then *done is false), or the exit status when all is said (-h, -V, errors:
 * one clear line). Call it before rights are dropped: it may ask the name service for the host's
 * name. The directory of the configuration must stay readable after that (not only the file: an
 * editor may put a new one in its place).
 */
int sm_proc_start(struct sm_proc *p, int argc, char **argv, bool *done) SM_MUST_CHECK;
struct sm_uids {
	size_t count;
	uid_t v[16];
};
/*
 * Add to `u` the users that the configuration gives to the sections of another component ("qmgr"):
 * whom to expect at the other end of a socket. None when the sections name no user, as in a site
 * that runs as one. Asks NSS: before rights are dropped.
 */
void sm_proc_users(const struct sm_proc *p, const char *component, struct sm_uids *u);
/* Before the loop runs: take what mcp has sent already (on_file). */
void sm_proc_take_files(struct sm_proc *p);
/* Listening, connected, ready to serve: tells mcp (or, by hand, logs it). */
void sm_proc_ready(struct sm_proc *p);
void sm_proc_status(struct sm_proc *p, const char *fmt, ...) SM_PRINTF(2, 3);
/* Flush the log, free for leak checkers, give `status`. */
int sm_proc_end(struct sm_proc *p, int status);

/* This host's name as the system knows it; never empty, never waits long. Before the first thread.
 */
void sm_proc_hostname(char *out, size_t size);

/* "smx 0.1.0", and the libraries compiled with and, where this process links them, running; build
 * options. */
#define SM_VERSION_TEXT "smx " PACKAGE_VERSION
struct sm_buf;
void sm_proc_versions(struct sm_buf *b);
void sm_proc_build(struct sm_buf *b);

#endif
