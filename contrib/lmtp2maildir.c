/*
 * lmtp2maildir: a small LMTP server (RFC 2033) that delivers to Maildirs: for trying smx out, and
 * as an example of a foreign program under mcp.
 *
 * The listening socket is descriptor 0 (start_action accept), or -u PATH / -l ADDR:PORT makes one.
 * When descriptor 0 is a connection (start_action nostartaccept) it serves that, and ends.
 * Mail for local@domain goes to DIR/local@domain/new, made when it is missing. A message counts as
 * delivered when file and directory are synced.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/co.h"
#include "libsm/loop.h"
#include "libsm/net.h"
#include "libsm/offload.h"
#include "libsm/proc.h"
#include "libsm/smtp_cmd.h"
#include "libsm/stream.h"
#include "libsm/sync.h"

#define LINE_MAX_BYTES 2048
#define IO_TIMEOUT_MS  300000
#define SESSIONS_MAX   200
#define RCPTS_MAX      1000
#define MESSAGE_MAX    (100 * 1024 * 1024)

static const char *base_dir;
static uint64_t deliveries;
static bool single; /* one connection, no listener */

struct session {
	struct sm_net net;
	struct sm_stream s;
	struct sm_arena arena; /* of the transaction */
	bool greeted, have_sender;
	struct sm_str sender;
	struct sm_addr *rcpts;
	size_t rcpt_count;
};

/* One delivery, for a helper thread. */
struct delivery {
	char name[SM_MAILBOX_MAX + 1];
	struct sm_str sender;
	const struct sm_buf *body;
};

static void reset(struct session *se)
{
	sm_arena_reset(&se->arena);
	se->have_sender = false;
	se->rcpts = NULL;
	se->rcpt_count = 0;
}

/* ---- Maildir
 * ------------------------------------------------------------------------------------------------------
 */

/* A mailbox name that stays inside its directory. */
static int mailbox_name(struct sm_str mailbox, char *out, size_t size)
{
	int err = sm_str_copy(mailbox, out, size);

	if (err == 0 && (out[0] == '.' || out[0] == '\0' || sm_str_chr(mailbox, '/') >= 0))
		err = sm_fail(SM_E_SYNTAX, "no mailbox name");
	return err;
}

static int make_dirs(const char *name, char *path, size_t size)
{
	static const char *const sub[] = {"", "/tmp", "/new", "/cur"};

	for (size_t i = 0; i < SM_ARRAY_SIZE(sub); i++) {
		snprintf(path, size, "%s/%s%s", base_dir, name, sub[i]);
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			return sm_fail_sys(errno, "mkdir %s", path);
	}
	return 0;
}

static int write_all(int fd, struct sm_str s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);

		if (n <= 0)
			return sm_fail_sys(n == 0 ? EIO : errno, "write");
		s = sm_str_from(s, (size_t)n);
	}
	return 0;
}

static int sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd == -1 || fsync(fd) != 0 ? sm_fail_sys(errno, "sync %s", path) : 0;

	if (fd != -1)
		close(fd);
	return err;
}

static int deliver(void *arg)
{
	struct delivery *d = arg;
	static _Atomic uint64_t counter;
	char path[1024], tmp[1100], target[1100], head[600];
	uint64_t n = ++counter;
	int fd, err;

	if ((err = make_dirs(d->name, path, sizeof(path))) != 0)
		return err;
	snprintf(tmp, sizeof(tmp), "%s/%s/tmp/%lld.P%dN%llu", base_dir, d->name,
	         (long long)sm_wall_s(), (int)getpid(), (unsigned long long)n);
	snprintf(target, sizeof(target), "%s/%s/new/%lld.P%dN%llu", base_dir, d->name,
	         (long long)sm_wall_s(), (int)getpid(), (unsigned long long)n);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1)
		return sm_fail_sys(errno, "create %s", tmp);
	snprintf(head, sizeof(head), "Return-Path: <" SM_STR_FMT ">\r\nDelivered-To: %s\r\n",
	         SM_STR_ARG(d->sender), d->name);
	if ((err = write_all(fd, sm_str(head))) == 0)
		err = write_all(fd, sm_buf_view(d->body));
	if (err == 0 && fsync(fd) != 0)
		err = sm_fail_sys(errno, "fsync %s", tmp);
	if (close(fd) != 0 && err == 0)
		err = sm_fail_sys(errno, "close %s", tmp);
	if (err == 0 && rename(tmp, target) != 0)
		err = sm_fail_sys(errno, "rename to %s", target);
	if (err != 0) {
		unlink(tmp);
		return err;
	}
	snprintf(path, sizeof(path), "%s/%s/new", base_dir, d->name);
	return sync_dir(path);
}

/* ---- LMTP
 * ---------------------------------------------------------------------------------------------------------
 */

static int64_t deadline(void)
{
	return sm_loop_now_ms() + IO_TIMEOUT_MS;
}

