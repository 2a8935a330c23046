/*
 * Lines of logs to what is known of each mail. Invariants: facts only accumulate, so the order of
 * files and lines does not matter, and a line read twice changes nothing; of a line that was torn,
 * by a power cut or a full disk, nothing is believed.
 */
#include "misc/rcvrenv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libsm/logline.h"

#define LINE_MAX_BYTES (64 * 1024) /* ours have 8 KiB, and what syslog puts in front */
#define RCPTS_MAX      65536       /* an index has 16 bits */

void rcv_init(struct rcv *r)
{
	*r = (struct rcv){.lines = 0};
	sm_hash_init(&r->mails);
	rcv_store_init(r);
}

void rcv_fini(struct rcv *r)
{
	for (struct sm_hash_node *n = sm_hash_next(&r->mails, NULL), *next; n; n = next) {
		struct rcv_mail *m = SM_CONTAINER_OF(n, struct rcv_mail, node);

		next = sm_hash_next(&r->mails, n);
		sm_hash_remove(&r->mails, n);
		for (size_t i = 0; i < m->count; i++) {
			sm_free(m->rcpts[i].addr);
			sm_free(m->rcpts[i].orcpt);
			sm_free(m->rcpts[i].final_addr);
			sm_free(m->rcpts[i].final_orcpt);
		}
		sm_free(m->rcpts);
		sm_free(m->ended_dsns);
		sm_free(m->sender);
		sm_free(m->envid);
		sm_free(m->final_sender);
		sm_free(m->final_envid);
		sm_free(m);
	}
	sm_hash_fini(&r->mails);
	rcv_store_fini(r);
}

static bool mail_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct rcv_mail, node)->id, *(const struct sm_id *)key);
}

struct rcv_mail *rcv_find(const struct rcv *r, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&r->mails, sm_id_hash(id), mail_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct rcv_mail, node) : NULL;
}

struct rcv_mail *rcv_mail(struct rcv *r, struct sm_id id)
{
	struct rcv_mail *m = rcv_find(r, id);

	if (m != NULL)
		return m;
	m = sm_calloc(1, sizeof(*m));
	m->id = id;
	sm_hash_insert(&r->mails, &m->node, sm_id_hash(id));
	return m;
}

/* Of a mail that may have a content, or share one. */
static struct rcv_mail *mail_of(struct rcv *r, struct sm_id id)
{
	return id.proc == SM_ID_PROC_QMGR ? rcv_mail(r, id) : rcv_find(r, id);
}

/* ---- one fact each ---- */

static void set_text(char **to, struct sm_str s)
{
	if (*to != NULL || s.p == NULL || memchr(s.p, '\0', s.n) != NULL)
		return;
	*to = sm_malloc(s.n + 1);
	memcpy(*to, s.p, s.n);
	(*to)[s.n] = '\0';
}

/* "<a@b>" without its brackets; SM_STR_NONE: it is none, or was cut. */
static struct sm_str address(const struct sm_logline *l, const char *key)
{
	struct sm_str s = sm_logline_get(l, key);

	if (s.n < 2 || s.p[0] != '<' || s.p[s.n - 1] != '>')
		return SM_STR_NONE;
	return sm_str_n(s.p + 1, s.n - 2);
}

static struct rcv_rcpt *rcpt_of(struct rcv_mail *m, const struct sm_logline *l)
{
	uint64_t i;

	if (sm_str_u64(sm_logline_get(l, "rcpt_idx"), 10, RCPTS_MAX - 1, &i) != 0)
		return NULL;
	if (i >= m->count) {
		m->rcpts = sm_realloc(m->rcpts, i + 1, sizeof(*m->rcpts));
		memset(m->rcpts + m->count, 0, (i + 1 - m->count) * sizeof(*m->rcpts));
		m->count = i + 1;
	}
	return &m->rcpts[i];
}

static bool stat_ok(const struct sm_logline *l)
{
	uint64_t code = sm_logline_u64(l, "stat");

	return code >= 200 && code < 300;
}

static void on_mail(struct rcv_mail *m, const struct sm_logline *l)
{
	if (!stat_ok(l))
		return;
	set_text(&m->sender, address(l, "mail"));
	set_text(&m->envid, sm_logline_get(l, "envid"));
	m->body = (uint8_t)sm_logline_u64(l, "body");
	m->ret = (uint8_t)sm_logline_u64(l, "ret");
	m->utf8 |= (uint8_t)sm_logline_u64(l, "utf8");
}

static void on_rcpt(struct rcv_mail *m, const struct sm_logline *l)
{
	struct rcv_rcpt *p;

	if (!stat_ok(l) || (p = rcpt_of(m, l)) == NULL)
		return;
	set_text(&p->addr, address(l, "rcpt"));
	set_text(&p->orcpt, sm_logline_get(l, "orcpt"));
	p->notify = (uint8_t)sm_logline_u64(l, "notify");
}

