/*
 * qdump: print or verify a log of the queue (IBDB, DEFEDB) that no qmgr has open.
 *
 * Changes nothing on the disk. It takes the log's lock, so that it refuses while qmgr runs and qmgr
 * does not start meanwhile. Exit status: 0; 1 with -v when anything is damaged, missing or
 * undecodable; 64 wrong use; 65 the log cannot be read; 75 in use; 78 another release wrote it.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libsm/buf.h"
#include "libsm/log.h"
#include "libsm/time.h"
#include "qmgr/log.h"
#include "qmgr/rec.h"

enum { EX_DAMAGED = 1, EX_WRONG_USE = 64, EX_UNREADABLE = 65, EX_IN_USE = 75, EX_FOREIGN = 78 };

#define HEX_SHOWN 32

struct qdump {
	bool verify, segments_only, raw;
	struct sm_id only; /* of the transaction wanted */
	struct sm_arena arena;
	struct sm_buf line;
	uint64_t records, undecodable, damages, lost, missing, torn, segments;
};

static void show_raw(struct sm_buf *b, struct sm_str body)
{
	sm_buf_printf(b, "%zu bytes ", body.n);
	for (size_t i = 0; i < SM_MIN(body.n, (size_t)HEX_SHOWN); i++)
		sm_buf_printf(b, "%02x", (unsigned)(uint8_t)body.p[i]);
	if (body.n > HEX_SHOWN)
		sm_buf_cstr(b, "...");
}

/* Every record of a transaction begins with its id; those that are about none are never asked for.
 */
static bool wanted(const struct qdump *q, uint16_t type, struct sm_str body)
{
	struct sm_reader r = sm_reader(body);

	if (sm_id_none(q->only))
		return true;
	if (type == QM_REC_id_block)
		return false;
	return sm_id_eq(sm_r_id(&r), q->only) && r.err == 0;
}

static int on_record(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type, struct sm_str body)
{
	struct qdump *q = arg;
	const struct sm_def_info *info = qm_rec_info(type);
	void *m = NULL;
	int rc = SM_E_NOTFOUND;

	q->records++;
	sm_arena_reset(&q->arena);
	if (info != NULL) {
		m = sm_calloc(1, info->size);
		rc = info->decode(body, &q->arena, m);
	}
	q->undecodable += rc != 0;
	if (!q->verify && !q->segments_only && wanted(q, type, body)) {
		sm_buf_reset(&q->line);
		if (rc == 0 && !q->raw)
			info->dump(&q->line, m);
		else
			show_raw(&q->line, body);
		printf("%" PRIu64 " %08" PRIx32 ":%" PRIu32 "+%" PRIu32 " %s", lsn, loc.seq,
		       loc.block, loc.at, info ? info->name : "?");
		if (info == NULL)
			printf("(%u)", (unsigned)type);
		printf(" " SM_STR_FMT "%s%s\n", SM_STR_ARG(sm_buf_view(&q->line)),
		       sm_buf_err(&q->line) ? " ..." : "", rc != 0 ? " UNDECODABLE" : "");
	}
	sm_free(m);
	return 0;
}

static void on_damage(void *arg, struct qm_log *log, const struct qm_log_damage *d)
{
	struct qdump *q = arg;

	(void)log;
	if (d->length == 0) {
		q->missing++;
		printf("# %08" PRIx32 " MISSING\n", d->seq);
		return;
	}
	q->damages++;
	printf("# %08" PRIx32 " DAMAGED offset=%" PRIu64 " length=%" PRIu64 "\n", d->seq, d->offset,
	       d->length);
}

static void on_lost(void *arg, struct qm_log *log, const struct qm_log_lost *l)
{
	struct qdump *q = arg;
	struct sm_reader r = sm_reader(l->body);
	const struct sm_def_info *info = qm_rec_info(l->type);
	char id[SM_ID_SIZE] = "?";

	(void)log;
	q->lost++;
	if (l->type != QM_REC_id_block) {
		struct sm_id ta = sm_r_id(&r);

		if (r.err == 0)
			sm_id_text(ta, id);
	}
	printf("# %08" PRIx32 " LOST offset=%" PRIu64 " length=%" PRIu64 " lsn=%" PRIu64
	       " type=%s id=%s\n",
	       l->seq, l->offset, l->length, l->lsn, info ? info->name : "?", id);
}

