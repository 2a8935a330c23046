/*
 * Lines of an answer as people read them: tables with fixed columns, because a listing is shown as
 * it comes. One function for each type of line.
 */
#include "misc/qmgrctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "libcdb/cdb.h"
#include "libsm/id.h"

static int64_t now_s(void)
{
	return (int64_t)time(NULL);
}

const char *qc_until(int64_t wall_s, char out[24])
{
	return wall_s == 0 ? "-" : qc_duration(wall_s - now_s(), out);
}

const char *qc_since(int64_t wall_s, char out[24])
{
	return wall_s == 0 ? "-" : qc_duration(now_s() - wall_s, out);
}

static void head(struct qc_print *p, const char *text)
{
	if (p->rows++ == 0)
		sm_buf_cstr(&p->out, text);
}

static void address(struct sm_buf *b, const char *addr, unsigned width)
{
	sm_buf_char(b, '<');
	qc_text(b, addr, width, false);
	sm_buf_char(b, '>');
}

/* ---- status ---- */

enum kind { NUMBER, BYTES, TIME, FLAG, AHEAD };

static const struct figure {
	const char *label, *key;
	enum kind kind;
} figures[] = {
    {"up for", "uptime_s", TIME},
    {"accepting mail", "accepting", FLAG},
    {"delivering mail", "delivering", FLAG},
    {"smtps processes", "smtps_processes", NUMBER},
    {"  sessions", "smtps_sessions", NUMBER},
    {"smtpc processes", "smtpc_processes", NUMBER},
    {"  tasks running", "tasks_running", NUMBER},
    {"smar", "smar_processes", NUMBER},
    {"active mails", "active_transactions", NUMBER},
    {"  recipients", "active_recipients", NUMBER},
    {"deferred mails", "deferred_transactions", NUMBER},
    {"  recipients", "deferred_recipients", NUMBER},
    {"  held", "held_recipients", NUMBER},
    {"  waiting for a run", "queued_recipients", NUMBER},
    {"  waiting to be asked", "on_demand_recipients", NUMBER},
    {"next queue run in", "next_run_s", AHEAD},
    {"routes known", "routes_known", NUMBER},
    {"accepted mails", "accepted", NUMBER},
    {"  recipients", "accepted_recipients", NUMBER},
    {"refused", "refused", NUMBER},
    {"delivered recipients", "delivered_recipients", NUMBER},
    {"deferrals", "deferrals", NUMBER},
    {"failed recipients", "failed_recipients", NUMBER},
    {"DSNs", "dsns", NUMBER},
    {"  double bounces", "double_bounces", NUMBER},
    {"verified recipients", "verify_cached", NUMBER},
    {"  known without asking", "verify_hits", NUMBER},
    {"  being asked for", "verify_waiting", NUMBER},
    {"users counted", "users_counted", NUMBER},
    {"  over their limit", "users_over", NUMBER},
    {"orphans removed", "orphans_removed", NUMBER},
    {"  kept", "orphans_kept", NUMBER},
    {"free disk space", "disk_free_bytes", BYTES},
    {"memory", "memory_bytes", BYTES},
    {"  of deferred index", "index_bytes", BYTES},
    {"log level", "log_level", NUMBER},
    {"IBDB segments", "ibdb_segments", NUMBER},
    {"DEFEDB segments", "defedb_segments", NUMBER},
};

static void figure(struct sm_buf *b, const json_t *o, const struct figure *f)
{
	int64_t n = qc_num(o, f->key);
	char text[24];

	sm_buf_printf(b, "%-22s ", f->label);
	switch (f->kind) {
	case NUMBER:
		sm_buf_printf(b, "%" PRId64 "\n", n);
		break;
	case BYTES:
		sm_buf_printf(b, "%s\n", qc_size(n, text));
		break;
	case TIME:
		sm_buf_printf(b, "%s\n", qc_duration(n, text));
		break;
	case AHEAD:
		sm_buf_printf(b, "%s\n", qc_until(n, text));
		break;
	case FLAG:
		sm_buf_printf(b, "%s\n", qc_true(o, f->key) ? "yes" : "NO");
		break;
	}
}

