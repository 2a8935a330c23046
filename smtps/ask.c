/*
 * One question and its answer. Invariant: an answer belongs to the question whose memory it lands
 * in; a question that ends is forgotten by rpc_call.c first. Coroutines of the loop's thread;
 * callbacks only store and wake.
 */
#include "smtps/ask.h"

#include "libsm/err.h"
#include "smtps/policy.h"
#include "smtps/session.h"

/* A peer that restarts is back within this time; longer, and the client gets its temporary error.
 */
#define PEER_WAIT_MS 10000

static struct sm_link *link_of(const struct ss_ask *a)
{
	bool qmgr = a->kind == SS_ASK_SESSION || a->kind == SS_ASK_VERIFY || a->kind == SS_ASK_ETRN;

	return qmgr ? a->s->ss->qmgr : a->s->ss->smar;
}

static struct sm_str put(char **p, struct sm_str s)
{
	char *at = *p;

	if (s.n > 0)
		memcpy(at, s.p, s.n);
	*p += s.n;
	return sm_str_n(at, s.n);
}

static void keep_answer(struct ss_ask *a, struct sm_str text, struct sm_str name,
                        struct sm_str conf)
{
	size_t n = text.n + name.n + conf.n;
	char *p;

	/* Most say nothing. */
	if (n == 0)
		return;
	p = a->answer = sm_malloc(n);
	a->text = put(&p, text);
	a->client_name = put(&p, name);
	a->conf = put(&p, conf);
}

static int decode(struct ss_ask *a, const struct sm_frame *f)
{
	int err;

	if (a->kind == SS_ASK_CONN && f->type == SM_MSG_conn_verdict) {
		struct sm_msg_conn_verdict v;
		err = sm_msg_conn_verdict_decode(f->body, NULL, &v);
		if (err == 0) {
			a->code = v.code;
			a->flags = v.flags;
			a->resolve = v.resolve;
			keep_answer(a, v.text, v.client_name, v.conf);
		}
	} else if (a->kind != SS_ASK_CONN && f->type == SM_MSG_verdict) {
		struct sm_msg_verdict v;
		err = sm_msg_verdict_decode(f->body, NULL, &v);
		if (err == 0) {
			a->code = v.code;
			a->flags = v.flags;
			keep_answer(a, v.text, SM_STR_NONE, SM_STR_NONE);
		}
	} else {
		err = sm_fail(SM_E_PROTO, "answer of type %u", f->type);
	}
	if (err == 0 && a->code != 0 && (a->code < 200 || a->code > 599))
		err = sm_fail(SM_E_PROTO, "verdict with code %d", a->code);
	return err;
}

static void on_answer(int err, const struct sm_frame *f, void *arg)
{
	struct ss_ask *a = arg;

	a->sent = false;
	a->done = true;
	a->err = err != 0 ? err : decode(a, f);
	if (a->err == SM_E_PROTO && a->call.peer != NULL)
		sm_peer_close(a->call.peer, "answer that is none");
	/* Before MAIL is accepted nobody else is bothered; then prefetch.c looks again. */
	if (a->s->txn.open)
		ss_ask_verify(a);
	sm_co_wake(a->s->co);
}

static struct sm_str domain_of(struct sm_str mailbox)
{
	ptrdiff_t at = sm_str_rchr(mailbox, '@');

	return at < 0 ? SM_STR("") : sm_str_from(mailbox, (size_t)at + 1);
}

static void ask(struct ss_ask *a, struct sm_peer *peer)
{
	const struct ss_session *s = a->s;
	uint32_t flags = ss_policy_check_flags(s->conf, &s->who, a->listed,
	                                       s->conn_code != 0 || s->txn.mail_code != 0);

	a->done = false;
	a->sent = true;
	switch (a->kind) {
	case SS_ASK_SESSION: {
		struct sm_msg_sess_open m = {
		    .sess = s->id, .client = s->client, .listener = sm_str(s->listener)};
		sm_call(&a->call, peer, SM_MSG_sess_open, &m, a->deadline_ms, on_answer, a);
		break;
	}
	case SS_ASK_CONN: {
		struct sm_msg_conn_check m = {.sess = s->id,
		                              .client = s->client,
		                              .listener = sm_str(s->listener),
		                              .flags = flags,
		                              .resolve = s->told_resolve,
		                              .client_name = s->told_name};
		sm_call(&a->call, peer, SM_MSG_conn_check, &m, a->deadline_ms, on_answer, a);
		break;
	}
	case SS_ASK_MAIL: {
		struct sm_msg_mail_check m = {
		    .sess = s->id, .client = s->client, .sender = a->sender, .flags = flags};
		sm_call(&a->call, peer, SM_MSG_mail_check, &m, a->deadline_ms, on_answer, a);
		break;
	}
	case SS_ASK_CERT: {
		struct sm_msg_cert_check m = {
		    .sess = s->id, .client = s->client, .issuer = a->sender, .subject = a->rcpt};
		sm_call(&a->call, peer, SM_MSG_cert_check, &m, a->deadline_ms, on_answer, a);
		break;
	}
	case SS_ASK_VERIFY: {
		struct sm_msg_rcpt_verify m = {.sess = s->id, .ta = s->txn.id, .rcpt = a->rcpt};
		sm_call(&a->call, peer, SM_MSG_rcpt_verify, &m, a->deadline_ms, on_answer, a);
		break;
	}
	case SS_ASK_MAY_ETRN: {
		struct sm_msg_etrn_check m = {.sess = s->id,
		                              .client = s->client,
		                              .client_name = s->client_name,
		                              .user = s->auth.done ? s->auth.user : SM_STR(""),
		                              .node = a->rcpt};
		sm_call(&a->call, peer, SM_MSG_etrn_check, &m, a->deadline_ms, on_answer, a);
		break;
	}
	case SS_ASK_ETRN: {
		struct sm_msg_etrn m = {.sess = s->id, .client = s->client, .node = a->rcpt};
		sm_call(&a->call, peer, SM_MSG_etrn, &m, a->deadline_ms, on_answer, a);
		break;
	}
	case SS_ASK_RCPT: {
		struct sm_msg_rcpt_check m = {.sess = s->id,
		                              .ta = s->txn.id,
		                              .client = s->client,
		                              .sender = a->sender,
		                              .rcpt = a->rcpt,
		                              .flags = flags};
		sm_call(&a->call, peer, SM_MSG_rcpt_check, &m, a->deadline_ms, on_answer, a);
		break;
	}
	}
}

