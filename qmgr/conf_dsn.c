/*
 * The options of qmgr's section DSN_handling: what reports look like, who gets them and by which
 * way.
 */
#include "qmgr/conf_int.h"

#include <stdio.h>
#include "libsm/addr.h"
#include "libsm/err.h"

static const struct sm_word dsn_words[] = {
    {"header_only", QM_DSN_HEADER_ONLY, "return only the header of the failed mail"},
    {"MIME_Format", QM_DSN_MIME,
     "multipart/report of RFC 3464 (always on; accepted for old configurations)"},
    {NULL, 0, NULL}};

const struct sm_opt qm_conf_dsn_opts[] = {
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

int qm_conf_check_dsn(const struct qm_conf *c)
{
	struct sm_sa sa;
	int err;

	if (c->dsn.submit.n > 0 && (err = qm_conf_submit(c->dsn.submit, &sa)) != 0)
		return err;
	return c->dsn.double_bounce_to.n > 0 ? check_address(c->dsn.double_bounce_to) : 0;
}
