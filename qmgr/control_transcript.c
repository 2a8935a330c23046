/*
 * transcript: what was said in sessions, for mail that an operator chooses. What a task is to be
 * asked for, what came of it, and the verb. Invariant: an attempt is matched as it begins, by what
 * is known of it then: its recipients, and the hosts that it may come to. Loop thread.
 */
#include "qmgr/control.h"

#include "libsm/time.h"

enum {
	FOR_S = 3600, /* without --for */
	FOR_MAX_S = 7 * 86400,
	PRUNE_MS = 60 * 1000, /* no sooner than that what is too old goes */
	INDEXES = 65536,
	LINES_ARENA = 4 * 1024 * 1024,
};

static void prune(void *arg)
{
	struct qm *q = arg;
	int64_t now_s = sm_wall_s(), next_s = qm_transcripts_prune(&q->transcripts, now_s);

	sm_timer_cancel(&q->transcript_timer);
	if (next_s != INT64_MAX)
		sm_timer_set(&q->transcript_timer,
		             sm_loop_now_ms() + SM_MAX((next_s - now_s) * 1000, PRUNE_MS), prune,
		             q);
}

void qm_transcript_open(struct qm *q)
{
	qm_transcripts_init(&q->transcripts);
	qm_transcript_reload(q);
}

void qm_transcript_reload(struct qm *q)
{
	q->transcripts.max_bytes = (size_t)q->conf->transcripts.max_bytes;
	q->transcripts.keep_s = q->conf->transcripts.keep_ms / 1000;
}

void qm_transcript_close(struct qm *q)
{
	sm_timer_cancel(&q->transcript_timer);
	qm_transcripts_fini(&q->transcripts);
}

/* ---- tasks ---- */

/* Only those that are in the task. */
static void narrow(struct qm_view *v, const struct sm_msg_task *m)
{
	uint8_t in[INDEXES / 8] = {0};
	uint32_t left = 0;

	for (uint32_t i = 0; i < m->rcpts_count; i++)
		in[m->rcpts[i].index / 8] |= (uint8_t)(1u << m->rcpts[i].index % 8);
	for (uint32_t i = 0; i < v->rcpt_count; i++)
		if (in[v->rcpts[i].index / 8] & 1u << v->rcpts[i].index % 8)
			v->rcpts[left++] = v->rcpts[i];
	v->rcpt_count = left;
}

/* `host` is not who spoke last, but who will be spoken to. */
static struct qm_wish *wanted_at(struct qm *q, struct qm_view *v, struct sm_str host, int64_t now_s)
{
	for (uint32_t i = 0; i < v->rcpt_count; i++) {
		v->rcpts[i].host = host;
		v->rcpts[i].host_atom = (struct qm_view_atom){0};
	}
	return qm_transcripts_wanted(&q->transcripts, v, now_s);
}

uint32_t qm_transcript_wanted(struct qm *q, const struct qm_txn *txn, const struct sm_msg_task *m)
{
	struct sm_arena *a = qm_ctl_view_arena(q);
	struct qm_wish *w;
	struct qm_view v;
	int64_t now_s;

	if (q->transcripts.wish_count == 0)
		return 0;
	now_s = sm_wall_s();
	sm_arena_reset(a);
	qm_view_of_txn(txn, a, &v);
	narrow(&v, m);
	w = qm_transcripts_wanted(&q->transcripts, &v, now_s);
	for (uint32_t i = 0; w == NULL && i < m->hosts_count; i++) {
		char address[SM_SA_TEXT];

		w = wanted_at(q, &v, m->hosts[i].name, now_s);
		if (w == NULL && m->hosts[i].sa.len > 0)
			w = wanted_at(q, &v, sm_str(sm_sa_host_text(&m->hosts[i].sa, address)),
			              now_s);
	}
	if (w == NULL)
		return 0;
	w->taken++;
	return (uint32_t)q->conf->transcripts.max_one_bytes;
}

void qm_transcript_keep(struct qm *q, struct sm_id ta, const struct sm_list *rcpts,
                        struct sm_str body)
{
	struct sm_arena *a = qm_ctl_view_arena(q);
	struct qm_said_rcpt *list;
	uint32_t count = 0;

