/*
 * Standard input becomes the content. Invariants: what goes out has CRLF and nothing else for line
 * ends; how the input came in pieces changes nothing; memory is bounded by the limits of header and
 * message. One thread.
 *
 * Input may have any kind of line end. LF ends a line, and CRs in front of it belong to it. A CR by
 * itself ends a line of the body, as in what programs write over and over into one line; in a
 * header it is a blank, because what made the header took it for a part of a value. So is a NUL
 * there.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/rand.h"
#include "libsm/time.h"
#include "misc/sendmail.h"
#include "smtps/complete.h"

enum {
	HEADER_MAX = 1024 * 1024,
	PIECE = 64 * 1024,
	OUT_SOFT = 48 * 1024,
	LINE_MAX_HELD = 2,
	DRAIN_MAX_MB = 1024,
};

struct text {
	struct sl_mail *m;
	struct ss_complete complete;
	struct sm_buf header, out; /* out: of the body, not yet passed on */
	size_t line_at;            /* in the header: where the line begins that is under way */
	bool in_header, bol, dot, over;
	unsigned crs; /* CRs that wait for what follows them */
	char unique[40];
};

/* ---- into the file ---- */

static int store(void *arg, const void *p, size_t n)
{
	struct sl_mail *m = arg;
	const char *at = p;

	m->eight_bit = m->eight_bit || !sm_str_is_ascii(sm_str_n(p, n)) || memchr(p, 0, n) != NULL;
	if (m->size + n > (uint64_t)m->conf->max_message_bytes)
		return sm_fail(SM_E_TOOBIG, "the message is larger than %lld bytes",
		               (long long)m->conf->max_message_bytes);
	m->size += n;
	while (n > 0) {
		ssize_t done = write(m->fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return sm_fail_sys(errno, "memory for the message");
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

/* ---- the header ---- */

static int add_rcpt(void *arg, struct sm_str spec)
{
	return sl_rcpt_add(arg, spec);
}

/* All of it is there. */
static int end_header(struct text *t)
{
	struct sl_mail *m = t->m;
	struct sm_str sender =
	    sm_str_empty(m->sender)
		? sm_arena_printf(&m->arena, "MAILER-DAEMON@" SM_STR_FMT, SM_STR_ARG(m->domain))
		: m->sender;
	struct sl_head h = {.wants_rcpts = m->opts->from_header,
	                    .domain = m->domain,
	                    .from = sm_arena_printf(&m->arena, SM_STR_FMT "%s<" SM_STR_FMT ">",
	                                            SM_STR_ARG(m->phrase),
	                                            m->phrase.n > 0 ? " " : "", SM_STR_ARG(sender)),
	                    .wall_s = sm_wall_s(),
	                    .rcpt = add_rcpt,
	                    .arg = m};
	struct sm_buf out;
	int rc;

	/* Each address may get a domain. */
	sm_buf_init(&out, 200 * (size_t)HEADER_MAX);
	h.out = &out;
	t->in_header = false;
	rc = sl_head(&h, sm_buf_view(&t->header));
	if (rc == 0)
		rc = ss_complete_feed(&t->complete, sm_buf_p(&out), out.len);
	sm_buf_fini(&out);
	sm_buf_fini(&t->header);
	return rc;
}

static int pass_on(struct text *t)
{
	int rc = ss_complete_feed(&t->complete, sm_buf_p(&t->out), t->out.len);

	sm_buf_reset(&t->out);
	return rc;
}

/* The header ends before this line, which is whole or not. */
static int line_is_text(struct text *t)
{
	struct sm_str all = sm_buf_view(&t->header);

	sm_buf_str(&t->out, sm_str_from(all, t->line_at));
	sm_buf_truncate(&t->header, t->line_at);
	int rc = end_header(t);
	return rc != 0 ? rc : pass_on(t);
}

/* A line is whole, without its end. */
static int header_line(struct text *t)
{
	struct sm_str line = sm_str_from(sm_buf_view(&t->header), t->line_at);
	bool folded = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t') && t->line_at > 0;

	if (t->line_at == 0 && sm_str_has_prefix(line, SM_STR("From "))) {
		sm_buf_reset(&t->header); /* of a mailbox, and none of the message */
		return 0;
	}
	if (line.n == 0 || (!folded && !sl_is_field(line))) {
		if (line.n > 0)
			sm_buf_cstr(&t->header, "\r\n");
		else
			sm_buf_cstr(&t->out, "\r\n");
		return line_is_text(t);
	}
	sm_buf_cstr(&t->header, "\r\n");
	t->line_at = t->header.len;
	return 0;
}

static int header_bytes(struct text *t, const char *p, size_t n)
{
	if (t->header.len + n + LINE_MAX_HELD > HEADER_MAX) {
		struct sm_str line = sm_str_from(sm_buf_view(&t->header), t->line_at);
		bool folded = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t');
		int rc;

		if (line.n == 0 || folded || sl_is_field(line))
			return sm_fail(SM_E_TOOBIG, "the header is larger than %d bytes",
			               HEADER_MAX);
		rc = line_is_text(t);
		if (rc == 0)
			sm_buf_append(&t->out, p, n);
		return rc;
	}
	for (size_t i = 0; i < n; i++)
		sm_buf_char(&t->header, p[i] != '\0' ? p[i] : ' ');
	return 0;
}

/* ---- lines ---- */

static int put(struct text *t, const char *p, size_t n)
{
	if (t->in_header)
		return header_bytes(t, p, n);
	sm_buf_append(&t->out, p, n);
	return t->out.len > OUT_SOFT ? pass_on(t) : 0;
}

static int put_line_end(struct text *t)
{
	return t->in_header ? header_line(t) : put(t, "\r\n", 2);
}

/* CRs that no LF followed. */
static int put_crs(struct text *t)
{
	int rc = 0;

	for (; t->crs > 0 && rc == 0; t->crs--)
		rc = t->in_header ? put(t, " ", 1) : put(t, "\r\n", 2);
	return rc;
}

/* What is held was no end: a dot, CRs. */
static int put_held(struct text *t)
{
	int rc = t->dot ? put(t, ".", 1) : 0;

	t->dot = false;
	return rc != 0 ? rc : put_crs(t);
}

/* Up to the next CR or LF. */
static size_t plain(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && p[i] != '\n' && p[i] != '\r')
		i++;
	return i;
}

static int feed(struct text *t, const char *p, size_t n)
{
	int rc = 0;

	while (rc == 0 && n > 0 && !t->over) {
		size_t part = 1;

		if (*p == '\n' && t->dot) {
			t->over = true;
		} else if (*p == '\n') {
			t->crs = 0;
			t->bol = true;
			rc = put_line_end(t);
		} else if (*p == '\r') {
			t->crs++;
			if (t->crs > PIECE) /* so many never end a line */
				rc = put_held(t);
		} else if (t->bol && *p == '.' && !t->m->opts->ignore_dots && t->crs == 0) {
			t->dot = true;
			t->bol = false;
		} else {
			rc = put_held(t);
			t->bol = false;
			part = plain(p, n);
			if (rc == 0)
				rc = put(t, p, part);
		}
		p += part;
		n -= part;
	}
	return rc;
}

/* There is no more. */
static int end(struct text *t)
{
	bool whole = t->bol && t->crs == 0;
	int rc = 0;

	if (t->dot)
		t->over = true; /* a dot that lacks its line end, but is the last line */
	t->crs = 0;
	if (!t->over && !whole)
		rc = put_line_end(t);
	if (rc == 0 && t->in_header)
		rc = end_header(t);
	if (rc == 0)
		rc = pass_on(t);
	return rc != 0 ? rc : ss_complete_end(&t->complete);
}

/* ---- all of it ---- */

/* Who writes to us shall hear why, and not die of it. */
static void drain(int in)
{
	char piece[4096];
	int64_t left = (int64_t)DRAIN_MAX_MB * 1024 * 1024;
	ssize_t n;

	while (left > 0 && (n = read(in, piece, sizeof(piece))) > 0)
		left -= n;
}

static int read_all(struct text *t, int in)
{
	char *piece = sm_malloc(PIECE);
	int rc = 0;

	while (rc == 0 && !t->over) {
		ssize_t n = read(in, piece, PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			break;
		if (n < 0)
			rc = sm_fail(SM_E_IO, "standard input: %s", strerror(errno));
		else
			rc = feed(t, piece, (size_t)n);
	}
	sm_free(piece);
	return rc;
}

/* Time, process and chance: a second mail of this process is none. */
static void make_unique(struct text *t)
{
	uint32_t chance;

	sm_rand_secret(&chance, sizeof(chance));
	(void)snprintf(t->unique, sizeof(t->unique), "%llx.%x.%08x",
	               (unsigned long long)sm_wall_ms(), (unsigned)getpid(), (unsigned)chance);
}

int sl_text_read(struct sl_mail *m, int in)
{
	struct text t = {.m = m, .in_header = true, .bol = true};
	struct ss_complete_by by = {.hostname = m->hostname,
	                            .sender = m->sender,
	                            .phrase = m->phrase,
	                            .wall_s = sm_wall_s(),
	                            .put = store,
	                            .arg = m};
	int rc;

	m->fd = memfd_create("message", MFD_CLOEXEC);
	if (m->fd == -1)
		return sm_fail_sys(errno, "memory for the message");
	make_unique(&t);
	by.unique = sm_str(t.unique);
	ss_complete_init(&t.complete, &by);
	sm_buf_init(&t.header, HEADER_MAX);
	sm_buf_init(&t.out, 4 * (size_t)HEADER_MAX);
	rc = read_all(&t, in);
	if (rc == 0)
		rc = end(&t);
	if (rc != 0 && rc != SM_E_IO) {
		char why[SM_DIAG_MAX];

		sm_str_cut(sm_str(sm_diag()), why, sizeof(why));
		drain(in);
		(void)sm_fail(rc, "%s", why);
	}
	sm_buf_fini(&t.header);
	sm_buf_fini(&t.out);
	return rc;
}
