/*
 * A dialogue played dry: smar is asked stage by stage, and what its verdicts mean is decided by the
 * functions that smtps decides with (smtps/policy.c), by the configuration that smtps has. Nothing
 * is accepted here, counted or written down. What smtps limits and what qmgr counts are left out.
 */
#include "misc/smarctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libsm/addr.h"
#include "libsm/conf_mcp.h"
#include "libsm/ctl.h"
#include "libsm/err.h"
#include "libsm/msg_words.h"
#include "smtps/policy.h"
#include "smtps/reply.h"
#include "smtps/require.h"

enum { ARENA_CAP = 64 * 1024 * 1024, TEXT_BYTES = 1024 };

struct session {
	struct ac *ac;
	struct ss_conf conf;
	struct ss_standing who;
	const char *listener;
	struct sm_arena arena;
	int conn_code, mail_code; /* stored, to be said at RCPT */
	bool conn_unresolved;     /* conn_code is for want of a name: AUTH makes up for that */
	bool authenticated;
	struct sm_str conn_text, mail_text;
	bool discard;             /* the transaction */
	bool over;                /* 421 was said */
	struct sm_str greylisted; /* to be said at DATA */
	struct sm_str hostname;   /* of the configuration: domain of a bare <postmaster> */
	int worst;                /* exit status */

	/* The verdict of the stage. */
	bool answered;
	int code;
	uint32_t flags;
	struct sm_str text, conf_text;
};

/* ---- the configuration of smtps ---- */

static int complain(void)
{
	fprintf(stderr, "smarctl: %s\n", sm_diag());
	return QC_USAGE;
}

/* Has this section the listener? Leaves the name of its first one in *name, if nobody asks for
 * one. */
static bool has_listener(struct session *s, const struct sm_conf_file *f, struct sm_conf_node *n,
                         const char **name)
{
	const char *wanted = s->ac->listener;
	struct sm_conf_service service;

	sm_conf_defaults(sm_conf_mcp_opts, &service, &s->arena);
	if (sm_conf_bind(f, n, sm_conf_mcp_opts, sm_conf_any, &service, &s->arena) != 0)
		return wanted == NULL;
	for (size_t i = 0; i < service.listen_socket.count; i++) {
		const struct sm_conf_listen *l =
		    (const struct sm_conf_listen *)service.listen_socket.v + i;

		if (wanted == NULL || sm_str_caseeq(l->where.name, sm_str(wanted)) ||
		    sm_str_caseeq(l->name, sm_str(wanted))) {
			*name = sm_arena_str(&s->arena, l->name).p;
			return true;
		}
	}
	return wanted == NULL;
}

static int bind_section(struct session *s, const struct sm_conf_file *f)
{
	for (struct sm_conf_node *n = f->root.first; n != NULL; n = n->next) {
		if (!n->is_section || !sm_str_caseeq(n->key, SM_STR("smtps")) ||
		    !has_listener(s, f, n, &s->listener))
			continue;
		return sm_conf_bind(f, n, ss_conf_opts, sm_conf_any, &s->conf, &s->arena);
	}
	if (s->ac->listener != NULL)
		return sm_fail(SM_E_NOTFOUND, "%s: no smtps section has a listener %s",
		               s->ac->conf_path, s->ac->listener);
	return 0;
}

/* A file that may not be read is no error: the flags can be given. */
static int configure(struct session *s)
{
	struct sm_conf_global global;
	struct sm_conf_file f;
	int rc = 0;

	sm_conf_defaults(ss_conf_opts, &s->conf, &s->arena);
	sm_conf_defaults(sm_conf_global_opts, &global, &s->arena);
	s->listener = s->ac->listener != NULL ? s->ac->listener : "";
	if (access(s->ac->conf_path, R_OK) == 0) {
		rc = sm_conf_load(&f, s->ac->conf_path);
		if (rc == 0) {
			rc = sm_conf_bind(&f, &f.root, sm_conf_global_opts, NULL, &global,
			                  &s->arena);
			if (rc == 0)
				rc = bind_section(s, &f);
			sm_conf_free(&f);
		}
	} else {
		fprintf(stderr, "smarctl: %s cannot be read: defaults of smtps%s\n",
		        s->ac->conf_path, s->ac->flags != NULL ? "" : ", say --flags");
	}
	s->hostname = global.hostname;
	if (rc == 0 && s->ac->flags != NULL) {
		s->conf.flags = 0;
		rc = sm_conf_set(ss_conf_opts, &s->conf, &s->arena, "flags", s->ac->flags,
		                 "--flags");
	}
	return rc;
}

