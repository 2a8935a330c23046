/*
 * smconf: check, print and query the configuration file. Exit status 0: the file is good; 64: wrong
 * use; 78: errors, each told on standard error in one line with file and line number.
 */
#include "misc/smconf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/proc.h"

#define OUT_MAX (64 * 1024 * 1024)

static const char usage[] = "usage: smconf [-q] [-d | -j] [-N name] file [section.option]\n"
			    "       smconf -M | -V | -h\n"
			    "  -q  say nothing, only the exit status tells\n"
			    "  -d  print the file with all options and their values\n"
			    "  -j  print it as JSON\n"
			    "  -N  only the sections of this name\n"
			    "  -M  print the description of all options for the manual page\n";

static void say(void *arg, const char *line)
{
	const bool *quiet = arg;

	if (!*quiet)
		fprintf(stderr, "%s\n", line);
}

static int print(struct sm_buf *b)
{
	bool good = sm_buf_err(b) == 0 && fwrite(sm_buf_p(b), 1, b->len, stdout) == b->len &&
	            fflush(stdout) == 0;

	sm_buf_fini(b);
	if (!good)
		fprintf(stderr, "smconf: standard output: %s\n", strerror(errno));
	return good ? SM_EXIT_OK : SM_EXIT_OSERR;
}

/* ---- dump ---- */

static void dump_table(const struct sm_opt *table, const void *target, void *arg)
{
	sm_conf_dump(arg, table, target, 1, true);
}

static void dump(const struct cf *c, const char *name, struct sm_buf *b)
{
	if (name == NULL)
		sm_conf_dump(b, sm_conf_global_opts, &c->global, 0, true);
	for (size_t i = 0; i < c->count; i++) {
		const struct sm_conf_node *n = c->sections[i].node;
		if (name != NULL && !sm_str_caseeq(n->name, sm_str(name)))
			continue;
		sm_buf_printf(b, "\n" SM_STR_FMT, SM_STR_ARG(n->key));
		if (!sm_str_empty(n->name))
			sm_buf_printf(b, " \"" SM_STR_FMT "\"", SM_STR_ARG(n->name));
		sm_buf_cstr(b, " {\n");
		cf_each_table(&c->sections[i], dump_table, b);
		sm_buf_cstr(b, "}\n");
	}
}

/* ---- JSON ---- */

/* Several tables make one object: only the first, behind the colon, keeps its opening brace; the
 * caller closes it. */
static void json_table(const struct sm_opt *table, const void *target, void *arg)
{
	struct sm_buf *b = arg;
	size_t at = b->len;

	if (table[0].name == NULL)
		return;
	sm_conf_dump_json(b, table, target);
	if (sm_buf_p(b)[at - 1] != ':')
		sm_buf_p(b)[at] = ',';
	sm_buf_truncate(b, b->len - 1);
}

static void json(const struct cf *c, const char *name, struct sm_buf *b)
{
	const char *sep = "";

	sm_buf_cstr(b, "{\"global\":");
	sm_conf_dump_json(b, sm_conf_global_opts, &c->global);
	sm_buf_cstr(b, ",\"sections\":[");
	for (size_t i = 0; i < c->count; i++) {
		const struct sm_conf_node *n = c->sections[i].node;
		if (name != NULL && !sm_str_caseeq(n->name, sm_str(name)))
			continue;
		sm_buf_printf(b, "%s{\"keyword\":", sep);
		sm_conf_json_str(b, n->key);
		sm_buf_cstr(b, ",\"name\":");
		sm_conf_json_str(b, n->name);
		sm_buf_printf(b, ",\"line\":%d,\"options\":", n->line);
		cf_each_table(&c->sections[i], json_table, b);
		sm_buf_cstr(b, sm_buf_p(b)[b->len - 1] == ':' ? "{}}" : "}}");
		sep = ",";
	}
	sm_buf_cstr(b, "]}\n");
}

/* ---- one option ---- */

struct query {
	struct sm_str option;
	struct sm_buf *out;
	bool found;
};

static void query_table(const struct sm_opt *table, const void *target, void *arg)
{
	struct query *q = arg;

	if (!q->found)
		q->found = sm_conf_dump_one(q->out, table, target, q->option) == 0;
}

/* "hostname" is global; "smtps.max_hops" is of the section smtps that -N names, else of the first.
 */
static int query(const struct cf *c, const char *name, const char *what, struct sm_buf *b)
{
	struct query q = {.out = b};
	struct sm_str section = sm_str_split(sm_str(what), '.', &q.option);

	if (q.option.p == NULL) {
		q.option = section;
		query_table(sm_conf_global_opts, &c->global, &q);
	}
	for (size_t i = 0; i < c->count && !q.found; i++) {
		const struct sm_conf_node *n = c->sections[i].node;
		if (sm_str_caseeq(n->key, section) &&
		    (name == NULL || sm_str_caseeq(n->name, sm_str(name))))
			cf_each_table(&c->sections[i], query_table, &q);
	}
	if (q.found)
		return SM_EXIT_OK;
	fprintf(stderr, "smconf: %s: there is no option %s\n", c->file.path, what);
	return SM_EXIT_USAGE;
}

static int work(const char *path, const char *option, const char *name, char mode, bool quiet)
{
	struct sm_buf out;
	struct cf c;
	int status = SM_EXIT_OK;

	if (cf_load(&c, path, say, &quiet) != 0) {
		say(&quiet, sm_diag());
		cf_free(&c);
		return SM_EXIT_CONFIG;
	}
	sm_buf_init(&out, OUT_MAX);
	if (c.errors > 0)
		status = SM_EXIT_CONFIG;
	else if (option != NULL)
		status = query(&c, name, option, &out);
	else if (mode == 'd')
		dump(&c, name, &out);
	else if (mode == 'j')
		json(&c, name, &out);
	cf_free(&c);
	if (status == SM_EXIT_OK && out.len > 0)
		return print(&out);
	sm_buf_fini(&out);
	return status;
}

static int wrong_use(const char *what)
{
	fprintf(stderr, "smconf: %s\n%s", what, usage);
	return SM_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	const char *name = NULL;
	struct sm_buf b;
	bool quiet = false;
	char mode = 0;
	int c;

	while ((c = getopt(argc, argv, "qdjN:MVh")) != -1) {
		switch (c) {
		case 'q':
			quiet = true;
			break;
		case 'd':
		case 'j':
			if (mode != 0 && mode != c)
				return wrong_use("-d and -j exclude each other");
			mode = (char)c;
			break;
		case 'N':
			name = optarg;
			break;
		case 'M':
			sm_buf_init(&b, OUT_MAX);
			cf_man(&b);
			return print(&b);
		case 'V':
			puts(SM_VERSION_TEXT);
			return SM_EXIT_OK;
		case 'h':
			fputs(usage, stdout);
			return SM_EXIT_OK;
		default:
			fputs(usage, stderr);
			return SM_EXIT_USAGE;
		}
	}
	if (argc - optind < 1 || argc - optind > 2)
		return wrong_use("name one file");
	if (argc - optind == 2 && mode != 0)
		return wrong_use("-d and -j print all, not one option");
	return work(argv[optind], argv[optind + 1], name, mode, quiet);
}
