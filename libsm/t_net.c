/* Sockets and addresses. */
#include "libsm/t_co.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libsm/net.h"

static char dir[] = "/tmp/t_net.XXXXXX";

static int64_t soon(void)
{
	return sm_loop_now_ms() + T_PATIENCE_MS;
}

/* ---- addresses ---- */

static void test_sa_text(void **state)
{
	static const struct {
		const char *in, *host, *with_port, *literal;
	} good[] = {
	    {"192.0.2.1", "192.0.2.1", "192.0.2.1:25", "[192.0.2.1]"},
	    {"[192.0.2.1]", "192.0.2.1", "192.0.2.1:25", "[192.0.2.1]"},
	    {"::1", "::1", "[::1]:25", "[IPv6:::1]"},
	    {"[::1]", "::1", "[::1]:25", "[IPv6:::1]"},
	    {"[IPv6:2001:db8::5]", "2001:db8::5", "[2001:db8::5]:25", "[IPv6:2001:db8::5]"},
	    {"ipv6:2001:DB8::5", "2001:db8::5", "[2001:db8::5]:25", "[IPv6:2001:db8::5]"},
	    {"::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1:25", "[192.0.2.1]"},
	};
	static const char *const bad[] = {"",         "[]",       "1.2.3",        "1.2.3.4.5",
	                                  "1.2.3.4 ", "[1.2.3.4", "IPv6:1.2.3.4", "fe80::1%lo",
	                                  "host",     "1.2.3.256"};
	char out[SM_SA_TEXT];
	struct sm_sa sa;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(good); i++) {
		assert_int_equal(sm_sa_ip(&sa, sm_str(good[i].in), 25), 0);
		assert_string_equal(sm_sa_host_text(&sa, out), good[i].host);
		assert_string_equal(sm_sa_text(&sa, out), good[i].with_port);
		assert_string_equal(sm_sa_literal(&sa, out), good[i].literal);
		assert_int_equal(sm_sa_port(&sa), 25);
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		assert_int_equal(sm_sa_ip(&sa, sm_str(bad[i]), 25), SM_E_SYNTAX);
	assert_int_equal(sm_sa_unix(&sa, SM_STR("/run/x")), 0);
	assert_string_equal(sm_sa_text(&sa, out), "unix:/run/x");
	char path[200];
	memset(path, 'p', sizeof(path));
	assert_int_equal(sm_sa_unix(&sa, sm_str_n(path, sizeof(path))), SM_E_TOOBIG);
	assert_int_equal(sm_sa_unix(&sa, SM_STR("")), SM_E_SYNTAX);
	sa = (struct sm_sa){0};
	assert_string_equal(sm_sa_text(&sa, out), "none");
}

static struct sm_sa ip(const char *text)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 25), 0);
	return sa;
}

static void test_sa_class(void **state)
{
	static const char *const loop[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
	static const char *const bogus[] = {
	    "0.0.0.0", "0.1.2.3", "224.0.0.1",      "255.255.255.255",
	    "::",      "ff02::1", "::ffff:0.0.0.0", "::ffff:239.1.1.1"};
	static const char *const fine[] = {"192.0.2.1", "10.0.0.1", "2001:db8::1",
	                                   "::ffff:8.8.8.8"};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(loop); i++) {
		struct sm_sa sa = ip(loop[i]);
		assert_true(sm_sa_is_loopback(&sa));
		assert_false(sm_sa_is_bogus(&sa));
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(bogus); i++) {
		struct sm_sa sa = ip(bogus[i]);
		assert_true(sm_sa_is_bogus(&sa));
		assert_false(sm_sa_is_loopback(&sa));
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(fine); i++) {
		struct sm_sa sa = ip(fine[i]);
		assert_false(sm_sa_is_bogus(&sa));
		assert_false(sm_sa_is_loopback(&sa));
	}
	struct sm_sa none = {0};
	assert_true(sm_sa_is_bogus(&none));
	assert_false(sm_sa_is_loopback(&none));
	struct sm_sa a = ip("192.0.2.1"), b = ip("::ffff:192.0.2.1"), c = ip("192.0.2.2");
	assert_true(sm_sa_eq_host(&a, &b));
	assert_true(sm_sa_eq(&a, &b));
	assert_int_equal(sm_sa_hash_host(&a), sm_sa_hash_host(&b));
	assert_false(sm_sa_eq_host(&a, &c));
	sm_sa_set_port(&b, 26);
	assert_true(sm_sa_eq_host(&a, &b));
	assert_false(sm_sa_eq(&a, &b));
	assert_false(sm_sa_eq_host(&a, &none));
	assert_true(sm_sa_eq_host(&none, &none));
}

