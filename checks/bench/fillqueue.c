/*
 * Fills the queue of a site that is not running: N deferred transactions, written through the same
 * code as qmgr's own, so that tests and measurements have a million of them in seconds.
 *
 *     fillqueue [-n transactions] [-r recipients of each] [-d domains] [-s senders] [-R reasons]
 *               [-t due in seconds] [-S spread of that in seconds] [-a age in seconds]
 *               [-w] [-c CDB [-g segment bytes]] SPOOL
 *
 * SPOOL has the directories ibdb and defedb. Transaction i is from user<i mod senders>, recipient k
 * of it goes to domain (i + k) mod domains and waits for reason (i + k) mod reasons; with -w until
 * it is asked for. With -c each has a content, a small one that tells its number, in the store CDB:
 * in a file of its own, or with -g in segments of that size, which are written as smtps does it.
 * Without -c nothing but the queue is there. What is due later than retry_max_delay is tried at
 * once: qmgr takes it for a clock that was set back. Needs no users and no configuration; give the
 * files to their user afterwards.
 *
 * What takes a sync (segments) or fails is for coroutines, as in smtps; the rest runs through.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libcdb/cdb.h"
#include "libsm/co.h"
#include "libsm/loop.h"
#include "libsm/offload.h"
#include "libsm/time.h"
#include "qmgr/store.h"

/* Batches as large as a busy qmgr writes them: a record is read back with its whole batch. */
#define FLUSH_BYTES (128u * 1024)
/* Contents that are committed at the same time: a sync is for all of them. */
#define WRITERS 256
/* What the content of each is. */
#define CONTENT_FMT                                                                    \
	"Received: from bench\r\nSubject: waiting\r\nX-Bench: fillqueue %09lu\r\n\r\n" \
	"This mail waits.\r\n"

static struct {
	unsigned long count, rcpts, domains, senders, reasons;
	long due_s, spread_s, age_s;
	bool waits;             /* until it is asked for */
	uint64_t segment_bytes; /* 0: each content has a file of its own */
	const char *cdb, *spool;
} opt = {.count = 1000,
         .rcpts = 1,
         .domains = 200,
         .senders = 300,
         .reasons = 50,
         .due_s = 1800,
         .spread_s = 1800,
         .age_s = 7200};

static struct {
	struct qm_store *st;
	struct qm_txn_table txns;
	struct cdb *cdb;    /* with segments */
	uint64_t counter;   /* of the next id */
	unsigned long next; /* transaction */
	unsigned writers;   /* coroutines that are not done yet */
	int64_t now_s;
} me;

static void die(const char *what)
{
	fprintf(stderr, "fillqueue: %s: %s\n", what, sm_diag());
	exit(1);
}

static unsigned long value(const char *s, unsigned long least, unsigned long most)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	if (*s == '\0' || *end != '\0' || v < least || v > most) {
		fprintf(stderr, "fillqueue: %s: a number from %lu to %lu\n", s, least, most);
		exit(64);
	}
	return v;
}

/* Words without digits, so that reasons stay different when they are counted. */
static void reason(char *out, size_t size, unsigned long n)
{
	snprintf(out, size, "4.%lu.%lu mailbox of kind %c%c is full, try again later", n % 4 + 1,
	         n % 5, (char)('a' + n / 26 % 26), (char)('a' + n % 26));
}