	sm_arena_reset(a);
	SM_LIST_FOR (r, rcpts, struct qm_rcpt, link)
		count++;
	list = sm_arena_must(a, (count + 1) * sizeof(*list));
	count = 0;
	SM_LIST_FOR (r, rcpts, struct qm_rcpt, link)
		list[count++] = (struct qm_said_rcpt){r->index, r->addr};
	qm_transcripts_put(&q->transcripts, ta, list, count, body, sm_wall_s());
	prune(q);
}

/* ---- on, off, list ---- */

static void wish_line(struct qm_ctl *c, const struct qm_wish *w)
{
	qm_ctl_begin(c, "wish");
	qm_ctl_num(c, "number", (int64_t)w->number);
	qm_ctl_str(c, "conditions", sm_str(w->text));
	qm_ctl_time(c, "since_s", w->since_s);
	qm_ctl_time(c, "until_s", w->until_s);
	qm_ctl_num(c, "uid", w->uid);
	qm_ctl_num(c, "transcripts", (int64_t)w->taken);
	qm_ctl_line(c);
}

/* As they were given, with a space between. */
static struct sm_str conditions(struct qm_ctl *c)
{
	struct sm_buf b;
	struct sm_str text;

	sm_buf_init(&b, 1024 * 1024);
	for (size_t i = 0; i < c->condition_count; i++) {
		if (i > 0)
			sm_buf_char(&b, ' ');
		sm_buf_str(&b, c->conditions[i]);
	}
	text = sm_arena_str(&c->arena, b.len > 0 ? sm_buf_view(&b) : SM_STR("all"));
	sm_buf_fini(&b);
	return text;
}

static void on(struct qm_ctl *c)
{
	bool all = c->word_count == 2 && sm_str_eq(c->words[1], SM_STR("all"));
	int64_t now_s = sm_wall_s(), for_s = c->for_s > 0 ? c->for_s : FOR_S;
	struct qm_transcripts *t = &c->q->transcripts;
	struct sm_str text = conditions(c);
	uint64_t number;

	if (c->word_count > 1 && !all) {
		(void)qm_ctl_no_choice(c->words[1]);
		qm_ctl_fail(c, QM_CTL_USAGE);
	} else if (all != qm_filter_empty(c->filter)) {
		qm_ctl_end(c, QM_CTL_USAGE, "transcript on takes conditions, or the word all");
	} else if (for_s > FOR_MAX_S) {
		qm_ctl_end(c, QM_CTL_USAGE, "transcript on is --for 7d at the most");
	} else if (qm_transcripts_on(t, c->filter, text, (uint32_t)sm_peer_uid(c->peer), now_s,
	                             now_s + for_s, &number) != 0) {
		qm_ctl_fail(c, QM_CTL_LATER);
	} else {
		c->filter = NULL; /* it is kept */
		sm_log(SM_NOTICE, "qm.transcript",
		       "stat=on uid=%u number=%llu until=%lld filter=%S",
		       (unsigned)sm_peer_uid(c->peer), (unsigned long long)number,
		       (long long)(now_s + for_s), text);
		wish_line(c, SM_LIST_ENTRY(t->wishes.prev, struct qm_wish, link));
		prune(c->q);
		qm_ctl_end(c, QM_CTL_OK, "");
	}
}

static void off(struct qm_ctl *c)
{
	uint64_t number = 0;
	size_t n;

	if (c->condition_count > 0 || c->word_count > 2 ||
	    (c->word_count == 2 &&
	     (sm_str_u64(c->words[1], 10, UINT64_MAX, &number) != 0 || number == 0))) {
		qm_ctl_end(c, QM_CTL_USAGE,
		           "transcript off takes nothing, or a number of the list");
		return;
	}
	n = qm_transcripts_off(&c->q->transcripts, number);
	sm_log(SM_NOTICE, "qm.transcript", "stat=off uid=%u number=%llu count=%zu",
	       (unsigned)sm_peer_uid(c->peer), (unsigned long long)number, n);
	qm_ctl_begin(c, "wishes_off");
	qm_ctl_num(c, "count", (int64_t)n);
	qm_ctl_line(c);
	qm_ctl_end(c, n > 0 ? QM_CTL_OK : QM_CTL_NOTHING, n > 0 ? "" : "there is none");
}

