/*
 * metaqueue: the mail queue in mailq's layout, whether qmgr runs or not. From qmgr when it does;
 * else from the queue's files, read as qmgr reads them at its start, and changed in nothing.
 */
#include <stdio.h>
#include <unistd.h>

#include "libsm/err.h"
#include "misc/qmgrctl.h"
#include "qmgr/marks.h"
#include "qmgr/replay.h"
#include "qmgr/view.h"

static const char usage[] =
    "usage: metaqueue [-f] [-s SOCKET] [-d QUEUE-DIRECTORY] [-i IBDB] [-D DEFEDB]\n"
    "  -f          read the files, do not ask qmgr\n"
    "  -s SOCKET   control socket (default " QC_SOCKET ")\n"
    "  -d DIR      main queue directory (default " SMX_QUEUEDIR "); the logs are below it\n"
    "  -i DIR      IBDB_base_directory\n"
    "  -D DIR      DEFEDB.base_directory\n";

struct files {
	struct qm_store st;
	struct qm_txn_table txns;
	struct qm_edbc *edbc;
	struct qm_replay rp;
	struct sm_arena arena; /* of the mail being shown */
	struct qc_mailq out;
	size_t unreadable;
};

static void on_damage(void *arg, struct qm_log *log, const struct qm_log_damage *d)
{
	(void)arg;
	(void)log;
	fprintf(stderr, "metaqueue: segment %08x is damaged; qdump(8) says more\n",
	        (unsigned)d->seq);
}

static void on_segment(void *arg, struct qm_log *log, const struct qm_log_segment *s)
{
	(void)arg;
	(void)log;
	(void)s;
}

/* jansson takes UTF-8 only; what is none is shown byte by byte by qc_text. */
static json_t *text(struct sm_str s)
{
	json_t *t = json_stringn(s.p ? s.p : "", s.n);
	struct sm_buf b;

	if (t)
		return t;
	sm_buf_init(&b, 8 * s.n + 1);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= ' ' && c < 0x7f)
			sm_buf_char(&b, s.p[i]);
		else
			sm_buf_printf(&b, "\\x%02x", c);
	}
	t = json_stringn(sm_buf_p(&b), b.len);
	sm_buf_fini(&b);
	return t;
}

static json_t *rcpt_of(struct files *f, const struct qm_view_rcpt *r)
{
	struct sm_str addr =
	    sm_arena_printf(&f->arena, SM_STR_FMT "%s" SM_STR_FMT, SM_STR_ARG(r->local),
	                    r->domain.n ? "@" : "", SM_STR_ARG(r->domain));

	return json_pack("{s:o, s:s, s:o, s:o}", "rcpt", text(addr), "state",
	                 qm_view_state_word(r->state), "host", text(r->host), "reason",
	                 text(r->reason));
}

static void show(struct files *f, const struct qm_txn *txn, const char *queue)
{
	json_t *rcpts = json_array(), *mail;
	char id[SM_ID_SIZE];
	struct qm_view v;

	sm_arena_reset(&f->arena);
	qm_view_of_txn(txn, &f->arena, &v);
	for (uint32_t i = 0; i < v.rcpt_count; i++)
		json_array_append_new(rcpts, rcpt_of(f, &v.rcpts[i]));
	mail = json_pack("{s:s, s:s, s:o, s:I, s:I, s:o}", "id", sm_id_text(v.id, id), "queue",
	                 queue, "sender", text(v.sender), "size", (json_int_t)v.size, "received_s",
	                 (json_int_t)v.received_s, "rcpts", rcpts);
	if (v.rcpt_count > 0)
		qc_mailq_mail(&f->out, mail);
	json_decref(mail);
}

/* What is in DEFEDB, with what the logs say happened to it since. */
static void show_deferred(struct files *f, const struct qm_edbc_entry *e)
{
	struct qm_rec_txn rec;
	struct qm_txn *txn;
	struct sm_buf body;

	sm_buf_init(&body, QM_LOG_RECORD_MAX);
	sm_arena_reset(&f->arena);
	if (qm_store_decode_at(f->st.defedb, qm_edbc_loc(e), &body, &f->arena, &rec) != 0) {
		fprintf(stderr, "metaqueue: %s\n", sm_diag());
		f->unreadable++;
	} else {
		txn = qm_txn_from_rec(&f->txns, &rec);
		qm_replay_apply(&f->rp, txn);
		qm_marks_fold(&f->st.marks, txn);
		show(f, txn, "deferred");
		qm_txn_free(&f->txns, &txn);
	}
	sm_buf_fini(&body);
}

