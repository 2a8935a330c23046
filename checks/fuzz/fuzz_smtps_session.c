/*
 * Fuzz a whole session of smtps: a client on a socket pair sends the input in pieces, qmgr and
 * smar are puppets (smtps/t_puppets.c), the content store is played here. What they answer is
 * told by the addresses: "bad", "tmp", "close", "lost", "away" and others (told_by) at the
 * beginning of a local part; only local.test is local.
 *
 * Input: one byte of configuration, one of qmgr's answers to commits, one of how the rest is split
 * and which extensions are offered; then what the client sends. With LHLO in that it is an LMTP
 * server; with "LHLO now" one that waits for what becomes of each recipient.
 *
 * Checked: replies are well-formed lines; as many messages are accepted as qmgr took; nothing is
 * relayed that nobody allowed, and what is to vanish does; content that was taken has no bare CR or
 * LF; nothing is left open at the end.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "checks/fuzz/puppet_sasl.h"
#include "libcdb/cdb.h"
#include "libsm/addr.h"
#include "libsm/co.h"
#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/loop.h"
#include "libsm/offload.h"
#include "smtps/peers.h"
#include "smtps/session.h"
#include "smtps/t_puppets.h"

enum { CONTENT_MAX = 1 << 20, REPLIES_MAX = 1 << 22 };

static struct ss_conf rules;

/* ---- qmgr and smar ---- */

static uint64_t taken;
static uint8_t commit_plan;
static bool committed_before; /* ta_query: did the frame arrive? */
static bool may_relay, by_map;
static struct sm_str front_ends[] = {SM_STR("0.0.0.0/0")};

/* The answer that an address asks for: a code, or SM_E_* for none; and flags. */
static int told_by(struct sm_str addr, uint32_t *flags)
{
	static const struct {
		struct sm_str word;
		int answer;
		uint32_t flags;
	} words[] = {
	    {SM_STR("bad"), 550, 0},
	    {SM_STR("tmp"), 450, 0},
	    {SM_STR("close"), 421, SM_VERDICT_CLOSE},
	    {SM_STR("lost"), SM_E_TIMEOUT, 0},
	    {SM_STR("away"), SM_E_PROTO, 0},
	    {SM_STR("now"), 553, SM_VERDICT_QUICK},
	    {SM_STR("want"), 0, SM_VERDICT_OK | SM_VERDICT_QUICK},
	    {SM_STR("relay"), 0, SM_VERDICT_RELAY},
	    {SM_STR("vanish"), 0, SM_VERDICT_DISCARD},
	    {SM_STR("vanall"), 0, SM_VERDICT_DISCARD | SM_VERDICT_QUICK},
	    {SM_STR("grey"), 451, SM_VERDICT_GREYLISTED},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++) {
		if (!sm_str_has_prefix(addr, words[i].word))
			continue;
		*flags |= words[i].flags;
		return words[i].answer;
	}
	return 0;
}

struct sm_str puppet_text(uint16_t code)
{
	return code != 0 ? SM_STR("5.1.1 no\nway") : SM_STR("");
}

/* What qmgr is asked for is a domain as it is compared. */
static void check_node(struct sm_str node)
{
	if (node.n > 0 && node.p[0] == '@')
		node = sm_str_from(node, 1);
	sm_assert(sm_domain_valid(node, true));
	for (size_t i = 0; i < node.n; i++)
		sm_assert(node.p[i] == sm_lower(node.p[i]));
}

struct ss_answer puppet_answer(uint16_t type, const void *m)
{
	int answer = 0;
	uint32_t flags = 0;

	if (type == SM_MSG_mail_check) {
		answer = told_by(((const struct sm_msg_mail_check *)m)->sender, &flags);
	} else if (type == SM_MSG_rcpt_check) {
		const struct sm_msg_rcpt_check *r = m;
		answer = told_by(r->rcpt, &flags);
		if (sm_str_has_suffix(r->rcpt, SM_STR("@local.test")))
			flags |= SM_VERDICT_LOCAL;
	} else if (type == SM_MSG_etrn_check) {
		struct sm_str node = ((const struct sm_msg_etrn_check *)m)->node;
		answer = told_by(node, &flags);
		flags |=
		    answer == 0 && !sm_str_has_suffix(node, SM_STR(".not")) ? SM_VERDICT_OK : 0;
	} else if (type == SM_MSG_etrn) {
		struct sm_str node = ((const struct sm_msg_etrn *)m)->node;
		check_node(node);
		answer = sm_str_has_suffix(node, SM_STR(".gone")) ? SM_E_TIMEOUT : 251;
	}
	if (answer < 0)
		return (struct ss_answer){.err = answer};
	return (struct ss_answer){.code = (uint16_t)answer, .flags = flags};
}

