/*
 * A request on the control socket, which each member of a group may send: a byte that says what its
 * verb takes, then the body of the message, or, if it is none, a word in each line. Besides
 * crashes: what is taken is within its bounds, and each word went to one place.
 */
#include <string.h>
#include "libsm/err.h"
#include "qmgr/control.h"

static void look(const struct qm_ctl *c, const struct sm_msg_ctl_request *m)
{
	unsigned takes = c->verb->takes;
	size_t options = 0;

	for (uint32_t i = 0; i < m->args_count; i++)
		options += sm_str_has_prefix(m->args[i].text, SM_STR("--"));
	sm_assert(c->word_count + c->condition_count + options <= m->args_count);
	sm_assert((takes & QM_CTL_WORDS) || c->word_count == 0);
	sm_assert((takes & QM_CTL_FILTER) || c->condition_count == 0);
	sm_assert((takes & QM_CTL_FILTER) ? c->filter != NULL : c->filter == NULL);
	sm_assert(c->limit <= ((takes & QM_CTL_LIMIT) ? QM_CTL_LIMIT_MAX : 0));
	sm_assert(c->for_s >= 0 && c->for_s <= ((takes & QM_CTL_FOR) ? QM_CTL_FOR_MAX_S : 0));
	sm_assert((takes & QM_CTL_AFTER) || sm_id_none(c->after));
	sm_assert((takes & QM_CTL_BY) || c->by.n == 0);
	sm_assert((takes & QM_CTL_REASON) || c->reason.n == 0);
	sm_assert((takes & QM_CTL_DRY_RUN) || !c->dry_run);
	if (c->filter)
		sm_assert(qm_filter_empty(c->filter) == (c->condition_count == 0));
}

static void lines(struct sm_str in, struct sm_arena *a, struct sm_msg_ctl_request *m)
{
	m->verb = SM_STR("list");
	m->args = sm_arena_must(a, 64 * sizeof(*m->args));
	m->args_count = 0;
	while (in.n > 0 && m->args_count < 64)
		m->args[m->args_count++].text = sm_str_split(in, '\n', &in);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct qm_ctl_verb verb = {.name = "list"};
	struct qm_ctl c = {.verb = &verb};
	struct sm_msg_ctl_request m;
	struct sm_arena a;
	int err;

	if (n == 0)
		return 0;
	verb.takes = p[0];
	sm_arena_init(&a, "frame", 4096, 4 * 1024 * 1024);
	sm_arena_init(&c.arena, "request", 4096, 64 * 1024 * 1024);
	if (sm_msg_ctl_request_decode(sm_str_n(p + 1, n - 1), &a, &m) != 0)
		lines(sm_str_n(p + 1, n - 1), &a, &m);
	err = qm_ctl_take_words(&c, &m);
	if (err == 0)
		look(&c, &m);
	else
		sm_assert((err == SM_E_SYNTAX || err == SM_E_TOOBIG) && sm_diag()[0] != '\0');
	qm_filter_free(&c.filter);
	sm_arena_fini(&c.arena);
	sm_arena_fini(&a);
	return 0;
}
