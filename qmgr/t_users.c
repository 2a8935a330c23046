/* Limits of authenticated users under a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "qmgr/users.h"

static struct qm_users make(uint64_t messages, uint64_t rcpts)
{
	struct qm_users u;

	qm_users_init(&u);
	u.max_messages = messages;
	u.max_rcpts = rcpts;
	u.period_ms = 1000;
	u.max_entries = 10;
	return u;
}

/* The lists point to where they were made. */
#define USERS(name, messages, rcpts)                      \
	struct qm_users name = make((messages), (rcpts)); \
	sm_list_init(&name.lru);                          \
	sm_list_init(&name.over)

static enum qm_user_verdict take(struct qm_users *u, const char *name, uint32_t rcpts, int64_t now)
{
	return qm_users_take(u, sm_str(name), rcpts, now);
}

static void messages(void **state)
{
	USERS(u, 3, 0);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(take(&u, "bob", 100, 0), QM_USER_OK);
	assert_int_equal(take(&u, "bob", 1, 10), QM_USER_OVER_TELL);
	assert_int_equal(take(&u, "BOB", 1, 20), QM_USER_OVER); /* told once; case is folded */
	assert_int_equal(take(&u, "alice", 1, 20), QM_USER_OK);
	assert_int_equal(u.over_count, 1);
	assert_int_equal(u.refused, 2);
	/* The period slides: at half of the next one, half of the three count. */
	assert_int_equal(take(&u, "bob", 1, 1000), QM_USER_OVER);
	assert_int_equal(take(&u, "bob", 1, 1500), QM_USER_OK);
	assert_int_equal(u.over_count, 0);
	assert_int_equal(take(&u, "bob", 1, 1500), QM_USER_OK);
	assert_int_equal(take(&u, "bob", 1, 1500), QM_USER_OVER_TELL);
	assert_int_equal(take(&u, "bob", 1, 9000), QM_USER_OK);
	qm_users_fini(&u);
}

static void recipients(void **state)
{
	USERS(u, 0, 100);

	(void)state;
	assert_int_equal(take(&u, "bob", 60, 0), QM_USER_OK);
	assert_int_equal(take(&u, "bob", 41, 0), QM_USER_OVER_TELL);
	assert_int_equal(take(&u, "bob", 40, 0), QM_USER_OK); /* what fits is taken */
	assert_int_equal(take(&u, "bob", 1, 0), QM_USER_OVER);
	assert_int_equal(take(&u, "bob", 100, 5000), QM_USER_OK);
	/* A limit that is taken away. */
	u.max_rcpts = 0;
	assert_int_equal(take(&u, "bob", 1000, 5000), QM_USER_OK);
	qm_users_fini(&u);
}

struct seen {
	size_t n;
	struct qm_user_stat s[20];
};

static void see(void *arg, const struct qm_user_stat *s)
{
	struct seen *seen = arg;

	seen->s[seen->n++] = *s;
}

static void listed(void **state)
{
	USERS(u, 2, 0);
	struct seen seen = {0};

	(void)state;
	for (int i = 0; i < 3; i++)
		(void)take(&u, "eve", 2, i);
	(void)take(&u, "bob", 5, 10);
	(void)take(&u, "alice", 7, 20);
	assert_int_equal(qm_users_list(&u, 30, 20, see, &seen), 3);
	assert_true(sm_str_eq(seen.s[0].name, SM_STR("eve")) && seen.s[0].over);
	assert_int_equal(seen.s[0].messages, 2);
	assert_int_equal(seen.s[0].rcpts, 4);
	assert_int_equal(seen.s[0].refused, 1);
	assert_true(sm_str_eq(seen.s[1].name, SM_STR("alice")) && !seen.s[1].over);
	assert_true(sm_str_eq(seen.s[2].name, SM_STR("bob")));
	seen.n = 0;
	assert_int_equal(qm_users_list(&u, 30, 2, see, &seen), 2);
	assert_true(sm_str_eq(seen.s[1].name, SM_STR("alice")));
	/* Forgotten: as if nothing had been. */
	assert_true(qm_users_forget(&u, SM_STR("Eve")));
	assert_false(qm_users_forget(&u, SM_STR("eve")));
	assert_int_equal(u.over_count, 0);
	assert_int_equal(take(&u, "eve", 1, 30), QM_USER_OK);
	seen.n = 0;
	assert_int_equal(qm_users_list(&u, 900000, 20, see, &seen), 3);
	assert_int_equal(seen.s[0].messages, 0);
	qm_users_fini(&u);
}

static void bounded(void **state)
{
	USERS(u, 1, 0);
	char name[QM_USER_MAX + 50];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "user%d", i);
		assert_int_equal(take(&u, name, 1, 0), QM_USER_OK);
		/* Who goes on stays, and stays over. */
		(void)take(&u, "busy", 1, 0);
		assert_true(qm_users_count(&u) <= 10);
	}
	assert_int_equal(take(&u, "busy", 1, 0), QM_USER_OVER);
	assert_int_equal(u.over_count, 1);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(take(&u, name, 1, 0), QM_USER_OK);
	assert_int_equal(take(&u, name, 1, 0), QM_USER_OVER_TELL);
	qm_users_fini(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages),
	    cmocka_unit_test(recipients),
	    cmocka_unit_test(listed),
	    cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
