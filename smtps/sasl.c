/*
 * One attempt to authenticate, step by step.
 *
 * Invariants: the handle of an attempt is made in the helper that begins it and touched only by the
 * helper that works on a step; `busy` tells the loop that there is one. An attempt that was given
 * up meanwhile is freed when its helper is done. At most max_checks helpers are busy. What came
 * from the client is wiped when the helper is done with it. Threads: loop, and one helper at a time
 * between begin() and on_done().
 */
#include "smtps/sasl_int.h"

#include "libsm/err.h"

#ifdef SM_HAVE_SASL

#include <stdio.h>
#include <string.h>

#include "libsm/log.h"
#include "libsm/offload.h"
#include "libsm/sync.h"
#include "smtps/auth.h"

enum {
	WHY_MAX = 160,
	MECH_MAX = 20,
	ADDRESS_MAX = 80,
	CHALLENGE_MAX = (SS_AUTH_LINE_MAX - 6) / 4 * 3, /* "334 ", CRLF */
	SSF_MOST = 4096,
	STACK_BYTES = 64 * 1024, /* more than a step takes; of 512 KiB */
};

struct ss_sasl {
	struct sm_offload_job job;
	struct sm_co *co; /* who waits; NULL: nobody any more */
	int64_t timeout_ms, max_checks;
	bool busy; /* a helper has it */
	bool begun;

	/* The helper's while it is busy. */
	sasl_conn_t *conn; /* NULL: not begun, or over */
	sasl_callback_t callbacks[4];
	char service[64], mech[MECH_MAX + 1], client[ADDRESS_MAX], realm[256];
	unsigned bits;
	uint32_t flags;
	struct sm_buf in, challenge;
	bool has_in;
	enum ss_sasl_result result;
	char user[SS_AUTH_USER_MAX + 1];
	char why[WHY_MAX];
};

static struct {
	struct sm_limit limit; /* max 0: not initialised */
	size_t busy;
} checks;

size_t ss_sasl_busy(void)
{
	return checks.busy;
}

/* ---- in a helper ---- */

/* The last thing that Cyrus SASL complains about. Passwords are logged on levels beyond. */
static int on_log(void *context, int level, const char *text)
{
	struct ss_sasl *x = context;

	if (level >= SASL_LOG_ERR && level <= SASL_LOG_WARN)
		sm_str_cut(sm_str(text), x->why, sizeof(x->why));
	return SASL_OK;
}

/* Names go on as they are; one that is none is the client's fault, and not the database's, as Cyrus
 * SASL has it. */
static int on_canon(sasl_conn_t *conn SM_UNUSED, void *context SM_UNUSED, const char *in,
                    unsigned in_len, unsigned flags SM_UNUSED, const char *realm SM_UNUSED,
                    char *out, unsigned out_max, unsigned *out_len)
{
	bool blank = true;

	for (unsigned i = 0; i < in_len; i++)
		blank = blank && (in[i] == ' ' || (in[i] >= '\t' && in[i] <= '\r'));
	if (blank)
		return SASL_BADPROT;
	if (in_len >= out_max || in_len > SS_AUTH_USER_MAX)
		return SASL_BADAUTH;
	memcpy(out, in, in_len);
	out[in_len] = '\0';
	*out_len = in_len;
	return SASL_OK;
}

static unsigned security_flags(uint32_t flags)
{
	static const struct {
		uint32_t flag;
		unsigned sasl;
	} same[] = {
	    {SS_AUTH_NOPLAINTEXT, SASL_SEC_NOPLAINTEXT},
	    {SS_AUTH_NOACTIVE, SASL_SEC_NOACTIVE},
	    {SS_AUTH_NODICTIONARY, SASL_SEC_NODICTIONARY},
	    {SS_AUTH_FORWARD_SECRECY, SASL_SEC_FORWARD_SECRECY},
	    {SS_AUTH_NOANONYMOUS, SASL_SEC_NOANONYMOUS},
	    {SS_AUTH_PASS_CREDENTIALS, SASL_SEC_PASS_CREDENTIALS},
	    {SS_AUTH_MUTUAL, SASL_SEC_MUTUAL_AUTH},
	};
	unsigned out = 0;

	for (size_t i = 0; i < SM_ARRAY_SIZE(same); i++)
		if (flags & same[i].flag)
			out |= same[i].sasl;
	return out;
}

/* No layer of SASL's own: TLS is the one there may be, and what it has is told (RFC 4954 4). */
static int properties(sasl_conn_t *conn, uint32_t flags, unsigned bits)
{
	sasl_security_properties_t p = {.security_flags = security_flags(flags)};
	sasl_ssf_t ssf = SM_MIN(bits, (unsigned)SSF_MOST);
	int rc = sasl_setprop(conn, SASL_SSF_EXTERNAL, &ssf);

	return rc != SASL_OK ? rc : sasl_setprop(conn, SASL_SEC_PROPS, &p);
}

