/*
 * The filters of a session and its commands. Invariants: filters are asked in the order of the
 * configuration, and the first that says more than "go on" has the last word; a verdict about a
 * message ends with it; a filter that broke down is never asked again by this session. Session's
 * coroutine.
 */
#include "smtps/milters_int.h"

#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/msg.h"
#include "smtps/session.h"

enum { DATA_MAX = 4 * 1024 * 1024 };

static const struct ss_word go = {.kind = SS_WORD_GO};

struct ss_word ss_word_of(enum ss_reply_name r)
{
	return (struct ss_word){
	    .kind = SS_WORD_REFUSE, .code = ss_reply_code(r), .text = ss_reply_text(r)};
}

void ss_word_cut(struct ss_session *s)
{
	s->closing = s->mute = true;
	s->why = "cut by a filter";
}

bool ss_word_stops(struct ss_session *s, struct ss_word w)
{
	if (w.kind == SS_WORD_CUT)
		ss_word_cut(s);
	if (w.kind == SS_WORD_REFUSE) {
		ss_say_text(s, w.code, w.text);
		if (w.code == 421) {
			s->closing = s->linger = true;
			s->why = "421 by a filter";
		}
	}
	return w.kind == SS_WORD_CUT || w.kind == SS_WORD_REFUSE;
}

static const char *stage_word(char event)
{
	switch (event) {
	case SS_MP_CONNECT:
		return "connect";
	case SS_MP_HELO:
		return "helo";
	case SS_MP_MAIL:
		return "mail";
	case SS_MP_RCPT:
		return "rcpt";
	case SS_MP_DATA:
		return "data";
	case SS_MP_HEADER:
		return "header";
	case SS_MP_EOH:
		return "eoh";
	case SS_MP_BODY:
		return "body";
	case SS_MP_EOM:
		return "final";
	default:
		return "unknown";
	}
}

/* ---- what is said ---- */

/* From now on this client gets no further than to be told so. */
static struct ss_word bar(struct ss_milters *ms, struct ss_word w)
{
	sm_str_cut(w.text, ms->barred_text, sizeof(ms->barred_text));
	w.text = sm_str(ms->barred_text);
	ms->barred = w;
	return w;
}

struct ss_word ss_milters_failed(struct ss_session *s, struct ss_milter *f, const char *where,
                                 int err)
{
	const struct ss_milter_conf *c = f->conf;
	size_t i = (size_t)(f - s->milters->v);
	struct ss_word w = go;

	ss_milter_break(f);
	if (err == SM_E_CANCEL)
		return ss_word_of(SS_R_SHUTDOWN);
	sm_log(SM_WARN, "ss.milter", "ss_sess=%I ss_ta=%?I milter=%S where=%s stat=%s error=%E",
	       s->id, s->txn.id, c->where.name, where,
	       c->flags & SS_MILTER_ABORT      ? "abort"
	       : c->flags & SS_MILTER_TEMPFAIL ? "tempfail"
	                                       : "ignored",
	       err);
	if (c->flags & SS_MILTER_ABORT)
		w = bar(s->milters, ss_word_of(SS_R_FILTER_ABORT));
	else if (c->flags & SS_MILTER_TEMPFAIL)
		w = bar(s->milters, ss_word_of(SS_R_FILTER_AWAY));
	else if (!(c->flags & SS_MILTER_RECONNECT) && sm_str_eq(sm_str(where), SM_STR("open")))
		s->ss->milter_rest_ms[i] = sm_loop_now_ms() + c->rest_ms;
	return w;
}

struct ss_word ss_milters_word(struct ss_session *s, struct ss_milter *f, char event,
                               const struct ss_milter_said *said)
{
	bool of_session = event == SS_MP_CONNECT || event == SS_MP_HELO;
	struct ss_word w = go;

	switch ((unsigned char)said->code) {
	case SS_MR_ACCEPT:
		if (of_session)
			ss_milter_close(f);
		return go;
	case SS_MR_DISCARD:
		w.kind = SS_WORD_DISCARD;
		break;
	case SS_MR_SHUTDOWN:
		w = ss_word_of(SS_R_FILTER_CLOSE);
		break;
	case SS_MR_CONN_FAIL:
		w.kind = SS_WORD_CUT;
		break;
	case SS_MR_REPLYCODE:
		w = (struct ss_word){SS_WORD_REFUSE, said->reply,
		                     ss_reply_general(said->reply, said->text)};
		break;
	default:
		return go;
	}
	sm_log(SM_INFO, "ss.milter",
	       "ss_sess=%I ss_ta=%?I milter=%S where=%s stat=%s code=%?d text=%?S", s->id,
	       s->txn.id, f->conf->where.name, stage_word(event),
	       w.kind == SS_WORD_DISCARD  ? "discard"
	       : w.kind == SS_WORD_REFUSE ? "refused"
	                                  : "cut",
	       w.code, w.text);
	if (of_session && w.kind == SS_WORD_REFUSE) {
		w = bar(s->milters, w);
		s->milters->by_verdict = true;
	}
	return w;
}