static void on_segment(void *arg, struct qm_log *log, const struct qm_log_segment *s)
{
	struct qdump *q = arg;
	char created[SM_TIME_ISO_MAX] = "?";

	(void)log;
	q->segments++;
	q->torn += s->torn;
	if (s->created_wall_ms != 0)
		sm_time_iso(s->created_wall_ms, created);
	if (!q->verify)
		printf("# %08" PRIx32 " format=%u table=%" PRIu32 " hash=%016" PRIx64
		       " build=\"%s\" created=%s epoch=%016" PRIx64 " records=%" PRIu64
		       " batches=%" PRIu32 " used=%" PRIu64 "/%" PRIu64 "%s%s%s\n",
		       s->seq, (unsigned)s->format, s->table, s->table_hash, s->build, created,
		       s->epoch, s->records, s->batches, s->end, s->bytes, s->torn ? " torn" : "",
		       s->closed ? " closed" : "", s->damages ? " DAMAGED" : "");
}

static int usage(void)
{
	fputs("usage: qdump [-rsv] [-i transaction] [-n name] directory [log-directory]\n"
	      "  -i id    only records of this transaction\n"
	      "  -n name  of the log: ibdb, defedb; default: the last part of the directory\n"
	      "  -r       bytes instead of fields\n"
	      "  -s       only one line for each segment\n"
	      "  -v       print only what is wrong; exit status 1 if anything is\n",
	      stderr);
	return EX_WRONG_USE;
}

/* The last part of the path. */
static int name_of(const char *dir, char name[QM_LOG_NAME_MAX + 1])
{
	struct sm_str s = sm_str(dir);

	while (s.n > 1 && s.p[s.n - 1] == '/')
		s.n--;
	ptrdiff_t slash = sm_str_rchr(s, '/');
	return sm_str_copy(slash < 0 ? s : sm_str_from(s, (size_t)slash + 1), name,
	                   QM_LOG_NAME_MAX + 1);
}

static int replay(struct qdump *q, const struct qm_log_conf *conf)
{
	struct qm_log *log = NULL;
	int rc = qm_log_open(conf, &log);

	if (rc == 0)
		rc = qm_log_replay(log, on_record, q);
	if (rc != 0)
		fprintf(stderr, "qdump: %s: %s\n", sm_strerr(rc), sm_diag());
	qm_log_close(&log);
	if (rc != 0)
		return rc == SM_E_BUSY ? EX_IN_USE : rc == SM_E_NOTSUP ? EX_FOREIGN : EX_UNREADABLE;
	printf("# segments=%" PRIu64 " records=%" PRIu64 " undecodable=%" PRIu64 " damaged=%" PRIu64
	       " lost=%" PRIu64 " missing=%" PRIu64 " torn=%" PRIu64 "\n",
	       q->segments, q->records, q->undecodable, q->damages, q->lost, q->missing, q->torn);
	return q->verify && (q->undecodable || q->damages || q->missing) ? EX_DAMAGED : 0;
}

int main(int argc, char **argv)
{
	struct qdump q = {0};
	struct qm_lsn lsn = {0};
	char name[QM_LOG_NAME_MAX + 1] = "";
	int c, status;

	while ((c = getopt(argc, argv, "i:n:rsv")) != -1) {
		switch (c) {
		case 'i':
			if (sm_id_parse(sm_str(optarg), &q.only) != 0)
				return usage();
			break;
		case 'n':
			if (sm_str_copy(sm_str(optarg), name, sizeof name) != 0 || !name[0])
				return usage();
			break;
		case 'r':
			q.raw = true;
			break;
		case 's':
			q.segments_only = true;
			break;
		case 'v':
			q.verify = true;
			break;
		default:
			return usage();
		}
	}
	if (argc - optind < 1 || argc - optind > 2)
		return usage();
	if (!name[0] && (name_of(argv[optind], name) != 0 || !name[0]))
		return usage();
	struct qm_log_conf conf = {.name = name,
	                           .dir = argv[optind],
	                           .log_dir = argv[optind + 1],
	                           .lsn = &lsn,
	                           .read_only = true,
	                           .arg = &q,
	                           .on_damage = on_damage,
	                           .on_lost = on_lost,
	                           .on_segment = on_segment};
	sm_arena_init(&q.arena, "qdump", 64 * 1024, (size_t)16 * QM_LOG_RECORD_MAX);
	sm_buf_init(&q.line, (size_t)8 * QM_LOG_RECORD_MAX);
	status = replay(&q, &conf);
	sm_buf_fini(&q.line);
	sm_arena_fini(&q.arena);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("qdump");
		return EX_UNREADABLE;
	}
	return status;
}
