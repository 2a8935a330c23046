/*
 * Writes the Received: header. Invariant: nothing that a client chose can end the line, open a
 * comment or pretend to be another clause: names are valid domains or are replaced, other text has
 * its special characters replaced.
 */
#include "smtps/received.h"

#include "libsm/addr.h"
#include "libsm/time.h"

/* Inside of a comment: printable, and none of "()\" (RFC 5322 3.2.2). */
static void put_comment_text(struct sm_buf *b, struct sm_str s)
{
	s = sm_str_head(s, SM_DOMAIN_MAX);
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		sm_buf_char(b, c <= ' ' || c > '~' || c == '(' || c == ')' || c == '\\' ? '?' : c);
	}
}

struct sm_str ss_received_protocol(bool lmtp, bool esmtp, bool utf8, bool tls, bool auth)
{
	static const struct sm_str words[][4] = {
	    {SM_STR("ESMTP"), SM_STR("ESMTPA"), SM_STR("ESMTPS"), SM_STR("ESMTPSA")},
	    {SM_STR("UTF8SMTP"), SM_STR("UTF8SMTPA"), SM_STR("UTF8SMTPS"), SM_STR("UTF8SMTPSA")},
	    {SM_STR("LMTP"), SM_STR("LMTPA"), SM_STR("LMTPS"), SM_STR("LMTPSA")},
	    {SM_STR("UTF8LMTP"), SM_STR("UTF8LMTPA"), SM_STR("UTF8LMTPS"), SM_STR("UTF8LMTPSA")},
	};

	/* AUTH and STARTTLS are extensions: who uses one without EHLO has spoken ESMTP all the
	 * same. */
	if (!lmtp && !esmtp && !utf8 && !tls && !auth)
		return SM_STR("SMTP");
	return words[2 * lmtp + utf8][2 * tls + auth];
}

void ss_received_put(struct sm_buf *b, const struct ss_received *r)
{
	char literal[SM_SA_TEXT], id[SM_ID_SIZE], date[SM_TIME_RFC5322_MAX];
	bool helo_ok = sm_domain_valid(r->helo, true) || sm_domain_literal_valid(r->helo);
	bool unix_client = r->client->u.sa.sa_family == AF_UNIX || r->client->len == 0;
	const char *where = unix_client ? "localhost" : sm_sa_literal(r->client, literal);

	sm_buf_cstr(b, "Received: from ");
	if (helo_ok)
		sm_buf_str(b, r->helo);
	else
		sm_buf_cstr(b, where);
	sm_buf_cstr(b, " (");
	if (sm_domain_valid(r->client_name, true)) {
		sm_buf_str(b, r->client_name);
		sm_buf_char(b, ' ');
	}
	if (unix_client && r->uid != NULL && r->uid[0] != '\0') {
		sm_buf_cstr(b, "uid ");
		sm_buf_cstr(b, r->uid);
	} else {
		sm_buf_cstr(b, where);
	}
	sm_buf_char(b, ')');
	if (!helo_ok) {
		sm_buf_cstr(b, "\r\n\t(HELO ");
		put_comment_text(b, r->helo);
		sm_buf_char(b, ')');
	}
	sm_buf_cstr(b, "\r\n\tby ");
	sm_buf_str(b, r->hostname);
	sm_buf_cstr(b, " (smx " PACKAGE_VERSION ") with ");
	sm_buf_str(b, r->protocol);
	/* Words of OpenSSL and of ours, none of the client's. */
	if (r->tls != NULL)
		sm_buf_printf(b, "\r\n\t(version=%s cipher=%s bits=%d verify=%s)", r->tls->protocol,
		              r->tls->cipher, r->tls->bits, r->tls->verify_word);
	sm_buf_cstr(b, "\r\n\tid ");
	sm_buf_cstr(b, sm_id_text(r->id, id));
	/* A mailbox may be 254 bytes: on a line of its own. One in UTF-8 would make a header of it
	 * that not everybody takes, also where an alias leads to somebody else. */
	if (!sm_str_empty(r->rcpt) && sm_str_is_ascii(r->rcpt)) {
		sm_buf_cstr(b, "\r\n\tfor <");
		sm_buf_str(b, r->rcpt);
		sm_buf_char(b, '>');
	}
	sm_time_rfc5322(r->wall_s, date);
	sm_buf_cstr(b, ";\r\n\t");
	sm_buf_cstr(b, date);
	sm_buf_cstr(b, "\r\n");
}
