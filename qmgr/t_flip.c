/*
 * One flipped bit in a queue at rest: all but the record that it hit is recovered as it was, and
 * that one is named. T_FLIPS says at how many places (default 200, half in each log); T_FLIP_SEED
 * which.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libsm/log.h"
#include "libsm/loop.h"
#include "libsm/t_patience.h"
#include "libsm/wire.h"
#include "qmgr/log_batch.h"
#include "qmgr/t_store.h"

#define SEGMENT   (64 * 1024)
#define OF_EACH   300 /* transactions in each log */
#define IN_BATCH  12
#define FILES_MAX 16
#define SAID_MAX  65536

/* A file of the queue as it was left, and how much of it is used. */
struct file {
	char path[400];
	bool ibdb;
	uint32_t seq;
	size_t size, used;
	uint8_t *p;
};

/* A record and whom it is about. */
struct place {
	bool ibdb;
	uint32_t seq;
	size_t at, size;
	uint64_t ta; /* counter; 0: of no transaction */
};

static struct {
	struct t_store t;
	struct file file[FILES_MAX];
	size_t files, places;
	struct place place[8 * OF_EACH];
	bool known[2 * OF_EACH + 1]; /* is it open in the undamaged queue? */
	uint64_t dice;
	struct {
		unsigned flips, hit, named, spared;
	} count;
} w;

/* ---- the queue ---- */

static unsigned rcpts_of(uint64_t n)
{
	return 1 + (unsigned)(n % 3);
}

static struct qm_txn *mail(uint64_t n)
{
	char addr[3][64], sender[64], envid[64];
	struct sm_msg_rcpt_new rcpts[3];
	struct sm_msg_ta_commit m = {.ta = {n, 1}, .content = {n, 1}, .size = 1000 + n};

	for (unsigned i = 0; i < 3; i++) {
		snprintf(addr[i], sizeof(addr[i]), "r%u.%llu@d%llu.test", i, (unsigned long long)n,
		         (unsigned long long)n % 7);
		rcpts[i] = (struct sm_msg_rcpt_new){sm_str(addr[i]), SM_STR(""), 0};
	}
	snprintf(sender, sizeof(sender), "s%llu@z.test", (unsigned long long)n);
	snprintf(envid, sizeof(envid), "%.*s", (int)(n % 60),
	         "an-envelope-id-of-some-length-so-that-records-differ-in-size");
	m.sender = sm_str(sender);
	m.envid = sm_str(envid);
	m.received_s = (int64_t)n;
	m.rcpts = rcpts;
	m.rcpts_count = rcpts_of(n);
	return qm_txn_from_commit(&w.t.txns, &m);
}

static void fill(void)
{
	struct qm_txn *put[OF_EACH];

	for (uint64_t n = 1; n <= OF_EACH; n++) {
		put[n - 1] = mail(n);
		qm_store_txn(w.t.st, put[n - 1], qm_store_ibdb(w.t.st));
		if (n % 5 == 0) {
			qm_rcpt_set(&put[n - 1]->rcpts[0], QM_RCPT_DEFERRED);
			qm_store_rcpt(w.t.st, &put[n - 1]->rcpts[0]);
		}
		if (n % 11 == 0)
			qm_store_end(w.t.st, put[n - 1]);
		if (n % IN_BATCH == 0)
			t_flush(&w.t);
	}
	for (uint64_t n = OF_EACH + 1; n <= 2 * OF_EACH; n++) {
		struct qm_txn *txn = mail(n);

		qm_rcpt_set(&txn->rcpts[0], QM_RCPT_DEFERRED);
		qm_store_txn(w.t.st, txn, qm_store_defedb(w.t.st));
		qm_txn_free(&w.t.txns, &txn);
		if (n % IN_BATCH == 0)
			t_flush(&w.t);
	}
	t_flush(&w.t);
}

/* ---- its files ---- */

static int seen(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type, struct sm_str body)
{
	struct sm_reader r = sm_reader(body);
	struct place *p = &w.place[w.places++];

	(void)lsn;
	sm_assert(w.places < SM_ARRAY_SIZE(w.place));
	p->ibdb = arg != NULL;
	p->seq = loc.seq;
	p->at = (size_t)loc.block * QM_BLOCK + loc.at;
	p->size = QM_RECORD_HEADER + body.n;
	p->ta = type >= QM_REC_txn && type <= QM_REC_moved ? sm_r_id(&r).counter : 0;
	return 0;
}

static void segment(void *arg, struct qm_log *log, const struct qm_log_segment *s)
{
	(void)log;
	for (size_t i = 0; i < w.files; i++)
		if (w.file[i].ibdb == (arg != NULL) && w.file[i].seq == s->seq)
			w.file[i].used = s->end;
}

