/*
 * The header scanner. Invariant: its memory is fixed; what it finds does not depend on how the
 * content was split. Pure.
 */
#include "smtps/scan.h"

#include "libsm/stream.h"

void ss_scan_init(struct ss_scan *sc, const struct ss_conf *conf, bool binary)
{
	*sc = (struct ss_scan){.conf = conf, .in_header = true, .binary = binary};
}

static void set_fault(struct ss_scan *sc, enum ss_reply_name fault)
{
	if (sc->fault == SS_R_NONE)
		sc->fault = fault;
}

/* Is the line the field `name`? Then *value is what follows the colon. */
static bool is_field(struct sm_str line, struct sm_str name, struct sm_str *value)
{
	if (!sm_str_has_caseprefix(line, name))
		return false;
	line = sm_str_from(line, name.n);
	/* RFC 5322 4.5 allows white space before the colon in what one has to read. */
	while (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
		line = sm_str_from(line, 1);
	*value = sm_str_from(line, 1);
	return line.n > 0 && line.p[0] == ':';
}

static void header_line(struct ss_scan *sc)
{
	struct sm_str line = sm_str_n(sc->start, sc->start_n), value;

	while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
		line.n--;
	if (line.n == 0) {
		sc->in_header = false;
		return;
	}
	if (++sc->header_lines > sc->conf->max_header_lines)
		set_fault(sc, SS_R_HEADER_TOO_BIG);
	if (is_field(line, SM_STR("received"), &value)) {
		if (++sc->hops > sc->conf->max_hops)
			set_fault(sc, SS_R_TOO_MANY_HOPS);
	} else if (sc->msgid_n == 0 && is_field(line, SM_STR("message-id"), &value)) {
		value = sm_str_head(sm_str_trim(value), sizeof(sc->msgid));
		memcpy(sc->msgid, value.p, value.n);
		sc->msgid_n = value.n;
	}
}

/* The next piece of the header, up to its end. Gives how much of it that was. */
static size_t feed_header(struct ss_scan *sc, const char *p, size_t n)
{
	const char *lf = memchr(p, '\n', n);
	size_t part = lf != NULL ? (size_t)(lf - p) + 1 : n;
	size_t keep = SM_MIN(part, sizeof(sc->start) - sc->start_n);

	sc->line_bytes += (int64_t)part;
	if (sc->line_bytes > sc->conf->max_line_bytes && !sc->binary)
		set_fault(sc, SS_R_TEXT_LINE_LONG);
	memcpy(sc->start + sc->start_n, p, keep);
	sc->start_n += keep;
	sc->header_8bit = sc->header_8bit || !sm_str_is_ascii(sm_str_n(p, part));
	sc->header_bytes += (int64_t)part;
	if (sc->header_bytes > sc->conf->max_header_bytes)
		set_fault(sc, SS_R_HEADER_TOO_BIG);
	if (lf != NULL) {
		header_line(sc);
		sc->line_bytes = 0;
		sc->start_n = 0;
	}
	return part;
}

/* Lines of the body are only measured: from the end of one to the last one that is within the limit
 * from there, so that nobody looks at those between. */
static void feed_body(struct ss_scan *sc, const char *p, size_t n)
{
	while (n > 0 && sc->fault == SS_R_NONE && !sc->binary) {
		size_t part = SM_MIN(n, (size_t)(sc->conf->max_line_bytes - sc->line_bytes));
		const char *lf = memrchr(p, '\n', part);

		if (lf != NULL) {
			part = (size_t)(lf - p) + 1;
			sc->line_bytes = 0;
		} else {
			sc->line_bytes += (int64_t)part;
			if (part < n)
				set_fault(sc, SS_R_TEXT_LINE_LONG);
		}
		p += part;
		n -= part;
	}
}

enum ss_reply_name ss_scan_feed(struct ss_scan *sc, const char *p, size_t n)
{
	size_t at = 0;

	while (at < n && sc->in_header)
		at += feed_header(sc, p + at, n - at);
	feed_body(sc, p + at, n - at);
	return sc->fault;
}

void ss_scan_line_ends(struct ss_scan *sc, const char *p, size_t n)
{
	sc->bare = sc->bare || sm_bare_line_end(p, n, &sc->after_cr);
	if (sc->bare)
		set_fault(sc, SS_R_BARE_LINE_END);
}

enum ss_reply_name ss_scan_end(struct ss_scan *sc)
{
	if (sc->bare || sc->after_cr)
		set_fault(sc, SS_R_BARE_LINE_END);
	return sc->fault;
}
