/* The tests' DNS server: see t_dnsd.h. As simple as it can be, and sharing no code with what it
 * tests. */
#include "smar/t_dnsd.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "smar/dns_msg.h"

static struct {
	const struct t_dns_row *rows;
	struct sm_fd udp, tcp, conns[64];
	unsigned next;
	unsigned asked;
} d;

static void put16(struct sm_buf *b, unsigned v)
{
	sm_buf_char(b, (char)(v >> 8));
	sm_buf_char(b, (char)v);
}

static void put32(struct sm_buf *b, uint32_t v)
{
	put16(b, v >> 16);
	put16(b, v & 0xFFFF);
}

/* "a.b" as labels; \DDD is a byte. */
static void put_name(struct sm_buf *b, const char *name)
{
	while (*name != '\0') {
		unsigned char label[64];
		size_t n = 0;

		while (*name != '\0' && *name != '.' && n < sizeof(label) - 1) {
			if (*name == '\\') {
				label[n++] = (unsigned char)((name[1] - '0') * 100 +
				                             (name[2] - '0') * 10 + name[3] - '0');
				name += 4;
			} else {
				label[n++] = (unsigned char)*name++;
			}
		}
		if (*name == '.')
			name++;
		sm_buf_char(b, (char)n);
		sm_buf_append(b, label, n);
	}
	sm_buf_char(b, 0);
}

static void put_data(struct sm_buf *b, const struct t_dns_row *row)
{
	unsigned char addr[16];
	char *rest;

	if (row->data[0] == '#') {
		for (const char *p = row->data + 1; p[0] != '\0' && p[1] != '\0'; p += 2) {
			char hex[3] = {p[0], p[1], '\0'};

			sm_buf_char(b, (char)strtoul(hex, NULL, 16));
		}
		return;
	}
	switch (row->type) {
	case AR_DNS_A:
		sm_assert(inet_pton(AF_INET, row->data, addr) == 1);
		sm_buf_append(b, addr, 4);
		break;
	case AR_DNS_AAAA:
		sm_assert(inet_pton(AF_INET6, row->data, addr) == 1);
		sm_buf_append(b, addr, 16);
		break;
	case AR_DNS_MX:
		put16(b, (unsigned)strtoul(row->data, &rest, 10));
		put_name(b, rest + 1);
		break;
	case AR_DNS_SOA:
		put_name(b, "ns.example");
		put_name(b, "host.example");
		for (int i = 0; i < 4; i++)
			put32(b, 1);
		put32(b, (uint32_t)strtoul(row->data, NULL, 10));
		break;
	default:
		put_name(b, row->data);
		break;
	}
}

static void put_record(struct sm_buf *b, const struct t_dns_row *row)
{
	struct sm_buf data;

	sm_buf_init(&data, 65535);
	put_data(&data, row);
	put_name(b, row->name);
	put16(b, row->type);
	put16(b, 1);
	put32(b, row->ttl);
	put16(b, (unsigned)data.len);
	sm_buf_str(b, sm_buf_view(&data));
	sm_buf_fini(&data);
}

static bool word(const struct t_dns_row *row, const char *w)
{
	return strcmp(row->data, w) == 0;
}

static void put_header(struct sm_buf *b, struct sm_str question, unsigned flags, unsigned answers,
                       unsigned authority)
{
	sm_buf_append(b, question.p, 2);
	put16(b, 0x8080 | flags);
	put16(b, 1);
	put16(b, answers);
	put16(b, authority);
	put16(b, 0);
}

/* Without EDNS, which may be behind it. */
static size_t question_end(struct sm_str q)
{
	size_t at = 12;

	while (at < q.n && q.p[at] != 0)
		at += (size_t)(unsigned char)q.p[at] + 1;
	return at + 5;
}

static void question_name(struct sm_str q, char out[300])
{
	size_t at = 12, n = 0;

	while (at < q.n && q.p[at] != 0) {
		size_t len = (unsigned char)q.p[at++];

		if (n > 0)
			out[n++] = '.';
		for (size_t i = 0; i < len; i++)
			out[n++] = sm_lower(q.p[at + i]);
		at += len;
	}
	out[n] = '\0';
}

