/*
 * The user's name in a client's response. What the bytes mean is the mechanism's affair; this only
 * has to come to the same name as it does, for what honest clients send, and never to read beyond
 * them for what others do. Pure.
 *
 *   PLAIN   = [authzid] NUL authcid NUL passwd              (RFC 4616 2)
 *   LOGIN   = name, then a password
 *   CRAM    = name SP digest                                (RFC 2195 2)
 *   DIGEST  = ... username="..." ...                        (RFC 2831 2.1.2)
 *   SCRAM   = gs2-header "n=" saslname "," ...              (RFC 5802 7)
 *   XOAUTH2 = "user=" name ^A ...
 */
#include "smtps/authname.h"

#include "libsm/err.h"

static struct sm_str of_plain(struct sm_str r)
{
	struct sm_str rest;

	(void)sm_str_split(r, '\0', &rest);
	return sm_str_split(rest, '\0', &rest);
}

static struct sm_str of_cram(struct sm_str r)
{
	ptrdiff_t blank = sm_str_rchr(r, ' ');

	return blank < 0 ? SM_STR_NONE : sm_str_head(r, (size_t)blank);
}

/* In a list of name=value, where a quoted value may hold anything: `\` quotes the next byte. */
static struct sm_str of_digest(struct sm_str r)
{
	static const struct sm_str key = SM_STR("username=");
	bool quoted = false, at_name = true;
	size_t from;

	for (size_t i = 0; i < r.n; i++) {
		if (at_name && !quoted && sm_str_has_caseprefix(sm_str_from(r, i), key)) {
			from = i + key.n;
			bool in_quotes = from < r.n && r.p[from] == '"';
			char end = in_quotes ? '"' : ',';

			from += in_quotes;
			for (i = SM_MIN(from, r.n); i < r.n && r.p[i] != end; i++)
				if (r.p[i] == '\\' && in_quotes)
					i++;
			return sm_str_n(r.p + SM_MIN(from, r.n),
			                SM_MIN(i, r.n) - SM_MIN(from, r.n));
		}
		if (quoted && r.p[i] == '\\')
			i++;
		else if (r.p[i] == '"')
			quoted = !quoted;
		at_name = i < r.n && (r.p[i] == ',' || r.p[i] == ' ' || r.p[i] == '\t');
	}
	return SM_STR_NONE;
}

static struct sm_str of_scram(struct sm_str r)
{
	struct sm_str rest, name;

	(void)sm_str_split(r, ',', &rest);
	(void)sm_str_split(rest, ',', &rest);
	if (!sm_str_has_prefix(rest, SM_STR("n=")))
		return SM_STR_NONE;
	name = sm_str_split(sm_str_from(rest, 2), ',', &rest);
	return name;
}

static struct sm_str of_xoauth2(struct sm_str r)
{
	struct sm_str rest;

	return sm_str_has_prefix(r, SM_STR("user=")) ? sm_str_split(sm_str_from(r, 5), 1, &rest)
	                                             : SM_STR_NONE;
}

static struct sm_str find(struct sm_str mech, unsigned step, struct sm_str r)
{
	if (sm_str_eq(mech, SM_STR("DIGEST-MD5")))
		return of_digest(r);
	if (step > 0)
		return SM_STR_NONE;
	if (sm_str_eq(mech, SM_STR("PLAIN")))
		return of_plain(r);
	if (sm_str_eq(mech, SM_STR("LOGIN")))
		return r;
	if (sm_str_eq(mech, SM_STR("CRAM-MD5")))
		return of_cram(r);
	if (sm_str_has_prefix(mech, SM_STR("SCRAM-")))
		return of_scram(r);
	return sm_str_eq(mech, SM_STR("XOAUTH2")) ? of_xoauth2(r) : SM_STR_NONE;
}

struct sm_str ss_auth_name(struct sm_str mech, unsigned step, struct sm_str response,
                           struct sm_str realm, char *out, size_t size)
{
	struct sm_str name = sm_str_trim(find(mech, step, response));
	ptrdiff_t at = sm_str_rchr(name, '@');

	if (at > 0 && sm_str_caseeq(sm_str_from(name, (size_t)at + 1), realm))
		name.n = (size_t)at;
	name = sm_str_head(name, size);
	sm_str_lower(name, out);
	return sm_str_n(out, name.n);
}
