/*
 * The options that the supervisor reads in each section: one table, the checks that a table cannot
 * express, and the split of `arguments`. No state; any thread.
 */
#include "libsm/conf_mcp.h"

#include "libsm/net.h"

#define LISTEN(m)  offsetof(struct sm_conf_listen, m)
#define SERVICE(m) offsetof(struct sm_conf_service, m)

static const struct sm_word start_words[] = {
    {"wait", SM_START_WAIT, "run the program; it has no socket from mcp"},
    {"nostartaccept", SM_START_NOSTARTACCEPT,
     "mcp accepts and starts one program for each connection, which is its standard input and "
     "output"},
    {"accept", SM_START_ACCEPT,
     "the program gets the listening socket as descriptor 0 and accepts itself"},
    {"pass", SM_START_PASS, "the program gets the listening sockets over pass_fd_socket"},
    {0},
};

static const struct sm_word listen_words[] = {
    {"inet", SM_LISTEN_INET, "IPv4: port, address"},
    {"inet6", SM_LISTEN_INET6, "IPv6 only: port, address"},
    {"unix", SM_LISTEN_UNIX, "Unix domain: path, umask, user, group"},
    {0},
};

/* clang-format off */
static const struct sm_opt listen_opts[] = {
    {.name = "type", .type = SM_OPT_ENUM, .offset = LISTEN(type), .def = "inet",
     .words = listen_words, .help = "kind of socket"},
    {.name = "address", .type = SM_OPT_STR, .offset = LISTEN(address), .def = "", .max = 64,
     .help = "IP address to listen on; none: all addresses of the type"},
    {.name = "port", .type = SM_OPT_INT, .offset = LISTEN(port), .def = "0", .min = 0,
     .max = 65535, .help = "TCP port", .man = "Required for inet and inet6."},
    {.name = "path", .type = SM_OPT_PATH, .offset = LISTEN(path), .def = "", .max = 107,
     .help = "path of the Unix socket", .man = "Required for unix. A stale socket is replaced."},
    {.name = "umask", .type = SM_OPT_INT, .offset = LISTEN(umask), .def = "0007", .min = 0,
     .max = 0777, .help = "umask of the Unix socket (write it in octal, with a leading 0)"},
    {.name = "user", .type = SM_OPT_STR, .offset = LISTEN(user), .def = "", .max = 64,
     .help = "owner of the Unix socket; none: the user of the service"},
    {.name = "group", .type = SM_OPT_STR, .offset = LISTEN(group), .def = "", .max = 64,
     .help = "group of the Unix socket; none: the group of the service"},
    {.name = "backlog", .type = SM_OPT_INT, .offset = LISTEN(backlog), .def = "1024", .min = 1,
     .max = 65535, .unit = "connections", .help = "connections that may wait to be accepted"},
    {.name = "name", .type = SM_OPT_STR, .offset = LISTEN(name), .def = "", .max = 200,
     .help = "text handed to the program together with the socket; none: made from the address"},
    SM_OPT_END,
};
/* clang-format on */

