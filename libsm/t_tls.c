/* TLS: both ends in one process, over a socket pair or over bytes made by hand; the certificates
 * are made by the openssl program. */
#include "libsm/t_co.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libsm/priv.h"
#include "libsm/tls.h"

static char dir[] = "/tmp/t_tls.XXXXXX";
static struct sm_arena arena;

/* A CA, a server's ECDSA key, the same name with RSA, another name, and clients' certificates. */
static const char make[] =
    "exec >/dev/null 2>&1; set -e; umask 077\n"
    "ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256'\n"
    "openssl req -x509 $ec -nodes -keyout ca.key -out ca.pem -days 30 -subj '/C=US/CN=Test CA'\n"
    "cert() { name=$1 subj=$2 ext=$3; shift 3\n"
    "  openssl req \"$@\" -nodes -keyout $name.key -out $name.csr -subj \"$subj\"\n"
    "  printf '%s' \"$ext\" >$name.ext\n"
    "  openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 \\\n"
    "    -extfile $name.ext -out $name.pem; }\n"
    "cert ec /CN=mx.test subjectAltName=DNS:mx.test,DNS:*.wild.test,IP:127.0.0.1 $ec\n"
    "cert rsa /CN=mx.test subjectAltName=DNS:mx.test -newkey rsa:2048\n"
    "cert other /CN=other.test '' $ec\n"
    "cert client '/C=US/O=a\\/b/CN=Darth Mail (Cert)/emailAddress=darth\\+cert@endmail.org' '' "
    "$ec\n"
    "cert big /CN=mx.test subjectAltName=DNS:mx.test -newkey rsa:4096\n"
    "cert p521 /CN=mx.test subjectAltName=DNS:mx.test -newkey ec -pkeyopt "
    "ec_paramgen_curve:P-521\n"
    "openssl req -x509 $ec -nodes -keyout self.key -out self.pem -days 30 -subj /CN=self\n"
    "openssl ec -in ec.key -aes128 -passout pass:secret -out locked.key\n"
    "cat ec.pem ec.key >both.pem; mkdir cas; cp ca.pem cas/; ln -s ../self.pem cas/s; echo x "
    ">cas/x\n"
    "echo nonsense >junk.pem\n";

static struct sm_str at(const char *name)
{
	return sm_arena_printf(&arena, "%s/%s", dir, name);
}

static struct sm_conf_list list(const char *a, const char *b)
{
	struct sm_conf_list l = {.count = a == NULL   ? 0
	                                  : b == NULL ? 1
	                                              : 2,
	                         .v = sm_arena_must(&arena, 2 * sizeof(struct sm_str))};

	if (a != NULL)
		l.v[0] = at(a);
	if (b != NULL)
		l.v[1] = at(b);
	return l;
}

static struct sm_tls_conf server_conf(void)
{
	struct sm_tls_conf c;

	sm_conf_defaults(sm_tls_server_opts, &c, &arena);
	c.cert_file = list("ec.pem", "rsa.pem");
	c.key_file = list("ec.key", "rsa.key");
	c.ca_file = at("ca.pem");
	return c;
}

static struct sm_tls_conf client_conf(const char *cert)
{
	struct sm_tls_conf c;
	char key[32];

	sm_conf_defaults(sm_tls_client_opts, &c, &arena);
	if (cert != NULL) {
		(void)snprintf(key, sizeof(key), "%.*s.key", (int)strcspn(cert, "."), cert);
		c.cert_file = list(cert, NULL);
		c.key_file = list(key, NULL);
	}
	c.ca_file = at("ca.pem");
	return c;
}

