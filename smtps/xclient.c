/*
 * What stands behind XCLIENT. Invariant: what comes out of here are addresses, names of hosts, and
 * printable text. Pure.
 */
#include "smtps/xclient.h"

#include "libsm/addr.h"
#include "libsm/err.h"
#include "smtps/attributes.h"

enum { LOGIN_MAX = 255 };

enum { ADDR, PORT, NAME, PROTO, HELO, LOGIN, DESTADDR, DESTPORT, COUNT };

/* "1.2.3.4", "IPV6:::1" */
static bool address(const struct ss_attribute *host, const struct ss_attribute *port,
                    struct sm_sa *out)
{
	uint64_t n = 0;

	if (ss_attribute_known(port) && sm_str_u64(port->value, 10, 65535, &n) != 0)
		return false;
	return host->value.n > 0 && host->value.p[0] != '[' &&
	       sm_sa_ip(out, host->value, (uint16_t)n) == 0;
}

/* The attribute whose value is none; NULL: all are good. */
static const char *fill(struct ss_attribute *g, struct ss_xclient *out)
{
	if (!ss_attribute_known(&g[ADDR]) || !address(&g[ADDR], &g[PORT], &out->client) ||
	    sm_sa_is_bogus(&out->client))
		return "ADDR or PORT";
	if (ss_attribute_known(&g[NAME])) {
		if (!sm_domain_valid(g[NAME].value, true))
			return "NAME";
		out->resolve = SM_RESOLVE_OK;
		out->name = g[NAME].value;
	} else if (g[NAME].value.p != NULL) {
		out->resolve = g[NAME].later ? SM_RESOLVE_TEMP_PTR : SM_RESOLVE_NO;
	}
	if (ss_attribute_known(&g[PROTO])) {
		out->smtp = sm_str_caseeq(g[PROTO].value, SM_STR("SMTP"));
		if (!out->smtp && !sm_str_caseeq(g[PROTO].value, SM_STR("ESMTP")))
			return "PROTO";
	}
	if (ss_attribute_known(&g[HELO])) {
		if (!sm_helo_valid(g[HELO].value, false))
			return "HELO";
		out->helo = g[HELO].value;
	}
	if (ss_attribute_known(&g[LOGIN])) {
		if (g[LOGIN].value.n == 0 || g[LOGIN].value.n > LOGIN_MAX)
			return "LOGIN";
		out->login = g[LOGIN].value;
	}
	if (ss_attribute_known(&g[DESTADDR]) && !address(&g[DESTADDR], &g[DESTPORT], &out->server))
		return "DESTADDR or DESTPORT";
	return NULL;
}

int ss_xclient_parse(struct sm_str arg, struct sm_arena *a, struct ss_xclient *out,
                     struct sm_str *what)
{
	struct ss_attribute all[COUNT] = {
	    [ADDR] = {.keyword = "ADDR"},         [PORT] = {.keyword = "PORT"},
	    [NAME] = {.keyword = "NAME"},         [PROTO] = {.keyword = "PROTO"},
	    [HELO] = {.keyword = "HELO"},         [LOGIN] = {.keyword = "LOGIN"},
	    [DESTADDR] = {.keyword = "DESTADDR"}, [DESTPORT] = {.keyword = "DESTPORT"},
	};
	const char *wrong;
	int rc;

	*out = (struct ss_xclient){.resolve = SM_RESOLVE_NONE};
	rc = ss_attributes_parse(arg, a, all, COUNT, what);
	if (rc != 0)
		return rc;
	wrong = fill(all, out);
	if (wrong == NULL)
		return 0;
	*what = sm_str(wrong);
	return sm_fail(SM_E_SYNTAX, "bad value");
}