/* clang-format off */
const struct sm_opt sm_conf_mcp_opts[] = {
    {.name = "start_action", .type = SM_OPT_ENUM, .offset = SERVICE(start_action),
     .words = start_words, .required = true, .help = "how the program gets its socket"},
    {.name = "listen_socket", .type = SM_OPT_SECTIONS, .offset = SERVICE(listen_socket),
     .sub = listen_opts, .sub_size = sizeof(struct sm_conf_listen), .max = 64,
     .help = "a socket that mcp opens for the program; may be given several times",
     .man = "Needed for every start_action but wait."},
    {.name = "pass_fd_socket", .type = SM_OPT_PATH, .offset = SERVICE(pass_fd_socket), .def = "",
     .max = 100, .help = "Unix socket on which the program waits for the listening sockets",
     .man = "With pass_id and several processes, a dot and the id are appended. Without this "
            "option the sockets go over the connection that the program has to mcp anyway."},
    {.name = "user", .type = SM_OPT_STR, .offset = SERVICE(user), .def = "", .max = 64,
     .help = "user that the program runs as; none: the user of mcp"},
    {.name = "group", .type = SM_OPT_STR, .offset = SERVICE(group), .def = "", .max = 64,
     .help = "group that the program runs as; none: the primary group of the user"},
    {.name = "restart_dependencies", .type = SM_OPT_LIST, .offset = SERVICE(restart_dependencies),
     .def = "", .max = 32, .help = "services to restart when this one is restarted",
     .man = "Not transitive, and done once for each event. smx itself needs none: its programs "
            "reconnect."},
    {.name = "path", .type = SM_OPT_PATH, .offset = SERVICE(path), .max = 4000, .required = true,
     .help = "program to run"},
    {.name = "arguments", .type = SM_OPT_STR, .offset = SERVICE(arguments), .max = 8000,
     .required = true, .help = "its arguments, beginning with the program's name",
     .man = "Split at blanks; single or double quotes keep blanks together."},
    {.name = "pass_id", .type = SM_OPT_STR, .offset = SERVICE(pass_id), .def = "", .max = 32,
     .help = "option that is inserted as the first argument, followed by a number that no other "
             "process of the service has"},
    {.name = "min_processes", .type = SM_OPT_INT, .offset = SERVICE(min_processes), .def = "1",
     .min = 0, .max = 255, .unit = "processes", .help = "processes to keep running"},
    {.name = "max_processes", .type = SM_OPT_INT, .offset = SERVICE(max_processes), .def = "1",
     .min = 1, .max = 10000, .unit = "processes", .help = "most processes at a time"},
    {.name = "processes", .type = SM_OPT_INT, .offset = SERVICE(processes), .def = "0", .min = 0,
     .max = 255, .unit = "processes",
     .help = "so many processes: min_processes and max_processes; 0: as these say"},
    {.name = "max_start_rate", .type = SM_OPT_INT, .offset = SERVICE(max_start_rate), .def = "0",
     .min = 0, .max = 10000, .unit = "processes",
     .help = "nostartaccept: most processes started in a second; 0: no limit",
     .man = "Other connections wait to be accepted."},
    {.name = "max_run_time", .type = SM_OPT_TIME, .offset = SERVICE(max_run_time_ms), .def = "0s",
     .min = 0, .max = 604800000, .unit = "s",
     .help = "nostartaccept: end a process that runs for so long; 0: never",
     .man = "By the TERM signal and, after stop_timeout, the KILL signal, for all that it started. "
            "One that hangs would keep one of max_processes for ever."},
    {.name = "open_files", .type = SM_OPT_LIST, .offset = SERVICE(open_files), .def = "",
     .max = 32,
     .help = "files that mcp opens for reading before it gives up its rights, and hands to the program",
     .man = "At start and again at each reload. For what only root may read, such as private keys."},
    {.name = "max_descriptors", .type = SM_OPT_INT, .offset = SERVICE(max_descriptors), .def = "0",
     .min = 0, .max = 1048576, .unit = "descriptors",
     .help = "limit of open descriptors for the program; 0: that of mcp"},
    {.name = "watchdog", .type = SM_OPT_TIME, .offset = SERVICE(watchdog_ms), .def = "60s",
     .min = 0, .max = 86400000, .unit = "s",
     .help = "kill and restart the program when it is silent for this time; 0: never",
     .man = "Counts from the first sign of life. A program that does not know mcp gives none and "
            "is not watched."},
    {.name = "start_timeout", .type = SM_OPT_TIME, .offset = SERVICE(start_timeout_ms),
     .def = "60s", .min = 1000, .max = 86400000, .unit = "s",
     .help = "time to become ready after the start, for programs that speak with mcp"},
    {.name = "stop_timeout", .type = SM_OPT_TIME, .offset = SERVICE(stop_timeout_ms), .def = "30s",
     .min = 0, .max = 3600000, .unit = "s",
     .help = "time to end after the TERM signal before the KILL signal"},
    {.name = "restart_min_delay", .type = SM_OPT_TIME, .offset = SERVICE(restart_min_delay_ms),
     .def = "100ms", .min = 0, .max = 3600000, .unit = "s",
     .help = "wait before the first restart; doubled for each quick death"},
    {.name = "restart_max_delay", .type = SM_OPT_TIME, .offset = SERVICE(restart_max_delay_ms),
     .def = "1m", .min = 100, .max = 86400000, .unit = "s",
     .help = "longest wait before a restart"},
    {.name = "restart_good_time", .type = SM_OPT_TIME, .offset = SERVICE(restart_good_time_ms),
     .def = "1m", .min = 1000, .max = 86400000, .unit = "s",
     .help = "a program that ran this long did not die quickly"},
    {.name = "restart_limit", .type = SM_OPT_INT, .offset = SERVICE(restart_limit), .def = "0",
     .min = 0, .max = 10000, .unit = "deaths",
     .help = "quick deaths in a row after which the service is given up; 0: never"},
    SM_OPT_END,
};
/* clang-format on */

