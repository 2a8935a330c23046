/* The configuration language: mcp's table of services, and how it splits their arguments. */
#include "libsm/t_conf.h"

#include <string.h>

#include "libsm/buf.h"
#include "libsm/conf_mcp.h"

static int bind_service(const char *text, struct sm_conf_service *s, struct sm_arena *a)
{
	struct sm_conf_file f;
	int rc;

	sm_arena_init(a, "test", 1024, 1 << 20);
	sm_conf_defaults(sm_conf_mcp_opts, s, a);
	assert_int_equal(sm_conf_parse(&f, "f", sm_str(text)), 0);
	rc = sm_conf_bind(&f, f.root.first, sm_conf_mcp_opts, sm_conf_any, s, a);
	if (rc == 0)
		rc = sm_conf_mcp_check(&f, f.root.first, s);
	sm_conf_free(&f);
	return rc;
}

static void services(void **state)
{
#define RUN " path = /bin/x; arguments = \"x -f y\"; "
	static const struct {
		const char *text, *diag; /* diag NULL: good */
	} t[] = {
	    {"qmgr { start_action = wait;" RUN "AQ_max_entries = 5; }", NULL},
	    {"s { start_action = pass; listen_socket { port = 25; } listen_socket { type = inet6; "
	     "address = ::1; port = 25; }" RUN "}",
	     NULL},
	    {"s { start_action = accept; listen_socket { type = unix; path = lmtpsock; umask = "
	     "007; user = u; group = g; }" RUN "}",
	     NULL},
	    {"s { start_action = nostartaccept; listen_socket { address = 127.0.0.1; port = 25; "
	     "}" RUN "}",
	     NULL},
	    {"s { " RUN "}", "f:1: section s has no start_action, which is required"},
	    {"s { start_action = wait; }", "f:1: section s has no path, which is required"},
	    {"s { start_action = wait; path = x; arguments = \" \"; }",
	     "f:1: arguments: must begin with the name of the program"},
	    {"s { start_action = wait; path = x; arguments = \"x 'y\"; }",
	     "f:1: arguments: missing ' at the end"},
	    {"s { start_action = pass;" RUN "}",
	     "f:1: start_action other than wait needs a listen_socket"},
	    {"s { start_action = pass; listen_socket { }" RUN "}",
	     "f:1: listen_socket needs a port"},
	    {"s { start_action = pass; listen_socket { port = 70000; }" RUN "}",
	     "f:1: port = 70000 is out of range: 0 to 65535"},
	    {"s { start_action = pass; listen_socket { type = unix; }" RUN "}",
	     "f:1: listen_socket of type unix needs a path"},
	    {"s { start_action = pass; listen_socket { type = unix; path = p; port = 1; }" RUN "}",
	     "f:1: listen_socket of type unix has neither address nor port"},
	    {"s { start_action = pass; listen_socket { path = p; port = 1; }" RUN "}",
	     "f:1: listen_socket with a path must have type = unix"},
	    {"s { start_action = pass; listen_socket { address = here; port = 1; }" RUN "}",
	     "f:1: \"here\" is no IP address"},
	    {"s { start_action = pass; listen_socket { address = ::1; port = 1; }" RUN "}",
	     "f:1: address ::1 does not go with type = inet"},
	    {"s { start_action = wait; min_processes = 3; max_processes = 2;" RUN "}",
	     "f:1: min_processes 3 is above max_processes 2"},
	    {"s { start_action = wait; pass_fd_socket = x;" RUN "}",
	     "f:1: pass_fd_socket goes with start_action = pass only"},
	    {"s { start_action = wait; max_start_rate = 5;" RUN "}",
	     "f:1: max_start_rate and max_run_time go with start_action = nostartaccept only"},
	    {"s { start_action = wait; max_run_time = 5m;" RUN "}",
	     "f:1: max_start_rate and max_run_time go with start_action = nostartaccept only"},
	    {"s { start_action = run;" RUN "}",
	     "f:1: start_action knows no \"run\", only wait, nostartaccept, accept, pass"},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		struct sm_conf_service s;
		struct sm_arena a;
		int rc = bind_service(t[i].text, &s, &a);
		if ((rc == 0) != (t[i].diag == NULL) ||
		    (rc != 0 && strcmp(sm_diag(), t[i].diag) != 0))
			fail_msg("%s: %d %s", t[i].text, rc, rc != 0 ? sm_diag() : "");
		sm_arena_fini(&a);
	}
}

static void argv_splits(void **state)
{
	static const struct {
		const char *text;
		const char *words[6];
	} t[] = {
	    {"qmgr -f /etc/smx/smx.conf", {"qmgr", "-f", "/etc/smx/smx.conf"}},
	    {"  a\t b\n", {"a", "b"}},
	    {"a 'b c' \"d 'e\"f g''h", {"a", "b c", "d 'ef", "gh"}},
	    {"a '' b", {"a", "", "b"}},
	};
	char *argv[SM_CONF_ARGV_MAX];
	struct sm_arena a;
	struct sm_buf b;

	(void)state;
	sm_arena_init(&a, "test", 1024, 1 << 20);
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		int n = sm_conf_mcp_argv(sm_str(t[i].text), &a, argv);
		for (int k = 0; k < n; k++)
			assert_string_equal(argv[k], t[i].words[k]);
		assert_null(t[i].words[n]);
		assert_null(argv[n]);
	}
	sm_buf_init(&b, 1000);
	for (int i = 0; i < SM_CONF_ARGV_MAX - 1; i++)
		sm_buf_cstr(&b, "x ");
	assert_int_equal(sm_conf_mcp_argv(sm_buf_view(&b), &a, argv), SM_CONF_ARGV_MAX - 1);
	sm_buf_cstr(&b, "x");
	assert_int_equal(sm_conf_mcp_argv(sm_buf_view(&b), &a, argv), SM_E_TOOBIG);
	sm_buf_fini(&b);
	sm_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(services),
	    cmocka_unit_test(argv_splits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
