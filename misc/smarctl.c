/*
 * smarctl: asks smar what it would do. Makes requests of the command line; what comes back is shown
 * for people or, with -j, as it comes.
 */
#include "misc/smarctl.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libsm/arena.h"

static struct ac ac = {.socket = AC_SOCKET, .conf_path = AC_CONF};
static const char *as, *tag, *rcpts, *size;
static bool again;
static bool help_wanted;
static struct sm_arena option_texts; /* of all questions */
static json_t *seen_lines;           /* of this question */

static int complain(const char *fmt, ...) SM_PRINTF(1, 2);
static int complain(const char *fmt, ...)
{
	va_list ap;

	fputs("smarctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return QC_USAGE;
}

/* ---- asking ---- */

struct sm_str ac_option(const char *name, const char *value)
{
	size_t n = strlen(name) + strlen(value) + 4;
	char *text = sm_arena_must(&option_texts, n);

	snprintf(text, n, "--%s=%s", name, value);
	return sm_str(text);
}

struct looking {
	void (*look)(void *arg, const json_t *line);
	void *arg;
};

/* A decision looks some things up several times; people want to see it once for each question. */
static bool seen_before(const json_t *o, struct sm_str json)
{
	const char *type = qc_str(o, "type");
	char *text;
	bool seen;

	if (strcmp(type, "lookup") != 0)
		return false;
	text = strndup(json.p, json.n);
	if (text == NULL)
		abort();
	seen = json_object_get(seen_lines, text) != NULL;
	json_object_set_new(seen_lines, text, json_true());
	free(text);
	return seen;
}

static void on_line(void *arg, struct sm_str json)
{
	const struct looking *l = arg;
	json_t *o = json_loadb(json.p, json.n, 0, NULL);

	if (o != NULL && l->look != NULL)
		l->look(l->arg, o);
	if (ac.json) {
		fwrite(json.p, 1, json.n, stdout);
		putchar('\n');
	} else if (o != NULL && !seen_before(o, json)) {
		ac_print(&ac.out, o);
		fwrite(sm_buf_c(&ac.out), 1, ac.out.len, stdout);
		sm_buf_reset(&ac.out);
	}
	json_decref(o);
}

int ac_ask(struct ac *a, const char *verb, const struct sm_str *words, size_t count,
           void (*look)(void *arg, const json_t *line), void *arg)
{
	struct looking l = {look, arg};
	struct qc_ask ask = {.program = "smarctl",
	                     .server = "smar",
	                     .role = SM_ROLE_SMAR,
	                     .socket = a->socket,
	                     .verb = verb,
	                     .count = count,
	                     .line = on_line,
	                     .arg = &l};

	sm_assert(count <= SM_ARRAY_SIZE(ask.words));
	json_decref(seen_lines);
	seen_lines = json_object();
	for (size_t i = 0; i < count; i++)
		ask.words[i] = words[i];
	return qc_ask(&ask);
}

/* ---- verbs ---- */

enum { FROM = 1, DIALOGUE = 2, AS = 4, MAIL = 8 };

static const struct verb {
	const char *name, *words, *help;
	size_t least, most;
	unsigned options;
} verbs[] = {
    {"route", "ADDRESS [--from ADDRESS] [--recipients NUMBER] [--size BYTES] [--again]",
     "where mail for a recipient goes, or what it is an alias of", 1, 1, FROM | MAIL},
    {"check",
     "--client IP --from ADDRESS --to ADDRESS [--to ...] [--client-name NAME] [--helo NAME]\n"
     "        [--auth MECHANISM] [--listener NAME] [--flags WORDS] [--conf FILE]",
     "what a client would be told, stage by stage", 0, 0, FROM | DIALOGUE},
    {"lookup", "MAP KEY [--as domain|ip|address|word] [--tag TAG:]",
     "what a map says, with each key that is tried", 2, 2, AS},
    {"cert", "ISSUER SUBJECT", "what the access map says of a client's certificate", 2, 2, 0},
    {"dns", "NAME | IP [MX | A | AAAA | PTR]", "what DNS says, as smar believes it", 1, 2, 0},
    {"status", "", "figures of smar, and its maps", 0, 0, 0},
    {"reload", "", "open maps and mailertable anew", 0, 0, 0},
};

static const struct verb *verb_of(const char *name)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static void help(FILE *f)
{
	fputs("usage: smarctl [-j] [-s SOCKET] VERB [WORD ...]\n", f);
	for (size_t i = 0; i < SM_ARRAY_SIZE(verbs); i++)
		fprintf(f, "  %s%s%s\n        %s\n", verbs[i].name, *verbs[i].words ? " " : "",
		        verbs[i].words, verbs[i].help);
	fputs("  -j, --json         lines of JSON\n"
	      "  -s, --socket PATH  control socket (default " AC_SOCKET ")\n"
	      "Exit status: 0 yes, 1 no, 75 it cannot be told now, 64 wrong usage, 69 smar is "
	      "away.\n",
	      f);
}

/* ---- the command line ---- */

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {"socket", required_argument, NULL, 's'},
    {"conf", required_argument, NULL, 'f'},
    {"from", required_argument, NULL, 'F'},
    {"to", required_argument, NULL, 'T'},
    {"client", required_argument, NULL, 'c'},
    {"client-name", required_argument, NULL, 'n'},
    {"helo", required_argument, NULL, 'e'},
    {"listener", required_argument, NULL, 'l'},
    {"flags", required_argument, NULL, 'g'},
    {"as", required_argument, NULL, 'a'},
    {"tag", required_argument, NULL, 't'},
    {"auth", required_argument, NULL, 'u'},
    {"recipients", required_argument, NULL, 'r'},
    {"size", required_argument, NULL, 'z'},
    {"again", no_argument, NULL, 'A'},
    {NULL, 0, NULL, 0},
};

