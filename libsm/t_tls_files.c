/* TLS: contexts from a configuration, and the files they are made of. */
#include "libsm/t_tls.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/priv.h"

static int try_server(const struct sm_tls_conf *c)
{
	struct sm_tls_ctx *ctx;
	int rc = sm_tls_server_new(c, "smtps", &ctx);

	if (rc == 0)
		sm_tls_ctx_unref(&ctx);
	assert_null(ctx);
	return rc;
}

static void refused(const struct sm_tls_conf *c, int rc, const char *why)
{
	assert_int_equal(try_server(c), rc);
	if (strstr(sm_diag(), why) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", why, sm_diag());
}

static void test_files(void **state)
{
	struct sm_tls_conf c = t_server_conf();

	(void)state;
	assert_int_equal(try_server(&c), 0);
	c.cert_file = t_list("both.pem", NULL);
	c.key_file.count = 0;
	assert_int_equal(try_server(&c), 0);
	c.ca_dir = t_at("cas");
	assert_int_equal(try_server(&c), 0);

	c.cert_file.count = 0;
	refused(&c, SM_E_SYNTAX, "needs a certificate");
	c = t_server_conf();
	c.key_file.count = 1;
	refused(&c, SM_E_SYNTAX, "there are 1 for 2");
	c = t_server_conf();
	c.cert_file.v[1] = t_at("none.pem");
	refused(&c, SM_E_NOTFOUND, "none.pem");
	c = t_server_conf();
	c.cert_file.v[1] = t_at("junk.pem");
	refused(&c, SM_E_SYNTAX, "junk.pem: there is no certificate");
	c = t_server_conf();
	c.key_file.v[1] = t_at("other.key");
	refused(&c, SM_E_TLS, "other.key is not for cert_file");
	c = t_server_conf();
	c.key_file.v[0] = t_at("locked.key");
	refused(&c, SM_E_TLS, "locked.key");
	c = t_server_conf();
	c.ca_file = t_at("junk.pem");
	refused(&c, SM_E_SYNTAX, "junk.pem");
	c.ca_file = SM_STR("");
	c.ca_dir = t_at("none");
	refused(&c, SM_E_NOTFOUND, "none");
	c = t_server_conf();
	c.ciphers = SM_STR("NOTHING-OF-THE-KIND");
	refused(&c, SM_E_TLS, "ciphers");
	c = t_server_conf();
	c.cert_file.v[0] = t_at("cas");
	refused(&c, SM_E_SYNTAX, "is no file");
}

static void test_key_of_others(void **state)
{
	struct sm_tls_conf c = t_server_conf();
	static const unsigned modes[] = {0604, 0644, 0620, 0602, 0660, 0610};
	char key[100];

	(void)state;
	assert_int_equal(sm_str_copy(t_at("ec.key"), key, sizeof(key)), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(modes); i++) {
		assert_int_equal(chmod(key, modes[i]), 0);
		if (modes[i] == 0610)
			continue;
		refused(&c, SM_E_DENIED, "others can");
	}
	assert_int_equal(chmod(key, 0640), 0);
	assert_int_equal(try_server(&c), geteuid() == 0 ? 0 : SM_E_DENIED);
	assert_int_equal(chmod(key, 0400), 0);
	assert_int_equal(try_server(&c), 0);
	assert_int_equal(chmod(key, 0600), 0);
}

/* What mcp has opened is read instead of the file, again and again. */
static void test_handed_over(void **state)
{
	struct sm_tls_conf c = t_server_conf();
	char key[100];

	(void)state;
	c.key_file.v[0] = SM_STR("/not/there.key");
	refused(&c, SM_E_NOTFOUND, "/not/there.key");
	assert_int_equal(sm_str_copy(t_at("ec.key"), key, sizeof(key)), 0);
	assert_int_equal(sm_tls_file("/not/there.key", open(key, O_RDONLY)), 0);
	assert_int_equal(try_server(&c), 0);
	assert_int_equal(try_server(&c), 0);
	assert_int_equal(sm_str_copy(t_at("rsa.key"), key, sizeof(key)), 0);
	assert_int_equal(sm_tls_file("/not/there.key", open(key, O_RDONLY)), 0);
	refused(&c, SM_E_TLS, "/not/there.key is not for");
	sm_tls_cleanup();
	refused(&c, SM_E_NOTFOUND, "/not/there.key");
}

static void test_paths(void **state)
{
	struct sm_tls_conf c = t_server_conf();
	struct sm_priv_path out[8];
	char link[100], target[100];
	size_t n;

	(void)state;
	assert_int_equal(sm_str_copy(t_at("cas/link.pem"), link, sizeof(link)), 0);
	assert_int_equal(sm_str_copy(t_at("ec.pem"), target, sizeof(target)), 0);
	assert_int_equal(symlink(target, link), 0);
	c.cert_file = t_list("cas/link.pem", NULL);
	c.key_file.count = 0;
	c.ca_file = SM_STR("");
	n = sm_tls_paths(&c, &t_arena, out, SM_ARRAY_SIZE(out));
	assert_int_equal(n, 2);
	assert_true(sm_str_eq(sm_str(out[0].path), t_at("cas")));
	assert_string_equal(out[1].path, t_tls_dir);
	assert_int_equal(out[0].rights, SM_PATH_READ);
	assert_int_equal(sm_tls_paths(&c, &t_arena, out, 1), 1);
	c = (struct sm_tls_conf){.ca_dir = t_at("cas")};
	assert_int_equal(sm_tls_paths(&c, &t_arena, out, SM_ARRAY_SIZE(out)), 2);
	assert_int_equal(unlink(link), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_key_of_others),
	    cmocka_unit_test(test_handed_over),
	    cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, t_tls_setup, t_tls_teardown);
}