struct ss_word ss_milters_ask(struct ss_session *s, struct ss_milter *f, char event,
                              struct sm_str data, const struct ss_macros *m)
{
	struct ss_milter_said said;
	enum ss_mp_stage stage;
	int err;

	if (f->state != SS_ML_READY && f->state != SS_ML_MESSAGE)
		return go;
	/* Also for what it does not want to be told of, as sendmail does. */
	if (m != NULL && ss_milter_stage(event, &stage) == 0)
		ss_macros_put(s, m, event,
		              f->list[stage].p != NULL ? f->list[stage] : ss_macros_default(stage),
		              &f->out);
	if (!ss_milter_wants(f, event))
		return go;
	err = ss_milter_tell(f, event, data, &said);
	return err != 0 ? ss_milters_failed(s, f, stage_word(event), err)
	                : ss_milters_word(s, f, event, &said);
}

/* All of them, until one says more. */
static struct ss_word ask_all(struct ss_session *s, char event, const struct ss_macros *m)
{
	struct ss_milters *ms = s->milters;
	struct ss_word w = ms->barred;

	for (size_t i = 0; w.kind == SS_WORD_GO && i < ms->count; i++)
		w = ss_milters_ask(s, &ms->v[i], event, sm_buf_view(&ms->data), m);
	return w;
}

/* ---- the connection ---- */

static bool is_for(const struct ss_milter_conf *c, const struct ss_session *s)
{
	return c->listeners.count == 0 || ss_conf_name_in(&c->listeners, sm_str(s->listener));
}

/* Is it to be left alone for now? */
static bool rests(const struct ss_session *s, size_t i, const struct ss_milter_conf *c)
{
	return c->flags == 0 && s->ss->milter_rest_ms[i] > sm_loop_now_ms();
}

static void prepare(struct ss_session *s)
{
	const struct sm_conf_sections *all = &s->conf->milters;
	struct ss_milters *ms = s->milters = sm_calloc(1, sizeof(*ms));

	ms->v = sm_calloc(all->count, sizeof(*ms->v));
	ms->count = all->count;
	for (size_t i = 0; i < all->count; i++)
		ss_milter_init(&ms->v[i], ss_milter_at(all, i));
	sm_buf_init(&ms->data, DATA_MAX);
}

static struct ss_word connect_event(struct ss_session *s)
{
	struct ss_milters *ms = s->milters;
	struct ss_macros m = {.id = {0}};
	char literal[SM_SA_TEXT];
	struct sm_str name = s->client_name;

	/* As sendmail names a client whose name it does not know. */
	if (sm_str_empty(name))
		name = s->client.len > 0 && s->client.u.sa.sa_family != AF_UNIX
		           ? sm_str(sm_sa_literal(&s->client, literal))
		           : SM_STR("localhost");
	sm_buf_reset(&ms->data);
	ss_mp_connect(&ms->data, name, &s->client);
	sm_buf_consume(&ms->data, SS_MP_HEAD);
	return ask_all(s, SS_MP_CONNECT, &m);
}

/* Without one of its filters a session may say hello, but not send mail; only the end of a session
 * comes at once. */
static struct ss_word hello_word(const struct ss_milters *ms, struct ss_word w)
{
	return w.kind == SS_WORD_REFUSE && w.code != 421 && !ms->by_verdict ? go : w;
}

static struct ss_word open_all(struct ss_session *s)
{
	struct ss_word w = go;

	prepare(s);
	for (size_t i = 0; w.kind == SS_WORD_GO && i < s->milters->count; i++) {
		struct ss_milter *f = &s->milters->v[i];
		int err;

		if (!is_for(f->conf, s) || rests(s, i, f->conf))
			continue;
		err = ss_milter_open(f, s->ends_ms);
		if (err != 0)
			w = ss_milters_failed(s, f, "open", err);
	}
	return hello_word(s->milters, w.kind == SS_WORD_GO ? connect_event(s) : w);
}

struct ss_word ss_milters_connect(struct ss_session *s)
{
	bool wanted = s->conf->milters.count > 0 && s->conf->policy_milters;

	/* Another connection for another client: QUIT_NC would spare it, but filters of a libmilter
	 * with a pool of workers (as of 8.17) never answer again after it. */
	ss_milters_reset(s);
	ss_milters_close(s);
	return wanted ? open_all(s) : go;
}

