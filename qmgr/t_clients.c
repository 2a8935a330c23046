/* Limits of client addresses under a clock that the test moves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "qmgr/clients.h"

static struct sm_sa ip(const char *text)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 4000), 0);
	return sa;
}

static void open_sessions(void **state)
{
	struct sm_sa a = ip("192.0.2.1"), b = ip("192.0.2.2"), mapped = ip("::ffff:192.0.2.1");
	struct qm_client *held[3], *other, *no;
	struct qm_clients c;

	(void)state;
	qm_clients_init(&c, 3, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(qm_client_open(&c, &a, 0, &held[i]), QM_CLIENT_OK);
	assert_int_equal(qm_client_open(&c, &a, 0, &no), QM_CLIENT_TOO_MANY);
	assert_null(no);
	assert_int_equal(qm_client_open(&c, &mapped, 0, &no),
	                 QM_CLIENT_TOO_MANY); /* the same host in other clothes */
	assert_int_equal(qm_client_open(&c, &b, 0, &other), QM_CLIENT_OK);
	qm_client_close(&c, held[1]);
	assert_int_equal(qm_client_open(&c, &a, 0, &held[1]), QM_CLIENT_OK);
	qm_clients_fini(&c);
}

static void rate_slides(void **state)
{
	struct sm_sa a = ip("2001:db8::1");
	struct qm_client *cl;
	struct qm_clients c;
	unsigned ok = 0;

	(void)state;
	qm_clients_init(&c, 0, 10);
	for (int i = 0; i < 50; i++) {
		if (qm_client_open(&c, &a, 1000, &cl) == QM_CLIENT_OK)
			ok++;
		qm_client_close(&c, cl);
	}
	assert_int_equal(ok, 10);
	/* Half a minute into the next one half of the last still counts. */
	ok = 0;
	for (int i = 0; i < 50; i++) {
		if (qm_client_open(&c, &a, 91000, &cl) == QM_CLIENT_OK)
			ok++;
		qm_client_close(&c, cl);
	}
	assert_int_equal(ok, 5);
	assert_int_equal(qm_client_open(&c, &a, 1000000, &cl), QM_CLIENT_OK);
	qm_client_close(&c, cl);
	qm_clients_fini(&c);
}

static void the_quiet_are_forgotten(void **state)
{
	struct qm_client *cl;
	struct qm_clients c;
	char text[32];

	(void)state;
	qm_clients_init(&c, 5, 5);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "10.0.%d.%d", i / 250, i % 250);
		struct sm_sa sa = ip(text);

		assert_int_equal(qm_client_open(&c, &sa, 0, &cl), QM_CLIENT_OK);
		qm_client_close(&c, cl);
	}
	assert_int_equal(qm_clients_count(&c), 1000);
	struct sm_sa one = ip("10.9.9.9");

	for (int i = 0; i < 300; i++) {
		if (qm_client_open(&c, &one, 200000, &cl) == QM_CLIENT_OK)
			qm_client_close(&c, cl);
	}
	assert_int_equal(qm_clients_count(&c), 1);
	qm_clients_fini(&c);
}

static void unix_clients_are_not_counted(void **state)
{
	struct qm_client *cl;
	struct qm_clients c;
	struct sm_sa sa;

	(void)state;
	assert_int_equal(sm_sa_unix(&sa, SM_STR("/x")), 0);
	qm_clients_init(&c, 1, 1);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(qm_client_open(&c, &sa, 0, &cl), QM_CLIENT_OK);
		assert_null(cl);
	}
	qm_client_close(&c, NULL);
	qm_clients_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(open_sessions),
	    cmocka_unit_test(rate_slides),
	    cmocka_unit_test(the_quiet_are_forgotten),
	    cmocka_unit_test(unix_clients_are_not_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
