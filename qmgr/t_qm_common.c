/* Shared by the tests of the whole queue manager, see t_qm.h: its life, its loop, its mail, and
 * what tests wait for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/t_qm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libsm/fault.h"
#include "libsm/offload.h"
#include "libsm/t_dir.h"
#include "libsm/t_patience.h"
#include "libsm/time.h"

struct t_qm w;

/* ---- death ---- */

int t_in_a_child(void (*fn)(void), const char *log)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (log)
			sm_assert(freopen(log, "w", stderr) != NULL);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

void t_crash_after(void (*fn)(void))
{
	assert_int_equal(t_in_a_child(fn, NULL), 0);
	unlink(w.socks[2]);
}

/* ---- the loop ---- */

static bool (*stop_when)(void);
static bool stopped, late;

static void tick(void *arg)
{
	struct sm_timer *t = arg;

	sm_timer_set(t, sm_now_ms() + 1, tick, t);
	t_pump();
	if (stop_when && stop_when()) {
		stopped = true;
		sm_loop_stop(0);
	}
}

static void enough(void *arg)
{
	(void)arg;
	late = true;
	sm_loop_stop(0);
}

/* Turns until the condition holds or the time is up. qmgr itself stops the loop when it has been
 * told to end and the last result is there: `own_end` says that this is waited for, else it goes
 * on. */
static bool run(bool (*until)(void), int ms, bool own_end)
{
	struct sm_timer end = {0}, t = {0};
	bool (*before)(void) = stop_when;

	stop_when = until;
	stopped = late = false;
	sm_timer_set(&end, sm_now_ms() + ms, enough, NULL);
	sm_timer_set(&t, sm_now_ms(), tick, &t);
	do
		(void)sm_loop_run();
	while (!stopped && !late && !own_end);
	sm_timer_cancel(&end);
	sm_timer_cancel(&t);
	stop_when = before;
	return stopped || (own_end && !late);
}

bool t_wait(bool (*until)(void))
{
	return run(until, T_PATIENCE_MS, false);
}

void t_turns(int ms)
{
	(void)run(NULL, ms, false);
}

bool t_ends(int ms)
{
	return run(NULL, ms ? ms : T_PATIENCE_MS, true);
}

/* ---- life of the queue ---- */

int t_qm_setup(void **state)
{
	static const char *const names[] = {"smtps", "smtpc", "smar", "ctl"};
	char path[128];

	(void)state;
	w = (struct t_qm){0};
	w.ss.p.fd = w.ss2.p.fd = w.sc.p.fd = w.sc2.p.fd = w.smar.fd = w.ctl.fd = -1;
	w.ss.p.listen_fd = w.ss2.p.listen_fd = w.sc.p.listen_fd = w.sc2.p.listen_fd =
	    w.smar.listen_fd = w.ctl.listen_fd = -1;
	sm_log_init("t_qmgr", getenv("T_LOG") ? 15 : 0);
	sm_fault_init(); /* SM_FAULTS=cdb.unlink=delay:100 is a slow disk */
	assert_int_equal(sm_loop_init(), 0);
	sm_rpc_self(SM_ROLE_QMGR, 0);
	sm_arena_init(&w.arena, "conf", 4096, 1 << 20);
	sm_arena_init(&w.frame, "frame", 65536, 64 << 20);
	sm_conf_defaults(qm_conf_opts, &w.conf, &w.arena);
	snprintf(w.dir, sizeof(w.dir), "/tmp/t_qm.XXXXXX"); /* short, for the sockets in it */
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.base, sizeof(w.base), "%s/", w.dir);
	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "%s%X", w.base, i);
		mkdir(path, 0700);
	}
	snprintf(w.ibdb, sizeof(w.ibdb), "%sibdb", w.base);
	snprintf(w.defedb, sizeof(w.defedb), "%sdefedb", w.base);
	assert_int_equal(mkdir(w.ibdb, 0700) | mkdir(w.defedb, 0700), 0);
	for (int i = 0; i < 4; i++)
		snprintf(w.socks[i], sizeof(w.socks[i]), "%s%s", w.base, names[i]);
	w.proc.global.cdb_base_directory = sm_str(w.base);
	w.proc.global.smtps_socket = sm_str(w.socks[0]);
	w.proc.global.smtpc_socket = sm_str(w.socks[1]);
	w.proc.global.smar_socket = sm_str(w.socks[2]);
	w.conf.control_socket = sm_str(w.socks[3]);
	w.conf.ibdb.base_directory = sm_str(w.ibdb);
	w.conf.defedb.base_directory = sm_str(w.defedb);
	w.conf.ibdb.size_bytes = w.conf.defedb.size_bytes = 256 * 1024;
	w.conf.min_disk_bytes = w.conf.ok_disk_bytes = 0;
	w.conf.retry_min_ms = 1000;
	w.proc.global.hostname = SM_STR("mail.test");
	w.conf.wait_for_client_ms = w.conf.wait_for_server_ms = T_PATIENCE_MS;
	return 0;
}