static void load_dir(const char *dir, const char *name)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while ((e = readdir(d)) != NULL) {
		struct file *f = &w.file[w.files];
		FILE *in;

		if (strncmp(e->d_name, name, strlen(name)) != 0 || strstr(e->d_name, ".lock"))
			continue;
		sm_assert(w.files++ < FILES_MAX);
		snprintf(f->path, sizeof(f->path), "%s/%s", dir, e->d_name);
		f->ibdb = strcmp(name, "ibdb") == 0;
		f->seq = (uint32_t)strtoul(strrchr(e->d_name, '.') + 1, NULL, 16);
		f->p = sm_malloc(SEGMENT);
		in = fopen(f->path, "r");
		f->size = fread(f->p, 1, SEGMENT, in);
		fclose(in);
	}
	closedir(d);
}

static void walk(const char *dir, const char *name, bool ibdb)
{
	struct qm_lsn lsn = {0};
	struct qm_log_conf c = {.name = name,
	                        .dir = dir,
	                        .read_only = true,
	                        .lsn = &lsn,
	                        .arg = ibdb ? &w : NULL,
	                        .on_segment = segment};
	struct qm_log *log;

	assert_int_equal(qm_log_open(&c, &log), 0);
	assert_int_equal(qm_log_replay(log, seen, c.arg), 0);
	qm_log_close(&log);
}

