/*
 * The option table of qmgr: names, defaults, bounds, units and words for the manual, each in one
 * row.
 */
#include "qmgr/conf.h"

#include <stdio.h>
#include "libsm/addr.h"
#include "libsm/err.h"
#include "qmgr/log.h"

#define AT(member) offsetof(struct qm_conf, member)
#define MS_DAY     (24 * 3600 * 1000LL)
#define KB         1024LL

static const struct sm_word dsn_words[] = {
    {"header_only", QM_DSN_HEADER_ONLY, "return only the header of the failed mail"},
    {"MIME_Format", QM_DSN_MIME,
     "multipart/report of RFC 3464 (always on; accepted for old configurations)"},
    {NULL, 0, NULL}};

#define LAT(member) offsetof(struct qm_conf_log, member)
static const struct sm_opt ibdb_opts[] = {
    {.name = "base_directory",
     .type = SM_OPT_PATH,
     .offset = LAT(base_directory),
     .def = "ibdb",
     .help = "where the journal of new mail lives"},
    {.name = "max_commit_delay",
     .type = SM_OPT_TIME,
     .offset = LAT(max_commit_delay_us),
     .def = "0",
     .min = 0,
     .max = 1000000,
     .unit = "us",
     .help = "longest wait for company before a group is synced",
     .man = "Used only while other transactions are open. Groups form by themselves while a sync "
            "runs, so 0 is right for nearly every disk."},
    {.name = "size",
     .type = SM_OPT_SIZE,
     .offset = LAT(size_bytes),
     .def = "32MB",
     .min = 2048 * KB,
     .max = QM_LOG_SEGMENT_MOST,
     .help = "size of one segment file"},
    {.name = "max_open_TAs",
     .type = SM_OPT_INT,
     .offset = LAT(max_open_tas),
     .def = "1000",
     .min = 1,
     .max = 1000000,
     .unit = "entries",
     .help = "open transactions that end the wait of max_commit_delay"},
    SM_OPT_END};
static const struct sm_opt defedb_opts[] = {
    {.name = "base_directory",
     .type = SM_OPT_PATH,
     .offset = LAT(base_directory),
     .def = "defedb",
     .help = "where the deferred queue lives"},
    {.name = "log_directory",
     .type = SM_OPT_PATH,
     .offset = LAT(log_directory),
     .def = "",
     .help = "where new segments are written; empty: base_directory"},
    {.name = "max_commit_delay",
     .type = SM_OPT_TIME,
     .offset = LAT(max_commit_delay_us),
     .def = "0",
     .min = 0,
     .max = 1000000,
     .unit = "us",
     .help = "longest wait for company before a group is synced"},
    {.name = "size",
     .type = SM_OPT_SIZE,
     .offset = LAT(size_bytes),
     .def = "32MB",
     .min = 2048 * KB,
     .max = QM_LOG_SEGMENT_MOST,
     .help = "size of one segment file"},
    SM_OPT_END};
static const struct sm_opt dsn_opts[] = {
    {.name = "flags",
     .type = SM_OPT_FLAGS,
     .reload = true,
     .offset = AT(dsn.flags),
     .def = "",
     .words = dsn_words,
     .help = "form of delivery status notifications"},
    {.name = "max_errors_per_DSN",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(dsn.max_errors),
     .def = "16",
     .min = 1,
     .max = 100,
     .unit = "entries",
     .help = "failed recipients reported in one DSN"},
    {.name = "merge_delay_max",
     .type = SM_OPT_TIME,
     .reload = true,
     .offset = AT(dsn.merge_delay_max_ms),
     .def = "0",
     .min = 0,
     .max = MS_DAY,
     .help = "how long a DSN waits for further failures of its transaction",
     .man = "Counted from the first failure. It does not wait when all recipients have ended or "
            "max_errors_per_DSN is reached; it does wait, for up to a minute even if this is "
            "less, while other recipients are being tried."},
    {.name = "max_size",
     .type = SM_OPT_SIZE,
     .reload = true,
     .offset = AT(dsn.max_bytes),
     .def = "100KB",
     .min = 0,
     .max = 4096 * KB,
     .help = "a failed mail larger than this goes back as its header only"},
    {.name = "double_bounce_to",
     .type = SM_OPT_STR,
     .reload = true,
     .offset = AT(dsn.double_bounce_to),
     .def = "postmaster",
     .max = 320,
     .help = "who is told of a DSN that could not be delivered; empty: nobody",
     .man = "A name without a domain is one of this host. Whatever becomes of that report, there "
            "is no further one: a failure is logged."},
    {.name = "submit",
     .type = SM_OPT_STR,
     .reload = true,
     .offset = AT(dsn.submit),
     .def = "",
     .max = 100,
     .help = "hand DSNs to this SMTP server (address:port or a socket) instead of delivering them",
     .man = "Meant for an smtps section whose filters sign what leaves the site; it must relay for "
            "smtpc. Such a DSN is a mail from the null sender from then on: if it cannot be "
            "delivered, that is logged and nobody is told. Reports of double_bounce_to do not go "
            "this way."},
    SM_OPT_END};