/* Filters changed it: this recipient was committed, and that many. */
static void on_envelope(struct rcv_mail *m, const struct sm_logline *l)
{
	struct rcv_rcpt *p = rcpt_of(m, l);

	set_text(&m->final_sender, address(l, "mail"));
	set_text(&m->final_envid, sm_logline_get(l, "envid"));
	m->final_ret = (uint8_t)sm_logline_u64(l, "ret");
	m->final_count = (size_t)sm_logline_u64(l, "nrcpts");
	if (p == NULL)
		return;
	set_text(&p->final_addr, address(l, "rcpt"));
	set_text(&p->final_orcpt, sm_logline_get(l, "orcpt"));
	p->final_notify = (uint8_t)sm_logline_u64(l, "notify");
}

/* In a segment, if it says so. */
static void at(const struct sm_logline *l, struct cdb_place *out)
{
	if (sm_logline_id(l, "content", &out->content) != 0)
		out->content = (struct sm_id){0};
	out->offset = (uint32_t)sm_logline_u64(l, "offset");
	out->size = sm_logline_u64(l, "size");
}

static void on_final(struct rcv_mail *m, const struct sm_logline *l)
{
	if (!stat_ok(l)) {
		m->refused = true;
		return;
	}
	m->accepted = m->has_final = true;
	at(l, &m->at);
	m->nrcpts = sm_logline_u64(l, "nrcpts");
	m->utf8 |= (uint8_t)sm_logline_u64(l, "utf8");
}

static void on_abort(struct rcv_mail *m, const struct sm_logline *l SM_UNUSED)
{
	m->refused = true;
}

/* An alias: the last members have their mail in a child. */
static void on_expand(struct rcv_mail *m, const struct sm_logline *l)
{
	struct rcv_rcpt *p = rcpt_of(m, l);

	m->accepted = true;
	if (p && sm_str_eq(sm_logline_get(l, "more"), SM_STR("0")))
		p->settled = true;
}

/* Members of an alias. That of a DSN has nothing that could be sent again. */
static void on_child(struct rcv_mail *m, const struct sm_logline *l)
{
	struct sm_id of;

	if (sm_logline_id(l, "dsn_of", &of) == 0 || sm_logline_id(l, "content", &of) != 0)
		return;
	m->content = of;
	m->at.offset = (uint32_t)sm_logline_u64(l, "offset");
	m->accepted = true;
	m->nrcpts = sm_logline_u64(l, "rcpts");
	set_text(&m->sender, address(l, "mail"));
	set_text(&m->envid, sm_logline_get(l, "envid"));
	m->ret = (uint8_t)sm_logline_u64(l, "ret");
	m->body = (uint8_t)sm_logline_u64(l, "body");
	m->utf8 = (uint8_t)sm_logline_u64(l, "utf8");
}

static void on_member(struct rcv_mail *m, const struct sm_logline *l)
{
	struct rcv_rcpt *p = rcpt_of(m, l);

	if (p == NULL)
		return;
	set_text(&p->addr, address(l, "rcpt"));
	set_text(&p->orcpt, sm_logline_get(l, "orcpt"));
	p->notify = (uint8_t)sm_logline_u64(l, "notify");
}

static void on_try(struct rcv_mail *m, const struct sm_logline *l)
{
	struct sm_str stat = sm_logline_get(l, "stat");
	struct rcv_rcpt *p = rcpt_of(m, l);

	m->accepted = true;
	if (p == NULL)
		return;
	if (sm_str_eq(stat, SM_STR("failed")))
		p->failed = true;
	else if (sm_str_eq(stat, SM_STR("sent")))
		p->settled = true;
}

/* Also what qmgr did not come to write down any more. */
static void on_delivered(struct rcv_mail *m, const struct sm_logline *l)
{
	struct rcv_rcpt *p = rcpt_of(m, l);

	m->accepted = true;
	if (p)
		p->settled = true;
}

static void on_report(struct rcv_mail *m, const struct sm_logline *l)
{
	struct rcv_rcpt *p = rcpt_of(m, l);

	m->accepted = true;
	if (p == NULL || !sm_str_eq(sm_logline_get(l, "kind"), SM_STR("failed")))
		return;
	p->failed = true; /* also when an operator said so, without a try */
	if (sm_logline_id(l, "dsn_ta", &p->dsn) != 0)
		p->dsn = (struct sm_id){0};
}

static void on_end(struct rcv_mail *m, const struct sm_logline *l SM_UNUSED)
{
	m->accepted = m->ended = true;
}

static const struct {
	const char *event;
	void (*take)(struct rcv_mail *, const struct sm_logline *);
} events[] = {
    {"ss.mail", on_mail},      {"ss.rcpt", on_rcpt},        {"ss.final", on_final},
    {"ss.abort", on_abort},    {"ss.data", on_abort},       {"qm.rcpt", on_try},
    {"qm.drop", on_delivered}, {"qm.remove", on_delivered}, {"sc.delivered", on_delivered},
    {"qm.report", on_report},  {"qm.end", on_end},          {"qm.expand", on_expand},
    {"qm.child", on_child},    {"qm.member", on_member},    {"ss.envelope", on_envelope},
};

