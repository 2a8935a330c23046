/*
 * The stages of a dialogue for an operator: each is checked by the function that answers smtps. How
 * they follow each other is decided by who asks, as smtps does (smtps/policy.h). Coroutine.
 */
#include "smar/control.h"

#include "libsm/err.h"
#include "libsm/msg_words.h"
#include "smar/check.h"

static void put_flags(struct sm_buf *b, uint32_t flags)
{
	sm_ctl_array(b, "flags");
	for (const struct sm_word *w = sm_verdict_words; w->word != NULL; w++)
		if (flags & w->value)
			sm_ctl_item(b, sm_str(w->word));
	sm_ctl_array_end(b);
}

static void begin_verdict(struct ar_ctl *c, const char *stage, const struct sm_msg_verdict *v)
{
	sm_ctl_begin(&c->out, "verdict");
	sm_ctl_str(&c->out, "stage", sm_str(stage));
	sm_ctl_num(&c->out, "code", v->code);
	sm_ctl_str(&c->out, "text", v->text);
	put_flags(&c->out, v->flags);
}

/* With patience a decision always comes, unless it is cancelled. */
static uint8_t ended(int rc)
{
	return rc == 0 ? SM_CTL_OK : SM_CTL_LATER;
}

static uint8_t verdict(struct ar_ctl *c, const char *stage, int rc, const struct sm_msg_verdict *v,
                       const char **why)
{
	if (rc == 0) {
		begin_verdict(c, stage, v);
		sm_ctl_line(&c->out);
	} else {
		*why = sm_strerr(rc);
	}
	return ended(rc);
}

uint8_t ar_ctl_conn(struct ar_ctl *c, const char **why)
{
	struct sm_msg_conn_check m = {.flags = c->words.check, .listener = SM_STR("")};
	struct sm_msg_conn_verdict v;
	int rc;

	if (sm_sa_ip(&m.client, c->words.word[0], 0) != 0) {
		*why = "conn takes an address: 192.0.2.1, 2001:db8::1";
		return SM_CTL_USAGE;
	}
	rc = ar_check_conn(&c->ar, &c->ctx, &m, &v);
	if (rc != 0) {
		*why = sm_strerr(rc);
		return ended(rc);
	}
	begin_verdict(c, "connect",
	              &(struct sm_msg_verdict){.code = v.code, .text = v.text, .flags = v.flags});
	sm_ctl_str(&c->out, "resolve", sm_str(sm_word_of(sm_resolve_words, v.resolve)));
	sm_ctl_str(&c->out, "client_name", v.client_name.p != NULL ? v.client_name : SM_STR(""));
	if (v.conf.n > 0)
		sm_ctl_str(&c->out, "conf", v.conf);
	sm_ctl_line(&c->out);
	return SM_CTL_OK;
}

uint8_t ar_ctl_mail(struct ar_ctl *c, const char **why)
{
	struct sm_msg_mail_check m = {
	    .client = c->words.client, .sender = c->words.word[0], .flags = c->words.check};
	struct sm_msg_verdict v;
	int rc = ar_check_mail(&c->ar, &c->ctx, &m, &v);

	return verdict(c, "mail", rc, &v, why);
}

uint8_t ar_ctl_rcpt(struct ar_ctl *c, const char **why)
{
	struct sm_msg_rcpt_check m = {.client = c->words.client,
	                              .sender = c->words.from,
	                              .rcpt = c->words.word[0],
	                              .flags = c->words.check};
	struct sm_msg_verdict v;
	int rc = ar_check_rcpt(&c->ar, &c->ctx, &m, &v);

	return verdict(c, "rcpt", rc, &v, why);
}

uint8_t ar_ctl_cert(struct ar_ctl *c, const char **why)
{
	struct sm_msg_cert_check m = {.client = c->words.client,
	                              .issuer = ar_dn_key(&c->arena, c->words.word[0]),
	                              .subject = ar_dn_key(&c->arena, c->words.word[1])};
	struct sm_msg_verdict v;
	int rc = ar_check_cert(&c->ar, &c->ctx, &m, &v);

	return verdict(c, "tls", rc, &v, why);
}
