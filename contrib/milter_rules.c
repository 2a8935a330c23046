/*
 * Reading rules, and the patterns in them. A file is read to its end whatever is wrong in it, so
 * that all errors are told at once. Start of the program, one thread.
 */
#include "contrib/milter_rules_int.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 400, FILE_MAX = 4 * 1024 * 1024 };

struct reader {
	struct mr_rules *rules;
	const char *p, *end; /* all of the file, a NUL behind it */
	unsigned line;
	const char *name;
	FILE *errors;
	bool bad;
};

static bool fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct reader *r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fprintf(r->errors, "%s:%u: ", r->name, r->line);
	vfprintf(r->errors, format, ap);
	putc('\n', r->errors);
	va_end(ap);
	r->bad = true;
	return false;
}

/* ---- words ---- */

static bool is_blank(int c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* A line that begins with a blank goes on with the rule before it. */
static void skip_blanks(struct reader *r)
{
	while (r->p < r->end) {
		if (*r->p == '#') {
			while (r->p < r->end && *r->p != '\n')
				r->p++;
		} else if (is_blank(*r->p)) {
			r->p++;
		} else if (*r->p == '\n' && is_blank(r->p[1])) {
			r->p++;
			r->line++;
		} else {
			return;
		}
	}
}

static bool at_end(struct reader *r)
{
	skip_blanks(r);
	return r->p >= r->end || *r->p == '\n';
}

static void skip_rule(struct reader *r)
{
	while (!at_end(r))
		r->p++;
}

static size_t word_length(struct reader *r)
{
	size_t n = 0;

	skip_blanks(r);
	while (isalpha((unsigned char)r->p[n]))
		n++;
	return n;
}

/* The next word if it is this one. */
static bool take_word(struct reader *r, const char *word)
{
	size_t n = word_length(r);

	if (n != strlen(word) || strncmp(r->p, word, n) != 0)
		return false;
	r->p += n;
	return true;
}

/* One of several words; -1: none of them. */
static int take_one_of(struct reader *r, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (take_word(r, words[i]))
			return (int)i;
	return -1;
}

/* Up to the delimiter, which a backslash protects; other backslashes stay. NULL: told. */
static char *take_delimited(struct reader *r)
{
	char delimiter = *r->p++, *text, *out;
	const char *stop = r->p;

	while (stop < r->end && *stop != '\n' && *stop != delimiter)
		stop += *stop == '\\' && stop + 1 < r->end && stop[1] != '\n' ? 2 : 1;
	if (stop >= r->end || *stop != delimiter) {
		fail(r, "%c is missing at the end of the line", delimiter);
		return NULL;
	}
	text = out = malloc((size_t)(stop - r->p) + 1);
	if (text == NULL) {
		fail(r, "no memory");
		return NULL;
	}
	for (; r->p < stop; r->p++) {
		if (*r->p == '\\') {
			if (r->p[1] != delimiter)
				*out++ = '\\';
			r->p++;
		}
		*out++ = *r->p;
	}
	*out = '\0';
	r->p = stop + 1;
	return text;
}

/* "text"; NULL: told, or it is not there and that is fine. */
static char *take_text(struct reader *r, const char *what)
{
	char *text;

	skip_blanks(r);
	if (*r->p != '"') {
		if (what != NULL)
			fail(r, "%s in \"\" is missing", what);
		return NULL;
	}
	text = take_delimited(r);
	if (text == NULL)
		return NULL;
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f || p - text >= TEXT_MAX) {
			fail(r, p - text >= TEXT_MAX ? "text is too long"
			                             : "text has a control character");
			free(text);
			return NULL;
		}
	return text;
}

/* ---- conditions ---- */

/* A pattern between two of any punctuation, and flags. NULL: told. */
static pcre2_code *take_pattern(struct reader *r)
{
	uint32_t options = PCRE2_DOLLAR_ENDONLY;
	pcre2_code *code;
	PCRE2_SIZE at;
	PCRE2_UCHAR why[200];
	char *text;
	int error;

	skip_blanks(r);
	if (r->p >= r->end || !ispunct((unsigned char)*r->p) || strchr("\"\\()", *r->p) != NULL) {
		fail(r, "a pattern is missing: /regular expression/");
		return NULL;
	}
	text = take_delimited(r);
	if (text == NULL)
		return NULL;
	for (; isalpha((unsigned char)*r->p); r->p++) {
		if (*r->p != 'i' && *r->p != 'x') {
			fail(r, "flag %c of a pattern: there are i and x", *r->p);
			free(text);
			return NULL;
		}
		options |= *r->p == 'i' ? PCRE2_CASELESS : PCRE2_EXTENDED;
	}
	code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &error, &at, NULL);
	if (code == NULL) {
		pcre2_get_error_message(error, why, sizeof(why));
		fail(r, "pattern \"%s\" at %zu: %s", text, at, (const char *)why);
	} else {
		/* Without it matching is only slower. */
		(void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	}
	free(text);
	return code;
}

