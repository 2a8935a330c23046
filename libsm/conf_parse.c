/*
 * The configuration's grammar: tokens to a tree of sections and options (conf.h has the ABNF).
 * Knows no option names; those are conf_bind.c's. Invariant: everything a tree holds lives in its
 * arena, and the limits below bound that. Any thread; loading blocks on the disk.
 */
#include "libsm/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "libsm/conf_lex.h"
#include "libsm/err.h"

#define FILE_MAX    (1024 * 1024)
#define NESTING_MAX 8
#define ENTRIES_MAX 20000 /* options, sections and values */
/* Copied strings are together no longer than the file, and each entry costs one node or value and
 * one rounded-up string. */
#define TREE_MAX (3 * FILE_MAX + ENTRIES_MAX * (sizeof(struct sm_conf_node) + 128))

struct parser {
	struct sm_conf_lex lex;
	struct sm_conf_file *file;
	struct sm_conf_node *section; /* the innermost open one */
	int depth;
	int entries;
	struct sm_buf words; /* a value of several bare words */
};

#define FAIL(p, at_line, ...) fail_at((p)->file->path, at_line, __VA_ARGS__)
static int SM_PRINTF(3, 4) fail_at(const char *path, int line, const char *fmt, ...)
{
	char what[SM_DIAG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return sm_fail(SM_E_SYNTAX, "%s:%d: %s", path, line, what);
}

static int count(struct parser *p)
{
	if (++p->entries > ENTRIES_MAX)
		return sm_fail(SM_E_TOOBIG, "%s:%d: more than %d entries", p->file->path,
		               p->lex.line, ENTRIES_MAX);
	return 0;
}

static void append(struct sm_conf_node *parent, struct sm_conf_node *n)
{
	n->parent = parent;
	if (parent->last != NULL)
		parent->last->next = n;
	else
		parent->first = n;
	parent->last = n;
}

/* value = string / 1*word; the words are joined by one blank, as in "1h 5m". */
static int value(struct parser *p, struct sm_conf_node *option, struct sm_conf_value **out)
{
	struct sm_conf_value *v;
	char show[64];
	int rc;

	if (p->lex.tok != SM_TOK_WORD && p->lex.tok != SM_TOK_STRING)
		return FAIL(p, p->lex.line, "value expected for " SM_STR_FMT ", not %s",
		            SM_STR_ARG(option->key), sm_conf_lex_show(&p->lex, show));
	if ((rc = count(p)) != 0)
		return rc;
	v = SM_ARENA_NEW(&p->file->arena, struct sm_conf_value);
	v->line = p->lex.line;
	if (p->lex.tok == SM_TOK_STRING) {
		v->text = sm_arena_str(&p->file->arena, p->lex.text);
		if ((rc = sm_conf_lex_next(&p->lex)) != 0)
			return rc;
	} else {
		sm_buf_reset(&p->words);
		while (p->lex.tok == SM_TOK_WORD) {
			if (p->words.len > 0)
				sm_buf_char(&p->words, ' ');
			sm_buf_str(&p->words, p->lex.text);
			if (sm_buf_err(&p->words) != 0)
				return sm_fail(SM_E_TOOBIG,
				               "%s:%d: value of " SM_STR_FMT " is too long",
				               p->file->path, v->line, SM_STR_ARG(option->key));
			if ((rc = sm_conf_lex_next(&p->lex)) != 0)
				return rc;
		}
		v->text = sm_arena_str(&p->file->arena, sm_buf_view(&p->words));
	}
	sm_assert(v->text.p != NULL);
	*out = v;
	return 0;
}

/* list = "{" [value *("," value)] "}" [";"]; the brace is the current token. */
static int list(struct parser *p, struct sm_conf_node *option)
{
	struct sm_conf_value **tail = &option->values;
	char show[64];
	int rc;

	option->is_list = true;
	if ((rc = sm_conf_lex_next(&p->lex)) != 0)
		return rc;
	while (p->lex.tok != SM_TOK_CLOSE || tail != &option->values) {
		if ((rc = value(p, option, tail)) != 0)
			return rc;
		tail = &(*tail)->next;
		if (p->lex.tok == SM_TOK_CLOSE)
			break;
		if (p->lex.tok == SM_TOK_END)
			return FAIL(p, p->lex.line,
			            "missing \"}\": the list of " SM_STR_FMT " began on line %d",
			            SM_STR_ARG(option->key), option->line);
		if (p->lex.tok != SM_TOK_COMMA)
			return FAIL(p, p->lex.line,
			            "\",\" or \"}\" expected in the list of " SM_STR_FMT ", not %s",
			            SM_STR_ARG(option->key), sm_conf_lex_show(&p->lex, show));
		if ((rc = sm_conf_lex_next(&p->lex)) != 0)
			return rc;
	}
	if ((rc = sm_conf_lex_next(&p->lex)) != 0)
		return rc;
	return p->lex.tok == SM_TOK_SEMI ? sm_conf_lex_next(&p->lex) : 0;
}

/* option = keyword "=" ( value ";" / list ); the "=" is the current token. */
static int option(struct parser *p, struct sm_conf_node *n)
{
	int rc;

	append(p->section, n);
	if ((rc = sm_conf_lex_next(&p->lex)) != 0)
		return rc;
	if (p->lex.tok == SM_TOK_OPEN)
		return list(p, n);
	if ((rc = value(p, n, &n->values)) != 0)
		return rc;
	if (p->lex.tok == SM_TOK_SEMI)
		return sm_conf_lex_next(&p->lex);
	if (p->lex.tok == SM_TOK_COMMA)
		return FAIL(p, p->lex.line,
		            "several values for " SM_STR_FMT " must stand in braces",
		            SM_STR_ARG(n->key));
	return FAIL(p, n->values->line,
	            "missing \";\" after the value of " SM_STR_FMT
	            " (what has blanks and marks in it "
	            "must be quoted)",
	            SM_STR_ARG(n->key));
}

/*
 * Where a section goes. On the top level the sections are programs: a second unnamed one goes on
 * with the first, so that later options win; a second one of the same name is a mistake. Deeper,
 * only the option table knows whether a section may repeat.
 */
static int open_section(struct parser *p, struct sm_conf_node *n)
{
	struct sm_conf_node *s = NULL;

	if (p->depth == NESTING_MAX)
		return sm_fail(SM_E_TOOBIG, "%s:%d: sections nest deeper than %d", p->file->path,
		               n->line, NESTING_MAX);
	if (p->depth == 0)
		for (s = p->section->first; s != NULL; s = s->next)
			if (s->is_section && sm_str_caseeq(s->key, n->key) &&
			    sm_str_caseeq(s->name, n->name))
				break;
	if (s != NULL && !sm_str_empty(n->name))
		return FAIL(p, n->line,
		            "section " SM_STR_FMT " " SM_STR_FMT " was given on line %d already",
		            SM_STR_ARG(n->key), SM_STR_ARG(n->name), s->line);
	if (s == NULL) {
		s = n;
		s->is_section = true;
		append(p->section, s);
	}
	p->section = s;
	p->depth++;
	return sm_conf_lex_next(&p->lex);
}

static int close_section(struct parser *p)
{
	int rc;

	if (p->depth == 0)
		return FAIL(p, p->lex.line, "\"}\" closes nothing");
	p->section = p->section->parent;
	p->depth--;
	if ((rc = sm_conf_lex_next(&p->lex)) != 0)
		return rc;
	return p->lex.tok == SM_TOK_SEMI ? sm_conf_lex_next(&p->lex) : 0;
}

/* entry = option / section */
static int entry(struct parser *p)
{
	struct sm_conf_node *n;
	char show[64];
	int rc;

	if (p->lex.tok != SM_TOK_WORD)
		return FAIL(p, p->lex.line, "name of an option or a section expected, not %s",
		            sm_conf_lex_show(&p->lex, show));
	if ((rc = count(p)) != 0)
		return rc;
	if (p->lex.text.n > 200)
		return FAIL(p, p->lex.line, "name of an option or a section is too long");
	n = SM_ARENA_NEW(&p->file->arena, struct sm_conf_node);
	n->line = p->lex.line;
	n->key = sm_arena_str(&p->file->arena, p->lex.text);
	if ((rc = sm_conf_lex_next(&p->lex)) != 0)
		return rc;
	if (p->lex.tok == SM_TOK_EQUALS)
		return option(p, n);
	if (p->lex.tok == SM_TOK_WORD || p->lex.tok == SM_TOK_STRING) {
		if (p->lex.text.n > 200)
			return FAIL(p, p->lex.line, "name of section " SM_STR_FMT " is too long",
			            SM_STR_ARG(n->key));
		n->name = sm_arena_str(&p->file->arena, p->lex.text);
		if ((rc = sm_conf_lex_next(&p->lex)) != 0)
			return rc;
	}
	if (p->lex.tok != SM_TOK_OPEN && sm_str_empty(n->name))
		return FAIL(p, p->lex.line, "\"=\" or \"{\" expected after " SM_STR_FMT ", not %s",
		            SM_STR_ARG(n->key), sm_conf_lex_show(&p->lex, show));
	if (p->lex.tok != SM_TOK_OPEN)
		return FAIL(
		    p, p->lex.line, "\"{\" expected after " SM_STR_FMT " " SM_STR_FMT ", not %s",
		    SM_STR_ARG(n->key), SM_STR_ARG(n->name), sm_conf_lex_show(&p->lex, show));
	return open_section(p, n);
}

static int parse(struct sm_conf_file *f, struct sm_str text)
{
	struct parser p = {.file = f, .section = &f->root};
	int rc;

	sm_conf_lex_init(&p.lex, f->path, text);
	sm_buf_init(&p.words, 65536);
	rc = sm_conf_lex_next(&p.lex);
	while (rc == 0 && p.lex.tok != SM_TOK_END)
		rc = p.lex.tok == SM_TOK_CLOSE ? close_section(&p) : entry(&p);
	if (rc == 0 && p.depth > 0)
		rc = FAIL(&p, p.lex.line, "missing \"}\": section " SM_STR_FMT " began on line %d",
		          SM_STR_ARG(p.section->key), p.section->line);
	sm_buf_fini(&p.words);
	sm_conf_lex_fini(&p.lex);
	return rc;
}

static void init(struct sm_conf_file *f, const char *path)
{
	*f = (struct sm_conf_file){.root = {.is_section = true}};
	sm_arena_init(&f->arena, "conf", 16384, TREE_MAX);
	f->path = sm_arena_str(&f->arena, sm_str(path)).p;
	sm_assert(f->path != NULL);
}

int sm_conf_parse(struct sm_conf_file *f, const char *path, struct sm_str text)
{
	int rc;

	init(f, path);
	rc = text.n > FILE_MAX ? sm_fail(SM_E_TOOBIG, "%s: larger than %d bytes", f->path, FILE_MAX)
	                       : parse(f, text);
	if (rc != 0)
		sm_conf_free(f);
	return rc;
}

int sm_conf_load(struct sm_conf_file *f, const char *path)
{
	struct sm_buf text;
	int rc = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	*f = (struct sm_conf_file){0};
	if (fd == -1)
		return sm_fail_sys(errno, "%s", path);
	sm_buf_init(&text, FILE_MAX + 4096);
	while (rc == 0 && text.len <= FILE_MAX) {
		char *room = sm_buf_reserve(&text, 4096);
		ssize_t n = read(fd, room, 4096);
		if (n == 0)
			break;
		if (n > 0)
			sm_buf_commit(&text, (size_t)n);
		else if (errno != EINTR)
			rc = sm_fail_sys(errno, "%s", path);
	}
	close(fd);
	if (rc == 0)
		rc = sm_conf_parse(f, path, sm_buf_view(&text));
	sm_buf_fini(&text);
	return rc;
}

void sm_conf_free(struct sm_conf_file *f)
{
	if (f->path != NULL) {
		sm_arena_wipe(&f->arena); /* some of it may be a password */
		sm_arena_fini(&f->arena);
	}
	*f = (struct sm_conf_file){0};
}

struct sm_conf_node *sm_conf_find(struct sm_conf_file *f, struct sm_str key, struct sm_str name)
{
	struct sm_conf_node *any = NULL;
	int found = 0;

	for (struct sm_conf_node *n = f->root.first; n != NULL; n = n->next) {
		if (!n->is_section || !sm_str_caseeq(n->key, key))
			continue;
		if (sm_str_caseeq(n->name, name))
			return n;
		any = n;
		found++;
	}
	return sm_str_empty(name) && found == 1 ? any : NULL;
}
