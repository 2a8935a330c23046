/*
 * Idle sessions. While a session is here its descriptor has a callback: whatever the server sends
 * to a client that has asked for nothing (a 421, the end) ends it at once, and qmgr hears of it.
 * Invariants: a session here is not broken, has nothing buffered in either direction and has a
 * timer; it is in `all`, in `by_place` and in the list of its address. However many there are,
 * nothing here walks through them to find one. Loop's thread.
 */
#include "smtpc/cache.h"

#include "libsm/loop.h"
#include "smtpc/sc.h"
#include "smtpc/session.h"

struct place {
	struct sm_str key;
	const struct sm_sa *sa;
};

static uint64_t place_hash(struct sm_str key, const struct sm_sa *sa)
{
	return sm_hash_str(key) ^ sm_sa_hash_host(sa);
}

static struct sc_session *session_of(const struct sm_hash_node *n)
{
	return SM_CONTAINER_OF((struct sm_hash_node *)(uintptr_t)n, struct sc_session, node);
}

static bool place_eq(const struct sm_hash_node *n, const void *key)
{
	const struct sc_session *s = session_of(n);
	const struct place *p = key;

	return sm_str_eq(s->key, p->key) && sm_sa_eq(&s->sa, p->sa);
}

void sc_cache_init(struct sc_cache *c, struct sc *sc)
{
	*c = (struct sc_cache){.sc = sc};
	sm_hash_init(&c->by_place);
	sm_hash_init(&c->by_address);
	sm_list_init(&c->all);
}

/* ---- addresses ---- */

static bool address_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_sa_eq(&SM_CONTAINER_OF(n, struct sc_address, node)->sa, key);
}

static uint64_t address_hash(const struct sm_sa *sa)
{
	return sm_sa_hash_host(sa) ^ sm_sa_port(sa);
}

static struct sc_address *address_find(const struct sc_cache *c, const struct sm_sa *sa)
{
	struct sm_hash_node *n = sm_hash_find(&c->by_address, address_hash(sa), address_eq, sa);

	return n != NULL ? SM_CONTAINER_OF(n, struct sc_address, node) : NULL;
}

static struct sc_address *address_get(struct sc_cache *c, const struct sm_sa *sa)
{
	struct sc_address *a = address_find(c, sa);

	if (a == NULL) {
		a = sm_calloc(1, sizeof(*a));
		a->sa = *sa;
		sm_list_init(&a->idle);
		sm_list_init(&a->leaving);
		sm_hash_insert(&c->by_address, &a->node, address_hash(sa));
	}
	return a;
}

/* Out of the list of its address, which goes with the last one. */
static void address_leave(struct sc_cache *c, struct sc_session *s)
{
	struct sc_address *a = s->at;

	sm_list_remove(&s->there);
	s->at = NULL;
	if (!sm_list_empty(&a->idle) || !sm_list_empty(&a->leaving))
		return;
	sm_hash_remove(&c->by_address, &a->node);
	sm_free(a);
}

void sc_cache_leaves(struct sc_cache *c, struct sc_session *s)
{
	s->at = address_get(c, &s->sa);
	sm_list_push(&s->at->leaving, &s->there);
}

void sc_cache_left(struct sc_cache *c, struct sc_session *s)
{
	if (s->at != NULL)
		address_leave(c, s);
}

struct sc_session *sc_cache_leaving(const struct sc_cache *c, const struct sm_sa *sa)
{
	const struct sc_address *a = address_find(c, sa);

	return a != NULL ? SM_LIST_FIRST(&a->leaving, struct sc_session, there) : NULL;
}

/* ---- what is idle ---- */

static void take_out(struct sc_cache *c, struct sc_session *s)
{
	sm_hash_remove(&c->by_place, &s->node);
	s->at->idle_count--;
	address_leave(c, s);
	sm_list_remove(&s->idle);
	sm_timer_cancel(&s->timer);
	sm_fd_callback(&s->net.f, NULL, NULL);
	c->count--;
}

