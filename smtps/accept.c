/*
 * Accepting connections. Invariants: a wake-up takes a bounded number, so that running sessions get
 * their turn; without descriptors left it rests instead of spinning; a client that cannot be served
 * is told 421, not left waiting. Callbacks on the loop's stack.
 */
#include "smtps/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/session.h"

enum {
	PER_WAKE = 16,
	REST_MS = 200, /* no descriptors or memory: try again after this */
	LISTENERS_MAX = 64,
	BACKLOG = 1024,
};

struct ss_listener {
	struct sm_list link;
	struct sm_fd f;
	struct sm_timer again;
	struct ss *ss;
	char name[64];
	bool complained; /* of the lack of descriptors */
};

/* Say no without a session; the text is short enough to fit into any socket buffer. */
static void turn_away(int fd, enum ss_reply_name r)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "%d %.*s\r\n", ss_reply_code(r),
	                 SM_STR_ARG(ss_reply_text(r)));

	(void)send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(fd);
}

/* Out of descriptors: the spare one is given up, so that one client can be told. */
static void turn_one_away(struct ss_listener *l)
{
	struct ss *ss = l->ss;
	int fd;

	if (ss->spare_fd == -1)
		return;
	(void)close(ss->spare_fd);
	fd = accept4(l->f.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd != -1)
		turn_away(fd, SS_R_TOO_MANY_SESS);
	ss->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (ss->spare_fd == -1)
		ss->spare_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

static void serve(struct ss_listener *l, int fd, const struct sm_sa *client)
{
	struct ss *ss = l->ss;
	size_t max = SM_MIN((size_t)ss->conf->max_threads, (size_t)ss->credit.max_sessions);

	enum ss_reply_name no =
	    ss->session_count >= max ? SS_R_TOO_MANY_SESS : ss_pressure_refusal(ss);

	if (no != SS_R_NONE) {
		sm_log(SM_NOTICE, "ss.full",
		       "client=%A listener=%s where=connect stat=421 text=%S sessions=%zu", client,
		       l->name, ss_reply_text(no), ss->session_count);
		if (ss_tls_implicit(ss->conf, l->name))
			(void)close(fd); /* no words in clear */
		else
			turn_away(fd, no);
		return;
	}
	int err = ss_session_start(ss, fd, client, l->name);
	if (err != 0)
		sm_log(SM_ERROR, "ss.accept", "client=%A error=%E", client, err);
}

static void accept_some(void *arg);

static void on_ready(struct sm_fd *f SM_UNUSED, unsigned events SM_UNUSED, void *arg)
{
	accept_some(arg);
}

/* Edge-triggered: what is left waits for no further edge, so we come back by ourselves. */
static void accept_some(void *arg)
{
	struct ss_listener *l = arg;

	for (int i = 0; i < PER_WAKE; i++) {
		struct sm_sa client = {.len = sizeof(client.u)};
		int fd = accept4(l->f.fd, &client.u.sa, &client.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd != -1) {
			l->complained = false;
			serve(l, fd, &client);
			continue;
		}
		switch (errno) {
		case EAGAIN:
			return;
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			if (!l->complained)
				sm_log(SM_ERROR, "ss.accept", "listener=%s sessions=%zu error=%E",
				       l->name, l->ss->session_count, sm_fail_sys(errno, "accept"));
			l->complained = true;
			turn_one_away(l);
			sm_timer_set(&l->again, sm_loop_now_ms() + REST_MS, accept_some, l);
			return;
		default:
			/* The client is gone already, or the network had an error (accept(2)): next
			 * one. */
			break;
		}
	}
	sm_timer_set(&l->again, sm_loop_now_ms(), accept_some, l);
}

bool ss_accept_is_listener(int fd)
{
	int on = 0;
	socklen_t n = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on != 0;
}

int ss_accept_add(struct ss *ss, int fd, const char *name)
{
	struct ss_listener *l;
	struct sm_sa sa;
	char text[SM_SA_TEXT];
	int err, one = 1;

	if (!ss_accept_is_listener(fd) || ss_accept_count(ss) >= LISTENERS_MAX) {
		(void)close(fd);
		return sm_fail(SM_E_PROTO, "no listening socket, or too many");
	}
	if (sm_sa_local(&sa, fd) == 0 &&
	    (err = ss_conf_check_port(ss->conf, sm_sa_port(&sa))) != 0) {
		(void)close(fd);
		return err;
	}
	l = sm_calloc(1, sizeof(*l));
	l->ss = ss;
	if (name[0] == '\0' && sm_sa_local(&sa, fd) == 0)
		name = sm_sa_text(&sa, text);
	sm_str_cut(sm_str(name), l->name, sizeof(l->name));
	/* Inherited by what is accepted; a Unix socket has nothing of it. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	err = sm_fd_open_exclusive(&l->f, fd, on_ready, l);
	if (err != 0) {
		sm_free(l);
		return err;
	}
	sm_list_push(&ss->listeners, &l->link);
	sm_log(SM_INFO, "ss.listen", "listener=%s", l->name);
	/* What came before we were here makes no edge. */
	sm_timer_set(&l->again, sm_loop_now_ms(), accept_some, l);
	return 0;
}

int ss_accept_bind(struct ss *ss)
{
	const struct sm_conf_list *list = &ss->conf->listen;

	for (size_t i = 0; i < list->count; i++) {
		char name[64];
		struct sm_sa sa;
		int fd, err = ss_conf_listen_address(list->v[i], &sa);

		if (err == 0)
			err = sm_str_copy(list->v[i], name, sizeof(name));
		if (err != 0)
			return err;
		fd = sm_net_listen(&sa, BACKLOG, 0007);
		if (fd < 0)
			return fd;
		err = ss_accept_add(ss, fd, name);
		if (err != 0)
			return err;
	}
	return 0;
}

void ss_accept_stop(struct ss *ss)
{
	struct ss_listener *l;

	while ((l = SM_LIST_FIRST(&ss->listeners, struct ss_listener, link)) != NULL) {
		sm_list_remove(&l->link);
		sm_timer_cancel(&l->again);
		sm_fd_close(&l->f);
		sm_free(l);
	}
}

size_t ss_accept_count(const struct ss *ss)
{
	size_t n = 0;

	SM_LIST_FOR (l, &ss->listeners, struct ss_listener, link)
		n++;
	return n;
}
