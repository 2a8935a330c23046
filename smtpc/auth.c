/*
 * The dialogue of AUTH. Invariant: what was said of secrets is overwritten where it lay as soon as
 * it has left, and no log line shows more than the user's name; a server that says yes before it
 * has proved what the mechanism wants it to prove is not believed. Coroutines of the loop's thread.
 */
#include "smtpc/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/base64.h"
#include "libsm/log.h"
#include "libsm/offload.h"
#include "smtpc/auth_mech.h"
#include "smtpc/result.h"
#include "smtpc/sasl.h"
#include "smtpc/sc.h"

enum {
	STEPS_MAX = 8,
	SAY_MAX = 9 * 1024, /* RFC 4954 4: a line has at most 12288 bytes, in base64 */
	CHALLENGE_MAX = 64 * 1024,
	TOKEN_MAX = 6 * 1024,
	PATH_BYTES = 1300,
	GO_ON = 334,
};

struct auth {
	struct sc_session *s;
	const struct sc_server_conf *c;
	const struct sc_mech *m;
	struct sc_sasl *sasl;
	struct sm_buf say, heard, token; /* bytes; secrets */
	struct sc_why *why;
};

/* ---- the token ---- */

struct token_job {
	char path[PATH_BYTES];
	struct sm_buf *out;
};

