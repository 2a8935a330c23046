/* Shared by the tests of TLS, see t_tls.h. Certificates are made by the openssl program. */
#include "libsm/t_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

char t_tls_dir[] = "/tmp/t_tls.XXXXXX";
struct sm_arena t_arena;

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

struct sm_str t_at(const char *name)
{
	return sm_arena_printf(&t_arena, "%s/%s", t_tls_dir, name);
}

struct sm_conf_list t_list(const char *a, const char *b)
{
	struct sm_conf_list l = {.count = a == NULL   ? 0
	                                  : b == NULL ? 1
	                                              : 2,
	                         .v = sm_arena_must(&t_arena, 2 * sizeof(struct sm_str))};

	if (a != NULL)
		l.v[0] = t_at(a);
	if (b != NULL)
		l.v[1] = t_at(b);
	return l;
}

struct sm_tls_conf t_server_conf(void)
{
	struct sm_tls_conf c;

	sm_conf_defaults(sm_tls_server_opts, &c, &t_arena);
	c.cert_file = t_list("ec.pem", "rsa.pem");
	c.key_file = t_list("ec.key", "rsa.key");
	c.ca_file = t_at("ca.pem");
	return c;
}

struct sm_tls_conf t_client_conf(const char *cert)
{
	struct sm_tls_conf c;
	char key[32];

	sm_conf_defaults(sm_tls_client_opts, &c, &t_arena);
	if (cert != NULL) {
		(void)snprintf(key, sizeof(key), "%.*s.key", (int)strcspn(cert, "."), cert);
		c.cert_file = t_list(cert, NULL);
		c.key_file = t_list(key, NULL);
	}
	c.ca_file = t_at("ca.pem");
	return c;
}

/* ---- two ends ---- */

void t_serve(void *arg)
{
	struct t_ends *e = arg;
	char c;

	e->server_rc = sm_tls_accept(&e->a, e->server, sm_loop_now_ms() + T_PATIENCE_MS);
	if (e->server_rc == 0) {
		sm_tls_facts(&e->a, &t_arena, &e->at_server);
		if (e->talk) {
			assert_int_equal(sm_net_write(&e->a, "220", 3, SM_NEVER), 0);
			assert_int_equal(sm_net_read(&e->a, &c, 1, SM_NEVER), 1);
		}
	}
	sm_net_close(&e->a);
}

void t_dial(void *arg)
{
	struct t_ends *e = arg;
	char text[16];

	e->client_rc = sm_tls_connect(&e->b, e->client, &e->peer, sm_loop_now_ms() + T_PATIENCE_MS);
	if (e->client_rc == 0) {
		sm_tls_facts(&e->b, &t_arena, &e->at_client);
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

void t_open_ends(struct t_ends *e)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(sm_net_open(&e->a, fd[0]), 0);
	assert_int_equal(sm_net_open(&e->b, fd[1]), 0);
}

void t_meet(struct t_ends *e)
{
	t_open_ends(e);
	t_spawn(t_serve, e);
	t_spawn(t_dial, e);
	t_run_all();
}

void t_both(struct t_ends *e, const struct sm_tls_conf *server, const struct sm_tls_conf *client)
{
	assert_int_equal(sm_tls_server_new(server, "smtps", &e->server), 0);
	assert_int_equal(sm_tls_client_new(client, &e->client), 0);
	e->talk = true;
}

void t_fini(struct t_ends *e)
{
	sm_tls_ctx_unref(&e->server);
	sm_tls_ctx_unref(&e->client);
}

/* ---- the group ---- */

int t_tls_setup(void **state)
{
	char script[sizeof(make) + 200];

	(void)state;
	sm_arena_init(&t_arena, "test", 65536, 16 * 1024 * 1024);
	if (mkdtemp(t_tls_dir) == NULL)
		return -1;
	(void)snprintf(script, sizeof(script), "cd %s && { %s }", t_tls_dir, make);
	return system(script) == 0 ? 0 : -1;
}

int t_tls_teardown(void **state)
{
	char script[200];

	(void)state;
	sm_arena_fini(&t_arena);
	sm_tls_cleanup();
	(void)snprintf(script, sizeof(script), "rm -rf %s", t_tls_dir);
	return system(script) == 0 ? 0 : -1;
}
