/*
 * From texts to conditions.
 *
 *     condition = ["!"] key op value *("," value)
 *     op        = "=" / "<" / "<=" / ">" / ">="
 *
 * Every complaint names the condition and says what would be right.
 */
#include "qmgr/filter_int.h"

#include <stdio.h>
#include <stdlib.h>
#include "libsm/err.h"
#include "libsm/net.h"

#define VALUES_MOST   20000u
#define PATTERNS_MOST 1000u

struct unit {
	const char *name;
	uint64_t factor;
};

/* Shared by all that want a number: the first unit is that of a bare one. */
static const struct unit time_units[] = {{"s", 1},     {"m", 60},     {"h", 3600},
                                         {"d", 86400}, {"w", 604800}, {NULL, 0}};
static const struct unit size_units[] = {
    {"", 1}, {"k", 1024}, {"m", 1024 * 1024}, {"g", 1024 * 1024 * 1024}, {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

static int values_ids(struct sm_str list, struct sm_arena *a, struct qm_cond *c, struct sm_str all);
static int values_patterns(struct sm_str list, struct sm_arena *a, struct qm_cond *c,
                           struct sm_str all);
static int values_numbers(struct sm_str list, struct sm_arena *a, struct qm_cond *c,
                          struct sm_str all);
static int values_states(struct sm_str list, struct sm_arena *a, struct qm_cond *c,
                         struct sm_str all);

static const struct key {
	const char *name;
	int (*values)(struct sm_str list, struct sm_arena *a, struct qm_cond *c, struct sm_str all);
	const struct unit *units;
	const char *wants; /* in complaints */
	bool equal, order; /* which operators make sense */
} keys[] = {
    [QM_KEY_ID] = {"id", values_ids, NULL, "a transaction id (S and 18 hex digits)", true, false},
    [QM_KEY_SENDER] = {"sender", values_patterns, NULL, "an address, with * and ?", true, false},
    [QM_KEY_AGE] = {"age", values_numbers, time_units, "a time: 30s, 15m, 2h, 3d, 1w", false, true},
    [QM_KEY_SIZE] = {"size", values_numbers, size_units, "a size: 2000, 64K, 10M, 1G", false, true},
    [QM_KEY_NEXT] = {"next", values_numbers, time_units, "a time: 30s, 15m, 2h, 3d, 1w", false,
                     true},
    [QM_KEY_RCPT] = {"rcpt", values_patterns, NULL, "an address, with * and ?", true, false},
    [QM_KEY_DOMAIN] = {"domain", values_patterns, NULL,
                       "a domain, with * and ?; .example.org: all "
                       "below",
                       true, false},
    [QM_KEY_HOST] = {"host", values_patterns, NULL, "a host name, with * and ?", true, false},
    [QM_KEY_DEST] = {"dest", values_patterns, NULL,
                     "a domain, a host name or an address, with * and ?", true, false},
    [QM_KEY_REASON] = {"reason", values_patterns, NULL, "a part of a reply, with * and ?", true,
                       false},
    [QM_KEY_TRIES] = {"tries", values_numbers, no_units, "a number", true, true},
    [QM_KEY_STATE] = {"state", values_states, NULL,
                      "active, deferred, held, failed, delivered, queued or on_demand", true,
                      false},
};

/* For people: what they typed, without what could harm a terminal. */
static const char *shown(struct sm_str s, char out[64])
{
	sm_str_cut(s, out, 64);
	for (char *p = out; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return out;
}

static int complain(struct sm_str all, const struct key *k, struct sm_str value)
{
	char a[64], b[64];

	if (value.n == 0)
		return sm_fail(SM_E_SYNTAX, "%s: a value is missing; %s takes %s", shown(all, a),
		               k->name, k->wants);
	return sm_fail(SM_E_SYNTAX, "%s: \"%s\" is not right; %s takes %s", shown(all, a),
	               shown(value, b), k->name, k->wants);
}

static uint32_t count_values(struct sm_str list)
{
	uint32_t n = 1;

	for (size_t i = 0; i < list.n; i++)
		n += list.p[i] == ',';
	return n;
}

/* ---- values ---- */

int qm_filter_id_cmp(const void *a, const void *b)
{
	const struct sm_id *x = a, *y = b;

	return x->counter < y->counter   ? -1
	       : x->counter > y->counter ? 1
	                                 : (int)x->proc - (int)y->proc;
}

static int values_ids(struct sm_str list, struct sm_arena *a, struct qm_cond *c, struct sm_str all)
{
	c->ids = sm_arena_must(a, c->count * sizeof(*c->ids));
	for (uint32_t i = 0; i < c->count; i++) {
		struct sm_str v = sm_str_split(list, ',', &list);

		if (sm_id_parse(v, &c->ids[i]) != 0)
			return complain(all, &keys[c->key], v);
	}
	qsort(c->ids, c->count, sizeof(*c->ids), qm_filter_id_cmp);
	return 0;
}

static bool is_place(enum qm_filter_key key)
{
	return key == QM_KEY_DOMAIN || key == QM_KEY_HOST || key == QM_KEY_DEST;
}

static void make_pattern(struct sm_str v, struct sm_arena *a, struct qm_cond *c,
                         struct qm_pattern *out)
{
	bool part = c->key == QM_KEY_REASON, place = is_place(c->key);
	char *p, literal[SM_SA_TEXT];
	struct sm_sa sa;

	/* <> is the null sender; <a@b> is as good as a@b. */
	if ((c->key == QM_KEY_SENDER || c->key == QM_KEY_RCPT) && v.n >= 2 && v.p[0] == '<' &&
	    v.p[v.n - 1] == '>')
		v = sm_str_n(v.p + 1, v.n - 2);
	if (place && sm_sa_ip(&sa, v, 0) == 0)
		v = sm_str(sm_sa_literal(&sa, literal));
	out->text.p = p = sm_arena_must(a, v.n + 2);
	if (part)
		*p++ = '*';
	for (size_t i = 0; i < v.n; i++)
		*p++ = sm_lower(v.p[i]);
	if (part)
		*p++ = '*';
	out->text.n = (size_t)(p - out->text.p);
	out->glob = sm_str_chr(out->text, '*') >= 0 || sm_str_chr(out->text, '?') >= 0;
	out->below = place && c->key != QM_KEY_HOST && !out->glob && v.n > 1 && v.p[0] == '.';
}

static int values_patterns(struct sm_str list, struct sm_arena *a, struct qm_cond *c,
                           struct sm_str all)
{
	c->patterns = sm_arena_must(a, c->count * sizeof(*c->patterns));
	for (uint32_t i = 0; i < c->count; i++) {
		struct sm_str v = sm_str_split(list, ',', &list);

		if (v.n == 0)
			return complain(all, &keys[c->key], v);
		make_pattern(v, a, c, &c->patterns[i]);
	}
	return 0;
}

/* `factor` of the unit at the end of v, which is cut off; 0: there is no such unit. */
static uint64_t unit_of(struct sm_str *v, const struct unit *units)
{
	size_t n = v->n;

	while (n > 0 && !sm_isdigit(v->p[n - 1]))
		n--;

	struct sm_str name = sm_str_from(*v, n);

	*v = sm_str_head(*v, n);
	if (name.n == 0)
		return 1;
	for (const struct unit *u = units; u->name; u++)
		if (sm_str_caseeq(name, sm_str(u->name)))
			return u->factor;
	return 0;
}

static int values_numbers(struct sm_str list, struct sm_arena *a, struct qm_cond *c,
                          struct sm_str all)
{
	char text[64];

	if (c->op != QM_OP_EQ && c->count > 1)
		return sm_fail(SM_E_SYNTAX, "%s: one value, not several", shown(all, text));
	c->numbers = sm_arena_must(a, c->count * sizeof(*c->numbers));
	for (uint32_t i = 0; i < c->count; i++) {
		struct sm_str v = sm_str_split(list, ',', &list), digits = v;
		uint64_t factor = unit_of(&digits, keys[c->key].units);

		if (factor == 0 || sm_str_u64(digits, 10, UINT32_MAX, &c->numbers[i]) != 0)
			return complain(all, &keys[c->key], v);
		c->numbers[i] *= factor;
	}
	return 0;
}

static int values_states(struct sm_str list, struct sm_arena *a, struct qm_cond *c,
                         struct sm_str all)
{
	(void)a;
	for (uint32_t i = 0; i < c->count; i++) {
		struct sm_str v = sm_str_split(list, ',', &list);
		unsigned s = QM_VIEW_ACTIVE;

		while (s < QM_VIEW_STATES &&
		       !sm_str_caseeq(v, sm_str(qm_view_state_word((enum qm_view_state)s))))
			s++;
		if (s == QM_VIEW_STATES)
			return complain(all, &keys[c->key], v);
		c->states |= 1u << s;
	}
	return 0;
}

/* ---- a condition ---- */

static bool take_op(struct sm_str *s, enum qm_filter_op *op)
{
	char c = s->n ? s->p[0] : 0;
	bool equal = s->n > 1 && s->p[1] == '=';

	if (c == '=')
		*op = QM_OP_EQ;
	else if (c == '<')
		*op = equal ? QM_OP_LE : QM_OP_LT;
	else if (c == '>')
		*op = equal ? QM_OP_GE : QM_OP_GT;
	else
		return false;
	*s = sm_str_from(*s, 1 + (c != '=' && equal));
	return true;
}

static int no_such_key(struct sm_str all, struct sm_str name)
{
	char a[64], b[64], known[128];
	size_t n = 0;

	for (size_t i = 0; i < SM_ARRAY_SIZE(keys); i++)
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "",
		                      keys[i].name);
	return sm_fail(SM_E_SYNTAX, "%s: there is no \"%s\"; conditions are on %s", shown(all, a),
	               shown(name, b), known);
}

int qm_filter_parse(struct sm_str all, struct sm_arena *a, struct qm_cond *out)
{
	struct sm_str s = all, name;
	const struct key *k;
	size_t n = 0, i = 0;
	char text[64];
	uint32_t most;

	*out = (struct qm_cond){.negated = s.n > 0 && s.p[0] == '!'};
	s = sm_str_from(s, out->negated);
	while (n < s.n && sm_isalpha(s.p[n]))
		n++;
	name = sm_str_head(s, n);
	s = sm_str_from(s, n);
	if (name.n == 0)
		return sm_fail(SM_E_SYNTAX,
		               "\"%s\": a condition is key=value, as domain=example.org",
		               shown(all, text));
	while (i < SM_ARRAY_SIZE(keys) && !sm_str_caseeq(name, sm_str(keys[i].name)))
		i++;
	if (i == SM_ARRAY_SIZE(keys))
		return no_such_key(all, name);
	k = &keys[i];
	out->key = (enum qm_filter_key)i;
	if (sm_str_has_prefix(s, SM_STR("!=")))
		return sm_fail(SM_E_SYNTAX, "%s: for \"not\" put ! before it: !%s=...",
		               shown(all, text), k->name);
	if (!take_op(&s, &out->op) || (out->op == QM_OP_EQ ? !k->equal : !k->order))
		return sm_fail(SM_E_SYNTAX, "%s: after %s comes %s", shown(all, text), k->name,
		               !k->order  ? "="
		               : k->equal ? "one of = < <= > >="
		                          : "one of < <= > >=");
	out->count = count_values(s);
	most = k->values == values_patterns ? PATTERNS_MOST : VALUES_MOST;
	if (out->count > most)
		return sm_fail(SM_E_TOOBIG, "%s: more than %u values", shown(all, text), most);
	return k->values(s, a, out, all);
}
