/* Shared by the tests of the whole queue manager, see t_qm.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/t_qm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "libsm/fault.h"
#include "libsm/offload.h"
#include "libsm/t_patience.h"
#include "libsm/time.h"

struct t_qm w;

/* ---- puppets ---- */

static void puppet_address(const char *path, struct sockaddr_un *sun)
{
	*sun = (struct sockaddr_un){.sun_family = AF_UNIX};
	sm_assert(strlen(path) < sizeof(sun->sun_path));
	memcpy(sun->sun_path, path, strlen(path) + 1);
}

static void flush(struct puppet *p)
{
	while (p->fd >= 0 && p->out.len > 0) {
		ssize_t r = send(p->fd, sm_buf_p(&p->out), p->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0) {
			p->gone = errno != EAGAIN;
			return; /* qmgr reads in this very thread: later */
		}
		sm_buf_consume(&p->out, (size_t)r);
	}
}

static void put(struct puppet *p, uint16_t type, uint16_t flags, uint64_t tag, const void *m)
{
	assert_int_equal(sm_frame_put(&p->out, type, flags, tag, m), 0);
	flush(p);
}

void t_send(struct puppet *p, uint16_t type, const void *m, bool call)
{
	put(p, type, 0, call ? ++p->last_tag : 0, m);
}

static void hello(struct puppet *p)
{
	struct sm_msg_hello h = {.role = (uint8_t)p->role,
	                         .proc = p->proc,
	                         .pid = (uint32_t)getpid(),
	                         .incarnation = 1,
	                         .table = sm_msg_table_hash(),
	                         .build = SM_STR("test")};

	put(p, SM_MSG_hello, 0, 0, &h);
}

static void puppet_open(struct puppet *p, enum sm_role role, uint8_t proc, int fd)
{
	sm_buf_fini(&p->in);
	sm_buf_fini(&p->out);
	*p = (struct puppet){.role = role, .proc = proc, .fd = fd, .listen_fd = -1};
	sm_buf_init(&p->in, 4 * SM_FRAME_MAX);
	sm_buf_init(&p->out, 8 * SM_FRAME_MAX);
	hello(p);
}

static void puppet_connect(struct puppet *p, enum sm_role role, uint8_t proc, const char *path)
{
	struct sockaddr_un sun;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	puppet_address(path, &sun);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	puppet_open(p, role, proc, fd);
}

void t_down(struct puppet *p)
{
	if (p->fd >= 0)
		close(p->fd);
	if (p->listen_fd >= 0) {
		close(p->listen_fd);
		unlink(w.socks[2]);
	}
	p->fd = p->listen_fd = -1;
	p->up = false;
	sm_buf_fini(&p->in);
	sm_buf_fini(&p->out);
}

/* ---- what the puppets do with frames ---- */

static void smtps_frame(struct t_smtps *s, const struct sm_frame *f)
{
	if (f->type == SM_MSG_verdict) {
		struct sm_msg_verdict m;

		assert_int_equal(sm_msg_verdict_decode(f->body, &w.frame, &m), 0);
		s->verdicts++;
		s->code = m.code;
	} else if (f->type == SM_MSG_credit) {
		struct sm_msg_credit m;

		assert_int_equal(sm_msg_credit_decode(f->body, &w.frame, &m), 0);
		s->credits++;
		s->credit = m.code;
	} else if (f->type == SM_MSG_id_block) {
		struct sm_msg_id_block m;

		assert_int_equal(sm_msg_id_block_decode(f->body, &w.frame, &m), 0);
		if (s->next_id == 0)
			s->next_id = m.first;
	} else if (f->type == SM_MSG_ta_outcome) {
		struct sm_msg_ta_outcome m;

		assert_int_equal(sm_msg_ta_outcome_decode(f->body, &w.frame, &m), 0);
		s->outcomes++;
		s->taken = m.taken;
	} else {
		fail_msg("smtps got %u", f->type);
	}
}

static void copy(char *to, size_t size, struct sm_str s)
{
	snprintf(to, size, "%.*s", (int)s.n, s.p);
}

#define COPY(to, s) copy(to, sizeof(to), s)

/* The name of a recipient says what its server will: temp, perm, dead; local: smtpc has trouble;
 * else fine. */
