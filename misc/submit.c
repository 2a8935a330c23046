/*
 * The client's side of SMTP for programs of this host. Invariant: only a 250 to the end of data
 * counts; after an error that is no reply nothing more is said. One thread.
 */
#include "misc/submit.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/smtp_reply.h"

#define WAIT_S      600
#define REPLY_LINE  1024
#define REPLY_LINES 100
#define PIECE_BYTES (64 * 1024)
#define PIPELINED   100 /* commands; what is said to them fits into the socket's buffer */

struct sb {
	FILE *in, *out, *echo;
	bool dsn, eight_bit, size, utf8, chunking, binary, pipelining;
	bool over; /* no more may be said */
	bool raw;  /* the content of the mail that is under way goes by BDAT */
	uint64_t max_size;
	struct sm_reply_parser reply;
	char name[256];      /* who we are */
	struct sm_buf words; /* of EHLO, a line each */
};

/* ---- connecting ---- */

static int connect_unix(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(un.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(un.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd != -1 && connect(fd, (struct sockaddr *)&un, sizeof(un)) == -1) {
		int errnum = errno;
		close(fd);
		errno = errnum;
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

int sb_connect(const char *to)
{
	const struct timeval wait = {.tv_sec = WAIT_S};
	int fd = strchr(to, '/') ? connect_unix(to) : connect_inet(to);

	if (fd == -1)
		return sm_fail_sys(
		    errno, errno == ENOENT || errno == ECONNREFUSED ? "no server at %s" : "%s", to);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	return fd;
}

/* ---- words ---- */

SM_PRINTF(2, 3)
static void say(struct sb *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(s->out, fmt, ap);
	va_end(ap);
	if (s->echo != NULL) {
		va_start(ap, fmt);
		(void)vfprintf(s->echo, fmt, ap);
		va_end(ap);
	}
}

static void end_line(struct sb *s)
{
	fputs("\r\n", s->out);
	if (s->echo != NULL)
		fputc('\n', s->echo);
}

static void begin_line(struct sb *s)
{
	if (s->echo != NULL)
		fputs(">>> ", s->echo);
}

static void command(struct sb *s, const char *line)
{
	begin_line(s);
	say(s, "%s", line);
	end_line(s);
}

static void learn(struct sb *s, struct sm_str line)
{
	struct sm_str word = sm_str_word(&line), arg = sm_str_word(&line);

	if (sm_str_caseeq(word, SM_STR("SIZE"))) {
		s->size = true;
		if (sm_str_u64(arg, 10, UINT64_MAX, &s->max_size) != 0)
			s->max_size = 0;
	}
	s->dsn = s->dsn || sm_str_caseeq(word, SM_STR("DSN"));
	s->eight_bit = s->eight_bit || sm_str_caseeq(word, SM_STR("8BITMIME"));
	s->utf8 = s->utf8 || sm_str_caseeq(word, SM_STR("SMTPUTF8"));
	s->chunking = s->chunking || sm_str_caseeq(word, SM_STR("CHUNKING"));
	s->binary = s->binary || sm_str_caseeq(word, SM_STR("BINARYMIME"));
	s->pipelining = s->pipelining || sm_str_caseeq(word, SM_STR("PIPELINING"));
}

static void learn_all(struct sb *s)
{
	struct sm_str rest = sm_buf_view(&s->reply.text);

	sm_buf_reset(&s->words);
	sm_buf_str(&s->words, rest);
	(void)sm_str_split(rest, '\n', &rest); /* the first line greets */
	while (rest.p != NULL)
		learn(s, sm_str_split(rest, '\n', &rest));
}

static int lost(struct sb *s, int err)
{
	s->over = true;
	return err;
}

static int read_line(struct sb *s, char line[REPLY_LINE])
{
	errno = 0;
	if (fgets(line, REPLY_LINE, s->in) == NULL)
		return lost(s, errno == EAGAIN ? sm_fail(SM_E_TIMEOUT, "no answer in time")
		                               : sm_fail(SM_E_EOF, "connection lost"));
	line[strcspn(line, "\r\n")] = '\0';
	if (s->echo != NULL)
		fprintf(s->echo, "%s\n", line);
	return 0;
}

/* Reads a reply: its code, or an error. */
static int read_reply(struct sb *s)
{
	char line[REPLY_LINE];
	int rc;

	sm_reply_parser_reset(&s->reply);
	do {
		rc = read_line(s, line);
		if (rc != 0)
			return rc;
		rc = sm_reply_parser_feed(&s->reply, sm_str(line));
	} while (rc == 0);
	if (rc < 0)
		return lost(s, sm_fail_in(rc, "no SMTP reply: %.100s", line));
	return s->reply.code;
}

static int flush(struct sb *s)
{
	if (fflush(s->out) == 0 && !ferror(s->out))
		return 0;
	/* What made it close may have been said before. */
	if (errno == EPIPE && read_reply(s) > 0)
		return lost(s, sm_fail(SM_E_EOF, "connection lost: %s", sb_text(s)));
	return lost(s, sm_fail_sys(errno, "connection lost"));
}

static int judge(const struct sb *s, int code, int want, const char *what)
{
	if (code < 0 || code / 100 == want / 100)
		return code < 0 ? code : 0;
	return sm_fail(SM_E_DENIED, "%s: %d %.200s", what, code, sb_text(s));
}

/* A reply of `want`'s class: 0. */
static int expect(struct sb *s, int want, const char *what)
{
	int rc = flush(s);

	return rc != 0 ? rc : judge(s, read_reply(s), want, what);
}

/* ---- the session ---- */

static int hello(struct sb *s)
{
	char line[sizeof("EHLO ") + sizeof(s->name)];
	int rc;

	(void)snprintf(line, sizeof(line), "EHLO %s", s->name);
	s->dsn = s->eight_bit = s->size = s->utf8 = s->chunking = s->binary = s->pipelining = false;
	rc = sb_command(s, line, 250);
	if (rc == 0)
		learn_all(s);
	return rc;
}

int sb_open(const char *to, FILE *echo, struct sb **out)
{
	return sb_open_as(to, "localhost", echo, out);
}

int sb_open_as(const char *to, const char *name, FILE *echo, struct sb **out)
{
	struct sb *s;
	int fd = sb_connect(to), rc;

	*out = NULL;
	if (fd < 0)
		return fd;
	s = sm_calloc(1, sizeof(*s));
	sm_reply_parser_init(&s->reply, REPLY_LINES);
	sm_buf_init(&s->words, REPLY_LINE * REPLY_LINES);
	sm_str_cut(sm_str(name), s->name, sizeof(s->name));
	s->echo = echo;
	s->in = fdopen(fd, "r");
	s->out = fdopen(dup(fd), "w");
	sm_assert(s->in != NULL && s->out != NULL);
	rc = expect(s, 220, "greeting");
	if (rc == 0)
		rc = hello(s);
	if (rc != 0 && rc != SM_E_DENIED) {
		int err = rc;
		char why[SM_DIAG_MAX];

		sm_str_cut(sm_str(sm_diag()), why, sizeof(why));
		sb_close(&s);
		return sm_fail(err, "%s", why);
	}
	s->over = s->over || rc != 0; /* who greets with a no is not asked for more */
	*out = s;
	return rc;
}

int sb_command(struct sb *s, const char *line, int want)
{
	char verb[20];
	struct sm_str rest = sm_str(line);

	sm_str_cut(sm_str_word(&rest), verb, sizeof(verb));
	command(s, line);
	return expect(s, want, verb);
}

bool sb_offers(const struct sb *s, struct sm_str keyword)
{
	struct sm_str rest =
	    sm_str_n(sm_buf_c((struct sm_buf *)(uintptr_t)&s->words), s->words.len);

	(void)sm_str_split(rest, '\n', &rest); /* the first line greets */
	while (rest.p != NULL) {
		struct sm_str line = sm_str_split(rest, '\n', &rest);

		if (sm_str_caseeq(sm_str_word(&line), keyword))
			return true;
	}
	return false;
}

int sb_fd(const struct sb *s)
{
	return fileno(s->in);
}

void sb_give_up(struct sb *s)
{
	s->over = true;
}

int sb_begin_again(struct sb *s, FILE *in, FILE *out)
{
	/* With whatever was read ahead in clear (RFC 3207 4.2). */
	(void)fclose(s->in);
	(void)fclose(s->out);
	s->in = in;
	s->out = out;
	return hello(s);
}

void sb_close(struct sb **sp)
{
	struct sb *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	if (!s->over) {
		command(s, "QUIT");
		(void)expect(s, 221, "QUIT");
	}
	(void)fclose(s->in);
	(void)fclose(s->out);
	sm_reply_parser_fini(&s->reply);
	sm_buf_fini(&s->words);
	sm_free(s);
}

uint64_t sb_max_size(const struct sb *s)
{
	return s->max_size;
}

int sb_code(const struct sb *s)
{
	return s->reply.code;
}

const char *sb_text(const struct sb *s)
{
	struct sm_buf *text = (struct sm_buf *)(uintptr_t)&s->reply.text;

	for (size_t i = 0; i < text->len; i++)
		if (sm_buf_p(text)[i] == '\n')
			sm_buf_p(text)[i] = ' ';
	return text->len > 0 ? sm_buf_c(text) : "";
}

/* ---- the mail ---- */

static void put_mail(struct sb *s, const struct sb_mail *m)
{
	begin_line(s);
	say(s, "MAIL FROM:<%s>", m->sender);
	if (s->size && m->size > 0)
		say(s, " SIZE=%llu", (unsigned long long)m->size);
	if (m->utf8)
		say(s, " SMTPUTF8");
	if (m->body == SM_BODY_BINARYMIME)
		say(s, " BODY=BINARYMIME");
	else if (s->eight_bit && m->body != SM_BODY_NONE)
		say(s, " BODY=%s", m->body == SM_BODY_8BITMIME ? "8BITMIME" : "7BIT");
	if (s->dsn && m->ret != SM_RET_NONE)
		say(s, " RET=%s", m->ret == SM_RET_FULL ? "FULL" : "HDRS");
	if (s->dsn && m->envid != NULL)
		say(s, " ENVID=%s", m->envid);
	end_line(s);
}

static void put_notify(struct sb *s, uint8_t notify)
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
			say(s, "%s%s", sep, words[i].word);
			sep = ",";
		}
	}
}

