/*
 * fsperf1: what a disk gives to a mail queue. Two questions, each asked with more and more threads:
 * how many contents a second can be created, written and synced, and how many log records a second
 * become durable when one thread writes and syncs whatever the others have handed in meanwhile
 * (group commit).
 *
 * It does the system calls that the content store and the log do, in the same order, but none of
 * their bookkeeping: smx on the same disk cannot be faster than this.
 *
 * Threads: workers share only `stopping` and, in the log test, struct group under its mutex.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/str.h"
#include "libsm/time.h"

#define DIRS          16
#define PATH_BYTES    4096
#define SIZE_MAX_     ((uint64_t)64 * 1024 * 1024)
#define SECONDS_MAX   3600
#define RECORD_BYTES  ((size_t)512)
#define SEGMENT_BYTES ((size_t)16 * 1024 * 1024)
#define WRITERS_MAX   200

static struct {
	const char *dir;
	uint64_t size_bytes;
	uint64_t seconds;
} opt = {.dir = ".", .size_bytes = 5000, .seconds = 2};

static char base[PATH_BYTES]; /* made below opt.dir; removed at the end */
static volatile sig_atomic_t interrupted;
static atomic_bool stopping;
static atomic_bool failed;

struct worker {
	pthread_t thread;
	unsigned index;
	uint64_t done, worst_us;
};

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* One bad answer of the disk ends the measurement: a rate with errors in it says nothing. */
static void complain(const char *what)
{
	if (!atomic_exchange(&failed, true))
		fprintf(stderr, "fsperf1: %s in %s: %s\n", what, base, strerror(errno));
	atomic_store(&stopping, true);
}

static void took(struct worker *w, int64_t since_us)
{
	uint64_t us = (uint64_t)(sm_now_us() - since_us);

	w->done++;
	w->worst_us = SM_MAX(w->worst_us, us);
}

/* ---- contents ------------------------------------------------------------------------------- */

/* Removed at once, as a delivered message is: the removal costs its share and the disk does not
 * fill. */
static bool one_content(const struct worker *w, const char *data, uint64_t n)
{
	char path[PATH_BYTES + 40];

	snprintf(path, sizeof(path), "%s/%X/%u.%llu", base, (unsigned)(n % DIRS), w->index,
	         (unsigned long long)n);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd == -1)
		return complain("create"), false;
	bool ok = true;

	for (uint64_t at = 0; ok && at < opt.size_bytes;) {
		ssize_t put = write(fd, data + at, opt.size_bytes - at);

		ok = put > 0;
		at += ok ? (uint64_t)put : 0;
	}
	if (!ok)
		complain("write");
	else if (fdatasync(fd) == -1)
		complain("fdatasync");
	close(fd);
	if (unlink(path) == -1)
		complain("unlink");
	return true;
}

static void *content_worker(void *arg)
{
	struct worker *w = arg;
	char *data = sm_malloc(opt.size_bytes);

	memset(data, 'x', opt.size_bytes);
	for (uint64_t n = w->index; !atomic_load(&stopping); n++) {
		int64_t since = sm_now_us();

		if (one_content(w, data, n))
			took(w, since);
	}
	sm_free(data);
	return NULL;
}

/* ---- log records ---------------------------------------------------------------------------- */

static struct group {
	pthread_mutex_t lock;
	pthread_cond_t more, durable;
	int fd;
	char *batch;        /* as many records as there can be writers; their bytes do not matter */
	uint64_t appended;  /* records handed in */
	uint64_t committed; /* of these durable */
	uint64_t syncs;
	bool end;
} group = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .more = PTHREAD_COND_INITIALIZER,
    .durable = PTHREAD_COND_INITIALIZER,
    .fd = -1,
};

static void *log_worker(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&stopping)) {
		int64_t since = sm_now_us();

		pthread_mutex_lock(&group.lock);
		uint64_t mine = ++group.appended;

		pthread_cond_signal(&group.more);
		while (group.committed < mine && !group.end)
			pthread_cond_wait(&group.durable, &group.lock);
		bool ok = group.committed >= mine;

		pthread_mutex_unlock(&group.lock);
		if (ok)
			took(w, since);
	}
	return NULL;
}

