/* The puppets of the tests of the whole queue manager, see t_qm.h: what they say and how they
 * answer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/t_qm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- puppets ---- */

static void puppet_address(const char *path, struct sockaddr_un *sun)
{
	*sun = (struct sockaddr_un){.sun_family = AF_UNIX};
	sm_assert(strlen(path) < sizeof(sun->sun_path));
	memcpy(sun->sun_path, path, strlen(path) + 1);
}

static void flush(struct puppet *p)
{
	while (p->fd >= 0 && p->out.len > 0) {
		ssize_t r = send(p->fd, sm_buf_p(&p->out), p->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0) {
			p->gone = errno != EAGAIN;
			return; /* qmgr reads in this very thread: later */
		}
		sm_buf_consume(&p->out, (size_t)r);
	}
}

static void put(struct puppet *p, uint16_t type, uint16_t flags, uint64_t tag, const void *m)
{
	assert_int_equal(sm_frame_put(&p->out, type, flags, tag, m), 0);
	flush(p);
}

void t_send(struct puppet *p, uint16_t type, const void *m, bool call)
{
	put(p, type, 0, call ? ++p->last_tag : 0, m);
}

static void hello(struct puppet *p)
{
	struct sm_msg_hello h = {.role = (uint8_t)p->role,
	                         .proc = p->proc,
	                         .pid = (uint32_t)getpid(),
	                         .incarnation = 1,
	                         .table = sm_msg_table_hash(),
	                         .build = SM_STR("test")};

	put(p, SM_MSG_hello, 0, 0, &h);
}

static void puppet_open(struct puppet *p, enum sm_role role, uint8_t proc, int fd)
{
	sm_buf_fini(&p->in);
	sm_buf_fini(&p->out);
	*p = (struct puppet){.role = role, .proc = proc, .fd = fd, .listen_fd = -1};
	sm_buf_init(&p->in, 4 * SM_FRAME_MAX);
	sm_buf_init(&p->out, 8 * SM_FRAME_MAX);
	hello(p);
}

static void puppet_connect(struct puppet *p, enum sm_role role, uint8_t proc, const char *path)
{
	struct sockaddr_un sun;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	puppet_address(path, &sun);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	puppet_open(p, role, proc, fd);
}

void t_down(struct puppet *p)
{
	if (p->fd >= 0)
		close(p->fd);
	if (p->listen_fd >= 0) {
		close(p->listen_fd);
		unlink(w.socks[2]);
	}
	p->fd = p->listen_fd = -1;
	p->up = false;
	sm_buf_fini(&p->in);
	sm_buf_fini(&p->out);
}

/* ---- what the puppets do with frames ---- */

static void smtps_frame(struct t_smtps *s, const struct sm_frame *f)
{
	if (f->type == SM_MSG_verdict) {
		struct sm_msg_verdict m;

		assert_int_equal(sm_msg_verdict_decode(f->body, &w.frame, &m), 0);
		s->verdicts++;
		s->code = m.code;
		sm_str_cut(m.text, s->text, sizeof(s->text));
	} else if (f->type == SM_MSG_credit) {
		struct sm_msg_credit m;

		assert_int_equal(sm_msg_credit_decode(f->body, &w.frame, &m), 0);
		s->credits++;
		s->credit = m.code;
	} else if (f->type == SM_MSG_content_keep) {
		s->keeps++;
	} else if (f->type == SM_MSG_id_block) {
		struct sm_msg_id_block m;

		assert_int_equal(sm_msg_id_block_decode(f->body, &w.frame, &m), 0);
		if (s->next_id == 0)
			s->next_id = m.first;
	} else if (f->type == SM_MSG_ta_outcome) {
		struct sm_msg_ta_outcome m;

		assert_int_equal(sm_msg_ta_outcome_decode(f->body, &w.frame, &m), 0);
		s->outcomes++;
		s->taken = m.taken;
	} else if (f->type == SM_MSG_ta_decided) {
		struct sm_msg_ta_decided m;

		assert_int_equal(sm_msg_ta_decided_decode(f->body, &w.frame, &m), 0);
		s->decisions++;
		s->decided_count = m.results_count;
		for (uint32_t i = 0; i < m.results_count && i < 16; i++) {
			assert_int_equal(m.results[i].index, i);
			s->decided[i] = m.results[i].code;
			snprintf(s->decided_text[i], sizeof(s->decided_text[i]), "%.*s",
			         (int)m.results[i].text.n, m.results[i].text.p);
		}
	} else {
		fail_msg("smtps got %u", f->type);
	}
}

