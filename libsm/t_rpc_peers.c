/* Calls between processes: with another that lies, dies, never reads, or is somebody else's. */
#include "libsm/t_rpc.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

/* ---- another process: raw bytes from it, and its death ---- */

static void put_hello(struct sm_buf *b, enum sm_role role, uint64_t table)
{
	struct sm_msg_hello h = {.role = (uint8_t)role, .table = table, .build = SM_STR("smx 9")};

	assert_int_equal(sm_frame_put(b, SM_MSG_hello, 0, 0, &h), 0);
}

static void raw_connect(struct sm_net *n)
{
	struct sm_sa to;

	assert_int_equal(sm_sa_unix(&to, sm_str(t.path)), 0);
	assert_int_equal(sm_net_connect(n, &to, NULL, t_soon()), 0);
}

/* Send `bytes` behind a good hello (role NONE: without), and read until the server closes. */
static void raw_dialog(enum sm_role role, uint64_t table, struct sm_str bytes)
{
	struct sm_net n;
	struct sm_buf b;
	char sink[4096];
	ssize_t got;

	raw_connect(&n);
	sm_buf_init(&b, 1 << 20);
	if (role != SM_ROLE_NONE)
		put_hello(&b, role, table);
	sm_buf_str(&b, bytes);
	assert_int_equal(sm_net_write(&n, sm_buf_p(&b), b.len, t_soon()), 0);
	do
		got = sm_net_read(&n, sink, sizeof(sink), t_soon());
	while (got > 0);
	assert_int_equal(got, SM_E_EOF);
	sm_buf_fini(&b);
	sm_net_close(&n);
}

#define TAG1 "\1\0\0\0\0\0\0\0"
static void body_bad_frames(void)
{
	static const struct sm_str bad[] = {
	    SM_STR("\0\0\0\0"),                                  /* no room for a header */
	    SM_STR("\x0b\0\0\0\x08\x01\0\0" TAG1),               /* too short by one */
	    SM_STR("\x01\0\x10\0\x08\x01\0\0" TAG1),             /* one byte above the maximum */
	    SM_STR("\xff\xff\xff\xff"),                          /* huge */
	    SM_STR("\x0c\0\0\0\xff\x7f\0\0" TAG1),               /* unknown type */
	    SM_STR("\x15\0\0\0\x08\x01\x08\0" TAG1 "123456789"), /* unknown flag */
	    SM_STR("\x15\0\0\0\x08\x01\x02\0" TAG1 "123456789"), /* more of what is no answer */
	    SM_STR("\x0c\0\0\0\x08\x01\x01\0\0\0\0\0\0\0\0\0"),  /* answer to nothing */
	    SM_STR("\x14\0\0\0\x08\x01\0\0" TAG1 "12345678"),    /* body short by one */
	    SM_STR("\x16\0\0\0\x08\x01\0\0" TAG1 "1234567890"),  /* one trailing byte */
	    SM_STR("\x14\0\0\0\x03\x03\0\0" TAG1 "12345678"), /* a message that has no place here */
	};
	struct sm_buf again;

	t_both_ends();
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		raw_dialog(SM_ROLE_SMTPS, sm_msg_table_hash(), bad[i]);
		/* It closes that connection, and nothing else. */
		t_assert_works();
		assert_int_equal(t.opened, 2 + (int)i);
		assert_int_equal(t.closed, 1 + (int)i);
	}
	/* A second hello. */
	sm_buf_init(&again, 4096);
	put_hello(&again, SM_ROLE_SMTPS, sm_msg_table_hash());
	raw_dialog(SM_ROLE_SMTPS, sm_msg_table_hash(), sm_buf_view(&again));
	sm_buf_fini(&again);
	t_assert_works();
	/* Before the hello nothing is heard, and on_open is never called. */
	t.opened = t.closed = 0;
	raw_dialog(SM_ROLE_NONE, 0, SM_STR("\x15\0\0\0\x08\x01\0\0" TAG1 "123456789"));
	raw_dialog(SM_ROLE_SMTPC, sm_msg_table_hash(), SM_STR(""));
	raw_dialog(SM_ROLE_SMTPS, sm_msg_table_hash() + 1, SM_STR(""));
	raw_dialog((enum sm_role)255, sm_msg_table_hash(), SM_STR(""));
	assert_int_equal(t.opened, 0);
	assert_int_equal(t.closed, 0);
	t_assert_works();
}

