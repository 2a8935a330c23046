/* Kept sessions: which ones, how many, how long. */
#include "smtpc/t_smtpc.h"

static const char *const hello = "> 220 x\n< EHLO client.example\n> 250 ok\n";
static struct sc_session *sessions[4];

static void open_one(size_t i, const char *key)
{
	const struct sc_open how = {
	    .host = &W.hosts[0], .key = sm_str(key), .end_ms = sm_loop_now_ms() + T_PATIENCE_MS};
	struct sc_why why;

	assert_int_equal(sc_session_open(&W.sc, &how, &why, &sessions[i]), 0);
}

static char script[2000];

static void start(int connections, void (*fn)(void *))
{
	const char *scripts[] = {script};

	script[0] = '\0';
	for (int i = 0; i < connections; i++)
		(void)snprintf(script + strlen(script), sizeof(script) - strlen(script), "%s---\n",
		               hello);
	t_begin(1, scripts);
	t_spawn(t_server, &W.host[0]);
	t_spawn(fn, NULL);
}

static void finish(void)
{
	/* All connections of the script come to be, one after the other. */
	t_run_all();
	assert_string_equal(W.host[0].error, "");
	t_end();
}

static void by_place(void *arg)
{
	struct sm_sa other = W.hosts[0].sa;

	(void)arg;
	sm_sa_set_port(&other, 1);
	open_one(0, "a");
	assert_true(sc_cache_put(&W.sc.cache, sessions[0]));
	assert_null(sc_cache_take(&W.sc.cache, SM_STR("b"), &W.hosts[0].sa));
	assert_null(sc_cache_take(&W.sc.cache, SM_STR("a"), &other));
	struct sc_session *s = sc_cache_take(&W.sc.cache, SM_STR("a"), &W.hosts[0].sa);
	assert_ptr_equal(s, sessions[0]);
	assert_true(s->reused);
	assert_null(sc_cache_take(&W.sc.cache, SM_STR("a"), &W.hosts[0].sa));
	assert_int_equal(W.gone, 0);
	sc_session_quit(&s);
	assert_null(s);
}

static void test_by_place(void **state)
{
	(void)state;
	start(1, by_place);
	finish();
}

static void limits(void *arg)
{
	(void)arg;
	open_one(0, "a");
	sessions[0]->id.task = 100;
	assert_false(sc_cache_put(&W.sc.cache, sessions[0])); /* used up */
	sessions[0]->id.task = 99;
	sessions[0]->broken = true;
	assert_false(sc_cache_put(&W.sc.cache, sessions[0]));
	sessions[0]->broken = false;
	W.conf.session_idle_timeout_ms = 0;
	assert_false(sc_cache_put(&W.sc.cache, sessions[0]));
	W.conf.session_idle_timeout_ms = 1000;
	W.conf.max_sessions_idle = 0;
	assert_false(sc_cache_put(&W.sc.cache, sessions[0]));
	W.conf.max_sessions_idle = 1;
	W.conf.max_sessions_idle_per_host = 0;
	assert_false(sc_cache_put(&W.sc.cache, sessions[0]));
	W.conf.max_sessions_idle_per_host = 1;
	W.sc.draining = true;
	assert_false(sc_cache_put(&W.sc.cache, sessions[0]));
	W.sc.draining = false;
	assert_true(sc_cache_put(&W.sc.cache, sessions[0]));
	assert_int_equal(W.sc.cache.count, 1);
	sc_cache_quit_all(&W.sc.cache);
	assert_int_equal(W.sc.cache.count, 0);
	assert_int_equal(W.gone, 1);
}

static void test_limits(void **state)
{
	(void)state;
	start(1, limits);
	finish();
}

static void idle(void *arg)
{
	(void)arg;
	W.conf.session_idle_timeout_ms = 20;
	open_one(0, "a");
	assert_true(sc_cache_put(&W.sc.cache, sessions[0]));
	int64_t end = sm_now_ms() + T_PATIENCE_MS;
	while (W.gone == 0 && sm_now_ms() < end)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	assert_int_equal(W.gone, 1);
	assert_null(sc_cache_take(&W.sc.cache, SM_STR("a"), &W.hosts[0].sa));
}

static void test_idle_timeout(void **state)
{
	(void)state;
	start(1, idle);
	finish();
}

