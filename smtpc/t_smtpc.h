/*
 * For the tests of smtpc: servers that follow a script, on real sockets, and tasks to deliver to
 * them.
 *
 * A script is lines; "---" separates connections, each served in turn:
 *     > text    say a line            ! text    say it without line end (\r \n \0 \xNN are escapes)
 *     < text    expect this line; "*" at its end: anything may follow
 *     .         take content until the dot, into `content`
 *     b N       take N bytes as they come, into `content`
 *     p         take only a piece of it
 *     x         close                 r         reset
 *     w         wait until the client closes, saying nothing
 *     h         hold still until the test says t_let_go()
 * At the end of a connection's script QUIT is answered; any other line is an error.
 */
#ifndef SC_T_SMTPC_H
#define SC_T_SMTPC_H

#include "libsm/t_co.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/offload.h"
#include "libsm/stream.h"
#include "smtpc/sc.h"
#include "smtpc/task.h"

/* What scripts are put together of: a greeting with what the server offers (with or without
 * PIPELINING, which is said last), commands that come, answers. */
#define HELLO     "> 220 mx.example ESMTP\n< EHLO client.example\n> 250-mx.example\n"
#define OFFERS(x) HELLO x "> 250 PIPELINING\n"
#define PIPE      OFFERS("")
#define PLAIN     HELLO "> 250 HELP\n"
#define MAIL      "< MAIL FROM:<sender@a.example>\n"
#define RCPT(x)   "< RCPT TO:<" x "@b.example>\n"
#define DATA      "< DATA\n"
#define OK        "> 250 2.0.0 ok\n"
#define GO_ON     "> 354 go\n.\n" /* and the content */
/* A mail for x that is taken, pipelined. */
#define TAKES MAIL RCPT("x") DATA OK OK GO_ON "> 250 2.0.0 queued\n"

enum { T_HOSTS = 4 };

struct t_host {
	const char *script;
	bool down; /* nobody listens there */
	struct sm_fd listener;
	struct sm_sa sa;
	int connections;
	bool let_go;
	struct sm_buf content;
	char error[300];
};

static struct t_world {
	struct sc sc;
	struct sc_conf conf;
	struct t_host host[T_HOSTS];
	size_t host_count;
	struct sm_arena arena;
	struct sm_msg_task task;
	struct sm_msg_host hosts[T_HOSTS];
	struct sm_msg_rcpt_task rcpts[200];
	char results[32768]; /* a line each: index outcome code stage text */
	bool kept;
	bool dsn_passed, local; /* all of them */
	unsigned reach;
	int answers;
	int gone; /* calls of on_gone */
	struct sm_str message;
	char dir[64];
	size_t tasks;                         /* how many times the task is run */
	void (*between)(void);                /* called between them */
	void (*on_answer)(struct sc_task *t); /* may look at it */
} W;
static bool t_in_world; /* between t_begin() and t_end() */

/* ---- server ---- */

static inline void t_error(struct t_host *h, const char *what, struct sm_str got,
                           struct sm_str want)
{
	if (h->error[0] == '\0')
		(void)snprintf(h->error, sizeof(h->error), "%s: got \"%.*s\", want \"%.*s\"", what,
		               SM_STR_ARG(got), SM_STR_ARG(want));
}

static inline void t_raw(struct sm_stream *s, struct sm_str text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i], out = c;
		if (c == '\\' && i + 1 < text.n) {
			c = text.p[++i];
			out = c;
			if (c == 'r')
				out = '\r';
			else if (c == 'n')
				out = '\n';
			else if (c == '0')
				out = '\0';
			else if (c == 'x') {
				uint64_t v = 0;
				(void)!sm_str_u64(sm_str_n(text.p + i + 1, 2), 16, 255, &v);
				out = (char)(unsigned char)v;
				i += 2;
			}
		}
		sm_stream_puts(s, sm_str_n(&out, 1));
	}
}