static void copy(char *to, size_t size, struct sm_str s)
{
	snprintf(to, size, "%.*s", (int)s.n, s.p);
}

#define COPY(to, s) copy(to, sizeof(to), s)

/* The name of a recipient says what its server will: temp, perm, dead, unsafe (for good), unsure
 * (if it has it), busy, gone (as temp and dead, but for second.test); local: smtpc has trouble;
 * else fine. Whatever it is, the first host of the task was tried only. */
void t_answer(struct t_smtpc *c, struct t_task *t)
{
	struct sm_msg_rcpt_result *r = sm_calloc(t->count, sizeof(*r));
	struct sm_msg_host_try tried = {.reach = SM_REACH_OK};
	struct sm_msg_task_result m = {.reach = SM_REACH_OK,
	                               .session_kept = 1,
	                               .tried_count = 1,
	                               .tried = &tried,
	                               .results = r};

	for (unsigned i = 0; i < t->count; i++) {
		const char *name = i < 40 ? t->rcpt[i] : "";
		struct sm_msg_rcpt_result *x = &r[m.results_count++];

		*x = (struct sm_msg_rcpt_result){.index = t->index[i],
		                                 .stage = SM_STAGE_RCPT,
		                                 .code = 250,
		                                 .text = SM_STR("2.0.0 ok"),
		                                 .host = SM_STR("mx.test"),
		                                 .dsn_passed = c->dsn};
		if (c->nonsense) {
			x->outcome = 77;
		} else if (c->fine) {
			continue;
		} else if (strncmp(name, "unsure", 6) == 0) {
			x->outcome = SM_OUTCOME_TEMP;
			x->stage = SM_STAGE_EOD;
			x->code = 0;
			x->text = SM_STR("4.4.2 no answer to the end of data");
		} else if (strncmp(name, "temp", 4) == 0 ||
		           (strncmp(name, "busy", 4) == 0 && strcmp(t->host, "mx.test") == 0)) {
			x->outcome = SM_OUTCOME_TEMP;
			x->code = 451;
			x->text = SM_STR("4.2.0 come again");
		} else if (strncmp(name, "local", 5) == 0) {
			x->outcome = SM_OUTCOME_TEMP;
			x->stage = SM_STAGE_LOCAL;
			x->code = 0;
			x->text = SM_STR("4.3.0 no memory");
			x->local = 1;
		} else if (strncmp(name, "perm", 4) == 0) {
			x->outcome = SM_OUTCOME_PERM;
			x->code = 550;
			x->text = SM_STR("5.1.1 no such user");
		} else if (strncmp(name, "unsafe", 6) == 0) {
			x->outcome = SM_OUTCOME_PERM;
			x->stage = SM_STAGE_TLS;
			x->code = 0;
			x->text = SM_STR("5.7.4 TLS is required");
			tried.reach = SM_REACH_NONE;
		} else if (strncmp(name, "dead", 4) == 0 ||
		           (strncmp(name, "gone", 4) == 0 && strcmp(t->host, "mx.test") == 0)) {
			x->outcome = SM_OUTCOME_TEMP;
			x->stage = SM_STAGE_CONNECT;
			x->code = 0;
			x->text = SM_STR("4.4.1 connection refused");
			m.reach = tried.reach = SM_REACH_REFUSED;
			tried.stage = SM_STAGE_CONNECT;
			tried.text = x->text;
			m.session_kept = 0;
		}
	}
	t->answered = true;
	put(&c->p, SM_MSG_task_result, SM_FRAME_REPLY, t->tag, &m);
	sm_free(r);
}