static int make_conn(struct ss_sasl *x)
{
	int rc = sasl_server_new(x->service, ss_sasl_hostname(), x->realm[0] ? x->realm : NULL,
	                         NULL, x->client[0] ? x->client : NULL, x->callbacks, 0, &x->conn);

	return rc != SASL_OK ? rc : properties(x->conn, x->flags, x->bits);
}

static int take_user(struct ss_sasl *x)
{
	const void *p = NULL;
	int rc = sasl_getprop(x->conn, SASL_USERNAME, &p);

	if (rc != SASL_OK)
		return rc;
	if (p == NULL || *(const char *)p == '\0' ||
	    sm_str_copy(sm_str(p), x->user, sizeof(x->user)) != 0) {
		sm_str_cut(SM_STR("name of the user is empty or too long"), x->why, sizeof(x->why));
		return SASL_BADAUTH;
	}
	return SASL_OK;
}

/*
 * What a result means to a client. Whatever depends on the user is one and the same: wrong
 * password, no such user, disabled, expired, no secret for this mechanism, may not act as that one.
 */
static enum ss_sasl_result meaning(int rc)
{
	switch (rc) {
	case SASL_OK:
		return SS_SASL_OK;
	case SASL_CONTINUE:
		return SS_SASL_MORE;
	case SASL_BADPROT:
	case SASL_BADPARAM:
		return SS_SASL_BAD;
	case SASL_FAIL: /* saslauthd cannot be reached */
	case SASL_NOMEM:
	case SASL_BUFOVER:
	case SASL_TRYAGAIN:
	case SASL_UNAVAIL:
	case SASL_NOTINIT:
	case SASL_CONFIGERR:
		return SS_SASL_LATER;
	default:
		return SS_SASL_DENIED;
	}
}

/* The library leaves passwords on the stack that it had: saslauthd's request, for one. */
static __attribute__((noinline)) void wipe_stack(void)
{
	char below[STACK_BYTES];

	explicit_bzero(below, sizeof(below));
}

static void step(struct ss_sasl *x)
{
	const char *in = x->has_in ? sm_buf_c(&x->in) : NULL, *out = NULL;
	unsigned in_len = x->has_in ? (unsigned)x->in.len : 0, out_len = 0;
	int rc = x->begun ? SASL_OK : make_conn(x);

	x->why[0] = '\0';
	if (rc == SASL_OK && !x->begun)
		rc = sasl_server_start(x->conn, x->mech, in, in_len, &out, &out_len);
	else if (rc == SASL_OK)
		rc = sasl_server_step(x->conn, in, in_len, &out, &out_len);
	x->begun = true;
	if (rc == SASL_CONTINUE && out_len > CHALLENGE_MAX)
		rc = SASL_BUFOVER;
	if (rc == SASL_CONTINUE) {
		sm_buf_reset(&x->challenge);
		sm_buf_append(&x->challenge, out != NULL ? out : "", out_len);
	}
	if (rc == SASL_OK)
		rc = take_user(x);
	x->result = meaning(rc);
	if (x->why[0] == '\0' && rc != SASL_OK && rc != SASL_CONTINUE)
		sm_str_cut(sm_str(sasl_errstring(rc, NULL, NULL)), x->why, sizeof(x->why));
	if (rc != SASL_CONTINUE)
		sasl_dispose(&x->conn);
	sm_buf_wipe(&x->in);
}

static int work(void *arg)
{
	step(arg);
	wipe_stack();
	return 0;
}

/* ---- on the loop ---- */

static void destroy(struct ss_sasl *x)
{
	if (x->conn != NULL)
		sasl_dispose(&x->conn);
	sm_buf_wipe(&x->in);
	sm_buf_wipe(&x->challenge);
	explicit_bzero(x, sizeof(*x));
	sm_free(x);
}

static void on_done(int rc SM_UNUSED, void *arg)
{
	struct ss_sasl *x = arg;

	checks.busy--;
	sm_limit_give(&checks.limit);
	x->busy = false;
	if (x->co != NULL)
		sm_co_wake(x->co);
	else
		destroy(x);
}

bool ss_sasl_mechs(const struct ss_sasl_ground *g, struct sm_str mech, struct sm_buf *names)
{
	const char *text = NULL;
	sasl_conn_t *conn = NULL;
	struct sm_str list, name;
	bool any = false;
	char service[64];

	if (!ss_sasl_ready() || sm_str_copy(g->conf->service, service, sizeof(service)) != 0)
		return false;
	if (sasl_server_new(service, ss_sasl_hostname(), NULL, NULL, NULL, NULL, 0, &conn) ==
	        SASL_OK &&
	    properties(conn, g->conf->flags, g->bits) == SASL_OK &&
	    sasl_listmech(conn, NULL, "", " ", "", &text, NULL, NULL) == SASL_OK) {
		list = sm_str(text);
		while (!sm_str_empty(name = sm_str_word(&list))) {
			if (!ss_auth_mech_valid(name) || !ss_auth_mech_in(&g->conf->mechs, name) ||
			    (mech.n > 0 && !sm_str_caseeq(name, mech)))
				continue;
			if (names != NULL && any)
				sm_buf_char(names, ' ');
			if (names != NULL)
				sm_buf_str(names, name);
			any = true;
		}
	}
	if (conn != NULL)
		sasl_dispose(&conn);
	return any;
}

