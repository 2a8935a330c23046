/*
 * Texts of DSNs: parsed once, at the start and at a reload, so that an error is told then and never
 * at a delivery. Built-in texts are parsed like files.
 *
 * Invariant: every text has a subject of one line, and its literals are UTF-8 in CRLF lines without
 * controls.
 */
#include "smtpc/dsn_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "libsm/err.h"
#include "libsm/msg.h"
#include "libsm/utf8.h"
#include "smtpc/mime.h"

enum {
	FILE_MAX = 16 * 1024,
	SUBJECT_MAX = 200,
	PIECES_MAX = 1000,
	ARENA_MAX = SC_DSN_KINDS * (4 * FILE_MAX + PIECES_MAX * (int)sizeof(struct sc_dsn_piece)),
};

#define INTRO "This is the mail system at ${hostname}.\n\n"
#define ID    "\nIts id here is ${id}.\n${recipients}"

static const struct {
	const char *file, *text;
} kinds[SC_DSN_KINDS] = {
    [SM_DSN_FAILED] = {"failed.txt", "Subject: Returned mail: could not be delivered\n\n" INTRO
                                     "Your message of ${arrival_date} could not be delivered to "
                                     "the recipients below.\n"
                                     "It will not be tried again." ID},
    [SM_DSN_DELAYED] = {"delayed.txt",
                        "Subject: Warning: mail is delayed\n\n" INTRO
                        "Your message of ${arrival_date} has not been delivered yet to the "
                        "recipients below.\n"
                        "This is only a warning: you need not send it again. It is being tried "
                        "until\n${retry_until}." ID},
    [SM_DSN_DELIVERED] =
	{"delivered.txt",
         "Subject: Mail was delivered\n\n" INTRO
         "Your message of ${arrival_date} was delivered to the recipients below." ID},
    [SM_DSN_RELAYED] = {"relayed.txt",
                        "Subject: Mail was passed on\n\n" INTRO
                        "Your message of ${arrival_date} was passed on, for the recipients below, "
                        "to a system that\n"
                        "does not send notices of delivery. You may not hear of it again." ID},
    [SM_DSN_EXPANDED] = {"expanded.txt",
                         "Subject: Mail was passed on to a list\n\n" INTRO
                         "Your message of ${arrival_date} was passed on to the members of the "
                         "lists below." ID},
    [SM_DSN_BOUNCED] = {"double-bounce.txt",
                        "Subject: Postmaster notice: a report could not be delivered\n\n" INTRO
                        "A delivery report could not be delivered to the sender of the mail that "
                        "it was about.\n"
                        "Below is what became of the report; the header of that mail is "
                        "attached." ID},
};

static const struct {
	const char *name;
	enum sc_dsn_var var;
} variables[] = {
    {"hostname", SC_DSN_HOSTNAME}, {"id", SC_DSN_ID},
    {"sender", SC_DSN_SENDER},     {"arrival_date", SC_DSN_ARRIVAL},
    {"retry_until", SC_DSN_UNTIL}, {"recipients", SC_DSN_RECIPIENTS},
};

/* ---- one text ---- */

struct parser {
	struct sm_arena *a;
	const char *path;
	unsigned line;
	struct sm_str rest;
	struct sc_dsn_text *out;
	struct sc_dsn_piece pieces[PIECES_MAX];
};

/* The next line without its end; false: none. */
static bool next_line(struct parser *p, struct sm_str *line)
{
	if (p->rest.n == 0)
		return false;
	*line = sm_str_split(p->rest, '\n', &p->rest);
	if (line->n > 0 && line->p[line->n - 1] == '\r')
		line->n--;
	p->line++;
	return true;
}