static void status(struct qc_print *p, const json_t *o)
{
	const json_t *r;
	size_t i;

	p->rows++;
	for (i = 0; i < SM_ARRAY_SIZE(figures); i++)
		figure(&p->out, o, &figures[i]);
	sm_buf_printf(&p->out, "%-22s %" PRId64 "%%", "credit for new mail",
	              qc_num(o, "credit_percent"));
	if (*qc_str(o, "scarcest")) {
		sm_buf_cstr(&p->out, ", short of ");
		qc_text(&p->out, qc_str(o, "scarcest"), 20, false);
	}
	sm_buf_printf(&p->out, "\n%-22s", "resources used");
	json_array_foreach(json_object_get(o, "resources"), i, r)
	{
		sm_buf_cstr(&p->out, i ? ", " : " ");
		qc_text(&p->out, qc_str(r, "name"), 20, false);
		sm_buf_printf(&p->out, " %" PRId64 "%%%s", qc_num(r, "used_percent"),
		              qc_true(r, "full") ? " FULL" : "");
	}
	sm_buf_char(&p->out, '\n');
}

/* ---- list, summary ---- */

static void mail(struct qc_print *p, const json_t *o)
{
	struct sm_buf *b = &p->out;
	const json_t *r;
	char age[24], size[24], next[24];
	size_t i;

	head(p, "ID                  QUEUE       AGE  SIZE    NEXT  SENDER\n");
	sm_buf_printf(b, "%s %-8s %6s %5s %7s  ", qc_str(o, "id"), qc_str(o, "queue"),
	              qc_duration(qc_num(o, "age_s"), age), qc_size(qc_num(o, "size"), size),
	              qc_until(qc_num(o, "next_try_s"), next));
	address(b, qc_str(o, "sender"), 80);
	sm_buf_char(b, '\n');
	json_array_foreach(json_object_get(o, "rcpts"), i, r)
	{
		sm_buf_printf(b, "    %-9s ", qc_str(r, "state"));
		address(b, qc_str(r, "rcpt"), 80);
		if (qc_num(r, "tries"))
			sm_buf_printf(b, " tries=%" PRId64, qc_num(r, "tries"));
		if (*qc_str(r, "host")) {
			sm_buf_char(b, ' ');
			qc_text(b, qc_str(r, "host"), 60, false);
		}
		if (*qc_str(r, "reason")) {
			sm_buf_cstr(b, ": ");
			qc_text(b, qc_str(r, "reason"), 110, false);
		}
		sm_buf_char(b, '\n');
	}
	if (qc_num(o, "rcpt_count") > (int64_t)i)
		sm_buf_printf(b, "    and %" PRId64 " more\n",
		              qc_num(o, "rcpt_count") - (int64_t)i);
}

static void row_text(struct qc_print *p, const json_t *o)
{
	char size[24], oldest[24], next[24];

	sm_buf_printf(&p->out, "%8" PRId64 " %8" PRId64 " %7" PRId64 " %6s %7s %7s  ",
	              qc_num(o, "rcpts"), qc_num(o, "mails"), qc_num(o, "held"),
	              qc_size(qc_num(o, "bytes"), size), qc_since(qc_num(o, "oldest_s"), oldest),
	              qc_until(qc_num(o, "next_try_s"), next));
}

static void row(struct qc_print *p, const json_t *o)
{
	const char *key = qc_str(o, "key"), *by = qc_str(o, "by");

	if (p->rows == 0) {
		sm_buf_cstr(&p->out, "   RCPTS    MAILS    HELD   SIZE  OLDEST    NEXT  ");
		for (const char *c = by; *c; c++)
			sm_buf_char(&p->out, *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c);
		sm_buf_char(&p->out, '\n');
	}
	p->rows++;
	row_text(p, o);
	if (*key)
		qc_text(&p->out, key, 100, false);
	else
		sm_buf_cstr(&p->out, strcmp(by, "sender") == 0 ? "<>" : "(none)");
	sm_buf_char(&p->out, '\n');
}

