/*
 * A record of the queue's logs, see fuzz_def.h. A mark is replayed as well, twice: only what
 * is complete concerns anybody, each mark once.
 */
#include "checks/fuzz/fuzz_def.h"
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

static void use(const struct sm_def_info *info, const void *m)
{
	if (info->type == QM_REC_mark)
		replay(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	fuzz_def(qm_rec_info, p, n, use);
	return 0;
}
