/*
 * Setting Cyrus SASL up: its log, its plugins, and the plugin that has a secret for each user that
 * nobody knows.
 *
 * Invariant: what is said while helpers run is never logged from here, because only the loop's
 * thread logs. Thread: the loop's, but for the lookup of our plugin, which helpers call.
 */
#include "smtps/sasl_int.h"

#include "libsm/err.h"

#ifdef SM_HAVE_SASL

#include <sasl/prop.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libsm/log.h"
#include "libsm/rand.h"
#include "libsm/sasl_mem.h"

#define APPLICATION "sendmail"
#define DECOY       "smx_unknown_users"
enum { DECOY_BYTES = 24, PLUGINS_MAX = 1024 };

static struct {
	bool ready, starting;
	char hostname[256];
	char plugins[PLUGINS_MAX]; /* for lookups, in order, ours the last */
} lib;

/* ---- log ---- */

/* Only of the start: what is said of an attempt goes to that (sasl.c). */
static int on_log(void *context SM_UNUSED, int level, const char *text)
{
	if (lib.starting && level <= SASL_LOG_WARN)
		sm_log(SM_WARN, "ss.sasl", "text=%s", text);
	return SASL_OK;
}

/* ---- the plugin for unknown users ---- */

/*
 * Called after all others. When one of them knew anything of the user, or does not answer, this
 * changes nothing; what a temporary failure is, stays one.
 */
static int decoy_lookup(void *glob SM_UNUSED, sasl_server_params_t *sp, unsigned flags,
                        const char *user SM_UNUSED, unsigned len SM_UNUSED)
{
	static const char digits[] =
	    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/";
	const struct propval *have = sp->utils->prop_get(sp->propctx);
	unsigned char secret[DECOY_BYTES];
	char text[DECOY_BYTES + 1];
	int rc;

	if (have == NULL || (flags & SASL_AUXPROP_AUTHZID))
		return SASL_NOUSER;
	for (const struct propval *p = have; p->name != NULL; p++)
		if (p->name[0] == '*' && p->values != NULL && p->values[0] != NULL)
			return SASL_NOUSER;
	sm_rand_secret(secret, sizeof(secret));
	for (size_t i = 0; i < DECOY_BYTES; i++)
		text[i] = digits[secret[i] & 63];
	text[DECOY_BYTES] = '\0';
	/* Not asked for, not set: that is what an error means here. */
	rc = sp->utils->prop_set(sp->propctx, SASL_AUX_PASSWORD, text, DECOY_BYTES);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(secret, sizeof(secret));
	return rc == SASL_OK ? SASL_OK : SASL_NOUSER;
}

static void list_plugin(sasl_auxprop_plug_t *plug, sasl_info_callback_stage_t stage,
                        void *rock SM_UNUSED)
{
	size_t n = strlen(lib.plugins);

	if (stage == SASL_INFO_LIST_MECH && plug != NULL && plug->name != NULL)
		(void)snprintf(lib.plugins + n, sizeof(lib.plugins) - n, "%s ", plug->name);
}

/* The site's choice, else all there are; then ours. */
static int decoy_init(const sasl_utils_t *utils, int max_version, int *version,
                      sasl_auxprop_plug_t **plug, const char *name SM_UNUSED)
{
	static char own_name[] = DECOY;
	static sasl_auxprop_plug_t own = {.auxprop_lookup = decoy_lookup, .name = own_name};
	const char *chosen = NULL;
	size_t n;

	if (max_version < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	if (utils->getopt(utils->getopt_context, NULL, "auxprop_plugin", &chosen, NULL) ==
	        SASL_OK &&
	    chosen != NULL)
		(void)snprintf(lib.plugins, sizeof(lib.plugins), "%s ", chosen);
	else
		(void)auxprop_plugin_info(NULL, list_plugin, NULL);
	n = strlen(lib.plugins);
	if (n + sizeof(DECOY) > sizeof(lib.plugins))
		return SASL_BUFOVER;
	memcpy(lib.plugins + n, DECOY, sizeof(DECOY));
	*version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &own;
	return SASL_OK;
}

int ss_sasl_getopt(void *context SM_UNUSED, const char *plugin, const char *option,
                   const char **result, unsigned *len)
{
	if (plugin != NULL || strcmp(option, "auxprop_plugin") != 0)
		return SASL_FAIL;
	*result = lib.plugins;
	if (len != NULL)
		*len = (unsigned)strlen(lib.plugins);
	return SASL_OK;
}

const char *ss_sasl_hostname(void)
{
	return lib.hostname;
}

/* ---- start and end ---- */

static int failed(const char *what, int rc)
{
	return sm_fail(SM_E_SYS, "Cyrus SASL: %s: %s", what, sasl_errstring(rc, NULL, NULL));
}

int ss_sasl_init(const struct ss_auth_conf *c, struct sm_str hostname)
{
	static const sasl_callback_t callbacks[] = {
	    {SASL_CB_LOG, (ss_sasl_cb)(void *)on_log, NULL},
	    {SASL_CB_LIST_END, NULL, NULL},
	};
	char dir[1024];
	int rc;

	if (sm_str_copy(hostname, lib.hostname, sizeof(lib.hostname)) != 0 ||
	    sm_str_copy(c->conf_dir, dir, sizeof(dir)) != 0)
		return sm_fail(SM_E_TOOBIG, "auth: a name is too long");
	sm_sasl_prepare();
	if ((rc = sasl_set_path(SASL_PATH_TYPE_CONFIG, dir)) != SASL_OK)
		return failed("config_directory", rc);
	lib.starting = true;
	rc = sasl_server_init(callbacks, APPLICATION);
	if (rc == SASL_OK)
		rc = sasl_auxprop_add_plugin(DECOY, decoy_init);
	lib.starting = false;
	if (rc != SASL_OK)
		return failed("start", rc);
	lib.ready = true;
	return 0;
}

bool ss_sasl_ready(void)
{
	return lib.ready;
}

void ss_sasl_fini(void)
{
	if (lib.ready && ss_sasl_busy() == 0)
		sasl_done();
	lib.ready = false;
}

#else

int ss_sasl_init(const struct ss_auth_conf *c, struct sm_str hostname)
{
	(void)c;
	(void)hostname;
	return sm_fail(SM_E_NOTSUP, "auth: this program was built without Cyrus SASL");
}

bool ss_sasl_ready(void)
{
	return false;
}

void ss_sasl_fini(void)
{
}

#endif