/* ---- lines of our own ---- */

static void emit(struct session *s, struct sm_buf *line)
{
	json_t *o = json_loadb(sm_buf_c(line), line->len, 0, NULL);

	if (s->ac->json)
		fwrite(sm_buf_c(line), 1, line->len, stdout);
	else if (o != NULL)
		ac_print(&s->ac->out, o);
	json_decref(o);
	if (!s->ac->json) {
		fwrite(sm_buf_c(&s->ac->out), 1, s->ac->out.len, stdout);
		sm_buf_reset(&s->ac->out);
	}
	sm_buf_fini(line);
}

static void stage(struct session *s, const char *what, const char *value)
{
	struct sm_buf b;

	sm_buf_init(&b, 65536);
	sm_ctl_begin(&b, "stage");
	sm_ctl_str(&b, "what", sm_arena_printf(&s->arena, "%s%s", what, value));
	sm_ctl_line(&b);
	emit(s, &b);
}

/* What the client is told. */
static void tell(struct session *s, const char *where, int code, struct sm_str text,
                 const char *why)
{
	char soft[TEXT_BYTES];
	struct sm_buf b;

	text = ss_reply_general(code, text);
	if (s->conf.flags & SS_F_SOFT_BOUNCE)
		code = ss_reply_soften(code, &text, soft, sizeof(soft));
	s->over = s->over || code == 421;
	if (code >= 500)
		s->worst = QC_NOTHING;
	else if (code >= 400 && s->worst == QC_OK)
		s->worst = QC_LATER;
	sm_buf_init(&b, 65536);
	sm_ctl_begin(&b, "told");
	sm_ctl_str(&b, "stage", sm_str(where));
	sm_ctl_num(&b, "code", code);
	sm_ctl_str(&b, "text", text);
	sm_ctl_str(&b, "why", sm_str(why));
	sm_ctl_line(&b);
	emit(s, &b);
}

static void tell_reply(struct session *s, const char *where, enum ss_reply_name r, const char *why)
{
	tell(s, where, ss_reply_code(r), ss_reply_text(r), why);
}

/* ---- asking ---- */

static void look(void *arg, const json_t *line)
{
	struct session *s = arg;
	const json_t *word;
	uint32_t bit;
	size_t i;

	if (strcmp(qc_str(line, "type"), "verdict") != 0)
		return;
	s->answered = true;
	s->code = (int)qc_num(line, "code");
	s->text = sm_arena_str(&s->arena, sm_str(qc_str(line, "text")));
	s->conf_text = sm_arena_str(&s->arena, sm_str(qc_str(line, "conf")));
	s->flags = 0;
	json_array_foreach(
	    json_object_get(line, "flags"), i,
	    word) if (sm_word_value(sm_verdict_words, sm_str(json_string_value(word)), &bit))
	    s->flags |= bit;
}

static bool stored(const struct session *s)
{
	return s->conn_code != 0 || s->mail_code != 0;
}

/* 0: there is a verdict. */
static int ask(struct session *s, const char *verb, struct sm_str what, bool listed)
{
	struct sm_str words[5] = {what};
	char check[16];
	size_t n = 1;
	int status;

	snprintf(check, sizeof(check), "%u",
	         (unsigned)ss_policy_check_flags(&s->conf, &s->who, listed, stored(s)));
	words[n++] = ac_option("check", check);
	if (strcmp(verb, "conn") != 0)
		words[n++] = ac_option("client", s->ac->client);
	else if (s->ac->client_name != NULL)
		words[n++] = ac_option("client-name", s->ac->client_name);
	if (strcmp(verb, "rcpt") == 0)
		words[n++] = ac_option("from", s->ac->from);
	s->answered = false;
	status = ac_ask(s->ac, verb, words, n, look, s);
	return status == QC_OK && !s->answered ? QC_LATER : status;
}

/* What the client may by where it comes from. */
static void stand(struct session *s)
{
	struct sm_sa client;

	s->who = (struct ss_standing){
	    .may_relay = sm_sa_ip(&client, sm_str(s->ac->client), 0) == 0 &&
	                 ss_policy_local_session(
			     sm_sa_is_loopback(&client), (s->conf.flags & SS_F_LOOPBACK_RELAY) != 0,
			     ss_conf_name_in(&s->conf.relay_from_local, sm_str(s->listener)))};
}

/* ---- the dialogue: false: it ends here; s->worst says why ---- */

static bool failed(struct session *s, int status)
{
	s->worst = status;
	return false;
}

