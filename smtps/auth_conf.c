/* The options of AUTH: names, defaults, bounds, help, and what a table cannot say. Pure. */
#include "smtps/auth_conf.h"

#define AT(m) offsetof(struct ss_auth_conf, m)

static const struct sm_word flag_words[] = {
    {"noplaintext", SS_AUTH_NOPLAINTEXT,
     "no mechanism that sends passwords in clear (PLAIN, LOGIN), but under TLS"},
    {"noactive", SS_AUTH_NOACTIVE, "none that an active attacker can use"},
    {"nodictionary", SS_AUTH_NODICTIONARY, "none of which passwords can be guessed by who listens"},
    {"forward_secrecy", SS_AUTH_FORWARD_SECRECY, "only with forward secrecy between sessions"},
    {"noanonymous", SS_AUTH_NOANONYMOUS, "no anonymous logins"},
    {"pass_credentials", SS_AUTH_PASS_CREDENTIALS,
     "only those that pass credentials of the client"},
    {"mutual_auth", SS_AUTH_MUTUAL, "only those by which the client knows the server as well"},
    {0},
};

/* clang-format off */
const struct sm_opt ss_auth_opts[] = {
	{.name = "flags", .type = SM_OPT_FLAGS, .offset = AT(flags), .def = "noanonymous", .words = flag_words, .reload = true, .session = true,
	 .help = "what mechanisms must be good for to be offered",
	 .man = "The security properties of Cyrus SASL, whose documentation says what each means."},
	{.name = "mechanisms", .type = SM_OPT_LIST, .offset = AT(mechs), .max = 32, .reload = true, .session = true,
	 .def = "SCRAM-SHA-512, SCRAM-SHA-384, SCRAM-SHA-256, SCRAM-SHA-224, SCRAM-SHA-1, DIGEST-MD5, CRAM-MD5, PLAIN, LOGIN",
	 .help = "mechanisms that may be offered, of those that Cyrus SASL has",
	 .man = "What is not listed is never used, whichever plugins are installed. mech_list in sendmail.conf makes the choice smaller."},
	{.name = "trusted_mechs", .type = SM_OPT_LIST, .offset = AT(trusted), .def = "", .max = 32, .reload = true, .session = true,
	 .help = "mechanisms by which a client earns the right to relay"},
	{.name = "service", .type = SM_OPT_STR, .offset = AT(service), .def = "", .written = "smtp", .max = 32,
	 .help = "service name for Cyrus SASL; \"\": no AUTH",
	 .man = "If the section auth is written at all, even as auth { }, it is smtp; without the section there is no AUTH. saslauthd hands it to "
	 "PAM, Kerberos mechanisms make it part of their principal. The application is always sendmail: Cyrus SASL reads sendmail.conf."},
	{.name = "realm", .type = SM_OPT_STR, .offset = AT(realm), .def = "", .max = 255, .reload = true, .session = true,
	 .help = "realm of users that name none; \"\": the host's name", .man = "As saslpasswd2 -u had it when the user was made."},
	{.name = "config_directory", .type = SM_OPT_PATH, .offset = AT(conf_dir), .def = "/etc/sasl2", .max = 1000,
	 .help = "where sendmail.conf of Cyrus SASL is", .man = "It is read once, at the start; without the file all of Cyrus SASL's defaults hold."},
	{.name = "readable", .type = SM_OPT_LIST, .offset = AT(paths), .def = "/etc/sasldb2, /run/saslauthd", .max = 16,
	 .help = "files and directories that plugins of Cyrus SASL read while the server runs",
	 .man = "Everything else is closed to them (Landlock). A file that is not changed in place but replaced needs its directory here, and one "
	 "that is not there when the server starts as well."},
	{.name = "timeout", .type = SM_OPT_TIME, .offset = AT(timeout_ms), .def = "30s", .min = 100, .max = 600000, .unit = "s", .reload = true,
	 .help = "wait so long for saslauthd or a database, then 454"},
	{.name = "max_checks", .type = SM_OPT_INT, .offset = AT(max_checks), .def = "4", .min = 1, .max = 63, .unit = "threads",
	 .help = "helper threads (io_threads) that may wait for saslauthd or a database at a time",
	 .man = "The others stay free for mail, however long an authentication server hangs."},
	{.name = "max_failures_per_session", .type = SM_OPT_INT, .offset = AT(max_session), .def = "5", .min = 1, .max = 10000, .unit = "failures",
	 .reload = true, .session = true, .help = "failed AUTH commands; the one that reaches it gets 421"},
	{.name = "failure_delay", .type = SM_OPT_TIME, .offset = AT(delay_ms), .def = "1s", .min = 0, .max = 60000, .unit = "s", .reload = true,
	 .help = "the answer to a failure takes so long, twice as long after each further one",
	 .man = "Failures of the client's address and of the user name count, within failure_window, in all sessions of a process; until the time is "
	 "over no other attempt of either is begun. All answers to failures take a multiple of this, so that their time tells nothing. 0: no delay."},
	{.name = "max_failure_delay", .type = SM_OPT_TIME, .offset = AT(max_delay_ms), .def = "30s", .min = 0, .max = 240000, .unit = "s",
	 .reload = true, .help = "and so long at the most; who would have to wait longer for his turn is refused"},
	{.name = "max_failures_per_client", .type = SM_OPT_INT, .offset = AT(max_client), .def = "50", .min = 0, .max = 1000000, .unit = "failures",
	 .reload = true, .help = "failures of an address (IPv6: a /64) within failure_window; more: 421 to each AUTH; 0: no limit",
	 .man = "An address that may relay anyhow, as that of a webmail server, is not limited: its users are, by their names."},
	{.name = "max_failures_per_user", .type = SM_OPT_INT, .offset = AT(max_user), .def = "100", .min = 0, .max = 1000000, .unit = "failures",
	 .reload = true, .help = "failures for a user name within failure_window; more: 454; 0: no limit",
	 .man = "Whether there is such a user makes no difference. An address from which the user has come in before is not concerned."},
	{.name = "failure_window", .type = SM_OPT_TIME, .offset = AT(window_ms), .def = "10m", .min = 1000, .max = 86400000, .unit = "s",
	 .reload = true, .help = "how long failures count"},
	{.name = "max_entries", .type = SM_OPT_INT, .offset = AT(max_entries), .def = "100000", .min = 100, .max = 10000000, .unit = "entries",
	 .reload = true, .help = "addresses, and user names, whose failures are remembered; the oldest are forgotten first"},
	SM_OPT_END,
};
/* clang-format on */