static void cmd_mail(struct session *se, struct sm_str arg)
{
	struct sm_addr a;
	struct sm_str params;

	if (!se->greeted || se->have_sender)
		sm_stream_printf(&se->s, "503 5.5.1 LHLO first, one MAIL at a time\r\n");
	else if (sm_smtp_from_to(arg, SM_STR("FROM:"), SM_ADDR_NULL_OK | SM_ADDR_UTF8_OK,
	                         &se->arena, &a, &params) != 0)
		sm_stream_printf(&se->s, "501 5.5.2 %s\r\n", sm_diag());
	else {
		se->have_sender = true;
		se->sender = a.mailbox;
		sm_stream_printf(&se->s, "250 2.1.0 ok\r\n");
	}
}

/* A domain has one mailbox for an address, in whatever form it is written. */
static int one_mailbox(struct session *se, struct sm_addr *a)
{
	if (sm_str_eq(a->domain, a->ascii_domain))
		return 0;
	a->mailbox = sm_arena_printf(&se->arena, SM_STR_FMT "@" SM_STR_FMT, SM_STR_ARG(a->local),
	                             SM_STR_ARG(a->ascii_domain));
	return a->mailbox.p != NULL ? 0 : sm_fail(SM_E_TOOBIG, "no room for another address");
}

static void cmd_rcpt(struct session *se, struct sm_str arg)
{
	char name[SM_MAILBOX_MAX + 1];
	struct sm_addr a;
	struct sm_str params;

	if (!se->have_sender)
		sm_stream_printf(&se->s, "503 5.5.1 MAIL first\r\n");
	else if (se->rcpt_count == RCPTS_MAX)
		sm_stream_printf(&se->s, "452 4.5.3 too many recipients\r\n");
	else if (sm_smtp_from_to(arg, SM_STR("TO:"), SM_ADDR_BARE_POSTMASTER_OK | SM_ADDR_UTF8_OK,
	                         &se->arena, &a, &params) != 0 ||
	         one_mailbox(se, &a) != 0 || mailbox_name(a.mailbox, name, sizeof(name)) != 0)
		sm_stream_printf(&se->s, "550 5.1.3 %s\r\n", sm_diag());
	else {
		if (se->rcpts == NULL)
			se->rcpts = sm_arena_must(&se->arena, RCPTS_MAX * sizeof(*se->rcpts));
		se->rcpts[se->rcpt_count++] = a;
		sm_stream_printf(&se->s, "250 2.1.5 ok\r\n");
	}
}

/* RFC 2033 4.2: one reply for each recipient, in their order. */
static int cmd_data(struct session *se) SM_YIELDS
{
	char piece[16384];
	struct sm_buf body;
	ssize_t n = 0;
	int err;

	if (se->rcpt_count == 0) {
		sm_stream_printf(&se->s, "503 5.5.1 no recipients\r\n");
		return 0;
	}
	sm_stream_printf(&se->s, "354 go on\r\n");
	if ((err = sm_stream_flush(&se->s, deadline())) != 0)
		return err;
	sm_buf_init(&body, MESSAGE_MAX);
	sm_stream_data_begin(&se->s);
	while ((n = sm_stream_data(&se->s, piece, sizeof(piece), deadline())) > 0)
		sm_buf_append(&body, piece, (size_t)n);
	for (size_t i = 0; n == 0 && i < se->rcpt_count; i++) {
		struct delivery d = {.sender = se->sender, .body = &body};

		if (sm_buf_err(&body) != 0) {
			sm_stream_printf(&se->s, "552 5.3.4 message is too large\r\n");
			continue;
		}
		if ((err = mailbox_name(se->rcpts[i].mailbox, d.name, sizeof(d.name))) == 0)
			err = sm_offload("deliver", deliver, &d);
		if (err != 0)
			sm_stream_printf(&se->s, "451 4.3.0 <%s> %s\r\n", d.name, sm_diag());
		else
			sm_stream_printf(&se->s, "250 2.1.5 <%s> delivered\r\n", d.name);
		deliveries += err == 0;
	}
	sm_buf_fini(&body);
	reset(se);
	return n < 0 ? (int)n : 0;
}

/* 0: go on, SM_E_EOF: QUIT. */
static int command(struct session *se, struct sm_str line) SM_YIELDS
{
	struct sm_smtp_cmd c;

	if (sm_smtp_cmd_parse(line, &c) != 0) {
		sm_stream_printf(&se->s, "500 5.5.2 what?\r\n");
	} else if (sm_str_caseeq(c.verb, SM_STR("LHLO"))) {
		reset(se);
		se->greeted = true;
		sm_stream_printf(&se->s, "250-lmtp2maildir\r\n250-PIPELINING\r\n250-"
		                         "8BITMIME\r\n250-SMTPUTF8\r\n250 "
		                         "ENHANCEDSTATUSCODES\r\n");
	} else if (sm_str_caseeq(c.verb, SM_STR("MAIL"))) {
		cmd_mail(se, c.arg);
	} else if (sm_str_caseeq(c.verb, SM_STR("RCPT"))) {
		cmd_rcpt(se, c.arg);
	} else if (sm_str_caseeq(c.verb, SM_STR("DATA"))) {
		return cmd_data(se);
	} else if (sm_str_caseeq(c.verb, SM_STR("RSET"))) {
		reset(se);
		sm_stream_printf(&se->s, "250 2.0.0 ok\r\n");
	} else if (sm_str_caseeq(c.verb, SM_STR("NOOP"))) {
		sm_stream_printf(&se->s, "250 2.0.0 ok\r\n");
	} else if (sm_str_caseeq(c.verb, SM_STR("QUIT"))) {
		sm_stream_printf(&se->s, "221 2.0.0 bye\r\n");
		return SM_E_EOF;
	} else {
		sm_stream_printf(&se->s, "500 5.5.1 no such command\r\n");
	}
	return 0;
}

