/*
 * Binding the syntax tree to option tables: types, bounds, words, defaults, and messages that say
 * what would have been right. Invariant: a target holds a legal value at all times; a value that is
 * refused changes nothing. Any thread.
 */
#include "libsm/conf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "libsm/conf_value.h"
#include "libsm/err.h"

#define LIST_MAX     1000  /* of a row that names none */
#define STR_MAX      65536 /* likewise */
#define SECTIONS_MAX 1000

struct binding {
	const char *path; /* file, or what stands for it when line is 0 */
	struct sm_arena *arena;
	sm_conf_report *report; /* NULL: the first error ends it */
	void *report_arg;
	size_t errors;
};

/* An error at `line`, with the diag "path:line: ...". Gives what the caller is to return: 0 when
 * the binding goes on. */
static int SM_PRINTF(4, 5) fail(struct binding *b, int err, int line, const char *fmt, ...)
{
	char what[SM_DIAG_MAX], at[16] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (line > 0)
		snprintf(at, sizeof(at), ":%d", line);
	b->errors++;
	sm_fail(err, "%s%s: %s", b->path, at, what);
	if (b->report == NULL)
		return err;
	b->report(b->report_arg, sm_diag());
	return 0;
}

static const struct sm_opt *find(const struct sm_opt *table, struct sm_str key)
{
	for (const struct sm_opt *o = table; o->name != NULL; o++)
		if (sm_str_caseeq(sm_str(o->name), key))
			return o;
	return NULL;
}

static bool known(const struct sm_opt *also, struct sm_str key)
{
	for (const struct sm_opt *o = also; o != NULL && o->name != NULL; o++) {
		if (strcmp(o->name, "*") == 0 ? o->sub == NULL || known(o->sub, key)
		                              : sm_str_caseeq(sm_str(o->name), key))
			return true;
	}
	return false;
}

static const struct sm_word *find_word(const struct sm_word *words, struct sm_str s)
{
	for (const struct sm_word *w = words; w->word != NULL; w++)
		if (sm_str_caseeq(sm_str(w->word), s))
			return w;
	return NULL;
}

static void *at(void *target, const struct sm_opt *o)
{
	return (char *)target + o->offset;
}

static bool is_list(const struct sm_opt *o)
{
	return o->type == SM_OPT_LIST || o->type == SM_OPT_FLAGS;
}

static bool is_section(const struct sm_opt *o)
{
	return o->type == SM_OPT_SECTION || o->type == SM_OPT_SECTIONS;
}

/* ---- single values ---- */

static int bad_word(struct binding *b, const struct sm_opt *o, const struct sm_conf_value *v)
{
	const char *near = sm_conf_nearest_word(o->words, v->text);
	char all[160] = "";
	size_t n = 0;

	if (near != NULL)
		return fail(b, SM_E_NOTFOUND, v->line,
		            "%s knows no \"" SM_STR_FMT "\" (did you mean %s?)", o->name,
		            SM_STR_ARG(sm_str_head(v->text, 60)), near);
	for (const struct sm_word *w = o->words;
	     w->word != NULL && n + strlen(w->word) + 6 < sizeof(all); w++)
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", n > 0 ? ", " : "", w->word);
	return fail(b, SM_E_NOTFOUND, v->line, "%s knows no \"" SM_STR_FMT "\", only %s", o->name,
	            SM_STR_ARG(sm_str_head(v->text, 60)), all);
}

static int64_t upper(const struct sm_opt *o)
{
	if (o->max > 0 || o->min < 0)
		return o->max;
	return INT64_MAX;
}

