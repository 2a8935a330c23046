/*
 * qmgrctl: what operators ask and tell the queue manager. Makes a request of the command line; the
 * answer is qmgr's, shown for people or, with -j, as it comes.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libsm/id.h"
#include "misc/qmgrctl.h"

#define IDS_MAX   (500u * 1024)   /* bytes: what a condition may have */
#define FOR_MAX_S (366 * 86400LL) /* as qmgr takes it */

static struct {
	bool json, help, dry_run, stdin_ids;
	const char *socket, *by, *reason, *limit, *after;
	const char *time; /* --for */
	char *words[4096];
	size_t count;
} given = {.socket = QC_SOCKET};

static int complain(const char *fmt, ...) SM_PRINTF(1, 2);
static int complain(const char *fmt, ...)
{
	va_list ap;

	fputs("qmgrctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return QC_USAGE;
}

/* ---- the command line: options stand anywhere ---- */

static const struct option {
	char letter;
	const char *name;
	const char **value; /* or: */
	bool *flag;
	unsigned needs; /* QC_*: the verb must know it; 0: each does */
} options[] = {
    {'j', "json", NULL, &given.json, 0},
    {'h', "help", NULL, &given.help, 0},
    {'n', "dry-run", NULL, &given.dry_run, QC_DRY_RUN},
    {'s', "socket", &given.socket, NULL, 0},
    {'b', "by", &given.by, NULL, QC_BY},
    {'f', "for", &given.time, NULL, QC_FOR},
    {'r', "reason", &given.reason, NULL, QC_REASON},
    {'l', "limit", &given.limit, NULL, QC_LIMIT},
    {'a', "after", &given.after, NULL, QC_AFTER},
};

static const struct option *option_of(const char *arg, size_t name_len)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];

		if (arg[1] != '-' ? arg[1] == o->letter
		                  : strlen(o->name) == name_len - 2 &&
		                        memcmp(arg + 2, o->name, name_len - 2) == 0)
			return o;
	}
	return NULL;
}

/* Letters without a value may stand together: -jn. Gives how many arguments it took, 0: wrong. */
static int take_option(char **argv, int left)
{
	char *arg = argv[0], *equal = arg[1] == '-' ? strchr(arg, '=') : NULL;
	const struct option *o = option_of(arg, equal ? (size_t)(equal - arg) : strlen(arg));
	char rest[64];

	if (o == NULL) {
		complain("there is no option %s; see qmgrctl --help", arg);
		return 0;
	}
	if (o->flag) {
		*o->flag = true;
		if (equal) {
			complain("--%s takes no value", o->name);
			return 0;
		}
		if (arg[1] == '-' || arg[2] == '\0')
			return 1;
		snprintf(rest, sizeof(rest), "-%s", arg + 2);
		return take_option((char *[]){rest}, 1) ? 1 : 0;
	}
	if (equal) {
		*o->value = equal + 1;
		return 1;
	}
	if (arg[1] != '-' && arg[2] != '\0') {
		*o->value = arg + 2;
		return 1;
	}
	if (left < 2) {
		complain("--%s wants a value", o->name);
		return 0;
	}
	*o->value = argv[1];
	return 2;
}

static int parse(int argc, char **argv)
{
	bool words_only = false;

	for (int i = 1; i < argc;) {
		char *arg = argv[i];
		int n = 1;

		if (!words_only && strcmp(arg, "--") == 0) {
			words_only = true;
		} else if (!words_only && strcmp(arg, "-") == 0) {
			given.stdin_ids = true;
		} else if (!words_only && arg[0] == '-') {
			if ((n = take_option(argv + i, argc - i)) == 0)
				return QC_USAGE;
		} else if (given.count == SM_ARRAY_SIZE(given.words)) {
			return complain("more than %zu words: give ids on standard input, with -",
			                given.count);
		} else {
			given.words[given.count++] = arg;
		}
		i += n;
	}
	return QC_OK;
}

/* ---- the request ---- */

static struct sm_buf ids;

static int add_id(struct sm_str id)
{
	sm_buf_cstr(&ids, ids.len ? "," : "id=");
	sm_buf_str(&ids, id);
	if (sm_buf_err(&ids))
		return complain("too many ids at once: at most %u", IDS_MAX / (SM_ID_LEN + 1));
	return QC_OK;
}

/* What list, and other programs, print: the first word of each line that is an id. */
static int read_ids(void)
{
	char line[4096];
	struct sm_id id;
	int status = QC_OK;

	while (status == QC_OK && fgets(line, sizeof(line), stdin)) {
		struct sm_str s = sm_str(line), word;

		s.n = strcspn(line, "\r\n");
		word = sm_str_word(&s);
		word = sm_str_head(word, SM_ID_LEN);
		if (sm_id_parse(word, &id) == 0)
			status = add_id(word);
	}
	if (status == QC_OK && ids.len == 0) {
		fputs("qmgrctl: no ids on standard input\n", stderr);
		return QC_NOTHING;
	}
	return status;
}

