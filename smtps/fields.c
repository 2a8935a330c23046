/*
 * Cutting a message into fields and body. Invariant: what the sink is told, put together (with an
 * empty line where the header ended by one), is what was fed. Pure but for the sink.
 */
#include "smtps/fields.h"

#include "libsm/err.h"

void ss_fields_init(struct ss_fields *f, const struct ss_fields_sink *sink, void *arg,
                    size_t max_field)
{
	*f = (struct ss_fields){.sink = sink, .arg = arg};
	sm_buf_init(&f->b, max_field);
}

void ss_fields_fini(struct ss_fields *f)
{
	sm_buf_fini(&f->b);
}

bool ss_field_name_ok(struct sm_str name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ':')
			return false;
	return name.n > 0;
}

bool ss_field_split(struct sm_str field, struct sm_str *name, struct sm_str *value)
{
	ptrdiff_t colon = sm_str_chr(field, ':');

	if (colon <= 0)
		return false;
	*name = sm_str_head(field, (size_t)colon);
	*value = sm_str_from(field, (size_t)colon + 1);
	/* RFC 5322 4.5 allows white space before the colon in what one has to read. */
	while (name->n > 0 && (name->p[name->n - 1] == ' ' || name->p[name->n - 1] == '\t'))
		name->n--;
	return ss_field_name_ok(*name);
}

static bool is_blank(struct sm_str line)
{
	return sm_str_eq(line, SM_STR("\r\n")) || sm_str_eq(line, SM_STR("\n"));
}

/* The field before the line that is there now is complete. */
static int pass_field(struct ss_fields *f)
{
	struct sm_str field = sm_str_head(sm_buf_view(&f->b), f->field);
	int rc = field.n > 0 ? f->sink->field(f->arg, field) : 0;

	sm_buf_consume(&f->b, f->field);
	f->field = 0;
	return rc;
}

static int end_header(struct ss_fields *f, bool blank)
{
	f->in_body = true;
	return f->sink->end(f->arg, blank);
}

/* A whole line stands behind the field. */
static int header_line(struct ss_fields *f)
{
	struct sm_str line = sm_str_from(sm_buf_view(&f->b), f->field), name, value;
	int rc;

	if (f->field > 0 && (line.p[0] == ' ' || line.p[0] == '\t')) {
		f->field += line.n;
		return 0;
	}
	rc = pass_field(f);
	if (rc != 0)
		return rc;
	line = sm_buf_view(&f->b);
	if (!is_blank(line) && ss_field_split(line, &name, &value)) {
		f->field = line.n;
		return 0;
	}
	rc = end_header(f, is_blank(line));
	if (rc == 0 && !is_blank(line))
		rc = f->sink->body(f->arg, line.p, line.n);
	sm_buf_reset(&f->b);
	return rc;
}

int ss_fields_feed(struct ss_fields *f, const char *p, size_t n)
{
	const char *end = p + n;
	int rc = 0;

	while (rc == 0 && p < end && !f->in_body) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		const char *to = lf != NULL ? lf + 1 : end;

		sm_buf_append(&f->b, p, (size_t)(to - p));
		if (sm_buf_err(&f->b) != 0)
			return sm_fail(SM_E_TOOBIG, "header field is too long");
		p = to;
		if (lf != NULL)
			rc = header_line(f);
	}
	if (rc == 0 && p < end)
		rc = f->sink->body(f->arg, p, (size_t)(end - p));
	return rc;
}

int ss_fields_finish(struct ss_fields *f)
{
	int rc = 0;

	if (f->in_body)
		return 0;
	if (f->b.len > f->field)
		rc = header_line(f);
	if (rc == 0 && !f->in_body) {
		rc = pass_field(f);
		if (rc == 0)
			rc = end_header(f, false);
	}
	return rc;
}
