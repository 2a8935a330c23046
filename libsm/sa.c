/*
 * Socket addresses as values: parse, print, compare, classify. No system calls but getpeername and
 * getsockname. An IPv4 address and its IPv6-mapped form (::ffff:1.2.3.4) are the same host
 * everywhere here.
 */
#include "libsm/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "libsm/hash.h"

int sm_sa_ip(struct sm_sa *sa, struct sm_str ip, uint16_t port)
{
	struct sm_str s = ip;
	char text[INET6_ADDRSTRLEN];
	bool v6_only = false;

	*sa = (struct sm_sa){0};
	if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = sm_str_n(s.p + 1, s.n - 2);
	if (sm_str_has_caseprefix(s, SM_STR("IPv6:"))) {
		s = sm_str_from(s, 5);
		v6_only = true;
	}
	if (s.n == 0 || sm_str_copy(s, text, sizeof(text)) != 0)
		return sm_fail(SM_E_SYNTAX, "not an IP address");
	if (!v6_only && inet_pton(AF_INET, text, &sa->u.in4.sin_addr) == 1) {
		sa->u.in4.sin_family = AF_INET;
		sa->len = sizeof(sa->u.in4);
	} else if (inet_pton(AF_INET6, text, &sa->u.in6.sin6_addr) == 1) {
		sa->u.in6.sin6_family = AF_INET6;
		sa->len = sizeof(sa->u.in6);
	} else {
		return sm_fail(SM_E_SYNTAX, "not an IP address: %s", text);
	}
	sm_sa_set_port(sa, port);
	return 0;
}

int sm_sa_unix(struct sm_sa *sa, struct sm_str path)
{
	*sa = (struct sm_sa){0};
	if (path.n == 0)
		return sm_fail(SM_E_SYNTAX, "empty socket path");
	if (sm_str_copy(path, sa->u.un.sun_path, sizeof(sa->u.un.sun_path)) != 0)
		return sm_fail(SM_E_TOOBIG, "socket path of %zu bytes, at most %zu", path.n,
		               sizeof(sa->u.un.sun_path) - 1);
	sa->u.un.sun_family = AF_UNIX;
	sa->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
	return 0;
}

/* What the kernel gave: clipped to what fits, and an unnamed Unix socket is an empty path. */
static int from_kernel(struct sm_sa *sa, socklen_t len)
{
	sa->len = SM_MIN(len, (socklen_t)sizeof(sa->u));
	return 0;
}

int sm_sa_peer(struct sm_sa *sa, int fd)
{
	socklen_t len = sizeof(sa->u);

	*sa = (struct sm_sa){0};
	if (getpeername(fd, &sa->u.sa, &len) == -1)
		return sm_fail_sys(errno, "getpeername");
	return from_kernel(sa, len);
}

int sm_sa_local(struct sm_sa *sa, int fd)
{
	socklen_t len = sizeof(sa->u);

	*sa = (struct sm_sa){0};
	if (getsockname(fd, &sa->u.sa, &len) == -1)
		return sm_fail_sys(errno, "getsockname");
	return from_kernel(sa, len);
}

static int family(const struct sm_sa *sa)
{
	return sa->len == 0 ? AF_UNSPEC : sa->u.sa.sa_family;
}

uint16_t sm_sa_port(const struct sm_sa *sa)
{
	switch (family(sa)) {
	case AF_INET:
		return ntohs(sa->u.in4.sin_port);
	case AF_INET6:
		return ntohs(sa->u.in6.sin6_port);
	default:
		return 0;
	}
}

void sm_sa_set_port(struct sm_sa *sa, uint16_t port)
{
	if (family(sa) == AF_INET)
		sa->u.in4.sin_port = htons(port);
	else if (family(sa) == AF_INET6)
		sa->u.in6.sin6_port = htons(port);
}

/* The path without its NUL; empty when unnamed. */
static struct sm_str unix_path(const struct sm_sa *sa)
{
	size_t max = sa->len > offsetof(struct sockaddr_un, sun_path)
	                 ? sa->len - offsetof(struct sockaddr_un, sun_path)
	                 : 0;

	return sm_str_n(sa->u.un.sun_path, strnlen(sa->u.un.sun_path, max));
}

/* The host as an IPv6 address; false when it is no Internet address. */
static bool as_in6(const struct sm_sa *sa, struct in6_addr *out)
{
	switch (family(sa)) {
	case AF_INET:
		*out = (struct in6_addr){0};
		out->s6_addr[10] = out->s6_addr[11] = 0xFF;
		memcpy(out->s6_addr + 12, &sa->u.in4.sin_addr, 4);
		return true;
	case AF_INET6:
		*out = sa->u.in6.sin6_addr;
		return true;
	default:
		return false;
	}
}

