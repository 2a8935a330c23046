/*
 * The command line, as mailer lines have it that were written for another exploder. What smxfeed
 * can tell smx of one mail, or do itself, it does; what is the affair of a configuration is refused
 * by name, with the place where smx has it: an option that is silently without effect would be
 * found out much later. Pure, but for getopt's variables.
 */
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "libsm/err.h"
#include "misc/smxfeed.h"

const char sf_usage[] = "usage: smxfeed [-C file] [-L socket] [-c name] [-i id | -I id | -E] [-s "
			"size] [-t total=time]\n"
			"               [-l facility | -l stderr] [-d flags] [-u]\n"
			"       smxfeed -h | -V\n"
			"smxfeed(8) tells the options\n";

#define RCPTS "smtp_max_rcpts_per_transaction of smtpc in section qmgr"
#define VERP  "bounces with the recipient in the sender are made for aliases: smar(8)"

static const struct {
	char letter;
	const char *where;
} elsewhere[] = {
    {'1', "recipients of one next hop share a transaction; how many: " RCPTS},
    {'2', "domains of one next hop share a transaction; one with its own line in mailertable of "
          "section smar may have its own"},
    {'5', "hosts that cannot be reached are the affair of mailertable of section smar"},
    {'A', "smar asks for MX, A and AAAA, never for ANY"},
    {'a', "see own_names of section smar"},
    {'b', "smtpc leaves the buffers of sockets to the kernel"},
    {'F', VERP},
    {'g', "see address_family and mailertable of section smar"},
    {'M', "see mailertable of section smar"},
    {'m', "a host for the case that others are away: mailertable of section smar"},
    {'N', "see address_family of section smar"},
    {'n', "see max_connections of smtpc in section qmgr"},
    {'o', "see source_address of section smtpc"},
    {'p', "which port connections come from is the affair of the kernel"},
    {'q', "see max_queries of section smar"},
    {'R', "see " RCPTS},
    {'r', "see " RCPTS},
    {'S', VERP},
};

static const struct {
	const char *name;
	int facility;
} facilities[] = {
    {"auth", LOG_AUTH},     {"cron", LOG_CRON},     {"daemon", LOG_DAEMON}, {"mail", LOG_MAIL},
    {"news", LOG_NEWS},     {"syslog", LOG_SYSLOG}, {"user", LOG_USER},     {"uucp", LOG_UUCP},
    {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},
    {"local4", LOG_LOCAL4}, {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},
};

static int wrong(int letter, const char *arg, const char *what)
{
	return sm_fail(SM_E_SYNTAX, "-%c%s%.60s: %s", letter, arg[0] != '\0' ? " " : "", arg, what);
}

static int refuse(int letter)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(elsewhere); i++)
		if (elsewhere[i].letter == letter)
			return wrong(letter, "", elsewhere[i].where);
	return wrong(letter, "", "no such option");
}

static int set_id(struct sf_opts *o, int letter, const char *arg)
{
	if (!sf_id_valid(sm_str(arg)))
		return wrong(letter, arg, "an id has 1 to 100 letters, digits, dots, - and _");
	o->id = arg;
	o->id_once = letter == 'i';
	return 0;
}

/* category=time */
static int set_time(struct sf_opts *o, const char *arg)
{
	struct sm_str value, category = sm_str_split(sm_str(arg), '=', &value);

	if (!sm_str_caseeq(category, SM_STR("total")))
		return wrong('t', arg, "only total is told here; see timeouts of section smtpc");
	if (value.p == NULL || sm_conf_time(value, false, &o->total_ms) != 0 ||
	    o->total_ms < 1000 || o->total_ms > (int64_t)86400 * 1000)
		return wrong('t', arg, "a time from 1s to 24h");
	return 0;
}

static int set_size(struct sf_opts *o, const char *arg)
{
	if (sm_conf_size(sm_str(arg), false, &o->max_bytes) != 0 || o->max_bytes < 1)
		return wrong('s', arg, "a size in bytes");
	return 0;
}

static int set_facility(struct sf_opts *o, const char *arg)
{
	o->to_stderr = strcmp(arg, "stderr") == 0;
	if (o->to_stderr)
		return 0;
	for (size_t i = 0; i < SM_ARRAY_SIZE(facilities); i++) {
		if (strcmp(arg, facilities[i].name) == 0) {
			o->facility = facilities[i].facility;
			return 0;
		}
	}
	return wrong('l', arg, "a facility of syslog, or stderr");
}

static int set_debug(struct sf_opts *o, const char *arg)
{
	for (const char *p = arg; *p != '\0'; p++) {
		if (*p == 'D' || *p == 'Q')
			return wrong('d', arg, "where mail would go tells: smarctl(8)");
		if (strchr("Al", *p) == NULL)
			return wrong('d', arg,
			             "here are the dialogues, l; what else happens is told by the "
			             "logs of smar, qmgr and smtpc");
	}
	o->dialogue = true;
	return 0;
}

static int set(struct sf_opts *o, int letter, const char *arg)
{
	switch (letter) {
	case 'C':
		o->conf = arg;
		return 0;
	case 'c':
		o->name = arg;
		return 0;
	case 'd':
		return set_debug(o, arg);
	case 'E':
		o->id_from_header = true;
		return 0;
	case 'h':
		o->mode = SF_HELP;
		return 0;
	case 'I':
	case 'i':
		return set_id(o, letter, arg);
	case 'L':
		o->socket = arg;
		return 0;
	case 'l':
		return set_facility(o, arg);
	case 's':
		return set_size(o, arg);
	case 't':
		return set_time(o, arg);
	case 'u': /* smtpc keeps connections anyway */
		return 0;
	case 'V':
		o->mode = SF_VERSION;
		return 0;
	default:
		return refuse(letter);
	}
}

int sf_opts(struct sf_opts *o, int argc, char **argv)
{
	int letter, rc = 0;

	if (argc < 1)
		return sm_fail(SM_E_SYNTAX, "no name of the program");
	*o = (struct sf_opts){.facility = LOG_LOCAL5};
	opterr = 0;
	optind = 0;
	while (rc == 0 && (letter = getopt(argc, argv,
	                                   "+:125Aa:b:C:c:d:EFg:hI:i:L:l:M:m:N:n:o:p:q:R:r:S:s:t:"
	                                   "uVxyz")) != -1) {
		if (letter == ':' || letter == '?')
			rc = sm_fail(SM_E_SYNTAX, "-%c: %s", optopt,
			             letter == ':' ? "needs a value" : "no such option");
		else
			rc = set(o, letter, optarg);
	}
	if (rc == 0 && optind < argc)
		rc = sm_fail(SM_E_SYNTAX, "%.60s: no arguments are wanted here", argv[optind]);
	return rc;
}