/* ---- configurations ---- */

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
	struct sm_tls_conf c = server_conf();

	(void)state;
	assert_int_equal(try_server(&c), 0);
	c.cert_file = list("both.pem", NULL);
	c.key_file.count = 0;
	assert_int_equal(try_server(&c), 0);
	c.ca_dir = at("cas");
	assert_int_equal(try_server(&c), 0);

	c.cert_file.count = 0;
	refused(&c, SM_E_SYNTAX, "needs a certificate");
	c = server_conf();
	c.key_file.count = 1;
	refused(&c, SM_E_SYNTAX, "there are 1 for 2");
	c = server_conf();
	c.cert_file.v[1] = at("none.pem");
	refused(&c, SM_E_NOTFOUND, "none.pem");
	c = server_conf();
	c.cert_file.v[1] = at("junk.pem");
	refused(&c, SM_E_SYNTAX, "junk.pem: there is no certificate");
	c = server_conf();
	c.key_file.v[1] = at("other.key");
	refused(&c, SM_E_TLS, "other.key is not for cert_file");
	c = server_conf();
	c.key_file.v[0] = at("locked.key");
	refused(&c, SM_E_TLS, "locked.key");
	c = server_conf();
	c.ca_file = at("junk.pem");
	refused(&c, SM_E_SYNTAX, "junk.pem");
	c.ca_file = SM_STR("");
	c.ca_dir = at("none");
	refused(&c, SM_E_NOTFOUND, "none");
	c = server_conf();
	c.ciphers = SM_STR("NOTHING-OF-THE-KIND");
	refused(&c, SM_E_TLS, "ciphers");
	c = server_conf();
	c.cert_file.v[0] = at("cas");
	refused(&c, SM_E_SYNTAX, "is no file");
}

static void test_key_of_others(void **state)
{
	struct sm_tls_conf c = server_conf();
	static const unsigned modes[] = {0604, 0644, 0620, 0602, 0660, 0610};
	char key[100];

	(void)state;
	assert_int_equal(sm_str_copy(at("ec.key"), key, sizeof(key)), 0);
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
	struct sm_tls_conf c = server_conf();
	char key[100];

	(void)state;
	c.key_file.v[0] = SM_STR("/not/there.key");
	refused(&c, SM_E_NOTFOUND, "/not/there.key");
	assert_int_equal(sm_str_copy(at("ec.key"), key, sizeof(key)), 0);
	assert_int_equal(sm_tls_file("/not/there.key", open(key, O_RDONLY)), 0);
	assert_int_equal(try_server(&c), 0);
	assert_int_equal(try_server(&c), 0);
	assert_int_equal(sm_str_copy(at("rsa.key"), key, sizeof(key)), 0);
	assert_int_equal(sm_tls_file("/not/there.key", open(key, O_RDONLY)), 0);
	refused(&c, SM_E_TLS, "/not/there.key is not for");
	sm_tls_cleanup();
	refused(&c, SM_E_NOTFOUND, "/not/there.key");
}

static void test_paths(void **state)
{
	struct sm_tls_conf c = server_conf();
	struct sm_priv_path out[8];
	char link[100], target[100];
	size_t n;

	(void)state;
	assert_int_equal(sm_str_copy(at("cas/link.pem"), link, sizeof(link)), 0);
	assert_int_equal(sm_str_copy(at("ec.pem"), target, sizeof(target)), 0);
	assert_int_equal(symlink(target, link), 0);
	c.cert_file = list("cas/link.pem", NULL);
	c.key_file.count = 0;
	c.ca_file = SM_STR("");
	n = sm_tls_paths(&c, &arena, out, SM_ARRAY_SIZE(out));
	assert_int_equal(n, 2);
	assert_true(sm_str_eq(sm_str(out[0].path), at("cas")));
	assert_string_equal(out[1].path, dir);
	assert_int_equal(out[0].rights, SM_PATH_READ);
	assert_int_equal(sm_tls_paths(&c, &arena, out, 1), 1);
	c = (struct sm_tls_conf){.ca_dir = at("cas")};
	assert_int_equal(sm_tls_paths(&c, &arena, out, SM_ARRAY_SIZE(out)), 2);
	assert_int_equal(unlink(link), 0);
}

/* ---- two ends ---- */

struct ends {
	struct sm_net a, b; /* server, client */
	struct sm_tls_ctx *server, *client;
	struct sm_tls_peer peer;
	struct sm_tls_facts at_server, at_client;
	int server_rc, client_rc;
	bool talk; /* say something in both directions, so that tickets are read */
};

