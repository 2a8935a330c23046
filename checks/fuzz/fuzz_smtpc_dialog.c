/*
 * The whole client dialog against arbitrary servers: the input is what the server says. First byte:
 * bit 0 LMTP, bit 1 DSN parameters, bits 2 to 4 how many recipients more than one,
 * bit 5 a probe, which must never say DATA, bit 6 smtpc has a password for the server. It tells who
 * brought the mail when the server wants to know (XFORWARD). The rest is
 * cut at 0x1E bytes into pieces; the first is the greeting, each further one follows something that
 * the client said. What the client says must be CRLF lines; every recipient must get exactly one
 * result.
 */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "libsm/co.h"
#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/loop.h"
#include "smtpc/sasl.h"
#include "smtpc/sc.h"
#include "smtpc/server_conf.h"
#include "smtpc/task.h"
#include "smtpc/transcript.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATIENCE = 30 /* rounds of the others */, TRANSCRIPT_BYTES = 3000 };

static struct sc sc;
static struct sc_conf conf;
static struct sm_arena arena;

struct run {
	int client;
	struct sm_net server;
	struct sm_str script;
	struct sm_msg_task task;
	struct sm_msg_rcpt_task rcpts[8];
	struct sm_msg_host host;
	bool log_in;
	bool utf8, may_utf8; /* bit 7: every second recipient is in UTF-8 */
	int answers;
};

static bool mentions(struct sm_str s, struct sm_str word)
{
	for (; s.n >= word.n; s = sm_str_from(s, 1))
		if (sm_str_caseeq(sm_str_head(s, word.n), word))
			return true;
	return false;
}

/* ---- in the place of Cyrus SASL ---- */

struct sc_sasl {
	bool done;
};
static int sasl_open;

bool sc_sasl_has(struct sm_str mechanism)
{
	return sm_str_caseeq(mechanism, SM_STR("SCRAM-SHA-256"));
}
int sc_sasl_start(const char *mechanism SM_UNUSED, const char *host SM_UNUSED,
                  const struct sc_credentials *c SM_UNUSED, struct sm_buf *out,
                  struct sc_sasl **sasl)
{
	*sasl = sm_calloc(1, sizeof(**sasl));
	sasl_open++;
	sm_buf_cstr(out, "n,,n=joe,r=abc");
	return 0;
}
/* "r=..." goes on, "v=..." is the server's proof, all else is wrong. */
int sc_sasl_step(struct sc_sasl *sasl, struct sm_str challenge, struct sm_buf *out)
{
	sm_assert(!mentions(challenge, SM_STR(",i=999999999")));
	sasl->done = sm_str_has_prefix(challenge, SM_STR("v="));
	if (sasl->done)
		return 0;
	sm_buf_cstr(out, "c=biws,p=xyz");
	return sm_str_has_prefix(challenge, SM_STR("r=")) ? 0 : sm_fail(SM_E_PEER, "wrong");
}
bool sc_sasl_is_done(const struct sc_sasl *sasl)
{
	return sasl->done;
}
void sc_sasl_free(struct sc_sasl **sasl)
{
	if (*sasl != NULL)
		sasl_open--;
	SM_FREE(*sasl);
}

static void server(void *arg)
{
	struct run *r = arg;
	int64_t deadline = sm_loop_now_ms() + 10000;
	char buf[4096], last = '\0';
	struct sm_buf said;
	ssize_t n;

	sm_buf_init(&said, 1 << 24);
	do {
		struct sm_str piece = sm_str_split(r->script, 0x1E, &r->script);
		if (sm_net_write(&r->server, piece.p, piece.n, deadline) != 0)
			break;
		if (r->script.p == NULL)
			shutdown(r->server.f.fd, SHUT_WR);
		/* A client that waits for more says nothing: go on without it after a while. */
		for (int i = 0; i < PATIENCE && r->script.p != NULL; i++) {
			if (sm_net_pending(&r->server))
				break;
			sm_co_yield();
		}
		if (r->script.p != NULL && !sm_net_pending(&r->server)) {
			n = 1;
			continue;
		}
		n = sm_net_read(&r->server, buf, sizeof(buf), deadline);
		for (ssize_t i = 0; i < n; i++) {
			/* smx never emits a bare CR or LF. */
			sm_assert((buf[i] == '\n') == (last == '\r'));
			/* What is not ASCII goes to who offers to take it. */
			sm_assert(r->may_utf8 || (unsigned char)buf[i] < 0x80);
			last = buf[i];
		}
		if (r->task.probe_ms > 0 && n > 0)
			sm_buf_append(&said, buf, (size_t)n);
	} while (n > 0);
	for (struct sm_str rest = sm_buf_view(&said); rest.n > 0;)
		sm_assert(!sm_str_has_prefix(sm_str_split(rest, '\n', &rest), SM_STR("DATA")));
	sm_buf_fini(&said);
	sm_net_close(&r->server);
}

