/*
 * The command line, as callers of sendmail have written it for decades. Options come first: an
 * address never becomes an option, whatever it begins with. What has an effect here has it; what
 * could only be meant for another mail system's inside is accepted; what would have to do something
 * that smx does not do is refused by name. Pure, but for getopt's variables.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/msg.h"
#include "libsm/smtp_cmd.h"
#include "misc/sendmail.h"

#define ENVID_MAX 100 /* RFC 3461 4.4 */

static int wrong(const char *option, const char *arg, const char *what)
{
	return sm_fail(SM_E_SYNTAX, "-%s%.60s: %s", option, arg, what);
}

static int set_mode(struct sl_opts *o, const char *arg)
{
	static const struct {
		char letter;
		enum sl_mode mode;
	} modes[] = {
	    {'m', SL_SEND}, {'s', SL_SMTP}, {'v', SL_VERIFY}, {'p', SL_QUEUE}, {'i', SL_ALIASES}};

	for (size_t i = 0; i < SM_ARRAY_SIZE(modes); i++) {
		if (arg[0] == modes[i].letter && arg[1] == '\0') {
			o->mode = modes[i].mode;
			return 0;
		}
	}
	if (strcmp(arg, "d") == 0 || strcmp(arg, "D") == 0)
		return wrong("b", arg, "smx is started by mcp(8)");
	return wrong("b", arg, "not supported: there are m, s, v, p and i");
}

static int set_errors(struct sl_opts *o, const char *arg)
{
	if (arg[0] == '\0' || arg[1] != '\0' || strchr("mpqwe", arg[0]) == NULL)
		return wrong("e", arg, "there are m, p, q, w and e");
	o->some_will_do = arg[0] == 'm' || arg[0] == 'e';
	o->quiet = arg[0] == 'q';
	return 0;
}

static bool is_true(struct sm_str value)
{
	return sm_str_empty(value) || strchr("TtYy1", value.p[0]) != NULL;
}

/* -oXvalue: the others are about a queue and mailers that are not here. */
static int set_short(struct sl_opts *o, const char *arg)
{
	if (arg[0] == 'i')
		o->ignore_dots = is_true(sm_str(arg + 1));
	if (arg[0] == 'e')
		return set_errors(o, arg + 1);
	return 0;
}

static int set_status(struct sl_opts *o, struct sm_str value, const char *arg)
{
	uint64_t n;

	if (sm_str_u64(value, 10, SL_CONFIG, &n) != 0 || n < SL_USAGE)
		return wrong("O ", arg, "a status is a number from 64 to 78");
	o->tempfail = (int)n;
	return 0;
}

static int set_long(struct sl_opts *o, const char *arg)
{
	struct sm_str value, name = sm_str_trim(sm_str_split(sm_str(arg), '=', &value));

	value = sm_str_trim(value);
	if (sm_str_caseeq(name, SM_STR("IgnoreDots")))
		o->ignore_dots = is_true(value);
	else if (sm_str_caseeq(name, SM_STR("ErrorMode")))
		return set_errors(o, value.p != NULL ? value.p : "");
	else if (sm_str_caseeq(name, SM_STR("TempfailStatus")))
		return set_status(o, value, arg);
	return 0;
}

static int set_notify(struct sl_opts *o, const char *arg)
{
	static const struct {
		struct sm_str word;
		uint8_t bit;
	} words[] = {{SM_STR("never"), SM_NOTIFY_NEVER},
	             {SM_STR("success"), SM_NOTIFY_SUCCESS},
	             {SM_STR("failure"), SM_NOTIFY_FAILURE},
	             {SM_STR("delay"), SM_NOTIFY_DELAY}};
	struct sm_str rest = sm_str(arg);

	o->notify = 0;
	do {
		struct sm_str word = sm_str_trim(sm_str_split(rest, ',', &rest));
		size_t i = 0;

		while (i < SM_ARRAY_SIZE(words) && !sm_str_caseeq(word, words[i].word))
			i++;
		if (i == SM_ARRAY_SIZE(words))
			return wrong("N ", arg, "there are never, success, failure and delay");
		o->notify |= words[i].bit;
	} while (rest.p != NULL);
	if ((o->notify & SM_NOTIFY_NEVER) && o->notify != SM_NOTIFY_NEVER)
		return wrong("N ", arg, "never stands alone");
	return 0;
}

static int set_return(struct sl_opts *o, const char *arg)
{
	if (strcasecmp(arg, "full") == 0)
		o->ret = SM_RET_FULL;
	else if (strcasecmp(arg, "hdrs") == 0)
		o->ret = SM_RET_HDRS;
	else
		return wrong("R ", arg, "there are full and hdrs");
	return 0;
}

