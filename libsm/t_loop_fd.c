/* Descriptors on the event loop: coroutines that wait for them, and callbacks. */
#include "libsm/t_co.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsm/net.h"

static void pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* ---- descriptors and coroutines ---- */

static struct sm_fd fd_a, fd_b;

static void reader(void *arg)
{
	char buf[16];
	int *rc = arg;

	*rc = sm_fd_wait(&fd_a, SM_RD, "a byte", sm_loop_now_ms() + T_PATIENCE_MS);
	if (*rc == 0) {
		assert_int_equal(read(fd_a.fd, buf, sizeof(buf)), 1);
		sm_fd_drained(&fd_a, SM_RD);
	}
}

static void writer(void *arg)
{
	assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 3), 0);
	assert_int_equal(write(fd_b.fd, arg, 1), 1);
}

static void open_pair(void)
{
	int fds[2];

	pair(fds);
	assert_int_equal(sm_fd_open(&fd_a, fds[0], NULL, NULL), 0);
	assert_int_equal(sm_fd_open(&fd_b, fds[1], NULL, NULL), 0);
}

static void close_pair(void)
{
	sm_fd_close(&fd_a);
	sm_fd_close(&fd_a);
	sm_fd_close(&fd_b);
}

static void test_wait_read(void **state)
{
	static char x = 'x';
	int rc = 1;

	(void)state;
	open_pair();
	t_spawn(reader, &rc);
	t_spawn(writer, &x);
	t_run_all();
	assert_int_equal(rc, 0);
	close_pair();
}

static void short_wait(void *arg)
{
	*(int *)arg = sm_fd_wait(&fd_a, SM_RD, "nothing", sm_loop_now_ms() + 5);
}

static void test_wait_timeout(void **state)
{
	int rc = 1;

	(void)state;
	open_pair();
	t_spawn(short_wait, &rc);
	t_run_all();
	assert_int_equal(rc, SM_E_TIMEOUT);
	assert_null(fd_a.waiter[0]);
	close_pair();
}

static void closer(void *arg)
{
	(void)arg;
	assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 2), 0);
	sm_fd_close(&fd_a);
	memset(&fd_a, 0x55, sizeof(fd_a)); /* its memory may be gone */
}

static void test_closed_under_waiter(void **state)
{
	int rc = 1;

	(void)state;
	open_pair();
	t_spawn(reader, &rc);
	t_spawn(closer, NULL);
	t_run_all();
	assert_int_equal(rc, SM_E_EOF);
	sm_fd_close(&fd_b);
}

static void canceller(void *arg)
{
	assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 2), 0);
	sm_co_cancel(arg);
}

static void test_cancelled_waiter(void **state)
{
	int rc = 1;

	(void)state;
	open_pair();
	t_spawn(canceller, t_spawn(reader, &rc));
	t_run_all();
	assert_int_equal(rc, SM_E_CANCEL);
	assert_null(fd_a.waiter[0]);
	close_pair();
}

/* Fill the socket, wait for room, be told when the other side reads. */
static void filler(void *arg)
{
	static char block[4096];
	ssize_t n;

	while ((n = write(fd_a.fd, block, sizeof(block))) > 0)
		continue;
	assert_int_equal(errno, EAGAIN);
	for (int i = 0; i < 2; i++) {
		sm_fd_drained(&fd_a, SM_WR);
		*(int *)arg = sm_fd_wait(&fd_a, SM_WR, "room", sm_loop_now_ms() + T_PATIENCE_MS);
		while ((n = write(fd_a.fd, block, sizeof(block))) > 0)
			continue;
	}
	sm_fd_close(&fd_a);
}

static void emptier(void *arg)
{
	static char block[65536];

	(void)arg;
	for (;;) {
		assert_int_equal(
		    sm_fd_wait(&fd_b, SM_RD, "bytes", sm_loop_now_ms() + T_PATIENCE_MS), 0);
		ssize_t n = read(fd_b.fd, block, sizeof(block));
		if (n == 0)
			return;
		if (n == -1)
			sm_fd_drained(&fd_b, SM_RD);
		sm_co_yield();
	}
}

static void test_wait_write(void **state)
{
	int rc = 1;

	(void)state;
	open_pair();
	t_spawn(filler, &rc);
	t_spawn(emptier, NULL);
	t_run_all();
	assert_int_equal(rc, 0);
	close_pair();
}

/* Data and the end arrive together: after the short read the end must still be seen. */
static void eof_reader(void *arg)
{
	char buf[64];
	ssize_t n, total = 0;

	for (;;) {
		int rc = sm_fd_wait(&fd_a, SM_RD, "the end", sm_loop_now_ms() + T_PATIENCE_MS);
		assert_int_equal(rc, 0);
		n = read(fd_a.fd, buf, sizeof(buf));
		if (n <= 0)
			break;
		total += n;
		sm_fd_drained(&fd_a, SM_RD);
	}
	assert_int_equal(n, 0);
	*(int *)arg = (int)total;
}

static void test_data_and_end_at_once(void **state)
{
	int total = 0;

	(void)state;
	open_pair();
	assert_int_equal(write(fd_b.fd, "bye", 3), 3);
	sm_fd_close(&fd_b);
	t_spawn(eof_reader, &total);
	t_run_all();
	assert_int_equal(total, 3);
	close_pair();
}

static void test_two_readers_abort(void **state)
{
	int rc = 0;

	(void)state;
	open_pair();
	pid_t pid = fork();
	assert_true(pid != -1);
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		(void)dup2(null, 2);
		(void)signal(SIGABRT, SIG_DFL);
		t_spawn(reader, &rc);
		t_spawn(reader, &rc);
		(void)sm_co_run_ready();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	close_pair();
}

/* ---- callbacks ---- */