void t_answer(struct t_smtpc *c, struct t_task *t)
{
	struct sm_msg_rcpt_result *r = sm_calloc(t->count, sizeof(*r));
	struct sm_msg_host_try tried = {.reach = SM_REACH_OK};
	struct sm_msg_task_result m = {.reach = SM_REACH_OK,
	                               .session_kept = 1,
	                               .tried_count = 1,
	                               .tried = &tried,
	                               .results = r};

	for (unsigned i = 0; i < t->count; i++) {
		const char *name = i < 40 ? t->rcpt[i] : "";
		struct sm_msg_rcpt_result *x = &r[m.results_count++];

		*x = (struct sm_msg_rcpt_result){.index = t->index[i],
		                                 .stage = SM_STAGE_RCPT,
		                                 .code = 250,
		                                 .text = SM_STR("2.0.0 ok"),
		                                 .host = SM_STR("mx.test"),
		                                 .dsn_passed = c->dsn};
		if (c->nonsense) {
			x->outcome = 77;
		} else if (c->fine) {
			continue;
		} else if (strncmp(name, "temp", 4) == 0) {
			x->outcome = SM_OUTCOME_TEMP;
			x->code = 451;
			x->text = SM_STR("4.2.0 come again");
		} else if (strncmp(name, "local", 5) == 0) {
			x->outcome = SM_OUTCOME_TEMP;
			x->stage = SM_STAGE_LOCAL;
			x->code = 0;
			x->text = SM_STR("4.3.0 no memory");
			x->local = 1;
		} else if (strncmp(name, "perm", 4) == 0) {
			x->outcome = SM_OUTCOME_PERM;
			x->code = 550;
			x->text = SM_STR("5.1.1 no such user");
		} else if (strncmp(name, "dead", 4) == 0) {
			x->outcome = SM_OUTCOME_TEMP;
			x->stage = SM_STAGE_CONNECT;
			x->code = 0;
			x->text = SM_STR("4.4.1 connection refused");
			m.reach = tried.reach = SM_REACH_REFUSED;
			tried.stage = SM_STAGE_CONNECT;
			tried.text = x->text;
			m.session_kept = 0;
		}
	}
	t->answered = true;
	put(&c->p, SM_MSG_task_result, SM_FRAME_REPLY, t->tag, &m);
	sm_free(r);
}

static void smtpc_frame(struct t_smtpc *c, const struct sm_frame *f)
{
	struct sm_msg_task m;
	struct t_task *t;

	if (f->type == SM_MSG_verdict) {
		c->connected = true;
		return;
	}
	assert_int_equal(f->type, SM_MSG_task);
	assert_int_equal(sm_msg_task_decode(f->body, &w.frame, &m), 0);
	c->task = sm_realloc(c->task, c->tasks + 1, sizeof(*c->task));
	t = &c->task[c->tasks++];
	*t = (struct t_task){.tag = f->tag,
	                     .ta = m.ta,
	                     .content = m.content,
	                     .dsn_of = m.dsn_of,
	                     .count = m.rcpts_count,
	                     .dsn_kind = m.dsn_kind,
	                     .dsn_count = m.dsn_rcpts_count,
	                     .dsn_received_s = m.dsn_received_s,
	                     .dsn_until_s = m.dsn_until_s,
	                     .dsn_max_bytes = m.dsn_max_bytes,
	                     .ret = m.ret};
	assert_true(m.hosts_count > 0);
	COPY(t->host, m.hosts[0].name);
	COPY(t->sender, m.sender);
	COPY(t->envid, m.envid);
	for (uint32_t i = 0; i < m.rcpts_count; i++) {
		t->index[i] = m.rcpts[i].index;
		if (i < 40)
			COPY(t->rcpt[i], m.rcpts[i].addr);
		t->notify = m.rcpts[i].notify;
	}
	for (uint32_t i = 0; i < m.dsn_rcpts_count && i < 4; i++) {
		COPY(t->dsn[i].addr, m.dsn_rcpts[i].addr);
		COPY(t->dsn[i].orcpt, m.dsn_rcpts[i].orcpt);
		COPY(t->dsn[i].text, m.dsn_rcpts[i].text);
		COPY(t->dsn[i].host, m.dsn_rcpts[i].host);
		t->dsn[i].code = m.dsn_rcpts[i].code;
		t->dsn[i].action = m.dsn_rcpts[i].action;
		t->dsn[i].last_try_s = m.dsn_rcpts[i].last_try_s;
	}
	if (!c->hold)
		t_answer(c, t);
}

/* By the domain: nowhere.test is refused, later.test is not known yet, local.test is for LMTP; any
 * other is a route of its own. */
