/*
 * Packets of the milter protocol. Invariant: nothing is read behind the end of a packet, and what
 * is accepted has exactly the fields of its kind. Pure.
 */
#include "smtps/milter_proto.h"

#include "libsm/err.h"

/* ---- what there is in which version ---- */

uint32_t ss_mp_actions(uint32_t version)
{
	uint32_t v2 = SS_MF_ADDHDRS | SS_MF_CHGBODY | SS_MF_ADDRCPT | SS_MF_DELRCPT |
	              SS_MF_CHGHDRS | SS_MF_QUARANTINE;

	return version < 6 ? v2 : v2 | SS_MF_CHGFROM | SS_MF_ADDRCPT_PAR | SS_MF_SETSYMLIST;
}

uint32_t ss_mp_steps(uint32_t version)
{
	uint32_t steps = SS_MS_NOCONNECT | SS_MS_NOHELO | SS_MS_NOMAIL | SS_MS_NORCPT |
	                 SS_MS_NOBODY | SS_MS_NOHDRS | SS_MS_NOEOH;

	if (version >= 3)
		steps |= SS_MS_NOUNKNOWN;
	if (version >= 4)
		steps |= SS_MS_NODATA;
	/* Version 5 never came out. */
	if (version >= 6)
		steps |= SS_MS_NR_HDR | SS_MS_SKIP | SS_MS_RCPT_REJ | SS_MS_NR_CONN |
		         SS_MS_NR_HELO | SS_MS_NR_MAIL | SS_MS_NR_RCPT | SS_MS_NR_DATA |
		         SS_MS_NR_UNKN | SS_MS_NR_EOH | SS_MS_NR_BODY | SS_MS_LEADSPC;
	return steps;
}

/* ---- writing ---- */

static void put_u32(char *p, uint32_t v)
{
	p[0] = (char)(v >> 24);
	p[1] = (char)(v >> 16);
	p[2] = (char)(v >> 8);
	p[3] = (char)v;
}

static uint32_t get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

void ss_mp_u32(struct sm_buf *b, uint32_t v)
{
	char p[4];

	put_u32(p, v);
	sm_buf_append(b, p, sizeof(p));
}

size_t ss_mp_begin(struct sm_buf *b, char code)
{
	size_t at = b->len;

	ss_mp_u32(b, 0);
	sm_buf_char(b, code);
	return at;
}

void ss_mp_end(struct sm_buf *b, size_t at)
{
	if (sm_buf_err(b) == 0)
		put_u32(sm_buf_p(b) + at, (uint32_t)(b->len - at - 4));
}

void ss_mp_text(struct sm_buf *b, struct sm_str s)
{
	ptrdiff_t nul = sm_str_chr(s, '\0');

	sm_buf_str(b, nul < 0 ? s : sm_str_head(s, (size_t)nul));
	sm_buf_char(b, '\0');
}

void ss_mp_optneg(struct sm_buf *b, uint32_t version, uint32_t actions, uint32_t steps)
{
	size_t at = ss_mp_begin(b, SS_MP_OPTNEG);

	ss_mp_u32(b, version);
	ss_mp_u32(b, actions);
	ss_mp_u32(b, steps);
	ss_mp_end(b, at);
}

/* SMFIC_CONNECT: name NUL family [ port address NUL ]; the port has two bytes, big-endian. */
void ss_mp_connect(struct sm_buf *b, struct sm_str name, const struct sm_sa *client)
{
	size_t at = ss_mp_begin(b, SS_MP_CONNECT);
	sa_family_t family = client->len == 0 ? AF_UNSPEC : client->u.sa.sa_family;
	char host[SM_SA_TEXT];
	uint16_t port = 0;

	ss_mp_text(b, name);
	(void)sm_sa_host_text(client, host);
	switch (family) {
	case AF_INET:
	case AF_INET6:
		/* A mapped address is shown, and so told, as IPv4. */
		sm_buf_char(b, strchr(host, ':') == NULL ? '4' : '6');
		port = sm_sa_port(client);
		break;
	case AF_UNIX:
		sm_buf_char(b, 'L');
		break;
	default:
		sm_buf_char(b, 'U');
		ss_mp_end(b, at);
		return;
	}
	sm_buf_char(b, (char)(port >> 8));
	sm_buf_char(b, (char)port);
	ss_mp_text(b, family == AF_UNIX ? sm_str_from(sm_str(host), 5 /* unix: */) : sm_str(host));
	ss_mp_end(b, at);
}

/* ---- reading ---- */

int ss_mp_packet(struct sm_str in, struct ss_mp_packet *p, size_t *used)
{
	uint32_t n;

	if (in.n < 4)
		return 0;
	n = get_u32(in.p);
	if (n == 0)
		return sm_fail(SM_E_PROTO, "packet without a code");
	if (n > SS_MP_PACKET_MAX)
		return sm_fail(SM_E_TOOBIG, "packet of %u bytes, more than %d", n,
		               SS_MP_PACKET_MAX);
	if (in.n - 4 < n)
		return 0;
	p->code = in.p[4];
	p->data = sm_str_n(in.p + SS_MP_HEAD, n - 1);
	*used = (size_t)n + 4;
	return 1;
}

static bool take_u32(struct sm_str *s, uint32_t *v)
{
	if (s->n < 4)
		return false;
	*v = get_u32(s->p);
	*s = sm_str_from(*s, 4);
	return true;
}

/* Up to a NUL, which has to be there. */
static bool take_text(struct sm_str *s, struct sm_str *text)
{
	ptrdiff_t nul = sm_str_chr(*s, '\0');

	if (nul < 0)
		return false;
	*text = sm_str_head(*s, (size_t)nul);
	*s = sm_str_from(*s, (size_t)nul + 1);
	return true;
}