static int bind_number(struct binding *b, const struct sm_opt *o, const struct sm_conf_value *v,
                       int64_t *out)
{
	int64_t n;
	int rc;

	if (o->type == SM_OPT_TIME)
		rc = sm_conf_time(v->text, sm_conf_unit_is(o, "us"), &n);
	else if (o->type == SM_OPT_SIZE)
		rc = sm_conf_size(v->text, sm_conf_unit_is(o, "KB"), &n);
	else
		rc = sm_conf_int(v->text, &n);
	if (rc == SM_E_SYNTAX) {
		char why[SM_DIAG_MAX];
		snprintf(why, sizeof(why), "%s", sm_diag());
		return fail(b, rc, v->line, "%s = " SM_STR_FMT ": %s", o->name,
		            SM_STR_ARG(sm_str_head(v->text, 40)), why);
	}
	if (rc == 0 && n >= o->min && n <= upper(o)) {
		*out = n;
		return 0;
	}
	struct sm_buf bounds;
	sm_buf_init(&bounds, 120);
	sm_conf_put_number(&bounds, o, o->min);
	if (upper(o) == INT64_MAX) {
		sm_buf_cstr(&bounds, " or more");
	} else {
		sm_buf_cstr(&bounds, " to ");
		sm_conf_put_number(&bounds, o, upper(o));
	}
	if (o->type == SM_OPT_INT && o->unit != NULL)
		sm_buf_printf(&bounds, " %s", o->unit);
	rc = fail(b, SM_E_RANGE, v->line, "%s = " SM_STR_FMT " is out of range: %s", o->name,
	          SM_STR_ARG(sm_str_head(v->text, 40)), sm_buf_c(&bounds));
	sm_buf_fini(&bounds);
	return rc;
}

static int bind_str(struct binding *b, const struct sm_opt *o, const struct sm_conf_value *v,
                    struct sm_str *out)
{
	size_t max = o->max > 0 ? (size_t)o->max : STR_MAX;

	if (v->text.n > max || v->text.n < (size_t)o->min)
		return fail(b, SM_E_RANGE, v->line,
		            "%s has %zu characters, which is out of range: %zu to %zu", o->name,
		            v->text.n, (size_t)o->min, max);
	*out = sm_arena_str(b->arena, v->text);
	return out->p != NULL ? 0 : fail(b, SM_E_TOOBIG, v->line, "the configuration is too large");
}

static int bind_flag(struct binding *b, const struct sm_opt *o, const struct sm_conf_value *v,
                     uint32_t *flags)
{
	static const char *const negations[] = {"dont_", "not_", "no_"};
	const struct sm_word *w = find_word(o->words, v->text);

	if (w != NULL) {
		*flags |= w->value;
		return 0;
	}
	for (size_t i = 0; w == NULL && i < SM_ARRAY_SIZE(negations); i++)
		if (sm_str_has_caseprefix(v->text, sm_str(negations[i])))
			w = find_word(o->words, sm_str_from(v->text, strlen(negations[i])));
	if (w == NULL)
		return bad_word(b, o, v);
	*flags &= ~w->value;
	return 0;
}

static int bind_list(struct binding *b, const struct sm_opt *o, const struct sm_conf_value *first,
                     int line, struct sm_conf_list *out)
{
	size_t max = o->max > 0 ? (size_t)o->max : LIST_MAX;
	struct sm_conf_list list = {0};

	for (const struct sm_conf_value *v = first; v != NULL; v = v->next)
		list.count++;
	if (list.count > max || list.count < (size_t)o->min)
		return fail(b, SM_E_RANGE, line,
		            "%s has %zu values, which is out of range: %zu to %zu", o->name,
		            list.count, (size_t)o->min, max);
	if (list.count > 0)
		list.v = sm_arena_alloc(b->arena, list.count * sizeof(*list.v));
	for (size_t i = 0; first != NULL; first = first->next, i++) {
		if (list.v == NULL || (list.v[i] = sm_arena_str(b->arena, first->text)).p == NULL)
			return fail(b, SM_E_TOOBIG, line, "the configuration is too large");
	}
	*out = list;
	return 0;
}

/* The values of one option. `first` may be NULL only for a list. */
static int bind_values(struct binding *b, const struct sm_opt *o, const struct sm_conf_value *first,
                       int line, void *target)
{
	const struct sm_word *w;
	bool yes;

	switch (o->type) {
	case SM_OPT_BOOL:
		if (sm_conf_bool(first->text, &yes) != 0)
			return fail(b, SM_E_SYNTAX, first->line,
			            "%s = " SM_STR_FMT ": must be 0, false, off, 1, true or on",
			            o->name, SM_STR_ARG(sm_str_head(first->text, 40)));
		*(bool *)at(target, o) = yes;
		return 0;
	case SM_OPT_INT:
	case SM_OPT_TIME:
	case SM_OPT_SIZE:
		return bind_number(b, o, first, at(target, o));
	case SM_OPT_STR:
	case SM_OPT_PATH:
		return bind_str(b, o, first, at(target, o));
	case SM_OPT_ENUM:
		w = find_word(o->words, first->text);
		if (w == NULL)
			return bad_word(b, o, first);
		*(int *)at(target, o) = (int)w->value;
		return 0;
	case SM_OPT_FLAGS: {
		uint32_t flags = *(uint32_t *)at(target, o);
		int rc = 0;
		for (; rc == 0 && first != NULL; first = first->next)
			rc = bind_flag(b, o, first, &flags);
		if (rc == 0)
			*(uint32_t *)at(target, o) = flags;
		return rc;
	}
	case SM_OPT_LIST:
		return bind_list(b, o, first, line, at(target, o));
	case SM_OPT_SECTION:
	case SM_OPT_SECTIONS:
		break;
	}
	sm_assert_fail(__FILE__, __LINE__, "option type");
}

