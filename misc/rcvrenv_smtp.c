/*
 * A mail back into a queue, by SMTP. Invariant: only a 250 to the end of data counts, and only when
 * every recipient was accepted before; else the server has nothing of it.
 */
#include "misc/rcvrenv.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "libsm/err.h"

#define WAIT_S      600 /* RFC 5321 4.5.3.2.6: the end of data */
#define REPLY_LINE  1024
#define REPLY_LINES 100
#define PIECE_BYTES (64 * 1024)

struct rcv_smtp {
	FILE *in, *out;
	bool dsn, eight_bit, size, utf8, chunking, binary;
	char line[REPLY_LINE]; /* the last one of a reply */
};

static int connect_unix(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(un.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(un.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd != -1 && connect(fd, (struct sockaddr *)&un, sizeof(un)) == -1) {
		close(fd);
		return -1;
	}
	return fd;
}

static int connect_inet(const char *to)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char host[256];
	struct addrinfo *list;
	struct sm_str s = sm_str(to);
	ptrdiff_t colon = sm_str_rchr(s, ':');
	int fd = -1;

	if (colon < 1 || sm_str_copy(sm_str_head(s, (size_t)colon), host, sizeof(host)) != 0) {
		errno = EINVAL;
		return -1;
	}
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	if (getaddrinfo(host, to + colon + 1, &hints, &list) != 0) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	for (const struct addrinfo *a = list; a != NULL && fd == -1; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd != -1 && connect(fd, a->ai_addr, a->ai_addrlen) == -1) {
			int errnum = errno;
			close(fd);
			errno = errnum;
			fd = -1;
		}
	}
	freeaddrinfo(list);
	return fd;
}

static void learn(struct rcv_smtp *s, const char *word)
{
	s->dsn = s->dsn || strcasecmp(word, "DSN") == 0;
	s->eight_bit = s->eight_bit || strcasecmp(word, "8BITMIME") == 0;
	s->size = s->size || strncasecmp(word, "SIZE", 4) == 0;
	s->utf8 = s->utf8 || strcasecmp(word, "SMTPUTF8") == 0;
	s->chunking = s->chunking || strcasecmp(word, "CHUNKING") == 0;
	s->binary = s->binary || strcasecmp(word, "BINARYMIME") == 0;
}

/* Sends what has gathered and reads a reply: its code, or an error. */
static int reply(struct rcv_smtp *s)
{
	if (fflush(s->out) != 0)
		return sm_fail_sys(errno, "connection lost");
	for (int i = 0; i < REPLY_LINES; i++) {
		char *l = s->line;

		errno = 0;
		if (fgets(l, sizeof(s->line), s->in) == NULL)
			return errno == EAGAIN ? sm_fail(SM_E_TIMEOUT, "no answer in time")
			                       : sm_fail(SM_E_EOF, "connection lost");
		l[strcspn(l, "\r\n")] = '\0';
		if (!sm_isdigit(l[0]) || !sm_isdigit(l[1]) || !sm_isdigit(l[2]) ||
		    (l[3] != ' ' && l[3] != '-' && l[3] != '\0'))
			return sm_fail(SM_E_PROTO, "no SMTP reply: %.100s", l);
		if (l[3] != '\0')
			learn(s, l + 4);
		if (l[3] != '-')
			return (l[0] - '0') * 100 + (l[1] - '0') * 10 + (l[2] - '0');
	}
	return sm_fail(SM_E_PROTO, "reply of too many lines");
}

/* A reply of `want`'s class: 0. */
static int expect(struct rcv_smtp *s, int want, const char *what)
{
	int code = reply(s);

	if (code < 0)
		return code;
	return code / 100 == want / 100 ? 0 : sm_fail(SM_E_DENIED, "%s: %.200s", what, s->line);
}

static void release(struct rcv_smtp *s)
{
	(void)fclose(s->in);
	(void)fclose(s->out);
	sm_free(s);
}

int rcv_smtp_open(const char *to, struct rcv_smtp **out)
{
	const struct timeval wait = {.tv_sec = WAIT_S};
	struct rcv_smtp *s;
	int fd = strchr(to, '/') ? connect_unix(to) : connect_inet(to), rc;

	*out = NULL;
	if (fd == -1)
		return sm_fail_sys(errno, "%s", to);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	s = sm_calloc(1, sizeof(*s));
	s->in = fdopen(fd, "r");
	s->out = fdopen(dup(fd), "w");
	sm_assert(s->in != NULL && s->out != NULL);
	rc = expect(s, 220, "greeting");
	if (rc == 0) {
		fputs("EHLO localhost\r\n", s->out);
		rc = expect(s, 250, "EHLO");
	}
	if (rc != 0) {
		release(s); /* no QUIT: its answer would be the diag */
		return rc;
	}
	*out = s;
	return 0;
}

void rcv_smtp_close(struct rcv_smtp **sp)
{
	struct rcv_smtp *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	fputs("QUIT\r\n", s->out);
	(void)!reply(s);
	release(s);
}

static void put_notify(FILE *f, uint8_t notify)
{
	static const struct {
		uint8_t bit;
		const char *word;
	} words[] = {{SM_NOTIFY_NEVER, "NEVER"},
	             {SM_NOTIFY_SUCCESS, "SUCCESS"},
	             {SM_NOTIFY_FAILURE, "FAILURE"},
	             {SM_NOTIFY_DELAY, "DELAY"}};
	const char *sep = " NOTIFY=";

	for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++) {
		if (notify & words[i].bit) {
			fprintf(f, "%s%s", sep, words[i].word);
			sep = ",";
		}
	}
}