static void put_rcpt(struct sb *s, const struct sb_rcpt *r)
{
	begin_line(s);
	say(s, "RCPT TO:<%s>", r->addr);
	if (s->dsn)
		put_notify(s, r->notify);
	if (s->dsn && r->orcpt != NULL)
		say(s, " ORCPT=%s", r->orcpt);
	end_line(s);
}

/* Does the server take it? */
static int suits(const struct sb *s, const struct sb_mail *m)
{
	if (m->body == SM_BODY_BINARYMIME && !(s->chunking && s->binary))
		return sm_fail(SM_E_NOTSUP, "content is binary, the server has no BINARYMIME");
	if (m->utf8 && !s->utf8)
		return sm_fail(SM_E_NOTSUP, "mail is in UTF-8, the server has no SMTPUTF8");
	return 0;
}

static int put_rcpts(struct sb *s, struct sb_rcpt *rcpts, size_t n)
{
	size_t step = s->pipelining ? PIPELINED : 1;

	for (size_t at = 0; at < n; at += step) {
		size_t end = SM_MIN(at + step, n);
		int rc;

		for (size_t i = at; i < end; i++)
			put_rcpt(s, &rcpts[i]);
		if ((rc = flush(s)) != 0)
			return rc;
		for (size_t i = at; i < end; i++) {
			if ((rc = read_reply(s)) < 0)
				return rc;
			sm_free(rcpts[i].text);
			rcpts[i].code = rc;
			rcpts[i].text = sm_strdup(sb_text(s));
		}
	}
	return 0;
}

