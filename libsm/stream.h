/*
 * Buffered SMTP streams over a socket: lines with a limit, exact CRLF, dot-stuffing both ways (RFC
 * 5321 4.5.2).
 *
 * Input: only CRLF ends a line and only CRLF.CRLF ends data; a bare CR or LF never does. Output
 * gathers until sm_stream_flush; reading flushes first when nothing is buffered, so that a
 * pipelined batch of replies goes out as one write. A transport (the socket now, TLS on it later)
 * is behind read/write of struct sm_net; the stream does not care.
 */
#ifndef SM_STREAM_H
#define SM_STREAM_H

#include "libsm/buf.h"
#include "libsm/net.h"

enum sm_eod_state { SM_EOD_BOL, SM_EOD_TEXT, SM_EOD_CR, SM_EOD_DOT, SM_EOD_DOTCR, SM_EOD_DONE };

struct sm_stream {
	struct sm_net *net;
	struct sm_buf in, out;
	enum sm_eod_state eod; /* of the data being read */
	bool bare_cr, bare_lf; /* seen in the data being read */
	bool out_bol;          /* data being written: at the beginning of a line */
	bool out_cr;           /* data being written: a CR is held back, the LF may follow */
	/* The owner's: is told what is about to leave; NULL: nobody is. Does not yield. */
	void (*on_out)(void *arg, struct sm_str out);
	void *on_out_arg;
	bool secret;            /* the owner's: output is overwritten when it has left */
	uint64_t data_in_bytes; /* of this data, after un-stuffing */
};

/* `in_max`: longest line or piece that is buffered (bytes). The net stays the caller's. */
void sm_stream_init(struct sm_stream *s, struct sm_net *net, size_t in_max, size_t out_max);
void sm_stream_fini(struct sm_stream *s);

/*
 * Next line up to `max` bytes without its CRLF: 0 and *line (valid until the next read).
 * SM_E_TOOBIG: longer (the rest is still there: sm_stream_skip_line). SM_E_SYNTAX: it holds a bare
 * CR, a bare LF or a NUL; it is consumed up to its CRLF, *line shows it. Else as sm_net_read. A
 * lone LF at the end of a line is not an end of line.
 */
int sm_stream_line(struct sm_stream *s, struct sm_str *line, size_t max,
                   int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* Drop the rest of an over-long line; at most `budget` bytes, else SM_E_TOOBIG. */
int sm_stream_skip_line(struct sm_stream *s, size_t budget,
                        int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
bool sm_stream_has_input(const struct sm_stream *s); /* buffered, unread */
bool sm_stream_has_line(const struct sm_stream *s);  /* a whole line is buffered */
/* Look at buffered lines without taking them: *at is 0 at first and moves on. False: no further
 * whole line. They are not checked for CR, LF, NUL. */
bool sm_stream_peek_line(const struct sm_stream *s, size_t *at, struct sm_str *line);
/* Wait until something is buffered: 0 and the first byte in *c, or an error as sm_net_read. */
int sm_stream_wait(struct sm_stream *s, char *c, int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
void sm_stream_drop_input(struct sm_stream *s); /* forget what was read ahead (before TLS) */

/* Data: reset the state machine, then sm_stream_data until it gives 0. */
void sm_stream_data_begin(struct sm_stream *s);
/*
 * The next piece of message content, un-stuffed, at most `size` bytes into `p`: count > 0, or 0 at
 * CRLF.CRLF (whose last CRLF belongs to the content, the dot line not), or an error as sm_net_read.
 * What follows the end of data stays for the next command. Bare CR and LF are passed on as they are
 * and noted in bare_cr/bare_lf: the caller decides.
 */
ssize_t sm_stream_data(struct sm_stream *s, char *p, size_t size,
                       int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;

/* The next bytes as they come, at most `size`: count > 0, or an error as sm_net_read. Never reads
 * further than it gives. */
ssize_t sm_stream_raw(struct sm_stream *s, char *p, size_t size,
                      int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;

/* Output. Sticky error when out_max is passed without a flush; reported by the flush. */
void sm_stream_printf(struct sm_stream *s, const char *fmt, ...) SM_PRINTF(2, 3);
void sm_stream_puts(struct sm_stream *s, struct sm_str text);
int sm_stream_flush(struct sm_stream *s, int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* Send content, dot-stuffed; writes through when the buffer is full. A bare CR or LF in `p` is sent
 * as CRLF: smx never emits one. */
void sm_stream_put_data_begin(struct sm_stream *s);
int sm_stream_put_data(struct sm_stream *s, const char *p, size_t n,
                       int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* Send content as it is; writes through when the buffer is full. */
int sm_stream_put_raw(struct sm_stream *s, const char *p, size_t n,
                      int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* End it: CRLF if the last line has none, then ".CRLF" (not flushed). */
void sm_stream_put_data_end(struct sm_stream *s);

/* Is a CR or an LF by itself in the next piece of text, or a CR before it that no LF follows?
 * *after_cr: false at first; true at the end: one is open. */
bool sm_bare_line_end(const char *p, size_t n, bool *after_cr);

/*
 * The state machine of data without a socket (sm_stream_data, tests, fuzzing): consumes up to n of
 * in, writes at most n + 1 bytes to out (a CR that the call before held back may come out first),
 * sets the counts. `out` may be in - 1 or less in the same memory, but not in itself.
 */
void sm_unstuff(enum sm_eod_state *st, bool *bare_cr, bool *bare_lf, const char *in, size_t n,
                size_t *used, char *out, size_t *written);

#endif
