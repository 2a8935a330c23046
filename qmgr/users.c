/*
 * Counters for authenticated users. Invariant: an entry is in the hash and in `lru`, which is in
 * the order of the last message; in `over` as well exactly when its last message was refused; there
 * are max_entries at the most. Pure.
 */
#include "qmgr/users.h"

struct user {
	struct sm_hash_node node;
	struct sm_list link; /* lru */
	struct sm_list over;
	bool is_over;
	/* Two periods make a sliding one: what this one had, and the fitting share of the last. */
	struct {
		uint64_t messages, rcpts;
	} now, last;
	int64_t period_ms; /* when this one began */
	int64_t told_ms;   /* when somebody was told that it is over; -1: never */
	uint64_t refused;
	size_t name_n;
	char name[];
};

static struct sm_str name_of(const struct user *x)
{
	return sm_str_n(x->name, x->name_n);
}

static bool user_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_caseeq(name_of(SM_CONTAINER_OF(n, struct user, node)),
	                     *(const struct sm_str *)key);
}

static struct user *find(const struct qm_users *u, struct sm_str name)
{
	struct sm_hash_node *n = sm_hash_find(&u->by_name, sm_hash_case(name), user_eq, &name);

	return n != NULL ? SM_CONTAINER_OF(n, struct user, node) : NULL;
}

void qm_users_init(struct qm_users *u)
{
	*u = (struct qm_users){.period_ms = 3600000, .max_entries = 1000};
	sm_hash_init(&u->by_name);
	sm_list_init(&u->lru);
	sm_list_init(&u->over);
}

static void set_over(struct qm_users *u, struct user *x, bool over)
{
	if (x->is_over) {
		sm_list_remove(&x->over);
		u->over_count--;
	}
	x->is_over = over;
	if (over) {
		sm_list_push(&u->over, &x->over);
		u->over_count++;
	}
}

static void forget(struct qm_users *u, struct user *x)
{
	sm_hash_remove(&u->by_name, &x->node);
	sm_list_remove(&x->link);
	set_over(u, x, false);
	sm_free(x);
}

void qm_users_fini(struct qm_users *u)
{
	while (!sm_list_empty(&u->lru))
		forget(u, SM_LIST_FIRST(&u->lru, struct user, link));
	sm_hash_fini(&u->by_name);
}

static struct user *use(struct qm_users *u, struct sm_str name, int64_t now_ms)
{
	struct user *x = find(u, name);

	if (x != NULL) {
		sm_list_remove(&x->link);
	} else {
		while (u->by_name.count >= u->max_entries && !sm_list_empty(&u->lru))
			forget(u, SM_LIST_FIRST(&u->lru, struct user, link));
		x = sm_calloc(1, sizeof(*x) + name.n);
		x->period_ms = now_ms;
		x->told_ms = -1;
		x->name_n = name.n;
		for (size_t i = 0; i < name.n; i++)
			x->name[i] = sm_lower(name.p[i]);
		sm_list_init(&x->over);
		sm_hash_insert(&u->by_name, &x->node, sm_hash_case(name));
	}
	sm_list_push(&u->lru, &x->link);
	return x;
}

/* Make `now` and `last` those of this moment; gives how much of `last` counts, in ms. */
static int64_t slide(struct user *x, int64_t period_ms, int64_t now_ms)
{
	int64_t in = now_ms - x->period_ms;

	if (in >= period_ms) {
		bool next = in < 2 * period_ms;

		x->last.messages = next ? x->now.messages : 0;
		x->last.rcpts = next ? x->now.rcpts : 0;
		x->now.messages = x->now.rcpts = 0;
		x->period_ms = next ? x->period_ms + period_ms : now_ms;
		in = now_ms - x->period_ms;
	}
	return period_ms - in;
}

static uint64_t sum(uint64_t now, uint64_t last, int64_t left_ms, int64_t period_ms)
{
	return now + last * (uint64_t)left_ms / (uint64_t)period_ms;
}

static void stat_of(struct user *x, int64_t period_ms, int64_t now_ms, struct qm_user_stat *s)
{
	int64_t left = slide(x, period_ms, now_ms);

	*s = (struct qm_user_stat){
	    .name = name_of(x),
	    .messages = sum(x->now.messages, x->last.messages, left, period_ms),
	    .rcpts = sum(x->now.rcpts, x->last.rcpts, left, period_ms),
	    .refused = x->refused,
	    .over = x->is_over,
	};
}

enum qm_user_verdict qm_users_take(struct qm_users *u, struct sm_str name, uint32_t rcpts,
                                   int64_t now_ms)
{
	struct user *x = use(u, sm_str_head(name, QM_USER_MAX), now_ms);
	struct qm_user_stat s;
	bool over;

	stat_of(x, u->period_ms, now_ms, &s);
	over = (u->max_messages > 0 && s.messages + 1 > u->max_messages) ||
	       (u->max_rcpts > 0 && s.rcpts + rcpts > u->max_rcpts);
	set_over(u, x, over);
	if (!over) {
		x->now.messages++;
		x->now.rcpts += rcpts;
		return QM_USER_OK;
	}
	x->refused++;
	u->refused++;
	if (x->told_ms >= 0 && now_ms - x->told_ms < u->period_ms)
		return QM_USER_OVER;
	x->told_ms = now_ms;
	return QM_USER_OVER_TELL;
}

size_t qm_users_list(struct qm_users *u, int64_t now_ms, size_t max,
                     void (*each)(void *arg, const struct qm_user_stat *s), void *arg)
{
	struct qm_user_stat s;
	size_t n = 0;

	for (struct sm_list *l = u->over.prev; l != &u->over && n < max; l = l->prev, n++) {
		stat_of(SM_LIST_ENTRY(l, struct user, over), u->period_ms, now_ms, &s);
		each(arg, &s);
	}
	for (struct sm_list *l = u->lru.prev; l != &u->lru && n < max; l = l->prev) {
		struct user *x = SM_LIST_ENTRY(l, struct user, link);

		if (x->is_over)
			continue;
		stat_of(x, u->period_ms, now_ms, &s);
		each(arg, &s);
		n++;
	}
	return n;
}

size_t qm_users_count(const struct qm_users *u)
{
	return u->by_name.count;
}

bool qm_users_forget(struct qm_users *u, struct sm_str name)
{
	struct user *x = find(u, name);

	if (x != NULL)
		forget(u, x);
	return x != NULL;
}