static inline void t_take_content(struct t_host *h, struct sm_stream *s, int64_t deadline)
{
	char piece[4096];
	ssize_t n;

	sm_buf_reset(&h->content);
	sm_stream_data_begin(s);
	while ((n = sm_stream_data(s, piece, sizeof(piece), deadline)) > 0)
		sm_buf_append(&h->content, piece, (size_t)n);
	if (n != 0)
		t_error(h, "content", sm_str("broken off"), SM_STR_NONE);
	if (s->bare_cr || s->bare_lf)
		t_error(h, "content", sm_str("bare CR or LF"), SM_STR_NONE);
}

static inline void t_take_chunk(struct t_host *h, struct sm_stream *s, struct sm_str count,
                                int64_t deadline)
{
	char piece[4096];
	uint64_t left;

	sm_buf_reset(&h->content);
	if (sm_str_u64(count, 10, 1 << 20, &left) != 0)
		t_error(h, "script", count, SM_STR_NONE);
	while (left > 0) {
		ssize_t n = sm_stream_raw(s, piece, SM_MIN(left, sizeof(piece)), deadline);
		if (n <= 0) {
			t_error(h, "chunk", sm_str("broken off"), SM_STR_NONE);
			return;
		}
		sm_buf_append(&h->content, piece, (size_t)n);
		left -= (uint64_t)n;
	}
}

static inline void t_let_go(struct t_host *h)
{
	h->let_go = true;
}

/* One connection; *script is moved behind it. */
static inline void t_serve(struct t_host *h, struct sm_net *net, struct sm_str *script)
{
	int64_t deadline = sm_loop_now_ms() + T_PATIENCE_MS;
	struct sm_stream s;
	struct sm_str line;
	bool open = true;

	sm_stream_init(&s, net, 70000, 400000);
	while (script->n > 0) {
		struct sm_str step = sm_str_split(*script, '\n', script);
		struct sm_str text = sm_str_from(step, 2);
		if (sm_str_eq(step, SM_STR("---")))
			break;
		if (!open || step.n == 0)
			continue;
		switch (step.p[0]) {
		case '>':
			sm_stream_puts(&s, text);
			sm_stream_puts(&s, SM_STR("\r\n"));
			break;
		case '!':
			t_raw(&s, text);
			break;
		case '<':
			if (sm_stream_line(&s, &line, 60000, deadline) != 0)
				line = sm_str("connection lost or broken line");
			bool prefix = sm_str_has_suffix(text, SM_STR("*"));
			if (prefix ? !sm_str_has_prefix(line, sm_str_head(text, text.n - 1))
			           : !sm_str_eq(line, text))
				t_error(h, "command", line, text);
			break;
		case '.':
			t_take_content(h, &s, deadline);
			break;
		case 'b':
			t_take_chunk(h, &s, text, deadline);
			break;
		case 'p':
			sm_stream_data_begin(&s);
			char piece[64];
			if (sm_stream_data(&s, piece, sizeof(piece), deadline) <= 0)
				t_error(h, "content", sm_str("none"), SM_STR_NONE);
			break;
		case 'w':
			(void)!sm_stream_flush(&s, deadline);
			if (sm_stream_line(&s, &line, 60000, deadline) == 0)
				t_error(h, "nothing was expected", line, SM_STR_NONE);
			open = false;
			break;
		case 'h':
			(void)!sm_stream_flush(&s, deadline);
			while (!h->let_go && sm_loop_now_ms() < deadline)
				if (sm_co_sleep(sm_loop_now_ms() + 1) != 0)
					break;
			break;
		case 'r':
		case 'x':
			(void)!sm_stream_flush(&s, deadline);
			if (step.p[0] == 'r') {
				struct linger hard = {1, 0};
				(void)setsockopt(net->f.fd, SOL_SOCKET, SO_LINGER, &hard,
				                 sizeof(hard));
			}
			sm_net_close(net);
			open = false;
			break;
		default:
			t_error(h, "script", step, SM_STR_NONE);
		}
	}
	while (open && sm_stream_line(&s, &line, 60000, deadline) == 0) {
		if (!sm_str_eq(line, SM_STR("QUIT")))
			t_error(h, "at the end", line, SM_STR("QUIT"));
		sm_stream_puts(&s, SM_STR("221 bye\r\n"));
	}
	sm_stream_fini(&s);
	sm_net_close(net);
}