static void check_commit(const struct sm_msg_ta_commit *m);

/* Only commit.c asks this way. Two bits of the plan for each answer: taken, refused, lost before,
 * lost after it was taken. */
int sm_rpc(struct sm_peer *p SM_UNUSED, uint16_t type, const void *m, uint16_t reply_type SM_UNUSED,
           struct sm_arena *a SM_UNUSED, void *reply, int64_t deadline_ms SM_UNUSED)
{
	unsigned plan = commit_plan & 3;
	const struct sm_msg_ta_commit *c = m;

	commit_plan = (uint8_t)(commit_plan >> 2);
	if (type == SM_MSG_ta_query) {
		((struct sm_msg_ta_outcome *)reply)->taken = committed_before;
		return plan == 2 ? SM_E_TIMEOUT : 0;
	}
	sm_assert(type == SM_MSG_ta_commit);
	check_commit(c);
	puppet_decides = c->rcpts_count;
	*(struct sm_msg_verdict *)reply = (struct sm_msg_verdict){.text = SM_STR("")};
	committed_before = plan == 0 || plan == 3;
	if (committed_before)
		taken += rules.protocol == SS_PROTOCOL_LMTP ? c->rcpts_count : 1;
	if (plan == 1)
		*(struct sm_msg_verdict *)reply =
		    (struct sm_msg_verdict){.code = 452, .text = SM_STR("4.3.1 full")};
	return plan >= 2 ? SM_E_PEER : 0;
}

/* Only what main.c starts, and SASL, for which there is a puppet. */
void sm_offload_async(struct sm_offload_job *job SM_UNUSED, int (*fn)(void *arg) SM_UNUSED,
                      void (*done)(int rc, void *arg) SM_UNUSED, void *arg SM_UNUSED)
{
	sm_assert(false);
}

int sm_offload(const char *doing SM_UNUSED, int (*fn)(void *arg), void *arg)
{
	return fn(arg);
}

/* ---- the content store ---- */

struct cdb_writer {
	struct sm_buf content;
	struct sm_id id;
};
static int writers;
static struct sm_buf last; /* what was committed last */
static struct sm_id last_id;

struct cdb_writer *cdb_write(struct cdb *s SM_UNUSED, struct sm_id id, size_t gap)
{
	struct cdb_writer *w = sm_calloc(1, sizeof(*w));

