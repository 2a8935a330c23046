/*
 * smxfeed: the commands of the client. See smxfeed.h for the parts. Invariant: one reply a command,
 * in order. One thread.
 */
#include "misc/smxfeed.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "libsm/addr.h"
#include "libsm/err.h"
#include "libsm/proc.h"
#include "libsm/smtp_cmd.h"
#include "libsm/time.h"
#include "misc/section.h"

enum {
	BUFFER_MAX = 1024 * 1024,
	ANSWERS_MAX = 8 * 1024 * 1024, /* for a thousand recipients with the longest texts */
	REPLY_LINES = 100,
};
#define IDLE_MS (60 * 60 * 1000) /* for a command */
#define TAKE_MS (10 * 60 * 1000) /* for replies to be read */

void sf_say(struct sf *f, int code, const char *text)
{
	sm_reply_put(&f->client.wr, code, sm_str(text));
	if (f->opts.dialogue)
		sf_log(f, LOG_DEBUG, "to the caller: %d %s", code, text);
}

static void close_with(struct sf *f, int status)
{
	f->closing = true;
	f->status = status;
}

/* ---- commands ---- */

static void do_lhlo(struct sf *f, struct sm_str line)
{
	struct sm_str text =
	    sm_arena_printf(&f->arena, "%s" SM_STR_FMT, f->hostname, SM_STR_ARG(f->extensions));

	(void)line;
	sf_mail_reset(f->mail);
	f->greeted = true;
	sm_reply_put(&f->client.wr, 250, text);
}

/* SIZE= of MAIL; 0: none, or nonsense, about which smtps has its own words. */
static uint64_t declared_size(struct sm_str line)
{
	ptrdiff_t at = sm_str_rchr(line, '>');
	struct sm_str rest = sm_str_from(line, (size_t)(at + 1)), key, value;
	uint64_t n = 0;

	while (sm_smtp_param_next(&rest, &key, &value) == 1)
		if (sm_str_caseeq(key, SM_STR("SIZE")) &&
		    sm_str_u64(value, 10, UINT64_MAX, &n) != 0)
			return 0;
	return n;
}

static void do_mail(struct sf *f, struct sm_str line)
{
	if (!f->greeted)
		sf_say(f, 503, "5.5.1 Say LHLO first");
	else if (sf_mail_open(f->mail))
		sf_say(f, 503, "5.5.1 Transaction is under way already");
	else if (f->max_bytes > 0 && declared_size(line) > (uint64_t)f->max_bytes)
		sf_say(f, 552, "5.3.4 Message is too large");
	else if (sf_server_open(f) != 0) {
		sf_log(f, LOG_WARNING, "%s", sm_diag());
		sf_say(f, 421, "4.3.2 smx is away");
		close_with(f, SF_TEMPFAIL);
	} else if (!sf_mail_begin(f->mail, line))
		sf_say(f, 452, "4.3.1 No room");
	else
		sf_say(f, 250, "2.1.0 Sender noted");
}

static void do_rcpt(struct sf *f, struct sm_str line)
{
	if (!sf_mail_open(f->mail))
		sf_say(f, 503, "5.5.1 MAIL first");
	else if (!sf_mail_rcpt(f->mail, line))
		sf_say(f, 452, "4.5.3 Too many recipients");
	else
		sf_say(f, 250, "2.1.5 Recipient noted");
}

static void do_data(struct sf *f, struct sm_str line)
{
	(void)line;
	if (!sf_mail_open(f->mail))
		sf_say(f, 503, "5.5.1 MAIL first");
	else if (sf_mail_rcpts(f->mail) == 0)
		sf_say(f, 503, "5.5.1 RCPT first");
	else
		sf_mail_data(f);
}

static void do_rset(struct sf *f, struct sm_str line)
{
	(void)line;
	sf_mail_reset(f->mail);
	if (f->opts.id_once)
		f->opts.id = NULL;
	sf_say(f, 250, "2.0.0 Ok");
}

static void do_noop(struct sf *f, struct sm_str line)
{
	(void)line;
	sf_say(f, 250, "2.0.0 Ok");
}

static void do_vrfy(struct sf *f, struct sm_str line)
{
	(void)line;
	sf_say(f, 252, "2.5.0 Send it, and see");
}

static void do_quit(struct sf *f, struct sm_str line)
{
	(void)line;
	sf_say(f, 221, "2.0.0 Bye");
	close_with(f, SF_OK);
}

static void do_smtp(struct sf *f, struct sm_str line)
{
	(void)line;
	sf_say(f, 500, "5.5.1 This is LMTP, say LHLO");
}

static void run_line(struct sf *f, struct sm_str line)
{
	static const struct {
		struct sm_str verb;
		void (*run)(struct sf *f, struct sm_str line);
	} table[] = {
	    {SM_STR("LHLO"), do_lhlo}, {SM_STR("MAIL"), do_mail}, {SM_STR("RCPT"), do_rcpt},
	    {SM_STR("DATA"), do_data}, {SM_STR("RSET"), do_rset}, {SM_STR("NOOP"), do_noop},
	    {SM_STR("VRFY"), do_vrfy}, {SM_STR("QUIT"), do_quit}, {SM_STR("EHLO"), do_smtp},
	    {SM_STR("HELO"), do_smtp},
	};
	struct sm_smtp_cmd c;

	if (f->opts.dialogue)
		sf_log(f, LOG_DEBUG, "from the caller: %.*s", SM_STR_ARG(line));
	if (sm_smtp_cmd_parse(line, &c) != 0) {
		sf_say(f, 500, "5.5.2 Bad characters in command");
		return;
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(table); i++) {
		if (sm_str_caseeq(c.verb, table[i].verb)) {
			table[i].run(f, line);
			return;
		}
	}
	sf_say(f, 500, "5.5.1 Command unknown");
}