static void total(struct qc_print *p, const json_t *o)
{
	if (p->rows == 0)
		return;
	row_text(p, o);
	sm_buf_cstr(&p->out, "in all");
	if (qc_num(o, "keys") > qc_num(o, "shown"))
		sm_buf_printf(&p->out, " (%" PRId64 " rows, %" PRId64 " shown)", qc_num(o, "keys"),
		              qc_num(o, "shown"));
	sm_buf_char(&p->out, '\n');
}

/* ---- show ---- */

static void when(struct sm_buf *b, const char *label, int64_t wall_s, bool ahead)
{
	char at[24], span[24];

	if (wall_s == 0)
		return;
	sm_buf_printf(b, "%-12s %s", label, qc_time(wall_s, at));
	if (ahead)
		sm_buf_printf(b, wall_s > now_s() ? " (in %s)\n" : " (%s)\n",
		              qc_until(wall_s, span));
	else
		sm_buf_printf(b, " (%s ago)\n", qc_since(wall_s, span));
}

static void field(struct sm_buf *b, const char *label, const char *text)
{
	if (*text == '\0')
		return;
	sm_buf_printf(b, "%-12s ", label);
	qc_text(b, text, 0, false);
	sm_buf_char(b, '\n');
}

/* The file, below CDB_base_directory: its directory is the last digit of the id's counter. In one
 * for many: which bytes of it, as tail -c +FIRST | head -c SIZE take them. */
static void content(struct sm_buf *b, const json_t *o)
{
	const char *name = qc_str(o, "content");
	struct sm_id id;

	if (sm_id_parse(sm_str(name), &id) != 0)
		return;
	sm_buf_printf(b, "%-12s %c/%s", "content", name[16], name);
	if (cdb_is_segment(id))
		sm_buf_printf(b, ", %" PRId64 " bytes from byte %" PRId64 " on", qc_num(o, "size"),
		              qc_num(o, "content_offset") + 1);
	sm_buf_char(b, '\n');
}

static void id_list(struct sm_buf *b, const json_t *o)
{
	const json_t *x;
	size_t i;

	json_array_foreach(o, i, x) sm_buf_printf(b, "%s%s", i ? " " : "", qc_str(x, "id"));
}

static void envelope(struct qc_print *p, const json_t *o)
{
	struct sm_buf *b = &p->out;
	char size[24];

	sm_buf_printf(b, "%sid           %s, %s\n", p->rows++ ? "\n" : "", qc_str(o, "id"),
	              qc_str(o, "queue"));
	sm_buf_printf(b, "%-12s ", "sender");
	address(b, qc_str(o, "sender"), 0);
	sm_buf_printf(b, "\n%-12s %s\n", "size", qc_size(qc_num(o, "size"), size));
	when(b, "received", qc_num(o, "received_s"), false);
	when(b, "requeued", qc_num(o, "requeued_s"), false);
	when(b, "next try", qc_num(o, "next_try_s"), true);
	field(b, "envid", qc_str(o, "envid"));
	field(b, "id at client", qc_str(o, "xid"));
	if (!sm_str_eq(sm_str(qc_str(o, "deliver")), SM_STR("background")))
		field(b, "deliver", qc_str(o, "deliver"));
	field(b, "needs", qc_str(o, "needs"));
	field(b, "DSN", qc_str(o, "dsn"));
	field(b, "DSN about", qc_str(o, "dsn_of"));
	content(b, o);
	if (json_array_size(json_object_get(o, "dsns"))) {
		sm_buf_printf(b, "%-12s ", "DSNs");
		id_list(b, json_object_get(o, "dsns"));
		sm_buf_char(b, '\n');
	}
	if (qc_num(o, "transcripts"))
		sm_buf_printf(b, "%-12s %" PRId64 ": qmgrctl transcript %s\n", "transcripts",
		              qc_num(o, "transcripts"), qc_str(o, "id"));
}

static const char *wait_text(const char *word)
{
	return strcmp(word, "queue_run") == 0     ? "the next queue run"
	       : strcmp(word, "being_asked") == 0 ? "somebody who asks for it"
	                                          : "";
}