static void set_rcpt(struct qm_rcpt *r, unsigned long i, unsigned long k, int64_t now_s)
{
	char addr[128], text[128], host[64];
	struct sm_arena *a = &r->txn->arena;
	unsigned long domain = (i + k) % opt.domains;

	/* Local parts of 18 bytes. */
	snprintf(addr, sizeof(addr), "rcpt.%09lu.%03lu@domain%06lu.example", i, k % 1000, domain);
	snprintf(host, sizeof(host), "mx%lu.domains.example", domain % 97);
	reason(text, sizeof(text), (i + k) % opt.reasons);
	r->addr = sm_arena_str(a, sm_str(addr));
	r->host = sm_arena_str(a, sm_str(host));
	r->text = sm_arena_str(a, sm_str(text));
	r->code = (uint16_t)(450 + (i + k) % opt.reasons % 3);
	r->tries = (uint16_t)(1 + i % 20);
	r->last_try_s = now_s - 60;
	r->next_try_s = now_s + opt.due_s + (opt.spread_s ? (long)(i * 7919) % opt.spread_s : 0);
	r->flags = opt.waits ? QM_RCPT_ASKED : 0;
	qm_rcpt_set(r, QM_RCPT_DEFERRED);
}

/* Ids in a row, as an smtps has them: of transactions, and of segments among them. */
static struct sm_id take_id(void)
{
	return (struct sm_id){me.counter++, 0};
}

/* ---- contents ---- */

static size_t content_of(unsigned long i, char *out, size_t size)
{
	return (size_t)snprintf(out, size, CONTENT_FMT, i);
}

/* A file of its own, which is nothing but the content. Not synced: a million syncs take too long,
 * and what is lost is filled again. */
static void put_file(struct sm_id id, const char *content, size_t size)
{
	char name[SM_ID_SIZE], path[512];
	int fd;

	sm_id_text(id, name);
	snprintf(path, sizeof(path), "%s/%c/%s", opt.cdb, name[16], name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0640);
	if (fd < 0 || write(fd, content, size) != (ssize_t)size) {
		perror(path);
		exit(1);
	}
	close(fd);
}

static SM_YIELDS void put_in_segment(struct sm_id id, const char *content, struct cdb_place *at)
{
	struct cdb_writer *w = cdb_write(me.cdb, id, 0);

	if (cdb_append(w, content, at->size) != 0 || cdb_commit(&w, at) != 0)
		die("content");
}

static bool segment_id(void *arg, struct sm_id *id)
{
	(void)arg;
	*id = take_id();
	return true;
}

/* Whoever starts on this queue finds nobody who has it open. */
static void segment_sealed(void *arg, struct sm_id segment)
{
	(void)arg;
	(void)segment;
}

static void open_segments(void)
{
	char base[512];
	struct cdb_conf conf = {.base = base,
	                        .gid = (gid_t)-1,
	                        .segment_bytes = opt.segment_bytes,
	                        .new_id = segment_id,
	                        .sealed = segment_sealed};

	snprintf(base, sizeof(base), "%s/", opt.cdb);
	if (cdb_open(&conf, &me.cdb) != 0)
		die(base);
}

/* ---- transactions ---- */

static void add(struct sm_id id, unsigned long i, const struct cdb_place *at)
{
	struct qm_txn *txn = qm_txn_new(&me.txns, id, opt.rcpts);
	struct qm_log *defedb = qm_store_defedb(me.st);
	char sender[128];

	snprintf(sender, sizeof(sender), "user%06lu@sender%04lu.example", i % opt.senders,
	         i % opt.senders % 5000);
	txn->content = at->content;
	txn->content_offset = at->offset;
	txn->size = at->size;
	txn->deliver = opt.waits ? SM_DELIVER_HOLD : SM_DELIVER_BACKGROUND;
	txn->sender = sm_arena_str(&txn->arena, sm_str(sender));
	txn->received_s = txn->queued_s = me.now_s - opt.age_s;
	for (unsigned long k = 0; k < opt.rcpts; k++)
		set_rcpt(&txn->rcpts[k], i, k, me.now_s);
	qm_store_txn(me.st, txn, defedb);
	qm_txn_free(&me.txns, &txn);
	if (qm_log_pending_bytes(defedb) > FLUSH_BYTES && qm_log_flush(defedb) != 0)
		die("defedb");
}

