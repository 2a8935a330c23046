/*
 * sendmail: the command that programs, cron and people call to send mail. It hands what it is given
 * to smtps over a Unix socket, and tells by its exit status what became of that; it has no queue,
 * and no rights that its caller has not. See sendmail.h for the parts. One thread.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "libsm/addr.h"
#include "libsm/err.h"
#include "libsm/proc.h"
#include "misc/qmgrctl.h"
#include "misc/section.h"
#include "misc/sendmail.h"

static const char usage[] =
    "usage: sendmail [-t] [-i] [-v] [-f sender] [-F name] [option ...] [--] [address ...]\n"
    "       sendmail -bs | -bv address ... | -bp | -q\n"
    "sendmail(8) tells the options\n";

static const char aliases_text[] =
    "sendmail: smx has no /etc/aliases of its own: the map that the section smar of smx.conf "
    "names\n"
    "as aliases is made by createmap(1), and read again by: qmgrctl reload\n";

static struct {
	struct sl_opts opts;
	struct sl_conf conf;
	struct sm_conf_global global;
	struct sm_arena arena;
	struct sl_mail mail;
	char hostname[256];
	bool no_stdin;
} me;

/* A socket or a file must not become what others take for standard error. */
static void open_standard(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) != -1)
			continue;
		if (fd == STDIN_FILENO)
			me.no_stdin = true;
		(void)!open("/dev/null", O_RDWR);
	}
}

/* ---- configuration ---- */

static int configure(void)
{
	int rc;

	sm_arena_init(&me.arena, "configuration", 4096, 4 * 1024 * 1024);
	rc = mi_section(me.opts.conf, "sendmail", sl_conf_opts, &me.conf, &me.global, &me.arena);
	return rc != 0 ? rc : sl_conf_check(&me.conf);
}

static void find_hostname(void)
{
	if (sm_str_copy(me.global.hostname, me.hostname, sizeof(me.hostname)) != 0 ||
	    me.hostname[0] == '\0')
		sm_proc_hostname(me.hostname, sizeof(me.hostname));
	if (!sm_domain_valid(sm_str(me.hostname), false))
		(void)snprintf(me.hostname, sizeof(me.hostname), "localhost");
}

/* ---- what there is to do ---- */

static int status_of(int err)
{
	switch (err) {
	case SM_E_SYNTAX:
	case SM_E_TOOBIG:
	case SM_E_RANGE:
	case SM_E_NOTSUP:
		return SL_DATAERR;
	case SM_E_IO:
		return SL_IOERR;
	case SM_E_BUG:
		return SL_SOFTWARE;
	default:
		return SL_OSERR;
	}
}

static int make_mail(void)
{
	int rc = sl_mail_init(&me.mail, &me.opts, &me.conf, sm_str(me.hostname));

	if (rc != 0 || me.opts.mode == SL_VERIFY)
		return rc;
	if (me.no_stdin)
		return sm_fail(SM_E_IO, "standard input is closed");
	return sl_text_read(&me.mail, STDIN_FILENO);
}

static int submit(void)
{
	int rc, status;

	if (!me.opts.from_header && me.opts.count == 0) {
		sl_complain(&me.opts,
		            "no recipients: name them, or let -t find them in the header");
		(void)(me.opts.quiet || fputs(usage, stderr));
		return SL_USAGE;
	}
	find_hostname();
	rc = make_mail();
	if (rc == 0 && me.mail.rcpt_count == 0)
		rc = sm_fail(SM_E_SYNTAX, "the message names no recipient");
	if (rc != 0) {
		sl_complain(&me.opts, "%s", sm_diag());
		status = status_of(rc);
	} else {
		status = me.opts.mode == SL_VERIFY ? sl_verify(&me.mail) : sl_send(&me.mail);
	}
	sl_mail_fini(&me.mail);
	return status;
}

static void ignore(void *arg, struct sm_str json)
{
	(void)arg;
	(void)json;
}

static int ask_qmgr(const char *verb, void (*line)(void *, struct sm_str), void *arg)
{
	char path[128];
	int rc = sm_str_copy(me.conf.control_socket, path, sizeof(path));
	const struct qc_ask ask = {.program = "sendmail",
	                           .server = "qmgr",
	                           .role = SM_ROLE_QMGR,
	                           .socket = path,
	                           .verb = verb,
	                           .line = line,
	                           .arg = arg};

	sm_assert(rc == 0); /* the table has bounded it */
	return qc_ask(&ask);
}

static int show_queue(void)
{
	struct qc_mailq out = {0};
	int status;

	sm_buf_init(&out.out, 4 * 1024 * 1024);
	status = ask_qmgr("list", qc_mailq, &out);
	if (status == QC_NOTHING)
		status = QC_OK;
	if (status == QC_OK)
		qc_mailq_end(&out);
	sm_buf_fini(&out.out);
	return fflush(stdout) == 0 && !ferror(stdout) ? status : SL_OSERR;
}

/* What waits for a queue run, and what waits for its next try: other queues know no difference. */
static int run_queue(void)
{
	int status = ask_qmgr("run", ignore, NULL);

	if (status == QC_OK || status == QC_NOTHING)
		status = ask_qmgr("flush", ignore, NULL);
	return status == QC_NOTHING ? QC_OK : status;
}

static int run(void)
{
	switch (me.opts.mode) {
	case SL_SMTP:
		return sl_bridge(&me.opts, &me.conf);
	case SL_QUEUE:
		return show_queue();
	case SL_RUN:
		return run_queue();
	case SL_ALIASES:
		(void)fputs(aliases_text, stderr);
		return SL_UNAVAILABLE;
	case SL_SEND:
	case SL_VERIFY:
		break;
	}
	return submit();
}

int main(int argc, char **argv)
{
	int status;

	open_standard();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	if (sl_opts(&me.opts, argc, argv) != 0) {
		(void)fprintf(stderr, "sendmail: %s\n%s", sm_diag(), usage);
		return SL_USAGE;
	}
	if (configure() != 0) {
		sl_complain(&me.opts, "%s", sm_diag());
		status = SL_CONFIG;
	} else {
		status = run();
	}
	sm_arena_fini(&me.arena);
	return status;
}
