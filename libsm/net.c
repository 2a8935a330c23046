/*
 * Stream sockets for coroutines: each call parks only when the kernel has nothing. A read that got
 * less than it asked for tells that the next one would wait: no call is spent to learn it. Thread:
 * the loop's (listen, peercred and the descriptor passing are plain calls for any).
 */
#include "libsm/net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libsm/co.h"

#define JUNK_BYTES 4096
#define FULL_RETRY_MS \
	20 /* a Unix listener's queue is full: connect says so at once instead of waiting */

static void tcp_nodelay(int fd, int fam)
{
	int one = 1;

	if (fam == AF_INET || fam == AF_INET6)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int sm_net_open(struct sm_net *n, int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	*n = (struct sm_net){.f.fd = -1};
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0)
		tcp_nodelay(fd, domain);
	return sm_fd_open(&n->f, fd, NULL, NULL);
}

int sm_net_adopt(struct sm_net *n, int fd)
{
	*n = (struct sm_net){.f.fd = -1};
	return sm_fd_adopt(&n->f, fd);
}

void sm_net_close(struct sm_net *n)
{
	if (n->layer != NULL)
		n->layer->end(n);
	sm_fd_close(&n->f);
}

/* connect(2) that waits while a Unix listener's queue is full. 0, or -1 with errno; EINPROGRESS
 * among them. */
static int try_connect(int fd, const struct sm_sa *to, int64_t deadline_ms)
{
	for (;;) {
		if (connect(fd, &to->u.sa, to->len) == 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || to->u.sa.sa_family != AF_UNIX)
			return -1;
		int64_t next = sm_loop_now_ms() + FULL_RETRY_MS;
		if (next >= deadline_ms || sm_co_sleep(next) != 0) {
			errno = EAGAIN;
			return -1;
		}
	}
}

static int bind_source(int fd, const struct sm_sa *source)
{
	int one = 1;

	/* The port is chosen at connect, by the whole four-tuple: many more connections from one
	 * address. */
	if (source->u.sa.sa_family != AF_UNIX && sm_sa_port(source) == 0)
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, &source->u.sa, source->len);
}