static int check_line(const struct parser *p, struct sm_str line)
{
	for (size_t i = 0; i < line.n; i++)
		if (((unsigned char)line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7F)
			return sm_fail(SM_E_SYNTAX, "%s:%u: control character", p->path, p->line);
	if (!sm_utf8_valid(line))
		return sm_fail(SM_E_SYNTAX, "%s:%u: this is not UTF-8", p->path, p->line);
	return 0;
}

static int put(struct parser *p, enum sc_dsn_var var, struct sm_str text)
{
	if (p->out->count == PIECES_MAX)
		return sm_fail(SM_E_TOOBIG, "%s:%u: more than %d variables and lines", p->path,
		               p->line, PIECES_MAX);
	text = text.n > 0 ? sm_arena_str(p->a, text) : SM_STR("");
	if (text.p == NULL)
		return sm_fail(SM_E_TOOBIG, "%s:%u: text is too large", p->path, p->line);
	p->pieces[p->out->count++] = (struct sc_dsn_piece){var, text};
	return 0;
}

/* What "${" begins; *s is behind it. */
static int put_variable(struct parser *p, struct sm_str *s)
{
	ptrdiff_t end = sm_str_chr(*s, '}');
	struct sm_str name;

	if (end < 0)
		return sm_fail(SM_E_SYNTAX, "%s:%u: ${ without }", p->path, p->line);
	name = sm_str_head(*s, (size_t)end);
	*s = sm_str_from(*s, (size_t)end + 1);
	for (size_t i = 0; i < SM_ARRAY_SIZE(variables); i++)
		if (sm_str_eq(name, sm_str(variables[i].name)))
			return put(p, variables[i].var, SM_STR(""));
	return sm_fail(SM_E_SYNTAX, "%s:%u: unknown variable ${" SM_STR_FMT "}", p->path, p->line,
	               SM_STR_ARG(sm_str_head(name, 40)));
}

static int body_line(struct parser *p, struct sm_str s)
{
	int rc = 0;

	while (rc == 0 && s.n > 0) {
		ptrdiff_t dollar = sm_str_chr(s, '$');

		if (dollar != 0) {
			size_t n = dollar < 0 ? s.n : (size_t)dollar;
			rc = put(p, SC_DSN_LITERAL, sm_str_head(s, n));
			s = sm_str_from(s, n);
			continue;
		}
		s = sm_str_from(s, 1);
		if (s.n == 0 || (s.p[0] != '{' && s.p[0] != '$'))
			return sm_fail(SM_E_SYNTAX,
			               "%s:%u: $ begins a variable ${name}; $$ stands for itself",
			               p->path, p->line);
		bool itself = s.p[0] == '$';

		s = sm_str_from(s, 1);
		rc = itself ? put(p, SC_DSN_LITERAL, SM_STR("$")) : put_variable(p, &s);
	}
	/* The block of recipients has lines of its own. */
	if (rc == 0 &&
	    (p->out->count == 0 || p->pieces[p->out->count - 1].var != SC_DSN_RECIPIENTS))
		rc = put(p, SC_DSN_LITERAL, SM_STR("\r\n"));
	return rc;
}

static int head(struct parser *p)
{
	struct sm_str line;
	int rc;

	if (!next_line(p, &line) || !sm_str_has_caseprefix(line, SM_STR("Subject:")))
		return sm_fail(SM_E_SYNTAX, "%s:1: does not begin with \"Subject:\"", p->path);
	if ((rc = check_line(p, line)) != 0)
		return rc;
	line = sm_str_trim(sm_str_from(line, 8));
	if (line.n == 0 || line.n > SUBJECT_MAX)
		return sm_fail(SM_E_SYNTAX, "%s:1: the subject has %zu bytes: 1 to %d are good",
		               p->path, line.n, SUBJECT_MAX);
	p->out->subject = sm_arena_str(p->a, line);
	if (p->out->subject.p == NULL)
		return sm_fail(SM_E_TOOBIG, "%s:1: text is too large", p->path);
	if (!next_line(p, &line) || line.n > 0)
		return sm_fail(SM_E_SYNTAX, "%s:2: an empty line separates subject and text",
		               p->path);
	return 0;
}

int sc_dsn_text_parse(struct sm_arena *a, const char *path, struct sm_str text,
                      struct sc_dsn_text *out)
{
	struct parser p = {.a = a, .path = path, .rest = text, .out = out};
	struct sm_str line;
	int rc = head(&p);

	out->count = 0;
	while (rc == 0 && next_line(&p, &line))
		if ((rc = check_line(&p, line)) == 0)
			rc = body_line(&p, line);
	if (rc == 0 && out->count == 0)
		rc = sm_fail(SM_E_SYNTAX, "%s: no text behind the subject", path);
	if (rc != 0)
		return rc;
	out->pieces = sm_arena_alloc(a, out->count * sizeof(*out->pieces));
	if (out->pieces == NULL)
		return sm_fail(SM_E_TOOBIG, "%s: text is too large", path);
	memcpy(out->pieces, p.pieces, out->count * sizeof(*out->pieces));
	return 0;
}

/* ---- all of them ---- */

/* SM_E_NOTFOUND: there is none. */
static int read_file(const char *path, char text[FILE_MAX + 1], size_t *len)
{
	/* A pipe of that name must not hold us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n;

	*len = 0;
	if (fd == -1)
		return errno == ENOENT ? SM_E_NOTFOUND : sm_fail_sys(errno, "%s", path);
	while (*len <= FILE_MAX && (n = read(fd, text + *len, FILE_MAX + 1 - *len)) != 0) {
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			int rc = sm_fail_sys(errno, "%s", path);
			close(fd);
			return rc;
		}
		*len += (size_t)n;
	}
	close(fd);
	return *len > FILE_MAX ? sm_fail(SM_E_TOOBIG, "%s: larger than %d bytes", path, FILE_MAX)
	                       : 0;
}

static int load_kind(struct sc_dsn_texts *t, struct sm_str dir, unsigned kind)
{
	char path[300], text[FILE_MAX + 1];
	size_t len;
	int rc;

	if (dir.n > 0) {
		(void)snprintf(path, sizeof(path), SM_STR_FMT "/%s", SM_STR_ARG(dir),
		               kinds[kind].file);
		rc = read_file(path, text, &len);
		if (rc == 0) {
			t->files++;
			return sc_dsn_text_parse(&t->arena, path, sm_str_n(text, len),
			                         &t->of[kind]);
		}
		if (rc != SM_E_NOTFOUND)
			return rc;
	}
	return sc_dsn_text_parse(&t->arena, kinds[kind].file, sm_str(kinds[kind].text),
	                         &t->of[kind]);
}

/* A directory that is not there is a mistake; files in it may be missing. */
static int check_dir(struct sm_str dir)
{
	char path[300];
	int fd;

	if (dir.n == 0)
		return 0;
	(void)snprintf(path, sizeof(path), SM_STR_FMT, SM_STR_ARG(dir));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
	if (fd == -1)
		return sm_fail_sys(errno, "%s", path);
	close(fd);
	return 0;
}

int sc_dsn_texts_load(struct sm_str dir, struct sc_dsn_texts **out)
{
	struct sc_dsn_texts *t;
	int rc = check_dir(dir);

	*out = NULL;
	if (rc != 0)
		return rc;
	t = sm_calloc(1, sizeof(*t));
	sm_arena_init(&t->arena, "dsn texts", 8 * 1024, ARENA_MAX);
	for (unsigned kind = SM_DSN_FAILED; kind < SC_DSN_KINDS && rc == 0; kind++)
		rc = load_kind(t, dir, kind);
	/* What no kind has of its own is told as a failure. */
	t->of[SM_DSN_NONE] = t->of[SM_DSN_FAILED];
	if (rc != 0)
		sc_dsn_texts_free(&t);
	*out = t;
	return rc;
}

void sc_dsn_texts_free(struct sc_dsn_texts **tp)
{
	if (*tp == NULL)
		return;
	sm_arena_fini(&(*tp)->arena);
	SM_FREE(*tp);
}