static inline void t_server(void *arg)
{
	struct t_host *h = arg;
	struct sm_str script = sm_str(h->script);

	while (script.n > 0) {
		struct sm_net net;
		if (sm_fd_wait(&h->listener, SM_RD, "client", sm_loop_now_ms() + T_PATIENCE_MS) !=
		    0)
			return; /* cancelled: no more clients */
		int fd = accept4(h->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == -1) {
			sm_fd_drained(&h->listener, SM_RD);
			continue;
		}
		h->connections++;
		if (sm_net_open(&net, fd) == 0)
			t_serve(h, &net, &script);
	}
}

/* ---- task ---- */

static inline void t_answer(struct sc_task *t, const struct sm_msg_task_result *m)
{
	static const char *const outcomes[] = {"done", "temp", "perm"};
	size_t at = strlen(W.results);

	assert_int_equal(m->task, t->in.task);
	if (W.on_answer != NULL)
		W.on_answer(t);
	W.answers++;
	W.kept = m->session_kept;
	W.dsn_passed = W.local = true;
	W.reach = m->reach;
	for (size_t i = 0; i < m->results_count; i++) {
		const struct sm_msg_rcpt_result *r = &m->results[i];
		W.dsn_passed = W.dsn_passed && r->dsn_passed;
		W.local = W.local && r->local;
		at += (size_t)snprintf(W.results + at, sizeof(W.results) - at,
		                       "%u %s %u %s " SM_STR_FMT "\n", (unsigned)r->index,
		                       outcomes[r->outcome], (unsigned)r->code,
		                       sc_stage_name((enum sm_stage)r->stage), SM_STR_ARG(r->text));
		assert_true(at < sizeof(W.results));
	}
}

static inline void t_gone(struct sc *sc, struct sm_str key, const struct sm_sa *sa)
{
	assert_ptr_equal(sc, &W.sc);
	assert_true(key.n > 0 && sa->len > 0);
	W.gone++;
}

static inline void t_write_content(void)
{
	struct cdb_writer *w = cdb_write(W.sc.cdb, W.task.content, 0);
	struct cdb_place at = {0};
	int rc = cdb_append(w, W.message.p, W.message.n);

	if (rc == 0)
		rc = cdb_commit(&w, &at);
	W.task.content_offset = at.offset;
	W.task.size = at.size;
	assert_int_equal(rc, 0);
}

static inline void t_driver(void *arg)
{
	struct sm_buf body;

	(void)arg;
	if (W.message.n > 0)
		t_write_content();
	for (size_t i = 0; i < W.tasks; i++) {
		sm_buf_init(&body, SM_FRAME_MAX);
		sm_msg_task_encode(&body, &W.task);
		struct sc_task *t = sc_task_new(&W.sc, sm_buf_view(&body));
		assert_non_null(t);
		sm_buf_fini(&body);
		t->answer = t_answer;
		sc_task_run(t);
		if (W.between != NULL)
			W.between();
	}
	sc_cache_quit_all(&W.sc.cache);
	/* Those who wait for clients that will not come. */
	for (size_t i = 0; i < W.host_count; i++)
		sm_fd_close(&W.host[i].listener);
}