int sm_net_connect(struct sm_net *n, const struct sm_sa *to, const struct sm_sa *source,
                   int64_t deadline_ms)
{
	char text[SM_SA_TEXT];
	int rc, err = 0;
	socklen_t len = sizeof(err);

	*n = (struct sm_net){.f.fd = -1};
	if (sm_co_cancelled())
		return sm_fail(SM_E_CANCEL, "connect: cancelled");
	if (to->len == 0)
		return sm_fail(SM_E_BUG, "connect to no address");
	int fd = socket(to->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return sm_fail_sys(errno, "socket for %s", sm_sa_text(to, text));
	tcp_nodelay(fd, to->u.sa.sa_family);
	if (source != NULL && source->len != 0 && bind_source(fd, source) == -1) {
		(void)sm_fail_sys(errno, "bind to %s", sm_sa_text(source, text));
		close(fd);
		return SM_E_DENIED;
	}
	if (try_connect(fd, to, deadline_ms) == -1)
		err = errno;
	bool pending = err == EINPROGRESS;
	if (err != 0 && !pending) {
		close(fd);
		if (sm_co_cancelled())
			return sm_fail(SM_E_CANCEL, "connect: cancelled");
		return err == EAGAIN ? sm_fail(SM_E_TIMEOUT, "connect to %s: its queue is full",
		                               sm_sa_text(to, text))
		                     : sm_fail_sys(err, "connect to %s", sm_sa_text(to, text));
	}
	rc = sm_fd_open(&n->f, fd, NULL, NULL);
	if (rc != 0)
		return rc;
	if (pending) {
		sm_fd_drained(&n->f, SM_WR);
		rc = sm_fd_wait(&n->f, SM_WR, "connect", deadline_ms);
		err = 0;
		if (rc == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1)
			err = errno;
		if (rc == 0 && err != 0)
			rc = sm_fail_sys(err, "connect to %s", sm_sa_text(to, text));
		else if (rc == SM_E_TIMEOUT)
			rc = sm_fail(SM_E_TIMEOUT, "connect to %s: no answer in time",
			             sm_sa_text(to, text));
	}
	if (rc != 0)
		sm_net_close(n);
	return rc;
}

ssize_t sm_net_read(struct sm_net *n, void *p, size_t size, int64_t deadline_ms)
{
	sm_co_fair();
	if (n->layer != NULL)
		return n->layer->read(n, p, size, deadline_ms);
	for (;;) {
		int rc = sm_fd_wait(&n->f, SM_RD, "read", deadline_ms);
		if (rc != 0)
			return rc;
		ssize_t got = recv(n->f.fd, p, size, 0);
		if (got > 0) {
			n->in_bytes += (uint64_t)got;
			if ((size_t)got < size)
				sm_fd_drained(&n->f, SM_RD);
			return got;
		}
		if (got == 0)
			return sm_fail(SM_E_EOF, "connection closed by peer");
		if (errno == EAGAIN) {
			/* Even if it hung up: the error that comes with it has been read. */
			n->f.hup = false;
			sm_fd_drained(&n->f, SM_RD);
		} else if (errno != EINTR) {
			return sm_fail_sys(errno, "read");
		}
	}
}

int sm_net_writev(struct sm_net *n, struct iovec *v, int count, int64_t deadline_ms)
{
	if (n->layer != NULL)
		return n->layer->writev(n, v, count, deadline_ms);
	for (;;) {
		while (count > 0 && v->iov_len == 0) {
			v++;
			count--;
		}
		if (count == 0)
			return 0;
		int rc = sm_fd_wait(&n->f, SM_WR, "write", deadline_ms);
		if (rc != 0)
			return rc;
		struct msghdr msg = {.msg_iov = v, .msg_iovlen = (size_t)SM_MIN(count, IOV_MAX)};
		ssize_t put = sendmsg(n->f.fd, &msg, MSG_NOSIGNAL);
		if (put == -1 && errno == EINTR)
			continue;
		if (put == -1 && errno != EAGAIN)
			return sm_fail_sys(errno, "write");
		if (put == -1) {
			sm_fd_drained(&n->f, SM_WR);
			continue;
		}
		n->out_bytes += (uint64_t)put;
		for (size_t left = (size_t)put; left > 0;) {
			size_t step = SM_MIN(left, v->iov_len);
			v->iov_base = (char *)v->iov_base + step;
			v->iov_len -= step;
			left -= step;
			if (v->iov_len == 0 && left > 0) {
				v++;
				count--;
			}
		}
		sm_co_fair();
	}
}

int sm_net_write(struct sm_net *n, const void *p, size_t size, int64_t deadline_ms)
{
	struct iovec v = {.iov_base = (void *)(uintptr_t)p, .iov_len = size};

	return sm_net_writev(n, &v, 1, deadline_ms);
}

void sm_net_try_write(struct sm_net *n, const void *p, size_t size)
{
	if (n->layer != NULL)
		n->layer->try_write(n, p, size);
	else
		(void)send(n->f.fd, p, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void sm_net_linger(struct sm_net *n, size_t bytes, int64_t deadline_ms)
{
	char *junk;

	if (n->layer != NULL)
		n->layer->end_write(n);
	if (n->f.fd == -1 || shutdown(n->f.fd, SHUT_WR) != 0)
		return;
	junk = sm_malloc(JUNK_BYTES);
	while (bytes > 0 && sm_fd_wait(&n->f, SM_RD, "linger", deadline_ms) == 0) {
		ssize_t got = recv(n->f.fd, junk, SM_MIN(bytes, (size_t)JUNK_BYTES), 0);
		if (got == 0 || (got == -1 && errno != EAGAIN && errno != EINTR))
			break;
		if (got == -1)
			sm_fd_drained(&n->f, SM_RD);
		else
			bytes -= (size_t)got;
	}
	sm_free(junk);
}

bool sm_net_pending(struct sm_net *n)
{
	char c;

	if (n->f.fd == -1)
		return true;
	if (n->layer != NULL)
		return n->layer->pending(n);
	ssize_t got = recv(n->f.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
	return got != -1 || (errno != EAGAIN && errno != EINTR);
}

/* A Unix path may be taken over when it is a socket that nobody answers. */
static int clear_stale(const struct sm_sa *at)
{
	const char *path = at->u.un.sun_path;
	struct stat st;

	if (lstat(path, &st) == -1)
		return errno == ENOENT ? 0 : sm_fail_sys(errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return sm_fail(SM_E_EXISTS, "%s exists and is no socket", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return sm_fail_sys(errno, "socket");
	int err = connect(fd, &at->u.sa, at->len) == 0 ? 0 : errno;
	close(fd);
	if (err != ECONNREFUSED)
		return sm_fail(SM_E_BUSY, "%s: another process listens there", path);
	if (unlink(path) == -1 && errno != ENOENT)
		return sm_fail_sys(errno, "unlink %s", path);
	return 0;
}

static int bind_listener(int fd, const struct sm_sa *at, unsigned unix_umask)
{
	int one = 1;

	if (at->u.sa.sa_family == AF_UNIX) {
		mode_t before = umask((mode_t)unix_umask);
		int rc = bind(fd, &at->u.sa, at->len);
		int err = errno;
		umask(before);
		errno = err;
		return rc;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (at->u.sa.sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	return bind(fd, &at->u.sa, at->len);
}

int sm_net_listen(const struct sm_sa *at, int backlog, unsigned unix_umask)
{
	char text[SM_SA_TEXT];
	int rc;

	if (at->len == 0)
		return sm_fail(SM_E_BUG, "listen on no address");
	if (at->u.sa.sa_family == AF_UNIX && (rc = clear_stale(at)) != 0)
		return rc;
	int fd = socket(at->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return sm_fail_sys(errno, "socket for %s", sm_sa_text(at, text));
	if (bind_listener(fd, at, unix_umask) == -1)
		rc = sm_fail_sys(errno, "bind to %s", sm_sa_text(at, text));
	else if (listen(fd, backlog) == -1)
		rc = sm_fail_sys(errno, "listen on %s", sm_sa_text(at, text));
	else
		return fd;
	close(fd);
	return rc;
}

int sm_net_peercred(int fd, pid_t *pid, uid_t *uid, gid_t *gid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
		return sm_fail_sys(errno, "SO_PEERCRED");
	*pid = cred.pid;
	*uid = cred.uid;
	*gid = cred.gid;
	return 0;
}

/* Room for one descriptor, aligned as the kernel wants it. */
union fd_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int sm_net_send_fd(int sock, int fd, const void *text, size_t size)
{
	union fd_control control = {.bytes = {0}};
	struct iovec v = {.iov_base = (void *)(uintptr_t)text, .iov_len = size};
	struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};

	/* A stream carries no descriptor without a byte. */
	sm_assert(size > 0);
	if (fd != -1) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	for (;;) {
		ssize_t put = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put == (ssize_t)size)
			return 0;
		if (put >= 0)
			return sm_fail(SM_E_BUSY, "message with a descriptor was cut");
		if (errno == EAGAIN)
			return sm_fail(SM_E_AGAIN, "socket is full");
		if (errno != EINTR)
			return sm_fail_sys(errno, "sendmsg with a descriptor");
	}
}

ssize_t sm_net_recv_fd(int sock, int *fd, void *text, size_t size)
{
	union fd_control control = {.bytes = {0}};
	struct iovec v = {.iov_base = text, .iov_len = size};
	struct msghdr msg = {.msg_iov = &v,
	                     .msg_iovlen = 1,
	                     .msg_control = control.bytes,
	                     .msg_controllen = sizeof(control.bytes)};
	ssize_t got;

	*fd = -1;
	do
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (got == -1 && errno == EINTR);
	if (got == -1)
		return errno == EAGAIN ? sm_fail(SM_E_AGAIN, "nothing there yet")
		                       : sm_fail_sys(errno, "recvmsg with a descriptor");
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	}
	if (got > 0 && !(msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))
		return got;
	if (*fd != -1)
		close(*fd);
	*fd = -1;
	return got == 0 ? sm_fail(SM_E_EOF, "connection closed by peer")
	                : sm_fail(SM_E_PROTO, "message with a descriptor is too long");
}