/* The server ends it: qmgr hears at once, and nobody gets the dead one. */
static void server_closes(void *arg)
{
	(void)arg;
	open_one(0, "a");
	assert_int_equal(
	    sm_net_write(&sessions[0]->net, "NOOP\r\n", 6, sm_loop_now_ms() + T_PATIENCE_MS), 0);
	assert_true(sc_cache_put(&W.sc.cache, sessions[0]));
	int64_t end = sm_now_ms() + T_PATIENCE_MS;
	while (W.gone == 0 && sm_now_ms() < end)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	assert_int_equal(W.gone, 1);
	assert_int_equal(W.sc.cache.count, 0);
}

static void test_server_closes(void **state)
{
	static const char *const scripts[] = {
	    "> 220 x\n< EHLO client.example\n> 250 ok\n< NOOP\n> 421 idle\nx\n"};

	(void)state;
	t_begin(1, scripts);
	t_spawn(t_server, &W.host[0]);
	t_spawn(server_closes, NULL);
	finish();
}

/* The server's good-bye is there, but the loop has not seen it yet when the session is wanted. */
static void unseen(void *arg)
{
	char c;

	(void)arg;
	open_one(0, "a");
	assert_int_equal(
	    sm_net_write(&sessions[0]->net, "NOOP\r\n", 6, sm_loop_now_ms() + T_PATIENCE_MS), 0);
	while (recv(sessions[0]->net.f.fd, &c, 1, MSG_PEEK) != 1)
		sm_co_yield();
	assert_true(sc_cache_put(&W.sc.cache, sessions[0]));
	assert_null(sc_cache_take(&W.sc.cache, SM_STR("a"), &W.hosts[0].sa));
	assert_int_equal(W.gone, 1);
}

static void test_unseen_goodbye(void **state)
{
	static const char *const scripts[] = {
	    "> 220 x\n< EHLO client.example\n> 250 ok\n< NOOP\n> 421 idle\n"};

	(void)state;
	t_begin(1, scripts);
	t_spawn(t_server, &W.host[0]);
	t_spawn(unseen, NULL);
	finish();
}

/* The host sees no more connections than qmgr allows: a new one waits until the old one is closed.
 */
static void makes_room(void *arg)
{
	(void)arg;
	open_one(0, "a");
	assert_true(sc_cache_put(&W.sc.cache, sessions[0]));
	sc_cache_give_way(&W.sc.cache, &W.hosts[0].sa);
	assert_int_equal(W.gone, 1);
	assert_null(sc_cache_leaving(&W.sc.cache, &W.hosts[0].sa));
	open_one(1, "b");
	sc_session_quit(&sessions[1]);
	W.conf.timeouts.quit_ms = 1; /* this one does not answer QUIT */
	sc_cache_give_way(&W.sc.cache, &W.hosts[0].sa);
}

static void test_makes_room(void **state)
{
	static const char *const scripts[] = {
	    "> 220 x\n< EHLO client.example\n> 250 ok\n< QUIT\n> 221 bye\n---\n"
	    "> 220 x\n< EHLO client.example\n> 250 ok\n< QUIT\n"};

	(void)state;
	t_begin(1, scripts);
	t_spawn(t_server, &W.host[0]);
	t_spawn(makes_room, NULL);
	finish();
}

/* An address is known exactly while something idles there, or leaves and is not waited for: so
 * nobody ever has to look through sessions to other places. */
static void addresses(void *arg)
{
	struct sc_cache *c = &W.sc.cache;
	const struct sm_sa *sa = &W.hosts[0].sa;
	struct sc_session *s;

	(void)arg;
	open_one(0, "a");
	assert_int_equal(c->by_address.count, 0);
	assert_true(sc_cache_put(c, sessions[0]));
	assert_int_equal(c->by_address.count, 1);
	assert_int_equal(sessions[0]->at->idle_count, 1);
	s = sc_cache_take(c, SM_STR("a"), sa);
	assert_ptr_equal(s, sessions[0]);
	assert_null(s->at);
	assert_int_equal(c->by_address.count, 0);
	sc_session_quit(&s);
	assert_ptr_equal(sc_cache_leaving(c, sa), sessions[0]);
	assert_int_equal(c->by_address.count, 1);
	/* Waited for: no other may wait for it. */
	sc_cache_left(c, sessions[0]);
	assert_null(sc_cache_leaving(c, sa));
	assert_int_equal(c->by_address.count, 0);
	sc_cache_leaves(c, sessions[0]);
	while (sc_cache_leaving(c, sa) != NULL)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	assert_int_equal(c->by_address.count, 0);
}

static void test_addresses(void **state)
{
	(void)state;
	start(1, addresses);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_by_place),       cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_idle_timeout),   cmocka_unit_test(test_server_closes),
	    cmocka_unit_test(test_unseen_goodbye), cmocka_unit_test(test_makes_room),
	    cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
