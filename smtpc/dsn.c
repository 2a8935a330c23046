/*
 * Delivery status notifications (RFC 3461, 3462, 3464): multipart/report of a text for people, a
 * message/delivery-status for programs, and the original message or its header.
 *
 * What comes out is always 7-bit text in CRLF lines of at most 998 bytes, whatever the original
 * held: a part that would not be so is not enclosed as a message; of its header, bytes that do not
 * fit are replaced. Coroutines of the loop's thread.
 */
#include "smtpc/dsn.h"

#include <stdio.h>

#include "libsm/log.h"
#include "libsm/rand.h"
#include "libsm/smtp_cmd.h"
#include "libsm/time.h"
#include "smtpc/sc.h"
#include "smtpc/task.h"

enum {
	ORIGINAL_MAX = 50 * 1024,
	LINE_MAX_BYTES = 998, /* RFC 5322 2.1.1 */
	BOUNDARY_MAX = 64,
};

struct kind {
	const char *action; /* RFC 3464 2.3.3 */
	const char *subject;
	const char *text;
	const char *status; /* when nobody gave one */
};

static const struct kind *kind_of(unsigned dsn)
{
	static const struct kind kinds[] = {
	    [SM_DSN_FAILED] = {"failed", "Returned mail: could not be delivered",
	                       "Your message could not be delivered to the recipients below. "
	                       "It will not be tried again.",
	                       "5.0.0"},
	    [SM_DSN_DELAYED] = {"delayed", "Warning: mail is delayed",
	                        "Your message has not been delivered yet to the recipients below. "
	                        "This is only a warning:\r\nyou need not send it again, it is "
	                        "still being tried.",
	                        "4.0.0"},
	    [SM_DSN_DELIVERED] = {"delivered", "Mail was delivered",
	                          "Your message was delivered to the recipients below.", "2.0.0"},
	    [SM_DSN_RELAYED] = {"relayed", "Mail was passed on",
	                        "Your message was passed on to a system that does not send notices "
	                        "of delivery, for\r\nthe recipients below. You may not hear of it "
	                        "again.",
	                        "2.0.0"},
	    [SM_DSN_EXPANDED] = {"expanded", "Mail was passed on to a list",
	                         "Your message was passed on to the members of the lists below.",
	                         "2.0.0"},
	};

	if (dsn == SM_DSN_NONE || dsn >= SM_ARRAY_SIZE(kinds))
		dsn = SM_DSN_FAILED;
	return &kinds[dsn];
}

/* ---- pieces of text ---- */

