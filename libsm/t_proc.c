/* The common start of workers, seen from outside: a small program is run as a user, a signal and a
 * supervisor would. */
#include "libsm/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "libsm/net.h"
#include "libsm/t_patience.h"

static char prog[4096];
static char dir[] = "/tmp/t_proc.XXXXXX";
static char conf[64], bad_conf[64], log_file[64];

struct run {
	pid_t pid;
	int out, err; /* pipes to read */
	int mcp;      /* our end, -1: none */
	char text[1 << 17];
	size_t n;
};

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Words are split at blanks; `mcp`: with a supervisor's socket. `err_path`: standard error goes
 * there. */
static void start(struct run *r, const char *args, bool mcp, const char *err_path)
{
	char copy[1000], *argv[20];
	int argc = 0, out[2], err[2], pair[2];

	memset(r, 0, sizeof(*r));
	snprintf(copy, sizeof(copy), "prog %s", args);
	for (char *w = strtok(copy, " "); w != NULL; w = strtok(NULL, " "))
		argv[argc++] = w;
	argv[argc] = NULL;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	r->mcp = -1;
	if (mcp)
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	r->pid = fork();
	if (r->pid == 0) {
		dup2(out[1], 1);
		dup2(err[1], 2);
		if (err_path != NULL)
			dup2(open(err_path, O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
		if (mcp) {
			char number[20];
			snprintf(number, sizeof(number), "%d", pair[1]);
			fcntl(pair[1], F_SETFD, 0);
			setenv(SM_MCP_FD_ENV, number, 1);
			setenv(SM_MCP_TICK_ENV, "20", 1);
		}
		execv(prog, argv);
		_exit(126);
	}
	close(out[1]);
	close(err[1]);
	r->out = out[0];
	r->err = err[0];
	if (mcp) {
		close(pair[1]);
		r->mcp = pair[0];
	}
}

/* Read from `fd` until `want` is there or it ends: what was read since the last call. */
static const char *until(struct run *r, int fd, const char *want)
{
	r->n = 0;
	for (;;) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		r->text[r->n] = '\0';
		if (want != NULL && strstr(r->text, want) != NULL)
			return r->text;
		assert_int_equal(poll(&pfd, 1, T_PATIENCE_MS), 1);
		ssize_t n = read(fd, r->text + r->n, sizeof(r->text) - 1 - r->n);
		if (n <= 0)
			return r->text;
		r->n += (size_t)n;
	}
}

static int end(struct run *r)
{
	int status;

	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	close(r->out);
	close(r->err);
	if (r->mcp != -1)
		close(r->mcp);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A path for the %s of a text, if there is one. */
static void fill_in(char *out, size_t size, const char *text, const char *path)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(out, size, text, path);
#pragma GCC diagnostic pop
}

static void later_wins(void **state)
{
	static const struct {
		const char *args, *says;
	} t[] = {
	    {"", "start: count=3 word=none map=prog.map fixed=f"},
	    {"-f %s", "start: count=7 word=file map=%s/prog.map fixed=f host=mx.example.org "
	              "index=0 level=9"},
	    {"-c 5 -f %s", "start: count=7 word=file"},
	    {"-f %s -c 5", "start: count=5 word=file"},
	    {"-c 5 -c 6", "start: count=6 word=none"},
	    {"-w me -f %s -N two -i 17",
	     "start: count=3 word=me map=%s/prog.map fixed=f host=mx.example.org index=17 level=6"},
	};

	(void)state;
	put_file(conf, "hostname = mx.example.org;\nother { x = y; }\n"
	               "prog { count = 7; word = file; user = smxq; start_action = wait; }\n"
	               "prog two { log_level = 6; }\n");
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		char args[200], says[300];
		struct run r;
		fill_in(args, sizeof(args), t[i].args, conf);
		fill_in(says, sizeof(says), t[i].says, dir);
		start(&r, args, false, NULL);
		const char *text = until(&r, r.out, "\n");
		if (strncmp(text, says, strlen(says)) != 0)
			fail_msg("%s: %s", args, text);
		(void)until(&r, r.err, "NOTICE proc.ready");
		kill(r.pid, SIGTERM);
		assert_non_null(strstr(until(&r, r.out, NULL), "term: "));
		assert_int_equal(end(&r), SM_EXIT_OK);
	}
}