static const struct sm_opt iqdb_opts[] = {
    {.name = "max_cache_entries",
     .type = SM_OPT_INT,
     .offset = AT(iqdb_max_entries),
     .def = "65536",
     .min = 100,
     .max = 10000000,
     .unit = "entries",
     .help = "recipients of all open incoming transactions"},
    {.name = "hash_table_entries",
     .type = SM_OPT_INT,
     .offset = AT(iqdb_hash_entries),
     .def = "131072",
     .min = 100,
     .max = 20000000,
     .unit = "entries",
     .help = "accepted for old configurations: the table grows by itself"},
    SM_OPT_END};
static const struct sm_opt smtpc_opts[] = {
    {.name = "initial_connections",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtpc.initial_connections),
     .def = "10",
     .min = 1,
     .max = 10000,
     .unit = "entries",
     .help = "open connections to one next hop at first"},
    {.name = "max_connections",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtpc.max_connections),
     .def = "100",
     .min = 1,
     .max = 10000,
     .unit = "entries",
     .help = "open connections to one next hop at the most"},
    {.name = "lmtp_max_rcpts_per_transaction",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtpc.lmtp_max_rcpts),
     .def = "100",
     .min = 1,
     .max = 1000,
     .unit = "entries",
     .help = "recipients in one LMTP transaction"},
    {.name = "smtp_max_rcpts_per_transaction",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtpc.smtp_max_rcpts),
     .def = "100",
     .min = 1,
     .max = 1000,
     .unit = "entries",
     .help = "recipients in one SMTP transaction"},
    {.name = "max_message_rate",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtpc.max_message_rate),
     .def = "0",
     .min = 0,
     .max = 60000,
     .unit = "messages/60s",
     .help = "messages to one next hop; 0: no limit",
     .man = "They are spread evenly over the minute."},
    {.name = "dead_host_min_delay",
     .type = SM_OPT_TIME,
     .reload = true,
     .offset = AT(smtpc.dead_host_min_ms),
     .def = "1m",
     .min = 1000,
     .max = MS_DAY,
     .help = "how long a next hop that could not be reached is left alone at first",
     .man = "The time doubles with each failure in a row; it is never longer than retry_min_delay "
            "at first."},
    {.name = "dead_host_max_delay",
     .type = SM_OPT_TIME,
     .reload = true,
     .offset = AT(smtpc.dead_host_max_ms),
     .def = "30m",
     .min = 1000,
     .max = MS_DAY,
     .help = "and at the most",
     .man = "It is never longer than retry_max_delay."},
    SM_OPT_END};
static const struct sm_opt smtps_opts[] = {
    {.name = "max_connection_rate",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtps.max_connection_rate),
     .def = "100",
     .min = 0,
     .max = 10000000,
     .unit = "connections/60s",
     .help = "new sessions from one address; 0: no limit"},
    {.name = "max_connections",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtps.max_connections),
     .def = "100",
     .min = 0,
     .max = 1000000,
     .unit = "entries",
     .help = "open sessions from one address; 0: no limit"},
    {.name = "max_sessions",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtps.max_sessions),
     .def = "5000",
     .min = 1,
     .max = 1000000,
     .unit = "entries",
     .help = "open sessions of one smtps process"},
    {.name = "max_transactions",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtps.max_transactions),
     .def = "5000",
     .min = 1,
     .max = 1000000,
     .unit = "entries",
     .help = "open transactions of one smtps process"},
    {.name = "max_recipients",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(smtps.max_rcpts),
     .def = "50000",
     .min = 1000,
     .max = 10000000,
     .unit = "entries",
     .help = "recipients in open transactions of one smtps process"},
    SM_OPT_END};