static void serve(void *arg)
{
	struct ends *e = arg;
	char c;

	e->server_rc = sm_tls_accept(&e->a, e->server, sm_loop_now_ms() + T_PATIENCE_MS);
	if (e->server_rc == 0) {
		sm_tls_facts(&e->a, &arena, &e->at_server);
		if (e->talk) {
			assert_int_equal(sm_net_write(&e->a, "220", 3, SM_NEVER), 0);
			assert_int_equal(sm_net_read(&e->a, &c, 1, SM_NEVER), 1);
		}
	}
	sm_net_close(&e->a);
}

static void dial(void *arg)
{
	struct ends *e = arg;
	char text[16];

	e->client_rc = sm_tls_connect(&e->b, e->client, &e->peer, sm_loop_now_ms() + T_PATIENCE_MS);
	if (e->client_rc == 0) {
		sm_tls_facts(&e->b, &arena, &e->at_client);
		if (e->talk) {
			assert_int_equal(sm_net_read(&e->b, text, sizeof(text), SM_NEVER), 3);
			assert_int_equal(sm_net_write(&e->b, "Q", 1, SM_NEVER), 0);
			assert_int_equal(sm_net_read(&e->b, text, sizeof(text), SM_NEVER),
			                 SM_E_EOF);
			/* And stays so. */
			assert_int_equal(sm_net_read(&e->b, text, sizeof(text), SM_NEVER),
			                 SM_E_EOF);
			assert_int_equal(sm_net_write(&e->b, "Q", 1, SM_NEVER), SM_E_EOF);
		}
	}
	sm_net_close(&e->b);
}

static void open_ends(struct ends *e)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(sm_net_open(&e->a, fd[0]), 0);
	assert_int_equal(sm_net_open(&e->b, fd[1]), 0);
}

static void meet(struct ends *e)
{
	open_ends(e);
	t_spawn(serve, e);
	t_spawn(dial, e);
	t_run_all();
}

static void both(struct ends *e, const struct sm_tls_conf *server, const struct sm_tls_conf *client)
{
	assert_int_equal(sm_tls_server_new(server, "smtps", &e->server), 0);
	assert_int_equal(sm_tls_client_new(client, &e->client), 0);
	e->talk = true;
}

static void fini(struct ends *e)
{
	sm_tls_ctx_unref(&e->server);
	sm_tls_ctx_unref(&e->client);
}

static void test_facts(void **state)
{
	struct sm_tls_conf s = server_conf(), c = client_conf("client.pem");
	struct ends e = {.peer = {.sni = SM_STR("mx.test"), .verify = true}};

	(void)state;
	both(&e, &s, &c);
	meet(&e);
	assert_int_equal(e.server_rc, 0);
	assert_int_equal(e.client_rc, 0);
	assert_string_equal(e.at_server.protocol, "TLSv1.3");
	assert_string_equal(e.at_server.cipher, "TLS_AES_256_GCM_SHA384");
	assert_int_equal(e.at_server.bits, 256);
	assert_false(e.at_server.resumed);
	assert_int_equal(e.at_server.verify, SM_TLS_OK);
	assert_true(sm_str_eq(e.at_server.issuer, SM_STR("/C=US/CN=Test+20CA")));
	assert_true(
	    sm_str_eq(e.at_server.subject, SM_STR("/C=US/O=a+2Fb/CN=Darth+20Mail+20+28Cert+29/"
	                                          "emailAddress=darth+2Bcert@endmail.org")));
	assert_true(sm_str_eq(e.at_server.name, SM_STR("Darth Mail (Cert)")));
	assert_true(sm_str_eq(e.at_server.sni, SM_STR("mx.test")));
	assert_int_equal(e.at_client.verify, SM_TLS_OK);
	assert_true(sm_str_eq(e.at_client.name, SM_STR("mx.test")));
	assert_true(sm_str_eq(e.at_client.subject, SM_STR("/CN=mx.test")));
	fini(&e);
}

