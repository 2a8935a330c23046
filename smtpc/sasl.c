/*
 * Cyrus SASL's client. Invariant: exchanges are made by helper threads only, never two steps of one
 * at a time; the loop's thread waits for them, and frees what is over.
 */
#include "smtpc/sasl.h"

#include "config.h"

#include "libsm/err.h"
#include "libsm/offload.h"
#include "libsm/sasl_mem.h"
#include "smtpc/server_conf.h"

#ifdef SM_HAVE_SASL
#include <errno.h>
#include <sasl/sasl.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { CALLBACKS = 4, TEXT_MAX = 400 };

struct sc_sasl {
	sasl_conn_t *conn;
	sasl_callback_t callbacks[CALLBACKS];
	sasl_secret_t *secret;
	size_t secret_bytes;
	char user[TEXT_MAX], authzid[TEXT_MAX];
	bool done;
	/* What a helper is to do. */
	const char *mechanism, *host;
	struct sm_str challenge;
	struct sm_buf *out;
};

/* ---- the library ---- */

static const char **mechanisms;

/* It would go to syslog, and the library knows passwords. */
static int say_nothing(void *context SM_UNUSED, int level SM_UNUSED, const char *text SM_UNUSED)
{
	return SASL_OK;
}

/*
 * For each exchange the library asks for the name of this host, and if that has no dot, DNS: with
 * sockets and files that this process has no right to, and for as long as that takes. Nothing of
 * what we do needs the name. So, once the library is in use, this goes before libc's: the name ends
 * with a dot.
 */
static bool in_use;

/* A pragma, because fortified headers have a body of it already, behind which clang takes no
 * attribute. */
#pragma GCC visibility push(default)
int gethostname(char *name, size_t size)
{
	struct utsname u;
	int n;

	if (uname(&u) != 0)
		return -1;
	n = snprintf(name, size, "%s%s", u.nodename, in_use ? "." : "");
	if (n >= 0 && (size_t)n < size)
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}
#pragma GCC visibility pop

/* Callbacks have as many types as there are. */
#define PROC(fn) ((int (*)(void))(void (*)(void))(fn))

int sc_sasl_init(void)
{
	static sasl_callback_t callbacks[2];
	int rc;

	callbacks[0] = (sasl_callback_t){SASL_CB_LOG, PROC(say_nothing), NULL};
	callbacks[1] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
	sm_sasl_prepare();
	rc = sasl_client_init(callbacks);
	if (rc != SASL_OK)
		return sm_fail(SM_E_NOTSUP, "Cyrus SASL: %s", sasl_errstring(rc, NULL, NULL));
	mechanisms = sasl_global_listmech();
	in_use = true;
	return 0;
}

void sc_sasl_fini(void)
{
	mechanisms = NULL;
	(void)sasl_client_done();
}

bool sc_sasl_has(struct sm_str mechanism)
{
	for (const char **m = mechanisms; m != NULL && *m != NULL; m++)
		if (sm_str_caseeq(sm_str(*m), mechanism))
			return true;
	return false;
}

/* ---- one exchange ---- */

static int give_name(void *context, int id, const char **out, unsigned *bytes)
{
	const struct sc_sasl *s = context;

	*out = id == SASL_CB_USER ? s->authzid : s->user;
	if (bytes != NULL)
		*bytes = (unsigned)strlen(*out);
	return SASL_OK;
}

static int give_password(sasl_conn_t *conn SM_UNUSED, void *context, int id SM_UNUSED,
                         sasl_secret_t **out)
{
	*out = ((const struct sc_sasl *)context)->secret;
	return SASL_OK;
}

static int take(struct sc_sasl *s, int rc, const char *text, unsigned bytes)
{
	if (rc != SASL_OK && rc != SASL_CONTINUE)
		return sm_fail(SM_E_PEER, "%s: %s", s->mechanism, sasl_errstring(rc, NULL, NULL));
	s->done = rc == SASL_OK;
	if (text != NULL)
		sm_buf_append(s->out, text, bytes);
	return 0;
}

