/*
 * Who our peers are: the users that the sections of the configuration give to other components. So
 * names of accounts are said once, in the configuration that mcp reads as well.
 *
 * Asks NSS: only before rights are dropped.
 */
#include <pwd.h>

#include "libsm/proc.h"

/* The last `user` of a section, empty: none. */
static struct sm_str user_of(const struct sm_conf_node *section)
{
	struct sm_str user = SM_STR("");

	for (const struct sm_conf_node *n = section->first; n != NULL; n = n->next)
		if (!n->is_section && sm_str_caseeq(n->key, SM_STR("user")) && n->values != NULL)
			user = n->values->text;
	return user;
}

static void add(struct sm_uids *u, const char *name)
{
	const struct passwd *pw = getpwnam(name);

	if (pw == NULL || u->count == SM_ARRAY_SIZE(u->v))
		return;
	for (size_t i = 0; i < u->count; i++)
		if (u->v[i] == pw->pw_uid)
			return;
	u->v[u->count++] = pw->pw_uid;
}

void sm_proc_users(const struct sm_proc *p, const char *component, struct sm_uids *u)
{
	struct sm_conf_file f;
	char name[64];

	if (p->conf_path == NULL || sm_conf_load(&f, p->conf_path) != 0)
		return;
	for (const struct sm_conf_node *n = f.root.first; n != NULL; n = n->next)
		if (n->is_section && sm_str_caseeq(n->key, sm_str(component)) &&
		    sm_str_copy(user_of(n), name, sizeof(name)) == 0 && name[0] != '\0')
			add(u, name);
	sm_conf_free(&f);
}