static int read_token(void *arg)
{
	struct token_job *j = arg;
	int fd = open(j->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	ssize_t n = -1;
	char *p;

	if (fd < 0)
		return sm_fail_sys(errno, "%s", j->path);
	p = sm_buf_reserve(j->out, TOKEN_MAX);
	if (p != NULL && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = read(fd, p, TOKEN_MAX);
	close(fd);
	if (n <= 0 || n == TOKEN_MAX)
		return sm_fail(SM_E_SYNTAX, "%s: no token", j->path);
	sm_buf_commit(j->out, (size_t)n);
	return 0;
}

/* What may be in it: b64token (RFC 6750 2.1), so it cannot leave its place. */
static bool is_token(struct sm_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == ',')
			return false;
	return s.n > 0;
}

/* A file of the directory for tokens, and of no other. */
static int token_of_file(struct auth *x)
{
	struct sm_str dir = x->s->sc->conf->token_directory, name = x->c->credentials.token_file;
	struct token_job j = {.out = &x->token};

	if (dir.n == 0)
		return sm_fail(SM_E_SYNTAX, "token_file without token_directory of smtpc");
	if (sm_str_chr(name, '/') >= 0 || name.p[0] == '.')
		return sm_fail(SM_E_SYNTAX, "token_file is no name of a file in token_directory");
	(void)snprintf(j.path, sizeof(j.path), SM_STR_FMT "/" SM_STR_FMT, SM_STR_ARG(dir),
	               SM_STR_ARG(name));
	return sm_offload("token", read_token, &j);
}

static struct sm_str first_line(struct sm_str s)
{
	struct sm_str rest;

	s = sm_str_split(s, '\n', &rest);
	if (s.n > 0 && s.p[s.n - 1] == '\r')
		s.n--;
	return sm_str_trim(s);
}

static int get_token(struct auth *x, struct sm_str *token)
{
	int rc = 0;

	*token = x->c->credentials.token;
	if (!x->m->token || token->n > 0)
		return 0;
	rc = token_of_file(x);
	*token = first_line(sm_buf_view(&x->token));
	if (rc == 0 && !is_token(*token))
		rc = sm_fail(SM_E_SYNTAX, "what is in the file " SM_STR_FMT " is no token",
		             SM_STR_ARG(x->c->credentials.token_file));
	return rc;
}

/* ---- what became of it ---- */

/* Trouble of our own, or a server that does not do as it should. */
static int trouble(struct auth *x, enum sm_stage stage, int err)
{
	sc_why_error(x->why, stage, err);
	if (stage == SM_STAGE_LOCAL)
		x->why->lasting = false;
	return err;
}

/* The server, or what it offers, does not let us in: as the configuration says. */
static int refused(struct auth *x)
{
	const struct sc_auth_policy *p = &x->c->auth;

	x->why->permanent = p->failure == SC_AUTH_PERMANENT;
	if (p->failure == SC_AUTH_IGNORE && !x->s->broken)
		return 0;
	return sm_fail(SM_E_PEER, "%s", x->why->text);
}

static int impossible(struct auth *x, const char *text)
{
	char all[200];

	(void)snprintf(all, sizeof(all), "AUTH: %s", text);
	*x->why = (struct sc_why){.stage = SM_STAGE_AUTH, .reach = SM_REACH_REFUSED};
	(void)sc_text_local(x->why->text,
	                    x->c->auth.failure == SC_AUTH_PERMANENT ? "5.7.4" : "4.7.4", all);
	return refused(x);
}

/* ---- lines ---- */

/* Send what has gathered in the stream, and read the reply; nothing of it stays in memory. */
static int converse(struct auth *x)
{
	int code = sc_session_reply(x->s, x->s->sc->conf->io_timeout_ms);

	if (code == GO_ON) {
		int rc = sc_session_in_step(x->s);
		if (rc != 0)
			return rc;
	}
	return code;
}

static void put_base64(struct auth *x, struct sm_str bytes)
{
	struct sm_buf text;

	sm_buf_init(&text, sm_base64_size(SAY_MAX) + 1);
	sm_base64_encode(&text, bytes);
	sm_stream_puts(&x->s->stream, sm_buf_view(&text));
	sm_buf_wipe(&text);
}

/* AUTH, with the initial response if there is one; an empty one is "=". */
static int begin(struct auth *x, bool initial)
{
	sm_stream_printf(&x->s->stream, "AUTH %s", x->m->name);
	if (initial)
		sm_stream_puts(&x->s->stream, SM_STR(" "));
	if (initial && x->say.len == 0)
		sm_stream_puts(&x->s->stream, SM_STR("="));
	else if (initial)
		put_base64(x, sm_buf_view(&x->say));
	sm_stream_puts(&x->s->stream, SM_STR("\r\n"));
	return converse(x);
}

/* We do not want any more: the server says 501 to it. */
static int give_up(struct auth *x, int err)
{
	char text[SM_DIAG_MAX];
	int code;

	(void)snprintf(text, sizeof(text), "%s", sm_diag());
	sm_stream_puts(&x->s->stream, SM_STR("*\r\n"));
	code = converse(x);
	/* It took that for something else: whatever it is, we are not who it thinks. */
	if (code >= 0 && code < 400)
		x->s->broken = true;
	return sm_fail(err, "%s", text);
}

/* ---- the dialogue ---- */

static int hear(struct auth *x)
{
	struct sm_str text = sm_buf_view(&x->s->reply.text);

	sm_buf_wipe(&x->heard);
	sm_buf_init(&x->heard, CHALLENGE_MAX);
	/* What LOGIN is asked is for people to read, and some do not encode it. */
	if (x->m->kind != SC_MECH_SASL)
		return 0;
	return sm_base64_decode(&x->heard, text);
}

static int answer(struct auth *x, const struct sc_mech_where *where, unsigned step)
{
	int rc;

	sm_buf_wipe(&x->say);
	sm_buf_init(&x->say, SAY_MAX);
	(void)sm_buf_reserve(&x->say, SAY_MAX); /* growing would leave copies */
	if (x->m->kind != SC_MECH_SASL) {
		rc = sc_mech_say(x->m, &x->c->credentials, where, step, &x->say);
		if (rc == SM_E_PROTO)
			rc = sm_fail(rc, "%s: more questions than there are answers", x->m->name);
	} else if (step == 0) {
		rc = sc_sasl_start(x->m->name, x->s->host, &x->c->credentials, &x->say, &x->sasl);
	} else if (sc_mech_is_hard(sm_buf_view(&x->heard))) {
		rc = sm_fail(SM_E_PROTO, "%s: too many rounds of hashing", x->m->name);
	} else {
		rc = sc_sasl_step(x->sasl, sm_buf_view(&x->heard), &x->say);
	}
	if (rc == 0)
		rc = sm_buf_err(&x->say);
	return rc;
}

/* The last reply's code, or an error. */
static int dialogue(struct auth *x, const struct sc_mech_where *where)
{
	int rc = answer(x, where, 0), code;

	if (rc != 0 && rc != SM_E_EOF)
		return rc;
	code = begin(x, rc == 0);
	for (unsigned step = 1; code == GO_ON; step++) {
		rc = step <= STEPS_MAX ? hear(x)
		                       : sm_fail(SM_E_PROTO, "%s does not end", x->m->name);
		if (rc == 0)
			rc = answer(x, where, step);
		if (rc != 0)
			return give_up(x, rc);
		put_base64(x, sm_buf_view(&x->say));
		sm_stream_puts(&x->s->stream, SM_STR("\r\n"));
		code = converse(x);
	}
	if (code >= 200 && code < 300 && x->sasl != NULL && !sc_sasl_is_done(x->sasl)) {
		x->s->broken = true;
		return sm_fail(SM_E_PROTO, "%s: server says yes without having proved itself",
		               x->m->name);
	}
	return code;
}

static int conclude(struct auth *x, int code)
{
	struct sc_session *s = x->s;

	if (code < 0)
		return trouble(x, SM_STAGE_AUTH, code);
	if (code >= 200 && code < 300 && !s->broken) {
		s->authenticated = true;
		s->trusted = x->c->auth.trusted;
		return sc_session_in_step(s) == 0 ? 0 : trouble(x, SM_STAGE_AUTH, SM_E_PROTO);
	}
	sc_why_reply(x->why, s, SM_STAGE_AUTH);
	if (code < 400 && !s->broken)
		s->broken = true; /* a 3yz that is none: out of step */
	return refused(x);
}

static int run(struct auth *x, struct sm_id ta)
{
	struct sc_session *s = x->s;
	struct sc_mech_where where = {.host = sm_str(s->host), .port = sm_sa_port(&s->sa)};
	const char *missing = "server does not offer it";
	int rc;

	if ((s->ehlo.caps & SC_CAP_AUTH) != 0)
		x->m = sc_mech_choose(x->c, sm_str(s->ehlo.mechanisms), s->tls, &missing);
	if (x->m == NULL)
		return impossible(x, missing);
	rc = get_token(x, &where.token);
	if (rc != 0) {
		sm_log(SM_ERROR, "sc.auth_token", "da_sess=%C server=%s error=%E", s->id, s->host,
		       rc);
		(void)sm_fail(rc, "the OAuth 2.0 token cannot be had");
		return trouble(x, SM_STAGE_LOCAL, rc);
	}
	rc = dialogue(x, &where);
	sm_log(rc >= 200 && rc < 300 ? SM_INFO : SM_WARN, "sc.auth",
	       "da_sess=%C ss_ta=%?I server=%s address=%A auth=%s user=%S stat=%d tls=%s error=%?s",
	       s->id, ta, s->host, &s->sa, x->m->name, x->c->credentials.user, SM_MAX(rc, 0),
	       s->tls_text, rc < 0 ? sm_diag() : "");
	return conclude(x, rc);
}

int sc_auth(struct sc_session *s, const struct sc_server_conf *c, struct sm_id ta,
            struct sc_why *why)
{
	struct auth x = {.s = s, .c = c, .why = why};
	int rc;

	if (!c->has_credentials)
		return 0;
	sm_buf_init(&x.say, SAY_MAX);
	sm_buf_init(&x.heard, CHALLENGE_MAX);
	sm_buf_init(&x.token, TOKEN_MAX);
	s->stream.secret = true;
	rc = run(&x, ta);
	s->stream.secret = false;
	sc_sasl_free(&x.sasl);
	sm_buf_wipe(&x.say);
	sm_buf_wipe(&x.heard);
	sm_buf_wipe(&x.token);
	return rc;
}
