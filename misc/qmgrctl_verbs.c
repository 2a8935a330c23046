/*
 * The verbs as people are told of them: help, and which options each has. What a verb does is
 * qmgr's affair (qmgr/control.c).
 */
#include <stdio.h>
#include <string.h>

#include "misc/qmgrctl.h"

#define CONDITIONS                                                                            \
	"Mail is chosen by ids and conditions; all of them must hold:\n"                      \
	"  sender=GLOB  rcpt=GLOB  domain=NAME  host=GLOB  dest=NAME  reason=GLOB\n"          \
	"  state=WORD  age>2h  age<1d  size>1M  tries>=3  next<10m  id=S00...\n"              \
	"Several values with commas: any of them. A ! in front: not. sender=<> is the null\n" \
	"sender, domain=.example.org all below it. States: active, deferred, queued,\n"       \
	"on_demand, held, failed, delivered. A lone - reads ids from standard input.\n"

#define ACTS CONDITIONS "The word all, instead of conditions, is all mail. --dry-run counts only.\n"

#define DESTS                                                                                  \
	"DEST is a domain (example.org), the name of a host (mx1.example.org) or an address\n" \
	"(192.0.2.1, 2001:db8::1).\n"

const struct qc_verb qc_verbs[] = {
    {"status", "", "figures of the queue manager, and what is stopped", "", 0},
    {"list", "[CONDITION | ID ...]", "mail, with what was last said to each recipient",
     CONDITIONS "In the order of arrival up to 10000 mails, or with --limit N; --after ID goes on\n"
                "behind that one.\n",
     QC_LIMIT | QC_AFTER},
    {"summary", "[CONDITION ...]", "counts by domain, host, reason, sender, age or state",
     CONDITIONS "--by says by what (domain), --limit how many rows (20).\n", QC_BY | QC_LIMIT},
    {"show", "ID ...", "all that is known of a mail", "", 0},
    {"why", "DEST", "what holds mail for a domain or host, and what it last said", DESTS, 0},
    {"dest", "[DEST]", "next hops: how they are, what waits for them", DESTS, 0},
    {"flush", "[DEST | CONDITION | ID ...]", "try now what waits for its time",
     CONDITIONS
     "A bare word is a destination. Its hosts are tried at once, beginning with one session.\n"
     "Nothing: all.\n",
     QC_DRY_RUN},
    {"run", "[DOMAIN | @DOMAIN | all]", "try now what waits for a queue run",
     "DOMAIN: all that waits for it, also what waits until it is asked for; @DOMAIN: and for what\n"
     "is below it; all: for all domains. Nothing: what the schedule would run.\n",
     0},
    {"hold", "CONDITION | ID ... | all", "keep mail from being tried", ACTS,
     QC_REASON | QC_DRY_RUN},
    {"release", "CONDITION | ID ... | all", "let held mail go, and mail that waits for a run", ACTS,
     QC_REASON | QC_DRY_RUN},
    {"remove", "CONDITION | ID ... | all", "remove mail; nobody is told", ACTS,
     QC_REASON | QC_DRY_RUN},
    {"bounce", "CONDITION | ID ... | all", "give mail back to its sender now", ACTS,
     QC_REASON | QC_DRY_RUN},
    {"requeue", "CONDITION | ID ... | all", "begin anew: tries, age and route", ACTS,
     QC_REASON | QC_DRY_RUN},
    {"suspend", "DEST", "deliver nothing to a domain, host or address",
     DESTS "--for 2h ends it by itself. It survives a restart.\n", QC_FOR | QC_REASON},
    {"resume", "DEST", "deliver there again, beginning with one session",
     "As it was suspended: what was said of a host does not end by resuming its domain.\n", 0},
    {"stop", "accepting | delivering", "take no new mail; deliver nothing",
     "--for is for delivering. It survives a restart.\n", QC_FOR | QC_REASON},
    {"start", "accepting | delivering", "the other way round", "", 0},
    {"reload", "", "read the map of limits, the maps of smar and the certificates of smtps again",
     "The configuration file is read again, and files of open_files are opened anew, by mcp: kill "
     "-HUP, "
     "or mcp.sh reload.\n",
     0},
    {"loglevel", "N", "how much qmgr logs, 0 to 15, until its restart", "", 0},
    {"forget", "ADDRESS | @DOMAIN | all", "what next hops said of recipients (verify_recipient)",
     "The next client that names one has its next hop asked again.\n", 0},
    {"orphans", "[list | release]", "contents older than the logs: how many are kept; remove them",
     "After the loss of the queue's logs: see \"Going on without a queue\" in doc/operating.md.\n",
     0},
    {"transcript", "ID ... | on CONDITION ... | on all | off [N] | list",
     "what was said in sessions, of mail that you choose",
     CONDITIONS
     "on: from now on what is said for such mail is kept in memory, for an hour, or --for TIME "
     "(7d\n"
     "at the most); host= and dest= are those that it is tried at. list has the number N. An ID\n"
     "shows it: of each recipient the newest, also when the mail is gone, as long as it is kept.\n"
     "There is no content in it, and nothing of what AUTH says.\n",
     QC_FOR},
    {"users", "[forget NAME]", "what authenticated users have sent of late",
     "Those over their limit first, then the latest. forget begins anew for one who was.\n",
     QC_LIMIT},
    {NULL, NULL, NULL, NULL, 0},
};

const struct qc_verb *qc_verb(const char *name)
{
	for (const struct qc_verb *v = qc_verbs; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

void qc_help(FILE *f)
{
	fputs("usage: qmgrctl [-jn] [-s SOCKET] VERB [WORD ...]\n", f);
	for (const struct qc_verb *v = qc_verbs; v->name; v++)
		fprintf(f, "  %-10s %s\n", v->name, v->help);
	fputs("  -j, --json         lines of JSON\n"
	      "  -n, --dry-run      only count what would be done\n"
	      "  -s, --socket PATH  control socket (default " QC_SOCKET ")\n"
	      "qmgrctl help VERB says more.\n",
	      f);
}

void qc_help_verb(FILE *f, const struct qc_verb *v)
{
	fprintf(f, "usage: qmgrctl %s", v->name);
	if (v->options & QC_BY)
		fputs(" [--by KEY]", f);
	if (v->options & QC_LIMIT)
		fputs(" [--limit N]", f);
	if (v->options & QC_AFTER)
		fputs(" [--after ID]", f);
	if (v->options & QC_FOR)
		fputs(" [--for TIME]", f);
	if (v->options & QC_REASON)
		fputs(" [--reason TEXT]", f);
	if (v->options & QC_DRY_RUN)
		fputs(" [--dry-run]", f);
	fprintf(f, "%s%s\n%s\n%s", *v->words ? " " : "", v->words, v->help, v->more);
}