static int open_log(struct files *f, const char *name, const char *dir, struct qm_log **out)
{
	const struct qm_log_conf conf = {.name = name,
	                                 .dir = dir,
	                                 .lsn = &f->st.lsn,
	                                 .read_only = true,
	                                 .arg = f,
	                                 .on_damage = on_damage,
	                                 .on_segment = on_segment};

	return qm_log_open(&conf, out);
}

static void show_all(struct files *f)
{
	const struct qm_edbc_entry *e;
	uint64_t cursor = 0;

	/* Of both logs the newer one has it; the journal's are in the table. */
	SM_LIST_FOR_SAFE (txn, &f->txns.active, struct qm_txn, link) {
		qm_marks_fold(&f->st.marks, txn);
		show(f, txn, "journal");
	}
	while ((e = qm_edbc_walk(f->edbc, &cursor)) != NULL)
		if (qm_txn_find(&f->txns, qm_edbc_id(e)) == NULL)
			show_deferred(f, e);
}

static int from_files(const char *ibdb, const char *defedb)
{
	static struct files f;
	int err;

	qm_txn_table_init(&f.txns);
	f.edbc = qm_edbc_new();
	sm_arena_init(&f.arena, "mail", 64 * 1024, (size_t)16 * QM_LOG_RECORD_MAX);
	sm_buf_init(&f.st.scratch, 2 * QM_LOG_RECORD_MAX);
	sm_arena_init(&f.st.arena, "record", 4096, (size_t)16 * QM_LOG_RECORD_MAX);
	sm_buf_init(&f.out.out, 4 * 1024 * 1024);
	qm_marks_init(&f.st.marks);
	qm_suspends_init(&f.st.suspends);
	qm_replay_init(&f.rp, &f.st, &f.txns, f.edbc);
	if ((err = open_log(&f, "ibdb", ibdb, &f.st.ibdb)) == 0 &&
	    (err = open_log(&f, "defedb", defedb, &f.st.defedb)) == 0)
		err = qm_replay_logs(&f.rp);
	if (err == 0)
		show_all(&f);
	else
		fprintf(stderr, "metaqueue: %s: %s\n", sm_strerr(err), sm_diag());
	qm_replay_fini(&f.rp);
	qm_log_close(&f.st.ibdb);
	qm_log_close(&f.st.defedb);
	if (err == 0)
		qc_mailq_end(&f.out);
	if (err == SM_E_BUSY)
		return QC_LATER;
	if (err == SM_E_NOTSUP)
		return QC_FOREIGN;
	return err || f.unreadable ? QC_DATA : QC_OK;
}

static int from_qmgr(const char *socket)
{
	struct qc_mailq out = {0};
	const struct qc_ask ask = {.program = "metaqueue",
	                           .server = "qmgr",
	                           .role = SM_ROLE_QMGR,
	                           .socket = socket,
	                           .verb = "list",
	                           .line = qc_mailq,
	                           .arg = &out,
	                           .quiet = true};
	int status;

	sm_buf_init(&out.out, 4 * 1024 * 1024);
	status = qc_ask(&ask);
	if (status == QC_OK || status == QC_NOTHING)
		qc_mailq_end(&out);
	return status == QC_NOTHING ? QC_OK : status;
}

static const char *below(const char *dir, const char *name, char out[512])
{
	snprintf(out, 512, "%s/%s", dir, name);
	return out;
}

int main(int argc, char **argv)
{
	const char *socket = NULL, *ibdb = NULL, *defedb = NULL, *dir = SMX_QUEUEDIR;
	char paths[3][512];
	bool files = false;
	int opt, status;

	while ((opt = getopt(argc, argv, "fs:d:i:D:h")) != -1) {
		switch (opt) {
		case 'f':
			files = true;
			break;
		case 's':
			socket = optarg;
			break;
		case 'd':
			dir = optarg;
			break;
		case 'i':
			ibdb = optarg;
			break;
		case 'D':
			defedb = optarg;
			break;
		default:
			fputs(usage, opt == 'h' ? stdout : stderr);
			return opt == 'h' ? QC_OK : QC_USAGE;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return QC_USAGE;
	}
	if (socket == NULL)
		socket = below(dir, "ctl/qmgr", paths[0]);
	status = files ? QC_AWAY : from_qmgr(socket);
	if (status == QC_AWAY)
		status = from_files(ibdb ? ibdb : below(dir, "ibdb", paths[1]),
		                    defedb ? defedb : below(dir, "defedb", paths[2]));
	return fflush(stdout) == 0 && !ferror(stdout) ? status : QC_OSERR;
}