/* Where a value goes, and which verbs want it. */
static const char **place_of(int c, unsigned *needs)
{
	*needs = DIALOGUE;
	switch (c) {
	case 's':
		*needs = 0;
		return &ac.socket;
	case 'f': /* scripts may always give it */
		*needs = 0;
		return &ac.conf_path;
	case 'F':
		*needs = FROM;
		return &ac.from;
	case 'a':
		*needs = AS;
		return &as;
	case 't':
		*needs = AS;
		return &tag;
	case 'r':
		*needs = MAIL;
		return &rcpts;
	case 'z':
		*needs = MAIL;
		return &size;
	case 'c':
		return &ac.client;
	case 'n':
		return &ac.client_name;
	case 'e':
		return &ac.helo;
	case 'u':
		return &ac.auth;
	case 'l':
		return &ac.listener;
	case 'g':
		return &ac.flags;
	default:
		return NULL;
	}
}

static int take_option(int c, unsigned *given)
{
	unsigned needs;
	const char **place = place_of(c, &needs);

	if (c == 'j') {
		ac.json = true;
	} else if (c == 'h') {
		help_wanted = true;
	} else if (c == 'A') {
		again = true;
		*given |= MAIL;
	} else if (c == 'T') {
		if (ac.to_count == AC_RCPTS_MAX)
			return complain("at most %d recipients", AC_RCPTS_MAX);
		ac.to[ac.to_count++] = optarg;
		*given |= DIALOGUE;
	} else if (place != NULL) {
		*place = optarg;
		*given |= needs;
	} else {
		return QC_USAGE;
	}
	return QC_OK;
}

static int usage(const struct verb *v)
{
	return complain("usage: smarctl %s%s%s", v->name, *v->words ? " " : "", v->words);
}

static int plain(const struct verb *v, char **argv, size_t count)
{
	struct sm_str words[8];
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (strncmp(argv[i], "--", 2) == 0)
			return complain("%s: a word cannot begin like that", argv[i]);
		words[n++] = sm_str(argv[i]);
	}
	if (ac.from != NULL)
		words[n++] = ac_option("from", ac.from);
	if (as != NULL)
		words[n++] = ac_option("as", as);
	if (tag != NULL)
		words[n++] = ac_option("tag", tag);
	if (rcpts != NULL)
		words[n++] = ac_option("recipients", rcpts);
	if (size != NULL)
		words[n++] = ac_option("size", size);
	if (again)
		words[n++] = ac_option("again", "1");
	return ac_ask(&ac, v->name, words, n, NULL, NULL);
}

int main(int argc, char **argv)
{
	const struct verb *v;
	unsigned given = 0;
	size_t count;
	int c, status = QC_OK;

	while (status == QC_OK && (c = getopt_long(argc, argv, "jhs:f:", options, NULL)) != -1)
		status = take_option(c, &given);
	if (status != QC_OK)
		return status;
	if (help_wanted || (optind < argc && strcmp(argv[optind], "help") == 0)) {
		help(stdout);
		return QC_OK;
	}
	if (optind == argc)
		return complain("usage: smarctl [OPTION ...] VERB [WORD ...]; see smarctl --help");
	v = verb_of(argv[optind]);
	if (v == NULL)
		return complain("there is no verb %s; see smarctl --help", argv[optind]);
	count = (size_t)(argc - optind - 1);
	if (count < v->least || count > v->most || (given & ~v->options) != 0)
		return usage(v);
	sm_arena_init(&option_texts, "options", 4096, SIZE_MAX / 8);
	sm_buf_init(&ac.out, 64 * 1024 * 1024);
	if (v->options & DIALOGUE)
		status = ac.client == NULL || ac.from == NULL || ac.to_count == 0 ? usage(v)
		                                                                  : ac_check(&ac);
	else
		status = plain(v, argv + optind + 1, count);
	sm_buf_fini(&ac.out);
	json_decref(seen_lines);
	sm_arena_fini(&option_texts);
	return fflush(stdout) == 0 && !ferror(stdout) ? status : QC_OSERR;
}
