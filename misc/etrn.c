/*
 * etrn: asks a mail server for the mail that waits there (RFC 1985), from cron, or from the script
 * that brings a line up.
 *
 * Invariant: 0 is the end only if the server has said yes to each node. One thread.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "libsm/arena.h"
#include "libsm/err.h"
#include "libsm/loop.h"
#include "libsm/tls.h"
#include "misc/submit.h"

#define CA_FILE   "/etc/ssl/certs/ca-certificates.crt"
#define DELAY_MAX 3600

static const char usage[] =
    "usage: etrn [-qv] [-p PORT] [-n NAME] [-d SECONDS] [-s none|may|verify] [-C FILE] HOST NODE "
    "...\n"
    "  -p, --port PORT      port of the server (default 25)\n"
    "  -n, --name NAME      what we say we are (default: the name of this host)\n"
    "  -d, --delay SECONDS  if it cannot be reached, wait so long and try once more\n"
    "  -s, --tls LEVEL      none; may: if the server offers it (default); verify: always, and the\n"
    "                       certificate must be for HOST\n"
    "  -C, --ca FILE        certificates of CAs (PEM, default " CA_FILE ")\n"
    "  -q, --quiet          say only what went wrong\n"
    "  -v, --verbose        show all of the dialogue\n"
    "HOST: a name, an address, or the path of a Unix socket\n"
    "NODE: a domain, or @domain for all below it as well\n"
    "exit: 0 all are started, 64 usage, 65 a node is none, 69 the server does not do that, 75 not\n"
    "now, 76 it speaks no SMTP, 77 it does not let us\n";

static struct {
	const char *host, *port, *name, *ca;
	enum { NONE, MAY, VERIFY } tls;
	unsigned delay_s;
	bool quiet, verbose;
} me = {.port = "25", .ca = CA_FILE, .tls = MAY};

static int complain(int status, const char *what)
{
	fprintf(stderr, "etrn: %s: %s\n", me.host, what);
	return status;
}

/* ---- the server ---- */

static int status_of(int code)
{
	switch (code) {
	case 459:
		return EX_NOPERM;
	case 500:
	case 502:
	case 504:
		return EX_UNAVAILABLE;
	case 501:
		return EX_DATAERR;
	default:
		return code / 100 == 4 ? EX_TEMPFAIL : code / 100 == 5 ? EX_NOPERM : EX_PROTOCOL;
	}
}

static int status_of_error(const struct sb *s, int rc)
{
	if (rc == SM_E_DENIED && s != NULL)
		return status_of(sb_code(s));
	return rc == SM_E_PROTO || rc == SM_E_SYNTAX || rc == SM_E_TOOBIG ? EX_PROTOCOL
	                                                                  : EX_TEMPFAIL;
}

/* "HOST:PORT", or a path. */
static int place(char *to, size_t size)
{
	bool literal = strchr(me.host, ':') != NULL && me.host[0] != '[';
	int n;

	if (strchr(me.host, '/') != NULL)
		n = snprintf(to, size, "%s", me.host);
	else
		n = snprintf(to, size, literal ? "[%s]:%s" : "%s:%s", me.host, me.port);
	return n < (int)size ? 0 : sm_fail(SM_E_TOOBIG, "name is too long");
}

/* As it is: no name server is asked for more before the line is up. */
static const char *own_name(void)
{
	static char name[256];

	if (me.name != NULL)
		return me.name;
	if (gethostname(name, sizeof(name) - 1) == -1 || name[0] == '\0')
		return "localhost";
	return name;
}

static int open_session(struct sb **s)
{
	FILE *echo = me.verbose ? stdout : NULL;
	char to[300];
	int rc = place(to, sizeof(to));

	if (rc != 0)
		return rc;
	rc = sb_open_as(to, own_name(), echo, s);
	if (rc == 0 || *s != NULL || me.delay_s == 0)
		return rc;
	if (!me.quiet)
		printf("etrn: %s, again in %u s\n", sm_diag(), me.delay_s);
	(void)fflush(stdout);
	(void)sleep(me.delay_s);
	return sb_open_as(to, own_name(), echo, s);
}

/* ---- TLS ---- */

static int context(struct sm_tls_ctx **ctx)
{
	struct sm_tls_conf conf;
	struct sm_arena a;
	int rc;

	sm_arena_init(&a, "tls", 1024, 65536);
	sm_conf_defaults(sm_tls_client_opts, &conf, &a);
	if (me.tls == VERIFY)
		conf.ca_file = sm_str(me.ca);
	rc = sm_loop_init();
	if (rc == 0)
		rc = sm_tls_client_new(&conf, ctx);
	sm_arena_fini(&a);
	return rc;
}

