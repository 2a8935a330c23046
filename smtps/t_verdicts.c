/*
 * What smtps makes of smar's verdicts: greylisting, what vanishes, what was stored and is
 * overridden, and that a smar that says more than it may opens nothing. qmgr, smar and the content
 * store are played here, in the place of rpc and cdb.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "libcdb/cdb.h"
#include "libsm/co.h"
#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/loop.h"
#include "libsm/t_patience.h"
#include "smtps/session.h"

/* ---- qmgr and smar ---- */

enum { NO_ANSWER = 1 }; /* as a code */
struct told {
	const char *word; /* beginning of an address; "" for the connection; NULL: the end */
	uint16_t code;
	uint32_t flags;
};
static const struct told *verdicts;
static struct sm_list calls = SM_LIST_INIT(calls);
static char committed[500];    /* recipients that qmgr got, and "." behind each transaction */
static char asked[500];        /* recipients that smar was asked about */
static char probed[500];       /* ... and the next hop, through qmgr */
static const struct told *hop; /* what that says; NULL: knows all */
static uint32_t rcpt_flags;    /* of the last question about a recipient */
static unsigned mail_asked;

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

static const struct told *told_by(const struct told *table, struct sm_str addr)
{
	static const struct told nothing = {"", 0, 0};

	for (const struct told *t = table; t != NULL && t->word != NULL; t++)
		if (t->word[0] != '\0' ? sm_str_has_prefix(addr, sm_str(t->word)) : addr.n == 0)
			return t;
	return &nothing;
}

static const struct told *told_of(struct sm_str addr)
{
	return told_by(verdicts, addr);
}