bool ss_auth_mech_in(const struct sm_conf_list *list, struct sm_str mech)
{
	for (size_t i = 0; i < list->count; i++)
		if (sm_str_caseeq(list->v[i], mech))
			return true;
	return false;
}

bool ss_auth_mech_valid(struct sm_str mech)
{
	for (size_t i = 0; i < mech.n; i++)
		if (!sm_isalnum(mech.p[i]) && mech.p[i] != '-' && mech.p[i] != '_')
			return false;
	return mech.n >= 1 && mech.n <= 20;
}

static int check_mechs(const char *name, const struct sm_conf_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (!ss_auth_mech_valid(list->v[i]))
			return sm_fail(SM_E_SYNTAX,
			               "auth.%s: \"" SM_STR_FMT "\" is no name of a mechanism",
			               name, SM_STR_ARG(list->v[i]));
	return 0;
}

int ss_auth_conf_check(const struct ss_auth_conf *c, int64_t io_threads)
{
	int err;

	if (!ss_auth_configured(c))
		return 0;
	if ((err = check_mechs("mechanisms", &c->mechs)) != 0 ||
	    (err = check_mechs("trusted_mechs", &c->trusted)) != 0)
		return err;
	for (size_t i = 0; i < c->trusted.count; i++)
		if (!ss_auth_mech_in(&c->mechs, c->trusted.v[i]))
			return sm_fail(SM_E_SYNTAX,
			               "auth.trusted_mechs: " SM_STR_FMT
			               " is not among auth.mechanisms",
			               SM_STR_ARG(c->trusted.v[i]));
	if (c->max_delay_ms < c->delay_ms)
		return sm_fail(SM_E_RANGE, "auth.max_failure_delay is below auth.failure_delay");
	if (c->max_checks >= io_threads)
		return sm_fail(SM_E_RANGE,
		               "auth.max_checks has to be below io_threads: mail needs some");
	return 0;
}