/* The next one, with its content. */
static SM_YIELDS void add_next(void)
{
	unsigned long i = me.next++;
	struct sm_id id = take_id();
	struct cdb_place at = {.content = id};
	char content[256];

	at.size = content_of(i, content, sizeof(content));
	if (me.cdb)
		put_in_segment(id, content, &at);
	else if (opt.cdb)
		put_file(id, content, at.size);
	else
		at.size += i % 50 * 1024; /* nobody reads it */
	add(id, i, &at);
	if (me.cdb)
		cdb_handed_over(me.cdb, at.content);
}

static void writer(void *arg)
{
	(void)arg;
	while (me.next < opt.count)
		add_next();
	if (--me.writers == 0)
		sm_loop_stop(0);
}

static void fill(uint64_t counter)
{
	uint64_t first;

	me.now_s = sm_wall_s();
	/* Not older than the logs, or qmgr would keep the segments for what else may be in them. */
	me.counter = first = SM_MAX(counter, (uint64_t)me.now_s << QM_COUNTER_SHIFT);
	for (me.writers = 0; me.writers < WRITERS; me.writers++)
		if (sm_co_spawn("writer", writer, NULL) == NULL)
			die("coroutine");
	(void)sm_loop_run();
	/* Granted as to an smtps. */
	qm_store_id_block(me.st, first, (uint32_t)(me.counter - first), 0, getpid());
	if (qm_log_flush(qm_store_defedb(me.st)) != 0 || qm_log_flush(qm_store_ibdb(me.st)) != 0)
		die("flush");
}

static void options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:r:d:s:R:t:S:a:c:g:w")) != -1) {
		switch (c) {
		case 'n':
			opt.count = value(optarg, 1, 100000000);
			break;
		case 'r':
			opt.rcpts = value(optarg, 1, 1000);
			break;
		case 'd':
			opt.domains = value(optarg, 1, 999999);
			break;
		case 's':
			opt.senders = value(optarg, 1, 999999);
			break;
		case 'R':
			opt.reasons = value(optarg, 1, 676);
			break;
		case 't':
			opt.due_s = (long)value(optarg, 0, 31536000);
			break;
		case 'S':
			opt.spread_s = (long)value(optarg, 0, 31536000);
			break;
		case 'a':
			opt.age_s = (long)value(optarg, 0, 31536000);
			break;
		case 'w':
			opt.waits = true;
			break;
		case 'c':
			opt.cdb = optarg;
			break;
		case 'g':
			opt.segment_bytes = value(optarg, 4096, 1 << 30);
			break;
		default:
			exit(64);
		}
	}
	if (optind + 1 != argc || (opt.segment_bytes && !opt.cdb)) {
		fprintf(stderr,
		        "usage: fillqueue [options] SPOOL; the head of its source lists them\n");
		exit(64);
	}
	opt.spool = argv[optind];
}

int main(int argc, char **argv)
{
	struct qm_conf conf = {0};
	struct qm_recovered found;
	struct qm_edbc *edbc = qm_edbc_new();
	char ibdb[512], defedb[512];

	options(argc, argv);
	snprintf(ibdb, sizeof(ibdb), "%s/ibdb", opt.spool);
	snprintf(defedb, sizeof(defedb), "%s/defedb", opt.spool);
	conf.ibdb.base_directory = sm_str(ibdb);
	conf.defedb.base_directory = sm_str(defedb);
	if (sm_loop_init() != 0 || sm_offload_init(1) != 0)
		die("loop");
	qm_txn_table_init(&me.txns);
	if (qm_store_open(&conf, &me.txns, edbc, &found, &me.st) != 0)
		die(opt.spool);
	if (opt.segment_bytes)
		open_segments();
	fill(found.next_counter);
	cdb_close(&me.cdb);
	qm_store_close(&me.st);
	qm_edbc_free(&edbc);
	qm_txn_table_fini(&me.txns);
	sm_free(found.ended);
	printf("%lu transactions, %lu recipients\n", opt.count, opt.count * opt.rcpts);
	return 0;
}
