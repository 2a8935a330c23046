/*
 * Counters per client address. An address that has no open session and was quiet for a minute is
 * forgotten, so the table is bounded by open sessions plus what connected within the last minute
 * (itself bounded by the accept rate).
 */
#include "qmgr/clients.h"

#define WINDOW_MS 60000

struct qm_client {
	struct sm_hash_node node;
	struct sm_list link; /* in lru while open is 0 */
	struct sm_sa sa;
	unsigned open;
	/* Two half-filled minutes make a sliding one: the rate is what this minute had plus the
	 * fitting share of the last. */
	unsigned now_count, last_count;
	int64_t window_ms;
};

static bool client_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_sa_eq_host(&SM_CONTAINER_OF(n, struct qm_client, node)->sa, key);
}

void qm_clients_init(struct qm_clients *c, unsigned max_open, unsigned max_rate)
{
	*c = (struct qm_clients){.max_open = max_open, .max_rate = max_rate};
	sm_hash_init(&c->by_host);
	sm_list_init(&c->lru);
}

static void forget(struct qm_clients *c, struct qm_client *client)
{
	sm_hash_remove(&c->by_host, &client->node);
	sm_list_remove(&client->link);
	sm_free(client);
}

void qm_clients_fini(struct qm_clients *c)
{
	for (struct sm_hash_node *n = sm_hash_next(&c->by_host, NULL), *next; n; n = next) {
		next = sm_hash_next(&c->by_host, n);
		forget(c, SM_CONTAINER_OF(n, struct qm_client, node));
	}
	sm_hash_fini(&c->by_host);
}

static void expire(struct qm_clients *c, int64_t now_ms)
{
	for (int i = 0; i < 4 && !sm_list_empty(&c->lru); i++) {
		struct qm_client *old = SM_LIST_FIRST(&c->lru, struct qm_client, link);

		if (now_ms - old->window_ms < 2 * WINDOW_MS)
			break;
		forget(c, old);
	}
}

static unsigned rate(struct qm_client *cl, int64_t now_ms)
{
	int64_t in = now_ms - cl->window_ms;

	if (in >= WINDOW_MS) {
		cl->last_count = in < 2 * WINDOW_MS ? cl->now_count : 0;
		cl->now_count = 0;
		cl->window_ms = in < 2 * WINDOW_MS ? cl->window_ms + WINDOW_MS : now_ms;
		in = now_ms - cl->window_ms;
	}
	return cl->now_count + (unsigned)(cl->last_count * (uint64_t)(WINDOW_MS - in) / WINDOW_MS);
}

enum qm_client_verdict qm_client_open(struct qm_clients *c, const struct sm_sa *sa, int64_t now_ms,
                                      struct qm_client **out)
{
	*out = NULL;
	if (sa->len == 0 || sa->u.sa.sa_family == AF_UNIX)
		return QM_CLIENT_OK;
	expire(c, now_ms);

	uint64_t hash = sm_sa_hash_host(sa);
	struct sm_hash_node *n = sm_hash_find(&c->by_host, hash, client_eq, sa);
	struct qm_client *cl = n ? SM_CONTAINER_OF(n, struct qm_client, node) : NULL;

	if (cl == NULL) {
		cl = sm_calloc(1, sizeof(*cl));
		cl->sa = *sa;
		cl->window_ms = now_ms;
		sm_list_init(&cl->link);
		sm_hash_insert(&c->by_host, &cl->node, hash);
		sm_list_push(&c->lru, &cl->link);
	}
	enum qm_client_verdict v = QM_CLIENT_OK;
	unsigned max_open = qm_limits_get(c->limits, QM_LIMIT_ICM, sa, c->max_open);
	unsigned max_rate = qm_limits_get(c->limits, QM_LIMIT_ICR, sa, c->max_rate);

	if (max_open && cl->open >= max_open)
		v = QM_CLIENT_TOO_MANY;
	else if (max_rate && rate(cl, now_ms) >= max_rate)
		v = QM_CLIENT_TOO_FAST;
	if (v != QM_CLIENT_OK)
		return v;
	cl->now_count++;
	cl->open++;
	sm_list_remove(&cl->link);
	*out = cl;
	return v;
}

void qm_client_close(struct qm_clients *c, struct qm_client *cl)
{
	if (cl == NULL)
		return;
	sm_assert(cl->open > 0);
	if (--cl->open == 0)
		sm_list_push(&c->lru, &cl->link);
}

size_t qm_clients_count(const struct qm_clients *c)
{
	return c->by_host.count;
}
