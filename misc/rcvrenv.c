/*
 * rcvrenv: envelopes of the contents in a store, from log files, after a loss of the queue's own
 * records; and those mails back into a queue.
 *
 * Invariant: nothing is changed but by --requeue, and there only a content that qmgr does not know,
 * that is acknowledged, whose whole envelope is known, and that the server has just taken. One that
 * several mails share, because members of a list still wait for it, goes with the last of them. One
 * in a segment becomes room, so that no later run finds it; the segment goes with the last of its
 * contents that somebody needs.
 */
#include "misc/rcvrenv.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/json.h"
#include "libsm/log.h"
#include "libsm/proc.h"

enum { EXIT_NOT_QUEUED = 1, EXIT_GAPS = 2, EXIT_NOINPUT_ = 66 };

static const char usage[] =
    "usage: rcvrenv [-ajm] [-b BASE] [-k FILE -r TO] LOG ...\n"
    "  -b, --base BASE      content store, with a slash at the end (default " SMX_QUEUEDIR "/)\n"
    "  -a, --all            show also the recipients and mails that are settled\n"
    "  -j, --json           JSON, a line for each mail\n"
    "  -r, --requeue TO     hand mails with open recipients to HOST:PORT or a socket's path,\n"
    "                       and remove each content that was taken\n"
    "  -k, --known FILE     which contents that may be, as `qmgrctl orphans list` prints it;\n"
    "                       to be made before the logs are read (with -r)\n"
    "  -m, --marked         the logs are whole only if they have the line \"" RCV_MARK "\"\n"
    "LOG: files of smtps, qmgr and smtpc, in any order; - is standard input\n"
    "exit: 0 all is settled or queued, 1 some mail could not be queued, 2 a content has no whole\n"
    "envelope in these logs, 66 a file cannot be read, 75 the server cannot be reached\n";

static const char *const state_words[RCV_STATES] = {
    [RCV_OPEN] = "open",
    [RCV_SETTLED] = "settled",
    [RCV_REFUSED] = "refused",
    [RCV_UNCONFIRMED] = "unconfirmed",
    [RCV_INCOMPLETE] = "incomplete",
    [RCV_UNKNOWN] = "unknown",
};

static struct {
	struct rcv rcv;
	struct cdb *cdb;
	const char *base, *to, *kept;
	bool all, json, marked;
	struct rcv_mail **sorted; /* oldest first */
	size_t count, contents, queued, failed, unreadable;
	size_t in_state[RCV_STATES];
	struct sm_buf text;
} me = {.base = SMX_QUEUEDIR "/"};

/* ---- what there is ---- */

static bool found_in_segment(struct sm_id id, const struct cdb_place *at, void *arg)
{
	rcv_add(arg, id, at);
	return true;
}

/* What is damaged may be a mail: said, and the file stays. */
static void read_segment(struct sm_id id)
{
	char text[SM_ID_SIZE];
	uint64_t damaged;
	int rc = cdb_entries(me.cdb, id, found_in_segment, &me.rcv, &damaged);

	if (rc == SM_E_NOTFOUND || (rc == 0 && damaged == 0))
		return;
	if (rc != 0)
		fprintf(stderr, "rcvrenv: %s\n", sm_diag());
	else
		fprintf(stderr, "rcvrenv: %s: %llu bytes are no content\n", sm_id_text(id, text),
		        (unsigned long long)damaged);
	me.unreadable++;
	rcv_hold(&me.rcv, id);
}

static bool found(struct sm_id id, void *arg)
{
	if (cdb_is_segment(id))
		read_segment(id);
	else
		rcv_add(arg, id, NULL);
	return true;
}

static int by_age(const void *a, const void *b)
{
	const struct rcv_mail *x = *(struct rcv_mail *const *)a, *y = *(struct rcv_mail *const *)b;

	return x->id.counter < y->id.counter   ? -1
	       : x->id.counter > y->id.counter ? 1
	                                       : (int)x->id.proc - (int)y->id.proc;
}

static void sort(void)
{
	me.sorted = sm_calloc(me.rcv.mails.count + 1, sizeof(struct rcv_mail *));
	for (struct sm_hash_node *n = sm_hash_next(&me.rcv.mails, NULL); n;
	     n = sm_hash_next(&me.rcv.mails, n)) {
		struct rcv_mail *m = SM_CONTAINER_OF(n, struct rcv_mail, node);

		if (rcv_is_mail(m))
			me.sorted[me.count++] = m;
		me.contents += rcv_is_stored(m);
	}
	qsort(me.sorted, me.count, sizeof(struct rcv_mail *), by_age);
}

static int read_file(const char *path)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	int rc;

	if (f == NULL) {
		fprintf(stderr, "rcvrenv: %s: %s\n", path, strerror(errno));
		return EXIT_NOINPUT_;
	}
	rc = rcv_read(&me.rcv, f);
	if (rc != 0)
		fprintf(stderr, "rcvrenv: %s: %s\n", path, sm_diag());
	if (f != stdin)
		(void)fclose(f);
	return rc ? EXIT_NOINPUT_ : 0;
}

