/*
 * qmgrctl: asks qmgr what it is doing, over its control socket. The answers are qmgr's; this only
 * carries them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/loop.h"
#include "libsm/proc.h"
#include "libsm/rpc.h"

#define CONNECT_MS 5000
#define ANSWER_MS  60000

static struct sm_msg_ctl_request request;
static struct sm_call call;
static struct sm_link *qmgr_link;
static struct sm_timer patience;
static struct sm_arena arena;

static const char usage[] =
    "usage: qmgrctl [-s SOCKET] [-j] VERB [ARGUMENT ...]\n"
    "  status               figures of the queue manager\n"
    "  list                 transactions, active and deferred\n"
    "  flush [ID ...]       try deferred transactions now: all, or these\n"
    "  orphans [list|release]\n"
    "                       contents older than the logs: how many are kept, which; remove them\n"
    "  -s SOCKET            control socket (default " SMX_QUEUEDIR "/ctl/qmgr)\n"
    "  -j                   JSON, a line each\n";

static void answered(int err, const struct sm_frame *f, void *arg)
{
	struct sm_msg_ctl_text text;
	struct sm_msg_ctl_end end;

	(void)arg;
	sm_arena_reset(&arena);
	if (err == 0 && f->type == SM_MSG_ctl_text &&
	    sm_msg_ctl_text_decode(f->body, &arena, &text) == 0) {
		fwrite(text.text.p, 1, text.text.n, stdout);
	} else if (err == 0 && f->type == SM_MSG_ctl_end &&
	           sm_msg_ctl_end_decode(f->body, &arena, &end) == 0) {
		if (end.status != 0)
			fprintf(stderr, "qmgrctl: " SM_STR_FMT "\n", SM_STR_ARG(end.text));
		sm_loop_stop(end.status);
	} else {
		fprintf(stderr, "qmgrctl: no answer: %s\n", sm_strerr(err ? err : SM_E_PROTO));
		sm_loop_stop(SM_EXIT_TEMP);
	}
}

static void on_up(struct sm_peer *peer, void *arg)
{
	(void)arg;
	sm_timer_cancel(&patience);
	sm_call(&call, peer, SM_MSG_ctl_request, &request, sm_now_ms() + ANSWER_MS, answered, NULL);
}

static void give_up(void *arg)
{
	(void)arg;
	fprintf(stderr, "qmgrctl: %s\n", sm_link_trouble(qmgr_link));
	sm_loop_stop(SM_EXIT_TEMP);
}

int main(int argc, char **argv)
{
	struct sm_msg_text_item args[64];
	struct sm_link_conf conf = {
	    .path = SMX_QUEUEDIR "/ctl/qmgr", .role = SM_ROLE_QMGR, .on_up = on_up};
	struct stat st;
	uid_t owner;
	int opt, status;

	while ((opt = getopt(argc, argv, "+s:jh")) != -1) {
		if (opt == 's')
			conf.path = optarg;
		else if (opt == 'j')
			request.json = 1;
		else {
			fputs(usage, opt == 'h' ? stdout : stderr);
			return opt == 'h' ? SM_EXIT_OK : SM_EXIT_USAGE;
		}
	}
	if (optind == argc || argc - optind - 1 > (int)SM_ARRAY_SIZE(args)) {
		fputs(usage, stderr);
		return SM_EXIT_USAGE;
	}
	request.verb = sm_str(argv[optind]);
	request.args = args;
	for (int i = optind + 1; i < argc; i++)
		args[request.args_count++].text = sm_str(argv[i]);
	/* Who owns the socket is who may answer there: an operator of group smx knows no other name
	 * for the queue's user. */
	if (stat(conf.path, &st) != 0) {
		fprintf(stderr, "qmgrctl: %s: %s%s\n", conf.path, strerror(errno),
		        errno == ENOENT ? ": is qmgr running?" : "");
		return SM_EXIT_TEMP;
	}
	owner = st.st_uid;
	conf.uids = &owner;
	conf.uid_count = 1;
	sm_log_init("qmgrctl", 0);
	sm_arena_init(&arena, "answer", 4096, 4 * SM_FRAME_MAX);
	sm_rpc_self(SM_ROLE_CTL, 0);
	if (sm_loop_init() != 0) {
		fprintf(stderr, "qmgrctl: %s\n", sm_diag());
		return SM_EXIT_OSERR;
	}
	qmgr_link = sm_link_open(&conf);
	sm_timer_set(&patience, sm_now_ms() + CONNECT_MS, give_up, NULL);
	status = sm_loop_run();
	sm_link_free(&qmgr_link);
	sm_arena_fini(&arena);
	return fflush(stdout) == 0 ? status : SM_EXIT_OSERR;
}