static int edge_bytes, edge_calls;
static struct sm_fd *victim;

static void on_edge(struct sm_fd *f, unsigned events, void *arg)
{
	char buf[64];
	ssize_t n;

	(void)arg;
	if (!(events & SM_RD))
		return;
	edge_calls++;
	while ((n = read(f->fd, buf, sizeof(buf))) > 0)
		edge_bytes += (int)n;
	if (victim != NULL) {
		/* Whoever is told first closes and frees the other, whose event is in the same
		 * batch. */
		struct sm_fd *other = victim == f ? NULL : victim;
		if (other != NULL) {
			sm_fd_close(other);
			free(other);
			victim = NULL;
		}
	}
	if (n == 0)
		sm_loop_stop(0);
}

static void test_callback_edges(void **state)
{
	struct sm_fd f;
	int fds[2];

	(void)state;
	edge_bytes = edge_calls = 0;
	pair(fds);
	assert_int_equal(sm_fd_open(&f, fds[0], on_edge, NULL), 0);
	assert_int_equal(write(fds[1], "1234567", 7), 7);
	assert_int_equal(close(fds[1]), 0);
	assert_int_equal(sm_loop_run(), 0);
	assert_int_equal(edge_bytes, 7);
	sm_fd_close(&f);
	assert_int_equal(f.fd, -1);
}

static void test_close_other_in_batch(void **state)
{
	int one[2], two[2];
	struct sm_fd *f = calloc(1, sizeof(*f)), *g = calloc(1, sizeof(*g));

	(void)state;
	pair(one);
	pair(two);
	assert_int_equal(sm_fd_open(f, one[0], on_edge, NULL), 0);
	assert_int_equal(sm_fd_open(g, two[0], on_edge, NULL), 0);
	edge_calls = 0;
	victim = g; /* f's event comes first, it was registered first */
	assert_int_equal(write(one[1], "x", 1), 1);
	assert_int_equal(write(two[1], "x", 1), 1);
	struct sm_timer t = {.cb = NULL};
	sm_timer_set(&t, sm_loop_now_ms() + 10, t_stop, NULL);
	assert_int_equal(sm_loop_run(), 0);
	if (victim == NULL) {
		assert_int_equal(edge_calls, 1);
	} else {
		sm_fd_close(g);
		free(g);
		victim = NULL;
	}
	sm_fd_close(f);
	free(f);
	assert_int_equal(close(one[1]), 0);
	assert_int_equal(close(two[1]), 0);
}

static int level_calls;

static void on_level(struct sm_fd *f, unsigned events, void *arg)
{
	char c;

	(void)arg;
	assert_int_equal(events, SM_RD);
	assert_int_equal(read(f->fd, &c, 1), 1); /* one only: the rest has to be reported again */
	if (++level_calls == 3)
		sm_loop_stop(0);
}

static void test_level(void **state)
{
	struct sm_fd f;
	int fds[2];

	(void)state;
	level_calls = 0;
	pair(fds);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(sm_fd_open_level(&f, fds[0], 0, on_level, NULL), 0);
	assert_int_equal(write(fds[1], "xyz", 3), 3);
	struct sm_timer t = {.cb = NULL};
	sm_timer_set(&t, sm_loop_now_ms() + 3, t_stop, NULL); /* for nothing */
	assert_int_equal(sm_loop_run(), 0);
	assert_int_equal(level_calls, 0);
	assert_int_equal(sm_fd_level(&f, SM_RD), 0);
	assert_int_equal(sm_loop_run(), 0);
	assert_int_equal(level_calls, 3);
	sm_fd_forget(&f);
	assert_int_equal(close(fds[0]), 0); /* still ours */
	assert_int_equal(close(fds[1]), 0);
}

static void accept_one(void *arg)
{
	struct sm_fd *f = arg;

	assert_int_equal(sm_fd_wait(f, SM_RD, "a client", sm_loop_now_ms() + T_PATIENCE_MS), 0);
	int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd != -1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(accept4(f->fd, NULL, NULL, 0), -1);
	assert_int_equal(errno, EAGAIN);
	sm_fd_drained(f, SM_RD);
	assert_int_equal(sm_fd_wait(f, SM_RD, "a client", sm_loop_now_ms() + T_PATIENCE_MS), 0);
	fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd != -1);
	assert_int_equal(close(fd), 0);
}

static void connect_twice(void *arg)
{
	for (int i = 0; i < 2; i++) {
		struct sm_net n;
		assert_int_equal(sm_net_connect(&n, arg, NULL, sm_loop_now_ms() + T_PATIENCE_MS),
		                 0);
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 2), 0);
		sm_net_close(&n);
	}
}

static void test_exclusive(void **state)
{
	struct sm_sa at, got;
	struct sm_fd f;

	(void)state;
	assert_int_equal(sm_sa_ip(&at, SM_STR("127.0.0.1"), 0), 0);
	int fd = sm_net_listen(&at, 10, 0);
	assert_true(fd >= 0);
	assert_int_equal(sm_sa_local(&got, fd), 0);
	assert_int_equal(sm_fd_open_exclusive(&f, fd, NULL, NULL), 0);
	t_spawn(accept_one, &f);
	t_spawn(connect_twice, &got);
	t_run_all();
	sm_fd_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T_TEST(test_wait_read),
	    T_TEST(test_wait_timeout),
	    T_TEST(test_closed_under_waiter),
	    T_TEST(test_cancelled_waiter),
	    T_TEST(test_wait_write),
	    T_TEST(test_data_and_end_at_once),
	    T_TEST(test_two_readers_abort),
	    T_TEST(test_callback_edges),
	    T_TEST(test_close_other_in_batch),
	    T_TEST(test_level),
	    T_TEST(test_exclusive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