static int read_kept(const char *path)
{
	char line[100];
	FILE *f = fopen(path, "re");

	if (f == NULL) {
		fprintf(stderr, "rcvrenv: %s: %s\n", path, strerror(errno));
		return EXIT_NOINPUT_;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		rcv_kept(&me.rcv, sm_str(line));
	}
	(void)fclose(f);
	return 0;
}

/* ---- what it is ---- */

static const char *rcpt_word(const struct rcv_mail *m, const struct rcv_rcpt *p)
{
	return rcv_rcpt_open(m, p) ? "open" : p->failed ? "reported" : "settled";
}

static void put_json(struct sm_buf *b, const struct rcv_mail *m, const char *what)
{
	const struct rcv_place *place = rcv_place_of(m);
	char id[SM_ID_SIZE];
	const char *sep = "";

	sm_buf_printf(b, "{\"content\":\"%s\",", sm_id_text(rcv_content_of(m)->id, id));
	if (place)
		sm_buf_printf(b, "\"segment\":\"%s\",", sm_id_text(place->segment->id, id));
	if (m->owner)
		sm_buf_printf(b, "\"child\":\"%s\",", sm_id_text(m->id, id));
	sm_buf_printf(b, "\"state\":\"%s\",\"sender\":", what);
	if (m->sender)
		sm_json_str(b, sm_str(m->sender));
	else
		sm_buf_cstr(b, "null");
	sm_buf_printf(b,
	              ",\"offset\":%u,\"size\":%llu,\"body\":%u,\"ret\":%u,\"utf8\":%u,\"envid\":",
	              m->at.offset, (unsigned long long)m->at.size, m->body, m->ret, m->utf8);
	sm_json_str(b, sm_str(m->envid ? m->envid : ""));
	sm_buf_cstr(b, ",\"rcpts\":[");
	for (size_t i = 0; i < m->count; i++) {
		const struct rcv_rcpt *p = &m->rcpts[i];

		if (!me.all && !rcv_rcpt_open(m, p))
			continue;
		sm_buf_printf(b, "%s{\"addr\":", sep);
		sm_json_str(b, sm_str(p->addr ? p->addr : ""));
		sm_buf_printf(b, ",\"state\":\"%s\",\"notify\":%u,\"orcpt\":", rcpt_word(m, p),
		              p->notify);
		sm_json_str(b, sm_str(p->orcpt ? p->orcpt : ""));
		sm_buf_char(b, '}');
		sep = ",";
	}
	sm_buf_cstr(b, "]}\n");
}

static void put_text(struct sm_buf *b, const struct rcv_mail *m, const char *what)
{
	char id[SM_ID_SIZE];

	sm_buf_printf(b, "%s %-11s size=%llu from=<", sm_id_text(m->id, id), what,
	              (unsigned long long)m->at.size);
	sm_log_escape(b, sm_str(m->sender ? m->sender : "?"), 320);
	sm_buf_cstr(b, ">\n");
	for (size_t i = 0; i < m->count; i++) {
		const struct rcv_rcpt *p = &m->rcpts[i];

		if (!me.all && !rcv_rcpt_open(m, p))
			continue;
		sm_buf_printf(b, "    %-8s <", rcpt_word(m, p));
		sm_log_escape(b, sm_str(p->addr ? p->addr : "?"), 320);
		sm_buf_cstr(b, ">\n");
	}
}

static void show(const struct rcv_mail *m, const char *what)
{
	sm_buf_reset(&me.text);
	if (me.json)
		put_json(&me.text, m, what);
	else
		put_text(&me.text, m, what);
	(void)fwrite(sm_buf_p(&me.text), 1, me.text.len, stdout);
}

/* ---- and what becomes of it ---- */

static int open_file(const struct rcv_mail *m)
{
	char id[SM_ID_SIZE], path[4096];
	struct stat st;
	int fd, n;

	sm_id_text(rcv_content_of(m)->id, id);
	n = snprintf(path, sizeof(path), "%s%c/%s", me.base, id[SM_ID_LEN - 3], id);
	fd =
	    n < (int)sizeof(path) ? open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
	if (fd == -1)
		return sm_fail_sys(errno, "%s", path);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size == m->at.offset + m->at.size)
		return fd;
	close(fd);
	return sm_fail(SM_E_CORRUPT, "%s is not what its log says: %lld bytes", path,
	               (long long)st.st_size);
}

static int open_content(const struct rcv_mail *m)
{
	const struct rcv_place *place = rcv_place_of(m);
	int fd, rc;

	if (place == NULL)
		return open_file(m);
	rc = cdb_entry_open(me.cdb, rcv_content_of(m)->id, &place->at, &fd);
	return rc == 0 ? fd : rc;
}

/* Nobody needs it any more. */
static int remove_content(const struct rcv_mail *m)
{
	struct rcv_place *place = rcv_place_of(m);
	struct sm_id id = rcv_content_of(m)->id;

	if (place == NULL)
		return cdb_unlink(me.cdb, id);
	return --place->segment->users == 0 ? cdb_unlink(me.cdb, place->segment->id)
	                                    : cdb_entry_clear(me.cdb, id, &place->at);
}