/* Is there a pattern, not the next condition or the end? */
static bool pattern_follows(struct reader *r)
{
	return !at_end(r) && ispunct((unsigned char)*r->p);
}

static bool take_condition(struct reader *r)
{
	static const char *const events[] = {"connect", "helo", "mail", "rcpt", "header", "body"};
	struct mr_rules *rules = r->rules;
	struct mr_condition c = {.negated = take_word(r, "not")}, *v;
	int event = take_one_of(r, events, sizeof(events) / sizeof(events[0]));

	if (event < 0)
		return fail(
		    r, "a condition is missing: connect, helo, mail, rcpt, header or body, and a "
		       "pattern");
	c.event = (enum mr_event)event;
	v = realloc(rules->conditions, (rules->condition_count + 1) * sizeof(*v));
	if (v == NULL)
		return fail(r, "no memory");
	rules->conditions = v;
	c.first = take_pattern(r);
	if (c.first != NULL && (c.event == MR_CONNECT || c.event == MR_HEADER) &&
	    pattern_follows(r)) {
		c.second = take_pattern(r);
		if (c.second == NULL) {
			pcre2_code_free(c.first);
			return false;
		}
	}
	if (c.first == NULL)
		return false;
	v[rules->condition_count++] = c;
	return true;
}

/* ---- actions ---- */

static size_t status_length(const char *p, char class)
{
	const char *begin = p;

	if (*p++ != class)
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;

		if (*p++ != '.')
			return 0;
		while (digits < 3 && isdigit((unsigned char)p[digits]))
			digits++;
		if (digits == 0)
			return 0;
		p += digits;
	}
	return *p == ' ' || *p == '\0' ? (size_t)(p - begin) : 0;
}

/* [code [status]] text */
static bool take_reply(struct reader *r, struct mr_rule *rule)
{
	bool later = rule->action == MR_TEMPFAIL;
	char class = later ? '4' : '5', *text, *p;
	size_t n;

	snprintf(rule->code, sizeof(rule->code), later ? "451" : "550");
	snprintf(rule->status, sizeof(rule->status), later ? "4.7.1" : "5.7.1");
	rule->text = take_text(r, NULL);
	if (rule->text == NULL) {
		rule->text = r->bad ? NULL : strdup(later ? "Try again later" : "Refused");
		return rule->text != NULL;
	}
	p = text = rule->text;
	if (isdigit((unsigned char)p[0]) && isdigit((unsigned char)p[1]) &&
	    isdigit((unsigned char)p[2]) && (p[3] == ' ' || p[3] == '\0')) {
		if (p[0] != class || strncmp(p, "421", 3) == 0)
			return fail(r, "code %.3s: %s needs %cyz%s", p,
			            later ? "tempfail" : "reject", class, later ? " but 421" : "");
		memcpy(rule->code, p, 3);
		p += 3 + (p[3] == ' ');
		n = status_length(p, class);
		if (n > 0 && n < sizeof(rule->status)) {
			memcpy(rule->status, p, n);
			rule->status[n] = '\0';
			p += n + (p[n] == ' ');
		}
	}
	memmove(text, p, strlen(p) + 1);
	return true;
}

static bool take_field(struct reader *r, struct mr_rule *rule)
{
	rule->name = take_text(r, "the name of a header field");
	if (rule->name == NULL)
		return false;
	if (rule->name[0] == '\0')
		return fail(r, "the header field has no name");
	for (const char *p = rule->name; *p != '\0'; p++)
		if (*p == ':' || *p == ' ' || (unsigned char)*p > '~')
			return fail(r, "\"%s\" is no name of a header field", rule->name);
	rule->text = take_text(r, "the value of a header field");
	return rule->text != NULL;
}