/* The DSN of a mail has ended: whom it reports on is settled. */
static void dsn_ended(struct rcv_mail *parent, struct sm_id dsn)
{
	for (size_t i = 0; i < parent->ended_count; i++)
		if (sm_id_eq(parent->ended_dsns[i], dsn))
			return;
	parent->ended_dsns =
	    sm_realloc(parent->ended_dsns, parent->ended_count + 1, sizeof(*parent->ended_dsns));
	parent->ended_dsns[parent->ended_count++] = dsn;
}

static void take_line(struct rcv *r, char *line, size_t n)
{
	struct rcv_mail *m;
	struct sm_logline l;
	struct sm_id ta, of;

	r->lines++;
	r->marked = r->marked || sm_str_eq(sm_str_n(line, n), SM_STR(RCV_MARK));
	if (memmem(line, n, "ss_ta", 5) == NULL)
		return;
	if (sm_logline_parse(line, n, &l) != 0 || sm_logline_id(&l, "ss_ta", &ta) != 0) {
		r->strange++;
		return;
	}
	if (sm_str_eq(l.event, SM_STR("qm.end")) && sm_logline_id(&l, "dsn_of", &of) == 0 &&
	    (m = mail_of(r, of)) != NULL)
		dsn_ended(m, ta);
	if ((m = mail_of(r, ta)) == NULL)
		return;
	for (size_t i = 0; i < SM_ARRAY_SIZE(events); i++)
		if (sm_str_eq(l.event, sm_str(events[i].event)))
			events[i].take(m, &l);
}

/* The next whole line. None is what is far too long, what has no end, and what stands before bytes
 * that were never written: a power cut leaves them as NULs. */
static bool next_line(FILE *f, char *line, size_t *n)
{
	bool whole = true;
	int c;

	*n = 0;
	while ((c = getc_unlocked(f)) != EOF) {
		if (c == '\n' && whole)
			return true;
		if (c == '\n' || c == '\0') {
			*n = 0;
			whole = true;
		} else if (*n < LINE_MAX_BYTES) {
			line[(*n)++] = (char)c;
		} else {
			whole = false;
		}
	}
	return false;
}

int rcv_read(struct rcv *r, FILE *f)
{
	char *line = sm_malloc(LINE_MAX_BYTES);
	size_t n;

	while (next_line(f, line, &n))
		take_line(r, line, n);
	sm_free(line);
	return ferror(f) ? sm_fail_sys(errno, "read") : 0;
}

/* ---- what follows ---- */

static void replace(char **to, char **by)
{
	sm_free(*to);
	*to = *by;
	*by = NULL;
}

void rcv_take_final(struct rcv_mail *m)
{
	if (m->final_sender == NULL)
		return;
	replace(&m->sender, &m->final_sender);
	replace(&m->envid, &m->final_envid);
	m->ret = m->final_ret;
	for (size_t i = 0; i < m->count; i++) {
		struct rcv_rcpt *p = &m->rcpts[i];

		replace(&p->addr, &p->final_addr);
		replace(&p->orcpt, &p->final_orcpt);
		p->notify = p->final_notify;
	}
	/* Those behind were recipients once. */
	for (; m->count > m->final_count; m->count--) {
		sm_free(m->rcpts[m->count - 1].addr);
		sm_free(m->rcpts[m->count - 1].orcpt);
	}
}

static bool dsn_is_over(const struct rcv_mail *m, struct sm_id dsn)
{
	for (size_t i = 0; i < m->ended_count; i++)
		if (sm_id_eq(m->ended_dsns[i], dsn))
			return true;
	return false;
}

/* A failure is over when its report is, which may be long after the mail itself; else it is tried,
 * refused and reported again. */
bool rcv_rcpt_open(const struct rcv_mail *m, const struct rcv_rcpt *p)
{
	if (p->settled)
		return false;
	if (p->failed && !sm_id_none(p->dsn))
		return !dsn_is_over(m, p->dsn);
	return !m->ended;
}

enum rcv_state rcv_state(const struct rcv_mail *m)
{
	bool open = false, complete = m->sender != NULL && m->has_final;

	if (!m->accepted)
		return m->refused ? RCV_REFUSED : m->sender ? RCV_UNCONFIRMED : RCV_UNKNOWN;
	for (size_t i = 0; i < m->count; i++) {
		if (!rcv_rcpt_open(m, &m->rcpts[i]))
			continue;
		open = true;
		complete = complete && m->rcpts[i].addr != NULL;
	}
	if (m->ended)
		return !open ? RCV_SETTLED : complete ? RCV_OPEN : RCV_INCOMPLETE;
	if (!complete || m->count != m->nrcpts)
		return RCV_INCOMPLETE;
	return open ? RCV_OPEN : RCV_SETTLED;
}