static int add_word(struct qc_ask *ask, struct sm_str word)
{
	if (ask->count == SM_ARRAY_SIZE(ask->words))
		return complain("more than %zu words", ask->count);
	ask->words[ask->count++] = word;
	return QC_OK;
}

static int add_option(struct qc_ask *ask, const char *name, const char *value)
{
	char *text;

	if (value == NULL)
		return QC_OK;
	if (asprintf(&text, "--%s=%s", name, value) < 0)
		return QC_OSERR;
	return add_word(ask, sm_str(text)); /* until the end of the process */
}

static int no_verb(const char *name)
{
	fprintf(stderr, "qmgrctl: there is no verb %s; there are", name);
	for (const struct qc_verb *v = qc_verbs; v->name; v++)
		fprintf(stderr, "%s %s", v == qc_verbs ? "" : ",", v->name);
	fputc('\n', stderr);
	return QC_USAGE;
}

static int add_time(struct qc_ask *ask)
{
	char seconds[24];
	int64_t s;

	if (given.time == NULL)
		return QC_OK;
	if (!qc_seconds(given.time, &s))
		return complain("--for takes a time: 90s, 15m, 2h, 1h30m, 3d, 1w");
	if (s > FOR_MAX_S)
		return complain("--for takes at most 366d; without it, it lasts until you end it");
	snprintf(seconds, sizeof(seconds), "%" PRId64, s);
	return add_option(ask, "for", seconds);
}

static int check_options(const struct qc_verb *v)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];

		if (o->needs && !(v->options & o->needs) &&
		    (o->flag ? *o->flag : *o->value != NULL))
			return complain("%s does not know --%s; see qmgrctl help %s", v->name,
			                o->name, v->name);
	}
	return QC_OK;
}

static int make_request(struct qc_ask *ask, const struct qc_verb *v)
{
	struct sm_id id;
	int status = check_options(v);

	if (status == QC_OK && given.stdin_ids)
		status = read_ids();
	for (size_t i = 1; i < given.count && status == QC_OK; i++) {
		struct sm_str word = sm_str(given.words[i]);

		if (sm_id_parse(word, &id) == 0)
			status = add_id(word);
		else if (sm_str_has_prefix(word, SM_STR("--")))
			status = complain("%s: a word cannot begin like that", given.words[i]);
		else
			status = add_word(ask, word);
	}
	if (status == QC_OK && ids.len > 0)
		status = add_word(ask, sm_buf_view(&ids));
	if (status == QC_OK)
		status = add_option(ask, "by", given.by);
	if (status == QC_OK)
		status = add_option(ask, "limit", given.limit);
	if (status == QC_OK)
		status = add_option(ask, "after", given.after);
	if (status == QC_OK)
		status = add_option(ask, "reason", given.reason);
	if (status == QC_OK)
		status = add_time(ask);
	if (status == QC_OK && given.dry_run)
		status = add_word(ask, SM_STR("--dry-run"));
	return status;
}

static void pass_on(void *arg, struct sm_str json)
{
	(void)arg;
	fwrite(json.p, 1, json.n, stdout);
	putchar('\n');
}

static int help(const char *name)
{
	const struct qc_verb *v = qc_verb(name);

	if (v == NULL)
		return no_verb(name);
	qc_help_verb(stdout, v);
	return QC_OK;
}

int main(int argc, char **argv)
{
	struct qc_print print = {0};
	struct qc_ask ask = {.program = "qmgrctl",
	                     .server = "qmgr",
	                     .role = SM_ROLE_QMGR,
	                     .line = qc_print,
	                     .arg = &print};
	const struct qc_verb *v;
	int status;

	if ((status = parse(argc, argv)) != QC_OK)
		return status;
	if (given.count == 0 || strcmp(given.words[0], "help") == 0) {
		if (given.count > 1)
			return help(given.words[1]);
		if (given.count == 0 && !given.help)
			return complain(
			    "usage: qmgrctl [OPTION ...] VERB [WORD ...]; qmgrctl --help "
			    "lists the verbs");
		qc_help(stdout);
		return QC_OK;
	}
	if (given.help)
		return help(given.words[0]);
	if ((v = qc_verb(given.words[0])) == NULL)
		return no_verb(given.words[0]);
	sm_buf_init(&ids, IDS_MAX);
	sm_buf_init(&print.out, 64 * 1024 * 1024);
	if ((status = make_request(&ask, v)) != QC_OK)
		return status;
	ask.socket = given.socket;
	ask.verb = print.verb = v->name;
	if (given.json)
		ask.line = pass_on;
	status = qc_ask(&ask);
	/* Of list and summary; others that find nothing are told by qmgr what there is not. */
	if (status == QC_NOTHING && !given.json && print.rows == 0 &&
	    (v->options & (QC_AFTER | QC_BY)))
		puts("no mail is such");
	sm_buf_fini(&ids);
	sm_buf_fini(&print.out);
	return fflush(stdout) == 0 && !ferror(stdout) ? status : QC_OSERR;
}