static void smtpc_frame(struct t_smtpc *c, const struct sm_frame *f)
{
	struct sm_msg_task m;
	struct t_task *t;

	if (f->type == SM_MSG_verdict) {
		c->connected = true;
		return;
	}
	assert_int_equal(f->type, SM_MSG_task);
	assert_int_equal(sm_msg_task_decode(f->body, &w.frame, &m), 0);
	c->task = sm_realloc(c->task, c->tasks + 1, sizeof(*c->task));
	t = &c->task[c->tasks++];
	*t = (struct t_task){.tag = f->tag,
	                     .ta = m.ta,
	                     .content = m.content,
	                     .dsn_of = m.dsn_of,
	                     .count = m.rcpts_count,
	                     .dsn_kind = m.dsn_kind,
	                     .dsn_count = m.dsn_rcpts_count,
	                     .dsn_received_s = m.dsn_received_s,
	                     .dsn_until_s = m.dsn_until_s,
	                     .dsn_max_bytes = m.dsn_max_bytes,
	                     .ret = m.ret,
	                     .probe_ms = m.probe_ms,
	                     .within_ms = m.within_ms};
	assert_true(m.hosts_count > 0);
	COPY(t->host, m.hosts[0].name);
	COPY(t->sender, m.sender);
	COPY(t->envid, m.envid);
	for (uint32_t i = 0; i < m.rcpts_count; i++) {
		t->index[i] = m.rcpts[i].index;
		if (i < 40)
			COPY(t->rcpt[i], m.rcpts[i].addr);
		t->notify = m.rcpts[i].notify;
	}
	for (uint32_t i = 0; i < m.dsn_rcpts_count && i < 4; i++) {
		COPY(t->dsn[i].addr, m.dsn_rcpts[i].addr);
		COPY(t->dsn[i].orcpt, m.dsn_rcpts[i].orcpt);
		COPY(t->dsn[i].text, m.dsn_rcpts[i].text);
		COPY(t->dsn[i].host, m.dsn_rcpts[i].host);
		t->dsn[i].code = m.dsn_rcpts[i].code;
		t->dsn[i].action = m.dsn_rcpts[i].action;
		t->dsn[i].last_try_s = m.dsn_rcpts[i].last_try_s;
	}
	if (!c->hold)
		t_answer(c, t);
}

/* Members of w.members behind m->after. */
static void give_members(const struct sm_frame *f, const struct sm_msg_route_get *m)
{
	static struct sm_msg_alias_item items[1000];
	static char text[1000][2][64];
	struct sm_msg_route r = {
	    .status = SM_ROUTE_ALIAS, .text = SM_STR(""), .key = SM_STR(""), .aliases = items};
	unsigned at = 0, chunk = w.chunk ? w.chunk : 1000;

	COPY(w.after, m->after);
	COPY(w.route_sender, m->sender);
	w.level = m->level;
	if (m->after.n > 0)
		(void)sscanf(w.after, "m%u@", &at), at++;
	for (; at < w.members && r.aliases_count < chunk; at++) {
		struct sm_msg_alias_item *x = &items[r.aliases_count];
		char(*t)[64] = text[r.aliases_count++];

		snprintf(t[0], sizeof(t[0]), "m%05u@m.test", at);
		snprintf(t[1], sizeof(t[1]), "owner%s%.5u@alias.test", w.verp ? "+" : "",
		         w.verp ? at : 0);
		*x = (struct sm_msg_alias_item){
		    .addr = sm_str(t[0]),
		    .sender = w.owner ? sm_str(w.verp ? t[1] : "owner@alias.test") : SM_STR(""),
		    .flags = (uint8_t)(SM_ALIAS_FINAL | (w.owner ? SM_ALIAS_LIST : 0))};
	}
	r.more = at < w.members;
	if (w.perm)
		r = (struct sm_msg_route){.status = SM_ROUTE_PERM,
		                          .code = 550,
		                          .text = SM_STR("5.4.6 alias leads back to itself"),
		                          .key = SM_STR("")};
	put(&w.smar, SM_MSG_route, SM_FRAME_REPLY, f->tag, &r);
}

/* By the domain: nowhere.test is refused, later.test is not known yet, local.test is for LMTP,
 * two.test has two hosts, ways.test two ways, of which the second one leads to second.test; mail
 * for hold*.test waits until it is asked for, for queue*.test for a
 * run; any other is a route of its own. */