static void not_queued(const struct rcv_mail *m)
{
	char id[SM_ID_SIZE];

	me.failed++;
	fprintf(stderr, "rcvrenv: %s: not queued: %s\n", sm_id_text(m->id, id), sm_diag());
}

/* 0; or SM_EXIT_TEMP, when there is no use in going on. */
static int requeue(struct sb **s, struct rcv_mail *m)
{
	int fd = open_content(m), rc;

	if (fd < 0) {
		not_queued(m);
		return 0;
	}
	if (*s == NULL && sb_open(me.to, NULL, s) != 0) {
		not_queued(m);
		close(fd);
		return SM_EXIT_TEMP;
	}
	rc = rcv_send(*s, m, fd);
	close(fd);
	/* The last one that needs it. */
	if (rc == 0 && --rcv_content_of(m)->users == 0)
		rc = remove_content(m);
	if (rc == 0) {
		me.queued++;
		show(m, "queued");
		return 0;
	}
	not_queued(m);
	if (rc != SM_E_DENIED)
		sb_close(s);
	return 0;
}

static int work(void)
{
	struct sb *s = NULL;
	int status = 0;

	for (size_t i = 0; i < me.count && status == 0; i++) {
		struct rcv_mail *m = me.sorted[i];
		enum rcv_state state = rcv_state(m);

		me.in_state[state]++;
		if (me.to != NULL && state == RCV_OPEN && rcv_is_ours(m))
			status = requeue(&s, m);
		else if (me.all || (state != RCV_SETTLED && state != RCV_REFUSED))
			show(m, state_words[state]);
	}
	sb_close(&s);
	return status;
}

static void summary(void)
{
	fprintf(stderr, "rcvrenv: %zu contents:", me.contents);
	for (int i = 0; i < RCV_STATES; i++)
		fprintf(stderr, "%s %zu %s", i ? "," : "", me.in_state[i], state_words[i]);
	if (me.to != NULL)
		fprintf(stderr, "; %zu queued, %zu not", me.queued, me.failed);
	fputs("\n", stderr);
	if (me.rcv.strange > 0)
		fprintf(stderr, "rcvrenv: %zu of %zu lines were not understood\n", me.rcv.strange,
		        me.rcv.lines);
}

static int run(int argc, char **argv)
{
	struct cdb_conf conf = {.base = me.base, .gid = (gid_t)-1};
	int status;

	if (cdb_open(&conf, &me.cdb) != 0 || cdb_list(me.cdb, found, &me.rcv, NULL) != 0) {
		fprintf(stderr, "rcvrenv: %s\n", sm_diag());
		return EXIT_NOINPUT_;
	}
	for (int i = 0; i < argc; i++)
		if ((status = read_file(argv[i])) != 0)
			return status;
	if (me.marked && !me.rcv.marked) {
		fputs("rcvrenv: the logs end too soon: nothing is done\n", stderr);
		return EXIT_NOINPUT_;
	}
	if (me.kept && (status = read_kept(me.kept)) != 0)
		return status;
	rcv_join(&me.rcv);
	sort();
	status = work();
	summary();
	if (status == 0 && me.failed > 0)
		status = EXIT_NOT_QUEUED;
	if (status == 0 &&
	    me.in_state[RCV_INCOMPLETE] + me.in_state[RCV_UNKNOWN] + me.unreadable > 0)
		status = EXIT_GAPS;
	return status;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"base", required_argument, NULL, 'b'},  {"all", no_argument, NULL, 'a'},
	    {"json", no_argument, NULL, 'j'},        {"requeue", required_argument, NULL, 'r'},
	    {"known", required_argument, NULL, 'k'}, {"help", no_argument, NULL, 'h'},
	    {"marked", no_argument, NULL, 'm'},      {0},
	};
	int opt, status;

	while ((opt = getopt_long(argc, argv, "b:ajr:k:mh", longs, NULL)) != -1) {
		switch (opt) {
		case 'b':
			me.base = optarg;
			break;
		case 'a':
			me.all = true;
			break;
		case 'j':
			me.json = true;
			break;
		case 'r':
			me.to = optarg;
			break;
		case 'k':
			me.kept = optarg;
			break;
		case 'm':
			me.marked = true;
			break;
		default:
			fputs(usage, opt == 'h' ? stdout : stderr);
			return opt == 'h' ? SM_EXIT_OK : SM_EXIT_USAGE;
		}
	}
	if (optind == argc || (me.to != NULL) != (me.kept != NULL)) {
		fputs(me.to && !me.kept
		          ? "rcvrenv: -r needs -k: what qmgr has itself must not be queued again\n"
		          : usage,
		      stderr);
		return SM_EXIT_USAGE;
	}
	rcv_init(&me.rcv);
	sm_buf_init(&me.text, 1024 * 1024);
	status = run(argc - optind, argv + optind);
	rcv_fini(&me.rcv);
	cdb_close(&me.cdb);
	sm_buf_fini(&me.text);
	sm_free(me.sorted);
	return fflush(stdout) == 0 ? status : SM_EXIT_OSERR;
}