/* What the access map has for sessions of this client is in force from here on. */
static bool session_conf(struct session *s)
{
	struct ss_conf own;

	if (sm_str_empty(s->conf_text))
		return true;
	if (ss_conf_for_session(&s->conf, s->conf_text, &s->arena, &own) != 0) {
		tell_reply(s, "connect", SS_R_CONF_BROKEN, sm_diag());
		return false;
	}
	s->conf = own;
	stand(s);
	return true;
}

static bool connection(struct session *s)
{
	int status;

	stage(s, "connection from ", s->ac->client);
	status = ask(s, "conn", sm_str(s->ac->client), false);
	if (status != QC_OK)
		return failed(s, status);
	if (!session_conf(s))
		return false;
	ss_policy_connection(&s->conf, s->flags, &s->who);
	if (ss_policy_later(&s->conf, s->code, s->flags)) {
		s->conn_code = s->code;
		s->conn_text = s->text;
		s->conn_unresolved = (s->flags & SM_VERDICT_UNRESOLVED) != 0;
		tell(s, "connect", 220, SM_STR("greeting"), "delay_checks: refused at RCPT");
	} else if (s->code >= 400) {
		tell(s, "connect", s->code >= 500 ? 554 : 421, s->text, "");
		return false;
	} else {
		tell(s, "connect", 220, SM_STR("greeting"),
		     s->who.discard     ? "whatever comes vanishes"
		     : s->who.may_relay ? "may relay"
		                        : "");
	}
	return true;
}

static bool hello(struct session *s)
{
	if (s->ac->helo == NULL)
		return true;
	stage(s, "EHLO ", s->ac->helo);
	if (!sm_helo_valid(sm_str(s->ac->helo), (s->conf.flags & SS_F_STRICT_EHLO) != 0)) {
		tell_reply(s, "helo", SS_R_BAD_HELO, "");
		return false;
	}
	tell(s, "helo", 250, SM_STR("hello"), "");
	return true;
}

/* AUTH that succeeds, with a mechanism that the connection allows. */
static bool auth(struct session *s)
{
	struct sm_str mech;

	if (s->ac->auth == NULL)
		return true;
	mech = sm_str(s->ac->auth);
	stage(s, "AUTH ", s->ac->auth);
	if (!ss_auth_configured(&s->conf.auth) || ss_hides(&s->conf, SS_X_AUTH)) {
		tell_reply(s, "auth", SS_R_NOT_OFFERED, "");
		return false;
	}
	if (!ss_auth_mech_in(&s->conf.auth.mechs, mech)) {
		tell_reply(s, "auth", SS_R_AUTH_NO_MECH, "");
		return false;
	}
	s->authenticated = true;
	if (ss_auth_mech_in(&s->conf.auth.trusted, mech)) {
		s->who.may_relay = true;
		if (s->conn_unresolved)
			s->conn_code = 0;
	}
	tell_reply(s, "auth", SS_R_AUTH_OK, s->who.may_relay ? "may relay" : "");
	return true;
}

static bool mail(struct session *s)
{
	enum ss_reply_name required;
	int status;

	stage(s, "MAIL FROM:", sm_arena_printf(&s->arena, "<%s>", s->ac->from).p);
	required = ss_require(&s->conf, &(struct ss_safety){.may_relay = s->who.may_relay,
	                                                    .authenticated = s->authenticated});
	if (required != SS_R_NONE) {
		tell_reply(s, "mail", required,
		           s->authenticated ? "in clear" : "in clear, without AUTH");
		return false;
	}
	/* Neither is smar asked then. */
	if (*s->ac->from == '\0' || s->who.discard) {
		tell_reply(s, "mail", SS_R_SENDER_OK, "");
		return true;
	}
	status = ask(s, "mail", sm_str(s->ac->from), false);
	if (status != QC_OK)
		return failed(s, status);
	if (ss_policy_later(&s->conf, s->code, s->flags)) {
		s->mail_code = s->code;
		s->mail_text = s->text;
		tell_reply(s, "mail", SS_R_SENDER_OK, "delay_checks: refused at RCPT");
	} else if (s->code >= 400) {
		tell(s, "mail", s->code, s->text, "");
		return false;
	} else {
		s->discard = (s->flags & SM_VERDICT_DISCARD) != 0;
		tell_reply(s, "mail", SS_R_SENDER_OK, s->discard ? "the mail vanishes" : "");
	}
	return true;
}

