/*
 * The words behind a verb, sorted into options, ids, conditions and others, and the filter that
 * they make. Invariant: what is out of bounds, or nothing that the verb takes, is refused with a
 * diag; nothing here acts. Pure.
 */
#include "qmgr/control.h"

#include <inttypes.h>
#include "libsm/time.h"

static bool is_condition(struct sm_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '=' || s.p[i] == '<' || s.p[i] == '>')
			return true;
	return s.n > 0 && s.p[0] == '!';
}

static bool is_option(struct sm_str s, const char *name, struct sm_str *value)
{
	struct sm_str prefix = sm_str(name);

	if (!sm_str_has_prefix(s, prefix))
		return false;
	*value = sm_str_from(s, prefix.n);
	return true;
}

static int number(struct sm_str value, const char *name, uint64_t most, uint64_t *out)
{
	if (sm_str_u64(value, 10, most, out) != 0 || *out == 0)
		return sm_fail(SM_E_SYNTAX, "--%s takes a number from 1 to %" PRIu64, name, most);
	return 0;
}

static int take_option(struct qm_ctl *c, struct sm_str s, unsigned takes)
{
	struct sm_str value;
	uint64_t n;
	int err;

	if ((takes & QM_CTL_DRY_RUN) && sm_str_eq(s, SM_STR("--dry-run"))) {
		c->dry_run = true;
		return 0;
	}
	if ((takes & QM_CTL_LIMIT) && is_option(s, "--limit=", &value))
		return number(value, "limit", QM_CTL_LIMIT_MAX, &c->limit);
	if ((takes & QM_CTL_AFTER) && is_option(s, "--after=", &value)) {
		if (sm_id_parse(value, &c->after) != 0)
			return sm_fail(SM_E_SYNTAX, "--after takes " QM_CTL_AN_ID);
		return 0;
	}
	if ((takes & QM_CTL_BY) && is_option(s, "--by=", &c->by))
		return 0;
	if ((takes & QM_CTL_REASON) && is_option(s, "--reason=", &c->reason))
		return 0;
	if ((takes & QM_CTL_FOR) && is_option(s, "--for=", &value)) {
		if ((err = number(value, "for", QM_CTL_FOR_MAX_S, &n)) != 0)
			return err;
		c->for_s = (int64_t)n;
		return 0;
	}
	return sm_fail(SM_E_SYNTAX, "%s does not take " SM_STR_FMT, c->verb->name,
	               SM_STR_ARG(sm_str_head(s, 40)));
}

int qm_ctl_no_choice(struct sm_str word)
{
	static const char *const keys[] = {"age", "size", "next", "tries"};

	for (size_t i = 0; i < SM_ARRAY_SIZE(keys); i++)
		if (sm_str_caseeq(word, sm_str(keys[i])))
			return sm_fail(SM_E_SYNTAX,
			               "%s alone is no condition; the shell takes < and >: quote "
			               "it, as '%s>2'",
			               keys[i], keys[i]);
	return sm_fail(SM_E_SYNTAX,
	               "\"" SM_STR_FMT "\" is neither an id (S and 18 hex digits) nor a condition "
	               "as domain=example.org",
	               SM_STR_ARG(sm_str_head(word, 60)));
}

/* Several ids are one condition. */
static void add_ids(struct qm_ctl *c, const struct sm_str *ids, size_t count)
{
	size_t n = 3;
	char *p, *at;

	if (count == 0)
		return;
	for (size_t i = 0; i < count; i++)
		n += ids[i].n + 1;
	at = p = sm_arena_must(&c->arena, n);
	memcpy(at, "id=", 3);
	at += 3;
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			*at++ = ',';
		memcpy(at, ids[i].p, ids[i].n);
		at += ids[i].n;
	}
	c->conditions[c->condition_count++] = sm_str_n(p, (size_t)(at - p));
}

int qm_ctl_take_words(struct qm_ctl *c, const struct sm_msg_ctl_request *m)
{
	unsigned takes = c->verb->takes;
	struct sm_str ids[QM_CTL_WORDS_MAX];
	struct sm_id id;
	size_t id_count = 0;
	int err;

	_Static_assert(QM_CTL_WORDS_MAX >= 64, "as many as ctl_request may have");
	for (uint32_t i = 0; i < m->args_count; i++) {
		struct sm_str s = sm_arena_str(&c->arena, m->args[i].text);

		if (sm_str_has_prefix(s, SM_STR("--"))) {
			if ((err = take_option(c, s, takes)) != 0)
				return err;
		} else if ((takes & QM_CTL_FILTER) && sm_id_parse(s, &id) == 0) {
			ids[id_count++] = s;
		} else if ((takes & QM_CTL_FILTER) && is_condition(s)) {
			c->conditions[c->condition_count++] = s;
		} else if (takes & QM_CTL_WORDS) {
			c->words[c->word_count++] = s;
		} else if (takes & QM_CTL_FILTER) {
			return qm_ctl_no_choice(s);
		} else {
			return sm_fail(SM_E_SYNTAX, "%s takes no words", c->verb->name);
		}
	}
	/* Ids are one word less than there were, so there is room. */
	add_ids(c, ids, id_count);
	if (takes & QM_CTL_FILTER)
		return qm_filter_new(c->conditions, c->condition_count, sm_wall_s(), &c->filter);
	return 0;
}
