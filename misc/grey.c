/*
 * greyprint, greyrm: the greylist for operators, one program by its name.
 *
 * While smar runs, it has the databases, and is asked over its control socket; otherwise they are
 * opened here. Invariant: never two processes in them (grey_db.h). One thread.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/time.h"
#include "misc/ctl.h"
#include "smar/conf.h"
#include "smar/grey_db.h"
#include "smar/grey_row.h"

static struct {
	const char *program;
	bool remove, json;
	size_t count;
	struct ar_conf conf;
	struct sm_arena arena;
} me;

static int usage(FILE *f)
{
	fprintf(f,
	        me.remove ? "usage: %s [-j] [-f file] [-q directory] net ...\n"
	                  : "usage: %s [-j] [-f file] [-q directory] [net ...]\n",
	        me.program);
	fprintf(f, "  net                 192.0.2.1, 192.0.2.0/24, 2001:db8::/32\n"
	           "  -f, --config file   configuration (" SMX_SYSCONFDIR "/smx.conf)\n"
	           "  -q, --queue dir     queue directory (" SMX_QUEUEDIR ")\n"
	           "  -j, --json          lines of JSON\n");
	return f == stdout ? 0 : QC_USAGE;
}

static int fail(int status, const char *what)
{
	fprintf(stderr, "%s: %s\n", me.program, what);
	return status;
}

static int fail_at(int status, const char *path, int err)
{
	fprintf(stderr, "%s: %s: %s\n", me.program, path, strerror(err));
	return status;
}

/* ---- what is shown ---- */

static void show(void *arg SM_UNUSED, struct sm_str line)
{
	json_t *o;
	char first[24], last[24], expires[24];

	me.count++;
	if (me.json) {
		printf("%.*s\n", SM_STR_ARG(line));
		return;
	}
	o = json_loadb(line.p, line.n, 0, NULL);
	printf("%-39s %-11s  %-16s  %-16s  %s\n", qc_str(o, "address"), qc_str(o, "state"),
	       qc_time(qc_num(o, "first_s"), first), qc_time(qc_num(o, "last_s"), last),
	       qc_time(qc_num(o, "expires_s"), expires));
	json_decref(o);
}

/* ---- without smar ---- */

static bool show_entry(void *arg, const struct ar_grey_key *key, const struct ar_grey_entry *e)
{
	struct sm_buf b;

	sm_buf_init(&b, 4096);
	ar_grey_row_put(&b, key, e, *(const int64_t *)arg);
	show(NULL, sm_str_head(sm_buf_view(&b), b.len - 1)); /* without the line end */
	sm_buf_fini(&b);
	return true;
}

static int walk_here(struct ar_grey_db *db, struct sm_str text)
{
	int64_t shift_s = sm_wall_s() - ar_grey_db_now(db, sm_now_ms());
	struct ar_grey_key net, none = {0};
	unsigned bits;
	int rc = ar_grey_net_parse(text, &me.conf.greylisting, &net, &bits);

	if (rc != 0)
		return rc;
	rc = ar_grey_db_begin(db);
	if (rc == 0)
		rc = ar_grey_db_walk(db, &net, bits, &none, me.remove, show_entry, &shift_s);
	return rc != 0 ? rc : ar_grey_db_commit(db, sm_now_ms(), sm_wall_s());
}

/* What is opened here stays smar's. */
static int become_owner(void)
{
	char dir[AR_PATH_BYTES];
	struct stat st;

	if (sm_str_copy(me.conf.greylisting.directory, dir, sizeof(dir)) != 0)
		return fail(QC_USAGE, "the name of the directory is too long");
	if (stat(dir, &st) != 0)
		return fail_at(QC_AWAY, dir, errno);
	if (geteuid() == 0 && st.st_uid != 0 &&
	    (setegid(st.st_gid) != 0 || seteuid(st.st_uid) != 0))
		return fail(QC_NOPERM, strerror(errno));
	return 0;
}

