/*
 * A record of the queue's logs: two bytes of type, then the body. What the decoder accepts, it must
 * be able to write again byte for byte, and to show. A mark is replayed as well, twice: only what
 * is complete concerns anybody, each mark once.
 */
#include "qmgr/marks.h"

struct seen {
	const struct qm_rec_mark *rec;
	unsigned count;
};

static void on_mark(void *arg, const struct qm_act *act, uint16_t index)
{
	struct seen *s = arg;

	(void)index;
	sm_assert(s->rec->last && act->number == s->rec->act && act->verb == s->rec->verb);
	s->count++;
}

static void replay(const struct qm_rec_mark *rec)
{
	struct seen seen = {.rec = rec};
	struct qm_marks m;

	qm_marks_init(&m);
	qm_marks_replay(&m, rec);
	qm_marks_replay(&m, rec);
	qm_marks_seal(&m);
	for (uint32_t i = 0; i < rec->items_count && i < 100; i++)
		qm_marks_each(&m, rec->items[i].ta, 0, on_mark, &seen);
	if (rec->items_count == 1 && rec->last && rec->act > 0 && rec->verb > QM_MARK_NONE &&
	    rec->verb <= QM_MARK_REQUEUE)
		sm_assert(seen.count == 1);
	qm_marks_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const struct sm_def_info *info = n >= 2 ? qm_rec_info((uint16_t)(p[0] | p[1] << 8)) : NULL;
	struct sm_str body;
	struct sm_arena a;
	void *m;

	if (info == NULL)
		return 0;
	body = sm_str_n(p + 2, n - 2);
	sm_arena_init(&a, "fuzz", 4096, 16 * 1024 * 1024);
	m = sm_arena_must(&a, info->size);
	if (info->decode(body, &a, m) == 0) {
		struct sm_buf b;

		sm_buf_init(&b, 16 * 1024 * 1024);
		info->encode(&b, m);
		sm_assert(sm_buf_err(&b) == 0);
		sm_assert(sm_str_eq(sm_buf_view(&b), body));
		sm_buf_reset(&b);
		info->dump(&b, m);
		sm_buf_fini(&b);
		if (info->type == QM_REC_mark)
			replay(m);
	}
	sm_arena_fini(&a);
	return 0;
}