static void accepted(struct session *s)
{
	bool vanishes = (s->flags & SM_VERDICT_DISCARD) != 0;
	bool later = ss_policy_grey_later(&s->conf, s->flags);

	if (vanishes && (s->flags & SM_VERDICT_QUICK))
		s->discard = true;
	if (later)
		s->greylisted = s->text;
	tell_reply(s, "rcpt", SS_R_RCPT_OK,
	           vanishes || s->discard         ? "vanishes"
	           : later                        ? "greylisted: refused at DATA"
	           : s->flags & SM_VERDICT_VERIFY ? "if the next hop knows it"
	                                          : "");
}

static bool recipient(struct session *s, const char *rcpt)
{
	const char *at = strrchr(rcpt, '@');
	struct sm_str domain = at != NULL ? sm_str(at + 1) : s->hostname;
	bool listed = ss_policy_listed(&s->conf, domain);
	struct ss_policy p;
	int status;

	stage(s, "RCPT TO:", sm_arena_printf(&s->arena, "<%s>", rcpt).p);
	if ((s->who.discard || s->discard) && s->conn_code == 0) {
		tell_reply(s, "rcpt", SS_R_RCPT_OK, "vanishes");
		return true;
	}
	status = ask(s, "rcpt", sm_str(rcpt), listed);
	if (status != QC_OK)
		return failed(s, status);
	p = ss_policy_of(&s->conf, &s->who, s->code, s->flags, listed, stored(s));
	switch (ss_policy_rcpt(&p)) {
	case SS_POLICY_ACCEPT:
		accepted(s);
		break;
	case SS_POLICY_NO_RELAY:
		tell_reply(s, "rcpt", SS_R_NO_RELAY, "");
		break;
	case SS_POLICY_SAY_VERDICT:
		tell(s, "rcpt",
		     (s->flags & SM_VERDICT_GREYLISTED) ? ss_grey_code(&s->conf) : s->code, s->text,
		     "");
		break;
	case SS_POLICY_SAY_STORED:
		if (s->conn_code != 0)
			tell(s, "rcpt", s->conn_code, s->conn_text, "of the connection");
		else
			tell(s, "rcpt", s->mail_code, s->mail_text, "of the sender");
		break;
	}
	return true;
}

/* delay_greylisting_error_until_DATA. */
static void data(struct session *s)
{
	stage(s, "DATA", "");
	tell(s, "data", ss_grey_code(&s->conf), s->greylisted, "");
}

/* "<a@b>" and "a@b" alike, as smtps would have it. NULL: it is none. */
static const char *mailbox(struct session *s, const char *given, bool sender)
{
	struct sm_str text = sm_str(given), rest;
	struct sm_addr addr;
	unsigned how = SM_ADDR_UTF8_OK | (sender ? SM_ADDR_NULL_OK : SM_ADDR_BARE_POSTMASTER_OK);

	if (text.n == 0 || text.p[0] != '<')
		text = sm_arena_printf(&s->arena, "<%s>", given);
	if (sm_addr_path(text, how, &s->arena, &addr, &rest) != 0 || rest.n > 0) {
		fprintf(stderr, "smarctl: %s is no mail address\n", given);
		return NULL;
	}
	return sm_arena_str(&s->arena, addr.mailbox).p;
}

static int prepare(struct session *s)
{
	struct ac *ac = s->ac;
	struct sm_sa client;

	if (configure(s) != 0)
		return complain();
	if (sm_sa_ip(&client, sm_str(ac->client), 0) != 0) {
		fprintf(stderr, "smarctl: --client takes an address: 192.0.2.1, 2001:db8::1\n");
		return QC_USAGE;
	}
	stand(s);
	ac->from = mailbox(s, ac->from, true);
	for (size_t i = 0; i < ac->to_count && ac->from != NULL; i++)
		if ((ac->to[i] = mailbox(s, ac->to[i], false)) == NULL)
			return QC_USAGE;
	return ac->from != NULL ? QC_OK : QC_USAGE;
}

int ac_check(struct ac *ac)
{
	struct session s = {.ac = ac};
	int status;

	sm_arena_init(&s.arena, "check", 65536, ARENA_CAP);
	status = prepare(&s);
	if (status == QC_OK) {
		bool on = connection(&s) && hello(&s) && auth(&s) && mail(&s);

		for (size_t i = 0; i < ac->to_count && on && !s.over; i++)
			on = recipient(&s, ac->to[i]);
		if (on && !s.over && s.greylisted.n > 0)
			data(&s);
		status = s.worst;
	}
	sm_arena_fini(&s.arena);
	return status;
}