static void errors_are_one_line(void **state)
{
	static const struct {
		const char *args;
		int status;
		const char *says;
	} t[] = {
	    {"-x", 64, "prog: there is no option -x (prog -h shows them)\n"},
	    {"-f", 64, "prog: -f needs an argument (prog -h shows the options)\n"},
	    {"more", 64, "prog: \"more\" is no option (prog -h shows them)\n"},
	    {"-i 255", 64, "prog: -i 255: must be a number from 0 to 254\n"},
	    {"-c 11", 64, "prog: -c: count = 11 is out of range: 0 to 10\n"},
	    {"-c 10 -w odd", 64, "prog: command line: section prog: ten is not odd\n"},
	    {"-f /nowhere/f.conf", 78, "prog: /nowhere/f.conf: No such file or directory\n"},
	    {"-f %s", 78, "prog: %s:2: unknown option cuont (did you mean count?)\n"},
	    {"-f %s -N none", 78, "prog: %s: there is no section prog none\n"},
	};

	(void)state;
	put_file(bad_conf, "prog {\n cuont = 3;\n}\n");
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		char args[200], says[300];
		struct run r;
		fill_in(args, sizeof(args), t[i].args, bad_conf);
		fill_in(says, sizeof(says), t[i].says, bad_conf);
		start(&r, args, false, NULL);
		assert_string_equal(until(&r, r.err, NULL), says);
		assert_string_equal(until(&r, r.out, NULL), "");
		assert_int_equal(end(&r), t[i].status);
	}
	put_file(bad_conf, "prog a { } prog b { }");
	struct run r;
	char args[200];
	snprintf(args, sizeof(args), "-f %s", bad_conf);
	start(&r, args, false, NULL);
	assert_non_null(
	    strstr(until(&r, r.err, NULL), "there are several sections prog: choose one with -N"));
	assert_int_equal(end(&r), 78);
}

static void tells_about_itself(void **state)
{
	static const struct {
		const char *args, *has, *not ;
	} t[] = {
	    {"-V", SM_VERSION_TEXT " (prog)\n", "OpenSSL"},
	    {"-VV", "c-ares ", "compiler "},
	    {"-VVV", "compiler ", "count = "},
	    {"-VVVVV -c 4", "\t# how many (0 to 10, default 3)\n\tcount = 4;\n", "local7"},
	    {"-V -VVVVV", "\tlocal7", NULL},
	    {"-h", "  -c N      count\n", NULL},
	    {"-h", "\tcount = 3;\n", NULL},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		struct run r;
		start(&r, t[i].args, false, NULL);
		const char *text = until(&r, r.out, NULL);
		if (strstr(text, t[i].has) == NULL ||
		    (t[i].not != NULL && strstr(text, t[i].not ) != NULL))
			fail_msg("%s: %s", t[i].args, text);
		assert_int_equal(end(&r), SM_EXIT_OK);
	}
}

static void reload_is_all_or_nothing(void **state)
{
	char args[100];
	struct run r;

	(void)state;
	put_file(conf, "hostname = mx.example.org; prog { count = 1; word = one; fixed = a; }");
	snprintf(args, sizeof(args), "-f %s -c 5", conf);
	start(&r, args, false, NULL);
	(void)until(&r, r.out, "start: count=5 word=one");
	(void)until(&r, r.err, "proc.ready");
	put_file(conf, "hostname = mx.example.org; prog { count = 1; word = two; fixed = b; "
	               "log_level = 12; }");
	kill(r.pid, SIGHUP);
	(void)until(&r, r.out, "reload: count=5 word=two");
	const char *text = until(&r, r.err, "conf.reload stat=changed");
	assert_non_null(strstr(text, "NOTICE conf.needs_restart option=fixed\n"));
	put_file(conf, "hostname = mx.example.org; prog { count = 1; word = three; max = 3; }");
	kill(r.pid, SIGHUP);
	(void)until(&r, r.err, "conf.reload stat=failed");
	put_file(conf, "hostname = mx.example.org; prog { count = 2; word = two; fixed = b; "
	               "log_level = 12; }");
	kill(r.pid,
	     SIGHUP); /* count comes from -c: nothing differs, but maps are to be read again */
	text = until(&r, r.out, "same: count=5 word=two");
	assert_non_null(strstr(text, "fixed=a host=mx.example.org index=0 level=12\n"));
	kill(r.pid, SIGUSR2);
	kill(r.pid, SIGTERM);
	(void)until(&r, r.out, "term: count=5 word=two");
	assert_int_equal(end(&r), SM_EXIT_OK);
}

