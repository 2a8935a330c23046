/* Limits of failed attempts, under a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtps/auth.h"
#include "smtps/authlimit.h"

static const struct ss_auth_conf conf = {
    .delay_ms = 1000,
    .max_delay_ms = 8000,
    .window_ms = 600000,
    .max_client = 6,
    .max_user = 10,
    .max_entries = 4,
};

static struct sm_sa ip(const char *text)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 25), 0);
	return sa;
}

static int64_t fail_once(struct ss_authlimit *l, const char *client, const char *user, int64_t now)
{
	struct sm_sa sa = ip(client);

	return ss_authlimit_failed(l, &conf, &sa, sm_str(user), now);
}

/* When a client may begin; -1: never. */
static int64_t turn(struct ss_authlimit *l, const char *client, int64_t now)
{
	struct sm_sa sa = ip(client);
	int64_t at;

	return ss_authlimit_client(l, &conf, &sa, now, &at) ? at : -1;
}

static int64_t user_turn(struct ss_authlimit *l, const char *client, const char *user, int64_t now)
{
	struct sm_sa sa = ip(client);
	int64_t at;

	return ss_authlimit_user(l, &conf, &sa, sm_str(user), now, &at) ? at : -1;
}

static void delays_double(void **state)
{
	struct ss_authlimit l;
	int64_t now = 5000;

	(void)state;
	ss_authlimit_init(&l);
	assert_int_equal(turn(&l, "192.0.2.1", now), now);
	assert_int_equal(fail_once(&l, "192.0.2.1", "bob", now), 1000);
	assert_int_equal(fail_once(&l, "192.0.2.1", "bob", now), 2000);
	assert_int_equal(fail_once(&l, "192.0.2.1", "bob", now), 4000);
	assert_int_equal(fail_once(&l, "192.0.2.1", "bob", now), 8000);
	assert_int_equal(fail_once(&l, "192.0.2.1", "bob", now), 8000); /* the most */
	assert_int_equal(turn(&l, "192.0.2.2", now), now);              /* somebody else */
	assert_int_equal(fail_once(&l, "192.0.2.2", "eve", now), 1000);
	ss_authlimit_fini(&l);
}

/* However many sessions: their attempts begin one after the other, and who would wait too long is
 * refused. */
static void turns(void **state)
{
	struct ss_authlimit l;

	(void)state;
	ss_authlimit_init(&l);
	(void)fail_once(&l, "192.0.2.1", "", 0);
	(void)fail_once(&l, "192.0.2.1", "", 0);
	assert_int_equal(turn(&l, "192.0.2.1", 0), 2000);
	assert_int_equal(turn(&l, "192.0.2.1", 0), 4000);
	assert_int_equal(turn(&l, "::ffff:192.0.2.1", 0), 6000); /* the same in other clothes */
	assert_int_equal(turn(&l, "192.0.2.1", 0), 8000);
	assert_int_equal(turn(&l, "192.0.2.1", 0), -1);
	assert_int_equal(turn(&l, "192.0.2.1", 9000), 10000); /* nobody took the turn in vain */
	assert_int_equal(turn(&l, "192.0.2.1", 60000), 60000);
	ss_authlimit_fini(&l);
}

static void too_many(void **state)
{
	struct ss_authlimit l;

	(void)state;
	ss_authlimit_init(&l);
	for (int i = 0; i < 6; i++)
		(void)fail_once(&l, "192.0.2.1", "", 0);
	assert_int_equal(turn(&l, "192.0.2.1", 300000), -1);
	/* Half of the next window: half of them count, and their delay. */
	assert_int_equal(turn(&l, "192.0.2.1", 900000), 900000);
	assert_int_equal(turn(&l, "192.0.2.1", 900000), 904000);
	assert_int_equal(turn(&l, "192.0.2.1", 1300000), 1300000);
	assert_int_equal(turn(&l, "192.0.2.1", 1300000), 1300000); /* forgotten */
	ss_authlimit_fini(&l);
}

