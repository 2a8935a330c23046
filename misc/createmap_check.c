/* createmap -k: right hand sides by the parsers that smar reads them with, so that an operator
 * learns of a wrong one when the map is made, and not when mail comes. */
#include "libsm/buf.h"
#include "misc/createmap.h"
#include "smar/access_rhs.h"
#include "smar/alias_rhs.h"
#include "smar/mailertable.h"
#include "smtpc/server_conf.h"

/* What smtpc is to understand, too. */
static int check_access(struct sm_str key, struct sm_str value)
{
	int rc = ar_access_check_entry(key, value);

	if (rc == 0 && sm_str_has_caseprefix(key, SM_STR("smtpc_session_conf:")))
		rc = sc_server_conf_check(value, false);
	else if (rc == 0 && sm_str_has_caseprefix(key, SM_STR("smtpc_rcpt_conf:")))
		rc = sc_server_conf_check(value, true);
	return rc;
}

static int check_alias(struct sm_str key, struct sm_str value)
{
	(void)key;
	return ar_rhs_check(value, true);
}

/* As a table of one line. */
static int check_mailertable(struct sm_str key, struct sm_str value)
{
	struct ar_mt *mt = NULL;
	struct sm_buf line;
	const char *said;
	int rc;

	sm_buf_init(&line, (size_t)1 << 20);
	sm_buf_printf(&line, SM_STR_FMT " " SM_STR_FMT "\n", SM_STR_ARG(key), SM_STR_ARG(value));
	rc = ar_mt_parse("", sm_buf_view(&line), &mt);
	sm_buf_fini(&line);
	if (rc == 0)
		ar_mt_unref(&mt);
	said = sm_diag();
	if (rc != 0 && sm_str_has_prefix(sm_str(said), SM_STR(":1: "))) {
		char text[SM_DIAG_MAX];

		sm_str_cut(sm_str(said + 4), text, sizeof(text));
		return sm_fail(rc, "%s", text);
	}
	return rc;
}

static int check_nothing(struct sm_str key, struct sm_str value)
{
	(void)key;
	(void)value;
	return 0;
}

cm_check_cb *cm_check_named(const char *kind)
{
	static const struct {
		const char *name;
		cm_check_cb *check;
	} kinds[] = {
	    {"access", check_access},
	    {"aliases", check_alias},
	    {"mailertable", check_mailertable},
	    {"plain", check_nothing},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].name, kind) == 0)
			return kinds[i].check;
	return NULL;
}