static void bad_frames(void **state SM_UNUSED)
{
	t_run(body_bad_frames);
}

/* Whose request is refused with an error is forgotten as a whole. */
static void body_refused(void)
{
	static const struct sm_str frame = SM_STR("\x14\0\0\0\x03\x03\0\0" TAG1 "12345678");
	enum { WARM_UP = 50, TIMES = 300, BYTES_EACH = 100 };
	size_t before = 0;

	t_both_ends();
	for (int i = 0; i < WARM_UP + TIMES; i++) {
		if (i == WARM_UP)
			before = mallinfo2().uordblks;
		raw_dialog(SM_ROLE_SMTPS, sm_msg_table_hash(), frame);
	}
	t_assert_works();
	assert_in_range(mallinfo2().uordblks, 0, before + (size_t)TIMES * BYTES_EACH);
}

static void refused(void **state SM_UNUSED)
{
	t_run(body_refused);
}

/* Frames byte by byte, and many in one piece, are the same frames. */
static void body_pieces(void)
{
	struct sm_msg_ta_query q = {.ta = {250, 1}};
	struct sm_net n;
	struct sm_buf b;

	t_both_ends();
	raw_connect(&n);
	sm_buf_init(&b, 1 << 20);
	put_hello(&b, SM_ROLE_CTL, sm_msg_table_hash());
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(sm_frame_put(&b, SM_MSG_ta_query, 0, i, &q), 0);
	for (size_t i = 0; i < b.len; i++) {
		assert_int_equal(sm_net_write(&n, sm_buf_p(&b) + i, 1, t_soon()), 0);
		sm_co_yield();
	}
	while (t.got < 3)
		t_settle();
	sm_buf_reset(&b);
	for (uint64_t i = 1; i <= 5000; i++)
		assert_int_equal(sm_frame_put(&b, SM_MSG_ta_query, 0, i, &q), 0);
	assert_int_equal(sm_net_write(&n, sm_buf_p(&b), b.len, t_soon()), 0);
	/* A half one at the end is not a frame. */
	assert_int_equal(sm_net_write(&n, "\x15\0\0\0\x08", 5, t_soon()), 0);
	sm_net_close(&n);
	while (t.closed == 0)
		t_settle();
	assert_int_equal(t.got, 5003);
	sm_buf_fini(&b);
}

static void pieces(void **state SM_UNUSED)
{
	t_run(body_pieces);
}

static void body_never_reads(void)
{
	static char text[60000];
	struct sm_msg_ctl_text m = {sm_str_n(text, sizeof(text))};
	struct sm_net n;
	struct sm_buf b;

	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	raw_connect(&n);
	sm_buf_init(&b, 4096);
	put_hello(&b, SM_ROLE_CTL, sm_msg_table_hash());
	assert_int_equal(sm_net_write(&n, sm_buf_p(&b), b.len, t_soon()), 0);
	sm_buf_fini(&b);
	while (t.opened == 0)
		t_settle();
	for (int i = 0; i < 2000 && t.closed == 0; i++) {
		sm_peer_send(t.last, SM_MSG_ctl_text, &m);
		if (i % 100 == 0)
			sm_co_yield();
	}
	while (t.closed == 0)
		t_settle();
	assert_int_equal(t.closed, 1);
	sm_net_close(&n);
}

static void never_reads(void **state SM_UNUSED)
{
	t_run(body_never_reads);
}