/* ---- defaults ---- */

/* "a, b c" as a chain of values, commas separating; in the arena. One more than a list may have is
 * enough for the error. */
static struct sm_conf_value *split(struct sm_arena *a, struct sm_str text, int line)
{
	struct sm_conf_value *first = NULL, **tail = &first;

	for (int i = 0; i <= LIST_MAX && !sm_str_empty(text); i++) {
		struct sm_conf_value *v = SM_ARENA_NEW(a, struct sm_conf_value);
		*v = (struct sm_conf_value){.text = sm_str_trim(sm_str_split(text, ',', &text)),
		                            .line = line};
		*tail = v;
		tail = &v->next;
	}
	return first;
}

void sm_conf_defaults(const struct sm_opt *table, void *target, struct sm_arena *a)
{
	struct binding b = {.path = "default", .arena = a};

	for (const struct sm_opt *o = table; o->name != NULL; o++) {
		struct sm_str def = sm_str(o->def);
		struct sm_conf_value one = {.text = def};
		int rc = 0;

		switch (o->type) {
		case SM_OPT_SECTION:
			sm_conf_defaults(o->sub, at(target, o), a);
			break;
		case SM_OPT_SECTIONS:
			*(struct sm_conf_sections *)at(target, o) = (struct sm_conf_sections){0};
			break;
		case SM_OPT_STR:
		case SM_OPT_PATH:
			*(struct sm_str *)at(target, o) = o->def != NULL ? def : SM_STR("");
			break;
		case SM_OPT_LIST:
			*(struct sm_conf_list *)at(target, o) = (struct sm_conf_list){0};
			if (!sm_str_empty(def))
				rc = bind_values(&b, o, split(a, def, 0), 0, target);
			break;
		case SM_OPT_FLAGS:
			*(uint32_t *)at(target, o) = 0;
			rc = bind_values(&b, o, split(a, def, 0), 0, target);
			break;
		case SM_OPT_BOOL:
			*(bool *)at(target, o) = false;
			rc = o->def != NULL ? bind_values(&b, o, &one, 0, target) : 0;
			break;
		case SM_OPT_ENUM:
			*(int *)at(target, o) = (int)o->words[0].value;
			rc = o->def != NULL ? bind_values(&b, o, &one, 0, target) : 0;
			break;
		case SM_OPT_INT:
		case SM_OPT_TIME:
		case SM_OPT_SIZE:
			*(int64_t *)at(target, o) = o->min;
			rc = o->def != NULL ? bind_values(&b, o, &one, 0, target) : 0;
			break;
		}
		if (rc != 0)
			fprintf(stderr, "option %s: %s\n", o->name, sm_diag());
		sm_assert(rc == 0);
	}
}

/* Names of files that come with the configuration stand beside it. What the user wrote is left as
 * it is: it no longer is the table's own text. */
static void place_etc_defaults(struct binding *b, const struct sm_opt *table, void *target)
{
	ptrdiff_t slash = sm_str_rchr(sm_str(b->path), '/');
	struct sm_str dir = sm_str_n(b->path, (size_t)(slash + 1));

	for (const struct sm_opt *o = table; o->name != NULL; o++) {
		struct sm_str *s = at(target, o);
		if (o->type == SM_OPT_SECTION)
			place_etc_defaults(b, o->sub, at(target, o));
		else if (o->type == SM_OPT_PATH && sm_conf_unit_is(o, "etc") && o->def != NULL &&
		         s->p == o->def && s->n > 0 && s->p[0] != '/')
			*s = sm_arena_printf(b->arena, SM_STR_FMT "%s", SM_STR_ARG(dir), o->def);
	}
}

/* ---- sections ---- */