static const struct {
	const char *server_ca, *client, *sni;
	bool verify;
	int rc;
	enum sm_tls_verify at_server, at_client;
} trust[] = {
    {"ca.pem", NULL, "mx.test", true, 0, SM_TLS_NO_CERT, SM_TLS_OK},
    {NULL, "client.pem", "mx.test", true, 0, SM_TLS_NONE, SM_TLS_OK},
    {"ca.pem", "self.pem", "a.wild.test", true, 0, SM_TLS_FAILED, SM_TLS_OK},
    {"ca.pem", NULL, "127.0.0.1", true, 0, SM_TLS_NO_CERT, SM_TLS_OK},
    {"ca.pem", NULL, "wrong.test", false, 0, SM_TLS_NO_CERT, SM_TLS_FAILED},
    {"ca.pem", NULL, "", false, 0, SM_TLS_NO_CERT, SM_TLS_FAILED},
    {"ca.pem", NULL, "wrong.test", true, SM_E_TLS, SM_TLS_NO_CERT, SM_TLS_FAILED},
    {"ca.pem", NULL, "a.b.wild.test", true, SM_E_TLS, SM_TLS_NO_CERT, SM_TLS_FAILED},
};

static void test_trust(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(trust); i++) {
		struct sm_tls_conf s = server_conf(), c = client_conf(trust[i].client);
		struct ends e = {.peer = {.sni = sm_str(trust[i].sni), .verify = trust[i].verify}};

		s.ca_file = trust[i].server_ca == NULL ? SM_STR("") : at(trust[i].server_ca);
		both(&e, &s, &c);
		e.talk = false;
		meet(&e);
		assert_int_equal(e.client_rc, trust[i].rc);
		if (trust[i].rc == 0) {
			assert_int_equal(e.at_server.verify, trust[i].at_server);
			assert_int_equal(e.at_client.verify, trust[i].at_client);
			assert_int_equal(e.at_client.verify == SM_TLS_FAILED,
			                 e.at_client.verify_text[0] != '\0');
		}
		fini(&e);
	}
}

static void test_other_name(void **state)
{
	struct sm_tls_conf s = server_conf(), c = client_conf(NULL);
	struct ends e = {.peer = {.sni = SM_STR("other.test"), .verify = true}};

	(void)state;
	s.cert_file = list("rsa.pem", "other.pem");
	s.key_file = list("rsa.key", "other.key");
	both(&e, &s, &c);
	meet(&e);
	assert_int_equal(e.client_rc, 0);
	assert_true(sm_str_eq(e.at_client.subject, SM_STR("/CN=other.test")));
	/* Without a name, or with one that nobody knows, it is whatever suits the client best. */
	e.peer = (struct sm_tls_peer){.sni = SM_STR("unknown.test")};
	meet(&e);
	assert_int_equal(e.client_rc, 0);
	fini(&e);
}

/* ---- resumption ---- */

static void again(struct ends *e, bool resumed)
{
	meet(e);
	assert_int_equal(e->server_rc, 0);
	assert_int_equal(e->client_rc, 0);
	assert_int_equal(e->at_server.resumed, resumed);
	assert_int_equal(e->at_client.resumed, resumed);
	assert_int_equal(e->at_client.verify, SM_TLS_OK);
	assert_int_equal(e->at_server.verify, SM_TLS_OK);
}

static void test_resumption(void **state)
{
	static const struct sm_str key = SM_STR("mx.test 127.0.0.1");

	(void)state;
	for (int version = SM_TLS_1_2; version <= SM_TLS_1_3; version++) {
		struct sm_tls_conf s = server_conf(), c = client_conf("client.pem");
		struct ends e = {.peer = {.sni = SM_STR("mx.test"), .cache_key = key}};
		struct sm_tls_ctx *other;

		c.min_version = version;
		both(&e, &s, &c);
		again(&e, false);
		again(&e, true);
		again(&e, true);
		/* Whoever wants more of his peer, or another one, begins anew. */
		e.peer.verify = true;
		again(&e, false);
		again(&e, true);
		e.peer.cache_key = SM_STR("elsewhere");
		again(&e, false);
		e.peer.cache_key = SM_STR("");
		again(&e, false);
		again(&e, false);
		/* Tickets of another service, or of another configuration of the same, are worth
		 * nothing. */
		e.peer.cache_key = key;
		assert_int_equal(sm_tls_server_new(&s, "other", &other), 0);
		sm_tls_ctx_unref(&e.server);
		e.server = other;
		again(&e, false);
		again(&e, true);
		fini(&e);
		/* Switched off. */
		s.flags &= ~(uint32_t)SM_TLS_RESUME;
		both(&e, &s, &c);
		again(&e, false);
		again(&e, false);
		fini(&e);
	}
}

