/*
 * Lines of smar's answers as people read them. Nothing that came from elsewhere reaches the
 * terminal but through qc_text. One function for each type of line.
 */
#include "misc/smarctl.h"

#include <inttypes.h>
#include <string.h>

static void text(struct sm_buf *b, const json_t *o, const char *key)
{
	qc_text(b, qc_str(o, key), 0, false);
}

static void lookup(struct sm_buf *b, const json_t *o)
{
	const char *result = qc_str(o, "result");

	sm_buf_cstr(b, "  ");
	qc_text(b, qc_str(o, "map"), 24, false);
	sm_buf_char(b, ' ');
	text(b, o, "key");
	if (strcmp(result, "found") == 0) {
		sm_buf_cstr(b, " -> ");
		text(b, o, "value");
	} else if (strcmp(result, "none") == 0) {
		sm_buf_cstr(b, ": no");
	} else if (strcmp(result, "last") == 0) {
		sm_buf_cstr(b, ": no, nor any other");
	} else {
		sm_buf_cstr(b, ": FAILED: ");
		text(b, o, "why");
	}
}

static void record(struct sm_buf *b, const json_t *r)
{
	if (json_object_get(r, "preference") != NULL)
		sm_buf_printf(b, "%" PRId64 " ", qc_num(r, "preference"));
	if (json_object_get(r, "address") != NULL)
		text(b, r, "address");
	else if (*qc_str(r, "name") == '\0')
		sm_buf_char(b, '.');
	else
		text(b, r, "name");
}

static void dns(struct sm_buf *b, const json_t *o)
{
	const char *result = qc_str(o, "result");
	const json_t *r;
	char ttl[24];
	size_t i;

	sm_buf_printf(b, "  DNS %s ", qc_str(o, "rrtype"));
	text(b, o, "name");
	if (strcmp(result, "ok") == 0) {
		sm_buf_cstr(b, " -> ");
		json_array_foreach(json_object_get(o, "records"), i, r)
		{
			sm_buf_cstr(b, i > 0 ? ", " : "");
			record(b, r);
		}
	} else if (strcmp(result, "nodata") == 0) {
		sm_buf_cstr(b, ": no such record");
	} else if (strcmp(result, "nxdomain") == 0) {
		sm_buf_cstr(b, ": no such name");
	} else {
		sm_buf_cstr(b, ": FAILED: ");
		text(b, o, "why");
	}
	sm_buf_printf(b, " (%s%s, good for %s)", qc_true(o, "cached") ? "known" : "asked",
	              qc_true(o, "validated") ? ", validated" : "",
	              qc_duration(qc_num(o, "ttl_s"), ttl));
}

static void flags(struct sm_buf *b, const json_t *o)
{
	const json_t *f;
	size_t i;

	json_array_foreach(json_object_get(o, "flags"), i, f)
	{
		sm_buf_cstr(b, i > 0 ? " " : "; ");
		qc_text(b, json_string_value(f), 0, false);
	}
}

static void reply(struct sm_buf *b, const json_t *o)
{
	sm_buf_printf(b, "%" PRId64 " ", qc_num(o, "code"));
	text(b, o, "text");
}

static void trouble(struct sm_buf *b, const json_t *o)
{
	sm_buf_cstr(b, "  TROUBLE with ");
	text(b, o, "about");
	sm_buf_cstr(b, ": ");
	text(b, o, "why");
}

static void verdict(struct sm_buf *b, const json_t *o)
{
	sm_buf_cstr(b, "  smar: ");
	if (qc_num(o, "code") == 0)
		sm_buf_cstr(b, "go on");
	else
		reply(b, o);
	flags(b, o);
	if (*qc_str(o, "client_name")) {
		sm_buf_cstr(b, "; client is ");
		text(b, o, "client_name");
	} else if (*qc_str(o, "resolve")) {
		sm_buf_printf(b, "; client's name: %s", qc_str(o, "resolve"));
	}
	if (*qc_str(o, "conf")) {
		sm_buf_cstr(b, "\n  configuration of the session: ");
		text(b, o, "conf");
	}
}

static void stage(struct sm_buf *b, const json_t *o)
{
	text(b, o, "what");
}

static void told(struct sm_buf *b, const json_t *o)
{
	sm_buf_cstr(b, "=> ");
	reply(b, o);
	if (*qc_str(o, "why")) {
		sm_buf_cstr(b, "  (");
		text(b, o, "why");
		sm_buf_char(b, ')');
	}
}

static void host(struct sm_buf *b, const json_t *h)
{
	sm_buf_printf(b, "\n  %" PRId64 " ", qc_num(h, "preference"));
	if (*qc_str(h, "name"))
		text(b, h, "name");
	else
		sm_buf_cstr(b, "the local agent (LMTP_socket of smtpc)");
	if (*qc_str(h, "address")) {
		sm_buf_cstr(b, " at ");
		text(b, h, "address");
	}
}

