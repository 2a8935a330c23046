/*
 * The source text of maps, read line by line. Invariant: an entry is kept, in one buffer, until a
 * line comes that does not continue it; only then it is taken apart. Any thread.
 */
#include "libsm/mapsrc.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "libsm/err.h"

enum { PIECE_BYTES = 256 * 1024 };

struct reader {
	const struct sm_mapsrc *src;
	struct sm_mapsrc_seen *seen;
	struct sm_buf entry; /* the lines of the entry that is being read */
	unsigned entry_line; /* its first line; 0: none */
	unsigned line;       /* the current one */
	bool spoilt;         /* what continues a wrong line is not worth a word */
	int first_err;
	bool stop;
};

/* Something is wrong in this line; the diag tells what. */
static void wrong(struct reader *r, int err, unsigned line)
{
	(void)sm_fail_in(err, "%s:%u", r->src->name, line);
	if (r->first_err == 0)
		r->first_err = err;
	if (r->src->wrong == NULL || !r->src->wrong(r->src->arg, err))
		r->stop = true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* ---- keys ---- */

/* Where the word ends that begins at 0: at white space that is not in double quotes. -1: a quote
 * is not closed. */
static ptrdiff_t word_end(struct sm_str s)
{
	bool quoted = false;
	size_t i = 0;

	for (; i < s.n && (quoted || !is_blank(s.p[i])); i++) {
		if (s.p[i] == '"')
			quoted = !quoted;
		else if (quoted && s.p[i] == '\\' && i + 1 < s.n)
			i++;
	}
	return quoted ? -1 : (ptrdiff_t)i;
}

/* One string in double quotes, and nothing else? */
static bool is_quoted(struct sm_str w)
{
	size_t i;

	if (w.n < 2 || w.p[0] != '"')
		return false;
	for (i = 1; i < w.n && w.p[i] != '"'; i++)
		if (w.p[i] == '\\')
			i++;
	return i + 1 == w.n;
}

static int hex_digit(char c)
{
	c = sm_lower(c);
	return sm_isdigit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What is between the quotes of is_quoted(), taken literally: rewritten in its own place. */
static int unquote(struct sm_str *key)
{
	char *at = (char *)(uintptr_t)key->p + 1, *to = at;
	const char *end = key->p + key->n - 1;

	key->p = at;
	for (; at < end; at++) {
		if (*at != '\\') {
			*to++ = *at;
		} else if (at[1] == '"' || at[1] == '\\') {
			*to++ = *++at;
		} else if (at[1] == 'x' && end - at > 3 && hex_digit(at[2]) >= 0 &&
		           hex_digit(at[3]) >= 0) {
			*to++ = (char)(hex_digit(at[2]) << 4 | hex_digit(at[3]));
			at += 3;
		} else {
			return sm_fail(SM_E_SYNTAX, "in a quoted key \\ stands before \", \\ or "
			                            "xHH only");
		}
	}
	key->n = (size_t)(to - key->p);
	return 0;
}

/* ---- entries ---- */

static int take_apart(struct reader *r, struct sm_mapsrc_entry *e)
{
	struct sm_str text = sm_str_trim(sm_buf_view(&r->entry)), rest;
	ptrdiff_t end;
	bool colon = false;
	int rc;

	if (r->src->flags & SM_MAPSRC_WHOLE) {
		e->key = SM_STR("");
		e->value = text;
		return 0;
	}
	end = word_end(text);
	if (end < 0)
		return sm_fail(SM_E_SYNTAX, "a double quote is not closed");
	e->key = sm_str_head(text, (size_t)end);
	rest = sm_str_trim(sm_str_from(text, (size_t)end));
	if (e->key.p[e->key.n - 1] == ':') {
		e->key.n--;
		colon = true;
	}
	if (!colon && rest.n > 0 && rest.p[0] == ':' && (rest.n == 1 || is_blank(rest.p[1])))
		rest = sm_str_trim(sm_str_from(rest, 1));
	e->value = rest;
	if (is_quoted(e->key) && (rc = unquote(&e->key)) != 0)
		return rc;
	if (e->key.n == 0)
		return sm_fail(SM_E_SYNTAX, "the key is empty");
	if (e->key.n > SM_MAPSRC_KEY_MAX)
		return sm_fail(SM_E_TOOBIG, "the key is longer than %d bytes", SM_MAPSRC_KEY_MAX);
	if (rest.n == 0 && !(r->src->flags & SM_MAPSRC_EMPTY))
		return sm_fail(SM_E_SYNTAX, "nothing behind \"" SM_STR_FMT "\"",
		               SM_STR_ARG(sm_str_head(e->key, 100)));
	if (!(r->src->flags & SM_MAPSRC_CASE))
		for (size_t i = 0; i < e->key.n; i++)
			((char *)(uintptr_t)e->key.p)[i] = sm_lower(e->key.p[i]);
	return 0;
}

static int check_unique(struct reader *r, const struct sm_mapsrc_entry *e)
{
	unsigned before;

	if (r->seen == NULL)
		return 0;
	before = sm_mapsrc_seen_add(r->seen, e->key, e->line);
	if (before == 0)
		return 0;
	return sm_fail(SM_E_EXISTS, "\"" SM_STR_FMT "\" is in line %u already",
	               SM_STR_ARG(sm_str_head(e->key, 100)), before);
}

/* The entry that was gathered is complete. */
static void finish(struct reader *r)
{
	struct sm_mapsrc_entry e = {.line = r->entry_line};
	int rc;

	if (r->entry_line == 0)
		return;
	rc = take_apart(r, &e);
	if (rc == 0)
		rc = check_unique(r, &e);
	if (rc == 0)
		rc = r->src->entry(r->src->arg, &e);
	if (rc != 0)
		wrong(r, rc, e.line);
	r->entry_line = 0;
	sm_buf_reset(&r->entry);
}

/* ---- lines ---- */

static int check_line(struct sm_str l)
{
	for (size_t i = 0; i < l.n; i++)
		if (((uint8_t)l.p[i] < 0x20 && l.p[i] != '\t') || l.p[i] == 0x7f)
			return sm_fail(SM_E_SYNTAX, "control character 0x%02x",
			               (unsigned)(uint8_t)l.p[i]);
	return 0;
}

/* Begins or continues an entry. */
static int gather(struct reader *r, struct sm_str l)
{
	int rc = check_line(l);

	if (rc != 0)
		return rc;
	if (!is_blank(l.p[0])) {
		r->entry_line = r->line;
	} else if (r->entry_line == 0) {
		return sm_fail(SM_E_SYNTAX, "the line begins with white space, but there is "
		                            "nothing to continue");
	} else {
		sm_buf_char(&r->entry, ' ');
		l = sm_str_trim(l);
	}
	sm_buf_str(&r->entry, l);
	if (sm_buf_err(&r->entry) != 0)
		return sm_fail(SM_E_TOOBIG, "the entry is longer than %u bytes",
		               SM_MAPSRC_LINE_MAX);
	return 0;
}

/* What is no text: whoever reads a file cannot go on behind it, so nobody does. */
static void too_long(struct reader *r)
{
	int rc = sm_fail(SM_E_TOOBIG, "%s:%u: the line is longer than %u bytes", r->src->name,
	                 r->line + 1, SM_MAPSRC_LINE_MAX);

	r->first_err = r->first_err != 0 ? r->first_err : rc;
	r->stop = true;
}

static void take_line(struct reader *r, struct sm_str l)
{
	struct sm_str bare;
	int rc;

	if (l.n > SM_MAPSRC_LINE_MAX) {
		too_long(r);
		return;
	}
	r->line++;
	if (l.n > 0 && l.p[l.n - 1] == '\r')
		l.n--;
	bare = sm_str_trim(l);
	if (bare.n > 0 && bare.p[0] == '#') /* also between the lines of an entry */
		return;
	if (bare.n == 0 || !is_blank(l.p[0])) {
		finish(r);
		r->spoilt = false;
	}
	if (bare.n == 0 || r->spoilt || r->stop)
		return;
	rc = gather(r, l);
	if (rc != 0) {
		wrong(r, rc, r->line);
		r->spoilt = true;
		r->entry_line = 0;
		sm_buf_reset(&r->entry);
	}
}

/* ---- files ---- */

static void begin(struct reader *r, const struct sm_mapsrc *src)
{
	*r = (struct reader){.src = src};
	sm_buf_init(&r->entry, SM_MAPSRC_LINE_MAX);
	if (src->flags & SM_MAPSRC_UNIQUE)
		r->seen = sm_mapsrc_seen_new();
}

static int end(struct reader *r)
{
	if (!r->stop)
		finish(r);
	sm_buf_fini(&r->entry);
	sm_mapsrc_seen_free(&r->seen);
	return r->first_err;
}

/* Whole lines of `text`; gives how much of it they take. */
static size_t take_lines(struct reader *r, struct sm_str text)
{
	size_t at = 0;

	while (!r->stop && at < text.n) {
		struct sm_str rest = sm_str_from(text, at);
		const char *lf = memchr(rest.p, '\n', rest.n);

		if (lf == NULL)
			break;
		take_line(r, sm_str_head(rest, (size_t)(lf - rest.p)));
		at += (size_t)(lf - rest.p) + 1;
	}
	return at;
}

static void take_all(struct reader *r, struct sm_str text)
{
	size_t at = take_lines(r, text);

	if (!r->stop && at < text.n)
		take_line(r, sm_str_from(text, at));
}

int sm_mapsrc_text(const struct sm_mapsrc *src, struct sm_str text)
{
	struct reader r;

	if (text.n > SM_MAPSRC_FILE_MAX)
		return sm_fail(SM_E_TOOBIG, "%s: too large", src->name);
	begin(&r, src);
	take_all(&r, text);
	return end(&r);
}

/* As much as there is room for: 0 at the end of the file, else a count or an error. */
static ssize_t read_piece(const struct sm_mapsrc *src, int fd, struct sm_buf *piece)
{
	size_t room = piece->max - piece->len;
	char *to = sm_buf_reserve(piece, room);
	ssize_t n;

	sm_assert(to != NULL && room > 0);
	do
		n = read(fd, to, room);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return sm_fail_sys(errno, "%s", src->name);
	sm_buf_commit(piece, (size_t)n);
	return n;
}

int sm_mapsrc_fd(const struct sm_mapsrc *src, int fd)
{
	struct sm_buf piece;
	struct reader r;
	uint64_t total = 0;
	ssize_t n = 0;
	int rc = 0, err;

	begin(&r, src);
	sm_buf_init(&piece, PIECE_BYTES);
	while (!r.stop && (n = read_piece(src, fd, &piece)) > 0) {
		total += (uint64_t)n;
		if (total > SM_MAPSRC_FILE_MAX) {
			n = sm_fail(SM_E_TOOBIG, "%s: larger than %u MiB", src->name,
			            (unsigned)(SM_MAPSRC_FILE_MAX >> 20));
			break;
		}
		sm_buf_consume(&piece, take_lines(&r, sm_buf_view(&piece)));
		if (piece.len > SM_MAPSRC_LINE_MAX && !r.stop)
			too_long(&r);
	}
	if (n < 0) {
		rc = (int)n;
		r.stop = true;
	}
	take_all(&r, sm_buf_view(&piece));
	sm_buf_fini(&piece);
	err = end(&r);
	return rc != 0 ? rc : err;
}

int sm_mapsrc_file(const struct sm_mapsrc *src, const char *path)
{
	int rc, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return sm_fail_sys(errno, "%s", path);
	rc = sm_mapsrc_fd(src, fd);
	close(fd);
	return rc;
}

/* ---- back to text ---- */

static bool is_plain(struct sm_str key)
{
	if (key.p[0] == '#' || key.p[key.n - 1] == ':')
		return false;
	for (size_t i = 0; i < key.n; i++)
		if ((uint8_t)key.p[i] <= ' ' || key.p[i] == 0x7f || key.p[i] == '"')
			return false;
	return true;
}

static void write_quoted(struct sm_buf *out, struct sm_str key)
{
	sm_buf_char(out, '"');
	for (size_t i = 0; i < key.n; i++) {
		char c = key.p[i];

		if (c == '"' || c == '\\')
			sm_buf_printf(out, "\\%c", c);
		else if ((uint8_t)c < ' ' || c == 0x7f)
			sm_buf_printf(out, "\\x%02x", (unsigned)(uint8_t)c);
		else
			sm_buf_char(out, c);
	}
	sm_buf_char(out, '"');
}

int sm_mapsrc_write(struct sm_buf *out, struct sm_str key, struct sm_str value)
{
	size_t before = out->len;

	if (key.n == 0)
		return sm_fail(SM_E_NOTSUP, "an empty key");
	if (key.n > SM_MAPSRC_KEY_MAX)
		return sm_fail(SM_E_NOTSUP, "a key of %zu bytes", key.n);
	if (check_line(value) != 0)
		return sm_fail_in(SM_E_NOTSUP, "the value of \"" SM_STR_FMT "\"",
		                  SM_STR_ARG(sm_str_head(key, 100)));
	if (sm_str_trim(value).n != value.n)
		return sm_fail(SM_E_NOTSUP,
		               "the value of \"" SM_STR_FMT "\": blanks at one of its ends",
		               SM_STR_ARG(sm_str_head(key, 100)));
	if (is_plain(key))
		sm_buf_str(out, key);
	else
		write_quoted(out, key);
	/* Otherwise the colon of the value would be taken for that of the key. */
	if (value.n > 0 && value.p[0] == ':')
		sm_buf_char(out, ':');
	sm_buf_char(out, '\t');
	sm_buf_str(out, value);
	sm_buf_char(out, '\n');
	if (sm_buf_err(out) == 0 && out->len - before <= SM_MAPSRC_LINE_MAX)
		return 0;
	sm_buf_truncate(out, before);
	return sm_fail(SM_E_NOTSUP, "the value of \"" SM_STR_FMT "\" has %zu bytes",
	               SM_STR_ARG(sm_str_head(key, 100)), value.n);
}
