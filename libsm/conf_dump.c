/*
 * Option tables and their current values as configuration text: for -V, for the checker, and for
 * comparing. What it prints parses back to the same values. Pure; any thread.
 */
#include <inttypes.h>

#include "libsm/conf_value.h"
#include "libsm/err.h"

static const void *at(const void *target, const struct sm_opt *o)
{
	return (const char *)target + o->offset;
}

/* ---- values ---- */

static void put_str(struct sm_buf *b, struct sm_str s)
{
	sm_buf_char(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		switch (s.p[i]) {
		case '"':
		case '\\':
			sm_buf_char(b, '\\');
			sm_buf_char(b, s.p[i]);
			break;
		case '\n':
			sm_buf_cstr(b, "\\n");
			break;
		case '\t':
			sm_buf_cstr(b, "\\t");
			break;
		default:
			sm_buf_char(b, s.p[i]);
		}
	}
	sm_buf_char(b, '"');
}

void sm_conf_put_number(struct sm_buf *b, const struct sm_opt *o, int64_t v)
{
	if (o->type == SM_OPT_TIME)
		sm_conf_put_time(b, v, sm_conf_unit_is(o, "us"));
	else if (o->type == SM_OPT_SIZE)
		sm_conf_put_size(b, v);
	else if (o->def != NULL && o->def[0] == '0' && sm_isdigit(o->def[1]) &&
	         v > 0) /* a umask is read in octal */
		sm_buf_printf(b, "0%" PRIo64, (uint64_t)v);
	else
		sm_buf_printf(b, "%" PRId64, v);
}

/*
 * Flags change what was there before, which at first is the default: so each flag that is on is
 * named, and each one that is off but on by default is named with its negation.
 */
static void put_flags(struct sm_buf *b, const struct sm_opt *o, uint32_t flags)
{
	struct sm_arena a;
	struct sm_opt row[2] = {*o, SM_OPT_END};
	uint32_t by_default;
	const char *sep = "";

	row[0].offset = 0;
	sm_arena_init(&a, "flags", 256, 65536);
	sm_conf_defaults(row, &by_default, &a);
	sm_arena_fini(&a);
	sm_buf_cstr(b, "{ ");
	for (const struct sm_word *w = o->words; w->word != NULL; w++) {
		if ((flags & w->value) == w->value && w->value != 0)
			sm_buf_printf(b, "%s%s", sep, w->word);
		else if ((by_default & w->value) != 0 && (flags & w->value) == 0)
			sm_buf_printf(b, "%sdont_%s", sep, w->word);
		else
			continue;
		sep = ", ";
	}
	sm_buf_cstr(b, *sep != '\0' ? " }" : "}");
}

void sm_conf_put_value(struct sm_buf *b, const struct sm_opt *o, const void *target)
{
	const struct sm_conf_list *list;

	switch (o->type) {
	case SM_OPT_BOOL:
		sm_buf_cstr(b, *(const bool *)at(target, o) ? "true" : "false");
		break;
	case SM_OPT_INT:
	case SM_OPT_TIME:
	case SM_OPT_SIZE:
		sm_conf_put_number(b, o, *(const int64_t *)at(target, o));
		break;
	case SM_OPT_STR:
	case SM_OPT_PATH:
		put_str(b, *(const struct sm_str *)at(target, o));
		break;
	case SM_OPT_ENUM:
		for (const struct sm_word *w = o->words; w->word != NULL; w++) {
			if ((int)w->value == *(const int *)at(target, o)) {
				sm_buf_cstr(b, w->word);
				break;
			}
		}
		break;
	case SM_OPT_FLAGS:
		put_flags(b, o, *(const uint32_t *)at(target, o));
		break;
	case SM_OPT_LIST:
		list = at(target, o);
		sm_buf_cstr(b, "{");
		for (size_t i = 0; i < list->count; i++) {
			sm_buf_cstr(b, i > 0 ? ", " : " ");
			put_str(b, list->v[i]);
		}
		sm_buf_cstr(b, list->count > 0 ? " }" : "}");
		break;
	case SM_OPT_SECTION:
	case SM_OPT_SECTIONS:
		sm_assert_fail(__FILE__, __LINE__, "a section has no value");
	}
}

/* ---- the table ---- */

static void indent_by(struct sm_buf *b, int indent)
{
	for (int i = 0; i < indent; i++)
		sm_buf_char(b, '\t');
}

