/* Shared by the tests of what smtps makes of verdicts, see t_verdicts.h: qmgr, smar and the content
 * store, played in the place of rpc and cdb, and a client. */
#include "smtps/t_verdicts.h"

#include <stdio.h>
#include <sys/socket.h>
#include "libcdb/cdb.h"
#include "libsm/co.h"
#include "libsm/err.h"
#include "libsm/loop.h"
#include "libsm/t_patience.h"

/* ---- qmgr and smar ---- */

struct t_played played;
static struct sm_list calls = SM_LIST_INIT(calls);

struct sm_peer *sm_link_peer(struct sm_link *l SM_UNUSED)
{
	static char somebody;

	return (struct sm_peer *)(void *)&somebody;
}
int sm_link_wait(struct sm_link *l SM_UNUSED, int64_t deadline_ms SM_UNUSED)
{
	return 0;
}
struct sm_link *sm_link_open(const struct sm_link_conf *conf SM_UNUSED)
{
	return NULL;
}
void sm_link_free(struct sm_link **l SM_UNUSED)
{
}
const char *sm_link_trouble(struct sm_link *l SM_UNUSED)
{
	return "";
}
void sm_peer_close(struct sm_peer *p SM_UNUSED, const char *why SM_UNUSED)
{
}
const char *sm_peer_why(const struct sm_peer *p SM_UNUSED)
{
	return "";
}
void sm_peer_send(struct sm_peer *p SM_UNUSED, uint16_t type SM_UNUSED, const void *m SM_UNUSED)
{
}

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

void sm_call(struct sm_call *c, struct sm_peer *p, uint16_t type, const void *m,
             int64_t deadline_ms, void (*cb)(int err, const struct sm_frame *f, void *arg),
             void *arg)
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
	}
	*c = (struct sm_call){
	    .peer = p, .tag = type, .deadline_ms = deadline_ms, .cb = cb, .arg = arg};
	/* Kept where rpc would keep other things. */
	c->err = t->code;
	c->node.hash = t->flags;
	sm_list_push(&calls, &c->link);
}

void sm_call_cancel(struct sm_call *c)
{
	sm_list_remove(&c->link);
}

static bool answer_all(void *arg SM_UNUSED)
{
	struct sm_list *l;
	bool any = false;

	while ((l = sm_list_shift(&calls)) != NULL) {
		struct sm_call *c = SM_LIST_ENTRY(l, struct sm_call, link);
		struct sm_frame f = {.type = SM_MSG_verdict, .flags = SM_FRAME_REPLY};
		struct sm_str text = c->err >= 500   ? SM_STR("5.7.1 told so")
		                     : c->err >= 400 ? SM_STR("4.7.1 told so")
		                                     : SM_STR("");
		struct sm_buf b;

		any = true;
		sm_buf_init(&b, 4096);
		if (c->tag == SM_MSG_id_block_get) {
			struct sm_msg_id_block m = {.first = 1000, .count = 1000};
			f.type = SM_MSG_id_block;
			sm_msg_id_block_encode(&b, &m);
		} else if (c->tag == SM_MSG_conn_check) {
			struct sm_msg_conn_verdict m = {.code = (uint16_t)c->err,
			                                .flags = (uint32_t)c->node.hash,
			                                .text = text,
			                                .client_name = SM_STR("c.test")};
			f.type = SM_MSG_conn_verdict;
			sm_msg_conn_verdict_encode(&b, &m);
		} else {
			struct sm_msg_verdict m = {.code = (uint16_t)c->err,
			                           .flags = (uint32_t)c->node.hash,
			                           .text = text};
			sm_msg_verdict_encode(&b, &m);
		}
		f.body = sm_buf_view(&b);
		if (c->err == T_NO_ANSWER)
			c->cb(SM_E_TIMEOUT, NULL, c->arg);
		else
			c->cb(0, &f, c->arg);
		sm_buf_fini(&b);
	}
	return any;
}

int sm_rpc(struct sm_peer *p SM_UNUSED, uint16_t type, const void *m, uint16_t reply_type SM_UNUSED,
           struct sm_arena *a SM_UNUSED, void *reply, int64_t deadline_ms SM_UNUSED)
{
	const struct sm_msg_ta_commit *t = m;

	sm_assert(type == SM_MSG_ta_commit);
	for (uint32_t i = 0; i < t->rcpts_count; i++)
		note(played.committed, sizeof(played.committed), t->rcpts[i].addr);
	note(played.committed, sizeof(played.committed), SM_STR("."));
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
int cdb_commit(struct cdb_writer **w, uint32_t *offset, uint64_t *size)
{
	*offset = 0;
	*size = 1;
	*w = NULL;
	writers--;
	return 0;
}
int cdb_unlink(struct cdb *s SM_UNUSED, struct sm_id id SM_UNUSED)
{
	return 0;
}

/* Only filters want to have a content otherwise, and there are none here. */
int cdb_reread(struct cdb_writer *w SM_UNUSED, struct cdb_reader **out)
{
	*out = NULL;
	return SM_E_BUG;
}
int cdb_rewrite(struct cdb_writer **w SM_UNUSED, struct cdb_writer **former)
{
	*former = NULL;
	return SM_E_BUG;
}
struct cdb_writer *cdb_scratch(struct cdb *s SM_UNUSED, struct sm_id id SM_UNUSED)
{
	return NULL;
}
ssize_t cdb_read(struct cdb_reader *r SM_UNUSED, const char **p SM_UNUSED)
{
	return SM_E_BUG;
}
void cdb_read_close(struct cdb_reader **r SM_UNUSED)
{
}

/* ---- the client ---- */

struct client {
	struct sm_net net;
	const char *lines; /* separated by LF; "|": the next one goes with it */
	char codes[400];
	char last[600];
};

/* A reply of one line. False: the server closed. */
static bool reply(struct client *c)
{
	size_t n = 0;

	while (n < sizeof(c->last) - 1 && (n == 0 || c->last[n - 1] != '\n')) {
		ssize_t got = sm_net_read(&c->net, c->last + n, 1, sm_now_ms() + T_PATIENCE_MS);

		if (got <= 0)
			return false;
		n++;
	}
	c->last[n] = '\0';
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
	static struct sm_hook hook;
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
		sm_loop_before_sleep(&hook, answer_all, NULL);
	}
	sm_conf_defaults(ss_conf_opts, &conf, &a);
	conf.flags = flags;
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
