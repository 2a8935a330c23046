/*
 * mailq: the mail queue in the layout that users of other mail systems know. Asks qmgr; needs what
 * qmgrctl needs to look.
 */
#include <stdio.h>
#include <unistd.h>

#include "misc/qmgrctl.h"

static const char usage[] = "usage: mailq [-j] [-s SOCKET] [CONDITION ...]\n"
			    "  -j          JSON, a line for each mail\n"
			    "  -s SOCKET   control socket (default " QC_SOCKET ")\n"
			    "  conditions: see qmgrctl(8), list\n";

static void pass_on(void *arg, struct sm_str json)
{
	(void)arg;
	fwrite(json.p, 1, json.n, stdout);
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct qc_mailq out = {0};
	struct qc_ask ask = {.program = "mailq",
	                     .server = "qmgr",
	                     .role = SM_ROLE_QMGR,
	                     .socket = QC_SOCKET,
	                     .verb = "list",
	                     .line = qc_mailq,
	                     .arg = &out};
	bool json = false;
	int opt, status;

	/* Letters of other mailqs that only say that the queue is to be shown. */
	while ((opt = getopt(argc, argv, "jhs:v")) != -1) {
		if (opt == 's') {
			ask.socket = optarg;
		} else if (opt == 'j') {
			json = true;
			ask.line = pass_on;
		} else if (opt != 'v') {
			fputs(usage, opt == 'h' ? stdout : stderr);
			return opt == 'h' ? QC_OK : QC_USAGE;
		}
	}
	if (argc - optind > (int)SM_ARRAY_SIZE(ask.words)) {
		fputs(usage, stderr);
		return QC_USAGE;
	}
	for (int i = optind; i < argc; i++)
		ask.words[ask.count++] = sm_str(argv[i]);
	sm_buf_init(&out.out, 4 * 1024 * 1024);
	status = qc_ask(&ask);
	/* An empty queue is no failure. */
	if (status == QC_NOTHING)
		status = QC_OK;
	if (status == QC_OK && !json)
		qc_mailq_end(&out);
	return fflush(stdout) == 0 && !ferror(stdout) ? status : QC_OSERR;
}