int sb_envelope(struct sb *s, const struct sb_mail *m, struct sb_rcpt *rcpts, size_t n)
{
	int rc = suits(s, m);

	if (rc != 0)
		return rc;
	s->raw = m->body == SM_BODY_BINARYMIME;
	put_mail(s, m);
	rc = expect(s, 250, "MAIL");
	return rc != 0 ? rc : put_rcpts(s, rcpts, n);
}

/* Dot-stuffed (RFC 5321 4.5.2), unless it is `raw`. */
static int put_content(struct sb *s, int fd, uint64_t offset, uint64_t size)
{
	char *piece = sm_malloc(PIECE_BYTES);
	uint64_t at = 0;
	bool bol = true;
	int rc = 0;

	while (at < size && rc == 0 && !ferror(s->out)) {
		size_t want = (size_t)SM_MIN(size - at, (uint64_t)PIECE_BYTES);
		ssize_t n = pread(fd, piece, want, (off_t)(offset + at));
		const char *p = piece, *end = piece + n;

		if (n <= 0) {
			rc = n == 0 ? sm_fail(SM_E_CORRUPT, "content is shorter than it was")
			            : sm_fail_sys(errno, "content");
			break;
		}
		while (p < end) {
			const char *lf = s->raw ? NULL : memchr(p, '\n', (size_t)(end - p));
			const char *next = lf != NULL ? lf + 1 : end;

			if (bol && !s->raw && *p == '.')
				putc('.', s->out);
			(void)fwrite(p, 1, (size_t)(next - p), s->out);
			bol = lf != NULL;
			p = next;
		}
		at += (size_t)n;
	}
	if (rc == 0 && !bol && !s->raw)
		fputs("\r\n", s->out);
	sm_free(piece);
	/* Within data nothing can be taken back but by closing. */
	return rc != 0 ? lost(s, rc) : 0;
}

int sb_content(struct sb *s, int fd, uint64_t offset, uint64_t size)
{
	char bdat[60];
	int rc = 0;

	if (s->raw) {
		(void)snprintf(bdat, sizeof(bdat), "BDAT %llu LAST", (unsigned long long)size);
		command(s, bdat);
	} else {
		command(s, "DATA");
		rc = expect(s, 354, "DATA");
	}
	if (rc == 0)
		rc = put_content(s, fd, offset, size);
	if (rc != 0)
		return rc;
	if (!s->raw)
		command(s, ".");
	return expect(s, 250, "end of data");
}

int sb_reset(struct sb *s)
{
	command(s, "RSET");
	return expect(s, 250, "RSET");
}