void sm_call(struct sm_call *c, struct sm_peer *p, uint16_t type, const void *m,
             int64_t deadline_ms, void (*cb)(int err, const struct sm_frame *f, void *arg),
             void *arg)
{
	const struct told *t = told_of(SM_STR("nobody"));

	if (type == SM_MSG_conn_check) {
		t = told_of(SM_STR(""));
	} else if (type == SM_MSG_mail_check) {
		t = told_of(((const struct sm_msg_mail_check *)m)->sender);
		mail_asked++;
	} else if (type == SM_MSG_rcpt_check) {
		const struct sm_msg_rcpt_check *r = m;

		t = told_of(r->rcpt);
		rcpt_flags = r->flags;
		note(asked, sizeof(asked), r->rcpt);
	} else if (type == SM_MSG_rcpt_verify) {
		const struct sm_msg_rcpt_verify *r = m;

		sm_assert(!sm_id_none(r->ta) && !sm_id_none(r->sess));
		t = told_by(hop, r->rcpt);
		note(probed, sizeof(probed), r->rcpt);
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
		if (c->err == NO_ANSWER)
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
		note(committed, sizeof(committed), t->rcpts[i].addr);
	note(committed, sizeof(committed), SM_STR("."));
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
static struct client c;

static void stop(void *arg SM_UNUSED)
{
	sm_loop_stop(0);
}

/* Codes of all replies, the greeting's first. `told` ends with a word NULL. */
static const char *play(uint32_t flags, const struct told *told, const char *lines)
{
	static struct sm_hook hook;
	static struct sm_arena a;
	struct ss ss = {.spare_fd = -1, .hostname = SM_STR("mx.local.test")};
	struct sm_sa sa;
	int sv[2];

	verdicts = told;
	committed[0] = asked[0] = probed[0] = '\0';
	mail_asked = 0;
	if (a.name == NULL) {
		sm_arena_init(&a, "test", 1024, 65536);
		assert_int_equal(sm_loop_init(), 0);
		sm_loop_before_sleep(&hook, answer_all, NULL);
	}
	sm_conf_defaults(ss_conf_opts, &conf, &a);
	conf.flags = flags;
	c = (struct client){.lines = lines};
	ss.conf = &conf;
	ss_idblock_add(&ss.ids, 1, 100);
	ss.credit = (struct ss_credit){100, 100, 1000, 0, ""};
	sm_list_init(&ss.sessions);
	sm_list_init(&ss.transactions);
	sm_list_init(&ss.listeners);
	assert_int_equal(sm_sa_ip(&sa, SM_STR("192.0.2.1"), 25), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	assert_int_equal(sm_net_open(&c.net, sv[1]), 0);
	assert_int_equal(ss_session_start(&ss, sv[0], &sa, "test"), 0);
	assert_non_null(sm_co_spawn("client", client, &c));
	assert_int_equal(sm_loop_run(), 0);
	while (ss.session_count > 0) {
		struct sm_timer t = {0};

		sm_timer_set(&t, sm_now_ms() + 1, stop, NULL);
		(void)sm_loop_run();
		sm_timer_cancel(&t);
	}
	assert_int_equal(writers, 0);
	assert_int_equal(ss.txn_count + ss.rcpt_count, 0);
	return c.codes;
}

#define MAIL  "HELO c.test\nMAIL FROM:<s@f.test>\n"
#define LOCAL SM_VERDICT_LOCAL
#define GREY  (LOCAL | SM_VERDICT_GREYLISTED)

/* ---- greylisting ---- */

static const struct told grey[] = {{"grey", 451, GREY},
                                   {"bad", 550, LOCAL},
                                   {"far-grey", 451, SM_VERDICT_GREYLISTED},
                                   {"l", 0, LOCAL},
                                   {NULL, 0, 0}};

static void test_greylisted_at_rcpt(void **state SM_UNUSED)
{
	assert_string_equal(play(SS_F_GREYLISTING, grey, MAIL "RCPT TO:<grey@l.test>\nNOOP\n"),
	                    "220 250 250 421 ");
	assert_true(strncmp(c.last, "421 4.7.1 told so", 17) == 0);
	assert_int_equal(rcpt_flags & SM_CHECK_GREYLIST, SM_CHECK_GREYLIST);
	assert_string_equal(
	    play(SS_F_GREYLISTING | SS_F_GREY_STAYS, grey, MAIL "RCPT TO:<grey@l.test>\nNOOP\n"),
	    "220 250 250 450 250 ");
	assert_string_equal(play(SS_F_GREYLISTING | SS_F_GREY_STAYS | SS_F_GREY_AT_DATA, grey,
	                         MAIL "RCPT TO:<grey@l.test>\nDATA\nNOOP\n"),
	                    "220 250 250 250 450 250 ");
}

static void test_greylisted_at_data(void **state SM_UNUSED)
{
	const uint32_t flags = SS_F_GREYLISTING | SS_F_GREY_AT_DATA;

	assert_string_equal(
	    play(flags, grey,
	         MAIL
	         "RCPT TO:<grey@l.test>\nRCPT TO:<bad@l.test>\nRCPT TO:<l@l.test>\nDATA\nNOOP\n"),
	    "220 250 250 250 550 250 421 ");
	assert_true(strncmp(c.last, "421 4.7.1 told so", 17) == 0);
	assert_string_equal(committed, "");
	/* It holds for that transaction. */
	assert_string_equal(play(flags, grey,
	                         MAIL "RCPT TO:<grey@l.test>\nRSET\nMAIL FROM:<s@f.test>\n"
	                              "RCPT TO:<l@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 250 250 250 354 250 ");
	assert_string_equal(committed, "l@l.test . ");
	/* Nobody may relay by being greylisted. */
	assert_string_equal(play(flags, grey, MAIL "RCPT TO:<far-grey@f.test>\n"),
	                    "220 250 250 550 ");
}

/* Who is asked for: not those who may relay or are ok; of who is rejected if nothing overrides that
 * smar is told. */
static void test_who_is_greylisted(void **state SM_UNUSED)
{
	static const struct {
		uint16_t code;
		uint32_t flags, asked;
	} rows[] = {
	    {0, 0, SM_CHECK_GREYLIST},
	    {0, SM_VERDICT_OK, 0},
	    {0, SM_VERDICT_RELAY, 0},
	    {551, 0, SM_CHECK_GREYLIST | SM_CHECK_STORED},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		const struct told told[] = {
		    {"", rows[i].code, rows[i].flags}, {"l", 0, LOCAL}, {NULL, 0, 0}};

		(void)play(SS_F_GREYLISTING | SS_F_ACCESS | SS_F_DELAY_CHECKS, told,
		           MAIL "RCPT TO:<l@l.test>\n");
		assert_int_equal(rcpt_flags & (SM_CHECK_GREYLIST | SM_CHECK_STORED), rows[i].asked);
	}
}

/* ---- what vanishes ---- */

static void test_vanishes(void **state SM_UNUSED)
{
	static const struct told session[] = {{"", 0, SM_VERDICT_DISCARD}, {NULL, 0, 0}};
	static const struct told sender[] = {
	    {"s", 0, SM_VERDICT_DISCARD}, {"l", 0, LOCAL}, {NULL, 0, 0}};
	static const struct told rcpts[] = {
	    {"gone", 0, LOCAL | SM_VERDICT_DISCARD},
	    {"all", 0, LOCAL | SM_VERDICT_DISCARD | SM_VERDICT_QUICK},
	    {"far-gone", 0, SM_VERDICT_DISCARD},
	    {"l", 0, LOCAL},
	    {NULL, 0, 0}};

	/* Nothing is asked any more, and each transaction goes. */
	assert_string_equal(play(SS_F_ACCESS, session,
	                         MAIL "RCPT TO:<x@f.test>\nDATA\n.\nMAIL FROM:<t@f.test>\n"
	                              "RCPT TO:<y@f.test>\nDATA\n.\n"),
	                    "220 250 250 250 354 250 250 250 354 250 ");
	assert_string_equal(asked, "");
	assert_int_equal(mail_asked, 0);
	assert_string_equal(committed, "");
	/* Only this one. */
	assert_string_equal(play(SS_F_ACCESS, sender,
	                         MAIL "RCPT TO:<x@f.test>\nDATA\n.\nMAIL FROM:<t@f.test>\n"
	                              "RCPT TO:<l@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 354 250 250 250 354 250 ");
	assert_string_equal(asked, "l@l.test ");
	assert_string_equal(committed, "l@l.test . ");
	/* Only this recipient; all, when no other is left. */
	assert_string_equal(
	    play(SS_F_ACCESS, rcpts, MAIL "RCPT TO:<gone@l.test>\nRCPT TO:<l@l.test>\nDATA\n.\n"),
	    "220 250 250 250 250 354 250 ");
	assert_string_equal(committed, "l@l.test . ");
	assert_string_equal(play(SS_F_ACCESS, rcpts, MAIL "RCPT TO:<gone@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 354 250 ");
	assert_string_equal(committed, "");
	/* quick: takes those before and behind with it. */
	assert_string_equal(play(SS_F_ACCESS, rcpts,
	                         MAIL "RCPT TO:<l@l.test>\nRCPT TO:<all@l.test>\n"
	                              "RCPT TO:<l2@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 250 250 354 250 ");
	assert_string_equal(committed, "");
	/* What vanishes is relayed no more than what does not. */
	assert_string_equal(play(SS_F_ACCESS, rcpts, MAIL "RCPT TO:<far-gone@f.test>\n"),
	                    "220 250 250 550 ");
}

/* ---- what was stored ---- */

static void test_stored(void **state SM_UNUSED)
{
	static const struct told told[] = {{"", 551, 0},
	                                   {"s", 552, 0},
	                                   {"wanted", 0, LOCAL | SM_VERDICT_OK | SM_VERDICT_QUICK},
	                                   {"ok", 0, LOCAL | SM_VERDICT_OK},
	                                   {"temp", 451, LOCAL},
	                                   {"l", 0, LOCAL},
	                                   {NULL, 0, 0}};
	static const struct told at_once[] = {{"", 551, SM_VERDICT_QUICK}, {NULL, 0, 0}};
	static const struct told sender_at_once[] = {{"s", 552, SM_VERDICT_QUICK}, {NULL, 0, 0}};
	const uint32_t delayed = SS_F_ACCESS | SS_F_DELAY_CHECKS;

	assert_string_equal(play(SS_F_ACCESS, told, ""), "554 ");
	assert_string_equal(play(delayed, told,
	                         MAIL "RCPT TO:<l@l.test>\nRCPT TO:<ok@l.test>\n"
	                              "RCPT TO:<temp@l.test>\nRCPT TO:<wanted@l.test>\nDATA\n.\n"),
	                    "220 250 250 551 551 451 250 354 250 ");
	assert_string_equal(committed, "wanted@l.test . ");
	assert_string_equal(play(delayed, at_once, ""), "554 ");
	assert_string_equal(play(delayed, sender_at_once, MAIL), "220 250 552 ");
	/* The next transaction is another one. */
	assert_string_equal(play(delayed, told + 1,
	                         MAIL "RCPT TO:<l@l.test>\nRSET\nMAIL FROM:<t@f.test>\n"
	                              "RCPT TO:<l@l.test>\n"),
	                    "220 250 250 552 250 250 250 ");
}

/* An operator's 421 ends the session when it is said. */
static void test_421(void **state SM_UNUSED)
{
	static const struct told sender[] = {{"s", 421, 0}, {"l", 0, LOCAL}, {NULL, 0, 0}};
	static const struct told rcpt[] = {{"l", 421, LOCAL}, {NULL, 0, 0}};
	static const struct told busy[] = {{"", 451, 0}, {"l", 0, LOCAL}, {NULL, 0, 0}};
	const uint32_t delayed = SS_F_ACCESS | SS_F_DELAY_CHECKS;

	assert_string_equal(play(SS_F_ACCESS, sender, MAIL "NOOP\n"), "220 250 421 ");
	assert_string_equal(play(delayed, sender, MAIL "RCPT TO:<l@l.test>\nNOOP\n"),
	                    "220 250 250 421 ");
	assert_string_equal(play(SS_F_ACCESS, rcpt, MAIL "RCPT TO:<l@l.test>\nNOOP\n"),
	                    "220 250 250 421 ");
	/* A temporary refusal at connect is a 421; later it is what it is. */
	assert_string_equal(play(SS_F_ACCESS, busy, ""), "421 ");
	assert_string_equal(play(delayed, busy, MAIL "RCPT TO:<l@l.test>\nNOOP\n"),
	                    "220 250 250 451 250 ");
}

/* Without the flag access nothing that only the access map can say is believed. */
static void test_no_map(void **state SM_UNUSED)
{
	static const struct told told[] = {
	    {"", 0, SM_VERDICT_RELAY | SM_VERDICT_OK | SM_VERDICT_QUICK | SM_VERDICT_DISCARD},
	    {"relay", 0, SM_VERDICT_RELAY},
	    {"l", 0, LOCAL},
	    {NULL, 0, 0}};

	assert_string_equal(play(0, told,
	                         MAIL "RCPT TO:<x@f.test>\nRCPT TO:<relay@f.test>\n"
	                              "RCPT TO:<l@l.test>\nDATA\n.\n"),
	                    "220 250 250 550 550 250 354 250 ");
	assert_string_equal(committed, "l@l.test . ");
	assert_int_equal(rcpt_flags, 0);
	assert_string_equal(play(SS_F_ACCESS, told + 1, MAIL "RCPT TO:<relay@f.test>\n"),
	                    "220 250 250 250 ");
}

/* ---- the next hop ---- */

#define VERIFY (LOCAL | SM_VERDICT_VERIFY)
#define ACCEPT (VERIFY | SM_VERDICT_VERIFY_ACCEPT)

static void test_next_hop(void **state SM_UNUSED)
{
	static const struct told told[] = {{"lax", 0, ACCEPT},
	                                   {"l", 0, VERIFY},
	                                   {"free", 0, LOCAL},
	                                   {"bad", 553, VERIFY},
	                                   {"far", 0, SM_VERDICT_VERIFY},
	                                   {"gone", 0, VERIFY | SM_VERDICT_DISCARD},
	                                   {"grey", 451, GREY | SM_VERDICT_VERIFY},
	                                   {NULL, 0, 0}};
	static const struct told says[] = {{"lno", 550, 0},           {"llate", 450, 0},
	                                   {"laxno", 550, 0},         {"laxlate", 450, 0},
	                                   {"laxmute", NO_ANSWER, 0}, {"lmute", NO_ANSWER, 0},
	                                   {"grey", 550, 0},          {NULL, 0, 0}};

	hop = says;
	assert_string_equal(play(SS_F_ACCESS, told,
	                         MAIL "RCPT TO:<l@l.test>\nRCPT TO:<lno@l.test>\n"
	                              "RCPT TO:<llate@l.test>\nRCPT TO:<lmute@l.test>\n"
	                              "RCPT TO:<laxno@l.test>\nRCPT TO:<laxlate@l.test>\n"
	                              "RCPT TO:<laxmute@l.test>\nRCPT TO:<free@l.test>\n"
	                              "RCPT TO:<bad@l.test>\nRCPT TO:<far@l.test>\n"
	                              "RCPT TO:<gone@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 550 450 450 550 250 250 250 553 550 250 354 250 ");
	assert_string_equal(committed, "l@l.test laxlate@l.test laxmute@l.test free@l.test . ");
	/* Who is refused by smar or vanishes is not asked about. */
	assert_null(strstr(probed, "free"));
	assert_null(strstr(probed, "bad"));
	assert_null(strstr(probed, "gone"));
	assert_string_equal(play(0, told, MAIL "RCPT TO:<lno@l.test>\n"), "220 250 250 550 ");
	assert_true(strncmp(c.last, "550 5.7.1 told so", 17) == 0);
	assert_string_equal(play(0, told, MAIL "RCPT TO:<llate@l.test>\n"), "220 250 250 450 ");
	assert_true(strncmp(c.last, "450 4.4.3 Recipient cannot be verified now", 42) == 0);
	/* Greylisting that is said at DATA: until then RCPT tells which addresses exist. */
	assert_string_equal(
	    play(SS_F_GREYLISTING | SS_F_GREY_AT_DATA, told, MAIL "RCPT TO:<grey@l.test>\n"),
	    "220 250 250 550 ");
	assert_string_equal(play(SS_F_GREYLISTING, told, MAIL "RCPT TO:<grey@l.test>\n"),
	                    "220 250 250 421 ");
	assert_string_equal(probed, "");
	hop = NULL;
}

/* In one packet: the next hop is asked for all that are left, but not before MAIL is accepted. */
static void test_next_hop_ahead(void **state SM_UNUSED)
{
	static const struct told told[] = {{"s", 0, 0}, {"l", 0, VERIFY}, {NULL, 0, 0}};
	static const struct told refused[] = {{"s", 550, 0}, {"l", 0, VERIFY}, {NULL, 0, 0}};
	static const struct told stored[] = {{"", 550, 0}, {"l", 0, VERIFY}, {NULL, 0, 0}};
	static const struct told says[] = {{"l2", 550, 0}, {NULL, 0, 0}};
	/* The client sends all of this at once, and then reads. */
	const char *all = "HELO c.test\nMAIL FROM:<s@f.test>|RCPT TO:<l1@l.test>|"
			  "RCPT TO:<l2@l.test>|RCPT TO:<l3@l.test>\nNOOP\nNOOP\nNOOP\n";

	hop = says;
	assert_string_equal(play(0, told, all), "220 250 250 250 550 250 ");
	assert_string_equal(probed, "l1@l.test l2@l.test l3@l.test ");
	assert_string_equal(play(0, refused, all), "220 250 550 503 503 503 ");
	assert_string_equal(probed, "");
	assert_string_equal(play(SS_F_ACCESS | SS_F_DELAY_CHECKS, stored, all),
	                    "220 250 250 550 550 550 ");
	assert_string_equal(probed, "");
	hop = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_next_hop),
	    cmocka_unit_test(test_next_hop_ahead),
	    cmocka_unit_test(test_greylisted_at_rcpt),
	    cmocka_unit_test(test_greylisted_at_data),
	    cmocka_unit_test(test_who_is_greylisted),
	    cmocka_unit_test(test_vanishes),
	    cmocka_unit_test(test_stored),
	    cmocka_unit_test(test_no_map),
	    cmocka_unit_test(test_421),
	};

	sm_log_level(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