static void rcpt(struct qc_print *p, const json_t *o)
{
	struct sm_buf *b = &p->out;

	sm_buf_printf(b, "%-12s ", "recipient");
	address(b, qc_str(o, "rcpt"), 0);
	sm_buf_printf(b, " %s%s", qc_true(o, "held") ? "held, " : "", qc_str(o, "state"));
	if (*qc_str(o, "wanted"))
		sm_buf_printf(b, ", to be carried out: %s", qc_str(o, "wanted"));
	sm_buf_char(b, '\n');
	field(b, "  original", qc_str(o, "orcpt"));
	field(b, "  waits for", qc_str(o, "route"));
	field(b, "  waits for", wait_text(qc_str(o, "waits_for")));
	if (qc_num(o, "tries") || *qc_str(o, "text")) {
		sm_buf_printf(b, "%-12s %" PRId64 ", ", "  tries", qc_num(o, "tries"));
		if (*qc_str(o, "host")) {
			qc_text(b, qc_str(o, "host"), 100, false);
			sm_buf_cstr(b, " said: ");
		}
		if (qc_num(o, "code"))
			sm_buf_printf(b, "%" PRId64 " ", qc_num(o, "code"));
		qc_text(b, qc_str(o, "text"), 0, false);
		sm_buf_char(b, '\n');
		field(b, "  TLS", qc_str(o, "tls"));
	}
	when(b, "  last try", qc_num(o, "last_try_s"), false);
	when(b, "  next try", qc_num(o, "next_try_s"), true);
}

static void history(struct qc_print *p, const json_t *o)
{
	char at[24];

	sm_buf_printf(&p->out, "%-12s %s by uid %" PRId64 " at %s", "  operator", qc_str(o, "verb"),
	              qc_num(o, "uid"), qc_time(qc_num(o, "at_s"), at));
	if (*qc_str(o, "reason")) {
		sm_buf_cstr(&p->out, ": ");
		qc_text(&p->out, qc_str(o, "reason"), 0, false);
	}
	sm_buf_char(&p->out, '\n');
}

static void missing(struct qc_print *p, const json_t *o)
{
	p->rows++;
	sm_buf_printf(&p->out, "%s is not in the queue", qc_str(o, "id"));
	if (json_array_size(json_object_get(o, "dsns"))) {
		sm_buf_cstr(&p->out, "; DSNs about it are: ");
		id_list(&p->out, json_object_get(o, "dsns"));
	}
	sm_buf_char(&p->out, '\n');
}

/* ---- acts ---- */

static void act(struct qc_print *p, const json_t *o)
{
	const char *verb = qc_str(o, "verb");
	int64_t mails = qc_num(o, "mails"), rcpts = qc_num(o, "rcpts");

	p->rows++;
	sm_buf_printf(&p->out, "%s%s: %" PRId64 " mail%s", qc_true(o, "dry_run") ? "would " : "",
	              verb, mails, mails == 1 ? "" : "s");
	if (rcpts)
		sm_buf_printf(&p->out, ", %" PRId64 " recipient%s", rcpts, rcpts == 1 ? "" : "s");
	sm_buf_char(&p->out, '\n');
}

static void run(struct qc_print *p, const json_t *o)
{
	int64_t mails = qc_num(o, "mails"), rcpts = qc_num(o, "rcpts");

	p->rows++;
	sm_buf_printf(&p->out, "run: %" PRId64 " mail%s, %" PRId64 " recipient%s\n", mails,
	              mails == 1 ? "" : "s", rcpts, rcpts == 1 ? "" : "s");
	if (mails == 0 && strcmp(qc_str(o, "on_demand"), "no") == 0)
		sm_buf_cstr(&p->out,
		            "mail for this domain does not wait: it is in no on_demand of smar\n");
}

static void done(struct qc_print *p, const json_t *o)
{
	char at[24];

	p->rows++;
	sm_buf_printf(&p->out, "%s ", qc_str(o, "verb"));
	qc_text(&p->out, qc_str(o, "what"), 100, false);
	sm_buf_cstr(&p->out, ": done");
	if (qc_num(o, "until_s"))
		sm_buf_printf(&p->out, ", until %s", qc_time(qc_num(o, "until_s"), at));
	sm_buf_char(&p->out, '\n');
}