const struct sm_opt qm_conf_opts[] = {
    {.name = "AQ_max_entries",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(aq_max_entries),
     .def = "8192",
     .min = 1100,
     .max = 1000000,
     .unit = "entries",
     .help = "recipients in the active queue",
     .man = "Must exceed the largest number of recipients of one transaction. What does not fit "
            "waits in DEFEDB."},
    {.name = "EDBC_max_entries",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(edbc_max_entries),
     .def = "2000000",
     .min = 1000,
     .max = 100000000,
     .unit = "entries",
     .help = "deferred transactions in the index of DEFEDB; above it new mail is refused with 452"},
    {.name = "OCC_max_entries",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(occ_max_entries),
     .def = "10000",
     .min = 100,
     .max = 10000000,
     .unit = "entries",
     .help = "next hops that are remembered"},
    {.name = "OCC_timeout",
     .type = SM_OPT_TIME,
     .reload = true,
     .offset = AT(occ_timeout_ms),
     .def = "1h",
     .min = 1000,
     .max = 30 * MS_DAY,
     .help = "how long a next hop that nobody uses is remembered",
     .man = "An octo: entry of the map goes before it."},
    {.name = "conf",
     .type = SM_OPT_PATH,
     .offset = AT(conf_map),
     .def = "qmgr_conf.db",
     .unit = "etc",
     .help = "map of limits per address, read again by a reload",
     .man =
         "A Berkeley DB hash if the name ends in .db, else a text file with a key and a number in "
         "each line. The keys oci:, ocm:, omr:, icr: and icm: followed by an address, the "
         "beginning "
         "of one (10.1, 2001:db8) or nothing give initial_connections, max_connections and "
         "max_message_rate of smtpc, max_connection_rate and max_connections of smtps for each "
         "single address there; the longest that fits rules. octo: gives OCC_timeout. A map that "
         "does not exist limits nothing, one with an error leaves the limits as they are."},
    {.name = "control_socket",
     .type = SM_OPT_PATH,
     .offset = AT(control_socket),
     .def = "ctl/qmgr",
     .help = "where qmgrctl asks"},
    {.name = "DEFEDB",
     .type = SM_OPT_SECTION,
     .offset = AT(defedb),
     .sub = defedb_opts,
     .help = "deferred queue"},
    {.name = "DSN_handling",
     .type = SM_OPT_SECTION,
     .offset = 0,
     .sub = dsn_opts,
     .help = "delivery status notifications"},
    {.name = "max_errors_per_DSN",
     .type = SM_OPT_INT,
     .offset = AT(dsn.max_errors),
     .def = "16",
     .min = 1,
     .max = 100,
     .unit = "entries",
     .help = "as DSN_handling.max_errors_per_DSN, for old configurations"},
    {.name = "IBDB",
     .type = SM_OPT_SECTION,
     .offset = AT(ibdb),
     .sub = ibdb_opts,
     .help = "journal of new mail"},
    {.name = "IQDB",
     .type = SM_OPT_SECTION,
     .offset = 0,
     .sub = iqdb_opts,
     .help = "open incoming transactions"},
    {.name = "min_disk_space",
     .type = SM_OPT_SIZE,
     .offset = AT(min_disk_bytes),
     .def = "100000KB",
     .min = 0,
     .max = INT64_MAX / 2,
     .unit = "KB",
     .reload = true,
     .help = "below this much free space new mail is refused with 452"},
    {.name = "ok_disk_space",
     .type = SM_OPT_SIZE,
     .offset = AT(ok_disk_bytes),
     .def = "150000KB",
     .min = 0,
     .max = INT64_MAX / 2,
     .unit = "KB",
     .reload = true,
     .help = "above this much it is accepted again"},
    {.name = "queue_return_timeout",
     .type = SM_OPT_TIME,
     .offset = AT(return_timeout_ms),
     .def = "5d",
     .min = 1000,
     .max = 365 * MS_DAY,
     .reload = true,
     .help = "age at which an undelivered mail goes back to its sender"},
    {.name = "queue_delay_timeout",
     .type = SM_OPT_TIME,
     .offset = AT(delay_timeout_ms),
     .def = "4h",
     .min = 1000,
     .max = 366 * MS_DAY,
     .reload = true,
     .help = "age at which the sender is told of the delay"},
    {.name = "retry_min_delay",
     .type = SM_OPT_TIME,
     .offset = AT(retry_min_ms),
     .def = "15m",
     .min = 1000,
     .max = 7 * MS_DAY,
     .reload = true,
     .help = "shortest time between two tries"},
    {.name = "retry_max_delay",
     .type = SM_OPT_TIME,
     .offset = AT(retry_max_ms),
     .def = "4h",
     .min = 1000,
     .max = 30 * MS_DAY,
     .reload = true,
     .help = "longest time between two tries"},
    {.name = "smtpc",
     .type = SM_OPT_SECTION,
     .offset = 0,
     .sub = smtpc_opts,
     .help = "limits of delivery"},
    {.name = "smtps",
     .type = SM_OPT_SECTION,
     .offset = 0,
     .sub = smtps_opts,
     .help = "limits of acceptance"},
    {.name = "wait_for_client",
     .type = SM_OPT_TIME,
     .offset = AT(wait_for_client_ms),
     .def = "4s",
     .min = 0,
     .max = MS_DAY,
     .help = "how long a transaction waits for an smtpc before it is deferred"},
    {.name = "wait_for_server",
     .type = SM_OPT_TIME,
     .offset = AT(wait_for_server_ms),
     .def = "4s",
     .min = 0,
     .max = MS_DAY,
     .help = "how long a recipient waits for smar before it is deferred"},
    {.name = "unlink_threads",
     .type = SM_OPT_INT,
     .offset = AT(unlink_threads),
     .def = "2",
     .min = 1,
     .max = 16,
     .unit = "threads",
     .help = "helpers that remove content and read deferred mail back"},
    {.name = "orphan_delay",
     .type = SM_OPT_TIME,
     .offset = AT(orphan_delay_ms),
     .def = "5m",
     .min = 1000,
     .max = MS_DAY,
     .help = "time between two looks for content that nobody owns"},
    SM_OPT_END};

