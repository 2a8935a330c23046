/*
 * One conversation. Invariant: at most one command waits for a reply, and a reply that nobody asked
 * for ends the conversation: after it nobody could say which command the next one belongs to.
 * Session's coroutine.
 */
#include "smtps/milter.h"

#include <sys/uio.h>

#include "libsm/err.h"
#include "smtps/edit.h"

enum {
	READ_BYTES = 4096,
	OUT_MAX = 4 * 1024 * 1024,
	OUT_SOFT = 16 * 1024, /* commands without replies that gather */
	TEXT_MAX = 4096,
	GOODBYE_MS = 1000,
};

/* ---- what there is to be told ---- */

static const struct event {
	char event;
	int stage; /* of its macros; -1: none */
	uint32_t no, nr;
	uint32_t since;
} events[] = {
    {SS_MP_CONNECT, SS_MG_CONNECT, SS_MS_NOCONNECT, SS_MS_NR_CONN, 2},
    {SS_MP_HELO, SS_MG_HELO, SS_MS_NOHELO, SS_MS_NR_HELO, 2},
    {SS_MP_MAIL, SS_MG_MAIL, SS_MS_NOMAIL, SS_MS_NR_MAIL, 2},
    {SS_MP_RCPT, SS_MG_RCPT, SS_MS_NORCPT, SS_MS_NR_RCPT, 2},
    {SS_MP_DATA, SS_MG_DATA, SS_MS_NODATA, SS_MS_NR_DATA, 4},
    {SS_MP_HEADER, -1, SS_MS_NOHDRS, SS_MS_NR_HDR, 2},
    {SS_MP_EOH, SS_MG_EOH, SS_MS_NOEOH, SS_MS_NR_EOH, 2},
    {SS_MP_BODY, -1, SS_MS_NOBODY, SS_MS_NR_BODY, 2},
    {SS_MP_EOM, SS_MG_EOM, 0, 0, 2},
    {SS_MP_UNKNOWN, -1, SS_MS_NOUNKNOWN, SS_MS_NR_UNKN, 3},
};

static const struct event *event_of(char event)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(events); i++)
		if (events[i].event == event)
			return &events[i];
	return NULL;
}

int ss_milter_stage(char event, enum ss_mp_stage *stage)
{
	const struct event *e = event_of(event);

	if (e == NULL || e->stage < 0)
		return -1;
	*stage = (enum ss_mp_stage)e->stage;
	return 0;
}

bool ss_milter_wants(const struct ss_milter *m, char event)
{
	const struct event *e = event_of(event);

	return m->state != SS_ML_OFF && m->state != SS_ML_DECIDED && m->version >= e->since &&
	       (m->steps & e->no) == 0 && m->skip != event;
}

/* ---- packets ---- */

void ss_milter_init(struct ss_milter *m, const struct ss_milter_conf *conf)
{
	*m = (struct ss_milter){.conf = conf, .net.f.fd = -1};
	sm_buf_init(&m->in, SS_MP_PACKET_MAX + 2 * READ_BYTES);
	sm_buf_init(&m->out, OUT_MAX);
	sm_buf_init(&m->text, TEXT_MAX);
}

static int64_t deadline(const struct ss_milter *m, int64_t timeout_ms)
{
	return SM_MIN(sm_loop_now_ms() + timeout_ms, m->ends_ms);
}

static int64_t timeout_of(const struct ss_milter *m, char event)
{
	switch (event) {
	case SS_MP_OPTNEG:
		return m->conf->connect_timeout_ms;
	case SS_MP_HEADER:
	case SS_MP_EOH:
	case SS_MP_BODY:
		return m->conf->content_timeout_ms;
	case SS_MP_EOM:
		return m->conf->end_timeout_ms;
	default:
		return m->conf->timeout_ms;
	}
}

/* What has gathered, and `data` behind it. */
static int flush(struct ss_milter *m, struct sm_str data, int64_t deadline_ms)
{
	struct iovec v[2] = {
	    {.iov_base = sm_buf_p(&m->out), .iov_len = m->out.len},
	    {.iov_base = (void *)(uintptr_t)data.p, .iov_len = data.n},
	};
	int err = sm_buf_err(&m->out);

	if (err != 0)
		return sm_fail(err, "commands are too large");
	err = sm_net_writev(&m->net, v, 2, deadline_ms);
	sm_buf_reset(&m->out);
	return err;
}