static void route(struct sm_buf *b, const json_t *o)
{
	const char *result = qc_str(o, "result");
	const json_t *h;
	char ttl[24];
	size_t i;

	text(b, o, "rcpt");
	if (strcmp(result, "alias") == 0) {
		sm_buf_cstr(b, " is an alias of");
		return;
	}
	if (strcmp(result, "ok") != 0) {
		sm_buf_cstr(b, ": ");
		reply(b, o);
		return;
	}
	sm_buf_printf(b, " goes by %s, for %s, to",
	              strcmp(qc_str(o, "agent"), "lmtp") == 0 ? "LMTP" : "SMTP",
	              qc_duration(qc_num(o, "ttl_s"), ttl));
	json_array_foreach(json_object_get(o, "hosts"), i, h) host(b, h);
	if (qc_num(o, "ways") > 1)
		sm_buf_printf(b, "\n  way %" PRId64 " of %" PRId64 "%s", qc_num(o, "way"),
		              qc_num(o, "ways"),
		              qc_true(o, "other_way") ? "; when it fails for now, the next one"
		                                      : "; no other one when it fails");
}

static void member(struct sm_buf *b, const json_t *o)
{
	sm_buf_cstr(b, "  ");
	text(b, o, "rcpt");
	if (*qc_str(o, "sender")) {
		sm_buf_cstr(b, ", sender ");
		text(b, o, "sender");
	}
	if (qc_true(o, "list"))
		sm_buf_cstr(b, ", as of a mailing list");
	if (!qc_true(o, "final"))
		sm_buf_cstr(b, ", asked for by itself");
}

static void found(struct sm_buf *b, const json_t *o)
{
	text(b, o, "value");
}

static void status(struct sm_buf *b, const json_t *o)
{
	static const struct {
		const char *key, *label;
	} figures[] = {
	    {"waiting_requests", "requests that wait"},
	    {"dns_questions", "DNS questions out"},
	    {"dns_asked", "  asked so far"},
	    {"cache_entries", "DNS answers kept"},
	    {"cache_hits", "  found"},
	    {"cache_misses", "  not found"},
	    {"reloads_refused", "refused reloads"},
	};
	char t[24];

	sm_buf_printf(b, "%-22s %s\n", "up for", qc_duration(qc_num(o, "uptime_s"), t));
	for (size_t i = 0; i < SM_ARRAY_SIZE(figures); i++)
		sm_buf_printf(b, "%-22s %" PRId64 "\n", figures[i].label,
		              qc_num(o, figures[i].key));
	sm_buf_printf(b, "%-22s %s", "memory of answers", qc_size(qc_num(o, "cache_bytes"), t));
}

static void map(struct sm_buf *b, const json_t *o)
{
	sm_buf_cstr(b, "map ");
	qc_text(b, qc_str(o, "name"), 18, true);
	sm_buf_char(b, ' ');
	qc_text(b, qc_str(o, "kind"), 10, true);
	if (json_is_integer(json_object_get(o, "entries")))
		sm_buf_printf(b, " %10" PRId64, qc_num(o, "entries"));
	else
		sm_buf_printf(b, " %10s", "-");
	sm_buf_cstr(b, "  ");
	text(b, o, "file");
}

static void greylist(struct sm_buf *b, const json_t *o)
{
	sm_buf_printf(b,
	              "greylist%s: %" PRId64 " clients; refused %" PRId64 ", confirmed %" PRId64
	              ", accepted %" PRId64,
	              qc_true(o, "usable") ? "" : " CANNOT BE USED", qc_num(o, "entries"),
	              qc_num(o, "refused"), qc_num(o, "confirmed"), qc_num(o, "accepted"));
	if (qc_num(o, "unchecked"))
		sm_buf_printf(b, ", NOT CHECKED %" PRId64, qc_num(o, "unchecked"));
}

static void omitted(struct sm_buf *b, const json_t *o)
{
	sm_buf_printf(b, "  and %" PRId64 " lookups more", qc_num(o, "lines"));
}

static const struct {
	const char *type;
	void (*print)(struct sm_buf *b, const json_t *o);
} types[] = {
    {"lookup", lookup},     {"dns", dns},     {"verdict", verdict}, {"stage", stage},
    {"told", told},         {"route", route}, {"member", member},   {"found", found},
    {"status", status},     {"map", map},     {"omitted", omitted}, {"trouble", trouble},
    {"greylist", greylist},
};

void ac_print(struct sm_buf *b, const json_t *line)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(types); i++) {
		if (strcmp(types[i].type, qc_str(line, "type")) == 0) {
			types[i].print(b, line);
			sm_buf_char(b, '\n');
		}
	}
}