static void put_help(struct sm_buf *b, const struct sm_opt *o, int indent)
{
	const char *sep = " (";
	bool number = o->type == SM_OPT_INT || o->type == SM_OPT_TIME || o->type == SM_OPT_SIZE;

	indent_by(b, indent);
	sm_buf_printf(b, "# %s", o->help != NULL ? o->help : o->name);
	if (number && (o->max > 0 || o->min < 0)) {
		sm_buf_cstr(b, sep);
		sm_conf_put_number(b, o, o->min);
		sm_buf_cstr(b, " to ");
		sm_conf_put_number(b, o, o->max);
		if (o->type == SM_OPT_INT && o->unit != NULL)
			sm_buf_printf(b, " %s", o->unit);
		sep = ", ";
	}
	if (o->required) {
		sm_buf_printf(b, "%srequired", sep);
		sep = ", ";
	} else if (o->def != NULL && o->def[0] != '\0') {
		sm_buf_printf(b, "%sdefault %s", sep, o->def);
		sep = ", ";
	}
	sm_buf_cstr(b, *sep == ',' ? ")\n" : "\n");
}

static void open_section(struct sm_buf *b, const struct sm_opt *o, struct sm_str name, int indent)
{
	indent_by(b, indent);
	sm_buf_cstr(b, o->name);
	if (!sm_str_empty(name)) {
		sm_buf_char(b, ' ');
		put_str(b, name);
	}
	sm_buf_cstr(b, " {\n");
}

void sm_conf_dump(struct sm_buf *b, const struct sm_opt *table, const void *target, int indent,
                  bool with_help)
{
	for (const struct sm_opt *o = table; o->name != NULL; o++) {
		const struct sm_conf_sections *all;

		if (with_help)
			put_help(b, o, indent);
		switch (o->type) {
		case SM_OPT_SECTION:
			open_section(b, o, SM_STR_NONE, indent);
			sm_conf_dump(b, o->sub, at(target, o), indent + 1, with_help);
			indent_by(b, indent);
			sm_buf_cstr(b, "}\n");
			break;
		case SM_OPT_SECTIONS:
			all = at(target, o);
			for (size_t i = 0; i < all->count; i++) {
				const struct sm_conf_where *where =
				    (const void *)((const char *)all->v + i * o->sub_size);
				open_section(b, o, where->name, indent);
				sm_conf_dump(b, o->sub, where, indent + 1, with_help);
				indent_by(b, indent);
				sm_buf_cstr(b, "}\n");
			}
			break;
		default:
			indent_by(b, indent);
			sm_buf_printf(b, "%s = ", o->name);
			sm_conf_put_value(b, o, target);
			sm_buf_cstr(b, ";\n");
		}
	}
}

int sm_conf_dump_one(struct sm_buf *b, const struct sm_opt *table, const void *target,
                     struct sm_str name)
{
	struct sm_str rest, key = sm_str_split(name, '.', &rest);

	for (const struct sm_opt *o = table; o->name != NULL; o++) {
		if (!sm_str_caseeq(sm_str(o->name), key))
			continue;
		if (rest.p != NULL && o->type == SM_OPT_SECTION)
			return sm_conf_dump_one(b, o->sub, at(target, o), rest);
		if (rest.p != NULL)
			break;
		if (o->type == SM_OPT_SECTION || o->type == SM_OPT_SECTIONS) {
			struct sm_opt row[2] = {*o, SM_OPT_END};
			sm_conf_dump(b, row, target, 0, false);
		} else if (o->type == SM_OPT_STR || o->type == SM_OPT_PATH) {
			sm_buf_str(
			    b, *(const struct sm_str *)at(target, o)); /* as a script wants it */
			sm_buf_char(b, '\n');
		} else {
			sm_conf_put_value(b, o, target);
			sm_buf_char(b, '\n');
		}
		return 0;
	}
	return sm_fail(SM_E_NOTFOUND, "there is no option " SM_STR_FMT, SM_STR_ARG(name));
}

static void dump_flags(struct sm_buf *b, const struct sm_opt *table, const char *prefix)
{
	for (const struct sm_opt *o = table; o->name != NULL; o++) {
		if (o->sub != NULL) {
			struct sm_buf inner;
			sm_buf_init(&inner, 4096);
			sm_buf_printf(&inner, "%s%s.", prefix, o->name);
			dump_flags(b, o->sub, sm_buf_c(&inner));
			sm_buf_fini(&inner);
		} else if (o->words != NULL) {
			sm_buf_printf(b, "%s%s:\n", prefix, o->name);
			for (const struct sm_word *w = o->words; w->word != NULL; w++)
				sm_buf_printf(b, "\t%-32s %s\n", w->word,
				              w->help != NULL ? w->help : "");
		}
	}
}

void sm_conf_dump_flags(struct sm_buf *b, const struct sm_opt *table)
{
	dump_flags(b, table, "");
}