/* The next reply; those that only say that it takes longer are over when they are read. */
static int read_reply(struct ss_milter *m, int64_t timeout_ms, struct ss_mp_reply *r)
{
	int64_t until = deadline(m, timeout_ms);

	for (;;) {
		struct ss_mp_packet p;
		char *to;
		ssize_t n;
		int rc;

		sm_buf_consume(&m->in, m->taken);
		m->taken = 0;
		rc = ss_mp_packet(sm_buf_view(&m->in), &p, &m->taken);
		if (rc == 1) {
			rc = ss_mp_reply(&p, r);
			if (rc != 0 || r->code != SS_MR_PROGRESS)
				return rc;
			until = deadline(m, timeout_ms);
			continue;
		}
		if (rc != 0)
			return rc;
		/* Large packets, of a new body, come in large pieces. */
		n = m->in.len > READ_BYTES ? SS_MP_CHUNK : READ_BYTES;
		to = sm_buf_reserve(&m->in, (size_t)n);
		if (to == NULL)
			return sm_fail(SM_E_TOOBIG, "packet is too large");
		n = sm_net_read(&m->net, to, (size_t)n, until);
		if (n < 0)
			return (int)n;
		sm_buf_commit(&m->in, (size_t)n);
	}
}

/* Before a command: has it said something that nobody asked for, or gone away? */
static int check_quiet(struct ss_milter *m)
{
	sm_buf_consume(&m->in, m->taken);
	m->taken = 0;
	if (m->in.len > 0)
		return sm_fail(SM_E_PROTO, "a reply that nobody asked for");
	if ((m->net.f.ready & SM_RD) && sm_net_pending(&m->net))
		return m->net.f.hup ? sm_fail(SM_E_EOF, "connection closed by the filter")
		                    : sm_fail(SM_E_PROTO, "a reply that nobody asked for");
	return 0;
}

static void stop(struct ss_milter *m)
{
	sm_net_close(&m->net);
	sm_buf_fini(&m->in);
	sm_buf_fini(&m->out);
	sm_buf_fini(&m->text);
	SM_FREE(m->lists);
	m->taken = 0;
	m->state = SS_ML_OFF;
}

void ss_milter_break(struct ss_milter *m)
{
	stop(m);
	m->broken = true;
}

/* ---- begin and end ---- */

static int take_lists(struct ss_milter *m, struct sm_str lists)
{
	struct sm_str names;
	uint32_t stage;
	int rc;

	m->lists = sm_malloc(lists.n + 1);
	if (lists.n > 0)
		memcpy(m->lists, lists.p, lists.n);
	lists = sm_str_n(m->lists, lists.n);
	while ((rc = ss_mp_list_next(&lists, &stage, &names)) == 1)
		if (stage < SS_MG_COUNT_)
			m->list[stage] = names;
	return rc;
}

static int negotiate(struct ss_milter *m)
{
	uint32_t version = (uint32_t)m->conf->version;
	struct ss_mp_reply r;
	int err;

	ss_mp_optneg(&m->out, version, ss_mp_actions(version), ss_mp_steps(version));
	err = flush(m, SM_STR_NONE, deadline(m, m->conf->connect_timeout_ms));
	if (err == 0)
		err = read_reply(m, m->conf->connect_timeout_ms, &r);
	if (err != 0)
		return err;
	if (r.code != SS_MP_OPTNEG)
		return sm_fail(SM_E_PROTO, "answers the negotiation with '%c'", r.code);
	if (r.version < SS_MP_VERSION_MIN || r.version > version)
		return sm_fail(SM_E_PROTO, "speaks version %u, not one of %d to %u", r.version,
		               SS_MP_VERSION_MIN, version);
	if (r.actions & ~ss_mp_actions(version))
		return sm_fail(SM_E_PROTO, "wants actions 0x%x, of which there are 0x%x", r.actions,
		               ss_mp_actions(version));
	/* What it wants to be spared is its affair only as far as we know it. */
	m->version = r.version;
	m->actions = r.actions;
	m->steps = r.steps & ss_mp_steps(r.version);
	m->state = SS_ML_READY;
	return take_lists(m, r.args);
}