void ss_ask_start(struct ss_ask *a, struct ss_session *s, enum ss_ask_kind kind,
                  struct sm_str sender, struct sm_str rcpt)
{
	int64_t patience_ms =
	    kind == SS_ASK_VERIFY ? s->conf->verify_timeout_ms : s->conf->check_timeout_ms;
	struct sm_peer *peer;

	*a = (struct ss_ask){.s = s,
	                     .kind = kind,
	                     .sender = sender,
	                     .rcpt = rcpt,
	                     .listed =
	                         kind == SS_ASK_RCPT && ss_policy_listed(s->conf, domain_of(rcpt)),
	                     .deadline_ms = sm_loop_now_ms() + patience_ms};
	sm_list_init(&a->link);
	peer = sm_link_peer(link_of(a));
	if (peer != NULL)
		ask(a, peer);
}

struct ss_ask *ss_ask_new(struct ss_session *s, enum ss_ask_kind kind, struct sm_str sender,
                          struct sm_str rcpt)
{
	struct ss_ask *a = sm_malloc(sizeof(*a) + sender.n + rcpt.n);
	char *p = (char *)(a + 1);

	sender = put(&p, sender);
	rcpt = put(&p, rcpt);
	ss_ask_start(a, s, kind, sender, rcpt);
	a->own_memory = true;
	return a;
}

void ss_ask_verify(struct ss_ask *a)
{
	const struct ss_session *s = a->s;

	if (a->kind != SS_ASK_RCPT || !a->done || a->err != 0 || a->verify != NULL ||
	    (a->flags & SM_VERDICT_VERIFY) == 0 || (a->flags & SM_VERDICT_DISCARD) != 0 ||
	    (a->code != 0 && !ss_policy_grey_later(s->conf, a->flags)) || s->conn_code != 0 ||
	    s->txn.mail_code != 0)
		return;
	a->verify = ss_ask_new(a->s, SS_ASK_VERIFY, SM_STR_NONE, a->rcpt);
}

int ss_ask_wait(struct ss_ask *a)
{
	static const char *const doing[] = {
	    "session wait qmgr", "connection wait smar",  "MAIL wait smar", "RCPT wait smar",
	    "RCPT wait qmgr",    "certificate wait smar", "ETRN wait smar", "ETRN wait qmgr"};

	for (;;) {
		int err;

		if (!a->sent && (!a->done || a->err == SM_E_PEER)) {
			int64_t until = SM_MIN(a->deadline_ms, sm_loop_now_ms() + PEER_WAIT_MS);
			err = sm_link_wait(link_of(a), until);
			if (err == SM_E_TIMEOUT)
				return sm_fail(SM_E_PEER, "%s", sm_link_trouble(link_of(a)));
			if (err != 0)
				return err;
			struct sm_peer *peer = sm_link_peer(link_of(a));
			if (peer == NULL)
				continue;
			ask(a, peer);
		}
		while (!a->done) {
			/* rpc_call.c keeps the deadline. */
			err = sm_co_park(doing[a->kind], SM_NEVER);
			if (err != 0)
				return err;
		}
		if (a->err != SM_E_PEER)
			return a->err;
	}
}

void ss_ask_end(struct ss_ask *a)
{
	if (a == NULL)
		return;
	ss_ask_end(a->verify);
	if (a->sent)
		sm_call_cancel(&a->call);
	sm_list_remove(&a->link);
	SM_FREE(a->answer);
	if (a->own_memory)
		sm_free(a);
}