static void body_too_many(void)
{
	struct sm_net n[3];
	char c;

	t.sconf.max_peers = 3;
	t_both_ends();
	for (int i = 0; i < 3; i++)
		raw_connect(&n[i]);
	/* Two wait for their hello, the third was one too many. */
	assert_int_equal(sm_net_read(&n[2], &c, 1, t_soon()), SM_E_EOF);
	assert_int_equal(sm_net_read(&n[1], &c, 1, t_soon()), 1);
	t_assert_works();
	for (int i = 0; i < 3; i++)
		sm_net_close(&n[i]);
}

static void too_many(void **state SM_UNUSED)
{
	t_run(body_too_many);
}

/* A listener of another mind: answers each connection with `bytes`. */
static void lie_once(int listener, struct sm_str bytes)
{
	char sink[4096];
	struct sm_net n;
	struct sm_fd f;
	int fd = -1;

	assert_int_equal(sm_fd_open(&f, listener, NULL, NULL), 0);
	while ((fd = accept(f.fd, NULL, NULL)) < 0) {
		sm_fd_drained(&f, SM_RD);
		assert_int_equal(sm_fd_wait(&f, SM_RD, "accept", t_soon()), 0);
	}
	assert_int_equal(sm_net_open(&n, fd), 0);
	assert_int_equal(sm_net_write(&n, bytes.p, bytes.n, t_soon()), 0);
	while (sm_net_read(&n, sink, sizeof(sink), t_soon()) > 0)
		continue;
	sm_net_close(&n);
	sm_fd_close(&f);
}

static int listener(void)
{
	struct sm_sa at;

	assert_int_equal(sm_sa_unix(&at, sm_str(t.path)), 0);
	return sm_net_listen(&at, 8, 0077);
}

static void body_other_build(void)
{
	struct sm_buf b;

	sm_buf_init(&b, 4096);
	t.link = sm_link_open(&t.lconf);
	put_hello(&b, SM_ROLE_SMTPS, sm_msg_table_hash() + 1);
	lie_once(listener(), sm_buf_view(&b));
	assert_non_null(strstr(sm_link_trouble(t.link), "other build: smx 9"));
	sm_buf_reset(&b);
	put_hello(&b, SM_ROLE_SMAR, sm_msg_table_hash());
	lie_once(listener(), sm_buf_view(&b));
	assert_string_equal(sm_link_trouble(t.link), "smar listens there");
	lie_once(listener(), SM_STR("220 mail.example ESMTP\r\n"));
	assert_non_null(strstr(sm_link_trouble(t.link), "frame of"));
	assert_int_equal(t.up, 0);
	assert_int_equal(t.down, 0);
	/* It goes on trying, and is up as soon as the right one listens. */
	unlink(t.path);
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	assert_int_equal(sm_link_wait(t.link, t_soon()), 0);
	t_assert_works();
	sm_buf_fini(&b);
}

static void other_build(void **state SM_UNUSED)
{
	t_run(body_other_build);
}

/* An answer of another type, or a malformed one: the asker gets an error, the connection ends. */
static int wrong_answer(struct sm_peer *p, const struct sm_frame *f, void *arg SM_UNUSED)
{
	struct sm_msg_ta_outcome o = {1};

	sm_peer_reply(p, f->tag, 0, SM_MSG_ta_outcome, &o);
	return 0;
}

static void body_wrong_answer(void)
{
	uint16_t code;

	t.sconf.on_frame = wrong_answer;
	t_both_ends();
	assert_int_equal(t_ask(1, &code, t_soon()), SM_E_PROTO);
	while (t.down == 0)
		t_settle();
	assert_int_equal(sm_link_wait(t.link, t_soon()), 0);
}

static void wrong_answers(void **state SM_UNUSED)
{
	t_run(body_wrong_answer);
}

/* Another process that serves until a request with counter 666 comes: then it dies without a word.
 */
static pid_t other_server(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", "t_rpc_peers", "--serve", t.path, (char *)NULL);
		_exit(1);
	}
	return pid;
}

static void body_death(void)
{
	uint16_t code;

	t.link = sm_link_open(&t.lconf);
	assert_int_equal(sm_link_wait(t.link, t_soon()), 0);
	t_assert_works();
	assert_int_equal(t_ask(666, &code, t_soon()), SM_E_PEER);
	assert_int_equal(t.down, 1);
	assert_null(sm_link_peer(t.link));
}

