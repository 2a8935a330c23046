/*
 * What `qmgrctl dest` and `qmgrctl why` show: what operators stopped, next hops, what holds mail
 * back, and what waits. One function for each type of line.
 */
#include "misc/qmgrctl.h"

#include <inttypes.h>

static void stopped(struct qc_print *p, const json_t *o)
{
	const char *type = qc_str(o, "type");
	char at[24], span[24];

	p->rows++;
	if (strcmp(type, "suspension") == 0) {
		sm_buf_cstr(&p->out, "suspended: ");
		qc_text(&p->out, qc_str(o, "dest"), 100, false);
	} else {
		sm_buf_cstr(&p->out, strcmp(type, "accepting_stopped") == 0
		                         ? "new mail is refused"
		                         : "all deliveries are stopped");
	}
	sm_buf_printf(&p->out, ", since %s by uid %" PRId64, qc_time(qc_num(o, "since_s"), at),
	              qc_num(o, "uid"));
	if (qc_num(o, "until_s"))
		sm_buf_printf(&p->out, ", for %s more", qc_until(qc_num(o, "until_s"), span));
	if (*qc_str(o, "reason")) {
		sm_buf_cstr(&p->out, ": ");
		qc_text(&p->out, qc_str(o, "reason"), 256, false);
	}
	sm_buf_char(&p->out, '\n');
}

static void said(struct sm_buf *b, const json_t *o)
{
	if (qc_num(o, "code"))
		sm_buf_printf(b, "%" PRId64 " ", qc_num(o, "code"));
	qc_text(b, qc_str(o, "text"), 130, false);
}

static void host(struct qc_print *p, const json_t *o)
{
	struct sm_buf *b = &p->out;
	char ok[24], failed[24], dead[24];

	if (!p->hosts)
		sm_buf_cstr(b, "STATE     RUNNING  WINDOW  WAITING  LAST OK  FAILED  NEXT HOP\n");
	p->hosts = true;
	p->rows++;
	sm_buf_printf(b, "%-9s %7" PRId64 " %3" PRId64 "/%-3" PRId64 " %8" PRId64 " %8s %7s  ",
	              qc_str(o, "state"), qc_num(o, "running"), qc_num(o, "window"),
	              qc_num(o, "window_max"), qc_num(o, "waiting"),
	              qc_since(qc_num(o, "last_ok_s"), ok),
	              qc_since(qc_num(o, "last_failed_s"), failed));
	qc_text(b, qc_str(o, "name"), 80, false);
	sm_buf_printf(b, " %s", qc_str(o, "address"));
	if (qc_num(o, "rate_per_minute"))
		sm_buf_printf(b, " at most %" PRId64 " a minute", qc_num(o, "rate_per_minute"));
	if (qc_num(o, "dead_until_s"))
		sm_buf_printf(b, " not before %s", qc_until(qc_num(o, "dead_until_s"), dead));
	if (*qc_str(o, "text")) {
		sm_buf_cstr(b, ": ");
		said(b, o);
	}
	sm_buf_char(b, '\n');
}

static const struct {
	const char *word, *text;
} causes[] = {
    {"delivering_stopped", "all deliveries are stopped"},
    {"suspended", "the destination is suspended"},
    {"host_suspended", "the host is suspended"},
    {"no_smtpc", "no smtpc is there"},
    {"smtpc_full", "smtpc is full"},
    {"active_queue_full", "the active queue is full"},
    {"no_smar", "smar does not answer"},
    {"no_route", "there is no route"},
    {"host_dead", "the host does not take mail"},
    {"host_probed", "the host is being tried with one session"},
    {"window_full", "the host has all the sessions it may have now"},
    {"message_rate", "the host has all the messages it may have in a minute"},
    {"next_hops_dead", "its hosts do not take mail"},
    {"queue_run", "it has its turn at the next queue run"},
    {"on_demand", "it goes when somebody asks for it (qmgrctl run, ETRN)"},
    {"held", "held"},
    {"retry_time", "deferred"},
    {"none", "nothing holds it"},
};

static void cause(struct qc_print *p, const json_t *o)
{
	struct sm_buf *b = &p->out;
	const char *word = qc_str(o, "cause"), *text = word;
	char span[24];

	for (size_t i = 0; i < SM_ARRAY_SIZE(causes); i++)
		if (strcmp(causes[i].word, word) == 0)
			text = causes[i].text;
	p->rows++;
	sm_buf_cstr(b, "- ");
	qc_text(b, text, 80, false);
	if (*qc_str(o, "host")) {
		sm_buf_cstr(b, ", ");
		qc_text(b, qc_str(o, "host"), 80, false);
	}
	if (qc_num(o, "until_s"))
		sm_buf_printf(b, ", for %s", qc_until(qc_num(o, "until_s"), span));
	if (*qc_str(o, "text") && strcmp(word, "none") != 0) {
		sm_buf_cstr(b, ": ");
		said(b, o);
	}
	sm_buf_char(b, '\n');
}

static void waiting(struct qc_print *p, const json_t *o)
{
	struct sm_buf *b = &p->out;
	const json_t *r;
	char next[24];
	size_t i;

	sm_buf_printf(b,
	              "waiting: %" PRId64 " mails, %" PRId64 " recipients: %" PRId64
	              " active, %" PRId64 " deferred, %" PRId64 " held",
	              qc_num(o, "mails"), qc_num(o, "rcpts"), qc_num(o, "active"),
	              qc_num(o, "deferred"), qc_num(o, "held"));
	if (qc_num(o, "queued") || qc_num(o, "on_demand"))
		sm_buf_printf(b, ", %" PRId64 " queued, %" PRId64 " on demand", qc_num(o, "queued"),
		              qc_num(o, "on_demand"));
	sm_buf_printf(b, "; next try %s\n", qc_until(qc_num(o, "next_try_s"), next));
	if (qc_num(o, "ways") > 1)
		sm_buf_printf(b,
		              "its entry of the mailertable has %" PRId64
		              " ways: these hosts are of one for a mail to one recipient\n",
		              qc_num(o, "ways"));
	json_array_foreach(json_object_get(o, "reasons"), i, r)
	{
		sm_buf_printf(b, "%8" PRId64 "  ", qc_num(r, "rcpts"));
		qc_text(b, qc_str(r, "reason"), 110, false);
		sm_buf_char(b, '\n');
	}
}

const struct qc_printer qc_print_dest[] = {
    {"suspension", stopped},
    {"delivering_stopped", stopped},
    {"accepting_stopped", stopped},
    {"host", host},
    {"cause", cause},
    {"waiting", waiting},
    {NULL, NULL},
};