/* Is it one of the words? Then the answer is made. */
static bool special(const struct t_dns_row *row, struct sm_str question, struct sm_str body,
                    bool tcp, struct sm_buf *out, bool *send)
{
	*send = true;
	if (word(row, "DROP")) {
		*send = false;
	} else if (word(row, "EMPTY")) {
		;
	} else if (word(row, "SHORT")) {
		sm_buf_append(out, question.p, 2);
		sm_buf_append(out, "\x80\x80\0\1\0\0\0\0\0", 9);
	} else if (word(row, "SERVFAIL") || word(row, "REFUSED") || word(row, "FORMERR")) {
		put_header(out, question,
		           word(row, "SERVFAIL")  ? 2
		           : word(row, "REFUSED") ? 5
		                                  : 1,
		           0, 0);
		sm_buf_str(out, body);
	} else if (word(row, "OLD") && question.p[11] != 0) {
		put_header(out, question, 1, 0, 0);
		sm_buf_str(out, body);
	} else if (word(row, "LOOPING")) {
		put_header(out, question, 0, 1, 0);
		sm_buf_str(out, body);
		put16(out, 0xC000 | (unsigned)out->len);
	} else if (word(row, "MANY")) {
		put_header(out, question, 0, 65535, 0);
		sm_buf_str(out, body);
	} else if (word(row, "LAME")) {
		put_header(out, question, 0, 0, 0);
		sm_buf_p(out)[3] = 0;
		sm_buf_str(out, body);
	} else if (word(row, "OTHER")) {
		put_header(out, question, 0, 0, 0);
		put_name(out, "other.example");
		put32(out, 0x00010001);
	} else if ((word(row, "TCP") || word(row, "NOTCP")) && !tcp) {
		put_header(out, question, 0x0200, 0, 0);
		sm_buf_str(out, body);
	} else if (word(row, "NOTCP")) {
		*send = false;
	} else {
		return false;
	}
	return true;
}

bool t_dnsd_answer(const struct t_dns_row *rows, struct sm_str question, bool tcp,
                   struct sm_buf *out)
{
	size_t end = question_end(question);
	struct sm_str body = sm_str_n(question.p + 12, end - 12);
	unsigned type =
	    (unsigned)(unsigned char)question.p[end - 4] << 8 | (unsigned char)question.p[end - 3];
	char name[300], owner[300];
	unsigned answers = 0, authority = 0;
	bool exists = false, send;
	struct sm_buf records;
	unsigned secure = 0;

	question_name(question, name);
	sm_buf_init(&records, 65535);
	memcpy(owner, name, sizeof(owner));
	for (const struct t_dns_row *r = rows; r->name != NULL; r++) {
		if (strcmp(r->name, owner) != 0)
			continue;
		exists = true;
		if ((r->type == 0 || r->type == type) &&
		    special(r, question, body, tcp, out, &send)) {
			sm_buf_fini(&records);
			return send;
		}
		if (word(r, "AD") && ((unsigned char)question.p[3] & 0x20) != 0)
			secure = 0x20;
		if (word(r, "TCP") || word(r, "OLD") || word(r, "AD"))
			continue;
		if (r->type == AR_DNS_SOA) {
			authority++;
			continue;
		}
		if (r->type != type && r->type != AR_DNS_CNAME)
			continue;
		if (r->type == AR_DNS_CNAME && r->ttl == 0) /* the end is to be asked for */
			memcpy(owner, "-", 2);
		else if (r->type == AR_DNS_CNAME)
			snprintf(owner, sizeof(owner), "%s", r->data);
		put_record(&records, r);
		answers++;
	}
	for (const struct t_dns_row *r = rows; r->name != NULL; r++)
		if (answers == 0 && strcmp(r->name, name) == 0 && r->type == AR_DNS_SOA)
			put_record(&records, r);
	put_header(out, question, secure | (exists ? 0 : 3), answers, answers ? 0 : authority);
	sm_buf_str(out, body);
	sm_buf_str(out, sm_buf_view(&records));
	sm_buf_fini(&records);
	return true;
}

