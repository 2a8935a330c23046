/*
 * Delivery status notifications (RFC 3461, 3464, 6522): multipart/report of a text for people, a
 * message/delivery-status for programs, and the original message or its header.
 *
 * What comes out is text in CRLF lines of at most 998 bytes, whatever the original held, and 7-bit
 * unless the server takes 8-bit content and the original needs it: a part that would not be so is
 * not enclosed as a message, and a header that is not is encoded.
 *
 * Where addresses or the original's header are in UTF-8 the parts are those of RFC 6533, as they
 * are for a server that takes SMTPUTF8, encoded for another. Coroutines of the loop's thread.
 */
#include "smtpc/dsn.h"

#include <stdio.h>
#include "libsm/log.h"
#include "libsm/rand.h"
#include "libsm/smtp_cmd.h"
#include "libsm/time.h"
#include "libsm/utf8.h"
#include "smtpc/sc.h"
#include "smtpc/task.h"

enum {
	HEADER_MAX = 32 * 1024, /* of the original's header, when only that goes back */
	MESSAGE_ID_MAX = 250,
	BOUNDARY_MAX = 64,
	ENCODED_MAX = 900, /* of an address: a line has 998 */
	SCRATCH_FIRST = 1024,
	SCRATCH_MAX = 256 * 1024, /* parameters of 100 recipients, decoded; one report each */
};

struct kind {
	const char *action; /* RFC 3464 2.3.3 */
	const char *status; /* when nobody gave one */
};

static const struct kind *kind_of(unsigned dsn)
{
	static const struct kind kinds[] = {
	    [SM_DSN_FAILED] = {"failed", "5.0.0"},       [SM_DSN_DELAYED] = {"delayed", "4.0.0"},
	    [SM_DSN_DELIVERED] = {"delivered", "2.0.0"}, [SM_DSN_RELAYED] = {"relayed", "2.0.0"},
	    [SM_DSN_EXPANDED] = {"expanded", "2.0.0"},   [SM_DSN_BOUNCED] = {"failed", "5.0.0"},
	};

	if (dsn == SM_DSN_NONE || dsn >= SM_ARRAY_SIZE(kinds))
		dsn = SM_DSN_FAILED;
	return &kinds[dsn];
}

/* ---- pieces of text ---- */

/* Among text for people: one line, in UTF-8 if it is so. */
static void put_words(struct sm_buf *b, struct sm_str s)
{
	bool utf8 = sm_utf8_graphic(s);

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		sm_buf_char(b, c >= ' ' && c != 0x7f && (utf8 || c < 0x80) ? s.p[i] : '?');
	}
}

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

/* An address: as it is, or one in UTF-8 as RFC 6533 3 has it for ASCII. */
static void put_address(struct sm_buf *b, struct sm_str addr, bool global)
{
	struct sm_buf encoded;

	if (sm_str_is_ascii(addr) || !sm_utf8_graphic(addr)) {
		put_value(b, addr);
	} else if (global) {
		put_words(b, addr);
	} else {
		sm_buf_init(&encoded, ENCODED_MAX);
		sm_unitext_put(&encoded, addr);
		/* It cannot be folded: rather none than one that nobody takes. */
		if (sm_buf_err(&encoded) != 0)
			put_value(b, addr);
		else
			sm_buf_str(b, sm_buf_view(&encoded));
		sm_buf_fini(&encoded);
	}
}

/* "rfc822;xtext", or "utf-8;" and its forms, decoded. */
static bool decode_orcpt(struct sm_arena *a, struct sm_str orcpt, struct sm_str *type,
                         struct sm_str *decoded)
{
	struct sm_str address;

	*type = sm_str_split(orcpt, ';', &address);
	if (sm_str_empty(*type) || sm_str_empty(address))
		return false;
	if (sm_str_caseeq(*type, SM_STR("utf-8")))
		return sm_unitext_decode(address, true, a, decoded) == 0;
	if (sm_xtext_decode_utf8(address, a, decoded) != 0)
		return false;
	if (!sm_str_is_ascii(*decoded))
		*type = SM_STR("utf-8");
	return true;
}