static void body_again(void)
{
	assert_int_equal(sm_link_wait(t.link, t_soon()), 0);
	assert_int_equal(t.up, 2);
	t_assert_works();
}

static void death_and_return(void **state SM_UNUSED)
{
	pid_t pid = other_server();
	int status;

	t_run(body_death);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);

	/* The new one finds the socket of the dead one in its way, and takes its place. */
	pid = other_server();
	t_run(body_again);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

/* Another user connects, and reads so many bytes: 0 is the end. */
static void as_nobody(ssize_t gets)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct sm_sa to;
		char c;
		int fd;

		alarm(T_PATIENCE_MS / 1000);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0 ||
		    sm_sa_unix(&to, sm_str(t.path)) != 0 || connect(fd, &to.u.sa, to.len) != 0)
			_exit(2);
		_exit(read(fd, &c, 1) == gets ? 0 : 3);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		t_settle();
	assert_int_equal(status, 0);
}

static void body_wrong_user(void)
{
	pid_t pid;
	int status, fd;

	/* From there: closed before a byte. */
	t.sconf.umask = 0;
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	as_nobody(0);
	assert_int_equal(t.opened, 0);

	/* A listed user may. */
	sm_rpc_server_free(&t.server);
	t.sconf.uids = &(uid_t){NOBODY};
	t.sconf.uid_count = 1;
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	as_nobody(1);

	/* Only by its group: in, but not trusted. */
	sm_rpc_server_free(&t.server);
	t.sconf.uid_count = 0;
	t.sconf.read_gid = NOBODY;
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	pid = fork();
	if (pid == 0) {
		struct sm_sa to;
		struct sm_buf b;

		alarm(T_PATIENCE_MS / 1000);
		sm_buf_init(&b, 4096);
		put_hello(&b, SM_ROLE_CTL, sm_msg_table_hash());
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0 ||
		    sm_sa_unix(&to, sm_str(t.path)) != 0 || connect(fd, &to.u.sa, to.len) != 0 ||
		    write(fd, sm_buf_p(&b), b.len) != (ssize_t)b.len)
			_exit(2);
		pause();
	}
	while (t.opened == 0)
		t_settle();
	assert_false(sm_peer_trusted(t.last));
	assert_int_equal(sm_peer_uid(t.last), NOBODY);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	sm_rpc_server_free(&t.server);

	/* And we do not talk to a listener of a wrong user. */
	pid = fork();
	if (pid == 0) {
		alarm(T_PATIENCE_MS / 1000);
		if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0 || listener() < 0)
			_exit(2);
		pause();
	}
	t.link = sm_link_open(&t.lconf);
	while (strcmp(sm_link_trouble(t.link), "a wrong user listens there") != 0)
		t_settle();
	assert_int_equal(t.up, 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static void wrong_user(void **state SM_UNUSED)
{
	if (geteuid() != 0)
		skip();
	t_run(body_wrong_user);
}

static int serve_until_666(struct sm_peer *p, const struct sm_frame *f, void *arg SM_UNUSED)
{
	struct sm_msg_ta_query q;

	if (sm_msg_ta_query_decode(f->body, NULL, &q) != 0 || q.ta.counter == 666)
		_exit(0);
	t_answer(p, f->tag, (uint16_t)q.ta.counter);
	return 0;
}

static int serve(const char *path)
{
	alarm(5 * T_PATIENCE_MS / 1000);
	t_rpc_set_up(NULL);
	t.sconf.path = path;
	t.sconf.on_frame = serve_until_666;
	if (sm_rpc_listen(&t.sconf, &t.server) != 0)
		return 1;
	return sm_loop_run();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    T_RPC(bad_frames),       T_RPC(pieces),      T_RPC(never_reads),
	    T_RPC(too_many),         T_RPC(other_build), T_RPC(wrong_answers),
	    T_RPC(death_and_return), T_RPC(wrong_user),  T_RPC(refused),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "--serve") == 0)
		return serve(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
