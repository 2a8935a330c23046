/*
 * What stands behind XCLIENT. Invariant: what comes out of here are addresses, names of hosts, and
 * printable text; an attribute comes once. Pure.
 */
#include "smtps/xclient.h"

#include "libsm/addr.h"
#include "libsm/err.h"
#include "libsm/smtp_cmd.h"

enum { LOGIN_MAX = 255 };

struct given {
	const char *keyword;
	struct sm_str value; /* decoded; p NULL: not given */
	bool unknown, later; /* [UNAVAILABLE], [TEMPUNAVAIL] */
};
enum { ADDR, PORT, NAME, PROTO, HELO, LOGIN, DESTADDR, DESTPORT, COUNT };

static const char *const keywords[COUNT] = {
    [ADDR] = "ADDR", [PORT] = "PORT",   [NAME] = "NAME",         [PROTO] = "PROTO",
    [HELO] = "HELO", [LOGIN] = "LOGIN", [DESTADDR] = "DESTADDR", [DESTPORT] = "DESTPORT",
};

static struct given *find(struct given *all, struct sm_str key)
{
	for (size_t i = 0; i < COUNT; i++)
		if (sm_str_caseeq(sm_str(keywords[i]), key))
			return &all[i];
	return NULL;
}

static bool take(struct given *g, struct sm_str value, struct sm_arena *a)
{
	if (g == NULL || g->value.p != NULL || value.p == NULL ||
	    sm_xtext_decode(value, a, &g->value) != 0)
		return false;
	g->unknown = sm_str_caseeq(g->value, SM_STR("[UNAVAILABLE]"));
	g->later = sm_str_caseeq(g->value, SM_STR("[TEMPUNAVAIL]"));
	return true;
}

/* Neither said nor known. */
static bool nothing(const struct given *g)
{
	return g->value.p == NULL || g->unknown || g->later;
}

/* "1.2.3.4", "IPV6:::1" */
static bool address(const struct given *host, const struct given *port, struct sm_sa *out)
{
	uint64_t n = 0;

	if (!nothing(port) && sm_str_u64(port->value, 10, 65535, &n) != 0)
		return false;
	return host->value.n > 0 && host->value.p[0] != '[' &&
	       sm_sa_ip(out, host->value, (uint16_t)n) == 0;
}

/* The attribute whose value is none; NULL: all are good. */
static const char *fill(struct given *g, struct ss_xclient *out)
{
	if (nothing(&g[ADDR]) || !address(&g[ADDR], &g[PORT], &out->client) ||
	    sm_sa_is_bogus(&out->client))
		return "ADDR or PORT";
	if (!nothing(&g[NAME])) {
		if (!sm_domain_valid(g[NAME].value, true))
			return "NAME";
		out->resolve = SM_RESOLVE_OK;
		out->name = g[NAME].value;
	} else if (g[NAME].value.p != NULL) {
		out->resolve = g[NAME].later ? SM_RESOLVE_TEMP_PTR : SM_RESOLVE_NO;
	}
	if (!nothing(&g[PROTO])) {
		out->smtp = sm_str_caseeq(g[PROTO].value, SM_STR("SMTP"));
		if (!out->smtp && !sm_str_caseeq(g[PROTO].value, SM_STR("ESMTP")))
			return "PROTO";
	}
	if (!nothing(&g[HELO])) {
		if (!sm_helo_valid(g[HELO].value, false))
			return "HELO";
		out->helo = g[HELO].value;
	}
	if (!nothing(&g[LOGIN])) {
		if (g[LOGIN].value.n == 0 || g[LOGIN].value.n > LOGIN_MAX)
			return "LOGIN";
		out->login = g[LOGIN].value;
	}
	if (!nothing(&g[DESTADDR]) && !address(&g[DESTADDR], &g[DESTPORT], &out->server))
		return "DESTADDR or DESTPORT";
	return NULL;
}

int ss_xclient_parse(struct sm_str arg, struct sm_arena *a, struct ss_xclient *out,
                     struct sm_str *what)
{
	struct sm_str text = sm_arena_printf(a, " " SM_STR_FMT, SM_STR_ARG(arg)), key, value;
	struct given all[COUNT] = {{0}};
	const char *wrong;
	int rc;

	*out = (struct ss_xclient){.resolve = SM_RESOLVE_NONE};
	*what = SM_STR("syntax");
	if (text.p == NULL)
		return sm_fail(SM_E_TOOBIG, "too long");
	while ((rc = sm_smtp_param_next(&text, &key, &value)) == 1) {
		if (!take(find(all, key), value, a)) {
			*what = key;
			return sm_fail(SM_E_SYNTAX, "unknown attribute, twice, or no xtext");
		}
	}
	if (rc != 0)
		return rc;
	wrong = fill(all, out);
	if (wrong == NULL)
		return 0;
	*what = sm_str(wrong);
	return sm_fail(SM_E_SYNTAX, "bad value");
}