/* It is for the eyes of an operator, within its bounds, and has no content. */
static void look_at_transcript(struct sc_task *t)
{
	struct sm_msg_transcript m = {.task = 1};
	struct sm_buf b;
	size_t bytes = 0;

	sc_transcript_take(t->transcript, &t->arena, &m);
	for (uint32_t i = 0; i < m.lines_count; i++) {
		struct sm_str line = m.lines[i].text;

		for (size_t k = 0; k < line.n; k++)
			sm_assert(line.p[k] >= ' ' && line.p[k] <= '~');
		bytes += line.n;
		sm_assert(m.lines[i].who != SM_SAID_CLIENT ||
		          (!sm_str_has_prefix(line, SM_STR("line")) &&
		           !sm_str_has_prefix(line, SM_STR("Subject:"))));
	}
	sm_assert(bytes <= TRANSCRIPT_BYTES + 1000);
	sm_buf_init(&b, SM_FRAME_MAX);
	sm_msg_transcript_encode(&b, &m);
	sm_assert(sm_buf_err(&b) == 0);
	sm_buf_fini(&b);
}

static void on_answer(struct sc_task *t, const struct sm_msg_task_result *m)
{
	struct run *r = t->answer_arg;

	r->answers++;
	look_at_transcript(t);
	sm_assert(m->results_count == r->task.rcpts_count);
	for (size_t i = 0; i < m->results_count; i++) {
		const struct sm_msg_rcpt_result *x = &m->results[i];
		sm_assert(x->index == i && x->text.n > 0);
		enum sm_stage done = r->task.probe_ms > 0 ? SM_STAGE_RCPT : SM_STAGE_EOD;

		sm_assert(x->outcome != SM_OUTCOME_DONE ||
		          (x->code / 100 == 2 && x->stage == done));
		/* Only what is said of a recipient speaks of it. */
		sm_assert(r->task.probe_ms == 0 || x->outcome != SM_OUTCOME_PERM ||
		          ((x->code / 100 == 5 || r->utf8) && x->stage == SM_STAGE_RCPT));
		for (size_t k = 0; k < x->text.n; k++)
			sm_assert(x->text.p[k] >= ' ' && x->text.p[k] <= '~');
	}
}

static void client(void *arg)
{
	struct run *r = arg;
	struct sc_session *s;
	struct sc_server_conf server;
	struct sc_why why;
	struct sm_buf body;
	int rc;

	sc_server_conf_init(&server);
	sm_assert(sc_server_conf_parse(
		      &server, SC_TLS_MAY, &sc.conf->timeouts,
		      SM_STR("xforward = on; auth { clear_text = on; trusted = on; }"), SM_STR(""),
		      r->log_in ? SM_STR("user = \"joe\"; password = \"secret\"; "
	                                 "token = \"abc\";")
				: SM_STR("")) == 0);
	rc = sc_session_adopt(&sc, r->client, r->task.agent == SM_AGENT_LMTP,
	                      sm_loop_now_ms() + 10000, &server, &why, &s);
	sc_server_conf_fini(&server);
	if (rc == 0) {
		/* By way of the cache the task gets to this session. */
		s->key = sm_str(sm_strdup("key"));
		s->sa = r->host.sa;
		if (!sc_cache_put(&sc.cache, s))
			sc_session_free(&s);
	}
	sm_buf_init(&body, SM_FRAME_MAX);
	sm_msg_task_encode(&body, &r->task);
	struct sc_task *t = sc_task_new(&sc, sm_buf_view(&body));
	sm_buf_fini(&body);
	sm_assert(t != NULL);
	t->content.is_composed = true;
	sm_buf_cstr(&t->content.composed, "Subject: x\r\n\r\n.dot\r\nline\nbare\rbare");
	t->answer = on_answer;
	t->answer_arg = r;
	sc_task_run(t);
	sc_cache_quit_all(&sc.cache);
	while (sm_co_count() > 1)
		sm_co_yield();
	sm_loop_stop(0);
}