/* A value inside of a header field: printable ASCII in one line. */
static void put_value(struct sm_buf *b, struct sm_str s)
{
	for (size_t i = 0; i < s.n; i++)
		sm_buf_char(b, s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?');
}

static void put_field(struct sm_buf *b, const char *name, const char *type, struct sm_str value)
{
	sm_buf_printf(b, "%s: %s", name, type);
	put_value(b, value);
	sm_buf_cstr(b, "\r\n");
}

static void put_date(struct sm_buf *b, const char *name, int64_t wall_s)
{
	char date[SM_TIME_RFC5322_MAX];

	sm_time_rfc5322(wall_s, date);
	sm_buf_printf(b, "%s: %s\r\n", name, date);
}

/* "rfc822;xtext" as the client gave it, decoded (RFC 3464 2.3.1); false when there is none worth a
 * field. */
static bool put_orcpt(struct sm_buf *b, struct sm_arena *a, struct sm_str orcpt)
{
	struct sm_str address, decoded;
	struct sm_str type = sm_str_split(orcpt, ';', &address);

	if (sm_str_empty(type) || sm_str_empty(address) ||
	    sm_xtext_decode(address, a, &decoded) != 0)
		return false;
	sm_buf_cstr(b, "Original-Recipient: ");
	put_value(b, type);
	sm_buf_cstr(b, "; ");
	put_value(b, decoded);
	sm_buf_cstr(b, "\r\n");
	return true;
}

/* ---- the parts ---- */

/* The boundary: does not occur in the original, because it is looked for there. */
static void make_boundary(struct sm_str original, char out[BOUNDARY_MAX])
{
	uint64_t r[2];

	do {
		sm_rand_secret(r, sizeof(r));
		(void)snprintf(out, BOUNDARY_MAX, "=_%016llx%016llx_=", (unsigned long long)r[0],
		               (unsigned long long)r[1]);
	} while (original.n > 0 && memmem(original.p, original.n, out, strlen(out)) != NULL);
}

static void put_head(struct sc_task *t, const struct kind *k, const char *boundary,
                     struct sm_buf *b)
{
	struct sm_str host = t->sc->hostname;
	char id[SM_ID_SIZE];

	put_date(b, "Date", t->in.received_s);
	sm_buf_printf(b, "From: Mail Delivery System <MAILER-DAEMON@" SM_STR_FMT ">\r\n",
	              SM_STR_ARG(host));
	sm_buf_cstr(b, "To: <");
	put_value(b, t->in.dsn_sender);
	sm_buf_printf(b, ">\r\nSubject: %s\r\n", k->subject);
	sm_buf_printf(b, "Message-ID: <%s@" SM_STR_FMT ">\r\n", sm_id_text(t->in.ta, id),
	              SM_STR_ARG(host));
	sm_buf_printf(b,
	              "Auto-Submitted: auto-replied\r\n"
	              "MIME-Version: 1.0\r\n"
	              "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	              "\tboundary=\"%s\"\r\n"
	              "\r\n"
	              "This is a report in MIME format.\r\n",
	              boundary);
}

static void put_text(struct sc_task *t, const struct kind *k, struct sm_buf *b)
{
	char id[SM_ID_SIZE], date[SM_TIME_RFC5322_MAX];

	sm_buf_printf(b,
	              "Content-Type: text/plain; charset=us-ascii\r\n"
	              "Content-Description: Notification\r\n"
	              "\r\n"
	              "This is the mail system at " SM_STR_FMT ".\r\n"
	              "\r\n"
	              "%s\r\n"
	              "Its id here is %s.\r\n",
	              SM_STR_ARG(t->sc->hostname), k->text, sm_id_text(t->in.dsn_of, id));
	for (size_t i = 0; i < t->in.dsn_rcpts_count; i++) {
		const struct sm_msg_dsn_rcpt *r = &t->in.dsn_rcpts[i];
		sm_buf_cstr(b, "\r\n<");
		put_value(b, r->addr);
		sm_buf_cstr(b, ">\r\n");
		if (r->host.n > 0) {
			sm_buf_cstr(b, "    host: ");
			put_value(b, r->host);
			sm_buf_cstr(b, "\r\n");
		}
		if (r->text.n > 0 || r->code != 0) {
			sm_buf_cstr(b, r->host.n > 0 ? "    said: " : "    reason: ");
			if (r->code != 0)
				sm_buf_printf(b, "%u ", (unsigned)r->code);
			put_value(b, r->text);
			sm_buf_cstr(b, "\r\n");
		}
		if (r->last_try_s != 0) {
			sm_time_rfc5322(r->last_try_s, date);
			sm_buf_printf(b, "    last try: %s\r\n", date);
		}
	}
}

/* The enhanced code in front of the text, or the kind's. */
static void put_status(struct sm_buf *b, const struct sm_msg_dsn_rcpt *r, const struct kind *k)
{
	struct sm_str rest;
	unsigned num[3];
	int class = r->text.n > 0 && sm_isdigit(r->text.p[0]) ? r->text.p[0] - '0' : 0;

	/* RFC 3464 2.3.4: the class fits the action. A failure after many temporary errors keeps
	 * its 4. */
	if (sm_enhanced_parse(r->text, class * 100, num, &rest) &&
	    (class == k->status[0] - '0' || (class == 4 && k->status[0] == '5')))
		sm_buf_printf(b, "Status: %u.%u.%u\r\n", num[0], num[1], num[2]);
	else
		sm_buf_printf(b, "Status: %s\r\n", k->status);
}

static void put_status_part(struct sc_task *t, const struct kind *k, struct sm_buf *b)
{
	struct sm_str envid;

	sm_buf_cstr(b, "Content-Type: message/delivery-status\r\n"
	               "Content-Description: Delivery report\r\n"
	               "\r\n");
	put_field(b, "Reporting-MTA", "dns; ", t->sc->hostname);
	if (t->in.envid.n > 0 && sm_xtext_decode(t->in.envid, &t->arena, &envid) == 0)
		put_field(b, "Original-Envelope-Id", "", envid);
	if (t->in.dsn_received_s != 0)
		put_date(b, "Arrival-Date", t->in.dsn_received_s);
	for (size_t i = 0; i < t->in.dsn_rcpts_count; i++) {
		const struct sm_msg_dsn_rcpt *r = &t->in.dsn_rcpts[i];
		const struct kind *own = r->action != SM_DSN_NONE ? kind_of(r->action) : k;
		sm_buf_cstr(b, "\r\n");
		(void)put_orcpt(b, &t->arena, r->orcpt);
		put_field(b, "Final-Recipient", "rfc822; ", r->addr);
		sm_buf_printf(b, "Action: %s\r\n", own->action);
		put_status(b, r, own);
		if (r->host.n > 0)
			put_field(b, "Remote-MTA", r->host.p[0] == '/' ? "x-unix; " : "dns; ",
			          r->host);
		if (r->code != 0) {
			sm_buf_printf(b, "Diagnostic-Code: smtp; %u ", (unsigned)r->code);
			put_value(b, r->text);
			sm_buf_cstr(b, "\r\n");
		} else if (r->text.n > 0) {
			put_field(b, "Diagnostic-Code", "x-smx; ", r->text);
		}
		if (r->last_try_s != 0)
			put_date(b, "Last-Attempt-Date", r->last_try_s);
	}
}

/* Could these bytes stand in a 7-bit message as they are? */
static bool is_7bit(struct sm_str s)
{
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool end = c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n';
		if (c == 0 || c >= 0x80 || (c == '\r' && !end))
			return false;
		if (c == '\n' && (i == 0 || s.p[i - 1] != '\r'))
			return false;
		line = c == '\n' ? 0 : line + (c != '\r');
		if (line > LINE_MAX_BYTES)
			return false;
	}
	return true;
}

