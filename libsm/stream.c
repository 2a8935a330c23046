/*
 * Buffered SMTP streams: lines in, replies and content out. Where data ends is decided in
 * unstuff.c.
 *
 * Invariant: what is read goes through one scratch buffer of the thread, so that an idle stream
 * holds next to no memory: both buffers are trimmed before it waits for its peer. Coroutines of the
 * loop's thread only.
 */
#include "libsm/stream.h"

enum {
	SCRATCH_BYTES = 16 * 1024,
	OUT_RESERVE = 8, /* what sm_stream_put_data_end may add without a flush */
};

/* sm_net_read fills it and returns without yielding again: its content is good until the next call
 * that may yield. */
static _Thread_local char scratch[SCRATCH_BYTES];

void sm_stream_init(struct sm_stream *s, struct sm_net *net, size_t in_max, size_t out_max)
{
	*s = (struct sm_stream){.net = net, .eod = SM_EOD_DONE, .out_bol = true};
	sm_buf_init(&s->in, in_max);
	sm_buf_init(&s->out, out_max);
}

void sm_stream_fini(struct sm_stream *s)
{
	sm_buf_fini(&s->in);
	sm_buf_fini(&s->out);
}

/* ---- lines ---- */

/* The LF of the first CRLF in s->in at or behind `from`, or NULL. */
static const char *find_crlf(const struct sm_stream *s, size_t from)
{
	struct sm_str in = sm_buf_view(&s->in);

	for (size_t i = from; i < in.n;) {
		const char *lf = memchr(in.p + i, '\n', in.n - i);
		if (lf == NULL)
			return NULL;
		if (lf > in.p && lf[-1] == '\r')
			return lf;
		i = (size_t)(lf - in.p) + 1;
	}
	return NULL;
}

/* Send what waits, then wait for more input and append it to s->in. */
static int fill(struct sm_stream *s, int64_t deadline_ms)
{
	size_t room = s->in.max - s->in.len;
	ssize_t n;
	int err = sm_stream_flush(s, deadline_ms);

	if (err != 0)
		return err;
	sm_buf_trim(&s->in);
	n = sm_net_read(s->net, scratch, SM_MIN(room, sizeof(scratch)), deadline_ms);
	if (n < 0)
		return (int)n;
	sm_buf_append(&s->in, scratch, (size_t)n);
	if (s->in.wipe)
		explicit_bzero(scratch, (size_t)n);
	return 0;
}

static bool is_clean(struct sm_str s)
{
	return !sm_str_has_control(s) ||
	       (memchr(s.p, '\n', s.n) == NULL && memchr(s.p, '\r', s.n) == NULL &&
	        memchr(s.p, '\0', s.n) == NULL);
}

int sm_stream_line(struct sm_stream *s, struct sm_str *line, size_t max, int64_t deadline_ms)
{
	size_t seen = 0;

	sm_assert(s->in.max >= max + 2);
	for (;;) {
		const char *lf = find_crlf(s, seen);
		struct sm_str in = sm_buf_view(&s->in);

		if (lf != NULL) {
			*line = sm_str_n(in.p, (size_t)(lf - in.p) - 1);
			if (line->n > max)
				return sm_fail(SM_E_TOOBIG, "line longer than %zu", max);
			sm_buf_consume(&s->in, line->n + 2);
			if (!is_clean(*line))
				return sm_fail(SM_E_SYNTAX, "bare CR, bare LF or NUL in line");
			return 0;
		}
		if (in.n >= max + 2)
			return sm_fail(SM_E_TOOBIG, "line longer than %zu", max);
		seen = in.n;
		int err = fill(s, deadline_ms);
		if (err != 0)
			return err;
	}
}

int sm_stream_skip_line(struct sm_stream *s, size_t budget, int64_t deadline_ms)
{
	for (;;) {
		const char *lf = find_crlf(s, 0);
		struct sm_str in = sm_buf_view(&s->in);
		/* A CR at the end may be the first half of the CRLF. */
		size_t drop = lf != NULL                           ? (size_t)(lf - in.p) + 1
		              : in.n > 0 && in.p[in.n - 1] == '\r' ? in.n - 1
		                                                   : in.n;

		if (drop > budget)
			return sm_fail(SM_E_TOOBIG, "line without end");
		budget -= drop;
		sm_buf_consume(&s->in, drop);
		if (lf != NULL)
			return 0;
		int err = fill(s, deadline_ms);
		if (err != 0)
			return err;
	}
}

bool sm_stream_has_input(const struct sm_stream *s)
{
	return s->in.len > 0;
}

bool sm_stream_has_line(const struct sm_stream *s)
{
	return find_crlf(s, 0) != NULL;
}

bool sm_stream_peek_line(const struct sm_stream *s, size_t *at, struct sm_str *line)
{
	const char *lf = find_crlf(s, *at), *start = sm_buf_view(&s->in).p + *at;

	if (lf == NULL)
		return false;
	*line = sm_str_n(start, (size_t)(lf - start) - 1);
	*at += line->n + 2;
	return true;
}

int sm_stream_wait(struct sm_stream *s, char *c, int64_t deadline_ms)
{
	int err = s->in.len > 0 ? 0 : fill(s, deadline_ms);

	if (err == 0)
		*c = *sm_buf_p(&s->in);
	return err;
}

void sm_stream_drop_input(struct sm_stream *s)
{
	sm_buf_reset(&s->in);
}

/* ---- data in ---- */

void sm_stream_data_begin(struct sm_stream *s)
{
	s->eod = SM_EOD_BOL;
	s->bare_cr = s->bare_lf = false;
	s->data_in_bytes = 0;
}