/* It ends without having been taken. `polite`: say QUIT. */
static void drop(struct sc_cache *c, struct sc_session *s, bool polite)
{
	take_out(c, s);
	if (c->on_gone != NULL)
		c->on_gone(c->sc, s->key, &s->sa);
	if (polite)
		sc_session_quit(&s);
	else
		sc_session_free(&s);
}

static void on_timer(void *arg)
{
	struct sc_session *s = arg;

	drop(&s->sc->cache, s, true);
}

static void on_event(struct sm_fd *f SM_UNUSED, unsigned events, void *arg)
{
	struct sc_session *s = arg;

	if (events & SM_RD)
		drop(&s->sc->cache, s, false);
}

void sc_cache_fini(struct sc_cache *c)
{
	for (struct sm_list *e; (e = c->all.next) != &c->all;) {
		struct sc_session *s = SM_LIST_ENTRY(e, struct sc_session, idle);
		take_out(c, s);
		sc_session_free(&s);
	}
	sm_hash_fini(&c->by_place);
	sm_hash_fini(&c->by_address);
}

void sc_cache_quit_all(struct sc_cache *c)
{
	for (struct sm_list *e; (e = c->all.next) != &c->all;)
		drop(c, SM_LIST_ENTRY(e, struct sc_session, idle), true);
}

/* To the same address idle as many as may. */
static bool address_is_full(const struct sc_cache *c, const struct sm_sa *sa)
{
	const struct sc_address *a = address_find(c, sa);
	size_t n = a != NULL ? a->idle_count : 0;

	return n >= (size_t)c->sc->conf->max_sessions_idle_per_host;
}

bool sc_cache_put(struct sc_cache *c, struct sc_session *s)
{
	const struct sc_conf *conf = c->sc->conf;

	if (s->broken || s->spent || s->net.f.hup || c->sc->draining ||
	    conf->session_idle_timeout_ms == 0 ||
	    s->id.task >= (uint64_t)conf->max_messages_per_session || sc_session_is_used_up(s) ||
	    c->count >= (size_t)conf->max_sessions_idle || address_is_full(c, &s->sa))
		return false;
	sm_hash_insert(&c->by_place, &s->node, place_hash(s->key, &s->sa));
	sm_list_push(&c->all, &s->idle);
	s->at = address_get(c, &s->sa);
	sm_list_push(&s->at->idle, &s->there);
	s->at->idle_count++;
	c->count++;
	sm_buf_trim(&s->stream.in);
	sm_reply_parser_reset(&s->reply);
	sm_buf_trim(&s->reply.text);
	sm_timer_set(&s->timer, sm_loop_now_ms() + conf->session_idle_timeout_ms, on_timer, s);
	sm_fd_callback(&s->net.f, on_event, s);
	return true;
}

void sc_cache_give_way(struct sc_cache *c, const struct sm_sa *sa)
{
	const struct sc_address *a = address_find(c, sa);
	struct sc_session *s = a != NULL ? SM_LIST_FIRST(&a->idle, struct sc_session, there) : NULL;

	if (s != NULL)
		drop(c, s, true);
	sc_session_succeed(c->sc, sa);
}

struct sc_session *sc_cache_take(struct sc_cache *c, struct sm_str key, const struct sm_sa *sa)
{
	struct sm_sa local;
	struct place place = {.key = key, .sa = sa};
	struct sm_hash_node *n;

	if (sa->len == 0) {
		if (sm_sa_unix(&local, c->sc->conf->lmtp_socket) != 0)
			return NULL;
		place.sa = &local;
	}
	uint64_t hash = place_hash(key, place.sa);
	while ((n = sm_hash_find(&c->by_place, hash, place_eq, &place)) != NULL) {
		struct sc_session *s = session_of(n);
		if (sm_net_pending(&s->net)) {
			drop(c, s, false); /* its event is still on the way */
			continue;
		}
		take_out(c, s);
		s->reused = true;
		return s;
	}
	return NULL;
}