static void empty(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[512];

	while ((e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	closedir(d);
}

static void put_back(void)
{
	empty(w.t.ibdb);
	empty(w.t.defedb);
	for (size_t i = 0; i < w.files; i++) {
		FILE *out = fopen(w.file[i].path, "w");

		assert_int_equal(fwrite(w.file[i].p, 1, w.file[i].size, out), w.file[i].size);
		fclose(out);
	}
}

/* ---- what is recovered ---- */

static void right(const struct qm_rec_txn *rec)
{
	uint64_t n = rec->ta.counter;
	char text[64];

	assert_true(n >= 1 && n <= 2 * OF_EACH && rec->ta.proc == 1);
	snprintf(text, sizeof(text), "s%llu@z.test", (unsigned long long)n);
	assert_true(sm_str_eq(rec->sender, sm_str(text)));
	assert_true(sm_id_eq(rec->content, rec->ta));
	assert_int_equal(rec->size, 1000 + n);
	assert_int_equal(rec->received_s, n);
	assert_int_equal(rec->envid.n, n % 60);
	assert_int_equal(rec->rcpts_count, rcpts_of(n));
	for (unsigned i = 0; i < rec->rcpts_count; i++) {
		snprintf(text, sizeof(text), "r%u.%llu@d%llu.test", i, (unsigned long long)n,
		         (unsigned long long)n % 7);
		assert_true(sm_str_eq(rec->rcpts[i].addr, sm_str(text)));
	}
}

/* Reads each envelope back, as a delivery does. */
static void recovered(bool there[2 * OF_EACH + 1])
{
	const struct qm_edbc_entry *e;
	uint64_t cursor = 0;
	struct sm_buf body;
	struct sm_arena a;

	memset(there, 0, 2 * OF_EACH + 1);
	sm_buf_init(&body, QM_LOG_RECORD_MAX);
	sm_arena_init(&a, "t_flip", 4096, 16 * QM_LOG_RECORD_MAX);
	while ((e = qm_edbc_walk(w.t.edbc, &cursor)) != NULL) {
		struct qm_rec_txn rec;

		sm_arena_reset(&a);
		if (qm_store_decode_at(qm_store_defedb(w.t.st), qm_edbc_loc(e), &body, &a, &rec))
			fail_msg("%llu: %s", (unsigned long long)qm_edbc_id(e).counter, sm_diag());
		right(&rec);
		there[rec.ta.counter] = true;
	}
	sm_arena_fini(&a);
	sm_buf_fini(&body);
}

/* Opens the queue with its log lines in `said`. */
static void start(char said[SAID_MAX])
{
	int err = dup(STDERR_FILENO), fd = open("t_flip.log", O_RDWR | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	dup2(fd, STDERR_FILENO);
	t_store_open(&w.t);
	t_store_settle(&w.t);
	sm_log_flush();
	dup2(err, STDERR_FILENO);
	close(err);
	n = pread(fd, said, SAID_MAX - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(fd);
	unlink("t_flip.log");
}

/* ---- the flips ---- */

static uint64_t below(uint64_t n)
{
	w.dice = w.dice * 6364136223846793005u + 1442695040888963407u;
	return (w.dice >> 33) % n;
}

static const struct place *hit(const struct file *f, size_t at)
{
	for (size_t i = 0; i < w.places; i++) {
		const struct place *p = &w.place[i];

		if (p->ibdb == f->ibdb && p->seq == f->seq && at >= p->at && at < p->at + p->size)
			return p;
	}
	return NULL;
}

/* Is there a line of this event that has `at` between its offset and length? */
static const char *names(const char *said, const char *event, const struct file *f, size_t at)
{
	char start_of[80];
	const char *p = said;

	snprintf(start_of, sizeof(start_of), "%s log=%s, segment=%u, ", event,
	         f->ibdb ? "ibdb" : "defedb", f->seq);
	while ((p = strstr(p, start_of)) != NULL) {
		unsigned long long offset, length;

		p += strlen(start_of);
		if (sscanf(p, "offset=%llu, length=%llu", &offset, &length) == 2 && at >= offset &&
		    at < offset + length)
			return p;
	}
	return NULL;
}

/* The damaged bytes are kept as they were. */
static void kept(const char *line, const struct file *f, size_t at, uint8_t byte)
{
	unsigned long long offset;
	char name[64], path[256];
	FILE *in;

	assert_int_equal(sscanf(line, "offset=%llu", &offset), 1);
	assert_int_equal(sscanf(strstr(line, "kept_in="), "kept_in=%63[^,\n]", name), 1);
	snprintf(path, sizeof(path), "%s/%s", f->ibdb ? w.t.ibdb : w.t.defedb, name);
	in = fopen(path, "r");
	assert_non_null(in);
	fseek(in, (long)(at - offset), SEEK_SET);
	assert_int_equal(fgetc(in), byte);
	fclose(in);
}

static void one(const struct file *f, size_t at, unsigned bit)
{
	bool there[2 * OF_EACH + 1];
	const struct place *p = hit(f, at);
	uint8_t byte = (uint8_t)(f->p[at] ^ 1u << bit);
	char *said = sm_malloc(SAID_MAX);
	const char *line;
	int fd;

	put_back();
	fd = open(f->path, O_WRONLY);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
	start(said);
	recovered(there);
	w.count.flips++;
	w.count.hit += p != NULL;
	for (uint64_t n = 1; n <= 2 * OF_EACH; n++)
		if (there[n] != w.known[n] && (p == NULL || p->ta != n))
			fail_msg("%s at %zu bit %u: mail %llu is %s", f->path, at, bit,
			         (unsigned long long)n, there[n] ? "open again" : "lost");
	if (p != NULL) {
		if ((line = names(said, "qm.log_damage", f, at)) == NULL)
			fail_msg("%s at %zu bit %u: not named:\n%s", f->path, at, bit, said);
		kept(line, f, at, byte);
		if ((line = names(said, "qm.log_lost", f, at)) == NULL)
			fail_msg("%s at %zu bit %u: record not named:\n%s", f->path, at, bit, said);
		/* By its id, when that and the type are as they were. */
		char id[SM_ID_SIZE], want[40];
		size_t in = at - p->at;

		snprintf(want, sizeof(want), "ss_ta=%s", sm_id_text((struct sm_id){p->ta, 1}, id));
		if (p->ta != 0 && in != 12 && in != 13 &&
		    (in < QM_RECORD_HEADER || in >= QM_RECORD_HEADER + 9)) {
			const char *end = strchr(line, '\n');
			const char *found = strstr(line, want);

			assert_true(found != NULL && found < end);
			w.count.named++;
		}
		w.count.spared += p->ta == 0 || there[p->ta] == w.known[p->ta];
	}
	sm_free(said);
	t_store_close(&w.t);
}

static size_t used_of(bool ibdb)
{
	size_t n = 0;

	for (size_t i = 0; i < w.files; i++)
		n += w.file[i].ibdb == ibdb ? w.file[i].used : 0;
	return n;
}

static void any_bit(void **state)
{
	const char *flips = getenv("T_FLIPS"), *seed = getenv("T_FLIP_SEED");
	unsigned count = flips ? (unsigned)atoi(flips) : 200;

	(void)state;
	w.dice = seed ? strtoull(seed, NULL, 10) : 1;
	for (unsigned i = 0; i < count; i++) {
		bool ibdb = i % 2 == 0;
		size_t at = below(used_of(ibdb));

		for (size_t k = 0; k < w.files; k++) {
			const struct file *f = &w.file[k];

			if (f->ibdb != ibdb)
				continue;
			if (at < f->used) {
				one(f, at, (unsigned)below(8));
				break;
			}
			at -= f->used;
		}
	}
	printf("%u flips in queues of %u mails: %u in records (%u named by id, %u of no effect on "
	       "what is open); all others recovered\n",
	       w.count.flips, 2 * OF_EACH, w.count.hit, w.count.named, w.count.spared);
}

static int setup(void **state)
{
	static char said[SAID_MAX];

	(void)state;
	sm_log_init("t_flip", 15);
	t_store_dir(&w.t, SEGMENT);
	t_store_open(&w.t);
	fill();
	t_store_close(&w.t);
	load_dir(w.t.ibdb, "ibdb");
	load_dir(w.t.defedb, "defedb");
	walk(w.t.ibdb, "ibdb", true);
	walk(w.t.defedb, "defedb", false);
	start(said);
	recovered(w.known);
	t_store_close(&w.t);
	return strstr(said, "qm.log_") != NULL; /* nothing is wrong with it so far */
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < w.files; i++)
		sm_free(w.file[i].p);
	t_store_rm(&w.t);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_bit)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