/* Text that may do without its NUL, up to the end of the packet. */
static struct sm_str rest_text(struct sm_str s)
{
	ptrdiff_t nul = sm_str_chr(s, '\0');

	return nul < 0 ? s : sm_str_head(s, (size_t)nul);
}

/*
 *   reply-line = code [ ("-" / " ") text ]   each line of the reply with the same code, the
 * enhanced code, if there is one, of the same class
 */
static bool good_line(struct sm_str line, struct sm_str first)
{
	if (line.n < 3 || (line.p[0] != '4' && line.p[0] != '5') || !sm_isdigit(line.p[1]) ||
	    !sm_isdigit(line.p[2]) || memcmp(line.p, first.p, 3) != 0)
		return false;
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return false;
	return line.n < 6 || !sm_isdigit(line.p[4]) || line.p[5] != '.' || line.p[4] == line.p[0];
}

/* The next line of a reply code's text, which ends with CRLF or LF. */
static struct sm_str next_line(struct sm_str *text)
{
	struct sm_str line = sm_str_split(*text, '\n', text);

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static bool reply_code(struct sm_str data, struct ss_mp_reply *r)
{
	struct sm_str text = rest_text(data), line, first;

	r->value = text;
	first = line = next_line(&text);
	do {
		if (!good_line(line, first))
			return false;
		line = next_line(&text);
	} while (line.p != NULL && (line.n > 0 || text.p != NULL));
	r->reply = (first.p[0] - '0') * 100 + (first.p[1] - '0') * 10 + (first.p[2] - '0');
	return true;
}

/* Which fields a packet has. */
enum shape {
	NONE,         /* nothing */
	TEXT,         /* name */
	TEXT_TEXT,    /* name, value */
	U32_TEXTS,    /* index, name, value */
	TEXT_OR_TEXTS /* name, and args if there is more */
};

static bool take(struct sm_str data, enum shape shape, struct ss_mp_reply *r)
{
	switch (shape) {
	case NONE:
		break;
	case TEXT:
		if (!take_text(&data, &r->name))
			return false;
		break;
	case TEXT_TEXT:
		if (!take_text(&data, &r->name) || !take_text(&data, &r->value))
			return false;
		break;
	case U32_TEXTS:
		if (!take_u32(&data, &r->index) || !take_text(&data, &r->name) ||
		    !take_text(&data, &r->value))
			return false;
		break;
	case TEXT_OR_TEXTS:
		if (!take_text(&data, &r->name) || (data.n > 0 && !take_text(&data, &r->args)))
			return false;
		break;
	}
	return data.n == 0;
}

int ss_mp_reply(const struct ss_mp_packet *p, struct ss_mp_reply *r)
{
	struct sm_str data = p->data;
	bool ok = false;

	*r = (struct ss_mp_reply){.code = p->code};
	switch ((unsigned char)p->code) {
	case SS_MP_OPTNEG:
		ok = take_u32(&data, &r->version) && take_u32(&data, &r->actions) &&
		     take_u32(&data, &r->steps);
		r->args = data;
		break;
	case SS_MR_CONTINUE:
	case SS_MR_ACCEPT:
	case SS_MR_REJECT:
	case SS_MR_DISCARD:
	case SS_MR_TEMPFAIL:
	case SS_MR_SHUTDOWN:
	case SS_MR_CONN_FAIL:
	case SS_MR_SKIP:
	case SS_MR_PROGRESS:
		ok = take(data, NONE, r);
		break;
	case SS_MR_ADDRCPT:
	case SS_MR_DELRCPT:
		ok = take(data, TEXT, r);
		break;
	case SS_MR_QUARANTINE:
		r->name = rest_text(data);
		ok = true;
		break;
	case SS_MR_ADDRCPT_PAR:
	case SS_MR_CHGFROM:
		ok = take(data, TEXT_OR_TEXTS, r);
		break;
	case SS_MR_ADDHEADER:
		ok = take(data, TEXT_TEXT, r);
		break;
	case SS_MR_CHGHEADER:
	case SS_MR_INSHEADER:
		ok = take(data, U32_TEXTS, r);
		break;
	case SS_MR_REPLBODY:
		r->body = data;
		ok = true;
		break;
	case SS_MR_REPLYCODE:
		ok = reply_code(data, r);
		break;
	default:
		return sm_fail(SM_E_PROTO, "unknown reply 0x%02x", (unsigned char)p->code);
	}
	return ok ? 0
	          : sm_fail(SM_E_PROTO, "malformed reply '%c' of %zu bytes", p->code, p->data.n);
}

void ss_mp_reply_text(const struct ss_mp_reply *r, struct sm_buf *b)
{
	struct sm_str text = r->value, line;

	while (line = next_line(&text), line.p != NULL && line.n >= 3) {
		if (b->len > 0)
			sm_buf_char(b, '\n');
		line = sm_str_from(line, 4);
		for (size_t i = 0; i < line.n; i++) {
			if (line.p[i] == '%' && ++i == line.n)
				break;
			sm_buf_char(b, line.p[i]);
		}
		if (text.p == NULL)
			break;
	}
}

int ss_mp_list_next(struct sm_str *lists, uint32_t *stage, struct sm_str *names)
{
	if (lists->n == 0)
		return 0;
	if (!take_u32(lists, stage) || !take_text(lists, names))
		return sm_fail(SM_E_PROTO, "malformed list of macros");
	return 1;
}