/* ---- data ---- */

enum { BIG = 300000 };

static void pump(void *arg)
{
	struct ends *e = arg;
	char *big = sm_malloc(BIG);
	struct iovec v[3] = {{big, 1}, {big + 1, 70000}, {big + 70001, BIG - 70001}};

	assert_int_equal(sm_tls_accept(&e->a, e->server, SM_NEVER), 0);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 + i / 251);
	assert_int_equal(sm_net_writev(&e->a, v, 3, SM_NEVER), 0);
	assert_int_equal(e->a.out_bytes, BIG);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 + i / 251);
	assert_int_equal(sm_net_write(&e->a, big, BIG, SM_NEVER), 0);
	sm_net_linger(&e->a, BIG, SM_NEVER);
	sm_net_close(&e->a);
	sm_free(big);
}

static void drain(void *arg)
{
	struct ends *e = arg;
	char *text = sm_malloc(5000);
	size_t all = 0;
	ssize_t n;

	assert_int_equal(sm_tls_connect(&e->b, e->client, &e->peer, SM_NEVER), 0);
	while ((n = sm_net_read(&e->b, text, 5000, SM_NEVER)) > 0)
		for (ssize_t i = 0; i < n; i++, all++)
			assert_int_equal(text[i], (char)(all % BIG * 7 + all % BIG / 251));
	assert_int_equal(n, SM_E_EOF);
	assert_int_equal(all, 2 * BIG);
	assert_int_equal(e->b.in_bytes, all);
	sm_net_close(&e->b);
	sm_free(text);
}

static void test_much(void **state)
{
	struct sm_tls_conf s = server_conf(), c = client_conf(NULL);
	struct ends e = {.peer = {.sni = SM_STR("")}};

	(void)state;
	both(&e, &s, &c);
	open_ends(&e);
	t_spawn(pump, &e);
	t_spawn(drain, &e);
	t_run_all();
	fini(&e);
}

/* ---- a peer that speaks no TLS, or none any more ---- */

static void raw_server(void *arg)
{
	struct ends *e = arg;

	e->server_rc = sm_tls_accept(&e->a, e->server, sm_loop_now_ms() + 200);
	if (e->server_rc != 0)
		assert_int_not_equal(sm_net_write(&e->a, "x", 1, SM_NEVER), 0);
	sm_net_close(&e->a);
}

static int given(struct ends *e, const void *p, size_t n, bool end)
{
	open_ends(e);
	t_spawn(raw_server, e);
	assert_int_equal(send(e->b.f.fd, p, n, 0), n);
	if (end)
		assert_int_equal(shutdown(e->b.f.fd, SHUT_WR), 0);
	t_run_all();
	sm_net_close(&e->b);
	return e->server_rc;
}