static int secure(struct sb *s)
{
	struct sm_tls_ctx *ctx = NULL;
	int rc;

	if (me.tls == NONE || (me.tls == MAY && !sb_offers(s, SM_STR("STARTTLS"))))
		return 0;
	if (!sb_offers(s, SM_STR("STARTTLS")))
		return sm_fail(SM_E_TLS, "STARTTLS is not offered");
	rc = context(&ctx);
	if (rc == SM_E_NOTSUP && me.tls == MAY)
		return 0; /* built without it */
	if (rc == 0)
		rc = sb_starttls(s, ctx, me.host, me.tls == VERIFY);
	sm_tls_ctx_unref(&ctx); /* the connection has its own */
	/* Who does not want to now is asked in clear. */
	return rc == SM_E_DENIED && me.tls == MAY ? 0 : rc;
}

/* ---- asking ---- */

static int ask(struct sb *s, const char *node)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "ETRN %s", node), rc;

	if (n >= (int)sizeof(line) - 2 || strpbrk(node, " \t\r\n") != NULL || node[0] == '\0')
		return complain(EX_DATAERR, "a node is a domain, or @domain");
	rc = sb_command(s, line, 250);
	if (rc != 0 && rc != SM_E_DENIED)
		return complain(status_of_error(s, rc), sm_diag());
	if (!me.verbose && (rc != 0 || !me.quiet))
		fprintf(rc != 0 ? stderr : stdout, "%s%s: %d %s\n", rc != 0 ? "etrn: " : "", node,
		        sb_code(s), sb_text(s));
	return rc != 0 ? status_of(sb_code(s)) : EX_OK;
}

static int ask_all(struct sb *s, char **nodes)
{
	int status = EX_OK, rc = secure(s);

	if (rc != 0)
		return complain(status_of_error(s, rc), sm_diag());
	if (!sb_offers(s, SM_STR("ETRN")))
		return complain(EX_UNAVAILABLE, "ETRN is not offered to us");
	for (; *nodes != NULL; nodes++) {
		int one = ask(s, *nodes);

		/* Of several the first one that is worth coming back for. */
		if (status == EX_OK || (one == EX_TEMPFAIL && status != EX_TEMPFAIL))
			status = one;
		if (sb_code(s) == 421 || sb_code(s) == 0)
			break;
	}
	return status;
}

/* ---- options ---- */

static const struct option options[] = {
    {"port", required_argument, NULL, 'p'},
    {"name", required_argument, NULL, 'n'},
    {"delay", required_argument, NULL, 'd'},
    {"tls", required_argument, NULL, 's'},
    {"ca", required_argument, NULL, 'C'},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static bool take_level(const char *word)
{
	static const char *const levels[] = {[NONE] = "none", [MAY] = "may", [VERIFY] = "verify"};

	for (int i = NONE; i <= VERIFY; i++)
		if (strcmp(word, levels[i]) == 0) {
			me.tls = i;
			return true;
		}
	return false;
}

/* The index of the first word that is no option; 0: usage. */
static int read_options(int argc, char **argv)
{
	uint64_t n;
	int c;

	while ((c = getopt_long(argc, argv, "p:n:d:s:C:qvh", options, NULL)) != -1) {
		bool good = true;

		switch (c) {
		case 'p':
			me.port = optarg;
			good = sm_str_u64(sm_str(optarg), 10, 65535, &n) == 0 && n > 0;
			break;
		case 'n':
			me.name = optarg;
			good = optarg[0] != '\0' && strpbrk(optarg, " \t\r\n") == NULL;
			break;
		case 'd':
			good = sm_str_u64(sm_str(optarg), 10, DELAY_MAX, &n) == 0;
			me.delay_s = good ? (unsigned)n : 0;
			break;
		case 's':
			good = take_level(optarg);
			break;
		case 'C':
			me.ca = optarg;
			break;
		case 'q':
			me.quiet = true;
			break;
		case 'v':
			me.verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EX_OK);
		default:
			return 0;
		}
		if (!good) {
			fprintf(stderr, "etrn: \"%s\" is no value of this option\n", optarg);
			return 0;
		}
	}
	return argc - optind >= 2 ? optind : 0;
}

int main(int argc, char **argv)
{
	struct sb *s = NULL;
	int at = read_options(argc, argv), rc, status;

	if (at == 0) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	me.host = argv[at];
	rc = open_session(&s);
	status = rc == 0 ? ask_all(s, argv + at + 1) : complain(status_of_error(s, rc), sm_diag());
	sb_close(&s);
	return status;
}