static int bind_section(struct binding *b, struct sm_conf_node *section, const struct sm_opt *table,
                        const struct sm_opt *also, void *target);

static int bind_element(struct binding *b, struct sm_conf_node *n, const struct sm_opt *o,
                        void *target)
{
	struct sm_conf_sections *all = at(target, o);
	size_t max = o->max > 0 ? (size_t)o->max : SECTIONS_MAX;
	struct sm_conf_where *where;
	char *v;
	int rc;

	if (all->count == max)
		return fail(b, SM_E_RANGE, n->line, "more than %zu sections %s", max, o->name);
	for (size_t i = 0; i < all->count && !sm_str_empty(n->name); i++) {
		where = (void *)((char *)all->v + i * o->sub_size);
		if (sm_str_caseeq(where->name, n->name))
			return fail(b, SM_E_EXISTS, n->line,
			            "section %s " SM_STR_FMT " was given on line %d already",
			            o->name, SM_STR_ARG(n->name), where->line);
	}
	/* The array doubles at powers of two; what it leaves behind in the arena is at most as much
	 * again. */
	if ((all->count & (all->count - 1)) == 0) {
		v = sm_arena_alloc(b->arena, SM_MAX(all->count * 2, (size_t)1) * o->sub_size);
		if (v == NULL)
			return fail(b, SM_E_TOOBIG, n->line, "the configuration is too large");
		if (all->count > 0)
			memcpy(v, all->v, all->count * o->sub_size);
		all->v = v;
	}
	v = (char *)all->v + all->count * o->sub_size;
	memset(v, 0, o->sub_size);
	sm_conf_defaults(o->sub, v, b->arena);
	where = (void *)v;
	where->name = sm_arena_str(b->arena, n->name);
	where->path = sm_arena_str(b->arena, sm_str(b->path)).p; /* outlives the file's tree */
	where->line = n->line;
	all->count++;
	rc = bind_section(b, n, o->sub, NULL, v);
	place_etc_defaults(b, o->sub, v);
	return rc;
}

/* What a section says by being there. As above: what was written, "" as well, is not of the row. */
static void place_written(const struct sm_opt *table, void *target)
{
	for (const struct sm_opt *o = table; o->name != NULL; o++) {
		struct sm_str *s = at(target, o);

		if (o->written != NULL && s->p == o->def)
			*s = sm_str(o->written);
	}
}

static int bind_node(struct binding *b, struct sm_conf_node *n, const struct sm_opt *o,
                     void *target)
{
	n->used = true;
	if (is_section(o) != n->is_section)
		return fail(b, SM_E_SYNTAX, n->line,
		            n->is_section ? "%s is an option, not a section: write %s = value;"
		                          : "%s is a section, not an option: write %s { ... }",
		            o->name, o->name);
	if (o->type == SM_OPT_SECTIONS)
		return bind_element(b, n, o, target);
	if (o->type == SM_OPT_SECTION) {
		if (!sm_str_empty(n->name))
			return fail(b, SM_E_SYNTAX, n->line, "section %s has no name", o->name);
		int rc = bind_section(b, n, o->sub, NULL, at(target, o));

		place_written(o->sub, at(target, o));
		return rc;
	}
	if (n->is_list && !is_list(o))
		return fail(b, SM_E_SYNTAX, n->line, "%s takes one value, not a list", o->name);
	return bind_values(b, o, n->values, n->line, target);
}

static bool is_given(const struct sm_conf_node *section, const char *name)
{
	for (const struct sm_conf_node *n = section->first; n != NULL; n = n->next)
		if (sm_str_caseeq(n->key, sm_str(name)))
			return true;
	return false;
}

static int unknown(struct binding *b, const struct sm_conf_node *n, const struct sm_opt *table,
                   const struct sm_opt *also)
{
	const char *near = sm_conf_nearest(table, also, n->key);
	const char *what = n->is_section ? "section" : "option";
	struct sm_str key = sm_str_head(n->key, 60);

	if (near != NULL)
		return fail(b, SM_E_NOTFOUND, n->line,
		            "unknown %s " SM_STR_FMT " (did you mean %s?)", what, SM_STR_ARG(key),
		            near);
	return fail(b, SM_E_NOTFOUND, n->line, "unknown %s " SM_STR_FMT, what, SM_STR_ARG(key));
}

