/*
 * The entries of the greylist for an operator, while smar has the databases: some hundred at a
 * time, the next ones when those are sent. Coroutine.
 */
#include "smar/control.h"

#include "libsm/err.h"
#include "smar/grey_row.h"
#include "smar/greylist.h"

static uint8_t walk(struct ar_ctl *c, bool remove, const char **why)
{
	struct ar_greylist_walk *w = SM_ARENA_NEW(&c->arena, struct ar_greylist_walk);
	struct sm_str net = c->words.count > 0 ? c->words.word[0] : SM_STR("");
	uint8_t status = SM_CTL_NOTHING;

	if (c->ar.grey == NULL) {
		*why = "smar has no greylist";
		return SM_CTL_LATER;
	}
	if (ar_grey_net_parse(net, &c->ar.conf->greylisting, &w->net, &w->bits) != 0) {
		*why = sm_diag();
		return SM_CTL_USAGE;
	}
	w->remove = remove;
	do {
		if (ar_greylist_walk(c->ar.grey, w) != 0) {
			*why = "the greylist cannot be used now";
			return SM_CTL_LATER;
		}
		for (size_t i = 0; i < w->count; i++)
			ar_grey_row_put(&c->out, &w->rows[i].key, &w->rows[i].entry, w->shift_s);
		ar_ctl_flush(c);
		if (w->count > 0) {
			w->after = w->rows[w->count - 1].key;
			status = SM_CTL_OK;
		}
	} while (w->more && w->count > 0 && !sm_co_cancelled());
	return status;
}

uint8_t ar_ctl_grey_list(struct ar_ctl *c, const char **why)
{
	return walk(c, false, why);
}

uint8_t ar_ctl_grey_remove(struct ar_ctl *c, const char **why)
{
	/* That would be all of them. */
	if (c->words.word[0].n == 0) {
		*why = "name a net";
		return SM_CTL_USAGE;
	}
	return walk(c, true, why);
}
