/*
 * The tables of failed attempts. Invariant: each table has at most max_entries; an entry is in its
 * hash and in its list, which is in the order of the last use. Pure; loop thread.
 */
#include "smtps/authlimit.h"

#include "smtps/auth.h"

enum {
	CLIENT_KEY_MAX = 9, /* family, and a /64 */
	KEY_MAX = CLIENT_KEY_MAX + SS_AUTH_USER_MAX,
	DOUBLINGS_MAX = 30,
};

struct entry {
	struct sm_hash_node node;
	struct sm_list link; /* lru */
	/* Two windows make a sliding one: what this one had, and the fitting share of the last. */
	unsigned now_count, last_count;
	int64_t window_ms; /* when this one began */
	int64_t next_ms;   /* when the next attempt may begin */
	size_t key_n;
	char key[];
};

struct key {
	size_t n;
	char p[KEY_MAX];
};

/* ---- tables ---- */

static void table_init(struct ss_authlimit_table *t)
{
	sm_hash_init(&t->by_key);
	sm_list_init(&t->lru);
}

static void forget(struct ss_authlimit_table *t, struct entry *e)
{
	sm_hash_remove(&t->by_key, &e->node);
	sm_list_remove(&e->link);
	sm_free(e);
}

static void table_fini(struct ss_authlimit_table *t)
{
	while (!sm_list_empty(&t->lru))
		forget(t, SM_LIST_FIRST(&t->lru, struct entry, link));
	sm_hash_fini(&t->by_key);
}

static bool key_eq(const struct sm_hash_node *n, const void *key)
{
	const struct entry *e = SM_CONTAINER_OF(n, struct entry, node);
	const struct key *k = key;

	return e->key_n == k->n && memcmp(e->key, k->p, k->n) == 0;
}

static struct entry *find(const struct ss_authlimit_table *t, const struct key *k)
{
	uint64_t hash = sm_hash_str(sm_str_n(k->p, k->n));
	struct sm_hash_node *n = sm_hash_find(&t->by_key, hash, key_eq, k);

	return n != NULL ? SM_CONTAINER_OF(n, struct entry, node) : NULL;
}

/* The entry, made if need be; it is the last used one now. */
static struct entry *use(struct ss_authlimit_table *t, const struct key *k, size_t max,
                         int64_t now_ms)
{
	struct entry *e = find(t, k);

	if (e != NULL) {
		sm_list_remove(&e->link);
	} else {
		while (t->by_key.count >= max)
			forget(t, SM_LIST_FIRST(&t->lru, struct entry, link));
		e = sm_calloc(1, sizeof(*e) + k->n);
		e->window_ms = now_ms;
		e->key_n = k->n;
		memcpy(e->key, k->p, k->n);
		sm_hash_insert(&t->by_key, &e->node, sm_hash_str(sm_str_n(k->p, k->n)));
	}
	sm_list_push(&t->lru, &e->link);
	return e;
}

/* ---- keys ---- */

static bool client_key(const struct sm_sa *sa, struct key *k)
{
	const struct in6_addr *six = &sa->u.in6.sin6_addr;
	bool mapped = sa->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(six);

	if (sa->len == 0 || sa->u.sa.sa_family == AF_UNIX)
		return false;
	if (sa->u.sa.sa_family == AF_INET || mapped) {
		k->n = 5;
		k->p[0] = 4;
		memcpy(k->p + 1, mapped ? (const void *)&six->s6_addr[12] : &sa->u.in4.sin_addr, 4);
	} else {
		k->n = CLIENT_KEY_MAX;
		k->p[0] = 6;
		memcpy(k->p + 1, six->s6_addr, 8);
	}
	return true;
}

static bool user_key(struct sm_str user, struct key *k)
{
	if (user.n == 0 || user.n > SS_AUTH_USER_MAX)
		return false;
	k->n = user.n;
	memcpy(k->p, user.p, user.n);
	return true;
}

static bool known_key(const struct sm_sa *sa, struct sm_str user, struct key *k)
{
	if (user.n == 0 || user.n > SS_AUTH_USER_MAX || !client_key(sa, k))
		return false;
	memcpy(k->p + k->n, user.p, user.n);
	k->n += user.n;
	return true;
}

/* ---- times ---- */