static int start_job(void *arg)
{
	static const sasl_security_properties_t no_layer = {0};
	struct sc_sasl *s = arg;
	const char *text = NULL, *name;
	unsigned bytes = 0;
	int rc = sasl_client_new("smtp", s->host, NULL, NULL, s->callbacks, 0, &s->conn);

	if (rc == SASL_OK)
		rc = sasl_setprop(s->conn, SASL_SEC_PROPS, &no_layer);
	if (rc == SASL_OK)
		rc = sasl_client_start(s->conn, s->mechanism, NULL, &text, &bytes, &name);
	return take(s, rc, text, bytes);
}

static int step_job(void *arg)
{
	struct sc_sasl *s = arg;
	const char *text = NULL;
	unsigned bytes = 0;
	int rc = sasl_client_step(s->conn, s->challenge.p != NULL ? s->challenge.p : "",
	                          (unsigned)s->challenge.n, NULL, &text, &bytes);

	return take(s, rc, text, bytes);
}

int sc_sasl_start(const char *mechanism, const char *host, const struct sc_credentials *c,
                  struct sm_buf *out, struct sc_sasl **sasl)
{
	struct sc_sasl *s = sm_calloc(1, sizeof(*s));

	*sasl = s;
	s->mechanism = mechanism;
	s->host = host;
	s->out = out;
	sm_str_cut(c->user, s->user, sizeof(s->user));
	sm_str_cut(c->authzid, s->authzid, sizeof(s->authzid));
	s->secret_bytes = sizeof(*s->secret) + c->password.n + 1;
	s->secret = sm_calloc(1, s->secret_bytes);
	s->secret->len = c->password.n;
	memcpy(s->secret->data, c->password.p, c->password.n);
	s->callbacks[0] = (sasl_callback_t){SASL_CB_USER, PROC(give_name), s};
	s->callbacks[1] = (sasl_callback_t){SASL_CB_AUTHNAME, PROC(give_name), s};
	s->callbacks[2] = (sasl_callback_t){SASL_CB_PASS, PROC(give_password), s};
	s->callbacks[3] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
	return sm_offload("AUTH", start_job, s);
}

int sc_sasl_step(struct sc_sasl *s, struct sm_str challenge, struct sm_buf *out)
{
	s->challenge = challenge;
	s->out = out;
	return sm_offload("AUTH", step_job, s);
}

bool sc_sasl_is_done(const struct sc_sasl *s)
{
	return s->done;
}

void sc_sasl_free(struct sc_sasl **sp)
{
	struct sc_sasl *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	sasl_dispose(&s->conn);
	explicit_bzero(s->secret, s->secret_bytes);
	sm_free(s->secret);
	sm_free(s);
}

#else

int sc_sasl_init(void)
{
	return 0;
}

void sc_sasl_fini(void)
{
}

bool sc_sasl_has(struct sm_str mechanism SM_UNUSED)
{
	return false;
}

int sc_sasl_start(const char *mechanism, const char *host SM_UNUSED,
                  const struct sc_credentials *c SM_UNUSED, struct sm_buf *out SM_UNUSED,
                  struct sc_sasl **sasl)
{
	*sasl = NULL;
	return sm_fail(SM_E_NOTSUP, "%s: this build has no Cyrus SASL", mechanism);
}

int sc_sasl_step(struct sc_sasl *sasl SM_UNUSED, struct sm_str challenge SM_UNUSED,
                 struct sm_buf *out SM_UNUSED)
{
	return SM_E_NOTSUP;
}

bool sc_sasl_is_done(const struct sc_sasl *sasl SM_UNUSED)
{
	return false;
}

void sc_sasl_free(struct sc_sasl **sasl)
{
	*sasl = NULL;
}
#endif