static void smar_frame(const struct sm_frame *f)
{
	struct sm_msg_host host[2] = {{.name = SM_STR("mx.test")}};
	struct sm_msg_route r = {.status = SM_ROUTE_OK,
	                         .agent = SM_AGENT_SMTP,
	                         .ttl_s = 60,
	                         .text = SM_STR(""),
	                         .hosts_count = 1,
	                         .hosts = host};
	struct sm_msg_route_get m;

	assert_int_equal(f->type, SM_MSG_route_get);
	assert_int_equal(sm_msg_route_get_decode(f->body, &w.frame, &m), 0);
	w.questions++;
	if (w.smar_hold)
		return;
	r.key = sm_str_from(m.rcpt, (size_t)sm_str_rchr(m.rcpt, '@') + 1);
	if (sm_str_eq(r.key, SM_STR("alias.test"))) {
		give_members(f, &m);
		return;
	}
	if (!w.no_on_demand && sm_str_has_prefix(r.key, SM_STR("hold")))
		r.wait = SM_WAIT_ASKED;
	else if (!w.no_on_demand && sm_str_has_prefix(r.key, SM_STR("queue")))
		r.wait = SM_WAIT_RUN;
	if (r.wait != SM_WAIT_NO && !(m.flags & SM_ROUTE_RUN))
		r.status = SM_ROUTE_WAIT;
	if (m.flags & SM_ROUTE_ASK_WAIT || r.status == SM_ROUTE_WAIT) {
		r.hosts_count = 0;
		put(&w.smar, SM_MSG_route, SM_FRAME_REPLY, f->tag, &r);
		return;
	}
	if (sm_str_eq(r.key, SM_STR("m.test")))
		assert_true(m.flags & SM_ROUTE_FINAL);
	host[0].sa.len = sizeof(host[0].sa.u.in4);
	host[0].sa.u.in4.sin_family = AF_INET;
	host[0].sa.u.in4.sin_addr.s_addr = (uint32_t)sm_hash_str(r.key);
	if (sm_str_eq(r.key, SM_STR("nowhere.test"))) {
		r.status = SM_ROUTE_PERM;
		r.code = 550;
		r.text = SM_STR("5.1.2 no such domain");
	} else if (sm_str_eq(r.key, SM_STR("later.test"))) {
		r.status = SM_ROUTE_TEMP;
		r.code = 451;
		r.text = SM_STR("4.4.3 name server");
	} else if (sm_str_eq(r.key, SM_STR("two.test"))) {
		host[1] = host[0];
		host[1].sa.u.in4.sin_addr.s_addr++;
		r.hosts_count = 2;
	} else if (sm_str_eq(r.key, SM_STR("ways.test"))) {
		w.asked_way = m;
		r.ways = 2;
		r.way = m.way > 0;
		r.other_way = m.way == 0;
		if (m.way > 0) {
			r.key = host[0].name = SM_STR("second.test");
			host[0].sa.u.in4.sin_addr.s_addr++;
		}
	} else if (sm_str_eq(r.key, SM_STR("local.test"))) {
		r.agent = SM_AGENT_LMTP;
	}
	put(&w.smar, SM_MSG_route, SM_FRAME_REPLY, f->tag, &r);
}

static void ctl_frame(const struct sm_frame *f)
{
	if (f->type == SM_MSG_ctl_text) {
		struct sm_msg_ctl_text m;

		assert_int_equal(sm_msg_ctl_text_decode(f->body, &w.frame, &m), 0);
		snprintf(w.ctl_text + strlen(w.ctl_text), sizeof(w.ctl_text) - strlen(w.ctl_text),
		         "%.*s", (int)m.text.n, m.text.p);
	} else {
		struct sm_msg_ctl_end m;

		assert_int_equal(f->type, SM_MSG_ctl_end);
		assert_int_equal(sm_msg_ctl_end_decode(f->body, &w.frame, &m), 0);
		w.ctl_status = m.status;
		w.ctl_done = true;
	}
}

static void take(struct puppet *p, const struct sm_frame *f)
{
	if (f->type == SM_MSG_hello)
		p->up = true;
	else if (p == &w.ss.p || p == &w.ss2.p)
		smtps_frame(p == &w.ss.p ? &w.ss : &w.ss2, f);
	else if (p == &w.sc.p || p == &w.sc2.p)
		smtpc_frame(p == &w.sc.p ? &w.sc : &w.sc2, f);
	else if (p == &w.smar)
		smar_frame(f);
	else
		ctl_frame(f);
}

