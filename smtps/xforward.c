/*
 * What stands behind XFORWARD. Invariant: each text is short, printable, and may stand in a header
 * or a log line; a command that is bad changes nothing. Pure.
 */
#include "smtps/xforward.h"

#include "libsm/err.h"
#include "smtps/attributes.h"

enum { NAME, ADDR, PORT, PROTO, HELO, IDENT, SOURCE, COUNT };

/* None: what was told before stays. */
static bool take_text(const struct ss_attribute *g, char *out, size_t size)
{
	if (g->value.p == NULL)
		return true;
	out[0] = '\0';
	if (!ss_attribute_known(g))
		return true;
	if (g->value.n >= size)
		return false;
	for (size_t i = 0; i < g->value.n; i++) {
		char c = g->value.p[i];

		out[i] = c <= ' ' || c > '~' || strchr("<>()\\\";@", c) != NULL ? '?' : c;
	}
	out[g->value.n] = '\0';
	return true;
}

/* Other kinds of addresses than those of IP may be told; there is nothing to do with them. */
static void take_address(const struct ss_attribute *g, struct sm_sa *out)
{
	if (g->value.p == NULL)
		return;
	if (!ss_attribute_known(g) || sm_str_empty(g->value) || g->value.p[0] == '[' ||
	    sm_sa_ip(out, g->value, 0) != 0 || sm_sa_is_bogus(out))
		*out = (struct sm_sa){.len = 0};
}

static bool take_port(const struct ss_attribute *g, uint16_t *out)
{
	uint64_t n = 0;

	if (g->value.p == NULL)
		return true;
	if (ss_attribute_known(g) && sm_str_u64(g->value, 10, 65535, &n) != 0)
		return false;
	*out = (uint16_t)n;
	return true;
}

static bool take_source(const struct ss_attribute *g, char *out, size_t size)
{
	bool known = ss_attribute_known(g);

	if (known && !sm_str_caseeq(g->value, SM_STR("LOCAL")) &&
	    !sm_str_caseeq(g->value, SM_STR("REMOTE")))
		return false;
	if (g->value.p != NULL)
		sm_str_cut(!known                                     ? SM_STR("")
		           : sm_str_caseeq(g->value, SM_STR("LOCAL")) ? SM_STR("LOCAL")
		                                                      : SM_STR("REMOTE"),
		           out, size);
	return true;
}

/* The attribute whose value is none; NULL: all are good. */
static const char *fill(const struct ss_attribute *g, struct ss_xforward *x)
{
	take_address(&g[ADDR], &x->addr);
	if (!take_text(&g[NAME], x->name, sizeof(x->name)))
		return "NAME";
	if (!take_port(&g[PORT], &x->port))
		return "PORT";
	if (!take_text(&g[PROTO], x->proto, sizeof(x->proto)))
		return "PROTO";
	if (!take_text(&g[HELO], x->helo, sizeof(x->helo)))
		return "HELO";
	if (!take_text(&g[IDENT], x->ident, sizeof(x->ident)))
		return "IDENT";
	return take_source(&g[SOURCE], x->source, sizeof(x->source)) ? NULL : "SOURCE";
}

static bool any(const struct ss_attribute *g)
{
	for (size_t i = 0; i < COUNT; i++)
		if (g[i].value.p != NULL)
			return true;
	return false;
}

int ss_xforward_parse(struct sm_str arg, struct sm_arena *scratch, struct ss_xforward *x,
                      struct sm_str *what)
{
	struct ss_attribute all[COUNT] = {
	    [NAME] = {.keyword = "NAME"},     [ADDR] = {.keyword = "ADDR"},
	    [PORT] = {.keyword = "PORT"},     [PROTO] = {.keyword = "PROTO"},
	    [HELO] = {.keyword = "HELO"},     [IDENT] = {.keyword = "IDENT"},
	    [SOURCE] = {.keyword = "SOURCE"},
	};
	struct ss_xforward next = *x;
	const char *wrong;
	int rc = ss_attributes_parse(arg, scratch, all, COUNT, what);

	if (rc == 0 && !any(all))
		rc = sm_fail(SM_E_SYNTAX, "no attribute");
	if (rc != 0)
		return rc;
	wrong = fill(all, &next);
	if (wrong != NULL) {
		*what = sm_str(wrong);
		return sm_fail(SM_E_SYNTAX, "bad value");
	}
	*x = next;
	return 0;
}
