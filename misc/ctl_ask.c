/*
 * One question over the control socket. One thread; ends when the answer has, or nobody is there.
 *
 * Who owns the socket is who may answer there: an operator of group smx knows no other name for the
 * server's user.
 */
#include "misc/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/loop.h"
#include "libsm/rpc.h"

#define CONNECT_MS 5000
#define SILENCE_MS 120000
#define LINE_MAX   (32u * 1024 * 1024)

static struct {
	const struct qc_ask *ask;
	struct sm_msg_ctl_request request;
	struct sm_msg_ctl_word words[64];
	struct sm_call call;
	struct sm_link *link;
	struct sm_timer patience;
	struct sm_arena arena;
	struct sm_buf text; /* what is no whole line yet */
} a;

static void hand_on(void)
{
	struct sm_str all = sm_buf_view(&a.text);
	size_t done = 0;
	ptrdiff_t end;

	while ((end = sm_str_chr(sm_str_from(all, done), '\n')) >= 0) {
		a.ask->line(a.ask->arg, sm_str_n(all.p + done, (size_t)end));
		done += (size_t)end + 1;
	}
	sm_buf_consume(&a.text, done);
}

static void give_up(void *arg)
{
	(void)arg;
	if (sm_link_peer(a.link) == NULL) {
		if (!a.ask->quiet)
			fprintf(stderr, "%s: %s: %s: is %s running?\n", a.ask->program,
			        a.ask->socket, sm_link_trouble(a.link), a.ask->server);
		sm_loop_stop(QC_AWAY);
	} else {
		fprintf(stderr, "%s: %s does not answer\n", a.ask->program, a.ask->server);
		sm_loop_stop(QC_LATER);
	}
}

/* stdout may have been a pager that stood still: that is no silence. */
static void wait_on(void)
{
	sm_timer_set(&a.patience, sm_now_ms() + SILENCE_MS, give_up, NULL);
}

static void on_end(const struct sm_msg_ctl_end *end)
{
	char text[513];
	struct sm_buf b;

	if (end->text.n > 0) {
		sm_buf_init(&b, 64 * 1024);
		sm_str_cut(end->text, text, sizeof(text));
		qc_text(&b, text, 0, false);
		fprintf(stderr, "%s: %s\n", a.ask->program, sm_buf_c(&b));
		sm_buf_fini(&b);
	}
	sm_loop_stop(end->status);
}

static void answered(int err, const struct sm_frame *f, void *arg)
{
	struct sm_msg_ctl_text text;
	struct sm_msg_ctl_end end;

	(void)arg;
	sm_arena_reset(&a.arena);
	if (err == 0 && f->type == SM_MSG_ctl_text &&
	    sm_msg_ctl_text_decode(f->body, &a.arena, &text) == 0) {
		sm_buf_str(&a.text, text.text);
		hand_on();
		wait_on();
	} else if (err == 0 && f->type == SM_MSG_ctl_end &&
	           sm_msg_ctl_end_decode(f->body, &a.arena, &end) == 0) {
		on_end(&end);
	} else {
		fprintf(stderr, "%s: no answer: %s\n", a.ask->program,
		        sm_strerr(err ? err : SM_E_PROTO));
		sm_loop_stop(QC_LATER);
	}
}

static void on_up(struct sm_peer *peer, void *arg)
{
	(void)arg;
	wait_on();
	sm_call(&a.call, peer, SM_MSG_ctl_request, &a.request, sm_now_ms() + 7 * 86400000LL,
	        answered, NULL);
}

static int look(const struct qc_ask *ask, struct stat *st)
{
	if (stat(ask->socket, st) == 0 && access(ask->socket, R_OK | W_OK) == 0)
		return 0;
	if (errno == EACCES) {
		fprintf(stderr, "%s: %s: only root and members of the group smx may ask\n",
		        ask->program, ask->socket);
		return QC_NOPERM;
	}
	if (!ask->quiet)
		fprintf(stderr, "%s: %s: %s%s%s%s\n", ask->program, ask->socket, strerror(errno),
		        errno == ENOENT ? ": is " : "", errno == ENOENT ? ask->server : "",
		        errno == ENOENT ? " running?" : "");
	return QC_AWAY;
}

int qc_ask(const struct qc_ask *ask)
{
	struct sm_link_conf conf = {.path = ask->socket, .role = ask->role, .on_up = on_up};
	struct stat st;
	uid_t owner;
	int status;

	if ((status = look(ask, &st)) != 0)
		return status;
	owner = st.st_uid;
	conf.uids = &owner;
	conf.uid_count = 1;
	memset(&a, 0, sizeof(a));
	a.ask = ask;
	for (size_t i = 0; i < ask->count; i++)
		a.words[i].text = ask->words[i];
	a.request = (struct sm_msg_ctl_request){
	    .verb = sm_str(ask->verb), .args = a.words, .args_count = (uint32_t)ask->count};
	sm_log_init(ask->program, 0);
	sm_arena_init(&a.arena, "answer", 4096, 4 * SM_FRAME_MAX);
	sm_buf_init(&a.text, LINE_MAX);
	sm_rpc_self(SM_ROLE_CTL, 0);
	if (sm_loop_init() != 0) {
		fprintf(stderr, "%s: %s\n", ask->program, sm_diag());
		return QC_OSERR;
	}
	a.link = sm_link_open(&conf);
	sm_timer_set(&a.patience, sm_now_ms() + CONNECT_MS, give_up, NULL);
	status = sm_loop_run();
	sm_timer_cancel(&a.patience);
	sm_link_free(&a.link);
	sm_loop_fini();
	sm_buf_fini(&a.text);
	sm_arena_fini(&a.arena);
	return status;
}