/* ---- the session ---- */

/* Nothing more comes from the client. */
static void no_line(struct sf *f, int err)
{
	if (err == SM_E_TOOBIG) {
		sf_say(f, 500, "5.5.2 Line too long");
		return;
	}
	close_with(f, err == SM_E_EOF ? SF_OK : err == SM_E_CANCEL ? SF_TEMPFAIL : SF_IOERR);
	if (err == SM_E_CANCEL)
		sf_say(f, 421, "4.3.2 smxfeed was told to end");
	else if (err == SM_E_TIMEOUT)
		sf_say(f, 421, "4.4.2 Nothing came for too long");
}

static void one_command(struct sf *f)
{
	bool first = !f->greeted, lf;
	struct sm_str line;
	int rc = 0;

	/* What was pipelined is answered together. */
	if (f->client.rd.len == 0 ||
	    memchr(sm_buf_p(&f->client.rd), '\n', f->client.rd.len) == NULL)
		rc = sf_flush(f, &f->client, sm_now_ms() + TAKE_MS);
	if (rc == 0)
		rc = sf_line(f, &f->client, &line, &lf, sm_now_ms() + IDLE_MS);
	if (rc != 0) {
		no_line(f, rc);
		return;
	}
	if (first)
		f->lf = lf;
	run_line(f, line);
}

static int serve(struct sf *f)
{
	if (sf_server_open(f) != 0) {
		sf_log(f, LOG_WARNING, "%s", sm_diag());
		sf_say(f, 421, "4.3.2 smx is away");
		close_with(f, SF_TEMPFAIL);
	} else {
		char text[300];

		(void)snprintf(text, sizeof(text), "%s LMTP smxfeed", f->hostname);
		sf_say(f, 220, text);
	}
	while (!f->closing)
		one_command(f);
	if (sf_flush(f, &f->client, sm_now_ms() + TAKE_MS) != 0 && f->status == SF_OK)
		f->status = SF_IOERR;
	sf_server_quit(f);
	return f->status;
}

static void init_end(struct sf_end *e, int in, int out, size_t out_max, const char *who)
{
	*e = (struct sf_end){.in = in, .out = out, .who = who};
	sm_buf_init(&e->rd, BUFFER_MAX);
	sm_buf_init(&e->wr, out_max);
}

static void fini_end(struct sf_end *e)
{
	sm_buf_fini(&e->rd);
	sm_buf_fini(&e->wr);
}

static int run(struct sf *f)
{
	int status;

	openlog("smxfeed", LOG_PID, f->opts.facility);
	sf_signals();
	init_end(&f->client, STDIN_FILENO, STDOUT_FILENO, ANSWERS_MAX, "the caller");
	init_end(&f->server, -1, -1, BUFFER_MAX, "smtps");
	sm_reply_parser_init(&f->reply, REPLY_LINES);
	sm_arena_init(&f->arena, "smxfeed", 4096, 1024 * 1024);
	f->mail = sf_mail_new();
	status = serve(f);
	sf_mail_free(&f->mail);
	sm_arena_fini(&f->arena);
	sm_reply_parser_fini(&f->reply);
	fini_end(&f->server);
	fini_end(&f->client);
	return status;
}

static int configure(struct sf *f, struct sm_arena *a)
{
	struct sm_conf_global global;
	int rc = mi_section(f->opts.conf, "smxfeed", sf_conf_opts, &f->conf, &global, a);
	struct sm_str name = f->opts.name != NULL ? sm_str(f->opts.name) : global.hostname;

	if (rc == 0)
		rc = sf_conf_check(&f->conf);
	if (rc != 0)
		return rc;
	if (f->opts.name != NULL && !sm_domain_valid(name, false))
		return sm_fail(SM_E_SYNTAX, "-c %.60s: no name of a host", f->opts.name);
	if (sm_str_copy(name, f->hostname, sizeof(f->hostname)) != 0 || name.n == 0)
		sm_proc_hostname(f->hostname, sizeof(f->hostname));
	if (!sm_domain_valid(sm_str(f->hostname), false))
		(void)snprintf(f->hostname, sizeof(f->hostname), "localhost");
	return 0;
}

int main(int argc, char **argv)
{
	static struct sf f;
	struct sm_arena a;
	int status;

	if (sf_opts(&f.opts, argc, argv) != 0) {
		(void)fprintf(stderr, "smxfeed: %s\n%s", sm_diag(), sf_usage);
		return SF_USAGE;
	}
	if (f.opts.mode == SF_HELP)
		return fputs(sf_usage, stdout) < 0 ? SF_IOERR : SF_OK;
	if (f.opts.mode == SF_VERSION)
		return puts("smxfeed (smx) " PACKAGE_VERSION) < 0 ? SF_IOERR : SF_OK;
	sm_arena_init(&a, "configuration", 4096, 4 * 1024 * 1024);
	if (configure(&f, &a) != 0) {
		(void)fprintf(stderr, "smxfeed: %s\n", sm_diag());
		status = SF_CONFIG;
	} else {
		status = run(&f);
	}
	sm_arena_fini(&a);
	return status;
}