static void pump(struct puppet *p)
{
	struct sm_frame f;
	ssize_t n;

	flush(p);
	if (p->fd < 0)
		return;
	for (;;) {
		char *to = sm_buf_reserve(&p->in, 65536);
		ssize_t r = recv(p->fd, to, 65536, MSG_DONTWAIT);

		if (r > 0) {
			sm_buf_commit(&p->in, (size_t)r);
			continue;
		}
		if (r == 0 || errno != EAGAIN)
			p->gone = true;
		break;
	}
	while (p->fd >= 0 && (n = sm_frame_get(sm_buf_view(&p->in), &f)) > 0) {
		sm_arena_reset(&w.frame);
		take(p, &f);
		if (p->fd < 0)
			return;
		sm_buf_consume(&p->in, (size_t)n);
	}
	if (p->gone) {
		int listening = p->listen_fd;

		p->listen_fd = -1;
		t_down(p);
		p->listen_fd = listening;
	}
}

void t_pump(void)
{
	struct puppet *all[] = {&w.ss.p, &w.ss2.p, &w.sc.p, &w.sc2.p, &w.smar, &w.ctl};
	int fd;

	if (w.smar.listen_fd >= 0 && w.smar.fd < 0 &&
	    (fd = accept4(w.smar.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		int listening = w.smar.listen_fd;

		puppet_open(&w.smar, SM_ROLE_SMAR, 0, fd);
		w.smar.listen_fd = listening;
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(all); i++)
		pump(all[i]);
}

/* ---- the puppets' entrances ---- */

static struct t_smtps *smtps_now;

static bool smtps_ready(void)
{
	return smtps_now->next_id != 0 && smtps_now->credits > 0;
}

void t_smtps_up(struct t_smtps *s, uint8_t proc)
{
	struct sm_msg_ss_start m = {.max_sessions = 100,
	                            .next_counter = s->next_id,
	                            .open_count = s->open_count,
	                            .open = s->open};

	puppet_connect(&s->p, SM_ROLE_SMTPS, proc, w.socks[0]);
	s->credits = 0;
	t_send(&s->p, SM_MSG_ss_start, &m, true);
	smtps_now = s;
	assert_true(t_wait(smtps_ready));
}

static struct t_smtpc *smtpc_now;

static bool smtpc_ready(void)
{
	return smtpc_now->connected;
}

void t_smtpc_up(struct t_smtpc *c, unsigned max_tasks)
{
	struct sm_msg_sc_start m = {.max_tasks = max_tasks};

	puppet_connect(&c->p, SM_ROLE_SMTPC, 0, w.socks[1]);
	c->connected = false;
	t_send(&c->p, SM_MSG_sc_start, &m, true);
	smtpc_now = c;
	assert_true(t_wait(smtpc_ready));
}

static bool smar_ready(void)
{
	return w.smar.up;
}

void t_smar_up(void)
{
	struct sockaddr_un sun;

	puppet_address(w.socks[2], &sun);
	unlink(w.socks[2]);
	w.smar.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(w.smar.listen_fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(w.smar.listen_fd, 8), 0);
	assert_true(t_wait(smar_ready));
}

static bool ctl_answered(void)
{
	return w.ctl_done || w.ctl.gone;
}

void t_wait_ctl(void)
{
	assert_true(t_wait(ctl_answered));
}

void t_send_ctl(const char *words)
{
	struct sm_msg_ctl_word items[64];
	struct sm_str rest = sm_str(words);
	struct sm_msg_ctl_request m = {.verb = sm_str_split(rest, ' ', &rest), .args = items};

	while (rest.n > 0)
		items[m.args_count++].text = sm_str_split(rest, ' ', &rest);
	if (w.ctl.fd < 0)
		puppet_connect(&w.ctl, SM_ROLE_CTL, 0, w.socks[3]);
	w.ctl_text[0] = '\0';
	w.ctl_done = false;
	t_send(&w.ctl, SM_MSG_ctl_request, &m, true);
}

void t_ask_ctl(const char *verb, const char *arg)
{
	char words[512];

	snprintf(words, sizeof(words), "%s%s%s", verb, arg ? " " : "", arg ? arg : "");
	t_send_ctl(words);
	t_wait_ctl();
}