/* Writes and syncs all that has gathered, again and again, round and round in a file that was
 * written before. */
static void *committer(void *arg)
{
	size_t at = 0;

	(void)arg;
	pthread_mutex_lock(&group.lock);
	for (;;) {
		while (group.committed == group.appended && !group.end)
			pthread_cond_wait(&group.more, &group.lock);
		if (group.end)
			break;
		uint64_t upto = group.appended;
		size_t bytes = (size_t)(upto - group.committed) * RECORD_BYTES;

		pthread_mutex_unlock(&group.lock);
		if (at + bytes > SEGMENT_BYTES)
			at = 0;
		bool ok = pwrite(group.fd, group.batch, bytes, (off_t)at) == (ssize_t)bytes &&
		          fdatasync(group.fd) == 0;

		if (!ok)
			complain("write or sync the log");
		at += bytes;
		pthread_mutex_lock(&group.lock);
		group.syncs++;
		group.committed = upto;
		pthread_cond_broadcast(&group.durable);
	}
	pthread_cond_broadcast(&group.durable);
	pthread_mutex_unlock(&group.lock);
	return NULL;
}

static bool log_prepare(void)
{
	char path[PATH_BYTES + 40];

	snprintf(path, sizeof(path), "%s/log", base);
	group.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	group.batch = sm_calloc(WRITERS_MAX, RECORD_BYTES);
	if (group.fd == -1)
		return complain("create the log"), false;
	/* Written, not only allocated: the first write to an allocated block changes the file's
	 * tables too. */
	char *zeros = sm_calloc(1, SEGMENT_BYTES);
	ssize_t put = pwrite(group.fd, zeros, SEGMENT_BYTES, 0);

	sm_free(zeros);
	if (put >= 0 && put < (ssize_t)SEGMENT_BYTES) {
		put = -1;
		errno = ENOSPC; /* what the next write would say */
	}
	if (put == -1 || fdatasync(group.fd) == -1)
		return complain("write the log"), false;
	return true;
}

static void log_finish(void)
{
	char path[PATH_BYTES + 40];

	snprintf(path, sizeof(path), "%s/log", base);
	if (group.fd != -1) {
		close(group.fd);
		unlink(path);
	}
	sm_free(group.batch);
}

/* ---- measuring ------------------------------------------------------------------------------ */

static void wait_seconds(void)
{
	int64_t until = sm_now_ms() + (int64_t)opt.seconds * 1000;

	while (!interrupted && !atomic_load(&stopping) && sm_now_ms() < until)
		usleep(20 * 1000);
	atomic_store(&stopping, true);
}

static void start(pthread_t *t, void *(*fn)(void *), void *arg)
{
	int rc = pthread_create(t, NULL, fn, arg);

	if (rc != 0) {
		fprintf(stderr, "fsperf1: no thread: %s\n", strerror(rc));
		exit(EX_OSERR);
	}
}

static void measure(const char *what, void *(*fn)(void *), unsigned threads, bool log)
{
	struct worker *w = sm_calloc(threads, sizeof(*w));
	pthread_t commit;
	struct worker sum = {.done = 0};
	uint64_t syncs_before = group.syncs;

	if (interrupted || failed) {
		sm_free(w);
		return;
	}
	atomic_store(&stopping, false);
	group.end = false;
	int64_t since = sm_now_us();

	if (log)
		start(&commit, committer, NULL);
	for (unsigned i = 0; i < threads; i++) {
		w[i].index = i;
		start(&w[i].thread, fn, &w[i]);
	}
	wait_seconds();
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(w[i].thread, NULL);
		sum.done += w[i].done;
		sum.worst_us = SM_MAX(sum.worst_us, w[i].worst_us);
	}
	double seconds = (double)(sm_now_us() - since) / 1e6;

	if (log) {
		pthread_mutex_lock(&group.lock);
		group.end = true;
		pthread_cond_signal(&group.more);
		pthread_mutex_unlock(&group.lock);
		pthread_join(commit, NULL);
	}
	if (!failed && sum.done > 0) {
		uint64_t syncs = log ? group.syncs - syncs_before : sum.done;

		printf("%-22s %7u %10.0f %9.0f %9.2f %9.2f\n", what, threads,
		       (double)sum.done / seconds, (double)syncs / seconds,
		       seconds * 1e3 * threads / (double)sum.done, (double)sum.worst_us / 1e3);
		fflush(stdout);
	}
	sm_free(w);
}