static int here(char **nets, int count)
{
	struct ar_grey_db *db;
	int status = become_owner(), rc;

	if (status != 0)
		return status;
	rc = ar_grey_db_open(&me.conf.greylisting, false, &db);
	for (int i = 0; rc == 0 && i < SM_MAX(count, 1); i++)
		rc = walk_here(db, count > 0 ? sm_str(nets[i]) : SM_STR(""));
	if (rc != 0)
		status = fail(rc == SM_E_SYNTAX ? QC_USAGE : QC_LATER, sm_diag());
	ar_grey_db_close(&db);
	return status;
}

/* ---- with it ---- */

static int ask(char **nets, int count)
{
	char path[AR_PATH_BYTES];
	struct qc_ask q = {.program = me.program,
	                   .server = "smar",
	                   .role = SM_ROLE_SMAR,
	                   .socket = path,
	                   .verb = me.remove ? "grey-remove" : "grey-list",
	                   .line = show,
	                   .quiet = true};
	int status = 0;

	if (me.conf.control_socket.n == 0)
		return QC_AWAY;
	if (sm_str_copy(me.conf.control_socket, path, sizeof(path)) != 0)
		return fail(QC_USAGE, "the name of the control socket is too long");
	for (int i = 0; i < SM_MAX(count, 1) && (status == 0 || status == QC_NOTHING); i++) {
		q.count = count > 0;
		if (count > 0)
			q.words[0] = sm_str(nets[i]);
		status = qc_ask(&q);
	}
	return status == QC_NOTHING ? 0 : status;
}

/* ---- start ---- */

static int load(const char *path)
{
	struct sm_conf_file file;
	struct sm_conf_node *smar;
	int rc = sm_conf_load(&file, path);

	if (rc != 0)
		return fail(QC_USAGE, sm_diag());
	sm_arena_init(&me.arena, "configuration", 65536, 1 << 24);
	sm_conf_defaults(ar_conf_opts, &me.conf, &me.arena);
	smar = sm_conf_find(&file, SM_STR("smar"), SM_STR(""));
	if (smar != NULL)
		rc = sm_conf_bind(&file, smar, ar_conf_opts, sm_conf_any, &me.conf, &me.arena);
	if (rc == 0)
		rc = ar_grey_conf_check(&me.conf.greylisting);
	sm_conf_free(&file);
	if (rc != 0)
		return fail(QC_USAGE, sm_diag());
	return ar_grey_used(&me.conf.greylisting)
	           ? 0
	           : fail(QC_USAGE, "the configuration has no section greylisting in smar");
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"config", required_argument, NULL, 'f'},
	                                      {"queue", required_argument, NULL, 'q'},
	                                      {"json", no_argument, NULL, 'j'},
	                                      {"help", no_argument, NULL, 'h'},
	                                      {0}};
	const char *conf = SMX_SYSCONFDIR "/smx.conf", *queue = SMX_QUEUEDIR, *slash;
	int o, status;

	slash = strrchr(argv[0], '/');
	me.program = slash != NULL ? slash + 1 : argv[0];
	me.remove = strcmp(me.program, "greyrm") == 0;
	while ((o = getopt_long(argc, argv, "f:q:jh", longs, NULL)) != -1) {
		switch (o) {
		case 'f':
			conf = optarg;
			break;
		case 'q':
			queue = optarg;
			break;
		case 'j':
			me.json = true;
			break;
		default:
			return usage(o == 'h' ? stdout : stderr);
		}
	}
	if (me.remove && optind == argc)
		return usage(stderr);
	status = load(conf);
	if (status == 0 && chdir(queue) != 0)
		status = fail_at(QC_USAGE, queue, errno);
	if (status == 0)
		status = ask(argv + optind, argc - optind);
	/* Nobody there: it is ours as long as nobody comes. */
	if (status == QC_AWAY)
		status = here(argv + optind, argc - optind);
	sm_arena_fini(&me.arena);
	if (status == 0 && fflush(stdout) != 0)
		status = fail(QC_OSERR, strerror(errno));
	return status != 0 ? status : me.count > 0 ? QC_OK : QC_NOTHING;
}