/* As the client gave it (RFC 3464 2.3.1); nothing when there is none worth a field. */
static void put_orcpt(struct sm_buf *b, struct sm_arena *a, struct sm_str orcpt, bool global)
{
	struct sm_str type, decoded;

	if (!decode_orcpt(a, orcpt, &type, &decoded))
		return;
	sm_buf_cstr(b, "Original-Recipient: ");
	put_value(b, type);
	sm_buf_cstr(b, "; ");
	put_address(b, decoded, global);
	sm_buf_cstr(b, "\r\n");
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

/* A line of the header that ends before `end`; *s is behind it. Without its line end. */
static bool header_line(struct sm_str *s, struct sm_str *line)
{
	if (s->n == 0)
		return false;
	*line = sm_str_split(*s, '\n', s);
	if (line->n > 0 && line->p[line->n - 1] == '\r')
		line->n--;
	return line->n > 0;
}

/* Its Message-ID, if it looks like one: what the report is about, for programs that sort mail by
 * threads (RFC 3834 3.1.6). */
static struct sm_str message_id_of(struct sm_str original)
{
	struct sm_str line;

	while (header_line(&original, &line)) {
		if (!sm_str_has_caseprefix(line, SM_STR("Message-ID:")))
			continue;
		line = sm_str_trim(sm_str_from(line, 11));
		if (line.n < 3 || line.n > MESSAGE_ID_MAX || line.p[0] != '<' ||
		    sm_str_chr(line, '>') != (ptrdiff_t)line.n - 1)
			break;
		for (size_t i = 0; i < line.n; i++)
			if (line.p[i] <= ' ' || line.p[i] > '~')
				return SM_STR_NONE;
		return line;
	}
	return SM_STR_NONE;
}

static void put_head(struct sc_task *t, const struct sc_dsn_text *text, struct sm_str original,
                     const char *boundary, unsigned has, struct sm_buf *b)
{
	struct sm_str host = t->sc->hostname, about = message_id_of(original);
	char id[SM_ID_SIZE];

	put_date(b, "Date", t->in.received_s);
	sm_buf_printf(b, "From: Mail Delivery System <MAILER-DAEMON@" SM_STR_FMT ">\r\n",
	              SM_STR_ARG(host));
	sm_buf_cstr(b, "To: <");
	put_address(b, t->in.dsn_sender, (has & SC_DSN_UTF8) != 0);
	sm_buf_cstr(b, ">\r\nSubject: ");
	sc_mime_put_words(b, text->subject);
	sm_buf_printf(b, "\r\nMessage-ID: <%s@" SM_STR_FMT ">\r\n", sm_id_text(t->in.ta, id),
	              SM_STR_ARG(host));
	if (about.n > 0)
		sm_buf_printf(b, "References: " SM_STR_FMT "\r\n", SM_STR_ARG(about));
	sm_buf_printf(b,
	              "Auto-Submitted: auto-replied\r\n"
	              "MIME-Version: 1.0\r\n"
	              "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	              "\tboundary=\"%s\"\r\n"
	              "%s"
	              "\r\n"
	              "This is a report in MIME format.\r\n",
	              boundary, has ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

static void put_recipients(const struct sc_task *t, struct sm_buf *b)
{
	char date[SM_TIME_RFC5322_MAX];

	for (size_t i = 0; i < t->in.dsn_rcpts_count; i++) {
		const struct sm_msg_dsn_rcpt *r = &t->in.dsn_rcpts[i];

		sm_buf_cstr(b, "\r\n<");
		put_words(b, r->addr);
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

static void put_wall(struct sm_buf *b, int64_t wall_s)
{
	char date[SM_TIME_RFC5322_MAX];

	sm_time_rfc5322(wall_s, date);
	sm_buf_cstr(b, date);
}

static void put_piece(const struct sc_task *t, const struct sc_dsn_piece *p, struct sm_buf *b)
{
	char id[SM_ID_SIZE];

	switch (p->var) {
	case SC_DSN_LITERAL:
		sm_buf_str(b, p->text);
		break;
	case SC_DSN_HOSTNAME:
		put_value(b, t->sc->hostname);
		break;
	case SC_DSN_ID:
		sm_buf_cstr(b, sm_id_text(t->in.dsn_of, id));
		break;
	case SC_DSN_SENDER:
		put_words(b, t->in.dsn_sender);
		break;
	case SC_DSN_ARRIVAL:
		put_wall(b, t->in.dsn_received_s);
		break;
	case SC_DSN_UNTIL:
		put_wall(b, t->in.dsn_until_s);
		break;
	case SC_DSN_RECIPIENTS:
		put_recipients(t, b);
		break;
	}
}

static void put_text(struct sc_task *t, const struct sc_dsn_text *text, struct sm_buf *b)
{
	struct sm_buf plain;
	bool is_plain;

	sm_buf_init(&plain, b->max);
	for (size_t i = 0; i < text->count; i++)
		put_piece(t, &text->pieces[i], &plain);
	is_plain = sc_mime_kind(sm_buf_view(&plain)) == SC_MIME_7BIT;
	sm_buf_printf(b,
	              "Content-Type: text/plain; charset=%s\r\n"
	              "Content-Description: Notification\r\n"
	              "%s"
	              "\r\n",
	              is_plain ? "us-ascii" : "utf-8",
	              is_plain ? "" : "Content-Transfer-Encoding: quoted-printable\r\n");
	if (is_plain)
		sm_buf_str(b, sm_buf_view(&plain));
	else
		sc_mime_put_qp(b, sm_buf_view(&plain));
	sm_buf_fini(&plain);
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

static void put_status_part(struct sc_task *t, const struct kind *k, bool global, struct sm_buf *b)
{
	struct sm_arena scratch;
	struct sm_str envid;

	sm_arena_init(&scratch, "report", SCRATCH_FIRST, SCRATCH_MAX);
	sm_buf_printf(b,
	              "Content-Type: message/%sdelivery-status\r\n"
	              "Content-Description: Delivery report\r\n"
	              "%s"
	              "\r\n",
	              global ? "global-" : "", global ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	put_field(b, "Reporting-MTA", "dns; ", t->sc->hostname);
	if (t->in.envid.n > 0 && sm_xtext_decode(t->in.envid, &scratch, &envid) == 0)
		put_field(b, "Original-Envelope-Id", "", envid);
	if (t->in.dsn_received_s != 0)
		put_date(b, "Arrival-Date", t->in.dsn_received_s);
	for (size_t i = 0; i < t->in.dsn_rcpts_count; i++) {
		const struct sm_msg_dsn_rcpt *r = &t->in.dsn_rcpts[i];
		const struct kind *own = r->action != SM_DSN_NONE ? kind_of(r->action) : k;
		sm_buf_cstr(b, "\r\n");
		put_orcpt(b, &scratch, r->orcpt, global);
		sm_buf_printf(b, "Final-Recipient: %s; ",
		              sm_str_is_ascii(r->addr) ? "rfc822" : "utf-8");
		put_address(b, r->addr, global);
		sm_buf_cstr(b, "\r\n");
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
		if (r->action == SM_DSN_DELAYED && t->in.dsn_until_s != 0)
			put_date(b, "Will-Retry-Until", t->in.dsn_until_s);
	}
	sm_arena_fini(&scratch);
}

/* ---- the original ---- */

/* RFC 3461 4.3: the content goes back only with failures, and not when only the header is wanted.
 */
static bool wants_content(const struct sc_task *t)
{
	return t->in.dsn_kind == SM_DSN_FAILED && t->in.ret != SM_RET_HDRS &&
	       t->in.size <= t->in.dsn_max_bytes;
}

/* The header up to the empty line; what is cut off by HEADER_MAX ends with a whole line. */
static struct sm_str header_of(struct sm_str original)
{
	struct sm_str rest = sm_str_head(original, HEADER_MAX), line;
	size_t end = 0;

	while (rest.n > 0) {
		size_t before = rest.n;
		struct sm_str at = rest;

		if (sm_str_chr(at, '\n') < 0 && original.n > HEADER_MAX)
			break;
		if (!header_line(&rest, &line))
			break;
		end += before - rest.n;
	}
	return sm_str_head(original, end);
}

/* How a part that is not 7-bit travels. */
static const char *encoding_field(enum sc_mime_kind kind, bool as_it_is)
{
	if (kind == SC_MIME_7BIT)
		return "";
	return as_it_is ? "Content-Transfer-Encoding: 8bit\r\n"
	                : "Content-Transfer-Encoding: quoted-printable\r\n";
}

static void put_part(struct sm_buf *b, struct sm_str text, enum sc_mime_kind kind, bool as_it_is)
{
	if (kind == SC_MIME_7BIT || as_it_is)
		sm_buf_str(b, text);
	else
		sc_mime_put_qp(b, text);
	if (!sm_str_has_suffix(text, SM_STR("\r\n")))
		sm_buf_cstr(b, "\r\n");
}

static void put_header(struct sm_buf *b, struct sm_str header, bool international, bool global)
{
	enum sc_mime_kind kind = sc_mime_kind(header);
	bool as_it_is = global && kind == SC_MIME_8BIT;

	/* RFC 6522 4: what is not legal in a 7-bit message is encoded; RFC 6533 6 has a type of its
	 * own for it. */
	sm_buf_printf(b,
	              "Content-Type: %s\r\n"
	              "Content-Description: Message header\r\n"
	              "%s"
	              "\r\n",
	              international ? "message/global-headers" : "text/rfc822-headers",
	              encoding_field(kind, as_it_is));
	put_part(b, header, kind, as_it_is);
}

static void put_message(struct sm_buf *b, struct sm_str original, enum sc_mime_kind kind,
                        bool international, bool global)
{
	/* RFC 2046 5.2.1: a message part may be labelled 7bit, 8bit or binary, never encoded; one
	 * that is message/global may be (RFC 6532 3.7). */
	bool as_it_is = !international || global;

	sm_buf_printf(b,
	              "Content-Type: message/%s\r\n"
	              "Content-Description: Undelivered message\r\n"
	              "%s"
	              "\r\n",
	              international ? "global" : "rfc822", encoding_field(kind, as_it_is));
	put_part(b, original, kind, as_it_is);
}

/* ---- the whole ---- */

/* Does it say anything that is not ASCII, beside an original that is? */
static bool is_international(const struct sc_task *t)
{
	bool is = (t->in.utf8 & SM_UTF8_HEADER) || !sm_str_is_ascii(t->in.dsn_sender);
	struct sm_str type, decoded;
	struct sm_arena scratch;

	sm_arena_init(&scratch, "report", SCRATCH_FIRST, SCRATCH_MAX);
	for (size_t i = 0; i < t->in.dsn_rcpts_count && !is; i++) {
		const struct sm_msg_dsn_rcpt *r = &t->in.dsn_rcpts[i];

		is = !sm_str_is_ascii(r->addr) ||
		     (decode_orcpt(&scratch, r->orcpt, &type, &decoded) &&
		      !sm_str_is_ascii(decoded));
	}
	sm_arena_fini(&scratch);
	return is;
}

/* Can the original be enclosed as a message? BINARY: no, only its header. */
static enum sc_mime_kind kind_of_original(const struct sc_task *t, struct sm_str original,
                                          bool whole, unsigned allowed, const struct sm_buf *out)
{
	enum sc_mime_kind kind =
	    whole && wants_content(t) ? sc_mime_kind(original) : SC_MIME_BINARY;

	if (kind != SC_MIME_8BIT)
		return kind;
	if (!(t->in.utf8 & SM_UTF8_HEADER))
		return allowed & SC_DSN_8BIT ? kind : SC_MIME_BINARY;
	/* Encoded, a byte may become three, and some lines more. */
	if (!(allowed & SC_DSN_UTF8) && original.n > out->max / 4)
		return SC_MIME_BINARY;
	return kind;
}

unsigned sc_dsn_write(struct sc_task *t, struct sm_str original, bool whole, unsigned allowed,
                      struct sm_buf *out)
{
	unsigned n = t->in.dsn_kind < SC_DSN_KINDS ? t->in.dsn_kind : SM_DSN_NONE, has = 0;
	const struct sc_dsn_text *text = &t->sc->dsn_texts->of[n];
	const struct kind *k = kind_of(n);
	enum sc_mime_kind kind = kind_of_original(t, original, whole, allowed, out);
	bool header_utf8 = (t->in.utf8 & SM_UTF8_HEADER) != 0;
	bool global = (allowed & SC_DSN_UTF8) && is_international(t);
	char boundary[BOUNDARY_MAX];

	if (global)
		has = SC_DSN_8BIT | SC_DSN_UTF8;
	else if (kind == SC_MIME_8BIT && !header_utf8)
		has = SC_DSN_8BIT;
	make_boundary(original, boundary);
	put_head(t, text, original, boundary, has, out);
	sm_buf_printf(out, "\r\n--%s\r\n", boundary);
	put_text(t, text, out);
	sm_buf_printf(out, "\r\n--%s\r\n", boundary);
	put_status_part(t, k, global, out);
	if (original.n > 0) {
		sm_buf_printf(out, "\r\n--%s\r\n", boundary);
		if (kind == SC_MIME_BINARY)
			put_header(out, header_of(original), header_utf8, global);
		else
			put_message(out, original, kind, header_utf8, global);
	}
	sm_buf_printf(out, "\r\n--%s--\r\n", boundary);
	return has;
}

/* As much of the original as can go back. 0 or an error. */
static int read_original(struct sc_task *t, struct sm_buf *b)
{
	size_t most = wants_content(t) ? (size_t)t->in.size : HEADER_MAX + 1;
	struct cdb_reader *reader = NULL;
	const char *p;
	ssize_t n = 0;
	int rc;

	if (sm_id_none(t->in.content) || t->in.size == 0)
		return 0;
	rc = cdb_read_open(t->sc->cdb, t->in.content, t->in.content_offset, t->in.size, &reader);
	while (rc == 0 && b->len < most && (n = cdb_read(reader, &p)) > 0)
		sm_buf_append(b, p, SM_MIN((size_t)n, most - b->len));
	cdb_read_close(&reader);
	return n < 0 ? (int)n : rc;
}

static int compose(struct sc_task *t, unsigned allowed)
{
	struct sc_content *c = &t->content;
	unsigned has;
	int rc;

	c->is_composed = true;
	c->allowed = allowed;
	sm_buf_reset(&c->composed);
	has = sc_dsn_write(t, sm_buf_view(&c->original), c->original.len == t->in.size, allowed,
	                   &c->composed);
	c->is_8bit = (has & SC_DSN_8BIT) != 0;
	c->is_utf8 = (has & SC_DSN_UTF8) != 0;
	rc = sm_buf_err(&c->composed);
	if (rc != 0)
		(void)sm_fail(rc, "report larger than %zu bytes", c->composed.max);
	return rc;
}

int sc_dsn_compose(struct sc_task *t)
{
	struct sm_buf *original = &t->content.original;
	int rc = read_original(t, original);

	if (rc != 0)
		sm_log(SM_ERROR, "sc.content", "ss_ta=%I content=%I error=%E", t->in.ta,
		       t->in.content, rc);
	if (rc == SM_E_NOTFOUND || rc == SM_E_CORRUPT) {
		sm_buf_reset(original);
		rc = 0;
	}
	if (rc == 0)
		rc = compose(t, 0);
	if (rc != 0)
		sc_why_error(&t->why, SM_STAGE_LOCAL, rc);
	/* Wanted once more only if a server may take more of it. */
	t->content.varies =
	    rc == 0 && (is_international(t) ||
	                (sc_mime_kind(sm_buf_view(original)) == SC_MIME_8BIT && wants_content(t)));
	if (!t->content.varies)
		sm_buf_fini(original);
	return rc;
}

int sc_dsn_fit(struct sc_task *t, unsigned allowed)
{
	int rc;

	if (!t->content.is_composed || !t->content.varies || t->content.allowed == allowed)
		return 0;
	rc = compose(t, allowed);
	if (rc != 0)
		sc_why_error(&t->why, SM_STAGE_LOCAL, rc);
	return rc;
}
