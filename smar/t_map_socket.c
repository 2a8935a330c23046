/* Socket maps against a server on the same loop, that is slow, dies and talks nonsense: an answer,
 * "not there" only when the server says so, else a failure; and it recovers. */
#include "libsm/t_co.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libsm/net.h"
#include "smar/map_int.h"
#include "smar/socketmap.h"

/* ---- the server: what it does depends on the key ---- */

static struct {
	struct sm_fd listener;
	struct sm_sa at;
	unsigned accepted, asked, open, most_open;
	char last[1200]; /* request */
	int64_t delay_ms;
} srv;

struct session {
	struct sm_net net;
	struct sm_buf in, out;
};

static void answer(struct session *s, const char *text)
{
	sm_buf_printf(&s->out, "%zu:%s,", strlen(text), text);
}

/* False: closes the connection. */
static bool serve_one(struct session *s, struct sm_str key)
{
	static const struct {
		const char *key, *raw;
		bool close;
	} rows[] = {
	    {"die", "", true},
	    {"half", "20:OK ha", true},
	    {"half-then-nothing", "20:OK ha", false},
	    {"garbage", "HTTP/1.0 400 Bad Request\r\n\r\n", false},
	    {"toobig", "100001:OK ", false},
	    {"noend", "4:OK x;", false},
	    {"twice", "4:OK x,4:OK y,", false},
	    {"control", "6:OK x\ny,", false},
	    {"nul", "6:OK x\1y,", false},
	    {"empty-reply", "0:,", false},
	    {"never", "", false},
	    {"ok", "15:OK <a@b.example,", false},
	    {"empty", "3:OK ,", false},
	    {"bare", "2:OK,", false},
	    {"miss", "9:NOTFOUND ,", false},
	    {"nomore", "7:NOMORE ,", false},
	    {"temp", "12:TEMP go away,", false},
	    {"timeout", "11:TIMEOUT low,", false},
	    {"perm", "10:PERM never,", false},
	    {"then-close", "4:OK z,", true},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++)
		if (sm_str_eq(key, sm_str(rows[i].key))) {
			sm_buf_cstr(&s->out, rows[i].raw);
			return !rows[i].close;
		}
	if (sm_str_eq(key, SM_STR("big"))) {
		sm_buf_printf(&s->out, "100000:OK %099997d,", 7);
	} else if (sm_str_has_prefix(key, SM_STR("echo "))) {
		char text[100];

		snprintf(text, sizeof(text), "OK " SM_STR_FMT, SM_STR_ARG(key));
		answer(s, text);
	} else {
		answer(s, "NOTFOUND ");
	}
	return true;
}

static void session(void *arg)
{
	struct session *s = arg;
	bool go_on = true;

	srv.open++;
	srv.most_open = SM_MAX(srv.most_open, srv.open);
	while (go_on) {
		struct sm_str request, key;
		size_t used;
		int rc = ar_socketmap_netstring(sm_buf_view(&s->in), &request, &used);

		if (rc == SM_E_AGAIN) {
			ssize_t n =
			    sm_net_read(&s->net, sm_buf_reserve(&s->in, 4096), 4096, SM_NEVER);

			if (n <= 0)
				break;
			sm_buf_commit(&s->in, (size_t)n);
			continue;
		}
		assert_int_equal(rc, 0);
		srv.asked++;
		sm_str_cut(request, srv.last, sizeof(srv.last));
		(void)sm_str_split(request, ' ', &key);
		go_on = serve_one(s, key);
		sm_buf_consume(&s->in, used);
		if (srv.delay_ms > 0 && sm_co_sleep(sm_loop_now_ms() + srv.delay_ms) != 0)
			break;
		if (sm_net_write(&s->net, sm_buf_p(&s->out), s->out.len, SM_NEVER) != 0)
			break;
		sm_buf_reset(&s->out);
	}
	srv.open--;
	sm_net_close(&s->net);
	sm_buf_fini(&s->in);
	sm_buf_fini(&s->out);
	free(s);
}

