/*
 * XFORWARD to the next hop. Invariant: what is said is printable ASCII within the protocol's
 * lengths, whatever a client has called itself; each attribute that the server lists is said, so
 * none keeps the value of a mail before. Coroutines of the loop's thread.
 */
#include "smtpc/xforward.h"

#include <stdio.h>
#include <string.h>

#include "libsm/log.h"
#include "smtpc/result.h"
#include "smtpc/sc.h"
#include "smtpc/task.h"

enum {
	VALUE_MAX = 255,
	LINE_MAX_BYTES = 510,
	VALUE_BYTES = 512,
};

/* ---- values ---- */

/* The client is not on this host. A DSN has none. */
static bool is_remote(const struct sm_msg_task *m)
{
	return m->dsn_kind == SM_DSN_NONE && m->client.len > 0 && !sm_sa_is_loopback(&m->client);
}

static struct sm_str ident_of(const struct sm_msg_task *m, char *out)
{
	char id[SM_ID_SIZE];

	(void)snprintf(out, VALUE_BYTES, "%s", sm_id_text(m->ta, id));
	return sm_str(out);
}

static struct sm_str addr_of(const struct sm_msg_task *m, char *out)
{
	char text[SM_SA_TEXT];

	if (m->client.len == 0 || m->client.u.sa.sa_family == AF_UNIX)
		return SM_STR("");
	sm_sa_host_text(&m->client, text);
	(void)snprintf(out, VALUE_BYTES, "%s%s", strchr(text, ':') != NULL ? "IPv6:" : "", text);
	return sm_str(out);
}

static struct sm_str port_of(const struct sm_msg_task *m, char *out)
{
	if (m->client.len == 0 || sm_sa_port(&m->client) == 0)
		return SM_STR("");
	(void)snprintf(out, VALUE_BYTES, "%u", (unsigned)sm_sa_port(&m->client));
	return sm_str(out);
}

/* Empty: not known. `out`: VALUE_BYTES. */
static struct sm_str value_of(unsigned attribute, const struct sm_msg_task *m, char *out)
{
	if (attribute == SC_XFORWARD_IDENT)
		return ident_of(m, out);
	if (attribute == SC_XFORWARD_SOURCE)
		return is_remote(m) ? SM_STR("REMOTE") : SM_STR("LOCAL");
	if (m->dsn_kind != SM_DSN_NONE)
		return SM_STR("");
	switch (attribute) {
	case SC_XFORWARD_NAME:
		return m->client_name;
	case SC_XFORWARD_ADDR:
		return addr_of(m, out);
	case SC_XFORWARD_PORT:
		return port_of(m, out);
	case SC_XFORWARD_PROTO:
		return m->proto;
	default:
		return m->helo;
	}
}

/* RFC 3461 4. What has no room is cut between two characters of it. */
static void put_xtext(struct sm_buf *b, struct sm_str value)
{
	size_t n = 0;

	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		bool plain = c > ' ' && c < 0x7f && c != '+' && c != '=';

		n += plain ? 1 : 3;
		if (n > VALUE_MAX)
			return;
		if (plain)
			sm_buf_char(b, (char)c);
		else
			sm_buf_printf(b, "+%02X", (unsigned)c);
	}
}

/* ---- commands ---- */

/* All attributes into as few lines as they fit in. Gives how many lines. */
static unsigned put_commands(const struct sm_msg_task *m, struct sc_session *s)
{
	char out[VALUE_BYTES];
	struct sm_buf attribute;
	size_t line = 0;
	unsigned lines = 0;

	sm_buf_init(&attribute, 2 * VALUE_BYTES);
	for (size_t i = 0; i < sc_xforward_count; i++) {
		const struct sc_xforward_name *x = &sc_xforward_names[i];
		struct sm_str value;

		if (!(s->ehlo.xforward & x->bit))
			continue;
		value = value_of(x->bit, m, out);
		sm_buf_reset(&attribute);
		sm_buf_printf(&attribute, " " SM_STR_FMT "=", SM_STR_ARG(x->word));
		if (value.n == 0)
			sm_buf_str(&attribute, SM_STR("[UNAVAILABLE]"));
		else
			put_xtext(&attribute, value);
		if (line == 0 || line + attribute.len > LINE_MAX_BYTES) {
			sm_stream_puts(&s->stream,
			               line == 0 ? SM_STR("XFORWARD") : SM_STR("\r\nXFORWARD"));
			line = sizeof("XFORWARD") - 1;
			lines++;
		}
		sm_stream_puts(&s->stream, sm_buf_view(&attribute));
		line += attribute.len;
	}
	if (lines > 0)
		sm_stream_puts(&s->stream, SM_STR("\r\n"));
	sm_buf_fini(&attribute);
	return lines;
}

int sc_xforward(struct sc_task *t, struct sc_session *s)
{
	bool refused = false;
	unsigned lines;

	if (!s->xforward || s->ehlo.xforward == 0)
		return 0;
	lines = put_commands(&t->in, s);
	while (lines-- > 0) {
		int code = sc_session_reply(s, sc_session_helo_ms(s));

		if (code < 0 || s->broken)
			return code;
		if (sc_outcome(code) == SM_OUTCOME_DONE || refused)
			continue;
		refused = true;
		sm_log(SM_NOTICE, "sc.xforward",
		       "da_sess=%C da_ta=%C ss_ta=%I server=%s address=%A stat=%d reply=%S",
		       sc_session_id(s->id), s->id, t->in.ta, s->host, &s->sa, code,
		       sm_buf_view(&s->reply.text));
	}
	return sc_session_in_step(s);
}