static void networks(void **state)
{
	struct ss_authlimit l;
	struct sm_sa local;
	int64_t at = -1;

	(void)state;
	ss_authlimit_init(&l);
	(void)fail_once(&l, "2001:db8:1:2::1", "", 0);
	assert_int_equal(turn(&l, "2001:db8:1:2:ffff::9", 0), 1000); /* the same /64 */
	assert_int_equal(turn(&l, "2001:db8:1:3::1", 0), 0);
	assert_int_equal(sm_sa_unix(&local, SM_STR("/x")), 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(ss_authlimit_failed(&l, &conf, &local, SM_STR(""), 0), 1000);
	assert_true(ss_authlimit_client(&l, &conf, &local, 0, &at));
	assert_int_equal(at, 0);
	ss_authlimit_fini(&l);
}

/* Guessers all over the world do not keep a user out from where he is known. */
static void users(void **state)
{
	struct ss_authlimit l;
	struct sm_sa home = ip("198.51.100.7");
	char client[32];

	(void)state;
	ss_authlimit_init(&l);
	ss_authlimit_passed(&l, &conf, &home, SM_STR("bob"), 0);
	for (int i = 1; i <= 9; i++) {
		(void)snprintf(client, sizeof(client), "192.0.2.%d", i);
		(void)fail_once(&l, client, "bob", 0);
	}
	assert_int_equal(user_turn(&l, "192.0.2.99", "bob", 0), 8000);
	(void)fail_once(&l, "192.0.2.10", "bob", 0);
	assert_int_equal(user_turn(&l, "192.0.2.99", "bob", 9000), -1);
	assert_int_equal(user_turn(&l, "192.0.2.99", "alice", 9000), 9000);
	assert_int_equal(user_turn(&l, "198.51.100.7", "bob", 9000), 9000);
	assert_int_equal(user_turn(&l, "198.51.100.8", "bob", 9000), -1);
	assert_int_equal(user_turn(&l, "192.0.2.99", "", 9000), 9000); /* name not known */
	ss_authlimit_fini(&l);
}

static void bounded(void **state)
{
	struct ss_authlimit l;
	char name[SS_AUTH_USER_MAX + 2], client[32];

	(void)state;
	ss_authlimit_init(&l);
	(void)fail_once(&l, "203.0.113.9", "first", 0);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(client, sizeof(client), "10.0.0.%d", i);
		(void)snprintf(name, sizeof(name), "user%d", i);
		(void)fail_once(&l, client, name, 0);
		/* Who is used stays. */
		(void)fail_once(&l, "203.0.113.9", "", 0);
	}
	assert_int_equal(l.clients.by_key.count, 4);
	assert_int_equal(l.users.by_key.count, 4);
	assert_int_equal(turn(&l, "203.0.113.9", 0), -1);
	assert_int_equal(user_turn(&l, "10.1.1.1", "first", 0), 0); /* forgotten */
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(user_turn(&l, "10.1.1.1", name, 0), 0);
	(void)fail_once(&l, "10.1.1.1", name, 0);
	assert_int_equal(l.users.by_key.count, 4);
	ss_authlimit_fini(&l);
}

/* Whatever a check took, what is seen is a multiple of the delay. */
static void answers(void **state)
{
	(void)state;
	assert_int_equal(ss_authlimit_answer_at(100, 1000, 101), 1100);
	assert_int_equal(ss_authlimit_answer_at(100, 1000, 100), 1100);
	assert_int_equal(ss_authlimit_answer_at(100, 1000, 1100), 1100);
	assert_int_equal(ss_authlimit_answer_at(100, 1000, 1101), 2100);
	assert_int_equal(ss_authlimit_answer_at(100, 1000, 3500), 4100);
	assert_int_equal(ss_authlimit_answer_at(100, 0, 3500), 3500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(delays_double), cmocka_unit_test(turns), cmocka_unit_test(too_many),
	    cmocka_unit_test(networks),      cmocka_unit_test(users), cmocka_unit_test(bounded),
	    cmocka_unit_test(answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
