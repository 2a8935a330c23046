/*
 * Option tables as mdoc(7) list items, from which the manual page of the configuration file is
 * made. Pure; any thread.
 */
#include "libsm/conf_value.h"

#define LINE_MAX_BYTES 78

/* One word of a running text: backslashes doubled, and what would be a macro at the front of a line
 * hidden. */
static size_t put_word(struct sm_buf *b, struct sm_str word, bool front)
{
	size_t before = b->len;

	if (front && (word.p[0] == '.' || word.p[0] == '\''))
		sm_buf_cstr(b, "\\&");
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] == '\\')
			sm_buf_cstr(b, "\\e");
		else
			sm_buf_char(b, word.p[i]);
	}
	return b->len - before;
}

/* Running text in lines of bounded length; mdoc wants each sentence to begin on a new one. Ends
 * with a newline. */
static void put_text(struct sm_buf *b, struct sm_str s)
{
	size_t column = 0;

	for (struct sm_str word = sm_str_word(&s); !sm_str_empty(word); word = sm_str_word(&s)) {
		if (column > 0 && column + 1 + word.n > LINE_MAX_BYTES) {
			sm_buf_char(b, '\n');
			column = 0;
		}
		if (column > 0) {
			sm_buf_char(b, ' ');
			column++;
		}
		column += put_word(b, word, column == 0);
		if (sm_str_has_suffix(word, SM_STR("."))) {
			sm_buf_char(b, '\n');
			column = 0;
		}
	}
	if (column > 0)
		sm_buf_char(b, '\n');
}

/* A sentence from a help line, which has neither capital nor period. */
static void put_help(struct sm_buf *b, const char *help)
{
	struct sm_buf sentence;

	sm_buf_init(&sentence, 4096);
	sm_buf_printf(&sentence, "%s.", help);
	/* "mcp opens ..." and the like begin with a name: only a plain word gets its capital. */
	if (help[0] >= 'a' && help[0] <= 'z' && strncmp(help, "mcp", 3) != 0 &&
	    strncmp(help, "smtp", 4) != 0)
		sm_buf_p(&sentence)[0] = (char)(help[0] - 32);
	put_text(b, sm_buf_view(&sentence));
	sm_buf_fini(&sentence);
}

/* A word as one argument of a macro. */
static void put_arg(struct sm_buf *b, const char *s)
{
	sm_buf_char(b, '"');
	for (; *s != '\0'; s++) {
		if (*s == '"')
			sm_buf_cstr(b, "\"\"");
		else if (*s == '\\')
			sm_buf_cstr(b, "\\e");
		else
			sm_buf_char(b, *s);
	}
	sm_buf_char(b, '"');
}

static const char *type_text(const struct sm_opt *o)
{
	switch (o->type) {
	case SM_OPT_BOOL:
		return "boolean";
	case SM_OPT_INT:
		return "number";
	case SM_OPT_TIME:
		return sm_conf_unit_is(o, "us") ? "time in microseconds" : "time";
	case SM_OPT_SIZE:
		return sm_conf_unit_is(o, "KB") ? "size in KB" : "size";
	case SM_OPT_STR:
		return "string";
	case SM_OPT_PATH:
		return "path";
	case SM_OPT_ENUM:
		return "word";
	case SM_OPT_FLAGS:
		return "flags";
	case SM_OPT_LIST:
		return "list";
	case SM_OPT_SECTION:
		return "section";
	case SM_OPT_SECTIONS:
		return "section, repeatable";
	}
	return "";
}

static void put_facts(struct sm_buf *b, const struct sm_opt *o)
{
	bool number = o->type == SM_OPT_INT || o->type == SM_OPT_TIME || o->type == SM_OPT_SIZE;
	const char *of = o->type == SM_OPT_INT && o->unit != NULL ? o->unit : NULL;

	if (o->required) {
		sm_buf_cstr(b, "Required.\n");
	} else if (o->def != NULL && o->def[0] != '\0') {
		sm_buf_cstr(b, "Default:\n.Ql ");
		put_arg(b, o->def);
		if (o->type == SM_OPT_PATH && sm_conf_unit_is(o, "etc") && o->def[0] != '/')
			sm_buf_cstr(b, "\nin the directory of the configuration file");
		sm_buf_cstr(b,
		            o->type == SM_OPT_PATH && sm_conf_unit_is(o, "etc") && o->def[0] != '/'
		                ? ".\n"
		                : " .\n");
	}
	if (number && (o->max > 0 || o->min < 0)) {
		sm_buf_cstr(b, "Range: ");
		sm_conf_put_number(b, o, o->min);
		sm_buf_cstr(b, " to ");
		sm_conf_put_number(b, o, o->max);
		sm_buf_printf(b, "%s%s.\n", of != NULL ? " " : "", of != NULL ? of : "");
	} else if (of != NULL) {
		sm_buf_printf(b, "Unit: %s.\n", of);
	}
	if (o->reload)
		sm_buf_cstr(b, "A reload changes it.\n");
	if (o->session)
		sm_buf_cstr(b, "May differ between sessions.\n");
}

static void put_words(struct sm_buf *b, const struct sm_opt *o)
{
	sm_buf_cstr(b, ".Bl -tag -width Ds -compact\n");
	for (const struct sm_word *w = o->words; w->word != NULL; w++) {
		sm_buf_printf(b, ".It Cm %s\n", w->word);
		if (w->help != NULL)
			put_help(b, w->help);
	}
	sm_buf_cstr(b, ".El\n");
}

void sm_conf_man(struct sm_buf *b, const struct sm_opt *table, const char *prefix)
{
	for (const struct sm_opt *o = table; o->name != NULL; o++) {
		sm_buf_printf(b, ".It Ic %s%s Pq %s\n", prefix, o->name, type_text(o));
		put_help(b, o->help != NULL ? o->help : o->name);
		if (o->man != NULL)
			put_text(b, sm_str(o->man));
		put_facts(b, o);
		if (o->words != NULL)
			put_words(b, o);
		if (o->sub != NULL) {
			struct sm_buf inner;
			sm_buf_init(&inner, 4096);
			sm_buf_printf(&inner, "%s%s.", prefix, o->name);
			sm_conf_man(b, o->sub, sm_buf_c(&inner));
			sm_buf_fini(&inner);
		}
	}
}
