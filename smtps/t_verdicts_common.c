/* Shared by the tests of what smtps makes of verdicts, see t_verdicts.h: what the puppets answer,
 * the content store in the place of cdb, and a client. */
#include "smtps/t_verdicts.h"

#include <stdio.h>
#include <sys/socket.h>
#include "libcdb/cdb.h"
#include "libsm/co.h"
#include "libsm/err.h"
#include "libsm/loop.h"
#include "libsm/t_patience.h"
#include "smtps/t_puppets.h"

/* ---- qmgr and smar ---- */

struct t_played played;

static void note(char *to, size_t size, struct sm_str what)
{
	size_t n = strlen(to);

	snprintf(to + n, size - n, SM_STR_FMT " ", SM_STR_ARG(what));
}

static const struct t_told *told_by(const struct t_told *table, struct sm_str addr)
{
	static const struct t_told nothing = {"", 0, 0};

	for (const struct t_told *t = table; t != NULL && t->word != NULL; t++)
		if (t->word[0] != '\0' ? sm_str_has_prefix(addr, sm_str(t->word)) : addr.n == 0)
			return t;
	return &nothing;
}

static const struct t_told *told_of(struct sm_str addr)
{
	return told_by(played.verdicts, addr);
}

struct sm_str puppet_text(uint16_t code)
{
	return code >= 500   ? SM_STR("5.7.1 told so")
	       : code >= 400 ? SM_STR("4.7.1 told so")
	                     : SM_STR("");
}

struct ss_answer puppet_answer(uint16_t type, const void *m)
{
	const struct t_told *t = told_of(SM_STR("nobody"));

	if (type == SM_MSG_conn_check) {
		t = told_of(SM_STR(""));
	} else if (type == SM_MSG_mail_check) {
		t = told_of(((const struct sm_msg_mail_check *)m)->sender);
		played.mail_asked++;
	} else if (type == SM_MSG_rcpt_check) {
		const struct sm_msg_rcpt_check *r = m;

		t = told_of(r->rcpt);
		played.rcpt_flags = r->flags;
		note(played.asked, sizeof(played.asked), r->rcpt);
	} else if (type == SM_MSG_rcpt_verify) {
		const struct sm_msg_rcpt_verify *r = m;

		sm_assert(!sm_id_none(r->ta) && !sm_id_none(r->sess));
		t = told_by(played.hop, r->rcpt);
		note(played.probed, sizeof(played.probed), r->rcpt);
	} else if (type == SM_MSG_etrn_check) {
		const struct sm_msg_etrn_check *r = m;

		if (played.may_ask_for == NULL)
			return (struct ss_answer){.err = SM_E_TIMEOUT};
		if (sm_str_has_prefix(r->node, sm_str(played.may_ask_for)) || r->node.n == 0)
			return (struct ss_answer){.flags = SM_VERDICT_OK};
		return (struct ss_answer){0};
	} else if (type == SM_MSG_etrn) {
		const struct sm_msg_etrn *r = m;

		note(played.runs, sizeof(played.runs), r->node);
		t = told_by(played.hop, r->node);
	}
	if (t->code == T_NO_ANSWER)
		return (struct ss_answer){.err = SM_E_TIMEOUT};
	return (struct ss_answer){.code = t->code, .flags = t->flags};
}

int sm_rpc(struct sm_peer *p SM_UNUSED, uint16_t type, const void *m, uint16_t reply_type SM_UNUSED,
           struct sm_arena *a SM_UNUSED, void *reply, int64_t deadline_ms SM_UNUSED)
{
	const struct sm_msg_ta_commit *t = m;

	sm_assert(type == SM_MSG_ta_commit);
	for (uint32_t i = 0; i < t->rcpts_count; i++)
		note(played.committed, sizeof(played.committed), t->rcpts[i].addr);
	note(played.committed, sizeof(played.committed), SM_STR("."));
	puppet_decides = t->rcpts_count;
	*(struct sm_msg_verdict *)reply = (struct sm_msg_verdict){.text = SM_STR("")};
	return 0;
}

/* ---- the content store ---- */

struct cdb_writer {
	int dummy;
};
static struct cdb_writer the_writer;
static int writers;