/* Scripts of up to T_HOSTS hosts; a NULL one is a host that is down. */
static inline void t_begin(size_t hosts, const char *const *scripts)
{
	/* One that failed was left in the middle, with its loop and its coroutines: what it said
	 * is to be the last that is said, and no assertion of the loop's. */
	if (t_in_world)
		skip();
	t_in_world = true;
	memset(&W, 0, sizeof(W));
	assert_int_equal(sm_loop_init(), 0);
	sm_arena_init(&W.arena, "test", 4096, 1 << 20);
	sm_conf_defaults(sc_conf_opts, &W.conf, &W.arena);
	W.sc.conf = &W.conf;
	W.sc.hostname = SM_STR("client.example");
	assert_int_equal(sc_dsn_texts_load(SM_STR(""), &W.sc.dsn_texts), 0);
	sm_list_init(&W.sc.tasks);
	sc_cache_init(&W.sc.cache, &W.sc);
	W.sc.cache.on_gone = t_gone;
	(void)snprintf(W.dir, sizeof(W.dir), "/tmp/t_smtpc.XXXXXX");
	assert_non_null(mkdtemp(W.dir));
	for (int i = 0; i < 16; i++) {
		char path[80];
		(void)snprintf(path, sizeof(path), "%s/%X", W.dir, (unsigned)i);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	char base[80];
	(void)snprintf(base, sizeof(base), "%s/", W.dir);
	const struct cdb_conf cdb = {
	    .base = base, .gid = (gid_t)-1, .sync_dir = CDB_SYNC_DIR_NEVER};
	assert_int_equal(cdb_open(&cdb, &W.sc.cdb), 0);
	W.host_count = hosts;
	for (size_t i = 0; i < hosts; i++) {
		struct t_host *h = &W.host[i];
		struct sm_sa any;
		assert_int_equal(sm_sa_ip(&any, SM_STR("127.0.0.1"), 0), 0);
		int fd = sm_net_listen(&any, 10, 0);
		assert_true(fd >= 0);
		assert_int_equal(sm_sa_local(&h->sa, fd), 0);
		sm_buf_init(&h->content, 10 << 20);
		h->script = scripts[i];
		h->down = scripts[i] == NULL;
		h->listener.fd = -1;
		if (h->down)
			assert_int_equal(close(fd), 0);
		else
			assert_int_equal(sm_fd_open_exclusive(&h->listener, fd, NULL, NULL), 0);
		W.hosts[i] = (struct sm_msg_host){
		    .name = SM_STR("mx.example"), .sa = h->sa, .pref = (uint16_t)(10 * i)};
	}
	W.tasks = 1;
	W.task = (struct sm_msg_task){
	    .task = 7,
	    .ta = {.counter = 0x1234, .proc = 1},
	    .sender = SM_STR("sender@a.example"),
	    .content = {.counter = 0x1234, .proc = 1},
	    .key = SM_STR("key"),
	    .hosts_count = (uint32_t)hosts,
	    .hosts = W.hosts,
	    .rcpts = W.rcpts,
	};
	W.message = SM_STR("Subject: hi\r\n\r\n.hello\r\nworld\r\n");
}

static inline void t_rcpt(const char *addr)
{
	size_t i = W.task.rcpts_count++;

	W.rcpts[i] = (struct sm_msg_rcpt_task){.index = (uint16_t)i, .addr = sm_str(addr)};
}

static inline void t_end(void)
{
	char command[100];

	for (size_t i = 0; i < W.host_count; i++)
		sm_buf_fini(&W.host[i].content);
	assert_int_equal(sm_co_count(), 0);
	assert_int_equal(W.sc.task_count, 0);
	sc_cache_fini(&W.sc.cache);
	cdb_close(&W.sc.cdb);
	sc_dsn_texts_free(&W.sc.dsn_texts);
	sm_arena_fini(&W.arena);
	sm_co_cleanup();
	sm_loop_fini();
	t_in_world = false;
	(void)snprintf(command, sizeof(command), "rm -rf %s", W.dir);
	assert_int_equal(system(command), 0);
}

/* Deliver; check results and that every server saw what it should. */
static inline void t_run(const char *results)
{
	for (size_t i = 0; i < W.host_count; i++)
		if (!W.host[i].down)
			t_spawn(t_server, &W.host[i]);
	t_spawn(t_driver, NULL);
	t_run_all();
	for (size_t i = 0; i < W.host_count; i++)
		assert_string_equal(W.host[i].error, "");
	assert_int_equal(W.answers, W.tasks);
	assert_string_equal(W.results, results);
}

/* One host, one recipient. */
static inline void t_begin1(const char *script)
{
	t_begin(1, &script);
	t_rcpt("x@b.example");
}

static inline void t_one(const char *script, const char *results)
{
	t_begin1(script);
	t_run(results);
}

#endif
