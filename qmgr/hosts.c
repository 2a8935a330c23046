/*
 * Slow start, back-off and message rate of next hops. Loop thread; pure.
 *
 * Invariant: a host is in `unused` exactly when nothing runs there and no route waits for it; only
 * such a host is ever forgotten, and not while it is dead unless room is short.
 */
#include "qmgr/hosts.h"

#define MINUTE_MS      60000
#define WELL_MS        60000 /* so long the others are waited for */
#define FRESH_MS       5000  /* what failed so soon after a success began before it, or nearly so */
#define MISSES_MAX     3
#define FORGET_AT_ONCE 4 /* that are too old, each time one is asked for */

static bool host_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_sa_eq(&SM_CONTAINER_OF(n, struct qm_host, node)->sa, key);
}

static uint64_t hash_of(const struct sm_sa *sa)
{
	return sm_sa_hash_host(sa) ^ sm_sa_port(sa);
}

void qm_hosts_init(struct qm_hosts *h, const struct qm_hosts_conf *conf)
{
	*h = (struct qm_hosts){.conf = *conf};
	sm_hash_init(&h->by_sa);
	sm_list_init(&h->unused);
}

static void forget(struct qm_hosts *h, struct qm_host *x)
{
	sm_hash_remove(&h->by_sa, &x->node);
	sm_list_remove(&x->lru);
	sm_free(x);
}

void qm_hosts_fini(struct qm_hosts *h)
{
	for (struct sm_hash_node *n = sm_hash_next(&h->by_sa, NULL), *next; n; n = next) {
		next = sm_hash_next(&h->by_sa, n);
		forget(h, SM_CONTAINER_OF(n, struct qm_host, node));
	}
	sm_hash_fini(&h->by_sa);
}

struct qm_host *qm_host_next(const struct qm_hosts *h, const struct qm_host *x)
{
	struct sm_hash_node *n = sm_hash_next(&h->by_sa, x ? &x->node : NULL);

	return n ? SM_CONTAINER_OF(n, struct qm_host, node) : NULL;
}

static unsigned limit(const struct qm_hosts *h, enum qm_limit kind, const struct sm_sa *sa,
                      unsigned otherwise)
{
	return qm_limits_get(h->conf.limits, kind, sa, otherwise);
}

static unsigned most(const struct qm_hosts *h, const struct sm_sa *sa)
{
	return limit(h, QM_LIMIT_OCM, sa, h->conf.ocm);
}

void qm_hosts_reload(struct qm_hosts *h, const struct qm_hosts_conf *conf)
{
	h->conf = *conf;
	for (struct qm_host *x = qm_host_next(h, NULL); x; x = qm_host_next(h, x)) {
		x->window = SM_MIN(x->window, most(h, &x->sa));
		x->next_ms = 0;
	}
}

struct qm_host *qm_host_find(const struct qm_hosts *h, const struct sm_sa *sa)
{
	struct sm_hash_node *n = sm_hash_find(&h->by_sa, hash_of(sa), host_eq, sa);

	return n ? SM_CONTAINER_OF(n, struct qm_host, node) : NULL;
}

static void make_room(struct qm_hosts *h, int64_t now_ms)
{
	int64_t octo_ms = qm_limits_octo_ms(h->conf.limits, h->conf.octo_ms);

	for (int i = 0; i < FORGET_AT_ONCE && !sm_list_empty(&h->unused); i++) {
		struct qm_host *x = SM_LIST_FIRST(&h->unused, struct qm_host, lru);

		if (h->by_sa.count < h->conf.max &&
		    (now_ms - x->used_ms < octo_ms || x->dead_until_ms > now_ms ||
		     x->next_ms > now_ms))
			break;
		forget(h, x);
	}
}

struct qm_host *qm_host_get(struct qm_hosts *h, const struct sm_sa *sa, int64_t now_ms)
{
	struct qm_host *x;

	make_room(h, now_ms);
	if ((x = qm_host_find(h, sa)) != NULL)
		return x;
	x = sm_calloc(1, sizeof(*x));
	x->sa = *sa;
	x->used_ms = now_ms;
	x->window = SM_MIN(limit(h, QM_LIMIT_OCI, sa, h->conf.oci), most(h, sa));
	sm_list_init(&x->waiters);
	sm_list_init(&x->lru);
	sm_hash_insert(&h->by_sa, &x->node, hash_of(sa));
	sm_list_push(&h->unused, &x->lru);
	return x;
}

