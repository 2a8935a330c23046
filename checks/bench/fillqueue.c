/*
 * Fills the queue of a site that is not running: N deferred transactions, written through the same
 * code as qmgr's own, so that tests and measurements have a million of them in seconds.
 *
 *     fillqueue [-n transactions] [-r recipients of each] [-d domains] [-s senders] [-R reasons]
 *               [-t due in seconds] [-S spread of that in seconds] [-a age in seconds]
 *               [-c CDB] SPOOL
 *
 * SPOOL has the directories ibdb and defedb. Transaction i is from user<i mod senders>, recipient k
 * of it goes to domain (i + k) mod domains and waits for reason (i + k) mod reasons. With -c each
 * has a content, a small one, in the store CDB; without, nothing but the queue is there. What is
 * due later than retry_max_delay is tried at once: qmgr takes it for a clock that was set back.
 * Needs no users and no configuration; give the files to their user afterwards.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libsm/loop.h"
#include "libsm/offload.h"
#include "libsm/time.h"
#include "qmgr/store.h"

/* Batches as large as a busy qmgr writes them: a record is read back with its whole batch. */
#define FLUSH_BYTES (128u * 1024)

static struct {
	unsigned long count, rcpts, domains, senders, reasons;
	long due_s, spread_s, age_s;
	bool waits; /* until it is asked for */
	const char *cdb, *spool;
} opt = {.count = 1000,
         .rcpts = 1,
         .domains = 200,
         .senders = 300,
         .reasons = 50,
         .due_s = 1800,
         .spread_s = 1800,
         .age_s = 7200};

static const char content[] =
    "Received: from bench\r\nSubject: waiting\r\nX-Bench: fillqueue\r\n\r\n"
    "This mail waits.\r\n";

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

static void write_content(struct sm_id id)
{
	char name[SM_ID_SIZE], path[512];
	int fd;

	sm_id_text(id, name);
	snprintf(path, sizeof(path), "%s/%c/%s", opt.cdb, name[16], name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0640);
	if (fd < 0 || write(fd, content, sizeof(content) - 1) != (ssize_t)sizeof(content) - 1) {
		perror(path);
		exit(1);
	}
	close(fd);
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

static void add(struct qm_store *st, struct qm_txn_table *txns, struct sm_id id, unsigned long i,
                int64_t now_s)
{
	struct qm_txn *txn = qm_txn_new(txns, id, opt.rcpts);
	char sender[128];

	snprintf(sender, sizeof(sender), "user%06lu@sender%04lu.example", i % opt.senders,
	         i % opt.senders % 5000);
	txn->content = id;
	txn->deliver = opt.waits ? SM_DELIVER_HOLD : SM_DELIVER_BACKGROUND;
	txn->size = sizeof(content) - 1 + i % 50 * 1024;
	if (opt.cdb)
		txn->size = sizeof(content) - 1;
	txn->sender = sm_arena_str(&txn->arena, sm_str(sender));
	txn->received_s = txn->queued_s = now_s - opt.age_s;
	for (unsigned long k = 0; k < opt.rcpts; k++)
		set_rcpt(&txn->rcpts[k], i, k, now_s);
	qm_store_txn(st, txn, qm_store_defedb(st));
	qm_txn_free(txns, &txn);
}

static void fill(struct qm_store *st, struct qm_txn_table *txns, uint64_t counter)
{
	int64_t now_s = sm_wall_s();

	/* Ids in a row, as an smtps has them; the counters are granted as to one. */
	counter = SM_MAX(counter, (uint64_t)(now_s - opt.age_s) << QM_COUNTER_SHIFT);
	qm_store_id_block(st, counter, (uint32_t)opt.count, 0, getpid());
	for (unsigned long i = 0; i < opt.count; i++) {
		struct sm_id id = {counter + i, 0};

		if (opt.cdb)
			write_content(id);
		add(st, txns, id, i, now_s);
		if (qm_log_pending_bytes(qm_store_defedb(st)) > FLUSH_BYTES &&
		    qm_log_flush(qm_store_defedb(st)) != 0)
			die("defedb");
	}
	if (qm_log_flush(qm_store_defedb(st)) != 0 || qm_log_flush(qm_store_ibdb(st)) != 0)
		die("flush");
}

static void options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:r:d:s:R:t:S:a:c:w")) != -1) {
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
		default:
			exit(64);
		}
	}
	if (optind + 1 != argc) {
		fprintf(stderr,
		        "usage: fillqueue [options] SPOOL; the head of its source lists them\n");
		exit(64);
	}
	opt.spool = argv[optind];
}

int main(int argc, char **argv)
{
	struct qm_conf conf = {0};
	struct qm_txn_table txns;
	struct qm_recovered found;
	struct qm_store *st;
	struct qm_edbc *edbc = qm_edbc_new();
	char ibdb[512], defedb[512];

	options(argc, argv);
	snprintf(ibdb, sizeof(ibdb), "%s/ibdb", opt.spool);
	snprintf(defedb, sizeof(defedb), "%s/defedb", opt.spool);
	conf.ibdb.base_directory = sm_str(ibdb);
	conf.defedb.base_directory = sm_str(defedb);
	if (sm_loop_init() != 0)
		die("loop");
	qm_txn_table_init(&txns);
	if (qm_store_open(&conf, &txns, edbc, &found, &st) != 0)
		die(opt.spool);
	fill(st, &txns, found.next_counter);
	qm_store_close(&st);
	qm_edbc_free(&edbc);
	qm_txn_table_fini(&txns);
	sm_free(found.ended);
	printf("%lu transactions, %lu recipients\n", opt.count, opt.count * opt.rcpts);
	return 0;
}