static void list(struct qm_ctl *c)
{
	prune(c->q);
	SM_LIST_FOR (w, &c->q->transcripts.wishes, struct qm_wish, link)
		wish_line(c, w);
	qm_ctl_begin(c, "transcripts");
	qm_ctl_num(c, "count", (int64_t)c->q->transcripts.count);
	qm_ctl_num(c, "bytes", (int64_t)c->q->transcripts.bytes);
	qm_ctl_line(c);
	qm_ctl_end(c, QM_CTL_OK, "");
}

/* ---- of a mail ---- */

static void said(struct qm_ctl *c, const struct qm_said *s)
{
	static const char *const words[] = {
	    [SM_SAID_NOTE] = "note", [SM_SAID_CLIENT] = "smtpc", [SM_SAID_SERVER] = "server"};
	struct sm_msg_transcript m;
	struct sm_arena a;

	qm_ctl_begin(c, "transcript");
	qm_ctl_id(c, "id", s->ta);
	qm_ctl_time(c, "at_s", s->at_s);
	qm_ctl_array(c, "rcpts");
	for (uint32_t i = 0; i < s->rcpt_count; i++) {
		qm_ctl_open(c);
		qm_ctl_num(c, "index", s->rcpts[i].index);
		qm_ctl_str(c, "rcpt", s->rcpts[i].addr);
		qm_ctl_close(c);
	}
	qm_ctl_array_end(c);
	qm_ctl_line(c);
	sm_arena_init(&a, "transcript", 4096, LINES_ARENA);
	sm_assert(sm_msg_transcript_decode(s->body, &a, &m) == 0); /* it was, when it came */
	for (uint32_t i = 0; i < m.lines_count; i++) {
		unsigned who = m.lines[i].who;

		qm_ctl_begin(c, "said");
		qm_ctl_id(c, "id", s->ta);
		qm_ctl_num(c, "ms", m.lines[i].ms);
		qm_ctl_str(c, "who", sm_str(words[who < SM_ARRAY_SIZE(words) ? who : 0]));
		qm_ctl_str(c, "text", m.lines[i].text);
		qm_ctl_line(c);
	}
	sm_arena_fini(&a);
}

static void show(struct qm_ctl *c)
{
	size_t count, found = 0;
	const struct sm_id *ids = qm_filter_ids(c->filter, &count);

	if (ids == NULL || c->condition_count > 1 || c->word_count > 0) {
		qm_ctl_end(c, QM_CTL_USAGE,
		           "transcript takes ids, or on, off or list; see qmgrctl help transcript");
		return;
	}
	prune(c->q);
	for (size_t i = 0; i < count; i++) {
		for (const struct qm_said *s = NULL;
		     (s = qm_transcripts_next(&c->q->transcripts, ids[i], s)) != NULL; found++)
			said(c, s);
	}
	qm_ctl_end(c, found > 0 ? QM_CTL_OK : QM_CTL_NOTHING,
	           found > 0 ? "" : "no transcript of it is kept");
}

void qm_ctl_transcript(struct qm_ctl *c)
{
	static const struct {
		const char *word;
		bool act;
		void (*run)(struct qm_ctl *c);
	} verbs[] = {{"on", true, on}, {"off", true, off}, {"list", false, list}};

	for (size_t i = 0; c->word_count > 0 && i < SM_ARRAY_SIZE(verbs); i++) {
		if (!sm_str_eq(c->words[0], sm_str(verbs[i].word)))
			continue;
		if (verbs[i].act && !sm_peer_trusted(c->peer))
			qm_ctl_end(c, QM_CTL_NOPERM, QM_CTL_LOOK_ONLY);
		else
			verbs[i].run(c);
		return;
	}
	show(c);
}