static bool make_dirs(void)
{
	char path[PATH_BYTES + 8];

	if (mkdtemp(base) == NULL)
		return complain("make a directory"), false;
	for (unsigned i = 0; i < DIRS; i++) {
		snprintf(path, sizeof(path), "%s/%X", base, i);
		if (mkdir(path, 0700) == -1)
			return complain("make a directory"), false;
	}
	return true;
}

static void remove_dirs(void)
{
	char path[PATH_BYTES + 8];

	for (unsigned i = 0; i < DIRS; i++) {
		snprintf(path, sizeof(path), "%s/%X", base, i);
		rmdir(path);
	}
	if (rmdir(base) == -1)
		fprintf(stderr, "fsperf1: %s could not be removed: %s\n", base, strerror(errno));
}

/* ---- command line --------------------------------------------------------------------------- */

SM_NORETURN static void usage(const char *why)
{
	if (why)
		fprintf(stderr, "fsperf1: %s\n", why);
	fprintf(stderr, "usage: fsperf1 [-d directory] [-s size] [-t seconds]\n");
	exit(EX_USAGE);
}

/* size = digits [ "k" / "m" ], any case */
static int parse_size(struct sm_str s, uint64_t *out)
{
	uint64_t unit = 1;

	if (sm_str_has_casesuffix(s, SM_STR("k")))
		unit = 1024;
	else if (sm_str_has_casesuffix(s, SM_STR("m")))
		unit = 1024 * 1024;
	if (unit > 1)
		s.n--;
	int rc = sm_str_u64(s, 10, SIZE_MAX_ / unit, out);

	if (rc == 0 && *out == 0)
		rc = sm_fail(SM_E_RANGE, "it must be at least 1");
	*out *= unit;
	return rc;
}

static void parse_args(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "d:s:t:")) != -1) {
		switch (c) {
		case 'd':
			opt.dir = optarg;
			break;
		case 's':
			if (parse_size(sm_str(optarg), &opt.size_bytes) != 0)
				usage(sm_diag());
			break;
		case 't':
			if (sm_str_u64(sm_str(optarg), 10, SECONDS_MAX, &opt.seconds) != 0)
				usage(sm_diag());
			if (opt.seconds == 0)
				usage("a measurement takes at least a second");
			break;
		default:
			usage(NULL);
		}
	}
	if (optind != argc)
		usage("there are only options");
	int n = snprintf(base, sizeof(base), "%s/fsperf1.XXXXXX", opt.dir);

	if (n < 0 || (size_t)n >= sizeof(base))
		usage("the directory's name is too long");
}

int main(int argc, char **argv)
{
	static const unsigned content_threads[] = {1, 2, 4, 8};
	static const unsigned log_writers[] = {1, 8, 50, WRITERS_MAX};
	struct sigaction sa = {.sa_handler = on_signal};

	parse_args(argc, argv);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!make_dirs())
		return EX_CANTCREAT;
	printf("%-22s %7s %10s %9s %9s %9s\n", "", "threads", "per s", "syncs/s", "mean ms",
	       "worst ms");
	for (size_t i = 0; i < SM_ARRAY_SIZE(content_threads); i++) {
		char what[40];

		snprintf(what, sizeof(what), "content, %llu bytes",
		         (unsigned long long)opt.size_bytes);
		measure(what, content_worker, content_threads[i], false);
	}
	if (!interrupted && !failed && log_prepare())
		for (size_t i = 0; i < SM_ARRAY_SIZE(log_writers); i++)
			measure("log record, 512 bytes", log_worker, log_writers[i], true);
	log_finish();
	remove_dirs();
	return failed ? EX_IOERR : 0;
}