static unsigned failures(struct entry *e, int64_t window_ms, int64_t now_ms)
{
	int64_t in = now_ms - e->window_ms;

	if (in >= window_ms) {
		e->last_count = in < 2 * window_ms ? e->now_count : 0;
		e->now_count = 0;
		e->window_ms = in < 2 * window_ms ? e->window_ms + window_ms : now_ms;
		in = now_ms - e->window_ms;
	}
	return e->now_count +
	       (unsigned)(e->last_count * (uint64_t)(window_ms - in) / (uint64_t)window_ms);
}

static int64_t delay(const struct ss_auth_conf *c, unsigned n)
{
	if (n == 0)
		return 0;
	return SM_MIN(c->delay_ms << SM_MIN(n - 1, (unsigned)DOUBLINGS_MAX), c->max_delay_ms);
}

/* Its turn, when it has failed before. False: too often, or too many wait. */
static bool take_turn(struct entry *e, const struct ss_auth_conf *c, int64_t most, int64_t now_ms,
                      int64_t *at_ms)
{
	unsigned n = failures(e, c->window_ms, now_ms);
	int64_t at = SM_MAX(now_ms, e->next_ms);

	if (n == 0)
		return true;
	if ((most > 0 && n >= most) || at - now_ms > c->max_delay_ms)
		return false;
	e->next_ms = at + delay(c, n);
	*at_ms = at;
	return true;
}

static int64_t count(struct ss_authlimit_table *t, const struct ss_auth_conf *c,
                     const struct key *k, int64_t now_ms)
{
	struct entry *e = use(t, k, (size_t)c->max_entries, now_ms);
	int64_t d;

	(void)failures(e, c->window_ms, now_ms);
	e->now_count++;
	d = delay(c, failures(e, c->window_ms, now_ms));
	e->next_ms = SM_MAX(e->next_ms, now_ms + d);
	return d;
}

/* ---- what others call ---- */

void ss_authlimit_init(struct ss_authlimit *l)
{
	table_init(&l->clients);
	table_init(&l->users);
	table_init(&l->known);
}

void ss_authlimit_fini(struct ss_authlimit *l)
{
	table_fini(&l->clients);
	table_fini(&l->users);
	table_fini(&l->known);
}

bool ss_authlimit_client(struct ss_authlimit *l, const struct ss_auth_conf *c,
                         const struct sm_sa *client, int64_t now_ms, int64_t *at_ms)
{
	struct entry *e;
	struct key k;

	*at_ms = now_ms;
	if (!client_key(client, &k) || (e = find(&l->clients, &k)) == NULL)
		return true;
	return take_turn(e, c, c->max_client, now_ms, at_ms);
}

bool ss_authlimit_user(struct ss_authlimit *l, const struct ss_auth_conf *c,
                       const struct sm_sa *client, struct sm_str user, int64_t now_ms,
                       int64_t *at_ms)
{
	struct entry *e;
	struct key k;

	*at_ms = now_ms;
	if (known_key(client, user, &k) && find(&l->known, &k) != NULL)
		return true;
	if (!user_key(user, &k) || (e = find(&l->users, &k)) == NULL)
		return true;
	return take_turn(e, c, c->max_user, now_ms, at_ms);
}

int64_t ss_authlimit_failed(struct ss_authlimit *l, const struct ss_auth_conf *c,
                            const struct sm_sa *client, struct sm_str user, int64_t now_ms)
{
	int64_t by_client = delay(c, 1), by_user = 0;
	struct key k;

	if (client_key(client, &k))
		by_client = count(&l->clients, c, &k, now_ms);
	if (user_key(user, &k))
		by_user = count(&l->users, c, &k, now_ms);
	return SM_MAX(by_client, by_user);
}

void ss_authlimit_passed(struct ss_authlimit *l, const struct ss_auth_conf *c,
                         const struct sm_sa *client, struct sm_str user, int64_t now_ms)
{
	struct key k;

	if (known_key(client, user, &k))
		(void)use(&l->known, &k, (size_t)c->max_entries, now_ms);
}

int64_t ss_authlimit_answer_at(int64_t begin_ms, int64_t delay_ms, int64_t now_ms)
{
	int64_t took = now_ms - begin_ms;

	if (delay_ms <= 0)
		return now_ms;
	return begin_ms + SM_MAX((took + delay_ms - 1) / delay_ms, (int64_t)1) * delay_ms;
}