static void session(void *arg) SM_YIELDS
{
	struct session se = {0};
	struct sm_str line;
	int err;

	sm_arena_init(&se.arena, "lmtp", 4096, 4 * 1024 * 1024);
	sm_stream_init(&se.s, &se.net, 64 * 1024, 64 * 1024);
	if (sm_net_open(&se.net, (int)(intptr_t)arg) != 0)
		goto out;
	sm_stream_printf(&se.s, "220 lmtp2maildir LMTP\r\n");
	for (err = 0; err == 0;) {
		err = sm_stream_line(&se.s, &line, LINE_MAX_BYTES, deadline());
		if (err == 0)
			err = command(&se, line);
		else if (err == SM_E_SYNTAX || err == SM_E_TOOBIG)
			sm_stream_printf(&se.s, "500 5.5.2 bad line\r\n");
	}
	if (err == SM_E_EOF && sm_stream_flush(&se.s, sm_loop_now_ms() + 5000) != 0)
		fprintf(stderr, "lmtp2maildir: %s\n", sm_diag());
	sm_net_close(&se.net);
out:
	sm_stream_fini(&se.s);
	sm_arena_fini(&se.arena);
	if (single)
		sm_loop_stop(SM_EXIT_OK);
}

/* ---- start
 * --------------------------------------------------------------------------------------------------------
 */

static void on_accept(struct sm_fd *f, unsigned events, void *arg)
{
	(void)events;
	(void)arg;
	for (;;) {
		int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd == -1)
			return;
		if (sm_co_count() >= SESSIONS_MAX ||
		    sm_co_spawn("lmtp", session, (void *)(intptr_t)fd) == NULL)
			close(fd); /* the client comes back */
	}
}

static void on_term(int sig, void *arg)
{
	(void)sig;
	(void)arg;
	sm_loop_stop(SM_EXIT_OK);
}

static int listen_on(int argc, char **argv)
{
	struct sm_sa sa;
	int fd = 0, opt, err = 0;
	uint64_t port;

	while ((opt = getopt(argc, argv, "d:u:l:")) != -1) {
		struct sm_str v = sm_str(optarg ? optarg : "");
		ptrdiff_t colon = sm_str_rchr(v, ':');

		if (opt == 'd')
			base_dir = optarg;
		else if (opt == 'u' && (err = sm_sa_unix(&sa, v)) == 0)
			fd = sm_net_listen(&sa, 64, 0007);
		else if (opt == 'l' && colon > 0 &&
		         (err = sm_str_u64(sm_str_from(v, (size_t)colon + 1), 10, 65535, &port)) ==
		             0 &&
		         (err = sm_sa_ip(&sa, sm_str_head(v, (size_t)colon), (uint16_t)port)) == 0)
			fd = sm_net_listen(&sa, 64, 0);
		else
			err = SM_E_SYNTAX;
	}
	return err != 0 || base_dir == NULL ? SM_E_SYNTAX : fd;
}

static int begin(int fd)
{
	static struct sm_fd listener;
	int listens = 1;
	socklen_t len = sizeof(listens);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && !listens) {
		single = true;
		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
		return sm_co_spawn("lmtp", session, (void *)(intptr_t)fd) != NULL ? 0 : SM_E_FULL;
	}
	return sm_fd_open(&listener, fd, on_accept, NULL);
}

int main(int argc, char **argv)
{
	int fd = listen_on(argc, argv), status;

	if (fd == SM_E_SYNTAX) {
		fprintf(stderr, "usage: lmtp2maildir -d DIR [-u SOCKET | -l ADDR:PORT]; without "
		                "one descriptor 0 is the listener\n");
		return SM_EXIT_USAGE;
	}
	if (fd < 0 || sm_loop_init() != 0 || sm_offload_init(2) != 0 || begin(fd) != 0 ||
	    sm_loop_signal(SIGTERM, on_term, NULL) != 0 ||
	    sm_loop_signal(SIGINT, on_term, NULL) != 0) {
		fprintf(stderr, "lmtp2maildir: %s\n", sm_diag());
		return SM_EXIT_OSERR;
	}
	status = sm_loop_run();
	sm_offload_fini();
	return status;
}