static void test_no_tls(void **state)
{
	static const char smtp[] = "EHLO me\r\nMAIL FROM:<a@b>\r\n",
			  http[] = "GET / HTTP/1.0\r\n\r\n";
	struct sm_tls_conf s = server_conf();
	struct ends e = {0};

	(void)state;
	assert_int_equal(sm_tls_server_new(&s, "smtps", &e.server), 0);
	assert_int_equal(given(&e, smtp, sizeof(smtp) - 1, false), SM_E_TLS);
	assert_int_equal(given(&e, http, sizeof(http) - 1, false), SM_E_TLS);
	assert_int_equal(given(&e, "\x16", 1, true), SM_E_EOF);
	assert_int_equal(given(&e, "\x16\x03\x01", 3, false), SM_E_TIMEOUT);
	assert_int_equal(given(&e, "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10, true), SM_E_TLS);
	sm_tls_ctx_unref(&e.server);
}

static void cut_reader(void *arg)
{
	struct ends *e = arg;
	char c;

	assert_int_equal(sm_tls_accept(&e->a, e->server, SM_NEVER), 0);
	e->server_rc = (int)sm_net_read(&e->a, &c, 1, SM_NEVER);
	assert_true(sm_net_pending(&e->a));
	assert_int_not_equal(sm_net_write(&e->a, "x", 1, SM_NEVER), 0);
	sm_net_close(&e->a);
}

static void cutter(void *arg)
{
	struct ends *e = arg;

	assert_int_equal(sm_tls_connect(&e->b, e->client, &e->peer, SM_NEVER), 0);
	if (e->talk) {
		/* close_notify, and clear text behind it. */
		e->b.layer->end_write(&e->b);
		assert_int_equal(send(e->b.f.fd, "RSET\r\n", 6, 0), 6);
	} else {
		assert_int_equal(shutdown(e->b.f.fd, SHUT_RDWR), 0);
	}
	sm_net_close(&e->b);
}

static void test_end(void **state)
{
	struct sm_tls_conf s = server_conf(), c = client_conf(NULL);
	struct ends e = {.peer = {.sni = SM_STR("")}};

	(void)state;
	both(&e, &s, &c);
	for (int i = 0; i < 2; i++) {
		e.talk = i == 0;
		open_ends(&e);
		t_spawn(cut_reader, &e);
		t_spawn(cutter, &e);
		t_run_all();
		assert_int_equal(e.server_rc, i == 0 ? SM_E_EOF : SM_E_TLS);
	}
	fini(&e);
}

/* ---- names ---- */

static void test_names(void **state)
{
	static const struct {
		struct sm_str pattern, name;
		bool fits;
	} row[] = {
	    {SM_STR("mx.test"), SM_STR("MX.Test"), true},
	    {SM_STR("mx.test"), SM_STR("mx.test\0x"), false},
	    {SM_STR("mx.test"), SM_STR(""), false},
	    {SM_STR(""), SM_STR(""), false},
	    {SM_STR("*.test"), SM_STR("a.test"), true},
	    {SM_STR("*.test"), SM_STR("a.b.test"), false},
	    {SM_STR("*.test"), SM_STR(".test"), false},
	    {SM_STR("*.test"), SM_STR("test"), false},
	    {SM_STR("*"), SM_STR("test"), false},
	    {SM_STR("a*.test"), SM_STR("ab.test"), false},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(row); i++)
		assert_int_equal(sm_tls_name_fits(row[i].pattern, row[i].name), row[i].fits);
}

static struct sm_str dn(const void *der, size_t n)
{
	struct sm_str out;

	assert_int_equal(sm_tls_dn(sm_str_n(der, n), &arena, &out), 0);
	return out;
}

static void test_dn(void **state)
{
	/* SEQUENCE { SET { SEQUENCE { OID cn, UTF8String } } } */
	static const unsigned char nul[] = {0x30, 0x0f, 0x31, 0x0d, 0x30, 0x0b, 6,    3,  0x55,
	                                    4,    3,    12,   4,    'a',  0,    '\n', 'b'},
				   odd[] = {0x30, 0x0c, 0x31, 0x0a, 0x30, 8, 6,
	                                    3,    0x2a, 3,    4,    12,   1, 'x'},
				   empty[] = {0x30, 0};
	unsigned char *big = sm_malloc(4000);
	struct sm_str out;

	(void)state;
	assert_true(sm_str_eq(dn(nul, sizeof(nul)), SM_STR("/CN=a+00+0Ab")));
	assert_true(sm_str_eq(dn(odd, sizeof(odd)), SM_STR("/1.2.3.4=x")));
	assert_int_equal(dn(empty, sizeof(empty)).n, 0);
	assert_int_equal(sm_tls_dn(SM_STR("\x30\x05"), &arena, &out), SM_E_SYNTAX);
	assert_int_equal(sm_tls_dn(SM_STR(""), &arena, &out), SM_E_SYNTAX);
	/* Cut at 1024, and never within an escape. */
	for (unsigned n = 339; n < 345; n++) {
		const unsigned char head[] = {0x30,
		                              0x82,
		                              (unsigned char)((n + 17) >> 8),
		                              (unsigned char)(n + 17),
		                              0x31,
		                              0x82,
		                              (unsigned char)((n + 13) >> 8),
		                              (unsigned char)(n + 13),
		                              0x30,
		                              0x82,
		                              (unsigned char)((n + 9) >> 8),
		                              (unsigned char)(n + 9),
		                              6,
		                              3,
		                              0x55,
		                              4,
		                              3,
		                              12,
		                              0x82,
		                              (unsigned char)(n >> 8),
		                              (unsigned char)n};
		memcpy(big, head, sizeof(head));
		memset(big + sizeof(head), ' ', n);
		out = dn(big, sizeof(head) + n);
		assert_int_equal(out.n, 4 + 3 * SM_MIN(n, (SM_TLS_DN_MAX - 4) / 3U));
		for (size_t i = 4; i < out.n; i += 3)
			assert_memory_equal(out.p + i, "+20", 3);
	}
	sm_free(big);
}

/* ---- the stack ---- */

#if !defined(SM_ASAN) && !defined(SM_TSAN)
enum { PAINTED = 52 * 1024, SPARE = 20 * 1024, PAINT = 0x5a };

/* Where the stack of this coroutine was written to, below `top`. */
static __attribute__((noinline)) void paint(char *top)
{
	volatile char *p = top - PAINTED;

	while (p < top - 1024)
		*p++ = PAINT;
}

static size_t used(const char *top)
{
	const volatile char *p = top - PAINTED;

	while (p < top && *p == PAINT)
		p++;
	return (size_t)(top - (const char *)p);
}

static void measured(void *arg)
{
	struct ends *e = arg;
	char *top = __builtin_frame_address(0);
	size_t n;

	paint(top);
	serve(e);
	n = used(top);
	print_message("%zu bytes of the stack\n", n);
	assert_true(n > 1024 && n < SM_CO_STACK_BYTES - SPARE);
}

/* Handshakes fit into the stack of a coroutine, with the largest keys that are in use. */
static void test_stack(void **state)
{
	static const char *const names[] = {"ec", "rsa", "big", "p521"};

	(void)state;
	for (size_t i = 0; i < 2 * SM_ARRAY_SIZE(names); i++) {
		char cert[32], key[32];
		struct sm_tls_conf s = server_conf(), c;
		struct ends e = {.peer = {.sni = SM_STR("mx.test"), .verify = true}};

		(void)snprintf(cert, sizeof(cert), "%s.pem", names[i / 2]);
		(void)snprintf(key, sizeof(key), "%s.key", names[i / 2]);
		c = client_conf(cert);
		if (i % 2 == 0) {
			s.cert_file = list(cert, NULL);
			s.key_file = list(key, NULL);
		}
		both(&e, &s, &c);
		open_ends(&e);
		t_spawn(measured, &e);
		t_spawn(dial, &e);
		t_run_all();
		assert_int_equal(e.server_rc, 0);
		assert_int_equal(e.at_server.verify, SM_TLS_OK);
		fini(&e);
	}
}
#endif

static int group_setup(void **state)
{
	char script[sizeof(make) + 200];

	(void)state;
	sm_arena_init(&arena, "test", 65536, 16 * 1024 * 1024);
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(script, sizeof(script), "cd %s && { %s }", dir, make);
	return system(script) == 0 ? 0 : -1;
}

static int group_teardown(void **state)
{
	char script[200];

	(void)state;
	sm_arena_fini(&arena);
	sm_tls_cleanup();
	(void)snprintf(script, sizeof(script), "rm -rf %s", dir);
	return system(script) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_key_of_others),
		cmocka_unit_test(test_handed_over),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_dn),
		T_TEST(test_facts),
		T_TEST(test_trust),
		T_TEST(test_other_name),
		T_TEST(test_resumption),
		T_TEST(test_much),
		T_TEST(test_no_tls),
		T_TEST(test_end),
#if !defined(SM_ASAN) && !defined(SM_TSAN)
		T_TEST(test_stack),
#endif
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
