/*
 * Wishes and what was kept for them. Invariants: at most max_bytes are kept, unless one alone is
 * more: then none is; a recipient of a mail is in one of them at the most. Loop's thread.
 */
#include "qmgr/transcript.h"

#include "libsm/err.h"

void qm_transcripts_init(struct qm_transcripts *t)
{
	*t = (struct qm_transcripts){0};
	sm_list_init(&t->wishes);
	sm_list_init(&t->all);
}

static void wish_free(struct qm_transcripts *t, struct qm_wish *w)
{
	sm_list_remove(&w->link);
	t->wish_count--;
	qm_filter_free(&w->filter);
	sm_free(w);
}

static void said_free(struct qm_transcripts *t, struct qm_said *s)
{
	sm_list_remove(&s->link);
	t->count--;
	t->bytes -= s->bytes;
	sm_free(s);
}

void qm_transcripts_fini(struct qm_transcripts *t)
{
	(void)qm_transcripts_off(t, 0);
	SM_LIST_FOR_SAFE (s, &t->all, struct qm_said, link)
		said_free(t, s);
}

/* ---- wishes ---- */

int qm_transcripts_on(struct qm_transcripts *t, struct qm_filter *filter, struct sm_str text,
                      uint32_t uid, int64_t now_s, int64_t until_s, uint64_t *number)
{
	struct qm_wish *w;

	if (t->wish_count >= QM_WISHES_MAX)
		return sm_fail(SM_E_TOOBIG, "%d transcripts are wanted already", QM_WISHES_MAX);
	w = sm_calloc(1, sizeof(*w));
	*number = w->number = ++t->last_number;
	w->filter = filter;
	w->uid = uid;
	w->since_s = now_s;
	w->until_s = until_s;
	sm_str_cut(text, w->text, sizeof(w->text));
	sm_list_push(&t->wishes, &w->link);
	t->wish_count++;
	return 0;
}

size_t qm_transcripts_off(struct qm_transcripts *t, uint64_t number)
{
	size_t n = 0;

	SM_LIST_FOR_SAFE (w, &t->wishes, struct qm_wish, link) {
		if (number != 0 && w->number != number)
			continue;
		wish_free(t, w);
		n++;
	}
	return n;
}

struct qm_wish *qm_transcripts_wanted(struct qm_transcripts *t, const struct qm_view *v,
                                      int64_t now_s)
{
	SM_LIST_FOR (w, &t->wishes, struct qm_wish, link) {
		if (now_s >= w->until_s)
			continue;
		qm_filter_set_time(w->filter, now_s);
		if (qm_filter_match(w->filter, v, NULL) > 0)
			return w;
	}
	return NULL;
}

/* ---- what is kept ---- */

static bool is_in(const struct qm_said_rcpt *rcpts, uint32_t count, uint16_t index)
{
	for (uint32_t i = 0; i < count; i++)
		if (rcpts[i].index == index)
			return true;
	return false;
}

/* There is something newer of these. */
static void supersede(struct qm_transcripts *t, struct sm_id ta, const struct qm_said_rcpt *rcpts,
                      uint32_t count)
{
	SM_LIST_FOR_SAFE (s, &t->all, struct qm_said, link) {
		uint32_t left = 0;

		if (!sm_id_eq(s->ta, ta))
			continue;
		for (uint32_t i = 0; i < s->rcpt_count; i++)
			if (!is_in(rcpts, count, s->rcpts[i].index))
				s->rcpts[left++] = s->rcpts[i];
		s->rcpt_count = left;
		if (left == 0)
			said_free(t, s);
	}
}

/* One block: itself, the recipients, their addresses, the body. */
static struct qm_said *copy(const struct qm_said_rcpt *rcpts, uint32_t count, struct sm_str body)
{
	size_t bytes = sizeof(struct qm_said) + count * sizeof(*rcpts) + body.n;
	struct qm_said *s;
	char *at;

	for (uint32_t i = 0; i < count; i++)
		bytes += rcpts[i].addr.n;
	s = sm_calloc(1, bytes);
	s->bytes = bytes;
	s->rcpt_count = count;
	s->rcpts = (struct qm_said_rcpt *)(s + 1);
	at = (char *)(s->rcpts + count);
	for (uint32_t i = 0; i < count; i++) {
		struct sm_str addr = rcpts[i].addr;

		if (addr.n > 0)
			memcpy(at, addr.p, addr.n);
		s->rcpts[i] = (struct qm_said_rcpt){rcpts[i].index, sm_str_n(at, addr.n)};
		at += addr.n;
	}
	if (body.n > 0)
		memcpy(at, body.p, body.n);
	s->body = sm_str_n(at, body.n);
	return s;
}

void qm_transcripts_put(struct qm_transcripts *t, struct sm_id ta, const struct qm_said_rcpt *rcpts,
                        uint32_t rcpt_count, struct sm_str body, int64_t now_s)
{
	struct qm_said *s;

	supersede(t, ta, rcpts, rcpt_count);
	s = copy(rcpts, rcpt_count, body);
	s->ta = ta;
	s->at_s = now_s;
	sm_list_push(&t->all, &s->link);
	t->bytes += s->bytes;
	t->count++;
	while (t->bytes > t->max_bytes && t->count > 0)
		said_free(t, SM_LIST_ENTRY(t->all.next, struct qm_said, link));
}

const struct qm_said *qm_transcripts_next(const struct qm_transcripts *t, struct sm_id ta,
                                          const struct qm_said *after)
{
	const struct sm_list *e = after != NULL ? after->link.next : t->all.next;

	for (; e != &t->all; e = e->next) {
		const struct qm_said *s = SM_LIST_ENTRY(e, struct qm_said, link);

		if (sm_id_eq(s->ta, ta))
			return s;
	}
	return NULL;
}

int64_t qm_transcripts_prune(struct qm_transcripts *t, int64_t now_s)
{
	int64_t next_s = INT64_MAX;

	SM_LIST_FOR_SAFE (w, &t->wishes, struct qm_wish, link) {
		if (now_s >= w->until_s)
			wish_free(t, w);
		else
			next_s = SM_MIN(next_s, w->until_s);
	}
	SM_LIST_FOR_SAFE (s, &t->all, struct qm_said, link) {
		if (now_s >= s->at_s + t->keep_s)
			said_free(t, s);
		else
			next_s = SM_MIN(next_s, s->at_s + t->keep_s);
	}
	return next_s;
}