static void smar_frame(const struct sm_frame *f)
{
	struct sm_msg_host host = {.name = SM_STR("mx.test")};
	struct sm_msg_route r = {.status = SM_ROUTE_OK,
	                         .agent = SM_AGENT_SMTP,
	                         .ttl_s = 60,
	                         .text = SM_STR(""),
	                         .hosts_count = 1,
	                         .hosts = &host};
	struct sm_msg_route_get m;

	assert_int_equal(f->type, SM_MSG_route_get);
	assert_int_equal(sm_msg_route_get_decode(f->body, &w.frame, &m), 0);
	w.questions++;
	if (w.smar_hold) {
		w.unanswered++;
		return;
	}
	r.key = sm_str_from(m.rcpt, (size_t)sm_str_rchr(m.rcpt, '@') + 1);
	host.sa.len = sizeof(host.sa.u.in4);
	host.sa.u.in4.sin_family = AF_INET;
	host.sa.u.in4.sin_addr.s_addr = (uint32_t)sm_hash_str(r.key);
	if (sm_str_eq(r.key, SM_STR("nowhere.test"))) {
		r.status = SM_ROUTE_PERM;
		r.code = 550;
		r.text = SM_STR("5.1.2 no such domain");
	} else if (sm_str_eq(r.key, SM_STR("later.test"))) {
		r.status = SM_ROUTE_TEMP;
		r.code = 451;
		r.text = SM_STR("4.4.3 name server");
	} else if (sm_str_eq(r.key, SM_STR("local.test"))) {
		r.agent = SM_AGENT_LMTP;
	}
	put(&w.smar, SM_MSG_route, SM_FRAME_REPLY, f->tag, &r);
}

static void ctl_frame(const struct sm_frame *f)
{
	if (f->type == SM_MSG_ctl_text) {
		struct sm_msg_ctl_text m;

		assert_int_equal(sm_msg_ctl_text_decode(f->body, &w.frame, &m), 0);
		snprintf(w.ctl_text + strlen(w.ctl_text), sizeof(w.ctl_text) - strlen(w.ctl_text),
		         "%.*s", (int)m.text.n, m.text.p);
	} else {
		struct sm_msg_ctl_end m;

		assert_int_equal(f->type, SM_MSG_ctl_end);
		assert_int_equal(sm_msg_ctl_end_decode(f->body, &w.frame, &m), 0);
		w.ctl_status = m.status;
		w.ctl_done = true;
	}
}

static void take(struct puppet *p, const struct sm_frame *f)
{
	if (f->type == SM_MSG_hello)
		p->up = true;
	else if (p == &w.ss.p || p == &w.ss2.p)
		smtps_frame(p == &w.ss.p ? &w.ss : &w.ss2, f);
	else if (p == &w.sc.p || p == &w.sc2.p)
		smtpc_frame(p == &w.sc.p ? &w.sc : &w.sc2, f);
	else if (p == &w.smar)
		smar_frame(f);
	else
		ctl_frame(f);
}

static void pump(struct puppet *p)
{
	struct sm_frame f;
	ssize_t n;

	flush(p);
	if (p->fd < 0)
		return;
	for (;;) {
		char *to = sm_buf_reserve(&p->in, 65536);
		ssize_t r = recv(p->fd, to, 65536, MSG_DONTWAIT);

		if (r > 0) {
			sm_buf_commit(&p->in, (size_t)r);
			continue;
		}
		if (r == 0 || errno != EAGAIN)
			p->gone = true;
		break;
	}
	while (p->fd >= 0 && (n = sm_frame_get(sm_buf_view(&p->in), &f)) > 0) {
		sm_arena_reset(&w.frame);
		take(p, &f);
		if (p->fd < 0)
			return;
		sm_buf_consume(&p->in, (size_t)n);
	}
	if (p->gone) {
		int listening = p->listen_fd;

		p->listen_fd = -1;
		t_down(p);
		p->listen_fd = listening;
	}
}