struct ss_word ss_milters_helo(struct ss_session *s, struct sm_str name)
{
	struct ss_milters *ms = s->milters;
	struct ss_macros m = {.id = {0}};

	if (ms == NULL)
		return go;
	sm_buf_reset(&ms->data);
	ss_mp_text(&ms->data, name);
	return hello_word(ms, ask_all(s, SS_MP_HELO, &m));
}

void ss_milters_close(struct ss_session *s)
{
	struct ss_milters *ms = s->milters;

	if (ms == NULL)
		return;
	ss_milters_forget_content(ms);
	for (size_t i = 0; i < ms->count; i++)
		ss_milter_close(&ms->v[i]);
	sm_buf_fini(&ms->data);
	sm_free(ms->v);
	SM_FREE(s->milters);
}

/* ---- the envelope ---- */

/* "<address>" and the parameters, a NUL behind each. */
static void put_path(struct sm_buf *b, struct sm_str addr, struct sm_str params)
{
	struct sm_str word;

	sm_buf_reset(b);
	sm_buf_char(b, '<');
	sm_buf_str(b, addr);
	sm_buf_cstr(b, ">");
	sm_buf_char(b, '\0');
	while (word = sm_str_word(&params), word.n > 0)
		ss_mp_text(b, word);
}

struct ss_word ss_milters_mail(struct ss_session *s, struct sm_id id, struct sm_str sender,
                               struct sm_str params, struct sm_str author)
{
	struct ss_macros m = {.sender = sender, .author = author, .id = id};

	if (s->milters == NULL)
		return go;
	put_path(&s->milters->data, sender, params);
	return ask_all(s, SS_MP_MAIL, &m);
}

static struct sm_str domain_of(struct sm_str mailbox)
{
	ptrdiff_t at = sm_str_rchr(mailbox, '@');

	return at < 0 ? SM_STR_NONE : sm_str_from(mailbox, (size_t)at + 1);
}

struct ss_word ss_milters_rcpt(struct ss_session *s, struct sm_str rcpt, struct sm_str params,
                               bool local)
{
	if (s->milters == NULL)
		return go;

	struct ss_macros m = {.rcpt_addr = rcpt,
	                      .rcpt_host = domain_of(rcpt),
	                      .rcpt_mailer = local ? SM_STR("local") : SM_STR("esmtp")};

	put_path(&s->milters->data, rcpt, params);
	return ask_all(s, SS_MP_RCPT, &m);
}

/* "5.7.1" of a reply, and what follows it. */
static void split_reply(struct sm_str text, struct ss_macros *m)
{
	struct sm_str rest = text, status = sm_str_word(&rest);
	bool enhanced = status.n >= 5 && sm_isdigit(status.p[0]) && status.p[1] == '.';

	m->rcpt_host = enhanced ? status : SM_STR_NONE;
	m->rcpt_addr = enhanced ? sm_str_trim(rest) : text;
}

void ss_milters_rcpt_refused(struct ss_session *s, struct sm_str rcpt, struct sm_str params)
{
	struct ss_milters *ms = s->milters;
	struct ss_macros m = {.rcpt_mailer = SM_STR("error")};

	if (ms == NULL || ms->barred.kind != SS_WORD_GO || !s->txn.open)
		return;
	split_reply(sm_str(s->reply_text), &m);
	put_path(&ms->data, rcpt, params);
	for (size_t i = 0; i < ms->count; i++)
		if (ms->v[i].steps & SS_MS_RCPT_REJ)
			(void)ss_milters_ask(s, &ms->v[i], SS_MP_RCPT, sm_buf_view(&ms->data), &m);
}

struct ss_word ss_milters_unknown(struct ss_session *s, struct sm_str line)
{
	struct ss_milters *ms = s->milters;
	struct ss_word w;

	if (ms == NULL || ms->barred.kind != SS_WORD_GO)
		return go;
	sm_buf_reset(&ms->data);
	ss_mp_text(&ms->data, line);
	w = ask_all(s, SS_MP_UNKNOWN, NULL);
	return w.kind == SS_WORD_DISCARD ? go : w;
}

void ss_milters_reset(struct ss_session *s)
{
	struct ss_milters *ms = s->milters;

	if (ms == NULL)
		return;
	ss_milters_forget_content(ms);
	for (size_t i = 0; i < ms->count; i++) {
		int err = ms->v[i].state == SS_ML_OFF ? 0 : ss_milter_abort(&ms->v[i]);

		if (err != 0)
			(void)ss_milters_failed(s, &ms->v[i], "abort", err);
	}
}