static int set_envid(struct sl_opts *o, const char *arg)
{
	struct sm_str decoded;
	struct sm_arena a;
	int rc;

	if (strlen(arg) > ENVID_MAX || arg[0] == '\0')
		return wrong("V ", arg, "an envelope id has 1 to 100 characters");
	sm_arena_init(&a, "envid", 256, 1024);
	rc = sm_xtext_decode(sm_str(arg), &a, &decoded);
	sm_arena_fini(&a);
	if (rc != 0)
		return wrong("V ", arg, "an envelope id is written as xtext (RFC 3461)");
	o->envid = arg;
	return 0;
}

static int set_body(const char *arg)
{
	/* What the content is is seen in it. */
	if (strcasecmp(arg, "7BIT") != 0 && strcasecmp(arg, "8BITMIME") != 0)
		return wrong("B ", arg, "there are 7BIT and 8BITMIME");
	return 0;
}

static int refuse(int letter)
{
	const char option[] = {(char)letter, '\0'};

	if (letter == 'D' || letter == 'X')
		return wrong(option, "",
		             "not supported: what smx does is in its logs, -v shows a dialogue");
	if (letter == 'n')
		return wrong(option, "", "not supported: aliases are the affair of smar(8)");
	if (letter == 'Q')
		return wrong(option, "", "not supported: see hold in qmgrctl(8)");
	return wrong(option, "", "no such option");
}

static int set(struct sl_opts *o, int letter, char *arg)
{
	switch (letter) {
	case 'B':
		return set_body(arg);
	case 'b':
		return set_mode(o, arg);
	case 'C':
		o->conf = arg;
		return 0;
	case 'e':
		return set_errors(o, arg);
	case 'F':
		o->name = arg;
		return 0;
	case 'f':
	case 'r':
		o->sender = arg;
		return 0;
	case 'I':
		o->mode = SL_ALIASES;
		return 0;
	case 'i':
		o->ignore_dots = true;
		return 0;
	case 'N':
		return set_notify(o, arg);
	case 'O':
		return set_long(o, arg);
	case 'o':
		return set_short(o, arg);
	case 'q':
		o->mode = SL_RUN;
		return arg != NULL ? wrong("q", arg,
		                           "not supported: qmgr(8) runs its queue itself, "
		                           "and qmgrctl(8) chooses mail")
		                   : 0;
	case 'R':
		return set_return(o, arg);
	case 't':
		o->from_header = true;
		return 0;
	case 'V':
		return set_envid(o, arg);
	case 'v':
		o->verbose = true;
		return 0;
	/* Which of two configurations, expensive mailers, debugging, gateways and hops, log tags,
	 * "me too", protocols of others, verbosity of old, time-outs, user agents. */
	case 'A':
	case 'c':
	case 'd':
	case 'G':
	case 'h':
	case 'L':
	case 'm':
	case 'p':
	case 's':
	case 'T':
	case 'U':
	case 'x':
		return 0;
	default:
		return refuse(letter);
	}
}

/* By which name it was called. */
static enum sl_mode mode_of(const char *program)
{
	const char *slash = strrchr(program, '/');
	const char *name = slash != NULL ? slash + 1 : program;

	return strcmp(name, "newaliases") == 0 ? SL_ALIASES
	       : strcmp(name, "mailq") == 0    ? SL_QUEUE
	                                       : SL_SEND;
}

static int check_words(const struct sl_opts *o, bool all_addresses)
{
	for (size_t i = 0; i < o->count && !all_addresses; i++)
		if (o->args[i][0] == '-')
			return sm_fail(SM_E_SYNTAX,
			               "%.60s behind an address: options stand in front, and -- "
			               "before an address that begins with -",
			               o->args[i]);
	if (o->count > 0 && (o->mode == SL_QUEUE || o->mode == SL_RUN || o->mode == SL_SMTP))
		return sm_fail(SM_E_SYNTAX, "%.60s: no addresses are wanted here", o->args[0]);
	return 0;
}

int sl_opts(struct sl_opts *o, int argc, char **argv)
{
	int letter, rc = 0;

	if (argc < 1)
		return sm_fail(SM_E_SYNTAX, "no name of the program");
	*o = (struct sl_opts){.mode = mode_of(argv[0]), .tempfail = SL_TEMPFAIL};
	opterr = 0;
	optind = 0;
	while (rc == 0 && (letter = getopt(argc, argv,
	                                   "+:A:B:b:C:cD:d::e:F:f:Gh:IiL:mN:nO:o:p:Q::q::R:r:"
	                                   "sT::tUV:vX:x::")) != -1) {
		if (letter == ':' || letter == '?')
			rc = sm_fail(SM_E_SYNTAX, "-%c: %s", optopt,
			             letter == ':' ? "needs a value" : "no such option");
		else
			rc = set(o, letter, optarg);
	}
	if (rc != 0)
		return rc;
	o->args = argv + optind;
	o->count = (size_t)(argc - optind);
	return check_words(o, optind > 1 && strcmp(argv[optind - 1], "--") == 0);
}
