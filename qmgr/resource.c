/*
 * Marks of the resources, as one table, and the arithmetic of credit.
 *
 * Invariant: what is full stays full until it is below `again`, so that a queue at its limit does
 * not flap; and credit that was told moves in steps of a tenth.
 */
#include "qmgr/resource.h"

#define STEP 10

/* Percent used: credit falls from `from` on, down to `least` at 100. `again` 0: never full. */
static const struct {
	const char *name;
	unsigned from, least, again;
} marks[QM_RESOURCES] = {
    [QM_RES_DISK] = {"disk", 50, 0, 50},
    [QM_RES_IQDB] = {"iqdb", 50, 0, 80},
    /* Never full: what does not fit waits in DEFEDB. That costs two more writes, so it slows down.
     */
    [QM_RES_AQ] = {"aq", 80, 50, 0},
    [QM_RES_EDBC] = {"edbc", 80, 0, 95},
    [QM_RES_MEMORY] = {"memory", 80, 0, 90},
};

void qm_resources_init(struct qm_resources *r)
{
	*r = (struct qm_resources){.credit = 100};
}

static void set(struct qm_resources *r, enum qm_resource which, unsigned percent)
{
	struct qm_resource_use *u = &r->v[which];

	u->percent = SM_MIN(percent, 100U);
	if (marks[which].again == 0)
		return;
	if (u->percent >= 100)
		u->full = true;
	else if (u->percent <= marks[which].again)
		u->full = false;
}

void qm_resource_set(struct qm_resources *r, enum qm_resource which, uint64_t used, uint64_t max)
{
	set(r, which, max == 0 || used == 0 ? 0 : used >= max ? 100 : (unsigned)(used * 100 / max));
}

void qm_resource_set_free(struct qm_resources *r, enum qm_resource which, uint64_t free,
                          uint64_t min, uint64_t ok)
{
	uint64_t band = SM_MAX(ok, min) - min;

	/* Less than min is 100 %, ok is 50 %, and as much again above it is 0 %. */
	if (free < min)
		set(r, which, 100);
	else if (band == 0 || free - min >= 2 * band)
		set(r, which, 0);
	else
		set(r, which, 99 - (unsigned)((free - min) * 99 / (2 * band)));
}

static unsigned credit_of(enum qm_resource which, const struct qm_resource_use *u)
{
	unsigned from = marks[which].from, least = marks[which].least;

	if (u->full)
		return 0;
	if (u->percent <= from)
		return 100;
	/* As long as it is not full at least a tenth is there: a credit of nothing would keep it
	 * from ever moving. */
	return SM_MAX((unsigned)STEP, 100 - (u->percent - from) * (100 - least) / (100 - from));
}

bool qm_resources_settle(struct qm_resources *r)
{
	unsigned credit = 100, old = r->credit;

	for (unsigned i = 0; i < QM_RESOURCES; i++) {
		unsigned c = credit_of((enum qm_resource)i, &r->v[i]);

		if (c < credit) {
			credit = c;
			r->scarcest = (enum qm_resource)i;
		}
	}
	if (credit == old || (credit != 0 && credit != 100 && old != 0 &&
	                      (credit > old ? credit - old : old - credit) < STEP))
		return false;
	r->credit = credit;
	return true;
}

const char *qm_resource_name(enum qm_resource which)
{
	return marks[which].name;
}
