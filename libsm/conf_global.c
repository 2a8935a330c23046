/*
 * The options that all components share: the global ones, and those that each has in its own
 * section. Tables and what tables cannot say.
 */
#include <syslog.h>

#include "libsm/conf.h"
#include "libsm/err.h"

#define GLOBAL(m) offsetof(struct sm_conf_global, m)
#define LOG(m)    offsetof(struct sm_conf_log, m)
#define WORKER(m) offsetof(struct sm_conf_worker, m)

const struct sm_opt sm_conf_any[] = {{.name = "*"}, SM_OPT_END};

const struct sm_opt sm_conf_common_opts[] = {
    {.name = "*", .sub = sm_conf_worker_opts},
    {.name = "*", .sub = sm_conf_mcp_opts},
    SM_OPT_END,
};

/* clang-format off */
const struct sm_opt sm_conf_global_opts[] = {
    {.name = "hostname", .type = SM_OPT_STR, .offset = GLOBAL(hostname), .def = "", .max = 253,
     .help = "fully qualified name of this host; none: ask the system",
     .man = "Used in greetings, trace headers and message identifiers. Set it when the system "
            "does not know its name with domain."},
    {.name = "CDB_base_directory", .type = SM_OPT_STR, .offset = GLOBAL(cdb_base_directory),
     .def = "", .max = 3900,
     .help = "where the contents of messages are: empty, or a directory with a slash at the end",
     .man = "The sixteen directories 0 to 9 and A to F are below it. Each of them may be a "
            "symbolic link to another disk."},
    {.name = "SMAR_socket", .type = SM_OPT_PATH, .offset = GLOBAL(smar_socket),
     .def = "qmsmar/smarsock", .min = 1, .max = 100, .help = "socket of smar, for smtps and qmgr"},
    {.name = "SMTPC_socket", .type = SM_OPT_PATH, .offset = GLOBAL(smtpc_socket),
     .def = "qmsmtpc/smtpcsock", .min = 1, .max = 100, .help = "socket of qmgr, for smtpc"},
    {.name = "SMTPS_socket", .type = SM_OPT_PATH, .offset = GLOBAL(smtps_socket),
     .def = "qmsmtps/smtpssock", .min = 1, .max = 100, .help = "socket of qmgr, for smtps"},
    SM_OPT_END,
};
/* clang-format on */

static const struct sm_word facility_words[] = {
    {"none", UINT32_MAX, "no syslog: the log is standard error, which mcp directs to a file"},
    {"daemon", LOG_DAEMON, NULL},
    {"mail", LOG_MAIL, NULL},
    {"auth", LOG_AUTH, NULL},
    {"authpriv", LOG_AUTHPRIV, NULL},
    {"user", LOG_USER, NULL},
    {"syslog", LOG_SYSLOG, NULL},
    {"news", LOG_NEWS, NULL},
    {"uucp", LOG_UUCP, NULL},
    {"local0", LOG_LOCAL0, NULL},
    {"local1", LOG_LOCAL1, NULL},
    {"local2", LOG_LOCAL2, NULL},
    {"local3", LOG_LOCAL3, NULL},
    {"local4", LOG_LOCAL4, NULL},
    {"local5", LOG_LOCAL5, NULL},
    {"local6", LOG_LOCAL6, NULL},
    {"local7", LOG_LOCAL7, NULL},
    {0},
};

static const struct sm_word log_words[] = {
    {"pid", SM_LOG_PID, "put the process id into each line"},
    {"perror", SM_LOG_PERROR, "write to standard error too"},
    {"cons", SM_LOG_CONS, "write to standard error what syslog does not take"},
    {"ndelay", 0, "open the connection at the start (always done)"},
    {0},
};

static const struct sm_word format_words[] = {
    {"kv", SM_LOG_KV, "key=value pairs"},
    {"json", SM_LOG_JSON, "one JSON object a line"},
    {0},
};

/* clang-format off */
const struct sm_opt sm_conf_log_opts[] = {
    {.name = "format", .type = SM_OPT_ENUM, .offset = LOG(format), .def = "kv",
     .words = format_words, .reload = true, .help = "how a line looks",
     .man = "Both say the same; values are escaped so that no client can forge a line or a pair."},
    {.name = "facility", .type = SM_OPT_ENUM, .offset = LOG(facility), .def = "none",
     .words = facility_words, .help = "facility of syslog(3)"},
    {.name = "ident", .type = SM_OPT_STR, .offset = LOG(ident), .def = "", .max = 48,
     .help = "name in front of each line in syslog; none: the program's name"},
    {.name = "options", .type = SM_OPT_FLAGS, .offset = LOG(options), .def = "pid",
     .words = log_words, .help = "options as of openlog(3)", .man = "Several in braces."},
    SM_OPT_END,
};
/* clang-format on */

/* clang-format off */
const struct sm_opt sm_conf_worker_opts[] = {
    {.name = "log_level", .type = SM_OPT_INT, .offset = WORKER(log_level), .def = "9", .min = 0,
     .max = 15, .reload = true,
     .help = "how much is logged: 0 errors only, 9 normal, 12 to 14 for testing",
     .man = "Errors are logged always, warnings from 3 on, notices from 6, information from 9, "
            "debugging from 13."},
    {.name = "log", .type = SM_OPT_SECTION, .offset = WORKER(log), .sub = sm_conf_log_opts,
     .help = "where the log goes"},
    SM_OPT_END,
};
/* clang-format on */

int sm_conf_global_check(const struct sm_conf_global *g, const char *where)
{
	if (!sm_str_empty(g->cdb_base_directory) &&
	    !sm_str_has_suffix(g->cdb_base_directory, SM_STR("/")))
		return sm_fail(SM_E_SYNTAX,
		               "%s: CDB_base_directory = " SM_STR_FMT " must end in a slash", where,
		               SM_STR_ARG(sm_str_head(g->cdb_base_directory, 100)));
	for (size_t i = 0; i < g->hostname.n; i++) {
		char c = g->hostname.p[i];
		if (!sm_isalnum(c) && c != '-' && c != '.')
			return sm_fail(SM_E_SYNTAX,
			               "%s: hostname = " SM_STR_FMT " is no domain name", where,
			               SM_STR_ARG(sm_str_head(g->hostname, 100)));
	}
	return 0;
}
