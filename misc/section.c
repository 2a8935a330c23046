/* Reads one section of the configuration. Invariant: what no file says has its default. */
#include "misc/section.h"

#include <unistd.h>

#include "libsm/err.h"

#define DEFAULT_CONF SMX_SYSCONFDIR "/smx.conf"

static int read_file(const char *path, const char *name, const struct sm_opt *opts, void *conf,
                     struct sm_conf_global *global, struct sm_arena *a)
{
	struct sm_conf_file f;
	struct sm_conf_node *section;
	int rc = sm_conf_load(&f, path);

	if (rc != 0)
		return rc;
	rc = sm_conf_bind(&f, &f.root, sm_conf_global_opts, NULL, global, a);
	section = sm_conf_find(&f, sm_str(name), SM_STR(""));
	if (rc == 0 && section != NULL)
		rc = sm_conf_bind(&f, section, opts, sm_conf_any, conf, a);
	if (rc == 0)
		rc = sm_conf_global_check(global, path);
	sm_conf_free(&f);
	return rc;
}

int mi_section(const char *path, const char *name, const struct sm_opt *opts, void *conf,
               struct sm_conf_global *global, struct sm_arena *a)
{
	int rc;

	sm_conf_defaults(sm_conf_global_opts, global, a);
	sm_conf_defaults(opts, conf, a);
	rc = read_file(path != NULL ? path : DEFAULT_CONF, name, opts, conf, global, a);
	if ((rc == SM_E_NOTFOUND || rc == SM_E_DENIED) && path == NULL &&
	    access(DEFAULT_CONF, R_OK) == -1)
		rc = 0;
	return rc;
}