static void on_accept(struct sm_fd *f, unsigned events SM_UNUSED, void *arg SM_UNUSED)
{
	int fd;

	while ((fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		struct session *s = calloc(1, sizeof(*s));

		srv.accepted++;
		sm_buf_init(&s->in, 1 << 20);
		sm_buf_init(&s->out, 1 << 20);
		assert_int_equal(sm_net_open(&s->net, fd), 0);
		assert_non_null(sm_co_spawn("server", session, s));
	}
}

static void start_server(void)
{
	int fd = sm_net_listen(&srv.at, 64, 0077);

	assert_true(fd >= 0);
	if (srv.at.u.sa.sa_family != AF_UNIX)
		assert_int_equal(sm_sa_local(&srv.at, fd), 0);
	assert_int_equal(sm_fd_open(&srv.listener, fd, on_accept, NULL), 0);
}

static void stop_server(void)
{
	sm_fd_close(&srv.listener);
}

/* ---- the tests: each in a coroutine ---- */

static struct sm_arena arena;
static struct ar_map_conf conf;
static void *map;
static char unix_path[64];

static int ask_within(const char *key, int64_t ms, struct sm_str *value)
{
	struct ar_ctx ctx = {.a = &arena, .may_wait = true, .deadline_ms = sm_now_ms() + ms};

	*value = SM_STR_NONE;
	return ar_map_socket.get(map, &ctx, sm_str(key), value);
}

static int ask(const char *key, struct sm_str *value)
{
	return ask_within(key, T_PATIENCE_MS, value);
}

static void expect(const char *key, const char *want)
{
	struct sm_str value;
	int rc = ask(key, &value);

	if (rc != 0)
		fail_msg("%s: %s", key, sm_diag());
	assert_string_equal(sm_arena_str(&arena, value).p, want);
}

static void expect_failure(const char *key, const char *diag)
{
	struct sm_str value;
	int rc = ask_within(key,
	                    sm_str_has_prefix(sm_str(key), SM_STR("never")) ||
	                            sm_str_eq(sm_str(key), SM_STR("half-then-nothing"))
	                        ? 50
	                        : T_PATIENCE_MS,
	                    &value);

	/* Neither an answer nor "there is none", nor a wish to be called again. */
	assert_true(rc < 0 && rc != SM_E_NOTFOUND && rc != SM_E_EOF && rc != SM_E_AGAIN);
	if (strstr(sm_diag(), diag) == NULL)
		fail_msg("%s: \"%s\" has no \"%s\"", key, sm_diag(), diag);
}

static void open_map(const char *path, int port)
{
	size_t entries = 0;

	conf = (struct ar_map_conf){.mapname = SM_STR("users")};
	if (path != NULL)
		conf.path = sm_str(path);
	else
		conf.address = SM_STR("127.0.0.1");
	conf.port = port;
	assert_int_equal(ar_map_socket.open(&conf, &map, &entries), 0);
}

static void close_map(void)
{
	ar_map_socket.close(map);
	map = NULL;
}

static void body(void *arg)
{
	void (*const *fn)(void) = arg;

	sm_arena_init(&arena, "test", 65536, 1 << 24);
	(*fn)();
	if (map != NULL)
		close_map();
	stop_server();
	sm_arena_fini(&arena);
}

static void run(void (*fn)(void))
{
	memset(&srv, 0, sizeof(srv));
	snprintf(unix_path, sizeof(unix_path), "/tmp/t_map_socket.%d", (int)getpid());
	assert_int_equal(sm_sa_unix(&srv.at, sm_str(unix_path)), 0);
	start_server();
	open_map(unix_path, 0);
	t_spawn(body, &fn);
	t_run_all();
	(void)unlink(unix_path);
}

#define TEST(name)                     \
	static void name##_body(void); \
	static void name(void **state) \
	{                              \
		(void)state;           \
		run(name##_body);      \
	}                              \
	static void name##_body(void)

TEST(answers)
{
	struct ar_ctx first = {.a = &arena};
	struct sm_str value;

	/* Without waiting there is no answer. */
	assert_int_equal(ar_map_socket.get(map, &first, SM_STR("ok"), &value), SM_E_AGAIN);
	expect("ok", "<a@b.example");
	assert_string_equal(srv.last, "users ok");
	assert_int_equal(ask("miss", &value), SM_E_NOTFOUND);
	assert_int_equal(ask("nomore", &value), SM_E_EOF);
	expect("empty", "");
	expect("bare", "");
	expect("echo a key with blanks", "echo a key with blanks");
	assert_int_equal(ask("big", &value), 0);
	assert_int_equal(value.n, 99997);
	/* All of them over one connection. */
	assert_int_equal(srv.accepted, 1);
	assert_int_equal(srv.asked, 7);
}

TEST(failures)
{
	static const struct {
		const char *key, *diag;
	} rows[] = {
	    {"temp", "it says TEMP go away"},
	    {"timeout", "it says TIMEOUT low"},
	    {"perm", "it says PERM never"},
	    {"die", "unix:"},
	    {"half", "unix:"},
	    {"half-then-nothing", "unix:"},
	    {"never", "unix:"},
	    {"garbage", "does not begin as a netstring"},
	    {"toobig", "longer than 100000 bytes"},
	    {"noend", "does not end as a netstring"},
	    {"twice", "more than one reply"},
	    {"control", "control character"},
	    {"nul", "control character"},
	    {"empty-reply", "no status"},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		expect_failure(rows[i].key, rows[i].diag);
		expect("ok", "<a@b.example");
	}
}

/* A connection that was closed while nobody used it costs nobody an answer. */
TEST(idle_closed)
{
	expect("then-close", "z");
	expect("ok", "<a@b.example");
	assert_int_equal(srv.accepted, 2);
}

static unsigned running, answered_right;
static void one_of_many(void *arg)
{
	char key[40], want[40];
	struct ar_ctx ctx = {.may_wait = true, .deadline_ms = sm_now_ms() + T_PATIENCE_MS};
	struct sm_arena a;
	struct sm_str value;

	sm_arena_init(&a, "one", 1024, 65536);
	ctx.a = &a;
	snprintf(key, sizeof(key), "echo %ld", (long)(intptr_t)arg);
	snprintf(want, sizeof(want), "echo %ld", (long)(intptr_t)arg);
	if (ar_map_socket.get(map, &ctx, sm_str(key), &value) == 0)
		answered_right += sm_str_eq(value, sm_str(want));
	sm_arena_fini(&a);
	running--;
}

/* Each gets its own answer; not more connections than there may be. */
TEST(many)
{
	running = 300;
	answered_right = 0;
	srv.delay_ms = 1;
	for (intptr_t i = 0; i < 300; i++)
		t_spawn(one_of_many, (void *)i);
	while (running > 0)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	assert_int_equal(answered_right, 300);
	assert_int_equal(srv.asked, 300);
	assert_int_equal(srv.most_open, 16);
}

static void hangs(void *arg)
{
	struct ar_ctx ctx = {
	    .a = &arena, .may_wait = true, .deadline_ms = sm_now_ms() + (intptr_t)arg};
	struct sm_str value;

	assert_int_equal(ar_map_socket.get(map, &ctx, SM_STR("never"), &value), SM_E_TIMEOUT);
	running--;
}

/* Who waits for a turn has a deadline, too; and gets it when one is free. */
TEST(no_turn)
{
	running = 16;
	for (int i = 0; i < 16; i++)
		t_spawn(hangs, (void *)(intptr_t)400);
	while (srv.asked < 16)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	expect_failure("never mind", "all its connections are in use");
	expect("ok", "<a@b.example");
	while (running > 0)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
}

/* Away, and back. While it is away it is not tried at each question. */
TEST(away)
{
	struct sm_str value;
	unsigned refused = 0, rested = 0;

	expect("then-close", "z");
	stop_server();
	(void)unlink(unix_path);
	for (int i = 0; i < 100; i++) {
		assert_true(ask("ok", &value) < 0);
		if (strstr(sm_diag(), "a moment ago") != NULL)
			rested++;
		else
			refused++;
	}
	assert_true(refused >= 1 && rested > 50);
	start_server();
	while (ask("ok", &value) != 0)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 10), 0);
	expect("ok", "<a@b.example");
}

