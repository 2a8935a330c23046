/*
 * Where message content ends: the state machine that takes dots out of data and finds CRLF.CRLF
 * (RFC 5321 4.5.2).
 *
 * Invariant: only CR LF "." CR LF (or "." CR LF at the very beginning) ends data; a bare CR or LF
 * never begins a line. It is split from stream.c because everything that smuggling attacks depends
 * on is in this one function.
 *
 * Speed: whole lines are found by memchr; a run of them is moved at once, up to the next line that
 * begins with a dot.
 */
#include "libsm/stream.h"

/* What one call works on; `run` is the part of the input that is passed on but not moved yet. */
struct unstuff {
	const char *run, *at, *end;
	char *out;
};

static void flush_run(struct unstuff *u, const char *upto)
{
	size_t n = (size_t)(upto - u->run);

	if (u->out != u->run)
		memmove(u->out, u->run, n);
	u->out += n;
	u->run = upto;
}

/*
 * From the middle of a line (`after_cr`: behind a CR) to where a dot begins one, or the end of the
 * input. Gives the state there: BOL only behind CRLF.
 */
static enum sm_eod_state skip_text(struct unstuff *u, bool after_cr, bool *bare_cr, bool *bare_lf)
{
	for (;;) {
		const char *from = u->at, *lf = memchr(from, '\n', (size_t)(u->end - from));
		const char *stop = lf != NULL ? lf : u->end;
		bool cr_before = stop > from ? stop[-1] == '\r' : after_cr;
		/* Every CR of this stretch but one right before `stop` is bare. */
		const char *text_end = stop > from && cr_before ? stop - 1 : stop;

		if (!*bare_cr && ((after_cr && stop > from) ||
		                  memchr(from, '\r', (size_t)(text_end - from)) != NULL))
			*bare_cr = true;
		u->at = stop;
		if (lf == NULL)
			return cr_before ? SM_EOD_CR : SM_EOD_TEXT;
		u->at++;
		if (cr_before && (u->at == u->end || *u->at == '.'))
			return SM_EOD_BOL;
		*bare_lf = *bare_lf || !cr_before;
		after_cr = false;
		if (u->at == u->end)
			return SM_EOD_TEXT;
	}
}

void sm_unstuff(enum sm_eod_state *st, bool *bare_cr, bool *bare_lf, const char *in, size_t n,
                size_t *used, char *out, size_t *written)
{
	struct unstuff u = {in, in, in + n, out};

	while (u.at < u.end && *st != SM_EOD_DONE) {
		switch (*st) {
		case SM_EOD_BOL:
			if (*u.at == '.') {
				flush_run(&u, u.at);
				u.run = ++u.at;
				*st = SM_EOD_DOT;
			} else {
				*st = skip_text(&u, false, bare_cr, bare_lf);
			}
			break;
		case SM_EOD_TEXT:
			*st = skip_text(&u, false, bare_cr, bare_lf);
			break;
		case SM_EOD_CR:
			*st = skip_text(&u, true, bare_cr, bare_lf);
			break;
		case SM_EOD_DOT:
			if (*u.at == '\r') {
				/* Held back: it belongs to the content only if no LF follows. */
				u.run = ++u.at;
				*st = SM_EOD_DOTCR;
			} else {
				*st = skip_text(&u, false, bare_cr, bare_lf);
			}
			break;
		case SM_EOD_DOTCR:
			if (*u.at == '\n') {
				u.run = ++u.at;
				*st = SM_EOD_DONE;
			} else {
				*u.out++ = '\r';
				*st = skip_text(&u, true, bare_cr, bare_lf);
			}
			break;
		case SM_EOD_DONE:
			break;
		}
	}
	flush_run(&u, u.at);
	*used = (size_t)(u.at - in);
	*written = (size_t)(u.out - out);
}

bool sm_bare_line_end(const char *p, size_t n, bool *after_cr)
{
	const char *end = p + n;

	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p)), *stop = lf != NULL ? lf : end;
		bool cr_before = stop > p ? stop[-1] == '\r' : *after_cr;
		/* Every CR of this line but one right before `stop` is bare. */
		const char *text_end = stop > p && cr_before ? stop - 1 : stop;

		if ((*after_cr && stop > p) || (lf != NULL && !cr_before) ||
		    memchr(p, '\r', (size_t)(text_end - p)) != NULL)
			return true;
		*after_cr = lf == NULL && cr_before;
		p = lf != NULL ? lf + 1 : end;
	}
	return false;
}