static int bind_section(struct binding *b, struct sm_conf_node *section, const struct sm_opt *table,
                        const struct sm_opt *also, void *target)
{
	bool root = section->parent == NULL;
	int rc = 0;

	section->used = true;
	for (struct sm_conf_node *n = section->first; rc == 0 && n != NULL; n = n->next) {
		const struct sm_opt *o = find(table, n->key);
		if (o != NULL)
			rc = bind_node(b, n, o, target);
		else if (!(root && n->is_section) && !known(also, n->key))
			rc = unknown(b, n, table, also);
	}
	for (const struct sm_opt *o = table; rc == 0 && o->name != NULL; o++)
		if (o->required && !is_given(section, o->name))
			rc = fail(b, SM_E_SYNTAX, section->line,
			          "section " SM_STR_FMT " has no %s, which is required",
			          SM_STR_ARG(section->key), o->name);
	return rc;
}

int sm_conf_bind(const struct sm_conf_file *f, struct sm_conf_node *section,
                 const struct sm_opt *table, const struct sm_opt *also, void *target,
                 struct sm_arena *a)
{
	struct binding b = {.path = f->path, .arena = a};
	int rc = bind_section(&b, section, table, also, target);

	if (rc == 0)
		place_etc_defaults(&b, table, target);
	return rc;
}

size_t sm_conf_bind_all(const struct sm_conf_file *f, struct sm_conf_node *section,
                        const struct sm_opt *table, const struct sm_opt *also, void *target,
                        struct sm_arena *a, sm_conf_report *report, void *report_arg)
{
	struct binding b = {
	    .path = f->path, .arena = a, .report = report, .report_arg = report_arg};

	(void)bind_section(&b, section, table, also, target);
	place_etc_defaults(&b, table, target);
	return b.errors;
}

/* Follow a dotted name to its row; *target becomes what the row's offset counts from. */
static int walk(struct binding *b, const struct sm_opt *table, const char *name, void **target,
                const struct sm_opt **out)
{
	struct sm_str rest = sm_str(name);

	for (;;) {
		struct sm_str key = sm_str_split(rest, '.', &rest);
		const struct sm_opt *o = find(table, key);
		struct sm_conf_node n = {.key = key, .is_section = rest.p != NULL};

		if (o == NULL)
			return unknown(b, &n, table, NULL);
		*out = o;
		if (rest.p == NULL && !is_section(o))
			return 0;
		if (rest.p == NULL || o->type != SM_OPT_SECTION)
			return fail(b, SM_E_SYNTAX, 0, "%s cannot be set here", name);
		*target = at(*target, o);
		table = o->sub;
	}
}

int sm_conf_set(const struct sm_opt *table, void *target, struct sm_arena *a, const char *name,
                const char *value, const char *where)
{
	struct binding b = {.path = where, .arena = a};
	struct sm_conf_value one = {.text = sm_str(value)};
	const struct sm_opt *o;
	int rc = walk(&b, table, name, &target, &o);

	return rc != 0 ? rc
	               : bind_values(&b, o, is_list(o) ? split(a, one.text, 0) : &one, 0, target);
}

int sm_conf_add(const struct sm_opt *table, void *target, struct sm_arena *a, const char *name,
                const char *value, const char *where)
{
	struct binding b = {.path = where, .arena = a};
	struct sm_conf_value one = {.text = sm_str(value)}, *chain = &one;
	const struct sm_conf_list *list;
	const struct sm_opt *o;
	int rc = walk(&b, table, name, &target, &o);

	if (rc != 0)
		return rc;
	sm_assert(o->type == SM_OPT_LIST);
	list = at(target, o);
	for (size_t i = list->count; i-- > 0;) {
		struct sm_conf_value *v = SM_ARENA_NEW(a, struct sm_conf_value);
		*v = (struct sm_conf_value){.text = list->v[i], .next = chain};
		chain = v;
	}
	return bind_list(&b, o, chain, 0, at(target, o));
}

int sm_conf_fail_in(int err, const char *path, int line, struct sm_str section)
{
	size_t n = strlen(path);

	if (strncmp(sm_diag(), path, n) == 0 && sm_diag()[n] == ':' && sm_isdigit(sm_diag()[n + 1]))
		return err;
	if (line == 0)
		return sm_fail_in(err, "%s: section " SM_STR_FMT, path, SM_STR_ARG(section));
	return sm_fail_in(err, "%s:%d: section " SM_STR_FMT, path, line, SM_STR_ARG(section));
}