/* The IPv4 address in it, host byte order; false when there is none. */
static bool as_v4(const struct sm_sa *sa, uint32_t *out)
{
	const struct in6_addr *a = &sa->u.in6.sin6_addr;

	if (family(sa) == AF_INET)
		*out = sa->u.in4.sin_addr.s_addr;
	else if (family(sa) == AF_INET6 && IN6_IS_ADDR_V4MAPPED(a))
		memcpy(out, a->s6_addr + 12, sizeof(*out));
	else
		return false;
	*out = ntohl(*out);
	return true;
}

bool sm_sa_eq_host(const struct sm_sa *a, const struct sm_sa *b)
{
	if (family(a) == AF_INET && family(b) == AF_INET)
		return a->u.in4.sin_addr.s_addr == b->u.in4.sin_addr.s_addr;
	struct in6_addr x, y;

	if (as_in6(a, &x))
		return as_in6(b, &y) && memcmp(&x, &y, sizeof(x)) == 0;
	if (family(a) != family(b))
		return false;
	return family(a) != AF_UNIX || sm_str_eq(unix_path(a), unix_path(b));
}

bool sm_sa_eq(const struct sm_sa *a, const struct sm_sa *b)
{
	return sm_sa_port(a) == sm_sa_port(b) && sm_sa_eq_host(a, b);
}

uint64_t sm_sa_hash_host(const struct sm_sa *sa)
{
	struct in6_addr a;
	uint32_t v4;

	if (as_v4(sa, &v4))
		return sm_hash_u64(v4);
	if (as_in6(sa, &a))
		return sm_hash_str(sm_str_n(&a, sizeof(a)));
	return family(sa) == AF_UNIX ? sm_hash_str(unix_path(sa)) : 0;
}

bool sm_sa_is_loopback(const struct sm_sa *sa)
{
	uint32_t v4;

	if (family(sa) == AF_UNIX)
		return true;
	if (as_v4(sa, &v4))
		return v4 >> 24 == 127;
	return family(sa) == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&sa->u.in6.sin6_addr);
}

bool sm_sa_is_bogus(const struct sm_sa *sa)
{
	uint32_t v4;

	if (family(sa) == AF_UNIX)
		return unix_path(sa).n == 0;
	/* 0/8 "this network", 224/4 multicast, 240/4 reserved with the broadcast address at its
	 * end. */
	if (as_v4(sa, &v4))
		return v4 >> 24 == 0 || v4 >> 28 >= 14;
	if (family(sa) != AF_INET6)
		return true;
	return IN6_IS_ADDR_UNSPECIFIED(&sa->u.in6.sin6_addr) ||
	       IN6_IS_ADDR_MULTICAST(&sa->u.in6.sin6_addr);
}

static char *put_decimal(char *to, unsigned v)
{
	if (v >= 10)
		to = put_decimal(to, v / 10);
	*to++ = (char)('0' + v % 10);
	return to;
}

/* Gives the place behind; no NUL. */
static char *put_v4(char *to, uint32_t v4)
{
	for (int shift = 24; shift >= 0; shift -= 8) {
		to = put_decimal(to, v4 >> shift & 255U);
		if (shift > 0)
			*to++ = '.';
	}
	return to;
}

const char *sm_sa_host_text(const struct sm_sa *sa, char out[SM_SA_TEXT])
{
	struct in6_addr a;
	uint32_t v4;

	if (as_v4(sa, &v4)) {
		*put_v4(out, v4) = '\0';
	} else if (as_in6(sa, &a)) {
		(void)inet_ntop(AF_INET6, &a, out, SM_SA_TEXT);
	} else if (family(sa) == AF_UNIX) {
		struct sm_str path = unix_path(sa);
		(void)snprintf(out, SM_SA_TEXT, "unix:" SM_STR_FMT, SM_STR_ARG(path));
	} else {
		(void)snprintf(out, SM_SA_TEXT, "none");
	}
	return out;
}

const char *sm_sa_text(const struct sm_sa *sa, char out[SM_SA_TEXT])
{
	char host[SM_SA_TEXT];
	uint32_t v4;
	char *to;

	if (as_v4(sa, &v4)) {
		to = put_v4(out, v4);
		*to++ = ':';
		*put_decimal(to, sm_sa_port(sa)) = '\0';
	} else if (family(sa) == AF_INET6) {
		(void)snprintf(out, SM_SA_TEXT, "[%.100s]:%u", sm_sa_host_text(sa, host),
		               (unsigned)sm_sa_port(sa));
	} else {
		(void)sm_sa_host_text(sa, out);
	}
	return out;
}

const char *sm_sa_literal(const struct sm_sa *sa, char out[SM_SA_TEXT])
{
	char host[SM_SA_TEXT];
	uint32_t v4;
	char *to = out;

	if (as_v4(sa, &v4)) {
		*to++ = '[';
		to = put_v4(to, v4);
		(void)memcpy(to, "]", sizeof("]"));
	} else {
		(void)snprintf(out, SM_SA_TEXT,
		               family(sa) != AF_INET6 ? "[%.100s]" : "[IPv6:%.100s]",
		               sm_sa_host_text(sa, host));
	}
	return out;
}
