/*
 * The list of a log line, taken apart: once for each list, because a process writes the same few
 * events all day.
 *
 * Invariants: a list is a literal, so its address says which it is, and there are no more than the
 * program has; what is made of it stays. Thread: the loop's.
 */
#include "libsm/log_int.h"

#define BUCKETS 128 /* more than one process has in use */

static struct sm_log_form *forms[BUCKETS];

/* A space ends a pair; for the eye there may be a comma before it. */
static bool at_end(const char *p)
{
	return *p == '\0' || *p == ' ' || (*p == ',' && p[1] == ' ');
}

static const char *next_pair(const char *p)
{
	while (*p == ' ' || (*p == ',' && p[1] == ' '))
		p++;
	return p;
}

/* `p` is behind the percent sign; gives what follows the directive. */
static const char *read_directive(struct sm_log_step *s, const char *p)
{
	s->optional = *p == '?';
	p += s->optional;
	for (; *p == 'l' || *p == 'z'; p++)
		s->longs++;
	s->directive = *p;
	s->clean = strchr("duxmIC%", s->directive) != NULL;
	return p + 1;
}

/* Is the value of this pair one number, and nothing else? Digits of the list are a number too. */
static bool is_number(const char *p)
{
	struct sm_log_step s = {.directive = '\0'};
	const char *from;

	while (*p != '=' && !at_end(p))
		p++;
	if (*p != '=')
		return false;
	from = ++p;
	if (*p == '%') {
		p = read_directive(&s, p + 1);
		return at_end(p) && strchr("dum", s.directive) != NULL;
	}
	while (sm_isdigit(*p))
		p++;
	return p > from && at_end(p) && (*from != '0' || p == from + 1);
}

/* The text goes to *to. */
static const char *add_pair(struct sm_log_form *f, const char *p, char **to)
{
	bool first = true;

	do {
		struct sm_log_step *s = &f->step[f->count++];

		*s = (struct sm_log_step){.first = first, .number = first && is_number(p)};
		s->text.p = *to;
		if (first)
			*to = stpcpy(*to, SM_LOG_SEPARATOR);
		first = false;
		while (*p != '%' && !at_end(p))
			*(*to)++ = *p++;
		s->text.n = (size_t)(*to - s->text.p);
		if (*p == '%') {
			bool value = s->text.n > 0 && (*to)[-1] == '=';

			p = read_directive(s, p + 1);
			s->lone = value && at_end(p);
		}
	} while (!at_end(p));
	return p;
}

static struct sm_log_form *make(const char *list)
{
	struct sm_log_form *f;
	size_t steps = 1, n = strlen(list);
	char *text;

	for (const char *p = list; *p != '\0'; p++)
		steps += *p == '%' || *p == ' ';
	f = sm_malloc(sizeof(*f) + steps * sizeof(f->step[0]) + 2 * n + sizeof(SM_LOG_SEPARATOR));
	f->list = list;
	f->count = 0;
	text = (char *)(f->step + steps);
	for (const char *p = next_pair(list); *p != '\0'; p = next_pair(p))
		p = add_pair(f, p, &text);
	return f;
}

const struct sm_log_form *sm_log_form_of(const char *list)
{
	struct sm_log_form **at, *f;

	list = list != NULL ? list : "";
	at = &forms[((uintptr_t)list >> 3) % BUCKETS];
	for (f = *at; f != NULL; f = f->next)
		if (f->list == list)
			return f;
	f = make(list);
	f->next = *at;
	*at = f;
	return f;
}
