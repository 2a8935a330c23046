/*
 * Changes of a header, as sendmail and Postfix understand them. Invariant: whatever a filter says,
 * a change is one field, and ours stays where it is among those that were not changed. Pure.
 */
#include "smtps/header.h"

#include "libsm/err.h"
#include "smtps/fields.h"

enum { FIELDS_FIRST = 32 };

/* ---- a change ---- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* The next line that is not empty, without its end: p NULL when there is none. */
static struct sm_str next_line(struct sm_str *value)
{
	while (value->p != NULL) {
		struct sm_str line = sm_str_split(*value, '\n', value);

		while (line.n > 0 && (line.p[line.n - 1] == '\r' || is_space(line.p[line.n - 1])))
			line.n--;
		if (sm_str_trim(line).n > 0)
			return line;
	}
	return SM_STR_NONE;
}

static void put_field(struct sm_buf *b, struct sm_str name, struct sm_str value, bool spaced)
{
	struct sm_str line;
	bool first = true;

	sm_buf_str(b, name);
	/* Also before nothing, as with sendmail. */
	sm_buf_cstr(b, spaced ? ":" : ": ");
	while (line = next_line(&value), line.p != NULL) {
		if (!first)
			sm_buf_cstr(b, is_space(line.p[0]) ? "\r\n" : "\r\n\t");
		first = false;
		/* A CR in the middle of a line would be a bare one. */
		for (size_t i = 0; i < line.n; i++)
			sm_buf_char(b, line.p[i] == '\r' ? ' ' : line.p[i]);
	}
	sm_buf_cstr(b, "\r\n");
}

int ss_header_change_new(struct sm_arena *a, enum ss_header_change_kind kind, uint32_t index,
                         struct sm_str name, struct sm_str value, bool spaced,
                         struct ss_header_change **out)
{
	struct ss_header_change *c;
	struct sm_buf b;

	if (!ss_field_name_ok(name))
		return sm_fail(SM_E_SYNTAX, "\"%.*s\" is no name of a header field",
		               SM_STR_ARG(sm_str_head(name, 60)));
	c = sm_arena_alloc(a, sizeof(*c));
	if (c == NULL)
		return sm_fail(SM_E_TOOBIG, "changes take too much room");
	*c = (struct ss_header_change){.kind = kind, .index = index};
	sm_list_init(&c->link);
	c->name = sm_arena_str(a, name);
	c->field = SM_STR("");
	if (kind != SS_HEADER_REPLACE || !sm_str_empty(value)) {
		/* Each line may get two bytes more. */
		sm_buf_init(&b, name.n + 3 * value.n + 16);
		put_field(&b, name, value, spaced);
		c->field = sm_arena_str(a, sm_buf_view(&b));
		sm_buf_fini(&b);
	}
	if (c->name.p == NULL || c->field.p == NULL)
		return sm_fail(SM_E_TOOBIG, "changes take too much room");
	*out = c;
	return 0;
}

/* ---- a header ---- */

void ss_header_init(struct ss_header *h, size_t ours)
{
	*h = (struct ss_header){.ours = ours};
}

void ss_header_fini(struct ss_header *h)
{
	SM_FREE(h->v);
	h->n = h->cap = 0;
}

static void insert(struct ss_header *h, size_t at, struct sm_str field)
{
	if (h->n == h->cap) {
		h->cap = h->cap == 0 ? FIELDS_FIRST : h->cap * 2;
		h->v = sm_realloc(h->v, h->cap, sizeof(*h->v));
	}
	memmove(h->v + at + 1, h->v + at, (h->n - at) * sizeof(*h->v));
	h->v[at] = field;
	h->n++;
}

void ss_header_push(struct ss_header *h, struct sm_str field)
{
	insert(h, h->n, field);
}

static void take_away(struct ss_header *h, size_t at)
{
	memmove(h->v + at, h->v + at + 1, (h->n - at - 1) * sizeof(*h->v));
	h->n--;
	if (h->ours != SIZE_MAX && at < h->ours)
		h->ours--;
}

/* The index-th field of that name, from 1; SIZE_MAX: there is none. */
static size_t find(const struct ss_header *h, struct sm_str name, uint32_t index)
{
	struct sm_str its, value;

	for (size_t i = 0; i < h->n; i++)
		if (i != h->ours && ss_field_split(h->v[i], &its, &value) &&
		    sm_str_caseeq(its, name) && (index <= 1 || --index == 0))
			return i;
	return SIZE_MAX;
}

void ss_header_apply(struct ss_header *h, const struct ss_header_change *c)
{
	size_t at;

	switch (c->kind) {
	case SS_HEADER_ADD:
		ss_header_push(h, c->field);
		break;
	case SS_HEADER_INSERT:
		at = SM_MIN((size_t)c->index, h->n);
		insert(h, at, c->field);
		if (h->ours != SIZE_MAX && at <= h->ours)
			h->ours++;
		break;
	case SS_HEADER_REPLACE:
		at = find(h, c->name, c->index);
		if (at != SIZE_MAX && sm_str_empty(c->field))
			take_away(h, at);
		else if (at != SIZE_MAX)
			h->v[at] = c->field;
		else if (!sm_str_empty(c->field))
			ss_header_push(h, c->field);
		break;
	}
}