/* Was it declared, or do its addresses say so? */
static bool is_utf8(const struct rcv_mail *m)
{
	bool utf8 = m->utf8 != 0 || !sm_str_is_ascii(sm_str(m->sender));

	for (size_t i = 0; i < m->count; i++)
		utf8 = utf8 || (rcv_rcpt_open(m, &m->rcpts[i]) &&
		                !sm_str_is_ascii(sm_str(m->rcpts[i].addr)));
	return utf8;
}

/* Does the server take it? */
static int suits(const struct rcv_smtp *s, const struct rcv_mail *m)
{
	if (m->body == SM_BODY_BINARYMIME && !(s->chunking && s->binary))
		return sm_fail(SM_E_DENIED, "content is binary, the server has no BINARYMIME");
	if (is_utf8(m) && !s->utf8)
		return sm_fail(SM_E_DENIED, "mail is in UTF-8, the server has no SMTPUTF8");
	return 0;
}

static void put_mail(struct rcv_smtp *s, const struct rcv_mail *m)
{
	fprintf(s->out, "MAIL FROM:<%s>", m->sender);
	if (s->size && m->size > 0)
		fprintf(s->out, " SIZE=%llu", (unsigned long long)m->size);
	if (is_utf8(m))
		fputs(" SMTPUTF8", s->out);
	if (m->body == SM_BODY_BINARYMIME)
		fputs(" BODY=BINARYMIME", s->out);
	else if (s->eight_bit && m->body != SM_BODY_NONE)
		fprintf(s->out, " BODY=%s", m->body == SM_BODY_8BITMIME ? "8BITMIME" : "7BIT");
	if (s->dsn && m->ret != SM_RET_NONE)
		fprintf(s->out, " RET=%s", m->ret == SM_RET_FULL ? "FULL" : "HDRS");
	if (s->dsn && m->envid != NULL)
		fprintf(s->out, " ENVID=%s", m->envid);
	fputs("\r\n", s->out);
}

static void put_rcpt(struct rcv_smtp *s, const struct rcv_rcpt *p)
{
	fprintf(s->out, "RCPT TO:<%s>", p->addr);
	if (s->dsn)
		put_notify(s->out, p->notify);
	if (s->dsn && p->orcpt != NULL)
		fprintf(s->out, " ORCPT=%s", p->orcpt);
	fputs("\r\n", s->out);
}

/* All of its `size` bytes: dot-stuffed (RFC 5321 4.5.2), contents are CRLF lines; or, `raw`, as
 * they are. */
static int put_content(FILE *out, const struct rcv_mail *m, int fd, bool raw)
{
	char *piece = sm_malloc(PIECE_BYTES);
	uint64_t at = 0;
	bool bol = true;
	int rc = 0;

	while (at < m->size && rc == 0) {
		size_t want = (size_t)SM_MIN(m->size - at, (uint64_t)PIECE_BYTES);
		ssize_t n = pread(fd, piece, want, (off_t)(m->offset + at));

		if (n <= 0) {
			rc = n == 0 ? sm_fail(SM_E_CORRUPT, "content is shorter than its log says")
			            : sm_fail_sys(errno, "content");
			break;
		}
		for (ssize_t i = 0; i < n; i++) {
			if (bol && !raw && piece[i] == '.')
				putc('.', out);
			putc(piece[i], out);
			bol = piece[i] == '\n';
		}
		at += (size_t)n;
	}
	if (rc == 0 && !bol && !raw)
		fputs("\r\n", out);
	sm_free(piece);
	return rc;
}

int rcv_smtp_send(struct rcv_smtp *s, const struct rcv_mail *m, int fd)
{
	bool chunk = m->body == SM_BODY_BINARYMIME;
	int rc = suits(s, m);

	if (rc != 0)
		return rc;
	put_mail(s, m);
	rc = expect(s, 250, "MAIL");
	for (size_t i = 0; i < m->count && rc == 0; i++) {
		if (!rcv_rcpt_open(m, &m->rcpts[i]))
			continue;
		put_rcpt(s, &m->rcpts[i]);
		rc = expect(s, 250, m->rcpts[i].addr);
	}
	if (rc == 0 && !chunk) {
		fputs("DATA\r\n", s->out);
		rc = expect(s, 354, "DATA");
	}
	if (rc == SM_E_DENIED) {
		char why[SM_DIAG_MAX];

		sm_str_cut(sm_str(sm_diag()), why, sizeof(why));
		fputs("RSET\r\n", s->out);
		rc = expect(s, 250, "RSET");
		return rc != 0 ? rc : sm_fail(SM_E_DENIED, "%s", why);
	}
	if (rc != 0)
		return rc;
	if (chunk)
		fprintf(s->out, "BDAT %llu LAST\r\n", (unsigned long long)m->size);
	if ((rc = put_content(s->out, m, fd, chunk)) != 0)
		return rc; /* within data nothing can be taken back but by closing */
	if (!chunk)
		fputs(".\r\n", s->out);
	return expect(s, 250, "end of data");
}
