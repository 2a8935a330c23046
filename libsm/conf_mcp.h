/*
 * What a section of the configuration tells the supervisor about the program it runs. mcp binds it;
 * the programs only know the names, so that one section can hold both their options and these; the
 * checker and the manual page use the same table.
 *
 * How mcp binds: for each section of the root that has `path` or `start_action`
 *     sm_conf_bind(f, node, sm_conf_mcp_opts, sm_conf_any, &service, arena)
 */
#ifndef SM_CONF_MCP_H
#define SM_CONF_MCP_H

#include "libsm/conf.h"

enum sm_start_action {
	SM_START_WAIT,          /* just run it, no socket */
	SM_START_NOSTARTACCEPT, /* mcp accepts, one process for each connection, which is its 0 and
	                           1 */
	SM_START_ACCEPT, /* the program gets the listening socket as descriptor 0 and accepts */
	SM_START_PASS    /* the program gets the listening sockets by SCM_RIGHTS */
};
enum sm_listen_type { SM_LISTEN_INET, SM_LISTEN_INET6, SM_LISTEN_UNIX };

/* One listen_socket { }. Which options go with which type is checked by sm_conf_mcp_check. */
struct sm_conf_listen {
	struct sm_conf_where where;
	int type;              /* enum sm_listen_type */
	struct sm_str address; /* empty: all of the type */
	int64_t port;          /* 0: none */
	struct sm_str path;    /* unix */
	int64_t umask;         /* unix: mode is 0777 & ~umask */
	struct sm_str user;    /* unix: owner; empty: that of the service */
	struct sm_str group;
	int64_t backlog;
	struct sm_str name; /* handed to the program with the descriptor; empty: derive one from the
	                       address */
};

/* One service. Strings live in the arena that was bound with. */
struct sm_conf_service {
	int start_action;                      /* enum sm_start_action */
	struct sm_conf_sections listen_socket; /* struct sm_conf_listen */
	struct sm_str pass_fd_socket;          /* empty: none */
	struct sm_str user;                    /* empty: mcp's own */
	struct sm_str group;                   /* empty: the user's */
	struct sm_conf_list restart_dependencies;
	struct sm_str path;
	struct sm_str arguments; /* split by sm_conf_mcp_argv */
	struct sm_str pass_id;   /* empty: none */
	int64_t min_processes, max_processes, processes;
	int64_t max_start_rate;         /* nostartaccept: per second; 0: no limit */
	int64_t max_run_time_ms;        /* nostartaccept: of one program; 0: no limit */
	struct sm_conf_list open_files; /* opened by mcp, handed over as descriptors */
	int64_t max_descriptors;        /* RLIMIT_NOFILE of the program; 0: as mcp has it */
	int64_t watchdog_ms;      /* 0: off; counts from the first packet that the program sends */
	int64_t start_timeout_ms; /* from start to ready, for programs that speak with mcp */
	int64_t stop_timeout_ms;  /* from TERM to KILL */
	int64_t restart_min_delay_ms; /* back-off: doubles with each quick death ... */
	int64_t restart_max_delay_ms; /* ... up to this */
	int64_t restart_good_time_ms; /* a life this long resets the back-off */
	int64_t restart_limit; /* quick deaths in a row before the service is given up; 0: never */
};

/* After binding: what options say together. */
void sm_conf_mcp_settle(struct sm_conf_service *s);
/*
 * What a table cannot say: start_action other than wait needs a listen_socket, pass needs
 * pass_fd_socket or none, inet needs a port, unix a path, addresses must parse, min <= max,
 * arguments must split. SM_E_SYNTAX, SM_E_RANGE with "file:line: ..." in the diag.
 */
int sm_conf_mcp_check(const struct sm_conf_file *f, const struct sm_conf_node *section,
                      const struct sm_conf_service *s) SM_MUST_CHECK;

/*
 * Split `arguments` at blanks; '...' and "..." keep blanks together (a quote within the string is
 * written \" in the file). At most SM_CONF_ARGV_MAX - 1 words; argv ends with NULL; the words live
 * in the arena. Gives the count (at least 1), or SM_E_SYNTAX, SM_E_TOOBIG.
 */
#define SM_CONF_ARGV_MAX 64
int sm_conf_mcp_argv(struct sm_str arguments, struct sm_arena *a,
                     char *argv[SM_CONF_ARGV_MAX]) SM_MUST_CHECK;

#endif
