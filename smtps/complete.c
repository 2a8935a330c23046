/*
 * Finds the end of a header and what is missing in it. Invariant: what passes is what came, byte
 * for byte, but for the fields that are added (and, where a header goes over into text without the
 * empty line, that line); memory is fixed, and how the content was split changes nothing. Pure but
 * for `put`.
 *
 *   header = *( field-name *WSP ":" text CRLF *( WSP text CRLF ) ) CRLF
 */
#include "smtps/complete.h"

#include <stdio.h>

#include "libsm/buf.h"
#include "libsm/time.h"

enum line { UNKNOWN, FIELD, FOLDED, EMPTY, TEXT };

void ss_complete_init(struct ss_complete *c, const struct ss_complete_by *by)
{
	*c = (struct ss_complete){.by = *by,
	                          .missing = SS_ADDED_DATE | SS_ADDED_MSGID | SS_ADDED_FROM};
}

static int put(struct ss_complete *c, const void *p, size_t n)
{
	return n > 0 ? c->by.put(c->by.arg, p, n) : 0;
}

static int put_held(struct ss_complete *c)
{
	size_t n = c->held_n;

	c->held_n = 0;
	return put(c, c->held, n);
}

struct sm_str ss_complete_msgid(const struct ss_complete *c, char *out, size_t size)
{
	int n = snprintf(out, size, "<" SM_STR_FMT "@" SM_STR_FMT ">",
	                 SM_STR_ARG(sm_str_head(c->by.unique, 40)),
	                 SM_STR_ARG(sm_str_head(c->by.hostname, 255)));

	return sm_str_n(out, SM_MIN((size_t)n, size - 1));
}

/* The fields that are missing, at the end of the header. */
static int put_fields(struct ss_complete *c)
{
	char date[SM_TIME_RFC5322_MAX], msgid[SS_COMPLETE_ID];
	struct sm_buf b;
	int rc;

	c->over = true;
	c->added = c->missing;
	if (c->missing == 0)
		return 0;
	sm_buf_init(&b, 4096);
	if (c->missing & SS_ADDED_DATE) {
		sm_time_rfc5322(c->by.wall_s, date);
		sm_buf_printf(&b, "Date: %s\r\n", date);
	}
	if (c->missing & SS_ADDED_MSGID) {
		(void)ss_complete_msgid(c, msgid, sizeof(msgid));
		sm_buf_printf(&b, "Message-ID: %s\r\n", msgid);
	}
	if ((c->missing & SS_ADDED_FROM) && !sm_str_empty(c->by.sender))
		sm_buf_printf(&b, "From: " SM_STR_FMT "%s<" SM_STR_FMT ">\r\n",
		              SM_STR_ARG(c->by.phrase), sm_str_empty(c->by.phrase) ? "" : " ",
		              SM_STR_ARG(c->by.sender));
	else if (c->missing & SS_ADDED_FROM)
		sm_buf_printf(&b, "From: <MAILER-DAEMON@" SM_STR_FMT ">\r\n",
		              SM_STR_ARG(c->by.hostname));
	rc = put(c, sm_buf_p(&b), b.len);
	sm_buf_fini(&b);
	return rc;
}

/* What the held beginning of a line is. */
static enum line kind(const struct ss_complete *c)
{
	size_t n = c->held_n;
	char last = c->held[n - 1];
	bool blank_before = n > 1 && (c->held[n - 2] == ' ' || c->held[n - 2] == '\t');

	if (n == 1 && (last == ' ' || last == '\t'))
		return c->any ? FOLDED : TEXT;
	if (c->held[0] == '\r')
		return n == 1 ? UNKNOWN : last == '\n' ? EMPTY : TEXT;
	if (last == ':')
		return n > 1 ? FIELD : TEXT;
	if (last == ' ' || last == '\t')
		return n < sizeof(c->held) ? UNKNOWN : TEXT;
	if (last <= ' ' || last > '~' || blank_before || n == sizeof(c->held))
		return TEXT;
	return UNKNOWN;
}

static void note_field(struct ss_complete *c)
{
	static const struct {
		struct sm_str name;
		unsigned bit;
	} fields[] = {{SM_STR("date"), SS_ADDED_DATE},
	              {SM_STR("message-id"), SS_ADDED_MSGID},
	              {SM_STR("from"), SS_ADDED_FROM}};
	struct sm_str name = sm_str_trim(sm_str_n(c->held, c->held_n - 1));

	for (size_t i = 0; i < SM_ARRAY_SIZE(fields); i++)
		if (sm_str_caseeq(name, fields[i].name))
			c->missing &= ~fields[i].bit;
	c->any = true;
}

static int decide(struct ss_complete *c)
{
	int rc = 0;

	switch (kind(c)) {
	case UNKNOWN:
		return 0;
	case FIELD:
		note_field(c);
		c->passing = true;
		break;
	case FOLDED:
		c->passing = true;
		break;
	case EMPTY:
		rc = put_fields(c);
		break;
	case TEXT:
		/* Text that nothing separates from the header, or without any header. */
		rc = put_fields(c);
		if (rc == 0)
			rc = put(c, "\r\n", 2);
		break;
	}
	return rc != 0 ? rc : put_held(c);
}

int ss_complete_feed(struct ss_complete *c, const char *p, size_t n)
{
	int rc = 0;

	while (rc == 0 && n > 0 && !c->over) {
		size_t part = 1;

		if (c->passing) {
			const char *lf = memchr(p, '\n', n);

			part = lf != NULL ? (size_t)(lf - p) + 1 : n;
			c->passing = lf == NULL;
			rc = put(c, p, part);
		} else {
			c->held[c->held_n++] = *p;
			rc = decide(c);
		}
		p += part;
		n -= part;
	}
	return rc != 0 ? rc : put(c, p, n);
}

int ss_complete_end(struct ss_complete *c)
{
	int rc;

	if (c->over)
		return 0;
	/* A last chunk (RFC 3030) need not end a line. */
	rc = c->passing && c->missing != 0 ? put(c, "\r\n", 2) : 0;
	if (rc == 0)
		rc = put_fields(c);
	if (rc == 0 && c->held_n > 0)
		rc = put(c, "\r\n", 2);
	return rc != 0 ? rc : put_held(c);
}