static int check_listen(const struct sm_conf_file *f, const struct sm_conf_listen *l)
{
	const char *path = f->path;
	int line = l->where.line;
	struct sm_sa sa;

	if (l->type == SM_LISTEN_UNIX) {
		if (sm_str_empty(l->path))
			return sm_fail(SM_E_SYNTAX,
			               "%s:%d: listen_socket of type unix needs a path", path,
			               line);
		if (!sm_str_empty(l->address) || l->port != 0)
			return sm_fail(
			    SM_E_SYNTAX,
			    "%s:%d: listen_socket of type unix has neither address nor port", path,
			    line);
		return 0;
	}
	if (l->port == 0)
		return sm_fail(SM_E_SYNTAX, "%s:%d: listen_socket needs a port", path, line);
	if (!sm_str_empty(l->path))
		return sm_fail(SM_E_SYNTAX,
		               "%s:%d: listen_socket with a path must have type = unix", path,
		               line);
	if (sm_str_empty(l->address))
		return 0;
	if (sm_sa_ip(&sa, l->address, (uint16_t)l->port) != 0)
		return sm_fail(SM_E_SYNTAX, "%s:%d: \"" SM_STR_FMT "\" is no IP address", path,
		               line, SM_STR_ARG(l->address));
	if ((sa.u.sa.sa_family == AF_INET6) != (l->type == SM_LISTEN_INET6))
		return sm_fail(SM_E_SYNTAX,
		               "%s:%d: address " SM_STR_FMT " does not go with type = %s", path,
		               line, SM_STR_ARG(l->address), listen_words[l->type].word);
	return 0;
}

void sm_conf_mcp_settle(struct sm_conf_service *s)
{
	if (s->processes > 0)
		s->min_processes = s->max_processes = s->processes;
}

int sm_conf_mcp_check(const struct sm_conf_file *f, const struct sm_conf_node *section,
                      const struct sm_conf_service *s)
{
	const struct sm_conf_listen *l = s->listen_socket.v;
	char *argv[SM_CONF_ARGV_MAX];
	struct sm_arena a;
	int rc;

	for (size_t i = 0; i < s->listen_socket.count; i++)
		if ((rc = check_listen(f, &l[i])) != 0)
			return rc;
	if (s->start_action != SM_START_WAIT && s->listen_socket.count == 0)
		return sm_fail(SM_E_SYNTAX,
		               "%s:%d: start_action other than wait needs a listen_socket", f->path,
		               section->line);
	if (s->start_action == SM_START_ACCEPT && s->listen_socket.count > 1)
		return sm_fail(SM_E_SYNTAX,
		               "%s:%d: start_action accept can have only one listen_socket",
		               f->path, section->line);
	if (!sm_str_empty(s->pass_fd_socket) && s->start_action != SM_START_PASS)
		return sm_fail(SM_E_SYNTAX,
		               "%s:%d: pass_fd_socket goes with start_action = pass only", f->path,
		               section->line);
	if (s->start_action != SM_START_NOSTARTACCEPT && s->min_processes > s->max_processes)
		return sm_fail(SM_E_RANGE, "%s:%d: min_processes %lld is above max_processes %lld",
		               f->path, section->line, (long long)s->min_processes,
		               (long long)s->max_processes);
	if (s->start_action != SM_START_NOSTARTACCEPT &&
	    (s->max_start_rate > 0 || s->max_run_time_ms > 0))
		return sm_fail(SM_E_SYNTAX,
		               "%s:%d: max_start_rate and max_run_time go with start_action = "
		               "nostartaccept only",
		               f->path, section->line);
	if (s->restart_min_delay_ms > s->restart_max_delay_ms)
		return sm_fail(SM_E_RANGE, "%s:%d: restart_min_delay is above restart_max_delay",
		               f->path, section->line);
	sm_arena_init(&a, "arguments", 1024, 65536);
	rc = sm_conf_mcp_argv(s->arguments, &a, argv);
	sm_arena_fini(&a);
	return rc < 0 ? sm_fail_in(rc, "%s:%d: arguments", f->path, section->line) : 0;
}

int sm_conf_mcp_argv(struct sm_str arguments, struct sm_arena *a, char *argv[SM_CONF_ARGV_MAX])
{
	char *out = sm_arena_must(a, arguments.n + 1);
	size_t i = 0;
	int argc = 0;

	for (;;) {
		while (i < arguments.n &&
		       (arguments.p[i] == ' ' || arguments.p[i] == '\t' || arguments.p[i] == '\n'))
			i++;
		if (i == arguments.n)
			break;
		if (argc == SM_CONF_ARGV_MAX - 1)
			return sm_fail(SM_E_TOOBIG, "more than %d words", SM_CONF_ARGV_MAX - 1);
		argv[argc++] = out;
		/* What is written is never longer than what was read, the NUL taking the place of
		 * the blank. */
		for (char quote = 0; i < arguments.n; i++) {
			char c = arguments.p[i];
			if (c == '\0')
				return sm_fail(SM_E_SYNTAX, "a word has a NUL in it");
			if (quote == 0 && (c == ' ' || c == '\t' || c == '\n'))
				break;
			if (c == quote) {
				quote = 0;
			} else if (quote == 0 && (c == '"' || c == '\'')) {
				quote = c;
			} else {
				*out++ = c;
			}
			if (i + 1 == arguments.n && quote != 0)
				return sm_fail(SM_E_SYNTAX, "missing %c at the end", quote);
		}
		*out++ = '\0';
	}
	if (argc == 0)
		return sm_fail(SM_E_SYNTAX, "must begin with the name of the program");
	argv[argc] = NULL;
	return argc;
}