ssize_t sm_stream_data(struct sm_stream *s, char *p, size_t size, int64_t deadline_ms)
{
	size_t used, written = 0;

	sm_assert(size >= 2);
	while (s->eod != SM_EOD_DONE) {
		/* One byte is left free in front: a CR that was held back may come out (see
		 * sm_unstuff). */
		if (s->in.len > 0) {
			struct sm_str in = sm_str_head(sm_buf_view(&s->in), size - 1);
			sm_unstuff(&s->eod, &s->bare_cr, &s->bare_lf, in.p, in.n, &used, p,
			           &written);
			sm_buf_consume(&s->in, used);
		} else {
			ssize_t n;
			int err = sm_stream_flush(s, deadline_ms);
			if (err != 0)
				return err;
			sm_buf_trim(&s->in);
			/* Straight into the caller's memory; what follows the end goes to s->in. */
			n = sm_net_read(s->net, p + 1, SM_MIN(size - 1, s->in.max), deadline_ms);
			if (n < 0)
				return n;
			sm_unstuff(&s->eod, &s->bare_cr, &s->bare_lf, p + 1, (size_t)n, &used, p,
			           &written);
			sm_buf_append(&s->in, p + 1 + used, (size_t)n - used);
		}
		if (written > 0) {
			s->data_in_bytes += written;
			return (ssize_t)written;
		}
	}
	return 0;
}

ssize_t sm_stream_raw(struct sm_stream *s, char *p, size_t size, int64_t deadline_ms)
{
	size_t n = SM_MIN(size, s->in.len);
	int err;

	sm_assert(size > 0);
	if (n > 0) {
		memcpy(p, sm_buf_p(&s->in), n);
		sm_buf_consume(&s->in, n);
		return (ssize_t)n;
	}
	err = sm_stream_flush(s, deadline_ms);
	if (err != 0)
		return err;
	sm_buf_trim(&s->in);
	return sm_net_read(s->net, p, size, deadline_ms);
}

/* ---- out ---- */

void sm_stream_printf(struct sm_stream *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sm_buf_vprintf(&s->out, fmt, ap);
	va_end(ap);
}

void sm_stream_puts(struct sm_stream *s, struct sm_str text)
{
	sm_buf_str(&s->out, text);
}

int sm_stream_flush(struct sm_stream *s, int64_t deadline_ms)
{
	int err = sm_buf_err(&s->out);

	if (err != 0)
		return sm_fail(err, "output larger than its buffer");
	if (s->out.len == 0)
		return 0;
	if (s->on_out != NULL)
		s->on_out(s->on_out_arg, sm_buf_view(&s->out));
	err = sm_net_write(s->net, sm_buf_p(&s->out), s->out.len, deadline_ms);
	if (s->secret)
		sm_buf_wipe(&s->out);
	sm_buf_reset(&s->out);
	sm_buf_trim(&s->out);
	return err;
}

void sm_stream_put_data_begin(struct sm_stream *s)
{
	s->out_bol = true;
	s->out_cr = false;
}

/* Append to the output, sending when it is full. */
static int put(struct sm_stream *s, const char *p, size_t n, int64_t deadline_ms)
{
	while (n > 0) {
		size_t full = s->out.max - OUT_RESERVE, part;

		if (s->out.len >= full) {
			int err = sm_stream_flush(s, deadline_ms);
			if (err != 0)
				return err;
		}
		part = SM_MIN(n, full - s->out.len);
		/* The end needs no larger memory, and no copy into that. */
		(void)sm_buf_reserve(&s->out, part + OUT_RESERVE);
		sm_buf_append(&s->out, p, part);
		p += part;
		n -= part;
	}
	return 0;
}

int sm_stream_put_raw(struct sm_stream *s, const char *p, size_t n, int64_t deadline_ms)
{
	return put(s, p, n, deadline_ms);
}

/*
 * Lines that end with CRLF and begin with no dot go out as they are, a run of them at once.
 * Whatever else ends a line becomes CRLF. A CR at the very end is remembered in out_cr, because the
 * LF may come with the next call.
 */
int sm_stream_put_data(struct sm_stream *s, const char *p, size_t n, int64_t deadline_ms)
{
	const char *end = p + n, *run = p; /* up to p all is to go out, as it is */
	int err = 0;

	if (n > 0 && s->out_cr) {
		s->out_cr = false;
		s->out_bol = true;
		p += *p == '\n';
		run = p;
		err = put(s, "\r\n", 2, deadline_ms);
	}
	while (err == 0 && p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p)), *stop = lf != NULL ? lf : end;
		const char *cr = memchr(p, '\r', (size_t)(stop - p));

		if (s->out_bol && *p == '.') {
			err = put(s, run, (size_t)(p - run), deadline_ms);
			if (err == 0)
				err = put(s, ".", 1, deadline_ms);
			run = p;
		}
		if (cr != NULL && cr + 1 == lf) {
			s->out_bol = true;
			p = lf + 1;
			continue;
		}
		if (cr != NULL)
			stop = cr;
		s->out_bol = s->out_bol && stop == p;
		p = stop;
		if (err != 0 || p == end)
			break;
		err = put(s, run, (size_t)(p - run), deadline_ms);
		run = ++p;
		s->out_cr = cr != NULL && p == end;
		if (err == 0 && !s->out_cr) {
			s->out_bol = true;
			err = put(s, "\r\n", 2, deadline_ms);
		}
	}
	return err == 0 ? put(s, run, (size_t)(p - run), deadline_ms) : err;
}

void sm_stream_put_data_end(struct sm_stream *s)
{
	if (s->out_cr || !s->out_bol)
		sm_buf_append(&s->out, "\r\n", 2);
	sm_buf_append(&s->out, ".\r\n", 3);
	sm_stream_put_data_begin(s);
}
