/*
 * Macros for filters. Invariant: a value is what this server knows or has checked, never more of a
 * client's text than the event itself brings; what is not known has no value. Loop thread; never
 * waits.
 */
#include "smtps/macros.h"

#include "libsm/msg.h"
#include "libsm/proc.h"
#include "smtps/content.h"
#include "smtps/session.h"

/* ---- which are sent ---- */

struct sm_str ss_macros_default(enum ss_mp_stage stage)
{
	static const struct sm_str lists[SS_MG_COUNT_] = {
	    [SS_MG_CONNECT] =
		SM_STR("j _ v {daemon_name} {daemon_addr} {daemon_port} {if_name} {if_addr} "
	               "{client_name} {client_addr} {client_port} {client_ptr} {client_resolve}"),
	    [SS_MG_HELO] = SM_STR("{tls_version} {cipher} {cipher_bits} {cert_subject} "
	                          "{cert_issuer} {verify}"),
	    [SS_MG_MAIL] = SM_STR("i {auth_type} {auth_authen} {auth_author} {mail_addr} "
	                          "{mail_host} {mail_mailer}"),
	    [SS_MG_RCPT] = SM_STR("i {rcpt_addr} {rcpt_host} {rcpt_mailer}"),
	    [SS_MG_DATA] = SM_STR("i {nrcpts}"),
	    [SS_MG_EOH] = SM_STR("i"),
	    [SS_MG_EOM] = SM_STR("i {msg_id} {nrcpts}"),
	};

	return lists[stage];
}

/* ---- values ---- */

/* Where the client's connection ended. */
static bool local_address(const struct ss_session *s, struct sm_sa *sa)
{
	return sm_sa_local(sa, s->net.f.fd) == 0 &&
	       (sa->u.sa.sa_family == AF_INET || sa->u.sa.sa_family == AF_INET6);
}

static bool put_host(struct sm_buf *b, bool known, const struct sm_sa *sa)
{
	char text[SM_SA_TEXT];

	if (known)
		sm_buf_cstr(b, sm_sa_host_text(sa, text));
	return known;
}

static bool put_port(struct sm_buf *b, bool known, const struct sm_sa *sa)
{
	if (known)
		sm_buf_printf(b, "%u", (unsigned)sm_sa_port(sa));
	return known;
}

static bool put(struct sm_buf *b, struct sm_str value)
{
	sm_buf_str(b, value);
	return !sm_str_empty(value);
}

static struct sm_str name_or_unknown(struct sm_str name)
{
	return sm_str_empty(name) ? SM_STR("unknown") : name;
}

static struct sm_str domain_of(struct sm_str mailbox)
{
	ptrdiff_t at = sm_str_rchr(mailbox, '@');

	return at < 0 ? SM_STR_NONE : sm_str_from(mailbox, (size_t)at + 1);
}

static bool client_value(const struct ss_session *s, struct sm_str name, struct sm_buf *b)
{
	static const char *const resolved[] = {[SM_RESOLVE_NONE] = "FAIL",
	                                       [SM_RESOLVE_OK] = "OK",
	                                       [SM_RESOLVE_NO] = "FAIL",
	                                       [SM_RESOLVE_TEMP_PTR] = "TEMP",
	                                       [SM_RESOLVE_TEMP_A] = "TEMP"};
	bool inet = s->client.len > 0 && s->client.u.sa.sa_family != AF_UNIX;
	char text[SM_SA_TEXT];

	if (sm_str_eq(name, SM_STR("_"))) {
		sm_buf_printf(b, "%.*s [%s]", SM_STR_ARG(name_or_unknown(s->client_name)),
		              inet ? sm_sa_host_text(&s->client, text) : "localhost");
		return true;
	}
	if (sm_str_eq(name, SM_STR("{client_addr}")))
		return put_host(b, inet, &s->client);
	if (sm_str_eq(name, SM_STR("{client_port}")))
		return put_port(b, inet, &s->client);
	if (sm_str_eq(name, SM_STR("{client_name}")) || sm_str_eq(name, SM_STR("{client_ptr}")))
		return put(b, name_or_unknown(s->client_name));
	if (sm_str_eq(name, SM_STR("{client_resolve}"))) {
		sm_buf_cstr(b, s->client_resolve < SM_ARRAY_SIZE(resolved)
		                   ? resolved[s->client_resolve]
		                   : "FAIL");
		return true;
	}
	return false;
}

static bool server_value(const struct ss_session *s, struct sm_str name, struct sm_buf *b)
{
	struct sm_sa sa;

	if (sm_str_eq(name, SM_STR("j")) || sm_str_eq(name, SM_STR("{if_name}")))
		return put(b, s->ss->hostname);
	if (sm_str_eq(name, SM_STR("v")))
		return put(b, sm_str(SM_VERSION_TEXT));
	if (sm_str_eq(name, SM_STR("{daemon_name}")))
		return put(b, sm_str(s->listener));
	if (sm_str_eq(name, SM_STR("{daemon_addr}")) || sm_str_eq(name, SM_STR("{if_addr}")))
		return put_host(b, local_address(s, &sa), &sa);
	if (sm_str_eq(name, SM_STR("{daemon_port}")))
		return put_port(b, local_address(s, &sa), &sa);
	return false;
}