static void reloaded(struct qc_print *p, const json_t *o)
{
	p->rows++;
	if (qc_true(o, "found"))
		sm_buf_printf(&p->out, "limits: %" PRId64 " entries from ", qc_num(o, "entries"));
	else
		sm_buf_cstr(&p->out, "limits: those of the configuration; there is no map ");
	qc_text(&p->out, qc_str(o, "map"), 0, false);
	if (json_is_null(json_object_get(o, "maps")))
		sm_buf_cstr(&p->out, "\nmaps: the former ones stay");
	else
		sm_buf_printf(&p->out, "\nmaps: %" PRId64 " opened anew", qc_num(o, "maps"));
	sm_buf_cstr(&p->out, "\nthe configuration file is read again by mcp: kill -HUP, or mcp.sh "
	                     "reload\n");
}

static void loglevel(struct qc_print *p, const json_t *o)
{
	p->rows++;
	sm_buf_printf(&p->out, "log level %" PRId64 ", was %" PRId64 "\n", qc_num(o, "now"),
	              qc_num(o, "before"));
}

static void forgotten(struct qc_print *p, const json_t *o)
{
	p->rows++;
	sm_buf_printf(&p->out, "%" PRId64 " recipients forgotten\n", qc_num(o, "count"));
}

static void orphans(struct qc_print *p, const json_t *o)
{
	p->rows++;
	sm_buf_printf(&p->out, "%" PRId64 " content files are older than the logs: %s\n",
	              qc_num(o, "kept"), qc_true(o, "released") ? "to be removed" : "kept");
}

/* Ids and nothing else: for other programs (rcvrenv -k). */
static void orphan(struct qc_print *p, const json_t *o)
{
	p->rows++;
	sm_buf_cstr(&p->out, qc_str(o, "id"));
	sm_buf_char(&p->out, '\n');
}

static void orphan_needed(struct qc_print *p, const json_t *o)
{
	sm_buf_printf(&p->out, "%s %" PRId64 "\n", qc_str(o, "id"), qc_num(o, "offset"));
}

/* ---- users ---- */

static void user(struct qc_print *p, const json_t *o)
{
	struct sm_buf *b = &p->out;

	if (p->rows++ == 0)
		sm_buf_cstr(b, "messages recipients  refused  user\n");
	sm_buf_printf(b, "%8" PRId64 " %10" PRId64 " %8" PRId64 "  ", qc_num(o, "messages"),
	              qc_num(o, "recipients"), qc_num(o, "refused"));
	qc_text(b, qc_str(o, "user"), 60, false);
	sm_buf_cstr(b, qc_true(o, "over") ? "  OVER ITS LIMIT\n" : "\n");
}

/* ---- any line ---- */

static const struct qc_printer printers[] = {
    {"status", status},
    {"mail", mail},
    {"row", row},
    {"total", total},
    {"envelope", envelope},
    {"rcpt", rcpt},
    {"history", history},
    {"missing", missing},
    {"act", act},
    {"done", done},
    {"run", run},
    {"reloaded", reloaded},
    {"loglevel", loglevel},
    {"forgotten", forgotten},
    {"orphans", orphans},
    {"orphan", orphan},
    {"orphan_needed", orphan_needed},
    {"user", user},
    {NULL, NULL},
};

void qc_print(void *arg, struct sm_str line)
{
	struct qc_print *p = arg;
	json_t *o = json_loadb(line.p, line.n, JSON_ALLOW_NUL, NULL);
	static const struct qc_printer *const all[] = {printers, qc_print_dest,
	                                               qc_print_transcript};
	const char *type = qc_str(o, "type");

	sm_buf_reset(&p->out);
	for (size_t i = 0; i < SM_ARRAY_SIZE(all); i++)
		for (const struct qc_printer *x = all[i]; x->type; x++)
			if (strcmp(x->type, type) == 0)
				x->print(p, o);
	if (p->out.len > 0)
		fwrite(sm_buf_p(&p->out), 1, p->out.len, stdout);
	json_decref(o);
}