static void usr1_opens_the_log_again(void **state)
{
	char old[80], text[1000];
	struct run r;
	ssize_t n = 0;

	(void)state;
	start(&r, "", false, log_file);
	(void)until(&r, r.out, "start:");
	snprintf(old, sizeof(old), "%s.1", log_file);
	assert_int_equal(rename(log_file, old), 0);
	kill(r.pid, SIGUSR1);
	for (int i = 0; i < T_PATIENCE_MS / 10 && access(log_file, F_OK) == -1; i++)
		usleep(10000);
	kill(r.pid, SIGTERM);
	(void)until(&r, r.out, NULL);
	assert_int_equal(end(&r), SM_EXIT_OK);
	int fd = open(log_file, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n] = '\0';
	assert_non_null(strstr(text, "NOTICE proc.term\n"));
	assert_null(strstr(text, "proc.ready"));
	unlink(old);
	unlink(log_file);
}

/* The next packet of this kind, passing ticks over. */
static void packet(struct run *r, char kind, const char *text)
{
	char got[SM_MCP_PACKET + 1];

	for (;;) {
		struct pollfd pfd = {.fd = r->mcp, .events = POLLIN};
		assert_int_equal(poll(&pfd, 1, T_PATIENCE_MS), 1);
		ssize_t n = recv(r->mcp, got, SM_MCP_PACKET, 0);
		assert_true(n > 0);
		got[n] = '\0';
		if (got[0] == kind || got[0] != 'T')
			break;
	}
	assert_int_equal(got[0], kind);
	assert_string_equal(got + 1, text);
}

static void lives_under_a_supervisor(void **state)
{
	char args[100];
	struct run r;

	(void)state;
	put_file(conf, "hostname = mx.example.org; prog { count = 1; }");
	snprintf(args, sizeof(args), "-f %s", conf);
	start(&r, args, true, NULL);
	packet(&r, 'T', "");
	packet(&r, 'R', "");
	packet(&r, 'S', "count is 1");
	packet(&r, 'T', "");
	packet(&r, 'T', "");
	(void)until(&r, r.out, "start: ");

	int fd = open(conf, O_RDONLY);
	assert_int_equal(sm_net_send_fd(r.mcp, fd, "Fkey.pem", 8), 0);
	close(fd);
	(void)until(&r, r.out, "file: key.pem hostname = mx.example.org;");

	/* nonsense is survived */
	assert_int_equal(send(r.mcp, "?", 1, 0), 1);
	assert_int_equal(send(r.mcp, "L", 1, 0), 1);
	char big[SM_MCP_PACKET + 100] = "H";
	assert_int_equal(send(r.mcp, big, sizeof(big), 0), sizeof(big));
	put_file(conf, "hostname = mx.example.org; prog { count = 2; }");
	assert_int_equal(send(r.mcp, "H", 1, 0), 1);
	(void)until(&r, r.out, "reload: count=2");

	fd = open(log_file, O_RDWR | O_CREAT | O_APPEND, 0600);
	assert_int_equal(sm_net_send_fd(r.mcp, fd, "L", 1), 0);
	close(r.mcp); /* the supervisor dies: so do we */
	r.mcp = -1;
	const char *err = until(&r, r.err, NULL);
	assert_non_null(strstr(err, "proc.packet kind=63"));
	assert_null(strstr(err, "proc.mcp_gone"));
	assert_int_equal(end(&r), SM_EXIT_OK);
	char text[1000];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	close(fd);
	assert_non_null(strstr(text, "WARN proc.mcp_gone"));
	assert_non_null(strstr(text, "abandoned: count=2")); /* standard output goes there too */
	unlink(log_file);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(later_wins),
	    cmocka_unit_test(errors_are_one_line),
	    cmocka_unit_test(tells_about_itself),
	    cmocka_unit_test(reload_is_all_or_nothing),
	    cmocka_unit_test(usr1_opens_the_log_again),
	    cmocka_unit_test(lives_under_a_supervisor),
	};

	(void)argc;
	snprintf(prog, sizeof(prog), "%s_prog", argv[0]);
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(conf, sizeof(conf), "%s/prog.conf", dir);
	snprintf(bad_conf, sizeof(bad_conf), "%s/bad.conf", dir);
	snprintf(log_file, sizeof(log_file), "%s/log", dir);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(conf);
	unlink(bad_conf);
	rmdir(dir);
	return rc;
}