int ss_milter_open(struct ss_milter *m, int64_t ends_ms)
{
	struct sm_sa sa;
	int err;

	m->ends_ms = ends_ms;
	m->broken = false;
	ss_milter_address(m->conf, &sa);
	err = sm_net_connect(&m->net, &sa, NULL, deadline(m, m->conf->connect_timeout_ms));
	if (err == 0)
		err = negotiate(m);
	return err;
}

void ss_milter_close(struct ss_milter *m)
{
	if (m->state != SS_ML_OFF) {
		ss_mp_end(&m->out, ss_mp_begin(&m->out, SS_MP_QUIT));
		(void)flush(m, SM_STR_NONE, sm_loop_now_ms() + GOODBYE_MS);
	}
	stop(m);
}

/* What a large packet or a long header needed is given back. */
static void trim(struct ss_milter *m)
{
	sm_buf_consume(&m->in, m->taken);
	m->taken = 0;
	if (m->in.cap > 2 * READ_BYTES)
		sm_buf_trim(&m->in);
	if (m->out.cap > 2 * READ_BYTES)
		sm_buf_trim(&m->out);
}

int ss_milter_abort(struct ss_milter *m)
{
	bool knows = m->state == SS_ML_MESSAGE;
	int err = 0;

	m->state = SS_ML_READY;
	m->skip = 0;
	if (knows) {
		ss_mp_end(&m->out, ss_mp_begin(&m->out, SS_MP_ABORT));
		err = check_quiet(m);
		if (err == 0)
			err = flush(m, SM_STR_NONE, deadline(m, m->conf->timeout_ms));
	}
	trim(m);
	return err;
}

/* ---- what it says ---- */

static const struct {
	char code;
	int reply;
	struct sm_str text;
} plain[] = {
    {SS_MR_REJECT, 550, SM_STR("5.7.1 Refused by a filter")},
    {SS_MR_TEMPFAIL, 451, SM_STR("4.7.1 Refused for now by a filter, try again later")},
};

static bool in_message(char event)
{
	return event != SS_MP_CONNECT && event != SS_MP_HELO && event != SS_MP_UNKNOWN;
}

/* The message that it decided about is over for it. */
static void decided(struct ss_milter *m, char event)
{
	if (in_message(event))
		m->state = SS_ML_DECIDED;
}

static int said_of(struct ss_milter *m, char event, const struct ss_mp_reply *r,
                   struct ss_milter_said *said)
{
	*said = (struct ss_milter_said){.code = r->code};
	switch ((unsigned char)r->code) {
	case SS_MR_CONTINUE:
		return 0;
	case SS_MR_SKIP:
		m->skip = event;
		said->code = SS_MR_CONTINUE;
		return 0;
	case SS_MR_DISCARD:
		/* Of a connection there is nothing to discard. */
		if (!in_message(event))
			said->code = SS_MR_CONTINUE;
		decided(m, event);
		return 0;
	case SS_MR_ACCEPT:
		decided(m, event);
		return 0;
	case SS_MR_SHUTDOWN:
	case SS_MR_CONN_FAIL:
		return 0;
	case SS_MR_REPLYCODE:
		sm_buf_reset(&m->text);
		ss_mp_reply_text(r, &m->text);
		said->reply = r->reply;
		break;
	default:
		for (size_t i = 0; i < SM_ARRAY_SIZE(plain); i++) {
			if (plain[i].code != r->code)
				continue;
			said->code = SS_MR_REPLYCODE;
			said->reply = plain[i].reply;
			sm_buf_reset(&m->text);
			sm_buf_str(&m->text, plain[i].text);
			break;
		}
		if (said->code != SS_MR_REPLYCODE)
			return sm_fail(SM_E_PROTO, "reply '%c' to command '%c'", r->code, event);
		break;
	}
	said->text = sm_buf_view(&m->text);
	/* A recipient is refused, the message goes on. */
	if (event != SS_MP_RCPT)
		decided(m, event);
	return 0;
}

static int put(struct ss_milter *m, char event, struct sm_str data, bool *beside)
{
	*beside = false;
	if (data.p == NULL)
		return 0;
	ss_mp_u32(&m->out, (uint32_t)data.n + 1);
	sm_buf_char(&m->out, event);
	*beside = data.n > READ_BYTES;
	if (!*beside)
		sm_buf_str(&m->out, data);
	return sm_buf_err(&m->out);
}

