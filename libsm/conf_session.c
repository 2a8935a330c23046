/*
 * A configuration that one session has for itself: text from a map, bound by the rows of the
 * program's own table. Invariant: what concerns the whole process cannot be said there. Any thread.
 */
#include "libsm/conf.h"

static const struct sm_opt *find(const struct sm_opt *table, struct sm_str key)
{
	for (const struct sm_opt *o = table; o->name != NULL; o++)
		if (sm_str_caseeq(sm_str(o->name), key))
			return o;
	return NULL;
}

/* What has no row is the binding's to complain about, but for sections: on the top level those of
 * others are passed over. */
static int allowed(const struct sm_conf_file *f, const struct sm_conf_node *section,
                   const struct sm_opt *table)
{
	int rc = 0;

	for (const struct sm_conf_node *n = section->first; rc == 0 && n != NULL; n = n->next) {
		const struct sm_opt *o = find(table, n->key);

		if (o == NULL && n->is_section)
			rc = sm_fail(SM_E_NOTFOUND, "%s:%d: unknown section " SM_STR_FMT, f->path,
			             n->line, SM_STR_ARG(sm_str_head(n->key, 60)));
		else if (o != NULL && o->type == SM_OPT_SECTION && n->is_section)
			rc = allowed(f, n, o->sub);
		else if (o != NULL && (!o->session || o->type == SM_OPT_SECTIONS))
			rc = sm_fail(SM_E_DENIED, "%s:%d: %s cannot differ between sessions",
			             f->path, n->line, o->name);
	}
	return rc;
}

int sm_conf_bind_session(const struct sm_opt *table, void *target, struct sm_arena *a,
                         struct sm_str text, const char *where)
{
	struct sm_conf_file f;
	int rc = sm_conf_parse(&f, where, text);

	if (rc != 0)
		return rc;
	rc = allowed(&f, &f.root, table);
	if (rc == 0)
		rc = sm_conf_bind(&f, &f.root, table, NULL, target, a);
	sm_conf_free(&f);
	return rc;
}