void t_dnsd_question(const char *name, uint16_t type, struct sm_buf *out)
{
	put32(out, 0x12340100);
	put32(out, 0x00010000);
	put32(out, 0);
	put_name(out, name);
	put16(out, type);
	put16(out, 1);
}

static void on_udp(struct sm_fd *f, unsigned events SM_UNUSED, void *arg SM_UNUSED)
{
	char q[65536];
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(f->fd, q, sizeof(q), 0, (struct sockaddr *)&from, &len)) > 0) {
		struct sm_buf out;

		d.asked++;
		sm_buf_init(&out, 65535);
		if (t_dnsd_answer(d.rows, sm_str_n(q, (size_t)n), false, &out))
			(void)sendto(f->fd, sm_buf_c(&out), out.len, 0, (struct sockaddr *)&from,
			             len);
		sm_buf_fini(&out);
		len = sizeof(from);
	}
	sm_fd_drained(f, SM_RD);
}

/* One question a connection; its answer fits into the socket's buffer. */
static void on_tcp_question(struct sm_fd *f, unsigned events SM_UNUSED, void *arg SM_UNUSED)
{
	unsigned char q[2000];
	ssize_t n = recv(f->fd, q, sizeof(q), 0);
	struct sm_buf out, all;

	if (n <= 2) {
		sm_fd_drained(f, SM_RD);
		if (n != -1)
			sm_fd_close(f);
		return;
	}
	sm_buf_init(&out, 65535);
	sm_buf_init(&all, 65537);
	if (t_dnsd_answer(d.rows, sm_str_n(q + 2, (size_t)n - 2), true, &out)) {
		put16(&all, (unsigned)out.len);
		sm_buf_str(&all, sm_buf_view(&out));
	} else {
		sm_buf_char(&all, 0);
	}
	(void)send(f->fd, sm_buf_p(&all), all.len, MSG_NOSIGNAL);
	sm_buf_fini(&out);
	sm_buf_fini(&all);
	sm_fd_close(f);
}

static void on_tcp(struct sm_fd *f, unsigned events SM_UNUSED, void *arg SM_UNUSED)
{
	int fd;

	while ((fd = accept(f->fd, NULL, NULL)) >= 0) {
		struct sm_fd *c = &d.conns[d.next++ % SM_ARRAY_SIZE(d.conns)];

		sm_fd_close(c);
		sm_assert(sm_fd_open(c, fd, on_tcp_question, NULL) == 0);
	}
	sm_fd_drained(f, SM_RD);
}

/* A port that is free for both: the kernel gives one for UDP, which another's TCP may have. */
static bool bind_both(struct sm_sa *sa, int *udp, int *tcp)
{
	*udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	*tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sm_assert(setsockopt(*tcp, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0);
	sm_assert(sm_sa_ip(sa, SM_STR("127.0.0.1"), 0) == 0);
	sm_assert(bind(*udp, &sa->u.sa, sa->len) == 0 && sm_sa_local(sa, *udp) == 0);
	if (bind(*tcp, &sa->u.sa, sa->len) == 0 && listen(*tcp, 64) == 0)
		return true;
	close(*udp);
	close(*tcp);
	return false;
}

struct sm_sa t_dnsd_start(const struct t_dns_row *rows)
{
	struct sm_sa sa;
	int udp, tcp;

	memset(&d, 0, sizeof(d));
	d.rows = rows;
	for (size_t i = 0; i < SM_ARRAY_SIZE(d.conns); i++)
		d.conns[i].fd = -1;
	while (!bind_both(&sa, &udp, &tcp))
		continue;
	sm_assert(sm_fd_open(&d.udp, udp, on_udp, NULL) == 0 &&
	          sm_fd_open(&d.tcp, tcp, on_tcp, NULL) == 0);
	return sa;
}

void t_dnsd_stop(void)
{
	sm_fd_close(&d.udp);
	sm_fd_close(&d.tcp);
	for (size_t i = 0; i < SM_ARRAY_SIZE(d.conns); i++)
		sm_fd_close(&d.conns[i]);
}

unsigned t_dnsd_asked(void)
{
	return d.asked;
}