	sm_assert(gap == 0);
	sm_buf_init(&w->content, CONTENT_MAX);
	w->id = id;
	writers++;
	return w;
}
int cdb_append(struct cdb_writer *w, const void *p, size_t n)
{
	sm_buf_append(&w->content, p, n);
	/* Some contents find the disk full, some find it broken. */
	if (memmem(p, n, "ENOSPC", 6) != NULL)
		return sm_fail(SM_E_FULL, "full");
	return memmem(p, n, "EIO", 3) != NULL ? sm_fail(SM_E_IO, "broken") : 0;
}
void cdb_abort(struct cdb_writer **w)
{
	sm_buf_fini(&(*w)->content);
	SM_FREE(*w);
	writers--;
}
int cdb_commit(struct cdb_writer **w, struct cdb_place *at)
{
	sm_buf_fini(&last);
	last = (*w)->content;
	last_id = (*w)->id;
	*at = (struct cdb_place){.content = last_id, .size = last.len};
	SM_FREE(*w);
	writers--;
	return 0;
}
void cdb_handed_over(struct cdb *s SM_UNUSED, struct sm_id content)
{
	sm_assert(sm_id_eq(content, last_id));
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
int cdb_unlink(struct cdb *s SM_UNUSED, struct sm_id id)
{
	sm_assert(sm_id_eq(id, last_id));
	return 0;
}

static bool vanishing(struct sm_str addr)
{
	return sm_str_has_prefix(addr, SM_STR("vanish")) ||
	       sm_str_has_prefix(addr, SM_STR("vanall"));
}

static void check_commit(const struct sm_msg_ta_commit *m)
{
	struct sm_str c = sm_buf_view(&last);

	sm_assert(sm_id_eq(m->content, last_id) && sm_id_eq(m->ta, last_id) && m->size == c.n);
	sm_assert(m->rcpts_count > 0);
	sm_assert(!(rules.flags & SS_F_SUBMISSION) || may_relay || puppet_sasl_passed > 0);
	sm_assert(!vanishing(m->sender));
	sm_assert(m->user.n == 0 || puppet_sasl_passed > 0);
	for (uint32_t i = 0; i < m->rcpts_count; i++) {
		struct sm_str addr = m->rcpts[i].addr;

		sm_assert(may_relay || puppet_sasl_passed > 0 ||
		          sm_str_has_suffix(addr, SM_STR("@local.test")) ||
		          (by_map && sm_str_has_prefix(addr, SM_STR("relay"))));
		sm_assert(!vanishing(addr));
		sm_assert(!sm_str_has_prefix(addr, SM_STR("grey")));
		sm_assert(ss_offers_dsn(&rules) ||
		          (m->rcpts[i].notify == 0 && m->rcpts[i].orcpt.n == 0));
	}
	sm_assert(sm_str_has_prefix(c, SM_STR("Received: from ")));
	/* What chunks have made may end without a line end. */
	sm_assert(sm_str_has_suffix(c, SM_STR("\r\n")) || ss_offers_chunking(&rules));
	sm_assert(m->body == SM_BODY_NONE || ss_offers_8bitmime(&rules));
	sm_assert(m->body != SM_BODY_BINARYMIME || ss_offers_binarymime(&rules));
	sm_assert((m->utf8 & SM_UTF8_DECLARED) || sm_str_is_ascii(m->sender));
	for (uint32_t i = 0; i < m->rcpts_count; i++)
		sm_assert((m->utf8 & SM_UTF8_DECLARED) || sm_str_is_ascii(m->rcpts[i].addr));
	for (size_t i = 0; i < c.n && m->body != SM_BODY_BINARYMIME; i++) {
		sm_assert(c.p[i] != '\n' || (i > 0 && c.p[i - 1] == '\r'));
		sm_assert(c.p[i] != '\r' || (i + 1 < c.n && c.p[i + 1] == '\n'));
	}
}

/* ---- the client ---- */

struct client {
	struct sm_net net;
	struct sm_str in;
	uint32_t seed;
	bool polite; /* waits for replies where RFC 2920 wants it */
	bool auth;   /* ... and after each line, which may be a response */
	struct sm_buf replies;
	struct sm_co *sender; /* while it waits */
	int running;
};

static int64_t soon(void)
{
	return sm_loop_now_ms() + 20000;
}

static void leave(struct client *c)
{
	if (--c->running == 0)
		sm_loop_stop(0);
}

/* A polite client waits for the reply; not for long, because there may be none to come. */
static void wait_reply(struct client *c, size_t had)
{
	int64_t until = sm_now_ms() + 3;

	c->sender = sm_co_self();
	while (c->replies.len == had && c->running == 2)
		if (sm_co_park("reply", until) != 0)
			break;
	c->sender = NULL;
}

/* How much of the input may be sent at once: up to the end of the next line with EHLO, HELO or
 * DATA. */
static size_t group(struct sm_str in, bool each)
{
	static const struct sm_str verbs[] = {SM_STR("EHLO"), SM_STR("HELO"), SM_STR("LHLO"),
	                                      SM_STR("DATA\r")};
	size_t n = 0;

	while (n < in.n) {
		struct sm_str line = sm_str_from(in, n);
		const char *lf = memchr(line.p, '\n', line.n);
		n = lf != NULL ? (size_t)(lf - in.p) + 1 : in.n;
		if (each)
			return n;
		for (size_t i = 0; i < SM_ARRAY_SIZE(verbs); i++)
			if (sm_str_has_caseprefix(line, verbs[i]))
				return n;
	}
	return n;
}

static void sender(void *arg)
{
	struct client *c = arg;

	if (c->polite)
		wait_reply(c, 0);
	while (c->in.n > 0) {
		struct sm_str now = sm_str_head(c->in, c->polite ? group(c->in, c->auth) : c->in.n);
		size_t had = c->replies.len;

		c->in = sm_str_from(c->in, now.n);
		while (now.n > 0) {
			size_t part;

			c->seed = c->seed * 1664525u + 1013904223u;
			part = 1 + (c->seed >> 16) % ((c->seed >> 8) % 4 == 0 ? 10 : 3000);
			part = SM_MIN(part, now.n);
			if (sm_net_write(&c->net, now.p, part, soon()) != 0) {
				leave(c);
				return;
			}
			now = sm_str_from(now, part);
			sm_co_yield();
		}
		if (c->polite)
			wait_reply(c, had);
	}
	(void)shutdown(c->net.f.fd, SHUT_WR);
	leave(c);
}

static void reader(void *arg)
{
	struct client *c = arg;
	char *p = sm_malloc(4096);
	ssize_t n;

	while ((n = sm_net_read(&c->net, p, 4096, soon())) > 0) {
		sm_buf_append(&c->replies, p, (size_t)n);
		if (c->sender != NULL)
			sm_co_wake(c->sender);
	}
	sm_assert(n != SM_E_TIMEOUT);
	sm_free(p);
	leave(c);
}

/* Every line is a reply's line; gives how many messages, in LMTP recipients, were accepted. */
static uint64_t check_replies(struct sm_str s)
{
	uint64_t accepted = 0;
	unsigned let_in = 0;

	while (s.n > 0) {
		struct sm_str line = sm_str_split(s, '\n', &s);

		if (s.p == NULL)
			return accepted; /* cut by a close without a reply */
		sm_assert(line.n >= 5 && line.n < 512 && line.p[line.n - 1] == '\r');
		for (size_t i = 0; i < 3; i++)
			sm_assert(sm_isdigit(line.p[i]));
		sm_assert(line.p[0] >= '2' && line.p[0] <= '5');
		sm_assert(line.p[3] == ' ' || line.p[3] == '-');
		for (size_t i = 4; i + 1 < line.n; i++)
			sm_assert(line.p[i] >= ' ' && line.p[i] <= '~');
		if (sm_str_has_prefix(line, SM_STR("235 ")))
			sm_assert(++let_in <= puppet_sasl_passed);
		accepted += memmem(line.p, line.n, "Message accepted", 16) != NULL;
	}
	return accepted;
}

/* ---- a run ---- */

static void setup(void)
{
	static struct sm_str trusted[] = {SM_STR("DIGEST-MD5")};
	static struct sm_arena a;

	sm_arena_init(&a, "fuzz", 1024, 65536);
	sm_conf_defaults(ss_conf_opts, &rules, &a);
	rules.etrn.flags = SS_ETRN_ACCESS | SS_ETRN_AUTH;
	rules.max_message_bytes = 20000;
	rules.max_junk_bytes = 50000;
	rules.max_header_lines = 100;
	rules.max_header_bytes = 5000;
	rules.max_line_bytes = 3000;
	rules.max_hops = 5;
	rules.max_rcpts_transaction = 30;
	rules.auth.delay_ms = rules.auth.max_delay_ms = 0;
	rules.auth.trusted = (struct sm_conf_list){1, trusted};
	sm_assert(sm_loop_init() == 0);
	puppets_start();
	sm_log_level(0);
}

static void stop(void *arg SM_UNUSED)
{
	sm_loop_stop(0);
}

/* "NOOP hide XXXX" in the input: extensions that this server hides. */
static uint32_t hidden_by(struct sm_str input)
{
	static const struct sm_str word = SM_STR("NOOP hide ");
	const char *at = memmem(input.p, input.n, word.p, word.n);
	uint64_t mask = 0;

	if (at != NULL) {
		input = sm_str_from(input, (size_t)(at - input.p) + word.n);
		if (sm_str_u64(sm_str_head(input, 4), 16, UINT16_MAX, &mask) != 0)
			mask = 0;
	}
	return (uint32_t)mask;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static bool ready;
	struct ss ss = {.spare_fd = -1, .hostname = SM_STR("mx.local.test")};
	struct client c = {.running = 2};
	struct sm_sa sa;
	uint64_t accepted;
	bool unknown, vanishes;
	int sv[2];

	if (n < 3 || n > 200000)
		return 0;
	if (!ready)
		setup();
	ready = true;
	rules.flags =
	    p[0] & (SS_F_8BITMIME | SS_F_DELAY_CHECKS | SS_F_LMTP_NO_RELAY | SS_F_SOFT_BOUNCE |
	            SS_F_STRICT_EHLO | SS_F_ACCESS | SS_F_LOOPBACK_RELAY | SS_F_GREYLISTING);
	if (p[2] & 4)
		rules.flags |= SS_F_GREY_AT_DATA;
	rules.auth.service = p[2] & 8 ? SM_STR("smtp") : SM_STR("");
	if (p[2] & 16)
		rules.flags |= SS_F_CHUNKING;
	if (p[2] & 32)
		rules.flags |= SS_F_BINARYMIME;
	if (p[2] & 64)
		rules.flags |= SS_F_SMTPUTF8;
	/* A submission server behind a front end that may say XCLIENT and XFORWARD. */
	if (p[2] & 128)
		rules.flags |= SS_F_SUBMISSION;
	rules.hidden = hidden_by(sm_str_n(p, n));
	rules.xclient.from = (struct sm_conf_list){p[2] & 128 ? 1 : 0, front_ends};
	rules.xforward.from = rules.xclient.from;
	rules.protocol = memmem(p, n, "LHLO", 4) != NULL ? SS_PROTOCOL_LMTP : SS_PROTOCOL_SMTP;
	rules.deliver =
	    memmem(p, n, "LHLO now", 8) != NULL ? SM_DELIVER_NOW : SM_DELIVER_BACKGROUND;
	by_map = (rules.flags & SS_F_ACCESS) != 0;
	commit_plan = p[1];
	unknown = false;
	for (int i = 0; i < 8; i += 2)
		unknown = unknown || ((p[1] >> i) & 3) == 2;
	vanishes = memmem(p, n, "van", 3) != NULL;
	c.seed = p[2];
	c.polite = (p[2] & 2) == 0;
	c.auth = (p[2] & 8) != 0;
	puppet_sasl_reset();
	ss_authlimit_init(&ss.authlimit);
	c.in = sm_str_n(p + 3, n - 3);
	sm_buf_init(&c.replies, REPLIES_MAX);
	sm_buf_init(&last, CONTENT_MAX);
	taken = 0;
	ss.conf = &rules;
	ss_idblock_add(&ss.ids, 1, 4);
	puppet_next_id = 5;
	ss.credit = (struct ss_credit){100, 100, 1000, 0, ""};
	sm_list_init(&ss.sessions);
	sm_list_init(&ss.transactions);
	sm_list_init(&ss.listeners);
	sm_assert(sm_sa_ip(&sa, p[2] & 1 ? SM_STR("127.0.0.1") : SM_STR("192.0.2.1"), 25) == 0);
	may_relay = (rules.flags & SS_F_LOOPBACK_RELAY) && (p[2] & 1);

	sm_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
	sm_assert(sm_net_open(&c.net, sv[1]) == 0);
	sm_assert(ss_session_start(&ss, sv[0], &sa, "test") == 0);
	sm_assert(sm_co_spawn("sender", sender, &c) != NULL);
	sm_assert(sm_co_spawn("reader", reader, &c) != NULL);
	sm_assert(sm_loop_run() == 0);
	sm_net_close(&c.net);
	/* The client may be done before the session is. */
	while (ss.session_count > 0) {
		struct sm_timer t = {0};
		sm_timer_set(&t, sm_now_ms() + 1, stop, NULL);
		(void)sm_loop_run();
		sm_timer_cancel(&t);
	}

	accepted = check_replies(sm_buf_view(&c.replies));
	/* What qmgr took was acknowledged, unless nobody could know, or the client had gone. */
	sm_assert(accepted <= taken || vanishes);
	sm_assert(writers == 0 && ss.txn_count == 0 && ss.rcpt_count == 0);
	sm_assert(sm_list_empty(&ss.sessions) && sm_list_empty(&ss.transactions));
	sm_assert(puppets_forget() == 0 || ss.ids.asked); /* for ids, at the most */
	sm_assert(puppet_sasl_open == 0);
	ss_authlimit_fini(&ss.authlimit);
	sm_assert(unknown || vanishes || rules.deliver == SM_DELIVER_NOW || accepted == taken ||
	          sm_buf_err(&c.replies) != 0);
	sm_buf_fini(&c.replies);
	sm_buf_fini(&last);
	return 0;
}
