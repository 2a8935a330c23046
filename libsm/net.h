/*
 * Sockets with deadlines, for coroutines; and socket addresses (IPv4, IPv6, Unix) as values.
 */
#ifndef SM_NET_H
#define SM_NET_H

#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/un.h>
#include "libsm/loop.h"
#include "libsm/str.h"

/* A socket address; `len` 0: none. Zeroed memory is "none". */
struct sm_sa {
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} u;
};
#define SM_SA_TEXT 128

/* "1.2.3.4", "::1" (also "[..]" and "IPv6:..." as in RFC 5321 address literals); port 0..65535.
 * SM_E_SYNTAX. */
int sm_sa_ip(struct sm_sa *sa, struct sm_str ip, uint16_t port) SM_MUST_CHECK;
int sm_sa_unix(struct sm_sa *sa, struct sm_str path) SM_MUST_CHECK; /* SM_E_TOOBIG */
int sm_sa_peer(struct sm_sa *sa, int fd) SM_MUST_CHECK;
int sm_sa_local(struct sm_sa *sa, int fd) SM_MUST_CHECK;
uint16_t sm_sa_port(const struct sm_sa *sa);
void sm_sa_set_port(struct sm_sa *sa, uint16_t port);
bool sm_sa_eq(const struct sm_sa *a, const struct sm_sa *b); /* with port */
bool sm_sa_eq_host(const struct sm_sa *a,
                   const struct sm_sa *b);      /* without; ::ffff:1.2.3.4 equals 1.2.3.4 */
bool sm_sa_is_loopback(const struct sm_sa *sa); /* 127/8, ::1, mapped ones, Unix */
/* Not a place to send mail to: unspecified, multicast, broadcast. */
bool sm_sa_is_bogus(const struct sm_sa *sa);
uint64_t sm_sa_hash_host(const struct sm_sa *sa);
const char *sm_sa_text(const struct sm_sa *sa,
                       char out[SM_SA_TEXT]); /* "1.2.3.4:25", "[::1]:25", "unix:/path" */
const char *sm_sa_host_text(const struct sm_sa *sa, char out[SM_SA_TEXT]); /* "1.2.3.4", "::1" */
/* RFC 5321 4.1.3: "[1.2.3.4]", "[IPv6:::1]". */
const char *sm_sa_literal(const struct sm_sa *sa, char out[SM_SA_TEXT]);

/*
 * A connected stream socket. All calls but close may yield. One reader and one writer at a time.
 * With TLS on it (tls.h), the same calls go through that: `layer` is how, and net.c knows no more.
 */
struct sm_net;
struct iovec;
struct sm_net_layer {
	ssize_t (*read)(struct sm_net *n, void *p, size_t size, int64_t deadline_ms) SM_YIELDS;
	int (*writev)(struct sm_net *n, struct iovec *v, int count, int64_t deadline_ms) SM_YIELDS;
	void (*try_write)(struct sm_net *n, const void *p, size_t size);
	bool (*pending)(struct sm_net *n);
	void (*end_write)(struct sm_net *n);
	void (*end)(struct sm_net *n); /* before the descriptor is closed: frees n->tls */
};
struct sm_net {
	struct sm_fd f;
	uint64_t in_bytes, out_bytes;     /* of those above: what was encrypted counts as clear */
	const struct sm_net_layer *layer; /* NULL: clear */
	struct sm_tls *tls;               /* NULL: clear */
};

/* Take over a connected descriptor (closed by sm_net_close; also on failure here). TCP gets
 * TCP_NODELAY. */
int sm_net_open(struct sm_net *n, int fd) SM_MUST_CHECK;
/* The same for a descriptor fresh from accept4(SOCK_NONBLOCK), whose listener had TCP_NODELAY set,
 * which is inherited. */
int sm_net_adopt(struct sm_net *n, int fd) SM_MUST_CHECK;
/* Connect, from `source` when not NULL. SM_E_TIMEOUT, SM_E_SYS (refused, unreachable; see diag),
 * SM_E_CANCEL; SM_E_DENIED: `source` cannot be used, or this host forbids it. */
int sm_net_connect(struct sm_net *n, const struct sm_sa *to, const struct sm_sa *source,
                   int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
void sm_net_close(struct sm_net *n);
/* Up to `size` bytes: count > 0, SM_E_EOF, SM_E_TIMEOUT, SM_E_CANCEL, SM_E_SYS. Never yields
 * between filling `p` and returning. */
ssize_t sm_net_read(struct sm_net *n, void *p, size_t size,
                    int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* All of it: 0 or an error. */
int sm_net_write(struct sm_net *n, const void *p, size_t size,
                 int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
int sm_net_writev(struct sm_net *n, struct iovec *v, int count,
                  int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK; /* changes v */
/* The same without waiting, as far as it goes: for a last word. Not after a write that failed. */
void sm_net_try_write(struct sm_net *n, const void *p, size_t size);
/*
 * Before sm_net_close, when unread input may be there: closing with that resets the connection, and
 * the peer may lose our last words. Our side ends, and at most `bytes` are thrown away, unseen by
 * whatever layer there is.
 */
void sm_net_linger(struct sm_net *n, size_t bytes, int64_t deadline_ms) SM_YIELDS;
/* Has the peer sent something, or closed, that nobody has read yet? One system call at the most.
 * For idle kept sessions. */
bool sm_net_pending(struct sm_net *n);

/* Listening descriptor on `at`; Unix paths are replaced when stale (nobody answers), with mode 0777
 * & ~umask. -1..: error; else fd. */
int sm_net_listen(const struct sm_sa *at, int backlog, unsigned unix_umask) SM_MUST_CHECK;
/* SO_PEERCRED of a Unix socket. */
int sm_net_peercred(int fd, pid_t *pid, uid_t *uid, gid_t *gid) SM_MUST_CHECK;
/* Descriptors over Unix sockets (SCM_RIGHTS) with up to `size` bytes of text; blocking-safe
 * (MSG_DONTWAIT). recv gives the text length, *fd -1 if none came. */
int sm_net_send_fd(int sock, int fd, const void *text, size_t size) SM_MUST_CHECK;
ssize_t sm_net_recv_fd(int sock, int *fd, void *text, size_t size) SM_MUST_CHECK;

#endif