struct cdb_writer *cdb_write(struct cdb *s SM_UNUSED, struct sm_id id SM_UNUSED,
                             size_t gap SM_UNUSED)
{
	writers++;
	return &the_writer;
}
int cdb_append(struct cdb_writer *w SM_UNUSED, const void *p SM_UNUSED, size_t n SM_UNUSED)
{
	return 0;
}
void cdb_abort(struct cdb_writer **w)
{
	*w = NULL;
	writers--;
}
int cdb_commit(struct cdb_writer **w, struct cdb_place *at)
{
	*at = (struct cdb_place){.size = 1};
	*w = NULL;
	writers--;
	return 0;
}
void cdb_handed_over(struct cdb *s SM_UNUSED, struct sm_id content SM_UNUSED)
{
}
size_t cdb_segments_unsealed(const struct cdb *s SM_UNUSED, struct sm_id *ids SM_UNUSED,
                             size_t max SM_UNUSED)
{
	return 0;
}
int cdb_release(struct cdb *s SM_UNUSED, struct sm_id segment SM_UNUSED,
                const struct cdb_span *keep SM_UNUSED, size_t count SM_UNUSED)
{
	return 0;
}
int cdb_unlink(struct cdb *s SM_UNUSED, struct sm_id id SM_UNUSED)
{
	return 0;
}

/* ---- the client ---- */

struct client {
	struct sm_net net;
	const char *lines; /* separated by LF; "|": the next one goes with it */
	char codes[400];
	char last[600];
};

/* False: the server closed. */
static bool reply_line(struct client *c)
{
	size_t n = 0;

	while (n < sizeof(c->last) - 1 && (n == 0 || c->last[n - 1] != '\n')) {
		ssize_t got = sm_net_read(&c->net, c->last + n, 1, sm_now_ms() + T_PATIENCE_MS);

		if (got <= 0)
			return false;
		n++;
	}
	c->last[n] = '\0';
	return true;
}

static bool reply(struct client *c)
{
	do
		if (!reply_line(c))
			return false;
	while (c->last[3] == '-');
	note(c->codes, sizeof(c->codes), sm_str_n(c->last, 3));
	return true;
}

static void client(void *arg)
{
	struct client *c = arg;
	struct sm_str rest = sm_str(c->lines);
	bool open = reply(c);

	while (open && rest.n > 0) {
		struct sm_str line = sm_str_split(rest, '\n', &rest);
		struct sm_buf out;

		if (sm_str_eq(line, SM_STR("+"))) {
			open = reply(c);
			continue;
		}
		sm_buf_init(&out, 500);
		for (size_t i = 0; i < line.n; i++)
			sm_buf_str(&out,
			           line.p[i] == '|' ? SM_STR("\r\n") : sm_str_n(line.p + i, 1));
		sm_buf_str(&out, SM_STR("\r\n"));
		open = sm_net_write(&c->net, sm_buf_p(&out), out.len,
		                    sm_now_ms() + T_PATIENCE_MS) == 0 &&
		       reply(c);
		sm_buf_fini(&out);
	}
	sm_net_close(&c->net);
	sm_loop_stop(0);
}

static struct ss_conf conf;
static struct client the_client;

static void stop(void *arg SM_UNUSED)
{
	sm_loop_stop(0);
}

const char *t_play(uint32_t flags, const struct t_told *told, const char *lines)
{
	static struct sm_arena a;
	struct ss ss = {.spare_fd = -1, .hostname = SM_STR("mx.local.test")};
	struct sm_sa sa;
	int sv[2];

	played.verdicts = told;
	played.committed[0] = played.asked[0] = played.probed[0] = '\0';
	played.mail_asked = 0;
	if (a.name == NULL) {
		sm_arena_init(&a, "test", 1024, 65536);
		assert_int_equal(sm_loop_init(), 0);
		puppets_start();
	}
	sm_conf_defaults(ss_conf_opts, &conf, &a);
	conf.flags = flags;
	conf.etrn.flags = played.etrn;
	conf.protocol = played.protocol;
	conf.deliver = played.deliver;
	played.runs[0] = '\0';
	the_client = (struct client){.lines = lines};
	ss.conf = &conf;
	ss_idblock_add(&ss.ids, 1, 100);
	ss.credit = (struct ss_credit){100, 100, 1000, 0, ""};
	sm_list_init(&ss.sessions);
	sm_list_init(&ss.transactions);
	sm_list_init(&ss.listeners);
	assert_int_equal(sm_sa_ip(&sa, SM_STR("192.0.2.1"), 25), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	assert_int_equal(sm_net_open(&the_client.net, sv[1]), 0);
	assert_int_equal(ss_session_start(&ss, sv[0], &sa, "test"), 0);
	assert_non_null(sm_co_spawn("client", client, &the_client));
	assert_int_equal(sm_loop_run(), 0);
	while (ss.session_count > 0) {
		struct sm_timer t = {0};

		sm_timer_set(&t, sm_now_ms() + 1, stop, NULL);
		(void)sm_loop_run();
		sm_timer_cancel(&t);
	}
	assert_int_equal(writers, 0);
	assert_int_equal(ss.txn_count + ss.rcpt_count, 0);
	played.last = the_client.last;
	return the_client.codes;
}
