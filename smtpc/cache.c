/*
 * Idle sessions. While a session is here its descriptor has a callback: whatever the server sends
 * to a client that has asked for nothing (a 421, the end) ends it at once, and qmgr hears of it.
 * Invariant: a session here is not broken, has nothing buffered in either direction and has a
 * timer. Loop's thread.
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
	return sm_hash_u64(sm_hash_str(key) ^ sm_sa_hash_host(sa));
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
	sm_list_init(&c->all);
	sm_list_init(&c->leaving);
}

static void take_out(struct sc_cache *c, struct sc_session *s)
{
	sm_hash_remove(&c->by_place, &s->node);
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
}

void sc_cache_quit_all(struct sc_cache *c)
{
	for (struct sm_list *e; (e = c->all.next) != &c->all;)
		drop(c, SM_LIST_ENTRY(e, struct sc_session, idle), true);
}

static size_t to_same_address(const struct sc_cache *c, const struct sc_session *s)
{
	size_t n = 0;

	SM_LIST_FOR (other, &c->all, struct sc_session, idle) {
		n += sm_sa_eq(&other->sa, &s->sa);
	}
	return n;
}

bool sc_cache_put(struct sc_cache *c, struct sc_session *s)
{
	const struct sc_conf *conf = c->sc->conf;

	if (s->broken || s->spent || s->net.f.hup || c->sc->draining ||
	    conf->session_idle_timeout_ms == 0 ||
	    s->id.task >= (uint64_t)conf->max_messages_per_session || sc_session_is_used_up(s) ||
	    c->count >= (size_t)conf->max_sessions_idle ||
	    to_same_address(c, s) >= (size_t)conf->max_sessions_idle_per_host)
		return false;
	sm_hash_insert(&c->by_place, &s->node, place_hash(s->key, &s->sa));
	sm_list_push(&c->all, &s->idle);
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
	SM_LIST_FOR (s, &c->all, struct sc_session, idle) {
		if (sm_sa_eq(&s->sa, sa)) {
			drop(c, s, true);
			break;
		}
	}
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