int qm_conf_submit(struct sm_str text, struct sm_sa *sa)
{
	ptrdiff_t colon = sm_str_rchr(text, ':');
	uint64_t port;

	if (text.n > 0 && text.p[0] == '/')
		return sm_sa_unix(sa, text);
	if (colon <= 0 || sm_str_u64(sm_str_from(text, (size_t)colon + 1), 10, 65535, &port) != 0 ||
	    port == 0 || sm_sa_ip(sa, sm_str_head(text, (size_t)colon), (uint16_t)port) != 0)
		return sm_fail(SM_E_SYNTAX,
		               "DSN_handling.submit = " SM_STR_FMT
		               " is neither address:port nor the path of a socket",
		               SM_STR_ARG(text));
	return 0;
}

/* A mailbox, or its local part. */
static int check_address(struct sm_str text)
{
	char with_domain[400];
	struct sm_arena a;
	struct sm_addr addr;
	int err;

	(void)snprintf(with_domain, sizeof(with_domain), SM_STR_FMT "%s", SM_STR_ARG(text),
	               sm_str_chr(text, '@') >= 0 ? "" : "@localhost");
	sm_arena_init(&a, "address", 1024, 64 * 1024);
	err = sm_addr_mailbox(sm_str(with_domain), &a, &addr);
	sm_arena_fini(&a);
	return err == 0 ? 0
	                : sm_fail(SM_E_SYNTAX,
	                          "DSN_handling.double_bounce_to = " SM_STR_FMT " is no address",
	                          SM_STR_ARG(text));
}

int qm_conf_check(const struct qm_conf *c)
{
	struct sm_sa sa;
	int err;

	if (c->dsn.submit.n > 0 && (err = qm_conf_submit(c->dsn.submit, &sa)) != 0)
		return err;
	if (c->dsn.double_bounce_to.n > 0 && (err = check_address(c->dsn.double_bounce_to)) != 0)
		return err;
	if (c->ok_disk_bytes < c->min_disk_bytes)
		return sm_fail(SM_E_RANGE, "ok_disk_space is below min_disk_space");
	if (c->retry_max_ms < c->retry_min_ms)
		return sm_fail(SM_E_RANGE, "retry_max_delay is below retry_min_delay");
	if (c->smtpc.max_connections < c->smtpc.initial_connections)
		return sm_fail(SM_E_RANGE,
		               "smtpc.max_connections is below smtpc.initial_connections");
	if (c->smtpc.dead_host_max_ms < c->smtpc.dead_host_min_ms)
		return sm_fail(SM_E_RANGE,
		               "smtpc.dead_host_max_delay is below smtpc.dead_host_min_delay");
	return 0;
}