int t_qm_setup_waiting(void **state)
{
	int err = t_qm_setup(state);

	w.conf.run.interval_ms = 0;
	w.deliver = SM_DELIVER_BACKGROUND;
	return err;
}

static bool is_running(void)
{
	return w.q.running;
}

void t_qm_start(void)
{
	w.q = (struct qm){.statm_fd = -1,
	                  .proc = &w.proc,
	                  .conf = &w.conf,
	                  .gid_control = (gid_t)-1,
	                  .started_s = sm_wall_s()};
	assert_int_equal(sm_offload_init(2), 0);
	if (qm_queue_open(&w.q) != 0)
		fail_msg("open: %s", sm_diag());
	assert_true(t_wait(is_running));
}

static bool no_helper_works(void)
{
	return sm_offload_queued() == 0;
}

void t_qm_stop(void)
{
	w.q.stopping = true;
	/* What helpers have posted to this loop must not be found by the next queue. In the turn
	 * that saw them idle another timer may have given them work. */
	do
		assert_true(t_wait(no_helper_works));
	while (!no_helper_works());
	qm_queue_close(&w.q);
	t_turns(2);
	w.q = (struct qm){0};
}

void t_qm_no_smtpc(void)
{
	t_qm_start();
	t_smar_up();
	t_smtps_up(&w.ss, 1);
}

void t_qm_all(void)
{
	t_qm_start();
	t_smar_up();
	t_smtpc_up(&w.sc, 100);
	t_smtps_up(&w.ss, 1);
}

void t_qm_end(void)
{
	t_down(&w.sc.p);
	t_down(&w.ss.p);
	t_down(&w.smar);
	t_qm_stop();
}

void t_qm_again(void)
{
	t_qm_end();
	t_qm_all();
}

int t_qm_teardown(void **state)
{
	(void)state;
	if (w.q.store)
		t_qm_stop();
	t_down(&w.ss.p);
	t_down(&w.ss2.p);
	t_down(&w.sc.p);
	t_down(&w.sc2.p);
	t_down(&w.smar);
	t_down(&w.ctl);
	sm_free(w.sc.task);
	sm_free(w.sc2.task);
	sm_arena_fini(&w.arena);
	sm_arena_fini(&w.frame);
	sm_log_flush();
	sm_loop_fini();
	sm_co_cleanup();
	t_remove_all(w.dir);
	return 0;
}

/* ---- mail ---- */

static struct sm_id write_id;
static bool written;

static void write_content(void *arg)
{
	struct cdb_writer *cw = cdb_write(w.q.cdb, write_id, 0);
	struct cdb_place at;

	(void)arg;
	assert_int_equal(cdb_append(cw, "Subject: test\r\n\r\nhello\r\n", 24), 0);
	assert_int_equal(cdb_commit(&cw, &at), 0);
	written = true;
}

static bool is_written(void)
{
	return written;
}

static void content_of(struct sm_id id)
{
	write_id = id;
	written = false;
	assert_non_null(sm_co_spawn("content", write_content, NULL));
	assert_true(t_wait(is_written));
}

struct sm_id t_next_id(void)
{
	return (struct sm_id){w.ss.next_id++, w.ss.p.proc};
}

struct sm_id t_content(void)
{
	struct sm_id id = t_next_id();

	content_of(id);
	return id;
}

struct sm_id t_segment(void)
{
	struct sm_id id = t_next_id();
	char path[160], name[SM_ID_SIZE];
	int fd;

	id.counter |= CDB_SEGMENT_BIT;
	snprintf(path, sizeof(path), "%s%X/%s", w.base, (unsigned)(id.counter & 15),
	         sm_id_text(id, name));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd != -1);
	close(fd);
	return id;
}

static void commit(struct t_smtps *s, struct sm_id id, const struct cdb_place *at,
                   const char *sender, const char *rcpts, int64_t received_s, uint8_t notify)
{
	static struct sm_msg_rcpt_new r[1000];
	struct sm_msg_ta_commit m = {.ta = id,
	                             .content = at->content,
	                             .content_offset = at->offset,
	                             .sess = w.sess,
	                             .sender = sm_str(sender),
	                             .size = at->size,
	                             .envid = SM_STR("env"),
	                             .received_s = received_s,
	                             .deliver = w.deliver,
	                             .rcpts = r};
	struct sm_str rest = sm_str(rcpts);

	while (rest.n > 0) {
		struct sm_str one = sm_str_split(rest, ' ', &rest);

		r[m.rcpts_count++] = (struct sm_msg_rcpt_new){
		    .addr = one, .orcpt = SM_STR("rfc822;orig@x"), .notify = notify};
	}
	t_send(&s->p, SM_MSG_ta_commit, &m, true);
}