/* "1.2.3.4;25": for mechanisms that bind to addresses. */
static void put_address(const struct sm_sa *sa, char *out, size_t size)
{
	char host[SM_SA_TEXT];

	out[0] = '\0';
	if (sa == NULL || sa->len == 0 || sa->u.sa.sa_family == AF_UNIX)
		return;
	(void)snprintf(out, size, "%.60s;%u", sm_sa_host_text(sa, host), (unsigned)sm_sa_port(sa));
}

struct ss_sasl *ss_sasl_new(const struct ss_sasl_ground *g, struct sm_str mech)
{
	struct ss_sasl *x = sm_calloc(1, sizeof(*x));

	x->timeout_ms = g->conf->timeout_ms;
	x->max_checks = g->conf->max_checks;
	x->bits = g->bits;
	x->flags = g->conf->flags;
	for (size_t i = 0; i < SM_MIN(mech.n, (size_t)MECH_MAX); i++)
		x->mech[i] =
		    mech.p[i] >= 'a' && mech.p[i] <= 'z' ? (char)(mech.p[i] - 32) : mech.p[i];
	put_address(g->client, x->client, sizeof(x->client));
	sm_str_cut(g->conf->service, x->service, sizeof(x->service));
	sm_str_cut(g->conf->realm, x->realm, sizeof(x->realm));
	x->callbacks[0] = (sasl_callback_t){SASL_CB_LOG, (ss_sasl_cb)(void *)on_log, x};
	x->callbacks[1] =
	    (sasl_callback_t){SASL_CB_GETOPT, (ss_sasl_cb)(void *)ss_sasl_getopt, NULL};
	x->callbacks[2] = (sasl_callback_t){SASL_CB_CANON_USER, (ss_sasl_cb)(void *)on_canon, NULL};
	x->callbacks[3] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
	sm_buf_init(&x->in, SS_AUTH_LINE_MAX);
	sm_buf_init(&x->challenge, CHALLENGE_MAX);
	return x;
}

static void answer(const struct ss_sasl *x, struct ss_sasl_answer *out)
{
	*out = (struct ss_sasl_answer){.result = x->result, .why = x->why};
	if (x->result == SS_SASL_MORE)
		out->challenge = sm_buf_view(&x->challenge);
	if (x->result == SS_SASL_OK)
		out->user = sm_str(x->user);
}

/* The helper keeps it; whoever waited is told that it cannot be told. */
static void give_up(struct ss_sasl *x, int err, struct ss_sasl_answer *out)
{
	x->co = NULL;
	*out =
	    (struct ss_sasl_answer){.result = err == SM_E_CANCEL ? SS_SASL_CANCEL : SS_SASL_LATER,
	                            .why = "no answer in time"};
}

void ss_sasl_step(struct ss_sasl *x, struct sm_str response, struct ss_sasl_answer *out)
{
	int64_t until = sm_loop_now_ms() + x->timeout_ms;
	int err = 0;

	if (checks.limit.max == 0)
		sm_limit_init(&checks.limit, (size_t)x->max_checks);
	if ((err = sm_limit_take(&checks.limit, "AUTH wait helper", until)) != 0) {
		give_up(x, err, out);
		return;
	}
	sm_buf_reset(&x->in);
	x->has_in = response.p != NULL;
	sm_buf_str(&x->in, response);
	x->co = sm_co_self();
	x->busy = true;
	checks.busy++;
	sm_offload_async(&x->job, work, on_done, x);
	while (x->busy && err == 0)
		err = sm_co_park("AUTH", until);
	if (x->busy)
		give_up(x, err, out);
	else
		answer(x, out);
}

void ss_sasl_free(struct ss_sasl **xp)
{
	struct ss_sasl *x = *xp;

	*xp = NULL;
	if (x == NULL)
		return;
	if (x->busy)
		x->co = NULL;
	else
		destroy(x);
}

#else

size_t ss_sasl_busy(void)
{
	return 0;
}

bool ss_sasl_mechs(const struct ss_sasl_ground *g, struct sm_str mech, struct sm_buf *names)
{
	(void)g;
	(void)mech;
	(void)names;
	return false;
}

struct ss_sasl *ss_sasl_new(const struct ss_sasl_ground *g, struct sm_str mech)
{
	(void)g;
	(void)mech;
	return NULL;
}

void ss_sasl_step(struct ss_sasl *x, struct sm_str response, struct ss_sasl_answer *out)
{
	(void)x;
	(void)response;
	*out = (struct ss_sasl_answer){.result = SS_SASL_LATER, .why = "no Cyrus SASL"};
}

void ss_sasl_free(struct ss_sasl **x)
{
	*x = NULL;
}

#endif