static bool take_arguments(struct reader *r, struct mr_rule *rule)
{
	switch (rule->action) {
	case MR_REJECT:
	case MR_TEMPFAIL:
		return take_reply(r, rule);
	case MR_QUARANTINE:
		rule->text = take_text(r, "the reason");
		return rule->text != NULL;
	case MR_ADD:
		return take_field(r, rule);
	case MR_ACCEPT:
	case MR_DISCARD:
		break;
	}
	return true;
}

/* A client cannot be discarded, only mail. */
static bool is_about_mail(const struct reader *r, const struct mr_rule *rule)
{
	for (size_t i = rule->first; i < r->rules->condition_count; i++)
		if (r->rules->conditions[i].event >= MR_MAIL)
			return true;
	return false;
}

static bool take_rule(struct reader *r, struct mr_rule *rule)
{
	static const char *const actions[] = {"accept",  "reject",     "tempfail",
	                                      "discard", "quarantine", "add"};
	int action = take_one_of(r, actions, sizeof(actions) / sizeof(actions[0]));

	if (action < 0)
		return fail(r, "a rule begins with accept, reject, tempfail, discard, quarantine "
		               "or add");
	rule->action = (enum mr_action)action;
	if (!take_arguments(r, rule))
		return false;
	do {
		if (!take_condition(r))
			return false;
	} while (take_word(r, "and"));
	if (!at_end(r))
		return fail(r, "\"and\" or the end of the line should be here: %.*s",
		            (int)strcspn(r->p, "\r\n"), r->p);
	rule->count = r->rules->condition_count - rule->first;
	if (rule->action == MR_DISCARD && !is_about_mail(r, rule))
		return fail(r, "discard needs a condition about mail, rcpt, header or body");
	return true;
}

static bool next_rule(struct reader *r)
{
	struct mr_rules *rules = r->rules;
	struct mr_rule rule = {.line = r->line, .first = rules->condition_count}, *v;
	bool before = r->bad;

	r->bad = false;
	if (!take_rule(r, &rule))
		skip_rule(r);
	r->bad |= before;
	v = realloc(rules->v, (rules->count + 1) * sizeof(*v));
	if (v == NULL) {
		free(rule.name);
		free(rule.text);
		return fail(r, "no memory");
	}
	rules->v = v;
	v[rules->count++] = rule;
	return true;
}

/* All of a file, with a NUL. */
static char *slurp(FILE *f, size_t *size)
{
	char *text = malloc(FILE_MAX + 1);

	if (text == NULL)
		return NULL;
	*size = fread(text, 1, FILE_MAX, f);
	text[*size] = '\0';
	if (ferror(f) || !feof(f) || memchr(text, '\0', *size) != NULL) {
		free(text);
		return NULL;
	}
	return text;
}

struct mr_rules *mr_read(FILE *f, const char *name, FILE *errors)
{
	struct reader r = {.line = 1, .name = name, .errors = errors};
	size_t size;
	char *text = slurp(f, &size);

	r.rules = calloc(1, sizeof(*r.rules));
	if (text == NULL || r.rules == NULL) {
		fail(&r, "cannot be read, is no text, or is larger than 4 MB");
		free(text);
		mr_free(r.rules);
		return NULL;
	}
	r.p = text;
	r.end = text + size;
	while (r.p < r.end) {
		if (!at_end(&r)) {
			if (!next_rule(&r))
				break;
		} else if (r.p < r.end) {
			r.p++;
			r.line++;
		}
	}
	free(text);
	if (r.bad) {
		mr_free(r.rules);
		return NULL;
	}
	return r.rules;
}

void mr_free(struct mr_rules *rules)
{
	if (rules == NULL)
		return;
	for (size_t i = 0; i < rules->condition_count; i++) {
		pcre2_code_free(rules->conditions[i].first);
		pcre2_code_free(rules->conditions[i].second);
	}
	for (size_t i = 0; i < rules->count; i++) {
		free(rules->v[i].name);
		free(rules->v[i].text);
	}
	free(rules->conditions);
	free(rules->v);
	free(rules);
}

size_t mr_count(const struct mr_rules *rules)
{
	return rules->count;
}

const struct mr_rule *mr_rule(const struct mr_rules *rules, size_t i)
{
	return &rules->v[i];
}

bool mr_asks(const struct mr_rules *rules, enum mr_event event)
{
	for (size_t i = 0; i < rules->condition_count; i++)
		if (rules->conditions[i].event == event)
			return true;
	return false;
}