static bool tls_value(const struct ss_session *s, struct sm_str name, struct sm_buf *b)
{
	const struct sm_tls_facts *tls = &s->tls.facts;

	if (s->net.tls == NULL)
		return false;
	if (sm_str_eq(name, SM_STR("{tls_version}")))
		return put(b, sm_str(tls->protocol));
	if (sm_str_eq(name, SM_STR("{cipher}")))
		return put(b, sm_str(tls->cipher));
	if (sm_str_eq(name, SM_STR("{cipher_bits}"))) {
		sm_buf_printf(b, "%d", tls->bits);
		return true;
	}
	if (sm_str_eq(name, SM_STR("{cert_subject}")))
		return put(b, tls->subject);
	if (sm_str_eq(name, SM_STR("{cert_issuer}")))
		return put(b, tls->issuer);
	if (sm_str_eq(name, SM_STR("{verify}")))
		return put(b, sm_str(tls->verify_word));
	return false;
}

static bool auth_value(const struct ss_session *s, const struct ss_macros *m, struct sm_str name,
                       struct sm_buf *b)
{
	if (!s->auth.done)
		return false;
	if (sm_str_eq(name, SM_STR("{auth_type}")))
		return put(b, s->auth.mech);
	if (sm_str_eq(name, SM_STR("{auth_authen}")))
		return put(b, s->auth.user);
	if (sm_str_eq(name, SM_STR("{auth_author}")))
		return put(b, m->author);
	return false;
}

static bool message_value(const struct ss_session *s, const struct ss_macros *m, struct sm_str name,
                          struct sm_buf *b)
{
	const struct ss_txn *t = &s->txn;
	struct sm_id id = t->open || sm_id_none(m->id) ? t->id : m->id;
	struct sm_str sender = t->open ? t->sender : m->sender;
	char text[SM_ID_SIZE];

	if (sm_str_eq(name, SM_STR("i")) && !sm_id_none(id))
		return put(b, sm_str(sm_id_text(id, text)));
	if (sm_str_eq(name, SM_STR("{mail_addr}")))
		return put(b, sender);
	if (sm_str_eq(name, SM_STR("{mail_host}")))
		return put(b, domain_of(sender));
	if (sm_str_eq(name, SM_STR("{mail_mailer}"))) {
		sm_buf_cstr(b, "esmtp");
		return true;
	}
	if (sm_str_eq(name, SM_STR("{rcpt_addr}")))
		return put(b, m->rcpt_addr);
	if (sm_str_eq(name, SM_STR("{rcpt_host}")))
		return put(b, m->rcpt_host);
	if (sm_str_eq(name, SM_STR("{rcpt_mailer}")))
		return put(b, m->rcpt_mailer);
	if (sm_str_eq(name, SM_STR("{nrcpts}"))) {
		sm_buf_printf(b, "%u", t->rcpt_count);
		return true;
	}
	if (sm_str_eq(name, SM_STR("{msg_id}")) && t->in != NULL)
		return put(b, sm_str_n(t->in->scan.msgid, t->in->scan.msgid_n));
	return false;
}

bool ss_macro(const struct ss_session *s, const struct ss_macros *m, struct sm_str name,
              struct sm_buf *b)
{
	return client_value(s, name, b) || server_value(s, name, b) || tls_value(s, name, b) ||
	       auth_value(s, m, name, b) || message_value(s, m, name, b);
}

/* ---- the packet ---- */

/* The next name of a list: words, separated by blanks or commas. */
static struct sm_str next_name(struct sm_str *names)
{
	size_t n = 0;

	while (names->n > 0 && (names->p[0] == ' ' || names->p[0] == ',' || names->p[0] == '\t'))
		*names = sm_str_from(*names, 1);
	while (n < names->n && names->p[n] != ' ' && names->p[n] != ',' && names->p[n] != '\t')
		n++;
	struct sm_str name = sm_str_head(*names, n);
	*names = sm_str_from(*names, n);
	return name;
}

/* It ends where a NUL in it would end it for the filter: what a client has behind that (in a
 * Message-ID, say) would be macros of its own. */
static void end_value(struct sm_buf *b, size_t at)
{
	ptrdiff_t nul = sm_str_chr(sm_str_from(sm_buf_view(b), at), '\0');

	if (nul >= 0)
		sm_buf_truncate(b, at + (size_t)nul);
	sm_buf_char(b, '\0');
}

void ss_macros_put(const struct ss_session *s, const struct ss_macros *m, char event,
                   struct sm_str names, struct sm_buf *out)
{
	size_t at = ss_mp_begin(out, SS_MP_MACRO), empty;
	struct sm_str name;

	sm_buf_char(out, event);
	empty = out->len;
	while (name = next_name(&names), name.n > 0) {
		size_t before = out->len, value;

		ss_mp_text(out, name);
		value = out->len;
		if (ss_macro(s, m, name, out))
			end_value(out, value);
		else if (sm_buf_err(out) == 0)
			sm_buf_truncate(out, before);
	}
	if (sm_buf_err(out) == 0 && out->len == empty)
		sm_buf_truncate(out, at);
	else
		ss_mp_end(out, at);
}