/* The header of the original up to the empty line; lines cut to their limit, bytes that do not fit
 * as '?'. */
static void put_header_of(struct sm_buf *b, struct sm_str original)
{
	while (original.n > 0) {
		struct sm_str rest;
		struct sm_str line = sm_str_split(original, '\n', &rest);
		if (rest.p == NULL && line.n == ORIGINAL_MAX)
			break; /* one endless line */
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n == 0)
			break;
		put_value(b, sm_str_head(line, LINE_MAX_BYTES));
		sm_buf_cstr(b, "\r\n");
		original = rest;
	}
}

static void put_original(struct sc_task *t, struct sm_str original, bool whole, struct sm_buf *b)
{
	/* RFC 3461 4.3: the content goes back only with failures, and not when only the header is
	 * wanted. */
	bool enclose = whole && t->in.dsn_kind == SM_DSN_FAILED && t->in.ret != SM_RET_HDRS &&
	               is_7bit(original);

	sm_buf_printf(b,
	              "Content-Type: %s\r\n"
	              "Content-Description: Undelivered message%s\r\n"
	              "\r\n",
	              enclose ? "message/rfc822" : "text/rfc822-headers",
	              enclose ? "" : " (header)");
	if (!enclose) {
		put_header_of(b, original);
		return;
	}
	sm_buf_str(b, original);
	if (!sm_str_has_suffix(original, SM_STR("\r\n")))
		sm_buf_cstr(b, "\r\n");
}

void sc_dsn_write(struct sc_task *t, struct sm_str original, bool whole, struct sm_buf *out)
{
	const struct kind *k = kind_of(t->in.dsn_kind);
	char boundary[BOUNDARY_MAX];

	make_boundary(original, boundary);
	put_head(t, k, boundary, out);
	sm_buf_printf(out, "\r\n--%s\r\n", boundary);
	put_text(t, k, out);
	sm_buf_printf(out, "\r\n--%s\r\n", boundary);
	put_status_part(t, k, out);
	if (original.n > 0) {
		sm_buf_printf(out, "\r\n--%s\r\n", boundary);
		put_original(t, original, whole, out);
	}
	sm_buf_printf(out, "\r\n--%s--\r\n", boundary);
}

/* ---- reading the original ---- */

/* Up to ORIGINAL_MAX bytes. 0 or an error. */
static int read_original(struct sc_task *t, struct sm_buf *b)
{
	struct cdb_reader *reader = NULL;
	const char *p;
	ssize_t n = 0;
	int rc;

	if (sm_id_none(t->in.content) || t->in.size == 0)
		return 0;
	rc = cdb_read_open(t->sc->cdb, t->in.content, t->in.content_offset, t->in.size, &reader);
	while (rc == 0 && b->len < ORIGINAL_MAX && (n = cdb_read(reader, &p)) > 0)
		sm_buf_append(b, p, SM_MIN((size_t)n, ORIGINAL_MAX - b->len));
	cdb_read_close(&reader);
	return n < 0 ? (int)n : rc;
}

int sc_dsn_compose(struct sc_task *t)
{
	struct sm_buf original;
	int rc;

	sm_buf_init(&original, ORIGINAL_MAX);
	rc = read_original(t, &original);
	if (rc != 0)
		sm_log(SM_ERROR, "sc.content", "ss_ta=%I content=%I error=%E", t->in.ta,
		       t->in.content, rc);
	if (rc == SM_E_NOTFOUND || rc == SM_E_CORRUPT) {
		sm_buf_reset(&original);
		rc = 0;
	}
	if (rc == 0) {
		t->content.is_composed = true;
		sc_dsn_write(t, sm_buf_view(&original), original.len == t->in.size,
		             &t->content.composed);
		rc = sm_buf_err(&t->content.composed);
		if (rc != 0)
			(void)sm_fail(rc, "report larger than %zu bytes", t->content.composed.max);
	}
	if (rc != 0)
		sc_why_error(&t->why, SM_STAGE_LOCAL, rc);
	sm_buf_fini(&original);
	return rc;
}