TEST(tcp)
{
	close_map();
	stop_server();
	assert_int_equal(sm_sa_ip(&srv.at, SM_STR("127.0.0.1"), 0), 0);
	start_server();
	open_map(NULL, sm_sa_port(&srv.at));
	expect("ok", "<a@b.example");
	expect_failure("temp", "127.0.0.1:");
}

static void cancelled_one(void *arg)
{
	struct ar_ctx ctx = {.a = &arena, .may_wait = true, .deadline_ms = SM_NEVER};
	struct sm_str value;

	(void)arg;
	assert_int_equal(ar_map_socket.get(map, &ctx, SM_STR("never"), &value), SM_E_CANCEL);
	running--;
}

TEST(cancelled)
{
	struct sm_co *co;

	running = 1;
	co = t_spawn(cancelled_one, NULL);
	while (srv.asked < 1)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	sm_co_cancel(co);
	while (running > 0)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	expect("ok", "<a@b.example");
}

static void netstrings(void **state)
{
	static const struct {
		const char *in;
		int rc;
		const char *payload;
	} rows[] = {
	    {"", SM_E_AGAIN, ""},
	    {"1", SM_E_AGAIN, ""},
	    {"1:", SM_E_AGAIN, ""},
	    {"1:a", SM_E_AGAIN, ""},
	    {"1:a,", 0, "a"},
	    {"1:a,2", 0, "a"},
	    {"0:,", 0, ""},
	    {"00:,", SM_E_PROTO, ""},
	    {"01:a,", SM_E_PROTO, ""},
	    {":a,", SM_E_PROTO, ""},
	    {"-1:a,", SM_E_PROTO, ""},
	    {" 1:a,", SM_E_PROTO, ""},
	    {"1:ab", SM_E_PROTO, ""},
	    {"100000", SM_E_AGAIN, ""},
	    {"100001", SM_E_TOOBIG, ""},
	    {"0000000", SM_E_TOOBIG, ""},
	    {"1 :a,", SM_E_PROTO, ""},
	};
	struct sm_str payload;
	size_t used;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		int rc = ar_socketmap_netstring(sm_str(rows[i].in), &payload, &used);

		if (rc != rows[i].rc)
			fail_msg("\"%s\": %d", rows[i].in, rc);
		if (rc == 0)
			assert_true(sm_str_eq(payload, sm_str(rows[i].payload)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(netstrings),
	    cmocka_unit_test_setup_teardown(answers, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(failures, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(idle_closed, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(many, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(no_turn, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(away, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(tcp, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(cancelled, t_setup, t_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