/* ---- connections ---- */

struct echo {
	struct sm_fd listener;
	size_t got;
};

/* Takes one connection, reads to its end, sends "ok" and closes. */
static void echo_server(void *arg)
{
	struct echo *e = arg;
	struct sm_net n;
	char buf[1000];
	ssize_t got;

	assert_int_equal(sm_fd_wait(&e->listener, SM_RD, "a client", soon()), 0);
	int fd = accept4(e->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd != -1);
	assert_int_equal(sm_net_open(&n, fd), 0);
	while ((got = sm_net_read(&n, buf, sizeof(buf), soon())) > 0) {
		for (ssize_t i = 0; i < got; i++, e->got++)
			assert_int_equal((unsigned char)buf[i], (unsigned char)(e->got * 7));
		if (e->got % 3 == 0)
			sm_co_yield();
	}
	assert_int_equal(got, SM_E_EOF);
	assert_int_equal(sm_net_write(&n, "ok", 2, soon()), 0);
	assert_int_equal(n.in_bytes, e->got);
	sm_net_close(&n);
	sm_fd_close(&e->listener);
}

enum { BIG = 3 * 1000 * 1000 };

/* Sends far more than socket buffers hold, in odd pieces. */
static void big_client(void *arg)
{
	struct sm_net n;
	char buf[10], *big = malloc(BIG);

	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i * 7);
	assert_int_equal(sm_net_connect(&n, arg, NULL, soon()), 0);
	struct iovec v[4] = {{big, 5}, {big, 0}, {big + 5, BIG - 1005}, {big + BIG - 1000, 999}};
	assert_int_equal(sm_net_writev(&n, v, 4, soon()), 0);
	assert_int_equal(sm_net_write(&n, big + BIG - 1, 1, soon()), 0);
	assert_int_equal(n.out_bytes, BIG);
	assert_false(sm_net_pending(&n));
	assert_int_equal(shutdown(n.f.fd, SHUT_WR), 0);
	assert_int_equal(sm_net_read(&n, buf, 1, soon()), 1);
	assert_true(sm_net_pending(&n));
	assert_int_equal(sm_net_read(&n, buf + 1, 9, soon()), 1);
	assert_memory_equal(buf, "ok", 2);
	assert_int_equal(sm_net_read(&n, buf, 1, soon()), SM_E_EOF);
	assert_true(sm_net_pending(&n));
	sm_net_close(&n);
	sm_net_close(&n);
	free(big);
}

static void through(const struct sm_sa *at)
{
	struct echo e = {.got = 0};
	struct sm_sa to;
	int fd = sm_net_listen(at, 5, 0077);

	assert_true(fd >= 0);
	assert_int_equal(sm_sa_local(&to, fd), 0);
	assert_int_equal(sm_fd_open_exclusive(&e.listener, fd, NULL, NULL), 0);
	t_spawn(echo_server, &e);
	t_spawn(big_client, &to);
	t_run_all();
	assert_int_equal(e.got, BIG);
}

static void test_ipv4(void **state)
{
	struct sm_sa at = ip("127.0.0.1");

	(void)state;
	sm_sa_set_port(&at, 0);
	through(&at);
}