int ss_milter_tell(struct ss_milter *m, char event, struct sm_str data, struct ss_milter_said *said)
{
	const struct event *e = event_of(event);
	int64_t timeout_ms = timeout_of(m, event);
	bool mute = (m->steps & e->nr) != 0, beside;
	struct ss_mp_reply r;
	int err = check_quiet(m);

	*said = (struct ss_milter_said){.code = SS_MR_CONTINUE};
	if (err == 0)
		err = put(m, event, data, &beside);
	if (err != 0)
		return err;
	if (in_message(event))
		m->state = SS_ML_MESSAGE;
	if (m->skip != 0 && m->skip != event)
		m->skip = 0;
	if (mute && !beside && m->out.len < OUT_SOFT)
		return 0;
	err = flush(m, beside ? data : SM_STR_NONE, deadline(m, timeout_ms));
	if (err != 0 || mute)
		return err;
	err = read_reply(m, timeout_ms, &r);
	return err != 0 ? err : said_of(m, event, &r, said);
}

/* ---- its changes ---- */

/* Which right each kind of change needs; 0: it is no change. */
static uint32_t right_of(char code)
{
	switch ((unsigned char)code) {
	case SS_MR_ADDHEADER:
	case SS_MR_INSHEADER:
		return SS_MF_ADDHDRS;
	case SS_MR_CHGHEADER:
		return SS_MF_CHGHDRS;
	case SS_MR_ADDRCPT:
		return SS_MF_ADDRCPT;
	case SS_MR_ADDRCPT_PAR:
		return SS_MF_ADDRCPT_PAR;
	case SS_MR_DELRCPT:
		return SS_MF_DELRCPT;
	case SS_MR_CHGFROM:
		return SS_MF_CHGFROM;
	case SS_MR_REPLBODY:
		return SS_MF_CHGBODY;
	case SS_MR_QUARANTINE:
		return SS_MF_QUARANTINE;
	default:
		return 0;
	}
}

static int change(const struct ss_milter *m, struct ss_edit *e, const struct ss_mp_reply *r)
{
	bool spaced = (m->steps & SS_MS_LEADSPC) != 0;

	switch ((unsigned char)r->code) {
	case SS_MR_ADDHEADER:
		return ss_edit_header(e, SS_HEADER_ADD, 0, r->name, r->value, spaced);
	case SS_MR_INSHEADER:
		return ss_edit_header(e, SS_HEADER_INSERT, r->index, r->name, r->value, spaced);
	case SS_MR_CHGHEADER:
		return ss_edit_header(e, SS_HEADER_REPLACE, r->index, r->name, r->value, spaced);
	case SS_MR_ADDRCPT:
	case SS_MR_ADDRCPT_PAR:
		return ss_edit_rcpt(e, true, r->name, r->args);
	case SS_MR_DELRCPT:
		return ss_edit_rcpt(e, false, r->name, SM_STR_NONE);
	case SS_MR_CHGFROM:
		return ss_edit_sender(e, r->name, r->args);
	case SS_MR_REPLBODY:
		return ss_edit_body(e, r->body.p, r->body.n);
	default:
		return ss_edit_hold(e, r->name);
	}
}

int ss_milter_end(struct ss_milter *m, struct ss_edit *e, unsigned *changes,
                  struct ss_milter_said *said)
{
	int64_t timeout_ms = timeout_of(m, SS_MP_EOM);
	struct ss_mp_reply r;
	int err = check_quiet(m);

	*changes = 0;
	if (err == 0) {
		ss_mp_end(&m->out, ss_mp_begin(&m->out, SS_MP_EOM));
		err = flush(m, SM_STR_NONE, deadline(m, timeout_ms));
	}
	while (err == 0) {
		err = read_reply(m, timeout_ms, &r);
		if (err != 0)
			break;
		if (right_of(r.code) == 0) {
			err = said_of(m, SS_MP_EOM, &r, said);
			break;
		}
		++*changes;
		if ((m->actions & right_of(r.code)) == 0)
			err = sm_fail(SM_E_PROTO, "change '%c' was not negotiated", r.code);
		/* What cannot be done is told when it is through: the conversation goes on. */
		else if (e->trouble == 0)
			e->trouble = change(m, e, &r);
	}
	/* Whatever it said: that was all of this message. */
	if (err == 0)
		m->state = SS_ML_DECIDED;
	return err;
}