void qm_host_settle(struct qm_hosts *h, struct qm_host *x, int64_t now_ms)
{
	sm_list_remove(&x->lru);
	x->used_ms = now_ms;
	if (x->running > 0 || !sm_list_empty(&x->waiters) || x->wake.at != 0)
		return;
	sm_list_push(&h->unused, &x->lru);
}

bool qm_host_dead(const struct qm_host *x, int64_t now_ms)
{
	return x != NULL && x->dead_until_ms > now_ms;
}

unsigned qm_host_limit(const struct qm_hosts *h, const struct qm_host *x, int64_t now_ms)
{
	if (x->dead_until_ms > now_ms)
		return 0;
	return x->dead_until_ms > 0 ? 1 : SM_MIN(x->window, most(h, &x->sa));
}

enum qm_room qm_host_room(const struct qm_hosts *h, const struct qm_host *x, int64_t now_ms)
{
	unsigned n = qm_host_limit(h, x, now_ms);

	if (n == 0)
		return QM_ROOM_DEAD;
	if (x->running >= n)
		return QM_ROOM_FULL;
	return x->next_ms > now_ms ? QM_ROOM_LATER : QM_ROOM;
}

/* Messages are spread evenly over the minute: no burst at its beginning. */
void qm_host_begin(struct qm_hosts *h, struct qm_host *x, int64_t now_ms)
{
	unsigned rate = limit(h, QM_LIMIT_OMR, &x->sa, h->conf.omr);

	if (x->running++ == 0)
		x->busy_ms = now_ms;
	if (rate > 0)
		x->next_ms = now_ms + (MINUTE_MS + rate - 1) / rate;
	qm_host_settle(h, x, now_ms);
}

void qm_host_begin_probe(struct qm_hosts *h, struct qm_host *x, int64_t now_ms)
{
	if (x->running++ == 0)
		x->busy_ms = now_ms;
	x->probes++;
	qm_host_settle(h, x, now_ms);
}

void qm_host_end(struct qm_hosts *h, struct qm_host *x, int64_t now_ms)
{
	sm_assert(x->running > 0);
	x->running--;
	qm_host_settle(h, x, now_ms);
}

static int64_t penalty_ms(const struct qm_hosts *h, unsigned failures)
{
	int64_t ms = h->conf.penalty_ms;

	while (--failures > 0 && ms < h->conf.penalty_max_ms)
		ms *= 2;
	return SM_MIN(ms, h->conf.penalty_max_ms);
}

static void remember(struct qm_host *x, uint16_t code, struct sm_str text, int64_t now_ms)
{
	x->failed_ms = now_ms;
	x->code = code;
	sm_str_cut(text, x->text, sizeof(x->text));
}

bool qm_host_reached(struct qm_hosts *h, struct qm_host *x, enum sm_reach reach, uint16_t code,
                     struct sm_str text, int64_t now_ms)
{
	if (reach == SM_REACH_OK) {
		x->ok_ms = now_ms;
		x->failures = x->misses = 0;
		x->dead_until_ms = 0;
		x->window = SM_MIN(x->window + 1, most(h, &x->sa));
		return false;
	}
	/* What was under way when it died tells nothing new. */
	if (reach == SM_REACH_NONE || x->dead_until_ms > now_ms)
		return false;
	remember(x, code, text, now_ms);
	x->window = SM_MAX(1U, x->window / 2);
	if (reach == SM_REACH_BUSY) /* a session was had: it may be this message only */
		return false;
	if (x->running > 0 && now_ms - SM_MAX(x->ok_ms, x->busy_ms) < WELL_MS)
		return false;
	/* Sessions that idle there may take the place of one more. */
	if (x->ok_ms > 0 && now_ms - x->ok_ms < FRESH_MS && x->misses++ < MISSES_MAX)
		return false;
	x->failures++;
	x->dead_until_ms = now_ms + penalty_ms(h, x->failures);
	return true;
}

void qm_host_revive(struct qm_host *x)
{
	if (x->dead_until_ms > 0)
		x->dead_until_ms = 1;
	x->failures = 0;
	x->next_ms = 0;
}