static void test_ipv6(void **state)
{
	struct sm_sa at = ip("::1");

	(void)state;
	sm_sa_set_port(&at, 0);
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool have = fd != -1 && bind(fd, &at.u.sa, at.len) == 0;
	if (fd != -1)
		assert_int_equal(close(fd), 0);
	if (!have)
		skip();
	through(&at);
}

static void in_dir(struct sm_sa *sa, const char *name)
{
	char path[100];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(sm_sa_unix(sa, sm_str(path)), 0);
}

static void test_unix(void **state)
{
	struct sm_sa at;
	struct stat st;

	(void)state;
	in_dir(&at, "sock");
	through(&at);
	assert_int_equal(stat(at.u.un.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	/* It is stale now and is replaced; while somebody listens it is not; and a file never is.
	 */
	int fd = sm_net_listen(&at, 5, 0007);
	assert_true(fd >= 0);
	assert_int_equal(stat(at.u.un.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0770);
	assert_int_equal(sm_net_listen(&at, 5, 0), SM_E_BUSY);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(at.u.un.sun_path), 0);
	fd = open(at.u.un.sun_path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd != -1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(sm_net_listen(&at, 5, 0), SM_E_EXISTS);
	assert_int_equal(unlink(at.u.un.sun_path), 0);
}

struct attempt {
	struct sm_sa to, source;
	int64_t patience_ms;
	int rc;
	char diag[SM_DIAG_MAX];
};

static void connector(void *arg)
{
	struct attempt *a = arg;
	struct sm_net n;

	a->rc = sm_net_connect(&n, &a->to, &a->source, sm_loop_now_ms() + a->patience_ms);
	(void)snprintf(a->diag, sizeof(a->diag), "%s", sm_diag());
	if (a->rc == 0 && a->source.len != 0) {
		struct sm_sa mine;
		assert_int_equal(sm_sa_local(&mine, n.f.fd), 0);
		assert_true(sm_sa_eq_host(&mine, &a->source));
	}
	sm_net_close(&n);
}

static void test_refused(void **state)
{
	struct attempt a = {.patience_ms = T_PATIENCE_MS}, b = {.patience_ms = T_PATIENCE_MS};

	(void)state;
	/* A port that was free a moment ago. */
	struct sm_sa at = ip("127.0.0.1");
	sm_sa_set_port(&at, 0);
	int fd = sm_net_listen(&at, 1, 0);
	assert_int_equal(sm_sa_local(&a.to, fd), 0);
	assert_int_equal(close(fd), 0);
	in_dir(&b.to, "nobody");
	t_spawn(connector, &a);
	t_spawn(connector, &b);
	t_run_all();
	assert_int_equal(a.rc, SM_E_SYS);
	assert_non_null(strstr(a.diag, "127.0.0.1:"));
	assert_non_null(strstr(a.diag, "refused"));
	assert_int_equal(b.rc, SM_E_NOTFOUND);
}

static void test_source(void **state)
{
	struct attempt a = {.patience_ms = T_PATIENCE_MS};

	(void)state;
	struct sm_sa at = ip("127.0.0.1");
	sm_sa_set_port(&at, 0);
	int fd = sm_net_listen(&at, 1, 0);
	assert_int_equal(sm_sa_local(&a.to, fd), 0);
	a.source = ip("127.0.0.2");
	sm_sa_set_port(&a.source, 0);
	t_spawn(connector, &a);
	t_run_all();
	assert_int_equal(a.rc, 0);
	assert_int_equal(close(fd), 0);
}

/* A listener whose queue is full does not answer: TCP drops the SYN, Unix says EAGAIN. */
static void connect_timeout(const struct sm_sa *at)
{
	struct attempt a = {.patience_ms = 60};
	int fill[8], fd = sm_net_listen(at, 0, 0);

	assert_true(fd >= 0);
	assert_int_equal(sm_sa_local(&a.to, fd), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(fill); i++) {
		fill[i] = socket(at->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(fill[i], &a.to.u.sa, a.to.len);
	}
	t_spawn(connector, &a);
	int64_t start = sm_now_ms();
	t_run_all();
	assert_int_equal(a.rc, SM_E_TIMEOUT);
	assert_true(sm_now_ms() - start < T_PATIENCE_MS);
	for (size_t i = 0; i < SM_ARRAY_SIZE(fill); i++)
		assert_int_equal(close(fill[i]), 0);
	assert_int_equal(close(fd), 0);
}

static void test_connect_timeout(void **state)
{
	struct sm_sa at = ip("127.0.0.1");

	(void)state;
	sm_sa_set_port(&at, 0);
	connect_timeout(&at);
	in_dir(&at, "full");
	connect_timeout(&at);
}

static void timeouts(void *arg)
{
	int *fds = arg;
	static char big[1 << 20];
	struct sm_net n;
	char c;

	assert_int_equal(sm_net_open(&n, fds[0]), 0);
	assert_int_equal(sm_net_read(&n, &c, 1, sm_loop_now_ms() + 5), SM_E_TIMEOUT);
	assert_int_equal(sm_net_write(&n, big, sizeof(big), sm_loop_now_ms() + 5), SM_E_TIMEOUT);
	/* The peer goes away: no SIGPIPE, an error. */
	assert_int_equal(close(fds[1]), 0);
	assert_int_equal(sm_net_write(&n, big, sizeof(big), soon()), SM_E_EOF);
	sm_net_close(&n);
	assert_int_equal(sm_net_read(&n, &c, 1, soon()), SM_E_EOF);
}

static void test_timeouts(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	t_spawn(timeouts, fds);
	t_run_all();
}

static void test_pass_fd(void **state)
{
	int s[2], got;
	char text[16];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, s), 0);
	int null = open("/dev/null", O_WRONLY);
	assert_int_equal(sm_net_recv_fd(s[1], &got, text, sizeof(text)), SM_E_AGAIN);
	assert_int_equal(sm_net_send_fd(s[0], null, "Lname", 5), 0);
	assert_int_equal(sm_net_send_fd(s[0], -1, "H", 1), 0);
	assert_int_equal(sm_net_recv_fd(s[1], &got, text, sizeof(text)), 5);
	assert_memory_equal(text, "Lname", 5);
	assert_true(got >= 0 && got != null);
	assert_int_equal(fcntl(got, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(write(got, "x", 1), 1);
	assert_int_equal(close(got), 0);
	assert_int_equal(sm_net_recv_fd(s[1], &got, text, sizeof(text)), 1);
	assert_int_equal(got, -1);
	/* Too long a text: refused, and the descriptor does not leak. */
	assert_int_equal(sm_net_send_fd(s[0], null, "0123456789abcdef0", 17), 0);
	int before = dup(null);
	assert_int_equal(sm_net_recv_fd(s[1], &got, text, sizeof(text)), SM_E_PROTO);
	assert_int_equal(got, -1);
	int after = dup(null);
	assert_int_equal(after, before + 1);
	assert_int_equal(close(before) | close(after), 0);
	assert_int_equal(close(s[0]), 0);
	assert_int_equal(sm_net_recv_fd(s[1], &got, text, sizeof(text)), SM_E_EOF);
	pid_t pid;
	uid_t uid;
	gid_t gid;
	assert_int_equal(sm_net_peercred(s[1], &pid, &uid, &gid), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, getuid());
	assert_int_equal(close(s[1]) | close(null), 0);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
	char path[100];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/full", dir);
	(void)unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T_TEST(test_sa_text),  T_TEST(test_sa_class),
	    T_TEST(test_ipv4),     T_TEST(test_ipv6),
	    T_TEST(test_unix),     T_TEST(test_refused),
	    T_TEST(test_source),   T_TEST(test_connect_timeout),
	    T_TEST(test_timeouts), T_TEST(test_pass_fd),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