struct sm_id t_commit_raw(struct t_smtps *s, struct sm_id id, const char *sender, const char *rcpts,
                          int64_t received_s, uint8_t notify)
{
	const struct cdb_place at = {.content = id, .size = 24};

	commit(s, id, &at, sender, rcpts, received_s, notify);
	return id;
}

void t_commit_in(struct sm_id id, const struct cdb_place *at, const char *rcpts, uint8_t notify)
{
	commit(&w.ss, id, at, "s@a.test", rcpts, sm_wall_s(), notify);
}

struct sm_id t_commit_at(const char *sender, const char *rcpts, int64_t received_s, uint8_t notify)
{
	return t_commit_raw(&w.ss, t_content(), sender, rcpts, received_s, notify);
}

struct sm_id t_commit(const char *sender, const char *rcpts)
{
	return t_commit_at(sender, rcpts, sm_wall_s(), 0);
}

struct look {
	struct sm_id id;
	size_t count;
	bool there;
};

static bool look_at(struct sm_id id, void *arg)
{
	struct look *l = arg;

	l->count++;
	l->there = l->there || sm_id_eq(id, l->id);
	return true;
}

bool t_content_there(struct sm_id id)
{
	struct look l = {.id = id};
	size_t strange;

	assert_int_equal(cdb_list(w.q.cdb, look_at, &l, &strange), 0);
	return l.there;
}

size_t t_contents(void)
{
	struct look l = {0};
	size_t strange;

	assert_int_equal(cdb_list(w.q.cdb, look_at, &l, &strange), 0);
	return l.count;
}

bool t_all_over(void)
{
	return w.q.txns.by_id.count == 0 && qm_edbc_count(w.q.edbc) == 0 &&
	       qm_defer_loads(&w.q) == 0 && w.q.txns.contents.by_id.count == 0 &&
	       w.q.txns.rcpts == 0 && qm_delivery_tasks(&w.q) == 0 && t_contents() == 0;
}

/* ---- what is waited for ---- */

unsigned t_want;

bool t_verdicts(void)
{
	return w.ss.verdicts >= t_want;
}

bool t_tasks(void)
{
	return w.sc.tasks >= t_want;
}

bool t_all_written(void)
{
	return qm_store_pending(w.q.store) == 0;
}

bool t_indexed(void)
{
	return qm_edbc_count(w.q.edbc) >= t_want && qm_defer_loads(&w.q) == 0;
}

bool t_deferred(void)
{
	return t_indexed() && w.q.txns.by_id.count == 0;
}

bool t_asked(void)
{
	return w.questions >= t_want;
}

void t_wait_n(bool (*until)(void), unsigned n)
{
	t_want = n;
	if (!t_wait(until))
		fail_msg("waited for %u: verdicts %u, tasks %u %u, deferred %zu, held %zu, "
		         "active %zu, questions %u",
		         n, w.ss.verdicts, w.sc.tasks, w.sc2.tasks, qm_edbc_count(w.q.edbc),
		         qm_edbc_held_count(w.q.edbc), w.q.txns.by_id.count, w.questions);
}

void t_wait_over(void)
{
	if (!t_wait(t_all_over))
		fail_msg(
		    "left: active %zu (%zu), deferred %zu, contents %zu, of DSNs %zu, tasks %zu",
		    w.q.txns.by_id.count, w.q.txns.rcpts, qm_edbc_count(w.q.edbc), t_contents(),
		    w.q.txns.contents.by_id.count, qm_delivery_tasks(&w.q));
}

struct sm_id t_taken(const char *sender, const char *rcpts)
{
	struct sm_id id = t_commit(sender, rcpts);

	t_wait_n(t_verdicts, w.ss.verdicts + 1);
	assert_int_equal(w.ss.code, 0);
	return id;
}

struct sm_id t_waiting(const char *sender, const char *rcpts)
{
	size_t before = qm_edbc_count(w.q.edbc);
	struct sm_id id = t_taken(sender, rcpts);

	t_wait_n(t_deferred, (unsigned)before + 1);
	return id;
}

void t_slow_retries(void)
{
	w.conf.retry_min_ms = 3600 * 1000;
	w.conf.retry_max_ms = 7200 * 1000;
}