static void pump_all(void)
{
	struct puppet *all[] = {&w.ss.p, &w.ss2.p, &w.sc.p, &w.sc2.p, &w.smar, &w.ctl};
	int fd;

	if (w.smar.listen_fd >= 0 && w.smar.fd < 0 &&
	    (fd = accept4(w.smar.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		int listening = w.smar.listen_fd;

		puppet_open(&w.smar, SM_ROLE_SMAR, 0, fd);
		w.smar.listen_fd = listening;
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(all); i++)
		pump(all[i]);
}

/* ---- the loop ---- */

static bool (*stop_when)(void);
static bool stopped, late;

static void tick(void *arg)
{
	struct sm_timer *t = arg;

	sm_timer_set(t, sm_now_ms() + 1, tick, t);
	pump_all();
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

static void remove_all(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		char path[512];

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (unlink(path) != 0)
			remove_all(path);
	}
	closedir(d);
	rmdir(dir);
}

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
	remove_all(w.dir);
	return 0;
}

/* ---- the puppets' entrances ---- */

static struct t_smtps *smtps_now;

static bool smtps_ready(void)
{
	return smtps_now->next_id != 0 && smtps_now->credits > 0;
}

void t_smtps_up(struct t_smtps *s, uint8_t proc)
{
	struct sm_msg_ss_start m = {.max_sessions = 100, .next_counter = s->next_id};

	puppet_connect(&s->p, SM_ROLE_SMTPS, proc, w.socks[0]);
	s->credits = 0;
	t_send(&s->p, SM_MSG_ss_start, &m, true);
	smtps_now = s;
	assert_true(t_wait(smtps_ready));
}

static struct t_smtpc *smtpc_now;

static bool smtpc_ready(void)
{
	return smtpc_now->connected;
}

void t_smtpc_up(struct t_smtpc *c, unsigned max_tasks)
{
	struct sm_msg_sc_start m = {.max_tasks = max_tasks};

	puppet_connect(&c->p, SM_ROLE_SMTPC, 0, w.socks[1]);
	c->connected = false;
	t_send(&c->p, SM_MSG_sc_start, &m, true);
	smtpc_now = c;
	assert_true(t_wait(smtpc_ready));
}

static bool smar_ready(void)
{
	return w.smar.up;
}

void t_smar_up(void)
{
	struct sockaddr_un sun;

	puppet_address(w.socks[2], &sun);
	unlink(w.socks[2]);
	w.smar.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(w.smar.listen_fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(w.smar.listen_fd, 8), 0);
	assert_true(t_wait(smar_ready));
}

void t_qm_all(void)
{
	t_qm_start();
	t_smar_up();
	t_smtpc_up(&w.sc, 100);
	t_smtps_up(&w.ss, 1);
}

static bool ctl_answered(void)
{
	return w.ctl_done || w.ctl.gone;
}

void t_send_ctl(const char *words)
{
	struct sm_msg_ctl_word items[64];
	struct sm_str rest = sm_str(words);
	struct sm_msg_ctl_request m = {.verb = sm_str_split(rest, ' ', &rest), .args = items};

	while (rest.n > 0)
		items[m.args_count++].text = sm_str_split(rest, ' ', &rest);
	if (w.ctl.fd < 0)
		puppet_connect(&w.ctl, SM_ROLE_CTL, 0, w.socks[3]);
	w.ctl_text[0] = '\0';
	w.ctl_done = false;
	t_send(&w.ctl, SM_MSG_ctl_request, &m, true);
}

void t_ask_ctl(const char *verb, const char *arg)
{
	char words[512];

	snprintf(words, sizeof(words), "%s%s%s", verb, arg ? " " : "", arg ? arg : "");
	t_send_ctl(words);
	assert_true(t_wait(ctl_answered));
}

/* ---- mail ---- */

static struct sm_id write_id;
static bool written;

static void write_content(void *arg)
{
	struct cdb_writer *cw = cdb_write(w.q.cdb, write_id, 0);
	uint32_t offset;
	uint64_t size;

	(void)arg;
	assert_int_equal(cdb_append(cw, "Subject: test\r\n\r\nhello\r\n", 24), 0);
	assert_int_equal(cdb_commit(&cw, &offset, &size), 0);
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

struct sm_id t_content(void)
{
	struct sm_id id = {w.ss.next_id++, w.ss.p.proc};

	content_of(id);
	return id;
}

struct sm_id t_commit_raw(struct t_smtps *s, struct sm_id id, const char *sender, const char *rcpts,
                          int64_t received_s, uint8_t notify)
{
	static struct sm_msg_rcpt_new r[1000];
	struct sm_msg_ta_commit m = {.ta = id,
	                             .content = id,
	                             .sender = sm_str(sender),
	                             .size = 24,
	                             .envid = SM_STR("env"),
	                             .received_s = received_s,
	                             .rcpts = r};
	struct sm_str rest = sm_str(rcpts);

	while (rest.n > 0) {
		struct sm_str one = sm_str_split(rest, ' ', &rest);

		r[m.rcpts_count++] = (struct sm_msg_rcpt_new){
		    .addr = one, .orcpt = SM_STR("rfc822;orig@x"), .notify = notify};
	}
	t_send(&s->p, SM_MSG_ta_commit, &m, true);
	return id;
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
	       qm_defer_loads(&w.q) == 0 && w.q.txns.contents.count == 0 && w.q.txns.rcpts == 0 &&
	       qm_delivery_tasks(&w.q) == 0 && t_contents() == 0;
}