static void set_up(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	sm_log_init("fuzz", 0);
	sm_arena_init(&arena, "fuzz", 4096, 1 << 20);
	sm_conf_defaults(sc_conf_opts, &conf, &arena);
	conf.max_reply_bytes = 20000;
	sc.conf = &conf;
	sc.hostname = SM_STR("client.example");
	sm_list_init(&sc.tasks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t notify[] = {SM_NOTIFY_FAILURE | SM_NOTIFY_DELAY, SM_NOTIFY_NEVER,
	                                 SM_NOTIFY_SUCCESS};
	static const struct sm_str orcpts[] = {SM_STR("rfc822;r@b.example"),
	                                       SM_STR("utf-8;\xc3\xbc@b.example"), SM_STR_NONE};
	struct run r = {.answers = 0};
	int fds[2];

	if (size == 0)
		return 0;
	set_up();
	r.script = sm_str_n(data + 1, size - 1);
	r.host = (struct sm_msg_host){.name = SM_STR("mx.example")};
	sm_assert(sm_sa_unix(&r.host.sa, SM_STR("/nonexistent/socket")) == 0);
	r.task = (struct sm_msg_task){
	    .sender = SM_STR("s@a.example"),
	    .key = SM_STR("key"),
	    .agent = data[0] & 1 ? SM_AGENT_LMTP : SM_AGENT_SMTP,
	    .envid = data[0] & 2 ? SM_STR("envid") : SM_STR_NONE,
	    .ret = data[0] & 2 ? SM_RET_FULL : SM_RET_NONE,
	    .body = SM_BODY_8BITMIME,
	    .hosts_count = 1,
	    .hosts = &r.host,
	    .rcpts_count = 1 + (data[0] >> 2 & 7),
	    .rcpts = r.rcpts,
	    .probe_ms = data[0] & 32 ? 10000 : 0,
	    .transcript_bytes = TRANSCRIPT_BYTES,
	    .helo = SM_STR("\r\nRSET\xc3\xbc="),
	    .proto = SM_STR("ESMTP"),
	};
	sm_assert(sm_sa_ip(&r.task.client, SM_STR("2001:db8::1"), 25) == 0);
	r.log_in = (data[0] & 64) != 0;
	r.utf8 = (data[0] & 128) != 0;
	if (r.utf8)
		r.task.utf8 = SM_UTF8_DECLARED;
	r.may_utf8 = mentions(r.script, SM_STR("SMTPUTF8"));
	for (size_t i = 0; i < r.task.rcpts_count; i++)
		r.rcpts[i] = (struct sm_msg_rcpt_task){
		    .index = (uint16_t)i,
		    .addr =
			r.utf8 && i % 2 == 1 ? SM_STR("\xc3\xbc@b.example") : SM_STR("r@b.example"),
		    .notify = data[0] & 2 ? notify[i % SM_ARRAY_SIZE(notify)] : 0,
		    .orcpt = data[0] & 2 ? orcpts[i % SM_ARRAY_SIZE(orcpts)] : SM_STR_NONE,
		};
	sm_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	sm_assert(sm_loop_init() == 0);
	sc_cache_init(&sc.cache, &sc);
	r.client = fds[0];
	sm_assert(sm_net_open(&r.server, fds[1]) == 0);
	sm_assert(sm_co_spawn("server", server, &r) != NULL);
	sm_assert(sm_co_spawn("client", client, &r) != NULL);
	(void)sm_loop_run();
	sm_assert(r.answers == 1 && sasl_open == 0);
	sc_cache_fini(&sc.cache);
	sm_co_cleanup();
	sm_loop_fini();
	return 0;
}
